//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double from a first to a longest, each moved by up to a quarter either way, so that those which failed
/// together don't come back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// Starts at the first wait, before its jitter; the longest wait includes it. The seed makes the jitter.
    pub const fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Backoff { first, longest, attempt: 0, random: seed }
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.attempt.min(10)).min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        doubled.mul_f64(0.75 + 0.5 * self.unit()).min(self.longest)
    }

    /// The next wait is the first again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// A number in 0..1 by SplitMix64, for other waits that are to differ.
    pub fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        f64::from((mixed >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest_begin_anew_and_differ_by_seed() {
        const LONGEST: Duration = Duration::from_secs(15);
        let new = |seed| Backoff::new(Duration::from_millis(500), LONGEST, seed);
        let waits =
            |mut backoff: Backoff| -> Vec<Duration> { (0..12).map(|_| backoff.next_wait()).collect() };
        let one = waits(new(1));
        for (wait, secs) in one.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0]) {
            let range = Duration::from_secs_f64(secs * 0.75)..=Duration::from_secs_f64(secs * 1.25);
            assert!(range.contains(wait), "{wait:?} is not about {secs} s");
        }
        assert!(one[5..].iter().all(|wait| (Duration::from_secs(11)..=LONGEST).contains(wait)), "{one:?}");
        assert_eq!(one, waits(new(1)), "the same seed gives the same waits");
        assert_ne!(one, waits(new(2)));
        let mut again = new(3);
        for _ in 0..50 {
            again.next_wait();
        }
        again.reset();
        assert!(again.next_wait() < Duration::from_millis(626));
    }
}
