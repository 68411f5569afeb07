//! What a process of this host has used, from `/proc`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;

/// A running process.
pub struct Process {
    folder: PathBuf,
}

impl Process {
    /// The process of this id.
    pub fn new(id: Pid) -> Self {
        Self { folder: PathBuf::from(format!("/proc/{}", id.as_raw_nonzero())) }
    }

    /// A line of proc_pid_status(5) that is in KiB: `VmRSS` for the memory that it has, `VmHWM` for the most that it had.
    pub fn memory(&self, line: &str) -> anyhow::Result<u64> {
        kibibytes(&std::fs::read_to_string(self.folder.join("status"))?, line)
    }

    /// The processor time that it has taken.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(self.folder.join("stat"))?;
        let ticks = ticks(&stat).with_context(|| format!("no times in {}", self.folder.display()))?;
        Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }
}

/// A line of proc_pid_status(5) that is in KiB.
pub fn kibibytes(status: &str, line: &str) -> anyhow::Result<u64> {
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let value = value.and_then(|text| text.split_whitespace().next());
    Ok(value.with_context(|| format!("no {line} in the status of the process"))?.parse()?)
}

/// Fields 14 and 15 of proc_pid_stat(5), added up. The name before them may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    // The first of these is field 3.
    let mut times = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    times.next()??.checked_add(times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 5 0 100 1000 200";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_took_time() {
        let own = Process::new(rustix::process::getpid());
        assert!(own.memory("VmHWM").unwrap() >= own.memory("VmRSS").unwrap() / 2);
        assert!(own.processor_time().unwrap() < Duration::from_hours(1));
        assert!(own.memory("VmNothing").is_err());
    }
}
