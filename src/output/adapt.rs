//! How far adaptive outputs push the encoder's bitrate down, and when it may come back: a policy without a clock.
//!
//! Each adaptive output that is connected says what its way carries ([`Way`]); the narrowest one rules. Down goes it at
//! once, since every moment above the way's room fills a queue somewhere. Up goes it late and in steps: a bandwidth
//! estimate grows only as far as it is tried, and whoever comes back too fast falls again. Encoders that spend a keyframe
//! on each change are asked rarely and for larger steps: keyframes are what a narrow way can least afford.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::media::Bitrate;

/// Of an estimate, so much may be filled with media; the rest is for RTP's own bytes and for what is sent again.
const USABLE: f64 = 0.93;
/// Changes downwards follow each other no faster.
const DOWN_SPACING: Duration = Duration::from_millis(500);
/// Nor those upwards.
const UP_SPACING: Duration = Duration::from_secs(1);
/// There must have been more room for so long before it is used.
const HOLD: Duration = Duration::from_secs(2);
/// After the last step down nothing goes up for so long.
const RECOVERY: Duration = Duration::from_secs(4);
/// The most that one step goes up by.
const STEP_UP: f64 = 1.25;
/// An output that is not connected any more limits for so long: most come back.
const MEMORY: Duration = Duration::from_secs(10);

/// What an adaptive output knows of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The output's name.
    pub output: String,
    /// What the way is believed to carry.
    pub estimate: Bitrate,
    /// What goes over it besides the picture.
    pub besides: Bitrate,
}

/// What the encoder can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// No lower than this.
    pub least: Bitrate,
    /// The operator's wish; no higher than this.
    pub most: Bitrate,
    /// In force now.
    pub present: Bitrate,
    /// Where each change costs a keyframe: the time between two. Zero where it costs nothing.
    pub spacing: Duration,
}

impl Scope {
    /// A change smaller than this share is not worth making.
    const fn worth(&self) -> f64 {
        if self.spacing.is_zero() { 0.05 } else { 0.15 }
    }
}

/// The policy's memory. Times are since any fixed beginning and never go back.
#[derive(Clone, Debug, Default)]
pub struct Adapt {
    rooms: BTreeMap<String, Room>,
    changed: Option<Duration>,
    lowered: Option<Duration>,
    /// Since when there is more room than is used.
    better_since: Option<Duration>,
    limiter: Option<String>,
}

/// What an output left for the picture when it was last heard of.
#[derive(Clone, Copy, Debug)]
struct Room {
    bits: u64,
    heard: Duration,
}

impl Adapt {
    /// What the encoder is to be told now, if anything. Call it several times a second; tell it by [`Adapt::took`] when
    /// the encoder has taken the change.
    pub fn on(&mut self, now: Duration, scope: Scope, ways: &[Way]) -> Option<Bitrate> {
        for way in ways {
            let bits = (way.estimate.bits() as f64 * USABLE) as u64;
            let bits = bits.saturating_sub(way.besides.bits());
            self.rooms.insert(way.output.clone(), Room { bits, heard: now });
        }
        self.rooms.retain(|_, room| now.saturating_sub(room.heard) <= MEMORY);
        let narrowest = self.rooms.iter().min_by_key(|(_, room)| room.bits);
        let room = narrowest.map_or(u64::MAX, |(_, room)| room.bits);
        self.limiter = narrowest.filter(|_| room < scope.most.bits()).map(|(name, _)| name.clone());
        let wanted = room.clamp(scope.least.bits().min(scope.most.bits()), scope.most.bits());
        let present = scope.present.bits();
        let (share, whole) = (wanted as f64 / present.max(1) as f64, wanted == scope.most.bits());
        let low = wanted <= scope.least.bits() || whole;
        if wanted < present {
            self.better_since = None;
            let due = self.is_over(self.changed, now, scope.spacing.max(DOWN_SPACING));
            return (due && (low || share <= 1.0 - scope.worth())).then(|| round(wanted));
        }
        if wanted == present || !(whole || share >= 1.0 + scope.worth()) {
            self.better_since = None;
            return None;
        }
        let since = *self.better_since.get_or_insert(now);
        let due = now.saturating_sub(since) >= HOLD
            && self.is_over(self.lowered, now, RECOVERY)
            && self.is_over(self.changed, now, (scope.spacing * 2).max(UP_SPACING));
        due.then(|| {
            let step = (present as f64 * STEP_UP) as u64;
            if step >= wanted { if whole { scope.most } else { round(wanted) } } else { round(step) }
        })
    }

    /// The encoder went from one bitrate to another.
    pub fn took(&mut self, now: Duration, from: Bitrate, to: Bitrate) {
        self.changed = Some(now);
        if to < from {
            self.lowered = Some(now);
        }
    }

    /// The output whose way is too narrow for what the operator wishes.
    pub fn limiter(&self) -> Option<&str> {
        self.limiter.as_deref()
    }

    fn is_over(&self, since: Option<Duration>, now: Duration, span: Duration) -> bool {
        since.is_none_or(|since| now.saturating_sub(since) >= span)
    }
}

/// Whole kilobits, as people and most encoders count them.
fn round(bits: u64) -> Bitrate {
    Bitrate::from_bits((bits / 1000).max(1) * 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    fn kbit(kbit: u64) -> Bitrate {
        Bitrate::from_bits(kbit * 1000)
    }

    /// An encoder and its policy in virtual time.
    struct Rig {
        adapt: Adapt,
        scope: Scope,
        now: Duration,
        changes: Vec<(Duration, u64)>,
    }

    impl Rig {
        fn new(spacing: Duration) -> Rig {
            let scope = Scope { least: kbit(300), most: kbit(4000), present: kbit(4000), spacing };
            Rig { adapt: Adapt::default(), scope, now: Duration::from_secs(100), changes: Vec::new() }
        }

        /// The ways are as given (output, kbit/s) for this long.
        fn pass(&mut self, span: Duration, ways: &[(&str, u64)]) {
            let ways: Vec<Way> = ways
                .iter()
                .map(|(output, estimate)| Way {
                    output: (*output).to_owned(),
                    estimate: kbit(*estimate),
                    besides: kbit(100),
                })
                .collect();
            let end = self.now + span;
            while self.now < end {
                self.now += LOOK;
                if let Some(to) = self.adapt.on(self.now, self.scope, &ways) {
                    self.adapt.took(self.now, self.scope.present, to);
                    self.scope.present = to;
                    self.changes.push((self.now, to.bits() / 1000));
                }
            }
        }

        fn present(&self) -> u64 {
            self.scope.present.bits() / 1000
        }
    }

    #[test]
    fn a_narrow_way_is_followed_at_once_and_left_slowly() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(Duration::from_secs(5), &[("one", 8000)]);
        assert_eq!((rig.changes.len(), rig.adapt.limiter()), (0, None), "there is room for all");
        rig.pass(LOOK, &[("one", 1000)]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (830, Some("one")), "93 % of it less the sound");
        rig.changes.clear();
        let wide = rig.now;
        rig.pass(Duration::from_secs(3), &[("one", 8000)]);
        assert_eq!(rig.changes, [], "not within 4 s of a step down");
        rig.pass(Duration::from_secs(20), &[("one", 8000)]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (4000, None));
        assert!(rig.changes[0].0 >= wide + RECOVERY, "{:?}", rig.changes);
        for (one, next) in rig.changes.iter().zip(&rig.changes[1..]) {
            assert!(next.0 - one.0 >= UP_SPACING && next.1 * 4 <= one.1 * 5, "{:?}", rig.changes);
        }
    }

    #[test]
    fn small_swings_change_nothing() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(LOOK, &[("one", 2000)]);
        assert_eq!(rig.present(), 1760);
        rig.changes.clear();
        for estimate in [1950, 2050, 1980, 2060, 2000].repeat(10) {
            rig.pass(Duration::from_secs(1), &[("one", estimate)]);
        }
        assert_eq!(rig.changes, []);
    }

    #[test]
    fn more_room_must_last_before_it_is_used() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(Duration::from_secs(10), &[("one", 1000)]);
        rig.changes.clear();
        for _ in 0..10 {
            rig.pass(Duration::from_millis(1500), &[("one", 3000)]);
            rig.pass(Duration::from_millis(300), &[("one", 1000)]);
        }
        assert_eq!(rig.changes, [], "it never lasted for two seconds");
    }

    #[test]
    fn the_narrowest_of_several_rules_and_is_named() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(Duration::from_secs(2), &[("a", 3000), ("b", 1500), ("c", 9000)]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (1295, Some("b")));
        rig.pass(Duration::from_secs(30), &[("a", 3000), ("b", 9000), ("c", 9000)]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (2690, Some("a")));
    }

    #[test]
    fn an_output_that_is_gone_for_a_moment_still_counts() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(Duration::from_secs(5), &[("a", 1000)]);
        rig.pass(Duration::from_secs(9), &[]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (830, Some("a")));
        rig.pass(Duration::from_secs(30), &[]);
        assert_eq!((rig.present(), rig.adapt.limiter()), (4000, None), "nobody is left to be adapted to");
    }

    #[test]
    fn it_stays_within_what_is_allowed() {
        let mut rig = Rig::new(Duration::ZERO);
        rig.pass(Duration::from_secs(5), &[("a", 50)]);
        assert_eq!(rig.present(), 300, "no lower than `min_bitrate`");
        rig.scope.most = kbit(1000);
        rig.pass(Duration::from_secs(60), &[("a", 9000)]);
        assert_eq!(rig.present(), 1000, "no higher than what the operator wishes by now");
        rig.scope.most = kbit(200);
        rig.scope.least = kbit(300);
        rig.pass(Duration::from_secs(1), &[("a", 9000)]);
        assert_eq!(rig.present(), 200, "a wish below `min_bitrate` is a wish");
    }

    #[test]
    fn an_encoder_whose_changes_cost_keyframes_is_asked_rarely() {
        let spacing = Duration::from_secs(2);
        let mut rig = Rig::new(spacing);
        for estimate in [3000, 2900, 2700, 2500, 2200, 1500, 1000, 900, 950, 3000, 1000, 8000].repeat(5) {
            rig.pass(Duration::from_millis(700), &[("a", estimate)]);
        }
        assert!(rig.changes.len() > 3, "{:?}", rig.changes);
        let mut before = 4000;
        let mut last = None;
        for (at, kbit) in &rig.changes {
            assert!(last.is_none_or(|last| *at - last >= spacing), "{:?}", rig.changes);
            let share = *kbit as f64 / before as f64;
            assert!(share <= 0.851 || share >= 1.149 || *kbit == 4000, "{share} in {:?}", rig.changes);
            (before, last) = (*kbit, Some(*at));
        }
    }

    proptest! {
        #[test]
        fn whatever_ways_say_it_is_in_bounds_and_comes_back(
            estimates in prop::collection::vec((0u64..20_000, 0u64..3000), 1..60),
            spacing in 0u64..3000,
        ) {
            let mut rig = Rig::new(Duration::from_millis(spacing));
            for (estimate, millis) in estimates {
                rig.pass(Duration::from_millis(millis), &[("a", estimate)]);
                prop_assert!((300..=4000).contains(&rig.present()), "{}", rig.present());
            }
            let down = Duration::from_millis(spacing).max(DOWN_SPACING);
            for pair in rig.changes.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= down);
            }
            rig.pass(Duration::from_secs(120), &[("a", 9000)]);
            prop_assert_eq!(rig.present(), 4000);
        }
    }
}
