//! The last durations of something, written without locks or allocation.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::media::{Ages, MediaTime};

/// The last durations of something, as a ring. 256 of them are 4 s at 60 fps.
pub struct Delays {
    micros: [AtomicI32; Delays::SLOTS],
    next: AtomicU64,
}

impl Delays {
    const SLOTS: usize = 256;

    /// Takes one.
    pub fn record(&self, delay: Duration) {
        self.put(i32::try_from(delay.as_micros()).unwrap_or(i32::MAX));
    }

    /// Takes how old something of this PTS is now; negative where its PTS is still to come.
    pub fn record_age(&self, pts: MediaTime, now: MediaTime) {
        let age = now.saturating_since(pts).as_micros();
        let ahead = pts.saturating_since(now).as_micros();
        let micros = |span: u128| i32::try_from(span).unwrap_or(i32::MAX);
        self.put(micros(age) - micros(ahead));
    }

    fn put(&self, micros: i32) {
        let slot = self.next.fetch_add(1, Relaxed) as usize % Self::SLOTS;
        self.micros[slot].store(micros, Relaxed);
    }

    /// Median and 95th percentile; what is negative counts as nothing.
    pub fn percentiles(&self) -> Option<(Duration, Duration)> {
        let Ages { p50, p95 } = self.ages()?;
        let span = |micros: i64| Duration::from_micros(micros.try_into().unwrap_or(0));
        Some((span(p50), span(p95)))
    }

    /// The same with its sign.
    pub fn ages(&self) -> Option<Ages> {
        let filled = (self.next.load(Relaxed) as usize).min(Self::SLOTS);
        let mut micros: Vec<i32> = self.micros[..filled].iter().map(|slot| slot.load(Relaxed)).collect();
        micros.sort_unstable();
        let at = |percent: usize| micros.get((filled.saturating_sub(1)) * percent / 100);
        Some(Ages { p50: (*at(50)?).into(), p95: (*at(95)?).into() })
    }
}

impl Default for Delays {
    fn default() -> Self {
        Delays { micros: std::array::from_fn(|_| AtomicI32::new(0)), next: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_values_only() {
        let delays = Delays::default();
        assert_eq!(delays.percentiles(), None);
        for _ in 0..1000 {
            delays.record(Duration::from_secs(9));
        }
        for value in 0..256 {
            delays.record(Duration::from_micros(value));
        }
        assert_eq!(delays.percentiles(), Some((Duration::from_micros(127), Duration::from_micros(242))));
    }

    #[test]
    fn a_picture_that_is_put_off_took_what_it_took() {
        let delays = Delays::default();
        let ms = |ms: u64| MediaTime::from_nanos(ms * 1_000_000);
        for frame in 0..10 {
            // Captured 40 ms before it is looked at, and put off by 100 ms.
            delays.record_age(ms(frame * 33 + 100), ms(frame * 33 + 40));
        }
        assert_eq!(delays.ages(), Some(Ages { p50: -60_000, p95: -60_000 }));
        assert_eq!(delays.percentiles(), Some((Duration::ZERO, Duration::ZERO)));
        let told = delays.ages().unwrap().latency("total", Duration::from_millis(100));
        assert_eq!((told.p50, told.p95), (Duration::from_millis(40), Duration::from_millis(40)));
    }
}
