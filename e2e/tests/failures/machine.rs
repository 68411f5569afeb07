//! A machine that is not fit to become a node: the check that failed, by its name.

use std::time::Duration;

use join_crds::{ConditionType, Reason};
use join_e2e::lab::wait_until;
use join_e2e::suite::joining::Suite;
use kube::api::DeleteParams;
use libtest_mimic::Failed;

use super::everywhere::{self, Failure};

/// A fault in the shell's words, and what is told of it.
struct Fault {
    what: &'static str,
    make: &'static str,
    mend: &'static str,
    names: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "no container runtime",
        make: "systemctl stop containerd.service",
        mend: "systemctl start containerd.service",
        names: &["CRI", "cannot connect to", "containerd.sock", "systemctl status containerd"],
    },
    Fault {
        what: "a container runtime without CRI",
        make: "cp /etc/containerd/config.toml /root/ && sed -i \"1a disabled_plugins = ['io.containerd.grpc.v1.cri']\" \
               /etc/containerd/config.toml && systemctl restart containerd.service",
        mend: "cp /root/config.toml /etc/containerd/ && systemctl restart containerd.service",
        names: &["CRIVersion", "runtime.v1", "upgrade the container runtime"],
    },
    Fault {
        what: "no kubelet",
        make: "mv /usr/bin/kubelet /root/",
        mend: "mv /root/kubelet /usr/bin/",
        names: &["KubeletVersion", "install the kubelet"],
    },
    Fault {
        what: "a read-only file system",
        make: "mkdir -p /var/lib/kubelet && mount -t tmpfs -o ro none /var/lib/kubelet",
        mend: "umount /var/lib/kubelet",
        names: &["DiskSpace", "/var/lib/kubelet is read-only", "df -h"],
    },
];

/// The machine's disk when it is small: this and what is on it already.
const LITTLE: u64 = 16 * 1024 * 1024;

/// Each fault is told with its check; the machine can be mended and goes on.
pub fn an_unfit_machine_says_which_check_failed(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("unfit-1")?;
    let name = machine.name();
    suite.operator().prepare_agent(&machine, &join_e2e::operator::agent_configuration(name, suite.enrollment()))?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let unfit = |names: &'static [&'static str], is_first: bool| Failure {
        reason: Reason::PreflightFailed,
        condition: Some(ConditionType::ClientCertificateIssued),
        on_machine: true,
        // Another check of the same machine is no other reason: it is told by the condition.
        event: is_first.then_some("PreflightFailed"),
        names,
    };
    for (number, fault) in FAULTS.iter().enumerate() {
        machine.run(&["sh", "-c", fault.make])?;
        // It would try again by itself within a minute.
        machine.run(&["systemctl", "restart", "join-agent.service"])?;
        let told = everywhere::find(suite, &machine, &unfit(fault.names, number == 0));
        told.map_err(|failure| format!("{}: {}", fault.what, failure.message().unwrap_or_default()))?;
        machine.run(&["systemctl", "stop", "join-agent.service"])?;
        machine.run(&["sh", "-c", fault.mend])?;
    }

    machine.set_free_space(Some(LITTLE))?;
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    everywhere::find(suite, &machine, &unfit(&["DiskSpace", " MiB left", "df -h"], false))?;
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
    machine.run(&["sh", "-c", "cat /dev/zero > /var/tmp/filler; true"])?;
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    let full = Failure {
        reason: Reason::MachineNotWritable,
        // Which file is the first one that does not fit is not told beforehand.
        condition: Some(ConditionType::Ready),
        on_machine: true,
        event: Some("MachineNotWritable"),
        names: &["failed to write", "No space left on device"],
    };
    everywhere::find(suite, &machine, &full)?;

    machine.run(&["rm", "/var/tmp/filler"])?;
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    // On a disk of sixteen free megabytes the node is Ready: no kubelet of the lab evicts for a disk's sake.
    suite.wait_until_joined(name)?;
    Ok(())
}
