//! Whether everything that must answer does: what decides on feeding the supervisor's watchdog. Pure.

use std::time::Duration;

use crate::lifecycle::Phase;

/// How long the SFU's thread may leave its figures as they are. It tells new ones four times a second.
const SFU_SILENCE: Duration = Duration::from_secs(5);

/// How long the capture may do nothing at all, not even fail. Its own timers act after ten seconds, and wait for five at most.
const CAPTURE_SILENCE: Duration = Duration::from_secs(40);

/// The loop looks ten times a second. A longer pause means that nothing of this process ran, so nobody was silent.
const PAUSE: Duration = Duration::from_secs(1);

/// What shows that the parts of the daemon move. That the loop does is shown by asking at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs {
    /// How often the SFU's thread told new figures; none without an SFU.
    pub(super) sfu: Option<u64>,
    /// Where the capture is in its life.
    pub(super) capture: Phase,
    /// Its rebuilds and frames.
    pub(super) captured: (u64, u64),
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well, and it is time to say so.
    Feed,
    /// It was said a moment ago.
    Later,
    /// This does not answer, so nothing is said.
    Starve(&'static str),
}

/// Something that must change now and then.
#[derive(Debug)]
struct Pulse<T> {
    seen: T,
    since: Duration,
}

impl<T: PartialEq> Pulse<T> {
    /// For how long it has been the same.
    fn silence(&mut self, now: Duration, sign: T, at_rest: bool) -> Duration {
        if self.seen != sign || at_rest {
            (self.seen, self.since) = (sign, now);
        }
        now.saturating_sub(self.since)
    }
}

/// Remembers who moved when.
#[derive(Debug)]
pub(super) struct Watchdog {
    every: Duration,
    fed: Option<Duration>,
    looked: Duration,
    sfu: Pulse<Option<u64>>,
    capture: Pulse<(Phase, (u64, u64))>,
}

impl Watchdog {
    /// Feeds it well within `limit`, the time after which it bites.
    pub(super) fn new(limit: Duration, now: Duration) -> Watchdog {
        Watchdog {
            every: limit / 4,
            fed: None,
            looked: now,
            sfu: Pulse { seen: None, since: now },
            capture: Pulse { seen: (Phase::Stopped, (0, 0)), since: now },
        }
    }

    /// To be asked at each turn of the daemon's loop.
    pub(super) fn look(&mut self, now: Duration, signs: Signs) -> Verdict {
        let pause = now.saturating_sub(self.looked);
        if pause > PAUSE {
            self.sfu.since += pause;
            self.capture.since += pause;
        }
        self.looked = now;
        let resting = matches!(signs.capture, Phase::Stopped | Phase::WaitingForDevice | Phase::Failed);
        let capture = self.capture.silence(now, (signs.capture, signs.captured), resting);
        if self.sfu.silence(now, signs.sfu, signs.sfu.is_none()) > SFU_SILENCE {
            return Verdict::Starve("the SFU's thread");
        }
        if capture > CAPTURE_SILENCE {
            return Verdict::Starve("the capture");
        }
        if self.fed.is_some_and(|fed| now < fed + self.every) {
            return Verdict::Later;
        }
        self.fed = Some(now);
        Verdict::Feed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks every 100 ms from `from` until `to`; what was said other than `Later`, and when.
    fn watch(
        watchdog: &mut Watchdog,
        from: u64,
        to: u64,
        signs: impl Fn(u64) -> Signs,
    ) -> Vec<(u64, Verdict)> {
        (from..=to)
            .step_by(100)
            .map(|now| (now, watchdog.look(ms(now), signs(now))))
            .filter(|(_, verdict)| *verdict != Verdict::Later)
            .collect()
    }

    /// Everything moves.
    fn lively(now: u64) -> Signs {
        Signs { sfu: Some(now / 250), capture: Phase::Running, captured: (0, now / 33) }
    }

    fn starved(said: &[(u64, Verdict)]) -> Option<(u64, &'static str)> {
        said.iter().find_map(|(at, verdict)| match verdict {
            Verdict::Starve(who) => Some((*at, *who)),
            _ => None,
        })
    }

    #[test]
    fn a_lively_daemon_feeds_it_four_times_within_its_limit() {
        let said = watch(&mut Watchdog::new(LIMIT, ms(0)), 0, 10_000, lively);
        assert_eq!(said, [0, 2500, 5000, 7500, 10_000].map(|at| (at, Verdict::Feed)));
    }

    #[test]
    fn an_sfu_that_stands_still_starves_it_until_it_moves_again() {
        let mut watchdog = Watchdog::new(LIMIT, ms(0));
        let stuck = |now: u64| Signs { sfu: Some(now.min(1000) / 250), ..lively(now) };
        let said = watch(&mut watchdog, 0, 7000, stuck);
        assert_eq!(starved(&said), Some((6100, "the SFU's thread")));
        assert_eq!(watchdog.look(ms(7600), lively(7600)), Verdict::Feed);
    }

    #[test]
    fn without_an_sfu_there_is_none_to_answer() {
        let none = |now: u64| Signs { sfu: None, ..lively(now) };
        assert_eq!(starved(&watch(&mut Watchdog::new(LIMIT, ms(0)), 0, 60_000, none)), None);
    }

    #[test]
    fn a_capture_that_is_rebuilt_answers_and_one_that_does_nothing_does_not() {
        let fails = |now: u64| Signs { capture: Phase::Backoff, captured: (now / 15_000, 0), ..lively(now) };
        assert_eq!(starved(&watch(&mut Watchdog::new(LIMIT, ms(0)), 0, 300_000, fails)), None);
        let stuck = |now: u64| Signs { capture: Phase::Starting, captured: (0, 0), ..lively(now) };
        let said = watch(&mut Watchdog::new(LIMIT, ms(0)), 0, 60_000, stuck);
        assert_eq!(starved(&said), Some((40_100, "the capture")));
    }

    #[test]
    fn nobody_waits_for_frames_of_a_capture_that_is_off_or_has_no_device() {
        for phase in [Phase::Stopped, Phase::WaitingForDevice, Phase::Failed] {
            let rests = |now: u64| Signs { capture: phase, captured: (3, 99), ..lively(now) };
            let mut watchdog = Watchdog::new(LIMIT, ms(0));
            assert_eq!(starved(&watch(&mut watchdog, 0, 300_000, rests)), None, "{phase:?}");
            // Its time begins when it is wanted again.
            let wanted = |now: u64| Signs { capture: Phase::Starting, captured: (3, 99), ..lively(now) };
            let said = watch(&mut watchdog, 300_100, 360_000, wanted);
            assert_eq!(starved(&said), Some((340_200, "the capture")), "{phase:?}");
        }
    }

    #[test]
    fn a_process_that_was_stopped_and_goes_on_blames_nobody() {
        let mut watchdog = Watchdog::new(LIMIT, ms(0));
        watch(&mut watchdog, 0, 3000, lively);
        let frozen = lively(3000);
        assert_eq!(watchdog.look(ms(90_000), frozen), Verdict::Feed);
        let said = watch(&mut watchdog, 90_100, 100_000, |_| frozen);
        assert_eq!(starved(&said), Some((95_100, "the SFU's thread")), "silence counts from there");
    }
}
