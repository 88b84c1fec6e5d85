//! What outputs that connect, or open files, by themselves have in common: when the next attempt is due, and what is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::{Orders, Report};
use crate::engine::webrtc::TransportStats;
use crate::media::Backoff;
use crate::whip::client::Phase;

/// How often an output looks at what it made.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// A connection that held so long was one.
pub(super) const HELD: Duration = Duration::from_secs(5);
/// The first wait after a failure, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// One output's attempts, and what is known of them.
pub(super) struct Attempts {
    name: String,
    shown: Arc<ArcSwap<Report>>,
    report: Report,
    retry: Option<Instant>,
    backoff: Backoff,
    carried: TransportStats,
}

impl Attempts {
    /// `seed` moves the waits.
    pub(super) fn new(name: &str, seed: u64, orders: &Orders) -> Attempts {
        let [first, longest] = WAITS;
        Attempts {
            name: name.to_owned(),
            shown: Arc::clone(&orders.shown),
            report: Report::new(Phase::Idle.as_str()),
            retry: None,
            backoff: Backoff::new(first, longest, seed),
            carried: TransportStats::default(),
        }
    }

    /// The present one holds, or somebody wants a fresh start: the next failure counts as the first.
    pub(super) const fn forgive(&mut self) {
        self.backoff.reset();
    }

    /// The next one is to be made now.
    pub(super) fn is_due(&self) -> bool {
        self.retry.is_some_and(|at| at <= now())
    }

    /// None is due any more.
    pub(super) const fn cancel(&mut self) {
        self.retry = None;
    }

    /// The counters of those that are over.
    pub(super) const fn carried(&self) -> &TransportStats {
        &self.carried
    }

    /// One is over; its counters are on top of those before.
    pub(super) const fn carry(&mut self, sum: TransportStats) {
        self.carried = sum;
    }

    /// Ended by command.
    pub(super) fn stop(&mut self) {
        self.cancel();
        self.report = Report { stats: self.carried, ..Report::new(Phase::Stopped.as_str()) };
    }

    /// There is no use in another before something else is to be carried.
    pub(super) fn refuse(&mut self, words: String) {
        tracing::warn!(output = %self.name, "{words}");
        self.cancel();
        let (reconnects, stats) = (self.report.reconnects, self.carried);
        self.report = Report { words, reconnects, stats, ..Report::new(Phase::CodecRefused.as_str()) };
    }

    /// The next one is due after a wait that grows, or after this one.
    pub(super) fn fail(&mut self, state: &'static str, words: String, wait: Option<Duration>) {
        if self.report.words != words {
            tracing::warn!(output = %self.name, "{words}");
        }
        self.retry = Some(now() + wait.unwrap_or_else(|| self.backoff.next_wait()));
        let reconnects = self.report.reconnects + 1;
        self.report = Report { words, reconnects, stats: self.carried, ..Report::new(state) };
    }

    /// Shows to others what is known, with the present one's state, words and counters if there is one.
    pub(super) fn show(&mut self, present: Option<(&'static str, String, TransportStats)>) {
        if let Some((state, words, stats)) = present {
            (self.report.state, self.report.words, self.report.stats) = (state, words, stats);
        }
        self.report.retry_at = self.retry;
        if **self.shown.load() != self.report {
            self.shown.store(Arc::new(self.report.clone()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock that attempts are made by")]
pub(super) fn now() -> Instant {
    Instant::now()
}
