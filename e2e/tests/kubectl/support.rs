//! What every test of `kubectl njr` needs: a lab with the operator in it, the program, and machines that announce
//! themselves.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use join_crds::NodeJoinRequest;
use join_crds::vocabulary::{GROUP_ENROLL, KUBE_SYSTEM, SIGNER_MACHINE};
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::{self, Lab, Machine, own_name, patience};
use join_e2e::operator::Operator;
use join_e2e::suite::{binaries, csr, keep_logs};
use join_trust::announcement;
use join_trust::machine_key::MachineKey;
use join_trust::names::{AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, NodeName, announcement_object_name};
use join_trust::sealing::SealingKey;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Failed;

use crate::snapshot::{self, Outcome};

/// How long anything that should happen may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the lab's kubeconfig of the administrator is, inside.
const KUBECONFIG: &str = "/etc/kubernetes/admin.conf";

/// The shared lab and what is installed in it.
pub struct Suite {
    lab: Box<Lab>,
    binaries: PathBuf,
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Texts of the running test that change from run to run, each with the word that stands for it.
    known: RefCell<Vec<(String, String)>>,
}

impl Suite {
    pub fn start() -> Result<Self, Failed> {
        let minor = KubernetesMinor::V1_37;
        let components = Components::build(minor)?;
        let lab = Box::new(Lab::start(&own_name("t-kubectl")?, minor, components)?);
        let binaries = binaries()?;
        let operator = Operator::install(&lab, binaries.clone())?;
        operator.start_controller("controller", &[])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(lab.client())?;
        Ok(Self { lab, binaries, runtime, client, known: RefCell::default() })
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn operator(&self) -> Operator<'_> {
        Operator::installed(&self.lab, self.binaries.clone())
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs a future to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Runs `kubectl njr` as the administrator, away from any terminal.
    pub fn njr(&self, arguments: &[&str]) -> Result<Outcome, Failed> {
        self.njr_with(arguments, KUBECONFIG)
    }

    /// Runs `kubectl njr` with another kubeconfig.
    pub fn njr_with(&self, arguments: &[&str], kubeconfig: &str) -> Result<Outcome, Failed> {
        let mut command = self.lab.control_plane_command(&self.program())?;
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        let output = lab::command::output(&mut command)?;
        Ok(Outcome {
            line: arguments.join(" "),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
            code: output.status.code(),
        })
    }

    /// Runs `kubectl njr` on a terminal of its own, with `typed` as what a person types.
    pub fn njr_on_a_terminal(&self, arguments: &[&str], typed: &str) -> Result<Outcome, Failed> {
        use std::io::Write as _;
        use std::process::Stdio;

        // util-linux' program that gives another one a terminal. None of the words needs quoting.
        let mut command = self.lab.control_plane_command(Path::new("script"))?;
        let line = format!("{} {}", self.program().display(), arguments.join(" "));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("KUBECONFIG", KUBECONFIG);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or("script has no standard input")?;
        stdin.write_all(typed.as_bytes())?;
        let output = child.wait_with_output()?;
        drop(stdin);
        Ok(Outcome {
            line: arguments.join(" "),
            // The terminal repeats what is typed, before or after the question.
            stdout: String::from_utf8(output.stdout)?.replace("\r\n", "\n").replacen(typed, "", 1),
            stderr: String::from_utf8(output.stderr)?,
            code: output.status.code(),
        })
    }

    fn program(&self) -> PathBuf {
        self.binaries.join("kubectl-njr")
    }

    /// Runs the lab's kubeadm on the control plane.
    pub fn kubeadm(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut command = self.lab.control_plane_command(&self.lab.components().kubernetes.join("kubeadm"))?;
        Ok(lab::command::run(command.args(arguments))?.stdout)
    }

    /// Makes `word` stand for `value` in the snapshots of the running test.
    pub fn stands_for(&self, word: &str, value: &str) {
        self.known.borrow_mut().push((value.to_owned(), word.to_owned()));
    }

    /// A word with what it has in it spelled out that stands for something.
    pub fn spelled_out(&self, word: &str) -> String {
        self.known.borrow().iter().fold(word.to_owned(), |word, (value, short)| word.replace(short, value))
    }

    /// What a snapshot shows of outcomes.
    pub fn shown(&self, outcomes: &[&Outcome]) -> Result<String, Failed> {
        let mut known = self.known.borrow().clone();
        known.push((self.operator().ca_pin()?, "<ca>".to_owned()));
        known.push((self.binaries.display().to_string(), "<folder>".to_owned()));
        snapshot::shown(outcomes, &known)
    }

    /// Compares outcomes with the snapshot of that name.
    pub fn snapshot(&self, name: &str, outcomes: &[&Outcome]) -> Result<(), Failed> {
        snapshot::compare_text(name, &self.shown(outcomes)?)
    }

    /// A machine with an agent and this configuration file, which has joined when its request says so.
    pub fn machine(&self, name: &str, configuration: &str) -> Result<Machine<'_>, Failed> {
        let machine = self.lab.add_machine(name)?;
        self.operator().prepare_agent(&machine, configuration)?;
        machine.run(&["systemctl", "enable", "--now", "join-agent.service"])?;
        Ok(machine)
    }

    /// Announces a machine as the holder of the enrollment token `abcdef` would; `key` names it in snapshots.
    pub fn announce(&self, name: &str, key: &str) -> Result<String, Failed> {
        let machine_key = MachineKey::generate()?;
        let node = NodeName::parse(name)?;
        let sealing = SealingKey::generate()?.public();
        let request = announcement::build(&machine_key, &sealing, &node, &["192.0.2.17".parse()?])?;
        let pin = machine_key.pin();
        self.create_announcement(&announcement_object_name(&node, &pin), request.into_bytes())?;
        let hex = pin.to_hex();
        self.stands_for(&format!("sha256:<{key}>"), &pin.to_string());
        self.stands_for(
            &format!("<{key}>"),
            &format!("{}-{}-{}-{}-...", &hex[..4], &hex[4..8], &hex[8..12], &hex[12..16]),
        );
        self.stands_for(&format!("<{key}>"), &hex[..16]);
        Ok(pin.to_string())
    }

    /// Makes an object with the announcements' signer, whatever is in it.
    pub fn create_announcement(&self, object: &str, request: Vec<u8>) -> Result<(), Failed> {
        let object = csr(object, SIGNER_MACHINE, &announcement::USAGES, request);
        self.create_csr("abcdef", GROUP_ENROLL, &object)
    }

    /// Makes a certificate request as the holder of a token of that group would.
    pub fn create_csr(&self, token: &str, group: &str, object: &CertificateSigningRequest) -> Result<(), Failed> {
        let user = format!("system:bootstrap:{token}");
        let groups = [group, BOOTSTRAPPERS_GROUP, AUTHENTICATED_GROUP];
        self.block_on(async {
            let client = self.lab.client_as(&user, &groups).await.map_err(|error| error.to_string())?;
            let created = Api::all(client).create(&PostParams::default(), object).await;
            created.map(|_: CertificateSigningRequest| ()).map_err(|error| error.to_string())
        })
        .map_err(Failed::from)
    }

    /// Waits until `condition` holds; it answers what it saw when it does not.
    pub fn wait<T>(&self, what: &str, condition: impl FnMut() -> Result<T, String>) -> Result<T, Failed> {
        Ok(lab::wait_until(&format!("{what} in {}", self.lab.layout().name()), patience(PATIENCE), condition)?)
    }

    /// The reason of a request's condition of that type.
    pub fn reason(&self, name: &str, condition: &str) -> Result<String, Failed> {
        let path = format!("--output=jsonpath={{.status.conditions[?(@.type=='{condition}')].reason}}");
        Ok(self.operator().kubectl(&["get", "njr", name, &path])?)
    }

    /// Removes what tests make, so that each begins with the same cluster.
    pub fn clean_up(&self) -> Result<(), Failed> {
        self.known.borrow_mut().clear();
        for name in self.lab.machine_names() {
            let _ = self.lab.machine(&name)?.power_off();
        }
        let (all, now) = (ListParams::default(), DeleteParams::default());
        let tokens = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
        let client = self.client();
        self.block_on(async {
            Api::<NodeJoinRequest>::all(client.clone()).delete_collection(&now, &all).await?;
            Api::<Node>::all(client.clone()).delete_collection(&now, &all).await?;
            Api::<CertificateSigningRequest>::all(client.clone()).delete_collection(&now, &all).await?;
            Api::<Secret>::namespaced(client, KUBE_SYSTEM).delete_collection(&now, &tokens).await.map(drop)
        })?;
        // The controller takes away what belonged to the requests.
        self.wait("the tokens of deleted requests to be gone", || {
            let left = self.block_on(Api::<Secret>::namespaced(self.client(), KUBE_SYSTEM).list(&tokens));
            let left = left.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
        })
    }

    /// Keeps everything that tells what happened; returns where.
    pub fn collect_logs(&self, test: &str) -> String {
        keep_logs(&self.operator(), &format!("kubectl/{test}"))
    }

    /// A folder for files of the running test.
    pub fn scratch(&self) -> Result<PathBuf, Failed> {
        let folder = self.lab.layout().folder().join("scratch");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}
