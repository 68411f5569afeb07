//! Everything that has to do with one request, as it was read.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use join_crds::NodeJoinRequest;
use join_crds::vocabulary::{SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING, SIGNER_MACHINE};

use crate::session::{CallError, Session};

/// The namespace in which Events about what has no namespace are kept.
pub const EVENTS_NAMESPACE: &str = "default";

/// The signers that a machine asks during a join. Certificate requests of all others, of which a cluster can have many, are
/// not even fetched.
pub const SIGNERS: [&str; 3] = [SIGNER_MACHINE, SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING];

/// What was read.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The name of the request and of the node.
    pub name: String,
    /// When it was read.
    pub now: Timestamp,
    /// The request, if there is one.
    pub request: Option<NodeJoinRequest>,
    /// Certificate requests of [`SIGNERS`]; only those of this node are used.
    pub certificate_requests: Vec<CertificateSigningRequest>,
    /// The Node, if there is one.
    pub node: Option<Node>,
    /// Events about the request and the Node.
    pub events: Vec<Event>,
    /// What could not be read, and why; shown, since its absence would mislead.
    pub obstacles: Vec<String>,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            now: Timestamp::now(),
            request: None,
            certificate_requests: Vec::new(),
            node: None,
            events: Vec::new(),
            obstacles: Vec::new(),
        }
    }
}

/// The field selector of one signer's certificate requests.
pub fn of_signer(signer: &str) -> String {
    format!("spec.signerName={signer}")
}

/// The Events about objects of this name.
pub fn about(name: &str) -> ListParams {
    ListParams::default().fields(&format!("regarding.name={name}"))
}

/// Whether the API server knows the type. An object that is missing and a type that is missing answer alike.
pub async fn is_installed(session: &Session) -> Result<bool, CallError> {
    let requests: Api<NodeJoinRequest> = Api::all(session.client());
    let one = ListParams::default().limit(1);
    Ok(session.call_opt("list the requests", requests.list_metadata(&one)).await?.is_some())
}

/// Reads everything. Only the request itself must be readable.
pub async fn gather(session: &Session, name: &str) -> Result<Gathered, CallError> {
    let requests: Api<NodeJoinRequest> = Api::all(session.client());
    let certificates: Api<CertificateSigningRequest> = Api::all(session.client());
    let nodes: Api<Node> = Api::all(session.client());
    let events: Api<Event> = Api::namespaced(session.client(), EVENTS_NAMESPACE);
    let about = about(name);
    let certificates = futures::future::try_join_all(SIGNERS.map(|signer| {
        let (certificates, of_signer) = (certificates.clone(), ListParams::default().fields(&of_signer(signer)));
        async move { session.call("list certificate requests", certificates.list(&of_signer)).await }
    }));
    let (request, certificates, node, events) = tokio::join!(
        session.call_opt("read the request", requests.get(name)),
        certificates,
        session.call_opt("read the Node", nodes.get(name)),
        session.call("list Events", events.list(&about)),
    );
    let mut gathered = Gathered { request: request?, ..Gathered::new(name) };
    match certificates {
        Ok(lists) => gathered.certificate_requests = lists.into_iter().flat_map(|list| list.items).collect(),
        Err(error) => gathered.obstacles.push(error.to_string()),
    }
    match node {
        Ok(node) => gathered.node = node,
        Err(error) => gathered.obstacles.push(error.to_string()),
    }
    match events {
        Ok(list) => gathered.events = list.items,
        Err(error) => gathered.obstacles.push(error.to_string()),
    }
    Ok(gathered)
}
