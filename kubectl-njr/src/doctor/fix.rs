//! Carrying out one step.

use join_checks::cluster::fix::Step;
use join_crds::vocabulary::KUBE_SYSTEM;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use crate::options::DryRun;
use crate::session::{CallError, Session};

/// Field manager of what this program makes.
const MANAGER: &str = "kubectl-njr";

/// Makes the change. What was replaced since it was looked at is left alone, and the API server says so.
pub async fn carry_out(session: &Session, step: &Step, dry_run: DryRun) -> Result<(), CallError> {
    let tried = step.to_string();
    let client = session.client();
    let make = PostParams { dry_run: dry_run.is_server(), field_manager: Some(MANAGER.to_owned()) };
    match step {
        Step::RemoveBinding(binding) => {
            let params = delete(&binding.uid, dry_run);
            match &binding.namespace {
                None => {
                    let api: Api<ClusterRoleBinding> = Api::all(client);
                    session.call(&tried, api.delete(&binding.name, &params)).await.map(drop)
                }
                Some(namespace) => {
                    let api: Api<RoleBinding> = Api::namespaced(client, namespace);
                    session.call(&tried, api.delete(&binding.name, &params)).await.map(drop)
                }
            }
        }
        Step::RemoveToken { secret_name, uid } => {
            let api: Api<Secret> = Api::namespaced(client, KUBE_SYSTEM);
            session.call(&tried, api.delete(secret_name, &delete(uid, dry_run))).await.map(drop)
        }
        Step::AddRenewal(binding) => {
            let api: Api<ClusterRoleBinding> = Api::all(client);
            session.call(&tried, api.create(&make, binding)).await.map(drop)
        }
        Step::AddPolicyBinding(binding) => {
            let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
            session.call(&tried, api.create(&make, binding)).await.map(drop)
        }
    }
}

fn delete(uid: &str, dry_run: DryRun) -> DeleteParams {
    DeleteParams {
        dry_run: dry_run.is_server(),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    }
}

/// What was done, as kubectl says it.
pub fn done(step: &Step) -> String {
    match step {
        Step::RemoveBinding(binding) => match &binding.namespace {
            None => format!("clusterrolebinding.rbac.authorization.k8s.io/{} deleted", binding.name),
            Some(namespace) => {
                format!("rolebinding.rbac.authorization.k8s.io/{} deleted from {namespace} namespace", binding.name)
            }
        },
        Step::RemoveToken { secret_name, .. } => format!("secret/{secret_name} deleted from {KUBE_SYSTEM} namespace"),
        Step::AddRenewal(binding) => {
            let name = binding.metadata.name.as_deref().unwrap_or_default();
            format!("clusterrolebinding.rbac.authorization.k8s.io/{name} created")
        }
        Step::AddPolicyBinding(binding) => {
            let name = binding.metadata.name.as_deref().unwrap_or_default();
            format!("validatingadmissionpolicybinding.admissionregistration.k8s.io/{name} created")
        }
    }
}
