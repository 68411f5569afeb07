//! What was seen of a cluster.

use join_trust::pin::PublicKeyPin;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;

use super::rights::Right;

/// The outcome of looking at one thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Look<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    Absent,
    /// Whoever looks has no right to; the text says what was tried.
    Forbidden(String),
    /// Looking failed; the text says what was tried and what came back.
    Failed(String),
    /// Nobody looked, and why.
    NotLooked(&'static str),
}

impl<T> Look<T> {
    /// What was seen, if something was.
    pub fn found(&self) -> Option<&T> {
        if let Self::Found(seen) = self { Some(seen) } else { None }
    }

    /// Why nothing can be said, unless something was seen or is known to be absent.
    pub fn obstacle(&self) -> Option<&str> {
        match self {
            Self::Found(_) | Self::Absent => None,
            Self::Forbidden(why) | Self::Failed(why) => Some(why),
            Self::NotLooked(why) => Some(why),
        }
    }
}

/// The API server, as it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub url: String,
    /// `gitVersion`, such as v1.37.2.
    pub version: String,
    /// Major, minor and patch of that, if they can be read.
    pub number: Option<(u32, u32, u32)>,
    /// Seconds by which its clock is before ours, from the Date of its answer; negative if it is behind.
    pub skew_seconds: Option<i64>,
}

/// Whether cluster-info holds a token's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// It is there and right.
    Valid,
    /// There is none.
    Missing,
    /// There is one, made with another secret or over another text.
    Wrong,
    /// The token signs nothing, or cluster-info or the token could not be read.
    NotApplicable,
}

/// A bootstrap token without its secret, which is dropped as soon as the signature has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The name of its Secret.
    pub secret_name: String,
    /// `metadata.uid` of its Secret.
    pub uid: String,
    /// Its public part.
    pub id: String,
    /// When its Secret was made.
    pub created: Option<Timestamp>,
    /// When it ends; none for one that never does.
    pub expires: Option<Timestamp>,
    /// Whether it is accepted as a credential.
    pub authenticates: bool,
    /// The groups that its bearer gets beside `system:bootstrappers`.
    pub groups: Vec<String>,
    /// The request that it was made for, where the controller made it.
    pub request_uid: Option<String>,
    /// Its signature in cluster-info.
    pub signature: Signature,
}

/// Name and UID of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

/// One of the controller's records, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSeen {
    /// The Secret's name.
    pub name: String,
    /// The request's UID, from the label.
    pub request_uid: String,
    /// Whether it is kept for the sake of a Node, from the label.
    pub of_node: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The namespace of the operator's own objects.
    pub namespace: String,
    /// The API server's time if it told it, else ours.
    pub now: Timestamp,
    /// The API server.
    pub server: Look<Server>,
    /// Pins of the certificate authorities with which this connection was verified; none if it was not told.
    pub trusted: Vec<PublicKeyPin>,
    /// Each right that was asked for, and whether it is there.
    pub rights: Vec<(Right, Look<bool>)>,
    /// Whether requests can be listed in this version of the API.
    pub served: Look<()>,
    /// Their type.
    pub crd: Look<Box<CustomResourceDefinition>>,
    /// cluster-info.
    pub cluster_info: Look<ConfigMap>,
    /// The HTTP status with which cluster-info is answered to someone without credentials.
    pub anonymous: Look<u16>,
    /// Bootstrap tokens.
    pub tokens: Look<Vec<Token>>,
    /// Requests.
    pub requests: Look<Vec<Named>>,
    /// The controller's records.
    pub records: Look<Vec<RecordSeen>>,
    /// Certificate requests.
    pub certificate_requests: Look<Vec<CertificateSigningRequest>>,
    /// kube-controller-manager's lease.
    pub manager_lease: Look<Lease>,
    /// The controller's lease.
    pub controller_lease: Look<Lease>,
    /// The controller's Deployment.
    pub deployment: Look<Box<Deployment>>,
    /// The control plane's pods in kube-system. Where it does not run in pods, none.
    pub components: Look<Vec<Pod>>,
    /// Admission policies.
    pub policies: Look<Vec<ValidatingAdmissionPolicy>>,
    /// Their bindings.
    pub policy_bindings: Look<Vec<ValidatingAdmissionPolicyBinding>>,
    /// ClusterRoles.
    pub cluster_roles: Look<Vec<ClusterRole>>,
    /// ClusterRoleBindings.
    pub cluster_role_bindings: Look<Vec<ClusterRoleBinding>>,
    /// Roles.
    pub roles: Look<Vec<Role>>,
    /// RoleBindings.
    pub role_bindings: Look<Vec<RoleBinding>>,
}
