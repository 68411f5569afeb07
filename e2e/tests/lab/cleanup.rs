//! Nothing of a lab stays on the host, however its owner ended.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use join_e2e::components::KubernetesMinor;
use join_e2e::lab::layout::Layout;
use join_e2e::lab::overview::Overview;
use join_e2e::lab::{PROCESSES, cgroups, own_name, remove, wait_until};
use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};

/// The victim's part: starts a lab with a machine and waits for its end.
pub fn start_a_lab_and_wait(name: &str) -> anyhow::Result<std::convert::Infallible> {
    let lab = super::start(name)?;
    lab.add_machine("worker-1")?;
    std::fs::write(lab.layout().folder().join(COMPLETE), std::process::id().to_string())?;
    loop {
        std::thread::park();
    }
}

/// The file in which a victim whose lab is complete writes its process id.
const COMPLETE: &str = "complete";

pub fn a_killed_owner_is_cleaned_up() -> Result<(), Failed> {
    let layout = Layout::new(&own_name("t-victim")?)?;
    // In the middle of the work: etcd runs, and the API server is about to.
    let etcd_log = layout.logs().join("etcd.log");
    kill_a_victim_when(&layout, |_| etcd_log.exists())?;
    assert!(!leftovers(&layout)?.is_empty(), "the victim had made nothing, so this test shows nothing");

    // The next start of the same lab finds its predecessor dead and removes what it left.
    let complete = layout.folder().join(COMPLETE);
    kill_a_victim_when(&layout, |id| std::fs::read_to_string(&complete).is_ok_and(|text| text == id.to_string()))?;
    let left = leftovers(&layout)?.join("\n");
    for kind in ["/lib/systemd/systemd", "/usr/bin/containerd", "machines/worker-1/disk"] {
        assert!(left.contains(kind), "the victim left no {kind}, so this test shows nothing:\n{left}");
    }
    remove(layout.name())?;
    assert_eq!(leftovers(&layout)?, Vec::<String>::new());
    Ok(())
}

/// Starts a victim, and kills it when what it has made, or its process id, says so.
fn kill_a_victim_when(layout: &Layout, far_enough: impl Fn(u32) -> bool) -> Result<(), Failed> {
    let mut victim =
        Command::new(std::env::current_exe()?).args([super::VICTIM, layout.name()]).stdin(Stdio::null()).spawn()?;
    let id = victim.id();
    let reached = wait_until("the victim to get far enough", Duration::from_mins(2), || {
        if far_enough(id) { Ok(()) } else { Err(format!("logs in {}", layout.logs().display())) }
    });
    victim.kill()?;
    victim.wait()?;
    Ok(reached?)
}

/// The demo's part of [`ctrl_c_ends_the_demo`]; it never gets as far as needing our own programs.
pub fn run_the_demo(name: &str) -> anyhow::Result<ExitCode> {
    join_e2e::demo::run(name, KubernetesMinor::V1_37, Path::new("/nonexistent"), false)?;
    Ok(ExitCode::SUCCESS)
}

pub fn ctrl_c_ends_the_demo() -> Result<(), Failed> {
    let layout = Layout::new(&own_name("t-ctrl-c")?)?;
    let mut demo = Command::new(std::env::current_exe()?)
        .args([super::DEMO, layout.name()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = layout.logs().join("kube-apiserver.log");
    wait_until("the demo's API server to be started", Duration::from_mins(1), || {
        if log.exists() { Ok(()) } else { Err(format!("no {}", log.display())) }
    })?;
    let process = i32::try_from(demo.id()).ok().and_then(Pid::from_raw).ok_or("the demo has no process id")?;
    kill_process(process, Signal::INT)?;
    let status = demo.wait()?;
    let said = demo.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
    assert!(!status.success(), "the interrupted demo says that it succeeded: {said}");
    assert!(said.contains("interrupted"), "the demo said: {said}");
    assert_eq!(leftovers(&layout)?, Vec::<String>::new());
    Ok(())
}

pub fn two_labs_exist_at_once() -> Result<(), Failed> {
    let (one, other) = (super::start(&own_name("t-one")?)?, super::start(&own_name("t-other")?)?);
    one.add_machine("worker-1")?;
    other.add_machine("worker-1")?;
    let left = one.layout().clone();
    drop(one);
    assert_eq!(leftovers(&left)?, Vec::<String>::new());
    // The other one does not notice.
    other.wait_for_api_server()?;
    other.machine("worker-1")?.run(&["systemctl", "is-active", "containerd.service"])?;
    for process in PROCESSES {
        assert!(runs(other.layout(), process)?, "{process} of the other lab does not run any more");
    }
    other.signal_process("kube-scheduler", Signal::KILL)?;
    wait_until("the overview to say that a killed process has ended", Duration::from_secs(10), || {
        match runs(other.layout(), "kube-scheduler") {
            Ok(false) => Ok(()),
            Ok(true) => Err("it runs".to_owned()),
            Err(failure) => Err(format!("{failure:?}")),
        }
    })?;
    let left = other.layout().clone();
    remove(left.name())?;
    assert_eq!(leftovers(&left)?, Vec::<String>::new());
    Ok(())
}

fn runs(layout: &Layout, name: &str) -> Result<bool, Failed> {
    let overview = Overview::of(layout)?;
    let process = overview.processes.into_iter().find(|process| process.name == name);
    Ok(process.ok_or_else(|| format!("{name} is not in the overview"))?.running)
}

/// Everything on the host that bears the lab's name.
pub fn leftovers(layout: &Layout) -> Result<Vec<String>, Failed> {
    let mut found = Vec::new();
    if layout.folder().exists() {
        found.push(layout.folder().display().to_string());
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let below = format!("{}/", layout.folder().display());
    found.extend(mounts.lines().filter(|line| line.contains(&below)).map(str::to_owned));
    for hierarchy in cgroups::hierarchies()? {
        let cgroup = hierarchy.mount_point.join(layout.cgroup_root());
        if cgroup.exists() {
            found.push(cgroup.display().to_string());
        }
    }
    let prefix = layout.network_namespace("");
    for namespace in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = namespace.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            found.push(name);
        }
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&command).replace('\0', " ");
        let cgroups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let inside = format!("{}/", layout.cgroup_root());
        // One that has ended and is not reaped has no words; that is for its parent to do.
        let is_there = !words.is_empty();
        if is_there && (words.contains(&inside) || words.contains(&below) || cgroups.contains(&inside)) {
            found.push(words);
        }
    }
    Ok(found)
}
