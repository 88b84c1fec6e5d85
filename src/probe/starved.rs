//! How long a process had to wait for a core: on a busy box what is slow looks hung, and is not.

use std::path::PathBuf;
use std::time::Duration;

/// The longest that any thread of a process waited for a core since it began, by the kernel's count
/// (`/proc/PID/task/TID/schedstat`, second field, nanoseconds); zero where the kernel does not count.
pub(super) fn starved(process: &str) -> Duration {
    let waited = |task: PathBuf| -> Option<u64> {
        std::fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().nth(1)?.parse().ok()
    };
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    Duration::from_nanos(tasks.filter_map(|task| waited(task.path())).max().unwrap_or(0))
}
