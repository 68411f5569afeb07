//! The names of the checks. Each has a section in `docs/troubleshooting.md`, and is never used for something else.

/// The API server answers.
pub const API_REACHABLE: &str = "api-reachable";
/// Its version is one that is supported.
pub const API_VERSION: &str = "api-version";
/// Its clock and ours agree.
pub const CLOCK_SKEW: &str = "clock-skew";
/// Whoever runs the check may do what he needs to.
pub const OWN_RIGHTS: &str = "own-rights";
/// The type of requests is served, in this version.
pub const CRD: &str = "crd";
/// cluster-info can be used by a machine.
pub const CLUSTER_INFO: &str = "cluster-info";
/// cluster-info can be read without credentials.
pub const CLUSTER_INFO_ANONYMOUS: &str = "cluster-info-anonymous";
/// Each live token has its signature in cluster-info.
pub const CLUSTER_INFO_SIGNATURES: &str = "cluster-info-signatures";
/// Approved certificate requests are signed.
pub const SIGNER: &str = "signer";
/// The API server accepts bootstrap tokens.
pub const BOOTSTRAP_AUTHENTICATION: &str = "bootstrap-authentication";
/// The admission policies are there, and are this version's.
pub const POLICIES: &str = "policies";
/// The admission policies are enforced.
pub const POLICY_BINDINGS: &str = "policy-bindings";
/// The controller's Deployment is available.
pub const CONTROLLER_DEPLOYMENT: &str = "controller-deployment";
/// A controller holds its lease.
pub const CONTROLLER_LEASE: &str = "controller-lease";
/// No token outlived its purpose.
pub const LEFTOVER_TOKENS: &str = "leftover-tokens";
/// No signature in cluster-info is without its token.
pub const LEFTOVER_SIGNATURES: &str = "leftover-signatures";
/// No certificate request waits for ever.
pub const LEFTOVER_CERTIFICATE_REQUESTS: &str = "leftover-certificate-requests";
/// No record is without its request.
pub const LEFTOVER_RECORDS: &str = "leftover-records";
/// Nobody else approves kubelets' certificates.
pub const OTHER_APPROVERS: &str = "other-approvers";

/// No bootstrap token's certificate is approved without a look.
pub const AUTO_APPROVE_BOOTSTRAP: &str = "auto-approve-bootstrap";
/// Nodes may renew their client certificates.
pub const RENEWAL_APPROVAL: &str = "renewal-approval";
/// Every bootstrap token ends by itself.
pub const UNEXPIRING_TOKENS: &str = "unexpiring-tokens";
/// No bootstrap token lives for longer than a day.
pub const LONG_LIVED_TOKENS: &str = "long-lived-tokens";
/// Every bootstrap token is good for one machine, or for an announcement only.
pub const UNBOUND_TOKENS: &str = "unbound-tokens";
/// Bootstrap tokens have no further rights.
pub const BOOTSTRAPPERS_BINDINGS: &str = "bootstrappers-bindings";
/// Nobody gets further than to cluster-info without credentials.
pub const ANONYMOUS_RIGHTS: &str = "anonymous-rights";
/// NodeRestriction is on, and has no known hole in this version.
pub const NODE_RESTRICTION: &str = "node-restriction";

/// Every check of a cluster.
pub const ALL: &[&str] = &[
    API_REACHABLE,
    API_VERSION,
    CLOCK_SKEW,
    OWN_RIGHTS,
    CRD,
    CLUSTER_INFO,
    CLUSTER_INFO_ANONYMOUS,
    CLUSTER_INFO_SIGNATURES,
    SIGNER,
    BOOTSTRAP_AUTHENTICATION,
    POLICIES,
    POLICY_BINDINGS,
    CONTROLLER_DEPLOYMENT,
    CONTROLLER_LEASE,
    LEFTOVER_TOKENS,
    LEFTOVER_SIGNATURES,
    LEFTOVER_CERTIFICATE_REQUESTS,
    LEFTOVER_RECORDS,
    OTHER_APPROVERS,
    AUTO_APPROVE_BOOTSTRAP,
    RENEWAL_APPROVAL,
    UNEXPIRING_TOKENS,
    LONG_LIVED_TOKENS,
    UNBOUND_TOKENS,
    BOOTSTRAPPERS_BINDINGS,
    ANONYMOUS_RIGHTS,
    NODE_RESTRICTION,
];
