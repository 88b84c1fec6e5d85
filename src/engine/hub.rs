//! The raw hub: where captured frames meet the encoders that want them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use gstreamer as gst;

use crate::media::{MediaKind, MediaTime};

use super::clock::Timebase;
use super::counters::{Delays, Flow, StageCounters};
use super::format::MediaFormat;
use super::link::{Link, Offer};

/// How long one frame may wait for links that are on air before they are cut.
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
    /// PTS of the last frame, so that no encoder ever sees time go back.
    last_pts: AtomicU64,
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
                last_pts: AtomicU64::new(0),
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

    /// When the last frame arrived. While a link blocks the hub this is now: the capture is not to blame.
    pub fn last_frame(&self) -> Option<MediaTime> {
        let last = self.inner.flow.last();
        if self.inner.blocked_since.load(Ordering::Relaxed) == 0 {
            return last;
        }
        last.map(|_| self.inner.timebase.now())
    }

    /// Frames that were passed on so far.
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

    /// Passes one frame to every link. `pts` is its running time, and what the sample's buffer carries. False when the
    /// frame was not passed because its time is not after the last one's.
    pub(super) fn push(&self, sample: &gst::Sample, pts: MediaTime) -> bool {
        let inner = &*self.inner;
        let now = inner.timebase.now();
        if inner.last_pts.fetch_max(pts.as_nanos(), Ordering::Relaxed) >= pts.as_nanos() {
            inner.backwards.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        inner.age.record(now.saturating_since(pts));
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
            gone |= inner.wait_for(&links, full, sample, now);
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
    fn wait_for(&self, links: &[Arc<Link>], full: u64, sample: &gst::Sample, now: MediaTime) -> bool {
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

    fn note_format(&self, sample: &gst::Sample) {
        let Some(caps) = sample.caps_owned() else { return };
        if self.format.load().as_deref().is_none_or(|(known, _)| *known != caps) {
            let format = MediaFormat::of(&caps);
            self.format.store(Some(Arc::new((caps, format))));
        }
    }
}
