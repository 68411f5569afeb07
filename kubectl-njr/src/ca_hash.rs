//! `kubectl njr ca-hash`: the pins of the cluster's certificate authorities.

use std::fmt::Write as _;

use crate::cluster_info::{self, Published};
use crate::options::GlobalOptions;
use crate::output::{self, stderr};
use crate::session::{ConnectError, Session};

/// The pins could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// cluster-info cannot be used.
    #[error(transparent)]
    ClusterInfo(#[from] cluster_info::Error),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Prints one pin a line, as `kubeadm join --discovery-token-ca-cert-hash` and `caCertHashes` take them.
pub async fn run(options: &GlobalOptions) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let published = Published::read(&session).await?;
    if let Some(warning) = published.strange_authorities(&session) {
        stderr::warning(&warning);
    }
    let mut text = String::new();
    for pin in published.pins().iter() {
        let _ = writeln!(text, "{pin}");
    }
    Ok(output::print(&text)?)
}
