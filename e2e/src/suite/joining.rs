//! What tests of joins need: a lab with the operator in it, machines with an agent, and waiting by watch.
//!
//! [`run`] is the whole main function of such a suite. Its tests run one after the other in one lab for each version
//! of Kubernetes; a test that fails leaves the logs of everything in `target/e2e/<test>`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use join_crds::{ConditionType, NodeJoinRequest, Reason};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use libtest_mimic::{Failed, Trial};

use super::{attempt, binaries, in_turns, keep_logs};
use crate::components::{Components, KubernetesMinor};
use crate::lab::{Lab, Machine, own_name, patience, wait_until};
use crate::operator::{Enrollment, Operator};

/// How long anything that should happen may take before a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The name under which the controller runs, unless a test starts its own.
pub const CONTROLLER: &str = "controller";

/// A test of the suite.
pub type Test = fn(&Suite) -> Result<(), Failed>;

/// Runs a suite: its tests in their order, those of one version of Kubernetes in one lab, whose name begins with
/// `prefix`.
///
/// # Errors
/// When this host cannot run a lab.
pub fn run(prefix: &'static str, tests: &[(KubernetesMinor, &'static str, Test)]) -> anyhow::Result<ExitCode> {
    let shared: Arc<Mutex<Option<Suite>>> = Arc::default();
    let trials = tests
        .iter()
        .map(|&(minor, name, test)| {
            let shared = Arc::clone(&shared);
            Trial::test(name, move || run_one(&shared, prefix, minor, name, test))
        })
        .collect();
    in_turns(trials)
}

fn run_one(
    shared: &Mutex<Option<Suite>>,
    prefix: &str,
    minor: KubernetesMinor,
    name: &str,
    test: Test,
) -> Result<(), Failed> {
    let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
    // One lab at a time: the one of the version before goes first.
    if slot.as_ref().is_some_and(|suite| suite.minor() != minor) {
        *slot = None;
    }
    let suite = match &mut *slot {
        Some(suite) => suite,
        empty => empty.insert(Suite::start(prefix, minor)?),
    };
    match attempt(|| test(suite)) {
        Ok(()) => suite.clean_up(),
        Err(message) => {
            let folder = suite.collect_logs(name);
            // The next test starts from nothing: what this one left could be why it fails.
            *slot = None;
            Err(format!("{message}\nlogs: {folder}").into())
        }
    }
}

/// The shared lab and what is installed in it.
pub struct Suite {
    lab: Box<Lab>,
    enrollment: Enrollment,
    binaries: PathBuf,
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Machines and requests of the running test.
    machines: RefCell<Vec<String>>,
    requests: RefCell<Vec<String>>,
}

impl Suite {
    /// Starts a lab whose name begins with `prefix`, with the operator in it.
    ///
    /// # Errors
    /// When any of it does not start.
    pub fn start(prefix: &str, minor: KubernetesMinor) -> Result<Self, Failed> {
        let components = Components::build(minor)?;
        let name = own_name(prefix)?;
        let lab = Box::new(Lab::start(&name, minor, components)?);
        let binaries = binaries()?;
        let operator = Operator::install(&lab, binaries.clone())?;
        operator.start_controller(CONTROLLER, &[])?;
        let enrollment = operator.enroll()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(lab.client())?;
        Ok(Self {
            lab,
            enrollment,
            binaries,
            runtime,
            client,
            machines: RefCell::default(),
            requests: RefCell::default(),
        })
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn operator(&self) -> Operator<'_> {
        Operator::installed(&self.lab, self.binaries.clone())
    }

    pub fn minor(&self) -> KubernetesMinor {
        self.lab.minor()
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    /// A client that authenticates with a token.
    pub fn client_with_token(&self, token: &str) -> Result<Client, Failed> {
        Ok(self.block_on(self.lab.client_with_token(token))?)
    }

    /// Runs a future to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Starts a future that runs beside the test.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.runtime.spawn(future)
    }

    /// A machine without an agent.
    pub fn bare_machine(&self, name: &str) -> Result<Machine<'_>, Failed> {
        self.machines.borrow_mut().push(name.to_owned());
        Ok(self.lab.add_machine(name)?)
    }

    /// A machine whose agent is running.
    pub fn machine(&self, name: &str) -> Result<Machine<'_>, Failed> {
        let machine = self.bare_machine(name)?;
        self.operator().install_agent(&machine, &self.enrollment)?;
        Ok(machine)
    }

    /// Applies a request that is made of a node's name and a specification.
    pub fn request(&self, name: &str, spec: &serde_json::Value) -> Result<NodeJoinRequest, Failed> {
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": name}, "spec": spec,
        }))?;
        self.requests.borrow_mut().push(name.to_owned());
        Ok(self.block_on(self.requests_api().create(&PostParams::default(), &request))?)
    }

    pub fn requests_api(&self) -> Api<NodeJoinRequest> {
        Api::all(self.client())
    }

    /// Waits until an object of any kind is as it should be; the failure shows the object as it is.
    pub fn wait<K>(&self, api: &Api<K>, name: &str, what: &str, condition: impl Fn(&K) -> bool) -> Result<K, Failed>
    where
        K: kube::Resource
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let holds = |object: Option<&K>| object.is_some_and(&condition);
        let waited = self.block_on(async {
            tokio::time::timeout(patience(PATIENCE), await_condition(api.clone(), name, holds)).await
        });
        match waited {
            Ok(Ok(Some(object))) => Ok(object),
            Ok(Ok(None)) => Err(format!("{name} vanished while waiting for {what}").into()),
            Ok(Err(failure)) => Err(format!("waiting for {what} of {name}: {failure}").into()),
            Err(_elapsed) => {
                let mut seen = self.block_on(api.get_opt(name))?;
                if let Some(object) = &mut seen {
                    object.managed_fields_mut().clear();
                }
                let seen = serde_json::to_string_pretty(&seen)?;
                Err(format!("{what} of {name} did not come within {PATIENCE:?}; seen: {seen}").into())
            }
        }
    }

    /// Waits until a condition of a request has a status and a reason.
    pub fn wait_for(
        &self,
        name: &str,
        condition: ConditionType,
        status: &str,
        reason: Reason,
    ) -> Result<NodeJoinRequest, Failed> {
        let what = format!("{}={status} ({})", condition.as_str(), reason.as_str());
        self.wait(&self.requests_api(), name, &what, |request: &NodeJoinRequest| {
            condition_of(request, condition).is_some_and(|(seen, why)| seen == status && why == reason.as_str())
        })
    }

    /// Waits until a request is Ready and its Node is.
    pub fn wait_until_joined(&self, name: &str) -> Result<NodeJoinRequest, Failed> {
        let request = self.wait_for(name, ConditionType::Ready, "True", Reason::Joined)?;
        self.wait(&Api::all(self.client()), name, "Ready", |node: &Node| {
            let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        })?;
        Ok(request)
    }

    /// Waits until a machine of that name has announced itself, and returns the announcement.
    pub fn announcement(&self, name: &str) -> Result<CertificateSigningRequest, Failed> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client());
        let prefix = format!("nodejoin-machine-{name}-");
        let found = wait_until(&format!("the announcement of {name}"), PATIENCE, || {
            let list = self.block_on(api.list(&kube::api::ListParams::default()));
            let list = list.map_err(|failure| failure.to_string())?;
            let seen = format!("{} certificate requests", list.items.len());
            let mut announced = list.items.into_iter();
            announced.find(|one| one.metadata.name.as_deref().is_some_and(|name| name.starts_with(&prefix))).ok_or(seen)
        });
        Ok(found.map_err(|failure| {
            let machine = self.lab.machine(name).ok();
            let agent = machine.map(|machine| self.operator().agent_status(&machine)).unwrap_or_default();
            format!("{failure}\nthe agent says: {agent}")
        })?)
    }

    /// The tokens of ours that exist now, by the name of their Secret.
    pub fn join_tokens(&self) -> Result<Vec<String>, Failed> {
        let list = self.operator().kubectl(&[
            "get",
            "secrets",
            "--namespace=kube-system",
            "--field-selector=type=bootstrap.kubernetes.io/token",
            "--output=jsonpath={range .items[*]}{.metadata.name} {.data.auth-extra-groups}{\"\\n\"}{end}",
        ])?;
        let group = k8s_openapi::ByteString(join_crds::vocabulary::GROUP_JOIN.into());
        let group = serde_json::to_value(group)?;
        let ours = list.lines().filter_map(|line| {
            let (name, groups) = line.split_once(' ')?;
            (groups == group.as_str().unwrap_or_default()).then(|| name.to_owned())
        });
        Ok(ours.collect())
    }

    /// Ends what the test made, so that the next one begins with an empty cluster.
    pub fn clean_up(&self) -> Result<(), Failed> {
        for name in self.requests.take() {
            let _ = self.block_on(self.requests_api().delete(&name, &DeleteParams::default()));
        }
        for name in self.machines.take() {
            let _ = self.lab.machine(&name)?.power_off();
            let _ = self.block_on(Api::<Node>::all(self.client()).delete(&name, &DeleteParams::default()));
        }
        Ok(())
    }

    /// Keeps everything that tells what happened; returns where.
    pub fn collect_logs(&self, test: &str) -> String {
        keep_logs(&self.operator(), test)
    }
}

/// Status and reason of a request's condition.
pub fn condition_of(request: &NodeJoinRequest, condition: ConditionType) -> Option<(String, String)> {
    let status = request.status.as_ref()?;
    let found = join_crds::conditions::get(&status.conditions, condition)?;
    Some((found.status.clone(), found.reason.clone()))
}
