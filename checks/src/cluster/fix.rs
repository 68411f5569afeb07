//! What `kubectl njr doctor --fix` would do: each step by itself, so that it can be shown before it is made.

use join_crds::vocabulary::GROUP_NODES;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::api::ObjectMeta;

use super::facts::Facts;
use super::rbac::Binding;
use super::shell::some_of;
use super::{ids, installed, policies, security};

/// The role with which kube-controller-manager approves a node's renewal; made by the API server.
const RENEWAL_ROLE: &str = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
/// kubeadm's name for the binding of it.
const RENEWAL_BINDING: &str = "kubeadm:node-autoapprove-certificate-rotation";

/// Checks whose findings can be mended.
pub const FIXABLE: &[&str] = &[
    ids::AUTO_APPROVE_BOOTSTRAP,
    ids::RENEWAL_APPROVAL,
    ids::UNEXPIRING_TOKENS,
    ids::BOOTSTRAPPERS_BINDINGS,
    ids::ANONYMOUS_RIGHTS,
    ids::POLICY_BINDINGS,
];

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Remove a binding, if it still is the one that was seen.
    RemoveBinding(Binding),
    /// Remove a bootstrap token, if it still is the one that was seen.
    RemoveToken {
        /// The name of its Secret.
        secret_name: String,
        /// The UID of its Secret.
        uid: String,
    },
    /// Let nodes renew their certificates.
    AddRenewal(Box<ClusterRoleBinding>),
    /// Enforce a policy.
    AddPolicyBinding(Box<ValidatingAdmissionPolicyBinding>),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RemoveBinding(binding) => write!(f, "delete {binding}"),
            Self::RemoveToken { secret_name, .. } => write!(f, "delete Secret kube-system/{secret_name}"),
            Self::AddRenewal(binding) => {
                write!(f, "create ClusterRoleBinding {}", binding.metadata.name.as_deref().unwrap_or_default())
            }
            Self::AddPolicyBinding(binding) => {
                let name = binding.metadata.name.as_deref().unwrap_or_default();
                write!(f, "create ValidatingAdmissionPolicyBinding {name}")
            }
        }
    }
}

/// The steps cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// There is nothing that could be done by itself.
    #[error("{id:?} cannot be mended by this command: expected one of {}", FIXABLE.join(", "))]
    NotFixable {
        /// The check that was named.
        id: String,
    },
    /// What it would be decided from could not be read.
    #[error("cannot tell what to change for {id}: {why}")]
    Unseen {
        /// The check.
        id: String,
        /// What was in the way.
        why: String,
    },
    /// More is missing than this makes.
    #[error("{names} are missing themselves, so that bindings of them would enforce nothing; type: {remedy}")]
    PoliciesMissing {
        /// The policies.
        names: String,
        /// What makes them.
        remedy: String,
    },
    /// The policies that this program carries cannot be read.
    #[error("the policies inside this program cannot be read: {0}")]
    Policies(#[from] serde_json::Error),
}

/// What has to be done so that this check passes; nothing if it does.
pub fn plan(facts: &Facts, id: &str) -> Result<Vec<Step>, FixError> {
    let unseen = |why: String| FixError::Unseen { id: id.to_owned(), why };
    let remove = |bindings: Vec<Binding>| bindings.into_iter().map(Step::RemoveBinding).collect();
    let of_wide = |found: Vec<(Binding, String, String)>| {
        let mut bindings: Vec<Binding> = found.into_iter().map(|(binding, ..)| binding).collect();
        bindings.dedup();
        remove(bindings)
    };
    match id {
        ids::AUTO_APPROVE_BOOTSTRAP => security::automatic_bindings(facts).map(remove).map_err(unseen),
        ids::BOOTSTRAPPERS_BINDINGS => security::wide_bindings(facts).map(of_wide).map_err(unseen),
        ids::ANONYMOUS_RIGHTS => security::anonymous_bindings(facts).map(of_wide).map_err(unseen),
        ids::UNEXPIRING_TOKENS => {
            if let Some(why) = facts.tokens.obstacle() {
                return Err(unseen(why.to_owned()));
            }
            let step = |token: &super::facts::Token| Step::RemoveToken {
                secret_name: token.secret_name.clone(),
                uid: token.uid.clone(),
            };
            Ok(security::unexpiring_tokens(facts).into_iter().map(step).collect())
        }
        ids::RENEWAL_APPROVAL => match security::renewal(facts).verdict {
            crate::Verdict::Passed => Ok(Vec::new()),
            crate::Verdict::Skipped => Err(unseen(security::renewal(facts).observed)),
            _ => Ok(vec![Step::AddRenewal(Box::new(renewal_binding()))]),
        },
        ids::POLICY_BINDINGS => policy_bindings(facts, unseen),
        _ => Err(FixError::NotFixable { id: id.to_owned() }),
    }
}

/// Bindings that are missing are made; those that were changed are left to whoever changed them.
fn policy_bindings(facts: &Facts, unseen: impl FnOnce(String) -> FixError) -> Result<Vec<Step>, FixError> {
    let Some(installed) = facts.policy_bindings.found() else {
        return Err(unseen(facts.policy_bindings.obstacle().unwrap_or_default().to_owned()));
    };
    let (missing, _) = policies::binding_faults(&facts.namespace, installed)?;
    let without: Vec<String> = missing.iter().filter(|name| !policies::is_installed(facts, name)).cloned().collect();
    if !without.is_empty() {
        let remedy = installed::install(&facts.namespace);
        return Err(FixError::PoliciesMissing { names: some_of(&without), remedy });
    }
    let expected = policies::expected(&facts.namespace)?;
    let wanted = expected.bindings.into_iter().filter(|(name, _)| missing.contains(name));
    wanted
        .map(|(name, spec)| {
            let binding = ValidatingAdmissionPolicyBinding {
                metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
                spec: Some(serde_json::from_value(spec)?),
            };
            Ok(Step::AddPolicyBinding(Box::new(binding)))
        })
        .collect()
}

fn renewal_binding() -> ClusterRoleBinding {
    const GROUP: &str = "rbac.authorization.k8s.io";
    ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(RENEWAL_BINDING.to_owned()), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: GROUP.to_owned(),
            kind: "ClusterRole".to_owned(),
            name: RENEWAL_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some(GROUP.to_owned()),
            kind: "Group".to_owned(),
            name: GROUP_NODES.to_owned(),
            namespace: None,
        }]),
    }
}

/// The same as a command.
pub(super) fn renewal_command() -> String {
    format!("kubectl create clusterrolebinding {RENEWAL_BINDING} --clusterrole={RENEWAL_ROLE} --group={GROUP_NODES}")
}
