//! What the agent does about its request: wait, and for what, or carry it out. Pure.

use join_crds::spec::Delivery;
use join_crds::status::SealedCredentials;
use join_crds::{ConditionType, NodeJoinRequest, conditions};
use join_trust::pin::PublicKeyPin;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet; what is waited for, for a person.
    Wait(String),
    /// The request has credentials for this machine.
    CarryOut(Occasion),
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
        return Decision::Wait(format!("waiting for somebody to create the NodeJoinRequest {node}"));
    };
    match occasion(request, &ours.to_string()) {
        Ok(occasion) => Decision::CarryOut(occasion),
        Err(reason) => Decision::Wait(format!("the NodeJoinRequest {node} {reason}")),
    }
}

/// The credentials for this machine, or why there are none.
fn occasion(request: &NodeJoinRequest, ours: &str) -> Result<Occasion, String> {
    if request.metadata.deletion_timestamp.is_some() {
        return Err("is being deleted".to_owned());
    }
    if request.spec.delivery == Delivery::Token {
        return Err("is for `kubeadm join` (delivery Token), not for this agent".to_owned());
    }
    if let Some(pinned) = request.spec.machine.public_key_hash.as_deref().filter(|pinned| *pinned != ours) {
        return Err(format!("is for the machine with key {pinned}, this one has {ours}"));
    }
    let status = request.status.as_ref();
    let bound = status.and_then(|status| status.machine.as_ref()).map(|machine| machine.public_key_hash.as_str());
    match (bound, status.and_then(|status| status.sealed_credentials.as_ref())) {
        (Some(bound), _) if bound != ours => Err(format!("is bound to another machine, with key {bound}")),
        (Some(_), Some(sealed)) => Ok(Occasion { uid: request.uid().to_owned(), sealed: sealed.clone() }),
        _ => Err(format!("is there; waiting for the controller{}", what_it_says(request))),
    }
}

/// Why the controller has not given a credential, in its own words.
fn what_it_says(request: &NodeJoinRequest) -> String {
    let all = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if all.is_empty() {
        return " to see it; if that takes long, check that join-controller runs".to_owned();
    }
    let stalled = conditions::get(all, ConditionType::Stalled).filter(|condition| condition.status == "True");
    let first = ConditionType::ALL.into_iter().find_map(|kind| {
        conditions::get(all, kind).filter(|condition| condition.status != "True" && kind != ConditionType::Stalled)
    });
    stalled.or(first).map_or_else(String::new, |condition| {
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        format!(", which says {}={} ({}){message}", condition.type_, condition.status, condition.reason)
    })
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
            Decision::Wait(reason) => reason,
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
        assert!(reason(None).contains("waiting for somebody to create the NodeJoinRequest a"));
        for (spec, status, expected) in [
            (&first_use, &nothing, "check that join-controller runs"),
            (&pinned(key(2)), &nothing, "is for the machine with key"),
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
                "delivery Token",
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
        assert!(reason(Some(&request)).contains("is being deleted"));
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
}
