//! A release's life: installed, at work, losing its leader, removed, installed again, upgraded.

use join_crds::{ConditionType, Reason};
use join_e2e::helm::{self, RELEASE};
use join_e2e::lab::{Machine, wait_until};
use join_e2e::operator::NAMESPACE;
use libtest_mimic::Failed;

use super::suite::{PATIENCE, Suite};

/// Both replicas are ready in a namespace that enforces the Pod Security Standard *restricted*, and one of them leads.
pub fn runs_restricted_and_one_replica_leads(suite: &Suite) -> Result<(), Failed> {
    let pods = suite.pods()?;
    assert_eq!(pods.iter().filter(|(_, ready)| *ready).count(), 2, "{pods:?}");
    let leader = suite.leader()?;
    assert!(pods.iter().any(|(pod, _)| leader.starts_with(pod)), "leader {leader}, pods {pods:?}");
    let budget = ["get", "poddisruptionbudget", "join-controller", "--namespace", NAMESPACE];
    let allowed = suite.kubectl(&[&budget[..], &["--output=jsonpath={.status.disruptionsAllowed}"]].concat())?;
    assert_eq!(allowed, "1", "disruptions allowed by the budget");
    // One release of a cluster's operator: a second one is refused by ownership.
    let chart = helm::chart().display().to_string();
    let second = suite.helm(&["install", "second", &chart, "--namespace", "elsewhere", "--create-namespace"]);
    let refusal = second.err().ok_or("a second release was installed")?;
    let refusal = refusal.message().unwrap_or_default().to_owned();
    assert!(refusal.contains("meta.helm.sh/release-name"), "{refusal}");
    Ok(())
}

pub fn a_worker_is_joined(suite: &Suite) -> Result<(), Failed> {
    let name = "worker-1";
    suite.announced_machine(name)?;
    suite.request(name)?;
    suite.wait_until_joined(name)
}

/// Brings a join to where its token is issued and its agent does not go on.
fn half_way<'a>(suite: &'a Suite, name: &str) -> Result<(Machine<'a>, String), Failed> {
    let machine = suite.announced_machine(name)?;
    machine.run(&["systemctl", "kill", "--signal=STOP", "join-agent.service"])?;
    suite.request(name)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let credential = suite.get(name)?.status.and_then(|status| status.credential);
    Ok((machine, credential.ok_or("no credential in the status")?.token_id))
}

/// Lets the agent go on; the join ends with the token that it began with.
fn go_on(suite: &Suite, machine: &Machine<'_>, token: &str) -> Result<(), Failed> {
    let credential = suite.get(machine.name())?.status.and_then(|status| status.credential);
    assert_eq!(credential.map(|credential| credential.token_id).as_deref(), Some(token), "another token was made");
    machine.run(&["systemctl", "kill", "--signal=CONT", "join-agent.service"])?;
    suite.wait_until_joined(machine.name())
}

pub fn a_leader_killed_during_a_join_is_replaced(suite: &Suite) -> Result<(), Failed> {
    let (machine, token) = half_way(suite, "worker-2")?;
    let leader = suite.leader()?;
    let pods = suite.pods()?;
    let (pod, _) = pods.iter().find(|(pod, _)| leader.starts_with(pod)).ok_or("no pod leads")?;
    suite.kubectl(&["delete", "pod", pod, "--namespace", NAMESPACE, "--grace-period=0", "--force"])?;
    wait_until("another replica to lead", PATIENCE, || {
        let seen = suite.leader().map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
        if !seen.is_empty() && seen != leader { Ok(()) } else { Err(format!("leader {seen}")) }
    })?;
    go_on(suite, &machine, &token)
}

/// Uninstalling takes away the controller and nothing that users made; installing again goes on with it.
pub fn uninstalled_requests_stay_and_are_adopted(suite: &Suite) -> Result<(), Failed> {
    let name = "worker-3";
    let (machine, token) = half_way(suite, name)?;
    let uid = suite.get(name)?.metadata.uid;
    let said = suite.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"])?;
    assert!(said.contains("nodejoinrequests.nodejoin.dev"), "uninstalling does not say what it keeps: {said}");
    assert_eq!(suite.get(name)?.metadata.uid, uid, "the request is another one");
    let left = ["get", "deployments,roles,rolebindings,serviceaccounts,services", "--all-namespaces"];
    let selector = "--selector=app.kubernetes.io/part-of=join-operator";
    let left = suite.kubectl(&[&left[..], &[selector, "--output=name"]].concat())?;
    assert_eq!(left, "", "left after uninstalling");
    let left = ["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", selector, "--output=name"];
    assert_eq!(suite.kubectl(&left)?, "", "left after uninstalling");

    suite.install()?;
    assert_eq!(suite.get(name)?.metadata.uid, uid, "the request is another one");
    go_on(suite, &machine, &token)
}

/// From a lower version of the chart with other values, since no release has been made yet.
pub fn upgraded_during_a_join(suite: &Suite) -> Result<(), Failed> {
    let lower = "0.0.1";
    let folder = suite.lab().layout().folder().display().to_string();
    let chart = helm::chart().display().to_string();
    suite.helm(&["package", &chart, "--version", lower, "--destination", &folder])?;
    let package = format!("{folder}/join-operator-{lower}.tgz");
    let values = ["--set=replicaCount=1,controller.logFormat=text,metrics.enabled=false,policies.audit=false"];
    let wait = ["--namespace", NAMESPACE, "--wait", "--timeout=2m"];
    suite.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"])?;
    suite.helm(&[&["install", RELEASE, &package][..], &wait, &values].concat())?;
    assert_eq!(suite.pods()?.len(), 1);

    let (machine, token) = half_way(suite, "worker-4")?;
    suite.helm(&[&["upgrade", RELEASE, &chart, "--reset-values"][..], &wait].concat())?;
    // Pods of the old version end on their own time.
    wait_until("two ready pods and no others", PATIENCE, || {
        let pods = suite.pods().map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
        if pods.len() == 2 && pods.iter().all(|(_, ready)| *ready) { Ok(()) } else { Err(format!("{pods:?}")) }
    })?;
    go_on(suite, &machine, &token)?;
    // Whoever was there before is still a node.
    let names = suite.kubectl(&["get", "njr", "--output=jsonpath={.items[*].metadata.name}"])?;
    names.split(' ').try_for_each(|name| suite.wait_for(name, ConditionType::Ready, "True", Reason::Joined))
}
