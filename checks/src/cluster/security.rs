//! What weakens a cluster in which machines join.

use join_crds::vocabulary::{
    CLUSTER_INFO, GROUP, GROUP_CONTROL_PLANE, GROUP_ENROLL, GROUP_JOIN, GROUP_NODES, KUBE_PUBLIC, KUBE_SYSTEM, PLURAL,
};
use k8s_openapi::api::rbac::v1::PolicyRule;

use super::facts::{Facts, Look, Server, Token};
use super::freshness::{seconds_since, span};
use super::rbac::{Binding, Grant, allows, describe, grants};
use super::shell::{some_of, word};
use super::{approvers, control_plane, ids};
use crate::Finding;

/// A bootstrap token should not live for longer.
const DAY_SECONDS: i64 = 24 * 3600;
/// A little more than a day is still a day: the time between a token's making and its Secret's.
const SLACK_SECONDS: i64 = 600;

const CERTIFICATES: &str = "certificates.k8s.io";
const SELFNODECLIENT: &str = "certificatesigningrequests/selfnodeclient";

/// Bindings that let kube-controller-manager approve first certificates unseen; see [`super::approvers`].
pub(super) fn automatic_bindings(facts: &Facts) -> Result<Vec<Binding>, String> {
    let grants = grants(facts)?;
    Ok(unique(approvers::automatic(&grants)))
}

fn unique<'a>(grants: impl Iterator<Item = &'a Grant<'a>>) -> Vec<Binding> {
    let mut bindings: Vec<Binding> = grants.map(|grant| grant.binding.clone()).collect();
    bindings.sort();
    bindings.dedup();
    bindings
}

fn fix(id: &str, by_hand: &str) -> String {
    format!("{by_hand} (or: kubectl njr doctor --fix {id})")
}

fn removals(bindings: &[Binding]) -> String {
    bindings.iter().map(Binding::removal).collect::<Vec<_>>().join("; ")
}

pub(super) fn auto_approve(facts: &Facts) -> Finding {
    const EXPECTED: &str = "no holder of a bootstrap token gets a certificate of any node without a look";
    let grants = match grants(facts) {
        Ok(grants) => grants,
        Err(obstacle) => return Finding::skipped(ids::AUTO_APPROVE_BOOTSTRAP, EXPECTED, obstacle),
    };
    let found: Vec<&Grant<'_>> = approvers::automatic(&grants).collect();
    if found.is_empty() {
        return Finding::passed(
            ids::AUTO_APPROVE_BOOTSTRAP,
            EXPECTED,
            "kube-controller-manager approves no bootstrap token's request",
        );
    }
    let shown: Vec<String> = found.iter().map(|grant| format!("{} for {}", grant.binding, grant.holder())).collect();
    let reaches_ours = found.iter().any(|grant| grant.is_to_group(approvers::is_group_of_our_tokens));
    let finding = Finding::failed(
        ids::AUTO_APPROVE_BOOTSTRAP,
        EXPECTED,
        format!(
            "approved unseen: {}{}",
            some_of(&shown),
            if reaches_ours { "; join-operator's own tokens are among them" } else { "" }
        ),
        fix(
            ids::AUTO_APPROVE_BOOTSTRAP,
            &format!("{}; kubeadm join then waits for an approval by hand", removals(&unique(found.iter().copied()))),
        ),
    );
    // kubeadm makes that binding in every cluster; its own tokens are then as strong as they always were.
    if reaches_ours { finding } else { finding.as_warning() }
}

pub(super) fn renewal(facts: &Facts) -> Finding {
    const EXPECTED: &str = "nodes may renew their own client certificates";
    let grants = match grants(facts) {
        Ok(grants) => grants,
        Err(obstacle) => return Finding::skipped(ids::RENEWAL_APPROVAL, EXPECTED, obstacle),
    };
    let is_it = |grant: &&Grant<'_>| {
        grant.binding.namespace.is_none()
            && grant.is_to_group(|group| group == GROUP_NODES)
            && grant.rules.iter().any(|rule| allows(rule, "create", CERTIFICATES, SELFNODECLIENT))
    };
    if let Some(grant) = grants.iter().find(is_it) {
        return Finding::passed(ids::RENEWAL_APPROVAL, EXPECTED, grant.binding.to_string());
    }
    Finding::failed(
        ids::RENEWAL_APPROVAL,
        EXPECTED,
        "no binding lets kube-controller-manager approve renewals: each node is lost when its certificate ends",
        fix(ids::RENEWAL_APPROVAL, &super::fix::renewal_command()),
    )
    .as_warning()
}

fn tokens<'a>(facts: &'a Facts, id: &'static str, expected: &str) -> Result<Vec<&'a Token>, Finding> {
    match &facts.tokens {
        Look::Found(tokens) => {
            Ok(tokens.iter().filter(|token| token.expires.is_none_or(|expires| expires > facts.now)).collect())
        }
        other => Err(Finding::skipped(id, expected, other.obstacle().unwrap_or_default())),
    }
}

fn delete(tokens: &[&Token]) -> String {
    let names: Vec<String> = tokens.iter().map(|token| word(&token.secret_name)).collect();
    format!("kubectl -n {KUBE_SYSTEM} delete secret {}", names.join(" "))
}

fn names(tokens: &[&Token]) -> String {
    some_of(&tokens.iter().map(|token| token.secret_name.clone()).collect::<Vec<_>>())
}

/// Tokens without an end.
pub(super) fn unexpiring_tokens(facts: &Facts) -> Vec<&Token> {
    facts.tokens.found().into_iter().flatten().filter(|token| token.expires.is_none()).collect()
}

pub(super) fn unexpiring(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every bootstrap token ends by itself";
    if let Err(skipped) = tokens(facts, ids::UNEXPIRING_TOKENS, EXPECTED) {
        return skipped;
    }
    let found = unexpiring_tokens(facts);
    if found.is_empty() {
        return Finding::passed(ids::UNEXPIRING_TOKENS, EXPECTED, "each has an expiration");
    }
    Finding::failed(
        ids::UNEXPIRING_TOKENS,
        EXPECTED,
        format!("valid for ever: {}", names(&found)),
        fix(ids::UNEXPIRING_TOKENS, &delete(&found)),
    )
}

pub(super) fn long_lived(facts: &Facts) -> Finding {
    const EXPECTED: &str = "no bootstrap token lives for longer than a day";
    let live = match tokens(facts, ids::LONG_LIVED_TOKENS, EXPECTED) {
        Ok(live) => live,
        Err(skipped) => return skipped,
    };
    let remaining = |token: &Token| token.expires.map_or(0, |expires| seconds_since(facts.now, expires));
    let found: Vec<&Token> = live.into_iter().filter(|token| remaining(token) > DAY_SECONDS + SLACK_SECONDS).collect();
    let Some(longest) = found.iter().map(|token| remaining(token)).max() else {
        return Finding::passed(ids::LONG_LIVED_TOKENS, EXPECTED, "each ends within a day");
    };
    Finding::failed(
        ids::LONG_LIVED_TOKENS,
        EXPECTED,
        format!("longer than a day: {}; the longest for {}", names(&found), span(longest)),
        format!("where nobody waits for it, delete it and make a shorter one: {}", delete(&found)),
    )
    .as_warning()
}

pub(super) fn unbound(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every bootstrap token is good for one machine, or only to announce one";
    let live = match tokens(facts, ids::UNBOUND_TOKENS, EXPECTED) {
        Ok(live) => live,
        Err(skipped) => return skipped,
    };
    let is_bound = |token: &Token| match token.groups.as_slice() {
        [group] if group == GROUP_ENROLL => true,
        [group] if group == GROUP_JOIN => token.request_uid.is_some(),
        [one, other] if one == GROUP_CONTROL_PLANE && other == GROUP_JOIN => token.request_uid.is_some(),
        _ => false,
    };
    let found: Vec<&Token> = live.into_iter().filter(|token| token.authenticates && !is_bound(token)).collect();
    if found.is_empty() {
        return Finding::passed(ids::UNBOUND_TOKENS, EXPECTED, "no other token is alive");
    }
    let is_approved_unseen = automatic_bindings(facts).is_ok_and(|bindings| !bindings.is_empty());
    let consequence = if is_approved_unseen {
        "who holds one becomes any node, without a look"
    } else {
        "who holds one may ask to become any node"
    };
    Finding::failed(
        ids::UNBOUND_TOKENS,
        EXPECTED,
        format!("bound to nothing: {}; {consequence}", names(&found)),
        format!(
            "let machines join with kubectl njr enroll instead, and delete what nobody waits for: {}",
            delete(&found)
        ),
    )
    .as_warning()
}

/// Bindings that give bootstrap tokens more than it takes to join.
pub(super) fn wide_bindings(facts: &Facts) -> Result<Vec<(Binding, String, String)>, String> {
    let grants = grants(facts)?;
    let mut found: Vec<(Binding, String, String)> = grants
        .iter()
        .filter(|grant| !grant.is_default && grant.is_to_group(|group| group.starts_with("system:bootstrappers")))
        .filter_map(|grant| {
            let wide = |rule: &&PolicyRule| !takes_to_join(rule, grant.binding.namespace.as_deref());
            Some((grant.binding.clone(), grant.holder(), in_words(grant.rules.iter().filter(wide))?))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Rules in a few words: one of them, and how many there are besides. Nothing for no rules.
fn in_words<'a>(rules: impl Iterator<Item = &'a PolicyRule>) -> Option<String> {
    let rules: Vec<&PolicyRule> = rules.collect();
    // The order of an aggregated role's rules is nobody's choice; Secrets are what matters most.
    let first = rules.iter().find(|rule| allows(rule, "get", "", "secrets")).or(rules.first())?;
    let first = describe(first);
    Some(match rules.len() {
        1 => first,
        count => format!("{first} (and {} more rules)", count - 1),
    })
}

/// What kubeadm and join-operator give to bootstrap tokens, and what is judged elsewhere.
fn takes_to_join(rule: &PolicyRule, namespace: Option<&str>) -> bool {
    /// Group, resource, verbs.
    const ALLOWED: &[(&str, &str, &[&str])] = &[
        (CERTIFICATES, "certificatesigningrequests", &["create", "get", "list", "watch"]),
        // Judged as automatic approval.
        (CERTIFICATES, "certificatesigningrequests/nodeclient", &["create"]),
        (GROUP, PLURAL, &["get", "list", "watch"]),
        (GROUP, "nodejoinrequests/status", &["patch"]),
        ("", "nodes", &["get"]),
    ];
    let empty = Vec::new();
    let resources = rule.resources.as_ref().unwrap_or(&empty);
    let groups = rule.api_groups.as_ref().unwrap_or(&empty);
    let names = rule.resource_names.as_ref().unwrap_or(&empty);
    if resources.is_empty() {
        return false;
    }
    let is_reading = rule.verbs.iter().all(|verb| verb == "get");
    resources.iter().all(|resource| {
        groups.iter().all(|group| {
            // kubeadm's own settings, and the control plane's certificates, encrypted with a key that no token has.
            let is_setting = group.is_empty()
                && is_reading
                && !names.is_empty()
                && match (namespace, resource.as_str()) {
                    (Some(KUBE_SYSTEM | KUBE_PUBLIC), "configmaps") => true,
                    (Some(KUBE_SYSTEM), "secrets") => names.iter().all(|name| name == "kubeadm-certs"),
                    _ => false,
                };
            is_setting
                || ALLOWED.iter().any(|(of_group, of_resource, verbs)| {
                    group == of_group
                        && resource == of_resource
                        && rule.verbs.iter().all(|verb| verbs.contains(&verb.as_str()))
                })
        })
    })
}

pub(super) fn bootstrappers(facts: &Facts) -> Finding {
    const EXPECTED: &str = "bootstrap tokens may do what it takes to join, and nothing else";
    widths(ids::BOOTSTRAPPERS_BINDINGS, EXPECTED, wide_bindings(facts))
}

/// Bindings that give somebody without credentials more than he needs.
pub(super) fn anonymous_bindings(facts: &Facts) -> Result<Vec<(Binding, String, String)>, String> {
    let grants = grants(facts)?;
    let is_anonymous = |grant: &&Grant<'_>| {
        grant.is_to_user("system:anonymous") || grant.is_to_group(|group| group == "system:unauthenticated")
    };
    let mut found: Vec<(Binding, String, String)> = grants
        .iter()
        .filter(|grant| !grant.is_default)
        .filter(is_anonymous)
        .filter_map(|grant| {
            let wide = |rule: &&PolicyRule| !is_public(rule, grant.binding.namespace.as_deref());
            Some((grant.binding.clone(), grant.holder(), in_words(grant.rules.iter().filter(wide))?))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn is_public(rule: &PolicyRule, namespace: Option<&str>) -> bool {
    const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let is_get = rule.verbs.iter().all(|verb| verb == "get");
    let resources = rule.resources.as_deref().unwrap_or_default();
    let urls = rule.non_resource_urls.as_deref().unwrap_or_default();
    let is_cluster_info = namespace == Some(KUBE_PUBLIC)
        && resources.iter().all(|resource| resource == "configmaps")
        && rule.resource_names.as_ref().is_some_and(|names| names.iter().all(|name| name == CLUSTER_INFO));
    is_get && (is_cluster_info || (resources.is_empty() && urls.iter().all(|url| PUBLIC.contains(&url.as_str()))))
}

pub(super) fn anonymous_rights(facts: &Facts) -> Finding {
    const EXPECTED: &str = "who has no credentials may read cluster-info and the server's health, and nothing else";
    widths(ids::ANONYMOUS_RIGHTS, EXPECTED, anonymous_bindings(facts))
}

fn widths(id: &'static str, expected: &str, found: Result<Vec<(Binding, String, String)>, String>) -> Finding {
    let found = match found {
        Ok(found) => found,
        Err(obstacle) => return Finding::skipped(id, expected, obstacle),
    };
    if found.is_empty() {
        return Finding::passed(id, expected, "no binding gives more");
    }
    let shown: Vec<String> =
        found.iter().map(|(binding, holder, rule)| format!("{binding} lets {holder} {rule}")).collect();
    let mut bindings: Vec<Binding> = found.into_iter().map(|(binding, ..)| binding).collect();
    bindings.dedup();
    Finding::failed(id, expected, some_of(&shown), fix(id, &removals(&bindings)))
}

/// A hole in NodeRestriction, and the first patch of each minor version without it.
struct Hole {
    id: &'static str,
    /// Minor and patch; minor versions before the first had it for ever, those after the last never.
    mended: &'static [(u32, u32)],
    /// Minor versions before this one do not have it.
    since: u32,
}

/// From the Kubernetes CVE feed: what lets a node that was taken over change what it is.
const HOLES: &[Hole] = &[
    // A node deletes itself through an OwnerReference and registers anew with other labels and taints.
    Hole { id: "CVE-2025-5187", mended: &[(31, 12), (32, 8), (33, 4)], since: 0 },
    // A node reaches claims of dynamic resource allocation that are not its own.
    Hole { id: "CVE-2025-4563", mended: &[(32, 6), (33, 2)], since: 32 },
];

pub(super) fn node_restriction(server: &Server, facts: &Facts) -> Finding {
    const EXPECTED: &str = "NodeRestriction is on, and has no known hole in this version";
    let Some((_, minor, patch)) = server.number else {
        return Finding::skipped(ids::NODE_RESTRICTION, EXPECTED, format!("{:?} is no version", server.version));
    };
    let open: Vec<&str> = HOLES.iter().filter(|hole| hole.is_open(minor, patch)).map(|hole| hole.id).collect();
    if !open.is_empty() {
        return Finding::failed(
            ids::NODE_RESTRICTION,
            EXPECTED,
            format!("{} has {}", server.version, open.join(" and ")),
            "upgrade the control plane: kubeadm upgrade plan",
        );
    }
    let flags = control_plane::component_flags(facts, "kube-apiserver");
    let value = |name: &str| flags.as_ref().and_then(|flags| flags.iter().find_map(|flag| flag.strip_prefix(name)));
    let has = |list: Option<&str>, wanted: &str| list.is_some_and(|list| list.split(',').any(|item| item == wanted));
    if flags.is_some() && !has(value("--enable-admission-plugins="), "NodeRestriction") {
        return Finding::failed(
            ids::NODE_RESTRICTION,
            EXPECTED,
            "kube-apiserver runs without --enable-admission-plugins=NodeRestriction: a node may change every other node",
            "add NodeRestriction to that flag in /etc/kubernetes/manifests/kube-apiserver.yaml on every control plane",
        );
    }
    let seen = if flags.is_some() { "it is on" } else { "whether it is on cannot be seen: kube-apiserver is no pod" };
    Finding::passed(ids::NODE_RESTRICTION, EXPECTED, format!("{} has no hole that is known; {seen}", server.version))
}

impl Hole {
    fn is_open(&self, minor: u32, patch: u32) -> bool {
        let newest = self.mended.iter().map(|(minor, _)| *minor).max().unwrap_or_default();
        match self.mended.iter().find(|(of_minor, _)| *of_minor == minor) {
            Some((_, mended)) => patch < *mended,
            None => minor >= self.since && minor < newest,
        }
    }
}
