//! How a capture device, or a stream over the network, is, from everything that is known of it.

use std::time::Duration;

use crate::media::{SourceHealth, SourceState};

/// A signal that is away for so long is not waited for with the device open: it is opened anew when it comes back.
pub const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// A source that should bring pictures and has not for so long is planned for anew: it may be another one by now.
const RETHINK_AFTER: Duration = Duration::from_secs(2);

/// What is known of the source.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// Why there is no device to capture from, where there is none.
    pub absent: Option<&'a SourceHealth>,
    /// What a look at the device found, where one was taken: `live` if nothing speaks against a picture.
    pub seen: Option<&'a SourceHealth>,
    /// The card is set to what arrives.
    pub fits: bool,
    /// Somebody has the device's buffers.
    pub taken: bool,
    /// Capcast has the device open.
    pub ours: bool,
    /// A USB link that is too slow for raw high definition, and raw high definition is captured.
    pub slow: bool,
    /// Pictures come out of the capture.
    pub flows: bool,
    /// Why they do not, in the capture's own words.
    pub trouble: &'a str,
}

/// What to call it.
pub fn judge(evidence: &Evidence<'_>) -> SourceHealth {
    if let Some(absent) = evidence.absent {
        return absent.clone();
    }
    match evidence.seen {
        Some(seen) if !seen.is_live() => return seen.clone(),
        Some(_) if !evidence.fits => return SourceHealth::of(SourceState::FormatChanging),
        _ => {}
    }
    if evidence.flows {
        return SourceHealth::of(SourceState::Live);
    }
    if evidence.taken && !evidence.ours {
        return SourceHealth::of(SourceState::Busy);
    }
    let state = if evidence.slow { SourceState::Usb2Link } else { SourceState::Stalled };
    SourceHealth::with(state, evidence.trouble)
}

/// What to call a stream that arrives over the network: `arrives` says how it is as far as arriving goes, `flows` whether
/// pictures come out of the capture, and if not, `trouble` why.
pub fn judge_stream(arrives: SourceHealth, flows: bool, trouble: &str) -> SourceHealth {
    if !arrives.is_live() || flows {
        return arrives;
    }
    let reason = match trouble {
        "" => "no picture has come out of what arrives yet".to_owned(),
        trouble => format!("no picture comes out of what arrives ({trouble})"),
    };
    SourceHealth { state: SourceState::Stalled, reason }
}

/// Whether pictures that come in this state are none of the source's: noise, or a driver's own.
pub const fn is_noise(state: SourceState) -> bool {
    matches!(
        state,
        SourceState::NoSignal
            | SourceState::NoLock
            | SourceState::OutOfRange
            | SourceState::FormatChanging
            | SourceState::Unreachable
            | SourceState::Unusable
    )
}

/// What is to be done about the device now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: it is well, or its own supervision sees to it.
    None,
    /// Let go of it, until something changes.
    Release,
    /// Take it again, as before.
    Retake,
    /// Look at the box anew, and plan with what is there now.
    Replan,
}

/// Decides what to do about a source, and when. Reads no clock: `now` counts from any fixed point.
#[derive(Clone, Debug, Default)]
pub struct Source {
    health: SourceHealth,
    /// Since when it has been in this state.
    since: Duration,
    /// When to plan anew, while waiting for a device.
    replan: Option<Duration>,
    /// Something was plugged in since the last plan.
    plugged: bool,
}

impl Source {
    /// How it is.
    pub const fn health(&self) -> &SourceHealth {
        &self.health
    }

    /// Takes in how it is now; true if that is news.
    pub fn observe(&mut self, now: Duration, health: SourceHealth) -> bool {
        if self.health.state != health.state {
            self.since = now;
            self.replan = None;
        }
        let news = self.health != health;
        self.health = health;
        news
    }

    /// A capture device was plugged in, be it this or another one.
    pub const fn plugged_in(&mut self) {
        self.plugged = true;
    }

    /// What to do at `now`. `open`: there is a capture graph. `leaving`: one is on its way out. `waiting`: the capture
    /// waits for its device. `ready`: a look at the device found nothing that speaks against a picture.
    pub fn remedy(&mut self, now: Duration, open: bool, leaving: bool, waiting: bool, ready: bool) -> Remedy {
        let away = now.saturating_sub(self.since);
        if waiting && ready && !open && !leaving {
            return Remedy::Retake;
        }
        match self.health.state {
            SourceState::Stalled if !open && !leaving && away >= RETHINK_AFTER => {
                self.replan(now, Duration::ZERO)
            }
            SourceState::Live | SourceState::Stalled | SourceState::Usb2Link | SourceState::Busy => {
                self.plugged = false;
                Remedy::None
            }
            SourceState::NoSignal
            | SourceState::NoLock
            | SourceState::OutOfRange
            | SourceState::Unreachable
            | SourceState::Unusable
                if open =>
            {
                if away >= RELEASE_AFTER {
                    Remedy::Release
                } else {
                    Remedy::None
                }
            }
            // Nothing can be set while the device is open.
            SourceState::FormatChanging if open => Remedy::Release,
            SourceState::FormatChanging if leaving => Remedy::None,
            SourceState::FormatChanging => self.replan(now, Duration::ZERO),
            SourceState::Gone | SourceState::Denied if open => Remedy::Release,
            SourceState::Gone | SourceState::Denied if leaving => Remedy::None,
            SourceState::Gone | SourceState::Denied => self.replan(now, super::LONGEST_WAIT),
            SourceState::NoSignal
            | SourceState::NoLock
            | SourceState::OutOfRange
            | SourceState::Unreachable
            | SourceState::Unusable => Remedy::None,
        }
    }

    /// At once when something was plugged in, or else `wait` after the state began or the last plan.
    fn replan(&mut self, now: Duration, wait: Duration) -> Remedy {
        let due = *self.replan.get_or_insert(now + wait);
        if now < due && !self.plugged {
            return Remedy::None;
        }
        self.plugged = false;
        // Planning takes a while; where it did not help, the next one has time.
        self.replan = Some(now + super::LONGEST_WAIT.max(wait));
        Remedy::Replan
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WELL: Evidence<'static> = Evidence {
        absent: None,
        seen: None,
        fits: true,
        taken: true,
        ours: true,
        slow: false,
        flows: true,
        trouble: "",
    };

    #[test]
    fn what_speaks_most_clearly_against_a_picture_names_the_state() {
        let seen = |state| SourceHealth::of(state);
        let (lost, live) = (seen(SourceState::NoSignal), SourceHealth::of(SourceState::Live));
        let state = |evidence: Evidence<'_>| judge(&evidence).state;
        assert_eq!(state(WELL), SourceState::Live);
        // Frames that come without a signal are noise.
        assert_eq!(state(Evidence { seen: Some(&lost), ..WELL }), SourceState::NoSignal);
        assert_eq!(state(Evidence { seen: Some(&live), fits: false, ..WELL }), SourceState::FormatChanging);
        let still = Evidence { flows: false, trouble: "no buffer for 1000 ms", ..WELL };
        assert_eq!(state(still.clone()), SourceState::Stalled);
        assert!(judge(&still).reason.contains("no buffer for 1000 ms"));
        assert_eq!(state(Evidence { slow: true, ..still.clone() }), SourceState::Usb2Link);
        assert_eq!(state(Evidence { ours: false, ..still.clone() }), SourceState::Busy);
        assert_eq!(state(Evidence { ours: false, taken: false, ..still }), SourceState::Stalled);
        let gone = seen(SourceState::Gone);
        assert_eq!(state(Evidence { absent: Some(&gone), ..WELL }), SourceState::Gone);
    }

    #[test]
    fn a_stream_is_as_it_arrives_and_live_only_once_pictures_come_out_of_it() {
        let live = || SourceHealth::of(SourceState::Live);
        let gone = SourceHealth { state: SourceState::NoSignal, reason: "no sender".to_owned() };
        assert_eq!(judge_stream(gone.clone(), true, ""), gone, "what still comes out is the rest of it");
        assert_eq!(judge_stream(live(), true, "it stalled before"), live());
        let still = judge_stream(live(), false, "no buffer for 1000 ms");
        assert_eq!(still.state, SourceState::Stalled);
        assert!(still.reason.contains("no buffer for 1000 ms"), "{still:?}");
        assert!(!judge_stream(live(), false, "").reason.is_empty());
    }

    #[test]
    fn a_signal_away_for_a_moment_costs_nothing_and_for_longer_the_device_is_released_and_taken_again() {
        let mut source = Source::default();
        let ms = Duration::from_millis;
        source.observe(ms(0), SourceHealth::of(SourceState::Live));
        assert!(source.observe(ms(100), SourceHealth::of(SourceState::NoSignal)));
        assert_eq!(source.remedy(ms(1000), true, false, false, false), Remedy::None);
        assert_eq!(source.remedy(ms(1100), true, false, false, false), Remedy::Release);
        assert_eq!(source.remedy(ms(90_000), false, false, true, false), Remedy::None);
        source.observe(ms(91_000), SourceHealth::of(SourceState::Stalled));
        assert_eq!(source.remedy(ms(91_000), false, true, true, true), Remedy::None, "not gone yet");
        assert_eq!(source.remedy(ms(91_100), false, false, true, true), Remedy::Retake);
        assert_eq!(source.remedy(ms(91_200), true, false, false, true), Remedy::None);
    }

    #[test]
    fn another_format_is_planned_for_once_the_device_is_free() {
        let mut source = Source::default();
        let ms = Duration::from_millis;
        source.observe(ms(0), SourceHealth::of(SourceState::FormatChanging));
        assert_eq!(source.remedy(ms(10), true, false, false, false), Remedy::Release);
        assert_eq!(source.remedy(ms(20), false, true, true, false), Remedy::None);
        assert_eq!(source.remedy(ms(30), false, false, true, false), Remedy::Replan);
        assert_eq!(source.remedy(ms(40), false, false, true, false), Remedy::None, "one at a time");
    }

    #[test]
    fn a_device_that_is_gone_is_looked_for_when_something_is_plugged_in_and_now_and_then() {
        let mut source = Source::default();
        let s = Duration::from_secs;
        source.observe(s(1), SourceHealth::of(SourceState::Gone));
        assert_eq!(source.remedy(s(1), false, false, true, false), Remedy::None);
        source.plugged_in();
        assert_eq!(source.remedy(s(2), false, true, true, false), Remedy::None);
        assert_eq!(source.remedy(s(2), false, false, true, false), Remedy::Replan);
        assert_eq!(source.remedy(s(3), false, false, true, false), Remedy::None);
        assert_eq!(source.remedy(s(7), false, false, true, false), Remedy::Replan);
    }

    proptest! {
        /// Whatever happens, a device that is held for nothing is released in time, one that is well is never given up,
        /// and what is missing is looked for at least every five seconds.
        #[test]
        fn nothing_is_held_for_nothing_and_nothing_is_forgotten(
            states in prop::collection::vec((0..SourceState::ALL.len(), any::<bool>(), 1_u64..3_000), 1..60)
        ) {
            let mut source = Source::default();
            let (mut open, mut now, mut last_plan) = (true, Duration::ZERO, Duration::ZERO);
            for (state, plugged, lasts) in states {
                let state = SourceState::ALL[state];
                source.observe(now, SourceHealth::of(state));
                if plugged {
                    source.plugged_in();
                }
                let until = now + Duration::from_millis(lasts);
                let began = now;
                let mut missing_since = now;
                while now < until {
                    let ready = matches!(state, SourceState::Live | SourceState::Stalled | SourceState::Busy);
                    let remedy = source.remedy(now, open, false, !open, ready);
                    match remedy {
                        Remedy::Release => {
                            prop_assert!(open && state != SourceState::Live, "{state}");
                            open = false;
                            missing_since = now;
                        }
                        Remedy::Retake => {
                            prop_assert!(!open && ready, "{state}");
                            open = true;
                        }
                        Remedy::Replan => {
                            prop_assert!(!open, "{state}");
                            last_plan = now;
                        }
                        Remedy::None => {}
                    }
                    if is_noise(state) && now > began + RELEASE_AFTER {
                        prop_assert!(!open, "{state} for {:?}", now - began);
                    }
                    if matches!(state, SourceState::Gone | SourceState::Denied) {
                        let idle = now - last_plan.max(missing_since).min(now);
                        prop_assert!(idle <= super::super::LONGEST_WAIT + Duration::from_millis(100), "{idle:?}");
                    }
                    now += Duration::from_millis(100);
                }
            }
        }
    }
}
