//! The pages beside the quickstart, followed one after the other in one cluster, as their reader does: every block that
//! is not marked, in order, as it stands.

use std::collections::BTreeSet;
use std::path::Path;

use join_book::blocks::{Block, blocks};
use join_book::commands::{Place, lines};
use join_book::markdown::{pages, read};
use join_e2e::lab::{patience, wait_until};
use join_e2e::suite::{image_archive, package};
use libtest_mimic::Failed;

use super::audit;
use super::quickstart;
use super::suite::{FIRST_NODE, MACHINE, PATIENCE, Suite};

/// What stands in the pages for the name of a request.
const NAME: &str = "NAME";

/// A page, and how it is followed: each goes on with what the ones before have left.
type Stop = (&'static str, fn(&Suite, &str) -> Result<(), Failed>);

const TOUR: &[Stop] = &[
    ("docs/install.md", install),
    ("docs/agent.md", agent),
    ("docs/cloud-init.md", follow),
    ("docs/hardening.md", follow),
    ("docs/audit.md", audited_join),
    ("docs/troubleshooting.md", follow),
    ("docs/runbooks.md", follow),
    ("docs/upgrade.md", follow),
    ("docs/uninstall.md", follow),
    ("charts/join-operator/README.md", follow),
];

/// Follows every page.
pub fn pages_are_followed(suite: &Suite) -> Result<(), Failed> {
    for (page, stop) in TOUR {
        stop(suite, page)?;
    }
    Ok(())
}

/// The beginning of the chart's README, which is followed where it ends up.
const PART: &str = "e2e/src/chart/readme-head.md";

/// A page with commands that nobody follows would be one that nobody has tried.
pub fn no_page_is_left_out() -> Result<(), Failed> {
    let followed: BTreeSet<&str> = TOUR.iter().map(|(page, _)| *page).chain([quickstart::PAGE, PART]).collect();
    let mut with_commands = BTreeSet::new();
    for page in pages()? {
        if blocks(&page.text).iter().any(is_run) {
            with_commands.insert(page.path.display().to_string());
        }
    }
    let with_commands: BTreeSet<&str> = with_commands.iter().map(String::as_str).collect();
    if followed == with_commands {
        return Ok(());
    }
    Err(format!("{with_commands:?} have commands to run, and {followed:?} are followed").into())
}

/// Whether a block has commands, and none of them is marked as one that cannot be run.
pub fn is_run(block: &Block) -> bool {
    block.not_run().is_none() && !lines(block).is_empty()
}

/// Who types a block, and on which machine.
pub fn place(block: &Block) -> (Place, &'static str) {
    if block.attribute("node").is_some() {
        (Place::Machine, FIRST_NODE)
    } else if block.attribute("machine").is_some() {
        (Place::Machine, MACHINE)
    } else {
        (Place::Administrator, "")
    }
}

/// Runs the blocks of a page.
fn follow(suite: &Suite, page: &str) -> Result<(), Failed> {
    for block in blocks(&read(Path::new(page))?).iter().filter(|block| is_run(block)) {
        run(suite, page, block, "")?;
    }
    Ok(())
}

/// Runs a block after some lines that set its variables, and returns what it printed.
pub fn run(suite: &Suite, page: &str, block: &Block, variables: &str) -> Result<String, Failed> {
    // A script is run as a whole, a transcript command by command.
    let scripts: Vec<_> = if block.language == "console" {
        let lines = lines(block).into_iter();
        lines.map(|line| (line.place, MACHINE, line.text)).collect()
    } else {
        let (place, machine) = place(block);
        vec![(place, machine, block.text.clone())]
    };
    let mut printed = String::new();
    for (place, machine, script) in scripts {
        let script = script.replace(NAME, MACHINE);
        println!("{page}:{}\n{}", block.line, script.trim_end());
        let ran = suite.shell(place, machine, &format!("{variables}{script}"));
        let ran = ran.map_err(|failure| format!("{page}:{}: {}", block.line, failure.message().unwrap_or_default()))?;
        printed.push_str(&ran.stdout);
    }
    Ok(printed)
}

/// The image is where the cluster finds it, as the page says, and the first node's kubelet has the certificate without which
/// it shows no logs: where kubelets ask for theirs, an administrator approves those of nodes that joined otherwise.
fn install(suite: &Suite, page: &str) -> Result<(), Failed> {
    bring_the_image(suite, FIRST_NODE)?;
    let approve = "kubectl get certificatesigningrequests --output=name \
                   --field-selector=spec.signerName=kubernetes.io/kubelet-serving | xargs kubectl certificate approve";
    suite.shell(Place::Administrator, "", approve)?;
    let healthz = format!("kubectl get --raw /api/v1/nodes/{FIRST_NODE}/proxy/healthz");
    wait_until("the first node's kubelet to have a certificate", patience(PATIENCE), || {
        let asked = suite.shell(Place::Administrator, "", &healthz);
        asked.map(drop).map_err(|failure| failure.message().unwrap_or_default().to_owned())
    })?;
    follow(suite, page)
}

/// The machine has the package, and the file that the page names.
fn agent(suite: &Suite, page: &str) -> Result<(), Failed> {
    suite.shell(Place::Administrator, "", "kubectl njr enroll --output-file config.yaml --force")?;
    suite.carry(&suite.desk("config.yaml"), MACHINE)?;
    suite.carry(&package("deb")?, MACHINE)?;
    follow(suite, page)
}

/// Without a registry, each node needs the image on which a pod of the controller may run.
fn bring_the_image(suite: &Suite, node: &str) -> Result<(), Failed> {
    let archive = image_archive()?;
    suite.carry(&archive, node)?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    suite.shell(Place::Machine, node, &format!("ctr --namespace k8s.io images import {name}")).map(drop)
}

/// The machine joins; the page then says who let it in.
fn audited_join(suite: &Suite, page: &str) -> Result<(), Failed> {
    bring_the_image(suite, MACHINE)?;
    let join = format!(
        "kubectl njr create {MACHINE} --first-use\n\
         kubectl wait --for=condition=Ready nodejoinrequest/{MACHINE} --timeout 120s"
    );
    suite.shell(Place::Administrator, "", &join)?;
    audit::is_followed(suite, page)
}
