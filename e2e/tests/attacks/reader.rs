//! A reader of everything but Secrets: of every object, of the logs of both halves at trace level, of the metrics, and, on
//! the hosts, of everything that is not for root alone.

use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt as _;
use join_crds::{ConditionType, Reason, vocabulary};
use join_e2e::lab::command;
use join_e2e::suite::joining::{CONTROLLER, Suite};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use libtest_mimic::Failed;
use serde_json::json;

use super::thief::{Delivery, client_of_account, invite};

/// Pieces of secrets shorter than this would be found by chance.
const SHORTEST: usize = 16;

/// Nothing that a reader sees holds any part of a secret.
pub fn a_reader_of_everything_finds_no_secret(suite: &Suite) -> Result<(), Failed> {
    let tokens: Arc<Mutex<Vec<Secret>>> = Arc::default();
    let watch = suite.spawn(collect(suite.client(), Arc::clone(&tokens)));
    suite.lab().kill_process(CONTROLLER)?;
    suite.operator().start_controller(CONTROLLER, &["--log-level=trace"])?;
    let outcome = (|| {
        let machine = suite.bare_machine("read-1")?;
        let unit = machine.path("/etc/systemd/system/join-agent.service.d/trace.conf")?;
        std::fs::create_dir_all(unit.parent().ok_or("no folder")?)?;
        std::fs::write(&unit, "[Service]\nExecStart=\nExecStart=/usr/bin/join-agent run --log-level=trace\n")?;
        suite.operator().install_agent(&machine, suite.enrollment())?;
        suite.request("read-1", &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
        suite.wait_until_joined("read-1")?;
        suite.wait_for("read-1", ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
        // One whose token is alive.
        let handed_over = invite(suite, "read-2", &Delivery::Token(Vec::new()))?;
        let sealed = invite(suite, "read-3", &Delivery::Sealed(Vec::new()))?;

        let mut secrets = vec![suite.enrollment().token(), handed_over.token, sealed.token];
        {
            let seen = tokens.lock().unwrap_or_else(PoisonError::into_inner);
            let of_token = |secret: &Secret| {
                let data = secret.data.clone().unwrap_or_default();
                data.get("token-secret").and_then(|secret| String::from_utf8(secret.0.clone()).ok())
            };
            secrets.extend(seen.iter().filter_map(of_token));
        }
        assert!(secrets.len() >= 6, "only {} tokens were seen: the join's own is missing", secrets.len());
        for file in ["machine.key", "sealing.key"] {
            let text = std::fs::read_to_string(machine.path(format!("/var/lib/join-agent/{file}"))?)?;
            secrets.push(text);
        }
        let needles = needles(&secrets);

        let mut found = Vec::new();
        let mut look = |place: &str, text: &str| {
            found.extend(needles.iter().filter(|needle| text.contains(needle.as_str())).map(|_| place.to_owned()));
        };
        let objects = suite.block_on(everything(&reader(suite)?))?;
        assert!(objects.len() > 40, "only {} kinds of objects could be read", objects.len());
        assert!(objects.iter().any(|(place, text)| place == "nodejoinrequests" && text.contains("sealedCredentials")));
        for (place, text) in &objects {
            look(place, text);
        }
        let log = std::fs::read_to_string(suite.lab().log_file(CONTROLLER))?;
        assert!(log.contains("\"TRACE\""), "the controller's log is not at trace level");
        look("the controller's log", &log);
        let journal = machine.journal("join-agent.service")?;
        assert!(journal.contains("TRACE"), "the agent's log is not at trace level: {journal}");
        look("the agent's log", &journal);
        let audit = std::fs::read_to_string(suite.lab().layout().control_plane_etc().join("audit.log"))?;
        look("the audit log", &audit);
        look("the metrics", &metrics(suite)?);
        let controller = format!("/proc/{}", suite.lab().process_id(CONTROLLER)?.as_raw_nonzero());
        for file in ["cmdline", "environ"] {
            look(
                &format!("{file} of the controller"),
                &String::from_utf8_lossy(&std::fs::read(format!("{controller}/{file}"))?),
            );
        }
        let limits = std::fs::read_to_string(format!("{controller}/limits"))?;
        assert!(no_core(&limits), "the controller may leave a core file: {limits}");

        let agent = machine.run(&["systemctl", "show", "--property=MainPID", "--value", "join-agent.service"])?.stdout;
        let agent = format!("/proc/{}", agent.trim());
        for file in ["cmdline", "environ"] {
            look(&format!("{file} of the agent"), &machine.run(&["cat", &format!("{agent}/{file}")])?.stdout);
        }
        let limits = machine.run(&["cat", &format!("{agent}/limits")])?.stdout;
        assert!(no_core(&limits), "the agent may leave a core file: {limits}");

        // Files that others than root can read, wherever a join leaves any; the patterns are for root alone.
        let patterns = machine.path("/root/patterns")?;
        std::fs::write(&patterns, needles.join("\n"))?;
        let places = ["/etc", "/run", "/tmp", "/var/lib/join-agent", "/var/lib/kubelet", "/var/log", "/var/tmp"];
        let arguments = ["-xdev", "-type", "f", "-perm", "/077", "-exec", "grep", "-lFf", "/root/patterns", "{}", "+"];
        let mut find = machine.command("find")?;
        find.args(places).args(arguments);
        let loose = command::output(&mut find)?;
        for file in String::from_utf8_lossy(&loose.stdout).lines() {
            look(file, &needles[0]);
        }
        // That the search can find anything: the files of root hold them.
        let own = machine.run(&["grep", "-rlFf", "/root/patterns", "/etc/join-agent", "/var/lib/join-agent"])?.stdout;
        assert!(
            own.contains("/etc/join-agent/config.yaml") && own.contains("/var/lib/join-agent/machine.key"),
            "{own}"
        );
        found.sort();
        found.dedup();
        assert_eq!(found, Vec::<String>::new(), "secrets were found");
        Ok::<_, Failed>(())
    })();
    watch.abort();
    suite.lab().kill_process(CONTROLLER)?;
    suite.operator().start_controller(CONTROLLER, &[])?;
    outcome
}

/// Each token of kube-system as long as there is one.
async fn collect(client: Client, tokens: Arc<Mutex<Vec<Secret>>>) {
    let secrets: Api<Secret> = Api::namespaced(client, vocabulary::KUBE_SYSTEM);
    let config = watcher::Config::default().fields("type=bootstrap.kubernetes.io/token");
    let outcome = watcher(secrets, config)
        .applied_objects()
        .try_for_each(|secret| {
            tokens.lock().unwrap_or_else(PoisonError::into_inner).push(secret);
            std::future::ready(Ok(()))
        })
        .await;
    if let Err(failure) = outcome {
        println!("watching tokens: {failure}");
    }
}

/// What to search for: each secret's parts as they are and as base64, and the lines of its PEM.
fn needles(secrets: &[String]) -> Vec<String> {
    let mut needles = Vec::new();
    for secret in secrets {
        let whole = secret.trim();
        let parts =
            whole.lines().filter(|line| !line.starts_with("-----")).map(|line| line.rsplit('.').next().unwrap_or(line));
        for text in std::iter::once(whole).chain(parts).filter(|text| text.len() >= SHORTEST && !text.contains('\n')) {
            let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap_or_default();
            needles.push(text.to_owned());
            needles.extend(encoded.as_str().map(|encoded| encoded.trim_end_matches('=').to_owned()));
        }
    }
    needles.sort();
    needles.dedup();
    needles
}

/// A ServiceAccount that may read all kinds of objects that there are, but Secrets.
fn reader(suite: &Suite) -> Result<Client, Failed> {
    let discovery = suite.block_on(Discovery::new(suite.client()).run())?;
    let rules: Vec<serde_json::Value> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(kind, _)| !(kind.group.is_empty() && kind.plural == "secrets"))
        .map(|(kind, _)| json!({"apiGroups": [kind.group], "resources": [kind.plural], "verbs": ["get", "list"]}))
        .collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "test:reader"},
        "rules": rules,
    });
    suite.operator().apply(&role.to_string())?;
    client_of_account(suite, "reader", "test:reader")
}

/// Every object that can be listed, by the plural of its kind.
async fn everything(reader: &Client) -> Result<Vec<(String, String)>, Failed> {
    let discovery = Discovery::new(reader.clone()).run().await?;
    let mut objects = Vec::new();
    for (kind, capabilities) in discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources) {
        if !capabilities.supports_operation(verbs::LIST) || (kind.group.is_empty() && kind.plural == "secrets") {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(reader.clone(), &kind);
        let list = api.list(&ListParams::default()).await?;
        objects.push((kind.plural.clone(), serde_json::to_string(&list.items)?));
    }
    Ok(objects)
}

fn metrics(suite: &Suite) -> Result<String, Failed> {
    let mut kubectl = suite.lab().kubectl()?;
    kubectl.env("KUBECONFIG", "/dev/null").args(["--server=http://127.0.0.1:8080", "get", "--raw", "/metrics"]);
    Ok(command::run(&mut kubectl)?.stdout)
}

/// Whether a process can leave no core file, by its `/proc/<pid>/limits`.
fn no_core(limits: &str) -> bool {
    limits.lines().any(|line| {
        line.starts_with("Max core file size") && line.split_whitespace().skip(4).take(2).all(|limit| limit == "0")
    })
}
