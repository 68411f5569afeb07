//! A thief of the enrollment file.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use join_crds::{ConditionType, NodeJoinRequest, Reason, vocabulary};
use join_e2e::lab::{command, wait_until};
use join_e2e::process::Process;
use join_e2e::stub_machine::{self, StubMachine};
use join_e2e::suite::binaries;
use join_e2e::suite::csr;
use join_e2e::suite::joining::{CONTROLLER, PATIENCE, Suite};
use join_trust::machine_key::MachineKey;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::thief::{CLIENT_USAGES, Delivery, Forged, announce, ask, events, invite, node};

/// Verbs that mean something to RBAC; the last ones only for some resources, and denied for all others anyway.
const VERBS: [&str; 13] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "approve",
    "sign",
    "bind",
    "escalate",
    "impersonate",
];

/// What every authenticated identity may do: ask about itself, and read public trust anchors.
const EVERYBODYS: [&str; 7] = [
    "create selfsubjectaccessreviews.authorization.k8s.io",
    "create selfsubjectrulesreviews.authorization.k8s.io",
    "create selfsubjectreviews.authentication.k8s.io",
    "get clustertrustbundles.certificates.k8s.io",
    "list clustertrustbundles.certificates.k8s.io",
    "watch clustertrustbundles.certificates.k8s.io",
    "get configmaps/cluster-info in kube-public",
];

/// Every verb on every resource and subresource that the API server knows, asked with the stolen tokens themselves.
pub fn every_verb_on_every_resource(suite: &Suite) -> Result<(), Failed> {
    let enrolled = suite.client_with_token(&suite.enrollment().token())?;
    let machine = invite(suite, "rights-1", &Delivery::Token(Vec::new()))?;
    let requests = ["get", "list", "watch"].map(|verb| format!("{verb} nodejoinrequests.nodejoin.dev"));
    let csrs = |verbs: &[&str]| {
        verbs.iter().map(|verb| format!("{verb} certificatesigningrequests.certificates.k8s.io")).collect::<Vec<_>>()
    };
    let enroll: BTreeSet<String> = requests.iter().cloned().chain(csrs(&["create", "get"])).collect();
    let join: BTreeSet<String> = requests
        .iter()
        .cloned()
        .chain(csrs(&["create", "get", "list", "watch"]))
        .chain(["patch nodejoinrequests/status.nodejoin.dev".to_owned(), "get nodes".to_owned()])
        .collect();
    for (who, client, expected) in [("enrollment token", &enrolled, enroll), ("join token", &machine.client, join)] {
        let (asked, mut allowed) = suite.block_on(rights(client))?;
        assert!(asked > 1000, "only {asked} rights were asked about");
        allowed.retain(|right| !EVERYBODYS.contains(&right.as_str()));
        assert_eq!(allowed, expected, "rights of the {who}");
    }
    Ok(())
}

/// How many rights were asked about, and the ones that are there: in every namespace that has to do with joins.
async fn rights(client: &Client) -> Result<(usize, BTreeSet<String>), Failed> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut questions = Vec::new();
    for (resource, capabilities) in discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        let subresources = capabilities.subresources.iter().map(|(sub, _)| {
            let name = sub.plural.rsplit('/').next().unwrap_or_default().to_owned();
            Some(name)
        });
        let namespaces: &[&str] = match capabilities.scope {
            Scope::Cluster => &[""],
            Scope::Namespaced => &["kube-system", join_e2e::operator::NAMESPACE, "default"],
        };
        for subresource in std::iter::once(None).chain(subresources) {
            for namespace in namespaces {
                for verb in VERBS {
                    questions.push(ResourceAttributes {
                        group: Some(resource.group.clone()),
                        resource: Some(resource.plural.clone()),
                        subresource: subresource.clone(),
                        namespace: Some((*namespace).to_owned()),
                        verb: Some(verb.to_owned()),
                        ..ResourceAttributes::default()
                    });
                }
            }
        }
    }
    let asked = questions.len();
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers = stream::iter(questions).map(|question| {
        let api = api.clone();
        async move {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(question.clone()),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = api.create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, kube::Error>(allowed.then(|| text_of(&question)))
        }
    });
    let allowed: Vec<Option<String>> = answers.buffer_unordered(16).try_collect().await?;
    Ok((asked, allowed.into_iter().flatten().collect()))
}

fn text_of(question: &ResourceAttributes) -> String {
    let of = |field: &Option<String>, before: &str| {
        field.as_deref().filter(|text| !text.is_empty()).map(|text| format!("{before}{text}")).unwrap_or_default()
    };
    format!(
        "{}{}{}{}{}",
        of(&question.verb, ""),
        of(&question.resource, " "),
        of(&question.subresource, "/"),
        of(&question.group, "."),
        of(&question.namespace, " in ")
    )
}

/// What a thief of the file would try first, tried with the file's token.
pub fn the_file_gives_no_certificate_and_changes_nothing(suite: &Suite) -> Result<(), Failed> {
    let victim = invite(suite, "robbed-1", &Delivery::Sealed(Vec::new()))?;
    let thief = suite.client_with_token(&suite.enrollment().token())?;
    let key = MachineKey::generate()?.to_pem()?.to_string();
    for (signer, usages) in [
        (vocabulary::SIGNER_KUBELET_CLIENT, &CLIENT_USAGES[..]),
        (vocabulary::SIGNER_KUBELET_SERVING, &["digital signature", "server auth"]),
        ("kubernetes.io/kube-apiserver-client", &CLIENT_USAGES),
        ("example.com/other", &CLIENT_USAGES),
    ] {
        let request = Forged::of_node("robbed-1").sign(&key)?;
        let refusal = ask(suite, &thief, &csr("by-the-thief", signer, usages, request)).err();
        let refusal = refusal.ok_or_else(|| format!("a certificate was asked of {signer}"))?;
        assert!(refusal.contains("nodejoin-certificate-requests") && refusal.contains(signer), "{refusal}");
    }

    let requests: Api<NodeJoinRequest> = Api::all(thief.clone());
    let csrs: Api<CertificateSigningRequest> = Api::all(thief.clone());
    let announcement = vocabulary::announcement_name("robbed-1", &victim.key.pin().to_string());
    let patch = Patch::Merge(json!({"status": {"agent": {"step": "Preflight", "since": "2026-01-01T00:00:00Z"}}}));
    let spec = Patch::Merge(json!({"spec": {"addresses": ["192.0.2.66"]}}));
    let approval =
        Patch::Merge(json!({"status": {"conditions": [{"type": "Denied", "status": "True", "reason": "x"}]}}));
    let (create, delete, merge) = (PostParams::default(), DeleteParams::default(), PatchParams::default());
    let anew: NodeJoinRequest = serde_json::from_value(json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "anew-1"},
        "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}},
    }))?;
    let outcomes = suite.block_on(async {
        [
            ("write the status of a request", requests.patch_status("robbed-1", &merge, &patch).await.map(drop)),
            ("change a request", requests.patch("robbed-1", &merge, &spec).await.map(drop)),
            ("delete a request", requests.delete("robbed-1", &delete).await.map(drop)),
            ("make a request", requests.create(&create, &anew).await.map(drop)),
            ("list certificate requests", csrs.list(&ListParams::default()).await.map(drop)),
            ("delete an announcement", csrs.delete(&announcement, &delete).await.map(drop)),
            (
                "change an announcement",
                csrs.patch(&announcement, &merge, &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}})))
                    .await
                    .map(drop),
            ),
            ("deny an announcement", csrs.patch_approval(&announcement, &merge, &approval).await.map(drop)),
        ]
    });
    for (what, outcome) in outcomes {
        match outcome {
            Err(kube::Error::Api(status)) if status.code == 403 => {}
            other => return Err(format!("expected not to be allowed to {what}, seen {other:?}").into()),
        }
    }
    Ok(())
}

/// A name whose machine is pinned: the thief comes first, and the right machine joins all the same.
pub fn a_pinned_name_is_not_taken_by_who_comes_first(suite: &Suite) -> Result<(), Failed> {
    let name = "squatted-1";
    let thief = suite.client_with_token(&suite.enrollment().token())?;
    let foreign = MachineKey::generate()?;
    announce(suite, &thief, name, &foreign, &[])?;
    let joined = node(suite, name, &Delivery::Sealed(Vec::new()))?;
    let uid = joined.request.metadata.uid.clone().unwrap_or_default();
    let bound = joined.request.status.clone().and_then(|status| status.machine).ok_or("no machine in the status")?;
    assert_ne!(bound.public_key_hash, foreign.pin().to_string());
    told_of(suite, &uid, &foreign)?;
    shown(suite, name, &foreign, "NotExpected")
}

/// Under FirstUse a name has one machine: whoever announces himself after it is refused and shown.
pub fn a_first_use_name_is_not_taken_over(suite: &Suite) -> Result<(), Failed> {
    let name = "taken-1";
    let enrolled = suite.client_with_token(&suite.enrollment().token())?;
    let (first, second) = (MachineKey::generate()?, MachineKey::generate()?);
    announce(suite, &enrolled, name, &first, &[])?;
    let request = suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    announce(suite, &enrolled, name, &second, &[])?;
    told_of(suite, request.metadata.uid.as_deref().unwrap_or_default(), &second)?;
    let bound = suite.block_on(suite.requests_api().get(name))?.status.and_then(|status| status.machine);
    assert_eq!(bound.map(|machine| machine.public_key_hash), Some(first.pin().to_string()));
    shown(suite, name, &second, "NotExpected")
}

/// A name that is a node already: nothing is bound, no token is made, and the list says why.
pub fn the_name_of_a_node_is_not_taken(suite: &Suite) -> Result<(), Failed> {
    let name = "standing-1";
    suite.operator().apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}).to_string())?;
    let thief = suite.client_with_token(&suite.enrollment().token())?;
    let key = MachineKey::generate()?;
    announce(suite, &thief, name, &key, &[])?;
    shown(suite, name, &key, "NodeExists")?;
    // Even where an administrator accepts it by mistake.
    suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::NodeAlreadyExists)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new(), "a token was made for the name of a node");
    suite.operator().kubectl(&["delete", "node", name])?;
    Ok(())
}

fn told_of(suite: &Suite, uid: &str, key: &MachineKey) -> Result<(), Failed> {
    let pin = key.pin().to_string();
    wait_until("an Event on the stranger", PATIENCE, || {
        let notes = events(suite, uid, "MachineRefused").map_err(|failure| format!("{failure:?}"))?;
        if notes.iter().any(|note| note.contains(&pin)) { Ok(()) } else { Err(format!("{notes:?}")) }
    })?;
    Ok(())
}

/// What `kubectl njr machines` shows of a key.
fn shown(suite: &Suite, name: &str, key: &MachineKey, status: &str) -> Result<(), Failed> {
    let machines = machines(suite)?;
    let pin = key.pin().to_string();
    let found = machines.iter().find(|one| one["name"] == name && one["publicKeyHash"] == pin.as_str());
    let found = found.ok_or_else(|| format!("kubectl njr machines does not show {pin}"))?;
    assert_eq!((&found["status"], &found["announcedBy"]), (&json!(status), &json!(thief_user(suite))), "{found}");
    Ok(())
}

fn thief_user(suite: &Suite) -> String {
    vocabulary::bootstrap_user(suite.enrollment().token().split('.').next().unwrap_or_default())
}

fn machines(suite: &Suite) -> Result<Vec<Value>, Failed> {
    let list: Value = serde_json::from_str(&njr(suite, &["machines", "--output=json"])?.stdout)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn njr(suite: &Suite, arguments: &[&str]) -> Result<command::Printed, Failed> {
    let mut njr = suite.lab().control_plane_command(&binaries()?.join("kubectl-njr"))?;
    njr.args(arguments).env("KUBECONFIG", "/etc/kubernetes/admin.conf");
    Ok(command::run(&mut njr)?)
}

/// Announcements of a flood unless JOIN_E2E_FLOOD says how many.
const FLOOD: usize = 500;

/// A flood of announcements with names and keys that mean nothing: another machine joins meanwhile, the controller does
/// not grow beyond twice its size, and the administrator sees the flood and with which token it came.
pub fn a_flood_of_announcements_stops_nobody(suite: &Suite) -> Result<(), Failed> {
    let number: usize = std::env::var("JOIN_E2E_FLOOD").ok().and_then(|number| number.parse().ok()).unwrap_or(FLOOD);
    let thief = suite.client_with_token(&suite.enrollment().token())?;
    let machine = suite.machine("dry-1")?;
    suite.announcement(machine.name())?;
    let before = resident(suite)?;
    let began = std::time::Instant::now();
    let (done, outcome) = std::sync::mpsc::channel();
    suite.spawn(async move {
        let _ = done.send(flood(thief, number).await.map_err(|failure| format!("{failure:?}")));
    });
    let asked = std::time::Instant::now();
    suite.request(machine.name(), &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(machine.name())?;
    let joined = asked.elapsed();
    outcome.recv()??;
    let flooded = began.elapsed();

    // The list shows everything, and in its last lines, for a person, from whom it came.
    let user = thief_user(suite);
    let seen = wait_until("the controller to have seen the flood", PATIENCE, || {
        let machines = machines(suite).map_err(|failure| format!("{failure:?}"))?;
        let of_flood = machines.iter().filter(|one| {
            one["announcedBy"] == user.as_str() && one["name"].as_str().is_some_and(|name| name.starts_with("flood-"))
        });
        let seen = of_flood.count();
        if seen == number { Ok(seen) } else { Err(format!("{seen} of {number}")) }
    })?;
    // After the flood a request for one of its machines is carried out: the controller has read that far.
    suite.request("flood-0", &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for("flood-0", ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let after = resident(suite)?;
    println!(
        "{seen} announcements in {flooded:?}; a machine joined meanwhile in {joined:?}; the controller had {before} KiB \
         and has {after} KiB"
    );
    assert!(after <= 2 * before, "the controller grew from {before} KiB to {after} KiB");

    let remark = njr(suite, &["machines"])?.stderr;
    assert!(remark.contains(&user) && remark.contains("kubectl njr token delete"), "nothing says who floods: {remark}");
    suite.block_on(clear(suite.client()))
}

async fn flood(client: Client, number: usize) -> Result<(), Failed> {
    let machines = (0..number).map(|number| StubMachine::new(&format!("flood-{number}"), [192, 0, 2, 1].into()));
    let machines = machines.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(stub_machine::announce(&client, &machines).await?)
}

/// Removes every announcement.
async fn clear(client: Client) -> Result<(), Failed> {
    let api: Api<CertificateSigningRequest> = Api::all(client);
    let ours = ListParams::default().fields(&format!("spec.signerName={}", vocabulary::SIGNER_MACHINE));
    api.delete_collection(&DeleteParams::default(), &ours).await?;
    Ok(())
}

/// The controller's memory in KiB.
fn resident(suite: &Suite) -> Result<u64, Failed> {
    Ok(Process::new(suite.lab().process_id(CONTROLLER)?).memory("VmRSS")?)
}
