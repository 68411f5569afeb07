//! Starting the kubelet, and what keeps it from being healthy: told while it is so, not only in the end.

use std::time::{Duration, Instant};

use http::Request;
use join_crds::Reason;
use kube::Client;
use zbus::proxy;

use crate::checks::basics;
use crate::connection;

use super::{Error, HEALTH_TIMEOUT, Systemd, UNIT, UnitProxy, bus, words};

/// How long one question may take. The kubelet answers from memory.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// The pauses between questions: from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often the unit is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// How long a kubelet that runs may take to be healthy before that is told: a sound one needs a second or two.
const SHOULD_BE_HEALTHY: Duration = Duration::from_secs(8);
/// The least pause between two reports with the same reason: a kubelet that ends again and again can end with other
/// words each time.
const LEAST_PAUSE: Duration = Duration::from_secs(30);

/// What keeps the kubelet from being healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In one word.
    pub reason: Reason,
    /// What was seen.
    pub message: String,
}

#[proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    #[zbus(property, name = "NRestarts")]
    fn n_restarts(&self) -> zbus::Result<u32>;
}

/// How the kubelet's process is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// `active`, `activating` (also between two restarts), `failed` and others.
    active_state: String,
    /// `running`, `auto-restart`, `failed` and others.
    sub_state: String,
    /// Why the last process ended: `exit-code`, `signal`, `success` and others.
    result: String,
    /// Its exit code, or the signal.
    status: i32,
    /// Identifies one start of the unit, in its log too.
    invocation: String,
    /// How often systemd has started it again.
    restarts: u32,
}

impl Run {
    async fn observe(systemd: &Systemd) -> zbus::Result<Self> {
        let unit: UnitProxy<'_> = systemd.unit(UNIT).await?;
        let path = systemd.unit_path(UNIT).await?;
        let service = ServiceProxy::builder(systemd.connection())
            .path(path)
            .cache_properties(proxy::CacheProperties::No)
            .build()
            .await?;
        Ok(Self {
            active_state: unit.active_state().await?,
            sub_state: unit.sub_state().await?,
            result: service.result().await?,
            status: service.exec_main_status().await?,
            invocation: hex::encode(unit.invocation_id().await?),
            restarts: service.n_restarts().await?,
        })
    }

    fn is_running(&self) -> bool {
        self.active_state == "active"
    }

    /// Whether it has ended, and waits for its next start or for nothing at all.
    fn has_ended(&self) -> bool {
        self.sub_state.starts_with("auto-restart") || matches!(self.active_state.as_str(), "failed" | "inactive")
    }
}

/// What a look at the unit means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Judgement {
    /// Nothing is wrong, or nothing can be said yet.
    Patience,
    /// It has ended.
    Ended,
    /// It runs for long enough, and is not healthy.
    Unhealthy,
}

/// Judges a look. `running_since` is when this process was seen first.
fn judge(run: &Run, running_for: Duration) -> Judgement {
    if run.has_ended() {
        Judgement::Ended
    } else if run.is_running() && running_for >= SHOULD_BE_HEALTHY {
        Judgement::Unhealthy
    } else {
        Judgement::Patience
    }
}

fn ended(run: &Run, lines: &str) -> Trouble {
    let said = if lines.is_empty() { "it wrote nothing".to_owned() } else { format!("its last errors: {lines}") };
    let how = format!("{UNIT} ended ({}, status {})", run.result, run.status);
    Trouble { reason: Reason::KubeletNotStarted, message: format!("{how}; {said}") }
}

/// A kubelet that cannot write is not well, and does not always say why.
fn because_of_disk(trouble: Trouble, not_writable: Option<String>) -> Trouble {
    match not_writable {
        None => trouble,
        Some(disk) => Trouble { reason: Reason::MachineNotWritable, message: format!("{disk}; {}", trouble.message) },
    }
}

/// Restarts the kubelet and waits until it says that it is well, at the address that its configuration gives
/// ([`crate::files::healthz_url`]); without one it is not asked.
///
/// `tell` is told of what is in the way while it is so: systemd starts a kubelet that ends again and again, and it may
/// well come up once its trouble is mended.
pub async fn start(systemd: &Systemd, url: Option<&str>, mut tell: impl AsyncFnMut(&Trouble)) -> Result<(), Error> {
    systemd.restart_kubelet().await?;
    let Some(url) = url else { return Ok(()) };
    let (began, mut pause) = (Instant::now(), PAUSES.0);
    let client = client(url).map_err(Error::Unhealthy)?;
    let mut watch = Watch::default();
    loop {
        let Err(answer) = ask(&client, url).await else { return Ok(()) };
        if watch.looked.is_none_or(|looked| looked.elapsed() >= LOOK)
            && let Some(trouble) = watch.look(systemd, &answer).await
        {
            tell(&trouble).await;
        }
        if began.elapsed() >= HEALTH_TIMEOUT {
            return Err(Error::Unhealthy(watch.told.map_or_else(|| unhealthy(&answer), |(trouble, _)| trouble)));
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f32(1.5).min(PAUSES.1);
    }
}

fn unhealthy(answer: &str) -> Trouble {
    Trouble { reason: Reason::KubeletUnhealthy, message: format!("{UNIT} runs, and is not healthy: {answer}") }
}

fn client(url: &str) -> Result<Client, Trouble> {
    let server = url.parse().map_err(|error: http::uri::InvalidUri| unhealthy(&format!("{url}: {error}")))?;
    connection::local_client(&server).map_err(|error| unhealthy(&error.to_string()))
}

async fn ask(client: &Client, url: &str) -> Result<(), String> {
    let request = Request::get("/healthz").body(Vec::new()).map_err(|error| error.to_string())?;
    match tokio::time::timeout(ASK_TIMEOUT, client.request_text(request)).await {
        Ok(answer) => answer.map(drop).map_err(|error| format!("{url}/healthz: {}", words::innermost(&error))),
        Err(_elapsed) => Err(format!("{url}/healthz: no answer within {} s", ASK_TIMEOUT.as_secs())),
    }
}

/// What was seen of the unit over time, and told.
#[derive(Default)]
struct Watch {
    looked: Option<Instant>,
    /// The process that runs, and since when it was seen.
    running: Option<(String, Instant)>,
    told: Option<(Trouble, Instant)>,
}

impl Watch {
    /// Looks at the unit, and returns what is to be told now.
    async fn look(&mut self, systemd: &Systemd, answer: &str) -> Option<Trouble> {
        let now = Instant::now();
        self.looked = Some(now);
        // What systemd says when it cannot be asked is told by the failure at the end.
        let run = Run::observe(systemd).await.map_err(bus("look at", UNIT)).ok()?;
        let trouble = match judge(&run, self.running_for(&run, now)) {
            Judgement::Patience => return None,
            Judgement::Ended => ended(&run, &words::of_kubelet(&run.invocation).await),
            Judgement::Unhealthy => unhealthy(answer),
        };
        let trouble = because_of_disk(trouble, basics::not_writable());
        self.is_news(&trouble, now).then(|| {
            self.told = Some((trouble.clone(), now));
            trouble
        })
    }

    fn running_for(&mut self, run: &Run, now: Instant) -> Duration {
        if !run.is_running() {
            self.running = None;
            return Duration::ZERO;
        }
        let since = match &self.running {
            Some((invocation, since)) if *invocation == run.invocation => *since,
            _ => now,
        };
        self.running = Some((run.invocation.clone(), since));
        now.duration_since(since)
    }

    fn is_news(&self, trouble: &Trouble, now: Instant) -> bool {
        match &self.told {
            None => true,
            Some((told, _)) if told == trouble => false,
            Some((told, when)) => told.reason != trouble.reason || now.duration_since(*when) >= LEAST_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(active_state: &str, sub_state: &str, invocation: &str) -> Run {
        Run {
            active_state: active_state.to_owned(),
            sub_state: sub_state.to_owned(),
            result: "exit-code".to_owned(),
            status: 1,
            invocation: invocation.to_owned(),
            restarts: 0,
        }
    }

    #[test]
    fn a_unit_is_judged_by_its_state_and_how_long_it_runs() {
        for (active_state, sub_state, seconds, expected) in [
            ("active", "running", 0, Judgement::Patience),
            ("active", "running", 7, Judgement::Patience),
            ("active", "running", 8, Judgement::Unhealthy),
            ("activating", "start-pre", 60, Judgement::Patience),
            ("activating", "auto-restart", 0, Judgement::Ended),
            ("activating", "auto-restart-queued", 0, Judgement::Ended),
            ("failed", "failed", 0, Judgement::Ended),
            ("inactive", "dead", 0, Judgement::Ended),
            ("deactivating", "stop-sigterm", 9, Judgement::Patience),
        ] {
            let judged = judge(&run(active_state, sub_state, "a"), Duration::from_secs(seconds));
            assert_eq!(judged, expected, "{active_state} ({sub_state}) for {seconds} s");
        }
    }

    #[test]
    fn a_disk_that_cannot_be_written_to_is_the_reason() {
        let trouble = unhealthy("refused");
        assert_eq!(because_of_disk(trouble.clone(), None), trouble);
        let full = because_of_disk(trouble.clone(), Some("/var/lib/kubelet has 0 KiB left".to_owned()));
        assert_eq!(full.reason, Reason::MachineNotWritable);
        assert_eq!(full.message, format!("/var/lib/kubelet has 0 KiB left; {}", trouble.message));
    }

    #[test]
    fn each_process_gets_its_own_time() {
        let (began, mut watch) = (Instant::now(), Watch::default());
        let mut seen = |run: &Run, seconds: u64| watch.running_for(run, began + Duration::from_secs(seconds)).as_secs();
        assert_eq!(seen(&run("active", "running", "a"), 0), 0);
        assert_eq!(seen(&run("active", "running", "a"), 5), 5);
        assert_eq!(seen(&run("active", "running", "b"), 6), 0);
        assert_eq!(seen(&run("activating", "auto-restart", "b"), 7), 0);
        assert_eq!(seen(&run("active", "running", "c"), 20), 0);
    }

    #[test]
    fn another_reason_is_news_and_other_words_are_after_a_while() {
        let (began, mut watch) = (Instant::now(), Watch::default());
        let first = ended(&run("failed", "failed", "a"), "unknown flag");
        assert!(watch.is_news(&first, began));
        assert_eq!(first.message, "kubelet.service ended (exit-code, status 1); its last errors: unknown flag");
        watch.told = Some((first.clone(), began));
        let after = |seconds| began + Duration::from_secs(seconds);
        let other = ended(&run("failed", "failed", "a"), "");
        assert!(!watch.is_news(&first, after(60)));
        assert!(!watch.is_news(&other, after(29)) && watch.is_news(&other, after(30)));
        assert!(watch.is_news(&unhealthy("refused"), after(1)));
    }
}
