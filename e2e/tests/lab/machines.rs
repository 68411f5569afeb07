//! What a machine can do that a process cannot.

use std::time::Duration;

use futures::TryStreamExt;
use join_e2e::kubeadm;
use join_e2e::lab::{Lab, Machine, cgroups, own_name, patience, wait_until};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::conditions::is_pod_running;
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use libtest_mimic::Failed;

/// How long pods of two kubelets on one kernel are watched. Kubelets that see each other's cgroups kill the other's
/// pods within one round of their garbage collection, a few seconds.
const OBSERVATION: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(1);

pub fn two_joined_machines_run_pods_side_by_side() -> Result<(), Failed> {
    let lab = super::start(&own_name("t-machines")?)?;
    let machines = [lab.add_machine("worker-1")?, lab.add_machine("worker-2")?];
    for machine in &machines {
        has_a_system_of_its_own(machine)?;
        shares_out_its_cgroups_itself(&lab, machine.name())?;
        kubeadm::join(&lab, machine)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let client = lab.client().await?;
        for machine in &machines {
            run_pod(client.clone(), machine.name()).await?;
        }
        nothing_restarts(client.clone()).await
    })?;
    for machine in &machines {
        let log = machine.run(&["sh", "-c", "cat /var/log/pods/default_*/pod/0.log"])?;
        assert!(log.stdout.contains("reached https://10.96.0.1:443/version"), "the pod said: {}", log.stdout);
    }

    let [rebooted, other] = &machines;
    rebooted.run(&["touch", "/etc/on-the-disk", "/run/in-memory"])?;
    rebooted.reboot()?;
    assert!(rebooted.path("/etc/on-the-disk")?.exists(), "the disk was lost");
    assert!(!rebooted.path("/run/in-memory")?.exists(), "memory survived");
    runtime.block_on(async { node_is_ready(lab.client().await?, rebooted.name()).await })?;

    can_be_cut_off(&lab, other)?;
    a_unit_can_have_another_clock(other)
}

fn has_a_system_of_its_own(machine: &Machine<'_>) -> Result<(), Failed> {
    let name = machine.name();
    assert_eq!(machine.run(&["hostname"])?.stdout.trim(), name);
    assert_eq!(machine.run(&["systemctl", "is-system-running"])?.stdout.trim(), "running");
    assert_eq!(machine.run(&["cat", "/proc/1/comm"])?.stdout.trim(), "systemd");
    let addresses = machine.run(&["hostname", "--all-ip-addresses"])?.stdout;
    assert_eq!(addresses.split_whitespace().collect::<Vec<_>>(), [machine.address().to_string()]);
    Ok(())
}

/// On v2, only a cgroup without processes can give controllers to its children, and kubelet needs them. On a hybrid host
/// the hierarchy of version 2 has no controllers, but systemd keeps to the same rule there.
fn shares_out_its_cgroups_itself(lab: &Lab, machine: &str) -> Result<(), Failed> {
    let root = lab.layout().machine_cgroups(machine).system;
    for hierarchy in cgroups::hierarchies()?.iter().filter(|hierarchy| hierarchy.file_system == "cgroup2") {
        let read = |file| std::fs::read_to_string(hierarchy.mount_point.join(&root).join(file));
        assert_eq!(read("cgroup.procs")?, "", "processes stand in the root of {machine}'s own cgroups");
        assert!(!cgroups::processes(&format!("{root}/init.scope")).is_empty(), "{machine}'s systemd is elsewhere");
        assert!(
            cgroups::has_v1() || read("cgroup.subtree_control")?.contains("memory"),
            "{machine} shares nothing out"
        );
    }
    // Also in the hierarchies of version 1, and seen from within.
    let commands = lab.machine(machine)?.run(&["cat", "/proc/self/cgroup"])?.stdout;
    assert!(commands.lines().all(|line| line.ends_with(":/../commands")), "a command stands elsewhere:\n{commands}");
    Ok(())
}

async fn node_is_ready(client: Client, name: &str) -> Result<(), Failed> {
    let ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    tokio::time::timeout(patience(PATIENCE), await_condition(Api::all(client), name, ready)).await??;
    Ok(())
}

async fn run_pod(client: Client, node: &str) -> Result<(), Failed> {
    node_is_ready(client.clone(), node).await?;
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": node},
        "spec": {
            "nodeName": node,
            "containers": [{
                "name": "pod", "image": join_e2e::lab::images::POD, "imagePullPolicy": "Never",
                "args": ["reach-api-server"],
            }],
        },
    }))?;
    pods.create(&kube::api::PostParams::default(), &pod).await?;
    tokio::time::timeout(patience(PATIENCE), await_condition(pods, node, is_pod_running())).await??;
    Ok(())
}

/// Watches all pods for a while; a restart, a failure or a deletion ends the watch.
async fn nothing_restarts(client: Client) -> Result<(), Failed> {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff());
    let disturbed = async {
        while let Some(event) = events.try_next().await? {
            match event {
                watcher::Event::Delete(pod) => return Ok(format!("deleted: {pod:?}")),
                watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                    let status = pod.status.clone().unwrap_or_default();
                    let restarts: i32 =
                        status.container_statuses.iter().flatten().map(|container| container.restart_count).sum();
                    if restarts > 0 || status.phase.as_deref() != Some("Running") {
                        return Ok(format!("disturbed: {status:?}"));
                    }
                }
                watcher::Event::Init | watcher::Event::InitDone => {}
            }
        }
        Ok::<_, watcher::Error>("the watch ended".to_owned())
    };
    match tokio::time::timeout(OBSERVATION, disturbed).await {
        Err(_elapsed) => Ok(()),
        Ok(seen) => Err(seen?.into()),
    }
}

fn can_be_cut_off(lab: &Lab, machine: &Machine<'_>) -> Result<(), Failed> {
    let reach = || machine.run(&["sh", "-c", "timeout 1 bash -c '</dev/tcp/10.40.0.2/6443'"]);
    reach()?;
    machine.set_connected(false)?;
    assert!(reach().is_err(), "a machine that is cut off reached the API server");
    machine.set_connected(true)?;
    wait_until("the machine to be connected again", PATIENCE, || reach().map_err(|failure| failure.to_string()))?;
    lab.wait_for_api_server()?;
    Ok(())
}

fn a_unit_can_have_another_clock(machine: &Machine<'_>) -> Result<(), Failed> {
    let unit = "[Service]\nType=oneshot\nExecStart=date +%%Y\n";
    std::fs::write(machine.path("/etc/systemd/system/which-year.service")?, unit)?;
    machine.set_clock_of_unit("which-year.service", Some("+3650d"))?;
    machine.run(&["systemctl", "start", "which-year.service"])?;
    let host_year: i32 = machine.run(&["date", "+%Y"])?.stdout.trim().parse()?;
    let later = [host_year + 9, host_year + 10];
    let journal = machine.journal("which-year.service")?;
    assert!(later.iter().any(|year| journal.contains(&year.to_string())), "{journal}");
    Ok(())
}
