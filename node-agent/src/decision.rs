//! What the agent does about its request: wait, and for what, or carry it out. Pure.

use std::time::Duration;

use join_crds::spec::Delivery;
use join_crds::status::SealedCredentials;
use join_crds::{ConditionType, NodeJoinRequest, Reason, conditions};
use join_trust::pin::PublicKeyPin;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet; what is waited for.
    Wait(Waits),
    /// The request has credentials for this machine.
    CarryOut(Occasion),
}

/// What is waited for: in one word, where there is one, and for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The word.
    pub reason: Option<Reason>,
    /// The words.
    pub message: String,
}

impl Waits {
    /// The word, as far as it is true after so long: a controller that has not seen a request of this moment is not silent
    /// yet.
    pub fn reason_after(&self, waited: Duration) -> Option<Reason> {
        self.reason.filter(|reason| *reason != Reason::ControllerSilent || waited >= SHOULD_BE_SEEN)
    }
}

/// One reason to carry a request out. Another one is another object, or another credential: it is worth a new try at
/// once, whatever became of the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    uid: String,
    sealed: SealedCredentials,
}

/// Decides about the request of a node's name, as the machine with the key `ours`.
pub fn decide(request: Option<&NodeJoinRequest>, node: &str, ours: &PublicKeyPin) -> Decision {
    let Some(request) = request else {
        let message = format!("waiting for somebody to create the NodeJoinRequest {node}");
        return Decision::Wait(Waits { reason: Some(Reason::RequestAbsent), message });
    };
    match occasion(request, &ours.to_string()) {
        Ok(occasion) => Decision::CarryOut(occasion),
        Err((reason, what)) => Decision::Wait(Waits { reason, message: format!("the NodeJoinRequest {node} {what}") }),
    }
}

/// The credentials for this machine, or why there are none.
fn occasion(request: &NodeJoinRequest, ours: &str) -> Result<Occasion, (Option<Reason>, String)> {
    let waits = |reason: Reason, what: String| Err((Some(reason), what));
    if request.metadata.deletion_timestamp.is_some() {
        return waits(Reason::RequestDeleted, "is being deleted".to_owned());
    }
    if request.spec.delivery == Delivery::Token {
        let what = "is for `kubeadm join` (delivery Token), not for this agent";
        return waits(Reason::RequestForKubeadm, what.to_owned());
    }
    if let Some(pinned) = request.spec.machine.public_key_hash.as_deref().filter(|pinned| *pinned != ours) {
        let what = format!("is for the machine with key {pinned}, this one has {ours}");
        return waits(Reason::MachineKeyMismatch, what);
    }
    let status = request.status.as_ref();
    let bound = status.and_then(|status| status.machine.as_ref()).map(|machine| machine.public_key_hash.as_str());
    match (bound, status.and_then(|status| status.sealed_credentials.as_ref())) {
        (Some(bound), _) if bound != ours => {
            waits(Reason::MachineKeyMismatch, format!("is bound to another machine, with key {bound}"))
        }
        (Some(_), Some(sealed)) => Ok(Occasion { uid: request.uid().to_owned(), sealed: sealed.clone() }),
        _ => {
            let (reason, said) = what_it_says(request);
            Err((reason, format!("is there; waiting for the controller{said}")))
        }
    }
}

/// Why the controller has not given a credential, in its own words.
fn what_it_says(request: &NodeJoinRequest) -> (Option<Reason>, String) {
    let all = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if all.is_empty() {
        let said = " to see it; if that takes long, check that join-controller runs";
        return (Some(Reason::ControllerSilent), said.to_owned());
    }
    let stalled = conditions::get(all, ConditionType::Stalled).filter(|condition| condition.status == "True");
    let first = ConditionType::ALL.into_iter().find_map(|kind| {
        conditions::get(all, kind).filter(|condition| condition.status != "True" && kind != ConditionType::Stalled)
    });
    stalled.or(first).map_or((None, String::new()), |condition| {
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        let said = format!(", which says {}={} ({}){message}", condition.type_, condition.status, condition.reason);
        (condition.reason.parse().ok(), said)
    })
}

/// How long a request or a certificate request may be there until the controller should have looked at it.
pub const SHOULD_BE_SEEN: Duration = Duration::from_secs(8);

/// What holds the certificate request `name` up that was sent so long ago, as the condition ClientCertificateIssued has it;
/// nothing while all is as it should be.
pub fn certificate_waits(condition: Option<&Condition>, name: &str, waited: Duration) -> Option<Waits> {
    let reason = condition.and_then(|condition| condition.reason.parse::<Reason>().ok());
    let message = condition.map(|condition| condition.message.as_str()).unwrap_or_default();
    match reason {
        Some(Reason::CertificateRequestWaiting | Reason::CertificateRequestDenied | Reason::SignerMissing) => {
            Some(Waits { reason, message: message.to_owned() })
        }
        // The controller names the request as soon as it has seen it.
        _ if message.contains(name) || waited < SHOULD_BE_SEEN => None,
        _ => Some(Waits {
            reason: Some(Reason::ControllerSilent),
            message: format!(
                "certificate request {name} was sent more than {} s ago, and the controller has not looked at it; check \
                 that it runs: `kubectl -n join-system get pods`",
                SHOULD_BE_SEEN.as_secs()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKeyPin {
        PublicKeyPin::of_spki(&[byte])
    }

    fn sealed() -> serde_json::Value {
        serde_json::json!({"generation": 1, "encapsulatedKey": "a", "ciphertext": "b"})
    }

    fn bound(pin: PublicKeyPin) -> serde_json::Value {
        serde_json::json!({"publicKeyHash": pin.to_string(), "firstSeen": "2026-01-01T00:00:00Z"})
    }

    fn request(spec: &serde_json::Value, status: &serde_json::Value) -> NodeJoinRequest {
        let mut object = serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": "a", "uid": "u", "generation": 1},
            "spec": {"role": "Worker"}, "status": status,
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    fn reason(request: Option<&NodeJoinRequest>) -> String {
        match decide(request, "a", &key(1)) {
            Decision::Wait(Waits { reason, message }) => format!("{reason:?} {message}"),
            Decision::CarryOut(_) => "carried out".to_owned(),
        }
    }

    #[test]
    fn what_is_waited_for_is_said() {
        let first_use = serde_json::json!({"machine": {"trust": "FirstUse"}});
        let pinned = |pin: PublicKeyPin| serde_json::json!({"machine": {"publicKeyHash": pin.to_string()}});
        let condition = |kind: &str, status: &str| {
            serde_json::json!({
                "type": kind, "status": status, "reason": "Because", "message": "look", "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let nothing = serde_json::json!({});
        assert!(reason(None).contains("Some(RequestAbsent) waiting for somebody to create the NodeJoinRequest a"));
        for (spec, status, expected) in [
            (
                &first_use,
                &nothing,
                "Some(ControllerSilent) the NodeJoinRequest a is there; waiting for the controller to see it",
            ),
            (&pinned(key(2)), &nothing, "Some(MachineKeyMismatch) the NodeJoinRequest a is for the machine with key"),
            // A credential without a bound machine is none.
            (&first_use, &serde_json::json!({"sealedCredentials": sealed()}), "waiting for the controller"),
            // A credential beside another machine's key is not for us, whoever wrote it.
            (&pinned(key(2)), &serde_json::json!({"sealedCredentials": sealed()}), "is for the machine with key"),
            (
                &first_use,
                &serde_json::json!({"machine": bound(key(2)), "sealedCredentials": sealed()}),
                "is bound to another machine",
            ),
            (
                &serde_json::json!({"machine": {"trust": "FirstUse"}, "delivery": "Token"}),
                &serde_json::json!({"machine": bound(key(1)), "sealedCredentials": sealed()}),
                "Some(RequestForKubeadm) the NodeJoinRequest a is for `kubeadm join` (delivery Token)",
            ),
            (
                &first_use,
                &serde_json::json!({"conditions": [condition("MachineBound", "True"), condition("CredentialIssued", "False")]}),
                "which says CredentialIssued=False (Because): look",
            ),
            (
                &first_use,
                &serde_json::json!({"conditions": [condition("MachineBound", "False"), condition("Stalled", "True")]}),
                "which says Stalled=True (Because): look",
            ),
            (
                &pinned(key(1)),
                &serde_json::json!({"machine": bound(key(1)), "sealedCredentials": sealed()}),
                "carried out",
            ),
        ] {
            let said = reason(Some(&request(spec, status)));
            assert!(said.contains(expected), "expected {expected:?} in: {said}");
        }
    }

    #[test]
    fn a_request_that_is_being_deleted_is_not_carried_out() {
        let mut request = request(
            &serde_json::json!({"machine": {"trust": "FirstUse"}}),
            &serde_json::json!({"machine": bound(key(1)), "sealedCredentials": sealed()}),
        );
        assert_eq!(reason(Some(&request)), "carried out");
        request.metadata.deletion_timestamp =
            Some(serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap());
        assert!(reason(Some(&request)).contains("Some(RequestDeleted) the NodeJoinRequest a is being deleted"));
    }

    #[test]
    fn another_object_or_credential_is_another_occasion_and_a_report_of_ours_is_not() {
        let spec = serde_json::json!({"machine": {"trust": "FirstUse"}});
        let first = request(&spec, &serde_json::json!({"machine": bound(key(1)), "sealedCredentials": sealed()}));
        let decision = |request: &NodeJoinRequest| decide(Some(request), "a", &key(1));
        let reported = request(
            &spec,
            &serde_json::json!({
                "machine": bound(key(1)), "sealedCredentials": sealed(),
                "agent": {"step": "Failed", "since": "2026-01-01T00:00:00Z"},
            }),
        );
        assert_eq!(decision(&first), decision(&reported));
        let mut another = first.clone();
        another.metadata.uid = Some("v".to_owned());
        assert_ne!(decision(&first), decision(&another));
        let mut resealed = first.clone();
        resealed.status.as_mut().unwrap().sealed_credentials.as_mut().unwrap().ciphertext = "c".to_owned();
        assert_ne!(decision(&first), decision(&resealed));
    }

    #[test]
    fn a_controller_is_silent_only_after_a_while() {
        let waits = |reason| Waits { reason: Some(reason), message: String::new() };
        let [soon, late] = [SHOULD_BE_SEEN.saturating_sub(Duration::from_millis(1)), SHOULD_BE_SEEN];
        assert_eq!(waits(Reason::ControllerSilent).reason_after(soon), None);
        assert_eq!(waits(Reason::ControllerSilent).reason_after(late), Some(Reason::ControllerSilent));
        assert_eq!(waits(Reason::RequestAbsent).reason_after(Duration::ZERO), Some(Reason::RequestAbsent));
    }

    #[test]
    fn a_certificate_request_that_waits_is_explained_by_the_controller_or_by_its_silence() {
        let condition = |reason: &str, message: &str| -> Condition {
            serde_json::from_value(serde_json::json!({
                "type": "ClientCertificateIssued", "status": "False", "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }))
            .unwrap()
        };
        let waits = "certificate request nodejoin-client-a waits: NodeAbsent: there is one";
        for (condition, seconds, expected) in [
            (None, 1, None),
            (None, 8, Some(Reason::ControllerSilent)),
            (Some(condition("WaitingForAgent", "the credential is sealed")), 7, None),
            (Some(condition("PreflightFailed", "an earlier try")), 9, Some(Reason::ControllerSilent)),
            (Some(condition("CertificateRequestWaiting", waits)), 1, Some(Reason::CertificateRequestWaiting)),
            (Some(condition("SignerMissing", "nobody signs")), 40, Some(Reason::SignerMissing)),
            (Some(condition("Joining", "certificate request nodejoin-client-a is approved")), 20, None),
            (Some(condition("OfAnotherVersion", "")), 20, Some(Reason::ControllerSilent)),
        ] {
            let waits = certificate_waits(condition.as_ref(), "nodejoin-client-a", Duration::from_secs(seconds));
            assert_eq!(waits.as_ref().and_then(|waits| waits.reason), expected, "{condition:?} {seconds}");
            if let (Some(waits), Some(condition)) = (waits, condition.filter(|one| one.message.contains("NodeAbsent")))
            {
                assert_eq!(waits.message, condition.message);
            }
        }
    }
}
