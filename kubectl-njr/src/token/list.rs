//! `kubectl njr token list`.

use clap::Args;
use join_checks::terminal::printable;
use join_crds::vocabulary::KUBE_SYSTEM;
use join_trust::token::SECRET_TYPE;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Error;
use super::stored::StoredToken;
use crate::options::{GlobalOptions, ListOutput};
use crate::output::{self, Format, Table, age, stderr};
use crate::session::Session;

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show the tokens whole, not only their ids
    #[arg(long)]
    show_secrets: bool,

    #[command(flatten)]
    output: ListOutput,
}

/// Prints the tokens.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let api: Api<Secret> = Api::namespaced(session.client(), KUBE_SYSTEM);
    let of_type = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let secrets = session.call("list the bootstrap tokens in kube-system", api.list(&of_type)).await?;
    let mut tokens = Vec::new();
    for secret in &secrets.items {
        match StoredToken::read(secret) {
            Ok(token) => tokens.push(token),
            Err(error) => stderr::warning(&error.to_string()),
        }
    }
    let text = show(&tokens, arguments.show_secrets, arguments.output.output, Timestamp::now())?;
    output::print(&text)?;
    if tokens.is_empty() {
        stderr::note("There are no bootstrap tokens. `kubectl njr enroll` makes one for machines.");
    }
    Ok(())
}

/// A token as `kubeadm token list --output json` has it; without its secret, `token` is the id alone.
#[derive(Serialize)]
struct Listed<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    token: Zeroizing<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    usages: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
}

fn show(
    tokens: &[StoredToken],
    show_secrets: bool,
    format: Option<Format>,
    now: Timestamp,
) -> Result<String, output::Error> {
    let shown = |stored: &StoredToken| {
        if show_secrets { stored.token.expose() } else { Zeroizing::new(stored.token.id().to_string()) }
    };
    let listed = |stored| listed(stored, shown(stored));
    match format {
        // One document after the other, as kubeadm does.
        Some(Format::Json) => tokens.iter().map(|token| output::json(&listed(token))).collect(),
        Some(Format::Yaml) => {
            let documents: Result<Vec<_>, _> = tokens.iter().map(|token| output::yaml(&listed(token))).collect();
            Ok(documents?.join("---\n"))
        }
        Some(Format::Name) => {
            let names: Vec<String> = tokens.iter().map(|token| token.token.id().secret_name()).collect();
            Ok(output::names("secret", names.iter().map(String::as_str)))
        }
        None | Some(Format::Wide) if tokens.is_empty() => Ok(String::new()),
        None | Some(Format::Wide) => {
            let mut table = Table::new(["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"]);
            for stored in tokens {
                table.row(row(stored, &shown(stored), now));
            }
            Ok(table.render())
        }
    }
}

fn listed(stored: &StoredToken, token: Zeroizing<String>) -> Listed<'_> {
    Listed {
        kind: "BootstrapToken",
        api_version: "output.kubeadm.k8s.io/v1alpha3",
        token,
        description: &stored.description,
        expires: stored.expires,
        usages: &stored.usages,
        groups: &stored.groups,
    }
}

/// kubeadm's row, with the least widths that it gives to some columns.
fn row(stored: &StoredToken, token: &str, now: Timestamp) -> [String; 6] {
    let or_none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    let (ttl, expires) = stored.expires.map_or_else(
        || ("<forever>".to_owned(), "<never>".to_owned()),
        |expires| (age::short(expires.duration_since(now).as_secs()), expires.to_string()),
    );
    [
        token.to_owned(),
        format!("{ttl:9}"),
        expires,
        format!("{:22}", or_none(stored.usages.join(","))),
        format!("{:56}", printable(&or_none(stored.description.clone()))),
        or_none(stored.groups.join(",")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::stored::tests::secret;
    use super::*;

    fn tokens() -> Vec<StoredToken> {
        let first = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("description", "of\u{1b}[31m\nw"),
            ("expiration", "2026-07-02T11:59:00Z"),
            ("usage-bootstrap-signing", "true"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:a"),
        ];
        let second = [("token-id", "abcdeg"), ("token-secret", "0123456789abcdef")];
        [secret("bootstrap-token-abcdef", &first), secret("bootstrap-token-abcdeg", &second)]
            .iter()
            .map(|secret| StoredToken::read(secret).unwrap())
            .collect()
    }

    fn shown(show_secrets: bool, format: Option<Format>) -> String {
        show(&tokens(), show_secrets, format, "2026-07-01T12:00:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_table_is_kubeadms_without_the_secrets() {
        let expected = "\
TOKEN    TTL         EXPIRES                USAGES                   DESCRIPTION                                                EXTRA GROUPS
abcdef   23h         2026-07-02T11:59:00Z   authentication,signing   of\\u{1b}[31m\\nw                                            system:bootstrappers:a
abcdeg   <forever>   <never>                <none>                   <none>                                                     <none>
";
        assert_eq!(shown(false, None), expected);
    }

    #[test]
    fn secrets_are_shown_on_request_only() {
        for format in [None, Some(Format::Wide), Some(Format::Json), Some(Format::Yaml), Some(Format::Name)] {
            assert!(!shown(false, format).contains("0123456789"), "{format:?}");
        }
        assert!(shown(true, None).contains("\nabcdef.0123456789abcdef   23h "));
        assert!(shown(true, Some(Format::Json)).contains("\"token\": \"abcdeg.0123456789abcdef\"\n}\n"));
    }

    #[test]
    fn objects_are_kubeadms() {
        let expected = "\
apiVersion: output.kubeadm.k8s.io/v1alpha3
kind: BootstrapToken
token: abcdeg
";
        assert!(shown(false, Some(Format::Yaml)).ends_with(&format!("---\n{expected}")));
        assert_eq!(shown(false, Some(Format::Name)), "secret/bootstrap-token-abcdef\nsecret/bootstrap-token-abcdeg\n");
        assert_eq!(show(&[], false, None, Timestamp::UNIX_EPOCH).unwrap(), "");
    }
}
