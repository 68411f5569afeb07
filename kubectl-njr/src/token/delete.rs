//! `kubectl njr token delete`.

use clap::Args;
use join_crds::vocabulary::{CLUSTER_INFO, KUBE_PUBLIC, KUBE_SYSTEM};
use join_trust::jws;
use join_trust::token::{BootstrapToken, TokenId};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::options::{DryRun, DryRunOption, GlobalOptions};
use crate::output;
use crate::session::Session;

/// What was given is no token. It is not repeated, since it may be most of one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither form fits.
    #[error(
        "argument {position} is neither a token id (6 characters of a-z and 0-9) nor a token (<id>.<16 characters>); see the ids with: kubectl njr token list"
    )]
    Argument {
        /// Its position, counted from 1.
        position: usize,
    },
    /// There is no such token.
    #[error("there is no bootstrap token {0}; see which there are with: kubectl njr token list")]
    NotFound(TokenId),
}

/// Arguments of `token delete`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Id of a token, or the token itself
    #[arg(value_name = "TOKEN", required = true)]
    tokens: Vec<String>,

    #[command(flatten)]
    dry_run: DryRunOption,
}

/// Deletes the tokens, each with its signature in cluster-info.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), super::Error> {
    let ids = ids(&arguments.tokens)?;
    let dry_run = arguments.dry_run.dry_run;
    let session = Session::open(options).await?;
    for id in ids {
        if dry_run != DryRun::Client {
            delete(&session, &id, dry_run).await?;
        }
        output::print(&format!("bootstrap token \"{id}\" deleted{}\n", dry_run.suffix()))?;
    }
    Ok(())
}

async fn delete(session: &Session, id: &TokenId, dry_run: DryRun) -> Result<(), super::Error> {
    let secrets: Api<Secret> = Api::namespaced(session.client(), KUBE_SYSTEM);
    let params = DeleteParams { dry_run: dry_run.is_server(), ..DeleteParams::default() };
    let tried = format!("delete the bootstrap token {id}");
    let deleted = session.call_opt(&tried, secrets.delete(&id.secret_name(), &params)).await?;
    if deleted.is_none() {
        return Err(Error::NotFound(id.clone()).into());
    }
    if dry_run == DryRun::None {
        let maps: Api<ConfigMap> = Api::namespaced(session.client(), KUBE_PUBLIC);
        let patch = Patch::Merge(json!({"data": {jws::data_key(id): null}}));
        // Without the token its signature is worth nothing, and kube-controller-manager removes it as well; so whoever may
        // not change cluster-info has still done what was asked.
        let params = PatchParams::default();
        let _ = session.call("remove the token's signature", maps.patch(CLUSTER_INFO, &params, &patch)).await;
    }
    Ok(())
}

fn ids(arguments: &[String]) -> Result<Vec<TokenId>, Error> {
    let id = |(index, text): (usize, &String)| {
        let whole = || BootstrapToken::parse(text).map(|token| token.id().clone());
        TokenId::parse(text).or_else(|_| whole()).map_err(|_| Error::Argument { position: index + 1 })
    };
    arguments.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_whole_tokens_are_taken_and_nothing_else() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let found = ids(&owned(&["abcdef", "ghijkl.0123456789abcdef"])).unwrap();
        assert_eq!(found.iter().map(TokenId::as_str).collect::<Vec<_>>(), ["abcdef", "ghijkl"]);
        for wrong in ["", "ABCDEF", "abcdef.", "abcdef.short", "../x"] {
            assert_eq!(ids(&owned(&["abcdef", wrong])), Err(Error::Argument { position: 2 }), "{wrong}");
        }
    }
}
