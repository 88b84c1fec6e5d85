//! The raw hub: where captured frames meet the encoders that want them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use gstreamer as gst;

use crate::media::{MediaKind, MediaTime};
use crate::telemetry::Delays;

use super::clock::Timebase;
use super::counters::{Flow, Inside, StageCounters};
use super::format::MediaFormat;
use super::link::{Link, Offer};

/// How long one frame may wait for links that are on air before they are cut; a tenth of a second more where the thread that
/// waits overslept, since the machine is what was late then.
pub const LINK_PATIENCE: Duration = Duration::from_millis(500);

/// Takes raw media from one capture graph at a time and passes it by reference to every link. Cheap to clone; all clones
/// are the same hub. It outlives the graphs on both sides.
///
/// Frames are passed on the capture's streaming thread, which takes no lock here and waits for nothing but a full link
/// that is on air. A V4L2 driver's pool is not starved by what encoders hold: as no pool is offered to it downstream,
/// `v4l2src` takes more buffers from the driver, or copies where that has none left, as soon as fewer than its threshold
/// are queued (`gst_v4l2_buffer_pool_process`). So there is no second copy here.
#[derive(Clone)]
pub struct RawHub {
    inner: Arc<Inner>,
}

struct Inner {
    kind: MediaKind,
    timebase: Timebase,
    links: ArcSwap<Vec<Arc<Link>>>,
    format: ArcSwapOption<(gst::Caps, MediaFormat)>,
    flow: Flow,
    age: Delays,
    /// When each of the last frames came by.
    passed: Arc<Inside>,
    /// PTS of the last frame, so that no encoder ever sees time go back.
    last_pts: AtomicU64,
    /// When the last captured frame arrived, or 0, and how old it was.
    captured: AtomicU64,
    captured_age: AtomicU64,
    captured_caps: ArcSwapOption<gst::Caps>,
    /// Somebody pushes: the capture, or the slate that stands in for it. The other one leaves its frame out.
    turn: AtomicBool,
    /// The last frame stood in for a captured one.
    filled: AtomicBool,
    /// What is captured is no picture.
    closed: AtomicBool,
    /// The last captured frame is kept, so that it can be held.
    keeps: AtomicBool,
    last: ArcSwapOption<gst::Sample>,
    backwards: AtomicU64,
    /// When the present wait for a link began, or 0.
    blocked_since: AtomicU64,
    blocked: AtomicU64,
    cuts: AtomicU64,
}

impl RawHub {
    pub(super) fn new(kind: MediaKind, timebase: Timebase) -> RawHub {
        RawHub {
            inner: Arc::new(Inner {
                kind,
                timebase,
                links: ArcSwap::default(),
                format: ArcSwapOption::empty(),
                flow: Flow::default(),
                age: Delays::default(),
                passed: Arc::default(),
                last_pts: AtomicU64::new(0),
                captured: AtomicU64::new(0),
                captured_age: AtomicU64::new(0),
                captured_caps: ArcSwapOption::empty(),
                turn: AtomicBool::new(false),
                filled: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                keeps: AtomicBool::new(false),
                last: ArcSwapOption::empty(),
                backwards: AtomicU64::new(0),
                blocked_since: AtomicU64::new(0),
                blocked: AtomicU64::new(0),
                cuts: AtomicU64::new(0),
            }),
        }
    }

    /// Picture or sound.
    pub fn kind(&self) -> MediaKind {
        self.inner.kind
    }

    /// What was last negotiated at the hub.
    pub fn format(&self) -> Option<MediaFormat> {
        self.inner.format.load().as_deref().map(|(_, format)| format.clone())
    }

    /// When the last frame was captured. While a link blocks the hub this is now: the capture is not to blame.
    pub fn last_frame(&self) -> Option<MediaTime> {
        let last = self.captured();
        if self.inner.blocked_since.load(Ordering::Relaxed) == 0 {
            return last;
        }
        last.map(|_| self.inner.timebase.now())
    }

    /// Does a link that is on air hold it up at this moment?
    pub fn is_blocked(&self) -> bool {
        self.inner.blocked_since.load(Ordering::Relaxed) != 0
    }

    /// Frames that were passed on so far, those that stood in for captured ones among them.
    pub fn frames(&self) -> u64 {
        self.inner.flow.frames()
    }

    /// How often a link that was on air had to be cut.
    pub fn cuts(&self) -> u64 {
        self.inner.cuts.load(Ordering::Relaxed)
    }

    /// How long the capture was made to wait for links, all in all.
    pub fn blocked(&self) -> Duration {
        Duration::from_nanos(self.inner.blocked.load(Ordering::Relaxed))
    }

    /// What arrived here, and how old it was (from its PTS).
    pub fn stage(&self) -> StageCounters {
        let inner = &*self.inner;
        let (fps, _) = inner.flow.rates(inner.timebase.now());
        let (p50, p95) = inner.age.percentiles().unzip();
        let backwards = inner.backwards.load(Ordering::Relaxed);
        StageCounters {
            frames_in: inner.flow.frames() + backwards,
            frames_out: inner.flow.frames(),
            dropped: vec![("backwards", backwards)],
            fps,
            latency_p50: p50,
            latency_p95: p95,
            last_out: inner.flow.last(),
            ..StageCounters::default()
        }
    }

    pub(super) fn attach(&self, link: &Arc<Link>) {
        self.inner.links.rcu(|links| links.iter().chain([link]).cloned().collect::<Vec<_>>());
    }

    pub(super) fn detach(&self, link: &Arc<Link>) {
        link.detach();
        self.inner
            .links
            .rcu(|links| links.iter().filter(|other| !Arc::ptr_eq(other, link)).cloned().collect::<Vec<_>>());
    }

    /// When each of the last frames came by, by its PTS.
    pub(super) fn passed(&self) -> Arc<Inside> {
        Arc::clone(&self.inner.passed)
    }

    /// When the last captured frame arrived.
    pub(super) fn captured(&self) -> Option<MediaTime> {
        match self.inner.captured.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(MediaTime::from_nanos(nanos)),
        }
    }

    /// How old the last captured frame was when it arrived.
    pub(super) fn last_age(&self) -> Duration {
        Duration::from_nanos(self.inner.captured_age.load(Ordering::Relaxed))
    }

    /// The caps of what was captured last.
    pub(super) fn captured_caps(&self) -> Option<gst::Caps> {
        self.inner.captured_caps.load().as_deref().cloned()
    }

    /// Whether to keep the last captured frame for [`RawHub::take_last`].
    pub(super) fn keep_last(&self, keep: bool) {
        self.inner.keeps.store(keep, Ordering::Relaxed);
        if !keep {
            self.inner.last.store(None);
        }
    }

    /// The last captured frame, once. Its buffer is the driver's.
    pub(super) fn take_last(&self) -> Option<Arc<gst::Sample>> {
        self.inner.last.swap(None)
    }

    /// Whether captured frames are no picture, and are not passed.
    pub(super) fn set_closed(&self, closed: bool) {
        self.inner.closed.store(closed, Ordering::Relaxed);
    }

    /// Passes one captured frame to every link. `pts` is its running time, and what the sample's buffer carries. False
    /// when the frame was not passed because its time is not after the last one's.
    pub(super) fn push(&self, sample: &gst::Sample, pts: MediaTime) -> bool {
        let inner = &*self.inner;
        let now = inner.timebase.now();
        inner.captured.store(now.as_nanos().max(1), Ordering::Relaxed);
        if inner.closed.load(Ordering::Relaxed) {
            return true;
        }
        let age = now.saturating_since(pts);
        inner.captured_age.store(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        inner.note_captured(sample);
        if inner.keeps.load(Ordering::Relaxed) {
            inner.last.store(Some(Arc::new(sample.clone())));
        }
        if inner.turn.swap(true, Ordering::Acquire) {
            // A frame that stands in for one like this is on its way.
            return true;
        }
        let filled = inner.filled.swap(false, Ordering::Relaxed);
        let passed = self.pass(sample, pts, now);
        if !passed && !filled {
            inner.backwards.fetch_add(1, Ordering::Relaxed);
        }
        inner.turn.store(false, Ordering::Release);
        // The last one that stood in may be later than this: then this one was shown already, as it were.
        passed || filled
    }

    /// Passes a frame that stands in for a captured one, unless one of those is on its way, with this running time or the
    /// next that can be.
    pub(super) fn fill(&self, sample: &gst::Sample, pts: MediaTime, duration: Duration) {
        let inner = &*self.inner;
        if inner.turn.swap(true, Ordering::Acquire) {
            return;
        }
        let last = MediaTime::from_nanos(inner.last_pts.load(Ordering::Relaxed));
        // Half a frame, since the time of the last captured one shook.
        let pts = pts.max(last + duration / 2);
        if let Some(buffer) = sample.buffer() {
            let mut moved = buffer.copy();
            if let Some(moved) = moved.get_mut() {
                moved.set_pts(gst::ClockTime::from_nseconds(pts.as_nanos()));
                moved.set_dts(gst::ClockTime::NONE);
                moved.set_duration(gst::ClockTime::from_nseconds(
                    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
                ));
            }
            let caps = sample.caps_owned();
            let sample = gst::Sample::builder().buffer(&moved).caps_if_some(caps.as_ref()).build();
            self.pass(&sample, pts, inner.timebase.now());
            inner.filled.store(true, Ordering::Relaxed);
        }
        inner.turn.store(false, Ordering::Release);
    }

    /// Passes one frame to every link. False when its time is not after the last one's.
    fn pass(&self, sample: &gst::Sample, pts: MediaTime, now: MediaTime) -> bool {
        let inner = &*self.inner;
        if inner.last_pts.fetch_max(pts.as_nanos(), Ordering::Relaxed) >= pts.as_nanos() {
            return false;
        }
        inner.age.record(now.saturating_since(pts));
        inner.passed.enter(pts.as_nanos(), now);
        inner.flow.record(now, 0);
        inner.note_format(sample);

        let links = inner.links.load();
        let mut gone = false;
        // Links on air that were full, one bit each; nobody has 64 of them.
        let mut full = 0u64;
        for (index, link) in links.iter().enumerate() {
            match link.offer(sample) {
                Offer::Taken => {}
                Offer::Full if link.is_on_air() && index < 64 => full |= 1 << index,
                Offer::Full => link.skip(),
                Offer::Detached => gone = true,
            }
        }
        if full != 0 {
            gone |= inner.wait_for(&links, full, sample);
        }
        if gone {
            for link in links.iter().filter(|link| link.is_detached()) {
                self.detach(link);
            }
        }
        true
    }
}

impl Inner {
    /// Gives links on air the time they may take. True when one was cut.
    fn wait_for(&self, links: &[Arc<Link>], full: u64, sample: &gst::Sample) -> bool {
        // The wait begins here: this thread may have been without a processor since it looked at the clock.
        let now = self.timebase.now();
        self.blocked_since.store(now.as_nanos().max(1), Ordering::Relaxed);
        let deadline = now + LINK_PATIENCE;
        let mut cut = false;
        for (_, link) in links.iter().enumerate().filter(|(index, _)| *index < 64 && full >> index & 1 == 1) {
            let waited = link.wait(deadline);
            self.blocked.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            match link.offer(sample) {
                Offer::Taken => {}
                // Taken off air meanwhile: it skips like any other.
                Offer::Full if !link.is_on_air() => link.skip(),
                Offer::Full => {
                    link.skip();
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    link.cut();
                    cut = true;
                }
                Offer::Detached => cut = true,
            }
        }
        self.blocked_since.store(0, Ordering::Relaxed);
        cut
    }

    fn note_captured(&self, sample: &gst::Sample) {
        let Some(caps) = sample.caps_owned() else { return };
        if self.captured_caps.load().as_deref() != Some(&caps) {
            self.captured_caps.store(Some(Arc::new(caps)));
        }
    }

    fn note_format(&self, sample: &gst::Sample) {
        let Some(caps) = sample.caps_owned() else { return };
        if self.format.load().as_deref().is_none_or(|(known, _)| *known != caps) {
            let format = MediaFormat::of(&caps);
            self.format.store(Some(Arc::new((caps, format))));
        }
    }
}
