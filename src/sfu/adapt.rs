//! Which layer of the picture one viewer is shown, as far as nobody chose: down at once where the way is too narrow, up one
//! layer at a time after a trial with padding, half a second of it, and seldom where trials fail, or what they brought.

use std::time::{Duration, Instant};

use super::estimate::Judged;

/// A layer fits when this share of it on top fits too: rates are averages.
const MARGIN: f64 = 1.05;
/// The first wait before a trial of more, and the longest; each failed trial doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(4);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// How long a trial sends as much as the next layer would: long enough for a whole window of feedback that has a queue from
/// its beginning, and no longer, for what is too much is lost in the end.
const TRIAL: Duration = Duration::from_millis(500);
/// What a trial did to the way is known so much later: a round trip, and the queue that it may have made.
const ECHO: Duration = Duration::from_millis(400);
/// A layer that had to be left again so soon was taken by mistake: its trial counts as failed.
const PROVEN: Duration = Duration::from_secs(20);
/// A change needs so long to show: a keyframe, a round trip, and the queue that empties.
const SETTLES: Duration = Duration::from_millis(1_500);
/// Congestion at the lowest layer for so long: not even that fits.
const PATIENCE: Duration = Duration::from_secs(3);
/// And even so only where less than this share of it arrived meanwhile: others may fill the way as well, and what is lost of
/// a tenth can be sent again.
const STARVED: f64 = 0.9;
/// Bits a second of one sound.
const SOUND: f64 = 100_000.0;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Stay,
    /// This layer from its next keyframe on.
    Show(u8),
    /// No picture for now; the sound goes on.
    Pause,
    /// Send so many bits a second until then, padding where the picture is less.
    Try(f64, Instant),
}

/// One viewer's.
#[derive(Clone, Debug)]
pub(super) struct Adapt {
    /// Shown, or to be shown.
    layer: u8,
    paused: bool,
    /// Nothing is judged before: a change has to settle.
    settles_at: Option<Instant>,
    congested: Option<Stretch>,
    /// What a trial is for, and when it ends.
    trial: Option<(Option<u8>, Instant)>,
    wait: Duration,
    try_at: Option<Instant>,
    /// When a trial last brought a better layer.
    raised: Option<Instant>,
}

/// Windows one after the other that were all congested.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    since: Instant,
    windows: u32,
    /// The sum of their rates.
    arrived: f64,
}

impl Default for Adapt {
    fn default() -> Adapt {
        Adapt {
            layer: 0,
            paused: false,
            settles_at: None,
            congested: None,
            trial: None,
            wait: FIRST_WAIT,
            try_at: None,
            raised: None,
        }
    }
}

impl Adapt {
    /// The layer to show.
    pub(super) fn layer(&self) -> u8 {
        self.layer
    }

    /// Not even the lowest layer fits.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// One window was judged. `rates` are the bits a second of the layers, the best one first, 0 for those that bring
    /// nothing now; `limit` is what may be sent, if a limit is to be seen.
    pub(super) fn judge(
        &mut self,
        judged: Judged,
        limit: Option<f64>,
        rates: &[f64],
        now: Instant,
    ) -> Verdict {
        let live = |layer: u8| rates.get(usize::from(layer)).is_some_and(|rate| *rate > 0.0);
        let rate = |layer: u8| rates.get(usize::from(layer)).copied().unwrap_or(0.0);
        let layers = (0..rates.len().min(8) as u8).filter(|layer| live(*layer));
        let Some(lowest) = layers.clone().next_back() else { return Verdict::Stay };
        self.congested = judged.congested.then(|| {
            let before = self.congested.unwrap_or(Stretch { since: now, windows: 0, arrived: 0.0 });
            Stretch { windows: before.windows + 1, arrived: before.arrived + judged.arrived, ..before }
        });
        if let Some((_, ends)) = self.trial.filter(|_| judged.congested || judged.lossy) {
            // More did not fit. The queue is the trial's own: give it time to empty.
            self.trial = None;
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
            self.try_at = Some(now + self.wait);
            self.settles_at = Some(ends.max(now) + SETTLES);
            return Verdict::Try(0.0, now);
        }
        if self.settles_at.is_some_and(|at| now < at) {
            return Verdict::Stay;
        }
        if let Some((wanted, ends)) = self.trial {
            if now < ends + ECHO {
                return Verdict::Stay;
            }
            self.trial = None;
            self.try_at = Some(now + FIRST_WAIT);
            self.raised = Some(now);
            self.settles_at = Some(now + SETTLES);
            return match wanted {
                Some(layer) => self.show(layer),
                None => self.show(lowest),
            };
        }
        if self.paused {
            return self.try_more(None, rate(lowest), now);
        }
        let fits = |layer: u8| limit.is_none_or(|limit| rate(layer) + SOUND <= limit);
        // Where its own brings nothing, the viewer sees the next lower one, and its own again as soon as that is back.
        let shown = layers.clone().find(|layer| *layer >= self.layer).unwrap_or(lowest);
        if judged.congested && !fits(shown) {
            let lower = layers.clone().filter(|layer| *layer > shown).find(|layer| fits(*layer));
            if let Some(layer) = lower.or(Some(lowest).filter(|lowest| *lowest > shown)) {
                let too_soon = |raised: Instant| now.saturating_duration_since(raised) < PROVEN;
                self.wait = match self.raised.take() {
                    Some(raised) if too_soon(raised) => (self.wait * 2).min(LONGEST_WAIT),
                    Some(_) => FIRST_WAIT,
                    None => self.wait,
                };
                self.settles_at = Some(now + SETTLES);
                self.try_at = Some(now + self.wait);
                self.congested = None;
                return self.show(layer);
            }
            let starved = |stretch: Stretch| {
                let long = now.saturating_duration_since(stretch.since) >= PATIENCE;
                long && stretch.arrived / f64::from(stretch.windows) < rate(lowest) * STARVED
            };
            if self.congested.is_some_and(starved) {
                self.paused = true;
                self.try_at = Some(now + self.wait);
                self.settles_at = Some(now + SETTLES);
                return Verdict::Pause;
            }
            return Verdict::Stay;
        }
        let better = layers.clone().rfind(|layer| *layer < shown);
        match better {
            Some(better) if !judged.congested => self.try_more(Some(better), rate(better), now),
            _ => Verdict::Stay,
        }
    }

    fn show(&mut self, layer: u8) -> Verdict {
        self.layer = layer;
        self.paused = false;
        Verdict::Show(layer)
    }

    fn try_more(&mut self, wanted: Option<u8>, rate: f64, now: Instant) -> Verdict {
        if self.try_at.is_some_and(|at| now < at) {
            return Verdict::Stay;
        }
        let ends = now + TRIAL;
        self.trial = Some((wanted, ends));
        Verdict::Try((rate + SOUND) * MARGIN, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [f64; 3] = [3e6, 1e6, 3e5];

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Judges five windows a second for so long; what was decided.
    fn live(
        adapt: &mut Adapt,
        at: &mut Instant,
        seconds: u64,
        judged: Judged,
        limit: Option<f64>,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..seconds * 5 {
            *at += Duration::from_millis(200);
            let verdict = adapt.judge(judged, limit, &RATES, *at);
            if verdict != Verdict::Stay {
                verdicts.push(verdict);
            }
        }
        verdicts
    }

    #[test]
    fn down_at_once_and_up_after_a_trial() {
        let (mut adapt, mut at) = (Adapt::default(), start());
        let calm = Judged { congested: false, lossy: false, arrived: 3e6 };
        assert_eq!(live(&mut adapt, &mut at, 30, calm, None), []);
        let full = Judged { congested: true, lossy: false, arrived: 1.5e6 };
        assert_eq!(adapt.judge(full, Some(1.3e6), &RATES, at), Verdict::Show(1));
        assert_eq!(live(&mut adapt, &mut at, 1, full, Some(1.3e6)), [], "it settles");
        let verdicts = live(
            &mut adapt,
            &mut at,
            10,
            Judged { congested: false, lossy: false, arrived: 1e6 },
            Some(1.3e6),
        );
        assert!(
            matches!(verdicts[..2], [Verdict::Try(bits, _), Verdict::Show(0)] if bits > 3.2e6),
            "{verdicts:?}"
        );
    }

    #[test]
    fn a_trial_is_judged_by_what_is_known_after_it() {
        let (mut adapt, mut at) = (Adapt::default(), start());
        let full = Judged { congested: true, lossy: false, arrived: 1.5e6 };
        let calm = Judged { congested: false, lossy: false, arrived: 1e6 };
        assert_eq!(adapt.judge(full, Some(1.3e6), &RATES, at), Verdict::Show(1));
        while !matches!(adapt.judge(calm, Some(1.3e6), &RATES, at), Verdict::Try(..)) {
            at += Duration::from_millis(100);
        }
        at += TRIAL + Duration::from_millis(200);
        assert_eq!(adapt.judge(calm, Some(1.3e6), &RATES, at), Verdict::Stay, "its end is not heard of yet");
        at += Duration::from_millis(100);
        assert_eq!(adapt.judge(full, Some(1.3e6), &RATES, at), Verdict::Try(0.0, at), "it failed");
        assert_eq!((adapt.layer(), adapt.wait), (1, FIRST_WAIT * 2));
    }

    #[test]
    fn a_layer_that_had_to_be_left_again_is_tried_seldom() {
        let (mut adapt, mut at) = (Adapt::default(), start());
        let began = at;
        let mut shown = Vec::new();
        // It passes every trial, and is too much half a second later.
        for _ in 0..300 * 5 {
            at += Duration::from_millis(200);
            let full = adapt.layer() == 0;
            let judged = Judged { congested: full, lossy: false, arrived: 1.5e6 };
            if adapt.judge(judged, Some(1.3e6), &RATES, at) == Verdict::Show(0) {
                shown.push((at - began).as_secs());
            }
        }
        assert!((4..=8).contains(&shown.len()), "{shown:?}");
        assert!(shown.windows(2).last().is_some_and(|pair| pair[1] - pair[0] > 60), "{shown:?}");
    }

    #[test]
    fn failed_trials_become_seldom() {
        let (mut adapt, mut at) = (Adapt::default(), start());
        let full = Judged { congested: true, lossy: false, arrived: 1.5e6 };
        assert_eq!(adapt.judge(full, Some(1.3e6), &RATES, at), Verdict::Show(1));
        let mut tried = Vec::new();
        let began = at;
        for _ in 0..300 * 5 {
            at += Duration::from_millis(200);
            let trying = adapt.trial.is_some();
            let judged = Judged { congested: false, lossy: trying, arrived: 1e6 };
            match adapt.judge(judged, Some(1.3e6), &RATES, at) {
                Verdict::Try(bits, _) if bits > 0.0 => tried.push((at - began).as_secs()),
                Verdict::Try(..) | Verdict::Stay => {}
                other => panic!("{other:?} at {:?}", at - began),
            }
        }
        let gaps: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.windows(2).all(|pair| pair[1] + 2 > pair[0]) && gaps[0] >= 8 && *gaps.last().unwrap() >= 60,
            "{tried:?}"
        );
    }

    #[test]
    fn the_picture_stops_where_not_even_the_lowest_fits_and_comes_back() {
        let (mut adapt, mut at) = (Adapt::default(), start());
        let full = Judged { congested: true, lossy: false, arrived: 1e5 };
        let verdicts = live(&mut adapt, &mut at, 6, full, Some(8e4));
        assert_eq!(verdicts, [Verdict::Show(2), Verdict::Pause]);
        assert!(adapt.is_paused());
        let verdicts =
            live(&mut adapt, &mut at, 10, Judged { congested: false, lossy: false, arrived: 5e4 }, Some(1e5));
        assert!(matches!(verdicts[..2], [Verdict::Try(..), Verdict::Show(2)]), "{verdicts:?}");
    }

    #[test]
    fn what_arrives_but_in_part_is_too_little_and_one_short_window_is_not() {
        for (arrived, expected) in [([2.4e6, 2.6e6], &[Verdict::Pause][..]), ([2.9e6, 2.6e6], &[])] {
            let (mut adapt, mut at) = (Adapt::default(), start());
            let mut verdicts = Vec::new();
            for n in 0..20 {
                at += Duration::from_millis(200);
                let full = Judged { congested: true, lossy: false, arrived: arrived[n % 2] };
                verdicts.push(adapt.judge(full, Some(2e6), &RATES[..1], at));
            }
            verdicts.retain(|verdict| *verdict != Verdict::Stay);
            assert_eq!(verdicts, expected, "{arrived:?}");
        }
    }

    #[test]
    fn one_layer_alone_is_never_left_but_for_nothing() {
        let (mut adapt, at) = (Adapt::default(), start());
        let full = Judged { congested: true, lossy: false, arrived: 2.9e6 };
        for n in 0..100 {
            let at = at + Duration::from_millis(200 * n);
            assert_eq!(adapt.judge(full, Some(2.4e6), &RATES[..1], at), Verdict::Stay);
        }
    }
}
