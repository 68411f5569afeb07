//! The conditions, each from the facts alone; the summary from the conditions.

use join_crds::conditions::{self, ConditionStatus};
use join_crds::spec::Trust;
use join_crds::status::{AgentStatus, AgentStep, CheckResult, NodeJoinRequestStatus};
use join_crds::vocabulary::{ConditionType, Reason};
use join_trust::pin::PublicKeyPin;
use join_trust::policy::Decision;
use join_trust::token::rfc3339;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::super::machine::{self, Binding};
use super::super::node::{self, Relation};
use super::super::{Observed, Published, certificates, credential, removal};
use super::{client_requests, is_joined, serving_requests};
use crate::cache::csr::CsrEntry;
use crate::cache::node::NodeEntry;

/// One condition's status, reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl Told {
    fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::True, reason, message: message.into() }
    }

    fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::False, reason, message: message.into() }
    }

    fn not_yet() -> Self {
        Self { status: ConditionStatus::Unknown, reason: Reason::Progressing, message: String::new() }
    }
}

/// All conditions; those of the present status are the base, so that transition times stay.
pub(super) fn conditions(observed: &Observed<'_>, next: &NodeJoinRequestStatus) -> Vec<Condition> {
    let generation = observed.request.metadata.generation.unwrap_or_default();
    let now = Timestamp::from_second(observed.now).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut conditions = observed.request.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    conditions::complete(&mut conditions, generation, now);
    let steps = steps(observed, next);
    let ready = ready(observed, &steps);
    let stalled = stalled(observed, &steps, &ready);
    let ready = if stalled.reason == Reason::DeadlineExceeded { stalled_ready(&stalled) } else { ready };
    let (ready, stalled) = removing(observed).unwrap_or((ready, stalled));
    for (condition_type, told) in
        steps.into_iter().chain([(ConditionType::Ready, ready), (ConditionType::Stalled, stalled)])
    {
        conditions::set(&mut conditions, condition_type, told.status, told.reason, &told.message, generation, now);
    }
    conditions
}

type Steps = [(ConditionType, Told); 5];

fn steps(observed: &Observed<'_>, next: &NodeJoinRequestStatus) -> Steps {
    [
        (ConditionType::MachineBound, machine_bound(observed)),
        (ConditionType::CredentialIssued, credential_issued(observed)),
        (ConditionType::ClientCertificateIssued, client_certificate(observed)),
        (ConditionType::NodeRegistered, node_registered(observed)),
        (ConditionType::ServingCertificateIssued, serving_certificate(observed, next)),
    ]
}

fn machine_bound(observed: &Observed<'_>) -> Told {
    if let Some(record) = observed.record {
        return match (&record.machine, &record.chosen) {
            (Some(bound), _) => {
                let strangers = machine::strangers(observed, bound);
                let others =
                    if strangers.is_empty() { String::new() } else { format!("; refused: {}", list(&strangers)) };
                let reason = match observed.request.spec.machine.trust {
                    Trust::Pinned => Reason::MachineKeyPinned,
                    Trust::FirstUse => Reason::MachineKeyFirstUsed,
                };
                Told::yes(
                    reason,
                    format!("machine key {}, announced by {}{others}", bound.public_key, bound.announcement),
                )
            }
            (None, Some(chosen)) => Told::yes(
                Reason::MachineKeyFirstUsed,
                format!("key {} of the first certificate request, {}", chosen.public_key, chosen.name),
            ),
            (None, None) => {
                Told::no(Reason::WaitingForCertificateRequest, "any machine that has the join command may come")
            }
        };
    }
    let name = observed.node_name;
    match machine::binding(observed) {
        Binding::NotNeeded | Binding::Found(_) => Told::not_yet(),
        Binding::Waiting => {
            Told::no(Reason::WaitingForMachine, format!("no machine has announced itself as {name} yet"))
        }
        Binding::Invalid(why) => Told::no(Reason::AnnouncementInvalid, why),
        Binding::Mismatch(keys) => Told::no(
            Reason::MachineKeyMismatch,
            format!(
                "announced: {}; expected {}",
                list(&keys),
                observed.request.spec.machine.public_key_hash.as_deref().unwrap_or("a pinned key")
            ),
        ),
        Binding::Conflict(keys) => Told::no(
            Reason::MachineConflict,
            format!("{} machines have announced themselves as {name}: {}", keys.len(), list(&keys)),
        ),
    }
}

fn credential_issued(observed: &Observed<'_>) -> Told {
    let Some(record) = observed.record else {
        return match (machine::binding(observed), observed.published) {
            (Binding::Found(_) | Binding::NotNeeded, Published::Unusable(why)) => {
                Told::no(Reason::ClusterInfoUnusable, why.clone())
            }
            (Binding::Found(_) | Binding::NotNeeded, Published::Missing) if !observed.settings.can_publish => Told::no(
                Reason::ClusterInfoUnusable,
                "kube-public/cluster-info does not exist, and --cluster-endpoint is not set",
            ),
            (Binding::Found(_) | Binding::NotNeeded, _) if observed.queue_full => {
                Told::no(Reason::Queued, "as many joins are under way as may be")
            }
            (Binding::Found(_) | Binding::NotNeeded, _) => match credential::missing_key(observed) {
                Some(why) => Told::no(Reason::CertificateKeyMissing, why),
                None => Told::not_yet(),
            },
            _ => Told::no(Reason::WaitingForMachine, "the token is made when the machine is there"),
        };
    };
    let Some(token) = record.unspent() else {
        return match &record.token {
            Some(token) => Told::yes(Reason::TokenRemoved, format!("token {} has served and was removed", token.id)),
            None if record.node_uid.is_some() => Told::yes(
                Reason::NodeAdopted,
                format!(
                    "the machine is node {} already, since an earlier request; no token was made",
                    record.node_name
                ),
            ),
            None => Told::not_yet(),
        };
    };
    let until = rfc3339(token.expires_at).unwrap_or_default();
    if observed.now >= token.expires_at {
        return Told::no(Reason::TokenExpired, format!("token {} ended at {until} and was removed", token.id));
    }
    if credential::is_over(observed, token) {
        return Told::no(
            Reason::TokenExpired,
            format!("token {} was removed because the deadline has passed", token.id),
        );
    }
    if let Published::Unusable(why) = observed.published {
        return Told::no(Reason::ClusterInfoUnusable, why.clone());
    }
    if let Some(why) = credential::missing_key(observed).filter(|_| !credential::is_delivered(observed, token)) {
        return Told::no(Reason::CertificateKeyMissing, why);
    }
    if credential::is_delivered(observed, token) {
        Told::yes(Reason::TokenIssued, format!("token {} is valid until {until}", token.id))
    } else {
        Told::not_yet()
    }
}

fn client_certificate(observed: &Observed<'_>) -> Told {
    let Some(record) = observed.record else { return Told::not_yet() };
    if observed.issued() {
        let name = record.chosen.as_ref().map_or("", |chosen| chosen.name.as_str());
        return Told::yes(Reason::CertificateIssued, format!("certificate request {name} was approved and signed"));
    }
    let requests = client_requests(observed);
    if let Some(csr) = observed.chosen_csr().or_else(|| requests.first().copied()) {
        return pending(observed, csr);
    }
    match record.unspent() {
        Some(token) if credential::is_delivered(observed, token) && !credential::is_over(observed, token) => {
            agent(observed)
        }
        _ => Told::not_yet(),
    }
}

/// What holds a request up that has no certificate.
fn pending(observed: &Observed<'_>, csr: &CsrEntry) -> Told {
    let name = &csr.request.name;
    if csr.request.denied || csr.request.failed {
        let verdict = csr.verdict.as_deref().unwrap_or("denied");
        return Told::no(Reason::CertificateRequestDenied, format!("certificate request {name}: {verdict}"));
    }
    if csr.request.approved {
        let waited = csr.approved_at.map_or(0, |at| observed.now.saturating_sub(at));
        return if waited > observed.settings.signer_timeout {
            Told::no(
                Reason::SignerMissing,
                format!(
                    "certificate request {name} was approved more than {} s ago, and no signer has issued it for {}; \
                     start kube-controller-manager with its csrsigning controller and --cluster-signing-cert-file and \
                     --cluster-signing-key-file, or whatever signs in its place: the join then goes on by itself",
                    observed.settings.signer_timeout, csr.request.signer_name
                ),
            )
        } else {
            progressing(csr, format!("certificate request {name} is approved and waits for its signature"))
        };
    }
    match certificates::verdict(observed, csr) {
        Some(Decision::Wait(finding) | Decision::Deny(finding)) => Told::no(
            Reason::CertificateRequestWaiting,
            format!("{}{}", certificates::waits_for(name, finding.rule), finding.detail),
        ),
        _ => progressing(csr, format!("certificate request {name} is being decided")),
    }
}

fn progressing(csr: &CsrEntry, message: String) -> Told {
    let reason = if csr.is_client() { Reason::Joining } else { Reason::Progressing };
    Told::no(reason, message)
}

/// What the agent says it is at. People's evidence; nothing is decided by it here.
fn agent(observed: &Observed<'_>) -> Told {
    if !observed.delivers_sealed() {
        return Told::no(Reason::WaitingForCertificateRequest, "the join command is ready and was not used yet");
    }
    let Some(agent) = observed.agent() else {
        return Told::no(
            Reason::WaitingForAgent,
            "the credential is sealed to the machine, which has not taken it up yet",
        );
    };
    let message = agent.message.as_deref().unwrap_or_default();
    match agent.step {
        AgentStep::Failed => {
            let failed: Vec<_> = agent
                .checks
                .iter()
                .filter(|check| check.result == CheckResult::Failed)
                .map(|check| format!("{}: {}", check.name, check.message.as_deref().unwrap_or("failed")))
                .collect();
            match given(agent) {
                Some(reason) if reason.conditions().contains(&ConditionType::ClientCertificateIssued) => {
                    Told::no(reason, message)
                }
                _ if failed.is_empty() => Told::no(Reason::AgentFailed, message),
                _ => Told::no(Reason::PreflightFailed, failed.join("; ")),
            }
        }
        _ => Told::no(Reason::Joining, place(agent)),
    }
}

/// The reason that the agent gives, if it is one that an agent may give.
fn given(agent: &AgentStatus) -> Option<Reason> {
    Reason::of_agent(agent.reason.as_deref()?)
}

/// What an agent says that holds it up after its certificate, where the reason is one of this condition.
fn held_up(agent: &AgentStatus, condition: ConditionType) -> Option<Told> {
    let is_after =
        matches!(agent.step, AgentStep::Failed | AgentStep::StartingKubelet | AgentStep::StartingControlPlane);
    let reason = given(agent).filter(|reason| is_after && reason.conditions().contains(&condition))?;
    Some(Told::no(reason, agent.message.as_deref().unwrap_or_default()))
}

/// What holds up a machine that has its certificate and has not registered its Node, as the machine says it.
fn kubelet(observed: &Observed<'_>) -> Told {
    let waits = "the certificate is issued; the kubelet has not registered its Node yet";
    let waits = |more: String| Told::no(Reason::WaitingForNode, format!("{waits}{more}"));
    let Some(agent) = observed.agent() else { return waits(String::new()) };
    if let Some(told) = held_up(agent, ConditionType::NodeRegistered) {
        return told;
    }
    match (given(agent), agent.step) {
        (None, AgentStep::Failed) if agent.checks.iter().all(|check| check.result != CheckResult::Failed) => {
            Told::no(Reason::AgentFailed, agent.message.as_deref().unwrap_or_default())
        }
        // Its kubelet speaks to the machine's own API server, and so waits for it.
        (_, AgentStep::StartingControlPlane | AgentStep::Failed) if observed.is_control_plane() => {
            waits(format!(", for which its own API server has to run; {}", place(agent)))
        }
        _ => waits(String::new()),
    }
}

/// Where an agent says that it is.
fn place(agent: &AgentStatus) -> String {
    let step = format!("the agent is at step {:?}", agent.step);
    match agent.message.as_deref() {
        None | Some("") => step,
        Some(message) => format!("{step}: {message}"),
    }
}

/// What holds up a control plane of which the Node is there already, as the machine says it.
///
/// The Node is there as soon as the machine's own API server is, so that nobody but the machine can tell whether all of it
/// works.
fn control_plane(observed: &Observed<'_>) -> Told {
    let Some(agent) = observed.agent() else {
        return Told::no(
            Reason::Joining,
            "the Node is registered, and the machine has not said yet that its control plane works",
        );
    };
    held_up(agent, ConditionType::Ready).unwrap_or_else(|| match agent.step {
        AgentStep::Failed => Told::no(Reason::AgentFailed, agent.message.as_deref().unwrap_or_default()),
        _ => Told::no(Reason::Joining, format!("the Node is registered; {}", place(agent))),
    })
}

/// What is to be said of the addresses with which a Node has registered.
fn unexpected_addresses(observed: &Observed<'_>, node: &NodeEntry) -> Option<String> {
    let allowed = &observed.request.spec.addresses;
    let others: Vec<String> =
        node.addresses.iter().filter(|address| !allowed.contains(address)).map(ToString::to_string).collect();
    if allowed.is_empty() || others.is_empty() {
        return None;
    }
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    Some(format!(
        "it registered with {}, and spec.addresses has {}; add {{name: node-ip, value: ADDRESS}} to kubeletExtraArgs in \
         a new request, or the address to spec.addresses",
        others.join(", "),
        allowed.join(", ")
    ))
}

fn node_registered(observed: &Observed<'_>) -> Told {
    let name = observed.node_name;
    match (node::relation(observed), observed.node) {
        (Relation::Joined, Some(node)) => {
            let identity = format!("Node {name} has UID {}", node.uid);
            match unexpected_addresses(observed, node) {
                None => Told::yes(Reason::NodeRegistered, identity),
                Some(problem) => Told::yes(Reason::NodeAddressMismatch, format!("{identity}; {problem}")),
            }
        }
        (Relation::Deleted, _) => Told::no(Reason::NodeDeleted, format!("Node {name}, which joined, was deleted")),
        (Relation::Replaced, Some(node)) => Told::no(
            Reason::NodeIdentityMismatch,
            format!("Node {name} has UID {}, the one that joined had another", node.uid),
        ),
        (Relation::Foreign, Some(node)) => Told::no(Reason::NodeAlreadyExists, node::in_the_way(observed, node)),
        _ if observed.issued() => kubelet(observed),
        _ => Told::not_yet(),
    }
}

fn serving_certificate(observed: &Observed<'_>, next: &NodeJoinRequestStatus) -> Told {
    let newest = serving_requests(observed).into_iter().next();
    let issued = next.certificates.as_ref().and_then(|certificates| certificates.serving.as_ref());
    let valid = issued.filter(|certificate| certificate.not_after.0.as_second() > observed.now);
    let open = newest.filter(|csr| !csr.request.issued).map(|csr| pending(observed, csr));
    match (valid, open) {
        (Some(certificate), None) => Told::yes(
            Reason::CertificateIssued,
            format!("certificate request {} was approved and signed", certificate.request),
        ),
        (Some(certificate), Some(open)) => Told::yes(
            Reason::CertificateIssued,
            format!("certificate request {} was approved and signed; {}", certificate.request, open.message),
        ),
        (None, Some(open)) => open,
        (None, None) if is_joined(observed) => {
            Told::no(Reason::NotRequested, "the kubelet asks for none, and serves with a certificate of its own")
        }
        (None, None) => Told::not_yet(),
    }
}

/// The summary: the node's readiness once it is registered and all of it works, before that the first step that is not done.
fn ready(observed: &Observed<'_>, steps: &Steps) -> Told {
    if let (Relation::Joined, Some(node)) = (node::relation(observed), observed.node) {
        return if !observed.is_whole() {
            control_plane(observed)
        } else if node.ready {
            Told::yes(Reason::Joined, format!("the machine is node {}, and the node is Ready", node.name))
        } else {
            Told::no(Reason::NodeNotReady, node.readiness.clone())
        };
    }
    // What is wrong with the Node stands in the way of everything, whatever the steps before it say.
    let [machine, credential, certificate, registered, _] = steps;
    let foreign = [Reason::NodeAlreadyExists, Reason::NodeDeleted, Reason::NodeIdentityMismatch];
    if foreign.contains(&registered.1.reason) {
        return registered.1.clone();
    }
    let [machine, credential, certificate] = [machine, credential, certificate].map(|(_, told)| told);
    // With delivery Token the machine is known last: a step that is under way says more than one that waits for it.
    let later_started = certificate.reason != Reason::Progressing;
    let in_order = if later_started {
        [certificate, &registered.1, credential, machine]
    } else {
        [machine, credential, certificate, &registered.1]
    };
    let open: Vec<&Told> = in_order.into_iter().filter(|told| told.status != ConditionStatus::True).collect();
    // A step that merely has not begun says less than one that tells what it waits for.
    let telling = open.iter().find(|told| told.reason != Reason::Progressing).or_else(|| open.first());
    telling.map_or_else(
        || Told::no(Reason::Progressing, String::new()),
        |told| Told { status: ConditionStatus::False, ..(*told).clone() },
    )
}

fn stalled(observed: &Observed<'_>, steps: &Steps, ready: &Told) -> Told {
    let calm = Told::no(Reason::Progressing, "");
    if ready.status == ConditionStatus::True {
        return calm;
    }
    if observed.past_deadline() {
        let seconds = observed.request.spec.deadline_seconds;
        let message = format!(
            "not Ready within {seconds} s of the machine's appearance; waited for {}: {}",
            ready.reason, ready.message
        );
        return Told::yes(Reason::DeadlineExceeded, message);
    }
    let needs_a_person = match ready.reason {
        Reason::MachineConflict | Reason::ClusterInfoUnusable | Reason::NodeDeleted | Reason::NodeIdentityMismatch => {
            true
        }
        Reason::NodeAlreadyExists => !node::is_to_be_replaced(observed),
        // A request that was chosen and failed is forgotten, and the machine may ask again; a denied one stays.
        Reason::CertificateRequestDenied => steps[2].1.reason == Reason::CertificateRequestDenied,
        Reason::TokenExpired => {
            observed.record.is_some_and(|record| !credential::may_mint_again(observed, record)) && !observed.issued()
        }
        _ => false,
    };
    if needs_a_person { Told::yes(ready.reason, ready.message.clone()) } else { calm }
}

/// What a removal that is under way says in place of the join.
fn removing(observed: &Observed<'_>) -> Option<(Told, Told)> {
    let (reason, message, needs_a_person) = removal::told(observed)?;
    let stalled = if needs_a_person { Told::yes(reason, message.clone()) } else { Told::no(Reason::Progressing, "") };
    Some((Told::no(reason, message), stalled))
}

fn stalled_ready(stalled: &Told) -> Told {
    Told::no(Reason::DeadlineExceeded, stalled.message.clone())
}

fn list(keys: &[PublicKeyPin]) -> String {
    /// More keys than anybody compares by eye; whoever floods announcements shall not flood the status.
    const MOST: usize = 8;
    let shown: Vec<String> = keys.iter().take(MOST).map(ToString::to_string).collect();
    let more = keys.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}
