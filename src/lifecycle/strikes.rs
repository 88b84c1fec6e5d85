//! When to give up on a graph: so many failures within so long.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts failures, and says when there were too many of them. Each belongs to one encoder; for another one begin anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strikes {
    /// The last failures, oldest first; never more than [`Strikes::MOST`].
    at: VecDeque<Duration>,
}

impl Strikes {
    /// So many failures …
    pub const MOST: usize = 3;
    /// … within this time are too many.
    pub const WINDOW: Duration = Duration::from_secs(60);

    /// It failed at `now`, which never goes back. True when that was once too often.
    pub fn strike(&mut self, now: Duration) -> bool {
        self.at.push_back(now);
        self.at.retain(|at| now.saturating_sub(*at) <= Self::WINDOW);
        while self.at.len() > Self::MOST {
            self.at.pop_front();
        }
        self.at.len() >= Self::MOST
    }

    /// Forgets all failures.
    pub fn forget(&mut self) {
        self.at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_third_failure_within_a_minute_is_too_many() {
        let mut strikes = Strikes::default();
        assert_eq!([0, 30, 60].map(|at| strikes.strike(s(at))), [false, false, true]);
        strikes.forget();
        assert_eq!([61, 62, 63].map(|at| strikes.strike(s(at))), [false, false, true]);
    }

    #[test]
    fn failures_now_and_then_are_not() {
        let mut strikes = Strikes::default();
        assert!((0..20).all(|n| !strikes.strike(s(n * 31))));
    }

    proptest! {
        #[test]
        fn it_is_true_just_when_the_last_minute_saw_three(
            steps in prop::collection::vec(0u64..50, 1..40),
        ) {
            let (mut strikes, mut now, mut all) = (Strikes::default(), 0, Vec::new());
            for step in steps {
                now += step;
                all.push(now);
                let recent = all.iter().filter(|at| now - **at <= 60).count();
                prop_assert_eq!(strikes.strike(s(now)), recent >= 3);
                prop_assert!(strikes.at.len() <= Strikes::MOST);
            }
        }
    }
}
