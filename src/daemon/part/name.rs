//! Which graphs there are, and how long each may take.

use std::time::Duration;

use crate::lifecycle::Timing;
use crate::plan::Upstream;

/// Which graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum PartName {
    Capture,
    AudioCapture,
    Encode,
    /// A smaller version of the picture; 1 is the best of them.
    Rendition(u8),
    AudioEncode,
}

impl PartName {
    /// As the log calls it.
    pub(in crate::daemon) const fn as_str(self) -> &'static str {
        match self {
            PartName::Capture => "capture",
            PartName::AudioCapture => "audio capture",
            PartName::Encode => "encode",
            PartName::Rendition(1) => "encode 1",
            PartName::Rendition(2) => "encode 2",
            PartName::Rendition(3) => "encode 3",
            // A profile has no more than four.
            PartName::Rendition(_) => "encode 4",
            PartName::AudioEncode => "audio encode",
        }
    }

    /// Tells parts apart that are made from one seed.
    pub(in crate::daemon) const fn number(self) -> u64 {
        match self {
            PartName::Capture => 0,
            PartName::AudioCapture => 1,
            PartName::Encode => 2,
            PartName::AudioEncode => 3,
            PartName::Rendition(layer) => 4 + layer as u64,
        }
    }

    /// Whether it may make the capture wait: a smaller version of the picture holds nothing else up.
    pub(super) const fn may_block(self) -> bool {
        !matches!(self, PartName::Rendition(_))
    }

    /// Opening a device takes long, and so does the first picture of an encoder that looks ahead (rav1e: 13 frames) on a
    /// slow machine.
    pub(super) const fn timing(self, from: &Upstream) -> Timing {
        let (first_buffer, stall) = match (self, from) {
            (PartName::Encode | PartName::Rendition(_), _) => (20_000, 4_000),
            // A slate is shown meanwhile, and a card that stands still does not come back by itself.
            (PartName::Capture, Upstream::VideoDevice { .. } | Upstream::Network { .. }) => (5_000, 1_000),
            _ => (10_000, 2_000),
        };
        Timing {
            first_buffer: Duration::from_millis(first_buffer),
            stall: Duration::from_millis(stall),
            settled: Duration::from_secs(30),
        }
    }
}
