//! The container runtime, asked over its own interface.

use join_checks::Finding;

use super::catalogue::{CGROUP_DRIVER, CONTAINER_RUNTIME_VERSION, CRI, CRI_VERSION, RUNTIME_HANDLER};
use super::cluster::KubeletSettings;
use crate::cri::{self, CgroupDriver, Cri, RuntimeConfigResponse, StatusResponse, VersionResponse};

/// What the runtime answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its socket.
    pub socket: String,
    /// What it is.
    pub version: Result<VersionResponse, cri::Error>,
    /// How it is.
    pub status: Result<StatusResponse, cri::Error>,
    /// How it is configured.
    pub configuration: Result<RuntimeConfigResponse, cri::Error>,
}

impl Facts {
    /// Name and version, such as `containerd://2.4.2`, as a Node has them.
    pub fn name_and_version(&self) -> Option<String> {
        let version = self.version.as_ref().ok()?;
        let text = format!("{}://{}", version.runtime_name, version.runtime_version.trim_start_matches('v'));
        Some(text.chars().filter(|letter| !letter.is_control()).take(128).collect())
    }
}

/// Asks the runtime.
pub async fn observe(socket: &str) -> Facts {
    let socket = socket.to_owned();
    match Cri::connect(&socket).await {
        Ok(cri) => {
            let (version, status, configuration) = tokio::join!(cri.version(), cri.status(), cri.runtime_config());
            Facts { socket, version, status, configuration }
        }
        Err(error) => {
            Facts { socket, version: Err(error.clone()), status: Err(error.clone()), configuration: Err(error) }
        }
    }
}

/// Judges what it answered.
pub fn judge(facts: &Facts, kubelet: Option<&KubeletSettings>) -> Vec<Finding> {
    vec![
        running(facts),
        version(facts),
        configurable(&facts.configuration),
        handler(&facts.status),
        cgroup_driver(&facts.configuration, kubelet),
    ]
}

/// As for kubeadm the runtime counts as running with or without a network, which comes with the CNI plugin.
fn running(facts: &Facts) -> Finding {
    let status = match &facts.status {
        Ok(status) => status,
        Err(error) => return CRI.failed(error.to_string()),
    };
    let conditions = status.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.r#type == "RuntimeReady" && !condition.status) {
        Some(not) => CRI.failed(format!("RuntimeReady is false: {}: {}", not.reason, not.message)),
        None => CRI.passed(facts.name_and_version().unwrap_or_else(|| cri::path_of(&facts.socket).to_owned())),
    }
}

fn version(facts: &Facts) -> Finding {
    match &facts.version {
        Ok(version) if version.runtime_api_version == "v1" => CRI_VERSION.passed("v1"),
        Ok(version) => CRI_VERSION.failed(format!("the runtime says {:?}", version.runtime_api_version)),
        // What does not have the service of v1 at all says so for every call.
        Err(cri::Error::Unimplemented { .. }) => CRI_VERSION.failed("the runtime does not know runtime.v1"),
        Err(error) => CRI_VERSION.skipped(error.to_string()),
    }
}

fn configurable(configuration: &Result<RuntimeConfigResponse, cri::Error>) -> Finding {
    match configuration {
        Ok(_) => CONTAINER_RUNTIME_VERSION.passed("RuntimeConfig is there"),
        Err(error @ cri::Error::Unimplemented { .. }) => CONTAINER_RUNTIME_VERSION.warning(error.to_string()),
        Err(error) => CONTAINER_RUNTIME_VERSION.failed(error.to_string()),
    }
}

fn handler(status: &Result<StatusResponse, cri::Error>) -> Finding {
    let handlers = match status {
        Ok(status) => &status.runtime_handlers,
        Err(error) => return RUNTIME_HANDLER.skipped(error.to_string()),
    };
    if handlers.is_empty() {
        return RUNTIME_HANDLER.skipped("the runtime does not tell its handlers");
    }
    let named: Vec<&str> =
        handlers.iter().map(|handler| handler.name.as_str()).filter(|name| !name.is_empty()).collect();
    let is_there = named.len() < handlers.len();
    let no_default = format!("no default among {}", named.join(", "));
    RUNTIME_HANDLER.unless((!is_there).then_some(no_default), format!("the default, {}", named.join(", "))).as_warning()
}

fn cgroup_driver(
    configuration: &Result<RuntimeConfigResponse, cri::Error>,
    kubelet: Option<&KubeletSettings>,
) -> Finding {
    let linux = match configuration {
        Ok(configuration) => configuration.linux.as_ref(),
        Err(error) => return CGROUP_DRIVER.skipped(error.to_string()),
    };
    let Some(driver) = linux.and_then(|linux| CgroupDriver::try_from(linux.cgroup_driver).ok()) else {
        return CGROUP_DRIVER.skipped("the runtime does not tell its cgroup driver");
    };
    let driver = driver.name();
    match kubelet.map(KubeletSettings::cgroup_driver) {
        None => {
            CGROUP_DRIVER.skipped(format!("the runtime uses {driver}; the cluster's configuration is not known yet"))
        }
        Some(wanted) if wanted == driver => CGROUP_DRIVER.passed(driver),
        Some(wanted) => CGROUP_DRIVER.warning(format!("the runtime uses {driver}, and kubelet-config says {wanted}")),
    }
}

#[cfg(test)]
pub mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};

    use super::*;
    use crate::checks::tests::verdict;
    use crate::cri::{LinuxRuntimeConfiguration, RuntimeCondition, RuntimeHandler, RuntimeStatus};

    pub fn sound() -> Facts {
        let condition = |kind: &str, status| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: "Because".to_owned(),
            message: "it is".to_owned(),
        };
        Facts {
            socket: "unix:///run/containerd/containerd.sock".to_owned(),
            version: Ok(VersionResponse {
                runtime_name: "containerd".to_owned(),
                runtime_version: "v2.4.2".to_owned(),
                runtime_api_version: "v1".to_owned(),
            }),
            status: Ok(StatusResponse {
                status: Some(RuntimeStatus {
                    conditions: vec![condition("RuntimeReady", true), condition("NetworkReady", false)],
                }),
                runtime_handlers: ["", "runc"].map(|name| RuntimeHandler { name: name.to_owned() }).to_vec(),
            }),
            configuration: Ok(configured(CgroupDriver::Systemd)),
        }
    }

    fn configured(driver: CgroupDriver) -> RuntimeConfigResponse {
        RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: driver as i32 }) }
    }

    fn kubelet(driver: &str) -> KubeletSettings {
        KubeletSettings::parse(&format!("cgroupDriver: {driver}")).unwrap()
    }

    #[test]
    fn a_runtime_that_is_ready_passes_even_without_a_network() {
        let findings = judge(&sound(), Some(&kubelet("systemd")));
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| finding.verdict == Passed), "{findings:?}");
        assert_eq!(findings[0].observed, "containerd://2.4.2");
    }

    #[test]
    fn a_runtime_that_cannot_be_reached_fails_as_for_kubeadm() {
        let gone = cri::Error::Connect { socket: "/x".to_owned(), reason: "refused".to_owned() };
        let facts =
            Facts { version: Err(gone.clone()), status: Err(gone.clone()), configuration: Err(gone), ..sound() };
        let findings = judge(&facts, None);
        for (id, expected) in [
            ("CRI", Failed),
            ("ContainerRuntimeVersion", Failed),
            ("CRIVersion", Skipped),
            ("RuntimeHandler", Skipped),
            ("CgroupDriver", Skipped),
        ] {
            assert_eq!(verdict(&findings, id), expected, "{id}");
        }
    }

    #[test]
    fn each_answer_is_judged_by_itself() {
        type Break = fn(&mut Facts);
        let missing = |call| cri::Error::Unimplemented { call };
        assert_eq!(missing("X").to_string(), "the runtime has no call X");
        let table: [(&str, Break, _); 8] = [
            ("CRI", |f| f.status.as_mut().unwrap().status.as_mut().unwrap().conditions[0].status = false, Failed),
            (
                "ContainerRuntimeVersion",
                |f| f.configuration = Err(cri::Error::Unimplemented { call: "RuntimeConfig" }),
                Warning,
            ),
            ("CRIVersion", |f| f.version.as_mut().unwrap().runtime_api_version = "v1alpha2".to_owned(), Failed),
            ("CRIVersion", |f| f.version = Err(cri::Error::Unimplemented { call: "Version" }), Failed),
            ("RuntimeHandler", |f| drop(f.status.as_mut().unwrap().runtime_handlers.remove(0)), Warning),
            ("RuntimeHandler", |f| f.status.as_mut().unwrap().runtime_handlers.clear(), Skipped),
            ("CgroupDriver", |f| f.configuration = Ok(configured(CgroupDriver::Cgroupfs)), Warning),
            ("CgroupDriver", |f| f.configuration = Ok(RuntimeConfigResponse { linux: None }), Skipped),
        ];
        for (id, break_it, expected) in table {
            let mut facts = sound();
            break_it(&mut facts);
            assert_eq!(verdict(&judge(&facts, Some(&kubelet("systemd"))), id), expected, "{id}");
        }
        assert_eq!(verdict(&judge(&sound(), None), "CgroupDriver"), Skipped);
        assert_eq!(verdict(&judge(&sound(), Some(&kubelet("cgroupfs"))), "CgroupDriver"), Warning);
    }
}
