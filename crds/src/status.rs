//! How far a join has come: [`NodeJoinRequestStatus`].
//!
//! The controller writes everything except [`AgentStatus`], which the machine's agent writes; an admission policy
//! keeps them apart. Nothing that the agent can write decides about trust. Text in it is bounded by the schema and
//! kept as text, so that no agent can write a request that the controller cannot read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What has been seen and done for a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct NodeJoinRequestStatus {
    /// Generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// Steps of the join in their order, then the summary Ready, and Stalled for what needs a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The machine that this request is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<BoundMachine>,

    /// Public parts of the bootstrap token that was made for this request; absent once it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,

    /// The credential, encrypted to the bound machine. Useless to anyone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_credentials: Option<SealedCredentials>,

    /// The Node that this request brought about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<JoinedNode>,

    /// The newest certificates that were issued to the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,

    /// The answer to the newest request for another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryAnswer>,

    /// The agent's own part. What the machine says about itself, and so evidence for people, and never for
    /// a decision about trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
}

/// The machine that a request is bound to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct BoundMachine {
    /// SHA-256 of the machine key's SubjectPublicKeyInfo.
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub public_key_hash: String,

    /// Name of the CertificateSigningRequest with which the machine announced itself. Absent where it did not: delivery Token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub announcement: Option<String>,

    /// When this machine was first seen; the request's deadline counts from here, or from the newest try in `retry`.
    #[schemars(schema_with = "schema::time")]
    pub first_seen: Time,
}

/// Public parts of a bootstrap token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// The token's public half; its user is system:bootstrap:<tokenID>.
    #[serde(rename = "tokenID")]
    #[schemars(length(max = 6), regex(pattern = r"^[a-z0-9]{6}$"))]
    pub token_id: String,

    /// When the token ends by itself.
    #[schemars(schema_with = "schema::time")]
    pub expiration_time: Time,
}

/// A credential encrypted to one machine (RFC 9180, base mode).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct SealedCredentials {
    /// Generation of the request that it was sealed for; part of what the seal authenticates.
    #[schemars(range(min = 1))]
    pub generation: i64,

    /// The encapsulated key: 32 bytes in base64.
    #[schemars(length(min = 44, max = 44), extend("format" = "byte"))]
    pub encapsulated_key: String,

    /// The ciphertext in base64.
    #[schemars(length(min = 1, max = 131_072), extend("format" = "byte"))]
    pub ciphertext: String,
}

/// The Node that a request brought about.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct JoinedNode {
    /// UID of the Node. A Node of the same name with another UID is not the one that joined.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,

    /// Version of the kubelet, as the Node reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub kubelet_version: Option<String>,

    /// When the node was Ready for the first time, and its machine a whole control plane where it was to be one. From then
    /// on the request's deadline has no meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub first_ready: Option<Time>,
}

/// The newest certificates that were issued to a node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// The kubelet's client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IssuedCertificate>,

    /// The kubelet's serving certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<IssuedCertificate>,
}

/// One certificate that was issued.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct IssuedCertificate {
    /// Name of the CertificateSigningRequest that it came from.
    #[schemars(length(min = 1, max = 253))]
    pub request: String,

    /// When it ends.
    #[schemars(schema_with = "schema::time")]
    pub not_after: Time,

    /// Serial number in lower-case hexadecimal digits without separators.
    #[schemars(length(max = 42), regex(pattern = r"^[0-9a-f]+$"))]
    pub serial: String,
}

/// The answer to a person's request for another try, the annotation nodejoin.dev/retry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct RetryAnswer {
    /// The value of the annotation that was answered last. The same value is not answered again.
    #[schemars(length(min = 1, max = 64))]
    pub value: String,

    /// When the newest try began; the request's deadline counts from here. Absent as long as there was nothing to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub time: Option<Time>,
}

/// What a machine's agent says about itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Generation of the request that the agent is working on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// What the agent is doing.
    pub step: AgentStep,

    /// When it began to do that.
    #[schemars(schema_with = "schema::time")]
    pub since: Time,

    /// Why it waits or failed, as one word of the reasons that conditions have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub reason: Option<String>,

    /// What it waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// What it saw on the machine, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub observations: Vec<Observation>,

    /// Addresses of the machine, as the machine sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::observed_addresses")]
    pub addresses: Vec<String>,

    /// Versions of what runs on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,

    /// Results of preflight checks and of the checks after the join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 96))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<Check>,
}

/// What an agent is doing.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentStep {
    /// It has a credential and runs the checks that come before anything is written.
    Preflight,
    /// It verifies the cluster with the token and the pins of its credential.
    Discovery,
    /// Its certificate request is sent; it waits for the certificate.
    WaitingForCertificate,
    /// It writes the files that the kubelet starts from.
    WritingFiles,
    /// It has asked systemd for the kubelet and waits for its health.
    StartingKubelet,
    /// The kubelet is healthy; the machine joins etcd, and waits for its API server, controller manager and scheduler.
    StartingControlPlane,
    /// The kubelet is healthy; it runs the checks that come after a join.
    Verifying,
    /// The machine is the node.
    Joined,
    /// It gave up; the message says why.
    Failed,
    /// The kubelet is stopped, and the machine is being made what it was before the join.
    Leaving,
}

/// One thing that an agent saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// What was looked at, one word in CamelCase.
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub name: String,
    /// What was seen.
    #[schemars(length(max = 256))]
    pub value: String,
}

/// Versions of what runs on a machine.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent: Option<String>,
    /// The kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub kubelet: Option<String>,
    /// The container runtime with its name, such as containerd://2.4.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub container_runtime: Option<String>,
    /// The kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub kernel: Option<String>,
    /// The operating system, as /etc/os-release names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub os_image: Option<String>,
}

/// Result of one check on a machine.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the check; for preflight checks kubeadm's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// How it came out.
    pub result: CheckResult,
    /// What was seen and what was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// How a check came out.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// As it should be.
    Passed,
    /// Not as it should be, and not in the way of a join.
    Warning,
    /// In the way of a join.
    Failed,
    /// Not run.
    Skipped,
}
