//! Media times. Five kinds of time exist and none is called just "timestamp": PTS (inside GStreamer), RTP time,
//! [`MediaTime`], wall clock (`SystemTime`), and now (`Instant`).

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Time since the base time that all graphs of one daemon share, in nanoseconds of the system's monotonic clock.
/// For a captured frame: when it was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(u64);

impl MediaTime {
    /// From nanoseconds since the base time.
    pub const fn from_nanos(nanos: u64) -> Self {
        MediaTime(nanos)
    }

    /// Nanoseconds since the base time.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since the base time.
    pub const fn since_base(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time since `earlier`, or zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: MediaTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = MediaTime;

    fn add(self, span: Duration) -> MediaTime {
        MediaTime(self.0.saturating_add(span.as_nanos().try_into().unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = MediaTime;

    fn sub(self, span: Duration) -> MediaTime {
        MediaTime(self.0.saturating_sub(span.as_nanos().try_into().unwrap_or(u64::MAX)))
    }
}

/// An RTP header's time in clock-rate units; wraps around (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Units from `earlier` to this, negative when `earlier` is the later one, right across a wrap.
    pub const fn since(self, earlier: RtpTime) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// This time moved by `units`, wrapping.
    pub const fn offset(self, units: u32) -> RtpTime {
        RtpTime(self.0.wrapping_add(units))
    }
}

impl fmt::Display for RtpTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_time_is_ordered_across_the_wrap() {
        assert_eq!(RtpTime(5).since(RtpTime(u32::MAX - 4)), 10);
        assert_eq!(RtpTime(u32::MAX - 4).since(RtpTime(5)), -10);
        assert_eq!(RtpTime(u32::MAX).offset(3), RtpTime(2));
    }
}
