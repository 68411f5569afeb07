//! Another machine under a node's name: refused with both keys, and let in when the request names the Node that it replaces.

use std::time::Duration;

use join_crds::{ConditionType, NodeJoinRequest, Reason, conditions};
use join_e2e::lab::wait_until;
use join_e2e::operator::agent_configuration;
use join_e2e::suite::joining::Suite;
use k8s_openapi::api::core::v1::{Event, Node, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use libtest_mimic::Failed;
use serde_json::json;

use super::removal::wait_until_gone;
use super::reset::pin;

const PATIENCE: Duration = Duration::from_mins(1);

/// A new machine takes the place of one that is gone: not by itself, and at once when it is asked for.
pub fn another_machine_takes_the_name_when_asked(suite: &Suite) -> Result<(), Failed> {
    let name = "replace-1";
    let old = suite.machine(name)?;
    suite.announcement(name)?;
    let old_pin = pin(suite, &old)?;
    let first = suite.request(name, &json!({"role": "Worker", "machine": {"publicKeyHash": old_pin}}))?;
    suite.wait_until_joined(name)?;
    let nodes: Api<Node> = Api::all(suite.client());
    let old_uid = suite.block_on(nodes.get(name))?.uid().ok_or("no UID")?;
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    wait_until_gone(suite, &suite.requests_api(), name)?;
    old.power_off()?;

    let new = suite.bare_machine("replace-2")?;
    suite.operator().prepare_agent(&new, &agent_configuration(name, suite.enrollment()))?;
    new.run(&["systemctl", "start", "join-agent.service"])?;
    let said = |failure: Failed| failure.message().unwrap_or_default().to_owned();
    let new_pin = wait_until("the new agent to say its key", PATIENCE, || pin(suite, &new).map_err(said))?;
    suite.request(name, &json!({"role": "Worker", "machine": {"publicKeyHash": new_pin}}))?;
    let command = format!(r#"kubectl patch njr {name} --type=merge -p '{{"spec":{{"replacesNodeUID":"{old_uid}"}}}}'"#);
    let all_is_told = |request: &NodeJoinRequest| {
        let all = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let registered = conditions::get(all, ConditionType::NodeRegistered);
        registered.is_some_and(|condition| {
            condition.reason == Reason::NodeAlreadyExists.as_str()
                && [&old_pin, &new_pin, &command].iter().all(|expected| condition.message.contains(*expected))
        })
    };
    suite.wait(&suite.requests_api(), name, "NodeAlreadyExists with both keys and the command", all_is_told)?;
    assert_eq!(suite.block_on(nodes.get(name))?.uid().as_ref(), Some(&old_uid), "the old Node was touched");
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());

    // The command that the message has.
    let patch = Patch::Merge(json!({"spec": {"replacesNodeUID": old_uid}}));
    suite.block_on(suite.requests_api().patch(name, &PatchParams::default(), &patch))?;
    let request = suite.wait_until_joined(name)?;
    let bound = request.status.clone().and_then(|status| status.machine).map(|machine| machine.public_key_hash);
    assert_eq!(bound.as_ref(), Some(&new_pin));
    assert_ne!(suite.block_on(nodes.get(name))?.uid().as_ref(), Some(&old_uid));
    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let of_request = format!("involvedObject.uid={},reason=OldNodeDeleted", request.uid());
    let told = suite.block_on(events.list(&ListParams::default().fields(&of_request)))?;
    let messages: Vec<String> = told.items.into_iter().filter_map(|event| event.message).collect();
    assert!(messages.iter().any(|note| note.contains(&old_pin) && note.contains(&new_pin)), "{messages:?}");
    // What was kept of the old machine for the Node's sake goes with the Node.
    let records: Api<Secret> = Api::namespaced(suite.client(), join_e2e::operator::NAMESPACE);
    wait_until_gone(suite, &records, &join_crds::vocabulary::record_name(first.uid()))
}
