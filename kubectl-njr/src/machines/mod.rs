//! `kubectl njr machines`: which machines have announced themselves.
//!
//! An announcement is a `CertificateSigningRequest` for a signer of our own. Anybody who may make such objects can make
//! one, so only the signed request inside is believed, and of that only what its signature proves: that all of it comes
//! from the holder of one key.

pub mod announced;
pub mod judge;
mod show;

pub use show::groups as key_groups;

use std::collections::BTreeSet;

use clap::Args;
use join_crds::NodeJoinRequest;
use join_trust::names::ANNOUNCEMENT_SIGNER;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;

use crate::options::{GlobalOptions, ListOutput};
use crate::output::{self, stderr};
use crate::session::{CallError, ConnectError, Session};
use announced::Announced;
use judge::Machine;

/// The machines could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Arguments of `machines`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    output: ListOutput,
}

/// What the cluster knows that has to do with machines.
pub struct Seen {
    /// The announcements.
    pub announced: Vec<Announced>,
    /// Every request.
    pub requests: Vec<NodeJoinRequest>,
    /// The names of the Nodes; none where they may not be listed.
    pub nodes: Option<BTreeSet<String>>,
}

impl Seen {
    /// Asks the cluster.
    pub async fn read(session: &Session) -> Result<Self, CallError> {
        let all = ListParams::default();
        let of_ours = ListParams::default().fields(&format!("spec.signerName={ANNOUNCEMENT_SIGNER}"));
        let csrs: Api<CertificateSigningRequest> = Api::all(session.client());
        let requests: Api<NodeJoinRequest> = Api::all(session.client());
        let nodes: Api<Node> = Api::all(session.client());
        let (csrs, requests, nodes) = tokio::join!(
            session.call("list the announcements of machines", csrs.list(&of_ours)),
            session.call("list the requests", requests.list(&all)),
            session.call("list the nodes", nodes.list_metadata(&all)),
        );
        let (csrs, requests) = (csrs?, requests?);
        let nodes = match nodes {
            Ok(nodes) => Some(nodes.items.into_iter().filter_map(|node: PartialObjectMeta<Node>| node.metadata.name)),
            Err(error) if error.is_forbidden() => {
                stderr::warning("you may not list Nodes, so whether a name is taken by one is not shown");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            announced: csrs.items.iter().filter_map(Announced::read).collect(),
            requests: requests.items,
            nodes: nodes.map(Iterator::collect),
        })
    }

    /// What each announcement comes to.
    pub fn machines(&self) -> Vec<Machine> {
        judge::judge(&self.announced, &self.requests, self.nodes.as_ref())
    }
}

/// Prints the machines.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let machines = Seen::read(&session).await?.machines();
    output::print(&show::show(&machines, arguments.output.output, Timestamp::now())?)?;
    let remark = show::remark(&machines);
    // For programs the list says it all.
    if arguments.output.output.is_none_or(|format| format == output::Format::Wide) && !remark.is_empty() {
        stderr::note(&remark);
    }
    Ok(())
}
