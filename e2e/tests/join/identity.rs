//! Is this machine the right one? Each attacker holds something real and is refused by the real API server.

use std::net::IpAddr;

use join_crds::{ConditionType, Reason, vocabulary};
use join_trust::announcement;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::sealing::SealingKey;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, Client};
use libtest_mimic::Failed;

use super::happy::announced_hash;
use super::kubeadm::secret_of;
use join_e2e::lab::wait_until;
use join_e2e::suite::csr;
use join_e2e::suite::joining::{PATIENCE, Suite};

pub fn first_use_with_one_announcement(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("first-1")?;
    let announcement = suite.announcement(machine.name())?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let request = suite.wait_until_joined(machine.name())?;
    let bound = request.status.and_then(|status| status.machine).ok_or("no machine in the status")?;
    assert_eq!(bound.public_key_hash, announced_hash(&announcement)?);
    Ok(())
}

/// A thief of the enrollment file announces a machine under the name of another: a conflict that the administrator
/// sees, whoever came first, and no token for either.
pub fn first_use_with_two_announcements(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("conflict-1")?;
    suite.announcement(machine.name())?;
    let thief = suite.client_with_token(&suite.enrollment().token())?;
    announce(suite, &thief, machine.name())?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(machine.name(), ConditionType::MachineBound, "False", Reason::MachineConflict)?;
    wait_until("the agent to say it", PATIENCE, || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("reason:   MachineConflict") { Ok(()) } else { Err(said) }
    })?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new(), "a token was minted in spite of the conflict");
    Ok(())
}

pub fn another_key(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("other-key-1")?;
    suite.announcement(machine.name())?;
    let pinned = format!("sha256:{}", "0".repeat(64));
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"publicKeyHash": pinned}}))?;
    suite.wait_for(machine.name(), ConditionType::MachineBound, "False", Reason::MachineKeyMismatch)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new(), "a token was minted for another machine");
    assert!(!machine.path("/etc/kubernetes/kubelet.conf")?.exists());
    Ok(())
}

/// Stock kubeadm gives whoever holds a token any node's name. Ours is worth one name.
pub fn another_name(suite: &Suite) -> Result<(), Failed> {
    let name = "right-name-1";
    suite
        .request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"}))?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let token = secret_of(suite, name)?.data.unwrap_or_default().remove("token").ok_or("no token in the Secret")?;
    let thief = suite.client_with_token(&String::from_utf8(token.0)?)?;

    let key = MachineKey::generate()?;
    let request = key.client_csr(&NodeName::parse("wrong-name-1")?)?;
    let object =
        csr("theft", vocabulary::SIGNER_KUBELET_CLIENT, &["digital signature", "client auth"], request.into_bytes());
    let api: Api<CertificateSigningRequest> = Api::all(thief);
    suite.block_on(api.create(&PostParams::default(), &object))?;
    let decided = suite.wait(&Api::all(suite.client()), "theft", "a decision", |csr: &CertificateSigningRequest| {
        csr.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|all| !all.is_empty())
    })?;
    let status = decided.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    assert!(conditions.iter().all(|condition| condition.type_ == "Denied"), "{conditions:?}");
    assert!(status.certificate.is_none(), "a certificate was issued");
    let request =
        suite.wait_for(name, ConditionType::ClientCertificateIssued, "False", Reason::CertificateRequestDenied)?;
    let status = request.status.unwrap_or_default();
    let told = join_crds::conditions::get(&status.conditions, ConditionType::ClientCertificateIssued);
    let message = told.map(|condition| condition.message.as_str()).unwrap_or_default();
    assert!(
        conditions.iter().all(|condition| message.contains(condition.reason.as_deref().unwrap_or("none"))),
        "{message}"
    );
    Ok(())
}

/// Announces a machine of that name with keys of its own.
fn announce(suite: &Suite, client: &Client, name: &str) -> Result<(), Failed> {
    let (key, sealing) = (MachineKey::generate()?, SealingKey::generate()?);
    let address: IpAddr = [192, 0, 2, 1].into();
    let request = announcement::build(&key, &sealing.public(), &NodeName::parse(name)?, &[address])?;
    let object_name = vocabulary::announcement_name(name, &key.pin().to_string());
    let object = csr(&object_name, vocabulary::SIGNER_MACHINE, &["digital signature"], request.into_bytes());
    suite.block_on(Api::all(client.clone()).create(&PostParams::default(), &object))?;
    Ok(())
}
