//! The checks of a machine: the same verdicts as kubeadm's, and a node that breaks says so.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use join_crds::{Check, CheckResult, ConditionType, NodeJoinRequest, Reason};
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::{Machine, wait_until};
use libtest_mimic::Failed;

use join_e2e::suite::joining::Suite;

const PATIENCE: Duration = Duration::from_mins(2);
/// Checks that both make of a worker, by kubeadm's names.
const OF_BOTH: [&str; 17] = [
    "CRI",
    "ContainerRuntimeVersion",
    "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "FileAvailable--etc-kubernetes-pki-ca.crt",
    "FileContent--proc-sys-net-ipv4-ip_forward",
    "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
    "FileExisting-cp",
    "FileExisting-losetup",
    "FileExisting-mount",
    "HTTPProxy",
    "Hostname",
    "KubeletVersion",
    "Port-10250",
    "Service-kubelet",
    "Swap",
    "SystemVerification",
];

/// A fault: how a machine gets it and is rid of it, in the shell's words, what stands before each command line, and the
/// checks that must not pass then.
struct Fault {
    what: &'static str,
    make: &'static str,
    mend: &'static str,
    environment: &'static [&'static str],
    node_name: Option<&'static str>,
    told_by: &'static [&'static str],
}

impl Fault {
    const NONE: Self =
        Self { what: "nothing", make: "true", mend: "true", environment: &[], node_name: None, told_by: &[] };
}

const FAULTS: &[Fault] = &[
    Fault::NONE,
    Fault {
        what: "a container runtime that does not run",
        make: "systemctl stop containerd.service",
        mend: "systemctl start containerd.service",
        told_by: &["CRI", "ContainerRuntimeVersion"],
        ..Fault::NONE
    },
    Fault {
        what: "a port that somebody has",
        make: "systemd-run --quiet --unit=squatter --socket-property=ListenStream=10250 cat",
        mend: "systemctl stop squatter.socket",
        told_by: &["Port-10250"],
        ..Fault::NONE
    },
    Fault {
        what: "no forwarding",
        make: "sysctl -w net.ipv4.ip_forward=0",
        mend: "sysctl -w net.ipv4.ip_forward=1",
        told_by: &["FileContent--proc-sys-net-ipv4-ip_forward"],
        ..Fault::NONE
    },
    Fault {
        what: "files of an earlier cluster",
        make: "mkdir -p /etc/kubernetes/pki; cd /etc/kubernetes; touch kubelet.conf bootstrap-kubelet.conf pki/ca.crt",
        mend: "rm -r /etc/kubernetes",
        told_by: &[
            "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
            "FileAvailable--etc-kubernetes-kubelet.conf",
            "FileAvailable--etc-kubernetes-pki-ca.crt",
        ],
        ..Fault::NONE
    },
    Fault {
        what: "programs that are missing",
        make: "mkdir /root/away; mv $(command -v losetup) $(command -v cp) /root/away",
        mend: "mv /root/away/losetup /usr/sbin/; mv /root/away/cp /usr/bin/",
        told_by: &["FileExisting-cp", "FileExisting-losetup"],
        ..Fault::NONE
    },
    Fault {
        what: "a node's name that does not resolve",
        node_name: Some("nobody-knows-it"),
        told_by: &["Hostname"],
        ..Fault::NONE
    },
    Fault {
        what: "a kubelet that is not started at boot",
        make: "systemctl disable kubelet.service",
        mend: "systemctl enable kubelet.service",
        told_by: &["Service-kubelet"],
        ..Fault::NONE
    },
    Fault {
        what: "no unit of the kubelet's",
        make: "mv /etc/systemd/system/kubelet.service* /root/; systemctl daemon-reload",
        mend: "mv /root/kubelet.service* /etc/systemd/system/; systemctl daemon-reload",
        told_by: &["Service-kubelet"],
        ..Fault::NONE
    },
    Fault {
        what: "no kubelet",
        make: "mv /usr/bin/kubelet /root/",
        mend: "mv /root/kubelet /usr/bin/",
        told_by: &["KubeletVersion", "SystemVerification"],
        ..Fault::NONE
    },
    Fault {
        what: "a proxy on the way",
        environment: &["HTTPS_PROXY=http://proxy.invalid:3128"],
        told_by: &["HTTPProxy"],
        ..Fault::NONE
    },
];

/// On machines with one fault each, kubeadm and the agent come to the same verdict by the same name.
pub fn are_those_of_kubeadm(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("checks-1")?;
    let mut problems = Vec::new();
    suite.operator().prepare_agent(&machine, "{}")?;
    for fault in FAULTS {
        let name = fault.node_name.unwrap_or(machine.name());
        let configuration = join_e2e::operator::agent_configuration(name, suite.enrollment());
        std::fs::write(machine.path("/etc/join-agent/config.yaml")?, &configuration)?;
        write_join_configuration(&machine, name, &configuration)?;
        machine.run(&["sh", "-c", fault.make])?;
        let (theirs, ours) = (kubeadm(&machine, fault)?, agent(&machine, fault)?);
        machine.run(&["sh", "-c", fault.mend])?;
        for check in OF_BOTH {
            let of = |verdicts: &BTreeMap<String, Told>| verdicts.get(check).copied().unwrap_or(Told::Nothing);
            if of(&theirs) != of(&ours) {
                let what = fault.what;
                problems.push(format!("{what}: {check}: kubeadm says {:?}, the agent {:?}", of(&theirs), of(&ours)));
            }
        }
        for check in fault.told_by {
            assert!(ours.contains_key(*check), "{}: {check} is not in {ours:?}", fault.what);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

/// What a check told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Warning,
    Error,
}

/// For kubeadm: the same cluster, without waiting for it.
fn write_join_configuration(machine: &Machine<'_>, name: &str, agent: &str) -> Result<(), Failed> {
    let agent: serde_json::Value = serde_json::from_str(agent)?;
    let configuration = serde_json::json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": agent["discovery"],
        "nodeRegistration": {"name": name, "criSocket": "unix:///var/run/containerd/containerd.sock"},
        "timeouts": {"discovery": "1s", "kubernetesAPICall": "1s"},
    });
    Ok(std::fs::write(machine.path("/root/join.yaml")?, configuration.to_string())?)
}

/// The verdicts of `kubeadm join`'s preflight, which prints `[ERROR Name]: …` and `[WARNING Name]: …`.
fn kubeadm(machine: &Machine<'_>, fault: &Fault) -> Result<BTreeMap<String, Told>, Failed> {
    let output = machine
        .command("env")?
        .args(fault.environment)
        .args(["kubeadm", "join", "phase", "preflight", "--config=/root/join.yaml"])
        .output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    if !printed.contains("Running pre-flight checks") {
        return Err(format!("{}: kubeadm did not come to its checks: {printed}", fault.what).into());
    }
    let mut told = BTreeMap::new();
    for line in printed.lines() {
        for (mark, verdict) in [("[ERROR ", Told::Error), ("[WARNING ", Told::Warning)] {
            let name = line.trim().strip_prefix(mark).and_then(|rest| rest.split_once(']')).map(|(name, _)| name);
            if let Some(name) = name {
                let worst = told.entry(name.to_owned()).or_insert(verdict);
                *worst = verdict.max(*worst);
            }
        }
    }
    Ok(told)
}

/// The verdicts of `join-agent check`.
fn agent(machine: &Machine<'_>, fault: &Fault) -> Result<BTreeMap<String, Told>, Failed> {
    let output =
        machine.command("env")?.args(fault.environment).args(["join-agent", "check", "-o", "json"]).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&printed)
        .map_err(|error| format!("{error}: {printed} {}", String::from_utf8_lossy(&output.stderr)))?;
    let checks = report["checks"].as_array().ok_or("no checks")?;
    let told = checks.iter().filter_map(|check| {
        let verdict = match check["verdict"].as_str()? {
            "failed" => Told::Error,
            "warning" => Told::Warning,
            _ => return None,
        };
        Some((check["id"].as_str()?.to_owned(), verdict))
    });
    let told: BTreeMap<String, Told> = told.collect();
    let has_failed = told.values().any(|verdict| *verdict == Told::Error);
    assert_eq!(output.status.success(), !has_failed, "the exit code does not fit {told:?}");
    Ok(told)
}

/// A node that breaks after its join says so in its request, with what was seen, and says when it is mended.
pub fn a_node_that_breaks_says_so(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("breaks-1")?;
    let name = machine.name();
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(name)?;
    let request = until(suite, &machine, "six checks without a failure", |checks| {
        checks.len() == 6 && checks.iter().all(|check| check.result != CheckResult::Failed)
    })?;
    let names: Vec<String> = checks_of(&request).iter().map(|check| check.name.clone()).collect();
    assert_eq!(
        names,
        ["NodeRegistered", "NodeReady", "KubeletService", "KubeProxy", "KubeletCredential", "KubeletConfiguration"]
    );
    let printed = machine.run(&["join-agent", "check"])?.stdout;
    assert!(printed.contains(&format!("this machine is the node {name}")), "{printed}");

    machine.run(&["systemctl", "stop", "kubelet.service"])?;
    let request = until(suite, &machine, "a kubelet that does not run", |checks| is(checks, "KubeletService", false))?;
    let check = find(checks_of(&request), "KubeletService").ok_or("no KubeletService")?;
    let message = check.message.clone().unwrap_or_default();
    assert!(message.contains("kubelet.service is inactive") && message.contains("systemctl enable --now"), "{message}");
    let said = suite.operator().agent_status(&machine);
    assert!(said.contains("KubeletService"), "{said}");
    assert!(machine.run(&["join-agent", "check", "-o", "short"]).is_err());
    machine.run(&["systemctl", "start", "kubelet.service"])?;
    until(suite, &machine, "the kubelet to run again", |checks| {
        is(checks, "KubeletService", true) && is(checks, "NodeReady", true)
    })?;

    // The Node's own reason is repeated.
    let network = Path::new("/etc/cni/net.d/10-lab.conflist");
    let (there, away) = (machine.path(network)?, machine.path("/root/10-lab.conflist")?);
    std::fs::rename(&there, &away)?;
    let request = until(suite, &machine, "a node without a network", |checks| is(checks, "NodeReady", false))?;
    let message = find(checks_of(&request), "NodeReady").and_then(|check| check.message.clone()).unwrap_or_default();
    assert!(message.contains("NetworkPluginNotReady") && message.contains("CNI"), "{message}");
    std::fs::rename(&away, &there)?;
    // It reads the folder anew when it starts.
    machine.run(&["systemctl", "restart", "containerd.service"])?;
    until(suite, &machine, "a node with a network", |checks| is(checks, "NodeReady", true))?;
    Ok(())
}

/// `kubeadm join` does not compare the two: its kubelet would register, and may not work with that API server.
pub fn a_kubelet_newer_than_the_control_plane_is_refused(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("newer-1")?;
    let newer = Components::build(KubernetesMinor::V1_37)?;
    let folder = newer.kubernetes.file_name().ok_or("the components have no folder")?.to_string_lossy().into_owned();
    machine.run(&["ln", "-sf", &format!("/opt/components/{folder}/kubelet"), "/usr/bin/kubelet"])?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let request = suite.wait_for(machine.name(), ConditionType::Ready, "False", Reason::PreflightFailed)?;
    let check = find(checks_of(&request), "KubeletVersionSkew").ok_or("no KubeletVersionSkew")?;
    let message = check.message.clone().unwrap_or_default();
    assert!(check.result == CheckResult::Failed && message.contains("v1.37."), "{message}");
    for named in ["is newer than the control plane v1.35.", "upgrade the control plane first"] {
        assert!(message.contains(named), "{named} is not in: {message}");
    }
    let said = suite.operator().agent_status(&machine);
    assert!(said.contains("reason:   PreflightFailed") && said.contains("KubeletVersionSkew"), "{said}");
    Ok(())
}

fn find<'a>(checks: &'a [Check], name: &str) -> Option<&'a Check> {
    checks.iter().find(|check| check.name == name)
}

fn is(checks: &[Check], name: &str, well: bool) -> bool {
    let expected = if well { CheckResult::Passed } else { CheckResult::Failed };
    find(checks, name).is_some_and(|check| check.result == expected)
}

fn checks_of(request: &NodeJoinRequest) -> &[Check] {
    let agent = request.status.as_ref().and_then(|status| status.agent.as_ref());
    agent.map(|agent| agent.checks.as_slice()).unwrap_or_default()
}

/// Waits until the checks in a request are as they should be.
fn until(
    suite: &Suite,
    machine: &Machine<'_>,
    what: &str,
    condition: impl Fn(&[Check]) -> bool,
) -> Result<NodeJoinRequest, Failed> {
    let api = suite.requests_api();
    let found = wait_until(what, PATIENCE, || {
        let request = suite.block_on(api.get(machine.name())).map_err(|failure| failure.to_string())?;
        if condition(checks_of(&request)) { Ok(request) } else { Err(format!("{:?}", checks_of(&request))) }
    });
    Ok(found?)
}
