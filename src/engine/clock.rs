//! The one clock and the one base time of all graphs.

use std::time::Instant;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::MediaTime;

/// The system's monotonic clock and the moment that all running times count from.
#[derive(Clone, Debug)]
pub(super) struct Timebase {
    clock: gst::Clock,
    base: gst::ClockTime,
    origin: Instant,
}

impl Timebase {
    /// Base time is now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's one reading of `Instant`, beside GStreamer's own clock"
    )]
    pub(super) fn start() -> Self {
        let clock = gst::SystemClock::obtain();
        let base = clock.time();
        Timebase { clock, base, origin: Instant::now() }
    }

    /// Now.
    pub(super) fn now(&self) -> MediaTime {
        MediaTime::from_nanos(self.clock.time().saturating_sub(self.base).nseconds())
    }

    pub(super) fn instant_of(&self, time: MediaTime) -> Instant {
        self.origin + time.since_base()
    }

    pub(super) fn time_of(&self, instant: Instant) -> MediaTime {
        MediaTime::default() + instant.saturating_duration_since(self.origin)
    }

    /// Puts a pipeline on this clock and base time for good: no element provides a clock, and no state change or seek
    /// moves the base time.
    pub(super) fn apply(&self, pipeline: &gst::Pipeline) {
        pipeline.use_clock(Some(&self.clock));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(self.base);
    }
}
