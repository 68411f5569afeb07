//! Certificate signing requests in front of the policy, as PEM or as the DER inside, for both signers.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use join_fuzz::certificate_request;
use join_trust::names::{CLIENT_SIGNER, SERVING_SIGNER};
use join_trust::pkcs10::{AlternativeName, CertificationRequest};
use join_trust::policy::{
    CertificateRequest, ClientContext, Context, Decision, KeyBinding, NodeState, RequestState, Requester,
    ServingContext, Settings, Subject, TokenRecord, decide, superseded_by,
};
use join_trust::token::TokenId;
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_790_000_000;
const REQUEST: RequestState<'_> = RequestState::Present { uid: "request", deleting: false, control_plane: false };

/// What is the same for every input is made once.
static TOKEN: LazyLock<TokenRecord> = LazyLock::new(|| TokenRecord {
    token_id: TokenId::parse("abcdef").expect("an id"),
    node_name: "worker-7".parse().expect("a name"),
    request_uid: "request".to_owned(),
    key: KeyBinding::FirstUse,
    minted_at: NOW - 60,
    expires_at: NOW + 600,
    deadline: None,
    approved: None,
});
static ADDRESSES: LazyLock<BTreeSet<IpAddr>> =
    LazyLock::new(|| ["192.0.2.17", "2001:db8::17"].map(|text| text.parse().expect("an address")).into());
static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| BTreeSet::from(["worker-7".to_owned()]));
static NO_NAMES: BTreeSet<String> = BTreeSet::new();
static NO_ADDRESSES: BTreeMap<IpAddr, String> = BTreeMap::new();

fuzz_target!(|data: &[u8]| {
    let request = certificate_request(data);
    client(&request);
    serving(&request);
});

fn client(request: &[u8]) {
    let groups = ["system:bootstrappers", "system:bootstrappers:nodejoin:join", "system:authenticated"];
    let csr = csr(request, CLIENT_SIGNER, "client auth", "system:bootstrap:abcdef", &groups);
    let subject = Subject::Client(ClientContext {
        token: Some(&TOKEN),
        request: REQUEST,
        node: NodeState::Absent,
        recorded_node_uid: None,
        replacement_allowed: false,
    });
    let _ = superseded_by(&csr, [&csr], &context(subject.clone()));
    if let Some(read) = approved(&csr, subject) {
        assert!(read.names().is_empty());
    }
}

fn serving(request: &[u8]) {
    let groups = ["system:nodes", "system:authenticated"];
    let csr = csr(request, SERVING_SIGNER, "server auth", "system:node:worker-7", &groups);
    let subject = Subject::Serving(ServingContext {
        requester: Requester::NodeOfRequest,
        request: REQUEST,
        node: NodeState::Present { uid: "node" },
        recorded_node_uid: Some("node"),
        approved_addresses: &ADDRESSES,
        approved_names: &NAMES,
        forbidden_names: &NO_NAMES,
        forbidden_networks: &[],
        forbidden_addresses: &NO_ADDRESSES,
    });
    if let Some(read) = approved(&csr, subject) {
        assert!(!read.names().is_empty());
        for name in read.names() {
            match name {
                AlternativeName::Dns(name) => assert!(NAMES.contains(name)),
                AlternativeName::Ip(address) => assert!(ADDRESSES.contains(address)),
                other => panic!("approved {other:?}"),
            }
        }
    }
}

/// The request as it was read, if it was approved; what holds for every approval is checked here.
fn approved(csr: &CertificateRequest, subject: Subject<'_>) -> Option<CertificationRequest> {
    let Decision::Approve(approval) = decide(csr, &context(subject)) else { return None };
    let read = CertificationRequest::parse_pem(&csr.request).expect("an approved request can be read");
    read.verify_signature().expect("an approved request is signed");
    assert_eq!(approval.node.as_str(), "worker-7");
    assert_eq!(approval.public_key, read.pin());
    assert_eq!(read.common_name(), Some("system:node:worker-7"));
    assert_eq!(read.subject().len(), 2);
    assert!(read.extensions().is_empty() && read.other_attributes().is_empty());
    Some(read)
}

fn context(subject: Subject<'_>) -> Context<'_> {
    Context { now: NOW, settings: Settings::default(), superseded_by: None, subject }
}

fn csr(request: &[u8], signer: &str, usage: &str, username: &str, groups: &[&str]) -> CertificateRequest {
    CertificateRequest {
        name: "csr".to_owned(),
        uid: "csr".to_owned(),
        created_at: NOW - 5,
        signer_name: signer.to_owned(),
        request: request.to_vec(),
        usages: vec!["digital signature".to_owned(), usage.to_owned()],
        username: username.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..CertificateRequest::default()
    }
}
