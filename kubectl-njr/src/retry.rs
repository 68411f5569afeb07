//! `kubectl njr retry`: another try for a request that failed for good.
//!
//! It writes the annotation that the controller answers. What goes on by itself, and what no further try can mend, is
//! refused here with what the request waits for: a try that changes nothing would only look like one.

use std::fmt;

use clap::Args;
use join_checks::terminal::printable;
use join_crds::vocabulary::{ANNOTATION_RETRY, retry_value};
use join_crds::{ConditionType, NodeJoinRequest, Reason, Recovery, conditions};
use join_trust::names::NodeName;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::options::{DryRun, DryRunOption, GlobalOptions, ObjectOutput};
use crate::session::{CallError, ConnectError, Session};
use crate::{output, request};

/// No other try was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such request.
    #[error("there is no request {0}; see which there are with: kubectl get njr")]
    NotFound(NodeName),
    /// There is nothing to try again.
    #[error("not asking for another try of {name}: {refusal}")]
    Refused {
        /// The node.
        name: NodeName,
        /// Why not.
        refusal: Refusal,
    },
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Why there is nothing to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is being deleted.
    Deleting,
    /// The controller has not answered an earlier one.
    Unanswered(String),
    /// The node is Ready.
    Ready,
    /// It goes on without.
    GoesOn {
        /// What it waits for: reason, message and what to do.
        waits_for: String,
    },
    /// It does not go on with another try.
    Otherwise {
        /// What stalls it: reason and message.
        stalled: String,
        /// What it takes instead.
        recovery: Recovery,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleting => write!(f, "it is being deleted"),
            Self::Unanswered(value) => write!(
                f,
                "the controller has not answered the last one yet ({ANNOTATION_RETRY}={value}); see whether it runs with: \
                 kubectl njr check"
            ),
            Self::Ready => write!(f, "its node is Ready"),
            Self::GoesOn { waits_for } => {
                write!(f, "nothing has failed for good; it goes on by itself. It is at {waits_for}")
            }
            Self::Otherwise { stalled, recovery } => {
                write!(f, "{stalled}. It goes on otherwise: {}", recovery.meaning())
            }
        }
    }
}

/// Arguments of `retry`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the request
    #[arg(value_name = "NAME")]
    name: NodeName,

    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    output: ObjectOutput,
}

/// Asks for another try, if there is something to try again.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let name = &arguments.name;
    let api: Api<NodeJoinRequest> = Api::all(session.client());
    let read = session.call_opt(&format!("read the request {name}"), api.get(name.as_str())).await?;
    let mut found = read.ok_or_else(|| Error::NotFound(name.clone()))?;
    if let Some(refusal) = refusal(&found) {
        return Err(Error::Refused { name: name.clone(), refusal });
    }
    // To the nanosecond, so that no two are the same.
    let value = Timestamp::now().to_string();
    let dry_run = arguments.dry_run.dry_run;
    if dry_run == DryRun::Client {
        found.metadata.annotations.get_or_insert_default().insert(ANNOTATION_RETRY.to_owned(), value);
    } else {
        // The UID keeps this from another request of the same name.
        let metadata = json!({"uid": found.uid(), "annotations": {ANNOTATION_RETRY: value}});
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let params = PatchParams {
            dry_run: dry_run.is_server(),
            field_manager: Some(request::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let tried = format!("ask for another try of {name}");
        found = session.call(&tried, api.patch(name.as_str(), &params, &patch)).await?;
    }
    Ok(output::print(&request::show(&found, "retried", dry_run, arguments.output.output)?)?)
}

/// Why there is nothing to try again; none if there is.
fn refusal(request: &NodeJoinRequest) -> Option<Refusal> {
    if request.metadata.deletion_timestamp.is_some() {
        return Some(Refusal::Deleting);
    }
    let status = request.status.as_ref();
    let asked = request.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_RETRY));
    let asked = asked.and_then(|value| retry_value(value));
    let answered = status.and_then(|status| status.retry.as_ref()).map(|answer| answer.value.as_str());
    let all = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let stalled = conditions::get(all, ConditionType::Stalled).filter(|condition| condition.status == "True");
    let Some(stalled) = stalled else {
        return Some(match conditions::get(all, ConditionType::Ready) {
            Some(ready) if ready.status == "True" => Refusal::Ready,
            ready => {
                let reason = ready.and_then(|ready| ready.reason.parse().ok()).unwrap_or(Reason::Progressing);
                let message = ready.map(|ready| ready.message.as_str()).unwrap_or_default();
                Refusal::GoesOn { waits_for: described(reason.as_str(), message, reason.next_step()) }
            }
        });
    };
    let recovery = stalled.reason.parse().map_or(Recovery::ByItself, Reason::recovery);
    if recovery != Recovery::OnRetry {
        let stalled = described(&stalled.reason, &stalled.message, "");
        return Some(Refusal::Otherwise { stalled: stalled.trim_end_matches('.').to_owned(), recovery });
    }
    asked.filter(|value| answered != Some(value)).map(|value| Refusal::Unanswered(printable(&value).into_owned()))
}

/// A reason with its message and what to do, on one line.
fn described(reason: &str, message: &str, next_step: &str) -> String {
    let parts = [reason, message, next_step].map(printable);
    let said: Vec<&str> = parts.iter().map(AsRef::as_ref).filter(|part| !part.is_empty()).collect();
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "so it is", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn request(
        metadata: &Value,
        ready: (&str, &str),
        stalled: (&str, &str),
        answered: Option<&str>,
    ) -> NodeJoinRequest {
        let mut object = json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": metadata,
            "spec": {"machine": {"trust": "FirstUse"}},
            "status": {"conditions": [condition("Ready", ready.0, ready.1), condition("Stalled", stalled.0, stalled.1)]},
        });
        if let Some(value) = answered {
            object["status"]["retry"] = json!({"value": value});
        }
        serde_json::from_value(object).unwrap()
    }

    #[rstest]
    #[case::late("False", "DeadlineExceeded", "True", "DeadlineExceeded", None)]
    #[case::denied("False", "CertificateRequestDenied", "True", "CertificateRequestDenied", None)]
    #[case::ready("True", "Joined", "False", "Progressing", Some("its node is Ready"))]
    #[case::preflight("False", "PreflightFailed", "False", "Progressing", Some("The agent tries again by itself."))]
    #[case::gone(
        "False",
        "NodeDeleted",
        "True",
        "NodeDeleted",
        Some("NodeDeleted: so it is. It goes on otherwise: With another request")
    )]
    #[case::in_the_way(
        "False",
        "NodeAlreadyExists",
        "True",
        "NodeAlreadyExists",
        Some("By itself, as soon as the cause is mended.")
    )]
    #[case::unknown("False", "OfTomorrow", "True", "OfTomorrow", Some("OfTomorrow: so it is"))]
    fn what_goes_on_otherwise_is_refused(
        #[case] ready: &str,
        #[case] ready_reason: &str,
        #[case] stalled: &str,
        #[case] stalled_reason: &str,
        #[case] expected: Option<&str>,
    ) {
        let request = request(&json!({"name": "a"}), (ready, ready_reason), (stalled, stalled_reason), None);
        let said = refusal(&request).map(|refusal| refusal.to_string());
        match expected {
            None => assert_eq!(said, None),
            Some(expected) => assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{said:?}"),
        }
    }

    #[test]
    fn each_try_is_asked_for_once() {
        let late = (("False", "DeadlineExceeded"), ("True", "DeadlineExceeded"));
        let metadata = json!({"name": "a", "annotations": {ANNOTATION_RETRY: "1"}});
        let unanswered = request(&metadata, late.0, late.1, None);
        assert_eq!(refusal(&unanswered), Some(Refusal::Unanswered("1".to_owned())));
        assert_eq!(refusal(&request(&metadata, late.0, late.1, Some("1"))), None);
        let metadata = json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(refusal(&request(&metadata, late.0, late.1, None)), Some(Refusal::Deleting));
    }

    #[test]
    fn what_the_cluster_says_is_made_visible() {
        let mut hostile = request(&json!({"name": "a"}), ("False", "NodeDeleted"), ("True", "NodeDeleted"), None);
        hostile.status.as_mut().unwrap().conditions[1].message = "\u{1b}[2Jgone".to_owned();
        let said = refusal(&hostile).unwrap().to_string();
        assert!(said.contains("gone") && !said.contains('\u{1b}'), "{said:?}");
    }
}
