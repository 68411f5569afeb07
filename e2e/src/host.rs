//! The host on which something was measured, for the pages that say what was measured.

/// What it is: processor, cores, memory, kernel.
pub fn description() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim_start_matches([' ', '\t', ':']).trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kibibytes: u64 = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!(
        "{} ({cores} cores), {} GiB of memory, Linux {}",
        after(&read("/proc/cpuinfo"), "model name"),
        kibibytes / 1024 / 1024,
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// The day, by the host's clock.
pub fn today() -> String {
    k8s_openapi::jiff::Zoned::now().date().to_string()
}
