//! Commands about the cluster as a whole.

use std::fmt::Write as _;
use std::fs;

use libtest_mimic::Failed;

use crate::support::Suite;

/// What bash offers with a script, for the beginnings of some lines. Scripts are long and the library's own; that a shell
/// takes one, and what it completes then, is what matters.
pub fn what_bash_offers(suite: &Suite, script: &str) -> Result<String, Failed> {
    let file = suite.scratch()?.join("completion.bash");
    fs::write(&file, script)?;
    let mut told = String::new();
    for line in ["mach", "token ", "accept --k", "completion "] {
        let words: Vec<&str> = ["kubectl-njr"].into_iter().chain(line.split(' ')).collect();
        let (before, current) = (words[words.len() - 2], words[words.len() - 1]);
        let mut bash = std::process::Command::new("bash");
        let asked = r#"source "$1"; current=$2; before=$3; shift 3; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _kubectl__njr kubectl-njr "$current" "$before" && printf ' %s' "${COMPREPLY[@]}""#;
        bash.args(["--norc", "-euo", "pipefail", "-c", asked, "bash"]).arg(&file).args([current, before]).args(&words);
        let offered = join_e2e::lab::command::run(&mut bash)?.stdout;
        // Writing to a String does not fail.
        let _ = writeln!(told, "(bash) kubectl-njr {line}<Tab>:{offered}");
    }
    Ok(told)
}

pub fn an_unreachable_cluster_is_told(suite: &Suite) -> Result<(), Failed> {
    let folder = suite.scratch()?;
    let missing = folder.join("no-such-kubeconfig").display().to_string();
    // The discard port, where nothing listens.
    let admin = fs::read_to_string(suite.lab().layout().admin_kubeconfig())?;
    let wrong = folder.join("wrong-port.conf");
    fs::write(&wrong, admin.replace(":6443", ":9"))?;
    let wrong = wrong.display().to_string();
    suite.stands_for("<scratch>", &folder.display().to_string());
    let no_file = suite.njr_with(&["machines"], &missing)?.with_code(1)?;
    let no_server = suite.njr_with(&["machines"], &wrong)?.with_code(1)?;
    let no_context = suite.njr(&["--context", "elsewhere", "ca-hash"])?.with_code(1)?;
    suite.snapshot("unreachable", &[&no_file, &no_server, &no_context])
}
