//! `machines`, `accept` and `create`.

use libtest_mimic::Failed;

use crate::support::Suite;

pub fn machines_are_listed_with_what_they_come_to(suite: &Suite) -> Result<(), Failed> {
    suite.announce("worker-1", "key-1")?;
    suite.announce("twin", "key-2")?;
    suite.announce("twin", "key-3")?;
    let accepted = suite.announce("worker-4", "key-4")?;
    suite.njr(&["create", "worker-4", "--key", &accepted])?.good()?;
    suite.announce("worker-5", "key-5")?;
    suite.njr(&["create", "worker-5", "--first-use", "--delivery", "token"])?.good()?;
    suite.operator().apply(r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-6"}}"#)?;
    suite.announce("worker-6", "key-6")?;
    // The signer's name is ours, and what is in it is a request of another kind.
    let request = join_trust::machine_key::MachineKey::generate()?;
    let request = request.client_csr(&join_trust::names::NodeName::parse("worker-7")?)?;
    suite.create_announcement("nodejoin-machine-worker-7-0123456789abcdef", request.into_bytes())?;
    suite.wait("the controller to look at the requests", || {
        let reason = |name: &str| suite.reason(name, "Ready").map_err(|failure| format!("{failure:?}"));
        let seen = (reason("worker-4")?, reason("worker-5")?);
        let expected = ("WaitingForAgent".to_owned(), "WaitingForCertificateRequest".to_owned());
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })?;
    let mut table = suite.njr(&["machines"])?.good()?;
    let wide = suite.njr(&["machines", "-o", "wide"])?.good()?;
    // Two keys of one name are in the order in which they came, to the second.
    table.stdout = table.stdout.replace("<key-3>", "<key-2>");
    if wide.stdout.lines().count() != table.stdout.lines().count() {
        return Err(format!("the tables differ in their rows: {table:?} {wide:?}").into());
    }
    let names = suite.njr(&["machines", "-o", "name"])?.good()?;
    if names.stdout.lines().count() != 7 {
        return Err(format!("not every announcement has a name: {names:?}").into());
    }
    let wrong = suite.njr(&["machines", "-o", "xml"])?.with_code(2)?;
    suite.stands_for("<twin>", "<key-2>");
    suite.stands_for("<twin>", "<key-3>");
    suite.snapshot("machines", &[&table, &wrong])
}

pub fn accept_takes_the_announced_key_only(suite: &Suite) -> Result<(), Failed> {
    let key = suite.announce("worker-1", "key")?;
    let other = format!("sha256:{}", "0".repeat(64));
    let another_key = suite.njr(&["accept", "worker-1", "--key", &other, "--yes"])?.with_code(1)?;
    let nobody = suite.njr(&["accept", "worker-2", "--key", &key, "--yes"])?.with_code(1)?;
    let unasked = suite.njr(&["accept", "worker-1", "--key", &key])?.with_code(1)?;
    let no_key = suite.njr(&["accept", "worker-1", "--key", "sha256:12", "--yes"])?.with_code(2)?;
    let client = ["accept", "worker-1", "--key", &key, "--dry-run=client", "-o", "yaml"];
    let client = suite.njr(&client)?.good()?;
    let server = suite.njr(&["accept", "worker-1", "--key", &key, "--dry-run=server"])?.good()?;
    if !suite.operator().kubectl(&["get", "njr", "--output=name"])?.is_empty() {
        return Err("a refused or tried command made a request".into());
    }
    let accepted = suite.njr(&["accept", "worker-1", "--key", &key, "--yes", "--label", "zone=a"])?.good()?;
    let again = suite.njr(&["accept", "worker-1", "--key", &key, "--yes"])?.good()?;
    let too_late = suite.njr(&["accept", "worker-1", "--key", &other, "--yes"])?.with_code(1)?;
    let outcomes = [&another_key, &nobody, &unasked, &no_key, &client, &server, &accepted, &again, &too_late];
    suite.snapshot("accept", &outcomes)
}

pub fn accept_asks_on_a_terminal(suite: &Suite) -> Result<(), Failed> {
    let key = suite.announce("worker-1", "key")?;
    let digits: Vec<char> = key.trim_start_matches("sha256:").chars().collect();
    for (half, word) in digits.chunks(32).zip(["<first half>", "<second half>"]) {
        let groups: Vec<String> = half.chunks(4).map(|group| group.iter().collect()).collect();
        suite.stands_for(word, &groups.join(" "));
    }
    let declined = suite.njr_on_a_terminal(&["accept", "worker-1", "--key", &key], "no\n")?.with_code(1)?;
    if !suite.operator().kubectl(&["get", "njr", "--output=name"])?.is_empty() {
        return Err("a declined machine has a request".into());
    }
    let accepted = suite.njr_on_a_terminal(&["accept", "worker-1", "--key", &key], "yes\n")?.good()?;
    suite.snapshot("accept-terminal", &[&declined, &accepted])
}

pub fn create_makes_a_request_of_flags(suite: &Suite) -> Result<(), Failed> {
    let key = format!("sha256:{}", "0".repeat(64));
    let flags = [
        "create",
        "worker-1",
        "--key",
        &key,
        "--address=192.0.2.1",
        "--label=zone=a",
        "--taint=gpu=yes:NoSchedule",
        "--kubelet-extra-arg=max-pods=50",
        "--ignore-preflight-errors=NumCPU",
        "--token-ttl=10m",
        "--deadline=2h",
    ];
    let shown = suite.njr(&[&flags[..], &["--dry-run=client", "-o", "yaml"]].concat())?.good()?;
    // What it prints is what kubectl takes.
    let applied = suite.operator().apply(&shown.stdout)?;
    if applied.trim() != "nodejoinrequest.nodejoin.dev/worker-1 created" {
        return Err(format!("kubectl apply said {applied:?}").into());
    }
    let exists = suite.njr(&flags)?.with_code(1)?;
    let refused = suite.njr(&["create", "worker-2", "--key", &key, "--token-ttl=1s"])?.with_code(1)?;
    let contradiction =
        suite.njr(&["create", "worker-2", "--key", &key, "--apiserver-bind-port=6443"])?.with_code(1)?;
    let created = suite.njr(&["create", "worker-3", "--first-use"])?.good()?;
    let name = suite.njr(&["create", "worker-4", "--first-use", "--dry-run=server", "-o", "name"])?.good()?;
    suite.snapshot("create", &[&shown, &exists, &refused, &contradiction, &created, &name])
}
