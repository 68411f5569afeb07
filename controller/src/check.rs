//! `join-controller check`: the controller's own look at its cluster, with the rights that it has and no others.
//!
//! It is what `helm test` runs, in a Pod of the controller's image and ServiceAccount. It changes nothing, and shows
//! what it may not look at as skipped.

use join_checks::cluster::observe::{Access, Breadth, ObserveError, observe};
use join_checks::cluster::{Scope, check, rights};
use join_checks::{Format, Report};

use crate::cli::{CheckFormat, Cli};
use crate::client::{self, ClientError};

/// The check could not be made. What it finds is no error.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no configuration to reach the API server with.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connections could not be set up.
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

/// Looks at the cluster, and judges it as the controller needs it.
pub async fn run(cli: &Cli) -> Result<Report, CheckError> {
    let config = client::config(cli.kubeconfig.as_deref()).await?;
    let access = Access::new(&config)?;
    let mut wanted = rights::controller(&cli.namespace);
    wanted.extend(rights::too_much_for_the_controller());
    let facts = observe(&access, &cli.namespace, Breadth::Controller, wanted).await;
    Ok(check(&facts, Scope::Controller))
}

impl From<CheckFormat> for Format {
    fn from(format: CheckFormat) -> Self {
        match format {
            CheckFormat::Table => Self::Table,
            CheckFormat::Short => Self::Short,
            CheckFormat::Json => Self::Json,
        }
    }
}
