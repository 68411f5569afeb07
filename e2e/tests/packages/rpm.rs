//! The RPM package. The machine is a Debian, so that its dependencies, which Debian's packages fulfil, are not asked for.

use std::process::Command;

use join_e2e::lab::{Machine, command};
use join_e2e::suite::package;
use libtest_mimic::Failed;

use super::{CONFIGURATION, bring, configure_and_start, mode, unit};

/// Mode, flags (c: configuration, n: kept when it was changed, d: documentation) and path of every file.
const FILES: &str = "\
100600 cn /etc/join-agent/config.yaml
100755  /usr/bin/join-agent
100644  /usr/lib/systemd/system/join-agent.service
100644 d /usr/share/licenses/join-agent/LICENSE
";

pub fn has_the_same_files_as_deb() -> Result<(), Failed> {
    let rpm = package("rpm")?;
    let query = |format: &str| -> Result<String, Failed> {
        Ok(command::run(Command::new("rpm").args(["--query", "--package", "--queryformat", format]).arg(&rpm))?.stdout)
    };
    let mut files: Vec<String> =
        query("[%{FILEMODES:octal} %{FILEFLAGS:fflags} %{FILENAMES}\n]")?.lines().map(str::to_owned).collect();
    files.sort_by_key(|line| line.rsplit(' ').next().map(str::to_owned));
    assert_eq!(files.join("\n") + "\n", FILES);
    let head = query("%{NAME} %{VERSION} %{LICENSE} %{OS}")?;
    assert_eq!(head, format!("join-agent {} Apache-2.0 linux", env!("CARGO_PKG_VERSION")));
    let required = query("[%{REQUIRENAME}\n]")?;
    for name in ["libc.so.6(GLIBC_2.34)(64bit)", "systemd", "dbus"] {
        assert!(required.lines().any(|line| line == name), "{name} is not required: {required}");
    }

    // In both packages a program, a unit and a configuration that are the same.
    let deb = command::run(Command::new("dpkg-deb").arg("--contents").arg(package("deb")?))?.stdout;
    for (mode, file) in [
        ("-rw-------", "./etc/join-agent/config.yaml"),
        ("-rwxr-xr-x", "./usr/bin/join-agent"),
        ("-rw-r--r--", "./usr/lib/systemd/system/join-agent.service"),
    ] {
        let line = deb.lines().find(|line| line.ends_with(file)).ok_or_else(|| format!("no {file} in:\n{deb}"))?;
        assert!(line.starts_with(mode) && line.contains(" 0/0 "), "{line}");
    }
    Ok(())
}

pub fn installed_and_erased(machine: &Machine<'_>) -> Result<(), Failed> {
    // Debian's rpm asks to be told that this is meant.
    let rpm = |arguments: &[&str]| machine.run(&[&["rpm", "--nodeps", "--force-debian"][..], arguments].concat());
    bring(machine, &package("rpm")?, "/root/join-agent.rpm")?;
    rpm(&["--install", "/root/join-agent.rpm"])?;
    assert_eq!(unit(machine)?, "loaded disabled inactive");
    assert_eq!(mode(machine, "/etc/join-agent/config.yaml")?, "600");
    configure_and_start(machine)?;

    rpm(&["--erase", "join-agent"])?;
    assert_eq!(unit(machine)?, "not-found  inactive");
    let kept = std::fs::read_to_string(machine.path("/etc/join-agent/config.yaml.rpmsave")?)?;
    assert_eq!(kept, CONFIGURATION, "a changed configuration is kept under another name");
    Ok(())
}
