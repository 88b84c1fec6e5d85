//! One stream: its two lanes, its viewers, and whether it is live.

use std::time::{Duration, Instant};

use super::StreamStats;
use super::keyframes::Keyframes;
use super::timeline::Timeline;
use crate::media::{Codec, MediaKind, StreamName};

/// A stream without media for so long is not live.
const STALL: Duration = Duration::from_secs(5);
/// Sound alone makes a stream live only when no picture follows it within this time.
const SOUND_ALONE: Duration = Duration::from_secs(2);
/// How often the capture time is sent along.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);

/// One stream.
pub(super) struct Stream {
    pub(super) name: StreamName,
    /// Peers that watch it, connected or not.
    pub(super) viewers: Vec<usize>,
    pub(super) keyframes: Keyframes,
    /// Serial number of the feed whose frames count.
    pub(super) feed: Option<u64>,
    /// When this feed's first frame came.
    since: Option<Instant>,
    pub(super) video: Lane,
    pub(super) audio: Lane,
    pub(super) counted: Counted,
}

/// One kind of media of a stream.
pub(super) struct Lane {
    pub(super) timeline: Timeline,
    pub(super) codec: Option<Codec>,
    last: Option<Instant>,
    capture_time_sent: Option<Instant>,
}

/// Counters since the start.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) frames_in: u64,
    pub(super) packets_in: u64,
    pub(super) bytes_in: u64,
    pub(super) packets_out: u64,
    pub(super) bytes_out: u64,
    pub(super) keyframe_requests: u64,
    pub(super) keyframe_requests_forwarded: u64,
}

impl Stream {
    pub(super) fn new(name: StreamName) -> Stream {
        Stream {
            name,
            viewers: Vec::new(),
            keyframes: Keyframes::default(),
            feed: None,
            since: None,
            video: Lane::new(MediaKind::Video),
            audio: Lane::new(MediaKind::Audio),
            counted: Counted::default(),
        }
    }

    pub(super) fn lane(&mut self, kind: MediaKind) -> &mut Lane {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }

    /// Another feed takes over, or none.
    pub(super) fn set_feed(&mut self, feed: Option<u64>) {
        self.feed = feed;
        self.since = None;
        for lane in [&mut self.video, &mut self.audio] {
            lane.timeline.restart();
            lane.last = None;
        }
    }

    /// A frame of `codec` was placed.
    pub(super) fn carried(&mut self, codec: Codec, now: Instant) {
        self.since.get_or_insert(now);
        let lane = self.lane(codec.kind());
        lane.codec = Some(codec);
        lane.last = Some(now);
    }

    /// Whether somebody who comes now would see or hear something.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        let fresh = |last: Instant| now.saturating_duration_since(last) < STALL;
        let alone = || self.since.is_some_and(|since| now.saturating_duration_since(since) >= SOUND_ALONE);
        match (self.video.last, self.audio.last) {
            (Some(video), _) => fresh(video),
            (None, Some(audio)) => fresh(audio) && alone(),
            (None, None) => false,
        }
    }

    /// What the stream carries now.
    pub(super) fn codecs(&self) -> impl Iterator<Item = Codec> {
        let carried = |lane: &Lane| lane.codec.filter(|_| lane.last.is_some());
        carried(&self.video).into_iter().chain(carried(&self.audio))
    }

    pub(super) fn stats(&self, viewers: u32, now: Instant) -> StreamStats {
        let counted = &self.counted;
        StreamStats {
            name: self.name.clone(),
            live: self.is_live(now),
            video: self.video.codec,
            audio: self.audio.codec,
            viewers,
            packets_in: counted.packets_in,
            bytes_in: counted.bytes_in,
            packets_out: counted.packets_out,
            bytes_out: counted.bytes_out,
            frames_in: counted.frames_in,
            keyframe_requests: counted.keyframe_requests,
            keyframe_requests_forwarded: counted.keyframe_requests_forwarded,
            dropped: 0,
        }
    }
}

impl Lane {
    fn new(kind: MediaKind) -> Lane {
        Lane { timeline: Timeline::new(kind), codec: None, last: None, capture_time_sent: None }
    }

    /// Whether the capture time goes along now: now and then, for receivers interpolate.
    pub(super) fn sends_capture_time(&mut self, now: Instant) -> bool {
        let due = self
            .capture_time_sent
            .is_none_or(|sent| now.saturating_duration_since(sent) >= CAPTURE_TIME_EVERY);
        if due {
            self.capture_time_sent = Some(now);
        }
        due
    }
}
