//! What a replica may do with the lease that it found; no IO.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

/// The duration of a lease that names none.
const DEFAULT_DURATION: Duration = Duration::from_secs(15);

/// What a replica does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// There is no lease: make it.
    Create,
    /// It is free or has expired: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// It is another's.
    Wait,
}

/// What one replica remembers of the lease.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    /// The version that was seen last, and when it was first seen.
    seen: Option<(String, Instant)>,
}

impl Election {
    pub(super) fn new(identity: String) -> Self {
        Self { identity, seen: None }
    }

    /// Notes that the lease was seen.
    pub(super) fn saw(&mut self, lease: &Lease, now: Instant) {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, now));
        }
    }

    /// Notes what was found and decides.
    pub(super) fn next(&mut self, found: Option<&Lease>, now: Instant) -> Move {
        let Some(lease) = found else {
            self.seen = None;
            return Move::Create;
        };
        self.saw(lease, now);
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        if holder == self.identity {
            return Move::Renew;
        }
        let duration = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DEFAULT_DURATION, Duration::from_secs);
        let unchanged = self.seen.as_ref().map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since));
        if holder.is_empty() || unchanged > duration { Move::Take } else { Move::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use kube::api::ObjectMeta;

    fn lease(version: &str, holder: &str) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_missing_lease_is_made_and_a_free_one_taken() {
        let mut election = Election::new("a".to_owned());
        let now = Instant::now();
        assert_eq!(election.next(None, now), Move::Create);
        assert_eq!(election.next(Some(&lease("1", "")), now), Move::Take);
    }

    #[test]
    fn ones_own_lease_is_renewed() {
        let mut election = Election::new("a".to_owned());
        assert_eq!(election.next(Some(&lease("1", "a")), Instant::now()), Move::Renew);
    }

    #[test]
    fn anothers_lease_expires_by_the_time_for_which_it_was_seen_unchanged() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        assert_eq!(election.next(Some(&lease("1", "b")), start), Move::Wait);
        assert_eq!(election.next(Some(&lease("1", "b")), start + Duration::from_secs(15)), Move::Wait);
        assert_eq!(election.next(Some(&lease("1", "b")), start + Duration::from_secs(16)), Move::Take);
    }

    #[test]
    fn a_renewal_starts_the_time_anew() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        election.next(Some(&lease("1", "b")), start);
        assert_eq!(election.next(Some(&lease("2", "b")), start + Duration::from_secs(14)), Move::Wait);
        assert_eq!(election.next(Some(&lease("2", "b")), start + Duration::from_secs(29)), Move::Wait);
        assert_eq!(election.next(Some(&lease("2", "b")), start + Duration::from_secs(30)), Move::Take);
    }
}
