//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits that double from 0.2 s to 5 s, each moved by up to a quarter either way, so that graphs which failed together
/// don't come back together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// The first wait, before its jitter.
    pub const FIRST: Duration = Duration::from_millis(200);
    /// The longest wait, jitter included.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// Starts at the first wait; the seed makes the jitter.
    pub const fn new(seed: u64) -> Self {
        Backoff { attempt: 0, random: seed }
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.attempt.min(10)).min(Self::LONGEST);
        self.attempt = self.attempt.saturating_add(1);
        let spread = doubled / 4;
        let jitter = spread.mul_f64(2.0 * self.unit());
        (doubled - spread + jitter).min(Self::LONGEST)
    }

    /// Attempts since the last [`Backoff::reset`].
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// The next wait is the first again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// A number in 0..1 by SplitMix64, which is random enough to keep graphs apart.
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        f64::from((mixed >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}
