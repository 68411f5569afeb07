//! The quickstart, followed as a reader follows it: every block that is not marked as skipped, in order, as it stands.

use std::path::Path;

use join_book::blocks::blocks;
use join_book::commands::{MACHINE_KEY, Place};
use join_e2e::suite::{image_archive, package};
use libtest_mimic::Failed;

use super::suite::{FIRST_NODE, MACHINE, Suite};
use super::tour::place;

pub const PAGE: &str = "docs/quickstart.md";

pub fn is_followed_word_for_word(suite: &Suite) -> Result<(), Failed> {
    let text = join_book::markdown::read(Path::new(PAGE))?;
    // What the blocks of building and copying would bring.
    suite.carry(&image_archive()?, FIRST_NODE)?;
    let package = package("deb")?;
    let mut shown_key = None;
    let mut followed = 0;
    for block in blocks(&text).iter().filter(|block| block.language == "sh") {
        if let Some(reason) = block.not_run() {
            println!("{PAGE}:{}: not run: {reason}", block.line);
            continue;
        }
        let (place, machine) = place(block);
        let mut script = block.text.clone();
        if script.contains(MACHINE_KEY) {
            let key: &String = shown_key.as_ref().ok_or("no block before has shown the machine's key")?;
            script = script.replace(MACHINE_KEY, key);
        }
        let printed = match suite.shell(place, machine, &script) {
            Ok(printed) => printed,
            Err(failure) => {
                let said = failure.message().unwrap_or_default();
                if script.trim() == "join-agent check" && fails_for_cgroup_v1_alone(said) {
                    println!("{PAGE}:{}: this host has cgroup v1, as the check says", block.line);
                    continue;
                }
                return Err(format!("{PAGE}:{}: {said}", block.line).into());
            }
        };
        println!("{PAGE}:{}\n{script}---\n{}{}", block.line, printed.stdout, printed.stderr);
        if place == Place::Machine && machine == MACHINE {
            shown_key = pin(&printed.stdout).or(shown_key);
        }
        // The reader copies what was made to the machine: the block that does it needs a way into the machine.
        if script.contains("--output-file config.yaml") {
            suite.carry(&suite.desk("config.yaml"), MACHINE)?;
            suite.carry(&package, MACHINE)?;
        }
        followed += 1;
    }
    if followed < 9 {
        return Err(format!("only {followed} blocks of {PAGE} were run").into());
    }
    let left = suite.lab().kubectl_output(&["get", "nodes", "--output=name"])?;
    if left.trim() != format!("node/{FIRST_NODE}") {
        return Err(format!("at the end of {PAGE} there are the nodes {left:?}, expected the first one alone").into());
    }
    Ok(())
}

/// Whether the lab's host is all that a check has found: the lab's cluster takes cgroup v1, which a machine that has not
/// joined cannot know.
fn fails_for_cgroup_v1_alone(said: &str) -> bool {
    let mut failed = said.lines().filter(|line| line.starts_with("[XX]"));
    failed.next().is_some_and(|line| line.contains("SystemVerification") && line.contains("cgroup v1"))
        && failed.next().is_none()
}

/// The first hash of a key in a text.
fn pin(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("sha256:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    (digits.len() == 64).then(|| format!("sha256:{digits}"))
}
