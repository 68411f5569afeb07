//! What must hold after a disturbed join. No IO: a verdict over what was observed.

use std::collections::BTreeSet;
use std::time::Duration;

use join_crds::Reason;

use super::members;
use super::plan::{Fault, Kind, Victim};

/// How a join ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Ready, and still so when the fault was over.
    Ready {
        /// From the creation of the request until it was Ready for the first time.
        after: Duration,
    },
    /// Not Ready although nothing disturbed it any more.
    NotReady {
        /// The reason of the condition Ready; none where there is no such condition, or one that is not known.
        reason: Option<Reason>,
        /// Its message.
        message: String,
    },
}

/// What is in the cluster of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Bootstrap tokens that were made for the request, by id.
    pub tokens: Vec<String>,
    /// Signatures in cluster-info of tokens that do not exist, by the tokens' ids.
    pub signatures: Vec<String>,
    /// The request's records.
    pub records: Vec<String>,
}

impl Remains {
    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A machine announces itself; nothing is ever issued for it.
    Announcement,
    /// The kubelet's client certificate: the node's identity.
    Client,
    /// The kubelet's serving certificate.
    Serving,
}

/// A CertificateSigningRequest of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The pin of its key.
    pub key: String,
    /// Whether it was approved or denied.
    pub is_decided: bool,
    /// Whether there is a certificate in it.
    pub is_issued: bool,
    /// How old it is.
    pub age: Duration,
}

/// Everything that was seen of one run.
#[derive(Clone, Debug)]
pub struct Observed {
    /// How the join ended.
    pub ended: Ended,
    /// Every reason that the request's condition Ready had on the way.
    pub reasons: BTreeSet<Reason>,
    /// The ids of the tokens that the request and its record named.
    pub tokens: BTreeSet<String>,
    /// Certificate requests of this machine.
    pub requests: Vec<SeenRequest>,
    /// What was left of the token while the machine was a node. Records belong there, and are not looked at.
    pub joined: Remains,
    /// What was left after the request was deleted.
    pub deleted: Remains,
    /// Files of interrupted writes on the machine, while it was a node.
    pub temporary: Vec<String>,
    /// Client certificates on the machine.
    pub certificates: usize,
    /// Paths that were not, after the reset, what they were before the join.
    pub changed: Vec<String>,
    /// The members of etcd, where the machine became a control plane.
    pub members: Option<members::Seen>,
}

/// How old a certificate request may become that is decided: kube-controller-manager's cleaner takes it after an hour, and
/// looks every ten minutes (pkg/controller/certificates/cleaner).
const OLDEST_DECIDED: Duration = Duration::from_mins(71);
/// The same for one that is not decided: a day.
const OLDEST_UNDECIDED: Duration = Duration::from_mins(24 * 60 + 11);

/// What must not be, each a sentence; empty when all is well.
pub fn violations(fault: &Fault, seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    if let Ended::NotReady { reason, message } = &seen.ended {
        found.push(format!(
            "the fault is over, and the join is not Ready: {}: {message}",
            reason.map_or("no reason", Reason::as_str)
        ));
    }
    let untrue = seen.reasons.iter().filter(|reason| !may_say(fault.kind, **reason));
    found.extend(untrue.map(|reason| format!("the request said {}, which was not true", reason.as_str())));
    found.extend(identity(seen));
    found.extend(seen.members.iter().flat_map(members::violations));
    for (when, remains) in [("after the join", &seen.joined), ("after the request was deleted", &seen.deleted)] {
        found.extend(remains.tokens.iter().map(|id| format!("token {id} is there {when}")));
        found.extend(
            remains
                .signatures
                .iter()
                .map(|id| format!("cluster-info has a signature of token {id}, which is not there, {when}")),
        );
    }
    found.extend(
        seen.deleted.records.iter().map(|name| format!("record {name} is there after the request was deleted")),
    );
    found.extend(seen.temporary.iter().map(|path| format!("{path} was left on the machine")));
    found
        .extend(seen.changed.iter().map(|path| format!("{path} is not, after the reset, what it was before the join")));
    found
}

/// One machine, one key, one certificate.
fn identity(seen: &Observed) -> Vec<String> {
    let mut found = Vec::new();
    let of = |purpose| seen.requests.iter().filter(move |request: &&SeenRequest| request.purpose == purpose);
    let keys: BTreeSet<&str> = of(Purpose::Client).filter(|one| one.is_issued).map(|one| one.key.as_str()).collect();
    if keys.len() > 1 {
        found.push(format!("{} keys have certificates under one name: {keys:?}", keys.len()));
    }
    let announced: BTreeSet<&str> = of(Purpose::Announcement).map(|one| one.key.as_str()).collect();
    if announced.len() > 1 {
        found.push(format!("the machine announced itself with {} keys: {announced:?}", announced.len()));
    }
    if seen.tokens.len() > 1 {
        found.push(format!("{} tokens were made for one join: {:?}", seen.tokens.len(), seen.tokens));
    }
    let is_ready = matches!(seen.ended, Ended::Ready { .. });
    if is_ready && seen.certificates != 1 {
        found.push(format!("the machine has {} client certificates; expected 1", seen.certificates));
    }
    for request in &seen.requests {
        let (oldest, what) =
            if request.is_decided { (OLDEST_DECIDED, "decided") } else { (OLDEST_UNDECIDED, "undecided") };
        if request.age > oldest {
            found.push(format!("{} is {what} and {} min old", request.name, request.age.as_secs() / 60));
        }
        if is_ready && request.purpose == Purpose::Client && !request.is_decided {
            found.push(format!("{} was never decided, and the node is Ready", request.name));
        }
    }
    found
}

/// Whether a reason only says how far a join is, which may be so with every fault.
pub fn is_progress(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Progressing
            | Reason::WaitingForMachine
            | Reason::Queued
            | Reason::WaitingForAgent
            | Reason::Joining
            | Reason::WaitingForCertificateRequest
            | Reason::CertificateRequestWaiting
            | Reason::WaitingForNode
            | Reason::NodeNotReady
            | Reason::Joined
    )
}

/// Whether a reason may be true, for a while, of a join that is disturbed in this way.
fn may_say(kind: Kind, reason: Reason) -> bool {
    let api_server_was_hit = matches!(kind, Kind::Kill(Victim::ApiServer | Victim::Etcd) | Kind::EtcdFull);
    let signer_was_hit = api_server_was_hit || kind == Kind::Kill(Victim::ControllerManager);
    let kubelet_was_hit = matches!(kind, Kind::MachineDiskFull | Kind::Kill(Victim::Kubelet | Victim::Containerd));
    match reason {
        // The agent says what it saw; each of these faults can be seen from the machine.
        Reason::PreflightFailed | Reason::AgentFailed => kind != Kind::ControllerClock,
        Reason::SignerMissing => signer_was_hit,
        Reason::SignatureMissing => signer_was_hit || kind == Kind::Kill(Victim::Controller),
        Reason::APIServerError => api_server_was_hit,
        Reason::MachineNotWritable => kind == Kind::MachineDiskFull,
        // A kubelet cannot come up without a disk or a runtime, and waits for an API server that it does not reach.
        Reason::KubeletNotStarted => kubelet_was_hit,
        Reason::KubeletUnhealthy => kubelet_was_hit || api_server_was_hit || kind == Kind::Cut,
        Reason::ClockSkew => kind == Kind::AgentClock,
        other => is_progress(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind) -> Fault {
        Fault { run: 1, kind, moment: 0, lasts: Duration::ZERO, offset: 0, write: 0 }
    }

    fn request(name: &str, purpose: Purpose, key: &str) -> SeenRequest {
        SeenRequest {
            name: name.to_owned(),
            purpose,
            key: key.to_owned(),
            is_decided: purpose != Purpose::Announcement,
            is_issued: purpose == Purpose::Client,
            age: Duration::from_secs(5),
        }
    }

    /// A join as it should be.
    fn well() -> Observed {
        Observed {
            ended: Ended::Ready { after: Duration::from_secs(1) },
            reasons: [Reason::WaitingForAgent, Reason::Joining, Reason::Joined].into(),
            tokens: ["abcdef".to_owned()].into(),
            requests: vec![
                request("announcement", Purpose::Announcement, "a"),
                request("client", Purpose::Client, "a"),
                request("serving", Purpose::Serving, "b"),
            ],
            joined: Remains::default(),
            deleted: Remains::default(),
            temporary: Vec::new(),
            certificates: 1,
            changed: Vec::new(),
            members: None,
        }
    }

    #[test]
    fn a_join_that_is_as_it_should_be_passes() {
        for kind in Victim::ALL.map(Kind::Kill).into_iter().chain([Kind::Cut, Kind::EtcdFull, Kind::ControllerClock]) {
            assert_eq!(violations(&fault(kind), &well()), Vec::<String>::new(), "{kind}");
        }
    }

    /// Makes something of an observation as it must not be.
    type Spoil = Box<dyn Fn(&mut Observed)>;

    #[test]
    fn everything_that_must_not_be_is_told() {
        let name = |text: &str| vec![text.to_owned()];
        let cases: Vec<(&str, Spoil)> = vec![
            (
                "not Ready: Joining: kubelet",
                Box::new(|seen| {
                    seen.ended = Ended::NotReady { reason: Some(Reason::Joining), message: "kubelet".to_owned() };
                }),
            ),
            (
                "not Ready: no reason",
                Box::new(|seen| {
                    seen.ended = Ended::NotReady { reason: None, message: String::new() };
                }),
            ),
            (
                "not Ready: TokenExpired",
                Box::new(|seen| {
                    seen.ended = Ended::NotReady { reason: Some(Reason::TokenExpired), message: String::new() };
                }),
            ),
            (
                "said MachineConflict",
                Box::new(|seen| {
                    seen.reasons.insert(Reason::MachineConflict);
                }),
            ),
            (
                "said TokenExpired",
                Box::new(|seen| {
                    seen.reasons.insert(Reason::TokenExpired);
                }),
            ),
            (
                "said SignerMissing",
                Box::new(|seen| {
                    seen.reasons.insert(Reason::SignerMissing);
                }),
            ),
            (
                "2 keys have certificates",
                Box::new(|seen| {
                    seen.requests.push(request("client-2", Purpose::Client, "z"));
                }),
            ),
            (
                "announced itself with 2 keys",
                Box::new(|seen| {
                    seen.requests.push(request("announcement-2", Purpose::Announcement, "z"));
                }),
            ),
            (
                "2 tokens were made",
                Box::new(|seen| {
                    seen.tokens.insert("fedcba".to_owned());
                }),
            ),
            ("2 client certificates", Box::new(|seen| seen.certificates = 2)),
            ("0 client certificates", Box::new(|seen| seen.certificates = 0)),
            (
                "client-2 was never decided",
                Box::new(|seen| {
                    let undecided = SeenRequest {
                        is_decided: false,
                        is_issued: false,
                        ..request("client-2", Purpose::Client, "a")
                    };
                    seen.requests.push(undecided);
                }),
            ),
            ("client is decided and 72 min old", Box::new(|seen| seen.requests[1].age = Duration::from_mins(72))),
            (
                "announcement is undecided and 1500 min",
                Box::new(|seen| seen.requests[0].age = Duration::from_hours(25)),
            ),
            ("token abcdef is there after the join", Box::new(move |seen| seen.joined.tokens = name("abcdef"))),
            (
                "signature of token abcdef, which is not there, after the join",
                Box::new(move |seen| seen.joined.signatures = name("abcdef")),
            ),
            (
                "token abcdef is there after the request was deleted",
                Box::new(move |seen| seen.deleted.tokens = name("abcdef")),
            ),
            (
                "not there, after the request was deleted",
                Box::new(move |seen| seen.deleted.signatures = name("abcdef")),
            ),
            ("record njr-1 is there", Box::new(move |seen| seen.deleted.records = name("njr-1"))),
            ("/x/.y.join-agent was left", Box::new(move |seen| seen.temporary = name("/x/.y.join-agent"))),
            ("/etc/kubernetes is not, after the reset", Box::new(move |seen| seen.changed = name("/etc/kubernetes"))),
        ];
        for (expected, spoil) in cases {
            let mut seen = well();
            spoil(&mut seen);
            let found = violations(&fault(Kind::Cut), &seen);
            assert!(matches!(&found[..], [only] if only.contains(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_certificate_request_may_be_as_old_as_its_rule_says() {
        let mut seen = well();
        seen.requests[0].age = Duration::from_hours(24);
        seen.requests[1].age = Duration::from_mins(70);
        assert_eq!(violations(&fault(Kind::Cut), &seen), Vec::<String>::new());
    }

    /// The controller counts by the API server's clock, and its own ends no token.
    #[test]
    fn a_wrong_clock_of_the_controller_is_no_excuse() {
        let mut seen = well();
        seen.reasons.insert(Reason::TokenExpired);
        seen.tokens.insert("fedcba".to_owned());
        assert_eq!(violations(&fault(Kind::ControllerClock), &seen).len(), 2);
    }

    #[test]
    fn what_a_full_disk_does_is_believed_there_alone() {
        for reason in [Reason::MachineNotWritable, Reason::KubeletNotStarted, Reason::KubeletUnhealthy] {
            let mut seen = well();
            seen.reasons.insert(reason);
            assert_eq!(violations(&fault(Kind::MachineDiskFull), &seen), Vec::<String>::new());
            assert_eq!(violations(&fault(Kind::Kill(Victim::Controller)), &seen).len(), 1, "{reason}");
        }
    }

    #[test]
    fn a_missing_signer_is_believed_where_the_signer_was_hit() {
        let mut seen = well();
        seen.reasons.insert(Reason::SignerMissing);
        assert_eq!(violations(&fault(Kind::Kill(Victim::ControllerManager)), &seen), Vec::<String>::new());
        assert_eq!(violations(&fault(Kind::Kill(Victim::Agent)), &seen).len(), 1);
    }
}
