//! Commands about the cluster as a whole.

use std::fs;

use libtest_mimic::Failed;

use crate::support::Suite;

pub fn versions_hashes_and_scripts(suite: &Suite) -> Result<(), Failed> {
    suite.stands_for("<kubernetes>", &suite.lab().components().kubernetes_version);
    suite.stands_for("<version>", concat!("v", env!("CARGO_PKG_VERSION")));
    let version = suite.njr(&["version"])?.good()?;
    let client = suite.njr(&["version", "--client", "-o", "json"])?.good()?;
    let hash = suite.njr(&["ca-hash"])?.good()?;
    let usage = suite.njr(&["--no-such-flag"])?.with_code(2)?;
    suite.snapshot("versions", &[&version, &client, &hash, &usage])?;
    // Scripts are long and the library's own; that a shell takes one is what matters.
    let script = suite.njr(&["completion", "bash"])?.good()?;
    let file = suite.scratch()?.join("completion.bash");
    fs::write(&file, script.stdout)?;
    let mut bash = std::process::Command::new("bash");
    let asked = "source \"$1\" && COMP_WORDS=(kubectl-njr mach) COMP_CWORD=1 && _kubectl__njr kubectl-njr mach kubectl-njr \
                 && echo \"${COMPREPLY[*]}\"";
    bash.args(["--norc", "-c", asked, "bash"]).arg(&file);
    let completed = join_e2e::lab::command::run(&mut bash)?.stdout;
    if completed.trim() != "machines" {
        return Err(format!("bash completed {completed:?}").into());
    }
    Ok(())
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

/// What is asked for is not there, or is not what it should be.
pub fn versions_hashes_and_scripts_that_cannot_be_told(suite: &Suite) -> Result<(), Failed> {
    suite.stands_for("<kubernetes>", &suite.lab().components().kubernetes_version);
    suite.stands_for("<version>", concat!("v", env!("CARGO_PKG_VERSION")));
    let nobody = suite.scratch()?.join("nobody.conf");
    suite.lab().write_kubeconfig(&nobody, "not-a-token")?;
    let nobody = nobody.display().to_string();
    let mut outcomes = vec![
        // The controller is not in this namespace.
        suite.njr(&["version", "--namespace", "elsewhere"])?.good()?,
        suite.njr_with(&["version"], &nobody)?.with_code(1)?,
        suite.njr(&["version", "--output", "xml"])?.with_code(2)?,
        suite.njr_with(&["ca-hash"], &nobody)?.with_code(1)?,
        suite.njr(&["completion"])?.with_code(2)?,
        suite.njr(&["completion", "dos"])?.with_code(2)?,
    ];
    let kept =
        suite.operator().kubectl(&["--namespace=kube-public", "get", "configmap", "cluster-info", "--output=json"])?;
    let kept_file = suite.scratch()?.join("cluster-info.json");
    fs::write(&kept_file, kept)?;
    let without = || -> Result<_, Failed> {
        let patch = r#"{"data": {"kubeconfig": "apiVersion: v1\nkind: Config\nclusters: []\n"}}"#;
        let cluster_info = ["--namespace=kube-public", "configmap", "cluster-info"];
        let patched = [&["patch", "--type=merge", "--patch", patch], &cluster_info[..]].concat();
        suite.operator().kubectl(&patched)?;
        let unusable = suite.njr(&["ca-hash"])?;
        suite.operator().kubectl(&[&["delete"], &cluster_info[..]].concat())?;
        Ok([unusable, suite.njr(&["ca-hash"])?])
    };
    let seen = without();
    // Also when something went wrong: the other tests need it.
    suite.operator().kubectl(&["replace", "--force", "--filename", &kept_file.display().to_string()])?;
    for outcome in seen? {
        outcomes.push(outcome.with_code(1)?);
    }
    suite.snapshot("versions-and-hashes-missing", &outcomes.iter().collect::<Vec<_>>())
}
