//! A cluster in which nobody signs: an external certificate authority whose signer is away, or no csrsigning controller.

use join_crds::{ConditionType, Reason};
use join_e2e::lab::wait_until;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;

use super::metrics::plain_metrics;
use join_e2e::suite::joining::{PATIENCE, Suite};

const KCM: &str = "kube-controller-manager";

/// The longest time from an approval until its missing certificate is in the status.
const WITHIN_SECONDS: i64 = 30;

/// An approved certificate request that nobody signs is named in the status, in an Event and in a metric, with what to
/// do; when the signer is back the join goes on by itself.
pub fn a_missing_signer_is_named_until_it_is_back(suite: &Suite) -> Result<(), Failed> {
    suite.lab().kill_process(KCM)?;
    suite.lab().start_process(KCM, &["--controllers=*,bootstrapsigner,tokencleaner,-csrsigning"])?;
    let outcome = without_a_signer(suite, "unsigned-1");
    suite.lab().kill_process(KCM)?;
    suite.lab().start_process(KCM, &[])?;
    outcome?;
    suite.wait_until_joined("unsigned-1")?;
    let request =
        suite.wait_for("unsigned-1", ConditionType::ClientCertificateIssued, "True", Reason::CertificateIssued)?;
    assert!(!serde_json::to_string(&request.status)?.contains("SignerMissing"), "{:?}", request.status);
    wait_until("no certificate request to be unsigned", PATIENCE, || unsigned(suite, "0"))?;
    Ok(())
}

fn without_a_signer(suite: &Suite, name: &str) -> Result<(), Failed> {
    suite.machine(name)?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let request = suite.wait_for(name, ConditionType::ClientCertificateIssued, "False", Reason::SignerMissing)?;
    let status = request.status.unwrap_or_default();
    let of = |kind: ConditionType| {
        join_crds::conditions::get(&status.conditions, kind).cloned().ok_or_else(|| format!("no condition {kind}"))
    };
    let condition = of(ConditionType::ClientCertificateIssued)?;
    for part in
        ["csrsigning", "--cluster-signing-cert-file", "by itself", "kubernetes.io/kube-apiserver-client-kubelet"]
    {
        assert!(condition.message.contains(part), "{part} is not in: {}", condition.message);
    }
    assert_eq!(of(ConditionType::Ready)?.reason, Reason::SignerMissing.as_str());

    // Both times are of whole seconds and of one clock.
    let csr = condition.message.split_whitespace().nth(2).ok_or("the message names no certificate request")?.to_owned();
    let csrs: Api<k8s_openapi::api::certificates::v1::CertificateSigningRequest> = Api::all(suite.client());
    let csr = suite.block_on(csrs.get(&csr))?.status.unwrap_or_default();
    let approved = csr.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Approved");
    let approved = approved.and_then(|condition| condition.last_update_time).ok_or("the request is not approved")?;
    let waited = condition.last_transition_time.0.as_second() - approved.0.as_second();
    assert!(waited <= WITHIN_SECONDS, "SignerMissing came {waited} s after the approval");

    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let uid = request.metadata.uid.unwrap_or_default();
    let of_request = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=SignerMissing"));
    wait_until("the Event", PATIENCE, || {
        match suite.block_on(events.list(&of_request)).map(|list| list.items.len()) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    wait_until("one certificate request to be unsigned", PATIENCE, || unsigned(suite, "1"))?;
    Ok(())
}

fn unsigned(suite: &Suite, expected: &str) -> Result<(), String> {
    let text = plain_metrics(suite).map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
    let line = text.lines().find(|line| line.starts_with("join_operator_csrs_unsigned "));
    let seen = line.and_then(|line| line.split_once(' ')).map(|(_, number)| number);
    if seen == Some(expected) { Ok(()) } else { Err(format!("{line:?}")) }
}
