//! Files that begin anew when they end.
//!
//! Picture and sound of one file are two graphs. Both place the file's beginning at the same `MediaTime` (its zero), and
//! every further turn a whole number of the container's durations later; so they stay in step for ever, and a graph that
//! is rebuilt joins the turn that is under way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::MediaTime;

use super::bus::{Note, post};
use super::clock::Timebase;

/// Not known yet.
const UNSET: u64 = u64::MAX;

/// A graph that joins a turn later than this seeks; else it decodes what it missed.
const SEEK_FROM: Duration = Duration::from_secs(1);

/// How far ahead of now a joining graph seeks: about what a flushing seek takes.
const SEEK_LEAD: Duration = Duration::from_millis(100);

/// The files that are open, each with its zero.
#[derive(Default)]
pub(super) struct Reels {
    open: Mutex<BTreeMap<PathBuf, Weak<Reel>>>,
}

impl Reels {
    /// The file's reel, shared by every graph that has it open. Never called on a streaming thread.
    pub(super) fn open(&self, path: &Path) -> Arc<Reel> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reel) = open.get(path).and_then(Weak::upgrade) {
            return reel;
        }
        open.retain(|_, reel| reel.strong_count() > 0);
        let reel = Arc::new(Reel { zero: AtomicU64::new(UNSET), turn: AtomicU64::new(UNSET) });
        open.insert(path.to_owned(), Arc::downgrade(&reel));
        reel
    }
}

/// Where one file's time lies.
pub(super) struct Reel {
    /// `MediaTime` of the first beginning.
    zero: AtomicU64,
    /// How long one turn lasts, in nanoseconds.
    turn: AtomicU64,
}

/// One graph's part in it.
pub(super) struct Looping {
    reel: Arc<Reel>,
    timebase: Timebase,
    /// `MediaTime` of the present turn's beginning.
    base: AtomicU64,
    /// Running time of the end of what has passed.
    end: AtomicU64,
}

impl Looping {
    pub(super) fn new(reel: Arc<Reel>, timebase: Timebase) -> Arc<Looping> {
        Arc::new(Looping { reel, timebase, base: AtomicU64::new(UNSET), end: AtomicU64::new(0) })
    }

    /// Gives a segment its place on the common time line. On the streaming thread, before anything behind sees it.
    pub(super) fn place(&self, pad: &gst::Pad, segment: &mut gst::FormattedSegment<gst::ClockTime>) {
        let base = match self.base.load(Ordering::Acquire) {
            UNSET => self.begin(pad),
            base => base,
        };
        let time = segment.time().or(segment.start()).unwrap_or_default();
        segment.set_base(gst::ClockTime::from_nseconds(base) + time);
    }

    /// Notes how far a turn has come, for containers that do not say how long they are.
    pub(super) fn passed(&self, running_time: u64, duration: u64) {
        self.end.fetch_max(running_time.saturating_add(duration), Ordering::Relaxed);
    }

    fn begin(&self, pad: &gst::Pad) -> u64 {
        let now = self.timebase.now();
        if let Some(duration) = pad.peer_query_duration::<gst::ClockTime>().filter(|d| !d.is_zero()) {
            let _ = self.reel.turn.compare_exchange(
                UNSET,
                duration.nseconds(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
        let first =
            self.reel.zero.compare_exchange(UNSET, now.as_nanos(), Ordering::AcqRel, Ordering::Acquire);
        let base = match first {
            Ok(_) => now.as_nanos(),
            Err(zero) => {
                let turn = self.reel.turn.load(Ordering::Acquire);
                let since = now.as_nanos().saturating_sub(zero);
                let into = if turn == UNSET { since } else { since % turn };
                if Duration::from_nanos(into) > SEEK_FROM
                    && let Some(element) = pad.parent_element()
                {
                    post(&element, Note::Seek(Duration::from_nanos(into) + SEEK_LEAD));
                }
                now.as_nanos() - into
            }
        };
        self.base.store(base, Ordering::Release);
        base
    }

    /// Seeks to where the file should be by now. On the graph's own thread.
    pub(super) fn join(pipeline: &gst::Pipeline, to: MediaTime) {
        let to = gst::ClockTime::from_nseconds(to.as_nanos());
        if let Err(error) = pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, to) {
            tracing::debug!(%error, "the file cannot seek, it catches up by decoding");
        }
    }

    /// Begins the next turn. On the graph's own thread, when the file has ended. False when the file cannot seek.
    pub(super) fn again(&self, pipeline: &gst::Pipeline) -> bool {
        let base = self.base.load(Ordering::Acquire);
        if base == UNSET {
            return false;
        }
        let measured = self.end.load(Ordering::Relaxed).saturating_sub(base);
        let turn = match self.reel.turn.load(Ordering::Acquire) {
            UNSET if measured > 0 => {
                let race =
                    self.reel.turn.compare_exchange(UNSET, measured, Ordering::AcqRel, Ordering::Acquire);
                race.err().unwrap_or(measured)
            }
            UNSET => return false,
            turn => turn,
        };
        // A graph that was held up for longer than a turn leaves turns out instead of playing them late.
        let now = self.timebase.now().as_nanos();
        let turns = (now.saturating_sub(base) / turn).max(1);
        self.base.store(base + turns * turn, Ordering::Release);
        pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO).is_ok()
    }
}
