//! What should have gone and has not.

use join_crds::vocabulary::{GROUP_JOIN, JWS_KEY_PREFIX, KUBE_PUBLIC, KUBE_SYSTEM, SIGNER_MACHINE};
use join_crds::vocabulary::{SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING};
use k8s_openapi::jiff::Timestamp;

use super::facts::{Facts, Look, Named};
use super::freshness::{seconds_since, span};
use super::ids;
use super::shell::{some_of, word};
use crate::Finding;

/// What was made or ended this short a time ago is still being dealt with.
const GRACE_SECONDS: i64 = 300;
/// A kubelet's certificate request that was left undecided for longer waits for somebody.
const UNDECIDED_SECONDS: i64 = 3600;
/// kube-controller-manager removes undecided requests after a day.
const CLEANED_SECONDS: i64 = 25 * 3600;

fn is_old(created: Option<Timestamp>, now: Timestamp, seconds: i64) -> bool {
    created.is_some_and(|at| seconds_since(at, now) > seconds)
}

fn is_alive(requests: &[Named], uid: &str) -> bool {
    requests.iter().any(|request| request.uid == uid)
}

pub(super) fn tokens(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every bootstrap token is removed once it has ended or its request is gone";
    let tokens = match &facts.tokens {
        Look::Found(tokens) => tokens,
        other => return Finding::skipped(ids::LEFTOVER_TOKENS, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let ended: Vec<&str> = tokens
        .iter()
        .filter(|token| is_old(token.expires, facts.now, GRACE_SECONDS))
        .map(|token| token.secret_name.as_str())
        .collect();
    let orphaned: Vec<&str> = match facts.requests.found() {
        Some(requests) => tokens
            .iter()
            .filter(|token| {
                token.groups.iter().any(|group| group == GROUP_JOIN) && is_old(token.created, facts.now, GRACE_SECONDS)
            })
            .filter(|token| token.request_uid.as_deref().is_none_or(|uid| !is_alive(requests, uid)))
            .map(|token| token.secret_name.as_str())
            .collect(),
        None => Vec::new(),
    };
    if ended.is_empty() && orphaned.is_empty() {
        let observed = match tokens.len() {
            0 => "there is none".to_owned(),
            count => format!("{count} there, each alive and of use"),
        };
        return Finding::passed(ids::LEFTOVER_TOKENS, EXPECTED, observed);
    }
    let mut observed = Vec::new();
    if !ended.is_empty() {
        observed.push(format!("ended long ago: {}; kube-controller-manager's tokencleaner does not run", some(&ended)));
    }
    if !orphaned.is_empty() {
        observed.push(format!("of no request: {}", some(&orphaned)));
    }
    let mut names: Vec<&str> = ended.iter().chain(&orphaned).copied().collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.into_iter().map(word).collect();
    Finding::failed(
        ids::LEFTOVER_TOKENS,
        EXPECTED,
        observed.join("; "),
        format!("kubectl -n {KUBE_SYSTEM} delete secret {}", names.join(" ")),
    )
    .as_warning()
}

fn some(names: &[&str]) -> String {
    some_of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

pub(super) fn signatures(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every signature in cluster-info is of a token that exists";
    let (tokens, map) = match (&facts.tokens, &facts.cluster_info) {
        (Look::Found(tokens), Look::Found(map)) => (tokens, map),
        (tokens, map) => {
            let why = tokens.obstacle().or(map.obstacle()).unwrap_or("there is no cluster-info");
            return Finding::skipped(ids::LEFTOVER_SIGNATURES, EXPECTED, why);
        }
    };
    let exists = |id: &str| tokens.iter().any(|token| token.id == id);
    let keys = map.data.iter().flatten().map(|(key, _)| key.as_str());
    let orphaned: Vec<&str> =
        keys.filter(|key| key.strip_prefix(JWS_KEY_PREFIX).is_some_and(|id| !exists(id))).collect();
    if orphaned.is_empty() {
        return Finding::passed(ids::LEFTOVER_SIGNATURES, EXPECTED, "each has its token");
    }
    let operations: Vec<serde_json::Value> =
        orphaned.iter().map(|key| serde_json::json!({"op": "remove", "path": format!("/data/{key}")})).collect();
    let patch = serde_json::Value::from(operations).to_string();
    Finding::failed(
        ids::LEFTOVER_SIGNATURES,
        EXPECTED,
        format!("without a token: {}", some(&orphaned)),
        format!("kubectl -n {KUBE_PUBLIC} patch configmap cluster-info --type=json --patch {}", word(&patch)),
    )
    .as_warning()
}

pub(super) fn certificate_requests(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every certificate request of a kubelet is decided, and old ones are removed";
    let requests = match &facts.certificate_requests {
        Look::Found(requests) => requests,
        other => {
            return Finding::skipped(
                ids::LEFTOVER_CERTIFICATE_REQUESTS,
                EXPECTED,
                other.obstacle().unwrap_or_default(),
            );
        }
    };
    let mut stale = Vec::new();
    for request in requests {
        let status = request.status.as_ref();
        let is_decided = status.and_then(|status| status.conditions.as_ref()).is_some_and(|all| !all.is_empty());
        let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let limit = match request.spec.signer_name.as_str() {
            SIGNER_KUBELET_CLIENT | SIGNER_KUBELET_SERVING => UNDECIDED_SECONDS,
            SIGNER_MACHINE => CLEANED_SECONDS,
            _ => continue,
        };
        if let (false, true, Some(created)) = (is_decided, is_old(created, facts.now, limit), created) {
            let name = request.metadata.name.clone().unwrap_or_default();
            stale.push((name, seconds_since(created, facts.now)));
        }
    }
    if stale.is_empty() {
        return Finding::passed(ids::LEFTOVER_CERTIFICATE_REQUESTS, EXPECTED, "none waits for long");
    }
    stale.sort_by_key(|(_, age)| -age);
    let shown: Vec<String> = stale.iter().map(|(name, age)| format!("{name} (for {})", span(*age))).collect();
    let first = stale.first().map(|(name, _)| word(name)).unwrap_or_default();
    Finding::failed(
        ids::LEFTOVER_CERTIFICATE_REQUESTS,
        EXPECTED,
        format!("undecided: {}", some_of(&shown)),
        format!("look at each, and delete what nobody needs: kubectl describe csr {first}; kubectl delete csr {first}"),
    )
    .as_warning()
}

pub(super) fn records(facts: &Facts) -> Finding {
    const EXPECTED: &str = "every record of the controller has its request, or the Node that came of it";
    let (records, requests) = match (&facts.records, &facts.requests) {
        (Look::Found(records), Look::Found(requests)) => (records, requests),
        (records, requests) => {
            let why = records.obstacle().or(requests.obstacle()).unwrap_or("requests cannot be listed");
            return Finding::skipped(ids::LEFTOVER_RECORDS, EXPECTED, why);
        }
    };
    let orphaned: Vec<String> = records
        .iter()
        // What is kept for a Node goes with the Node.
        .filter(|record| !record.of_node && !is_alive(requests, &record.request_uid))
        .filter(|record| is_old(record.created, facts.now, GRACE_SECONDS))
        .map(|record| record.name.clone())
        .collect();
    if orphaned.is_empty() {
        return Finding::passed(ids::LEFTOVER_RECORDS, EXPECTED, format!("{} records", records.len()));
    }
    Finding::failed(
        ids::LEFTOVER_RECORDS,
        EXPECTED,
        format!("without a request: {}", some_of(&orphaned)),
        format!(
            "the controller removes them within a minute: see that it runs with kubectl -n {0} get lease join-controller, then its log",
            word(&facts.namespace)
        ),
    )
    .as_warning()
}
