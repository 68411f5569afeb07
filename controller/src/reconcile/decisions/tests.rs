use std::io;
use std::sync::{Arc, Mutex};

use join_trust::policy::CertificateRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rstest::rstest;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::plan::tests::{Machine, Model, request};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged(tell: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_writer(lines.clone());
    tracing::subscriber::with_default(subscriber.finish(), tell);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn csr() -> (CertificateRequest, String) {
    let mut model = Model::new(&json!({}));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.ask(&machine.key, "worker-7");
    (model.csrs[0].request.clone(), machine.pin())
}

fn finding() -> Finding {
    Finding { rule: Rule::NodeAbsent, detail: "Node worker-7 exists".to_owned() }
}

#[rstest]
#[case(Verdict::Approve, "approve", "All", "INFO", Value::Null)]
#[case(Verdict::Deny(finding()), "deny", "NodeAbsent", "WARN", json!("Node worker-7 exists"))]
#[case(Verdict::Wait(finding()), "wait", "NodeAbsent", "INFO", json!("Node worker-7 exists"))]
fn a_decision_is_one_line_with_all_that_an_auditor_asks(
    #[case] verdict: Verdict,
    #[case] decision: &str,
    #[case] rule: &str,
    #[case] level: &str,
    #[case] detail: Value,
) {
    let (csr, pin) = csr();
    let request = request("worker-7", &json!({}));
    let lines = logged(|| log(Some(&request), &csr, key_of(&csr).as_deref(), &verdict));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let expected = json!({
        "target": TARGET, "level": level, "decision": decision, "rule": rule, "detail": detail,
        "signer": csr.signer_name, "csr": csr.name, "csr_uid": csr.uid, "requester": csr.username,
        "request": "worker-7", "request_uid": request.uid(), "node": "worker-7", "key": pin,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&line.get(field).cloned().unwrap_or_default(), value, "{field} of {line}");
    }
}

#[test]
fn a_note_names_who_asked_for_which_request_with_which_key_even_when_it_is_cut() {
    let (csr, pin) = csr();
    let request = request("worker-7", &json!({}));
    let long = Verdict::Deny(Finding { rule: Rule::CommonName, detail: "x".repeat(4096) });
    let note = note(&request, &csr, Some(&pin), &long);
    let kept = &note[..1024];
    for part in ["denied by rule CommonName", &csr.name, &csr.username, &pin, request.uid()] {
        assert!(kept.contains(part), "{part} is not in {kept}");
    }
}

#[test]
fn a_wait_is_news_once_for_each_change_of_its_rule() {
    let mut told = Told::default();
    assert!(told.waits("a", Rule::NodeAbsent));
    assert!(!told.waits("a", Rule::NodeAbsent));
    assert!(told.waits("b", Rule::NodeAbsent));
    assert!(told.waits("a", Rule::CertificatePending));
    told.keep_waits(&HashSet::from(["b"]));
    assert!(!told.waits("b", Rule::NodeAbsent));
    assert!(told.waits("a", Rule::CertificatePending), "what has gone is forgotten");
}

#[test]
fn a_wait_that_the_status_names_was_told_before_a_restart() {
    let mut model = Model::new(&json!({}));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.register("of-somebody-else");
    model.ask(&machine.key, "worker-7");
    let before = model.request.clone();
    model.visit();
    model.observe(|observed| {
        let waiting = plan::waiting(observed);
        let [(csr, finding)] = waiting.as_slice() else { panic!("{waiting:?}") };
        assert_eq!(finding.rule, Rule::NodeAbsent);
        assert!(!in_status(&before, csr, finding));
        assert!(in_status(&model.request, csr, finding));
        let other = Finding { rule: Rule::ClockSkew, ..finding.clone() };
        assert!(!in_status(&model.request, csr, &other));
    });
}

#[test]
fn events_on_denials_are_bounded() {
    let mut told = Told::default();
    assert_eq!((0..100).filter(|_| told.may_tell()).count(), MOST_EVENTS);
}

#[rstest]
#[case("Approved", plan::APPROVAL_REASON, Verdict::Approve, true)]
#[case("Approved", "AutoApproved", Verdict::Approve, false)]
#[case("Denied", "NodeAbsent", Verdict::Deny(finding()), true)]
#[case("Denied", "CommonName", Verdict::Deny(finding()), false)]
#[case("Denied", "NodeAbsent", Verdict::Approve, false)]
fn a_decision_whose_answer_was_lost_is_known_by_its_reason(
    #[case] kind: &str,
    #[case] reason: &str,
    #[case] verdict: Verdict,
    #[case] expected: bool,
) {
    let object: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "c", "uid": "u"},
        "spec": {"signerName": join_trust::names::CLIENT_SIGNER, "request": ""},
        "status": {"conditions": [{"type": kind, "status": "True", "reason": reason}]},
    }))
    .unwrap();
    assert_eq!(is_ours(&CsrEntry::read(object).unwrap(), &verdict), expected);
}
