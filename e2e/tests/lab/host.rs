//! On a host that cannot run a lab, one message says why, before anything is made.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use join_e2e::lab::layout::Layout;
use join_e2e::lab::own_name;
use libtest_mimic::Failed;

use super::cleanup::leftovers;

/// The user `nobody` of Debian.
const NOBODY: u32 = 65534;

pub fn without_root() -> Result<(), Failed> {
    let said = refused(|program| {
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
        command
    })?;
    assert_eq!(
        said,
        "error: the lab cannot run on this host:\n  - it makes network namespaces, mounts and cgroups, which only root may \
         do: run the same command with sudo\n"
    );
    Ok(())
}

/// What an ordinary container is: root, without CAP_SYS_ADMIN.
pub fn without_namespaces() -> Result<(), Failed> {
    let said = refused(|program| {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-sys_admin").arg(program);
        command
    })?;
    for feature in ["network namespaces are refused: CAP_SYS_ADMIN", "no veth interface", "no bridge", "no overlay"] {
        assert_eq!(said.matches(feature).count(), 1, "{feature}: {said}");
    }
    assert!(said.contains("Operation not permitted"), "what was seen is not said: {said}");
    Ok(())
}

/// Runs `cargo xtask lab up` by way of `prepare`, and returns what it says after it has failed and made nothing.
fn refused(prepare: impl FnOnce(&Path) -> Command) -> Result<String, Failed> {
    let layout = Layout::new(&own_name("t-refused")?)?;
    // Of a user who may read neither the build folder nor root's cache.
    let folder = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir()?;
    let program = folder.path().join("xtask");
    let built = std::env::current_exe()?.ancestors().nth(2).ok_or("the test's program is in no folder")?.join("xtask");
    std::fs::copy(&built, &program).map_err(|failure| format!("copying {}: {failure}", built.display()))?;
    let cache = folder.path().join("cache");
    let output = prepare(&program)
        .args(["lab", "up", "--name", layout.name()])
        .current_dir("/")
        .env("JOIN_OPERATOR_CACHE", &cache)
        .output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(leftovers(&layout)?, Vec::<String>::new());
    assert!(!cache.exists(), "something was built before the host was checked");
    Ok(String::from_utf8(output.stderr)?)
}
