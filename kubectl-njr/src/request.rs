//! Requests as this program reads, writes and shows them.

use join_crds::vocabulary::{GROUP, PLURAL};
use join_crds::{ConditionType, NodeJoinRequest, conditions};
use join_trust::pin::PublicKeyPin;
use kube::Api;
use kube::api::PostParams;

use crate::options::{DryRun, ObjectFormat};
use crate::output;
use crate::session::{CallError, Session};

/// Field manager of the requests that this program makes.
pub const FIELD_MANAGER: &str = "kubectl-njr";

/// Stores a request, unless this is a dry run; returns it as the API server has it.
pub async fn create(
    session: &Session,
    request: NodeJoinRequest,
    dry_run: DryRun,
) -> Result<NodeJoinRequest, CallError> {
    let params = PostParams { dry_run: dry_run.is_server(), field_manager: Some(FIELD_MANAGER.to_owned()) };
    let api: Api<NodeJoinRequest> = Api::all(session.client());
    let tried = format!("create the request {}", request.node_name());
    session.call(&tried, api.create(&params, &request)).await
}

/// Shows a request after something was done with it: one line as kubectl has it, or the object.
pub fn show(
    request: &NodeJoinRequest,
    verb: &str,
    dry_run: DryRun,
    format: Option<ObjectFormat>,
) -> Result<String, output::Error> {
    let mut shown = request.clone();
    // As kubectl does: it is for programs that apply objects, and longer than the rest.
    shown.metadata.managed_fields = None;
    match format {
        None => Ok(format!("{} {verb}{}\n", reference(request), dry_run.suffix())),
        Some(ObjectFormat::Name) => Ok(format!("{}\n", reference(request))),
        Some(ObjectFormat::Json) => output::json(&output::sorted(&shown)?),
        Some(ObjectFormat::Yaml) => output::yaml(&shown),
    }
}

/// The request as kubectl names it: `nodejoinrequest.nodejoin.dev/worker-1`.
pub fn reference(request: &NodeJoinRequest) -> String {
    let singular = PLURAL.strip_suffix('s').unwrap_or(PLURAL);
    format!("{singular}.{GROUP}/{}", request.node_name())
}

/// The key of the machine that may carry out a request: the one that it is bound to, or else the one that it pins.
pub fn expected_key(request: &NodeJoinRequest) -> Option<PublicKeyPin> {
    let bound = request.status.as_ref().and_then(|status| status.machine.as_ref());
    let text = bound.map(|machine| machine.public_key_hash.as_str());
    text.or(request.spec.machine.public_key_hash.as_deref()).and_then(|text| PublicKeyPin::parse(text).ok())
}

/// The reason of Ready, which tells in a word what a request is at.
pub fn ready_reason(request: &NodeJoinRequest) -> Option<&str> {
    let status = request.status.as_ref()?;
    conditions::get(&status.conditions, ConditionType::Ready).map(|condition| condition.reason.as_str())
}
