//! Who else says yes to kubelets' certificate requests.
//!
//! Two mechanisms: a right to approve, which another approver's ServiceAccount has; and the right to have one's
//! request approved unseen by kube-controller-manager (`certificatesigningrequests/nodeclient`), which kubeadm gives
//! to its own tokens.

use join_crds::vocabulary::{
    GROUP_CONTROL_PLANE, GROUP_ENROLL, GROUP_JOIN, SERVICE_ACCOUNT_CONTROLLER, SIGNER_KUBELET_CLIENT,
    SIGNER_KUBELET_SERVING,
};
use k8s_openapi::api::rbac::v1::PolicyRule;

use super::facts::Facts;
use super::ids;
use super::rbac::{Grant, allows, grants};
use super::shell::some_of;
use crate::Finding;

const CERTIFICATES: &str = "certificates.k8s.io";
/// What the API server asks about a requester before kube-controller-manager approves a first client certificate.
const NODECLIENT: &str = "certificatesigningrequests/nodeclient";

/// Groups that every holder of one of our tokens is in.
pub(super) fn is_group_of_our_tokens(group: &str) -> bool {
    matches!(group, "system:bootstrappers" | "system:authenticated")
        || [GROUP_CONTROL_PLANE, GROUP_ENROLL, GROUP_JOIN].contains(&group)
}

/// Bindings by which kube-controller-manager approves first client certificates unseen.
pub(super) fn automatic<'a>(grants: &'a [Grant<'a>]) -> impl Iterator<Item = &'a Grant<'a>> {
    grants.iter().filter(|grant| !grant.is_default && grants_nodeclient(grant))
}

fn grants_nodeclient(grant: &Grant<'_>) -> bool {
    grant.binding.namespace.is_none()
        && grant.is_to_group(|group| group.starts_with("system:bootstrappers") || is_group_of_our_tokens(group))
        && grant.rules.iter().any(|rule| allows(rule, "create", CERTIFICATES, NODECLIENT))
}

/// Judges the other approvers.
pub(super) fn other_approvers(facts: &Facts) -> Finding {
    const EXPECTED: &str = "only join-controller approves the certificate requests of kubelets that join through it";
    let grants = match grants(facts) {
        Ok(grants) => grants,
        Err(obstacle) => return Finding::skipped(ids::OTHER_APPROVERS, EXPECTED, obstacle),
    };
    let for_ours: Vec<&Grant<'_>> =
        automatic(&grants).filter(|grant| grant.is_to_group(is_group_of_our_tokens)).collect();
    if let Some(first) = for_ours.first() {
        return Finding::failed(
            ids::OTHER_APPROVERS,
            EXPECTED,
            format!(
                "{} lets kube-controller-manager approve every request of {}, which join-operator's own tokens belong to: no key is compared",
                first.binding,
                first.holder()
            ),
            first.binding.removal(),
        );
    }
    let mut others: Vec<&Grant<'_>> = grants
        .iter()
        .filter(|grant| !grant.is_default && !is_ours(grant, &facts.namespace) && may_approve(grant))
        .collect();
    others.sort_by(|one, other| one.binding.cmp(&other.binding));
    let Some(first) = others.first() else {
        return Finding::passed(
            ids::OTHER_APPROVERS,
            EXPECTED,
            "no other approver of the kubelet's signers has the right to",
        );
    };
    let named: Vec<String> = others.iter().map(|grant| format!("{} ({})", grant.holder(), grant.binding)).collect();
    Finding::failed(
        ids::OTHER_APPROVERS,
        EXPECTED,
        format!("may approve, too: {}", some_of(&named)),
        format!(
            "make sure that it leaves nodes with a NodeJoinRequest alone, or remove it: {}",
            first.binding.removal()
        ),
    )
    .as_warning()
}

fn is_ours(grant: &Grant<'_>, namespace: &str) -> bool {
    grant.subject.kind == "ServiceAccount"
        && grant.subject.namespace.as_deref() == Some(namespace)
        && (grant.subject.name == SERVICE_ACCOUNT_CONTROLLER || grant.role.starts_with("nodejoin:"))
}

/// Whether it names the right to approve for a kubelet's signer. Who may do everything is an administrator, not an
/// approver, and is left out.
fn may_approve(grant: &Grant<'_>) -> bool {
    let explicit = |rule: &PolicyRule| {
        rule.api_groups.as_ref().is_some_and(|groups| groups.iter().any(|group| group == CERTIFICATES))
            && allows(rule, "approve", CERTIFICATES, "signers")
            && rule
                .resource_names
                .as_ref()
                .is_none_or(|names| names.is_empty() || names.iter().any(|name| is_kubelet_signer(name)))
    };
    grant.rules.iter().any(explicit)
}

fn is_kubelet_signer(name: &str) -> bool {
    name == SIGNER_KUBELET_CLIENT || name == SIGNER_KUBELET_SERVING || name == "kubernetes.io/*"
}
