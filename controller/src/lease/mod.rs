//! Leader election: of all replicas, the one that holds a Lease works.
//!
//! Every change of the Lease is a compare-and-swap on its resourceVersion, so that of two replicas that try at once
//! one fails. Another's lease counts as expired when this process has not seen it change for its whole duration, by
//! this process's monotonic clock: the time of day in the object is never compared with the time of day here. A
//! leader whose renewals fail stops *before* its lease can have expired for the others, and the process ends.
//!
//! A lease is not a fence: a process that was stopped for a minute may send one more write when it wakes. What must
//! happen once at the most is therefore guarded by the record of each request (see [`crate::record`]), not by this.

mod election;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use election::{Election, Move};

/// Name of the Lease.
pub const LEASE_NAME: &str = "join-controller";

/// How long a lease is good for after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A leader stops when its last renewal was this long ago: three seconds before anyone else may take over.
const GIVE_UP_AFTER: Duration = Duration::from_secs(12);
/// One request must not take as long as it takes to lose the lease.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a replica that stands by looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The lease was lost or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refused or could not be reached.
    #[error("cannot {action} lease {LEASE_NAME}: {source}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {action} lease {LEASE_NAME}: no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// What was tried.
        action: &'static str,
    },
    /// Another replica holds it.
    #[error("lease {LEASE_NAME} was taken by {holder:?}")]
    Taken {
        /// The other replica.
        holder: String,
    },
    /// It could not be renewed for too long.
    #[error("lease {LEASE_NAME} was last renewed {} s ago, giving up before it expires: {source}", since.as_secs())]
    Expiring {
        /// Time since the last renewal.
        since: Duration,
        /// The last failure.
        source: Box<LeaseError>,
    },
}

/// One replica's part in the election.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    election: Election,
    current: Option<Lease>,
}

impl Candidate {
    /// A replica of this name; the name must be unlike any other's.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            election: Election::new(identity.clone()),
            identity,
            current: None,
        }
    }

    /// Waits until this replica holds the lease. `on_read` is called each time the lease has been read.
    ///
    /// Failures are logged and tried again: a replica that stands by has nothing to lose.
    pub async fn acquire(&mut self, on_read: impl Fn()) {
        loop {
            match self.attempt(&on_read).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the lease could not be looked at"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Renews the lease until it is lost, and says how.
    pub async fn hold(&mut self) -> LeaseError {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEW_EVERY).await;
            // The renewal counts from before it was sent: that is the latest time that another can have seen it.
            let started = Instant::now();
            match self.attempt(&|| ()).await {
                Ok(true) => renewed = started,
                Ok(false) => return LeaseError::Taken { holder: self.holder() },
                Err(source) => {
                    tracing::warn!(error = %source, "the lease could not be renewed");
                    // The next attempt ends after its own wait and timeout; it must not be the one that comes too late.
                    let since = renewed.elapsed();
                    if since + RENEW_EVERY > GIVE_UP_AFTER {
                        return LeaseError::Expiring { since, source: Box::new(source) };
                    }
                }
            }
        }
    }

    /// Gives the lease up, so that the next replica need not wait for it to expire.
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        let Some(mut lease) = self.current.clone() else { return Ok(()) };
        if self.holder() != self.identity {
            return Ok(());
        }
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        call("release", self.api.replace(LEASE_NAME, &PostParams::default(), &lease)).await.map(drop)
    }

    fn holder(&self) -> String {
        let spec = self.current.as_ref().and_then(|lease| lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
    }

    /// Looks at the lease, and takes or renews it if that is this replica's right. Tells whether it holds it now.
    async fn attempt(&mut self, on_read: &impl Fn()) -> Result<bool, LeaseError> {
        let found = call("read", self.api.get_opt(LEASE_NAME)).await?;
        on_read();
        let now = Instant::now();
        let next = self.election.next(found.as_ref(), now);
        self.current = found;
        let written = match next {
            Move::Wait => return Ok(false),
            Move::Create => {
                let lease = self.desired(None);
                call("create", self.api.create(&PostParams::default(), &lease)).await
            }
            Move::Take | Move::Renew => {
                let lease = self.desired(self.current.as_ref());
                call("renew", self.api.replace(LEASE_NAME, &PostParams::default(), &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                self.election.saw(&lease, now);
                self.current = Some(lease);
                Ok(true)
            }
            // Somebody was quicker. Whether that is a loss shows when the lease is read the next time.
            Err(LeaseError::Api { source, .. }) if is_race(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lease as it is when this replica holds it, built on the version that was read.
    fn desired(&self, found: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = found.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(&self.identity);
        Lease {
            metadata: found.map_or_else(
                || ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() },
                |lease| ObjectMeta { managed_fields: None, ..lease.metadata.clone() },
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if mine { before.acquire_time } else { Some(now.clone()) },
                lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!mine)),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn is_race(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

async fn call<T>(action: &'static str, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(LeaseError::Api { action, source: Box::new(source) }),
        Err(_) => Err(LeaseError::Timeout { action }),
    }
}
