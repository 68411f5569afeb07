//! `doctor`: what weakens a real cluster, and its removal.

use libtest_mimic::Failed;

use crate::support::Suite;

pub fn a_fresh_cluster_has_kubeadms_own_weakness(suite: &Suite) -> Result<(), Failed> {
    suite.stands_for("<kubernetes>", &suite.lab().components().kubernetes_version);
    let table = suite.njr(&["doctor"])?.good()?;
    let unknown = suite.njr(&["doctor", "--fix", "everything"])?.with_code(2)?;
    suite.snapshot("doctor", &[&table, &unknown])
}

pub fn a_token_that_never_ends_is_told_and_removed(suite: &Suite) -> Result<(), Failed> {
    let token = suite.kubeadm(&["token", "create", "--ttl=0", "--kubeconfig=/etc/kubernetes/admin.conf"])?;
    let secret = token.trim().split_once('.').map(|(_, secret)| secret.to_owned()).unwrap_or_default();
    let told = suite.njr(&["doctor", "-o", "short"])?.with_code(1)?.without(&secret)?;
    let asked = suite.njr_on_a_terminal(&["doctor", "--fix", "unexpiring-tokens"], "no\n")?.with_code(1)?;
    let tried = suite.njr(&["doctor", "--fix", "unexpiring-tokens", "--dry-run=client"])?.good()?;
    let mended = suite.njr(&["doctor", "--fix", "unexpiring-tokens", "--yes"])?.good()?;
    let well = suite.njr(&["doctor", "-o", "short"])?.good()?;
    suite.snapshot("doctor-token", &[&told, &asked, &tried, &mended, &well])
}

pub fn wide_bindings_are_told_and_removed(suite: &Suite) -> Result<(), Failed> {
    let operator = suite.operator();
    operator.kubectl(&[
        "create",
        "clusterrolebinding",
        "wide",
        "--clusterrole=view",
        "--group=system:bootstrappers",
    ])?;
    operator.kubectl(&[
        "create",
        "rolebinding",
        "open",
        "--namespace=kube-public",
        "--clusterrole=edit",
        "--user=system:anonymous",
    ])?;
    operator.kubectl(&[
        "create",
        "clusterrolebinding",
        "unseen",
        "--group=system:bootstrappers:nodejoin:join",
        "--clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    ])?;
    let told = suite.njr(&["doctor", "-o", "short"])?.with_code(1)?;
    let unsafe_here = suite.njr(&["check", "-o", "short"])?.with_code(1)?;
    let fixes = ["--fix", "bootstrappers-bindings", "--fix", "anonymous-rights"];
    let mended = suite.njr(&[&["doctor", "--yes"], &fixes[..]].concat())?.good()?;
    operator.kubectl(&["delete", "clusterrolebinding", "unseen"])?;
    let well = suite.njr(&["doctor", "-o", "short"])?.good()?;
    suite.snapshot("doctor-bindings", &[&told, &unsafe_here, &mended, &well])
}
