//! What the pages say of the agent and no other test reads: the drop-ins of its unit, and the script that makes a discovery
//! file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use join_agent::config::{Configuration, DEFAULT_STATE_DIRECTORY, Discovery, Surroundings};
use join_agent::discovery::{Origin, authorities_of_file};
use join_book::blocks::{Block, blocks};
use join_book::commands::understands;
use join_book::markdown::read;
use join_trust::kubeconfig::Credentials;

const PAGE: &str = "docs/agent-configuration.md";
const AUTHORITY: &str = include_str!("../../control-plane/testdata/ec.crt");
const UNIT: &str = include_str!("../../node-agent/packaging/join-agent.service");

fn drop_ins() -> Vec<Block> {
    let of_page = blocks(&read(Path::new(PAGE)).unwrap());
    of_page.into_iter().filter(|block| block.attribute("drop-in").is_some()).collect()
}

/// What systemd says of the unit with a drop-in; nothing when both are sound.
fn verify(drop_in: &str) -> String {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str, mode: u32| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for program in ["usr/bin/join-agent", "usr/bin/mkdir"] {
        write(program, "", 0o755);
    }
    write("usr/lib/systemd/system/join-agent.service", UNIT, 0o644);
    write("etc/systemd/system/join-agent.service.d/local.conf", drop_in, 0o644);
    let mut analyze = Command::new("systemd-analyze");
    // The units that it wants are not in this root.
    analyze.args(["verify", "--man=no", "--recursive-errors=no", "--root"]).arg(root.path());
    let outcome = analyze.arg("join-agent.service").env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = String::from_utf8(outcome.stderr).unwrap();
    if outcome.status.success() { said } else { format!("{}: {said}", outcome.status) }
}

#[test]
fn drop_ins_are_understood_by_systemd() {
    assert_eq!(verify(""), "", "the unit as it is");
    let drop_ins = drop_ins();
    assert_eq!(drop_ins.len(), 2, "drop-ins of {PAGE}");
    for block in drop_ins {
        assert_eq!(verify(&block.text), "", "{PAGE}:{}", block.line);
    }
    assert!(verify("[Service]\nReadWritePath=/srv\n").contains("ReadWritePath"));
    assert!(verify("[Service]\nExecStart=/usr/bin/join-agent run\n").contains("more than one ExecStart"));
}

/// The drop-in does for another folder what the unit does for its own, and starts the agent as the unit does.
#[test]
fn drop_ins_follow_the_unit() {
    let text: String = drop_ins().into_iter().map(|block| block.text).collect();
    let settings = |name: &str| -> Vec<String> {
        let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values
            .filter(|value| !value.is_empty())
            .map(|value| value.replace("/srv/join-agent", DEFAULT_STATE_DIRECTORY))
            .collect()
    };
    let [made] = &settings("ExecStartPre")[..] else { panic!("{text}") };
    assert!(UNIT.contains(&format!("ExecStartPre={made}\n")), "{made}");
    let [opened] = &settings("ReadWritePaths")[..] else { panic!("{text}") };
    assert!(UNIT.contains(&format!(" {opened}\n")), "{opened}");
    let [started] = &settings("ExecStart")[..] else { panic!("{text}") };
    let usual = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert!(started.starts_with(usual), "{started}");
    let arguments: Vec<String> = started.split(' ').skip(1).map(str::to_owned).collect();
    assert_eq!(understands(join_agent::cli::Arguments::command(), "join-agent", &arguments), Ok(()));
}

/// kubectl is a script that answers as the page expects it to; that it understands its arguments is tried in the lab.
#[test]
fn the_script_makes_a_discovery_file_that_the_agent_takes() {
    const KUBECTL: &str = r#"#!/bin/sh -e
case "$1 $2" in
"get configmap") cat "$AUTHORITY" ;;
"njr enroll") echo abcdef.0123456789abcdef ;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
"#;
    let page = blocks(&read(Path::new(PAGE)).unwrap());
    let script = page.iter().find(|block| block.language == "sh" && block.text.contains("discovery.conf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, KUBECTL).unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    let authority = folder.path().join("authority.pem");
    fs::write(&authority, AUTHORITY).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script.text]).current_dir(folder.path()).env("AUTHORITY", &authority);
    bash.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    assert!(bash.status().unwrap().success());

    let made = folder.path().join("discovery.conf");
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o600);
    let configuration = folder.path().join("config.yaml");
    let head = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\n";
    let text = format!("{head}discovery: {{file: {{kubeConfigPath: {}}}}}\n", made.display());
    fs::write(&configuration, text).unwrap();
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600)).unwrap();
    let surroundings = Surroundings { hostname: "worker-1".to_owned(), allow_unsafe_discovery: false };
    let read = Configuration::load(&configuration, &surroundings).unwrap();
    let Discovery::File { path, kubeconfig, .. } = read.discovery else { panic!("another discovery") };
    assert_eq!(kubeconfig.endpoint.url(), "https://192.0.2.10:6443");
    assert!(
        matches!(&kubeconfig.credentials, Credentials::Token(token) if token.as_str() == "abcdef.0123456789abcdef")
    );
    assert_eq!(authorities_of_file(Origin::Path(&path), &kubeconfig).unwrap().certificates().count(), 1);
}

/// The figure that the README takes from a page that is written anew with each benchmark.
#[test]
fn the_readme_has_the_benchmarks_figure() {
    let page = read(Path::new("docs/benchmarks.md")).unwrap();
    let (_, row) = page.split_once("| **Ready, relative to kubeadm** | **").unwrap();
    let (figure, _) = row.split_once("**").unwrap();
    let readme = read(Path::new("README.md")).unwrap();
    assert!(readme.contains(&format!("is Ready in {figure} of the time")), "the figure is {figure}");
}
