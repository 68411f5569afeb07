//! What has gone wrong elsewhere, as requests to this policy.

use super::scene::{CSR_UID, Scene};
use crate::names::{CLIENT_SIGNER, SERVING_SIGNER};
use crate::pin::PublicKeyPin;
use crate::policy::{Accounting, Decision, KeyBinding, Rule, Severity};
use crate::test_support::{Forge, dns, ip, printable};

/// One incident: what the attacker did, and the rule that stops him here.
struct Incident {
    id: &'static str,
    what: &'static str,
    scene: fn() -> Scene,
    stopped_by: Rule,
}

const INCIDENTS: &[Incident] = &[
    Incident {
        id: "CVE-2022-36103 (GHSA-7hgc-php5-77qq), Talos before 1.2.2",
        what: "a worker's join token bought a client certificate with other rights",
        scene: || {
            let mut scene = Scene::client();
            scene.forge.subject[0][0].1 = printable("system:masters");
            scene.forge.subject[1][0].1 = printable("kubernetes-admin");
            scene
        },
        stopped_by: Rule::Organization,
    },
    Incident {
        id: "CVE-2022-36103, the other way round",
        what: "a serving request carried the usage of a client certificate",
        scene: || {
            let mut scene = Scene::serving();
            scene.csr.usages.push("client auth".to_owned());
            scene
        },
        stopped_by: Rule::Usages,
    },
    Incident {
        id: "GHSA-87pw-5j2g-6376, talos-cloud-controller-manager",
        what: "one node asked for the serving certificate of another",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.subject[1][0].1 = printable("system:node:worker-8");
            scene.forge.names = vec![dns("worker-8"), ip("192.0.2.18")];
            scene
        },
        stopped_by: Rule::ServingRequester,
    },
    Incident {
        id: "GHSA-87pw-5j2g-6376, after its first fix",
        what: "the addresses were checked and the DNS names were not",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names = vec![dns("worker-8"), ip("192.0.2.17")];
            scene
        },
        stopped_by: Rule::DnsNames,
    },
    Incident {
        id: "GHSA-87pw-5j2g-6376, after its second fix",
        what: "no alternative name at all passed a check of every name",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names.clear();
            scene
        },
        stopped_by: Rule::ServingNames,
    },
    Incident {
        id: "GHSA-x7j5-fww5-mqmv, ekco",
        what: "every serving request was approved unseen: here the API server's address",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names = vec![ip("192.0.2.1")];
            scene
        },
        stopped_by: Rule::Addresses,
    },
    Incident {
        id: "k0s#8333, requester",
        what: "a bootstrap token asked for a node's serving certificate",
        scene: || {
            let mut scene = Scene::serving();
            scene.csr.username = "system:bootstrap:abcdef".to_owned();
            scene.csr.groups = Scene::client().csr.groups;
            scene
        },
        stopped_by: Rule::ServingRequester,
    },
    Incident {
        id: "k0s#8333, self-reported addresses",
        what: "a node put the API server's address into its own inventory first",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names.push(ip("192.0.2.1"));
            scene.approved_addresses.insert("192.0.2.1".parse().unwrap());
            scene
        },
        stopped_by: Rule::ForbiddenAddress,
    },
    Incident {
        id: "deckhouse#22901",
        what: "the right content for another signer was approved",
        scene: || {
            let mut scene = Scene::client();
            scene.csr.signer_name = "kubernetes.io/kube-apiserver-client".to_owned();
            scene
        },
        stopped_by: Rule::Signer,
    },
    Incident {
        id: "kubelet-serving-cert-approver#337 and #348",
        what: "alternative names were not bound to the node",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names = vec![dns("worker-7"), ip("198.51.100.7")];
            scene
        },
        stopped_by: Rule::Addresses,
    },
    Incident {
        id: "KubeUser#114",
        what: "somebody else created the object of the deterministic name first",
        scene: || {
            let mut scene = Scene::client();
            let owner = scene.forge.pin();
            scene.forge = Forge::kubelet("worker-7");
            scene.csr.name = "nodejoin-client-abcdef".to_owned();
            scene.record().key = KeyBinding::Pinned(owner);
            scene
        },
        stopped_by: Rule::PinnedKey,
    },
    Incident {
        id: "cloud-provider-gcp#185",
        what: "DNS names were not verified",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names.push(dns("kubernetes.default.svc"));
            scene
        },
        stopped_by: Rule::DnsNames,
    },
    Incident {
        id: "CVE-2024-12401 (GHSA-r4pg-vg54-wxx4), cert-manager",
        what: "PEM that takes very long to parse",
        scene: || {
            let mut scene = Scene::client();
            scene.raw = Some("-----BEGIN ".repeat(100_000).into_bytes());
            scene
        },
        stopped_by: Rule::Size,
    },
    Incident {
        id: "CVE-2025-5187 and CVE-2025-4563",
        what: "a node deleted its Node and registered anew",
        scene: || {
            let mut scene = Scene::serving();
            scene.node_uid = Some("registered-anew".to_owned());
            scene
        },
        stopped_by: Rule::NodeIdentity,
    },
    Incident {
        id: "machine-config-operator#731 (bug 1707162), community#628",
        what: "a token for one machine asked for the certificate of another",
        scene: || {
            let mut scene = Scene::client();
            scene.forge.subject[1][0].1 = printable("system:node:control-plane-1");
            scene
        },
        stopped_by: Rule::TokenNode,
    },
    Incident {
        id: "openyurt: any requester, organisation only has to contain system:nodes",
        what: "a second organisation beside the right one",
        scene: || {
            let mut scene = Scene::client();
            let organisation = (scene.forge.subject[0][0].0, printable("system:masters"));
            scene.forge.subject.push(vec![organisation]);
            scene
        },
        stopped_by: Rule::Organization,
    },
    Incident {
        id: "cluster-api-provider-bringyourownhost: approved by the object's name",
        what: "a good name for a bad content",
        scene: || {
            let mut scene = Scene::client();
            scene.csr.name = "nodejoin-client-abcdef".to_owned();
            scene.csr.username = "system:bootstrap:zzzzzz".to_owned();
            scene
        },
        stopped_by: Rule::RequesterName,
    },
    Incident {
        id: "kube-controller-manager: only the prefix of the common name",
        what: "a certificate for the node without a name",
        scene: || {
            let mut scene = Scene::client();
            scene.forge.subject[1][0].1 = printable("system:node:");
            scene
        },
        stopped_by: Rule::CommonName,
    },
    Incident {
        id: "kubelet-csr-approver: DNS names by prefix",
        what: "node `worker-7` asked for the name of `worker-77`",
        scene: || {
            let mut scene = Scene::serving();
            scene.forge.names.push(dns("worker-77"));
            scene
        },
        stopped_by: Rule::DnsNames,
    },
    Incident {
        id: "kubernetes#79779 and kubeadm#1711",
        what: "a second machine joined under the name of a living one",
        scene: || {
            let mut scene = Scene::client();
            scene.node_uid = Some("somebody".to_owned());
            scene
        },
        stopped_by: Rule::NodeAbsent,
    },
    Incident {
        id: "a token read from a Secret or a join command after the join",
        what: "the token was used a second time",
        scene: || {
            let mut scene = Scene::client();
            scene.record().key = KeyBinding::FirstUse;
            scene.record().approved = Some(Accounting {
                csr_uid: "the machine's".to_owned(),
                public_key: PublicKeyPin::of_spki(b"the machine's"),
                issued: true,
            });
            scene
        },
        stopped_by: Rule::SecondCertificate,
    },
    Incident {
        id: "an enrollment token baked into every image",
        what: "a thief asked for a certificate with it",
        scene: || {
            let mut scene = Scene::client();
            scene.csr.groups[1] = crate::names::ENROLL_GROUP.to_owned();
            scene
        },
        stopped_by: Rule::RequesterGroups,
    },
    Incident {
        id: "cluster-machine-approver#322",
        what: "the addresses of the machine came late",
        scene: || {
            let mut scene = Scene::serving();
            scene.approved_addresses.clear();
            scene
        },
        stopped_by: Rule::AddressesKnown,
    },
    Incident {
        id: "cluster-machine-approver#310",
        what: "a kubelet asked again and again while nothing was approved",
        scene: || {
            let mut scene = Scene::serving();
            scene.superseded_by = Some("csr-newer".to_owned());
            scene
        },
        stopped_by: Rule::Superseded,
    },
];

#[test]
fn each_incident_is_stopped_by_its_rule() {
    for incident in INCIDENTS {
        let decision = (incident.scene)().decide();
        let (severity, finding) = match &decision {
            Decision::NotOurs(finding) => (Severity::Ignore, finding),
            Decision::Deny(finding) => (Severity::Deny, finding),
            Decision::Wait(finding) => (Severity::Wait, finding),
            Decision::Approve(_) => panic!("{}: {}: approved", incident.id, incident.what),
        };
        assert_eq!(finding.rule, incident.stopped_by, "{}: {}: {decision:?}", incident.id, incident.what);
        assert_eq!(severity, incident.stopped_by.severity());
    }
}

/// The page of the documentation, whose first table is this one.
const PAGE: &str = include_str!("../../../../docs/incidents.md");

#[test]
fn the_page_has_every_incident() {
    let rows: Vec<String> = INCIDENTS
        .iter()
        .map(|Incident { id, what, stopped_by, .. }| format!("| {id} | {what} | `{stopped_by}` |"))
        .collect();
    let begin = PAGE.find("|---|---|---|\n").unwrap() + "|---|---|---|\n".len();
    let found: Vec<&str> = PAGE[begin..].lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, rows, "docs/incidents.md should have:\n{}", rows.join("\n"));
}

/// The page's second table names a test for each row, as a file and a function.
#[test]
fn the_page_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = PAGE.lines().filter(|line| line.contains(".rs`"));
    let mut named = 0;
    for row in rows {
        let mut texts = row.split('`').skip(1).step_by(2);
        while let Some(path) = texts.find(|text| text.contains(".rs")) {
            let function = texts.next().unwrap_or_default();
            let source = std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(source.contains(&format!("fn {function}(")), "{path} has no test {function}");
            named += 1;
        }
    }
    assert!(named >= 10, "only {named} tests are named");
}

/// kubelet-csr-approver#171 and #198: a resolver's hiccup became a denial. Nothing here can depend on a resolver: the
/// same input gives the same answer.
#[test]
fn decisions_depend_on_their_input_alone() {
    for scene in [Scene::client(), Scene::serving()] {
        let (csr, context) = (scene.csr(), scene.context());
        let first = crate::policy::decide(&csr, &context);
        assert!((0..10).all(|_| crate::policy::decide(&csr, &context) == first));
    }
}

/// cluster-machine-approver#31: an approver that denies what it does not know breaks every other approver.
#[test]
fn strangers_are_never_denied() {
    for signer in [CLIENT_SIGNER, SERVING_SIGNER, "kubernetes.io/legacy-unknown", "example.org/mine"] {
        for username in ["jane", "system:serviceaccount:a:b", "system:node:somebody", "system:bootstrap:zzzzzz", ""] {
            for mut scene in [Scene::client(), Scene::serving()] {
                scene.known = false;
                scene.csr.uid = CSR_UID.to_owned();
                scene.csr.signer_name = signer.to_owned();
                scene.csr.username = username.to_owned();
                scene.csr.usages.clear();
                scene.raw = Some(b"not even PEM".to_vec());
                assert!(matches!(scene.decide(), Decision::NotOurs(_)), "{signer} {username}: {:?}", scene.decide());
            }
        }
    }
}
