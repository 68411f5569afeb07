//! `join-agent check`: the checks of a join, as far as they need neither the cluster nor a request.

use join_crds::{Check, CheckResult};

use crate::config::{Configuration, Discovery};
use crate::identity::Identity;
use crate::kubelet::{self, Systemd};
use crate::{files, host, preflight};

/// Looks at the machine and judges it; changes nothing. The request's waivers are not known here.
pub async fn checks(configuration: &Configuration) -> Result<Vec<Check>, kubelet::Error> {
    let (systemd, version) = tokio::join!(Systemd::connect(), host::kubelet_version());
    let facts = preflight::observe(files::DEFAULT_CRI_SOCKET, version, &systemd?).await;
    let endpoint = match &configuration.discovery {
        Discovery::Token { endpoint, .. } => endpoint,
        Discovery::File { kubeconfig, .. } => &kubeconfig.endpoint,
    };
    let expected = preflight::Expected {
        machine_key: Identity::existing_pin(&configuration.state_directory),
        endpoint: endpoint.ip(),
        ..preflight::Expected::default()
    };
    Ok(preflight::judge(&facts, &expected))
}

/// The checks as lines for a terminal.
pub fn text(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let mark = match check.result {
            CheckResult::Passed => "passed ",
            CheckResult::Warning => "warning",
            CheckResult::Failed => "FAILED ",
            CheckResult::Skipped => "skipped",
        };
        let message = check.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        format!("{mark}  {}{message}\n", check.name)
    };
    checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_line() {
        let check = |name: &str, result, message: Option<&str>| Check {
            name: name.to_owned(),
            result,
            message: message.map(str::to_owned),
        };
        let checks = [
            check("CRI", CheckResult::Passed, None),
            check("Swap", CheckResult::Warning, Some("swap is on")),
            check("Port-10250", CheckResult::Failed, Some("in use")),
        ];
        assert_eq!(text(&checks), "passed   CRI\nwarning  Swap: swap is on\nFAILED   Port-10250: in use\n");
    }
}
