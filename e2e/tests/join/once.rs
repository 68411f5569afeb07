//! `join-agent join`: one line, typed on a machine that has no configuration and no service.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::lab::{Machine, wait_until};
use join_e2e::suite::joining::Suite;
use kube::api::DeleteParams;
use libtest_mimic::Failed;

const PATIENCE: Duration = Duration::from_mins(2);

pub fn a_machine_is_joined_by_one_line_that_is_typed(suite: &Suite) -> Result<(), Failed> {
    let name = "once-1";
    let machine = suite.bare_machine(name)?;
    suite.operator().copy_agent(&machine)?;
    let line = suite.operator().njr(&["enroll", "--print-join-command"])?;
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..2], ["join-agent", "join"], "{line}");

    // Nobody accepts the machine in time. What it has come to is told, and how to go on.
    let given_up = machine.command(words[0])?.args(&words[1..]).args(["--timeout", "1s"]).output()?;
    let said = String::from_utf8_lossy(&given_up.stderr);
    assert_eq!(given_up.status.code(), Some(1), "{said}");
    assert!(said.contains("To go on, type the same command again"), "{said}");

    let printed = machine.path("/root/printed")?;
    let mut joining = machine.command(words[0])?;
    joining.args(&words[1..]).stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(Stdio::null());
    let mut joining = joining.spawn()?;
    let outcome = accept_and_wait(suite, &machine, &mut joining, &line);
    if outcome.is_err() {
        let _ = joining.kill();
        let _ = joining.wait();
    }
    let said = std::fs::read_to_string(&printed)?;
    outcome.map_err(|failure| format!("{}\nprinted: {said}", failure.message().unwrap_or_default()))?;
    assert!(said.contains("[joined] this machine is the node once-1\n"), "{said}");
    assert!(!said.contains(token_of(&line)?), "{said}");
    suite.wait_until_joined(name)?;
    // The program has ended, and nobody keeps its status true.
    machine.run(&["test", "!", "-e", "/run/join-agent/status.json"])?;

    let again = machine.command(words[0])?.args(&words[1..]).output()?;
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("[joined] this machine is the node once-1\n"), "{said}");
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    Ok(())
}

/// Without a pin, as with kubeadm's `--discovery-token-unsafe-skip-ca-verification`; the token comes by standard input.
pub fn a_machine_is_joined_without_a_pin(suite: &Suite) -> Result<(), Failed> {
    let name = "once-2";
    let machine = suite.bare_machine(name)?;
    suite.operator().copy_agent(&machine)?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let endpoint = format!("{CONTROL_PLANE}:{API_PORT}");
    let mut joining = machine.command("join-agent")?;
    joining.args(["join", &endpoint, "--token-file", "-", "--timeout", "3m"]);
    let refused = joining.stdin(Stdio::null()).output()?;
    assert_eq!(refused.status.code(), Some(1));
    joining.arg("--discovery-token-unsafe-skip-ca-verification").stdin(Stdio::piped());
    let mut joining = joining.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    joining.stdin.take().ok_or("no standard input")?.write_all(suite.enrollment().token().as_bytes())?;
    let ended = joining.wait_with_output()?;
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("[note] no certificate authority is pinned"), "{said}");
    suite.wait_until_joined(name)?;
    Ok(())
}

fn accept_and_wait(suite: &Suite, machine: &Machine<'_>, joining: &mut Child, line: &str) -> Result<(), Failed> {
    const BEFORE: &str = "to accept this machine, where kubectl is: kubectl njr ";
    let printed = machine.path("/root/printed")?;
    let accept = wait_until("the command that accepts the machine", PATIENCE, || {
        let said = std::fs::read_to_string(&printed).map_err(|error| error.to_string())?;
        said.split_once(BEFORE).and_then(|(_, rest)| Some(rest.split_once('\n')?.0.to_owned())).ok_or(said)
    })?;
    no_process_shows(machine, token_of(line)?)?;
    let said = suite.operator().agent_status(machine);
    assert!(said.contains("waiting for somebody to create the NodeJoinRequest once-1"), "{said}");
    let accept: Vec<&str> = accept.split(' ').chain(["--yes"]).collect();
    suite.operator().njr(&accept)?;
    let status = wait_until("the command to end", PATIENCE, || match joining.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("it runs".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    if status.success() { Ok(()) } else { Err(format!("the command ended with {status}").into()) }
}

/// The agent's command line and environment can be read by others on the machine.
fn no_process_shows(machine: &Machine<'_>, token: &str) -> Result<(), Failed> {
    let pid = machine.run(&["pidof", "join-agent"])?.stdout;
    let pid = pid.trim();
    assert!(pid.parse::<u32>().is_ok(), "expected one join-agent, seen {pid:?}");
    for file in ["cmdline", "environ"] {
        let shown = machine.run(&["cat", &format!("/proc/{pid}/{file}")])?.stdout;
        assert!(!shown.contains(token), "{file}: {shown}");
        if file == "cmdline" {
            // It was this very command line, without the token.
            assert!(shown.contains("--discovery-token-ca-cert-hash") && shown.contains("--token-file"), "{shown}");
        }
    }
    Ok(())
}

fn token_of(line: &str) -> Result<&str, Failed> {
    let rest = line.split_once("--token ").ok_or("the line has no token")?.1;
    Ok(rest.split_whitespace().next().ok_or("the line has no token")?)
}
