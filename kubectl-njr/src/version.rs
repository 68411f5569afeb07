//! `kubectl njr version`: this program's version, and what the cluster has.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use join_checks::terminal::printable;
use join_crds::vocabulary::{GROUP, VERSION};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::Api;
use serde::Serialize;

use crate::options::GlobalOptions;
use crate::output::{self, stderr};
use crate::session::{CallError, ConnectError, Session};

/// The controller's Deployment, as the chart names it.
const DEPLOYMENT: &str = "join-controller";
/// The label in which a Deployment says its version.
const LABEL_VERSION: &str = "app.kubernetes.io/version";

/// The versions could not be told.
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

/// The formats in which versions can be shown besides text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print this program's version only, without asking the cluster
    #[arg(long)]
    client: bool,

    /// How the versions are shown [default: a line each]
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// What has which version. What the cluster does not tell is left out.
#[derive(Debug, Default, Serialize)]
struct Versions {
    #[serde(rename = "clientVersion")]
    client: String,
    #[serde(rename = "controllerVersion", skip_serializing_if = "Option::is_none")]
    controller: Option<String>,
    /// The served versions of the API group, the preferred one first.
    #[serde(rename = "apiVersions", skip_serializing_if = "Option::is_none")]
    served_api: Option<Vec<String>>,
    #[serde(rename = "serverVersion", skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

/// Prints the versions.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let mut versions = Versions { client: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(), ..Versions::default() };
    if !arguments.client {
        let session = Session::open(options).await?;
        ask(&session, &mut versions).await?;
    }
    let text = match arguments.output {
        Some(Format::Json) => output::json(&versions)?,
        Some(Format::Yaml) => output::yaml(&versions)?,
        None => lines(&versions, arguments.client),
    };
    output::print(&text)?;
    if let Some(served) = &versions.served_api
        && !served.iter().any(|version| version == VERSION)
    {
        stderr::warning(&format!(
            "this program speaks {GROUP}/{VERSION}, which the cluster does not serve: install join-operator with its \
             chart, or use a kubectl-njr of its version"
        ));
    }
    Ok(())
}

async fn ask(session: &Session, versions: &mut Versions) -> Result<(), Error> {
    let client = session.client();
    let info = session.call("ask for the API server's version", client.apiserver_version()).await?;
    versions.server = Some(info.git_version);
    let groups = session.call("ask for the API groups", client.list_api_groups()).await?;
    let group = groups.groups.into_iter().find(|group| group.name == GROUP);
    let versions_of = |group: APIGroup| group.versions.into_iter().map(|version| version.version).collect();
    versions.served_api = Some(group.map(versions_of).unwrap_or_default());
    let deployments: Api<Deployment> = Api::namespaced(client, session.namespace());
    match session.call_opt("read the controller's Deployment", deployments.get(DEPLOYMENT)).await {
        Ok(found) => versions.controller = found.as_ref().and_then(controller_version),
        // Who may not look at Deployments still learns the rest.
        Err(error) if error.is_forbidden() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn controller_version(deployment: &Deployment) -> Option<String> {
    let labels = deployment.metadata.labels.as_ref()?;
    labels.get(LABEL_VERSION).map(|version| format!("v{}", version.trim_start_matches('v')))
}

fn lines(versions: &Versions, client_only: bool) -> String {
    let mut text = format!("Client Version: {}\n", versions.client);
    if client_only {
        return text;
    }
    let unknown = || "<unknown>".to_owned();
    let served = versions.served_api.as_ref().map_or_else(unknown, |served| {
        let served: Vec<String> = served.iter().map(|version| format!("{GROUP}/{version}")).collect();
        if served.is_empty() { "<none>".to_owned() } else { served.join(", ") }
    });
    let told = |version: &Option<String>| version.clone().unwrap_or_else(unknown);
    for (what, version) in [
        ("Controller Version", told(&versions.controller)),
        ("API Versions", served),
        ("Server Version", told(&versions.server)),
    ] {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{what}: {}", printable(&version));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said() {
        let versions = Versions {
            client: "v1".to_owned(),
            server: Some("v1.37.2\u{1b}[m".to_owned()),
            served_api: Some(vec!["v1alpha1".to_owned()]),
            controller: None,
        };
        let expected = "\
Client Version: v1
Controller Version: <unknown>
API Versions: nodejoin.dev/v1alpha1
Server Version: v1.37.2\\u{1b}[m
";
        assert_eq!(lines(&versions, false), expected);
        assert_eq!(lines(&versions, true), "Client Version: v1\n");
        assert_eq!(output::yaml(&versions).unwrap().lines().count(), 4);
    }
}
