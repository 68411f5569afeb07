//! API types of join-operator.
//!
//! [`NodeJoinRequest`] with its spec and status, the [`conditions`] that tell how far a join has come, and the
//! [`vocabulary`] of every name that two programs must agree on. No input or output and no client: the controller,
//! the agent, the kubectl plugin and the tests all build on this crate.
#![warn(missing_docs)]

pub mod conditions;
pub mod generate;
mod rules;
mod schema;
pub mod spec;
pub mod status;
pub mod vocabulary;

pub use rules::{CONTROLLED_KUBELET_ARGS, CONTROLLED_LABELS};
pub use spec::{
    ControlPlane, Delivery, KubeletArg, LocalApiEndpoint, Machine, NodeJoinRequest, NodeJoinRequestSpec,
    NodeRegistration, Removal, Role, Taint, TaintEffect, Trust,
};
pub use status::{
    AgentStatus, AgentStep, BoundMachine, Certificates, Check, CheckResult, Credential, IssuedCertificate, JoinedNode,
    NodeJoinRequestStatus, Observation, RetryAnswer, SealedCredentials, Versions,
};
pub use vocabulary::{ConditionType, EventReason, Reason, Recovery};
