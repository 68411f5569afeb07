//! What the admin asks for: [`NodeJoinRequestSpec`].
//!
//! Where a field means what it means to kubeadm it carries kubeadm's name. Every bound and every rule below ends
//! up in the generated schema, so that the API server refuses what is wrong with a message that names the field.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::NodeJoinRequestStatus;
use crate::{rules, schema};

/// Seconds that a bootstrap token lives unless the request says otherwise.
pub const DEFAULT_TOKEN_TTL_SECONDS: i32 = 900;
/// Seconds from the machine's appearance to Ready unless the request says otherwise.
pub const DEFAULT_DEADLINE_SECONDS: i32 = 3600;
/// The API server's port on a control plane unless the request says otherwise; kubeadm's default.
pub const DEFAULT_BIND_PORT: i32 = 6443;

/// What the machine shall become and how it may prove itself.
///
/// The request's name is the node's name. Role, machine, delivery and controlPlane cannot be changed: they decide who
/// may become this node, so a different answer is a different request.
#[allow(clippy::duplicated_attributes, reason = "printed columns repeat their keys")]
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "nodejoin.dev",
    version = "v1alpha1",
    kind = "NodeJoinRequest",
    plural = "nodejoinrequests",
    singular = "nodejoinrequest",
    shortname = "njr",
    category = "node-join",
    status = "NodeJoinRequestStatus",
    derive = "PartialEq",
    doc = "Asks for one machine to become the node of the same name, and records how far it has come.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the machine is the node and the node is Ready."
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "What the join is at, or what it waits for."
    ),
    printcolumn(
        name = "Machine",
        type_ = "string",
        json_path = ".status.machine.publicKeyHash",
        priority = 1,
        description = "Hash of the key of the machine that the request is bound to."
    ),
    printcolumn(
        name = "Addresses",
        type_ = "string",
        json_path = ".spec.addresses",
        priority = 1,
        description = "Addresses that the node may have."
    ),
    printcolumn(
        name = "Kubelet",
        type_ = "string",
        json_path = ".status.node.kubeletVersion",
        priority = 1,
        description = "Version of the node's kubelet."
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.certificates.client.notAfter",
        priority = 1,
        description = "When the node's client certificate ends."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1,
        description = "The status in a sentence."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Time since the request was made."
    ),
    crates(kube_core = "::kube_core")
)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = rules::control_plane_needs_role(),
    validation = rules::role_needs_control_plane(),
    validation = rules::control_plane_needs_pin(),
    validation = rules::control_plane_immutable(),
    validation = rules::token_delivery_needs_first_use(),
    validation = rules::node_ip_is_an_address(),
    validation = rules::drain_needs_worker(),
    validation = rules::replacing_needs_pin(),
)]
#[serde(rename_all = "camelCase")]
pub struct NodeJoinRequestSpec {
    /// What the node becomes: Worker or ControlPlane. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::immutable("role"))]
    pub role: Role,

    /// Which machine may become this node. Cannot be changed.
    #[x_kube(validation = rules::immutable("machine"))]
    pub machine: Machine,

    /// How the bootstrap token reaches the machine: Sealed or Token. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = rules::immutable("delivery"))]
    pub delivery: Delivery,

    /// Seconds that the bootstrap token lives, counted from the moment at which it is made: when the machine is there.
    #[serde(default = "default_token_ttl_seconds", rename = "tokenTTLSeconds")]
    #[schemars(range(min = 300, max = 86400))]
    pub token_ttl_seconds: i32,

    /// Seconds from the machine's appearance to Ready. After that the request is Stalled.
    #[serde(default = "default_deadline_seconds")]
    #[schemars(range(min = 300, max = 604_800))]
    pub deadline_seconds: i32,

    /// IP addresses of the machine: what its serving certificate may name and what the kubelet's node-ip may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<IpAddr>,

    /// How the kubelet is set up and what the Node carries.
    #[serde(default, skip_serializing_if = "NodeRegistration::is_empty")]
    pub node_registration: NodeRegistration,

    /// What only a control plane has. Goes with role ControlPlane. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,

    /// What happens to the node when this request is deleted. May be changed, also while the deletion is under way.
    #[serde(default)]
    pub removal: Removal,

    /// UID of the Node of this name that the pinned machine replaces: it is deleted once that machine is there. May be
    /// changed. Whoever sets it needs the right to delete that Node.
    #[serde(default, rename = "replacesNodeUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    #[x_kube(validation = rules::replaced_uid())]
    pub replaces_node_uid: Option<String>,
}

/// What a node becomes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A node that runs workloads.
    #[default]
    Worker,
    /// A node that also runs the control plane.
    ControlPlane,
}

/// Which machine may become this node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"), validation = rules::pin_or_first_use())]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// SHA-256 of the machine key's SubjectPublicKeyInfo, as the machine's agent prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = rules::public_key_hash())]
    pub public_key_hash: Option<String>,

    /// Pinned: only the key in publicKeyHash. FirstUse: the one machine that announces itself under this name.
    #[serde(default)]
    pub trust: Trust,
}

/// How a machine's key is known.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The admin wrote the key's hash into the request.
    #[default]
    Pinned,
    /// The first and only key that asks under this name is taken and recorded.
    FirstUse,
}

/// How a token reaches its machine.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Encrypted to the machine that announced itself; for our agent.
    #[default]
    Sealed,
    /// As a Secret with a ready join command; for stock kubeadm.
    Token,
}

/// What deletion of a request does to its node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// The node stays as it is.
    #[default]
    Retain,
    /// The node is drained, its Node is deleted and its machine is cleaned. For workers only.
    Drain,
}

/// How the kubelet is set up and what the Node carries.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct NodeRegistration {
    /// Container runtime's socket, such as unix:///run/containerd/containerd.sock. Absent: the one that is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 114))]
    #[x_kube(validation = rules::cri_socket())]
    pub cri_socket: Option<String>,

    /// Flags for the kubelet, in this order, as kubeadm's kubeletExtraArgs. Read once, during the join.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub kubelet_extra_args: Vec<KubeletArg>,

    /// Labels of the Node, also those that a kubelet may not set on itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Taints of the Node. Absent: none for a worker, the control-plane taint for a control plane. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into(), "effect".into()]))]
    pub taints: Option<Vec<Taint>>,

    /// Preflight checks whose failure is only a warning, by kubeadm's names; all alone stands for every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::preflight_checks")]
    pub ignore_preflight_errors: Vec<String>,
}

impl NodeRegistration {
    /// Whether nothing is asked for, so that the field can be left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One flag of the kubelet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct KubeletArg {
    /// Name of the flag without leading dashes.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::kubelet_arg_name(), validation = rules::kubelet_arg_not_controlled())]
    pub name: String,
    /// Value of the flag.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = rules::kubelet_arg_value())]
    pub value: String,
}

/// One taint of the Node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = rules::taint_key(), validation = rules::taint_not_controlled())]
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"))]
    pub value: Option<String>,
    /// What the taint does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods are not placed here.
    NoSchedule,
    /// New pods are placed elsewhere if they can be.
    PreferNoSchedule,
    /// Running pods are evicted as well.
    NoExecute,
}

impl TaintEffect {
    /// The effect as the Node API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    /// The effect that the Node API spells so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute].into_iter().find(|effect| effect.as_str() == text)
    }
}

/// What only a control plane has.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Secret in the controller's namespace with the key that `kubeadm init phase upload-certs --upload-certs` printed, under
    /// `certificateKey`. It is sealed to the machine. Whoever creates the request needs the right to read that Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::secret_name())]
    pub certificate_key_secret: String,

    /// Where this machine's API server listens.
    #[serde(rename = "localAPIEndpoint", default, skip_serializing_if = "Option::is_none")]
    pub local_api_endpoint: Option<LocalApiEndpoint>,
}

/// Where a control plane's API server listens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct LocalApiEndpoint {
    /// IP address that the API server advertises to the others. Absent: the address of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::address")]
    pub advertise_address: Option<IpAddr>,

    /// Port that the API server listens on.
    #[serde(default = "default_bind_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub bind_port: i32,
}

const fn default_token_ttl_seconds() -> i32 {
    DEFAULT_TOKEN_TTL_SECONDS
}

const fn default_deadline_seconds() -> i32 {
    DEFAULT_DEADLINE_SECONDS
}

const fn default_bind_port() -> i32 {
    DEFAULT_BIND_PORT
}

/// The label that makes a Node a control plane, and the key of the taint that keeps other pods away from it.
pub const CONTROL_PLANE_ROLE: &str = "node-role.kubernetes.io/control-plane";
/// The label that keeps load balancers outside the cluster from sending Services' traffic to a Node.
pub const EXCLUDE_FROM_LOAD_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

impl NodeJoinRequestSpec {
    /// Every label that the Node is to have: those that are asked for, and those by which kubeadm marks a control plane
    /// (`phases/markcontrolplane`).
    pub fn node_labels(&self) -> BTreeMap<String, String> {
        let marks: &[&str] = match self.role {
            Role::Worker => &[],
            Role::ControlPlane => &[CONTROL_PLANE_ROLE, EXCLUDE_FROM_LOAD_BALANCERS],
        };
        let mut labels: BTreeMap<String, String> =
            marks.iter().map(|mark| ((*mark).to_owned(), String::new())).collect();
        labels.extend(self.node_registration.labels.clone());
        labels
    }

    /// Every taint that the Node is to register with: those that are asked for, and else a control plane's.
    pub fn node_taints(&self) -> Vec<Taint> {
        match (&self.node_registration.taints, self.role) {
            (Some(taints), _) => taints.clone(),
            (None, Role::Worker) => Vec::new(),
            (None, Role::ControlPlane) => {
                vec![Taint { key: CONTROL_PLANE_ROLE.to_owned(), value: None, effect: TaintEffect::NoSchedule }]
            }
        }
    }
}

impl NodeJoinRequest {
    /// The node's name, which is the request's name.
    ///
    /// Empty only for an object that never came from an API server.
    pub fn node_name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The request's UID; empty only for an object that never came from an API server.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Generation of the spec, counted by the API server from 1.
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }
}
