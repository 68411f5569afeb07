//! Another try: by itself where the machine was mended, and when a person asks for it where something was refused.

use join_crds::vocabulary::{ANNOTATION_RETRY, KUBE_SYSTEM, SIGNER_KUBELET_CLIENT, record_name};
use join_crds::{ConditionType, Reason};
use join_e2e::operator::NAMESPACE;
use join_e2e::suite::csr;
use join_e2e::suite::joining::Suite;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use libtest_mimic::Failed;

/// The token of a request, as only the controller knows it.
fn token_of(suite: &Suite, uid: &str) -> Result<String, Failed> {
    let records: Api<Secret> = Api::namespaced(suite.client(), NAMESPACE);
    let data = suite.block_on(records.get(&record_name(uid)))?.data.unwrap_or_default();
    let text = |key: &str| -> Result<String, Failed> {
        let value = data.get(key).ok_or_else(|| format!("the record has no {key}"))?;
        Ok(String::from_utf8(value.0.clone())?)
    };
    Ok(format!("{}.{}", text("token-id")?, text("token-secret")?))
}

/// What goes on by itself is not tried again by a person; what was refused is, with another token and nothing typed
/// anew; and the machine that was mended meanwhile joins.
pub fn a_failed_join_goes_on_by_itself_or_when_asked(suite: &Suite) -> Result<(), Failed> {
    let name = "retry-1";
    let operator = suite.operator();
    let machine = suite.bare_machine(name)?;
    let leftover = machine.path("/var/lib/kubelet/pki/kubelet-client-current.pem")?;
    std::fs::create_dir_all(leftover.parent().ok_or("no folder")?)?;
    std::fs::write(&leftover, "left by an earlier cluster")?;
    operator.install_agent(&machine, suite.enrollment())?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let request = suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;

    let refused = operator.njr(&["retry", name]).unwrap_or_else(|error| error.to_string());
    assert!(refused.contains("goes on by itself") && refused.contains("PreflightFailed"), "{refused}");

    // Somebody has the token and asks for a certificate with a key of his own.
    let stolen = token_of(suite, request.uid())?;
    let asked = MachineKey::generate()?.client_csr(&NodeName::parse(name)?)?;
    let object = csr("of-a-thief", SIGNER_KUBELET_CLIENT, &["digital signature", "client auth"], asked.into_bytes());
    let thief: Api<CertificateSigningRequest> = Api::all(suite.client_with_token(&stolen)?);
    suite.block_on(thief.create(&PostParams::default(), &object))?;
    suite.wait_for(name, ConditionType::Stalled, "True", Reason::CertificateRequestDenied)?;

    let shown = operator.njr(&["retry", name, "--dry-run=server"])?;
    assert_eq!(shown.trim(), format!("nodejoinrequest.nodejoin.dev/{name} retried (server dry run)"));
    let unchanged = suite.block_on(suite.requests_api().get(name))?;
    assert_eq!(unchanged.status.and_then(|status| status.retry), None, "a dry run was answered");
    let shown = operator.njr(&["retry", name])?;
    assert_eq!(shown.trim(), format!("nodejoinrequest.nodejoin.dev/{name} retried"));
    let again = suite.wait_for(name, ConditionType::Stalled, "False", Reason::Progressing)?;
    let answer = again.status.clone().and_then(|status| status.retry).ok_or("the try was not answered")?;
    let value = again.metadata.annotations.unwrap_or_default().remove(ANNOTATION_RETRY);
    assert_eq!(Some(&answer.value), value.as_ref());
    assert!(answer.time.is_some());

    // One token lives, and it is another one.
    let request = suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let credential = request.status.as_ref().and_then(|status| status.credential.as_ref());
    let id = credential.map(|credential| credential.token_id.clone()).ok_or("no credential")?;
    assert!(!stolen.starts_with(&id), "the stolen token lives on");
    assert_eq!(suite.join_tokens()?, [format!("bootstrap-token-{id}")], "tokens in {KUBE_SYSTEM}");
    let denied = suite.block_on(Api::<CertificateSigningRequest>::all(suite.client()).get("of-a-thief"))?;
    assert!(denied.status.is_some_and(|status| status.certificate.is_none()));

    std::fs::remove_file(&leftover)?;
    suite.wait_until_joined(name)?;
    let refused = operator.njr(&["retry", name]).unwrap_or_else(|error| error.to_string());
    assert!(refused.contains("its node is Ready"), "{refused}");
    // kubectl alone does as well, and is answered that there is nothing to do.
    let annotation = format!("{ANNOTATION_RETRY}=by-hand");
    operator.kubectl(&["annotate", "njr", name, "--overwrite", &annotation])?;
    suite.wait(&suite.requests_api(), name, "an answer", |request: &join_crds::NodeJoinRequest| {
        let answer = request.status.as_ref().and_then(|status| status.retry.as_ref());
        answer.is_some_and(|answer| answer.value == "by-hand")
    })?;
    let regarding = format!("regarding.name={name}");
    let events = operator.kubectl(&["get", "events.events.k8s.io", "--field-selector", &regarding, "--output=json"])?;
    for expected in [
        format!("kubectl-njr asked for another try with {ANNOTATION_RETRY}={}; another token is made", answer.value),
        format!("kubectl-annotate asked for another try with {annotation}; nothing has failed for good"),
    ] {
        assert!(events.contains(&expected), "{expected:?} is not in {events}");
    }
    Ok(())
}
