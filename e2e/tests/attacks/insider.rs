//! Insiders: who may write requests and not approve, and who stole the controller's ServiceAccount.

use join_crds::{ConditionType, NodeJoinRequest, Reason, vocabulary};
use join_e2e::lab::layout::CONTROL_PLANE;
use join_e2e::operator::NAMESPACE;
use join_e2e::suite::csr;
use join_e2e::suite::joining::{CONTROLLER, Suite};
use join_trust::machine_key::MachineKey;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Failed;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::thief::{
    CLIENT_USAGES, Delivery, Forged, SERVING_USAGES, ask, client_of_account, denied, dns, invite, ip, node, undecided,
};

/// The author of requests decides which machine joins, and gets no credential himself.
pub fn a_request_author_gets_no_credential(suite: &Suite) -> Result<(), Failed> {
    let author = client_of_account(suite, "author", "nodejoin:requester")?;
    let requests: Api<NodeJoinRequest> = Api::all(author.clone());
    let name = "authored-1";
    let victim = node(suite, "authored-2", &Delivery::Token(vec![[192, 0, 2, 72].into()]))?;
    let stolen = invite(suite, name, &Delivery::Token(vec![[192, 0, 2, 71].into()]))?;
    ask(
        suite,
        &stolen.client,
        &csr("authored", "kubernetes.io/kube-apiserver-client-kubelet", &CLIENT_USAGES, b"x".to_vec()),
    )
    .err()
    .ok_or("the API server took nonsense")?;
    forbidden_everywhere(suite, &author, "authored-1")?;

    // Who the machine is cannot be changed afterwards.
    let merge = PatchParams::default();
    for spec in [
        json!({"machine": {"publicKeyHash": PIN, "trust": "Pinned"}}),
        json!({"delivery": "Sealed"}),
        json!({"role": "ControlPlane"}),
    ] {
        let outcome = suite.block_on(requests.patch(name, &merge, &Patch::Merge(json!({"spec": spec}))));
        let refusal = outcome.err().ok_or_else(|| format!("{spec} was changed"))?.to_string();
        assert!(refusal.contains("cannot be changed") || refusal.contains("immutable"), "{refusal}");
    }
    // Another's name is not to be had: the request is there already, and a Node of that name keeps a new one waiting.
    let taken: NodeJoinRequest = serde_json::from_value(json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": victim.name},
        "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"},
    }))?;
    let outcome = suite.block_on(requests.create(&PostParams::default(), &taken));
    assert!(matches!(&outcome, Err(kube::Error::Api(status)) if status.code == 409), "{outcome:?}");
    suite.block_on(requests.delete(&victim.name, &DeleteParams::default()))?;
    suite.block_on(requests.create(&PostParams::default(), &taken))?;
    suite.wait_for(&victim.name, ConditionType::Ready, "False", Reason::NodeAlreadyExists)?;
    let waiting = suite.block_on(requests.get(&victim.name))?;
    assert!(waiting.status.is_some_and(|status| status.credential.is_none()), "a token was made for a node's name");

    // And whoever may not delete a Node cannot have it deleted by a request that replaces it.
    let uid = suite.block_on(Api::<Node>::all(suite.client()).get(&victim.name))?.metadata.uid.ok_or("no UID")?;
    suite.block_on(requests.delete(&victim.name, &DeleteParams::default()))?;
    let mut replacing = json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": victim.name},
        "spec": {"role": "Worker", "machine": {"publicKeyHash": PIN}, "replacesNodeUID": uid},
    });
    let object: NodeJoinRequest = serde_json::from_value(replacing.clone())?;
    let refusal = suite.block_on(requests.create(&PostParams::default(), &object)).err().ok_or("it was created")?;
    assert!(refusal.to_string().contains("may not delete it"), "{refusal}");
    if let Some(spec) = replacing["spec"].as_object_mut() {
        spec.remove("replacesNodeUID");
    }
    suite.block_on(requests.create(&PostParams::default(), &serde_json::from_value(replacing)?))?;
    let patch = Patch::Merge(json!({"spec": {"replacesNodeUID": uid}}));
    let outcome = suite.block_on(requests.patch(&victim.name, &PatchParams::default(), &patch));
    let refusal = outcome.err().ok_or("it was changed")?.to_string();
    assert!(refusal.contains("may not delete it"), "{refusal}");

    // Nor have a certificate key that he may not read sealed to a machine of his.
    let governing: NodeJoinRequest = serde_json::from_value(json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "authored-3"},
        "spec": {
            "role": "ControlPlane", "machine": {"publicKeyHash": PIN},
            "controlPlane": {"certificateKeySecret": "certificate-key"},
        },
    }))?;
    let refusal = suite.block_on(requests.create(&PostParams::default(), &governing)).err().ok_or("it was created")?;
    assert!(refusal.to_string().contains("may not read Secret join-system/certificate-key"), "{refusal}");

    // Nor another's addresses: neither the API server's nor those of a Service.
    let addresses = [CONTROL_PLANE.to_string(), "10.96.0.1".to_owned()];
    let patch = Patch::Merge(json!({"spec": {"addresses": addresses}}));
    suite.block_on(requests.patch(name, &merge, &patch))?;
    let joined = stolen.join(suite)?;
    for (index, address) in addresses.iter().enumerate() {
        let key = MachineKey::generate()?.to_pem()?;
        let request = Forged::of_node(name).with(&[dns(name)?, ip(address)?]).sign(&key)?;
        let object = csr(&format!("authored-{index}"), vocabulary::SIGNER_KUBELET_SERVING, &SERVING_USAGES, request);
        denied(suite, &joined.client, &object, "ForbiddenAddress")?;
    }
    Ok(())
}

const PIN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// What the author might want: each is forbidden by RBAC.
fn forbidden_everywhere(suite: &Suite, author: &Client, name: &str) -> Result<(), Failed> {
    let requests: Api<NodeJoinRequest> = Api::all(author.clone());
    let csrs: Api<CertificateSigningRequest> = Api::all(author.clone());
    let ours: Api<Secret> = Api::namespaced(author.clone(), NAMESPACE);
    let tokens: Api<Secret> = Api::namespaced(author.clone(), vocabulary::KUBE_SYSTEM);
    let any = suite
        .block_on(Api::<CertificateSigningRequest>::all(suite.client()).list(&kube::api::ListParams::default()))?;
    let any = any.items.into_iter().find_map(|csr| csr.metadata.name).ok_or("no certificate request")?;
    let status =
        Patch::Merge(json!({"status": {"machine": {"publicKeyHash": PIN, "firstSeen": "2026-01-01T00:00:00Z"}}}));
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "bootstrap-token-abcdef"}}))?;
    let merge = PatchParams::default();
    let outcomes = suite.block_on(async {
        [
            ("read the join command", ours.get(&format!("njr-{name}-join-command")).await.map(drop)),
            ("read the controller's records", ours.list(&kube::api::ListParams::default()).await.map(drop)),
            ("read tokens", tokens.list(&kube::api::ListParams::default()).await.map(drop)),
            ("make a token", tokens.create(&PostParams::default(), &secret).await.map(drop)),
            ("write a status", requests.patch_status(name, &merge, &status).await.map(drop)),
            ("approve a certificate", csrs.patch_approval(&any, &merge, &condition("Approved")).await.map(drop)),
            (
                "ask for a certificate",
                csrs.create(&PostParams::default(), &csr("x", "example.com/x", &CLIENT_USAGES, Vec::new()))
                    .await
                    .map(drop),
            ),
        ]
    });
    for (what, outcome) in outcomes {
        match outcome {
            Err(kube::Error::Api(status)) if status.code == 403 => {}
            other => return Err(format!("expected that the author may not {what}, seen {other:?}").into()),
        }
    }
    Ok(())
}

fn condition(kind: &str) -> Patch<Value> {
    let condition = json!({"type": kind, "status": "True", "reason": "NodeJoinPolicy", "message": "by a thief"});
    Patch::Merge(json!({"status": {"conditions": [condition]}}))
}

/// The controller's own account, with the controller held still: what RBAC, the list of signers and the admission policies
/// leave of it.
pub fn a_stolen_controller_account_decides_machines_only(suite: &Suite) -> Result<(), Failed> {
    let account = ["create", "token", "join-controller", "--namespace", NAMESPACE, "--duration=10m"];
    let stolen = suite.client_with_token(suite.operator().kubectl(&account)?.trim())?;
    let root = node(suite, "stolen-1", &Delivery::Token(Vec::new()))?;
    let invited = invite(suite, "stolen-2", &Delivery::Token(Vec::new()))?;
    suite.lab().signal_process(CONTROLLER, Signal::STOP)?;
    let outcome = (|| {
        decisions(suite, &stolen, &root.client, &invited)?;
        nothing_else(suite, &stolen)
    })();
    suite.lab().signal_process(CONTROLLER, Signal::CONT)?;
    outcome
}

/// Certificates may be decided for machines, and for nobody else.
fn decisions(suite: &Suite, stolen: &Client, root: &Client, invited: &super::thief::Invited) -> Result<(), Failed> {
    let client = vocabulary::SIGNER_KUBELET_CLIENT;
    let key = MachineKey::generate()?.to_pem()?;
    let of_node = |name: &str| Forged::of_node(name).sign(&key);
    // Somebody who may ask: an administrator's requests kube-controller-manager would approve by itself.
    let role = ["create", "clusterrole", "test:asker", "--verb=create", "--resource=certificatesigningrequests"];
    suite.operator().kubectl(&role)?;
    let person = client_of_account(suite, "person", "test:asker")?;
    let of_a_person =
        Forged { organizations: vec!["people".to_owned()], ..Forged::of_node("x") }.named("jane").sign(&key)?;
    // Who asks for which signer, and whether the account may approve it.
    for (name, by, signer, request, refusal) in [
        ("stolen-of-a-person", &person, client, of_node("stolen-3")?, Some("nodejoin-approvals")),
        ("stolen-renewal", root, client, of_node("stolen-1")?, Some("nodejoin-approvals")),
        (
            "stolen-other-signer",
            &person,
            "kubernetes.io/kube-apiserver-client",
            of_a_person,
            Some("not permitted to approve"),
        ),
        (
            "stolen-serving",
            &person,
            vocabulary::SIGNER_KUBELET_SERVING,
            of_node("stolen-1")?,
            Some("nodejoin-approvals"),
        ),
        ("stolen-machine", &invited.client, client, of_node("stolen-2")?, None),
    ] {
        let usages = if signer == vocabulary::SIGNER_KUBELET_SERVING { SERVING_USAGES } else { CLIENT_USAGES };
        ask(suite, by, &csr(name, signer, &usages, request))?;
        let csrs: Api<CertificateSigningRequest> = Api::all(stolen.clone());
        for kind in ["Denied", "Approved"] {
            // What may be approved may be denied; the approval is tried last, since the two exclude each other.
            if refusal.is_none() && kind == "Denied" {
                continue;
            }
            let outcome = suite.block_on(csrs.patch_approval(name, &PatchParams::default(), &condition(kind)));
            match (refusal, outcome) {
                (None, Ok(_)) => {}
                (Some(by), Err(failure)) if failure.to_string().contains(by) => {}
                // kube-controller-manager approves a node's renewal by itself, and an approval cannot be removed.
                (Some(_), Err(failure)) if name == "stolen-renewal" && failure.to_string().contains("\"Approved\"") => {
                }
                (_, outcome) => return Err(format!("{kind} {name}: expected {refusal:?}, seen {outcome:?}").into()),
            }
        }
        if refusal.is_some() && name != "stolen-renewal" {
            assert!(undecided(suite, name)?, "{name} was decided");
        }
    }
    Ok(())
}

/// Reading what it need not know, and becoming somebody else.
fn nothing_else(suite: &Suite, stolen: &Client) -> Result<(), Failed> {
    let tokens: Api<Secret> = Api::namespaced(stolen.clone(), vocabulary::KUBE_SYSTEM);
    let own: Api<Secret> = Api::namespaced(stolen.clone(), NAMESPACE);
    let bindings: Api<RoleBinding> = Api::namespaced(stolen.clone(), vocabulary::KUBE_PUBLIC);
    let create = PostParams::default();
    let of_type = |name: &str, kind: &str| {
        serde_json::from_value::<Secret>(json!({
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "join-controller"}}, "type": kind,
        }))
    };
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "evil"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "join-controller", "namespace": NAMESPACE}],
    }))?;
    let request: NodeJoinRequest = serde_json::from_value(json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "stolen-4"},
        "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"},
    }))?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "evil"}, "spec": {"containers": [{"name": "evil", "image": "evil"}]},
    }))?;
    let csrs: Api<CertificateSigningRequest> = Api::all(stolen.clone());
    let addresses = Patch::Merge(json!({"spec": {"addresses": ["192.0.2.66"]}}));
    let certificate = Patch::Merge(json!({"status": {"certificate": "eA=="}}));
    let (opaque, account) = (of_type("evil", "Opaque")?, of_type("evil", "kubernetes.io/service-account-token")?);
    let merge = PatchParams::default();
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "stolen-5"}}))?;
    let outcomes = suite.block_on(async {
        [
            ("read tokens", tokens.list(&kube::api::ListParams::default()).await.map(drop)),
            ("make any Secret in kube-system", tokens.create(&create, &opaque).await.map(drop)),
            ("make a token of a ServiceAccount", own.create(&create, &account).await.map(drop)),
            (
                "delete any Secret in kube-system",
                tokens.delete("kubeadm-certs", &DeleteParams::default()).await.map(drop),
            ),
            ("bind cluster-admin", bindings.create(&create, &binding).await.map(drop)),
            ("write a request", Api::<NodeJoinRequest>::all(stolen.clone()).create(&create, &request).await.map(drop)),
            (
                "change what a request asks for",
                Api::<NodeJoinRequest>::all(stolen.clone()).patch("stolen-1", &merge, &addresses).await.map(drop),
            ),
            ("run a pod", Api::<Pod>::namespaced(stolen.clone(), NAMESPACE).create(&create, &pod).await.map(drop)),
            (
                "ask for a certificate",
                csrs.create(&create, &csr("x", "example.com/x", &CLIENT_USAGES, Vec::new())).await.map(drop),
            ),
            ("sign a certificate", csrs.patch_status("stolen-other-signer", &merge, &certificate).await.map(drop)),
            ("make a Node", Api::<Node>::all(stolen.clone()).create(&create, &node).await.map(drop)),
            (
                "read another namespace",
                Api::<ConfigMap>::namespaced(stolen.clone(), "kube-system")
                    .list(&kube::api::ListParams::default())
                    .await
                    .map(drop),
            ),
        ]
    });
    for (what, outcome) in outcomes {
        match outcome {
            Err(kube::Error::Api(status)) if status.code == 403 || status.code == 422 => {}
            other => {
                return Err(format!("expected that the controller's account may not {what}, seen {other:?}").into());
            }
        }
    }
    // Nor may it act as somebody else.
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                resource: Some("users".to_owned()),
                verb: Some("impersonate".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = suite.block_on(Api::all(stolen.clone()).create(&create, &review))?;
    assert_eq!(answer.status.map(|status| status.allowed), Some(false), "the account may impersonate");
    Ok(())
}
