//! Where encoded media leaves an encode graph and fans out: one outlet per rendition and one for sound, each one stream
//! of access units and RTP frames whatever encoder feeds it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use gstreamer as gst;
use gstreamer::glib;

use crate::media::{AccessUnit, Ages, Codec, Frame, FrameSize, Make, MediaKind, MediaTime, Packet};
use crate::telemetry::Delays;

use super::bus::{Note, post};
use super::changeover::{Admission, Track};
use super::clock::Timebase;
use super::counters::{Flow, StageCounters};
use super::events::Takeover;
use super::graph::Graph;
use super::keyframe::Keyframer;

/// At most one forced keyframe per stream in this time; requests in between are merged into the next.
pub const KEYFRAME_SPACING: Duration = Duration::from_millis(500);

/// Takes frames. Called on an encoder's streaming thread: hand over and return, never block.
pub type FrameSink = dyn Fn(&Arc<Frame>) + Send + Sync;

/// Takes access units. Called on an encoder's streaming thread: hand over and return, never block.
pub type UnitSink = dyn Fn(&AccessUnit) + Send + Sync;

/// One encoder's way into an outlet. Holds nothing of the graph alive.
pub(super) struct Feed {
    pub(super) number: u64,
    pub(super) keyframer: Option<Arc<Keyframer>>,
    /// An element of the graph, to leave notes with.
    pub(super) element: glib::WeakRef<gst::Element>,
}

impl Feed {
    fn force_keyframe(&self) -> bool {
        self.keyframer.as_ref().is_some_and(|keyframer| keyframer.force())
    }
}

/// One stream's exit. Cheap to clone; all clones are the same outlet. It outlives the encoders that feed it.
///
/// Whatever feeds it, RTP time only ever increases and sequence numbers go on without a jump; an encoder takes over at a
/// complete keyframe, and the one before is silent from that frame on.
#[derive(Clone)]
pub struct Outlet {
    inner: Arc<Inner>,
}

struct Inner {
    kind: MediaKind,
    timebase: Timebase,
    frames: Track,
    units: Track,
    frame_sinks: ArcSwap<Vec<(u64, Arc<FrameSink>)>>,
    unit_sinks: ArcSwap<Vec<(u64, Arc<UnitSink>)>>,
    next_sink: AtomicU64,
    on_air: ArcSwapOption<Feed>,
    flow: Flow,
    age: Delays,
    keyframes: AtomicU64,
    keyframe_asked: AtomicU64,
    keyframe_forced: AtomicU64,
    keyframe_pending: AtomicBool,
    keyframe_last: AtomicU64,
}

/// Ends a subscription when dropped.
#[must_use = "dropping it ends the subscription"]
pub struct Subscription {
    outlet: Weak<Inner>,
    number: u64,
}

impl PartialEq for Outlet {
    /// Clones are the same outlet.
    fn eq(&self, other: &Outlet) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Outlet {
    pub(super) fn new(kind: MediaKind, timebase: Timebase) -> Outlet {
        let clock_rate = match kind {
            MediaKind::Video => 90_000,
            MediaKind::Audio => 48_000,
        };
        Outlet {
            inner: Arc::new(Inner {
                kind,
                timebase,
                frames: Track::new(kind, clock_rate),
                units: Track::new(kind, clock_rate),
                frame_sinks: ArcSwap::default(),
                unit_sinks: ArcSwap::default(),
                next_sink: AtomicU64::new(0),
                on_air: ArcSwapOption::empty(),
                flow: Flow::default(),
                age: Delays::default(),
                keyframes: AtomicU64::new(0),
                keyframe_asked: AtomicU64::new(0),
                keyframe_forced: AtomicU64::new(0),
                keyframe_pending: AtomicBool::new(false),
                keyframe_last: AtomicU64::new(0),
            }),
        }
    }

    /// Picture or sound.
    pub fn kind(&self) -> MediaKind {
        self.inner.kind
    }

    /// Takes every frame (the RTP packets of one access unit) from now on.
    pub fn subscribe(&self, sink: impl Fn(&Arc<Frame>) + Send + Sync + 'static) -> Subscription {
        let number = self.inner.next_sink.fetch_add(1, Ordering::Relaxed);
        let sink: Arc<FrameSink> = Arc::new(sink);
        self.inner.frame_sinks.rcu(|sinks| with(sinks, number, &sink));
        Subscription { outlet: Arc::downgrade(&self.inner), number }
    }

    /// Takes every access unit from now on. Without a taker they cost nothing.
    pub fn subscribe_units(&self, sink: impl Fn(&AccessUnit) + Send + Sync + 'static) -> Subscription {
        let number = self.inner.next_sink.fetch_add(1, Ordering::Relaxed);
        let sink: Arc<UnitSink> = Arc::new(sink);
        self.inner.unit_sinks.rcu(|sinks| with(sinks, number, &sink));
        Subscription { outlet: Arc::downgrade(&self.inner), number }
    }

    /// Puts an encode graph on air from its next complete keyframe on; whatever was on air is silent at once.
    pub fn attach(&self, graph: &Graph) {
        let Some(feed) = graph.feed() else { return };
        for track in [&self.inner.frames, &self.inner.units] {
            let (_, mut held) = track.baton.take_over(0);
            held.pass_to(0);
            track.nominate(feed.number);
        }
        self.inner.on_air.store(Some(Arc::clone(feed)));
    }

    /// Lets an encode graph take over at its first complete keyframe; what is on air goes on until then. The graph gets
    /// [`GraphEvent::OnAir`](super::GraphEvent::OnAir) when it did. One whose pictures are more than 50 ms later than those
    /// on air, and stay so, silences them and takes over at its next keyframe, so that time never goes back: the gap is
    /// the difference of the two delays. Where the one on air is as late at that moment, there is none. Of sound, every packet can be the first; what both have made is not heard twice. If the candidate
    /// goes away before it took over, the old one goes on.
    pub fn switch_to(&self, candidate: &Graph) {
        let Some(feed) = candidate.feed() else { return };
        for track in [&self.inner.frames, &self.inner.units] {
            track.nominate(feed.number);
        }
    }

    /// Asks for a keyframe of the encoder that is on air. Requests are merged: see [`KEYFRAME_SPACING`]. One that comes
    /// too early is kept, not lost.
    pub fn request_keyframe(&self) {
        self.inner.keyframe_asked.fetch_add(1, Ordering::Relaxed);
        self.inner.keyframe_pending.store(true, Ordering::Release);
        self.inner.serve_keyframe();
    }

    /// Keyframe requests: how many came, and how many keyframes were forced for them.
    pub fn keyframe_requests(&self) -> (u64, u64) {
        let inner = &*self.inner;
        (inner.keyframe_asked.load(Ordering::Relaxed), inner.keyframe_forced.load(Ordering::Relaxed))
    }

    /// What went out, and how old it was (from its PTS).
    pub fn stage(&self) -> StageCounters {
        let inner = &*self.inner;
        let (fps, bitrate) = inner.flow.rates(inner.timebase.now());
        let (p50, p95) = inner.age.percentiles().unzip();
        StageCounters {
            frames_in: inner.flow.frames(),
            frames_out: inner.flow.frames(),
            bytes_out: inner.flow.bytes(),
            fps,
            bitrate,
            keyframes: inner.keyframes.load(Ordering::Relaxed),
            keyframes_forced: inner.keyframe_forced.load(Ordering::Relaxed),
            latency_p50: p50,
            latency_p95: p95,
            last_out: inner.flow.last(),
            ..StageCounters::default()
        }
    }

    /// How old what goes out is, by its PTS.
    pub fn ages(&self) -> Option<Ages> {
        self.inner.age.ages()
    }

    /// Takes a graph's feed off air and off the candidates.
    pub(super) fn detach(&self, feed: &Feed) {
        for track in [&self.inner.frames, &self.inner.units] {
            let candidate =
                track.candidate.compare_exchange(feed.number, 0, Ordering::Relaxed, Ordering::Relaxed);
            track.baton.drop_feed(feed.number);
            if candidate.is_ok() && track.silenced.swap(false, Ordering::Relaxed) {
                self.give_back(track);
            }
        }
        let gone = self.inner.on_air.load().as_ref().is_some_and(|on_air| on_air.number == feed.number);
        if gone {
            self.inner.on_air.store(None);
        }
    }

    /// The candidate that silenced the feed on air is gone before it took over: the old one goes on at a new keyframe.
    fn give_back(&self, track: &Track) {
        if let Some(old) = self.inner.on_air.load().as_deref() {
            track.nominate(old.number);
            old.force_keyframe();
        }
    }

    /// One whole frame of a feed, on its streaming thread.
    pub(super) fn frame(
        &self,
        feed: &Arc<Feed>,
        codec: Codec,
        (pts, keyframe): (MediaTime, bool),
        mut packets: Vec<Packet>,
    ) {
        let inner = &*self.inner;
        let line = &inner.frames.line;
        let _held = match inner.frames.admit(feed.number, pts, keyframe, inner.timebase.now()) {
            Admission::On(held) => held,
            Admission::First(held, gap) => {
                let first = packets.first().map_or(0, |packet| packet.sequence);
                let shifted = line.change(pts, first);
                inner.on_air.store(Some(Arc::clone(feed)));
                if let Some(element) = feed.element.upgrade() {
                    post(&element, Note::OnAir(Takeover { gap, shifted }));
                }
                held
            }
            Admission::Ask => {
                feed.force_keyframe();
                return;
            }
            Admission::No => return,
        };
        line.stamp(pts, &mut packets);
        let now = inner.timebase.now();
        inner.flow.record(now, packets.iter().map(|packet| packet.payload.len()).sum());
        inner.age.record_age(pts, now);
        if keyframe && inner.kind == MediaKind::Video {
            inner.keyframes.fetch_add(1, Ordering::Relaxed);
            // Whoever asked before this frame has what it wanted.
            inner.keyframe_pending.store(false, Ordering::Relaxed);
        }
        let frame = Arc::new(Frame { codec, pts, keyframe, packets });
        for (_, sink) in inner.frame_sinks.load().iter() {
            sink(&frame);
        }
        inner.serve_keyframe();
    }

    /// One access unit of a feed, on its streaming thread. `read` gives its bytes and size, only when someone takes it.
    pub(super) fn unit(
        &self,
        feed: &Feed,
        codec: Codec,
        (pts, keyframe): (MediaTime, bool),
        read: impl FnOnce() -> Option<(Arc<[u8]>, Option<FrameSize>)>,
    ) {
        let inner = &*self.inner;
        let line = &inner.units.line;
        let _held = match inner.units.admit(feed.number, pts, keyframe, inner.timebase.now()) {
            Admission::On(held) => held,
            Admission::First(held, _) => {
                line.change(pts, 0);
                held
            }
            Admission::Ask => {
                feed.force_keyframe();
                return;
            }
            Admission::No => return,
        };
        let pts = line.moved(pts);
        let sinks = inner.unit_sinks.load();
        if sinks.is_empty() {
            return;
        }
        let Some((data, size)) = read() else { return };
        let unit = AccessUnit { codec, pts, keyframe, make: Make { encoder: feed.number, size }, data };
        for (_, sink) in sinks.iter() {
            sink(&unit);
        }
    }
}

impl Inner {
    /// Forces a keyframe if one is asked for and the last forced one is long enough ago. Runs at each request and after
    /// each frame, so a request that had to wait needs no timer.
    fn serve_keyframe(&self) {
        if !self.keyframe_pending.load(Ordering::Acquire) {
            return;
        }
        let now = self.timebase.now();
        let last = self.keyframe_last.load(Ordering::Relaxed);
        let early = last != 0 && now.saturating_since(MediaTime::from_nanos(last)) < KEYFRAME_SPACING;
        if early
            || self
                .keyframe_last
                .compare_exchange(last, now.as_nanos(), Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        self.keyframe_pending.store(false, Ordering::Release);
        if self.on_air.load().as_ref().is_some_and(|feed| feed.force_keyframe()) {
            self.keyframe_forced.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(outlet) = self.outlet.upgrade() {
            outlet.frame_sinks.rcu(|sinks| without(sinks, self.number));
            outlet.unit_sinks.rcu(|sinks| without(sinks, self.number));
        }
    }
}

fn with<T: ?Sized>(sinks: &[(u64, Arc<T>)], number: u64, sink: &Arc<T>) -> Vec<(u64, Arc<T>)> {
    sinks.iter().cloned().chain([(number, Arc::clone(sink))]).collect()
}

fn without<T: ?Sized>(sinks: &[(u64, Arc<T>)], number: u64) -> Vec<(u64, Arc<T>)> {
    sinks.iter().filter(|(other, _)| *other != number).cloned().collect()
}
