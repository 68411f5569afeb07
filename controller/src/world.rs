//! All tables together, and the snapshot that one visit to a request works on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use join_crds::spec::NodeJoinRequest;
use join_trust::UnixSeconds;
use join_trust::policy::{SubjectOf, subject_of};

use crate::cache::cluster_info::SharedClusterInfo;
use crate::cache::csr::{AnnouncementEntry, CsrEntry, CsrKey};
use crate::cache::node::NodeEntry;
use crate::cache::request::{RequestEntry, RequestKey};
use crate::cache::service::ServiceNetworks;
use crate::cache::{Shared, Table};
use crate::plan::{self, Memory, Observed, Published, Settings};
use crate::record::{Record, RecordKey};

/// Everything that is known of the cluster.
#[derive(Clone, Default)]
pub struct World {
    /// Requests.
    pub requests: Shared<RequestEntry>,
    /// Announcements.
    pub announcements: Shared<AnnouncementEntry>,
    /// Requests for client certificates.
    pub client_csrs: Shared<CsrEntry>,
    /// Requests for serving certificates.
    pub serving_csrs: Shared<CsrEntry>,
    /// Nodes.
    pub nodes: Shared<NodeEntry>,
    /// Networks of Services.
    pub services: Shared<ServiceNetworks>,
    /// Records.
    pub records: Shared<Record>,
    /// cluster-info.
    pub cluster_info: SharedClusterInfo,
}

/// What one visit to a request works on.
#[derive(Debug, Clone)]
pub struct Snapshot {
    record: Option<Arc<Record>>,
    announcements: Vec<Arc<AnnouncementEntry>>,
    csrs: Vec<Arc<CsrEntry>>,
    node: Option<Arc<NodeEntry>>,
    former: Option<Arc<Record>>,
    published: Arc<Published>,
    memory: Memory,
    queue_full: bool,
    forbidden_networks: Vec<IpNet>,
    foreign_addresses: BTreeMap<IpAddr, String>,
}

impl World {
    /// Takes what is known of one request out of the tables.
    pub fn snapshot(
        &self,
        request: &NodeJoinRequest,
        memory: Memory,
        now: UnixSeconds,
        settings: &Settings,
    ) -> Snapshot {
        let name = request.node_name();
        let record = self.records.read().get(&join_crds::vocabulary::record_name(request.uid())).cloned();
        let mut keys = vec![CsrKey::Node(name.to_owned())];
        keys.extend(
            record
                .as_ref()
                .and_then(|record| record.token.as_ref())
                .map(|token| CsrKey::Token(token.id.as_str().to_owned())),
        );
        let mut csrs = Vec::new();
        for table in [&self.client_csrs, &self.serving_csrs] {
            let table = table.read();
            for key in &keys {
                csrs.extend(table.find(key).cloned());
            }
        }
        let published = self.cluster_info.get();
        let mut foreign_addresses = plan::api_server_address(&published);
        for address in plan::foreign_candidates(&csrs) {
            if let Some(whose) = self.owner(address, request) {
                foreign_addresses.insert(address, whose);
            }
        }
        let mut forbidden_networks = settings.forbidden_networks.clone();
        forbidden_networks.extend(self.services.read().iter().flat_map(|service| service.networks.iter().copied()));
        let node = self.nodes.read().get(name).cloned();
        let former = node.as_ref().and_then(|node| self.others_of_node(&node.uid, request.uid()).into_iter().next());
        Snapshot {
            former,
            announcements: self.announcements.read().find(&name.to_owned()).cloned().collect(),
            node,
            queue_full: self.in_flight(now, settings.most_in_flight) >= settings.most_in_flight,
            record,
            csrs,
            published,
            memory,
            forbidden_networks,
            foreign_addresses,
        }
    }

    /// The records of other requests that tell of the Node with this UID.
    fn others_of_node(&self, node_uid: &str, request_uid: &str) -> Vec<Arc<Record>> {
        let records = self.records.read();
        let of_node = records.find(&RecordKey::Node(node_uid.to_owned()));
        of_node.filter(|record| record.request_uid != request_uid).cloned().collect()
    }

    /// Whether a record's request is there.
    pub fn has_request_of(&self, record: &Record) -> bool {
        self.requests.read().count(&RequestKey::Uid(record.request_uid.clone())) > 0
    }

    /// Whether a record is still there for the sake of a Node alone, and rightly so.
    pub fn is_kept(&self, record: &Record) -> bool {
        record.kept_for().is_some() && self.tells_of_node(record)
    }

    /// Whether the Node is there of which a record tells, and no request that is there has taken it over since.
    pub fn tells_of_node(&self, record: &Record) -> bool {
        let Some(uid) = &record.node_uid else { return false };
        let is_there = self.nodes.read().get(record.node_name.as_str()).is_some_and(|node| node.uid == *uid);
        is_there && !self.others_of_node(uid, &record.request_uid).iter().any(|other| self.has_request_of(other))
    }

    /// Whose an address is, if it is somebody's other than this request's node.
    ///
    /// An admin's word comes first: an address that another request names is that machine's. What a kubelet says of
    /// itself in the status of its Node approves nothing, and still keeps others from serving there: always where
    /// nobody has written the address down (a Node without a request, such as a control plane of kubeadm's), and
    /// otherwise where this request's addresses are a machine's own word as well. A Node that lies can so have a
    /// request denied, which names it.
    fn owner(&self, address: IpAddr, request: &NodeJoinRequest) -> Option<String> {
        let name = request.node_name();
        let requests = self.requests.read();
        if let Some(other) = requests.find(&RequestKey::Address(address)).find(|other| other.name != name) {
            return Some(format!("an address of NodeJoinRequest {}", other.name));
        }
        let said_by_an_admin = request.spec.addresses.contains(&address);
        let nodes = self.nodes.read();
        let other = nodes
            .find(&address)
            .find(|node| node.name != name && !(said_by_an_admin && requests.get(&node.name).is_some()));
        other.map(|node| format!("an address of Node {}", node.name))
    }

    /// The number of tokens that have neither served nor expired; counted exactly only if there are `relevant` or more.
    fn in_flight(&self, now: UnixSeconds, relevant: usize) -> usize {
        let records = self.records.read();
        let held = records.count(&RecordKey::HoldsToken);
        if held < relevant { held } else { alive(&records, now) }
    }

    /// The number of tokens that have neither served nor expired.
    pub fn tokens_alive(&self, now: UnixSeconds) -> usize {
        alive(&self.records.read(), now)
    }

    /// Whether a certificate request is undecided and comes from a token of our groups that no record knows.
    pub fn is_stray(&self, csr: &CsrEntry) -> bool {
        let ours = matches!(subject_of(&csr.request), SubjectOf::Token(_) | SubjectOf::TokenForServing);
        let Some(CsrKey::Token(id)) = csr.requester() else { return false };
        ours && !csr.request.is_decided() && self.records.read().count(&RecordKey::Token(id)) == 0
    }

    /// The number of certificate requests that were approved more than so many seconds ago and have no certificate.
    pub fn unsigned(&self, now: UnixSeconds, timeout: i64) -> usize {
        let late = |csr: &&Arc<CsrEntry>| csr.is_unsigned(now, timeout);
        [&self.client_csrs, &self.serving_csrs].into_iter().map(|table| table.read().iter().filter(late).count()).sum()
    }
}

fn alive(records: &Table<Record>, now: UnixSeconds) -> usize {
    let holders = records.find(&RecordKey::HoldsToken);
    holders.filter(|record| record.unspent().is_some_and(|token| now < token.expires_at)).count()
}

impl Snapshot {
    /// What the decisions look at.
    pub fn observe<'a>(
        &'a self,
        now: UnixSeconds,
        settings: &'a Settings,
        request: &'a NodeJoinRequest,
        node_name: &'a join_trust::names::NodeName,
    ) -> Observed<'a> {
        Observed {
            now,
            settings,
            request,
            node_name,
            record: self.record.as_deref(),
            announcements: &self.announcements,
            csrs: &self.csrs,
            node: self.node.as_deref(),
            former: self.former.as_deref(),
            published: &self.published,
            memory: &self.memory,
            queue_full: self.queue_full,
            forbidden_networks: &self.forbidden_networks,
            foreign_addresses: &self.foreign_addresses,
        }
    }

    /// The record.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_deref()
    }

    /// The record of another request, of which the Node came.
    pub fn former(&self) -> Option<&Record> {
        self.former.as_deref()
    }

    /// The Node.
    pub fn node(&self) -> Option<&NodeEntry> {
        self.node.as_deref()
    }

    /// cluster-info.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// The certificate request with this UID.
    pub fn csr(&self, uid: &str) -> Option<&CsrEntry> {
        self.csrs.iter().map(Arc::as_ref).find(|csr| csr.request.uid == uid)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use rstest::rstest;

    use super::*;

    fn request(name: &str, addresses: &[&str]) -> NodeJoinRequest {
        let spec = serde_json::json!({"machine": {"trust": "FirstUse"}, "addresses": addresses});
        NodeJoinRequest::new(name, serde_json::from_value(spec).unwrap())
    }

    /// A Node that says of itself that it has 192.0.2.9, with a request that says so or does not, or without one.
    #[rstest]
    #[case::no_request_and_announced(None, &[], Some("an address of Node other"))]
    #[case::no_request_and_written_down(None, &["192.0.2.9"], Some("an address of Node other"))]
    #[case::announced_by_both(Some(&[][..]), &[], Some("an address of Node other"))]
    #[case::written_down_for_this(Some(&[][..]), &["192.0.2.9"], None)]
    #[case::written_down_for_the_other(Some(&["192.0.2.9"][..]), &[], Some("an address of NodeJoinRequest other"))]
    #[case::written_down_for_both(Some(&["192.0.2.9"][..]), &["192.0.2.9"], Some("an address of NodeJoinRequest other"))]
    fn addresses_of_others_are_found(
        #[case] other: Option<&[&str]>,
        #[case] own: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let world = World::default();
        for name in ["this", "other"] {
            let node: Node = serde_json::from_value(serde_json::json!({
                "metadata": {"name": name},
                "status": {"addresses": [
                    {"type": "Hostname", "address": name},
                    {"type": "InternalIP", "address": "192.0.2.9"},
                ]},
            }))
            .unwrap();
            world.nodes.write().insert(Arc::new(NodeEntry::read(node)));
        }
        let this = request("this", own);
        for request in other.map(|addresses| request("other", addresses)).iter().chain([&this]) {
            world.requests.write().insert(Arc::new(RequestEntry::read(request)));
        }
        let whose = |address: &str| world.owner(address.parse().unwrap(), &this);
        assert_eq!(whose("192.0.2.9").as_deref(), expected);
        assert_eq!(whose("192.0.2.10"), None);
    }

    /// What is known of a Node's machine is kept while the Node is there, and by one record: that of the newest request.
    #[test]
    fn one_record_tells_of_a_node() {
        let world = World::default();
        let node: Node = serde_json::from_value(serde_json::json!({"metadata": {"name": "this", "uid": "n"}})).unwrap();
        world.nodes.write().insert(Arc::new(NodeEntry::read(node)));
        let name = join_trust::names::NodeName::parse("this").unwrap();
        let first = Record { node_uid: Some("n".to_owned()), ..Record::new("first", name, 1) };
        let second = first.adopted("second", 2);
        world.records.write().insert(Arc::new(first.clone()));
        assert!(world.is_kept(&first));
        world.records.write().insert(Arc::new(second.clone()));
        assert!(world.is_kept(&first) && world.is_kept(&second), "neither may go while no request is there");
        let mut object = request("this", &[]);
        object.metadata.uid = Some("second".to_owned());
        world.requests.write().insert(Arc::new(RequestEntry::read(&object)));
        assert!(!world.is_kept(&first) && world.is_kept(&second));
        world.nodes.write().remove("this");
        assert!(!world.is_kept(&second));
    }
}
