//! An agent on a machine that is started with one configuration after the other, and what it says of each.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use join_crds::vocabulary::Reason;
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::lab::{Machine, network, wait_until};
use join_e2e::suite::joining::Suite;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::everywhere;

/// For what has no time of its own.
const PATIENCE: Duration = Duration::from_mins(1);
const UNIT: &str = "join-agent.service";
const KUBECONFIG: &str = "/etc/join-agent/discovery.conf";

/// A machine with an agent, and the suite around it.
pub struct Scene<'a> {
    pub suite: &'a Suite,
    pub machine: Machine<'a>,
}

impl<'a> Scene<'a> {
    /// A new machine; its agent is installed and does not run.
    pub fn new(suite: &'a Suite, name: &str) -> Result<Self, Failed> {
        let machine = suite.bare_machine(name)?;
        let scene = Self { suite, machine };
        let configuration = scene.configuration(&json!({}))?;
        suite.operator().prepare_agent(&scene.machine, &configuration.to_string())?;
        Ok(scene)
    }

    /// The configuration of an enrolled machine, with some of its token discovery changed.
    pub fn configuration(&self, changes: &Value) -> Result<Value, Failed> {
        let mut discovery = json!({
            "apiServerEndpoint": format!("{CONTROL_PLANE}:{API_PORT}"),
            "token": self.suite.enrollment().token(),
            "caCertHashes": [self.suite.operator().ca_pin()?],
        });
        for (key, value) in changes.as_object().ok_or("no object")? {
            discovery[key] = value.clone();
        }
        Ok(of_discovery(&json!({"bootstrapToken": discovery})))
    }

    /// A configuration that finds the cluster by a kubeconfig.
    pub fn with_file(&self, server: &str, ca: &str) -> Result<Value, Failed> {
        self.write_secret(KUBECONFIG, &self.kubeconfig(server, ca).to_string())?;
        Ok(Self::with_file_at(KUBECONFIG))
    }

    /// A configuration that finds the cluster by a kubeconfig without a user, and authenticates with a token.
    pub fn with_file_and_token(&self, server: &str, ca: &str, token: &str) -> Result<Value, Failed> {
        let mut kubeconfig = self.kubeconfig(server, ca);
        kubeconfig["users"][0]["user"] = json!({});
        self.write_secret(KUBECONFIG, &kubeconfig.to_string())?;
        Ok(of_discovery(&json!({"file": {"kubeConfigPath": KUBECONFIG}, "tlsBootstrapToken": token})))
    }

    /// A configuration that finds the cluster by a kubeconfig that is at this path or URL.
    pub fn with_file_at(place: &str) -> Value {
        of_discovery(&json!({"file": {"kubeConfigPath": place}}))
    }

    /// A kubeconfig with the enrollment token.
    pub fn kubeconfig(&self, server: &str, ca: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{server}"),
                "certificate-authority-data": k8s_openapi::ByteString(ca.as_bytes().to_vec()),
            }}],
            "users": [{"name": "user", "user": {"token": self.suite.enrollment().token()}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
        })
    }

    fn write_secret(&self, path: &str, text: &str) -> Result<(), Failed> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.machine.path(path)?;
        std::fs::write(&path, text)?;
        Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?)
    }

    /// Runs a line of shell on the machine.
    pub fn shell(&self, line: &str) -> Result<String, Failed> {
        Ok(self.machine.run(&["sh", "-ec", line])?.stdout)
    }

    /// Starts the agent anew with a configuration.
    pub fn start(&self, configuration: &Value) -> Result<(), Failed> {
        self.shell(&format!("systemctl stop {UNIT}; systemctl reset-failed {UNIT} 2>/dev/null || true"))?;
        self.write_secret("/etc/join-agent/config.yaml", &configuration.to_string())?;
        self.machine.run(&["systemctl", "start", UNIT])?;
        Ok(())
    }

    /// Starts the agent with a configuration and finds what it says of it.
    pub fn fails(&self, configuration: &Value, seen: &str, names: &[&str]) -> Result<(), Failed> {
        let began = Instant::now();
        self.start(configuration)?;
        self.says(began, seen, names)?;
        Ok(())
    }

    /// Waits until the agent gives the reason of a row, no longer than it has time, and finds the same words in every place
    /// on the machine. Returns the message.
    pub fn says(&self, since: Instant, seen: &str, names: &[&str]) -> Result<String, Failed> {
        let row = everywhere::row(seen)?;
        let reason = row.reason;
        let status = wait_until(&format!("the agent to say {reason}"), everywhere::left(row, since), || {
            let status = self.status();
            if status["reason"] == reason.as_str() { Ok(status) } else { Err(status.to_string()) }
        })?;
        println!("{reason}: told after {:?}: {}", since.elapsed(), status["message"]);
        let message = status["message"].as_str().unwrap_or_default();
        for name in names {
            assert!(message.contains(name), "{name:?} is not in {message:?}");
        }
        assert_eq!(status["nextStep"], reason.next_step());
        assert_eq!(status["documentation"], reason.documentation());
        let text = self.suite.operator().agent_status(&self.machine);
        assert!(text.contains(&format!("reason:   {reason}\n")) && text.contains(reason.next_step()), "{text}");
        let journal = self.shell(&format!(
            "journalctl --no-pager _SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {UNIT})"
        ))?;
        assert!(journal.contains(&format!("reason={reason}")), "{reason} is not in the journal: {journal}");
        let secret = self.suite.enrollment().token();
        let secret = secret.split_once('.').map_or(secret.as_str(), |(_, secret)| secret);
        assert!(!text.contains(secret) && !journal.contains(secret), "the token's secret is told: {text} {journal}");
        Ok(message.to_owned())
    }

    /// Waits until nothing stands in the agent's way but that there is no request.
    pub fn goes_on(&self) -> Result<(), Failed> {
        Ok(wait_until("the agent to go on", PATIENCE, || {
            let status = self.status();
            // Nobody makes a request for it here.
            let is_well = status["step"] == "WaitingForRequest" && status["reason"] == Reason::RequestAbsent.as_str();
            if is_well { Ok(()) } else { Err(status.to_string()) }
        })?)
    }

    fn status(&self) -> Value {
        let printed = self.machine.run(&["join-agent", "status", "-o", "json"]);
        let printed = printed.map(|printed| printed.stdout).unwrap_or_default();
        serde_json::from_str(&printed).unwrap_or(Value::Null)
    }

    /// Listens in the network of the machine.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener, Failed> {
        Ok(network::listen(&self.suite.lab().layout().network_namespace(self.machine.name()), address)?)
    }

    /// A file of the cluster's folder for certificates.
    pub fn pki(&self, name: &str) -> Result<String, Failed> {
        let folder = self.suite.lab().layout().control_plane_etc().join("pki");
        Ok(std::fs::read_to_string(folder.join(Path::new(name)))?)
    }
}

fn of_discovery(discovery: &Value) -> Value {
    json!({
        "apiVersion": "agent.nodejoin.dev/v1alpha1", "kind": "AgentConfiguration", "discovery": discovery,
    })
}
