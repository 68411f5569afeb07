//! The demo: one machine joins a real cluster, and every state of its request is shown as it comes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use join_crds::{ConditionType, NodeJoinRequest, conditions};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use crate::components::{Components, KubernetesMinor};
use crate::lab::{Lab, images, patience};
use crate::operator::Operator;
use crate::progress::Step;
use crate::{interrupt, lab};

/// The machine, and so the node, of the demo; `examples/nodejoinrequest.yaml` names it too.
const MACHINE: &str = "worker-1";
/// How long the join may take; it takes about two seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// One change of the request, and when it was seen.
struct Change {
    after: Duration,
    what: String,
    why: String,
}

/// Runs the demo. With `keep` the lab stays and the commands to explore it are printed.
pub fn run(name: &str, minor: KubernetesMinor, binaries: &Path, keep: bool) -> anyhow::Result<()> {
    interrupt::install()?;
    let components = Components::build(minor)?;
    let step = Step::begin(format!("starting a Kubernetes {} control plane", components.kubernetes_version));
    let mut lab = Lab::start(name, minor, components)?;
    step.done();

    join(&lab, binaries)?;
    if keep {
        lab.keep()?;
        let option = if name == "lab" { String::new() } else { format!(" --name {name}") };
        println!(
            "\nThe lab is still up. Try:\n  \
             cargo xtask lab kubectl{option} describe njr {MACHINE}\n  \
             cargo xtask lab exec{option} {MACHINE} join-agent status\n  \
             cargo xtask lab exec{option} {MACHINE} journalctl -u join-agent -u kubelet\n  \
             cargo xtask lab down{option}"
        );
    }
    Ok(())
}

fn join(lab: &Lab, binaries: &Path) -> anyhow::Result<()> {
    let step = Step::begin("installing join-operator");
    let operator = Operator::install(lab, binaries.to_owned())?;
    operator.start_controller("controller", &[])?;
    step.done();
    let step = Step::begin(format!("booting {MACHINE}: systemd, containerd, and join-agent with an enrollment file"));
    let machine = lab.add_machine(MACHINE)?;
    operator.install_agent(&machine, &operator.enroll()?)?;
    step.done();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = runtime.block_on(lab.client())?;
    let step = Step::begin(format!("waiting for {MACHINE} to announce itself"));
    runtime.block_on(announced(client.clone()))?;
    step.done();

    // A cluster that users have is not a few seconds old.
    let step = Step::begin("waiting for the new control plane's controllers");
    lab.wait_for_controller_manager()?;
    step.done();

    println!("\n$ kubectl apply -f examples/nodejoinrequest.yaml");
    let changes = runtime.block_on(watch_join(client, lab))?;

    let step = Step::begin("running a pod on the new node");
    operator.apply(&pod())?;
    operator.kubectl(&["wait", "--for=condition=Ready", "pod/hello", "--timeout=60s"])?;
    step.done();
    for arguments in [&["get", "njr"][..], &["get", "nodes", "--output=wide"], &["get", "pods", "--output=wide"]] {
        println!("\n$ kubectl {}\n{}", arguments.join(" "), operator.kubectl(arguments)?.trim_end());
    }
    println!("\nWhere the time went, from `kubectl apply` on:\n\n{}", table(&changes));
    Ok(())
}

/// The example that a user applies.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/nodejoinrequest.yaml")
}

/// Ends when anything is announced: the demo has one machine.
async fn announced(client: Client) -> anyhow::Result<()> {
    let signer = format!("spec.signerName={}", join_crds::vocabulary::SIGNER_MACHINE);
    let api: Api<CertificateSigningRequest> = Api::all(client);
    let mut found = std::pin::pin!(watcher(api, watcher::Config::default().fields(&signer)).applied_objects());
    let first = interruptible(async { Ok(found.try_next().await?) }).await?;
    anyhow::ensure!(first.is_some(), "the watch of certificate requests ended");
    Ok(())
}

/// Applies the request and prints each change of it until it is Ready.
async fn watch_join(client: Client, lab: &Lab) -> anyhow::Result<Vec<Change>> {
    let api: Api<NodeJoinRequest> = Api::all(client);
    let fields = format!("metadata.name={MACHINE}");
    let mut versions = watcher(api, watcher::Config::default().fields(&fields)).applied_objects().boxed();
    let path = example().display().to_string();
    let began = Instant::now();
    lab.kubectl_output(&["apply", "--filename", &path])?;
    println!("   0.00 s  nodejoinrequest/{MACHINE} created");
    interruptible(async {
        let mut seen: Vec<(String, String, String)> = Vec::new();
        let mut changes = Vec::new();
        while let Some(request) = versions.try_next().await? {
            for (what, state, why) in states(&request) {
                let known = seen.iter_mut().find(|(known, ..)| *known == what);
                let new = (what.clone(), state.clone(), why.clone());
                match known {
                    Some(old) if *old == new => continue,
                    Some(old) => *old = new,
                    None => seen.push(new),
                }
                if state == "Unknown" {
                    continue;
                }
                let after = began.elapsed();
                println!("  {:>5.2} s  {what:<26}{state:<7}{why}", after.as_secs_f64());
                changes.push(Change { after, what: format!("{what} {state}").trim_end().to_owned(), why });
            }
            let conditions = request.status.map(|status| status.conditions).unwrap_or_default();
            if conditions::is_true(&conditions, ConditionType::Ready) {
                return Ok(changes);
            }
        }
        anyhow::bail!("the watch of the request ended before it was Ready")
    })
    .await
}

/// The states that a person follows: what, status, reason.
fn states(request: &NodeJoinRequest) -> Vec<(String, String, String)> {
    let Some(status) = &request.status else { return Vec::new() };
    let mut followed: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone()))
        .collect();
    if let Some(agent) = &status.agent {
        followed.push(("  the agent".to_owned(), String::new(), format!("{:?}", agent.step)));
    }
    followed
}

/// Gives up at Ctrl-C or when it takes too long.
async fn interruptible<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let interrupted = async {
        while !interrupt::requested() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = interrupted => Err(lab::Error::Interrupted.into()),
        () = tokio::time::sleep(patience(PATIENCE)) => anyhow::bail!("this took longer than {} s", patience(PATIENCE).as_secs()),
    }
}

fn table(changes: &[Change]) -> String {
    let mut last = Duration::ZERO;
    let mut lines = vec![format!("{:>8} {:>8}  step", "at", "took")];
    for change in changes {
        let took = change.after.saturating_sub(last);
        lines.push(format!(
            "{:>6.2} s {:>6.2} s  {} ({})",
            change.after.as_secs_f64(),
            took.as_secs_f64(),
            change.what.trim_start(),
            change.why
        ));
        last = change.after;
    }
    lines.join("\n")
}

fn pod() -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello"},
        "spec": {"nodeName": MACHINE, "containers": [{
            "name": "pod", "image": images::POD, "imagePullPolicy": "Never", "args": ["reach-api-server"],
        }]},
    })
    .to_string()
}
