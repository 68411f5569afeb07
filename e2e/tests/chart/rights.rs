//! What each identity may do, asked of a real API server.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use join_crds::vocabulary::{GROUP_CONTROL_PLANE, GROUP_ENROLL, GROUP_JOIN};
use join_e2e::operator::NAMESPACE;
use join_trust::token::{SECRET_TYPE, rfc3339};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::render::assert_golden;
use super::suite::Suite;

const GROUP_KUBEADM: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Who: a name for the golden file, the user and its groups.
const IDENTITIES: &[(&str, &str, &[&str])] = &[
    (
        "controller",
        "system:serviceaccount:join-system:join-controller",
        &["system:serviceaccounts", "system:serviceaccounts:join-system"],
    ),
    ("enrollment token", "system:bootstrap:enro11", &["system:bootstrappers", GROUP_ENROLL]),
    ("join token", "system:bootstrap:jo1n12", &["system:bootstrappers", GROUP_JOIN]),
    (
        "join token of a control plane",
        "system:bootstrap:jo1n13",
        &["system:bootstrappers", GROUP_CONTROL_PLANE, GROUP_JOIN],
    ),
    ("node", "system:node:first-node", &["system:nodes"]),
    ("viewer", "a-viewer", &[]),
    ("requester", "a-requester", &[]),
    ("enroller", "an-enroller", &[]),
    ("everyone", "anybody", &[]),
];

/// Where rights are looked at: ours are in these namespaces, and nowhere else.
const NAMESPACES: [&str; 4] = [NAMESPACE, "kube-system", "kube-public", "default"];

/// Gives the people's roles to people, as an administrator does.
fn bind_people(suite: &Suite) -> Result<(), Failed> {
    let binding = |kind: &str, role_kind: &str, namespace: Option<&str>, role: &str, user: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": format!("test:{user}"), "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        })
    };
    for object in [
        binding("ClusterRoleBinding", "ClusterRole", None, "nodejoin:viewer", "a-viewer"),
        binding("ClusterRoleBinding", "ClusterRole", None, "nodejoin:requester", "a-requester"),
        binding("RoleBinding", "Role", Some("kube-system"), "nodejoin:enroller", "an-enroller"),
        binding("RoleBinding", "Role", Some("kube-public"), "nodejoin:enroller", "an-enroller"),
    ] {
        suite.operator().apply(&object.to_string())?;
    }
    Ok(())
}

/// `kubectl auth can-i --list` for everyone that the chart gives rights to, without what every user may.
pub fn identities_have_the_rights_of_the_golden_file(suite: &Suite) -> Result<(), Failed> {
    bind_people(suite)?;
    let mut text = String::new();
    for (name, user, groups) in IDENTITIES {
        for namespace in NAMESPACES {
            let rights = can_i(suite, user, groups, namespace)?;
            let common = if *name == "everyone" { BTreeSet::new() } else { can_i(suite, "anybody", &[], namespace)? };
            writeln!(text, "## {name} in {namespace}")?;
            for right in rights.difference(&common) {
                writeln!(text, "{right}")?;
            }
            writeln!(text)?;
        }
    }
    assert_golden("can-i.txt", &text)
}

/// The lines of the list, with one space between columns.
fn can_i(suite: &Suite, user: &str, groups: &[&str], namespace: &str) -> Result<BTreeSet<String>, Failed> {
    let mut arguments = vec!["auth", "can-i", "--list", "--no-headers", "--namespace", namespace, "--as", user];
    for group in groups.iter().copied().chain(["system:authenticated"]) {
        arguments.extend(["--as-group", group]);
    }
    let list = suite.kubectl(&arguments)?;
    Ok(list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// The right to create Secrets in kube-system is a right to make enrollment tokens.
pub fn an_enroller_makes_enrollment_tokens_only(suite: &Suite) -> Result<(), Failed> {
    bind_people(suite)?;
    let enroller = ["--as=an-enroller", "--as-group=system:authenticated"];
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let (soon, late) = (rfc3339(now + 3600)?, rfc3339(now + 91 * 24 * 3600)?);
    let (soon, late) = (soon.as_str(), late.as_str());
    let good = ("bootstrap-token-enro11", SECRET_TYPE, GROUP_ENROLL, soon);
    for (name, kind, group, expiration, refused_for) in [
        ("other", good.1, good.2, good.3, "bootstrap tokens only"),
        (good.0, "Opaque", good.2, good.3, "bootstrap tokens only"),
        (good.0, good.1, GROUP_KUBEADM, good.3, "exactly the group"),
        (good.0, good.1, GROUP_JOIN, good.3, "exactly the group"),
        (good.0, good.1, good.2, late, "within 90 days"),
        (good.0, good.1, good.2, "", "within 90 days"),
    ] {
        let refusal = create(suite, &token(name, kind, group, expiration), &enroller).err();
        let refusal = refusal.ok_or_else(|| format!("{name} {kind} {group} {expiration:?} was created"))?;
        let said = refusal.message().unwrap_or_default().to_owned();
        assert!(said.contains("nodejoin-enrollment") && said.contains(refused_for), "{refused_for}: {said}");
    }
    create(suite, &token(good.0, good.1, good.2, good.3), &enroller)?;
    let delete =
        |name: &str| suite.kubectl(&[&["delete", "secret", name, "--namespace=kube-system"][..], &enroller].concat());
    let refusal = delete("kubeadm-certs").err().ok_or("an enroller removed another Secret")?;
    assert!(refusal.message().unwrap_or_default().contains("bootstrap tokens only"), "{refusal:?}");
    delete(good.0)?;
    // Administrators may read every Secret there anyway, and are not limited.
    let other = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "kube-system", "name": "an-administrators"},
    });
    create(suite, &other, &[])?;
    suite.kubectl(&["delete", "secret", "an-administrators", "--namespace=kube-system"])?;
    Ok(())
}

fn token(name: &str, kind: &str, group: &str, expiration: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"namespace": "kube-system", "name": name},
        "stringData": {
            "token-id": "enro11", "token-secret": "0123456789abcdef", "expiration": expiration,
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true", "auth-extra-groups": group,
        },
    })
}

fn create(suite: &Suite, object: &Value, arguments: &[&str]) -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new_in(suite.lab().layout().folder())?;
    std::fs::write(file.path(), object.to_string())?;
    let path = file.path().display().to_string();
    suite.kubectl(&[&["create", "--filename", &path][..], arguments].concat())?;
    Ok(())
}
