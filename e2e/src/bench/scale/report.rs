//! The page that tells what was measured.

use std::fmt::Write as _;

use super::{IDLE, Level};
use crate::bench::report::{count, grouped, number};

/// The page as Markdown.
pub fn markdown(levels: &[Level], kubernetes: &str) -> String {
    let mut page = format!(
        "# Scale\n\n\
         Written by `cargo xtask bench scale` on {}, in one lab with a real API server, etcd and kube-controller-manager, and \
         one controller (release build).\n\n\
         Host: {}. Kubernetes {kubernetes}.\n\n\
         The machines are stubs: each is nothing but keys, announces itself, opens the credential that was sealed to it, and \
         asks for its certificate with its own token over its own connection. Its Node is written for it, and is Ready. There \
         is no kubelet and no agent, so that these are the costs of the controller and of the cluster around it; \
         [Benchmarks](benchmarks.md) has what a join takes on a machine. All parts run on the one host and slow each other \
         down, so absolute times say little: compare the columns.\n\n",
        crate::host::today(),
        crate::host::description(),
    );
    let head: Vec<String> = levels.iter().map(|level| grouped(level.machines as u64)).collect();
    let _ = writeln!(page, "| machines | {} |\n|---|{}", head.join(" | "), "--:|".repeat(levels.len()));
    for (label, value) in ROWS {
        let cells: Vec<String> = levels.iter().map(value).collect();
        let _ = writeln!(page, "| {label} | {} |", cells.join(" | "));
    }
    let _ = write!(
        page,
        "\n## What was measured\n\n\
         - *Joined at once*: that many machines have announced themselves, then the requests for all of them are created, as \
         fast as 32 calls at a time are. The times count from the first request; a join is over when its request is Ready and \
         its token removed. The controller visits 20 requests at a time (`--concurrency`) and takes them as they come, so \
         that credentials are given out until nearly all joins are over. API server, etcd, controller and the stubs \
         share the processors.\n\
         - *Processor time* and *memory* are the controller's alone; *peak* is the most that it has had since it was started, \
         which is at the first column, or at the restart of the column before.\n\
         - *Writes* and *reads* are its API requests by the API server's audit log, without the leader's lease.\n\
         - *Idle*: {} s in which nothing happens. Kubelets report to the cluster all the time, stubs do not; what a Node's \
         status costs the controller when it changes nothing is not in it.\n\
         - *One more* joins when all the others have, by itself.\n\
         - *Started anew*: the controller is ended (SIGTERM) and started again while a request waits. The time is until that \
         request has its credential; it has read all objects by then, and what it wrote was for this one join.\n",
        IDLE.as_secs(),
    );
    page
}

type Row = (&'static str, fn(&Level) -> String);

const ROWS: &[Row] = &[
    ("joined at once", |level| grouped(level.joined as u64)),
    ("until the last had its credential", |level| seconds(level.times.credentials)),
    ("until the last was Ready", |level| seconds(level.times.ready)),
    ("joins per second", |level| format!("{:.1}", count(level.joined) / level.times.ready.as_secs_f64())),
    ("processor time per join", |level| {
        format!("{:.1} ms", level.processor_time.as_secs_f64() * 1000.0 / count(level.joined))
    }),
    ("writes per join", |level| format!("{:.1}", count(level.requests.writes) / count(level.joined))),
    ("reads per join", |level| format!("{:.1}", count(level.requests.reads) / count(level.joined))),
    ("memory afterwards", |level| mebibytes(level.memory.0)),
    ("peak memory", |level| mebibytes(level.memory.1)),
    ("idle: processor time", |level| format!("{:.0} ms", level.idle.0.as_secs_f64() * 1000.0)),
    ("idle: writes and reads", |level| format!("{} + {}", level.idle.1.writes, level.idle.1.reads)),
    ("one more: credential", |level| seconds(level.alone.credentials)),
    ("one more: Ready", |level| seconds(level.alone.ready)),
    ("started anew: credential", |level| seconds(level.restart.until_credential)),
    ("started anew: peak memory", |level| mebibytes(level.restart.peak_memory)),
    ("started anew: writes and reads", |level| {
        format!("{} + {}", level.restart.requests.writes, level.restart.requests.reads)
    }),
];

fn seconds(time: std::time::Duration) -> String {
    let digits = if time.as_secs() < 10 { 2 } else { 0 };
    format!("{:.digits$} s", time.as_secs_f64())
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{:.0} MiB", number(kibibytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Restart, Times};
    use super::*;
    use crate::bench::audit::Requests;

    #[test]
    fn a_level_is_a_column() {
        let times = Times { credentials: Duration::from_millis(1500), ready: Duration::from_secs(45) };
        let level = |machines| Level {
            machines,
            joined: 900,
            times,
            processor_time: Duration::from_secs(9),
            requests: Requests { writes: 9000, reads: 450 },
            memory: (20 * 1024, 30 * 1024),
            idle: (Duration::from_millis(12), Requests { writes: 0, reads: 3 }),
            alone: times,
            restart: Restart {
                until_credential: Duration::from_secs(2),
                peak_memory: 25 * 1024,
                requests: Requests { writes: 11, reads: 14 },
            },
        };
        let page = markdown(&[level(1000), level(10_000)], "v1.37.2");
        for line in [
            "| machines | 1,000 | 10,000 |\n|---|--:|--:|\n",
            "| joined at once | 900 | 900 |\n",
            "| joins per second | 20.0 | 20.0 |\n",
            "| processor time per join | 10.0 ms | 10.0 ms |\n",
            "| writes per join | 10.0 | 10.0 |\n",
            "| one more: credential | 1.50 s | 1.50 s |\n",
            "| until the last was Ready | 45 s | 45 s |\n",
            "| idle: writes and reads | 0 + 3 | 0 + 3 |\n",
        ] {
            assert!(page.contains(line), "{line:?} is not in:\n{page}");
        }
    }
}
