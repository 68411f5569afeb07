//! What `helm install` tells people to type next.

use join_e2e::helm::{self, RELEASE};
use join_e2e::lab::command;
use join_e2e::operator::NAMESPACE;
use libtest_mimic::Failed;

use super::suite::Suite;

/// Pastes every command of the notes into a shell.
pub fn commands_of_the_notes_work(suite: &Suite) -> Result<(), Failed> {
    let notes = suite.helm(&["get", "notes", RELEASE, "--namespace", NAMESPACE])?;
    let commands: Vec<&str> =
        notes.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.trim().is_empty()).collect();
    assert!(commands.len() >= 4, "{notes}");
    let components = suite.lab().components();
    let path = [&components.helm, &components.kubernetes].map(|folder| folder.display().to_string()).join(":");
    for line in commands {
        let mut shell = suite.lab().control_plane_command("sh".as_ref())?;
        helm::at_home(&mut shell, &suite.lab().layout().folder().join("helm"));
        shell
            .env("KUBECONFIG", "/etc/kubernetes/admin.conf")
            .env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin"));
        let printed = command::run(shell.args(["-ec", line]))?;
        println!("$ {line}\n{}{}", printed.stdout, printed.stderr);
        if line.starts_with("helm test") {
            assert!(printed.stdout.contains("Phase:          Succeeded"), "{printed:?}");
        }
    }
    Ok(())
}
