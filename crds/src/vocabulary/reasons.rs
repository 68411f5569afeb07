//! Reasons of conditions, each with its meaning and the next step for a person.

use std::fmt;
use std::str::FromStr;

use super::ConditionType::{
    self, ClientCertificateIssued, CredentialIssued, MachineBound, NodeRegistered, Ready, ServingCertificateIssued,
    Stalled,
};

/// A reason that this version does not know; it was written by another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown condition reason {0:?}: expected one of the reasons listed in docs/reasons.md")]
pub struct UnknownReason(String);

/// Defines the reasons once, so that their names, documentation and texts cannot drift apart.
macro_rules! reasons {
    ($($name:ident on [$($condition:ident),+ $(,)?] $meaning:literal next $next:literal;)+) => {
        /// Why a condition is as it is: one word, stable, for people and for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(
                #[doc = $meaning]
                #[doc = ""]
                #[doc = concat!("Next step: ", $next)]
                $name,
            )+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason as the API has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// What the reason says, as whole sentences.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }

            /// What a person does next, as whole sentences.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next),+ }
            }

            /// Conditions that can carry the reason.
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self { $(Self::$name => &[$($condition),+]),+ }
            }
        }
    };
}

reasons! {
    Progressing on [MachineBound, CredentialIssued, ClientCertificateIssued, NodeRegistered, ServingCertificateIssued, Ready, Stalled]
        "The controller has not come to this step yet, or nothing stands in its way."
        next "Nothing to do. If it stays, look whether the controller runs: kubectl -n join-system get pods.";
    WaitingForMachine on [MachineBound, CredentialIssued, Ready]
        "No machine has announced itself under this name yet. No token is made before one does."
        next "Start join-agent on the machine with an enrollment file, and see what it says with: join-agent status.";
    AnnouncementInvalid on [MachineBound, Ready]
        "An announcement under this name does not hold: it is malformed, names another node, or lacks the proof that its sender has the key."
        next "Look at the announcement that the message names, delete it if the machine is not yours, and restart join-agent on the machine that is.";
    MachineConflict on [MachineBound, Ready, Stalled]
        "More than one machine has announced itself under this name, and trust FirstUse cannot tell which one is meant."
        next "Compare the keys in the message with what join-agent status prints on the right machine. Then delete the other announcement, or write the request anew with machine.publicKeyHash.";
    MachineKeyMismatch on [MachineBound, Ready, Stalled]
        "A machine has announced itself under this name with a key that is not the pinned one."
        next "Find out which machine that is. If it is the right one (reinstalled, or its key was lost), write the request anew with the hash that it prints; otherwise delete its announcement.";
    MachineKeyPinned on [MachineBound]
        "The machine that announced itself has the pinned key."
        next "Nothing to do.";
    MachineKeyFirstUsed on [MachineBound]
        "The key of the one machine that asked under this name was taken and recorded; no other key is accepted from now on."
        next "Nothing to do. Compare status.machine.publicKeyHash with the machine if you want to be sure.";
    ControlPlaneNotYetSupported on [MachineBound, Ready, Stalled]
        "The request asks for role ControlPlane, which this version does not carry out."
        next "Join the machine with kubeadm join --control-plane, or delete the request and ask for a Worker.";
    Queued on [CredentialIssued, Ready]
        "The machine is known, and waits until fewer joins are under way."
        next "Nothing to do. If it stays, look for requests that are Stalled.";
    ClusterInfoUnusable on [CredentialIssued, Ready, Stalled]
        "The ConfigMap cluster-info in kube-public cannot be used, so that a machine could not verify this cluster."
        next "Repair what the message names, or delete the ConfigMap: the controller writes it anew from its own connection.";
    TokenIssued on [CredentialIssued]
        "A bootstrap token for this machine exists, and its signature is in cluster-info."
        next "Nothing to do.";
    TokenExpired on [CredentialIssued, Ready, Stalled]
        "The bootstrap token ended before the machine used it."
        next "See with join-agent status what held the machine up. Then delete the request and apply it again, with a longer tokenTTLSeconds if the machine needs it.";
    TokenRemoved on [CredentialIssued]
        "The bootstrap token has served, and was removed together with its signature."
        next "Nothing to do.";
    WaitingForAgent on [ClientCertificateIssued, Ready]
        "The credential is in place, and the machine has not taken it up yet."
        next "See on the machine what it waits for: join-agent status, or journalctl -u join-agent.";
    Joining on [ClientCertificateIssued, NodeRegistered, Ready]
        "The machine is at work; the message says at which step."
        next "Nothing to do. If it stays at one step, see on the machine: join-agent status.";
    PreflightFailed on [ClientCertificateIssued, Ready, Stalled]
        "The machine is not fit to become a node; nothing was written to it."
        next "Repair what the message names on the machine, or list the check in nodeRegistration.ignorePreflightErrors. The agent tries again by itself.";
    AgentFailed on [ClientCertificateIssued, NodeRegistered, Ready, Stalled]
        "The agent gave up; the message is what it said."
        next "Repair what the message names. The agent tries again by itself, at the latest after a minute.";
    WaitingForCertificateRequest on [MachineBound, ClientCertificateIssued, ServingCertificateIssued, Ready]
        "The token is out, and no certificate was asked for with it yet."
        next "Delivery Token: run the join command on the machine. Otherwise see on the machine: join-agent status.";
    CertificateRequestWaiting on [ClientCertificateIssued, ServingCertificateIssued, Ready]
        "A certificate request was left undecided, because something that it needs is not there yet; the message names the rule."
        next "Do what the rule asks for, such as adding an address to spec.addresses; the request is looked at again by itself.";
    CertificateRequestDenied on [ClientCertificateIssued, ServingCertificateIssued, Ready, Stalled]
        "A certificate request broke a rule, and was denied; the message names the request and the rule."
        next "If the machine is yours, repair what the rule names, and ask for another try with another token: kubectl njr retry NAME. If it is not, someone holds a token of yours: delete the request, and look at who announced the machine.";
    SignerMissing on [ClientCertificateIssued, ServingCertificateIssued, Ready]
        "A certificate request was approved, and no signer has issued the certificate within the controller's --signer-timeout-seconds."
        next "Look whether kube-controller-manager runs with --cluster-signing-cert-file and --cluster-signing-key-file, and whether its csrsigning controller is on. With an external certificate authority, look at what signs in its place. The join goes on by itself as soon as it is signed.";
    CertificateIssued on [ClientCertificateIssued, ServingCertificateIssued]
        "The certificate was approved and signed."
        next "Nothing to do.";
    NotRequested on [ServingCertificateIssued]
        "The kubelet asks for no serving certificate: it made one itself, as is kubeadm's default. This does not keep the request from being Ready."
        next "Nothing to do. To have it issued by the cluster, set serverTLSBootstrap: true in the ConfigMap kubelet-config.";
    WaitingForNode on [NodeRegistered, Ready]
        "The certificate is issued, and the kubelet has not registered the Node yet."
        next "See on the machine: systemctl status kubelet, and journalctl -u kubelet.";
    NodeAlreadyExists on [NodeRegistered, Ready, Stalled]
        "A Node of this name exists that did not come from this request."
        next "If it is the remains of an earlier machine, delete it with kubectl delete node; otherwise choose another name.";
    NodeIdentityMismatch on [NodeRegistered, Ready, Stalled]
        "The Node has another UID than the one that joined: it was deleted and made anew."
        next "Find out who deleted it. If it was you, delete this request and apply it again.";
    NodeRegistered on [NodeRegistered]
        "The Node exists, and is the one that this request brought about."
        next "Nothing to do.";
    NodeNotReady on [Ready]
        "The Node exists and is not Ready; the message is what its kubelet reports."
        next "Look at kubectl describe node. Most often the network plugin is missing or still starting.";
    NodeDeleted on [NodeRegistered, Ready, Stalled]
        "The Node that joined through this request is gone."
        next "If the machine shall not come back, delete this request. Otherwise delete it and apply it again.";
    Joined on [Ready]
        "The machine is the node, and the node is Ready."
        next "Nothing to do.";
    Draining on [Ready]
        "The request is being deleted with removal Drain: the node is cordoned, and its pods are asked to go."
        next "Nothing to do. To leave the node as it is, set removal: Retain on the request.";
    DrainBlocked on [Ready, Stalled]
        "The request is being deleted with removal Drain, and pods stay on the node: a PodDisruptionBudget does not let them go now, or no controller would make them anew elsewhere. The message names them."
        next "Let the budget allow it, by more replicas elsewhere or by another budget, and delete pods without a controller yourself. The drain goes on by itself. To leave the node as it is, set removal: Retain on the request.";
    CleaningMachine on [Ready]
        "The node is drained, and its machine is told to stop the kubelet and to undo its join."
        next "Nothing to do. If the machine is off or gone, its Node is deleted without it after five minutes; to leave the node as it is, set removal: Retain on the request.";
    DeadlineExceeded on [Ready, Stalled]
        "The node was not Ready within deadlineSeconds of the machine's appearance; the message says what it waited for."
        next "Repair what it waited for, then ask for another try: kubectl njr retry NAME. Raising deadlineSeconds does it as well.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownReason(text.chars().take(64).collect()))
    }
}
