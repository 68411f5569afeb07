//! The kubelet's unit: systemd over D-Bus, and what comes of starting it.

mod start;
mod words;

use std::ffi::OsStr;
use std::time::Duration;

use futures::StreamExt;
use join_crds::Reason;
use tokio::sync::OnceCell;
use zbus::{OwnedObjectPath, Variant, proxy};

pub use self::start::{Trouble, start};
use crate::journal::UnitState;

/// The unit that runs the kubelet.
pub const UNIT: &str = "kubelet.service";
/// kubeadm waits this long too.
const HEALTH_TIMEOUT: Duration = Duration::from_mins(4);
/// How long systemd may take to start the unit.
const JOB_TIMEOUT: Duration = Duration::from_mins(1);

/// Pause before a command runs again that failed in a unit of its own, in systemd's unit.
const RESTART_MICROSECONDS: u64 = 5_000_000;

/// The kubelet does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// systemd could not be asked.
    #[error("failed to {action} {unit} through systemd: {source}; see `systemctl status {unit}`")]
    Bus {
        /// The unit.
        unit: String,
        /// What was asked.
        action: &'static str,
        /// What D-Bus said.
        source: zbus::Error,
    },
    /// systemd tried, and the unit did not start.
    #[error("systemd's job to {action} {unit} ended as {result:?}, expected \"done\"; see `journalctl -u {unit}`")]
    Job {
        /// What was asked.
        action: &'static str,
        /// The unit.
        unit: String,
        /// The job's result.
        result: String,
    },
    /// systemd did not finish.
    #[error("systemd did not {action} {unit} within {} s; see `systemctl list-jobs`", JOB_TIMEOUT.as_secs())]
    JobTimeout {
        /// What was asked.
        action: &'static str,
        /// The unit.
        unit: String,
    },
    /// The kubelet is not healthy.
    #[error("the kubelet was not healthy within {} s: {}; see `journalctl -u {UNIT}`", HEALTH_TIMEOUT.as_secs(), .0.message)]
    Unhealthy(Trouble),
}

impl Error {
    /// The one word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unhealthy(trouble) => trouble.reason,
            Self::Bus { .. } | Self::Job { .. } | Self::JobTimeout { .. } => Reason::KubeletNotStarted,
        }
    }
}

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, &[(&str, Variant<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
    #[zbus(property)]
    fn need_daemon_reload(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn unit_file_state(&self) -> zbus::Result<String>;
}

fn bus(action: &'static str, unit: &str) -> impl FnOnce(zbus::Error) -> Error {
    move |source| Error::Bus { unit: unit.to_owned(), action, source }
}

/// A unit that runs one command and is gone.
fn properties_of<'a>(description: &'a str, words: &[&OsStr]) -> [(&'static str, Variant<'a>); 4] {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let program = words.first().cloned().unwrap_or_default();
    [
        ("Description", Variant::from(description)),
        ("Type", Variant::from("oneshot")),
        ("ExecStart", Variant::new(vec![(program, words, false)])),
        // A unit that failed makes room for the next one of its name.
        ("CollectMode", Variant::from("inactive-or-failed")),
    ]
}

/// A connection to systemd, made before it is needed.
pub struct Systemd {
    connection: zbus::Connection,
    /// Whether systemd tells this connection of jobs that end; it takes such a wish once.
    subscribed: OnceCell<()>,
}

impl Systemd {
    /// Connects to the system bus.
    pub async fn connect() -> Result<Self, Error> {
        let connection = zbus::Connection::system().await.map_err(bus("reach", UNIT))?;
        Ok(Self { connection, subscribed: OnceCell::new() })
    }

    /// The connection to the system bus, for questions about a unit that are not asked here.
    pub fn connection(&self) -> &zbus::Connection {
        &self.connection
    }

    /// The object of a unit, which systemd loads for the question when it has not yet.
    pub async fn unit_path(&self, name: &str) -> zbus::Result<OwnedObjectPath> {
        ManagerProxy::new(&self.connection).await?.load_unit(name).await
    }

    async fn unit(&self, name: &str) -> zbus::Result<UnitProxy<'_>> {
        let path = self.unit_path(name).await?;
        // Not cached: the state that counts is the one at the moment of the question.
        UnitProxy::builder(&self.connection).path(path).cache_properties(proxy::CacheProperties::No).build().await
    }

    /// Whether a unit is active now.
    pub async fn is_active(&self, name: &str) -> bool {
        let state = async { self.unit(name).await?.active_state().await };
        state.await.is_ok_and(|state| state == "active")
    }

    /// Whether systemd knows a unit of that name.
    pub async fn exists(&self, name: &str) -> bool {
        let state = async { self.unit(name).await?.load_state().await };
        state.await.is_ok_and(|state| state == "loaded")
    }

    /// How a unit is; `None` when systemd knows none of that name.
    pub async fn state(&self, name: &str) -> Result<Option<UnitState>, Error> {
        let state = async {
            let unit = self.unit(name).await?;
            if unit.load_state().await? == "not-found" {
                return Ok(None);
            }
            let (active_state, unit_file_state) = (unit.active_state().await?, unit.unit_file_state().await?);
            Ok(Some(UnitState { active_state, unit_file_state }))
        };
        state.await.map_err(bus("look at", name))
    }

    /// Restarts the kubelet's unit and waits for the result of systemd's job.
    pub async fn restart_kubelet(&self) -> Result<(), Error> {
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("restart", UNIT))?;
        // Reading all units anew takes a while; systemd knows whether there is anything new.
        let stale = async { self.unit(UNIT).await?.need_daemon_reload().await }.await.map_err(bus("look at", UNIT))?;
        if stale {
            manager.reload().await.map_err(bus("reload", UNIT))?;
        }
        self.job("start", UNIT, manager.restart_unit(UNIT, "replace")).await
    }

    /// Stops a unit and waits for the result of systemd's job.
    pub async fn stop(&self, name: &str) -> Result<(), Error> {
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("stop", name))?;
        self.job("stop", name, manager.stop_unit(name, "replace")).await
    }

    /// Starts a unit, without waiting until it has started.
    pub async fn start(&self, name: &str) -> Result<(), Error> {
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("start", name))?;
        manager.start_unit(name, "replace").await.map(drop).map_err(bus("start", name))
    }

    /// Runs a command in a unit of its own, apart from the caller's sandbox and life, and again if it fails. One that runs
    /// already goes on.
    pub async fn run_apart(&self, name: &str, description: &str, words: &[&OsStr]) -> Result<(), Error> {
        if self.state(name).await?.is_some_and(|unit| matches!(unit.active_state.as_str(), "active" | "activating")) {
            return Ok(());
        }
        let mut properties = Vec::from(properties_of(description, words));
        properties
            .extend([("Restart", Variant::from("on-failure")), ("RestartUSec", Variant::from(RESTART_MICROSECONDS))]);
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("start", name))?;
        manager.start_transient_unit(name, "replace", &properties, &[]).await.map(drop).map_err(bus("start", name))
    }

    /// Runs a command in a unit of its own, outside of the caller's sandbox, and waits for it to succeed.
    pub async fn run_outside(&self, name: &str, description: &str, words: &[&OsStr]) -> Result<(), Error> {
        let properties = properties_of(description, words);
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("start", name))?;
        self.job("start", name, manager.start_transient_unit(name, "replace", &properties, &[])).await
    }

    /// Keeps a unit from being started at boot.
    pub async fn disable(&self, name: &str) -> Result<(), Error> {
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("disable", name))?;
        manager.disable_unit_files(&[name], false).await.map_err(bus("disable", name))?;
        manager.reload().await.map_err(bus("reload", name))
    }

    /// Asks for a job and waits for its result.
    async fn job(
        &self,
        action: &'static str,
        unit: &str,
        ask: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<(), Error> {
        let manager = ManagerProxy::new(&self.connection).await.map_err(bus("watch", unit))?;
        // In this order: a job that ends at once is seen too.
        self.subscribed.get_or_try_init(|| manager.subscribe()).await.map_err(bus("watch", unit))?;
        let mut ended = manager.receive_job_removed().await.map_err(bus("watch", unit))?;
        let job = ask.await.map_err(bus(action, unit))?;
        let result = async {
            while let Some(signal) = ended.next().await {
                let arguments = signal.args().map_err(bus("watch", unit))?;
                if arguments.job == job {
                    return Ok(arguments.result.clone());
                }
            }
            Ok("unknown: the connection to systemd was closed".to_owned())
        };
        match tokio::time::timeout(JOB_TIMEOUT, result).await {
            Err(_elapsed) => Err(Error::JobTimeout { action, unit: unit.to_owned() }),
            Ok(result) => match result? {
                done if done == "done" => Ok(()),
                result => Err(Error::Job { action, unit: unit.to_owned(), result }),
            },
        }
    }
}
