//! How long a picture takes, step by step.

use std::time::Duration;

/// How long one step of a picture's way took, over the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The step: `capture`, `decode`, `link`, `convert`, `encode`, `outlet`, `sfu`; `total` is all of them.
    pub step: &'static str,
    /// Median.
    pub p50: Duration,
    /// 95th percentile.
    pub p95: Duration,
}

/// How old pictures are somewhere, by their PTS, over the last seconds: negative where the picture is put off
/// (`capture.audio_delay`) by more than it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Median, in microseconds.
    pub p50: i64,
    /// 95th percentile, in microseconds.
    pub p95: i64,
}

impl Ages {
    /// How long it took, where PTS are later than the capture by `put_off`.
    pub fn latency(self, step: &'static str, put_off: Duration) -> Latency {
        let put_off = i64::try_from(put_off.as_micros()).unwrap_or(i64::MAX);
        let since = |age: i64| Duration::from_micros(age.saturating_add(put_off).try_into().unwrap_or(0));
        Latency { step, p50: since(self.p50), p95: since(self.p95) }
    }
}
