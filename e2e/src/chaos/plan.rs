//! Which faults hit which joins: a pure function of a seed and a few counts.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// A process that is killed with SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// join-agent, on the machine.
    Agent,
    /// join-controller.
    Controller,
    /// kube-apiserver.
    ApiServer,
    /// etcd.
    Etcd,
    /// kube-controller-manager, which signs.
    ControllerManager,
    /// kubelet, on the machine.
    Kubelet,
    /// containerd, on the machine.
    Containerd,
}

impl Victim {
    /// Every victim.
    pub const ALL: [Self; 7] = [
        Self::Agent,
        Self::Controller,
        Self::ApiServer,
        Self::Etcd,
        Self::ControllerManager,
        Self::Kubelet,
        Self::Containerd,
    ];
}

/// What happens to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is killed; its supervisor starts it again.
    Kill(Victim),
    /// The agent ends right after one of its writes; its unit starts it again.
    AfterWrite,
    /// No packet passes between the machine and the rest.
    Cut,
    /// Nothing more can be written to the machine's disk.
    MachineDiskFull,
    /// etcd has no space left within its quota: it refuses every write.
    EtcdFull,
    /// The agent's clock is off.
    AgentClock,
    /// The controller's clock is off.
    ControllerClock,
}

impl Kind {
    /// Whether the fault hits one machine only, so that other joins can go on beside it.
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Self::Kill(Victim::Agent | Victim::Kubelet | Victim::Containerd)
                | Self::AfterWrite
                | Self::Cut
                | Self::MachineDiskFull
                | Self::AgentClock
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill(Victim::Agent) => "join-agent killed",
            Self::Kill(Victim::Controller) => "join-controller killed",
            Self::Kill(Victim::ApiServer) => "kube-apiserver killed",
            Self::Kill(Victim::Etcd) => "etcd killed",
            Self::Kill(Victim::ControllerManager) => "kube-controller-manager killed",
            Self::Kill(Victim::Kubelet) => "kubelet killed",
            Self::Kill(Victim::Containerd) => "containerd killed",
            Self::AfterWrite => "join-agent ended after one of its writes",
            Self::Cut => "network cut",
            Self::MachineDiskFull => "machine's disk full",
            Self::EtcdFull => "etcd's quota full",
            Self::AgentClock => "agent's clock moved",
            Self::ControllerClock => "controller's clock moved",
        })
    }
}

/// One disturbed join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the run, from 1.
    pub run: u32,
    /// What happens.
    pub kind: Kind,
    /// When it happens, counted from the creation of the request, in thousandths of the time that an undisturbed join
    /// takes: a slower host is hit at the same place of the join.
    pub moment: u32,
    /// A killed process of the control plane: until it is started again. All else: until the fault is undone.
    pub lasts: Duration,
    /// How far a clock is moved, in seconds; 0 for all else.
    pub offset: i64,
    /// After which write the agent ends, from 1; 0 for all else.
    pub write: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, kind, moment, lasts, offset, write } = self;
        write!(f, "run {run}: {kind}")?;
        match kind {
            Kind::AfterWrite => write!(f, ", number {write}")?,
            Kind::AgentClock | Kind::ControllerClock => write!(f, " by {offset:+} s")?,
            _ => write!(f, " at {:.1} % of a join", f64::from(*moment) / 10.0)?,
        }
        match kind {
            Kind::AfterWrite | Kind::Kill(Victim::Agent | Victim::Kubelet | Victim::Containerd) => Ok(()),
            Kind::Kill(_) => write!(f, ", started again after {:.1} s", lasts.as_secs_f64()),
            _ => write!(f, ", for {:.1} s", lasts.as_secs_f64()),
        }
    }
}

/// How many joins of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Something is killed, each victim equally often as far as that is possible.
    pub kills: u32,
    /// The network is cut.
    pub cuts: u32,
    /// The machine's disk and etcd's quota are full, in turns.
    pub full: u32,
    /// The agent's and the controller's clock are moved, in turns.
    pub clocks: u32,
    /// The longest cut.
    pub longest_cut: Duration,
}

impl Counts {
    /// What a run of a few minutes has time for: something of everything, and no long cut.
    pub const SHORT: Self = Self { kills: 10, cuts: 4, full: 4, clocks: 2, longest_cut: Duration::from_secs(5) };
}

/// A kill may also come a little after the join: from one fifth beyond its usual end on nothing is disturbed any more.
const LAST_MOMENT: u64 = 1200;
/// A kubelet does not run in the first part of a join, and what is not there cannot be killed.
const FIRST_KUBELET: u64 = 400;
/// The longest time until a process of the control plane is started again.
const LONGEST_RESTART: Duration = Duration::from_secs(5);
/// The longest time for which a disk or the quota stays full.
const LONGEST_FULL: Duration = Duration::from_secs(20);
/// How long a clock stays wrong at the most, when the join does not end before.
const WRONG_CLOCK: Duration = Duration::from_secs(20);
/// By how much clocks are moved: both sides of every limit that certificates and tokens have here.
const OFFSETS: [i64; 8] = [60, -60, 240, -240, 900, -900, 86_400, -86_400];

/// Draws the faults, in the order of their runs.
pub fn plan(seed: u64, counts: &Counts) -> Vec<Fault> {
    let victims = Victim::ALL.map(Kind::Kill);
    let kinds = turns(counts.kills, &victims)
        .chain(turns(counts.cuts, &[Kind::Cut]))
        .chain(turns(counts.full, &[Kind::MachineDiskFull, Kind::EtcdFull]))
        .chain(turns(counts.clocks, &[Kind::AgentClock, Kind::ControllerClock]));
    let mut faults: Vec<(u64, Fault)> = (0..)
        .zip(kinds)
        .map(|(index, kind)| {
            let draw = Draw { seed, index };
            (draw.number("order"), draw.fault(kind, counts))
        })
        .collect();
    faults.sort_by_key(|(order, _)| *order);
    (1..).zip(faults).map(|(run, (_, fault))| Fault { run, ..fault }).collect()
}

/// How many joins as a control plane, of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPlaneCounts {
    /// The agent ends after its first write, after its second one, and so on up to this one, or up to the last one that
    /// there is.
    pub writes: u32,
    /// The agent is killed at a random moment.
    pub kills: u32,
}

/// The faults of joins as a control plane: one after the other write, and then the moments that are drawn.
pub fn plan_of_control_planes(seed: u64, counts: ControlPlaneCounts) -> Vec<Fault> {
    let after_write =
        |write| Fault { run: write, kind: Kind::AfterWrite, moment: 0, lasts: Duration::ZERO, offset: 0, write };
    let killed = |number| {
        let kill = Draw { seed, index: number }.fault(Kind::Kill(Victim::Agent), &Counts::SHORT);
        Fault { run: counts.writes + number, lasts: Duration::ZERO, ..kill }
    };
    (1..=counts.writes).map(after_write).chain((1..=counts.kills).map(killed)).collect()
}

/// So many kinds, one after the other and again from the first one.
fn turns(count: u32, kinds: &[Kind]) -> impl Iterator<Item = Kind> {
    kinds.iter().copied().cycle().take(count as usize)
}

/// The random numbers of one fault. Each has a name, so that a new one does not change the others: a hash of seed, fault
/// and name is the same on every platform and with every version of every library.
struct Draw {
    seed: u64,
    index: u32,
}

impl Draw {
    fn number(&self, name: &str) -> u64 {
        let hash = Sha256::new()
            .chain_update(self.seed.to_be_bytes())
            .chain_update(self.index.to_be_bytes())
            .chain_update(name)
            .finalize();
        hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    /// From `least` to `most`, both included. The modulus favours small numbers by less than one in 10¹⁵.
    fn between(&self, name: &str, least: u64, most: u64) -> u64 {
        least + self.number(name) % (most.saturating_sub(least) + 1)
    }

    fn duration(&self, name: &str, least: Duration, most: Duration) -> Duration {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.between(name, milliseconds(least), milliseconds(most)))
    }

    fn fault(&self, kind: Kind, counts: &Counts) -> Fault {
        let second = Duration::from_secs(1);
        let lasts = match kind {
            Kind::Kill(_) => self.duration("lasts", Duration::ZERO, LONGEST_RESTART),
            Kind::Cut => self.duration("lasts", second, counts.longest_cut),
            Kind::MachineDiskFull | Kind::EtcdFull => {
                self.duration("lasts", second, LONGEST_FULL.min(4 * counts.longest_cut))
            }
            Kind::AfterWrite => Duration::ZERO,
            Kind::AgentClock | Kind::ControllerClock => WRONG_CLOCK.min(4 * counts.longest_cut),
        };
        let is_clock = matches!(kind, Kind::AgentClock | Kind::ControllerClock);
        let first = if kind == Kind::Kill(Victim::Kubelet) { FIRST_KUBELET } else { 0 };
        let which = usize::try_from(self.between("offset", 0, OFFSETS.len() as u64 - 1)).unwrap_or(0);
        Fault {
            run: 0,
            kind,
            // A program has its clock from its start on.
            moment: if is_clock { 0 } else { u32::try_from(self.between("moment", first, LAST_MOMENT)).unwrap_or(0) },
            lasts,
            offset: if is_clock { OFFSETS.get(which).copied().unwrap_or_default() } else { 0 },
            write: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts() -> impl Strategy<Value = Counts> {
        (0u32..40, 0u32..20, 0u32..20, 0u32..20, 1u64..=60).prop_map(|(kills, cuts, full, clocks, longest)| Counts {
            kills,
            cuts,
            full,
            clocks,
            longest_cut: Duration::from_secs(longest),
        })
    }

    fn of(faults: &[Fault], wanted: impl Fn(Kind) -> bool) -> Vec<Fault> {
        faults.iter().copied().filter(|fault| wanted(fault.kind)).collect()
    }

    proptest! {
        #[test]
        fn the_same_seed_draws_the_same_faults(seed: u64, counts in counts()) {
            prop_assert_eq!(plan(seed, &counts), plan(seed, &counts));
        }

        #[test]
        fn every_kind_comes_as_often_as_was_asked_for(seed: u64, counts in counts()) {
            let faults = plan(seed, &counts);
            let numbers: Vec<u32> = faults.iter().map(|fault| fault.run).collect();
            let total = counts.kills + counts.cuts + counts.full + counts.clocks;
            prop_assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
            prop_assert_eq!(of(&faults, |kind| matches!(kind, Kind::Kill(_))).len(), counts.kills as usize);
            prop_assert_eq!(of(&faults, |kind| kind == Kind::Cut).len(), counts.cuts as usize);
            for victim in Victim::ALL {
                let times = of(&faults, |kind| kind == Kind::Kill(victim)).len();
                prop_assert!(times.abs_diff(counts.kills as usize / Victim::ALL.len()) <= 1);
            }
            let disk = of(&faults, |kind| kind == Kind::MachineDiskFull).len();
            let quota = of(&faults, |kind| kind == Kind::EtcdFull).len();
            prop_assert_eq!(disk + quota, counts.full as usize);
            prop_assert!(disk - quota <= 1);
        }

        #[test]
        fn every_fault_stays_within_its_bounds(seed: u64, counts in counts()) {
            for fault in plan(seed, &counts) {
                prop_assert!(u64::from(fault.moment) <= LAST_MOMENT);
                match fault.kind {
                    Kind::Kill(_) => prop_assert!(fault.lasts <= LONGEST_RESTART),
                    Kind::Cut => {
                        prop_assert!((Duration::from_secs(1)..=counts.longest_cut).contains(&fault.lasts));
                    }
                    _ => prop_assert!((Duration::from_secs(1)..=LONGEST_FULL).contains(&fault.lasts)),
                }
                let is_clock = matches!(fault.kind, Kind::AgentClock | Kind::ControllerClock);
                prop_assert_eq!(fault.offset != 0, is_clock);
            }
        }
    }

    #[test]
    fn another_seed_draws_other_faults() {
        let counts = Counts { kills: 200, cuts: 50, full: 20, clocks: 10, longest_cut: Duration::from_mins(1) };
        assert_ne!(plan(1, &counts), plan(2, &counts));
        let cuts = of(&plan(1, &counts), |kind| kind == Kind::Cut);
        let longest = cuts.iter().map(|fault| fault.lasts).max().unwrap();
        let shortest = cuts.iter().map(|fault| fault.lasts).min().unwrap();
        assert!(longest > Duration::from_secs(45) && shortest < Duration::from_secs(15), "{shortest:?} to {longest:?}");
    }

    /// A seed in the documentation must go on meaning the same runs.
    #[test]
    fn what_a_seed_means_does_not_change() {
        let first: Vec<String> = plan(7, &Counts::SHORT).iter().take(4).map(ToString::to_string).collect();
        assert_eq!(
            first,
            [
                "run 1: machine's disk full at 7.6 % of a join, for 7.3 s",
                "run 2: network cut at 33.4 % of a join, for 2.2 s",
                "run 3: kubelet killed at 41.3 % of a join",
                "run 4: machine's disk full at 7.6 % of a join, for 18.4 s",
            ]
        );
    }

    #[test]
    fn a_control_planes_join_is_hit_after_each_write_and_at_moments_of_the_seed() {
        let counts = ControlPlaneCounts { writes: 3, kills: 20 };
        let faults = plan_of_control_planes(7, counts);
        let lines: Vec<String> = faults.iter().skip(1).take(4).map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "run 2: join-agent ended after one of its writes, number 2",
                "run 3: join-agent ended after one of its writes, number 3",
                "run 4: join-agent killed at 104.7 % of a join",
                "run 5: join-agent killed at 45.8 % of a join",
            ]
        );
        assert_eq!(faults.iter().map(|fault| fault.run).collect::<Vec<_>>(), (1..=23).collect::<Vec<_>>());
        assert_eq!(faults, plan_of_control_planes(7, counts));
        assert_ne!(faults, plan_of_control_planes(8, counts));
        assert!(faults.iter().all(|fault| u64::from(fault.moment) <= LAST_MOMENT && fault.lasts.is_zero()));
    }

    #[test]
    fn the_short_form_has_twenty_runs_and_every_kind() {
        let faults = plan(1, &Counts::SHORT);
        assert_eq!(faults.len(), 20);
        let mut kinds: Vec<Kind> = faults.iter().map(|fault| fault.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), Victim::ALL.len() + 5);
    }
}
