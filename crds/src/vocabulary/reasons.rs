//! Reasons of conditions, each with its meaning and the next step for a person.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConditionType::{
    self, ClientCertificateIssued, CredentialIssued, MachineBound, NodeRegistered, Ready, ServingCertificateIssued,
    Stalled,
};

/// A reason that this version does not know; it was written by another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown condition reason {0:?}: expected one of the reasons listed in docs/reasons.md")]
pub struct UnknownReason(String);

/// The page with a section for each reason; the section's name is the reason's in lower case.
const PAGE: &str = "docs/reasons.md";

/// Defines the reasons once, so that their names, documentation and texts cannot drift apart.
macro_rules! reasons {
    ($($name:ident on [$($condition:ident),* $(,)?] $meaning:literal next $next:literal;)+) => {
        /// Why a condition is as it is: one word, stable, for people and for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

            /// Conditions that can carry the reason; none for what only the machine itself can tell, since it does not
            /// reach the API server.
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self { $(Self::$name => &[$($condition),*]),+ }
            }
        }
    };
}

reasons! {
    Progressing on [MachineBound, CredentialIssued, ClientCertificateIssued, NodeRegistered, ServingCertificateIssued, Ready, Stalled]
        "The controller has not come to this step yet, or nothing stands in its way."
        next "Nothing to do. If it stays, look whether the controller runs: kubectl -n join-system get pods.";
    ConnectionRefused on []
        "The machine reaches the API server's address, and nothing listens on the port."
        next "Check the address and port in /etc/join-agent/config.yaml, and that the API server runs. The agent tries again by itself.";
    ConnectionTimedOut on []
        "Nobody answers at the API server's address: packets to it, or its answers, are lost."
        next "Check the firewalls between the machine and the API server, and that the address is the right one. The agent tries again by itself.";
    NetworkUnreachable on []
        "The machine has no route to the API server's address."
        next "Check the machine's network with: ip route get ADDRESS. The agent tries again by itself.";
    NameNotResolved on []
        "The API server's name has no address on this machine: the name server does not know it, or does not answer."
        next "Check the name in /etc/join-agent/config.yaml, and the machine's DNS with: getent ahosts NAME. The agent tries again by itself.";
    ConnectionFailed on []
        "The connection to the API server broke in a way that has no reason of its own; the message is what the operating system said."
        next "Check the network between the machine and the API server. The agent tries again by itself.";
    ServerAuthorityUnknown on []
        "What answers at the API server's address has a certificate that the cluster's authority did not sign."
        next "Check that the address leads to this cluster and that no proxy terminates TLS on the way; if the cluster's authority was replaced, give the machine the new caCertHashes or discovery file.";
    ServerCertificateExpired on []
        "The API server's certificate has ended, and the machine's clock agrees with the server's."
        next "Renew it on the control plane: kubeadm certs renew apiserver. The agent tries again by itself.";
    ServerCertificateNotYetValid on []
        "The API server's certificate is not valid yet, and the machine's clock agrees with the server's."
        next "Check the clock of the machine on which the certificate was made, and make it anew on the control plane: kubeadm certs renew apiserver.";
    ServerNameMismatch on []
        "The API server's certificate does not name the address under which the machine looks for it; the message has the names that it has."
        next "Use one of the certificate's names in /etc/join-agent/config.yaml, or add the address to apiServer.certSANs and renew the certificate.";
    TLSFailed on []
        "What answers at the API server's address does not speak TLS as an API server does."
        next "Check the address and port in /etc/join-agent/config.yaml, and what else listens there.";
    UnexpectedAnswer on [ClientCertificateIssued, Ready]
        "What answers at the API server's address is no Kubernetes API server, or something on the way answers in its place."
        next "Check the address and port in /etc/join-agent/config.yaml, and proxies on the way.";
    DiscoveryFileNotFetched on []
        "The machine is to find the cluster by a discovery file at an https URL, and cannot fetch it; the message says what was seen."
        next "Ask for it on the machine with: curl -v URL > /dev/null. Where the web server's certificate is not accepted, look at the machine's clock and its root certificates. The agent tries again by itself.";
    DiscoveryFileUnusable on []
        "What the discovery file's URL answered with does not lead to a cluster, or asks for what a file from elsewhere may not ask for; the message names the field."
        next "Repair the file on the web server. The agent fetches it again by itself.";
    ClockSkew on [ClientCertificateIssued, Ready]
        "The machine's clock and the API server's are minutes apart; the message has the seconds. Tokens and certificates would be valid at other times than they should."
        next "Synchronise the clock that is wrong (chrony, systemd-timesyncd). The agent tries again by itself.";
    ClusterInfoMissing on [ClientCertificateIssued, Ready]
        "The ConfigMap cluster-info does not exist in kube-public, so that a machine with a token cannot find the cluster."
        next "On a control plane, write it with: kubeadm init phase bootstrap-token. Or give the machine a discovery file in place of the token.";
    ClusterInfoForbidden on [ClientCertificateIssued, Ready]
        "The ConfigMap cluster-info cannot be read without credentials: its Role or RoleBinding is missing, or the API server refuses everybody without credentials."
        next "Follow what kubectl njr check says of cluster-info-anonymous. Or give the machine a discovery file in place of the token.";
    ClusterInfoWithoutKubeconfig on [ClientCertificateIssued, Ready]
        "The ConfigMap cluster-info has no kubeconfig, so that nothing is signed in it."
        next "On a control plane, write it with: kubeadm init phase bootstrap-token.";
    SignatureMissing on [ClientCertificateIssued, Ready]
        "The API server accepts the token, and cluster-info has no signature of it: the signer has not come to it, or does not run."
        next "Nothing to do for some seconds. If it stays, look whether kube-controller-manager runs with its bootstrapsigner, and at kubectl njr check. The agent tries again by itself.";
    SignatureMismatch on [ClientCertificateIssued, Ready]
        "The signature of the token in cluster-info was made with another secret or over another text."
        next "Compare the token on the machine with the cluster's. If it is the right one, somebody changes cluster-info, or stands between the machine and the API server: see kubectl njr check.";
    CAPinMismatch on [ClientCertificateIssued, Ready]
        "The certificate authority of the cluster that answers is none of the pinned ones; the message has both hashes."
        next "Compare caCertHashes with what kubectl njr ca-hash prints. If they differ, the machine is meant for another cluster or the authority was replaced; if not, somebody stands between the machine and the API server.";
    TokenRevoked on []
        "The token was accepted earlier and is not any more: it was deleted, or has ended."
        next "Make another one with kubectl njr enroll, and put its file on the machine. A request's own token is made anew with the request: delete it and apply it again.";
    TokenUnknown on []
        "The API server does not accept the token: it is mistyped, of another cluster, or was deleted before this machine used it."
        next "Make another one with kubectl njr enroll, and put its file on the machine. See which tokens there are with: kubectl njr token list.";
    CredentialsRefused on []
        "The API server does not accept the credentials that the machine has."
        next "Check that they are of this cluster and have not ended; for a node see with join-agent check which certificate it has.";
    AccessDenied on [ClientCertificateIssued, Ready]
        "The API server knows who asks, and does not allow it: a Role or a binding of join-operator is missing, or an admission policy refuses."
        next "See which rights are missing with: kubectl njr check.";
    ObjectMissing on [ClientCertificateIssued, Ready]
        "Something that a join needs does not exist in the cluster; the message names it."
        next "Check that join-operator is installed, and that the cluster was made by kubeadm: kubectl njr check.";
    RequestRejected on [ClientCertificateIssued, Ready]
        "The API server understood what it was asked, and refuses it; the message has its words."
        next "Look at the admission policies and webhooks of the cluster, and compare the versions of agent and chart.";
    APIServerError on [ClientCertificateIssued, Ready]
        "The API server answered that it cannot answer."
        next "Look at the logs of kube-apiserver and etcd. The agent tries again by itself.";
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
    CertificateKeyMissing on [CredentialIssued, Ready]
        "The machine is to become a control plane, and the Secret that certificateKeySecret names does not exist in the controller's namespace, or has no certificate key."
        next "On a control plane, run: kubeadm init phase upload-certs --upload-certs. Put the key that it prints into the Secret: kubectl -n join-system create secret generic NAME --from-file=certificateKey=/dev/stdin (it reads the key, which belongs into no command line; Ctrl-D ends it). The controller looks again every ten seconds.";
    Queued on [CredentialIssued, Ready]
        "The machine is known, and waits until fewer joins are under way."
        next "Nothing to do. If it stays, look for requests that are Stalled.";
    ClusterInfoUnusable on [CredentialIssued, Ready, Stalled]
        "The ConfigMap cluster-info in kube-public cannot be used, so that a machine could not verify this cluster."
        next "Repair what the message names: on a control plane, kubeadm init phase bootstrap-token writes it anew. A controller that runs with --cluster-endpoint does so as well, once the ConfigMap is deleted.";
    TokenIssued on [CredentialIssued]
        "A bootstrap token for this machine exists, and its signature is in cluster-info."
        next "Nothing to do.";
    TokenExpired on [CredentialIssued, Ready, Stalled]
        "The bootstrap token ended before the machine used it."
        next "See with join-agent status what held the machine up. A request's token: delete the request and apply it again, with a longer tokenTTLSeconds if the machine needs it. An enrollment token: make another one with kubectl njr enroll, and put its file on the machine.";
    TokenRemoved on [CredentialIssued]
        "The bootstrap token has served, and was removed together with its signature."
        next "Nothing to do.";
    NodeAdopted on [CredentialIssued]
        "The machine with the pinned key is this node already, since an earlier request; no token was made."
        next "Nothing to do. To have the machine join anew, delete its Node.";
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
    MachineNotWritable on [ClientCertificateIssued, NodeRegistered, Ready]
        "A file could not be written on the machine: its disk is full, or mounted read-only; the message names the file."
        next "Make room on the machine (df -h and df -i show what is full), or mount the file system for writing. A stateDirectory other than /var/lib/join-agent needs a drop-in of join-agent.service (docs/agent-configuration.md). The agent tries again by itself.";
    RequestAbsent on []
        "There is no NodeJoinRequest of this machine's name."
        next "Create one: kubectl njr machines shows the machine, and kubectl njr accept writes the request.";
    RequestDeleted on []
        "The NodeJoinRequest of this machine's name is being deleted."
        next "Nothing to do, or create it again: kubectl njr accept.";
    RequestForKubeadm on []
        "The NodeJoinRequest of this machine's name has delivery Token, and so is for kubeadm join."
        next "Run the join command on the machine (kubectl njr join-command), or write the request anew with delivery Sealed.";
    RequestChanged on []
        "The NodeJoinRequest was changed, or got another credential, while this machine was carrying it out; the machine begins anew with it."
        next "Nothing to do.";
    ControllerSilent on []
        "Something waits for the controller, and the request does not say why: the controller does not look at it. The agent says so, since nobody else can."
        next "Look whether the controller runs: kubectl -n join-system get pods. The join goes on by itself when it does.";
    WaitingForCertificateRequest on [MachineBound, ClientCertificateIssued, ServingCertificateIssued, Ready]
        "The token is out, and no certificate was asked for with it yet."
        next "Delivery Token: run the join command on the machine. Otherwise see on the machine: join-agent status.";
    CertificateRequestWaiting on [ClientCertificateIssued, ServingCertificateIssued, Ready]
        "A certificate request was left undecided, because something that it needs is not there yet; the message names the rule."
        next "Do what the rule asks for, such as adding an address to spec.addresses; the request is looked at again by itself.";
    CertificateRequestDenied on [ClientCertificateIssued, ServingCertificateIssued, Ready, Stalled]
        "A certificate request broke a rule, and was denied; the message names the request and the rule."
        next "If the machine is yours, repair what the rule names, and ask for another try with another token: kubectl njr retry NAME. If it is not, someone holds a token of yours: delete the request, and look at who announced the machine.";
    CertificateRequestDeleted on [ClientCertificateIssued, Ready]
        "Somebody deleted the machine's certificate request before there was a certificate."
        next "Find out who deletes certificate requests: the API server's audit log has it. The agent asks again by itself, after ten seconds at the least.";
    SharedCertificatesMissing on [ClientCertificateIssued, Ready]
        "The Secret kubeadm-certs in kube-system, with the certificates that control planes share, does not exist or is not complete: kubeadm removes it two hours after it was written."
        next "On a control plane, run: kubeadm init phase upload-certs --upload-certs. Put the new key into the Secret that certificateKeySecret names. The controller looks at it every ten seconds, and the join goes on by itself.";
    SharedCertificatesUnreadable on [ClientCertificateIssued, Ready]
        "The certificates that control planes share cannot be used: they were encrypted with another key than the one in the Secret that certificateKeySecret names, or they are not what kubeadm writes."
        next "On a control plane, run: kubeadm init phase upload-certs --upload-certs. Put the new key into the Secret that certificateKeySecret names. The controller looks at it every ten seconds, and the join goes on by itself.";
    ControlPlaneUnsuitable on [ClientCertificateIssued, Ready]
        "The cluster's configuration does not let this machine become a control plane; the message names what it lacks, such as a controlPlaneEndpoint or a version that the agent knows."
        next "Do what the message says: kubectl -n kube-system edit configmap kubeadm-config. The agent tries again by itself.";
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
    KubeletNotStarted on [NodeRegistered, Ready]
        "The machine has its certificate, and its kubelet does not start or ends again; the message has the last errors that it wrote."
        next "Repair what the message names, and see on the machine: journalctl -u kubelet. The kubelet is started again by itself, and the join goes on.";
    KubeletUnhealthy on [NodeRegistered, Ready]
        "The machine has its certificate, and its kubelet runs without saying that it is healthy; the message has its answer."
        next "See on the machine: journalctl -u kubelet. The agent goes on asking, and the join goes on by itself.";
    EtcdNotJoined on [NodeRegistered, Ready]
        "The machine could not become a member of etcd, or its member does not start; the message is what etcd said."
        next "Look whether the other members are healthy, since etcd takes no new member while one is not; and see on the machine: crictl ps -a --name etcd. The agent tries again by itself.";
    ControlPlaneNotHealthy on [NodeRegistered, Ready]
        "The machine is a member of etcd, and its API server, controller manager or scheduler does not say that it is healthy; the message names it."
        next "See on the machine: crictl ps -a, crictl logs of the one that the message names, and journalctl -u kubelet. The agent goes on asking, and the join goes on by itself.";
    NodeAlreadyExists on [NodeRegistered, Ready, Stalled]
        "A Node of this name exists that did not come from this request; the message has the keys of its machine and of the one that is asked for."
        next "If another machine shall have the name, take the old one away, then delete its Node with kubectl delete node, or set replacesNodeUID as the message says. Otherwise choose another name.";
    NodeIdentityMismatch on [NodeRegistered, Ready, Stalled]
        "The Node has another UID than the one that joined: it was deleted and made anew."
        next "Find out who deleted it. If it was you, delete this request and apply it again.";
    NodeRegistered on [NodeRegistered]
        "The Node exists, and is the one that this request brought about."
        next "Nothing to do.";
    NodeAddressMismatch on [NodeRegistered]
        "The Node is the one that this request brought about, and it registered with an address that spec.addresses does not have."
        next "Add {name: node-ip, value: ADDRESS} to kubeletExtraArgs in a new request, or the address to spec.addresses.";
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

impl Reason {
    /// Where the documentation explains the reason.
    pub fn documentation(self) -> String {
        format!("{PAGE}#{}", self.as_str().to_lowercase())
    }
}

impl Reason {
    /// The reasons that a machine's agent may give for itself in `status.agent.reason`. All others are the controller's
    /// to find.
    pub const OF_AGENT: &'static [Self] = &[
        Self::UnexpectedAnswer,
        Self::ClockSkew,
        Self::ClusterInfoMissing,
        Self::ClusterInfoForbidden,
        Self::ClusterInfoWithoutKubeconfig,
        Self::SignatureMissing,
        Self::SignatureMismatch,
        Self::CAPinMismatch,
        Self::AccessDenied,
        Self::ObjectMissing,
        Self::RequestRejected,
        Self::APIServerError,
        Self::CertificateRequestDeleted,
        Self::MachineNotWritable,
        Self::ControllerSilent,
        Self::KubeletNotStarted,
        Self::KubeletUnhealthy,
        Self::SharedCertificatesMissing,
        Self::SharedCertificatesUnreadable,
        Self::ControlPlaneUnsuitable,
        Self::EtcdNotJoined,
        Self::ControlPlaneNotHealthy,
    ];

    /// The reason that an agent gave, if it is one that an agent may give.
    pub fn of_agent(text: &str) -> Option<Self> {
        Self::OF_AGENT.iter().copied().find(|reason| reason.as_str() == text)
    }
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
