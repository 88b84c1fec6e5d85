//! The hand-over from GStreamer's streaming threads: bounded, never waiting, dropping whole frames up to a keyframe.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Alive;
use crate::media::{Frame, MediaKind, MediaTime, StreamName};
use crate::sfu::LaneStats;
use crate::sfu::stream::MAX_LAYERS;
use crate::telemetry::Delays;

/// How much one lane of the hand-over holds. It is full when any limit is reached; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Frames.
    pub frames: u64,
    /// Media time.
    pub time: Duration,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Room {
    /// Frames that a lane has places for: where no limit is given, what its time holds at the highest rate there is.
    fn places(&self) -> usize {
        const HIGHEST_RATE: u128 = 240;
        const MOST: u64 = 4_096;
        let by_time = u64::try_from(self.time.as_millis() * HIGHEST_RATE / 1_000).unwrap_or(MOST);
        let places = [self.frames, by_time].into_iter().find(|limit| *limit > 0).unwrap_or(MOST);
        usize::try_from(places.clamp(1, MOST)).unwrap_or(1)
    }

    /// Whether it takes a frame of so many bytes on top of what is in it; an empty lane takes any.
    fn takes(&self, level: u64, held: u64, age: Duration, bytes: u64) -> bool {
        let within = |limit: u64, value: u64| limit == 0 || value <= limit;
        level == 0
            || (level < self.places() as u64
                && (self.time.is_zero() || age <= self.time)
                && within(self.bytes, held + bytes))
    }
}

/// The way in for one local stream; cheap to clone. When the last clone is dropped, the stream ends: its viewers stay
/// connected and go on with the next feed of that name.
#[derive(Clone)]
pub struct LocalFeed {
    inner: Arc<Inner>,
}

struct Inner {
    /// One for each layer that there may be.
    video: Vec<LaneIn>,
    audio: LaneIn,
    layers: Arc<Layers>,
    alive: Arc<Alive>,
}

/// The layers' names, on their way to the SFU.
#[derive(Default)]
struct Layers {
    changed: AtomicBool,
    names: Mutex<Vec<String>>,
}

impl LocalFeed {
    /// Hands over one frame, picture or sound, told apart by its codec. Called on streaming threads: never blocks, takes
    /// no lock. When the SFU does not keep up, frames are dropped up to the next keyframe, counted, and one is asked for.
    pub fn push(&self, frame: impl Into<Arc<Frame>>) {
        self.push_layer(0, frame);
    }

    /// The same with a frame of one of the layers that were named; 0 is the best one. No layer waits for another.
    pub fn push_layer(&self, layer: u8, frame: impl Into<Arc<Frame>>) {
        let frame = frame.into();
        let lane = match frame.codec.kind() {
            MediaKind::Video => self.inner.video.get(usize::from(layer)),
            MediaKind::Audio => Some(&self.inner.audio),
        };
        if let Some(lane) = lane {
            lane.push(frame);
            self.inner.alive.wake();
        }
    }

    /// The picture comes in these layers from now on, the best one first; none where there is but one version of it.
    /// Those that are no longer named end. More than five are not taken.
    pub fn name_layers(&self, names: Vec<String>) {
        let layers = &self.inner.layers;
        *layers.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        layers.changed.store(true, Ordering::Release);
        self.inner.alive.wake();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.video[0].lane.ended.store(true, Ordering::Release);
        self.alive.wake();
    }
}

/// What both ends of a lane see.
#[derive(Default)]
struct Lane {
    level: AtomicU64,
    bytes: AtomicU64,
    /// Media time, in nanoseconds, of the last frame taken out and of the last put in.
    out: AtomicU64,
    put: AtomicU64,
    dropping: AtomicBool,
    dropped: AtomicU64,
    /// A keyframe is needed because of a drop.
    wants_keyframe: AtomicBool,
    ended: AtomicBool,
}

struct LaneIn {
    kind: MediaKind,
    layer: u8,
    room: Room,
    frames: SyncSender<Handed>,
    lane: Arc<Lane>,
}

/// A frame, the layer that it is of, and when it was handed over.
pub(super) struct Handed {
    pub(super) layer: u8,
    pub(super) frame: Arc<Frame>,
    at: Instant,
}

impl LaneIn {
    #[expect(clippy::disallowed_methods, reason = "when a frame was handed over, on the SFU's clock")]
    fn push(&self, frame: Arc<Frame>) {
        let lane = &self.lane;
        let pts = frame.pts.as_nanos();
        // Every sound can be the first one; a picture only when it is a keyframe.
        let starts = frame.keyframe || self.kind == MediaKind::Audio;
        if lane.dropping.load(Ordering::Relaxed) && !starts {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let level = lane.level.load(Ordering::Acquire);
        if level == 0 {
            lane.out.store(pts, Ordering::Relaxed);
        }
        let age = Duration::from_nanos(pts.saturating_sub(lane.out.load(Ordering::Relaxed)));
        let bytes = size(&frame);
        let fits = self.room.takes(level, lane.bytes.load(Ordering::Relaxed), age, bytes);
        // Counted before it can be taken out, so that the level never goes below zero.
        lane.bytes.fetch_add(bytes, Ordering::Relaxed);
        lane.level.fetch_add(1, Ordering::AcqRel);
        let sent = fits
            && match self.frames.try_send(Handed { layer: self.layer, frame, at: Instant::now() }) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            };
        if sent {
            lane.put.store(pts, Ordering::Relaxed);
            lane.dropping.store(false, Ordering::Relaxed);
        } else {
            lane.level.fetch_sub(1, Ordering::AcqRel);
            lane.bytes.fetch_sub(bytes, Ordering::Relaxed);
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            lane.dropping.store(true, Ordering::Relaxed);
            lane.wants_keyframe.store(self.kind == MediaKind::Video, Ordering::Release);
        }
    }
}

/// Bytes of payload.
fn size(frame: &Frame) -> u64 {
    frame.packets.iter().map(|packet| packet.payload.len() as u64).sum()
}

/// The SFU's end of a feed.
pub(super) struct FeedOut {
    pub(super) stream: StreamName,
    /// When media time was zero.
    pub(super) epoch: Instant,
    pub(super) on_keyframe_request: Box<dyn Fn(u8) + Send + Sync>,
    video: Vec<LaneOut>,
    audio: LaneOut,
    layers: Arc<Layers>,
    /// How many of them are in use.
    used: usize,
}

struct LaneOut {
    frames: Receiver<Handed>,
    room: Room,
    lane: Arc<Lane>,
    /// From the hand-over until it was sent to everybody, and from the PTS until then.
    sending: Delays,
    age: Delays,
    /// Drops that were told of.
    told: u64,
}

/// Both ends of a new feed with room for pictures and for sounds.
pub(super) fn feed(
    stream: StreamName,
    epoch: Instant,
    rooms: [Room; 2],
    on_keyframe_request: Box<dyn Fn(u8) + Send + Sync>,
    alive: Arc<Alive>,
) -> (LocalFeed, FeedOut) {
    let lane = |kind, layer, room: Room| {
        let (sender, receiver) = sync_channel(room.places());
        let lane = Arc::new(Lane::default());
        let (sending, age) = (Delays::default(), Delays::default());
        let out = LaneOut { frames: receiver, room, lane: lane.clone(), sending, age, told: 0 };
        (LaneIn { kind, layer, room, frames: sender, lane }, out)
    };
    let layers = 0..MAX_LAYERS as u8;
    let (ins, outs) = layers.map(|layer| lane(MediaKind::Video, layer, rooms[0])).unzip();
    let (audio_in, audio) = lane(MediaKind::Audio, 0, rooms[1]);
    let layers = Arc::new(Layers::default());
    let inner = Arc::new(Inner { video: ins, audio: audio_in, layers: layers.clone(), alive });
    (LocalFeed { inner }, FeedOut { stream, epoch, on_keyframe_request, video: outs, audio, layers, used: 1 })
}

impl FeedOut {
    /// The layers, where they were named since the last call.
    pub(super) fn take_layers(&mut self) -> Option<Vec<String>> {
        if !self.layers.changed.swap(false, Ordering::AcqRel) {
            return None;
        }
        let names = self.layers.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.used = names.len().clamp(1, MAX_LAYERS);
        Some(names)
    }

    /// The next frame, sound first: it is small, and late sound is heard. Then the better layers.
    pub(super) fn take(&self) -> Option<Handed> {
        self.audio.take().or_else(|| self.video.iter().find_map(LaneOut::take))
    }

    /// A frame that was taken is with everybody's socket now.
    pub(super) fn sent(&self, handed: &Handed, now: Instant) {
        let lane = match handed.frame.codec.kind() {
            MediaKind::Video => &self.video[usize::from(handed.layer)],
            MediaKind::Audio => &self.audio,
        };
        lane.sending.record(now.saturating_duration_since(handed.at));
        let now = MediaTime::default() + now.saturating_duration_since(self.epoch);
        lane.age.record_age(handed.frame.pts, now);
    }

    /// Nobody can push any more.
    pub(super) fn has_ended(&self) -> bool {
        self.video[0].lane.ended.load(Ordering::Acquire)
    }

    /// A layer of which a drop made a keyframe necessary since it was last told; call until `None`.
    pub(super) fn take_keyframe_wish(&self) -> Option<u8> {
        let wanted = |lane: &LaneOut| lane.lane.wants_keyframe.swap(false, Ordering::AcqRel);
        (0..).zip(&self.video).find_map(|(layer, lane)| wanted(lane).then_some(layer))
    }

    /// Frames dropped since the last call: pictures, sounds.
    pub(super) fn take_dropped(&mut self) -> (u64, u64) {
        (self.video.iter_mut().map(LaneOut::take_dropped).sum(), self.audio.take_dropped())
    }

    /// Every lane in use.
    pub(super) fn stats(&self) -> impl Iterator<Item = LaneStats> {
        let pictures = (0..).zip(&self.video).take(self.used);
        let pictures = pictures.map(|(layer, lane)| lane.stats(&self.stream, MediaKind::Video, layer));
        pictures.chain([self.audio.stats(&self.stream, MediaKind::Audio, 0)])
    }
}

impl LaneOut {
    fn take(&self) -> Option<Handed> {
        match self.frames.try_recv() {
            Ok(handed) => {
                let frame = &handed.frame;
                self.lane.out.store(frame.pts.as_nanos(), Ordering::Relaxed);
                self.lane.bytes.fetch_sub(size(frame), Ordering::Relaxed);
                self.lane.level.fetch_sub(1, Ordering::AcqRel);
                Some(handed)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    fn take_dropped(&mut self) -> u64 {
        let dropped = self.lane.dropped.load(Ordering::Relaxed);
        dropped - std::mem::replace(&mut self.told, dropped)
    }

    fn stats(&self, stream: &StreamName, kind: MediaKind, layer: u8) -> LaneStats {
        let lane = &self.lane;
        let level = lane.level.load(Ordering::Relaxed);
        let nanos = lane.put.load(Ordering::Relaxed).saturating_sub(lane.out.load(Ordering::Relaxed));
        LaneStats {
            stream: stream.clone(),
            kind,
            layer,
            level,
            level_time: if level == 0 { Duration::ZERO } else { Duration::from_nanos(nanos) },
            max: self.room.places() as u64,
            max_time: self.room.time,
            dropped: lane.dropped.load(Ordering::Relaxed),
            sending: self.sending.percentiles(),
            ages: self.age.ages(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Codec, MediaTime, Packet, RtpTime};

    fn frame(codec: Codec, ms: u64, keyframe: bool) -> Frame {
        let rtp_time = RtpTime(ms as u32 * 90);
        let packet = Packet { sequence: ms, rtp_time, marker: true, payload: Arc::from([0u8; 4]) };
        Frame { codec, pts: MediaTime::from_nanos(ms * 1_000_000), keyframe, packets: vec![packet] }
    }

    const ROOM: Room = Room { frames: 64, time: Duration::from_millis(500), bytes: 1_000 };

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn ends() -> (LocalFeed, FeedOut) {
        let alive = Arc::new(Alive::for_tests());
        feed("live".parse().unwrap(), Instant::now(), [ROOM; 2], Box::new(|_| {}), alive)
    }

    fn taken(out: &FeedOut) -> Vec<(u64, bool)> {
        let handed = std::iter::from_fn(|| out.take());
        handed.map(|f| (f.frame.pts.as_nanos() / 1_000_000, f.frame.keyframe)).collect()
    }

    #[test]
    fn overflow_drops_up_to_the_next_keyframe_and_asks_for_one() {
        let (feed, mut out) = ends();
        for n in 0..ROOM.frames + 6 {
            feed.push(frame(Codec::H264, n, n == 0));
        }
        assert_eq!(out.take_keyframe_wish(), Some(0));
        assert_eq!(taken(&out).len(), 64);
        feed.push(frame(Codec::H264, 100, false));
        feed.push(frame(Codec::H264, 101, true));
        feed.push(frame(Codec::H264, 102, false));
        assert_eq!(taken(&out), [(101, true), (102, false)], "room again, but only a keyframe helps");
        assert_eq!(out.take_dropped(), (7, 0));
        assert_eq!(out.take_dropped(), (0, 0));
        assert_eq!(out.take_keyframe_wish(), None);
    }

    #[test]
    fn old_frames_overflow_too_but_a_pause_does_not() {
        let (feed, mut out) = ends();
        feed.push(frame(Codec::Vp8, 0, true));
        feed.push(frame(Codec::Vp8, 400, false));
        feed.push(frame(Codec::Vp8, 600, false));
        assert_eq!((taken(&out).len(), out.take_dropped()), (2, (1, 0)));
        feed.push(frame(Codec::Vp8, 60_000, true));
        feed.push(frame(Codec::Vp8, 60_033, false));
        assert_eq!((taken(&out).len(), out.take_dropped()), (2, (0, 0)));
        let level = out.stats().next().unwrap().level;
        assert_eq!(level, 0);
    }

    #[test]
    fn bytes_overflow_too_but_one_large_frame_passes() {
        let (feed, mut out) = ends();
        let large = |ms, bytes, keyframe| {
            let mut frame = frame(Codec::Vp9, ms, keyframe);
            frame.packets[0].payload = Arc::from(vec![0u8; bytes]);
            frame
        };
        feed.push(large(0, 5_000, true));
        feed.push(large(33, 10, false));
        assert_eq!((taken(&out).len(), out.take_dropped()), (1, (1, 0)));
        feed.push(large(66, 600, true));
        feed.push(large(99, 400, false));
        feed.push(large(132, 1, false));
        assert_eq!((taken(&out).len(), out.take_dropped()), (2, (1, 0)));
    }

    #[test]
    fn places_come_from_frames_else_from_time() {
        let room = |frames, ms| Room { frames, time: Duration::from_millis(ms), bytes: 1 };
        assert_eq!([room(20, 200).places(), room(0, 500).places(), room(0, 0).places()], [20, 120, 4_096]);
    }

    #[test]
    fn sound_overflows_by_itself_and_goes_on_with_any_frame() {
        let (feed, mut out) = ends();
        feed.push(frame(Codec::H264, 0, true));
        for n in 0..200 {
            feed.push(frame(Codec::Opus, n, false));
        }
        assert_eq!(out.take_dropped(), (0, 200 - ROOM.frames));
        assert_eq!(out.take_keyframe_wish(), None);
        assert_eq!(taken(&out).len(), 65);
        feed.push(frame(Codec::Opus, 300, false));
        assert_eq!(taken(&out).len(), 1);
    }

    #[test]
    fn how_long_a_frame_takes_is_told_of_each_lane() {
        let (feed, out) = ends();
        feed.push(frame(Codec::H264, 20, true));
        let handed = out.take().unwrap();
        let before = out.epoch + Duration::from_millis(20);
        out.sent(&handed, before.max(handed.at) + Duration::from_millis(30));
        let [video, audio] = &out.stats().collect::<Vec<_>>()[..] else { panic!() };
        assert!(video.sending.unwrap().0 >= Duration::from_millis(30), "{video:?}");
        assert!(video.ages.unwrap().p50 >= 30_000, "{video:?}");
        assert_eq!((audio.sending, audio.ages), (None, None));
    }

    #[test]
    fn a_layer_that_overflows_takes_nothing_from_the_others() {
        let (feed, mut out) = ends();
        assert_eq!((out.take_layers(), out.stats().count()), (None, 2));
        feed.name_layers(vec!["1280x720".to_owned(), "640x360".to_owned()]);
        assert_eq!(out.take_layers().map(|names| names.len()), Some(2));
        assert_eq!(out.take_layers(), None, "told once");
        for n in 0..ROOM.frames + 6 {
            feed.push_layer(1, frame(Codec::H264, n, n == 0));
        }
        feed.push(frame(Codec::H264, 0, true));
        feed.push_layer(200, frame(Codec::H264, 0, true));
        feed.push_layer(1, frame(Codec::Opus, 0, false));
        assert_eq!((out.take_keyframe_wish(), out.take_keyframe_wish()), (Some(1), None));
        let came: Vec<_> = std::iter::from_fn(|| out.take()).map(|f| (f.layer, f.frame.codec)).collect();
        assert_eq!(came[..2], [(0, Codec::Opus), (0, Codec::H264)], "sound first, then the best layer");
        assert!(came[2..].iter().all(|came| *came == (1, Codec::H264)) && came.len() == 66, "{came:?}");
        assert_eq!(out.take_dropped(), (6, 0));
        let lanes: Vec<_> = out.stats().map(|lane| (lane.kind, lane.layer, lane.dropped)).collect();
        assert_eq!(lanes, [(MediaKind::Video, 0, 0), (MediaKind::Video, 1, 6), (MediaKind::Audio, 0, 0)]);
    }

    #[test]
    fn the_last_clone_ends_the_feed() {
        let (feed, out) = ends();
        let clone = feed.clone();
        drop(feed);
        assert!(!out.has_ended());
        drop(clone);
        assert!(out.has_ended());
    }
}
