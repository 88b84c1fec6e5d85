//! Does an encoder that never makes the capture wait keep up?

use std::time::Duration;

use super::Skipping;

/// Over how long that is looked at.
const WINDOW: Duration = Duration::from_secs(5);

/// One frame in so many may be skipped: a moment's trouble of a busy machine.
const TOLERATED: u64 = 10;

/// Of one graph: what it skips of the frames that it is offered.
#[derive(Clone, Debug, Default)]
pub struct Lag {
    /// Since when, and what was skipped and offered by then.
    window: Option<(Duration, u64, u64)>,
    lags: bool,
}

impl Lag {
    /// Looks at how many frames it has skipped by now of how many that it was offered; none while there is nothing new to
    /// say.
    pub fn look(&mut self, now: Duration, skipped: u64, offered: u64) -> Option<Skipping> {
        let (since, skipped_then, offered_then) = *self.window.get_or_insert((now, skipped, offered));
        if now < since + WINDOW {
            return None;
        }
        self.window = Some((now, skipped, offered));
        let (missed, came) = (skipped - skipped_then.min(skipped), offered - offered_then.min(offered));
        let lags = missed * TOLERATED > came;
        let before = std::mem::replace(&mut self.lags, lags);
        match (before, lags) {
            (_, true) => Some(Skipping::Still),
            (true, false) => Some(Skipping::Over),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_now_and_then_is_no_lag_and_many_are_until_they_stop() {
        let mut lag = Lag::default();
        let mut at = Duration::ZERO;
        let (mut offered, mut skipped) = (1_000, 400);
        let mut five_seconds = |lag: &mut Lag, missed: u64| {
            (0..5)
                .filter_map(|second| {
                    at += Duration::from_secs(1);
                    offered += 30;
                    skipped += if second == 2 { missed } else { 0 };
                    lag.look(at, skipped, offered)
                })
                .collect::<Vec<_>>()
        };
        // Each tells, with its first look, what came of the one before.
        assert_eq!(five_seconds(&mut lag, 0), []);
        assert_eq!(
            five_seconds(&mut lag, 15),
            [],
            "what was skipped before this was first asked does not count"
        );
        assert_eq!(five_seconds(&mut lag, 40), [], "one in ten was");
        assert_eq!(five_seconds(&mut lag, 40), [Skipping::Still]);
        assert_eq!(five_seconds(&mut lag, 1), [Skipping::Still]);
        assert_eq!(five_seconds(&mut lag, 1), [Skipping::Over]);
        assert_eq!(five_seconds(&mut lag, 1), [], "told once");
    }
}
