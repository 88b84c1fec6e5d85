//! What this process costs, as the kernel counts it.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::control::ProcessState;

/// How often the kernel is asked.
const EVERY: Duration = Duration::from_secs(1);

/// The last reading.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// When, and processor time until then.
    last: Option<(Duration, Duration)>,
    shown: ProcessState,
}

impl Usage {
    /// What is known at `now`; asks the kernel once a second at most.
    pub(super) fn read(&mut self, now: Duration) -> ProcessState {
        if self.last.is_some_and(|(at, _)| now < at + EVERY) {
            return self.shown;
        }
        let Some(spent) = processor_time() else { return self.shown };
        if let Some((at, before)) = self.last {
            let passed = now.saturating_sub(at).as_secs_f64();
            self.shown.cores = spent.saturating_sub(before).as_secs_f64() / passed;
        }
        self.last = Some((now, spent));
        self.shown.memory = resident().unwrap_or(self.shown.memory);
        self.shown
    }
}

/// Of all threads, in user space and in the kernel.
fn processor_time() -> Option<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let span = |time: nix::sys::time::TimeVal| {
        let micros = u64::try_from(time.tv_sec()).ok()? * 1_000_000 + u64::try_from(time.tv_usec()).ok()?;
        Some(Duration::from_micros(micros))
    };
    Some(span(usage.user_time())? + span(usage.system_time())?)
}

/// The second field of `/proc/self/statm`, in pages (proc(5)).
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_and_the_kernel_is_asked_once_a_second() {
        let mut usage = Usage::default();
        let first = usage.read(Duration::ZERO);
        assert!(first.cores == 0.0 && first.memory > 100_000, "{first:?}");
        let spent = processor_time().unwrap();
        let mut sum = 0_u64;
        while processor_time().unwrap() < spent + Duration::from_millis(50) {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(usage.read(EVERY / 2), first);
        let busy = usage.read(EVERY).cores;
        assert!((0.05..100.0).contains(&busy), "{busy}");
    }
}
