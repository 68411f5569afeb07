//! `token` and `join-command`, beside the real kubeadm.

use libtest_mimic::Failed;

use crate::support::Suite;

/// kubeadm's group, with which any machine becomes any node.
const GROUP_KUBEADM: &str = "system:bootstrappers:kubeadm:default-node-token";

pub fn tokens_are_listed_as_kubeadm_lists_them(suite: &Suite) -> Result<(), Failed> {
    let empty = suite.njr(&["token", "list"])?.good()?;
    let secret = "0123456789abcdef";
    suite.kubeadm(&["token", "create", &format!("aaaaaa.{secret}"), "--description", "of kubeadm's making"])?;
    // To the byte, when the secrets are asked for.
    same(&suite.kubeadm(&["token", "list"])?, &suite.njr(&["token", "list", "--show-secrets"])?.good()?.stdout)?;
    suite.kubeadm(&["token", "create", &format!("bbbbbb.{secret}"), "--ttl", "0"])?;
    let listed = suite.njr(&["token", "list"])?.good()?.without(secret)?;
    let yaml = suite.njr(&["token", "list", "-o", "yaml"])?.good()?.without(secret)?;
    // kubeadm's columns are as wide as its first row has them, so that a token without an end moves the rest.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = suite.njr(&["token", "list", "--show-secrets"])?.good()?;
    same(&words(&suite.kubeadm(&["token", "list"])?), &words(&whole.stdout))?;
    for format in ["json", "yaml"] {
        let ours = suite.njr(&["token", "list", "--show-secrets", "-o", format])?.good()?;
        same(&suite.kubeadm(&["token", "list", "-o", format])?, &ours.stdout)?;
    }
    // What is no token is told and not shown.
    suite.operator().apply(
        r#"{"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": {"namespace": "kube-system", "name": "bootstrap-token-cccccc"},
            "stringData": {"token-id": "cccccc", "description": "without a secret"}}"#,
    )?;
    let broken = suite.njr(&["token", "list", "-o", "name"])?.good()?;
    let forbidden = suite.njr(&["token", "list", "--as", "nobody"])?.with_code(1)?;
    suite.snapshot("token-list", &[&empty, &listed, &yaml, &broken, &forbidden])
}

fn same(kubeadms: &str, ours: &str) -> Result<(), Failed> {
    if kubeadms == ours { Ok(()) } else { Err(format!("kubeadm prints\n{kubeadms}\nand we\n{ours}").into()) }
}

pub fn tokens_are_made_and_deleted(suite: &Suite) -> Result<(), Failed> {
    let created = suite.njr(&["token", "create", "--description", "for tests"])?.good()?;
    let token = created.stdout.trim().to_owned();
    let id = token.split('.').next().unwrap_or_default().to_owned();
    suite.stands_for("<id>.<secret>", &token);
    suite.stands_for("<id>", &id);
    let data = ["get", "secret", "--namespace=kube-system", "--output=jsonpath={.data.auth-extra-groups}"];
    let name = format!("bootstrap-token-{id}");
    let groups = suite.operator().kubectl(&[&data[..], &[name.as_str()]].concat())?;
    let expected = serde_json::to_value(k8s_openapi::ByteString(b"system:bootstrappers:nodejoin:enroll".to_vec()))?;
    if Some(groups.trim()) != expected.as_str() {
        return Err(format!("the token has the groups {groups:?}").into());
    }
    // The line is kubeadm's for the same token, to the byte.
    let line = suite.njr(&["token", "create", "--print-join-command", "--groups", GROUP_KUBEADM])?.good()?;
    let other = line.stdout.split_whitespace().find(|word| word.len() == 23 && word.contains('.'));
    let other = other.ok_or_else(|| format!("there is no token in {line:?}"))?.to_owned();
    suite.kubeadm(&["token", "delete", &other[..6]])?;
    same(&suite.kubeadm(&["token", "create", &other, "--print-join-command"])?, &line.stdout)?;
    let useless = suite.njr(&["token", "create", "--print-join-command"])?.with_code(1)?;
    let bad_group = suite.njr(&["token", "create", "--groups", "system:masters"])?.with_code(1)?;
    let dry = suite.njr(&["token", "create", "--dry-run=client"])?.good()?;
    let deleted = suite.njr(&["token", "delete", &id])?.good()?;
    let map = ["get", "cm", "cluster-info", "--namespace=kube-public", "--output=jsonpath={.data}"];
    if suite.operator().kubectl(&map)?.contains(&format!("jws-kubeconfig-{id}")) {
        return Err("the deleted token's signature is still in cluster-info".into());
    }
    let gone = suite.njr(&["token", "delete", &token])?.with_code(1)?.without(&token[7..])?;
    let typo = suite.njr(&["token", "delete", &token[..20]])?.with_code(1)?;
    if typo.stderr.contains(&token[7..20]) {
        return Err("a mistyped token was repeated".into());
    }
    // The command line itself is what was typed.
    let typo = crate::snapshot::Outcome { line: "token delete <id>.<most of the secret>".to_owned(), ..typo };
    suite.snapshot("token", &[&created, &line, &useless, &bad_group, &dry, &deleted, &gone, &typo])
}
