//! How fast a sound card's clock runs against the system's, and how far its sound is stretched to follow.

/// Errors are judged over this time, in seconds, by the least of them: a busy machine makes a block late, never early.
const WINDOW: f64 = 0.25;

/// Beyond this many seconds samples were lost, or are too many; no stretching mends that in time.
const JUMP: f64 = 0.04;

/// The loop's natural frequency in rad/s at first. A card that suddenly runs 5,000 ppm off is 4 ms out of step at most then:
/// the peak is the offset divided by the frequency and by e.
const FAST: f64 = 0.5;

/// The same in the end: what the clock of a driver wavers by is not followed.
const SLOW: f64 = 0.06;

/// From one to the other it becomes half as fast, a third and so on, each time in so many seconds.
const SETTLING: f64 = 8.0;

/// An error of so many seconds begins that anew.
const UNSETTLING: f64 = 0.003;

/// Clocks that are further off than this are broken, and a stretch beyond it is heard.
const MOST: f64 = 0.01;

/// Follows one card. Pure: what it knows of time is what it is told.
///
/// A second-order loop with a damping of one. It is fed with how far the sound that was put out lags behind the time at
/// which the card captured it, and says how many samples to make of one.
#[derive(Clone, Debug)]
pub(super) struct Drift {
    /// The stretch that fits the card's clock, less one.
    slope: f64,
    /// The stretch in force.
    ratio: f64,
    /// Seconds in the window so far, and the least error in it.
    span: f64,
    least: f64,
    /// Seconds since it was last unsettled.
    settled: f64,
}

/// What no stretch mends. In seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Jump {
    /// The card lost sound.
    Lost(f64),
    /// It brought more than there was time for.
    Surplus(f64),
}

impl Default for Drift {
    fn default() -> Self {
        Drift { slope: 0.0, ratio: 1.0, span: 0.0, least: f64::INFINITY, settled: 0.0 }
    }
}

impl Drift {
    /// A block of `span` seconds was put out, and the card captured its end `error` seconds later than where it lies.
    pub(super) fn observe(&mut self, span: f64, error: f64) -> Option<Jump> {
        self.least = self.least.min(error);
        self.span += span;
        if self.span < WINDOW {
            return None;
        }
        let (span, error) = (self.span, self.least);
        self.begin_window();
        if error.abs() > JUMP {
            return Some(if error > 0.0 { Jump::Lost(error) } else { Jump::Surplus(-error) });
        }
        self.settled = if error.abs() > UNSETTLING { 0.0 } else { self.settled + span };
        let frequency = (FAST / (1.0 + self.settled / SETTLING)).max(SLOW);
        self.slope = (self.slope + frequency * frequency * error * span).clamp(-MOST, MOST);
        self.ratio = 1.0 + (self.slope + 2.0 * frequency * error).clamp(-MOST, MOST);
        None
    }

    /// The errors of the present window mean nothing any more: what was put out was moved.
    pub(super) fn begin_window(&mut self) {
        (self.span, self.least) = (0.0, f64::INFINITY);
    }

    /// How many samples to make of one.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// By how many millionths the card's clock is too fast.
    pub(super) fn ppm(&self) -> f64 {
        (1.0 / (1.0 + self.slope) - 1.0) * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jitter that is never early, the same at every run.
    struct Jitter(u64);

    impl Jitter {
        fn next(&mut self, most: f64) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f64 / (1_u64 << 24) as f64 * most
        }
    }

    /// Runs a card that is `ppm(t)` too fast for so many seconds; gives the largest error after `after` seconds and where
    /// the estimate ended.
    fn run(seconds: f64, after: f64, late: f64, ppm: impl Fn(f64) -> f64) -> (f64, f64) {
        let (mut drift, mut jitter) = (Drift::default(), Jitter(7));
        let (mut now, mut put_out, mut worst) = (0.0, 0.0, 0.0_f64);
        while now < seconds {
            // A block of 10 ms by the card's clock.
            now += 0.01 / (1.0 + ppm(now) * 1e-6);
            put_out += 0.01 * drift.ratio();
            let error: f64 = now - put_out;
            if now > after {
                worst = worst.max(error.abs());
            }
            assert_eq!(drift.observe(0.01, error + jitter.next(late)), None, "a jump at {now} s");
        }
        (worst, drift.ppm())
    }

    #[test]
    fn a_card_that_runs_off_is_followed() {
        for ppm in [-5_000.0, -200.0, 0.0, 37.0, 5_000.0] {
            let (worst, found) = run(300.0, 0.0, 0.0, |_| ppm);
            assert!(worst < 0.006, "{ppm} ppm: {:.2} ms out of step", worst * 1e3);
            let (late, _) = run(300.0, 120.0, 0.0, |_| ppm);
            assert!(late < 0.000_1, "{ppm} ppm: still {:.2} ms out of step", late * 1e3);
            assert!((found - ppm).abs() < 2.0, "{ppm} ppm were taken for {found:.1}");
        }
    }

    #[test]
    fn a_clock_that_changes_is_followed_again() {
        let steps = |now: f64| {
            if now < 100.0 {
                2_000.0
            } else if now < 200.0 {
                -3_000.0
            } else {
                0.0
            }
        };
        let (worst, found) = run(400.0, 0.0, 0.0, steps);
        assert!(worst < 0.010, "{:.2} ms out of step", worst * 1e3);
        assert!(found.abs() < 2.0, "{found:.1} ppm");
    }

    #[test]
    fn late_blocks_of_a_busy_machine_are_no_drift() {
        let (worst, found) = run(600.0, 20.0, 0.03, |_| 50.0);
        // The least of 25 errors of up to 30 ms each is about 1 ms: that much is taken for the card's own delay.
        assert!(worst < 0.005, "{:.2} ms out of step", worst * 1e3);
        assert!((found - 50.0).abs() < 100.0, "{found:.1} ppm");
    }

    #[test]
    fn what_was_lost_and_what_is_too_much_is_told_once_and_only_when_it_lasts() {
        let mut drift = Drift::default();
        let mut told = Vec::new();
        for block in 0..200 {
            // Block 50 is late for itself only; from block 100 on, 100 ms are missing.
            let error = if block == 50 || block >= 100 { 0.1 } else { 0.0 };
            if let Some(jump) = drift.observe(0.01, error) {
                told.push((block, jump));
                break;
            }
        }
        let [(block, Jump::Lost(lost))] = told[..] else { panic!("{told:?}") };
        assert!((124..=150).contains(&block) && (lost - 0.1).abs() < 1e-9, "{told:?}");
        let surplus = (0..50).find_map(|_| drift.observe(0.01, -0.2));
        assert_eq!(surplus, Some(Jump::Surplus(0.2)));
    }
}
