//! The end of a membership: a request that is deleted with removal Drain, and this machine made what it was before.
//!
//! The controller drains the node first, and then says so in the request, which its finalizer keeps until this machine
//! has answered. The machine answers when its kubelet is stopped, so that nothing makes the Node anew once it is
//! deleted; its credentials are as good as before until the reset takes them away. The journal has the step before it is
//! taken: an agent that dies at any instant goes on with it, whether or not there still is a request.
//!
//! The reset itself is `join-agent reset` in a unit of its own: it stops this service, and it unmounts what the kubelet
//! mounted, which the sandbox of this service could not.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use join_crds::{AgentStep, ConditionType, NodeJoinRequest, Reason, Removal, conditions};
use join_trust::names::NodeName;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::connection;
use crate::kubelet::{self, Systemd, UNIT};
use crate::member::{self, Membership};
use crate::report;

/// The unit in which the reset runs.
pub const RESET_UNIT: &str = "join-agent-reset.service";
/// How often the answer is tried before the machine is cleaned without it; the pauses add up to about a minute.
const MOST_TRIES: usize = 8;
/// How long the reset may take to stop this service, before it is begun again.
const RESET_TIMEOUT: Duration = Duration::from_mins(5);

/// The machine was not cleaned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubelet could not be stopped, or the reset could not be started.
    #[error(transparent)]
    Systemd(#[from] kubelet::Error),
    /// This program does not know where it is.
    #[error("failed to find this program's own file, to start the reset: {0}")]
    Program(std::io::Error),
    /// The reset did not stop this service.
    #[error(
        "{RESET_UNIT} has not stopped this service within {} s; see `journalctl -u {RESET_UNIT}`", RESET_TIMEOUT.as_secs()
    )]
    NotReset,
}

/// Whether a request asks this machine to leave: it is being deleted, and the controller says that the node is drained.
pub fn is_asked(request: Option<&NodeJoinRequest>, membership: &Membership) -> bool {
    request.is_some_and(|request| {
        let status = request.status.as_ref();
        let all = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        request.uid() == membership.request_uid
            && request.metadata.deletion_timestamp.is_some()
            && request.spec.removal == Removal::Drain
            && conditions::reason(all, ConditionType::Ready) == Some(Reason::CleaningMachine)
    })
}

/// Stops the kubelet, answers, and has the machine reset, which ends this process.
pub async fn leave(systemd: &Systemd, node: &NodeName, state_directory: &Path) -> Result<(), Error> {
    if systemd.state(UNIT).await?.is_some() {
        systemd.stop(UNIT).await?;
    }
    if let Some(membership) = Membership::current(state_directory, node) {
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(15))
            .with_max_times(MOST_TRIES);
        // Whoever deleted the request by force does not wait for an answer; neither does the machine.
        if let Err(error) = (|| answer(&membership, node)).retry(tries).await {
            tracing::warn!(%error, "the cluster was not told that the kubelet is stopped; the machine is cleaned anyway");
        }
    }
    let program = std::env::current_exe().map_err(Error::Program)?;
    let words = [
        program.as_os_str(),
        OsStr::new("reset"),
        OsStr::new("--yes"),
        OsStr::new("--start-agent"),
        OsStr::new("--state-directory"),
        state_directory.as_os_str(),
    ];
    systemd.run_apart(RESET_UNIT, "Makes this machine what it was before its join", &words).await?;
    tokio::time::sleep(RESET_TIMEOUT).await;
    Err(Error::NotReset)
}

/// The answer was not taken.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Setup(#[from] connection::SetupError),
    #[error(transparent)]
    Call(#[from] connection::CallError),
}

/// Tells the cluster that the kubelet is stopped. A request that is gone needs no answer.
async fn answer(membership: &Membership, node: &NodeName) -> Result<(), AnswerError> {
    let Some(cluster) = member::cluster(membership) else { return Ok(()) };
    let api: Api<NodeJoinRequest> = Api::all(member::client(&cluster)?);
    let tried = format!("reading the NodeJoinRequest {node}");
    let found = connection::call(&tried, api.get_opt(node.as_str())).await?;
    if !is_asked(found.as_ref(), membership) {
        return Ok(());
    }
    let agent = json!({
        "step": AgentStep::Leaving, "since": report::now(),
        "message": "the kubelet is stopped, and this machine is made what it was before its join",
    });
    // The UID keeps this from another request of the same name.
    let patch = json!({"metadata": {"uid": membership.request_uid}, "status": {"agent": agent}});
    let tried = format!("answering the NodeJoinRequest {node}");
    connection::call(&tried, api.patch_status(node.as_str(), &PatchParams::default(), &Patch::Merge(patch))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uid: &str, deleting: bool, removal: &str, reason: &str) -> NodeJoinRequest {
        let deletion = deleting.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": "a", "uid": uid, "generation": 1, "deletionTimestamp": deletion},
            "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}, "removal": removal},
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_own_request_asks_once_it_is_deleted_and_the_node_is_drained() {
        let membership = Membership { node_name: "a".to_owned(), request_uid: "u".to_owned(), ..Membership::default() };
        for (uid, deleting, removal, reason, expected) in [
            ("u", true, "Drain", "CleaningMachine", true),
            ("v", true, "Drain", "CleaningMachine", false),
            ("u", false, "Drain", "CleaningMachine", false),
            ("u", true, "Retain", "CleaningMachine", false),
            ("u", true, "Drain", "Draining", false),
            ("u", true, "Drain", "DrainBlocked", false),
        ] {
            let request = request(uid, deleting, removal, reason);
            assert_eq!(is_asked(Some(&request), &membership), expected, "{request:?}");
        }
        assert!(!is_asked(None, &membership));
    }
}
