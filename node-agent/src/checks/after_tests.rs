use join_checks::Verdict::{self, Failed, Passed, Skipped, Warning};
use serde_json::json;

use super::*;
use crate::checks::tests::verdict;

const NOW: i64 = 1_800_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn sound() -> Local {
    let unit = Unit {
        load_state: "loaded".to_owned(),
        active_state: "active".to_owned(),
        file_state: "enabled".to_owned(),
        ..Unit::default()
    };
    Local {
        kubelet: Ok(unit),
        kube_proxy_unit: false,
        kube_proxy: Ok(vec![container(true)]),
        credential: Ok(time(NOW + 86_400)),
        configuration: Ok(()),
        control_plane: None,
    }
}

fn container(running: bool) -> Container {
    Container { pod: "kube-proxy-x".to_owned(), running }
}

fn node(status: &str, message: &str) -> Seen {
    Seen::Present(Present {
        ready: Some((status.to_owned(), "KubeletReason".to_owned(), message.to_owned())),
        addresses: vec!["10.0.0.5".to_owned()],
    })
}

fn told(local: &Local, seen: &Seen, id: &str) -> Verdict {
    verdict(&judge(local, seen, &[], time(NOW)).checks, id)
}

#[test]
fn a_sound_node_passes_its_six_checks() {
    let report = judge(&sound(), &node("True", "kubelet is posting ready status"), &[ip("10.0.0.5")], time(NOW));
    assert_eq!(report.checks.len(), 6);
    assert!(report.checks.iter().all(|finding| finding.verdict == Passed), "{report:?}");
    // Nothing in it differs at the next look.
    let later = judge(&sound(), &node("True", "still"), &[ip("10.0.0.5")], time(NOW + 60));
    assert_eq!(report, later);
}

#[test]
fn a_control_plane_has_one_check_more() {
    let certificates = vec![("/etc/kubernetes/pki/apiserver.crt".to_owned(), Ok(time(NOW + 86_400)))];
    let local = Local { control_plane: Some(certificates), ..sound() };
    let report = judge(&local, &node("True", ""), &[], time(NOW));
    assert_eq!((report.checks.len(), verdict(&report.checks, "ControlPlaneCertificates")), (7, Warning));
}

#[test]
fn what_breaks_is_told_by_its_own_check() {
    type Break = fn(&mut Local);
    let table: [(&str, Break, Verdict); 13] = [
        ("KubeletService", |l| l.kubelet.as_mut().unwrap().active_state = "inactive".to_owned(), Failed),
        ("KubeletService", |l| l.kubelet.as_mut().unwrap().active_state = "activating".to_owned(), Failed),
        ("KubeletService", |l| l.kubelet.as_mut().unwrap().file_state = "disabled".to_owned(), Warning),
        ("KubeletService", |l| l.kubelet = Err("no bus".to_owned()), Skipped),
        ("KubeProxy", |l| l.kube_proxy = Ok(vec![container(false)]), Failed),
        ("KubeProxy", |l| l.kube_proxy = Ok(Vec::new()), Skipped),
        ("KubeProxy", |l| (l.kube_proxy, l.kube_proxy_unit) = (Ok(Vec::new()), true), Passed),
        ("KubeProxy", |l| l.kube_proxy = Ok(vec![container(false), container(true)]), Passed),
        ("KubeProxy", |l| l.kube_proxy = Err(cri::Error::Unimplemented { call: "ListContainers" }), Skipped),
        ("KubeletCredential", |l| l.credential = Err("gone".to_owned()), Failed),
        ("KubeletCredential", |l| l.credential = Ok(time(NOW)), Failed),
        ("KubeletCredential", |l| l.credential = Ok(time(NOW + 60)), Warning),
        ("KubeletConfiguration", |l| l.configuration = Err("gone".to_owned()), Failed),
    ];
    for (id, break_it, expected) in table {
        let mut local = sound();
        break_it(&mut local);
        let report = judge(&local, &node("True", ""), &[], time(NOW));
        for finding in report.checks {
            let expected = if finding.id == id { expected } else { Passed };
            assert_eq!(finding.verdict, expected, "{id} {local:?}: {finding:?}");
        }
    }
}

#[test]
fn a_node_is_told_with_its_own_reason() {
    let no_cni = node("False", "container runtime network not ready: reason:NetworkPluginNotReady message:cni");
    for (seen, registered, ready) in [
        (Seen::Unknown("not asked yet".to_owned()), Skipped, Skipped),
        (Seen::Absent, Failed, Skipped),
        (Seen::Present(Present { addresses: vec!["10.0.0.5".to_owned()], ready: None }), Passed, Failed),
        (no_cni.clone(), Passed, Failed),
        (node("Unknown", "Kubelet stopped posting node status."), Passed, Failed),
    ] {
        assert_eq!(told(&sound(), &seen, "NodeRegistered"), registered, "{seen:?}");
        assert_eq!(told(&sound(), &seen, "NodeReady"), ready, "{seen:?}");
    }
    let finding = ready(&no_cni);
    assert!(finding.observed.starts_with("KubeletReason: container runtime network not ready"), "{finding:?}");
    assert!(finding.remedy.unwrap().contains("CNI"));
}

#[test]
fn an_address_that_was_not_asked_for_is_told() {
    let seen = node("True", "");
    let with = |allowed: &[&str]| {
        let allowed: Vec<IpAddr> = allowed.iter().map(|address| ip(address)).collect();
        registered(&seen, &allowed).verdict
    };
    assert_eq!(with(&[]), Passed);
    assert_eq!(with(&["192.0.2.1", "10.0.0.5"]), Passed);
    assert_eq!(with(&["192.0.2.1"]), Warning);
    assert_eq!(registered(&Seen::Present(Present::default()), &[]).verdict, Warning);
    // One address can be written in many ways.
    let v6 = Seen::Present(Present { addresses: vec!["fd00::5".to_owned()], ready: None });
    assert_eq!(registered(&v6, &[ip("fd00:0:0::5")]).verdict, Passed);
}

#[test]
fn what_counts_of_a_node_is_taken_and_cut() {
    let node: Node = serde_json::from_value(json!({"status": {
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "x".repeat(1000)},
        ],
        "addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.0.5"}],
    }}))
    .unwrap();
    let present = Present::of(&node);
    assert_eq!(present.addresses, ["10.0.0.5"]);
    let (status, reason, message) = present.ready.unwrap();
    assert_eq!((status.as_str(), reason.as_str(), message.len()), ("False", "KubeletNotReady", MAX_MESSAGE));
    assert_eq!(Present::of(&Node::default()), Present::default());
}

#[test]
fn a_credential_is_this_nodes_and_valid() {
    let node = NodeName::parse("worker-1").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = |name: &str, from: i32, until: i32| {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        (parameters.not_before, parameters.not_after) =
            (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        Ok(parameters.self_signed(&key).unwrap().pem().into_bytes())
    };
    let good = certificate("system:node:worker-1", 2020, 2100);
    assert_eq!(credential(true, good.clone(), &node).unwrap().to_string(), "2100-01-01T00:00:00Z");
    for (conf, pem, expected) in [
        (false, good, "kubelet.conf"),
        (true, Err("no such file".to_owned()), "no such file"),
        (true, Ok(b"text".to_vec()), "no certificate"),
        (true, certificate("system:node:worker-2", 2020, 2100), "is not for system:node:worker-1"),
        (true, certificate("system:node:worker-1", 2099, 2100), "clock"),
    ] {
        let problem = credential(conf, pem, &node).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn the_runtimes_socket_is_read_from_the_nodes_own_file() {
    assert_eq!(cri_socket("containerRuntimeEndpoint: \"unix:///run/crio/crio.sock\"\n"), "unix:///run/crio/crio.sock");
    for other in ["", "containerRuntimeEndpoint: \"\"\n", "[]"] {
        assert_eq!(cri_socket(other), files::DEFAULT_CRI_SOCKET);
    }
}

#[test]
fn a_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    assert!(configuration(&path).is_err());
    std::fs::write(&path, "half a fi").unwrap();
    assert!(configuration(&path).unwrap_err().contains("no KubeletConfiguration"));
    std::fs::write(&path, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n").unwrap();
    assert_eq!(configuration(&path), Ok(()));
}
