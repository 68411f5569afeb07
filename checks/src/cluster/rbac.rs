//! Who is granted what: bindings with the rules of their roles.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use kube::api::ObjectMeta;

use super::facts::Facts;
use super::shell;

/// A binding, as it is named in commands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The namespace of a RoleBinding; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl Binding {
    /// The command that removes it.
    pub fn removal(&self) -> String {
        let name = shell::word(&self.name);
        match &self.namespace {
            None => format!("kubectl delete clusterrolebinding {name}"),
            Some(namespace) => format!("kubectl -n {} delete rolebinding {name}", shell::word(namespace)),
        }
    }
}

impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            None => write!(f, "ClusterRoleBinding {}", self.name),
            Some(namespace) => write!(f, "RoleBinding {namespace}/{}", self.name),
        }
    }
}

/// What one binding gives to one subject.
#[derive(Debug, Clone)]
pub(super) struct Grant<'a> {
    pub(super) binding: Binding,
    pub(super) subject: &'a Subject,
    pub(super) role: &'a str,
    /// Nothing for a role that does not exist or may not be read.
    pub(super) rules: &'a [PolicyRule],
    /// Whether the API server itself made the binding and restores it at each start.
    pub(super) is_default: bool,
}

impl Grant<'_> {
    /// Whether it is a grant to this group.
    pub(super) fn is_to_group(&self, matches: impl FnOnce(&str) -> bool) -> bool {
        self.subject.kind == "Group" && matches(&self.subject.name)
    }

    /// Whether it is a grant to this user.
    pub(super) fn is_to_user(&self, name: &str) -> bool {
        self.subject.kind == "User" && self.subject.name == name
    }

    /// The subject in a few words.
    pub(super) fn holder(&self) -> String {
        match (self.subject.kind.as_str(), &self.subject.namespace) {
            ("ServiceAccount", Some(namespace)) => format!("ServiceAccount {namespace}/{}", self.subject.name),
            (kind, _) => format!("{kind} {}", self.subject.name),
        }
    }
}

/// Every grant, or why they are not known.
pub(super) fn grants(facts: &Facts) -> Result<Vec<Grant<'_>>, String> {
    let obstacles = [
        facts.cluster_role_bindings.obstacle(),
        facts.cluster_roles.obstacle(),
        facts.role_bindings.obstacle(),
        facts.roles.obstacle(),
    ];
    if let Some(obstacle) = obstacles.into_iter().flatten().next() {
        return Err(obstacle.to_owned());
    }
    let mut grants = Vec::new();
    for binding in facts.cluster_role_bindings.found().into_iter().flatten() {
        let place = place(&binding.metadata, None);
        add(facts, &mut grants, &binding.metadata, &place, &binding.role_ref, binding.subjects.as_deref());
    }
    for binding in facts.role_bindings.found().into_iter().flatten() {
        let place = place(&binding.metadata, binding.metadata.namespace.as_deref());
        add(facts, &mut grants, &binding.metadata, &place, &binding.role_ref, binding.subjects.as_deref());
    }
    Ok(grants)
}

fn place(metadata: &ObjectMeta, namespace: Option<&str>) -> Binding {
    Binding {
        namespace: namespace.map(str::to_owned),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

fn add<'a>(
    facts: &'a Facts,
    grants: &mut Vec<Grant<'a>>,
    metadata: &ObjectMeta,
    binding: &Binding,
    role: &'a RoleRef,
    subjects: Option<&'a [Subject]>,
) {
    let labels = metadata.labels.as_ref();
    let is_default = labels
        .is_some_and(|labels| labels.get("kubernetes.io/bootstrapping").is_some_and(|kind| kind == "rbac-defaults"));
    for subject in subjects.into_iter().flatten() {
        grants.push(Grant {
            binding: binding.clone(),
            subject,
            role: &role.name,
            rules: rules(facts, role, binding.namespace.as_deref()),
            is_default,
        });
    }
}

fn rules<'a>(facts: &'a Facts, role: &RoleRef, namespace: Option<&str>) -> &'a [PolicyRule] {
    let is_it = |metadata: &ObjectMeta| metadata.name.as_deref() == Some(&role.name);
    let found = if role.kind == "ClusterRole" {
        let roles = facts.cluster_roles.found().into_iter().flatten();
        roles.filter(|role| is_it(&role.metadata)).find_map(|role| role.rules.as_deref())
    } else {
        let roles = facts.roles.found().into_iter().flatten();
        roles
            .filter(|role| is_it(&role.metadata) && role.metadata.namespace.as_deref() == namespace)
            .find_map(|role| role.rules.as_deref())
    };
    found.unwrap_or_default()
}

/// Whether a rule allows this. `*` counts as any, as it does for the API server.
pub(super) fn allows(rule: &PolicyRule, verb: &str, group: &str, resource: &str) -> bool {
    let holds = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    let in_list = |list: Option<&Vec<String>>, wanted: &str| list.is_some_and(|list| holds(list, wanted));
    // `*/subresource` stands for that subresource of any resource.
    let any_resource = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    holds(&rule.verbs, verb)
        && in_list(rule.api_groups.as_ref(), group)
        && (in_list(rule.resources.as_ref(), resource)
            || any_resource.is_some_and(|any| in_list(rule.resources.as_ref(), &any)))
}

/// A rule in a few words.
pub(super) fn describe(rule: &PolicyRule) -> String {
    let verbs = rule.verbs.join(",");
    let list = |items: &Option<Vec<String>>| items.as_deref().unwrap_or_default().join(",");
    let target = if rule.resources.as_ref().is_some_and(|resources| !resources.is_empty()) {
        list(&rule.resources)
    } else {
        list(&rule.non_resource_urls)
    };
    format!("{verbs} {target}")
}
