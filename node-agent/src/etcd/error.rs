//! Why a membership could not be changed, and whether it is worth another try.

use std::path::PathBuf;
use std::time::Duration;

use join_trust::ca_bundle::CaBundleError;
use tonic::{Code, Status};

use crate::tls;

/// How long one call may take with its connection; kubeadm waits as long (`etcdTimeout`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The membership could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority's certificate cannot be read.
    #[error("the certificate of etcd's authority cannot be used: {0}")]
    Authority(#[from] CaBundleError),
    /// The client certificate or its key cannot be used.
    #[error("the client certificate for etcd cannot be used: {0}")]
    Identity(#[from] tls::Error),
    /// An endpoint is not one of etcd with TLS.
    #[error("etcd's endpoint is {0:?}, expected https://<address>:<port>")]
    Endpoint(String),
    /// There is nobody to ask.
    #[error(
        "no endpoint of etcd is known, expected at least one; kubeadm writes each to the annotation \
         kubeadm.kubernetes.io/etcd.advertise-client-urls of etcd's Pods in kube-system"
    )]
    NoEndpoint,
    /// No endpoint has answered.
    #[error("{call}: no endpoint of etcd gave an answer: {}", .failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unanswered {
        /// The call.
        call: &'static str,
        /// What was seen at each endpoint.
        failures: Vec<Failure>,
    },
    /// etcd has refused.
    #[error("etcd at {endpoint} refused {call}: {refusal}")]
    Refused {
        /// The call.
        call: &'static str,
        /// Who has refused.
        endpoint: String,
        /// Why.
        refusal: Refusal,
    },
    /// The member has been added and was not started yet.
    #[error(
        "etcd's member {peer_url} has not been started, expected it to publish its name; see its container's log on the \
         machine with this address"
    )]
    NotStarted {
        /// Its peer URL.
        peer_url: String,
    },
    /// The member votes, and the cluster is not healthy.
    #[error("etcd is not healthy: {}; expected most voting members to answer, this one among them", .0.join("; "))]
    Unhealthy(Vec<String>),
    /// Another member has the name.
    #[error(
        "etcd has a member named {name} at {peer_url} already, and a cluster's list of members has each name once; if its \
         machine is gone for good, remove it with `etcdctl member remove {id:x}`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The other's peer URL.
        peer_url: String,
        /// The other's identifier.
        id: u64,
    },
    /// There is data of a member that the cluster does not know.
    #[error(
        "{} has data, and etcd has no member {peer_url}: its membership has ended, and etcd would refuse to start with its \
         data; expected an empty folder. `join-agent reset` removes what a join has made", folder.display()
    )]
    ForeignData {
        /// The data's folder.
        folder: PathBuf,
        /// Our peer URL.
        peer_url: String,
    },
    /// The member whose data seem to be lost runs.
    #[error(
        "etcd's member {peer_url} answers at {endpoint}, but its data are not in {} of this machine: another machine has this \
         address, or etcd keeps its data elsewhere; expected nobody to answer", folder.display()
    )]
    StillRuns {
        /// Its peer URL.
        peer_url: String,
        /// Where it answers.
        endpoint: String,
        /// Where its data were looked for.
        folder: PathBuf,
    },
    /// The data's folder cannot be read.
    #[error("failed to look into etcd's folder {}: {source}", folder.display())]
    Data {
        /// The folder.
        folder: PathBuf,
        /// What was seen.
        source: std::io::Error,
    },
    /// A member is to be removed whose name several have.
    #[error("etcd has several members named {name}: {}; expected one, say which by its peer URL", .peer_urls.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their peer URLs.
        peer_urls: Vec<String>,
    },
    /// Without the member there would be no etcd.
    #[error("etcd's member {0} is the last one that votes: without it the cluster and all that is in it would end")]
    LastVotingMember(String),
    /// The member is not one, or not any more.
    #[error("etcd has no member {0}: it was removed meanwhile, or never added; join anew")]
    NotAMember(String),
    /// The time is over.
    #[error("the time for {doing} is over; last seen: {}", .last.as_ref().map_or_else(|| "no answer yet".to_owned(), ToString::to_string))]
    Deadline {
        /// What was to be done.
        doing: &'static str,
        /// Why it was not done before.
        last: Option<Box<Error>>,
    },
}

impl Error {
    /// Whether the same may succeed later without anything being changed by hand.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unanswered { failures, .. } => failures.iter().any(|failure| failure.cause.is_passing()),
            Self::Refused { refusal, .. } => !matches!(refusal, Refusal::BadUrl),
            Self::NotStarted { .. } | Self::Unhealthy(_) | Self::Deadline { .. } => true,
            Self::Authority(_)
            | Self::Identity(_)
            | Self::Endpoint(_)
            | Self::NoEndpoint
            | Self::NameTaken { .. }
            | Self::ForeignData { .. }
            | Self::StillRuns { .. }
            | Self::Data { .. }
            | Self::Ambiguous { .. }
            | Self::LastVotingMember(_)
            | Self::NotAMember(_) => false,
        }
    }

    /// Why etcd has refused, if it has.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Deadline { last: Some(last), .. } => last.refusal(),
            _ => None,
        }
    }
}

/// An endpoint gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{endpoint}: {cause}")]
pub struct Failure {
    /// The endpoint.
    pub endpoint: String,
    /// What was seen.
    pub cause: Cause,
}

/// Why an endpoint gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// There is no connection.
    #[error("cannot connect: {0}; does etcd run there, and does a firewall let this machine through?")]
    Unreachable(String),
    /// The server is not one of etcd's authority, or not the one of this address.
    #[error("its certificate is not believed: {0}; expected one of etcd's authority (etcd/ca.crt) for this address")]
    NotBelieved(String),
    /// The server does not take our certificate.
    #[error("it does not take the client certificate: {0}; expected one of etcd's authority (etcd/ca.crt) for clients")]
    NotAdmitted(String),
    /// The connection has ended.
    #[error(
        "it closed the connection: {0}; etcd does so when it stops, and when it does not take the client certificate"
    )]
    Closed(String),
    /// There was nothing in time.
    #[error("no answer within {} s", CALL_TIMEOUT.as_secs())]
    Silent,
    /// etcd could not answer.
    #[error("it says: {0}")]
    Failed(String),
}

impl Cause {
    fn is_passing(&self) -> bool {
        !matches!(self, Self::NotBelieved(_) | Self::NotAdmitted(_))
    }
}

/// Why etcd refuses to change its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a learner.
    #[error(
        "another member is a learner, and etcd takes one at a time; expected it to vote soon. If its machine is gone for \
         good, remove it with `etcdctl member remove`"
    )]
    TooManyLearners,
    /// Too few members run.
    #[error(
        "not enough members run for their number to be changed; start those that do not, or remove what is gone for good"
    )]
    NotEnoughStarted,
    /// The members do not see each other, or not long enough.
    #[error("the members have not all seen each other for the last 5 s; see `etcdctl endpoint health --cluster`")]
    Unhealthy,
    /// Another request was faster.
    #[error("a member with this peer URL was added meanwhile")]
    PeerUrlExists,
    /// It is gone.
    #[error("there is no such member any more")]
    NotFound,
    /// It votes.
    #[error("the member votes already")]
    NotLearner,
    /// It has not the whole log.
    #[error("the member has not received the whole log yet")]
    LearnerNotReady,
    /// The peer URL is none.
    #[error("the peer URL is not valid; expected https://<address>:<port>")]
    BadUrl,
}

impl Refusal {
    /// What etcd means by a status, when it is an answer of the cluster and not of one endpoint that is in trouble. The
    /// words are those of `rpctypes/error.go`, which are part of etcd's API: its own client compares them too.
    pub(super) fn of(status: &Status) -> Option<Self> {
        Some(match (status.code(), status.message()) {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster") => Self::TooManyLearners,
            (Code::FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members") => {
                Self::NotEnoughStarted
            }
            (Code::Unavailable, "etcdserver: unhealthy cluster") => Self::Unhealthy,
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists") => Self::PeerUrlExists,
            (Code::NotFound, "etcdserver: member not found") => Self::NotFound,
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member") => Self::NotLearner,
            (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ) => Self::LearnerNotReady,
            (Code::InvalidArgument, "etcdserver: given member URLs are invalid") => Self::BadUrl,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Code::FailedPrecondition, "etcdserver: too many learner members in cluster", Some(Refusal::TooManyLearners))]
    #[case(
        Code::FailedPrecondition,
        "etcdserver: re-configuration failed due to not enough started members",
        Some(Refusal::NotEnoughStarted)
    )]
    #[case(Code::Unavailable, "etcdserver: unhealthy cluster", Some(Refusal::Unhealthy))]
    #[case(Code::FailedPrecondition, "etcdserver: Peer URLs already exists", Some(Refusal::PeerUrlExists))]
    #[case(Code::NotFound, "etcdserver: member not found", Some(Refusal::NotFound))]
    #[case(Code::FailedPrecondition, "etcdserver: can only promote a learner member", Some(Refusal::NotLearner))]
    #[case(
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
        Some(Refusal::LearnerNotReady)
    )]
    #[case(Code::InvalidArgument, "etcdserver: given member URLs are invalid", Some(Refusal::BadUrl))]
    // What another member may answer otherwise.
    #[case(Code::Unavailable, "etcdserver: no leader", None)]
    #[case(Code::Unavailable, "etcdserver: request timed out", None)]
    #[case(Code::Unavailable, "etcdserver: server stopped", None)]
    #[case(Code::FailedPrecondition, "etcdserver: rpc not supported for learner", None)]
    #[case(Code::PermissionDenied, "etcdserver: permission denied", None)]
    fn a_refusal_is_the_clusters(#[case] code: Code, #[case] message: &str, #[case] expected: Option<Refusal>) {
        assert_eq!(Refusal::of(&Status::new(code, message)), expected);
    }

    #[test]
    fn one_endpoint_that_may_come_back_is_worth_another_try() {
        let unanswered = |causes: &[Cause]| Error::Unanswered {
            call: "MemberList",
            failures: causes.iter().map(|cause| Failure { endpoint: "e".to_owned(), cause: cause.clone() }).collect(),
        };
        let (final_, passing) = (Cause::NotBelieved("seen".to_owned()), Cause::Silent);
        assert!(!unanswered(&[final_.clone(), Cause::NotAdmitted("seen".to_owned())]).is_retriable());
        assert!(unanswered(&[final_, passing]).is_retriable());
        let refused = |refusal| Error::Refused { call: "MemberAdd", endpoint: "e".to_owned(), refusal };
        let late = Error::Deadline { doing: "it", last: Some(Box::new(refused(Refusal::TooManyLearners))) };
        assert_eq!(late.refusal(), Some(Refusal::TooManyLearners));
        assert!(late.is_retriable());
        assert!(!refused(Refusal::BadUrl).is_retriable());
    }
}
