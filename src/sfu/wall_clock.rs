//! The wall clock as this host has it now, beside the one that sender reports go by.
//!
//! str0m reads the wall clock once and counts on from there, so sender reports know nothing of what NTP does later. The
//! capture time of a frame is to be true, so it goes by the present clock, and says how far that is ahead of the reports'.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// From NTP's first second to Unix's (RFC 5905 §6).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Two moments, each on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    /// When sender reports' clock was read.
    reports: (Instant, SystemTime),
    /// When this host's was last read.
    host: (Instant, SystemTime),
}

/// When a frame was captured, as abs-capture-time says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CaptureTime {
    /// On this host's wall clock, or on that of whoever captured it.
    pub(super) at: SystemTime,
    /// Seconds by which that clock is ahead of the one in sender reports.
    pub(super) ahead: f64,
}

impl WallClock {
    /// Both clocks are the same yet.
    pub(super) fn new(moment: (Instant, SystemTime)) -> WallClock {
        WallClock { reports: moment, host: moment }
    }

    /// This host's clock was read again.
    pub(super) fn read(&mut self, moment: (Instant, SystemTime)) {
        self.host = moment;
    }

    /// Now by the clock of sender reports, which is never set.
    pub(super) fn reported(&self, now: Instant) -> Option<SystemTime> {
        on(self.reports, now)
    }

    /// What a frame says that was captured at `captured`; none where the clocks are out of all bounds.
    pub(super) fn capture_time(&self, captured: Instant) -> Option<CaptureTime> {
        self.as_told(on(self.host, captured)?, captured)
    }

    /// The same where whoever captured it says by its own clock when that was.
    pub(super) fn as_told(&self, at: SystemTime, captured: Instant) -> Option<CaptureTime> {
        let ahead = match at.duration_since(on(self.reports, captured)?) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        };
        Some(CaptureTime { at, ahead })
    }
}

/// A wall clock's time as NTP has it, 32 bits of seconds and 32 below.
pub(super) fn ntp(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs() + NTP_TO_UNIX) << 32 | fraction
}

/// The wall clock at `instant`, counted from a moment on both.
fn on((moment, wall): (Instant, SystemTime), instant: Instant) -> Option<SystemTime> {
    match instant.checked_duration_since(moment) {
        Some(later) => wall.checked_add(later),
        None => wall.checked_sub(moment.saturating_duration_since(instant)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary moment to count from")]
    fn a_step_of_the_clock_is_followed_and_told() {
        let (t0, wall) = (Instant::now(), SystemTime::now());
        let after = |ms| Duration::from_millis(ms);
        let mut clock = WallClock::new((t0, wall));
        assert_eq!(
            clock.capture_time(t0 + after(500)),
            Some(CaptureTime { at: wall + after(500), ahead: 0.0 })
        );
        for (step, ahead) in [(3_600_000_i64, 3_600.0), (-250, -0.25)] {
            let by = after((1_000 + step).unsigned_abs());
            let stepped = if step < -1_000 { wall - by } else { wall + by };
            clock.read((t0 + after(1_000), stepped));
            let told = clock.capture_time(t0 + after(900)).unwrap();
            assert_eq!(told.at, stepped - after(100));
            assert!((told.ahead - ahead).abs() < 1e-6, "{told:?}");
        }
    }
}
