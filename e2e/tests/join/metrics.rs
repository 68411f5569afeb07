//! Who may read the metrics, asked of the real API server.

use join_e2e::lab::command;
use join_e2e::lab::layout::CONTROL_PLANE;
use join_e2e::lab::wait_until;
use libtest_mimic::Failed;

use join_e2e::suite::joining::{PATIENCE, Suite};

const REPLICA: &str = "controller-metrics";
const PORT: u16 = 8443;
/// ServiceAccounts with the right to read, and without it.
const READER: &str = "metrics-reader";
const VISITOR: &str = "metrics-visitor";

/// The metrics as the suite's controller serves them, over plain HTTP.
pub fn plain_metrics(suite: &Suite) -> Result<String, Failed> {
    read(suite, &["--server=http://127.0.0.1:8080"])
}

/// Over TLS alone, without a token 401, without the right 403, with it the metrics; and a certificate that others made
/// is verified as any.
pub fn metrics_are_for_those_who_may_read_them(suite: &Suite) -> Result<(), Failed> {
    let operator = suite.operator();
    for account in [READER, VISITOR] {
        operator.kubectl(&["create", "serviceaccount", account])?;
    }
    let account = format!("--serviceaccount=default:{READER}");
    operator.kubectl(&["create", "clusterrolebinding", READER, "--clusterrole=nodejoin:metrics-reader", &account])?;

    // A replica that stands by serves its metrics, too. It shares the network of the one at work.
    let (health, address) = ("--health-address=127.0.0.1:0", format!("--metrics-address={CONTROL_PLANE}:{PORT}"));
    let secure = [health, &address, "--metrics-secure=true"];
    operator.start_controller(REPLICA, &secure)?;
    let outcome = asks(suite, "--insecure-skip-tls-verify");
    suite.lab().kill_process(REPLICA)?;
    outcome?;

    // With the API server's own certificate there is one that a client can verify.
    let pki = suite.lab().layout().control_plane_etc().join("pki");
    let folder = suite.lab().layout().control_plane_etc().join("metrics");
    std::fs::create_dir_all(&folder)?;
    for (from, to) in [("apiserver.crt", "tls.crt"), ("apiserver.key", "tls.key")] {
        std::fs::copy(pki.join(from), folder.join(to))?;
    }
    operator
        .start_controller(REPLICA, &[&secure[..], &["--metrics-certificate-dir=/etc/kubernetes/metrics"]].concat())?;
    let outcome = asks(suite, "--certificate-authority=/etc/kubernetes/pki/ca.crt");
    suite.lab().kill_process(REPLICA)?;
    outcome?;
    for (kind, name) in [("serviceaccount", READER), ("serviceaccount", VISITOR), ("clusterrolebinding", READER)] {
        operator.kubectl(&["delete", kind, name])?;
    }
    Ok(())
}

fn asks(suite: &Suite, trust: &str) -> Result<(), Failed> {
    let server = format!("--server=https://{CONTROL_PLANE}:{PORT}");
    let ask = |token: Option<&str>| {
        let token = token.map(|token| format!("--token={token}"));
        // kubectl asks for a name where it has nothing to send at all.
        let other = ["--username=nobody", "--password=nothing"];
        let credentials = token.as_deref().map_or(other.to_vec(), |token| vec![token]);
        read(suite, &[&[server.as_str(), trust], credentials.as_slice()].concat())
    };
    let token = |account| suite.operator().kubectl(&["create", "token", account]).map(|token| token.trim().to_owned());
    let reader = token(READER)?;
    let text = wait_until("the metrics to be served", PATIENCE, || {
        ask(Some(&reader)).map_err(|failure| failure.message().unwrap_or_default().to_owned())
    })?;
    assert!(text.contains("join_operator_leader 0"), "{text}");

    for (token, expected) in [
        (None, "asked for the client to provide credentials"),
        (Some("nobody's"), "asked for the client to provide credentials"),
        (Some(token(VISITOR)?.as_str()), "may not get the URL /metrics"),
    ] {
        let failure = ask(token).err().ok_or("the metrics were handed out")?;
        let message = failure.message().unwrap_or_default().to_owned();
        assert!(message.contains(expected), "{message}");
    }
    let plain = read(suite, &[&format!("--server=http://{CONTROL_PLANE}:{PORT}"), &format!("--token={reader}")]);
    assert!(plain.is_err(), "plain HTTP was answered: {plain:?}");

    let log = std::fs::read_to_string(suite.lab().log_file(REPLICA))?;
    assert!(!log.contains(&reader), "the token is in the log");
    Ok(())
}

/// Asks for /metrics in the control plane's network. kubectl is the HTTP client that is there.
fn read(suite: &Suite, connection: &[&str]) -> Result<String, Failed> {
    let mut kubectl = suite.lab().kubectl()?;
    // Nothing of the administrator's: neither certificate nor server.
    kubectl.env("KUBECONFIG", "/dev/null").args(connection).args(["get", "--raw", "/metrics"]);
    Ok(command::run(&mut kubectl)?.stdout)
}
