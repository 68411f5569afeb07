//! Who let this node in: the audit log of one join names who applied, who minted, who approved, and with which key.

use join_crds::{ConditionType, Reason};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;
use serde_json::Value;

use super::happy::announced_hash;
use join_e2e::suite::joining::{CONTROLLER, Suite};

const CONTROLLER_ACCOUNT: &str = "system:serviceaccount:join-system:join-controller";

pub fn a_join_can_be_told_from_the_audit_log(suite: &Suite) -> Result<(), Failed> {
    let name = "audited-1";
    let since = lines(suite)?.len();
    let machine = suite.machine(name)?;
    let key = announced_hash(&suite.announcement(name)?)?;
    suite.request(
        name,
        &serde_json::json!({
            "role": "Worker", "machine": {"publicKeyHash": key}, "addresses": [machine.address()],
        }),
    )?;
    let request = suite.wait_until_joined(name)?;
    suite.wait_for(name, ConditionType::ServingCertificateIssued, "True", Reason::CertificateIssued)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    let uid = request.metadata.uid.clone().unwrap_or_default();
    let log = lines(suite)?.split_off(since);

    // Who applied: the administrator, this key, and the UID that everything else names.
    let applied = one(&log, "the request's creation", |event| {
        is(event, "create", "nodejoinrequests", "") && event["responseObject"]["metadata"]["name"] == name
    })?;
    assert_eq!(applied["user"]["username"], "kubernetes-admin", "{applied}");
    assert_eq!(applied["responseObject"]["metadata"]["uid"], uid, "{applied}");
    assert_eq!(applied["responseObject"]["spec"]["machine"]["publicKeyHash"], key, "{applied}");

    // Who approved: the controller, for that UID and that key; once for the client, once for the server.
    let approvals: Vec<&Value> = log
        .iter()
        .filter(|event| is(event, "patch", "certificatesigningrequests", "approval"))
        .filter(|event| condition(event)["message"].as_str().is_some_and(|message| message.contains(&uid)))
        .collect();
    assert_eq!(approvals.len(), 2, "{approvals:?}");
    for approval in &approvals {
        assert_eq!(approval["user"]["username"], CONTROLLER_ACCOUNT, "{approval}");
        assert_eq!(
            (&condition(approval)["type"], &condition(approval)["reason"]),
            (&"Approved".into(), &"NodeJoinPolicy".into())
        );
    }
    let client = approvals
        .iter()
        .find(|approval| condition(approval)["message"].as_str().is_some_and(|message| message.contains(&key)))
        .ok_or("no approval names the machine's key")?;
    let csr = client["objectRef"]["name"].as_str().unwrap_or_default();

    // With which key: the one in the request itself, whatever the approval says.
    let asked = one(&log, "the certificate request", |event| {
        is(event, "create", "certificatesigningrequests", "") && event["responseObject"]["metadata"]["name"] == csr
    })?;
    let pem: ByteString = serde_json::from_value(asked["requestObject"]["spec"]["request"].clone())?;
    let certified = join_trust::pkcs10::CertificationRequest::parse_pem(&pem.0)?.pin().to_string();
    assert_eq!(certified, key);

    // Who minted: the controller, the token with which the certificate was asked for, and nobody read it.
    let requester = asked["user"]["username"].as_str().unwrap_or_default();
    let id = requester.strip_prefix("system:bootstrap:").ok_or_else(|| format!("{requester} is no token"))?;
    let secret = format!("bootstrap-token-{id}");
    let of_token = |verb: &str| {
        one(&log, "the token's Secret", |event| {
            is(event, verb, "secrets", "") && event["objectRef"]["name"] == secret.as_str()
        })
    };
    for event in [of_token("create")?, of_token("delete")?] {
        assert_eq!(event["user"]["username"], CONTROLLER_ACCOUNT, "{event}");
        assert_eq!(
            (&event["requestObject"], &event["responseObject"]),
            (&Value::Null, &Value::Null),
            "a secret is in the log"
        );
    }

    decisions_are_logged_once(suite, name, &uid, &key)?;
    approvals_are_events(suite, name, &uid, &key)
}

/// Each of the two certificates is one line of the controller's log, with all fields that the documentation names.
fn decisions_are_logged_once(suite: &Suite, name: &str, uid: &str, key: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(suite.lab().log_file(CONTROLLER))?;
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let decisions: Vec<&Value> = lines
        .iter()
        .filter(|line| line["target"] == "join_controller::decision" && line["request_uid"] == uid)
        .filter(|line| line["decision"] != "wait")
        .collect();
    assert_eq!(decisions.len(), 2, "{decisions:?}");
    let csrs: Api<CertificateSigningRequest> = Api::all(suite.client());
    for line in decisions {
        assert_eq!((&line["decision"], &line["rule"]), (&"approve".into(), &"All".into()), "{line}");
        assert_eq!((&line["request"], &line["node"]), (&name.into(), &name.into()), "{line}");
        let csr = suite.block_on(csrs.get(line["csr"].as_str().unwrap_or_default()))?;
        assert_eq!(line["csr_uid"], csr.metadata.uid.unwrap_or_default().as_str(), "{line}");
        assert_eq!(line["signer"], csr.spec.signer_name.as_str(), "{line}");
        assert_eq!(line["requester"], csr.spec.username.unwrap_or_default().as_str(), "{line}");
        let certified = join_trust::pkcs10::CertificationRequest::parse_pem(&csr.spec.request.0)?.pin().to_string();
        assert_eq!(line["key"], certified.as_str(), "{line}");
        if line["signer"] == join_crds::vocabulary::SIGNER_KUBELET_CLIENT {
            assert_eq!(line["key"], key, "{line}");
        }
    }
    Ok(())
}

fn approvals_are_events(suite: &Suite, name: &str, uid: &str, key: &str) -> Result<(), Failed> {
    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let of_request = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let events = suite.block_on(events.list(&of_request))?.items;
    let approved: Vec<String> = events
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("CertificateApproved"))
        .inspect(|event| {
            assert_eq!(event.involved_object.name.as_deref(), Some(name));
            let related = event.related.clone().unwrap_or_default();
            assert_eq!(related.kind.as_deref(), Some("CertificateSigningRequest"), "{event:?}");
        })
        .filter_map(|event| event.message)
        .collect();
    assert_eq!(approved.len(), 2, "{approved:?}");
    let client = approved.iter().find(|note| note.contains(key)).ok_or("no Event names the machine's key")?;
    assert!(client.contains("system:bootstrap:") && client.contains(uid) && client.contains("rule All"), "{client}");
    Ok(())
}

fn is(event: &Value, verb: &str, resource: &str, subresource: &str) -> bool {
    event["verb"] == verb
        && event["objectRef"]["resource"] == resource
        && event["objectRef"]["subresource"].as_str().unwrap_or_default() == subresource
        && event["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300)
}

fn condition(event: &Value) -> &Value {
    &event["requestObject"]["status"]["conditions"][0]
}

/// The only one of these events.
fn one<'a>(log: &'a [Value], what: &str, wanted: impl Fn(&Value) -> bool) -> Result<&'a Value, Failed> {
    let found: Vec<&Value> = log.iter().filter(|event| wanted(event)).collect();
    match found.as_slice() {
        [event] => Ok(event),
        other => Err(format!("{what}: {} events in the audit log, expected one: {other:?}", other.len()).into()),
    }
}

fn lines(suite: &Suite) -> Result<Vec<Value>, Failed> {
    let log = suite.lab().layout().control_plane_etc().join("audit.log");
    let text = std::fs::read_to_string(log)?;
    // The last line may be half written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
