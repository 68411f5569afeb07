//! A request that may be approved, with everything that the decision depends on; tests change one thing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::UnixSeconds;
use crate::names::{
    AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, CLIENT_SIGNER, JOIN_GROUP, NODES_GROUP, NodeName, SERVING_SIGNER,
};
use crate::policy::{
    CertificateRequest, ClientContext, Context, Decision, Finding, KeyBinding, NodeState, RequestState, Requester,
    Rule, ServingContext, Settings, Subject, TokenRecord, decide, evaluate,
};
use crate::test_support::{Forge, dns, ip};
use crate::token::TokenId;

pub(super) const NOW: UnixSeconds = 1_790_000_000;
pub(super) const MINTED: UnixSeconds = NOW - 60;
pub(super) const EXPIRES: UnixSeconds = MINTED + 900;
pub(super) const DEADLINE: UnixSeconds = MINTED + 3600;
pub(super) const REQUEST_UID: &str = "request-uid";
pub(super) const NODE_UID: &str = "node-uid";
pub(super) const CSR_UID: &str = "csr-uid";

/// Which of the two kinds of certificates a scene is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Serving,
}

/// What the policy sees, owned, so that tests can change any part.
pub(super) struct Scene {
    pub(super) kind: Kind,
    /// Makes `csr.request` when the scene is judged, unless `raw` is set.
    pub(super) forge: Forge,
    pub(super) raw: Option<Vec<u8>>,
    pub(super) csr: CertificateRequest,
    pub(super) now: UnixSeconds,
    pub(super) settings: Settings,
    pub(super) superseded_by: Option<String>,
    pub(super) known: bool,
    pub(super) token: Option<TokenRecord>,
    pub(super) request: Option<JoinRequest>,
    pub(super) node_uid: Option<String>,
    pub(super) recorded_node_uid: Option<String>,
    pub(super) replacement_allowed: bool,
    pub(super) requester: Requester,
    pub(super) approved_addresses: BTreeSet<IpAddr>,
    pub(super) approved_names: BTreeSet<String>,
    pub(super) forbidden_names: BTreeSet<String>,
    pub(super) forbidden_networks: Vec<IpNet>,
    pub(super) forbidden_addresses: BTreeMap<IpAddr, String>,
}

/// A join request as the policy knows it.
pub(super) struct JoinRequest {
    pub(super) uid: String,
    pub(super) deleting: bool,
    pub(super) control_plane: bool,
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

impl Scene {
    /// The first client certificate of a machine whose key is pinned.
    pub(super) fn client() -> Self {
        let mut scene = Self::new(Kind::Client);
        scene.csr.name = "nodejoin-client-abcdef".to_owned();
        scene.csr.signer_name = CLIENT_SIGNER.to_owned();
        scene.csr.usages = texts(["digital signature", "client auth"]);
        scene.csr.username = "system:bootstrap:abcdef".to_owned();
        scene.csr.groups = texts([BOOTSTRAPPERS_GROUP, JOIN_GROUP, AUTHENTICATED_GROUP]);
        scene.token = Some(TokenRecord {
            token_id: TokenId::parse("abcdef").unwrap(),
            node_name: NodeName::parse("worker-7").unwrap(),
            request_uid: REQUEST_UID.to_owned(),
            key: KeyBinding::Pinned(scene.forge.pin()),
            minted_at: MINTED,
            expires_at: EXPIRES,
            deadline: Some(DEADLINE),
            approved: None,
        });
        scene
    }

    /// The serving certificate of a node that has joined.
    pub(super) fn serving() -> Self {
        let mut scene = Self::new(Kind::Serving);
        scene.forge.names = vec![dns("worker-7"), ip("192.0.2.17"), ip("2001:db8::17")];
        scene.csr.name = "csr-x7k2p".to_owned();
        scene.csr.signer_name = SERVING_SIGNER.to_owned();
        scene.csr.usages = texts(["digital signature", "server auth"]);
        scene.csr.username = "system:node:worker-7".to_owned();
        scene.csr.groups = texts([NODES_GROUP, AUTHENTICATED_GROUP]);
        scene.node_uid = Some(NODE_UID.to_owned());
        scene.recorded_node_uid = Some(NODE_UID.to_owned());
        scene.approved_addresses = ["192.0.2.17", "2001:db8::17"].map(|text| text.parse().unwrap()).into();
        scene.approved_names = ["worker-7".to_owned()].into();
        scene.forbidden_networks = vec!["10.96.0.0/12".parse().unwrap(), "fd00:96::/108".parse().unwrap()];
        scene.forbidden_addresses = [
            ("192.0.2.1".parse().unwrap(), "the API server's".to_owned()),
            ("192.0.2.18".parse().unwrap(), "the address of worker-8".to_owned()),
        ]
        .into();
        scene.forbidden_names = ["api.example.org".to_owned()].into();
        scene
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            forge: Forge::kubelet("worker-7"),
            raw: None,
            csr: CertificateRequest { uid: CSR_UID.to_owned(), created_at: NOW - 5, ..CertificateRequest::default() },
            now: NOW,
            settings: Settings::default(),
            superseded_by: None,
            known: true,
            token: None,
            request: Some(JoinRequest { uid: REQUEST_UID.to_owned(), deleting: false, control_plane: false }),
            node_uid: None,
            recorded_node_uid: None,
            replacement_allowed: false,
            requester: Requester::NodeOfRequest,
            approved_addresses: BTreeSet::new(),
            approved_names: BTreeSet::new(),
            forbidden_names: BTreeSet::new(),
            forbidden_networks: Vec::new(),
            forbidden_addresses: BTreeMap::new(),
        }
    }

    /// The token's record, for tests that change it.
    pub(super) fn record(&mut self) -> &mut TokenRecord {
        self.token.as_mut().unwrap()
    }

    /// The join request, for tests that change it.
    pub(super) fn join_request(&mut self) -> &mut JoinRequest {
        self.request.as_mut().unwrap()
    }

    /// The request as the API server would hold it.
    pub(super) fn csr(&self) -> CertificateRequest {
        let request = self.raw.clone().unwrap_or_else(|| self.forge.pem());
        CertificateRequest { request, ..self.csr.clone() }
    }

    pub(super) fn context(&self) -> Context<'_> {
        let request = match &self.request {
            Some(request) => RequestState::Present {
                uid: &request.uid,
                deleting: request.deleting,
                control_plane: request.control_plane,
            },
            None => RequestState::Missing,
        };
        let node = self.node_uid.as_deref().map_or(NodeState::Absent, |uid| NodeState::Present { uid });
        let recorded_node_uid = self.recorded_node_uid.as_deref();
        let subject = match self.kind {
            _ if !self.known => Subject::Unknown,
            Kind::Client => Subject::Client(ClientContext {
                token: self.token.as_ref(),
                request,
                node,
                recorded_node_uid,
                replacement_allowed: self.replacement_allowed,
            }),
            Kind::Serving => Subject::Serving(ServingContext {
                requester: self.requester,
                request,
                node,
                recorded_node_uid,
                approved_addresses: &self.approved_addresses,
                approved_names: &self.approved_names,
                forbidden_names: &self.forbidden_names,
                forbidden_networks: &self.forbidden_networks,
                forbidden_addresses: &self.forbidden_addresses,
            }),
        };
        Context { now: self.now, settings: self.settings, superseded_by: self.superseded_by.as_deref(), subject }
    }

    pub(super) fn decide(&self) -> Decision {
        decide(&self.csr(), &self.context())
    }

    /// The rules that are violated, in order, each once.
    pub(super) fn violated(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> =
            evaluate(&self.csr(), &self.context()).into_iter().map(|finding: Finding| finding.rule).collect();
        rules.dedup();
        rules
    }
}
