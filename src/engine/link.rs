//! One consumer of a raw hub: the `appsrc` of an encode graph, and the rule of how long the hub may wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use gstreamer as gst;
use gstreamer_app as gst_app;

use crate::media::MediaTime;

use super::bus::{Note, post};
use super::clock::Timebase;

/// A thread that wakes so much too late was without a processor meanwhile, and so may the consumer have been.
const OVERSLEPT: Duration = Duration::from_millis(50);
/// What a consumer has in addition then.
const GRACE: Duration = Duration::from_millis(100);

/// From the hub into one encode graph. Its capacity is the `appsrc`'s and nothing else.
pub(super) struct Link {
    appsrc: gst_app::AppSrc,
    timebase: Timebase,
    limits: (u64, u64, gst::ClockTime),
    /// May make the hub wait.
    on_air: AtomicBool,
    detached: AtomicBool,
    /// The hub's streaming thread while it waits for room here.
    waiter: Arc<ArcSwapOption<Thread>>,
    skipped: AtomicU64,
    cuts: AtomicU64,
    blocked: AtomicU64,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Taken,
    Full,
    /// The graph behind it is stopping or gone.
    Detached,
}

impl Link {
    /// Not on air yet.
    pub(super) fn new(appsrc: gst_app::AppSrc, timebase: Timebase) -> Arc<Link> {
        let waiter = Arc::new(ArcSwapOption::<Thread>::empty());
        let wake = Arc::clone(&waiter);
        // `need-data` at every buffer that leaves, not only when the queue has run empty: it is what ends a wait.
        appsrc.set_min_percent(100);
        appsrc.set_callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |_, _| {
                    if let Some(thread) = wake.load().as_deref() {
                        thread.unpark();
                    }
                })
                .build(),
        );
        Arc::new(Link {
            limits: (appsrc.max_buffers(), appsrc.max_bytes(), appsrc.max_time()),
            appsrc,
            timebase,
            on_air: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            waiter,
            skipped: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
        })
    }

    pub(super) fn set_on_air(&self, on_air: bool) {
        self.on_air.store(on_air, Ordering::Relaxed);
    }

    pub(super) fn is_on_air(&self) -> bool {
        self.on_air.load(Ordering::Relaxed)
    }

    /// Hands a sample over if there is room. Never waits: `appsrc block=true` would, but is not asked while full.
    pub(super) fn offer(&self, sample: &gst::Sample) -> Offer {
        if self.detached.load(Ordering::Relaxed) {
            return Offer::Detached;
        }
        if self.is_full() {
            return Offer::Full;
        }
        match self.appsrc.push_sample(sample) {
            Ok(_) => Offer::Taken,
            // FLUSHING, EOS or an error: in any case nothing of the capture's. The graph's own bus has the reason.
            Err(_) => {
                self.detached.store(true, Ordering::Relaxed);
                Offer::Detached
            }
        }
    }

    /// Counts a frame this link did not get.
    pub(super) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until there is room, the link is detached, or `deadline`. The streaming thread sleeps here without a lock;
    /// the consumer's thread wakes it. Where this thread overslept, the machine is what is late, and the consumer has a
    /// moment more. Tells how long it was.
    pub(super) fn wait(&self, mut deadline: MediaTime) -> Duration {
        let (began, mut overslept) = (self.timebase.now(), false);
        self.waiter.store(Some(Arc::new(thread::current())));
        // Room is looked at only after the waiter can be seen, so no wake-up is missed.
        while !self.detached.load(Ordering::Relaxed) && self.is_full() {
            let now = self.timebase.now();
            let left = deadline.saturating_since(now);
            if left.is_zero() {
                if overslept || now < deadline + OVERSLEPT {
                    break;
                }
                overslept = true;
                deadline = now + GRACE;
                continue;
            }
            thread::park_timeout(left);
        }
        self.waiter.store(None);
        let waited = self.timebase.now().saturating_since(began);
        self.blocked.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        waited
    }

    /// Ends this link because it blocked the hub for too long, and tells the graph.
    pub(super) fn cut(&self) {
        self.detached.store(true, Ordering::Relaxed);
        self.cuts.fetch_add(1, Ordering::Relaxed);
        post(&self.appsrc, Note::LinkCut);
    }

    /// No more samples; ends a wait of the hub.
    pub(super) fn detach(&self) {
        self.detached.store(true, Ordering::Relaxed);
        if let Some(thread) = self.waiter.load().as_deref() {
            thread.unpark();
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// How long the hub had to wait here, all in all.
    pub(super) fn blocked(&self) -> Duration {
        Duration::from_nanos(self.blocked.load(Ordering::Relaxed))
    }

    pub(super) fn is_full(&self) -> bool {
        let (buffers, bytes, time) = self.limits;
        (buffers > 0 && self.appsrc.current_level_buffers() >= buffers)
            || (bytes > 0 && self.appsrc.current_level_bytes() >= bytes)
            || (!time.is_zero() && self.appsrc.current_level_time() >= time)
    }
}
