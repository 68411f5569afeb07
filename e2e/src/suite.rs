//! What the end-to-end suites share: programs, archives and packages to test, turns, and logs of what failed.

pub mod joining;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::ObjectMeta;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::operator::Operator;
use crate::prerequisites;

/// Runs the trials that the command line asks for, one after the other: they share a lab, and a host may have two
/// cores. The trials are gone when this returns, and what they shared with them.
///
/// # Errors
/// When this host cannot run a lab.
pub fn in_turns(trials: Vec<Trial>) -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if !arguments.list {
        prerequisites::ensure()?;
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// Runs a test and returns why it failed. A panic is a failure like any other, so that logs are kept of it.
///
/// # Errors
/// With the test's message.
pub fn attempt(test: impl FnOnce() -> Result<(), Failed>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(test)) {
        Ok(outcome) => outcome.map_err(|failure| failure.message().unwrap_or_default().to_owned()),
        Err(panic) => {
            let owned = panic.downcast_ref::<String>().cloned();
            let said = owned.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            Err(said.unwrap_or_else(|| "the test panicked".to_owned()))
        }
    }
}

/// The object for a certificate request.
pub fn csr(name: &str, signer: &str, usages: &[&str], request: Vec<u8>) -> CertificateSigningRequest {
    CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            signer_name: signer.to_owned(),
            usages: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
            request: ByteString(request),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

/// The folder for the logs of a test that failed.
pub fn log_folder(test: &str) -> PathBuf {
    target().join("e2e").join(test)
}

/// Keeps everything that tells what happened; returns where.
pub fn keep_logs(operator: &Operator<'_>, test: &str) -> String {
    let folder = log_folder(test);
    match operator.collect_logs(&folder) {
        Ok(()) => folder.display().to_string(),
        Err(failure) => format!("not all could be collected: {failure}"),
    }
}

/// The folder with this project's own programs: that of the profile which the test was built with.
///
/// # Errors
/// When one is not there.
pub fn binaries() -> Result<PathBuf, Failed> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).ok_or("the test's program is in no folder")?;
    for name in ["join-controller", "join-agent", "kubectl-njr"] {
        if !folder.join(name).is_file() {
            return Err(format!("{name} is not in {}; `cargo xtask test` builds it", folder.display()).into());
        }
    }
    Ok(folder.to_owned())
}

/// The controller's image, as `cargo xtask test` builds it for the suites.
///
/// # Errors
/// When it is not there.
pub fn image_archive() -> Result<PathBuf, Failed> {
    let architecture = join_image::architecture(std::env::consts::ARCH).ok_or("no images for this processor")?;
    let name = join_image::controller::archive_name(env!("CARGO_PKG_VERSION"), &architecture);
    let archive = target().join("image/dev").join(name);
    if archive.is_file() {
        return Ok(archive);
    }
    Err(format!("{} is missing; `cargo xtask image --profile dev` builds it", archive.display()).into())
}

/// The agent's package with an extension, `deb` or `rpm`, as `cargo xtask test` builds it for the suites.
///
/// # Errors
/// When it is not there.
pub fn package(extension: &str) -> Result<PathBuf, Failed> {
    let folder = target().join("package/dev");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    let hint = || format!("{} has no .{extension}; make it with `cargo xtask package --profile dev`", folder.display());
    Ok(found.next().ok_or_else(hint)?)
}

/// Cargo's target folder: the test's program is target/debug/deps/<name>.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).unwrap_or(Path::new("target")).to_owned()
}
