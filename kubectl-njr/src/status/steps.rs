//! Each step of a join, from what was gathered.
//!
//! The request's conditions say how a step stands and why; the other objects say what can be seen of it. Reasons and
//! next steps are the vocabulary's, so that this, the request's messages and the documentation say the same.

use join_crds::conditions;
use join_crds::spec::Role;
use join_crds::vocabulary::{
    ConditionType, Reason, SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING, bootstrap_user, node_user,
};
use join_crds::{AgentStep, NodeJoinRequest};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::events::newest;
use super::gather::Gathered;
use super::model::{Outcome, State, Step};
use crate::machines::announced::Announced;
use crate::output::age;

/// The summary: outcome, its reason, and since when there is anything.
pub fn summary(gathered: &Gathered) -> (Outcome, String, Option<Time>) {
    let Some(request) = &gathered.request else {
        let announced = announcements(gathered);
        let oldest = announced.iter().filter_map(|one| one.created).min().map(Time);
        let outcome = if announced.is_empty() { Outcome::Absent } else { Outcome::Announced };
        let status = if announced.is_empty() { "Absent" } else { "Announced" };
        return (outcome, status.to_owned(), oldest);
    };
    let found = conditions_of(request);
    let holds = |kind| conditions::is_true(found, kind);
    let outcome = match () {
        () if holds(ConditionType::Ready) => Outcome::Ready,
        () if holds(ConditionType::Stalled) => Outcome::Stalled,
        () => Outcome::Waiting,
    };
    let reason =
        conditions::get(found, ConditionType::Ready).map_or(Reason::Progressing.as_str(), |ready| &ready.reason);
    (outcome, reason.to_owned(), request.metadata.creation_timestamp.clone())
}

/// Every step.
pub fn all(gathered: &Gathered) -> Vec<Step> {
    let mut steps = vec![request(gathered), machine(gathered)];
    if gathered.request.is_some() {
        steps.push(credential(gathered));
        steps.push(certificate(gathered, Certificate::Client));
        steps.push(node(gathered));
        steps.push(certificate(gathered, Certificate::Serving));
        steps.push(kubelet(gathered));
    }
    steps.extend(control_plane(gathered));
    without_echo(&mut steps);
    steps
}

/// A request that is stalled says what the step says that it is stalled at; once is enough.
fn without_echo(steps: &mut [Step]) {
    let Some((request, others)) = steps.split_first_mut() else { return };
    if request.state == State::Failed
        && others.iter().any(|other| other.state == State::Failed && other.reason == request.reason)
    {
        request.seen.clear();
        request.event = None;
        request.next = None;
        request.command = None;
    }
    // Nor does a step that waits for the same as one before it need to say what to do about it.
    let mut told: Vec<String> = Vec::new();
    for step in others.iter_mut().filter(|step| matches!(step.state, State::Waiting | State::Failed)) {
        if told.contains(&step.reason) {
            step.next = None;
            step.command = None;
        } else {
            told.push(step.reason.clone());
        }
    }
}

fn conditions_of(request: &NodeJoinRequest) -> &[Condition] {
    request.status.as_ref().map_or(&[], |status| status.conditions.as_slice())
}

fn announcements(gathered: &Gathered) -> Vec<Announced> {
    let of_this_name = |one: &Announced| match &one.content {
        Ok(content) => content.node_name.as_str() == gathered.name,
        // Its name is all there is to go by.
        Err(_) => one.object.contains(&format!("-{}-", gathered.name)),
    };
    let mut found: Vec<Announced> =
        gathered.certificate_requests.iter().filter_map(Announced::read).filter(of_this_name).collect();
    found.sort_by(|one, other| (one.created, &one.object).cmp(&(other.created, &other.object)));
    found
}

fn step(name: &'static str, state: State, reason: impl Into<String>) -> Step {
    Step {
        name,
        state,
        reason: reason.into(),
        object: None,
        since: None,
        seen: Vec::new(),
        event: None,
        next: None,
        command: None,
    }
}

/// A step that one condition tells.
fn told(gathered: &Gathered, name: &'static str, kind: ConditionType) -> Step {
    let found = gathered.request.as_ref().map_or(&[][..], conditions_of);
    let Some(condition) = conditions::get(found, kind) else {
        return step(name, State::Pending, Reason::Progressing.as_str());
    };
    let reason: Option<Reason> = condition.reason.parse().ok();
    let state = state(condition, reason);
    let mut step = step(name, state, condition.reason.as_str());
    step.since = (state != State::Pending).then(|| condition.last_transition_time.clone());
    if !condition.message.is_empty() && state != State::Pending {
        step.seen.push(condition.message.clone());
    }
    if let (State::Waiting | State::Failed, Some(reason)) = (state, reason) {
        if step.seen.is_empty() {
            step.seen.push(reason.meaning().to_owned());
        }
        step.next = Some(reason.next_step().to_owned());
        step.command = command(reason, &gathered.name);
    }
    step.event = newest(gathered, name);
    step
}

/// A reason that a stalled request can have is a failure, also while the controller still hopes.
fn state(condition: &Condition, reason: Option<Reason>) -> State {
    match (condition.status.as_str(), reason) {
        // A token that has served is gone, and its condition not True any more.
        ("True", _) | (_, Some(Reason::TokenRemoved)) => State::Done,
        (_, Some(Reason::Progressing | Reason::NotRequested)) => State::Pending,
        (_, Some(Reason::SignerMissing)) => State::Failed,
        (_, Some(reason)) if reason.conditions().contains(&ConditionType::Stalled) => State::Failed,
        _ => State::Waiting,
    }
}

/// What to type for a reason, where there is one command that helps.
fn command(reason: Reason, name: &str) -> Option<String> {
    let command = match reason {
        Reason::MachineConflict
        | Reason::MachineKeyMismatch
        | Reason::AnnouncementInvalid
        | Reason::WaitingForMachine => "kubectl njr machines".to_owned(),
        Reason::SignerMissing | Reason::ClusterInfoUnusable | Reason::Progressing => "kubectl njr check".to_owned(),
        Reason::NodeAlreadyExists | Reason::NodeIdentityMismatch | Reason::NodeNotReady => {
            format!("kubectl describe node {name}")
        }
        Reason::TokenExpired | Reason::DeadlineExceeded | Reason::NodeDeleted => format!("kubectl describe njr {name}"),
        _ => return None,
    };
    Some(command)
}

fn request(gathered: &Gathered) -> Step {
    let Some(request) = &gathered.request else {
        let mut step = step("request", State::Waiting, "NotRequested");
        step.seen.push("no NodeJoinRequest of this name exists".to_owned());
        step.next =
            Some("Compare the key with what join-agent status prints on the machine, then accept it.".to_owned());
        let keys: Vec<String> = announcements(gathered)
            .iter()
            .filter_map(|one| one.content.as_ref().ok().map(|content| content.public_key_hash.to_string()))
            .collect();
        step.command = match keys.as_slice() {
            [key] => Some(format!("kubectl njr accept {} --key {key}", gathered.name)),
            _ => Some("kubectl njr machines".to_owned()),
        };
        return step;
    };
    let generation = request.metadata.generation.unwrap_or_default();
    let observed = request.status.as_ref().and_then(|status| status.observed_generation);
    let mut step = step("request", State::Done, "Applied");
    step.object = Some(format!("NodeJoinRequest {}", gathered.name));
    step.since.clone_from(&request.metadata.creation_timestamp);
    step.event = newest(gathered, "request");
    if let Some(deleted) = &request.metadata.deletion_timestamp {
        step.state = State::Waiting;
        "BeingDeleted".clone_into(&mut step.reason);
        step.since = Some(deleted.clone());
    } else if observed.is_none_or(|observed| observed < generation) {
        step.state = State::Waiting;
        Reason::Progressing.as_str().clone_into(&mut step.reason);
        step.seen.push(match observed {
            None => "the controller has not looked at it yet".to_owned(),
            Some(observed) => format!("it is at generation {generation}, and the controller has looked at {observed}"),
        });
        step.next = Some(Reason::Progressing.next_step().to_owned());
        step.command = command(Reason::Progressing, &gathered.name);
    } else if let Some(stalled) =
        conditions::get(conditions_of(request), ConditionType::Stalled).filter(|stalled| stalled.status == "True")
    {
        step.state = State::Failed;
        step.reason.clone_from(&stalled.reason);
        step.since = Some(stalled.last_transition_time.clone());
        step.seen.extend((!stalled.message.is_empty()).then(|| stalled.message.clone()));
        if let Ok(reason) = stalled.reason.parse::<Reason>() {
            step.next = Some(reason.next_step().to_owned());
            step.command = command(reason, &gathered.name);
        }
    }
    step
}

fn machine(gathered: &Gathered) -> Step {
    let announced = announcements(gathered);
    let mut step = if gathered.request.is_some() {
        told(gathered, "machine", ConditionType::MachineBound)
    } else {
        let mut step = step("machine", State::Done, "Announced");
        step.since = announced.iter().filter_map(|one| one.created).max().map(Time);
        if let [only] = announced.as_slice() {
            step.object = only.content.as_ref().ok().map(|content| content.public_key_hash.to_string());
        } else {
            step.state = State::Waiting;
            Reason::MachineConflict.as_str().clone_into(&mut step.reason);
            step.next = Some(Reason::MachineConflict.next_step().to_owned());
        }
        step
    };
    let bound = gathered.request.as_ref().and_then(|request| request.status.as_ref()?.machine.as_ref());
    if let Some(bound) = bound {
        step.object = Some(bound.public_key_hash.clone());
    }
    let is_settled = step.state == State::Done && bound.is_some();
    for one in announced.iter().filter(|_| !is_settled) {
        step.seen.push(match &one.content {
            Ok(content) => {
                let addresses: Vec<String> = content.addresses.iter().map(ToString::to_string).collect();
                let place = if addresses.is_empty() { String::new() } else { format!(" at {}", addresses.join(", ")) };
                format!("{} announced {}{place}", one.object, content.public_key_hash)
            }
            Err(error) => format!("{} is not believed: {error}", one.object),
        });
    }
    step
}

fn credential(gathered: &Gathered) -> Step {
    let mut step = told(gathered, "credential", ConditionType::CredentialIssued);
    let status = gathered.request.as_ref().and_then(|request| request.status.as_ref());
    if let Some(credential) = status.and_then(|status| status.credential.as_ref()) {
        let left = credential.expiration_time.0.as_second() - gathered.now.as_second();
        let end =
            if left > 0 { format!("ends in {}", age::human(left)) } else { format!("ended {} ago", age::human(-left)) };
        step.object = Some(format!("token {}, {end}", credential.token_id));
    }
    step
}

/// Which of a kubelet's two certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certificate {
    Client,
    Serving,
}

fn certificate(gathered: &Gathered, which: Certificate) -> Step {
    let (name, kind) = match which {
        Certificate::Client => ("client certificate", ConditionType::ClientCertificateIssued),
        Certificate::Serving => ("serving certificate", ConditionType::ServingCertificateIssued),
    };
    let mut step = told(gathered, name, kind);
    let status = gathered.request.as_ref().and_then(|request| request.status.as_ref());
    let issued = status.and_then(|status| status.certificates.as_ref()).and_then(|certificates| match which {
        Certificate::Client => certificates.client.as_ref(),
        Certificate::Serving => certificates.serving.as_ref(),
    });
    let object = certificate_request(gathered, which);
    step.object = match (issued, object) {
        (Some(issued), _) if step.state == State::Done => {
            let left = issued.not_after.0.as_second() - gathered.now.as_second();
            Some(format!("CSR {}, valid for {}", issued.request, age::human(left)))
        }
        (_, Some(object)) => {
            Some(format!("CSR {}, {}", object.metadata.name.as_deref().unwrap_or_default(), decision(object)))
        }
        _ => None,
    };
    let is_open = matches!(step.state, State::Waiting | State::Failed);
    if let (true, Some(object)) = (is_open, object) {
        let named = object.metadata.name.as_deref().unwrap_or_default();
        if matches!(step.reason.as_str(), "CertificateRequestWaiting" | "CertificateRequestDenied") {
            step.command = Some(format!("kubectl describe csr {named}"));
        }
    }
    if which == Certificate::Client
        && is_open
        && let Some(agent) = status.and_then(|status| status.agent.as_ref())
    {
        let why = agent.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let place = format!("the agent is at {:?}{why}", agent.step);
        let said = agent.message.as_deref().map_or_else(|| place.clone(), |message| format!("{place}: {message}"));
        let message = agent.message.as_deref().unwrap_or(&place);
        if !step.seen.iter().any(|seen| seen.contains(message)) {
            // The condition's message may have told the place already.
            step.seen.retain(|seen| *seen != place);
            step.seen.push(said);
        }
    }
    step
}

/// The newest certificate request of this node. The requester is what the API server knows him by.
fn certificate_request(gathered: &Gathered, which: Certificate) -> Option<&CertificateSigningRequest> {
    let status = gathered.request.as_ref()?.status.as_ref();
    let token = status.and_then(|status| status.credential.as_ref());
    let user = match which {
        Certificate::Client => token.map(|token| bootstrap_user(&token.token_id)),
        Certificate::Serving => Some(node_user(&gathered.name)),
    }?;
    let signer = match which {
        Certificate::Client => SIGNER_KUBELET_CLIENT,
        Certificate::Serving => SIGNER_KUBELET_SERVING,
    };
    let is_it = |object: &&CertificateSigningRequest| {
        object.spec.signer_name == signer && object.spec.username.as_deref() == Some(user.as_str())
    };
    let created = |object: &&CertificateSigningRequest| object.metadata.creation_timestamp.as_ref().map(|time| time.0);
    gathered.certificate_requests.iter().filter(is_it).max_by_key(created)
}

fn decision(object: &CertificateSigningRequest) -> &'static str {
    let status = object.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has = |kind: &str| conditions.iter().any(|condition| condition.type_ == kind);
    let is_signed = status.and_then(|status| status.certificate.as_ref()).is_some_and(|bytes| !bytes.0.is_empty());
    match () {
        () if has("Denied") => "denied",
        () if is_signed => "issued",
        () if has("Failed") => "refused by its signer",
        () if has("Approved") => "approved, not signed",
        () => "undecided",
    }
}

fn node(gathered: &Gathered) -> Step {
    let mut step = told(gathered, "node", ConditionType::NodeRegistered);
    if let Some(node) = &gathered.node {
        step.object = Some(format!("Node {}", gathered.name));
        let version =
            node.status.as_ref().and_then(|status| status.node_info.as_ref()).map(|info| &info.kubelet_version);
        if let (State::Done, Some(version)) = (step.state, version) {
            step.object = Some(format!("Node {}, kubelet {version}", gathered.name));
        }
    }
    step
}

/// The kubelet as the Node reports it. Only a Node that is this request's counts.
fn kubelet(gathered: &Gathered) -> Step {
    const NAME: &str = "kubelet";
    let found = gathered.request.as_ref().map_or(&[][..], conditions_of);
    let is_registered = conditions::is_true(found, ConditionType::NodeRegistered);
    let ready = gathered.node.as_ref().filter(|_| is_registered).and_then(ready_condition);
    let mut step = match ready {
        None => return step(NAME, State::Pending, Reason::Progressing.as_str()),
        Some(ready) if ready.status == "True" => step(NAME, State::Done, "Ready"),
        Some(ready) => {
            let mut step = step(NAME, State::Waiting, Reason::NodeNotReady.as_str());
            let reason = ready.reason.as_deref().unwrap_or("no reason");
            let message = ready.message.as_deref().unwrap_or("no message");
            step.seen.push(format!("{reason}: {message}"));
            step.next = Some(Reason::NodeNotReady.next_step().to_owned());
            step.command = command(Reason::NodeNotReady, &gathered.name);
            step
        }
    };
    step.since = ready.and_then(|ready| ready.last_transition_time.clone());
    step.event = newest(gathered, NAME);
    step
}

/// The parts of a control plane: what the machine does about them once its Node is there. None for a worker.
fn control_plane(gathered: &Gathered) -> Option<Step> {
    const NAME: &str = "control plane";
    let request = gathered.request.as_ref().filter(|request| request.spec.role == Role::ControlPlane)?;
    let found = conditions_of(request);
    if !conditions::is_true(found, ConditionType::NodeRegistered) {
        return Some(step(NAME, State::Pending, Reason::Progressing.as_str()));
    }
    let status = request.status.as_ref();
    let was_ready = status.and_then(|status| status.node.as_ref()).is_some_and(|node| node.first_ready.is_some());
    let says_so = status.and_then(|status| status.agent.as_ref()).is_some_and(|agent| agent.step == AgentStep::Joined);
    // Only of a control plane that is whole, the node's own readiness is the summary.
    let is_whole = conditions::reason(found, ConditionType::Ready) == Some(Reason::NodeNotReady);
    if was_ready || says_so || is_whole {
        return Some(step(NAME, State::Done, Reason::Joined.as_str()));
    }
    Some(told(gathered, NAME, ConditionType::Ready))
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}
