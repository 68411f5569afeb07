//! Deleting a request: with `removal: Drain` the node goes and its machine is what it was, with `Retain` nothing changes.

use std::time::Duration;

use join_crds::vocabulary::FINALIZER;
use join_crds::{ConditionType, NodeJoinRequest, Reason};
use join_e2e::lab::{Machine, images, wait_until};
use join_e2e::snapshot::{differences, snapshot};
use join_e2e::suite::joining::{CONTROLLER, Suite};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use libtest_mimic::Failed;
use serde_json::json;

use super::reset::{is_active, mounts, pin};

const PATIENCE: Duration = Duration::from_mins(1);

/// A pod on a node that is Ready when it runs; with a controller, if it has an owner.
fn run_pod(suite: &Suite, name: &str, node: &str, owner: Option<&ConfigMap>) -> Result<(), Failed> {
    let pods: Api<Pod> = Api::namespaced(suite.client(), "default");
    let owners: Vec<_> = owner
        .iter()
        .map(|owner| {
            let (name, uid) = (owner.name_any(), owner.uid());
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "controller": true})
        })
        .collect();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app": name}, "ownerReferences": owners},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "pod", "image": images::POD, "imagePullPolicy": "Never",
                "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
            }],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
        },
    }))?;
    suite.block_on(pods.create(&PostParams::default(), &pod))?;
    suite.wait(&pods, name, "Running", |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    })?;
    Ok(())
}

fn delete_request(suite: &Suite, name: &str) -> Result<(), Failed> {
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    Ok(())
}

pub fn wait_until_gone<K>(suite: &Suite, api: &Api<K>, name: &str) -> Result<(), Failed>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    wait_until(&format!("{name} to be gone"), PATIENCE, || match suite.block_on(api.get_opt(name)) {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    Ok(())
}

fn ready_message(request: &NodeJoinRequest) -> String {
    let all = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = join_crds::conditions::get(all, ConditionType::Ready);
    ready.map(|ready| ready.message.clone()).unwrap_or_default()
}

/// A budget that allows nothing is named; once it is lifted the node is drained and deleted, and the machine is what it
/// was and waits for another request.
pub fn a_deleted_request_with_drain_leaves_a_clean_machine(suite: &Suite) -> Result<(), Failed> {
    let name = "drain-1";
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    let pin = pin(suite, &machine)?;
    let before = snapshot(&machine)?;
    suite.request(name, &json!({"role": "Worker", "machine": {"publicKeyHash": pin}, "removal": "Drain"}))?;
    let request = suite.wait_until_joined(name)?;
    assert_eq!(request.finalizers(), [FINALIZER]);

    let owners: Api<ConfigMap> = Api::namespaced(suite.client(), "default");
    let owner = serde_json::from_value(json!({"metadata": {"name": "drain-owner"}}))?;
    let owner = suite.block_on(owners.create(&PostParams::default(), &owner))?;
    run_pod(suite, "drain-held", name, Some(&owner))?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(suite.client(), "default");
    let budget = serde_json::from_value(json!({
        "metadata": {"name": "drain-budget"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "drain-held"}}},
    }))?;
    suite.block_on(budgets.create(&PostParams::default(), &budget))?;
    suite.wait(&budgets, "drain-budget", "a count of its pods", |budget: &PodDisruptionBudget| {
        budget.status.as_ref().is_some_and(|status| status.current_healthy == 1)
    })?;

    delete_request(suite, name)?;
    let blocked = suite.wait_for(name, ConditionType::Ready, "False", Reason::DrainBlocked)?;
    let said = ready_message(&blocked);
    for expected in ["default/drain-held", "drain-budget", "disruption budget", "removal: Retain"] {
        assert!(said.contains(expected), "{expected:?} is not in: {said}");
    }
    let nodes: Api<Node> = Api::all(suite.client());
    let node = suite.block_on(nodes.get(name))?;
    assert_eq!(node.spec.and_then(|spec| spec.unschedulable), Some(true));
    assert!(is_active(&machine, "kubelet.service"));

    suite.block_on(budgets.delete("drain-budget", &DeleteParams::default()))?;
    wait_until_gone(suite, &suite.requests_api(), name)?;
    assert!(suite.block_on(nodes.get_opt(name))?.is_none(), "the Node is there still");
    wait_until("the machine to be what it was", PATIENCE, || {
        let now = snapshot(&machine).map_err(|failure| format!("{failure:?}"))?;
        let differences = differences(&before, &now);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    })?;
    assert_eq!(mounts(&machine)?, Vec::<String>::new());
    assert!(!is_active(&machine, "kubelet.service"));
    wait_until("the agent to wait for another request", PATIENCE, || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("waiting for somebody to create the NodeJoinRequest") { Ok(()) } else { Err(said) }
    })?;
    suite.block_on(owners.delete("drain-owner", &DeleteParams::default()))?;
    assert!(suite.block_on(nodes.get_opt(name))?.is_none(), "the Node came back");
    Ok(())
}

/// A pod without a controller is a person's to delete; whoever does not want to can have the node left as it is.
pub fn a_drain_that_is_given_up_leaves_the_node_alone(suite: &Suite) -> Result<(), Failed> {
    let name = "drain-2";
    let machine = suite.machine(name)?;
    suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "removal": "Drain"}))?;
    suite.wait_until_joined(name)?;
    run_pod(suite, "drain-alone", name, None)?;
    delete_request(suite, name)?;
    let blocked = suite.wait_for(name, ConditionType::Stalled, "True", Reason::DrainBlocked)?;
    let said = ready_message(&blocked);
    assert!(said.contains("default/drain-alone") && said.contains("kubectl delete pod"), "{said}");

    let retain = Patch::Merge(json!({"spec": {"removal": "Retain"}}));
    suite.block_on(suite.requests_api().patch(name, &PatchParams::default(), &retain))?;
    wait_until_gone(suite, &suite.requests_api(), name)?;
    let nodes: Api<Node> = Api::all(suite.client());
    let pods: Api<Pod> = Api::namespaced(suite.client(), "default");
    assert!(suite.block_on(nodes.get_opt(name))?.is_some(), "the Node is gone");
    assert!(suite.block_on(pods.get("drain-alone"))?.metadata.deletion_timestamp.is_none(), "the pod is ending");
    assert!(is_active(&machine, "kubelet.service") && is_active(&machine, "join-agent.service"));
    suite.block_on(pods.delete("drain-alone", &DeleteParams::default().grace_period(0)))?;
    Ok(())
}

/// Nobody answers for a machine that is off. It is given up when its time is over, and that is told; until then it is
/// waited for.
pub fn a_machine_that_is_off_is_given_up(suite: &Suite) -> Result<(), Failed> {
    let name = "drain-3";
    let machine = suite.machine(name)?;
    let spec = json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "removal": "Drain"});
    let uid = suite.request(name, &spec)?.uid().to_owned();
    suite.wait_until_joined(name)?;
    machine.power_off()?;
    delete_request(suite, name)?;
    let waits = suite.wait_for(name, ConditionType::Ready, "False", Reason::CleaningMachine)?;
    let said = ready_message(&waits);
    assert!(said.contains("If it has not answered by ") && said.contains("is not cleaned"), "{said}");
    let nodes: Api<Node> = Api::all(suite.client());
    assert!(suite.block_on(nodes.get_opt(name))?.is_some(), "the Node went before its machine's time was over");

    // Six minutes later, by the clock of the one who waits.
    suite.lab().kill_process(CONTROLLER)?;
    suite.operator().restart_controller_later(CONTROLLER, "+6m")?;
    let gone = wait_until_gone(suite, &suite.requests_api(), name);
    suite.lab().kill_process(CONTROLLER)?;
    suite.operator().restart_controller(CONTROLLER, None)?;
    gone?;
    assert!(suite.block_on(nodes.get_opt(name))?.is_none(), "the Node is there still");
    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let of_request = ListParams::default().fields(&format!("involvedObject.uid={uid},reason=MachineNotCleaned"));
    let messages: Vec<_> =
        suite.block_on(events.list(&of_request))?.items.into_iter().map(|event| event.message).collect();
    let told = messages.iter().flatten().any(|note| note.contains("join-agent reset"));
    assert!(told, "{messages:?}");
    Ok(())
}

fn has_process(machine: &Machine<'_>, unit: &str) -> bool {
    let id = machine.run(&["systemctl", "show", "--property=MainPID", "--value", unit]);
    id.is_ok_and(|printed| !matches!(printed.stdout.trim(), "" | "0"))
}

/// Killed at whatever instant, agent and reset go on where they were.
pub fn an_agent_that_is_killed_while_it_leaves_goes_on(suite: &Suite) -> Result<(), Failed> {
    let name = "drain-4";
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    let before = snapshot(&machine)?;
    suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "removal": "Drain"}))?;
    suite.wait_until_joined(name)?;
    delete_request(suite, name)?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::CleaningMachine)?;
    let mut kills = 0;
    for milliseconds in [0, 100, 300, 900] {
        let units = ["join-agent.service", "join-agent-reset.service"];
        let alive = wait_until("an agent or a reset to kill", PATIENCE, || {
            let alive: Vec<&str> = units.into_iter().filter(|unit| has_process(&machine, unit)).collect();
            if alive.is_empty() { Err("neither runs".to_owned()) } else { Ok(alive) }
        })?;
        // The instant at which it is killed, and nothing that is waited for.
        std::thread::sleep(Duration::from_millis(milliseconds));
        for unit in alive {
            kills += usize::from(machine.run(&["systemctl", "kill", "--signal=KILL", unit]).is_ok());
        }
    }
    assert!(kills >= 4, "only {kills} kills");
    wait_until_gone(suite, &suite.requests_api(), name)?;
    wait_until("the machine to be what it was", PATIENCE, || {
        let now = snapshot(&machine).map_err(|failure| format!("{failure:?}"))?;
        let differences = differences(&before, &now);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    })?;
    wait_until("the agent to wait for another request", PATIENCE, || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("reason:   RequestAbsent") { Ok(()) } else { Err(said) }
    })?;
    assert!(!is_active(&machine, "kubelet.service"));
    assert!(suite.block_on(Api::<Node>::all(suite.client()).get_opt(name))?.is_none(), "the Node is there");
    Ok(())
}
