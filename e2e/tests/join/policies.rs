//! The admission policies, each rule broken once by the identity that it binds, on the real API server.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use join_crds::NodeJoinRequest;
use join_crds::vocabulary::{self, GROUP_ENROLL, GROUP_JOIN};
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::token::SECRET_TYPE;
use k8s_openapi::ByteString;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use libtest_mimic::Failed;

use join_e2e::suite::joining::Suite;

const CONTROLLER: &str = "system:serviceaccount:join-system:join-controller";

/// What a stolen ServiceAccount of the controller's may not do with its right to create and delete Secrets.
pub fn the_controller_makes_only_short_lived_join_tokens(suite: &Suite) -> Result<(), Failed> {
    let in_time = rfc3339_in(Duration::from_mins(15))?;
    let too_late = rfc3339_in(Duration::from_hours(48))?;
    let good = ("bootstrap-token-po1icy", SECRET_TYPE, GROUP_JOIN, in_time.as_str());
    for (name, kind, group, expiration, refused_for) in [
        ("evil", good.1, good.2, good.3, "bootstrap tokens only"),
        (good.0, "Opaque", good.2, good.3, "bootstrap tokens only"),
        (good.0, good.1, "system:bootstrappers:kubeadm:default-node-token", good.3, "exactly the group"),
        (good.0, good.1, GROUP_ENROLL, good.3, "exactly the group"),
        (good.0, good.1, good.2, too_late.as_str(), "within 24 hours"),
        (good.0, good.1, good.2, "never", "within 24 hours"),
        (good.0, good.1, good.2, "", "within 24 hours"),
    ] {
        let secret = token_secret(name, kind, group, expiration);
        refused(suite, &secret, &["create", "--as", CONTROLLER], refused_for)?;
    }
    as_user(suite, &token_secret(good.0, good.1, good.2, good.3), &["create", "--as", CONTROLLER])?;
    let delete = |name: &str| {
        let arguments = ["delete", "secret", "--namespace=kube-system", name, "--as", CONTROLLER];
        suite.operator().kubectl(&arguments)
    };
    let other = delete("kubeadm-certs").err().ok_or("the controller removed another Secret")?.to_string();
    assert!(other.contains("bootstrap tokens only"), "{other}");
    delete(good.0)?;
    let read = ["auth", "can-i", "get", "secrets", "--namespace=kube-system", "--as", CONTROLLER];
    assert!(suite.operator().kubectl(&read).is_err(), "the controller may read Secrets in kube-system");
    Ok(())
}

/// Each kind of token may ask one signer.
pub fn tokens_ask_their_own_signer_only(suite: &Suite) -> Result<(), Failed> {
    let own = [(GROUP_ENROLL, vocabulary::SIGNER_MACHINE), (GROUP_JOIN, vocabulary::SIGNER_KUBELET_CLIENT)];
    let signers = [
        vocabulary::SIGNER_MACHINE,
        vocabulary::SIGNER_KUBELET_CLIENT,
        vocabulary::SIGNER_KUBELET_SERVING,
        "kubernetes.io/kube-apiserver-client",
        "example.com/other",
    ];
    for (group, allowed) in own {
        let user = ["create", "--as=system:bootstrap:po1icy", "--as-group=system:bootstrappers", "--as-group", group];
        for signer in signers {
            let request = csr(&format!("policy-{}", signer.replace('/', "-")), signer)?;
            if signer == allowed {
                // Not created: another test's controller would have to decide it.
                as_user(suite, &request, &[&user[..], &["--dry-run=server"]].concat())?;
            } else {
                refused(suite, &request, &user, signer)?;
            }
        }
    }
    let node = ["create", "--as=system:node:some-node", "--as-group=system:nodes"];
    refused(suite, &csr("policy-node", vocabulary::SIGNER_MACHINE)?, &node, "a node may not announce")?;
    Ok(())
}

/// A token's identifier is public: whoever else may create requests must not take the name that its machine needs, nor
/// make one that cannot be deleted or is too long to keep.
pub fn names_that_a_machine_needs_stay_free(suite: &Suite) -> Result<(), Failed> {
    let (machine, client) = (vocabulary::SIGNER_MACHINE, vocabulary::SIGNER_KUBELET_CLIENT);
    let own = vocabulary::client_csr_name("po1icy");
    let other = vocabulary::client_csr_name("0ther0");
    let announcement = vocabulary::announcement_name("policy-node", PIN);
    let held = |mut request: serde_json::Value| {
        request["metadata"]["finalizers"] = serde_json::json!(["example.com/held"]);
        request
    };
    // White space behind the PEM block is what the API server lets pass.
    let padded = MachineKey::generate()?.client_csr(&NodeName::parse("policy-node")?)? + &"\n".repeat(16 * 1024);
    let mut long = csr("policy-long", machine)?;
    long["spec"]["request"] = serde_json::json!(ByteString(padded.into_bytes()));
    for (group, request, refused_for) in [
        (GROUP_ENROLL, csr(&own, machine)?, None),
        (GROUP_ENROLL, csr(&other, machine)?, Some("names that begin with nodejoin-client-")),
        (GROUP_JOIN, csr(&own, client)?, None),
        (GROUP_JOIN, csr(&other, client)?, Some("names that begin with nodejoin-client-")),
        (GROUP_JOIN, csr(&announcement, client)?, Some("names that begin with nodejoin-machine-")),
        (GROUP_ENROLL, csr(&announcement, machine)?, None),
        (GROUP_ENROLL, held(csr("policy-held", machine)?), Some("finalizers")),
        (GROUP_ENROLL, long, Some("16 KiB")),
    ] {
        let user = ["create", "--as=system:bootstrap:po1icy", "--as-group=system:bootstrappers", "--as-group", group];
        match refused_for {
            None => as_user(suite, &request, &[&user[..], &["--dry-run=server"]].concat())?,
            Some(rule) => refused(suite, &request, &user, rule)?,
        }
    }
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {
            "namespace": "join-system", "name": "policy-token",
            "annotations": {"kubernetes.io/service-account.name": "join-controller"},
        },
    });
    refused(suite, &secret, &["create", "--as", CONTROLLER], "tokens of ServiceAccounts")
}

/// A machine writes status.agent of its own request, and nothing else.
pub fn machines_write_their_own_status_only(suite: &Suite) -> Result<(), Failed> {
    let (own, other) = ("policy-own", "policy-other");
    for name in [own, other] {
        suite.request(
            name,
            &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"}),
        )?;
        suite.wait_for(name, join_crds::ConditionType::CredentialIssued, "True", join_crds::Reason::TokenIssued)?;
    }
    let request = suite.block_on(suite.requests_api().get(own))?;
    let id = request.status.and_then(|status| status.credential).ok_or("no credential in the status")?.token_id;
    let (token, node) = (vocabulary::bootstrap_user(&id), vocabulary::node_user(own));
    let identities =
        [(token, &["system:bootstrappers", GROUP_JOIN]), (node, &["system:nodes", "system:authenticated"])];
    let agent = serde_json::json!({"agent": {"step": "Preflight", "since": "2026-01-01T00:00:00Z"}});
    let patch = |client: &Client, name: &str, status: &serde_json::Value| {
        let api: Api<NodeJoinRequest> = Api::all(client.clone());
        let patch = Patch::Merge(serde_json::json!({"status": status}));
        let outcome = suite.block_on(api.patch_status(name, &PatchParams::default(), &patch));
        outcome.map(drop).map_err(|failure| failure.to_string())
    };
    for (user, groups) in identities {
        let client = suite.block_on(suite.lab().client_as(&user, groups))?;
        patch(&client, own, &agent)?;
        let failure = patch(&client, other, &agent).err().ok_or("another request's status was written")?;
        assert!(failure.contains("may not write the status of policy-other"), "{failure}");
        for (field, value) in [
            ("observedGeneration", serde_json::json!(99)),
            ("conditions", serde_json::json!([])),
            ("machine", serde_json::json!({"publicKeyHash": PIN, "firstSeen": "2026-01-01T00:00:00Z"})),
            ("credential", serde_json::Value::Null),
            ("sealedCredentials", serde_json::json!({"generation": 1, "encapsulatedKey": KEY, "ciphertext": KEY})),
            ("node", serde_json::json!({"uid": "11111111-1111-1111-1111-111111111111"})),
            ("certificates", serde_json::json!({})),
        ] {
            let failure = patch(&client, own, &serde_json::json!({field: value}));
            let failure = failure.err().ok_or_else(|| format!("a machine wrote status.{field}"))?;
            assert!(failure.contains(&format!("status.{field} is the controller's")), "{field}: {failure}");
        }
    }
    Ok(())
}

/// Well-formed values that mean nothing.
const PIN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn rfc3339_in(time: Duration) -> Result<String, Failed> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(join_trust::token::rfc3339(i64::try_from((now + time).as_secs())?)?)
}

fn token_secret(name: &str, kind: &str, group: &str, expiration: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"namespace": "kube-system", "name": name},
        "stringData": {
            "token-id": "po1icy", "token-secret": "0123456789abcdef", "expiration": expiration,
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true", "auth-extra-groups": group,
        },
    })
}

fn csr(name: &str, signer: &str) -> Result<serde_json::Value, Failed> {
    let request = MachineKey::generate()?.client_csr(&NodeName::parse("policy-node")?)?;
    Ok(serde_json::json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {
            "signerName": signer, "usages": ["digital signature", "client auth"],
            "request": ByteString(request.into_bytes()),
        },
    }))
}

/// Sends an object with kubectl, impersonating somebody.
fn as_user(suite: &Suite, object: &serde_json::Value, arguments: &[&str]) -> Result<(), Failed> {
    let mut file = tempfile::NamedTempFile::new_in(suite.lab().layout().folder())?;
    file.write_all(object.to_string().as_bytes())?;
    let path = file.path().display().to_string();
    suite.operator().kubectl(&[arguments, &["--filename", &path]].concat())?;
    Ok(())
}

fn refused(suite: &Suite, object: &serde_json::Value, arguments: &[&str], because: &str) -> Result<(), Failed> {
    match as_user(suite, object, arguments) {
        Ok(()) => Err(format!("allowed: {arguments:?} of {object}").into()),
        Err(failure) => {
            let said = failure.message().unwrap_or_default().to_owned();
            if said.contains("ValidatingAdmissionPolicy") && said.contains(because) {
                Ok(())
            } else {
                Err(format!("refused, but not because of {because:?}: {said}").into())
            }
        }
    }
}
