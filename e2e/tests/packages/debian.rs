//! The life of the Debian package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use join_e2e::lab::{Machine, command};
use join_e2e::suite::package;
use libtest_mimic::Failed;

use super::{CONFIGURATION, bring, configure_and_start, mode, process, unit};

const CONFIG: &str = "/etc/join-agent/config.yaml";
/// A line that only the next version's example has.
const NEW_EXAMPLE: &str = "# Something that is new in the next version.\n";

pub fn installed_upgraded_removed_and_purged(machine: &Machine<'_>) -> Result<(), Failed> {
    let first = package("deb")?;
    let folder = tempfile::tempdir()?;
    let next = next_version(&first, folder.path())?;
    bring(machine, &first, "/root/first.deb")?;
    bring(machine, &next, "/root/next.deb")?;

    // Hosts on which packages are not to start anything, as in images of containers, say so here; the machine is none.
    let policy = machine.path("/usr/sbin/policy-rc.d")?;
    if policy.exists() {
        fs::remove_file(policy)?;
    }
    installed_but_not_started(machine)?;
    configure_and_start(machine)?;
    upgraded_with_its_configuration(machine)?;
    stays_stopped(machine)?;
    removed(machine)?;
    purged(machine)
}

fn dpkg(machine: &Machine<'_>, arguments: &[&str]) -> Result<String, Failed> {
    // Nobody is there to answer whether to keep a changed file; to keep it is also dpkg's default answer.
    let dpkg = ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confdef", "--force-confold"];
    let printed = machine.run(&[&dpkg[..], arguments].concat())?;
    Ok(format!("{}{}", printed.stdout, printed.stderr))
}

fn installed_but_not_started(machine: &Machine<'_>) -> Result<(), Failed> {
    dpkg(machine, &["--install", "/root/first.deb"])?;
    assert_eq!(unit(machine)?, "loaded disabled inactive");
    assert_eq!(mode(machine, CONFIG)?, "600");
    assert_eq!(mode(machine, "/usr/bin/join-agent")?, "755");
    let version = machine.run(&["join-agent", "--version"])?.stdout;
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "the program says: {version}");
    let conffiles = machine.run(&["dpkg-query", "--show", "--showformat=${Conffiles}", "join-agent"])?.stdout;
    assert_eq!(conffiles.split_whitespace().next(), Some(CONFIG), "{conffiles}");
    assert!(machine.path("/usr/share/doc/join-agent/copyright")?.is_file(), "there is no copyright file");
    Ok(())
}

fn upgraded_with_its_configuration(machine: &Machine<'_>) -> Result<(), Failed> {
    let before = process(machine)?;
    dpkg(machine, &["--install", "/root/next.deb"])?;
    let version = machine.run(&["dpkg-query", "--show", "--showformat=${Version}", "join-agent"])?.stdout;
    assert!(version.ends_with("-2"), "the version is {version}");
    assert_eq!(fs::read_to_string(machine.path(CONFIG)?)?, CONFIGURATION, "the configuration was replaced");
    assert_eq!(mode(machine, CONFIG)?, "600");
    let example = fs::read_to_string(machine.path(format!("{CONFIG}.dpkg-dist"))?)?;
    assert!(example.ends_with(NEW_EXAMPLE), "the new example is not beside the configuration");
    assert_eq!(unit(machine)?, "loaded enabled active");
    assert_ne!(process(machine)?, before, "the old program still runs");
    Ok(())
}

fn stays_stopped(machine: &Machine<'_>) -> Result<(), Failed> {
    machine.run(&["systemctl", "stop", "join-agent.service"])?;
    dpkg(machine, &["--install", "/root/first.deb"])?;
    assert_eq!(unit(machine)?, "loaded enabled inactive");
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    Ok(())
}

fn removed(machine: &Machine<'_>) -> Result<(), Failed> {
    for folder in ["/etc/kubernetes", "/var/lib/kubelet"] {
        fs::write(machine.path(folder)?.join("of-the-kubelet"), "kept")?;
    }
    dpkg(machine, &["--remove", "join-agent"])?;
    // Masked until it is installed again or purged, as debhelper does it.
    assert!(unit(machine)?.ends_with(" inactive"), "{}", unit(machine)?);
    assert!(!machine.path("/usr/bin/join-agent")?.exists(), "the program is still there");
    assert_eq!(fs::read_to_string(machine.path(CONFIG)?)?, CONFIGURATION);
    assert!(machine.path("/var/lib/join-agent/machine.key")?.exists(), "the machine's key is gone");
    Ok(())
}

fn purged(machine: &Machine<'_>) -> Result<(), Failed> {
    dpkg(machine, &["--purge", "join-agent"])?;
    for gone in ["/etc/join-agent", "/var/lib/join-agent", "/run/join-agent"] {
        assert!(!machine.path(gone)?.exists(), "{gone} was left");
    }
    for kept in ["/etc/kubernetes/of-the-kubelet", "/var/lib/kubelet/of-the-kubelet"] {
        assert!(machine.path(kept)?.exists(), "{kept} was removed");
    }
    assert_eq!(unit(machine)?, "not-found  inactive");
    let left = machine.run(&["find", "/etc/systemd", "/var/lib/systemd", "-name", "join-agent*"])?.stdout;
    assert_eq!(left, "", "systemd's own records were left");
    Ok(())
}

/// The same package as the next version, with another example of the configuration.
fn next_version(package: &Path, folder: &Path) -> Result<PathBuf, Failed> {
    let content = folder.join("content");
    command::run(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&content))?;
    let edit = |file: &str, change: fn(String) -> String| -> std::io::Result<()> {
        let path = content.join(file);
        fs::write(&path, change(fs::read_to_string(&path)?))
    };
    edit("DEBIAN/control", |text| text.replacen("-1\n", "-2\n", 1))?;
    edit("etc/join-agent/config.yaml", |text| text + NEW_EXAMPLE)?;
    let next = folder.join("next.deb");
    command::run(Command::new("dpkg-deb").args(["--build", "-Zgzip", "-z1"]).arg(&content).arg(&next))?;
    Ok(next)
}
