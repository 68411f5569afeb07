//! The page about the audit log, followed for one join: each command is given what the ones before have printed.

use std::fs;
use std::path::Path;

use join_book::blocks::blocks;
use join_book::commands::Place;
use join_book::markdown::read;
use libtest_mimic::Failed;

use super::suite::{MACHINE, Suite};
use super::tour::{is_run, run};

/// What the page's variables stand for.
#[derive(Default)]
struct Known {
    uid: String,
    csr: String,
    token: String,
}

pub fn is_followed(suite: &Suite, page: &str) -> Result<(), Failed> {
    keep_log(suite)?;
    let field = |path: &str| -> Result<String, Failed> {
        let get = format!("kubectl get nodejoinrequest {MACHINE} --output=jsonpath={{{path}}}");
        Ok(suite.shell(Place::Administrator, "", &get)?.stdout)
    };
    let (uid, key) = (field(".metadata.uid")?, field(".status.machine.publicKeyHash")?);
    let digits = key.trim_start_matches("sha256:");
    let mut known = Known::default();
    let mut asked = 0;
    for block in blocks(&read(Path::new(page))?).iter().filter(|block| is_run(block)) {
        let Known { uid: found, csr, token } = &known;
        let variables = format!("NODE={MACHINE}\nUID_OF_REQUEST='{found}'\nCSR='{csr}'\nID='{token}'\n");
        let printed = run(suite, page, block, &variables)?;
        let text = block.text.as_str();
        let expected = if text.contains("$NODE") {
            known.uid = column(&printed, 2);
            uid.as_str()
        } else if text.contains("$UID_OF_REQUEST") {
            // The certificate of the client is the one that names the machine's key; the kubelet has another one for its
            // server.
            let of_client = printed.lines().find(|line| line.contains(&key)).unwrap_or_default();
            known.csr = column(of_client, 2);
            key.as_str()
        } else if text.contains("$CSR") {
            let requester = printed.lines().next().unwrap_or_default();
            requester.trim_start_matches("system:bootstrap:").clone_into(&mut known.token);
            let begin = printed.find("-----BEGIN").ok_or_else(|| format!("no request was printed: {printed}"))?;
            fs::write(suite.desk("request.pem"), &printed[begin..])?;
            "system:bootstrap:"
        } else if text.contains("request.pem") {
            digits
        } else if text.contains("$ID") {
            "system:serviceaccount:join-system:join-controller"
        } else if text.contains("join_controller::decision") {
            uid.as_str()
        } else {
            known.csr.as_str()
        };
        if expected.is_empty() || !printed.contains(expected) {
            return Err(format!("{page}:{}: {expected:?} is not in what was printed: {printed}", block.line).into());
        }
        asked += 1;
    }
    if asked < 6 { Err(format!("{page} has only {asked} commands").into()) } else { Ok(()) }
}

/// The API server's log as it is now, without a last line that is half written.
fn keep_log(suite: &Suite) -> Result<(), Failed> {
    let log = fs::read_to_string(suite.lab().layout().control_plane_etc().join("audit.log"))?;
    let whole = log.rfind('\n').map_or("", |end| &log[..=end]);
    fs::write(suite.desk("audit.log"), whole)?;
    Ok(())
}

fn column(printed: &str, index: usize) -> String {
    printed.lines().next().unwrap_or_default().split('\t').nth(index).unwrap_or_default().to_owned()
}
