//! `enroll` and `cloud-init`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use crate::snapshot::Outcome;
use crate::support::Suite;

/// The token of a configuration file, or of user data with one in it.
fn token_of(suite: &Suite, outcome: &Outcome, text: &str) -> Result<String, Failed> {
    let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).map(|token| token.trim_matches('"'));
    let token = token.ok_or_else(|| format!("there is no token in {outcome:?}"))?;
    suite.stands_for("<id>.<secret>", token);
    suite.stands_for("<id>", &token[..6]);
    Ok(token.to_owned())
}

pub fn the_enrollment_file_joins_a_machine(suite: &Suite) -> Result<(), Failed> {
    let empty = suite.njr(&["machines"])?.good()?;
    let enrolled = suite.njr(&["enroll"])?.good()?;
    let token = token_of(suite, &enrolled, &enrolled.stdout.clone())?;
    // The signature is there at once, whether or not bootstrapsigner has been quicker.
    let path = format!("--output=jsonpath={{.data.jws-kubeconfig-{}}}", &token[..6]);
    let signature = suite.operator().kubectl(&["get", "cm", "cluster-info", "--namespace=kube-public", &path])?;
    if signature.is_empty() {
        return Err("the token's signature is not in cluster-info".into());
    }
    let machine = suite.machine("worker-1", &enrolled.stdout)?;
    let announced = suite.wait("the machine to be listed", || {
        let listed = suite.njr(&["machines", "-o", "json"]).map_err(|failure| format!("{failure:?}"))?;
        let list: serde_json::Value = serde_json::from_str(&listed.stdout).map_err(|error| error.to_string())?;
        let key = list["items"][0]["publicKeyHash"].as_str().map(str::to_owned);
        key.ok_or_else(|| format!("{} {}", listed.stdout, suite.operator().agent_status(&machine)))
    })?;
    let says = suite.operator().agent_status(&machine);
    if !says.contains(&announced) {
        return Err(format!("the machine does not say that its key is {announced}: {says}").into());
    }
    let hex = announced.trim_start_matches("sha256:");
    suite.stands_for("sha256:<key>", &announced);
    suite.stands_for("<key>", &format!("{}-{}-{}-{}", &hex[..4], &hex[4..8], &hex[8..12], &hex[12..16]));
    suite.stands_for("<key>", &hex[..16]);
    let listed = suite.njr(&["machines"])?.good()?.without(&token)?;
    let accepted = suite.njr(&["accept", "worker-1", "--key", &announced, "--yes"])?.good()?;
    let joined = ["wait", "--for=condition=Ready", "njr/worker-1", "--timeout=60s"];
    suite.operator().kubectl(&joined)?;
    let after = suite.njr(&["machines"])?.good()?;
    let again = suite.njr(&["accept", "worker-1", "--key", &announced, "--yes"])?.good()?;
    suite.snapshot("enroll", &[&empty, &enrolled, &listed, &accepted, &after, &again])
}

pub fn enrollment_works_without_bootstrapsigner(suite: &Suite) -> Result<(), Failed> {
    let lab = suite.lab();
    lab.kill_process("kube-controller-manager")?;
    lab.start_process("kube-controller-manager", &["--controllers=*,-bootstrapsigner,-tokencleaner"])?;
    let enrolled = suite.njr(&["enroll", "--ttl", "1h"])?.good()?;
    let machine = suite.machine("worker-2", &enrolled.stdout)?;
    suite.wait("the machine to be listed", || {
        let listed = suite.njr(&["machines", "-o", "name"]).map_err(|failure| format!("{failure:?}"))?;
        let is_there = listed.stdout.contains("/nodejoin-machine-worker-2-");
        if is_there { Ok(()) } else { Err(format!("{listed:?} {}", suite.operator().agent_status(&machine))) }
    })?;
    lab.kill_process("kube-controller-manager")?;
    lab.start_process("kube-controller-manager", &[])?;
    Ok(())
}

pub fn user_data_holds_the_very_file(suite: &Suite) -> Result<(), Failed> {
    let cloud_init = suite.njr(&["cloud-init", "worker-3", "--ttl", "2h"])?.good()?;
    let data: serde_json::Value = serde_saphyr::from_str(&cloud_init.stdout)?;
    let content = data["write_files"][0]["content"].as_str().unwrap_or_default().to_owned();
    token_of(suite, &cloud_init, &content)?;
    let configuration: serde_json::Value = serde_saphyr::from_str(&content)?;
    if configuration["nodeName"] != "worker-3" {
        return Err(format!("the configuration is for another node: {content}").into());
    }
    let dry = suite.njr(&["cloud-init", "worker-3", "--dry-run=server"])?.good()?;
    let bad_name = suite.njr(&["cloud-init", "Worker_3"])?.with_code(2)?;
    let ignition = suite.njr(&["enroll", "--format", "ignition"])?.good()?;
    let data: serde_json::Value = serde_json::from_str(&ignition.stdout)?;
    if data["ignition"]["version"] != "3.4.0" {
        return Err(format!("this is no Ignition configuration: {data}").into());
    }
    suite.snapshot("cloud-init", &[&cloud_init, &dry, &bad_name])
}

pub fn a_file_is_not_replaced_unasked(suite: &Suite) -> Result<(), Failed> {
    let folder = suite.scratch()?;
    suite.stands_for("<scratch>", &folder.display().to_string());
    let path = folder.join("config.yaml");
    let _ = fs::remove_file(&path);
    let file = path.display().to_string();
    let written = suite.njr(&["enroll", "--output-file", &file])?.good()?;
    let content = fs::read_to_string(&path)?;
    let token = token_of(suite, &written, &content)?;
    let written = written.without(&token[7..])?;
    let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
    if mode != 0o600 {
        return Err(format!("the file has mode {mode:o}").into());
    }
    let refused = suite.njr(&["enroll", "--output-file", &file])?.with_code(1)?;
    let nowhere = suite.njr(&["enroll", "--output-file", "/no-such-folder/config.yaml"])?.with_code(1)?;
    let forever = suite.njr(&["enroll", "--ttl", "0"])?.with_code(1)?;
    let tokens = suite.njr(&["token", "list", "-o", "name"])?.good()?;
    if tokens.stdout.lines().count() != 1 || fs::read_to_string(&path)? != content {
        return Err(format!("a refused command left something: {tokens:?}").into());
    }
    suite.snapshot("enroll-file", &[&written, &refused, &nowhere, &forever])
}
