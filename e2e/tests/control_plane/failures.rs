//! What keeps a machine from becoming a control plane: each obstacle is made for real, is told, and is mended. One machine
//! meets all of them, without a reset, and is a control plane in the end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use join_crds::{AgentStep, ConditionType, NodeJoinRequest, Reason};
use join_e2e::components::KubernetesMinor;
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::lab::{Machine, network, wait_until};
use join_e2e::suite::attempt;
use join_e2e::suite::joining::Suite;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use libtest_mimic::Failed;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::task::JoinHandle;

use super::everywhere::{self, Failure};
use super::operator::{keeps_the_certificate_key_to_itself, key_of, request, secret};
use super::sound::{NAME, is_a_sound_control_plane};

const TEST: &str = "each_obstacle_to_a_control_plane_is_told_until_it_is_mended";
/// Opens nothing.
const WRONG_KEY: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

pub fn each_obstacle_to_a_control_plane_is_told_until_it_is_mended() -> Result<(), Failed> {
    let suite = Suite::start("t-cpf", KubernetesMinor::V1_37)?;
    attempt(|| meets_each(&suite)).map_err(|message| format!("{message}\nlogs: {}", suite.collect_logs(TEST)).into())
}

fn meets_each(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.lab().add_control_plane_machine(NAME)?;
    suite.lab().add_etcd_pod_stub()?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    let scene = Scene { suite, machine: &machine };
    scene.restart_pods_soon()?;

    scene.certificates()?;
    let key = scene.configuration()?;
    scene.etcd()?;
    scene.static_pods()?;

    suite.operator().kubectl(&["wait", "--for=condition=Ready", &format!("njr/{NAME}"), "--timeout=180s"])?;
    is_a_sound_control_plane(suite.lab(), &machine)?;
    for key in [WRONG_KEY, &key] {
        keeps_the_certificate_key_to_itself(&suite.operator(), &machine, key)?;
    }
    suite.wait_for(NAME, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    Ok(())
}

/// The machine, and the suite around it.
struct Scene<'a> {
    suite: &'a Suite,
    machine: &'a Machine<'a>,
}

impl Scene<'_> {
    /// Lets the kubelet start a pod anew after 5 s at the most, whose next start would be minutes away after a few failures.
    fn restart_pods_soon(&self) -> Result<(), Failed> {
        let (map, key) = ("kubelet-config", "kubelet");
        let field = "crashLoopBackOff";
        let kubelet = without(&self.read(map, key)?, field);
        self.write(map, key, &format!("{kubelet}{field}: {{maxContainerRestartPeriod: 5s}}\n"))
    }

    /// What control planes share, and the key to it.
    fn certificates(&self) -> Result<(), Failed> {
        let operator = self.suite.operator();
        let request = request(&key_of(self.machine)?).to_string();
        let began = Instant::now();
        operator.apply(&request)?;
        let missing = Failure {
            seen: "the Secret with the certificate key is missing",
            condition: Some(ConditionType::CredentialIssued),
            // The controller looks for it, and has nothing for the machine until then.
            machine: None,
            event: None,
            names: &["certificate-key"],
        };
        everywhere::find(self.suite, NAME, began, &missing)?;
        assert_eq!(self.suite.join_tokens()?, Vec::<String>::new(), "a token was made for nothing");

        let began = Instant::now();
        operator.apply(&secret(WRONG_KEY).to_string())?;
        let seen = self.failure("the shared certificates were encrypted with another key");
        self.is_told(began, &seen, &["kubeadm-certs", "cannot be decrypted", "another one"])?;

        operator.kubectl(&["delete", "secret", "kubeadm-certs", "--namespace=kube-system"])?;
        let began = self.tries_again()?;
        let seen = self.failure("the shared certificates are not in the cluster any more");
        self.is_told(began, &seen, &["kubeadm-certs", "two hours"])
    }

    /// kubeadm-config. From there on the join goes on by itself, with the key that is returned.
    fn configuration(&self) -> Result<String, Failed> {
        let (map, key) = ("kubeadm-config", "ClusterConfiguration");
        let sound = self.read(map, key)?;
        self.write(map, key, &without(&sound, "controlPlaneEndpoint"))?;
        let began = self.tries_again()?;
        let seen = self.failure("the cluster has no `controlPlaneEndpoint`");
        self.is_told(began, &seen, &["kubeadm-config", "edit configmap kubeadm-config"])?;

        // What follows is in the way before the machine gets there.
        for port in [ETCD_CLIENTS, ETCD_PEERS] {
            self.drop_packets(port)?;
        }
        self.write(map, key, &sound)?;
        let certificate_key = self.suite.lab().upload_certificates()?.expose_secret().to_owned();
        self.suite.operator().apply(&secret(&certificate_key).to_string())?;
        Ok(certificate_key)
    }

    /// A firewall between the members of etcd.
    fn etcd(&self) -> Result<(), Failed> {
        self.suite.wait(&self.suite.requests_api(), NAME, "StartingControlPlane", |request: &NodeJoinRequest| {
            let agent = request.status.as_ref().and_then(|status| status.agent.as_ref());
            agent.is_some_and(|agent| agent.step == AgentStep::StartingControlPlane)
        })?;
        let etcd = format!("https://{CONTROL_PLANE}:{ETCD_CLIENTS}");
        let silent = Failure {
            condition: Some(ConditionType::NodeRegistered),
            ..self.failure("etcd does not answer the machine")
        };
        self.is_told(Instant::now(), &silent, &["etcd to answer", "no answer within 2 s", &etcd])?;

        self.let_packets_through(ETCD_CLIENTS)?;
        self.wait_for_manifest("etcd")?;
        let peer_url = format!("https://{}:{ETCD_PEERS}", self.machine.address());
        let stopped = Failure {
            condition: Some(ConditionType::NodeRegistered),
            // The reason is the same as before.
            event: None,
            ..self.failure("the machine's own etcd does not start")
        };
        self.is_told(Instant::now(), &stopped, &["to vote", &peer_url, "has not been started"])
    }

    /// Somebody takes the ports of the API server and of the scheduler when the checks have passed.
    fn static_pods(&self) -> Result<(), Failed> {
        let [of_api_server, of_scheduler] = [(Ipv4Addr::UNSPECIFIED, API_PORT), (Ipv4Addr::LOCALHOST, SCHEDULER)];
        let (of_api_server, of_scheduler) = (self.take(of_api_server.into())?, self.take(of_scheduler.into())?);
        self.let_packets_through(ETCD_PEERS)?;
        self.wait_for_manifest("kube-apiserver")?;
        let unhealthy = Failure {
            condition: Some(ConditionType::NodeRegistered),
            ..self.failure("the API server of the machine does not start")
        };
        self.is_told(Instant::now(), &unhealthy, &[&format!("kube-apiserver-{NAME}"), "does not answer"])?;

        of_api_server.abort();
        self.suite.wait_for(NAME, ConditionType::NodeRegistered, "True", Reason::NodeRegistered)?;
        // The API server is mended, and the machine is at the next pod.
        self.suite.wait_for(NAME, ConditionType::Ready, "False", Reason::Joining)?;
        let unhealthy = Failure {
            condition: Some(ConditionType::Ready),
            ..self.failure("the scheduler of the machine does not start, or its controller manager")
        };
        self.is_told(Instant::now(), &unhealthy, &[&format!("waiting for pod kube-system/kube-scheduler-{NAME}")])?;
        of_scheduler.abort();
        Ok(())
    }

    /// Listens on the machine, until the task is ended.
    fn take(&self, address: SocketAddr) -> Result<JoinHandle<()>, Failed> {
        let port = network::listen(&self.suite.lab().layout().network_namespace(NAME), address)?;
        Ok(self.suite.spawn(async move {
            let Ok(port) = tokio::net::TcpListener::from_std(port) else { return };
            while port.accept().await.is_ok() {}
        }))
    }

    /// A failure of the machine before it has its certificate.
    fn failure(&self, seen: &'static str) -> Failure<'_> {
        Failure {
            seen,
            condition: Some(ConditionType::ClientCertificateIssued),
            machine: Some(self.machine),
            event: Some("AgentFailed"),
            names: &[],
        }
    }

    /// In every place, with what was seen; and on the machine with what to do next.
    fn is_told(&self, began: Instant, failure: &Failure<'_>, names: &[&str]) -> Result<(), Failed> {
        let reason = everywhere::row(failure.seen)?.reason;
        everywhere::find(self.suite, NAME, began, &Failure { names, ..*failure })?;
        let said = self.suite.operator().agent_status(self.machine);
        assert!(said.contains(reason.next_step()), "no next step: {said}");
        let shown = self.suite.operator().kubectl(&["get", "njr", NAME])?;
        assert!(shown.contains(reason.as_str()), "no reason: {shown}");
        Ok(())
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.suite.client(), "kube-system")
    }

    fn read(&self, map: &str, key: &str) -> Result<String, Failed> {
        let mut data = self.suite.block_on(self.maps().get(map))?.data.unwrap_or_default();
        Ok(data.remove(key).ok_or_else(|| format!("{map} has no {key}"))?)
    }

    fn write(&self, map: &str, key: &str, text: &str) -> Result<(), Failed> {
        let patch = Patch::Merge(json!({"data": {key: text}}));
        self.suite.block_on(self.maps().patch(map, &PatchParams::default(), &patch))?;
        Ok(())
    }

    /// Has the agent try at once, which it would do by itself within a minute.
    fn tries_again(&self) -> Result<Instant, Failed> {
        let began = Instant::now();
        self.machine.run(&["systemctl", "restart", "join-agent.service"])?;
        Ok(began)
    }

    fn wait_for_manifest(&self, pod: &str) -> Result<(), Failed> {
        let manifest = self.machine.path(format!("/etc/kubernetes/manifests/{pod}.yaml"))?;
        Ok(wait_until(&format!("the manifest of {pod}"), Duration::from_mins(1), || {
            if manifest.exists() { Ok(()) } else { Err("it is not there".to_owned()) }
        })?)
    }

    /// Nothing comes back from a port of the first control plane.
    fn drop_packets(&self, port: u16) -> Result<(), Failed> {
        self.nft(&format!("add table ip {}", table(port)))?;
        self.nft(&format!("add chain ip {} in {{ type filter hook input priority 0; }}", table(port)))?;
        self.nft(&format!("add rule ip {} in ip saddr {CONTROL_PLANE} tcp sport {port} drop", table(port)))
    }

    fn let_packets_through(&self, port: u16) -> Result<(), Failed> {
        self.nft(&format!("delete table ip {}", table(port)))
    }

    fn nft(&self, command: &str) -> Result<(), Failed> {
        self.machine.run(&["nft", command])?;
        Ok(())
    }
}

/// Where etcd listens for its clients, and for its other members.
const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
/// Where the scheduler is asked for its health.
const SCHEDULER: u16 = 10259;

fn table(port: u16) -> String {
    format!("drop-{port}")
}

/// A YAML document without one of its fields, which has its value on the same line.
fn without(text: &str, field: &str) -> String {
    text.split_inclusive('\n').filter(|line| line.split(':').next() != Some(field)).collect()
}
