//! One stream: its lanes, one of sound and one for each layer of the picture, its viewers, and whether it is live.

use std::time::{Duration, Instant};

use super::keyframes::Keyframes;
use super::ring::Ring;
use super::said::Said;
use super::timeline::Timeline;
use super::wall_clock::{CaptureTime, WallClock};
use super::{PublisherKind, StreamStats, TrackStats};
use crate::media::{Codec, Frame, MediaKind, StreamName};

/// Versions of one picture: the profile's own and four renditions. A publisher sends fewer.
pub(super) const MAX_LAYERS: usize = 5;
/// A stream without media for so long is not live.
const STALL: Duration = Duration::from_secs(5);
/// Sound alone makes a stream live only when no picture follows it within this time.
const SOUND_ALONE: Duration = Duration::from_secs(2);
/// How often the capture time is sent along.
const CAPTURE_TIME_EVERY: Duration = Duration::from_secs(1);

/// Over how long a track's rate is taken, at least.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// A layer of the picture that brought nothing for so long is not one to show.
const LAYER_STALL: Duration = Duration::from_millis(1_500);

/// What brings a stream's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The box's own encoders.
    Local,
    /// A publisher: this peer.
    Peer(usize),
}

/// Who may bring a stream's media now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feed {
    pub(super) serial: u64,
    pub(super) origin: Origin,
}

/// One stream.
pub(super) struct Stream {
    pub(super) name: StreamName,
    /// Peers that watch it, connected or not.
    pub(super) viewers: Vec<usize>,
    /// Whose frames count.
    pub(super) feed: Option<Feed>,
    /// It is the box's own picture: nobody else publishes it.
    pub(super) local: bool,
    /// It is known whether anybody publishes it or not.
    pub(super) stays: bool,
    /// A publisher that has an answer but is not connected yet.
    pub(super) connecting: Option<usize>,
    /// Layers of the picture, the best one first; empty where there is but one version of it.
    pub(super) layers: Vec<String>,
    /// When this feed's first frame came.
    since: Option<Instant>,
    /// One for each layer, never empty.
    video: Vec<Lane>,
    audio: Lane,
    pub(super) counted: Counted,
}

/// One kind of media of a stream.
pub(super) struct Lane {
    pub(super) timeline: Timeline,
    /// Of a picture: its last packets.
    pub(super) ring: Ring,
    /// Of a picture: who waits for a keyframe.
    pub(super) keyframes: Keyframes,
    pub(super) codec: Option<Codec>,
    last: Option<Instant>,
    packets: u64,
    /// Bytes since the window began, and a second's worth of the one before.
    bytes: u64,
    window: Option<Instant>,
    bytes_per_second: u64,
    keyframe: Option<Instant>,
    capture_time_sent: Option<Instant>,
    /// The playout delay that its publisher asked for last: it says so only until it was heard.
    playout: Option<[u8; 3]>,
    /// Its publisher says when it captures.
    tells_capture: bool,
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
    /// Of publishers that have gone.
    pub(super) lost: u64,
    pub(super) nacks: u64,
    /// Of viewers.
    pub(super) resent: u64,
    pub(super) viewer_nacks: u64,
}

impl Stream {
    pub(super) fn new(name: StreamName) -> Stream {
        Stream {
            name,
            viewers: Vec::new(),
            feed: None,
            local: false,
            stays: false,
            connecting: None,
            layers: Vec::new(),
            since: None,
            video: vec![Lane::new(MediaKind::Video)],
            audio: Lane::new(MediaKind::Audio),
            counted: Counted::default(),
        }
    }

    /// Whether another stream may take its place: nothing names it, and nobody publishes or watches it.
    pub(super) fn may_go(&self) -> bool {
        let is_used = self.feed.is_some() || self.connecting.is_some() || !self.viewers.is_empty();
        !self.stays && !self.local && !is_used
    }

    /// The lane of a kind; of the picture, that of a layer.
    pub(super) fn lane(&mut self, kind: MediaKind, layer: u8) -> &mut Lane {
        if kind == MediaKind::Audio {
            return &mut self.audio;
        }
        let layer = usize::from(layer);
        let remote = self.is_remote();
        while self.video.len() <= layer {
            let mut lane = Lane::new(MediaKind::Video);
            lane.timeline.restart(remote);
            self.video.push(lane);
        }
        let beside = |lane: &mut Lane, others: &[Lane]| {
            for other in others {
                lane.timeline.begin_beside(&other.timeline);
            }
        };
        let (before, rest) = self.video.split_at_mut(layer);
        if let Some((lane, after)) = rest.split_first_mut() {
            beside(lane, before);
            beside(lane, after);
        }
        &mut self.video[layer]
    }

    /// Another feed takes over, or none.
    pub(super) fn set_feed(&mut self, feed: Option<Feed>) {
        self.feed = feed;
        self.since = None;
        self.layers.clear();
        let remote = self.is_remote();
        for lane in self.video.iter_mut().chain([&mut self.audio]) {
            lane.begin_anew(remote);
        }
    }

    /// These layers from now on, the best one first; those that are no longer there end.
    pub(super) fn name_layers(&mut self, layers: Vec<String>) {
        let remote = self.is_remote();
        for lane in self.video.iter_mut().skip(layers.len().max(1)) {
            lane.begin_anew(remote);
        }
        self.layers = layers;
    }

    fn is_remote(&self) -> bool {
        self.feed.is_some_and(|feed| feed.origin != Origin::Local)
    }

    /// Somebody needs a keyframe of each of these layers, one bit each.
    pub(super) fn want_keyframes(&mut self, layers: u8) {
        for layer in bits(layers) {
            self.lane(MediaKind::Video, layer).keyframes.want();
        }
    }

    /// Somebody still waits for one.
    pub(super) fn want_keyframes_still(&mut self, layers: u8, now: Instant) {
        for layer in bits(layers) {
            self.lane(MediaKind::Video, layer).keyframes.want_still(now);
        }
    }

    /// When the next keyframe may be asked for, if one is wanted.
    pub(super) fn keyframes_due(&self, now: Instant) -> Option<Instant> {
        self.video.iter().take(self.layers.len().max(1)).filter_map(|lane| lane.keyframes.due(now)).min()
    }

    /// The best layer of which a keyframe is to be asked for now.
    pub(super) fn take_keyframe_request(&mut self, now: Instant) -> Option<u8> {
        // Who watched an earlier feed may have asked for a layer that this one lacks.
        let there = self.layers.len().max(1);
        let asked = self.video.iter_mut().take(there).position(|lane| lane.keyframes.take(now))?;
        self.counted.keyframe_requests_forwarded += 1;
        u8::try_from(asked).ok()
    }

    /// A frame was placed.
    pub(super) fn carried(&mut self, frame: &Frame, layer: u8, now: Instant) {
        self.since.get_or_insert(now);
        let lane = self.lane(frame.codec.kind(), layer);
        lane.codec = Some(frame.codec);
        lane.count(frame, now);
        lane.last = Some(now);
    }

    /// The last packets of one layer.
    pub(super) fn ring(&self, layer: u8) -> Option<&Ring> {
        self.video.get(usize::from(layer)).map(|lane| &lane.ring)
    }

    /// Bits a second of the layers, the best one first; 0 for those that bring nothing, or are too new to tell.
    pub(super) fn rates(&self, now: Instant) -> [f64; MAX_LAYERS] {
        let live = self.live_layers(now);
        let rate = |layer: usize| {
            let lane = self.video.get(layer).filter(|_| live & 1 << layer != 0);
            lane.map_or(0.0, |lane| lane.bytes_per_second as f64 * 8.0)
        };
        std::array::from_fn(rate)
    }

    /// Bit n is set while layer n brings pictures.
    pub(super) fn live_layers(&self, now: Instant) -> u8 {
        let fresh =
            |lane: &Lane| lane.last.is_some_and(|last| now.saturating_duration_since(last) < LAYER_STALL);
        self.video.iter().enumerate().filter(|(_, lane)| fresh(lane)).fold(0, |bits, (n, _)| bits | 1 << n)
    }

    /// Whether its publisher, if there is one, has sent something of late.
    pub(super) fn is_being_published(&self, now: Instant) -> bool {
        let heard = |lane: &Lane| lane.last.is_some_and(|last| now.saturating_duration_since(last) < STALL);
        self.feed.is_some() && (self.video.iter().any(heard) || heard(&self.audio))
    }

    /// Whether somebody who comes now would see or hear something.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        let fresh = |last: Instant| now.saturating_duration_since(last) < STALL;
        let alone = || self.since.is_some_and(|since| now.saturating_duration_since(since) >= SOUND_ALONE);
        let picture = self.video.iter().filter_map(|lane| lane.last).max();
        match (picture, self.audio.last) {
            (Some(video), _) => fresh(video),
            (None, Some(audio)) => fresh(audio) && alone(),
            (None, None) => false,
        }
    }

    /// What the stream carries now.
    pub(super) fn codecs(&self) -> impl Iterator<Item = Codec> {
        let carried = |lane: &Lane| lane.codec.filter(|_| lane.last.is_some());
        self.video.iter().find_map(carried).into_iter().chain(carried(&self.audio))
    }

    fn tracks(&self, now: Instant) -> Vec<TrackStats> {
        let layer = |index: usize| self.layers.get(index).cloned().unwrap_or_default();
        let pictures = self.video.iter().enumerate();
        let pictures = pictures.filter_map(|(index, lane)| lane.stats(MediaKind::Video, layer(index), now));
        pictures.chain(self.audio.stats(MediaKind::Audio, String::new(), now)).collect()
    }

    pub(super) fn stats(&self, viewers: u32, now: Instant) -> StreamStats {
        let counted = &self.counted;
        StreamStats {
            name: self.name.clone(),
            live: self.is_live(now),
            publisher: self.feed.map(|feed| match feed.origin {
                Origin::Local => PublisherKind::Local,
                Origin::Peer(_) => PublisherKind::Whip,
            }),
            layers: self.layers.clone(),
            tracks: self.tracks(now),
            since: self.since.map(|since| now.saturating_duration_since(since)),
            video: self
                .video
                .iter()
                .find_map(|lane| lane.codec.filter(|_| lane.last.is_some()))
                .or(self.video[0].codec),
            audio: self.audio.codec,
            viewers,
            over_tcp: 0,
            paused: 0,
            packets_in: counted.packets_in,
            bytes_in: counted.bytes_in,
            packets_out: counted.packets_out,
            bytes_out: counted.bytes_out,
            packets_lost: counted.lost,
            nacks: counted.nacks,
            packets_resent: counted.resent,
            viewer_nacks: counted.viewer_nacks,
            frames_in: counted.frames_in,
            keyframe_requests: counted.keyframe_requests,
            keyframe_requests_forwarded: counted.keyframe_requests_forwarded,
            dropped: 0,
        }
    }
}

impl Lane {
    fn new(kind: MediaKind) -> Lane {
        Lane {
            timeline: Timeline::new(kind),
            ring: Ring::default(),
            keyframes: Keyframes::default(),
            codec: None,
            last: None,
            packets: 0,
            bytes: 0,
            window: None,
            bytes_per_second: 0,
            keyframe: None,
            capture_time_sent: None,
            playout: None,
            tells_capture: false,
        }
    }

    /// The next frame comes from another source.
    fn begin_anew(&mut self, remote: bool) {
        self.timeline.restart(remote);
        self.ring.close_entry();
        (self.last, self.packets, self.window, self.keyframe) = (None, 0, None, None);
        (self.playout, self.tells_capture) = (None, false);
    }

    /// A frame, or a part of one, arrived.
    fn count(&mut self, frame: &Frame, now: Instant) {
        self.packets += frame.packets.len() as u64;
        if frame.keyframe {
            self.keyframe = Some(now);
        }
        let began = *self.window.get_or_insert_with(|| {
            (self.bytes, self.bytes_per_second) = (0, 0);
            now
        });
        let span = now.saturating_duration_since(began);
        if span >= RATE_WINDOW {
            self.bytes_per_second = (self.bytes as f64 / span.as_secs_f64()) as u64;
            (self.window, self.bytes) = (Some(now), 0);
        }
        self.bytes += frame.packets.iter().map(|packet| packet.payload.len() as u64).sum::<u64>();
    }

    fn stats(&self, kind: MediaKind, layer: String, now: Instant) -> Option<TrackStats> {
        self.last?;
        let keyframe = self.keyframe.filter(|_| kind == MediaKind::Video);
        Some(TrackStats {
            kind,
            layer,
            packets: self.packets,
            bytes_per_second: self.bytes_per_second,
            keyframe: keyframe.map(|at| now.saturating_duration_since(at)),
        })
    }

    /// What a viewer is told of the capture time with a frame: what the publisher says if it ever does, else our own,
    /// and that only now and then, for receivers interpolate.
    pub(super) fn capture_time(
        &mut self,
        said: &[Said],
        captured: Instant,
        now: Instant,
        wall_clock: &WallClock,
    ) -> Option<CaptureTime> {
        if let Some(told) = said.iter().find_map(|said| said.captured) {
            self.tells_capture = true;
            return wall_clock.as_told(told, captured);
        }
        let since = self.capture_time_sent.map(|sent| now.saturating_duration_since(sent));
        if self.tells_capture || since.is_some_and(|since| since < CAPTURE_TIME_EVERY) {
            return None;
        }
        self.capture_time_sent = Some(now);
        wall_clock.capture_time(captured)
    }

    /// What is said of a packet, with what was said earlier and holds until something else is said.
    pub(super) fn heed(&mut self, said: &Said) -> Said {
        self.playout = said.playout.or(self.playout);
        Said { playout: self.playout, ..*said }
    }
}

/// The layers that a mask names.
fn bits(layers: u8) -> impl Iterator<Item = u8> {
    (0..MAX_LAYERS as u8).filter(move |layer| layers & 1 << layer != 0)
}
