//! Stock kubeadm as the client: it knows nothing of us.

use join_crds::{ConditionType, Reason};
use join_e2e::kubeadm::accept_cgroup_v1;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use libtest_mimic::Failed;

use join_e2e::suite::joining::Suite;

/// Our controller's signatures in cluster-info are enough: many clusters run without bootstrapsigner.
pub fn without_bootstrapsigner(suite: &Suite) -> Result<(), Failed> {
    let kcm = "kube-controller-manager";
    suite.lab().kill_process(kcm)?;
    suite.lab().start_process(kcm, &["--controllers=*,tokencleaner"])?;
    let outcome = join(suite, "kubeadm-1");
    suite.lab().kill_process(kcm)?;
    suite.lab().start_process(kcm, &[])?;
    outcome
}

/// Joins a machine with `kubeadm join` and a token of `delivery: Token`.
pub fn join(suite: &Suite, name: &str) -> Result<(), Failed> {
    let machine = suite.bare_machine(name)?;
    suite.request(
        name,
        &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token", "addresses": [machine.address()]}),
    )?;
    let line = join_command(suite, name)?;
    let words: Vec<&str> = line.split_whitespace().chain(accept_cgroup_v1()).collect();
    machine.run(&words)?;
    suite.wait_until_joined(name)?;
    Ok(())
}

/// The line that the controller wrote for a request with `delivery: Token`.
pub fn join_command(suite: &Suite, name: &str) -> Result<String, Failed> {
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let secret = secret_of(suite, name)?;
    let line = secret.data.unwrap_or_default().remove("join-command").ok_or("the Secret has no join-command")?;
    Ok(String::from_utf8(line.0)?)
}

/// The Secret that holds the token of a request with `delivery: Token`.
pub fn secret_of(suite: &Suite, name: &str) -> Result<Secret, Failed> {
    let secrets: Api<Secret> = Api::namespaced(suite.client(), join_e2e::operator::NAMESPACE);
    Ok(suite.block_on(secrets.get(&format!("njr-{name}-join-command")))?)
}
