//! The chart's manifests agree with the types, and grant what was decided and nothing more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use join_crds::vocabulary;
use serde_json::Value;
use support::{SCHEMA, repository, yaml_documents};

/// Who holds a right, where, and what it is: one line of the golden file.
type Right = String;

const GOLDEN_RIGHTS: &str = "crds/tests/golden/rights.txt";

/// The chart as Helm renders it with its default values, without the CustomResourceDefinition. The chart's own tests
/// compare it with what Helm makes of the templates; here it saves building Helm.
const RENDERED: &str = "e2e/tests/chart/golden/default.yaml";

/// Every object of the chart.
fn objects() -> Vec<Value> {
    yaml_documents(&repository().join(RENDERED)).into_iter().filter(|object| !object.is_null()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn policy<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    of_kind(objects, "ValidatingAdmissionPolicy")
        .find(|policy| policy["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no policy {name}"))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Every rule of every role, with who is bound to it and where it holds.
fn rights(objects: &[Value]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for (binding_kind, role_kind) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        for binding in of_kind(objects, binding_kind) {
            let (namespace, role) = (&binding["metadata"]["namespace"], &binding["roleRef"]);
            assert_eq!(role["kind"], role_kind, "{binding}");
            let rules = of_kind(objects, role_kind)
                .find(|found| found["metadata"]["name"] == role["name"] && found["metadata"]["namespace"] == *namespace)
                .unwrap_or_else(|| panic!("a binding to a role that is not in the chart: {binding}"));
            for subject in binding["subjects"].as_array().unwrap() {
                let who = match subject["namespace"].as_str() {
                    Some(of) => {
                        format!("{} {of}/{}", subject["kind"].as_str().unwrap(), subject["name"].as_str().unwrap())
                    }
                    None => format!("{} {}", subject["kind"].as_str().unwrap(), subject["name"].as_str().unwrap()),
                };
                let scope = namespace.as_str().unwrap_or("everywhere");
                for rule in rules["rules"].as_array().unwrap() {
                    rights.extend(each_right(rule).into_iter().map(|right| format!("{who}: {scope}: {right}")));
                }
            }
        }
    }
    rights
}

/// One line for each verb on each resource.
fn each_right(rule: &Value) -> Vec<String> {
    let names = texts(&rule["resourceNames"]);
    let only = if names.is_empty() { String::new() } else { format!(" only {}", names.join(", ")) };
    let mut lines = Vec::new();
    for group in texts(&rule["apiGroups"]) {
        let group = if group.is_empty() { "core".to_owned() } else { group };
        for resource in texts(&rule["resources"]) {
            lines.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} {group}/{resource}{only}")));
        }
    }
    lines
}

/// A change of anybody's rights is a change of this file, and so is seen in review.
#[test]
fn rights_are_those_of_the_golden_file() {
    let rights: String = rights(&objects()).into_iter().map(|right| right + "\n").collect();
    let file = repository().join(GOLDEN_RIGHTS);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &rights).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap();
    assert_eq!(rights, golden, "rights changed; if that is meant: UPDATE=1 cargo test -p join-crds --test manifests");
}

/// What must stay true however the golden file is updated.
#[test]
fn nobody_has_a_right_that_gives_away_the_cluster() {
    let rights = rights(&objects());
    assert!(rights.len() > 40, "{rights:?}");
    for right in &rights {
        let (who, rest) = right.split_once(": ").unwrap();
        let (scope, what) = rest.split_once(": ").unwrap();
        let (verb, resource) = what.split_once(' ').unwrap();
        assert!(!right.contains('*'), "a wildcard: {right}");
        assert!(!["sign", "escalate", "bind", "impersonate", "deletecollection"].contains(&verb), "{right}");
        assert!(!resource.contains("/nodes/proxy") && !resource.contains("serviceaccounts"), "{right}");
        // What is in it is encrypted, with a key that only the machine has.
        let certificates =
            "Group system:bootstrappers:nodejoin:control-plane: kube-system: get core/secrets only kubeadm-certs";
        if resource.starts_with("core/secrets") && right != certificates {
            assert_eq!(who, "ServiceAccount join-system/join-controller", "{right}");
            // Create together with read would give it the token of any ServiceAccount there.
            let allowed = scope == "join-system" || (scope == "kube-system" && ["create", "delete"].contains(&verb));
            assert!(allowed, "{right}");
        }
        if resource.starts_with("nodejoin.dev/nodejoinrequests") && !["get", "list", "watch"].contains(&verb) {
            // The finalizer is a part of the object itself; policy `nodejoin-finalizer` keeps all else from the controller.
            let is_controller = who == "ServiceAccount join-system/join-controller";
            let finalizer = is_controller && resource == "nodejoin.dev/nodejoinrequests";
            assert!(finalizer || resource == "nodejoin.dev/nodejoinrequests/status", "{right}");
            assert_eq!(verb, "patch", "{right}");
        }
        if resource.starts_with("core/pods") {
            // Evicted and never deleted: PodDisruptionBudgets count.
            assert!(["list core/pods", "create core/pods/eviction"].contains(&what), "{right}");
        }
        if resource.starts_with("certificates.k8s.io/signers") {
            let (client, serving) = (vocabulary::SIGNER_KUBELET_CLIENT, vocabulary::SIGNER_KUBELET_SERVING);
            assert_eq!(what, format!("approve certificates.k8s.io/signers only {client}, {serving}"));
        }
    }
}

/// CEL has no "everything but one field": the policy names each field that is the controller's.
#[test]
fn the_status_policy_guards_every_field_but_the_agents() {
    let objects = objects();
    let fields: BTreeSet<&str> = SCHEMA["properties"]["status"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|field| *field != "agent")
        .collect();
    let validations = policy(&objects, "nodejoin-status")["spec"]["validations"].as_array().unwrap().clone();
    let guards: Vec<(String, String)> = validations
        .iter()
        .filter_map(|validation| {
            let message = validation["message"].as_str()?;
            let field = message.strip_prefix("status.")?.strip_suffix(" is the controller's")?;
            Some((field.to_owned(), validation["expression"].as_str()?.to_owned()))
        })
        .collect();
    let guarded: BTreeSet<&str> = guards.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(guarded, fields, "fields that policy nodejoin-status guards, and fields of the status");
    for (field, expression) in &guards {
        let side = |variable: &str| format!("variables.{variable}.map(s, has(s.{field}) ? [s.{field}] : [])");
        assert_eq!(*expression, format!("{} == {}", side("before"), side("after")));
    }
}

#[test]
fn every_policy_is_bound_and_fails_closed() {
    let objects = objects();
    let policies: BTreeSet<&str> = of_kind(&objects, "ValidatingAdmissionPolicy")
        .map(|policy| {
            assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{policy}");
            policy["metadata"]["name"].as_str().unwrap()
        })
        .collect();
    let bound: BTreeSet<&str> = of_kind(&objects, "ValidatingAdmissionPolicyBinding")
        .map(|binding| {
            assert!(texts(&binding["spec"]["validationActions"]).contains(&"Deny".to_owned()), "{binding}");
            assert!(binding["spec"].get("matchResources").is_none(), "a binding that leaves something out: {binding}");
            binding["spec"]["policyName"].as_str().unwrap()
        })
        .collect();
    assert_eq!(policies, bound);
    assert_eq!(policies.len(), 9);
}

/// YAML cannot import a constant.
#[test]
fn manifests_and_programs_use_the_same_names() {
    let objects = objects();
    let controller =
        format!("system:serviceaccount:{}:{}", vocabulary::DEFAULT_NAMESPACE, vocabulary::SERVICE_ACCOUNT_CONTROLLER);
    let accounts: Vec<_> = of_kind(&objects, "ServiceAccount").map(|account| &account["metadata"]).collect();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0]["name"], vocabulary::SERVICE_ACCOUNT_CONTROLLER);
    assert_eq!(accounts[0]["namespace"], vocabulary::DEFAULT_NAMESPACE);
    let tokens = policy(&objects, "nodejoin-tokens").to_string();
    assert!(tokens.contains(&controller));
    let finalizer = policy(&objects, "nodejoin-finalizer").to_string();
    assert!(finalizer.contains(&controller) && finalizer.contains(&format!("'{}'", vocabulary::FINALIZER)));
    let requests = policy(&objects, "nodejoin-certificate-requests").to_string();
    for name in [
        vocabulary::GROUP_ENROLL,
        vocabulary::GROUP_JOIN,
        vocabulary::GROUP_NODES,
        vocabulary::SIGNER_MACHINE,
        vocabulary::SIGNER_KUBELET_CLIENT,
    ] {
        assert!(requests.contains(&format!("'{name}'")), "{name}");
    }
    // The prefix is cut off by its length.
    let client = vocabulary::client_csr_name("");
    assert!(requests.contains(&format!("startsWith('{client}')")));
    assert!(requests.contains(&format!("object.metadata.name.substring({})", client.len())));
    assert!(requests.contains(&format!("startsWith('{}')", vocabulary::ANNOUNCEMENT_PREFIX)));
    let characters = join_trust::limits::MAX_CSR_PEM_BYTES.div_ceil(3) * 4;
    assert!(requests.contains(&format!("size(object.spec.request) <= {characters}")));
    let status = policy(&objects, "nodejoin-status").to_string();
    for prefix in [vocabulary::BOOTSTRAP_USER_PREFIX, vocabulary::NODE_USER_PREFIX] {
        assert!(status.contains(&format!("'{prefix}'")), "{prefix}");
    }
    let groups: BTreeSet<&str> = ["ClusterRoleBinding", "RoleBinding"]
        .into_iter()
        .flat_map(|kind| of_kind(&objects, kind))
        .flat_map(|binding| binding["subjects"].as_array().unwrap())
        .filter(|subject| subject["kind"] == "Group")
        .map(|subject| subject["name"].as_str().unwrap())
        .collect();
    let ours =
        [vocabulary::GROUP_CONTROL_PLANE, vocabulary::GROUP_ENROLL, vocabulary::GROUP_JOIN, vocabulary::GROUP_NODES];
    assert_eq!(groups, BTreeSet::from(ours));
}

/// The protocol code knows no API types, and so names these itself.
#[test]
fn the_protocol_code_uses_the_same_names() {
    use join_trust::names;
    assert_eq!(names::ANNOUNCEMENT_SIGNER, vocabulary::SIGNER_MACHINE);
    assert_eq!(names::CLIENT_SIGNER, vocabulary::SIGNER_KUBELET_CLIENT);
    assert_eq!(names::SERVING_SIGNER, vocabulary::SIGNER_KUBELET_SERVING);
    assert_eq!(names::ENROLL_GROUP, vocabulary::GROUP_ENROLL);
    assert_eq!(names::JOIN_GROUP, vocabulary::GROUP_JOIN);
    assert_eq!(names::CONTROL_PLANE_GROUP, vocabulary::GROUP_CONTROL_PLANE);
    assert_eq!(names::NODES_GROUP, vocabulary::GROUP_NODES);
    assert_eq!(names::NODE_USER_PREFIX, vocabulary::NODE_USER_PREFIX);
    assert_eq!(names::BOOTSTRAP_USER_PREFIX, vocabulary::BOOTSTRAP_USER_PREFIX);
    assert_eq!(join_trust::jws::KEY_PREFIX, vocabulary::JWS_KEY_PREFIX);
    let node = names::NodeName::parse("worker-7").unwrap();
    let pin = format!("sha256:{}", "0123456789abcdef".repeat(4)).parse().unwrap();
    assert_eq!(
        names::announcement_object_name(&node, &pin),
        vocabulary::announcement_name("worker-7", &pin.to_string())
    );
}

#[test]
fn the_chart_says_what_it_is() {
    let chart = yaml_documents(Path::new(&repository().join("charts/join-operator/Chart.yaml")));
    assert_eq!(chart.len(), 1);
    assert_eq!((&chart[0]["apiVersion"], &chart[0]["name"]), (&"v2".into(), &"join-operator".into()));
    assert_eq!(chart[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart[0]["appVersion"], env!("CARGO_PKG_VERSION"));
}
