//! A machine that is not fit to become a node: the check that failed, by its name.

use std::fs;
use std::time::{Duration, Instant};

use join_crds::{ConditionType, Reason};
use join_e2e::components::Components;
use join_e2e::components::KubernetesMinor;
use join_e2e::lab::{Machine, wait_until};
use join_e2e::suite::joining::Suite;
use kube::api::DeleteParams;
use libtest_mimic::Failed;

use super::everywhere::{self, Failure};

/// A fault in the shell's words, and what is told of it.
struct Fault {
    seen: &'static str,
    make: &'static str,
    mend: &'static str,
    names: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        seen: "the container runtime does not run",
        make: "systemctl stop containerd.service",
        mend: "systemctl start containerd.service",
        names: &["CRI", "cannot connect to", "containerd.sock", "systemctl status containerd"],
    },
    Fault {
        seen: "the container runtime does not speak CRI v1",
        make: "cp /etc/containerd/config.toml /root/ && sed -i \"1a disabled_plugins = ['io.containerd.grpc.v1.cri']\" \
               /etc/containerd/config.toml && systemctl restart containerd.service",
        mend: "cp /root/config.toml /etc/containerd/ && systemctl restart containerd.service",
        names: &["CRIVersion", "runtime.v1", "upgrade the container runtime"],
    },
    Fault {
        seen: "there is no kubelet",
        make: "mv /usr/bin/kubelet /root/",
        mend: "mv /root/kubelet /usr/bin/",
        names: &["KubeletVersion", "install the kubelet"],
    },
    Fault {
        seen: "a file system of the node is read-only",
        make: "mkdir -p /var/lib/kubelet && mount -t tmpfs -o ro none /var/lib/kubelet",
        mend: "umount /var/lib/kubelet",
        names: &["DiskSpace", "/var/lib/kubelet is read-only", "df -h"],
    },
];

/// The machine's disk when it is small: this and what is on it already.
const LITTLE: u64 = 16 * 1024 * 1024;
/// Enough for the checks.
const ENOUGH: u64 = 64 * 1024 * 1024;
/// Leaves nothing.
const FILL: &str = "cat /dev/zero > /var/tmp/filler; true";
const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/99-fill.conf";

/// Each fault is told with its check; the machine can be mended and goes on.
pub fn an_unfit_machine_says_which_check_failed(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("unfit-1")?;
    let name = machine.name();
    suite.operator().prepare_agent(&machine, &join_e2e::operator::agent_configuration(name, suite.enrollment()))?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let unfit = |seen: &'static str, names: &'static [&'static str], is_first: bool| Failure {
        seen,
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(&machine),
        // Another check of the same machine is no other reason: it is told by the condition.
        event: is_first.then_some("PreflightFailed"),
        names,
    };
    for (number, fault) in FAULTS.iter().enumerate() {
        machine.run(&["sh", "-c", fault.make])?;
        let began = Instant::now();
        // It would try again by itself within a minute.
        machine.run(&["systemctl", "restart", "join-agent.service"])?;
        let told = everywhere::find(suite, name, began, &unfit(fault.seen, fault.names, number == 0));
        told.map_err(|failure| format!("{}: {}", fault.seen, failure.message().unwrap_or_default()))?;
        machine.run(&["systemctl", "stop", "join-agent.service"])?;
        machine.run(&["sh", "-c", fault.mend])?;
    }

    machine.set_free_space(Some(LITTLE))?;
    let began = Instant::now();
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    let full = unfit("the disk is full before the join", &["DiskSpace", " MiB left", "df -h"], false);
    everywhere::find(suite, name, began, &full)?;
    machine.run(&["systemctl", "stop", "join-agent.service"])?;

    // Who waives that check meets the fault itself.
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    wait_until("the request to be gone", Duration::from_mins(1), || {
        match suite.block_on(suite.requests_api().get_opt(name)) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    suite.request(
        name,
        &serde_json::json!({
            "role": "Worker", "machine": {"trust": "FirstUse"},
            "nodeRegistration": {"ignorePreflightErrors": ["DiskSpace"]},
        }),
    )?;
    machine.run(&["sh", "-c", FILL])?;
    let began = Instant::now();
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    let full = Failure {
        seen: "the disk is full, and its check is waived",
        // Which file is the first one that does not fit is not told beforehand.
        condition: Some(ConditionType::Ready),
        machine: Some(&machine),
        event: Some("MachineNotWritable"),
        names: &["failed to write", "No space left on device"],
    };
    everywhere::find(suite, name, began, &full)?;

    machine.run(&["rm", "/var/tmp/filler"])?;
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    // On a disk of sixteen free megabytes the node is Ready: no kubelet of the lab evicts for a disk's sake.
    suite.wait_until_joined(name)?;
    Ok(())
}

/// From the first start of the agent to that of the kubelet.
pub fn a_disk_that_cannot_be_written_to_is_told_whenever_it_is_met(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("disk-1")?;
    let name = machine.name();
    suite.operator().prepare_agent(&machine, &join_e2e::operator::agent_configuration(name, suite.enrollment()))?;
    let first_start = |seen: &'static str, names: &'static [&'static str]| -> Result<(), Failed> {
        let began = Instant::now();
        let outcome = machine.run(&["systemctl", "start", "join-agent.service"]);
        assert!(outcome.is_err(), "the agent has started without its keys");
        let failure = Failure { seen, condition: None, machine: Some(&machine), event: None, names };
        everywhere::find(suite, name, began, &failure)
    };
    machine.run(&["sh", "-ec", "mkdir -p /var/lib/join-agent; mount -t tmpfs -o ro none /var/lib/join-agent"])?;
    let names = &["/var/lib/join-agent", "Read-only file system", "started again by itself"];
    first_start("the disk is read-only when the agent first starts", names)?;
    machine.run(&["sh", "-ec", "systemctl stop join-agent.service; umount /var/lib/join-agent"])?;

    machine.set_free_space(Some(LITTLE))?;
    machine.run(&["sh", "-c", FILL])?;
    let names = &["/var/lib/join-agent", "No space left on device", "started again by itself"];
    first_start("the disk is full when the agent first starts", names)?;
    machine.set_free_space(None)?;
    machine.run(&["rm", "/var/tmp/filler"])?;
    waits_for_a_request(suite, &machine)?;

    // All of the agent's own files are written, and then there is nothing left for the kubelet's.
    machine.set_free_space(Some(ENOUGH))?;
    fs::write(machine.path(DROP_IN)?, format!("[Service]\nExecStartPre=/bin/sh -c '{FILL}'\n"))?;
    machine.run(&["systemctl", "daemon-reload"])?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::ClientCertificateIssued, "True", Reason::CertificateIssued)?;
    let fills = Failure {
        seen: "the disk fills while the kubelet starts",
        condition: Some(ConditionType::NodeRegistered),
        machine: Some(&machine),
        event: Some("MachineNotWritable"),
        names: &[" KiB left", "kubelet.service"],
    };
    everywhere::find(suite, name, Instant::now(), &fills)?;
    machine.set_free_space(None)?;
    fs::remove_file(machine.path(DROP_IN)?)?;
    machine.run(&["sh", "-ec", "rm /var/tmp/filler; systemctl daemon-reload; systemctl restart kubelet.service"])?;
    suite.wait_until_joined(name)?;
    Ok(())
}

/// Nobody starts the agent again: systemd does.
fn waits_for_a_request(suite: &Suite, machine: &Machine<'_>) -> Result<(), Failed> {
    Ok(wait_until("the agent to wait for a request", Duration::from_mins(1), || {
        let said = suite.operator().agent_status(machine);
        if said.contains("reason:   RequestAbsent") { Ok(()) } else { Err(said) }
    })?)
}

/// `kubeadm join` does not compare the two: its kubelet would register, and may not work with that API server.
pub fn a_kubelet_newer_than_the_control_plane_is_told(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("skewed-1")?;
    let name = machine.name();
    let newer = Components::build(KubernetesMinor::V1_37)?;
    let folder = newer.kubernetes.file_name().ok_or("the components have no folder")?.to_string_lossy().into_owned();
    machine.run(&["ln", "-sf", &format!("/opt/components/{folder}/kubelet"), "/usr/bin/kubelet"])?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let began = Instant::now();
    suite.operator().install_agent(&machine, suite.enrollment())?;
    let skew = Failure {
        seen: "the kubelet is newer than the control plane",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(&machine),
        event: Some("PreflightFailed"),
        names: &["KubeletVersionSkew", "v1.37.", "is newer than the control plane v1.35.", "upgrade the control plane"],
    };
    everywhere::find(suite, name, began, &skew)
}
