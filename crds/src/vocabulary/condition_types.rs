//! Types of conditions.

/// One condition of a request, in the order of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The machine that may become this node is known by its key.
    MachineBound,
    /// A bootstrap token was made for the machine and can reach it.
    CredentialIssued,
    /// The kubelet's client certificate was approved and signed.
    ClientCertificateIssued,
    /// The Node exists, and is the one that this request brought about.
    NodeRegistered,
    /// The kubelet's serving certificate was approved and signed.
    ServingCertificateIssued,
    /// The summary: the machine is the node, and the node is Ready. Its reason is the STATUS column of `kubectl get`.
    Ready,
    /// Nothing will move until a person does something. True is the abnormal value.
    Stalled,
}

impl ConditionType {
    /// Every type, in the order in which a status lists them.
    pub const ALL: [Self; 7] = [
        Self::MachineBound,
        Self::CredentialIssued,
        Self::ClientCertificateIssued,
        Self::NodeRegistered,
        Self::ServingCertificateIssued,
        Self::Ready,
        Self::Stalled,
    ];

    /// The type as the API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MachineBound => "MachineBound",
            Self::CredentialIssued => "CredentialIssued",
            Self::ClientCertificateIssued => "ClientCertificateIssued",
            Self::NodeRegistered => "NodeRegistered",
            Self::ServingCertificateIssued => "ServingCertificateIssued",
            Self::Ready => "Ready",
            Self::Stalled => "Stalled",
        }
    }

    /// What it means when the condition is True, as one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::MachineBound => "The machine that may become this node is known by its key.",
            Self::CredentialIssued => "A bootstrap token was made for the machine and can reach it.",
            Self::ClientCertificateIssued => "The kubelet's client certificate was approved and signed.",
            Self::NodeRegistered => "The Node exists, and is the one that this request brought about.",
            Self::ServingCertificateIssued => "The kubelet's serving certificate was approved and signed.",
            Self::Ready => "The summary: the machine is the node, and the node is Ready.",
            Self::Stalled => "Nothing will move until a person does something.",
        }
    }
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
