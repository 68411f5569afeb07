//! A request makes a machine a control plane.

use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::layout::CONTROL_PLANE;
use join_e2e::lab::{Lab, Machine, own_name, wait_until};
use join_e2e::operator::{NAMESPACE, Operator};
use join_e2e::snapshot::control_plane_files;
use join_e2e::suite::{attempt, binaries, keep_logs};
use libtest_mimic::Failed;
use secrecy::ExposeSecret;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

use super::sound::{ETCD_DATA, NAME, is_a_sound_control_plane, mode_of};

/// The Secret with the certificate key.
const SECRET: &str = "certificate-key";

pub fn makes_a_second_control_plane() -> Result<(), Failed> {
    let minor = KubernetesMinor::V1_37;
    let lab = Lab::start(&own_name("t-cpo")?, minor, Components::build(minor)?)?;
    let operator = Operator::install(&lab, binaries()?)?;
    attempt(|| makes(&lab, &operator)).map_err(|message| {
        let logs = keep_logs(&operator, "a_request_makes_a_second_control_plane");
        format!("{message}\nlogs: {logs}").into()
    })
}

fn makes(lab: &Lab, operator: &Operator<'_>) -> Result<(), Failed> {
    operator.start_controller("controller", &[])?;
    let machine = lab.add_control_plane_machine(NAME)?;
    lab.add_etcd_pod_stub()?;
    operator.install_agent(&machine, &operator.enroll()?)?;
    let certificate_key = lab.upload_certificates()?;
    operator.apply(&secret(certificate_key.expose_secret()).to_string())?;
    operator.apply(&request(&key_of(&machine)?).to_string())?;
    kill_the_agent_once_etcd_knows_the_machine(lab, &machine)?;
    operator.kubectl(&["wait", "--for=condition=Ready", &format!("njr/{NAME}"), "--timeout=180s"])?;
    is_a_sound_control_plane(lab, &machine)?;
    has_a_serving_certificate(operator)?;
    has_certificates_that_kubeadm_renews(operator, &machine)?;
    keeps_the_certificate_key_to_itself(operator, &machine, certificate_key.expose_secret())?;
    a_reset_takes_it_out_again(lab, operator, &machine)
}

fn has_a_serving_certificate(operator: &Operator<'_>) -> Result<(), Failed> {
    let condition = "--for=condition=ServingCertificateIssued";
    operator.kubectl(&["wait", condition, &format!("njr/{NAME}"), "--timeout=60s"])?;
    Ok(())
}

/// The agent tells when the first of them ends, before and after; kubeadm knows all of them as its own.
fn has_certificates_that_kubeadm_renews(operator: &Operator<'_>, machine: &Machine<'_>) -> Result<(), Failed> {
    let told = || -> Result<String, Failed> {
        let path = "--output=jsonpath={.status.agent.checks[?(@.name=='ControlPlaneCertificates')]}";
        Ok(wait_until("the check of the certificates", Duration::from_mins(1), || {
            let check = operator.kubectl(&["get", "njr", NAME, path]).map_err(|failure| failure.to_string())?;
            if check.contains("the first to expire is /etc/kubernetes/") { Ok(check) } else { Err(check) }
        })?)
    };
    let before = told()?;
    let renewed = machine.run(&["kubeadm", "certs", "renew", "all"])?.stdout;
    // Seven files, and a kubeconfig each for the administrator, the controller manager and the scheduler.
    assert_eq!(renewed.lines().filter(|line| line.ends_with(" renewed")).count(), 10, "{renewed}");
    wait_until("the certificates that kubeadm has made to be told", Duration::from_mins(1), || match told() {
        Ok(after) if after != before => Ok(()),
        Ok(after) => Err(after),
        Err(failure) => Err(failure.message().unwrap_or_default().to_owned()),
    })?;
    Ok(())
}

/// etcd has one member afterwards, the cluster works without the machine, and nothing of the join is left on it.
fn a_reset_takes_it_out_again(lab: &Lab, operator: &Operator<'_>, machine: &Machine<'_>) -> Result<(), Failed> {
    machine.run(&["join-agent", "reset", "--yes"])?;
    let members = lab.etcd_members(CONTROL_PLANE)?;
    assert_eq!(members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["control-plane"]);
    operator.kubectl(&["delete", "node", NAME])?;
    let left = control_plane_files(machine)?;
    let left: Vec<_> = left.keys().filter(|path| path.extension().is_some_and(|kind| kind != "log")).collect();
    assert_eq!(left, [Path::new("/etc/kubernetes/audit-policy.yaml")]);
    assert_eq!(mode_of(machine, ETCD_DATA)?, None, "a folder that was not there before the join");
    Ok(())
}

/// The machine goes on from there, and no second member is made of it.
fn kill_the_agent_once_etcd_knows_the_machine(lab: &Lab, machine: &Machine<'_>) -> Result<(), Failed> {
    wait_until("etcd to know the machine", Duration::from_mins(1), || {
        let members = lab.etcd_members(CONTROL_PLANE).map_err(|failure| failure.to_string())?;
        if members.len() == 2 { Ok(()) } else { Err(format!("{members:?}")) }
    })?;
    machine.run(&["systemctl", "kill", "--signal=KILL", "join-agent.service"])?;
    Ok(())
}

/// A request for the machine with that key.
pub fn request(key: &str) -> serde_json::Value {
    json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": NAME},
        "spec": {
            "role": "ControlPlane",
            "machine": {"publicKeyHash": key},
            "controlPlane": {"certificateKeySecret": SECRET},
        },
    })
}

/// The Secret with a certificate key.
pub fn secret(key: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"certificateKey": key},
    })
}

/// The key of the machine, as its agent tells it.
pub fn key_of(machine: &Machine<'_>) -> Result<String, Failed> {
    let key = wait_until("the agent to tell the machine's key", Duration::from_mins(1), || {
        let printed = machine.run(&["join-agent", "status", "--output=json"]).map_err(|failure| failure.to_string())?;
        let status: serde_json::Value = serde_json::from_str(&printed.stdout).map_err(|failure| failure.to_string())?;
        status["publicKeyHash"].as_str().map(str::to_owned).ok_or_else(|| printed.stdout.clone())
    })?;
    Ok(key)
}

/// The certificate key stands in the Secret alone: not in the request, and not on the machine.
pub fn keeps_the_certificate_key_to_itself(
    operator: &Operator<'_>,
    machine: &Machine<'_>,
    key: &str,
) -> Result<(), Failed> {
    let request = operator.kubectl(&["get", "njr", NAME, "--output=yaml"])?;
    let events = operator.kubectl(&["get", "events", "--all-namespaces", "--output=yaml"])?;
    let journal = machine.journal("join-agent.service")?;
    for (place, text) in [("the request", &request), ("the events", &events), ("the agent's log", &journal)] {
        assert!(!text.contains(key), "{place} has the certificate key");
    }
    // By file, since an argument could be read by everybody on the machine.
    let file = machine.path("/run/certificate-key")?;
    std::fs::write(&file, key)?;
    let search = [
        "grep",
        "--recursive",
        "--files-with-matches",
        "--file=/run/certificate-key",
        "/etc",
        "/var/lib/join-agent",
        "/run/join-agent",
    ];
    let found = machine.command(search[0])?.args(&search[1..]).output()?;
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files on the machine have the certificate key");
    Ok(())
}
