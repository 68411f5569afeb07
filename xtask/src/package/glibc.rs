//! Which C library a program can start with.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use join_e2e::lab::command;

/// Fails when the program asks for functions of a newer glibc.
pub fn needs_at_most(program: &Path, supported: (u32, u32)) -> anyhow::Result<()> {
    let printed = command::run(Command::new("objdump").arg("--private-headers").arg(program))?.stdout;
    let (major, minor) = needed(&printed).with_context(|| format!("{} does not use glibc", program.display()))?;
    ensure!(
        (major, minor) <= supported,
        "{} needs glibc {major}.{minor}, and the packages promise {}.{}: build on an older distribution",
        program.display(),
        supported.0,
        supported.1
    );
    Ok(())
}

/// The newest version among the references that `objdump` lists, one a line with the version at its end.
fn needed(printed: &str) -> Option<(u32, u32)> {
    let versions = printed.lines().filter_map(|line| {
        let mut numbers = line.rsplit_once("GLIBC_")?.1.trim().split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn the_newest_version_counts_as_a_number() {
        let printed = "Version References:\n  required from libgcc_s.so.1:\n    0x0b792650 0x00 13 GCC_3.0\n  \
                       required from libc.so.6:\n    0x09691a75 0x00 08 GLIBC_2.2.5\n    \
                       0x069691b4 0x00 05 GLIBC_2.34\n    0x06969194 0x00 02 GLIBC_2.9\n";
        assert_eq!(needed(printed), Some((2, 34)));
        assert_eq!(needed("  required from libc.musl-x86_64.so.1:\n"), None);
    }
}
