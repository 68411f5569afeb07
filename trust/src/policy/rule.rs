//! The rules, their names and their weight.

use std::fmt;

/// What follows from a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The request is not ours and is left alone.
    Ignore,
    /// The request is denied: nothing that happens later makes it right.
    Deny,
    /// The request is left pending: it may become right.
    Wait,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident: $severity:ident,)*) => {
        /// The rules of the policy, in the order in which they are named when several are violated.
        ///
        /// The names are part of the interface: they stand in conditions, events and metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All rules, in their order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name of the rule.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What follows from its violation.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

rules! {
    /// Nobody has decided the request yet.
    ///
    /// All approvers check this; an approval cannot be taken back and a denial must not be overruled.
    AlreadyDecided: Ignore,
    /// The signer is exactly one of `kubernetes.io/kube-apiserver-client-kubelet` and `kubernetes.io/kubelet-serving`.
    ///
    /// Checked before anything else: deckhouse#22901 approved any signer because a flag was set outside this check.
    Signer: Ignore,
    /// The requester is a bootstrap token of our groups, or a node that has a join request.
    ///
    /// Others' requests are never touched; several approvers can share a cluster only in this way (the argument of
    /// cluster-machine-approver#31).
    Requester: Ignore,

    /// The request is at most 16 KiB.
    ///
    /// Parsers get bounded work (CVE-2024-12401).
    Size: Deny,
    /// The request is exactly one PEM block `CERTIFICATE REQUEST` of canonical DER, with nothing before or after.
    ///
    /// The signer reads it with another parser than we do, so there may be only one way to read it. kube-apiserver
    /// and GKE's approver allow further blocks.
    Encoding: Deny,
    /// The key is ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits.
    ///
    /// No approver checked this; the certificate would outlive a weak key.
    KeyType: Deny,
    /// The request is signed with its own key, not with SHA-1.
    ///
    /// The API server checks it as well. It is what makes a pinned key mean possession.
    Signature: Deny,
    /// The usages are exactly `digital signature` and `client auth` (or `server auth`), and with an RSA key optionally
    /// `key encipherment`.
    ///
    /// CVE-2022-36103 (Talos) signed a client certificate where a serving one was meant; kubelet-csr-approver did not
    /// check the set.
    Usages: Deny,
    /// The organisation is exactly `system:nodes`, once.
    ///
    /// Organisations become groups: a second one could be `system:masters`-like. kube-controller-manager requires it.
    Organization: Deny,
    /// The common name is `system:node:<name>`, once, with a name that is a DNS-1123 subdomain.
    ///
    /// kube-controller-manager compares only the prefix and so accepts an empty name.
    CommonName: Deny,
    /// The subject has no other attribute.
    ///
    /// Nobody checked this; other readers of the certificate may give such attributes a meaning.
    SubjectAttributes: Deny,
    /// All alternative names are DNS names or well-formed IP addresses.
    ///
    /// E-mail addresses and URIs are identities too (SPIFFE); kubelet-csr-approver did not check them.
    NameTypes: Deny,
    /// Nothing is asked for besides alternative names: no basic constraints, no challenge password, no other extension.
    ///
    /// kube-controller-manager's signer drops extensions, another signer behind the same name might not.
    Extensions: Deny,
    /// `expirationSeconds` is at most the configured maximum, one year by default.
    ///
    /// Certificates of nodes cannot be revoked (from kubelet-csr-approver).
    Validity: Deny,
    /// The request was not created in the future.
    ///
    /// Then the clocks differ, and no other time can be judged (kubeadm#1988).
    ClockSkew: Wait,
    /// There is no newer good request of the same requester for the same name and signer.
    ///
    /// A kubelet asks again every 15 minutes with a new key and forgets the old one; duplicates once stopped
    /// OpenShift's approver altogether (cluster-machine-approver#310).
    Superseded: Deny,

    /// The controller has a record of the token.
    ///
    /// The record is written before the token exists, so a missing one is a cache that lags, or a token in our group
    /// that somebody else made, which gets nothing.
    TokenKnown: Wait,
    /// The requester is `system:bootstrap:<id of the record's token>`, without a UID.
    ///
    /// OpenYurt#1290: any requester could ask for any node.
    RequesterName: Deny,
    /// The requester's groups are exactly `system:bootstrappers`, our join group and `system:authenticated`, but for that
    /// of control planes, which [`Rule::TokenRole`] is about.
    ///
    /// A token of the enroll group may announce a machine and nothing else; a token with kubeadm's group would come
    /// from somebody else.
    RequesterGroups: Deny,
    /// The requester has no extra attributes.
    ///
    /// Bootstrap tokens have none, so some other authenticator would have spoken (cluster-machine-approver compares
    /// the whole identity).
    RequesterExtra: Deny,
    /// A client certificate has no alternative names.
    ///
    /// kube-controller-manager, OpenShift and GKE require it.
    ClientNames: Deny,
    /// The node name in the request is the one for which the token was made.
    ///
    /// With stock kubeadm every token holder can become every node (machine-config-operator#731, community#628).
    TokenNode: Deny,
    /// The join request still exists.
    ///
    /// Whoever deletes it takes back the permission to join.
    RequestExists: Deny,
    /// The join request is the one for which the token was made, not another of the same name.
    ///
    /// Deleting and creating a request anew is a new decision, with a new token.
    RequestIdentity: Deny,
    /// The join request is not being deleted.
    RequestDeleting: Deny,
    /// The token is one for the role of the join request: that of a control plane has `…:nodejoin:control-plane` as well.
    ///
    /// Such a token can read the certificates that control planes share, so it must not be one of another request.
    TokenRole: Deny,
    /// The request was created while the token was valid.
    ///
    /// The window of cluster-machine-approver, with the API server's clock and the allowed skew.
    CreationWindow: Deny,
    /// The deadline of the join request has not passed.
    Deadline: Deny,
    /// There is no Node of that name, or it is the recorded one and may be replaced.
    ///
    /// Two machines with one name make the Node flap (kubernetes#79779). A person can remove the Node, so this waits.
    NodeAbsent: Wait,
    /// The request's key is the pinned machine key.
    ///
    /// The second pin of the project: only GKE (with a vTPM) compares the key, and this is what makes a stolen token
    /// worthless.
    PinnedKey: Deny,
    /// No certificate has been issued with this token before.
    ///
    /// The first certificate ends what the token may ask for; a second request means that it was stolen or that the
    /// machine lost its key.
    SecondCertificate: Deny,
    /// No other request has been chosen for this token.
    ///
    /// While it is not known whether a certificate was issued for the chosen one, nothing else is approved.
    CertificatePending: Wait,

    /// The requester is the node whose name is in the request.
    ///
    /// GHSA-87pw-5j2g-6376: one node got the serving certificate of another.
    ServingRequester: Deny,
    /// The requester's groups contain `system:nodes` and `system:authenticated`.
    ///
    /// A user name alone can be made by any authenticator; kubelet-csr-approver did not check the groups.
    ServingGroups: Deny,
    /// A serving certificate has at least one alternative name.
    ///
    /// Rules over an empty set pass without having checked anything (GHSA-87pw-5j2g-6376).
    ServingNames: Deny,
    /// Every DNS name is an approved one, compared as a whole.
    ///
    /// Prefixes match too much: `a` is the beginning of `auth` (kubelet-csr-approver); cloud-provider-gcp#185 did not
    /// check DNS names at all.
    DnsNames: Deny,
    /// No DNS name is one of the API server's or of the local host.
    ///
    /// Holds even when somebody has approved the name (k0s#8333).
    ForbiddenName: Deny,
    /// The node's addresses are known, if the request names any.
    ///
    /// Clouds give addresses late (cluster-machine-approver#322); the node's own statement in its status proves
    /// nothing.
    AddressesKnown: Wait,
    /// Every IP address is an approved one.
    ///
    /// GHSA-x7j5-fww5-mqmv and kubelet-serving-cert-approver#337 approved addresses unseen.
    Addresses: Deny,
    /// No IP address is loopback, link-local, unspecified, multicast or broadcast, in IPv6-mapped form, in a
    /// Service network, the API server's or another node's.
    ///
    /// Holds even when somebody has approved the address (k0s#8333); no approver checked it fully.
    ForbiddenAddress: Deny,
    /// The Node exists and the controller has recorded its UID.
    ///
    /// A kubelet registers and asks for its serving certificate at about the same time.
    NodeRegistered: Wait,
    /// The Node is the one that joined, by UID.
    ///
    /// CVE-2025-5187: a node could delete itself and register anew with other labels and taints.
    NodeIdentity: Deny,
    /// A request for a serving certificate is not older than the configured age.
    ///
    /// The kubelet has forgotten the key by then.
    ServingAge: Deny,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
