//! `join-agent reset`: the machine is what it was before its join, in every path that a join touches.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use join_crds::vocabulary::LABEL_NODE_UID;
use join_crds::{AgentStep, ConditionType, NodeJoinRequest, Reason};
use join_e2e::lab::{Machine, images, wait_until};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use libtest_mimic::Failed;

use super::kubeadm;
use join_e2e::snapshot::{differences, snapshot};
use join_e2e::suite::joining::Suite;

const PATIENCE: Duration = Duration::from_mins(1);
/// More actions than any reset has.
const MOST_KILLS: u32 = 60;

/// What a command that must fail says.
fn refusal(machine: &Machine<'_>, words: &[&str]) -> Result<String, Failed> {
    match machine.run(words) {
        Ok(printed) => Err(format!("{} was carried out: {}", words.join(" "), printed.stdout).into()),
        Err(failure) => Ok(failure.to_string()),
    }
}

fn request(suite: &Suite, machine: &Machine<'_>, pin: &str) -> Result<(), Failed> {
    let spec = serde_json::json!({"role": "Worker", "machine": {"publicKeyHash": pin}});
    suite.request(machine.name(), &spec)?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}

pub fn pin(suite: &Suite, machine: &Machine<'_>) -> Result<String, Failed> {
    let said = suite.operator().agent_status(machine);
    let pin = said.split_whitespace().find(|word| word.starts_with("sha256:"));
    Ok(pin.ok_or_else(|| format!("no pin in: {said}"))?.to_owned())
}

/// A pod with a volume that the kubelet mounts.
fn run_pod(suite: &Suite, node: &str) -> Result<(), Failed> {
    let pods: Api<Pod> = Api::namespaced(suite.client(), "default");
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": node},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "pod", "image": images::POD, "imagePullPolicy": "Never", "args": ["reach-api-server"],
                "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
            }],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
        },
    }))?;
    suite.block_on(pods.create(&PostParams::default(), &pod))?;
    suite.wait(&pods, node, "Running", |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    })?;
    Ok(())
}

fn end_node(suite: &Suite, name: &str) -> Result<(), Failed> {
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    let nodes: Api<Node> = Api::all(suite.client());
    suite.block_on(nodes.delete(name, &DeleteParams::default()))?;
    wait_until("the request and the Node to be gone", PATIENCE, || {
        let there = suite.block_on(async {
            let request = suite.requests_api().get_opt(name).await;
            let node = nodes.get_opt(name).await;
            (request.map(|found| found.is_some()), node.map(|found| found.is_some()))
        });
        if matches!(there, (Ok(false), Ok(false))) { Ok(()) } else { Err(format!("{there:?}")) }
    })?;
    Ok(())
}

pub fn mounts(machine: &Machine<'_>) -> Result<Vec<String>, Failed> {
    let table = machine.run(&["cat", "/proc/self/mountinfo"])?.stdout;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.filter(|point| point.starts_with("/var/lib/kubelet")).map(str::to_owned).collect())
}

pub fn is_active(machine: &Machine<'_>, unit: &str) -> bool {
    machine.run(&["systemctl", "is-active", unit]).is_ok()
}

/// A machine that had nothing: asked first, shown without a change, reset, and joined again with the same key.
pub fn a_reset_machine_is_what_it_was_and_joins_again(suite: &Suite) -> Result<(), Failed> {
    let name = "reset-1";
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    let pin = pin(suite, &machine)?;
    let before = snapshot(&machine)?;
    request(suite, &machine, &pin)?;
    run_pod(suite, name)?;
    assert!(!mounts(&machine)?.is_empty(), "the pod has no volume that is mounted");

    let refused = refusal(&machine, &["join-agent", "reset"])?;
    assert!(refused.contains("--yes") && refused.contains("--dry-run"), "{refused}");
    let shown = machine.run(&["join-agent", "reset", "--dry-run"])?.stdout;
    for expected in [
        "stop join-agent.service",
        "stop kubelet.service",
        &format!("remove pod default/{name}"),
        "unmount /var/lib/kubelet/pods/",
        "remove file /etc/kubernetes/kubelet.conf",
        "remove folder /var/lib/kubelet/pki and all that is in it",
        &format!("kubectl delete njr/{name} node/{name}"),
        "nothing was changed",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in:\n{shown}");
    }
    assert!(is_active(&machine, "kubelet.service") && is_active(&machine, "join-agent.service"));

    let done = machine.run(&["join-agent", "reset", "--yes"])?.stdout;
    assert_eq!(differences(&before, &snapshot(&machine)?), Vec::<String>::new(), "{done}");
    assert!(!is_active(&machine, "kubelet.service") && !is_active(&machine, "join-agent.service"));
    assert_eq!(mounts(&machine)?, Vec::<String>::new());
    let containers = machine.run(&["ctr", "--namespace=k8s.io", "containers", "list", "--quiet"])?.stdout;
    assert_eq!(containers, "", "containers are left");
    let again = machine.run(&["join-agent", "reset", "--yes"])?.stdout;
    assert!(again.contains("nothing to undo"), "{again}");

    end_node(suite, name)?;
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    request(suite, &machine, &pin)
}

/// A machine that had files of its own, and whose reset is killed after each single action.
pub fn a_reset_that_is_killed_restores_everything(suite: &Suite) -> Result<(), Failed> {
    let name = "reset-2";
    let machine = suite.bare_machine(name)?;
    let write = |path: &str, content: &[u8], mode: u32| -> Result<(), Failed> {
        let place = machine.path(path)?;
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
        fs::write(&place, content)?;
        Ok(fs::set_permissions(&place, fs::Permissions::from_mode(mode))?)
    };
    let ca = fs::read(suite.lab().layout().control_plane_etc().join("pki/ca.crt"))?;
    write("/etc/kubernetes/pki/ca.crt", &ca, 0o640)?;
    write("/etc/kubernetes/own.txt", b"mine", 0o600)?;
    write("/etc/systemd/system/kubelet.service.d/20-own.conf", b"[Service]\nEnvironment=OWN=1\n", 0o644)?;
    write("/var/lib/kubelet/config.yaml", b"# mine\n", 0o600)?;
    write("/var/lib/kubelet/seccomp/own.json", b"{}", 0o644)?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.announcement(name)?;
    let before = snapshot(&machine)?;
    request(suite, &machine, &pin(suite, &machine)?)?;
    run_pod(suite, name)?;

    let mut kills = 0;
    while let Err(killed) = machine.run(&["env", "JOIN_AGENT_CRASH_AFTER_WRITES=1", "join-agent", "reset", "--yes"]) {
        kills += 1;
        assert!(kills < MOST_KILLS, "not reset after {kills} kills: {killed}");
        // Whoever starts the agent meanwhile is told, and does not join.
        if kills == 5 {
            machine.run(&["systemctl", "start", "join-agent.service"])?;
            wait_until("the agent to say why it does not join", PATIENCE, || {
                let said = suite.operator().agent_status(&machine);
                if said.contains("run `join-agent reset` again") { Ok(()) } else { Err(said) }
            })?;
        }
    }
    println!("reset after {kills} kills");
    assert!(kills > 5, "only {kills} actions were interrupted: the switch does not work");
    assert_eq!(differences(&before, &snapshot(&machine)?), Vec::<String>::new());
    assert_eq!(mounts(&machine)?, Vec::<String>::new());
    Ok(())
}

/// A machine that somebody else joined is left alone, unless everything is asked for.
pub fn a_machine_of_kubeadm_is_reset_on_demand_only(suite: &Suite) -> Result<(), Failed> {
    let name = "reset-3";
    kubeadm::join(suite, name)?;
    let machine = suite.lab().machine(name)?;
    suite.operator().prepare_agent(&machine, "{}")?;
    let refused = refusal(&machine, &["join-agent", "reset", "--yes"])?;
    assert!(refused.contains("joined by somebody else") && refused.contains("--all"), "{refused}");
    assert!(is_active(&machine, "kubelet.service"));

    let done = machine.run(&["join-agent", "reset", "--all", "--yes"])?.stdout;
    assert!(done.contains("as `kubeadm reset` does"), "{done}");
    assert!(!is_active(&machine, "kubelet.service"));
    assert!(!machine.path("/etc/kubernetes/kubelet.conf")?.exists());
    for emptied in ["/etc/kubernetes/pki", "/var/lib/kubelet"] {
        assert_eq!(fs::read_dir(machine.path(emptied)?)?.count(), 0, "{emptied} is not empty");
    }
    Ok(())
}

/// A request that is deleted and made again is its node's again, as long as it pins the same machine; and it asks the
/// machine to join anew, once the Node is gone. Nobody does anything on the machine.
pub fn a_request_made_again_rejoins_the_machine(suite: &Suite) -> Result<(), Failed> {
    let name = "again-1";
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    let pin = pin(suite, &machine)?;
    request(suite, &machine, &pin)?;
    let before = machine.run(&["readlink", "/var/lib/kubelet/pki/kubelet-client-current.pem"])?.stdout;
    let nodes: Api<Node> = Api::all(suite.client());
    let delete_request = || -> Result<(), Failed> {
        suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
        Ok(wait_until("the request to be gone", PATIENCE, || {
            let found = suite.block_on(suite.requests_api().get_opt(name));
            if matches!(found, Ok(None)) { Ok(()) } else { Err(format!("{found:?}")) }
        })?)
    };
    let make_again = |key: &str| {
        delete_request()?;
        suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"publicKeyHash": key}}))
    };
    let uid = suite.block_on(nodes.get(name))?.uid();
    // As long as the Node is there, its name is taken for every other machine.
    make_again(&format!("sha256:{}", "0".repeat(64)))?;
    suite.wait_for(name, ConditionType::NodeRegistered, "False", Reason::NodeAlreadyExists)?;
    // For its own, twice: what the controller knows of it outlives the first as well.
    for _ in 0..2 {
        let request = make_again(&pin)?;
        suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::NodeAdopted)?;
        suite.wait_for(name, ConditionType::Ready, "True", Reason::Joined)?;
        let is_followed = |request: &NodeJoinRequest| {
            let agent = request.status.as_ref().and_then(|status| status.agent.as_ref());
            agent.is_some_and(|agent| agent.step == AgentStep::Joined && !agent.checks.is_empty())
        };
        suite.wait(&suite.requests_api(), name, "the agent to follow the new request", is_followed)?;
        let records: Api<Secret> = Api::namespaced(suite.client(), join_e2e::operator::NAMESPACE);
        let own = join_crds::vocabulary::record_name(request.uid());
        wait_until("one record to tell of the Node", PATIENCE, || {
            let of_node =
                ListParams::default().labels(&format!("{LABEL_NODE_UID}={}", uid.clone().unwrap_or_default()));
            let found = suite.block_on(records.list(&of_node)).map_err(|error| error.to_string())?;
            let names: Vec<String> = found.items.iter().map(ResourceExt::name_any).collect();
            if names == [own.clone()] { Ok(()) } else { Err(format!("{names:?}, expected {own}")) }
        })?;
    }
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());
    assert_eq!(suite.block_on(nodes.get(name))?.uid(), uid, "the Node was made anew");
    assert!(is_active(&machine, "kubelet.service"), "the kubelet of a Node that is there was stopped");
    let unchanged = machine.run(&["readlink", "/var/lib/kubelet/pki/kubelet-client-current.pem"])?.stdout;
    assert_eq!(before, unchanged, "another certificate was issued");
    // A request that is made when its Node is gone asks the machine to join anew.
    delete_request()?;
    suite.block_on(nodes.delete(name, &DeleteParams::default()))?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"publicKeyHash": pin}}))?;
    suite.wait_until_joined(name)?;
    let after = machine.run(&["readlink", "/var/lib/kubelet/pki/kubelet-client-current.pem"])?.stdout;
    assert_ne!(before, after, "the machine has the old certificate still");
    wait_until("the agent to be the node's again", PATIENCE, || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("Joined") && said.contains("is complete") { Ok(()) } else { Err(said) }
    })?;
    Ok(())
}
