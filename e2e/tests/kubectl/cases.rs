//! Every command in the good case, the empty case and bad ones.
//!
//! "Empty" is a cluster that has nothing of what the command is about, or, where a command asks no cluster for anything,
//! a command line that says nothing. What the cases of one command printed is one file in `snapshots/commands`.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use join_kubectl::cli::Cli;
use libtest_mimic::Failed;

use crate::scenes::Scene;
use crate::support::Suite;
use crate::{others, scenes, snapshot};

use Kind::{Bad, Empty, Good};

/// What a case shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the command is for.
    Good,
    /// There is nothing to do it with.
    Empty,
    /// A mistake of the person who types, a right that is missing, or a cluster that is not well.
    Bad,
}

/// One command line, and what there is when it is typed.
struct Case {
    command: &'static str,
    kind: Kind,
    scene: Scene,
    /// What follows the command, in words. Those that a scene makes stand for something are spelled out.
    arguments: &'static str,
    /// The exit code.
    code: i32,
}

const fn case(command: &'static str, kind: Kind, scene: Scene, arguments: &'static str, code: i32) -> Case {
    Case { command, kind, scene, arguments, code }
}

const CASES: &[Case] = &[
    case("enroll", Good, Scene::Nothing, "", 0),
    case("enroll", Good, Scene::Nothing, "--print-token --ttl 1h", 0),
    case("enroll", Empty, Scene::NoClusterInfo, "", 1),
    case("enroll", Bad, Scene::Nothing, "--ttl 0", 1),
    case("enroll", Bad, Scene::Nothing, "--ttl tomorrow", 2),
    case("enroll", Bad, Scene::Nothing, "--as nobody", 1),
    case("machines", Good, Scene::Announced, "", 0),
    case("machines", Good, Scene::Announced, "--output name", 0),
    case("machines", Empty, Scene::Nothing, "", 0),
    case("machines", Empty, Scene::Nothing, "--output yaml", 0),
    case("machines", Bad, Scene::Announced, "--output xml", 2),
    case("machines", Bad, Scene::Announced, "--as nobody", 1),
    case("accept", Good, Scene::Announced, "worker-1 --key sha256:<key> --yes", 0),
    case("accept", Empty, Scene::Nothing, "worker-1 --key sha256:<zeros> --yes", 1),
    case("accept", Bad, Scene::Announced, "worker-1 --key sha256:<zeros> --yes", 1),
    case("accept", Bad, Scene::Announced, "worker-1 --yes", 2),
    case("accept", Bad, Scene::Announced, "worker-1 --key sha256:<key> --yes --as nobody", 1),
    case("create", Good, Scene::Nothing, "worker-1 --first-use", 0),
    case("create", Good, Scene::Nothing, "worker-1 --key sha256:<zeros> --dry-run=client --output json", 0),
    case("create", Empty, Scene::Nothing, "", 2),
    case("create", Bad, Scene::Nothing, "worker-1", 2),
    case("create", Bad, Scene::Nothing, "worker-1 --first-use --key sha256:<zeros>", 2),
    case("create", Bad, Scene::Requested, "worker-1 --first-use", 1),
    case("create", Bad, Scene::Nothing, "worker-1 --first-use --deadline 1s", 1),
    case("create", Bad, Scene::Nothing, "worker-1 --first-use --label zone=a --label zone=b", 1),
    case("create", Bad, Scene::Nothing, "Worker_1 --first-use", 2),
    case("status", Good, Scene::Requested, "worker-1", 0),
    case("status", Good, Scene::Announced, "worker-1", 0),
    case("status", Good, Scene::Refused, "worker-1", 0),
    case("status", Empty, Scene::Nothing, "worker-1", 1),
    case("status", Bad, Scene::Requested, "", 2),
    case("status", Bad, Scene::Requested, "worker-1 --as nobody", 1),
    case("status", Bad, Scene::Requested, "worker-1 --watch --output json", 2),
    case("retry", Good, Scene::Refused, "worker-1", 0),
    case("retry", Good, Scene::Refused, "worker-1 --dry-run=server --output name", 0),
    case("retry", Empty, Scene::Nothing, "worker-1", 1),
    case("retry", Bad, Scene::Requested, "worker-1", 1),
    case("retry", Bad, Scene::Stalled, "worker-1", 1),
    case("retry", Bad, Scene::Refused, "worker-1 --as nobody", 1),
    case("check", Good, Scene::Well, "--output short", 0),
    case("check", Empty, Scene::Well, "--output short --namespace elsewhere", 1),
    case("check", Bad, Scene::WrongClusterInfo, "--output short", 1),
    case("check", Bad, Scene::Well, "--output short --as nobody", 1),
    case("check", Bad, Scene::Well, "--output yaml", 2),
    case("doctor", Good, Scene::Well, "--output short", 0),
    case("doctor", Empty, Scene::Well, "--fix unexpiring-tokens --yes", 0),
    case("doctor", Bad, Scene::UnendingToken, "--output short", 1),
    case("doctor", Bad, Scene::UnendingToken, "--fix unexpiring-tokens", 1),
    case("doctor", Bad, Scene::Well, "--fix everything", 2),
    case("token list", Good, Scene::Token, "", 0),
    case("token list", Good, Scene::Token, "--output json", 0),
    case("token list", Empty, Scene::Nothing, "", 0),
    case("token list", Bad, Scene::Token, "--output xml", 2),
    case("token list", Bad, Scene::Token, "--as nobody", 1),
    case("token create", Good, Scene::Nothing, "", 0),
    case("token create", Empty, Scene::NoClusterInfo, "", 1),
    case("token create", Bad, Scene::Nothing, "--groups system:masters", 1),
    case("token create", Bad, Scene::Nothing, "--ttl 0", 1),
    case("token create", Bad, Scene::Nothing, "--token-file -", 1),
    case("token create", Bad, Scene::Nothing, "--as nobody", 1),
    case("token delete", Good, Scene::Token, "<id>", 0),
    case("token delete", Empty, Scene::Nothing, "abcdef", 1),
    case("token delete", Bad, Scene::Token, "", 2),
    case("token delete", Bad, Scene::Token, "ABCDEF", 1),
    case("token delete", Bad, Scene::Token, "<id> --as nobody", 1),
    case("join-command", Good, Scene::JoinCommand, "worker-1", 0),
    case("join-command", Empty, Scene::Nothing, "worker-1", 1),
    case("join-command", Bad, Scene::Requested, "worker-1", 1),
    case("join-command", Bad, Scene::JoinCommand, "worker-1 --namespace default", 1),
    case("join-command", Bad, Scene::JoinCommand, "worker-1 --as nobody", 1),
    case("ca-hash", Good, Scene::Nothing, "", 0),
    case("ca-hash", Empty, Scene::NoClusterInfo, "", 1),
    case("ca-hash", Bad, Scene::WrongClusterInfo, "", 1),
    case("ca-hash", Bad, Scene::Nothing, "--kubeconfig <nobody.conf>", 1),
    case("cloud-init", Good, Scene::Nothing, "worker-1", 0),
    case("cloud-init", Good, Scene::Nothing, "worker-1 --dry-run=server", 0),
    case("cloud-init", Empty, Scene::NoClusterInfo, "worker-1", 1),
    case("cloud-init", Bad, Scene::Nothing, "Worker_1", 2),
    case("cloud-init", Bad, Scene::Nothing, "worker-1 --ttl 0", 1),
    case("cloud-init", Bad, Scene::Nothing, "worker-1 --api-server-endpoint nowhere", 2),
    case("version", Good, Scene::Nothing, "", 0),
    case("version", Good, Scene::Nothing, "--client --output json", 0),
    case("version", Empty, Scene::Nothing, "--namespace elsewhere", 0),
    case("version", Bad, Scene::Nothing, "--kubeconfig <nobody.conf>", 1),
    case("version", Bad, Scene::Nothing, "--output xml", 2),
    case("completion", Good, Scene::Nothing, "bash", 0),
    case("completion", Empty, Scene::Nothing, "", 2),
    case("completion", Bad, Scene::Nothing, "dos", 2),
    case("completion", Bad, Scene::Nothing, "bash zsh", 2),
];

/// The commands that have cases, in the order of the table.
pub fn commands() -> Vec<&'static str> {
    let mut commands: Vec<_> = CASES.iter().map(|case| case.command).collect();
    commands.dedup();
    commands
}

/// Runs every case of a command, each from its own beginning, and compares what was printed with the command's file.
pub fn are_as_shown(suite: &Suite, command: &str) -> Result<(), Failed> {
    let mut text = String::new();
    for case in CASES.iter().filter(|case| case.command == command) {
        suite.clean_up()?;
        let ran = case.scene.set(suite).and_then(|()| run(suite, case));
        // Also when something went wrong: the other cases need the cluster as it was.
        scenes::clear(suite)?;
        let shown = ran.map_err(|failure| {
            let said = failure.message().unwrap_or_default();
            format!("`{command} {}` in the scene {:?}: {said}", case.arguments, case.scene)
        })?;
        // Writing to a String does not fail.
        let _ = write!(text, "# {:?}: {}\n{shown}", case.kind, case.scene.in_words());
    }
    snapshot::compare_text(&format!("commands/{}", command.replace(' ', "-")), &text)
}

/// Runs a case, and returns what the snapshot shows of it.
fn run(suite: &Suite, case: &Case) -> Result<String, Failed> {
    let nobody = suite.scratch()?.join("nobody.conf");
    suite.lab().write_kubeconfig(&nobody, "not-a-token")?;
    suite.stands_for("<nobody.conf>", &nobody.display().to_string());
    suite.stands_for("<zeros>", &"0".repeat(64));
    suite.stands_for("<kubernetes>", &suite.lab().components().kubernetes_version);
    suite.stands_for("<version>", concat!("v", env!("CARGO_PKG_VERSION")));
    let words = case.command.split_whitespace().chain(case.arguments.split_whitespace());
    let words: Vec<String> = words.map(|word| suite.spelled_out(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut outcome = suite.njr(&words)?.with_code(case.code)?;
    for token in snapshot::tokens(&outcome.stdout)? {
        suite.stands_for("<id>.<secret>", &token);
        suite.stands_for("<id>", &token[..6]);
    }
    if case.command == "completion" && case.code == 0 {
        outcome.stdout = others::what_bash_offers(suite, &outcome.stdout)?;
    }
    suite.shown(&[&outcome])
}

/// Every command of the program has a good case, an empty one and two bad ones, and no case is of a command that is
/// gone.
pub fn every_command_has_them() -> Result<(), Failed> {
    let mut program = leaves(&Cli::command(), "");
    program.sort_unstable();
    let mut listed: Vec<_> = commands();
    listed.sort_unstable();
    if listed != program {
        return Err(format!("there are cases of {listed:?}, and the program has the commands {program:?}").into());
    }
    for command in listed {
        let count = |kind| CASES.iter().filter(|case| case.command == command && case.kind == kind).count();
        let counts = [Good, Empty, Bad].map(count);
        if counts[0] < 1 || counts[1] < 1 || counts[2] < 2 {
            let expected = "expected at least 1, 1 and 2";
            return Err(format!("{command} has {counts:?} good, empty and bad cases, {expected}").into());
        }
    }
    for case in CASES {
        let fits = match case.kind {
            Good => case.code == 0,
            Empty => true,
            Bad => case.code != 0,
        };
        if !fits {
            return Err(
                format!("`{} {}` is a {:?} case with {}", case.command, case.arguments, case.kind, case.code).into()
            );
        }
    }
    Ok(())
}

/// The commands that have no commands of their own, as they are typed.
fn leaves(program: &clap::Command, name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for command in program.get_subcommands() {
        let name = format!("{name} {}", command.get_name());
        let below = leaves(command, &name);
        if below.is_empty() { found.push(name.trim_start().to_owned()) } else { found.extend(below) }
    }
    found
}
