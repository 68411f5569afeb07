//! Reasons of Events, each with its meaning and the next step for a person.

use std::fmt;

/// Whether an Event calls for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventSeverity {
    /// A step was made.
    Normal,
    /// Something is not as it should be.
    Warning,
}

impl EventSeverity {
    /// The `type` of an Event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Defines the event reasons once, so that their names, documentation and texts cannot drift apart.
macro_rules! event_reasons {
    ($($name:ident $severity:ident by $action:literal $meaning:literal next $next:literal;)+) => {
        /// What happened, as an Event tells it. Emitted once for each change, and never the only trace of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventReason {
            $(
                #[doc = $meaning]
                #[doc = ""]
                #[doc = concat!("Next step: ", $next)]
                $name,
            )+
        }

        impl EventReason {
            /// Every event reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason as the API has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// Whether the Event calls for attention.
            pub const fn severity(self) -> EventSeverity {
                match self { $(Self::$name => EventSeverity::$severity),+ }
            }

            /// The `action` of the Event: what the controller was doing.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action),+ }
            }

            /// What happened, as whole sentences.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }

            /// What a person does next, as whole sentences.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next),+ }
            }
        }
    };
}

event_reasons! {
    MachineRefused Warning by "BindMachine"
        "A machine that announced itself under this name was not accepted: its key is not the pinned one, another machine claims the same name, or its announcement does not hold."
        next "Look at the request's MachineBound condition.";
    TokenExpired Warning by "IssueToken"
        "The bootstrap token ended before the machine used it."
        next "Look at the request's CredentialIssued condition.";
    RequestChanged Normal by "IssueToken"
        "The request was changed while its machine was carrying it out; its credential was sealed anew, and the machine begins anew."
        next "Nothing to do.";
    CertificateApproved Normal by "DecideCertificateRequest"
        "A certificate request of the machine kept every rule, and was approved; the note names the requester and the key."
        next "Nothing to do.";
    CertificateDenied Warning by "DecideCertificateRequest"
        "A certificate request broke a rule, and was denied."
        next "Look at the rule that the note names, and at who sent the request.";
    TokenReused Warning by "DecideCertificateRequest"
        "A token that had already brought its machine a certificate was used to ask for another one."
        next "Someone else may hold the token. Compare the two requests that the note names, and look at the machine.";
    SignerMissing Warning by "FollowJoin"
        "A certificate request was approved, and no signer has issued the certificate in time."
        next "Look whether kube-controller-manager runs with its csrsigning controller. The join goes on by itself when it does.";
    CertificateRequestWaiting Warning by "DecideCertificateRequest"
        "A certificate request was left undecided; the note names the rule that waits."
        next "Do what the rule asks for; the request is looked at again by itself.";
    PreflightFailed Warning by "FollowJoin"
        "The machine is not fit to become a node; the note names the checks that failed."
        next "Repair what the note names on the machine. The agent tries again by itself.";
    AgentFailed Warning by "FollowJoin"
        "The agent's try to join failed; the note is what it said."
        next "Repair what the note names. See on the machine: join-agent status.";
    MachineNotWritable Warning by "FollowJoin"
        "A file could not be written on the machine."
        next "Make room on the machine, or mount the file system for writing.";
    KubeletNotStarted Warning by "WatchNode"
        "The kubelet does not start or ends again; the note has its last errors."
        next "See on the machine: journalctl -u kubelet.";
    KubeletUnhealthy Warning by "WatchNode"
        "The kubelet runs without saying that it is healthy."
        next "See on the machine: journalctl -u kubelet.";
    NodeAddressMismatch Warning by "WatchNode"
        "The Node registered with an address that spec.addresses does not have."
        next "Look at the request's NodeRegistered condition.";
    NodeNotReady Warning by "WatchNode"
        "The Node has been there for a while, or was Ready before, and is not Ready; the note is what its kubelet reports."
        next "Look at kubectl describe node. Most often the network plugin is missing.";
    NodeReplaced Warning by "WatchNode"
        "The Node was deleted and made anew, with another UID."
        next "Look at the request's NodeRegistered condition.";
    OldNodeDeleted Normal by "BindMachine"
        "The Node that the request's replacesNodeUID names was deleted, since the machine is there that replaces it; the note has the keys of both machines."
        next "See that the old machine is away: its certificate is good until it ends.";
    NodeAdopted Normal by "BindMachine"
        "The Node of this name came of an earlier request, which is gone, and its machine has the key that this request pins: the request goes on with it, and nothing was issued."
        next "Nothing to do.";
    Joined Normal by "WatchNode"
        "The node is Ready for the first time."
        next "Nothing to do.";
    Retried Normal by "AnswerRetry"
        "A person asked for another try, and it has begun; the note names the value of the annotation, the program that wrote it, and what had failed."
        next "Nothing to do. The API server's audit log has the user's name.";
    RetryIgnored Warning by "AnswerRetry"
        "A person asked for another try, and there was nothing to try again; the note says what the request waits for instead."
        next "Do what the note says. Each value of the annotation asks once, so a later try needs another one.";
    DrainBlocked Warning by "RemoveNode"
        "Pods stay on a node that is to be removed; the note names them and what keeps them."
        next "Do what the request's Ready condition says, or set removal: Retain.";
    NodeRemoved Normal by "RemoveNode"
        "The node was drained and its Node deleted, as the request's removal says."
        next "Nothing to do.";
    MachineNotCleaned Warning by "RemoveNode"
        "The request and its Node are gone, and the machine did not answer: it is not cleaned, and has its certificate still."
        next "When the machine is there again, run on it: join-agent reset. Until then its kubelet makes the Node anew whenever it starts.";
    Stalled Warning by "FollowJoin"
        "The request will not move until a person does something."
        next "Look at the request's Stalled condition.";
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
