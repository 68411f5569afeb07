//! Trees of many states, compared with files. UPDATE=1 rewrites them.

mod drawing;
mod scene;

use std::path::PathBuf;

use join_crds::vocabulary::{ConditionType, Reason};

use super::gather::Gathered;
use super::model::{Outcome, State, tree};
use super::render::{Look, render};
use crate::output::Screen;
use scene::{Scene, announcement, event, node, node_ready, node_unready, settled};

const PLAIN: Look = Look { screen: Screen::PLAIN, width: 100, unicode: true };

fn compare(name: &str, text: &str) {
    let text = &settled(text);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/status/tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(*text, expected, "{}: run the test again with UPDATE=1 if this is meant", path.display());
}

/// Every state that is drawn, by name.
fn states() -> Vec<(&'static str, Gathered)> {
    let mut states = before_the_certificate();
    states.extend(with_a_certificate_request());
    states.extend(with_a_node());
    states.extend(of_a_control_plane());
    states.push(("hostile", hostile()));
    states
}

fn before_the_certificate() -> Vec<(&'static str, Gathered)> {
    use ConditionType::{ClientCertificateIssued, CredentialIssued, MachineBound, Ready, Stalled};
    let two = || {
        Scene::requested().with(announcement("worker-1", 1, 300)).with(announcement("worker-1", 2, 100)).says(&[
            (MachineBound, "False", Reason::MachineConflict, "2 machines have announced themselves", 100),
            (Ready, "False", Reason::MachineConflict, "2 machines have announced themselves", 100),
            (Stalled, "True", Reason::MachineConflict, "2 machines have announced themselves", 100),
        ])
    };
    vec![
        ("absent", Scene::nothing().done()),
        ("announced", Scene::nothing().with(announcement("worker-1", 1, 300)).done()),
        (
            "announced-by-two",
            Scene::nothing().with(announcement("worker-1", 1, 300)).with(announcement("worker-1", 2, 60)).done(),
        ),
        ("not-looked-at", Scene::requested().done()),
        (
            "waiting-for-machine",
            Scene::requested()
                .says(&[
                    (MachineBound, "False", Reason::WaitingForMachine, "", 200),
                    (Ready, "False", Reason::WaitingForMachine, "", 200),
                ])
                .done(),
        ),
        ("two-machines", two().event("MachineRefused", "Warning", "two keys claim worker-1", 90).done()),
        (
            "credential-issued",
            Scene::bound()
                .token()
                .agent("Discovery", "looking for the API server")
                .says(&[
                    (ClientCertificateIssued, "False", Reason::Joining, "the agent is at Discovery", 20),
                    (Ready, "False", Reason::Joining, "the agent is at Discovery", 20),
                ])
                .done(),
        ),
        (
            "preflight-failed",
            Scene::bound()
                .token()
                .says(&[
                    (ClientCertificateIssued, "False", Reason::PreflightFailed, "Port-10250: taken by kubelet", 20),
                    (Ready, "False", Reason::PreflightFailed, "Port-10250: taken by kubelet", 20),
                ])
                .done(),
        ),
        (
            "token-expired",
            Scene::bound()
                .says(&[
                    (CredentialIssued, "False", Reason::TokenExpired, "it ended 5m ago", 300),
                    (Ready, "False", Reason::TokenExpired, "it ended 5m ago", 300),
                    (Stalled, "True", Reason::TokenExpired, "it ended 5m ago", 300),
                ])
                .done(),
        ),
        ("being-deleted", Scene::bound().deleted().done()),
    ]
}

fn with_a_certificate_request() -> Vec<(&'static str, Gathered)> {
    use ConditionType::{ClientCertificateIssued, Ready, Stalled};
    vec![
        (
            "client-certificate-waiting",
            Scene::bound()
                .token()
                .csr("nodejoin-client-abcdef", None, false)
                .says(&[
                    (
                        ClientCertificateIssued,
                        "False",
                        Reason::CertificateRequestWaiting,
                        "NodeAbsent: a Node of this name exists",
                        20,
                    ),
                    (Ready, "False", Reason::CertificateRequestWaiting, "NodeAbsent: a Node of this name exists", 20),
                ])
                .done(),
        ),
        (
            "client-certificate-denied",
            Scene::bound()
                .token()
                .csr("nodejoin-client-abcdef", Some("Denied"), false)
                .says(&[
                    (
                        ClientCertificateIssued,
                        "False",
                        Reason::CertificateRequestDenied,
                        "KeyPinned: the key is not the pinned one",
                        20,
                    ),
                    (Ready, "False", Reason::CertificateRequestDenied, "KeyPinned: the key is not the pinned one", 20),
                    (Stalled, "True", Reason::CertificateRequestDenied, "KeyPinned: the key is not the pinned one", 20),
                ])
                .event("CertificateDenied", "Warning", "nodejoin-client-abcdef: KeyPinned", 19)
                .done(),
        ),
        (
            "client-certificate-unsigned",
            Scene::bound()
                .token()
                .csr("nodejoin-client-abcdef", Some("Approved"), false)
                .says(&[
                    (ClientCertificateIssued, "False", Reason::SignerMissing, "approved 40 s ago", 20),
                    (Ready, "False", Reason::SignerMissing, "approved 40 s ago", 20),
                ])
                .done(),
        ),
    ]
}

fn with_a_node() -> Vec<(&'static str, Gathered)> {
    use ConditionType::{NodeRegistered, Ready, ServingCertificateIssued, Stalled};
    vec![
        (
            "node-not-ready",
            Scene::joined(node_unready())
                .says(&[(
                    Ready,
                    "False",
                    Reason::NodeNotReady,
                    "KubeletNotReady: container runtime network not ready",
                    20,
                )])
                .done(),
        ),
        ("ready", Scene::joined(node_ready()).says(&[(Ready, "True", Reason::Joined, "", 10)]).done()),
        (
            "stalled",
            Scene::joined(node_unready())
                .says(&[
                    (NodeRegistered, "True", Reason::NodeRegistered, "", 3000),
                    (Ready, "False", Reason::DeadlineExceeded, "NodeNotReady for 58m", 10),
                    (Stalled, "True", Reason::DeadlineExceeded, "NodeNotReady for 58m", 10),
                ])
                .event("Stalled", "Warning", "NodeNotReady for 58m", 10)
                .done(),
        ),
        (
            "serving-certificate-waiting",
            Scene::joined(node_ready())
                .serving("csr-x1", None)
                .says(&[
                    (
                        ServingCertificateIssued,
                        "False",
                        Reason::CertificateRequestWaiting,
                        "AddressAllowed: 10.9.9.9 is in no list",
                        20,
                    ),
                    (Ready, "True", Reason::Joined, "", 10),
                ])
                .done(),
        ),
    ]
}

fn of_a_control_plane() -> Vec<(&'static str, Gathered)> {
    use ConditionType::{ClientCertificateIssued, NodeRegistered, Ready, Stalled};
    let starts = "the certificate is issued; the kubelet has not registered its Node yet, for which its own API server has to \
                  run; the agent is at step StartingControlPlane: joining etcd";
    let late = "not Ready within 900 s of the machine's appearance; waited for ControlPlaneNotHealthy: waiting for pod \
                kube-system/kube-scheduler-worker-1: CrashLoopBackOff";
    let failing = "waiting for pod kube-system/kube-scheduler-worker-1: CrashLoopBackOff";
    let unhealthy = |node| {
        Scene::joined(node).control_plane().agent("StartingControlPlane", failing).says(&[(
            Ready,
            "False",
            Reason::ControlPlaneNotHealthy,
            failing,
            20,
        )])
    };
    vec![
        (
            "control-plane-joins-etcd",
            Scene::bound()
                .control_plane()
                .agent("StartingControlPlane", "joining etcd")
                .says(&[
                    (ClientCertificateIssued, "True", Reason::CertificateIssued, "", 60),
                    (NodeRegistered, "False", Reason::WaitingForNode, starts, 20),
                    (Ready, "False", Reason::WaitingForNode, starts, 20),
                ])
                .done(),
        ),
        ("control-plane-not-healthy", unhealthy(node_ready()).event("AgentFailed", "Warning", failing, 20).done()),
        (
            "control-plane-late",
            unhealthy(node_ready())
                .says(&[
                    (Ready, "False", Reason::DeadlineExceeded, late, 10),
                    (Stalled, "True", Reason::DeadlineExceeded, late, 10),
                ])
                .done(),
        ),
        (
            "control-plane-not-ready",
            unhealthy(node_unready())
                .agent("Joined", "")
                .says(&[(Ready, "False", Reason::NodeNotReady, "KubeletNotReady: no network", 10)])
                .done(),
        ),
        (
            "control-plane-ready",
            unhealthy(node_ready()).agent("Joined", "").says(&[(Ready, "True", Reason::Joined, "", 10)]).done(),
        ),
    ]
}

/// Texts of a machine that wants to move the administrator's cursor.
fn hostile() -> Gathered {
    let evil = "\u{1b}[2J\u{1b}[1;1HReady\r\n\u{9b}31m\u{202e}x";
    let mut gathered = Scene::joined(node("False", "Kubelet\u{1b}[0mNotReady", evil))
        .agent("Joined", evil)
        .says(&[(ConditionType::ClientCertificateIssued, "False", Reason::AgentFailed, evil, 5)])
        .event("Stalled", "Warning", evil, 5)
        .done();
    gathered.obstacles.push(format!("failed to list Events: {evil}"));
    gathered
}

#[test]
fn every_state_is_drawn_as_in_its_file() {
    for (name, gathered) in states() {
        compare(name, &render(&tree(&gathered), PLAIN));
    }
}

#[test]
fn nothing_that_a_terminal_obeys_is_left_of_texts_from_the_cluster() {
    for (name, gathered) in states() {
        let text = render(&tree(&gathered), PLAIN);
        assert!(text.chars().all(|one| one == '\n' || !one.is_control()), "{name}: {text:?}");
        assert!(!text.contains('\u{202e}'), "{name}: {text:?}");
        let changed = super::render::changes(None, &tree(&gathered));
        assert!(changed.chars().all(|one| one == '\n' || !one.is_control()), "{name}: {changed:?}");
    }
}

#[test]
fn outcomes_are_those_that_a_watch_ends_with() {
    let outcomes: Vec<(&str, Outcome)> =
        states().iter().map(|(name, gathered)| (*name, tree(gathered).outcome)).collect();
    for (name, expected) in [
        ("absent", Outcome::Absent),
        ("announced", Outcome::Announced),
        ("waiting-for-machine", Outcome::Waiting),
        ("two-machines", Outcome::Stalled),
        ("node-not-ready", Outcome::Waiting),
        ("ready", Outcome::Ready),
        ("stalled", Outcome::Stalled),
        ("control-plane-not-healthy", Outcome::Waiting),
        ("control-plane-late", Outcome::Stalled),
        ("control-plane-ready", Outcome::Ready),
    ] {
        assert!(outcomes.contains(&(name, expected)), "{name}: {outcomes:?}");
    }
}

#[test]
fn every_reason_that_can_stop_a_step_has_what_to_do_next() {
    for reason in Reason::ALL {
        for kind in reason.conditions() {
            let gathered = Scene::requested().says(&[(*kind, "False", *reason, "seen", 10)]).done();
            for step in tree(&gathered).steps {
                if matches!(step.state, State::Waiting | State::Failed) {
                    assert!(step.next.is_some(), "{reason} on {kind}: {step:?}");
                    assert!(!step.seen.is_empty(), "{reason} on {kind}: {step:?}");
                }
            }
        }
    }
}

#[test]
fn events_of_an_earlier_request_and_of_others_are_not_shown() {
    let mut gathered = Scene::bound().done();
    gathered.events.push(event("MachineRefused", "Warning", "of an earlier one", 5, "another-uid"));
    let mut forged = event("MachineRefused", "Warning", "forged", 1, "uid-of-request");
    forged.reporting_controller = Some("example.com/other".to_owned());
    gathered.events.push(forged);
    assert!(tree(&gathered).steps.iter().all(|step| step.event.is_none()));
}
