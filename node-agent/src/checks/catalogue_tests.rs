use std::fmt::Write as _;

use super::*;

/// The page of all checks, as the catalogue has them.
fn page() -> String {
    let mut text = "\
<!-- Generated from node-agent/src/checks/catalogue.rs by `UPDATE=1 cargo test -p join-agent checks`. Do not edit. -->
# Checks of a machine

`join-agent check` makes the checks of the first part on any machine, with or without a configuration, and changes
nothing. A join makes them before it writes anything, and shows them in `status.agent.checks` of its request. Those of
the second part are made by a join whose request has `role: ControlPlane`, which the machine alone does not know of.

- `join-agent check` prints a table; `-o short` prints only what is wrong, a line each; `-o json` is for programs. It
  ends with exit code 1 when a check failed.
- A check that failed is waived by its name in `spec.nodeRegistration.ignorePreflightErrors` (or
  `--ignore-preflight-errors`), as with kubeadm; upper and lower case do not matter, and `all` waives every one.
- Checks that kubeadm has, too, have kubeadm's names. Where a verdict differs, its section says so.
- What cannot be told is *skipped*, and the check says why.

"
    .to_owned();
    for (moment, title) in [
        (Moment::Before, "Before a join"),
        (Moment::BeforeControlPlane, "Before the join of a control plane, besides those"),
        (Moment::After, "After the join, for as long as the machine is a node"),
        (Moment::AfterControlPlane, "For as long as the machine is a control plane, besides those"),
    ] {
        let _ = writeln!(text, "## {title}\n");
        let _ = writeln!(text, "| Check | Passes when | At worst | Also kubeadm's |\n|---|---|---|---|");
        let of_moment = || all().filter(|kind| kind.moment == moment);
        for Kind { id, origin, worst, wants, .. } in of_moment() {
            let worst = if *worst == Verdict::Failed { "fails" } else { "warns" };
            let kubeadm = if *origin == Origin::Kubeadm { "yes" } else { "" };
            let _ = writeln!(text, "| [`{id}`](#{anchor}) | {wants} | {worst} | {kubeadm} |", anchor = anchor(id));
        }
        let _ = writeln!(text);
        for Kind { id, wants, why, mend, .. } in of_moment() {
            let _ = writeln!(text, "### {id}\n\n- Passes when {wants}.\n- Why: {why}\n- To mend it: {mend}.\n");
        }
    }
    text += "\
## What kubeadm checks and this does not

- `FileExisting-conntrack`: kubeadm asks for it only in clusters older than 1.32.
- Of control planes: `Firewalld`, `ImagePull`, `KubernetesVersion`, and `HTTPProxy` of the machine's own address. Nothing takes
  the place of `Firewalld`: [which ports are needed](compatibility.md#ports). There is
  no kubeadm whose version the cluster's could be compared with; images are pulled by the kubelet, and what fails then is
  told. `ExternalEtcdClientCertificates` has nothing to look at: they come with the shared certificates.
- `SystemVerification` does not load a kernel module to read the kernel's configuration (kubeadm runs `modprobe
  configs`): a configuration that cannot be read is a warning here and a failure there. With cgroup v2 the freezer is
  looked for in the cgroups that are there, and none is made for the purpose. Where the cluster's kubelet configuration
  says `failCgroupV1: false`, cgroup v1 is a warning here; kubeadm does not read it and fails.
";
    text
}

fn anchor(id: &str) -> String {
    id.to_ascii_lowercase().replace('.', "")
}

#[test]
fn the_page_has_every_check() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    let expected = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/checks.md is not what the catalogue says: UPDATE=1 writes it anew");
}

#[test]
fn ids_are_names_that_a_request_may_waive_and_the_api_takes() {
    let mut seen = std::collections::BTreeSet::new();
    for kind in all() {
        assert!(seen.insert(kind.id.to_ascii_lowercase()), "{} is there twice", kind.id);
        assert!(kind.id.len() <= 128, "{}", kind.id);
        assert!(kind.id.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)), "{}", kind.id);
        assert!(matches!(kind.worst, Verdict::Failed | Verdict::Warning), "{}", kind.id);
        assert!(kind.why.ends_with('.') && !kind.wants.ends_with('.') && !kind.mend.ends_with('.'), "{}", kind.id);
    }
    assert_eq!(all().filter(|kind| kind.moment == Moment::After).count(), 6);
}

#[test]
fn kubeadms_names_are_known_and_misspelt_ones_are_not() {
    for known in ["all", "swap", "NumCPU", "Port-6443", "FileAvailable--etc-kubernetes-manifests-etcd.yaml", "mem"] {
        assert!(is_known(known), "{known}");
    }
    for unknown in
        ["", "Swapp", "Prot-10250", "Port10250", "FileExistinglosetup", "FileAvailable-etc-kubernetes-kubelet.conf"]
    {
        assert!(!is_known(unknown), "{unknown}");
    }
}
