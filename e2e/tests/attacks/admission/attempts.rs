//! What each validation stops: one attempt for each, which breaks that validation alone, in the order of the chart.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use join_crds::vocabulary::{self, GROUP_ENROLL, GROUP_JOIN, GROUP_NODES};
use join_e2e::operator::NAMESPACE;
use join_e2e::suite::joining::Suite;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::token::SECRET_TYPE;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::PostParams;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::{OTHER, OWN, controller};

/// Something that somebody should not do.
pub struct Attempt {
    /// The policy that stops it.
    pub policy: &'static str,
    what: &'static str,
    /// Who tries it: a user and its groups.
    pub by: (String, Vec<&'static str>),
    pub method: &'static str,
    pub path: String,
    pub body: Value,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.policy, self.what, self.by.0)
    }
}

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const REQUESTS: &str = "/apis/nodejoin.dev/v1alpha1/nodejoinrequests";
const TOKENS: &str = "/api/v1/namespaces/kube-system/secrets";
const TOKEN_ID: &str = "admis1";
const ENROLLER: &str = "admission-enroller";
const PATCHER: &str = "admission-patcher";
const AUTHOR: &str = "admission-author";
/// A request for a serving certificate that no node made, and an announcement.
const OF_A_PERSON: &str = "admission-of-a-person";
const ANNOUNCED: &str = "admission-announced";
/// Well-formed values that mean nothing.
const PIN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const UID: &str = "11111111-1111-1111-1111-111111111111";

type Identity = (String, Vec<&'static str>);

fn of_token(group: &'static str) -> Identity {
    (vocabulary::bootstrap_user(TOKEN_ID), vec!["system:bootstrappers", group, "system:authenticated"])
}

fn of_node() -> Identity {
    (vocabulary::node_user(OWN), vec![GROUP_NODES, "system:authenticated"])
}

fn of(user: &str) -> Identity {
    (user.to_owned(), vec!["system:authenticated"])
}

/// All of them.
pub fn attempts() -> Result<Vec<Attempt>, Failed> {
    let mut all = statuses();
    all.extend(certificate_requests()?);
    all.extend(tokens(
        "nodejoin-tokens",
        &of(&controller()),
        "admis2",
        (GROUP_JOIN, GROUP_ENROLL),
        Duration::from_hours(48),
    )?);
    all.extend(approvals());
    all.push(service_account_token());
    all.extend(finalizers());
    all.push(replacement());
    all.push(control_plane());
    all.extend(tokens(
        "nodejoin-enrollment",
        &of(ENROLLER),
        "admis3",
        (GROUP_ENROLL, GROUP_JOIN),
        Duration::from_hours(91 * 24),
    )?);
    Ok(all)
}

fn statuses() -> Vec<Attempt> {
    let attempt = |what, path: String, body| Attempt {
        policy: "nodejoin-status",
        what,
        by: of_node(),
        method: "PATCH",
        path,
        body,
    };
    let status =
        |what, name: &str, status: Value| attempt(what, format!("{REQUESTS}/{name}/status"), json!({"status": status}));
    let agent = json!({"agent": {"step": "Preflight", "since": "2026-01-01T00:00:00Z"}});
    vec![
        attempt("its request's labels", format!("{REQUESTS}/{OWN}"), json!({"metadata": {"labels": {"a": "b"}}})),
        status("another request's status", OTHER, agent),
        status("observedGeneration", OWN, json!({"observedGeneration": 99})),
        status("conditions", OWN, json!({"conditions": []})),
        status("machine", OWN, json!({"machine": {"publicKeyHash": PIN, "firstSeen": "2026-01-01T00:00:00Z"}})),
        status("credential", OWN, json!({"credential": null})),
        status(
            "sealedCredentials",
            OWN,
            json!({"sealedCredentials": {"generation": 1, "encapsulatedKey": KEY, "ciphertext": KEY}}),
        ),
        status("node", OWN, json!({"node": {"uid": UID}})),
        status("certificates", OWN, json!({"certificates": {}})),
        status("retry", OWN, json!({"retry": {"value": "again"}})),
    ]
}

fn certificate_requests() -> Result<Vec<Attempt>, Failed> {
    let (machine, client) = (vocabulary::SIGNER_MACHINE, vocabulary::SIGNER_KUBELET_CLIENT);
    let attempt = |what, by, body| Attempt {
        policy: "nodejoin-certificate-requests",
        what,
        by,
        method: "POST",
        path: CSRS.to_owned(),
        body,
    };
    let mut held = csr("admission-held", machine)?;
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    // White space behind the PEM block is what the API server lets pass.
    let padded = request()? + &"\n".repeat(16 * 1024);
    let mut long = csr("admission-long", machine)?;
    long["spec"]["request"] = json!(ByteString(padded.into_bytes()));
    let (enroll, join) = (of_token(GROUP_ENROLL), of_token(GROUP_JOIN));
    Ok(vec![
        attempt("an enrollment token asks another signer", enroll.clone(), csr("admission-1", "example.com/other")?),
        attempt("a join token asks another signer", join.clone(), csr("admission-2", "example.com/other")?),
        attempt("a node announces a machine", of_node(), csr("admission-3", machine)?),
        attempt("the name of an announcement", join.clone(), csr(&vocabulary::announcement_name(OWN, PIN), client)?),
        attempt("the name of another token's request", join, csr(&vocabulary::client_csr_name("0ther0"), client)?),
        attempt("a request that cannot be deleted", enroll.clone(), held),
        attempt("a long request", enroll, long),
    ])
}

/// What the two policies on tokens stop: `right` is the group of theirs.
fn tokens(
    policy: &'static str,
    by: &Identity,
    id: &str,
    (right, wrong): (&str, &str),
    too_long: Duration,
) -> Result<Vec<Attempt>, Failed> {
    let attempt = |what, method, path: String, body| Attempt { policy, what, by: by.clone(), method, path, body };
    let name = format!("bootstrap-token-{id}");
    let fresh = "bootstrap-token-admis0";
    let soon = Duration::from_hours(1);
    let create = |what, body| attempt(what, "POST", TOKENS.to_owned(), body);
    Ok(vec![
        attempt(
            "changing a token",
            "PATCH",
            format!("{TOKENS}/{name}"),
            json!({"stringData": {"description": "changed"}}),
        ),
        create("a Secret of another name", token("admission-evil", right, soon)?),
        create("a token of another group", token(fresh, wrong, soon)?),
        create("a token that lives too long", token(fresh, right, too_long)?),
    ])
}

fn approvals() -> Vec<Attempt> {
    let decide = |what, name: &str, kind: &str| Attempt {
        policy: "nodejoin-approvals",
        what,
        by: of(&controller()),
        method: "PATCH",
        path: format!("{CSRS}/{name}/approval"),
        body: json!({"status": {"conditions": [
            {"type": kind, "status": "True", "reason": "NodeJoinPolicy", "message": "by a thief"},
        ]}}),
    };
    vec![
        decide("denying what no machine asked for", OF_A_PERSON, "Denied"),
        decide("approving an announcement", ANNOUNCED, "Approved"),
    ]
}

fn service_account_token() -> Attempt {
    Attempt {
        policy: "nodejoin-controller-secrets",
        what: "a token of a ServiceAccount",
        by: of(&controller()),
        method: "POST",
        path: format!("/api/v1/namespaces/{NAMESPACE}/secrets"),
        body: json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": "admission-account",
                "annotations": {"kubernetes.io/service-account.name": vocabulary::SERVICE_ACCOUNT_CONTROLLER},
            },
        }),
    }
}

fn finalizers() -> Vec<Attempt> {
    let change = |what, body| Attempt {
        policy: "nodejoin-finalizer",
        what,
        by: of(&controller()),
        method: "PATCH",
        path: format!("{REQUESTS}/{OWN}"),
        body,
    };
    vec![
        change("the specification of a request", json!({"spec": {"addresses": ["192.0.2.66"]}})),
        change("labels of a request", json!({"metadata": {"labels": {"a": "b"}}})),
        change("another finalizer", json!({"metadata": {"finalizers": ["example.com/held"]}})),
    ]
}

fn replacement() -> Attempt {
    Attempt {
        policy: "nodejoin-replacement",
        what: "having a Node deleted",
        by: of(AUTHOR),
        method: "POST",
        path: REQUESTS.to_owned(),
        body: json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "admission-replaces"},
            "spec": {"role": "Worker", "machine": {"publicKeyHash": PIN}, "replacesNodeUID": UID},
        }),
    }
}

fn control_plane() -> Attempt {
    Attempt {
        policy: "nodejoin-control-planes",
        what: "having a certificate key sealed to a machine",
        by: of(AUTHOR),
        method: "POST",
        path: REQUESTS.to_owned(),
        body: json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "admission-governs"},
            "spec": {
                "role": "ControlPlane", "machine": {"publicKeyHash": PIN},
                "controlPlane": {"certificateKeySecret": "certificate-key"},
            },
        }),
    }
}

fn token(name: &str, group: &str, lifetime: Duration) -> Result<Value, Failed> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let expiration = join_trust::token::rfc3339(i64::try_from((now + lifetime).as_secs())?)?;
    let id = name.strip_prefix("bootstrap-token-").unwrap_or(TOKEN_ID);
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE,
        "metadata": {"namespace": "kube-system", "name": name},
        "stringData": {
            "token-id": id, "token-secret": "0123456789abcdef", "expiration": expiration,
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true", "auth-extra-groups": group,
        },
    }))
}

fn request() -> Result<String, Failed> {
    Ok(MachineKey::generate()?.client_csr(&NodeName::parse(OWN)?)?)
}

fn csr(name: &str, signer: &str) -> Result<Value, Failed> {
    Ok(json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "signerName": signer, "usages": ["digital signature", "client auth"],
            "request": ByteString(request()?.into_bytes()),
        },
    }))
}

/// Lets RBAC pass everything that is tried; returns the `kubectl` commands that take it back.
pub fn grant(suite: &Suite) -> Result<Vec<Vec<String>>, Failed> {
    let operator = suite.operator();
    let (controller, node) = (controller(), vocabulary::node_user(OWN));
    let patch = ["--verb=patch", "--resource=secrets", "--namespace=kube-system"];
    operator.kubectl(&[&["create", "role", PATCHER][..], &patch].concat())?;
    let mut undo = vec![delete(&["role", PATCHER, "--namespace=kube-system"])];
    for (name, role) in [(PATCHER, PATCHER), (ENROLLER, "nodejoin:enroller")] {
        let (role, user) = (format!("--role={role}"), format!("--user={ENROLLER}"));
        operator.kubectl(&["create", "rolebinding", name, &role, &user, "--namespace=kube-system"])?;
        undo.push(delete(&["rolebinding", name, "--namespace=kube-system"]));
    }
    for (name, role, user) in [
        ("admission-controller", "cluster-admin", controller.as_str()),
        ("admission-node", "cluster-admin", node.as_str()),
        (AUTHOR, "nodejoin:requester", AUTHOR),
    ] {
        let binding =
            ["create", "clusterrolebinding", name, &format!("--clusterrole={role}"), &format!("--user={user}")];
        operator.kubectl(&binding)?;
        undo.push(delete(&["clusterrolebinding", name]));
    }
    Ok(undo)
}

fn delete(what: &[&str]) -> Vec<String> {
    std::iter::once("delete").chain(what.iter().copied()).map(str::to_owned).collect()
}

/// Makes what is changed and decided; returns the `kubectl` commands that remove it.
pub fn objects(suite: &Suite) -> Result<Vec<Vec<String>>, Failed> {
    for (id, group) in [("admis2", GROUP_JOIN), ("admis3", GROUP_ENROLL)] {
        let token = token(&format!("bootstrap-token-{id}"), group, Duration::from_hours(1))?;
        suite.operator().apply(&token.to_string())?;
    }
    let mut serving = csr(OF_A_PERSON, vocabulary::SIGNER_KUBELET_SERVING)?;
    serving["spec"]["usages"] = json!(["digital signature", "server auth"]);
    suite.operator().apply(&serving.to_string())?;
    let (user, groups) = of_token(GROUP_ENROLL);
    let enrolled = suite.block_on(suite.lab().client_as(&user, &groups))?;
    let announced: CertificateSigningRequest = serde_json::from_value(csr(ANNOUNCED, vocabulary::SIGNER_MACHINE)?)?;
    suite.block_on(Api::all(enrolled).create(&PostParams::default(), &announced))?;
    let tokens = ["secret", "bootstrap-token-admis2", "bootstrap-token-admis3", "--namespace=kube-system"];
    Ok(vec![delete(&tokens), delete(&["csr", OF_A_PERSON, ANNOUNCED])])
}
