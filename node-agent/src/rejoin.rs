//! A machine that is a node, and for which there is another request under its name.
//!
//! A request that was deleted and made again is another one, with another UID: the node's certificate came of the first.
//! With the same machine key in it, and the Node there, the controller says in it that this machine is that Node, and the
//! agent reports to it from then on. Once the old Node is gone, it asks this machine to join again. Nobody types anything
//! on the machine for either.
//!
//! A control plane does not join again by itself: its member of etcd would stay, and with it data that belong to the old
//! membership. Whoever wants that resets the machine, which takes the member out first.

use std::path::Path;

use join_crds::NodeJoinRequest;
use join_crds::spec::Delivery;
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use crate::atomic_file;
use crate::decision::{Decision, decide};
use crate::files::{CLIENT_PEM, KUBELET_CONF};
use crate::journal::{self, JoinStep, Journal};
use crate::kubelet::{self, Systemd, UNIT};
use crate::member::Membership;

/// The machine could not leave or change its old membership.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be noted.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The kubelet could not be stopped.
    #[error(transparent)]
    Kubelet(#[from] kubelet::Error),
    /// A file could not be removed.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
}

/// What a request asks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: it is this membership's, or another machine's.
    Nothing,
    /// To go on as it is, as the node of this request.
    Follow,
    /// To join anew.
    JoinAnew,
    /// To join anew, as a control plane cannot before it is reset.
    ResetFirst,
}

/// What the request alone says of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    No,
    /// The controller knows that this machine is the Node.
    Follow,
    /// As soon as there is no Node of this name.
    OnceTheNodeIsGone,
    /// There is a credential for this machine in it, and the controller makes none beside a Node of that name.
    Now,
}

fn asks(request: &NodeJoinRequest, membership: &Membership, ours: &PublicKeyPin) -> Asks {
    if request.uid() == membership.request_uid || request.metadata.deletion_timestamp.is_some() {
        return Asks::No;
    }
    if matches!(decide(Some(request), &membership.node_name, ours), Decision::CarryOut(_)) {
        return Asks::Now;
    }
    let is_ours = |key: Option<&str>| key == Some(ours.to_string().as_str());
    if !is_ours(request.spec.machine.public_key_hash.as_deref()) || request.spec.delivery != Delivery::Sealed {
        return Asks::No;
    }
    let status = request.status.as_ref();
    let bound = status.and_then(|status| status.machine.as_ref()).map(|machine| machine.public_key_hash.as_str());
    if is_ours(bound) && status.is_some_and(|status| status.node.is_some()) {
        return Asks::Follow;
    }
    // Its announcement may be gone for long, so the controller may be waiting for this machine to show itself.
    Asks::OnceTheNodeIsGone
}

/// What a request asks of this machine, which is a node. `client` speaks as the node.
pub async fn asked(
    client: &Client,
    request: Option<&NodeJoinRequest>,
    membership: &Membership,
    node: &NodeName,
    ours: &PublicKeyPin,
) -> Asked {
    match request.map_or(Asks::No, |request| asks(request, membership, ours)) {
        Asks::No => Asked::Nothing,
        Asks::Follow => Asked::Follow,
        Asks::Now => anew(membership),
        Asks::OnceTheNodeIsGone => {
            let nodes: Api<Node> = Api::all(client.clone());
            if matches!(nodes.get_opt(node.as_str()).await, Ok(None)) { anew(membership) } else { Asked::Nothing }
        }
    }
}

fn anew(membership: &Membership) -> Asked {
    if membership.control_plane.is_some() { Asked::ResetFirst } else { Asked::JoinAnew }
}

/// Makes the membership that of another request. Killed in between, it is done again.
pub fn follow(
    journal: &mut Journal,
    membership: &Membership,
    request_uid: &str,
    state_directory: &Path,
) -> Result<(), Error> {
    journal.step(JoinStep::Joined, request_uid)?;
    Membership { request_uid: request_uid.to_owned(), ..membership.clone() }.write(state_directory)?;
    Ok(())
}

/// Ends the old membership: the kubelet is stopped, and what made this machine a node is taken away. What was there before
/// the first join stays noted in the journal. Killed in between, it is done again by the next round of the service.
pub async fn leave(systemd: &Systemd, journal: &mut Journal, state_directory: &Path) -> Result<(), Error> {
    let request = journal.state().step.as_ref().map(|(_, request, _)| request.clone()).unwrap_or_default();
    journal.step(JoinStep::Leave, &request)?;
    if systemd.state(UNIT).await?.is_some() {
        systemd.stop(UNIT).await?;
    }
    for file in [KUBELET_CONF, CLIENT_PEM] {
        atomic_file::remove(Path::new(file))?;
    }
    Membership::remove(state_directory)?;
    journal.step(JoinStep::Left, &request)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::ControlPlane;

    fn key(byte: u8) -> PublicKeyPin {
        PublicKeyPin::of_spki(&[byte])
    }

    fn request(uid: &str, spec: &serde_json::Value, status: &serde_json::Value) -> NodeJoinRequest {
        let mut object = serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": "a", "uid": uid, "generation": 1}, "spec": {"role": "Worker"}, "status": status,
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_control_plane_does_not_join_anew_by_itself() {
        let worker = Membership { node_name: "a".to_owned(), request_uid: "u".to_owned(), ..Membership::default() };
        let own = ControlPlane { advertise_address: [192, 0, 2, 1].into(), bind_port: 6443 };
        assert_eq!(anew(&worker), Asked::JoinAnew);
        assert_eq!(anew(&Membership { control_plane: Some(own), ..worker }), Asked::ResetFirst);
    }

    #[test]
    fn only_another_request_for_this_very_key_asks_for_anything() {
        let membership = Membership { node_name: "a".to_owned(), request_uid: "u".to_owned(), ..Membership::default() };
        let pinned = |pin: PublicKeyPin| serde_json::json!({"machine": {"publicKeyHash": pin.to_string()}});
        let first_use = serde_json::json!({"machine": {"trust": "FirstUse"}});
        let token = serde_json::json!({"machine": {"publicKeyHash": key(1).to_string()}, "delivery": "Token"});
        let nothing = serde_json::json!({});
        let joined = |pin: PublicKeyPin| {
            serde_json::json!({
                "machine": {"publicKeyHash": pin.to_string(), "firstSeen": "2026-01-01T00:00:00Z"},
                "node": {"uid": "n"},
            })
        };
        let sealed = |pin: PublicKeyPin| {
            serde_json::json!({
                "machine": {"publicKeyHash": pin.to_string(), "firstSeen": "2026-01-01T00:00:00Z"},
                "sealedCredentials": {"generation": 1, "encapsulatedKey": "a", "ciphertext": "b"},
            })
        };
        for (uid, spec, status, expected) in [
            ("u", pinned(key(1)), nothing.clone(), Asks::No),
            ("u", pinned(key(1)), sealed(key(1)), Asks::No),
            ("v", pinned(key(1)), nothing.clone(), Asks::OnceTheNodeIsGone),
            ("v", pinned(key(1)), sealed(key(1)), Asks::Now),
            ("u", pinned(key(1)), joined(key(1)), Asks::No),
            ("v", pinned(key(1)), joined(key(1)), Asks::Follow),
            ("v", pinned(key(1)), joined(key(2)), Asks::OnceTheNodeIsGone),
            ("v", pinned(key(2)), joined(key(2)), Asks::No),
            ("v", first_use.clone(), joined(key(1)), Asks::No),
            ("v", pinned(key(2)), nothing.clone(), Asks::No),
            ("v", pinned(key(2)), sealed(key(1)), Asks::No),
            ("v", first_use.clone(), nothing.clone(), Asks::No),
            ("v", first_use.clone(), sealed(key(1)), Asks::Now),
            ("v", first_use.clone(), sealed(key(2)), Asks::No),
            ("v", token, sealed(key(1)), Asks::No),
        ] {
            let request = request(uid, &spec, &status);
            assert_eq!(asks(&request, &membership, &key(1)), expected, "{request:?}");
        }
        let mut deleted = request("v", &pinned(key(1)), &sealed(key(1)));
        deleted.metadata.deletion_timestamp =
            Some(serde_json::from_value(serde_json::json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(asks(&deleted, &membership, &key(1)), Asks::No);
    }
}
