//! `docs/reliability.md`: the runs as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use join_crds::Reason;

use super::judge::{Ended, is_progress};
use super::plan::{Fault, Kind};

/// What came out of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was done to it.
    pub fault: Fault,
    /// Whether the fault hit something.
    pub was_hit: bool,
    /// The step and the message that the agent showed when the fault was taken back, if the join was not over by then.
    pub told: Option<(String, String)>,
    /// What must not be.
    pub violations: Vec<String>,
    /// How the join ended.
    pub ended: Ended,
    /// Every reason that the request had on the way.
    pub reasons: BTreeSet<Reason>,
}

impl Outcome {
    /// A run that did not get to its end.
    pub fn unfinished(fault: Fault, violation: String) -> Self {
        let ended = Ended::NotReady { reason: None, message: violation.clone() };
        Self { fault, was_hit: true, told: None, violations: vec![violation], ended, reasons: BTreeSet::new() }
    }

    /// The run in a line or two, for a terminal.
    pub fn line(&self) -> String {
        let mut line = match &self.ended {
            Ended::Ready { after } => format!("{}: Ready after {:.1} s", self.fault, after.as_secs_f64()),
            Ended::NotReady { reason, .. } => {
                format!("{}: ended in {}", self.fault, reason.map_or("no reason", Reason::as_str))
            }
        };
        if !self.was_hit {
            line.push_str(" (nothing was there to be hit)");
        }
        if let Some((step, message)) = &self.told {
            let _ = write!(line, "\n   the agent said: {step}: {message}");
        }
        for violation in &self.violations {
            let _ = write!(line, "\n   VIOLATION: {violation}");
        }
        line
    }
}

/// Everything that one call of `cargo xtask chaos` saw.
#[derive(Clone, Debug)]
pub struct Results {
    /// The seed of all faults.
    pub seed: u64,
    /// The command that runs the same again.
    pub command: String,
    /// The Kubernetes version.
    pub kubernetes: String,
    /// How many machines joined at once.
    pub at_once: usize,
    /// Whether they joined as control planes.
    pub are_control_planes: bool,
    /// How many runs were asked for.
    pub planned: usize,
    /// What an undisturbed join takes here.
    pub undisturbed: Duration,
    /// The runs, by their numbers.
    pub outcomes: Vec<Outcome>,
}

impl Results {
    /// The number of violations in all runs.
    pub fn violations(&self) -> usize {
        self.outcomes.iter().map(|outcome| outcome.violations.len()).sum()
    }

    /// The page with these results in place of those that it has of the same kind. `date` and `host` say when and where
    /// they were measured.
    pub fn write_into(&self, page: &str, date: &str, host: &str) -> String {
        let (workers, control_planes) = match page.split_once(CONTROL_PLANES) {
            Some((workers, section)) => (workers, format!("{CONTROL_PLANES}{section}")),
            None => (page, String::new()),
        };
        if self.are_control_planes {
            format!("{workers}{}", self.section(date, host))
        } else {
            format!("{}{control_planes}", self.markdown(date, host))
        }
    }

    /// The section of control planes.
    fn section(&self, date: &str, host: &str) -> String {
        let mut section = format!(
            "{CONTROL_PLANES}\n\
             Written by `cargo xtask chaos --control-planes` on {date}: {} as a second control plane, seed {}, one after the other in \
             one lab, each with a member of etcd beside the first one's. An undisturbed join takes {:.1} s there (median of three), \
             most of it until the static pods are Ready; it is the 1 of the last two columns.\n\n\
             Host: {host}. Kubernetes {}.\n\n\
             The same again: `{}`. One run of it: the same with `--only` and the run's number.\n\n",
            self.runs(),
            self.seed,
            self.undisturbed.as_secs_f64(),
            self.kubernetes,
            self.command,
        );
        section.push_str(&self.table());
        for part in [self.told_while_disturbed(), self.broken()] {
            section.push_str(&part.replace("\n## ", "\n### "));
        }
        section.push_str(EXPLANATION_OF_CONTROL_PLANES);
        section
    }

    fn runs(&self) -> String {
        let done = self.outcomes.len();
        if done == self.planned {
            format!("{done} joins")
        } else {
            format!("{done} of {} joins (interrupted)", self.planned)
        }
    }

    /// The page of workers.
    fn markdown(&self, date: &str, host: &str) -> String {
        let runs = self.runs();
        let mut page = format!(
            "# Reliability\n\n\
             Written by `cargo xtask chaos` on {date}: {runs}, seed {}, {} at once where their faults do not meet, in one lab with \
             the real programs. An undisturbed join takes {:.2} s there (median of three); it is the 1 of the last two columns.\n\n\
             Host: {host}. Kubernetes {}.\n\n\
             The same again: `{}`. One run of it: the same with `--only` and the run's number. The seed fixes which faults hit which \
             run, and where in the join; what the processes do meanwhile is theirs.\n\n",
            self.seed,
            self.at_once,
            self.undisturbed.as_secs_f64(),
            self.kubernetes,
            self.command,
        );
        page.push_str(&self.table());
        page.push_str(&self.told_while_disturbed());
        page.push_str(&self.broken());
        page.push_str(EXPLANATION);
        page
    }

    fn kinds(&self) -> BTreeMap<Kind, Vec<&Outcome>> {
        let mut kinds: BTreeMap<Kind, Vec<&Outcome>> = BTreeMap::new();
        for outcome in &self.outcomes {
            kinds.entry(outcome.fault.kind).or_default().push(outcome);
        }
        kinds
    }

    fn table(&self) -> String {
        let mut table =
            "| fault | runs | hit | Ready | ended in a reason | violations | median time to Ready | worst |\n\
                         |---|---|---|---|---|---|---|---|\n"
                .to_owned();
        for (kind, outcomes) in self.kinds() {
            let _ = writeln!(table, "| {kind} | {}", self.row(&outcomes));
        }
        let all: Vec<&Outcome> = self.outcomes.iter().collect();
        let _ = writeln!(table, "| **all** | {}", self.row(&all));
        table
    }

    fn row(&self, outcomes: &[&Outcome]) -> String {
        let mut times: Vec<Duration> = outcomes
            .iter()
            .filter_map(|outcome| match outcome.ended {
                Ended::Ready { after } => Some(after),
                Ended::NotReady { .. } => None,
            })
            .collect();
        times.sort_unstable();
        let relative = |time: Option<&Duration>| {
            let unit = self.undisturbed.as_secs_f64();
            time.map_or("–".to_owned(), |time| {
                format!("{:.1} × ({:.1} s)", time.as_secs_f64() / unit, time.as_secs_f64())
            })
        };
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in outcomes {
            if let Ended::NotReady { reason, .. } = &outcome.ended {
                *reasons.entry(reason.map_or("no reason", Reason::as_str)).or_default() += 1;
            }
        }
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let violations: usize = outcomes.iter().map(|outcome| outcome.violations.len()).sum();
        format!(
            "{} | {} | {} | {} | {violations} | {} | {} |",
            outcomes.len(),
            outcomes.iter().filter(|outcome| outcome.was_hit).count(),
            times.len(),
            if reasons.is_empty() { "–".to_owned() } else { reasons.join(", ") },
            relative(times.get(times.len() / 2)),
            relative(times.last()),
        )
    }

    /// What requests said on the way that a join which nothing disturbs does not say.
    fn told_while_disturbed(&self) -> String {
        let mut said: BTreeMap<(Kind, Reason), usize> = BTreeMap::new();
        for outcome in &self.outcomes {
            for reason in outcome.reasons.iter().filter(|reason| !is_progress(**reason)) {
                *said.entry((outcome.fault.kind, *reason)).or_default() += 1;
            }
        }
        if said.is_empty() {
            return "\nNo request named a failure on its way.\n".to_owned();
        }
        let mut text = "\n## What requests said on the way\n\n\
                        Failures that were in the condition Ready for a while, and went when what they named was over.\n\n\
                        | fault | reason | runs |\n|---|---|---|\n"
            .to_owned();
        for ((kind, reason), count) in said {
            let _ = writeln!(text, "| {kind} | {} | {count} |", reason.as_str());
        }
        text
    }

    fn broken(&self) -> String {
        let mut text = String::new();
        for outcome in &self.outcomes {
            for violation in &outcome.violations {
                let _ = writeln!(text, "- {}: {violation}", outcome.fault);
            }
        }
        if text.is_empty() { text } else { format!("\n## Violations\n\n{text}") }
    }
}

/// What the section of control planes begins with.
const CONTROL_PLANES: &str = "\n## Control planes\n";

/// What was done to joins as a control plane, and what was looked at.
const EXPLANATION_OF_CONTROL_PLANES: &str = "
### What was done to control planes

- **Ended after one of its writes**: the agent aborts right after the first write to the machine in one run, after the second one in the next, and so on, once in each; its unit starts it again. In the last of these runs there was no such write any more, and so it was not *hit*.
- **Killed**: SIGKILL at a random moment between the creation of the request and a little after the usual end of a join.

### What must hold of control planes

All that must hold of workers. Besides, etcd has exactly one member of each machine, and each of them votes; after `join-agent reset` it has the first one's alone.
";

/// What the columns mean, and what was looked at.
const EXPLANATION: &str = "
## What was done

- **Killed**: SIGKILL at a random moment between the creation of the request and a little after the usual end of a join. Processes of the machine come back by their units (`Restart=`), those of the control plane after a random time of up to 5 s. The kubelet is killed from two fifths of a join on, since it does not run before its files are written; *hit* counts the runs in which there was something to kill.
- **Network cut**: no packet passes between the machine and everything else, for 1 to 60 s, without any interface going down.
- **Disk full**: the machine's root file system takes no further byte, for 1 to 20 s.
- **Quota full**: etcd has raised its alarm NOSPACE and refuses every write, for 1 to 20 s.
- **Clocks**: the agent or the controller starts with a clock that is 1 min, 4 min, 15 min or a day off, in either direction, until the join ends, or for 20 s. Then it is started again with the right one.

## What must hold

After each run: the request is Ready; every reason that it had on the way was true; one token was made, one certificate issued, all for one key; token and signature are gone as soon as they have served; no file of an interrupted write is on the machine. After `join-agent reset` the machine is what it was before the join in every path that a join touches, and after the deletion of the request there is no record of it. Anything else is a violation, and the run keeps the logs of every process.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::Victim;

    fn outcome(run: u32, kind: Kind, ended: Ended) -> Outcome {
        let fault = Fault { run, kind, moment: 500, lasts: Duration::from_secs(2), offset: 0, write: 0 };
        Outcome { fault, was_hit: true, told: None, violations: Vec::new(), ended, reasons: [Reason::Joining].into() }
    }

    fn ready(seconds: u64) -> Ended {
        Ended::Ready { after: Duration::from_secs(seconds) }
    }

    fn results() -> Results {
        let expired = Ended::NotReady { reason: Some(Reason::TokenExpired), message: String::new() };
        let mut missed = outcome(2, Kind::Kill(Victim::Kubelet), ready(1));
        missed.was_hit = false;
        let mut failed = outcome(4, Kind::MachineDiskFull, ready(9));
        failed.reasons.insert(Reason::AgentFailed);
        let mut broken = outcome(5, Kind::Cut, Ended::NotReady { reason: None, message: String::new() });
        broken.violations.push("token abcdef is there after the join".to_owned());
        Results {
            seed: 7,
            command: "cargo xtask chaos --seed 7".to_owned(),
            kubernetes: "v1.37.2".to_owned(),
            at_once: 2,
            are_control_planes: false,
            planned: 6,
            undisturbed: Duration::from_secs(2),
            outcomes: vec![
                outcome(1, Kind::Kill(Victim::Kubelet), ready(12)),
                missed,
                outcome(3, Kind::ControllerClock, expired),
                failed,
                broken,
            ],
        }
    }

    #[test]
    fn the_page_is_that_of_the_golden_file() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/chaos/golden/reliability.md");
        let page = results().write_into("", "2026-01-31", "a host");
        let page = of_control_planes().write_into(&page, "2026-02-01", "a host");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        assert_eq!(page, std::fs::read_to_string(path).unwrap());
    }

    fn of_control_planes() -> Results {
        let mut hit = outcome(1, Kind::AfterWrite, ready(30));
        hit.reasons.insert(Reason::AgentFailed);
        let mut broken = outcome(3, Kind::Kill(Victim::Agent), ready(40));
        broken.violations.push("etcd's member \"chaos-1\" had no vote".to_owned());
        let mut beyond = outcome(2, Kind::AfterWrite, ready(20));
        beyond.was_hit = false;
        Results {
            at_once: 1,
            are_control_planes: true,
            planned: 3,
            undisturbed: Duration::from_secs(20),
            command: "cargo xtask chaos --control-planes --seed 7".to_owned(),
            outcomes: vec![hit, beyond, broken],
            ..results()
        }
    }

    #[test]
    fn results_replace_those_of_the_same_kind_alone() {
        let workers = results().write_into("", "2026-01-31", "a host");
        let both = of_control_planes().write_into(&workers, "2026-02-01", "a host");
        assert!(both.starts_with(&workers) && both.len() > workers.len());
        assert_eq!(results().write_into(&both, "2026-01-31", "a host"), both);
        assert_eq!(of_control_planes().write_into(&both, "2026-02-01", "a host"), both);
        let later = results().write_into(&both, "2026-03-01", "a host");
        assert_eq!(later, both.replace("2026-01-31", "2026-03-01"));
    }

    #[test]
    fn a_violation_is_in_the_line_of_its_run_and_counted() {
        let results = results();
        assert_eq!(results.violations(), 1);
        let line = results.outcomes[4].line();
        assert!(line.contains("run 5: network cut") && line.contains("VIOLATION: token abcdef"), "{line}");
        assert!(results.outcomes[1].line().contains("nothing was there to be hit"));
    }

    #[test]
    fn a_run_that_was_not_finished_is_a_violation() {
        let fault = Fault { run: 1, kind: Kind::Cut, moment: 0, lasts: Duration::ZERO, offset: 0, write: 0 };
        assert_eq!(Outcome::unfinished(fault, "because".to_owned()).violations, ["because"]);
    }
}
