//! Root on a machine that has joined: with the certificate of its kubelet.

use std::net::IpAddr;

use join_crds::{ConditionType, NodeJoinRequest, Reason, vocabulary};
use join_e2e::lab::layout::CONTROL_PLANE;
use join_e2e::suite::csr;
use join_e2e::suite::joining::Suite;
use join_trust::machine_key::MachineKey;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use libtest_mimic::Failed;
use rcgen::SanType;
use serde_json::{Value, json};

use super::thief::{CLIENT_USAGES, Delivery, Forged, Joined, SERVING_USAGES, decided, denied, dns, ip, node, register};

const SIGNER: &str = vocabulary::SIGNER_KUBELET_SERVING;

fn asks(name: &str, forged: &Forged) -> Result<CertificateSigningRequest, Failed> {
    let key = MachineKey::generate()?.to_pem()?;
    Ok(csr(name, SIGNER, &SERVING_USAGES, forged.sign(&key)?))
}

/// A node serves under its own name and addresses.
pub fn a_node_serves_under_its_own_name_only(suite: &Suite) -> Result<(), Failed> {
    let own: IpAddr = [192, 0, 2, 41].into();
    let root = node(suite, "rooted-1", &Delivery::Token(vec![own]))?;
    let neighbour = node(suite, "rooted-2", &Delivery::Token(vec![[192, 0, 2, 42].into()]))?;
    let names = [dns("rooted-1")?, SanType::IpAddress(own)];
    let good = || Forged::of_node("rooted-1").with(&names);
    let plus = |name: SanType| Forged::of_node("rooted-1").with(&[&names[..], &[name]].concat());
    let mapped = "::ffff:192.0.2.41";
    for (what, rule, forged) in [
        ("no name at all", "ServingNames", good().with(&[])),
        ("another node's name", "DnsNames", plus(dns("rooted-2")?)),
        ("the API server's name", "DnsNames", plus(dns("kubernetes.default.svc")?)),
        ("the local host's name", "DnsNames", plus(dns("localhost")?)),
        ("another node's address", "Addresses", plus(ip("192.0.2.42")?)),
        ("the API server's address", "Addresses", plus(ip(&CONTROL_PLANE.to_string())?)),
        ("an address of a Service", "Addresses", plus(ip("10.96.0.1")?)),
        ("loopback", "Addresses", plus(ip("127.0.0.1")?)),
        ("link-local", "Addresses", plus(ip("169.254.169.254")?)),
        ("its own address in another form", "Addresses", plus(ip(mapped)?)),
        ("an e-mail address", "NameTypes", plus(SanType::Rfc822Name("root@example.org".try_into()?))),
        ("a URI", "NameTypes", plus(SanType::URI("spiffe://cluster/admin".try_into()?))),
        ("system:masters", "Organization", Forged { organizations: vec!["system:masters".to_owned()], ..good() }),
    ] {
        let outcome = denied(
            suite,
            &root.client,
            &asks(&format!("rooted-{}", what.replace([' ', ':'], "-").to_lowercase()), &forged)?,
            rule,
        );
        outcome.map_err(|failure| format!("{what}: {}", failure.message().unwrap_or_default()))?;
    }
    let key = MachineKey::generate()?.to_pem()?;
    let both = csr("rooted-client-auth", SIGNER, &CLIENT_USAGES, good().sign(&key)?);
    denied(suite, &root.client, &both, "Usages")?;
    let refused = csr("rooted-announces", vocabulary::SIGNER_MACHINE, &["digital signature"], good().sign(&key)?);
    let refusal = super::thief::ask(suite, &root.client, &refused).err().ok_or("a node announced a machine")?;
    assert!(refusal.contains("a node may not announce"), "{refusal}");
    // The API server itself compares the subject; the rule `ServingRequester` stands behind it.
    let neighbours = asks("rooted-for-another", &Forged::of_node("rooted-2").with(&names))?;
    let refusal =
        super::thief::ask(suite, &root.client, &neighbours).err().ok_or("another node's subject was taken")?;
    assert!(refusal.contains("CN=system:node:rooted-1"), "{refusal}");
    // What it is entitled to it gets, and the refusals stand in the request.
    super::thief::ask(suite, &root.client, &asks("rooted-good", &good())?)?;
    assert_eq!(decided(suite, "rooted-good")?.1, "NodeJoinPolicy");
    let uid = root.request.metadata.uid.unwrap_or_default();
    assert!(!super::thief::events(suite, &uid, "CertificateDenied")?.is_empty());
    drop(neighbour);
    Ok(())
}

/// Where no administrator wrote addresses down, the machine's own word at its announcement counts: but not for an address
/// that is somebody else's.
pub fn a_machine_cannot_announce_others_addresses(suite: &Suite) -> Result<(), Failed> {
    let announced =
        ["192.0.2.51", "192.0.2.52", "192.0.2.53", "192.0.2.54", "10.96.0.1", "127.0.0.1", "169.254.169.254"];
    let mut addresses: Vec<IpAddr> = announced.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    addresses.push(CONTROL_PLANE.into());
    let root = node(suite, "liar-1", &Delivery::Sealed(addresses))?;
    // A node whose request says its address, one whose request does not, and one that kubeadm joined.
    node(suite, "honest-1", &Delivery::Token(vec![[192, 0, 2, 52].into()]))?;
    let honest = node(suite, "honest-2", &Delivery::Sealed(vec![[192, 0, 2, 53].into()]))?;
    has_address(suite, &honest, "192.0.2.53")?;
    let plain = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "honest-3"}});
    suite.operator().apply(&plain.to_string())?;
    let nodes: Api<Node> = Api::all(suite.client());
    suite.block_on(nodes.patch_status("honest-3", &PatchParams::default(), &address("192.0.2.54")))?;

    let control_plane = CONTROL_PLANE.to_string();
    for (index, foreign) in
        ["192.0.2.52", "192.0.2.53", "192.0.2.54", "10.96.0.1", "127.0.0.1", "169.254.169.254", &control_plane]
            .into_iter()
            .enumerate()
    {
        let forged = Forged::of_node("liar-1").with(&[dns("liar-1")?, ip(foreign)?]);
        let outcome = denied(suite, &root.client, &asks(&format!("liar-{index}"), &forged)?, "ForbiddenAddress");
        outcome.map_err(|failure| format!("{foreign}: {}", failure.message().unwrap_or_default()))?;
    }
    let forged = Forged::of_node("liar-1").with(&[dns("liar-1")?, ip("192.0.2.51")?]);
    super::thief::ask(suite, &root.client, &asks("liar-good", &forged)?)?;
    assert_eq!(decided(suite, "liar-good")?.1, "NodeJoinPolicy");
    for name in ["honest-3", "honest-2", "honest-1", "liar-1"] {
        suite.operator().kubectl(&["delete", "node", name])?;
    }
    Ok(())
}

fn address(address: &str) -> Patch<Value> {
    Patch::Merge(json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}}))
}

/// A kubelet says its own address in the status of its Node.
fn has_address(suite: &Suite, node: &Joined, text: &str) -> Result<(), Failed> {
    let nodes: Api<Node> = Api::all(node.client.clone());
    suite.block_on(nodes.patch_status(&node.name, &PatchParams::default(), &address(text)))?;
    Ok(())
}

/// A node writes `status.agent` of its own request and nothing else of any.
pub fn a_node_changes_no_request(suite: &Suite) -> Result<(), Failed> {
    let root = node(suite, "meddler-1", &Delivery::Token(Vec::new()))?;
    suite.request("bystander-1", &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let api: Api<NodeJoinRequest> = Api::all(root.client.clone());
    let merge = PatchParams::default();
    let agent = json!({"agent": {"step": "Joined", "since": "2026-01-01T00:00:00Z"}});
    let status = |value: &Value| Patch::Merge(json!({"status": value}));
    let refused = |what: &str, outcome: Result<(), kube::Error>, by: &str| match outcome {
        Err(failure) if failure.to_string().contains(by) => Ok(()),
        other => Err(Failed::from(format!("{what}: expected a refusal with {by:?}, seen {other:?}"))),
    };
    let machine = json!({"machine": {"publicKeyHash": format!("sha256:{}", "0".repeat(64)), "firstSeen": "2026-01-01T00:00:00Z"}});
    let name = "meddler-1";
    let outcome = suite.block_on(api.patch_status("bystander-1", &merge, &status(&agent))).map(drop);
    refused("another request's status", outcome, "may not write the status of bystander-1")?;
    let outcome = suite.block_on(api.patch_status(name, &merge, &status(&machine))).map(drop);
    refused("its own machine", outcome, "status.machine is the controller's")?;
    let outcome = suite.block_on(api.patch_status(name, &merge, &status(&json!({"node": null})))).map(drop);
    refused("its own Node's UID", outcome, "status.node is the controller's")?;
    for spec in
        [json!({"machine": {"trust": "Pinned"}}), json!({"addresses": ["192.0.2.66"]}), json!({"role": "ControlPlane"})]
    {
        let outcome = suite.block_on(api.patch(name, &merge, &Patch::Merge(json!({"spec": spec})))).map(drop);
        refused("its own specification", outcome, "forbidden")?;
        // The subresource is open to it, and takes no other part of the object.
        let both = Patch::Merge(json!({"spec": spec, "status": agent}));
        suite.block_on(api.patch_status(name, &merge, &both))?;
    }
    let outcome = suite.block_on(api.delete(name, &DeleteParams::default())).map(drop);
    refused("its own request's deletion", outcome, "forbidden")?;
    let now = suite.block_on(suite.requests_api().get(name))?;
    assert_eq!(serde_json::to_value(&now.spec)?, serde_json::to_value(&root.request.spec)?);
    Ok(())
}

/// A node cannot remove its Node. When somebody else does, it can register again, with labels of its choice, and is no
/// longer the node that joined.
pub fn a_node_that_registers_again_is_not_the_one_that_joined(suite: &Suite) -> Result<(), Failed> {
    let name = "reborn-1";
    let own: IpAddr = [192, 0, 2, 61].into();
    let root = node(suite, name, &Delivery::Token(vec![own]))?;
    let nodes: Api<Node> = Api::all(root.client.clone());
    let forbidden = |what: &str, outcome: Result<(), kube::Error>| match outcome {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => Err(Failed::from(format!("{what}: expected to be forbidden, seen {other:?}"))),
    };
    let uid = root.node.metadata.uid.clone().unwrap_or_default();
    forbidden("deleting its Node", suite.block_on(nodes.delete(name, &DeleteParams::default())).map(drop))?;
    // CVE-2025-5187: an owner that is not there has the garbage collector remove the Node.
    let owner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "11111111-1111-1111-1111-111111111111"});
    let with_owner = Patch::Merge(json!({"metadata": {"ownerReferences": [owner]}}));
    forbidden(
        "giving its Node an owner",
        suite.block_on(nodes.patch(name, &PatchParams::default(), &with_owner)).map(drop),
    )?;
    let label = Patch::Merge(json!({"metadata": {"labels": {"node-restriction.kubernetes.io/zone": "secret"}}}));
    forbidden("labelling its Node", suite.block_on(nodes.patch(name, &PatchParams::default(), &label)).map(drop))?;

    suite.operator().kubectl(&["delete", "node", name])?;
    let again = register(suite, &root.client, name, &json!({"pool": "secret"}))?;
    assert_ne!(again.metadata.uid, Some(uid));
    suite.wait_for(name, ConditionType::Ready, "False", Reason::NodeIdentityMismatch)?;
    let forged = Forged::of_node(name).with(&[dns(name)?, SanType::IpAddress(own)]);
    denied(suite, &root.client, &asks("reborn", &forged)?, "NodeIdentity")?;
    suite.operator().kubectl(&["delete", "node", name])?;
    Ok(())
}
