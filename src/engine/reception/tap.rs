//! Where a capture graph reads what arrives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::media::{MediaKind, MediaTime};

use super::anchor::Anchor;
use super::store::Held;

/// What is no older is shown by a graph that joins.
const JUST_NOW: Duration = Duration::from_millis(50);

/// One graph's `appsrc`. Only the one who writes the stream pushes into it, and never waits.
pub(in crate::engine) struct Tap {
    kind: MediaKind,
    /// Which of the streams that come one after the other its decoder is for.
    session: u64,
    appsrc: glib::WeakRef<gst_app::AppSrc>,
    joined: AtomicBool,
    /// All that gets in is passed on, and nothing is decoded for the sake of what follows.
    whole: bool,
    /// Nothing gets in before a keyframe.
    waits: AtomicBool,
    /// What comes next begins a segment.
    fresh: AtomicBool,
    dropped: AtomicU64,
}

impl Tap {
    pub(in crate::engine) fn new(kind: MediaKind, session: u64, appsrc: &gst_app::AppSrc) -> Tap {
        Tap {
            kind,
            session,
            appsrc: appsrc.downgrade(),
            joined: AtomicBool::new(false),
            whole: false,
            waits: AtomicBool::new(true),
            fresh: AtomicBool::new(true),
            dropped: AtomicU64::new(0),
        }
    }

    /// One that begins with the next keyframe that arrives, and not with what there is.
    pub(in crate::engine) fn from_next(session: u64, appsrc: &gst_app::AppSrc) -> Tap {
        Tap { joined: AtomicBool::new(true), whole: true, ..Tap::new(MediaKind::Video, session, appsrc) }
    }

    pub(super) fn kind(&self) -> MediaKind {
        self.kind
    }

    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// True once: it is to be given what there is.
    pub(super) fn joins(&self) -> bool {
        !self.joined.swap(true, Relaxed)
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined.load(Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }

    /// Throws away what the graph has not shown yet.
    pub(super) fn flush(&self) {
        self.waits.store(true, Relaxed);
        self.fresh.store(true, Relaxed);
        if let Some(appsrc) = self.appsrc.upgrade() {
            // Refused only while the graph goes down.
            let _ = appsrc.send_event(gst::event::FlushStart::new())
                && appsrc.send_event(gst::event::FlushStop::new(false));
        }
    }

    /// The graph's stream ends, once what it has is shown.
    pub(super) fn end(&self) {
        if let Some(appsrc) = self.appsrc.upgrade() {
            // Refused only while the graph goes down.
            let _ = appsrc.end_of_stream();
        }
    }

    /// One unit: in, or dropped.
    pub(super) fn push(&self, held: &Held, anchor: &Anchor, now: MediaTime) {
        let Some(appsrc) = self.appsrc.upgrade() else { return };
        let full = is_full(&appsrc, held.bytes.size());
        if full || (self.waits.load(Relaxed) && !held.key) {
            // What comes before the first keyframe was never wanted.
            if full || self.dropped() > 0 {
                self.dropped.fetch_add(1, Relaxed);
            }
            self.waits.store(true, Relaxed);
            return;
        }
        self.waits.store(false, Relaxed);
        let mut buffer = held.bytes.copy();
        if let Some(buffer) = buffer.get_mut() {
            let time = |time| gst::ClockTime::from_nseconds(anchor.at(time).as_nanos());
            buffer.set_pts(time(held.pts));
            buffer.set_dts(time(held.dts));
            if !held.key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            if held.anew {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        // Refused only while the graph goes down.
        let _ = match self.fresh.swap(false, Relaxed) {
            true => {
                // A keyframe that came late, with others at once, is as good as the next one.
                let begin = if self.whole { anchor.at(held.dts).min(now) } else { now - JUST_NOW };
                appsrc.push_sample(&first(&appsrc, &buffer, begin))
            }
            false => appsrc.push_buffer(buffer),
        };
    }
}

fn first(appsrc: &gst_app::AppSrc, buffer: &gst::Buffer, begin: MediaTime) -> gst::Sample {
    let caps = appsrc.caps();
    gst::Sample::builder().buffer(buffer).caps_if_some(caps.as_ref()).segment(&from(begin)).build()
}

/// What lies before is decoded, for what follows refers to it, and shown by nobody.
fn from(begin: MediaTime) -> gst::FormattedSegment<gst::ClockTime> {
    let start = gst::ClockTime::from_nseconds(begin.as_nanos());
    let mut segment = gst::FormattedSegment::new();
    segment.set_start(start);
    segment.set_time(start);
    segment.set_base(start);
    segment
}

fn is_full(appsrc: &gst_app::AppSrc, bytes: usize) -> bool {
    let (most, time) = (appsrc.max_bytes(), appsrc.property::<u64>("max-time"));
    let level = Duration::from_nanos(appsrc.property::<u64>("current-level-time"));
    (time > 0 && level >= Duration::from_nanos(time))
        || (most > 0 && appsrc.current_level_bytes() + bytes as u64 > most)
}
