//! The watches of all tables, and which requests each change is about.

use std::sync::Arc;

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::{CLUSTER_INFO, KUBE_PUBLIC, SECRET_TYPE_RECORD};
use join_trust::ca_bundle::CaTrust;
use join_trust::jws;
use join_trust::names::{ANNOUNCEMENT_SIGNER, CLIENT_SIGNER, SERVING_SIGNER};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::cache::Shared;
use crate::cache::csr::{AnnouncementEntry, CsrEntry, CsrKey};
use crate::cache::feed::{self, Triggers, absorb, watch_config};
use crate::cache::node::NodeEntry;
use crate::cache::request::RequestEntry;
use crate::cache::service::ServiceNetworks;
use crate::metrics::Metrics;
use crate::plan::Published;
use crate::record::{Record, RecordKey, Token};
use crate::world::World;

/// Starts the watches that fill the tables.
pub struct Feeds<'a> {
    /// The client.
    pub client: &'a Client,
    /// The namespace of records.
    pub namespace: &'a str,
    /// The tables.
    pub world: &'a World,
    /// Whom to tell of requests to look at again.
    pub triggers: &'a Triggers,
    /// Notified when a request was deleted, or a Node for whose sake there is something left of one.
    pub deletions: &'a Arc<Notify>,
    /// The metrics.
    pub metrics: &'a Metrics,
    /// Which certificate authorities may be handed on to machines.
    pub trust: &'a Arc<CaTrust>,
}

impl Feeds<'_> {
    /// Starts all watches, and returns what becomes true when each has been filled.
    pub fn start(
        &self,
        tasks: &mut JoinSet<&'static str>,
        writer: Writer<NodeJoinRequest>,
    ) -> Vec<watch::Receiver<bool>> {
        vec![
            self.requests(tasks, writer),
            self.announcements(tasks),
            self.csrs(tasks, "client-csrs", CLIENT_SIGNER, &self.world.client_csrs),
            self.csrs(tasks, "serving-csrs", SERVING_SIGNER, &self.world.serving_csrs),
            self.nodes(tasks),
            self.services(tasks),
            self.records(tasks),
            self.cluster_info(tasks),
        ]
    }

    fn requests(
        &self,
        tasks: &mut JoinSet<&'static str>,
        mut writer: Writer<NodeJoinRequest>,
    ) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (table, triggers, deletions) =
            (self.world.requests.clone(), self.triggers.clone(), Arc::clone(self.deletions));
        let api: Api<DeserializeGuard<NodeJoinRequest>> = Api::all(self.client.clone());
        let metrics = self.metrics.clone();
        let counts = metrics.clone();
        tasks.spawn(async move {
            feed::run("requests", api, watch_config(), metrics, filled, move |event| {
                let Some(event) = readable(event) else { return };
                writer.apply_watcher_event(&event);
                absorb(
                    &table,
                    event,
                    |request| Some(RequestEntry::read(&request)),
                    |before: Option<&RequestEntry>, after: Option<&RequestEntry>| {
                        let [was, is] = [before, after].map(|entry| entry.map_or(&[][..], |entry| &entry.reasons));
                        counts.request_moved(was, is);
                        if after.is_none()
                            || before.is_some_and(|before| after.is_some_and(|after| after.uid != before.uid))
                        {
                            deletions.notify_one();
                        }
                        if let Some(after) = after {
                            triggers.send(&after.name);
                        }
                    },
                );
            })
            .await;
            "requests"
        });
        is_filled
    }

    fn announcements(&self, tasks: &mut JoinSet<&'static str>) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (table, notify) = (self.world.announcements.clone(), self.notifier());
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let (config, metrics) =
            (watch_config().fields(&format!("spec.signerName={ANNOUNCEMENT_SIGNER}")), self.metrics.clone());
        tasks.spawn(async move {
            feed::run("announcements", api, config, metrics, filled, move |event| {
                absorb(
                    &table,
                    event,
                    |object| AnnouncementEntry::read(&object),
                    |before, after| {
                        for name in [before, after].into_iter().flatten().filter_map(|entry| entry.claimed.as_deref()) {
                            notify(name);
                        }
                    },
                );
            })
            .await;
            "announcements"
        });
        is_filled
    }

    fn csrs(
        &self,
        tasks: &mut JoinSet<&'static str>,
        name: &'static str,
        signer: &str,
        table: &Shared<CsrEntry>,
    ) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (table, records, notify) = (table.clone(), self.world.records.clone(), self.notifier());
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let (config, metrics) = (watch_config().fields(&format!("spec.signerName={signer}")), self.metrics.clone());
        tasks.spawn(async move {
            feed::run(name, api, config, metrics, filled, move |event| {
                absorb(&table, event, CsrEntry::read, |before, after| {
                    match after.or(before).and_then(CsrEntry::requester) {
                        Some(CsrKey::Node(name)) => notify(&name),
                        Some(CsrKey::Token(id)) => {
                            let records = records.read();
                            for record in records.find(&RecordKey::Token(id)) {
                                notify(record.node_name.as_str());
                            }
                        }
                        None => {}
                    }
                });
            })
            .await;
            name
        });
        is_filled
    }

    fn nodes(&self, tasks: &mut JoinSet<&'static str>) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (table, notify) = (self.world.nodes.clone(), self.notifier());
        let (records, deletions) = (self.world.records.clone(), Arc::clone(self.deletions));
        let api: Api<Node> = Api::all(self.client.clone());
        let metrics = self.metrics.clone();
        tasks.spawn(async move {
            feed::run("nodes", api, watch_config(), metrics, filled, move |event| {
                absorb(
                    &table,
                    event,
                    |node| Some(NodeEntry::read(node)),
                    |before, after| {
                        let news = match (before, after) {
                            (Some(before), Some(after)) => after.differs_from(before),
                            _ => true,
                        };
                        if let Some(node) = after.or(before).filter(|_| news) {
                            notify(&node.name);
                        }
                        let gone = before.filter(|before| after.is_none_or(|after| after.uid != before.uid));
                        if gone.is_some_and(|gone| records.read().count(&RecordKey::Node(gone.uid.clone())) > 0) {
                            deletions.notify_one();
                        }
                    },
                );
            })
            .await;
            "nodes"
        });
        is_filled
    }

    fn services(&self, tasks: &mut JoinSet<&'static str>) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let table = self.world.services.clone();
        let api: Api<ServiceCIDR> = Api::all(self.client.clone());
        let metrics = self.metrics.clone();
        tasks.spawn(async move {
            feed::run("services", api, watch_config(), metrics, filled, move |event| {
                absorb(&table, event, |object| Some(ServiceNetworks::read(object)), |_, _| ());
            })
            .await;
            "services"
        });
        is_filled
    }

    fn records(&self, tasks: &mut JoinSet<&'static str>) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (table, notify) = (self.world.records.clone(), self.notifier());
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let (config, metrics) = (watch_config().fields(&format!("type={SECRET_TYPE_RECORD}")), self.metrics.clone());
        tasks.spawn(async move {
            let read = |secret: Secret| match Record::from_secret(&secret) {
                Ok(record) => Some(record),
                Err(error) => {
                    tracing::error!(%error, "a record cannot be read; its request waits until it is repaired or deleted");
                    None
                }
            };
            feed::run("records", api, config, metrics, filled, move |event| {
                absorb(&table, event, read, |before, after| {
                    if let Some(record) = after.or(before).filter(|_| before != after) {
                        notify(record.node_name.as_str());
                    }
                });
            })
            .await;
            "records"
        });
        is_filled
    }

    fn cluster_info(&self, tasks: &mut JoinSet<&'static str>) -> watch::Receiver<bool> {
        let (filled, is_filled) = watch::channel(false);
        let (shared, trust) = (self.world.cluster_info.clone(), Arc::clone(self.trust));
        let (requests, records) = (self.world.requests.clone(), self.world.records.clone());
        let triggers = self.triggers.clone();
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), KUBE_PUBLIC);
        let (config, metrics) = (watch_config().fields(&format!("metadata.name={CLUSTER_INFO}")), self.metrics.clone());
        tasks.spawn(async move {
            let mut listed = false;
            feed::run("cluster-info", api, config, metrics, filled, move |event| {
                let before = shared.get();
                let changed = match event {
                    Event::Init => {
                        listed = false;
                        false
                    }
                    Event::InitApply(map) => {
                        listed = true;
                        shared.saw(&map, &trust)
                    }
                    Event::Apply(map) => shared.saw(&map, &trust),
                    Event::Delete(_) => shared.gone(),
                    Event::InitDone => !listed && shared.gone(),
                };
                if changed {
                    announce(&before, &shared.get(), &requests, &records, &triggers);
                }
            })
            .await;
            "cluster-info"
        });
        is_filled
    }

    /// Tells of a request by its name, if there is one: most nodes of a cluster have none.
    fn notifier(&self) -> impl Fn(&str) + Send + Sync + 'static + use<> {
        let (requests, triggers) = (self.world.requests.clone(), self.triggers.clone());
        move |name| {
            if requests.read().get(name).is_some() {
                triggers.send(name);
            }
        }
    }
}

/// Tells of those requests for which a change of cluster-info matters.
fn announce(
    before: &Published,
    after: &Published,
    requests: &Shared<RequestEntry>,
    records: &Shared<Record>,
    triggers: &Triggers,
) {
    if let (Published::Usable { info: old, .. }, Published::Usable { info, data }) = (before, after)
        && Arc::ptr_eq(old, info)
    {
        let records = records.read();
        for record in records.find(&RecordKey::HoldsToken) {
            let unsigned = record
                .unspent()
                .and_then(Token::whole)
                .is_some_and(|token| jws::verify_in(&token, info.text(), data).is_err());
            if unsigned {
                triggers.send(record.node_name.as_str());
            }
        }
        return;
    }
    for request in requests.read().iter() {
        triggers.send(&request.name);
    }
}

/// Drops objects that cannot be read: one that was written around the schema must not stop the watch of all others.
fn readable(event: Event<DeserializeGuard<NodeJoinRequest>>) -> Option<Event<NodeJoinRequest>> {
    let open = |guard: DeserializeGuard<NodeJoinRequest>| {
        let name = guard.name_any();
        guard
            .0
            .inspect_err(
                |error| tracing::error!(request = name, %error, "a request cannot be read, and is passed over"),
            )
            .ok()
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(open(object)?),
        Event::Apply(object) => Event::Apply(open(object)?),
        Event::Delete(object) => Event::Delete(open(object)?),
    })
}
