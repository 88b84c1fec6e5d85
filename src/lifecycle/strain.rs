//! May an encoder make the capture wait?

use std::time::Duration;

/// So many cuts in a row, and an encoder is taken to be too slow rather than held up for a moment.
const CUTS: u32 = 2;

/// What an encoder does well for so long, it does well: it blocks nobody too long, or skips no frame.
const HEALTHY: Duration = Duration::from_secs(30);

/// Of one encoder, over all its graphs. On air it may make the capture wait, until it was cut off for that again and
/// again: then it skips frames, since fewer pictures are better than none, until it has skipped none for a while.
#[derive(Clone, Debug, Default)]
pub struct Strain {
    /// Cuts in a row.
    cuts: u32,
    /// Since when the present graph may make the capture wait.
    on_air: Option<Duration>,
    /// While it skips: since when it has skipped none, and how many it has.
    skipping: Option<(Duration, u64)>,
}

/// What skipping has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipping {
    /// It still skips frames, or did a moment ago.
    Still,
    /// It keeps up again and may make the capture wait.
    Over,
}

impl Strain {
    /// A graph came on air, having skipped so many frames; true when it may make the capture wait.
    pub fn on_air(&mut self, now: Duration, skipped: u64) -> bool {
        if self.cuts < CUTS {
            self.on_air = Some(now);
            return true;
        }
        self.skipping = Some((now, skipped));
        false
    }

    /// It was cut off for making the capture wait too long. A cut after a healthy stretch is the first again.
    pub fn cut(&mut self, now: Duration) {
        if self.on_air.take().is_some_and(|since| now >= since + HEALTHY) {
            self.cuts = 0;
        }
        self.cuts = self.cuts.saturating_add(1);
    }

    /// Its graph is replaced.
    pub fn rebuilt(&mut self) {
        self.on_air = None;
        self.skipping = None;
    }

    /// Looks at how many frames it has skipped by now; none where it need not skip.
    pub fn look(&mut self, now: Duration, skipped: u64) -> Option<Skipping> {
        let (since, before) = self.skipping?;
        if skipped > before {
            self.skipping = Some((now, skipped));
        }
        if now < since + HEALTHY {
            return Some(Skipping::Still);
        }
        if skipped > before {
            return None;
        }
        *self = Strain { on_air: Some(now), ..Strain::default() };
        Some(Skipping::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn two_cuts_in_a_row_and_it_skips_until_it_keeps_up() {
        let mut strain = Strain::default();
        assert!(strain.on_air(secs(0), 0));
        strain.cut(secs(1));
        strain.rebuilt();
        assert!(strain.on_air(secs(2), 0), "once is a moment's trouble");
        strain.cut(secs(3));
        strain.rebuilt();
        assert!(!strain.on_air(secs(4), 7));
        assert_eq!(strain.look(secs(5), 9), Some(Skipping::Still));
        assert_eq!(strain.look(secs(34), 9), Some(Skipping::Still));
        assert_eq!(strain.look(secs(35), 9), Some(Skipping::Over));
        assert_eq!(strain.look(secs(36), 9), None, "it waits again, so nothing is skipped");
        strain.cut(secs(40));
        strain.rebuilt();
        assert!(strain.on_air(secs(41), 0), "counted anew");
    }

    #[test]
    fn cuts_that_lie_far_apart_are_never_two_in_a_row() {
        let mut strain = Strain::default();
        for hour in 0..24 {
            assert!(strain.on_air(secs(hour * 3600), 0), "after {hour} cuts, one an hour");
            strain.cut(secs(hour * 3600 + 1800));
            strain.rebuilt();
        }
        assert!(strain.on_air(secs(90_000), 0));
        strain.cut(secs(90_029));
        assert!(!strain.on_air(secs(90_030), 0), "two within half a minute are");
    }

    #[test]
    fn a_graph_that_failed_otherwise_is_no_cut_and_forgives_none() {
        let mut strain = Strain::default();
        assert!(strain.on_air(secs(0), 0));
        strain.cut(secs(1));
        strain.rebuilt();
        assert!(strain.on_air(secs(2), 0));
        // It broke by itself after a long time, and its successor is cut at once.
        strain.rebuilt();
        assert!(strain.on_air(secs(100), 0));
        strain.cut(secs(101));
        strain.rebuilt();
        assert!(!strain.on_air(secs(102), 0));
    }
}
