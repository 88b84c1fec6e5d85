//! Queue sizes: `pipelines/queues.toml` is the only place that holds any.

use std::time::Duration;

use crate::config::parse::{Document, Table};
use crate::config::{Complaint, Diagnostics, Source};
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
    /// Encoded media, picture or sound, that waits for a disk.
    pub disk: QueueClass,
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

/// Reads `queues.toml`.
pub fn parse_queues(source: Source) -> (Option<Queues>, Diagnostics) {
    let document = Document::parse(source, &[]);
    let queues = read(document.root());
    document.finish(queues)
}

fn read(mut root: Table<'_>) -> Option<Queues> {
    let mut class = |name| root.need_table(name, "buffers = 3").and_then(read_class);
    let (low, mid, high) = (class("video-low"), class("video-mid"), class("video-high"));
    let (audio, rtp, disk) = (class("audio"), class("rtp"), class("disk"));
    Some(Queues {
        video_low: low?,
        video_mid: mid?,
        video_high: high?,
        audio: audio?,
        rtp: rtp?,
        disk: disk?,
    })
}

fn read_class(mut table: Table<'_>) -> Option<QueueClass> {
    let buffers = table.integer("buffers", 1..=10_000);
    let time = table.text::<Duration>("time");
    let bytes = table.integer("bytes", 1_000..=1_000_000_000);
    if !["buffers", "time", "bytes"].iter().any(|limit| table.has(limit)) {
        table.complain(
            Complaint::new("this class of queues has no limit")
                .hint("add `buffers = 3`, `time = \"100 ms\"` or `bytes = 4000000`"),
        );
        return None;
    }
    let number = |limit: Option<i64>| limit.map_or(0, i64::unsigned_abs);
    Some(QueueClass { buffers: number(buffers), time: time.unwrap_or_default(), bytes: number(bytes) })
}
