//! The installed kubelet: its version, and how systemd starts it.

use std::path::Path;

use join_checks::Finding;
use zbus::proxy;

use super::catalogue::{KUBELET_DROP_IN, KUBELET_UNIT, KUBELET_VERSION, KUBELET_VERSION_SKEW, SERVICE_KUBELET};
use super::version::minor;
use crate::files;
use crate::kubelet::{Systemd, UNIT};

/// By how many minor versions a kubelet may be behind the API server (Kubernetes' version skew policy).
const MOST_BEHIND: u32 = 3;
/// The newest minor version that this agent knows.
const NEWEST: u32 = 37;
/// No unit file is larger.
const MAX_UNIT: u64 = 64 * 1024;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kubelet's version.
    pub version: Option<String>,
    /// What systemd says of the kubelet's unit; why it says nothing otherwise.
    pub unit: Result<Unit, String>,
}

/// A unit, as systemd knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, `bad-setting` or `error`.
    pub load_state: String,
    /// `active`, `inactive`, `activating`, `failed` and others.
    pub active_state: String,
    /// Whether it is started at boot: `enabled`, `disabled`, `static` and others.
    pub file_state: String,
    /// The text of its file, its drop-ins and the files of variables that they name.
    pub text: String,
    /// Its variables, `NAME=value` each.
    pub environment: Vec<String>,
}

impl Unit {
    /// Whether the unit is there and sound.
    pub fn is_loaded(&self) -> bool {
        self.load_state == "loaded"
    }

    /// Whether it is started at boot. A static one is, by another unit that wants it.
    pub fn is_enabled(&self) -> bool {
        matches!(
            self.file_state.as_str(),
            "enabled" | "enabled-runtime" | "static" | "indirect" | "alias" | "generated"
        )
    }
}

#[proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait UnitFile {
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn unit_file_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn fragment_path(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn drop_in_paths(&self) -> zbus::Result<Vec<String>>;
}

#[proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property)]
    fn environment(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn environment_files(&self) -> zbus::Result<Vec<(String, bool)>>;
}

/// Looks at the kubelet. Its version is given, since finding it out starts a large program.
pub async fn observe(version: Option<String>, systemd: Result<&Systemd, String>) -> Facts {
    let unit = match systemd {
        Ok(systemd) => unit(systemd, UNIT).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    Facts { version, unit }
}

/// What systemd says of a unit, with its text.
pub async fn unit(systemd: &Systemd, name: &str) -> zbus::Result<Unit> {
    let path = systemd.unit_path(name).await?;
    let connection = systemd.connection();
    // Not cached: the state that counts is the one at the moment of the question.
    let uncached = proxy::CacheProperties::No;
    let unit = UnitFileProxy::builder(connection).path(path.clone()).cache_properties(uncached).build().await?;
    let mut found = states(&unit).await?;
    if !found.is_loaded() {
        return Ok(found);
    }
    let service = ServiceProxy::builder(connection).path(path).cache_properties(uncached).build().await?;
    found.environment = service.environment().await.unwrap_or_default();
    let variables = service.environment_files().await.unwrap_or_default().into_iter().map(|(path, _)| path);
    let files = [unit.fragment_path().await?].into_iter().chain(unit.drop_in_paths().await?).chain(variables);
    for path in files {
        found.text.push_str(&small_file(Path::new(&path)));
        found.text.push('\n');
    }
    Ok(found)
}

/// What systemd says of a unit's state.
pub async fn state(systemd: &Systemd, name: &str) -> zbus::Result<Unit> {
    let path = systemd.unit_path(name).await?;
    let builder = UnitFileProxy::builder(systemd.connection()).path(path);
    states(&builder.cache_properties(proxy::CacheProperties::No).build().await?).await
}

async fn states(unit: &UnitFileProxy<'_>) -> zbus::Result<Unit> {
    Ok(Unit {
        load_state: unit.load_state().await?,
        active_state: unit.active_state().await?,
        file_state: unit.unit_file_state().await?,
        ..Unit::default()
    })
}

fn small_file(path: &Path) -> String {
    use std::io::Read;
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MAX_UNIT).read_to_string(&mut text);
    }
    text
}

/// Judges what was seen.
pub fn judge(facts: &Facts, control_plane: Option<&str>) -> Vec<Finding> {
    let version = facts.version.as_deref();
    let mut findings = vec![installed(version), skew(version, control_plane)];
    match &facts.unit {
        Ok(unit) => {
            findings.push(service(unit));
            let state = format!("systemd says {}", unit.load_state);
            findings.push(KUBELET_UNIT.unless((!unit.is_loaded()).then_some(state), "loaded"));
            findings.push(drop_in(unit));
        }
        Err(error) => {
            let why = format!("systemd cannot be asked: {error}");
            findings.push(SERVICE_KUBELET.warning(why.clone()));
            findings.push(KUBELET_UNIT.failed_with(why.clone(), "run it on a machine with systemd, as root"));
            findings.push(KUBELET_DROP_IN.skipped(why));
        }
    }
    findings
}

fn installed(version: Option<&str>) -> Finding {
    let Some(version) = version else {
        return KUBELET_VERSION.failed_with("`kubelet --version` printed no version", "install the kubelet");
    };
    match minor(version) {
        None => KUBELET_VERSION.failed(format!("the kubelet's version is {version:?}, which is no version 1.X")),
        Some(minor) if minor + MOST_BEHIND < NEWEST => {
            KUBELET_VERSION.failed(format!("the kubelet {version} is older than 1.{}", NEWEST - MOST_BEHIND))
        }
        Some(_) => KUBELET_VERSION.passed(version),
    }
}

fn skew(kubelet: Option<&str>, control_plane: Option<&str>) -> Finding {
    let Some(control_plane) = control_plane else {
        return KUBELET_VERSION_SKEW.skipped("the control plane's version is not known yet");
    };
    // Who writes the cluster's configuration may write what they want into it.
    let (Some(kubelet), Some(theirs)) = (kubelet, minor(control_plane)) else {
        return KUBELET_VERSION_SKEW.skipped("one of the two versions is not known");
    };
    let Some(ours) = minor(kubelet) else { return KUBELET_VERSION_SKEW.skipped("the kubelet's version is not known") };
    if ours > theirs {
        return KUBELET_VERSION_SKEW
            .failed(format!("the kubelet {kubelet} is newer than the control plane {control_plane}"));
    }
    if ours + MOST_BEHIND < theirs {
        let seen = format!("the kubelet {kubelet} is too old for the control plane {control_plane}");
        return KUBELET_VERSION_SKEW.failed(seen);
    }
    KUBELET_VERSION_SKEW.passed(format!("kubelet {kubelet}, control plane {control_plane}"))
}

/// As for kubeadm, whether it is active does not matter: the join starts it.
fn service(unit: &Unit) -> Finding {
    if unit.load_state == "not-found" {
        let mend = "install the package kubelet, which brings kubelet.service";
        return SERVICE_KUBELET.failed_with(format!("systemd knows no {UNIT}"), mend).as_warning();
    }
    if !unit.is_enabled() {
        return SERVICE_KUBELET.warning(format!("{UNIT} is {}", unit.file_state));
    }
    SERVICE_KUBELET.passed(unit.file_state.clone())
}

/// A kubelet that is started by the unit itself must be told its kubeconfig and configuration there; what a script of the
/// administrator's does is not known.
fn drop_in(unit: &Unit) -> Finding {
    if !unit.is_loaded() {
        return KUBELET_DROP_IN.skipped("there is no unit");
    }
    let missing: Vec<&str> =
        [files::KUBELET_CONF, files::CONFIG_YAML].into_iter().filter(|path| !unit.text.contains(path)).collect();
    let lacks_flags = !unit.text.contains(files::KUBEADM_FLAGS_ENV);
    if !missing.is_empty() {
        let seen = format!("neither the unit nor its drop-ins name {}", missing.join(" and "));
        let is_plain = last_start(&unit.text).is_some_and(|program| program.ends_with("/kubelet"));
        return if is_plain { KUBELET_DROP_IN.failed(seen) } else { KUBELET_DROP_IN.warning(seen) };
    }
    if lacks_flags {
        let path = files::KUBEADM_FLAGS_ENV;
        return KUBELET_DROP_IN
            .warning(format!("the unit does not read {path}: kubeletExtraArgs would have no effect"));
    }
    KUBELET_DROP_IN.passed("it names kubelet.conf, config.yaml and kubeadm-flags.env")
}

/// The program of the last ExecStart=, which is the one that counts.
fn last_start(text: &str) -> Option<&str> {
    let starts = text.lines().filter_map(|line| line.trim().strip_prefix("ExecStart="));
    let program = starts.filter_map(|command| command.split_whitespace().next()).next_back()?;
    Some(program.trim_start_matches(['-', '@', ':', '+', '!']))
}

#[cfg(test)]
pub mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};

    use super::*;
    use crate::checks::tests::verdict;

    const DROP_IN: &str = "\
[Service]
Environment=\"KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf\"
Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
";

    pub fn sound() -> Facts {
        let unit = Unit {
            load_state: "loaded".to_owned(),
            active_state: "inactive".to_owned(),
            file_state: "enabled".to_owned(),
            text: DROP_IN.to_owned(),
            environment: Vec::new(),
        };
        Facts { version: Some("v1.37.2".to_owned()), unit: Ok(unit) }
    }

    fn with(change: impl FnOnce(&mut Unit)) -> Facts {
        let mut facts = sound();
        change(facts.unit.as_mut().unwrap());
        facts
    }

    #[test]
    fn a_kubelet_of_the_packages_passes() {
        let findings = judge(&sound(), Some("v1.37.2"));
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| finding.verdict == Passed), "{findings:?}");
    }

    #[test]
    fn a_unit_is_judged_by_each_of_its_properties() {
        let missing = with(|unit| *unit = Unit { load_state: "not-found".to_owned(), ..Unit::default() });
        let standalone = with(|unit| unit.text = "[Service]\nExecStart=/usr/bin/kubelet\n".to_owned());
        let script = with(|unit| unit.text = "[Service]\nExecStart=-/opt/start-kubelet.sh\n".to_owned());
        let no_flags = with(|unit| unit.text = unit.text.replace("kubeadm-flags.env", "other.env"));
        for (facts, id, expected) in [
            (&missing, "Service-kubelet", Warning),
            (&missing, "KubeletUnit", Failed),
            (&missing, "KubeletDropIn", Skipped),
            (&with(|unit| unit.load_state = "masked".to_owned()), "KubeletUnit", Failed),
            (&with(|unit| unit.file_state = "disabled".to_owned()), "Service-kubelet", Warning),
            (&with(|unit| unit.file_state = "disabled".to_owned()), "KubeletUnit", Passed),
            (&standalone, "KubeletDropIn", Failed),
            (&script, "KubeletDropIn", Warning),
            (&no_flags, "KubeletDropIn", Warning),
            (&Facts { unit: Err("no bus".to_owned()), ..sound() }, "KubeletUnit", Failed),
            (&Facts { unit: Err("no bus".to_owned()), ..sound() }, "Service-kubelet", Warning),
        ] {
            assert_eq!(verdict(&judge(facts, None), id), expected, "{id} of {facts:?}");
        }
    }

    #[test]
    fn versions_are_judged_by_themselves_and_against_the_control_plane() {
        for (kubelet, control_plane, version, skew) in [
            (Some("v1.37.2"), None, Passed, Skipped),
            (Some("v1.34.0"), Some("v1.37.2"), Passed, Passed),
            (Some("v1.33.9"), Some("v1.37.2"), Failed, Failed),
            (Some("v1.38.0"), Some("v1.37.2"), Passed, Failed),
            (Some("v1.37.9"), Some("v1.37.0"), Passed, Passed),
            (Some("v1.36.0"), Some("v1.40.0"), Passed, Failed),
            (Some("version 9"), Some("v1.37.2"), Failed, Skipped),
            (None, Some("v1.37.2"), Failed, Skipped),
            (Some("v1.37.2"), Some("nonsense"), Passed, Skipped),
        ] {
            let facts = Facts { version: kubelet.map(str::to_owned), ..sound() };
            let findings = judge(&facts, control_plane);
            assert_eq!(verdict(&findings, "KubeletVersion"), version, "{kubelet:?} {control_plane:?}");
            assert_eq!(verdict(&findings, "KubeletVersionSkew"), skew, "{kubelet:?} {control_plane:?}");
        }
    }
}
