//! Queue sizes: `pipelines/queues.toml` is the only place that holds any.

use std::time::Duration;

use crate::media::FrameSize;

/// The classes of queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Raw pictures up to 720 lines.
    pub video_low: QueueClass,
    /// Raw pictures up to 1080 lines.
    pub video_mid: QueueClass,
    /// Raw pictures above.
    pub video_high: QueueClass,
    /// Sound, raw or encoded.
    pub audio: QueueClass,
    /// Encoded video on its way out, as access units or RTP: by time and bytes, for one keyframe is up to 150 packets.
    pub rtp: QueueClass,
}

impl Queues {
    /// The class for raw pictures of a size; the middle one if it is not known.
    pub fn video(&self, size: Option<FrameSize>) -> &QueueClass {
        match size.map(|size| size.height) {
            Some(..=720) => &self.video_low,
            Some(721..=1080) | None => &self.video_mid,
            Some(_) => &self.video_high,
        }
    }
}

/// Limits of one class of queues; full when any is reached. 0 is no limit, and one limit at least is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClass {
    /// Buffers.
    pub buffers: u64,
    /// Media time.
    pub time: Duration,
    /// Bytes.
    pub bytes: u64,
}
