//! Each rule both ways: one scene that satisfies it (at its edge, where it has one) and one that breaks only it.

use std::collections::{BTreeMap, BTreeSet};

use x509_cert::der::asn1::OctetString;
use x509_cert::ext::pkix::name::GeneralName;

use super::scene::{CSR_UID, DEADLINE, EXPIRES, Kind, MINTED, NODE_UID, NOW, Scene};
use super::without::without;
use crate::names::{CONTROL_PLANE_GROUP, ENROLL_GROUP, JOIN_GROUP, NODES_GROUP};
use crate::pin::PublicKeyPin;
use crate::policy::{Accounting, Decision, KeyBinding, Requester, Rule, Severity};
use crate::test_support::{
    COMMON_NAME, ORGANIZATION, ORGANIZATIONAL_UNIT, attribute, dns, extension, ip, oid, printable, utf8,
};

/// One way to satisfy or to break a rule.
#[derive(Clone, Copy)]
struct Case {
    rule: Rule,
    what: &'static str,
    scene: fn() -> Scene,
    change: fn(&mut Scene),
    /// Other rules that cannot but be broken as well.
    also: &'static [Rule],
}

const fn client(rule: Rule, what: &'static str, change: fn(&mut Scene)) -> Case {
    Case { rule, what, scene: Scene::client, change, also: &[] }
}

const fn serving(rule: Rule, what: &'static str, change: fn(&mut Scene)) -> Case {
    Case { rule, what, scene: Scene::serving, change, also: &[] }
}

const fn with(also: &'static [Rule], case: Case) -> Case {
    Case { also, ..case }
}

fn other_pin() -> PublicKeyPin {
    PublicKeyPin::of_spki(b"another key")
}

fn testdata(scene: &mut Scene, pem: &[u8]) {
    scene.raw = Some(pem.to_vec());
    // The key of the file is another than the scene's.
    if let Some(token) = &mut scene.token {
        token.key = KeyBinding::FirstUse;
    }
}

fn rsa2048(scene: &mut Scene) {
    testdata(scene, include_bytes!("../../../testdata/rsa2048-client.csr.pem"));
}

fn chosen(csr_uid: &str, public_key: PublicKeyPin, issued: bool) -> Accounting {
    Accounting { csr_uid: csr_uid.to_owned(), public_key, issued }
}

fn set_common_name(scene: &mut Scene, name: &str) {
    scene.forge.subject[1][0].1 = printable(name);
}

/// What satisfies the rules: after each change the request is approved.
const SATISFIED: &[Case] = &[
    client(Rule::AlreadyDecided, "no condition, no certificate", |_| {}),
    client(Rule::Signer, "the client signer", |_| {}),
    serving(Rule::Signer, "the serving signer", |_| {}),
    client(Rule::Requester, "a token of the join group", |_| {}),
    serving(Rule::Requester, "the node of a request", |_| {}),
    serving(Rule::Size, "thirty-two names", |scene| {
        let more = (100..129).map(|last| format!("198.51.100.{last}"));
        for address in more {
            scene.forge.names.push(ip(&address));
            scene.approved_addresses.insert(address.parse().unwrap());
        }
    }),
    client(Rule::Encoding, "no final line feed", |scene| {
        let mut pem = scene.forge.pem();
        assert_eq!(pem.pop(), Some(b'\n'));
        scene.raw = Some(pem);
    }),
    client(Rule::Encoding, "a request of Go's", |scene| {
        testdata(scene, include_bytes!("../../../testdata/go-client.csr.pem"));
    }),
    serving(Rule::Encoding, "a serving request of Go's", |scene| {
        testdata(scene, include_bytes!("../../../testdata/go-serving.csr.pem"));
    }),
    client(Rule::KeyType, "RSA 2048", rsa2048),
    client(Rule::KeyType, "ECDSA P-384", |scene| {
        scene.raw = Some(signed_with(&rcgen::PKCS_ECDSA_P384_SHA384));
        scene.record().key = KeyBinding::FirstUse;
    }),
    client(Rule::KeyType, "Ed25519", |scene| {
        scene.raw = Some(signed_with(&rcgen::PKCS_ED25519));
        scene.record().key = KeyBinding::FirstUse;
    }),
    client(Rule::Signature, "signed by itself", |_| {}),
    client(Rule::Usages, "in another order", |scene| scene.csr.usages.reverse()),
    client(Rule::Usages, "key encipherment with RSA", |scene| {
        rsa2048(scene);
        scene.csr.usages.push("key encipherment".to_owned());
    }),
    serving(Rule::Usages, "in another order", |scene| scene.csr.usages.reverse()),
    client(Rule::Organization, "as UTF8String", |scene| scene.forge.subject[0][0].1 = utf8("system:nodes")),
    client(Rule::CommonName, "as UTF8String", |scene| scene.forge.subject[1][0].1 = utf8("system:node:worker-7")),
    client(Rule::SubjectAttributes, "common name before organisation", |scene| scene.forge.subject.reverse()),
    client(Rule::SubjectAttributes, "both in one set", |scene| {
        let name = scene.forge.subject.remove(1);
        scene.forge.subject[0].extend(name);
    }),
    serving(Rule::NameTypes, "addresses of both families and a DNS name", |_| {}),
    client(Rule::Extensions, "none", |_| {}),
    client(Rule::Validity, "exactly the maximum", |scene| {
        scene.csr.expiration_seconds = Some(scene.settings.maximum_validity_seconds);
    }),
    client(Rule::Validity, "not asked for", |scene| scene.csr.expiration_seconds = None),
    client(Rule::ClockSkew, "exactly the allowed skew", |scene| {
        scene.csr.created_at = NOW + scene.settings.clock_skew_seconds;
    }),
    client(Rule::Superseded, "no newer one", |_| {}),
    client(Rule::TokenKnown, "a record", |_| {}),
    client(Rule::RequesterName, "the record's token", |_| {}),
    client(Rule::RequesterGroups, "in another order", |scene| scene.csr.groups.reverse()),
    client(Rule::RequesterExtra, "none", |_| {}),
    client(Rule::ClientNames, "none", |_| {}),
    client(Rule::TokenNode, "another node, for which the token was made", |scene| {
        set_common_name(scene, "system:node:db.example.org");
        scene.record().node_name = "db.example.org".parse().unwrap();
    }),
    client(Rule::RequestExists, "there", |_| {}),
    client(Rule::RequestIdentity, "the same UID", |_| {}),
    client(Rule::RequestDeleting, "not being deleted", |_| {}),
    client(Rule::TokenRole, "a worker's", |_| {}),
    client(Rule::TokenRole, "a control plane's", |scene| {
        scene.csr.groups.push(CONTROL_PLANE_GROUP.to_owned());
        scene.join_request().control_plane = true;
    }),
    serving(Rule::TokenRole, "does not matter once the node has joined", |scene| {
        scene.join_request().control_plane = true;
    }),
    client(Rule::CreationWindow, "just before the token, within the skew", |scene| {
        scene.csr.created_at = MINTED - scene.settings.clock_skew_seconds;
    }),
    client(Rule::CreationWindow, "as the token expires, within the skew", |scene| {
        scene.csr.created_at = EXPIRES + scene.settings.clock_skew_seconds;
        scene.now = EXPIRES + 300;
    }),
    client(Rule::Deadline, "at the deadline, within the skew", |scene| {
        scene.now = DEADLINE + scene.settings.clock_skew_seconds;
    }),
    client(Rule::Deadline, "none", |scene| {
        scene.record().deadline = None;
        scene.now = DEADLINE + 1_000_000;
    }),
    client(Rule::NodeAbsent, "the recorded Node may be replaced", |scene| {
        scene.node_uid = Some(NODE_UID.to_owned());
        scene.recorded_node_uid = Some(NODE_UID.to_owned());
        scene.replacement_allowed = true;
    }),
    client(Rule::PinnedKey, "the pinned key", |_| {}),
    client(Rule::PinnedKey, "any key where none is pinned", |scene| scene.record().key = KeyBinding::FirstUse),
    client(Rule::SecondCertificate, "the same request again after a restart", |scene| {
        let pin = scene.forge.pin();
        scene.record().approved = Some(chosen(CSR_UID, pin, true));
    }),
    client(Rule::CertificatePending, "the chosen request after a restart", |scene| {
        let pin = scene.forge.pin();
        scene.record().approved = Some(chosen(CSR_UID, pin, false));
    }),
    serving(Rule::ServingRequester, "itself", |_| {}),
    serving(Rule::ServingGroups, "with a further group", |scene| scene.csr.groups.push("edge-nodes".to_owned())),
    serving(Rule::ServingNames, "an address alone", |scene| scene.forge.names = vec![ip("192.0.2.17")]),
    serving(Rule::ServingNames, "a DNS name alone", |scene| scene.forge.names = vec![dns("worker-7")]),
    serving(Rule::DnsNames, "a second approved name", |scene| {
        scene.forge.names.push(dns("worker-7.example.org"));
        scene.approved_names.insert("worker-7.example.org".to_owned());
    }),
    serving(Rule::ForbiddenName, "a name that only ends like the API server's", |scene| {
        scene.forge.names.push(dns("not-api.example.org"));
        scene.approved_names.insert("not-api.example.org".to_owned());
    }),
    serving(Rule::AddressesKnown, "not necessary without an address", |scene| {
        scene.forge.names = vec![dns("worker-7")];
        scene.approved_addresses.clear();
    }),
    serving(Rule::Addresses, "fewer than approved", |scene| {
        scene.forge.names = vec![ip("2001:db8::17")];
    }),
    serving(Rule::ForbiddenAddress, "just outside the Services' network", |scene| {
        scene.forge.names.push(ip("10.112.0.0"));
        scene.approved_addresses.insert("10.112.0.0".parse().unwrap());
    }),
    serving(Rule::NodeRegistered, "there and recorded", |_| {}),
    serving(Rule::NodeIdentity, "the recorded one", |_| {}),
    serving(Rule::ServingAge, "exactly the maximum", |scene| {
        scene.csr.created_at = NOW - scene.settings.maximum_serving_age_seconds;
    }),
];

/// What breaks the rules: after each change the rule is the one that is named, and no other is broken.
const BROKEN: &[Case] = &[
    client(Rule::AlreadyDecided, "approved", |scene| scene.csr.approved = true),
    client(Rule::AlreadyDecided, "denied", |scene| scene.csr.denied = true),
    client(Rule::AlreadyDecided, "failed", |scene| scene.csr.failed = true),
    serving(Rule::AlreadyDecided, "issued", |scene| scene.csr.issued = true),
    with(
        &[Rule::Requester],
        client(Rule::Signer, "another signer", |scene| {
            scene.csr.signer_name = "kubernetes.io/kube-apiserver-client".to_owned();
        }),
    ),
    with(&[Rule::Requester], client(Rule::Signer, "longer", |scene| scene.csr.signer_name.push('2'))),
    client(Rule::Requester, "a token of another group", |scene| {
        scene.csr.groups[1] = "system:bootstrappers:kubeadm:default-node-token".to_owned();
    }),
    client(Rule::Requester, "a person who is in our group", |scene| scene.csr.username = "jane".to_owned()),
    client(Rule::Requester, "nobody we know", |scene| scene.known = false),
    client(Rule::Requester, "a node's renewal", |scene| {
        scene.csr.username = "system:node:worker-7".to_owned();
        scene.csr.groups = vec![NODES_GROUP.to_owned()];
    }),
    serving(Rule::Requester, "a node without a request", |scene| scene.requester = Requester::Other),
    serving(Rule::Requester, "a person", |scene| scene.csr.username = "jane".to_owned()),
    client(Rule::Size, "too many bytes", |scene| scene.raw = Some(vec![b'x'; 16 * 1024 + 1])),
    serving(Rule::Size, "too many names", |scene| {
        scene.forge.names = (0..33).map(|last| ip(&format!("198.51.100.{last}"))).collect();
    }),
    client(Rule::Encoding, "nothing", |scene| scene.raw = Some(Vec::new())),
    client(Rule::Encoding, "two blocks", |scene| scene.raw = Some([scene.forge.pem(), scene.forge.pem()].concat())),
    client(Rule::Encoding, "trailing data", |scene| scene.raw = Some([scene.forge.pem(), b"x".to_vec()].concat())),
    client(Rule::Encoding, "a certificate", |scene| {
        scene.raw = Some(include_bytes!("../../../testdata/kubeadm-pin-cert.pem").to_vec());
    }),
    client(Rule::KeyType, "RSA 1024", |scene| {
        testdata(scene, include_bytes!("../../../testdata/rsa1024-client.csr.pem"));
    }),
    client(Rule::KeyType, "ECDSA P-521", |scene| {
        testdata(scene, include_bytes!("../../../testdata/p521-client.csr.pem"));
    }),
    client(Rule::Signature, "another key's", |scene| {
        scene.forge.signer = Some(rcgen::KeyPair::generate().unwrap());
    }),
    client(Rule::Signature, "SHA-1", |scene| {
        testdata(scene, include_bytes!("../../../testdata/sha1-client.csr.pem"));
    }),
    client(Rule::Usages, "server auth", |scene| scene.csr.usages[1] = "server auth".to_owned()),
    client(Rule::Usages, "server auth as well", |scene| scene.csr.usages.push("server auth".to_owned())),
    client(Rule::Usages, "too few", |scene| scene.csr.usages.truncate(1)),
    client(Rule::Usages, "none", |scene| scene.csr.usages.clear()),
    client(Rule::Usages, "twice the same", |scene| scene.csr.usages = vec!["client auth".to_owned(); 2]),
    client(Rule::Usages, "key encipherment without RSA", |scene| {
        scene.csr.usages.push("key encipherment".to_owned());
    }),
    client(Rule::Usages, "server auth with RSA", |scene| {
        rsa2048(scene);
        scene.csr.usages[1] = "server auth".to_owned();
    }),
    serving(Rule::Usages, "client auth", |scene| scene.csr.usages[1] = "client auth".to_owned()),
    serving(Rule::Usages, "any", |scene| scene.csr.usages.push("any".to_owned())),
    client(Rule::Organization, "another", |scene| scene.forge.subject[0][0].1 = printable("system:masters")),
    client(Rule::Organization, "longer", |scene| scene.forge.subject[0][0].1 = printable("system:nodes2")),
    client(Rule::Organization, "none", |scene| drop(scene.forge.subject.remove(0))),
    client(Rule::Organization, "a second", |scene| {
        scene.forge.subject.push(vec![(oid(ORGANIZATION), printable("system:masters"))]);
    }),
    client(Rule::Organization, "a second in the same set", |scene| {
        scene.forge.subject[0].push((oid(ORGANIZATION), printable("system:masters")));
    }),
    client(Rule::Organization, "twice the same", |scene| {
        scene.forge.subject.push(vec![(oid(ORGANIZATION), printable("system:nodes"))]);
    }),
    with(&[Rule::TokenNode], client(Rule::CommonName, "no name", |scene| set_common_name(scene, "system:node:"))),
    with(
        &[Rule::TokenNode],
        client(Rule::CommonName, "upper case", |scene| set_common_name(scene, "system:node:Worker-7")),
    ),
    with(&[Rule::TokenNode], client(Rule::CommonName, "no prefix", |scene| set_common_name(scene, "worker-7"))),
    with(
        &[Rule::TokenNode],
        client(Rule::CommonName, "another prefix", |scene| set_common_name(scene, "system:nodes:worker-7")),
    ),
    with(&[Rule::TokenNode], client(Rule::CommonName, "none", |scene| drop(scene.forge.subject.remove(1)))),
    with(
        &[Rule::TokenNode],
        client(Rule::CommonName, "a second", |scene| {
            scene.forge.subject.push(vec![(oid(COMMON_NAME), printable("system:node:worker-8"))]);
        }),
    ),
    client(Rule::SubjectAttributes, "a unit", |scene| {
        scene.forge.subject.push(vec![(oid(ORGANIZATIONAL_UNIT), printable("x"))]);
    }),
    client(Rule::SubjectAttributes, "a serial number in the set of the name", |scene| {
        scene.forge.subject[1].push((oid("2.5.4.5"), printable("1")));
    }),
    serving(Rule::NameTypes, "an e-mail address", |scene| {
        let address = x509_cert::der::asn1::Ia5String::new("a@example.org").unwrap();
        scene.forge.names.push(GeneralName::Rfc822Name(address));
    }),
    serving(Rule::NameTypes, "a URI", |scene| {
        let uri = x509_cert::der::asn1::Ia5String::new("spiffe://cluster/worker-8").unwrap();
        scene.forge.names.push(GeneralName::UniformResourceIdentifier(uri));
    }),
    serving(Rule::NameTypes, "an address of five bytes", |scene| {
        scene.forge.names.push(GeneralName::IpAddress(OctetString::new(vec![192, 0, 2, 17, 0]).unwrap()));
    }),
    client(Rule::Extensions, "to be an authority", |scene| {
        scene.forge.extensions = vec![extension("2.5.29.19", true, vec![0x30, 3, 1, 1, 0xff])];
    }),
    client(Rule::Extensions, "an extended key usage", |scene| {
        scene.forge.extensions = vec![extension("2.5.29.37", false, vec![0x30, 0])];
    }),
    client(Rule::Extensions, "a challenge password", |scene| {
        testdata(scene, include_bytes!("../../../testdata/challenge-client.csr.pem"));
    }),
    serving(Rule::Extensions, "an unknown attribute", |scene| {
        scene.forge.attributes = vec![attribute("1.2.3.4", printable("x"))];
    }),
    client(Rule::Validity, "one second more", |scene| {
        scene.csr.expiration_seconds = Some(scene.settings.maximum_validity_seconds + 1);
    }),
    client(Rule::Validity, "nothing", |scene| scene.csr.expiration_seconds = Some(0)),
    serving(Rule::Validity, "for ever", |scene| scene.csr.expiration_seconds = Some(i64::MAX)),
    client(Rule::ClockSkew, "one second more", |scene| {
        scene.csr.created_at = NOW + scene.settings.clock_skew_seconds + 1;
    }),
    client(Rule::Superseded, "a newer one", |scene| scene.superseded_by = Some("csr-newer".to_owned())),
    client(Rule::TokenKnown, "no record", |scene| scene.token = None),
    client(Rule::RequesterName, "another token", |scene| {
        scene.csr.username = "system:bootstrap:zzzzzz".to_owned();
    }),
    client(Rule::RequesterName, "a UID", |scene| scene.csr.user_uid = "1".to_owned()),
    client(Rule::RequesterGroups, "the enroll group", |scene| scene.csr.groups[1] = ENROLL_GROUP.to_owned()),
    client(Rule::RequesterGroups, "the enroll group as well", |scene| scene.csr.groups.push(ENROLL_GROUP.to_owned())),
    client(Rule::RequesterGroups, "kubeadm's group as well", |scene| {
        scene.csr.groups.push("system:bootstrappers:kubeadm:default-node-token".to_owned());
    }),
    client(Rule::RequesterGroups, "twice ours", |scene| scene.csr.groups.push(JOIN_GROUP.to_owned())),
    client(Rule::RequesterGroups, "not authenticated", |scene| scene.csr.groups.truncate(2)),
    client(Rule::RequesterExtra, "one", |scene| {
        scene.csr.extra = BTreeMap::from([("example.org/x".to_owned(), vec!["y".to_owned()])]);
    }),
    client(Rule::ClientNames, "a DNS name", |scene| scene.forge.names = vec![dns("worker-7")]),
    client(Rule::ClientNames, "an address", |scene| scene.forge.names = vec![ip("192.0.2.17")]),
    client(Rule::TokenNode, "another node", |scene| set_common_name(scene, "system:node:worker-8")),
    client(Rule::TokenNode, "a node whose name begins alike", |scene| set_common_name(scene, "system:node:worker-77")),
    client(Rule::RequestExists, "gone", |scene| scene.request = None),
    serving(Rule::RequestExists, "gone", |scene| scene.request = None),
    client(Rule::RequestIdentity, "created anew", |scene| scene.join_request().uid = "another".to_owned()),
    client(Rule::RequestDeleting, "being deleted", |scene| scene.join_request().deleting = true),
    serving(Rule::RequestDeleting, "being deleted", |scene| scene.join_request().deleting = true),
    client(Rule::TokenRole, "a worker's for a control plane", |scene| scene.join_request().control_plane = true),
    client(Rule::TokenRole, "a control plane's for a worker", |scene| {
        scene.csr.groups.push(CONTROL_PLANE_GROUP.to_owned());
    }),
    client(Rule::TokenRole, "a control plane's twice", |scene| {
        scene.csr.groups.extend([CONTROL_PLANE_GROUP.to_owned(), CONTROL_PLANE_GROUP.to_owned()]);
        scene.join_request().control_plane = true;
    }),
    client(Rule::CreationWindow, "before the token", |scene| {
        scene.csr.created_at = MINTED - scene.settings.clock_skew_seconds - 1;
    }),
    client(Rule::CreationWindow, "after the token", |scene| {
        scene.csr.created_at = EXPIRES + scene.settings.clock_skew_seconds + 1;
        scene.now = scene.csr.created_at;
    }),
    client(Rule::Deadline, "one second more", |scene| {
        scene.now = DEADLINE + scene.settings.clock_skew_seconds + 1;
    }),
    client(Rule::NodeAbsent, "a Node that nobody recorded", |scene| {
        scene.node_uid = Some(NODE_UID.to_owned());
        scene.replacement_allowed = true;
    }),
    client(Rule::NodeAbsent, "another Node than the recorded one", |scene| {
        scene.node_uid = Some("another".to_owned());
        scene.recorded_node_uid = Some(NODE_UID.to_owned());
        scene.replacement_allowed = true;
    }),
    client(Rule::NodeAbsent, "the recorded Node, which may not be replaced", |scene| {
        scene.node_uid = Some(NODE_UID.to_owned());
        scene.recorded_node_uid = Some(NODE_UID.to_owned());
    }),
    client(Rule::PinnedKey, "another key", |scene| scene.record().key = KeyBinding::Pinned(other_pin())),
    client(Rule::SecondCertificate, "with another key", |scene| {
        scene.record().approved = Some(chosen("another", other_pin(), true));
    }),
    client(Rule::SecondCertificate, "with the same key", |scene| {
        let pin = scene.forge.pin();
        scene.record().approved = Some(chosen("another", pin, true));
    }),
    client(Rule::SecondCertificate, "with another key where none is pinned", |scene| {
        scene.record().key = KeyBinding::FirstUse;
        scene.record().approved = Some(chosen("another", other_pin(), true));
    }),
    client(Rule::CertificatePending, "another was chosen", |scene| {
        scene.record().approved = Some(chosen("another", other_pin(), false));
    }),
    serving(Rule::ServingRequester, "another node", |scene| set_common_name(scene, "system:node:worker-8")),
    serving(Rule::ServingGroups, "not a node", |scene| drop(scene.csr.groups.remove(0))),
    serving(Rule::ServingGroups, "not authenticated", |scene| scene.csr.groups.truncate(1)),
    serving(Rule::ServingNames, "none", |scene| scene.forge.names.clear()),
    serving(Rule::DnsNames, "another node's", |scene| scene.forge.names.push(dns("worker-8"))),
    serving(Rule::DnsNames, "longer", |scene| scene.forge.names.push(dns("worker-77"))),
    serving(Rule::DnsNames, "a wildcard", |scene| scene.forge.names.push(dns("*"))),
    serving(Rule::DnsNames, "an address in the clothes of a name", |scene| scene.forge.names.push(dns("192.0.2.17"))),
    serving(Rule::DnsNames, "upper case", |scene| scene.forge.names.push(dns("WORKER-7"))),
    serving(Rule::DnsNames, "a final dot", |scene| scene.forge.names.push(dns("worker-7."))),
    serving(Rule::ForbiddenName, "the API server's, although approved", |scene| {
        scene.forge.names.push(dns("api.example.org"));
        scene.approved_names.insert("api.example.org".to_owned());
    }),
    serving(Rule::ForbiddenName, "the API server's Service, although approved", |scene| {
        scene.forge.names.push(dns("kubernetes.default.svc"));
        scene.approved_names.insert("kubernetes.default.svc".to_owned());
    }),
    serving(Rule::ForbiddenName, "the local host, although approved", |scene| {
        scene.forge.names.push(dns("LOCALHOST"));
        scene.approved_names.insert("LOCALHOST".to_owned());
    }),
    serving(Rule::AddressesKnown, "none yet", |scene| scene.approved_addresses.clear()),
    serving(Rule::Addresses, "one more", |scene| scene.forge.names.push(ip("198.51.100.1"))),
    serving(Rule::ForbiddenAddress, "another node's, although approved", |scene| approve(scene, "192.0.2.18")),
    serving(Rule::ForbiddenAddress, "the API server's, although approved", |scene| approve(scene, "192.0.2.1")),
    serving(Rule::ForbiddenAddress, "a Service's, although approved", |scene| approve(scene, "10.96.0.1")),
    serving(Rule::ForbiddenAddress, "an IPv6 Service's, although approved", |scene| approve(scene, "fd00:96::1")),
    serving(Rule::ForbiddenAddress, "loopback", |scene| approve(scene, "127.0.0.1")),
    serving(Rule::ForbiddenAddress, "loopback of IPv6", |scene| approve(scene, "::1")),
    serving(Rule::ForbiddenAddress, "link-local", |scene| approve(scene, "169.254.169.254")),
    serving(Rule::ForbiddenAddress, "link-local of IPv6", |scene| approve(scene, "fe80::1")),
    serving(Rule::ForbiddenAddress, "unspecified", |scene| approve(scene, "0.0.0.0")),
    serving(Rule::ForbiddenAddress, "unspecified of IPv6", |scene| approve(scene, "::")),
    serving(Rule::ForbiddenAddress, "multicast", |scene| approve(scene, "224.0.0.1")),
    serving(Rule::ForbiddenAddress, "multicast of IPv6", |scene| approve(scene, "ff02::1")),
    serving(Rule::ForbiddenAddress, "broadcast", |scene| approve(scene, "255.255.255.255")),
    serving(Rule::ForbiddenAddress, "mapped loopback", |scene| approve(scene, "::ffff:127.0.0.1")),
    serving(Rule::ForbiddenAddress, "mapped, of an approved address", |scene| approve(scene, "::ffff:192.0.2.17")),
    serving(Rule::ForbiddenAddress, "IPv4-compatible", |scene| approve(scene, "::192.0.2.1")),
    serving(Rule::NodeRegistered, "no Node", |scene| scene.node_uid = None),
    serving(Rule::NodeRegistered, "not recorded", |scene| scene.recorded_node_uid = None),
    serving(Rule::NodeIdentity, "another Node", |scene| scene.node_uid = Some("another".to_owned())),
    serving(Rule::ServingAge, "one second more", |scene| {
        scene.csr.created_at = NOW - scene.settings.maximum_serving_age_seconds - 1;
    }),
];

fn approve(scene: &mut Scene, address: &str) {
    scene.forge.names.push(ip(address));
    scene.approved_addresses.insert(address.parse().unwrap());
}

/// A kubelet's client request made with another algorithm.
fn signed_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:worker-7");
    crate::pem_text::encode("CERTIFICATE REQUEST", params.serialize_request(&key).unwrap().der()).into_bytes()
}

#[test]
fn the_untouched_scenes_are_approved() {
    for scene in [Scene::client(), Scene::serving()] {
        let Decision::Approve(approval) = scene.decide() else { panic!("{:?}: {:?}", scene.kind, scene.decide()) };
        assert_eq!(approval.node.as_str(), "worker-7");
        assert_eq!(approval.public_key, scene.forge.pin());
    }
}

#[test]
fn what_satisfies_each_rule_is_approved() {
    for case in SATISFIED {
        let mut scene = (case.scene)();
        (case.change)(&mut scene);
        let decision = scene.decide();
        assert!(matches!(decision, Decision::Approve(_)), "{}: {}: {decision:?}", case.rule, case.what);
    }
}

#[test]
fn what_breaks_each_rule_is_named_by_it() {
    for case in BROKEN {
        let mut scene = (case.scene)();
        (case.change)(&mut scene);
        let named = match scene.decide() {
            Decision::Deny(finding) if case.rule.severity() == Severity::Deny => finding,
            Decision::Wait(finding) if case.rule.severity() == Severity::Wait => finding,
            Decision::NotOurs(finding) if case.rule.severity() == Severity::Ignore => finding,
            other => panic!("{}: {}: {other:?}", case.rule, case.what),
        };
        assert_eq!(named.rule, case.rule, "{}: {}", case.what, named.detail);
        assert!(!named.detail.is_empty(), "{}: {}: nothing is said about it", case.rule, case.what);
        let mut expected = vec![case.rule];
        expected.extend(case.also);
        assert_eq!(scene.violated(), expected, "{}: {}", case.rule, case.what);
    }
}

/// Rules without which nothing more would be approved, and what stops it then. They give the right name to what is wrong.
const BACKED: &[(Rule, &str)] = &[
    (Rule::Signer, "Requester asks for the signer that belongs to the kind of requester"),
    (Rule::Size, "what was not read has no key and no name that could be approved"),
    (Rule::Encoding, "what was not read has no key and no name that could be approved"),
    (Rule::CommonName, "TokenNode and ServingRequester compare the whole name"),
];

/// Each rule is taken out of the policy in turn. What breaks it alone is approved then, which is what the rule is for: the
/// test above would be red without it.
#[test]
fn each_rule_is_missed_when_it_is_removed() {
    for rule in Rule::ALL {
        let mut let_through = Vec::new();
        for case in BROKEN.iter().filter(|case| case.rule == *rule) {
            let mut scene = (case.scene)();
            (case.change)(&mut scene);
            if matches!(without(*rule, || scene.decide()), Decision::Approve(_)) {
                let_through.push(case.what);
            }
            assert!(!matches!(scene.decide(), Decision::Approve(_)), "{rule}: {}", case.what);
        }
        let backed = BACKED.iter().find(|(backed, _)| backed == rule);
        assert_eq!(let_through.is_empty(), backed.is_some(), "{rule} {backed:?}: {let_through:?}");
    }
}

#[test]
fn every_rule_is_tested_both_ways() {
    let all: BTreeSet<Rule> = Rule::ALL.iter().copied().collect();
    assert_eq!(all.len(), Rule::ALL.len());
    for (what, cases) in [("satisfies", SATISFIED), ("breaks", BROKEN)] {
        let tested: BTreeSet<Rule> = cases.iter().map(|case| case.rule).collect();
        let missing: Vec<_> = all.difference(&tested).collect();
        assert!(missing.is_empty(), "no case {what} {missing:?}");
    }
}

#[test]
fn the_names_of_the_rules_are_a_fixed_part_of_the_interface() {
    let names: Vec<_> = Rule::ALL.iter().map(|rule| format!("{rule} {:?}", rule.severity())).collect();
    assert_eq!(names.join("\n"), include_str!("rules.txt").trim_end());
}

#[test]
fn a_definite_violation_outweighs_a_temporary_one() {
    let mut scene = Scene::client();
    scene.node_uid = Some(NODE_UID.to_owned());
    assert!(matches!(scene.decide(), Decision::Wait(_)));
    scene.csr.usages.clear();
    let Decision::Deny(finding) = scene.decide() else { panic!("{:?}", scene.decide()) };
    assert_eq!(finding.rule, Rule::Usages);
    scene.csr.approved = true;
    assert!(matches!(scene.decide(), Decision::NotOurs(_)), "what is decided is never touched");
}

#[test]
fn a_token_of_ours_gets_no_serving_certificate() {
    let mut scene = Scene::serving();
    scene.requester = Requester::Other;
    scene.csr.username = "system:bootstrap:abcdef".to_owned();
    scene.csr.groups = Scene::client().csr.groups;
    let Decision::Deny(finding) = scene.decide() else { panic!("{:?}", scene.decide()) };
    assert_eq!(finding.rule, Rule::ServingRequester);
    assert_eq!(scene.violated(), [Rule::ServingRequester, Rule::ServingGroups]);
}

#[test]
fn nothing_is_approved_while_nothing_is_known() {
    for kind in [Kind::Client, Kind::Serving] {
        let mut scene = match kind {
            Kind::Client => Scene::client(),
            Kind::Serving => Scene::serving(),
        };
        scene.token = None;
        scene.node_uid = None;
        scene.recorded_node_uid = None;
        scene.approved_addresses.clear();
        scene.approved_names.clear();
        assert!(!matches!(scene.decide(), Decision::Approve(_)), "{kind:?}");
    }
}

#[test]
fn extreme_times_do_not_overflow() {
    for now in [i64::MIN, -1, 0, i64::MAX] {
        for created_at in [i64::MIN, 0, i64::MAX] {
            for mut scene in [Scene::client(), Scene::serving()] {
                scene.now = now;
                scene.csr.created_at = created_at;
                if let Some(record) = &mut scene.token {
                    (record.minted_at, record.expires_at, record.deadline) = (now, created_at, Some(now));
                }
                assert!(!matches!(scene.decide(), Decision::NotOurs(_)));
            }
        }
    }
}
