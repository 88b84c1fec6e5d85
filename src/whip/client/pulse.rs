//! Does the server still listen? Judged by its RTCP, while we send.
//!
//! A killed server's silence takes WebRTC libraries 22 to 31 s to notice by ICE consent alone.

use std::time::{Duration, Instant};

/// Silence shorter than this is never held against a server.
const LEAST: Duration = Duration::from_secs(4);
/// Nor is longer patience than this given.
const MOST: Duration = Duration::from_secs(30);
/// So many intervals tell what is usual.
const TELLING: u32 = 3;
/// Until then: longer than RFC 3550's least interval gets by its jitter (5 s by 1.5, §6.3.1).
const YOUNG: Duration = Duration::from_secs(8);
/// After a single report, which tells nothing of when another is due.
const UNTOLD: Duration = Duration::from_secs(15);
/// Reports of audio and video that come together count once.
const TOGETHER: Duration = Duration::from_millis(20);
/// Silence shorter than this raises no doubt.
const DOUBT: Duration = Duration::from_secs(1);
/// Nor is it long.
const LONG: Duration = Duration::from_millis(1_500);
/// Media that pauses longer than this does not flow; a server may then be silent.
const PAUSE: Duration = Duration::from_secs(2);

/// How much silence, measured by what is usual; less than counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// A report is overdue.
    Late,
    /// One is missing.
    Long,
    /// Two are.
    Doubtful,
}

/// The RTCP of one session.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    /// The usual time between reports, and how many intervals say so.
    usual: Duration,
    intervals: u32,
    last: Option<Instant>,
    sending_since: Option<Instant>,
    last_sent: Option<Instant>,
}

impl Pulse {
    pub(super) const fn new() -> Self {
        Pulse { usual: Duration::ZERO, intervals: 0, last: None, sending_since: None, last_sent: None }
    }

    /// RTCP came.
    pub(super) fn feedback(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let interval = now.saturating_duration_since(last);
            if interval < TOGETHER {
                return;
            }
            let interval = interval.min(MOST);
            self.usual = if self.intervals == 0 { interval } else { (self.usual * 7 + interval) / 8 };
            self.intervals = self.intervals.saturating_add(1);
        }
        self.last = Some(now);
    }

    /// Media went out.
    pub(super) fn sent(&mut self, now: Instant) {
        if !self.flows(now) {
            self.sending_since = Some(now);
        }
        self.last_sent = Some(now);
    }

    /// How long it may be silent: three usual intervals, at least 4 s; longer while it is not known what is usual.
    pub(super) fn patience(&self) -> Duration {
        match self.intervals {
            0 => UNTOLD,
            1..TELLING => (self.usual * 3).clamp(YOUNG, MOST),
            TELLING.. => (self.usual * 3).clamp(LEAST, MOST),
        }
    }

    /// When silence is judged; none before the first RTCP, nor while no media flows.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let since = self.last?.max(self.sending_since?);
        self.flows(now).then(|| since + self.patience())
    }

    /// When its silence is, or will be, such; none while it is not known what is usual, nor while no media flows.
    pub(super) fn silent_at(&self, silence: Silence, now: Instant) -> Option<Instant> {
        let since = self.last?.max(self.sending_since?);
        let least = match silence {
            Silence::Late => (self.usual * 3 / 2).max(DOUBT),
            Silence::Long => (self.usual * 2).max(LONG),
            Silence::Doubtful => (self.usual * 3).max(DOUBT),
        };
        (self.intervals >= TELLING && self.flows(now)).then(|| since + least)
    }

    /// The usual time between reports; zero as long as that is not known.
    pub(super) const fn usual(&self) -> Duration {
        self.usual
    }

    fn flows(&self, now: Instant) -> bool {
        self.last_sent.is_some_and(|sent| now.saturating_duration_since(sent) <= PAUSE)
    }
}
