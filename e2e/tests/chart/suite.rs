//! A lab with a node that stock kubeadm joined, and the chart installed on it with real pods.

use std::path::PathBuf;
use std::time::Duration;

use join_crds::{ConditionType, NodeJoinRequest, Reason};
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::{Lab, Machine, own_name, wait_until};
use join_e2e::operator::{Enrollment, NAMESPACE, Operator};
use join_e2e::suite::{binaries, image_archive, log_folder};
use join_e2e::{helm, kubeadm};
use libtest_mimic::Failed;
use serde_json::json;

/// How long anything that should happen may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// The node on which the controllers run. Something has to join the first node before there can be pods.
const FIRST_NODE: &str = "first-node";

pub struct Suite {
    lab: Box<Lab>,
    binaries: PathBuf,
    enrollment: Enrollment,
}

impl Suite {
    pub fn start() -> Result<Self, Failed> {
        let image = image_archive()?;
        let binaries = binaries()?;
        let name = own_name("t-chart")?;
        let lab = Box::new(Lab::start(&name, KubernetesMinor::V1_37, Components::build(KubernetesMinor::V1_37)?)?);
        let machine = lab.add_machine(FIRST_NODE)?;
        machine.import_image(&image)?;
        kubeadm::join_first_node(&lab, &machine)?;
        approve_serving_certificate(&lab)?;
        // The Pod Security Standard is enforced, so that a pod which breaks it does not come into being.
        lab.kubectl_output(&["create", "namespace", NAMESPACE])?;
        let enforce = ["pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted"];
        lab.kubectl_output(&[&["label", "namespace", NAMESPACE][..], &enforce].concat())?;
        let enrollment = Operator::installed(&lab, binaries.clone()).enroll()?;
        let suite = Self { lab, binaries, enrollment };
        suite.install()?;
        Ok(suite)
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn operator(&self) -> Operator<'_> {
        Operator::installed(&self.lab, self.binaries.clone())
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        Ok(self.lab.kubectl_output(arguments)?)
    }

    pub fn helm(&self, arguments: &[&str]) -> Result<String, Failed> {
        Ok(helm::run(&self.lab, arguments)?)
    }

    /// Installs the chart with its defaults, and waits until its controllers are ready.
    pub fn install(&self) -> Result<(), Failed> {
        helm::install(&self.lab, &["--wait", "--timeout=2m"])?;
        Ok(())
    }

    /// A machine whose agent has announced it.
    pub fn announced_machine(&self, name: &str) -> Result<Machine<'_>, Failed> {
        let machine = self.lab.add_machine(name)?;
        // The scheduler may put a controller there once it is a node.
        machine.import_image(&image_archive()?)?;
        self.operator().install_agent(&machine, &self.enrollment)?;
        let prefix = join_crds::vocabulary::announcement_name(name, "");
        wait_until(&format!("the announcement of {name}"), PATIENCE, || {
            let seen =
                self.lab.kubectl_output(&["get", "csr", "--output=name"]).map_err(|failure| failure.to_string())?;
            if seen.contains(&prefix) { Ok(()) } else { Err(seen) }
        })?;
        Ok(machine)
    }

    /// Asks for a node.
    pub fn request(&self, name: &str) -> Result<(), Failed> {
        let request = json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": name},
            "spec": {"machine": {"trust": "FirstUse"}},
        });
        self.operator().apply(&request.to_string())?;
        Ok(())
    }

    pub fn get(&self, name: &str) -> Result<NodeJoinRequest, Failed> {
        Ok(serde_json::from_str(&self.kubectl(&["get", "njr", name, "--output=json"])?)?)
    }

    /// Waits until a condition of a request has a status and a reason.
    pub fn wait_for(&self, name: &str, kind: ConditionType, status: &str, reason: Reason) -> Result<(), Failed> {
        let what = format!("{}={status} ({}) of {name}", kind.as_str(), reason.as_str());
        wait_until(&what, PATIENCE, || {
            let request = self.get(name).map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
            let conditions = request.status.map(|status| status.conditions).unwrap_or_default();
            let found = join_crds::conditions::get(&conditions, kind);
            let holds = found.is_some_and(|found| found.status == status && found.reason == reason.as_str());
            if holds { Ok(()) } else { Err(format!("{conditions:?}")) }
        })?;
        Ok(())
    }

    /// Waits until a request is Ready and its token is gone.
    pub fn wait_until_joined(&self, name: &str) -> Result<(), Failed> {
        self.wait_for(name, ConditionType::Ready, "True", Reason::Joined)?;
        self.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)
    }

    /// Who holds the lease.
    pub fn leader(&self) -> Result<String, Failed> {
        let lease = ["get", "lease", "join-controller", "--namespace", NAMESPACE];
        self.kubectl(&[&lease[..], &["--output=jsonpath={.spec.holderIdentity}"]].concat())
    }

    /// The pods of the controller: name and whether each is ready.
    pub fn pods(&self) -> Result<Vec<(String, bool)>, Failed> {
        let list = self.kubectl(&[
            "get",
            "pods",
            "--namespace",
            NAMESPACE,
            "--selector=app.kubernetes.io/name=join-controller",
            "--output=jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=='Ready')].status}{\"\\n\"}{end}",
        ])?;
        Ok(list
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(pod, ready)| (pod.to_owned(), ready == "True"))
            .collect())
    }

    /// Keeps everything that tells what happened; returns where.
    pub fn collect_logs(&self, test: &str) -> String {
        let folder = log_folder(test);
        if let Err(failure) = self.operator().collect_logs(&folder) {
            return format!("not all could be collected: {failure}");
        }
        for (file, arguments) in [
            (
                "controller.log",
                &[
                    "logs",
                    "--namespace",
                    NAMESPACE,
                    "--selector=app.kubernetes.io/name=join-controller",
                    "--tail=-1",
                    "--prefix",
                ][..],
            ),
            ("pods.txt", &["describe", "pods", "--namespace", NAMESPACE]),
        ] {
            let printed =
                self.kubectl(arguments).unwrap_or_else(|failure| failure.message().unwrap_or_default().to_owned());
            let _ = std::fs::write(folder.join(file), printed);
        }
        folder.display().to_string()
    }
}

/// Approves the kubelet's serving certificate of a node that has no request, as its administrator does by hand: without
/// it there are no logs of pods.
fn approve_serving_certificate(lab: &Lab) -> Result<(), Failed> {
    let signer = "--field-selector=spec.signerName=kubernetes.io/kubelet-serving";
    let requests = wait_until("a request for a serving certificate", PATIENCE, || {
        let list =
            lab.kubectl_output(&["get", "csr", signer, "--output=name"]).map_err(|failure| failure.to_string())?;
        if list.is_empty() { Err("none".to_owned()) } else { Ok(list) }
    })?;
    for request in requests.lines() {
        lab.kubectl_output(&["certificate", "approve", request])?;
    }
    Ok(())
}
