//! What is counted on a graph's pads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::{MediaKind, MediaTime};
use crate::telemetry::Delays;

use super::clock::Timebase;
use super::counters::{Flow, Inside};
use super::jpeg::Jpegs;
use super::looping::Looping;
use super::trust::Trust;
use super::way::Way;

/// One graph's counters.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) frames_in: AtomicU64,
    pub(super) out: Flow,
    /// Frames that the device lost, by gaps in its own count.
    pub(super) gaps: AtomicU64,
    /// Frames that a source which cannot wait made too late.
    pub(super) late: AtomicU64,
    /// Frames that went into the encoder, or a captured format's decoder, and never came out.
    pub(super) swallowed: AtomicU64,
    /// Frames of an odd kind: without PTS, RTP that cannot be read.
    pub(super) malformed: AtomicU64,
    /// Running time of the end of what a sound card delivered last, by its driver; 0 before.
    pub(super) source_end: AtomicU64,
    pub(super) keyframes: AtomicU64,
    pub(super) delays: Delays,
    pub(super) way: Way,
    inside: Inside,
    marks: Marks,
}

impl Tally {
    /// Whether the encoder called the frame with this running time a keyframe.
    pub(super) fn is_keyframe(&self, running_time: MediaTime) -> bool {
        self.marks.slots.iter().any(|slot| slot.load(Relaxed) == running_time.as_nanos())
    }
}

/// Running times of the last keyframes. Parsers and payloaders keep a frame's time but not always its flags.
struct Marks {
    slots: [AtomicU64; 16],
    next: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        Marks { slots: std::array::from_fn(|_| AtomicU64::new(u64::MAX)), next: AtomicU64::new(0) }
    }
}

/// Turns PTS into running time on one pad. x264's segment begins at 1000 h; so the segment counts, never the bare PTS.
#[derive(Default)]
pub(super) struct Segment {
    /// Added to a PTS.
    shift: AtomicI64,
}

impl Segment {
    fn note(&self, event: &gst::EventRef) {
        if let gst::EventView::Segment(segment) = event.view()
            && let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>()
        {
            self.set(segment);
        }
    }

    fn set(&self, segment: &gst::FormattedSegment<gst::ClockTime>) {
        let nanos = |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds().cast_signed());
        self.shift.store(
            nanos(segment.base()).wrapping_sub(nanos(segment.start())).wrapping_sub(nanos(segment.offset())),
            Relaxed,
        );
    }

    pub(super) fn running_time(&self, buffer: &gst::BufferRef) -> Option<u64> {
        let pts = buffer.pts()?.nseconds().cast_signed();
        u64::try_from(pts.wrapping_add(self.shift.load(Relaxed))).ok()
    }
}

/// Follows the segments that pass a pad.
pub(super) fn follow(pad: &gst::Pad) -> Arc<Segment> {
    let segment = Arc::new(Segment::default());
    let noted = Arc::clone(&segment);
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(event) = info.event() {
            noted.note(event);
        }
        gst::PadProbeReturn::Ok
    });
    segment
}

/// Counts what a source makes, and what a device says it lost: `v4l2src` numbers its buffers by the driver's sequence,
/// `alsasrc` marks what comes after an overrun as discontinuous. Pictures that the driver calls damaged
/// (`V4L2_BUF_FLAG_ERROR`) are left out.
pub(super) fn watch_source(source: &gst::Element, kind: MediaKind, device: bool, tally: &Arc<Tally>) {
    let Some(pad) = source.static_pad("src") else { return };
    let tally = Arc::clone(tally);
    let segment = (device && kind == MediaKind::Audio).then(|| follow(&pad));
    pad.add_probe(gst::PadProbeType::BUFFER, {
        let (last, trust) = (AtomicU64::new(u64::MAX), Trust::default());
        move |_, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            let first = tally.frames_in.fetch_add(1, Relaxed) == 0;
            if let Some(begin) = segment.as_ref().and_then(|segment| segment.running_time(buffer)) {
                let span = buffer.duration().map_or(0, gst::ClockTime::nseconds);
                tally.source_end.store(begin + span, Relaxed);
            }
            if device && kind == MediaKind::Video {
                let offset = buffer.offset();
                let before = last.swap(offset, Relaxed);
                if offset != u64::MAX && before != u64::MAX && offset > before {
                    tally.gaps.fetch_add(offset - before - 1, Relaxed);
                }
                if !trust.is_good(!buffer.flags().contains(gst::BufferFlags::CORRUPTED)) {
                    tally.gaps.fetch_add(1, Relaxed);
                    // Not `Drop`: the bindings have taken the buffer by then, and GStreamer would release it once more.
                    return gst::PadProbeReturn::Handled;
                }
            } else if device && !first && buffer.flags().contains(gst::BufferFlags::DISCONT) {
                tally.gaps.fetch_add(1, Relaxed);
            }
            gst::PadProbeReturn::Ok
        }
    });
}

/// How late a frame of a source that cannot wait may be: three frame times, as a driver with the usual four buffers would
/// still have it, but never less than the hitch of a busy machine; more for sound, where a skip is heard.
fn tolerance(kind: MediaKind, duration: Option<gst::ClockTime>) -> Duration {
    match kind {
        MediaKind::Video => {
            let frame = Duration::from_nanos(duration.map_or(33_333_333, gst::ClockTime::nseconds));
            (frame * 3).max(Duration::from_millis(50))
        }
        MediaKind::Audio => Duration::from_millis(200),
    }
}

/// Skips and counts, in front of the pacer, what a test picture or a file delivers too late, as a driver would have;
/// places a file's segments on the common time line.
pub(super) fn watch_pacer(
    pacer: &gst::Element,
    kind: MediaKind,
    looping: Option<&Arc<Looping>>,
    timebase: &Timebase,
    tally: &Arc<Tally>,
) {
    let Some(pad) = pacer.static_pad("sink") else { return };
    let segment = Arc::new(Segment::default());
    let (noted, looping) = (Arc::clone(&segment), looping.cloned());
    let turns = looping.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let Some(event) = info.event_mut() else { return gst::PadProbeReturn::Ok };
        let Some(looping) = &looping else {
            noted.note(event);
            return gst::PadProbeReturn::Ok;
        };
        if let gst::EventView::Segment(old) = event.view()
            && let Ok(mut placed) = old.segment().clone().downcast::<gst::ClockTime>()
        {
            looping.place(pad, &mut placed);
            noted.set(&placed);
            let seqnum = event.seqnum();
            *event = gst::event::Segment::builder(&placed).seqnum(seqnum).build();
        }
        gst::PadProbeReturn::Ok
    });
    let (timebase, tally) = (timebase.clone(), Arc::clone(tally));
    let (shown, held_back) = (AtomicU64::new(0), AtomicU64::new(0));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let Some(running_time) = segment.running_time(buffer) else { return gst::PadProbeReturn::Ok };
        let duration = buffer.duration();
        if let Some(turns) = &turns {
            turns.passed(running_time, duration.map_or(0, gst::ClockTime::nseconds));
        }
        let now = timebase.now();
        let late = now.saturating_since(MediaTime::from_nanos(running_time));
        let in_time = late <= tolerance(kind, duration);
        let time = if in_time { MediaTime::from_nanos(running_time) } else { now };
        if turns.is_some() && shown.load(Relaxed) == 0 {
            // A graph that joins a turn decodes what it missed first: late by nature, and not to be shown as of now.
            shown.store(now.as_nanos(), Relaxed);
        }
        let gap = time.saturating_since(MediaTime::from_nanos(shown.load(Relaxed)));
        if !in_time && (kind == MediaKind::Audio || gap < patience(turns.is_some(), duration)) {
            if turns.is_some() || kind == MediaKind::Audio {
                tally.late.fetch_add(1, Relaxed);
            } else {
                held_back.fetch_add(1, Relaxed);
            }
            // Not `Drop`: the bindings have taken the buffer by then, and GStreamer would release it once more.
            return gst::PadProbeReturn::Handled;
        }
        if turns.is_none() && kind == MediaKind::Video && gap.is_zero() && shown.load(Relaxed) > 0 {
            // Made in time, but a late one was already shown for later than this. The gap to the next one counts it.
            held_back.fetch_add(1, Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        if !in_time {
            // A machine so busy that every frame is late still shows what it can, as of now, instead of nothing.
            let pts = buffer.pts().map(|pts| pts + gst::ClockTime::from_nseconds(late.as_nanos() as u64));
            buffer.make_mut().set_pts(pts);
        }
        if turns.is_none() && kind == MediaKind::Video && shown.load(Relaxed) > 0 {
            // What a made picture missed is seen in its times: it may be too slow to make even the late ones, which then
            // came in and were lost all the same.
            let frame = patience(false, duration).as_nanos().max(1);
            let missed = (gap.as_nanos() + frame / 2) / frame;
            let made = held_back.swap(0, Relaxed);
            let lost = u64::try_from(missed.saturating_sub(1)).unwrap_or(0).max(made);
            tally.late.fetch_add(lost, Relaxed);
            tally.frames_in.fetch_add(lost - made, Relaxed);
        }
        shown.store(time.as_nanos(), Relaxed);
        gst::PadProbeReturn::Ok
    });
}

/// How long a source that cannot wait may go without a frame in time before a late one is shown: a made picture is as
/// good now as it was then; a file's is out of step with its sound, so only to show that it lives.
fn patience(file: bool, duration: Option<gst::ClockTime>) -> Duration {
    if file {
        return Duration::from_millis(250);
    }
    Duration::from_nanos(duration.map_or(33_333_333, gst::ClockTime::nseconds))
}

/// Keeps pictures that cannot be decoded from a decoder of what a card captures, and counts them with those that it could
/// make nothing of: those that went in before one that came out.
pub(super) fn watch_decoder(decoder: &gst::Element, timebase: &Timebase, tally: &Arc<Tally>) {
    // A file's decoder has its pads later, and is fed by a demuxer.
    let (Some(sink), Some(src)) = (decoder.static_pad("sink"), decoder.static_pad("src")) else { return };
    let (segment, clock, counts) = (follow(&sink), timebase.clone(), Arc::clone(tally));
    let jpegs = Jpegs::default();
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        if !buffer.map_readable().is_ok_and(|bytes| jpegs.is_good(&bytes)) {
            counts.swallowed.fetch_add(1, Relaxed);
            // Not `Drop`: the bindings have taken the buffer by then, and GStreamer would release it once more.
            return gst::PadProbeReturn::Handled;
        }
        if let Some(running_time) = segment.running_time(buffer) {
            counts.inside.enter(running_time, clock.now());
        }
        gst::PadProbeReturn::Ok
    });
    let (segment, counts) = (follow(&src), Arc::clone(tally));
    let next = AtomicU64::new(0);
    src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(running_time) = info.buffer().and_then(|buffer| segment.running_time(buffer))
            && let Some((number, _)) = counts.inside.entered(running_time)
        {
            let expected = next.swap(number + 1, Relaxed);
            counts.swallowed.fetch_add(number.saturating_sub(expected), Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Counts frames into and out of an encoder, how long each was inside, and which are keyframes.
pub(super) fn watch_encoder(
    encoder: &gst::Element,
    kind: MediaKind,
    timebase: &Timebase,
    tally: &Arc<Tally>,
) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else { return };
    let (segment, clock, counts) = (follow(&sink), timebase.clone(), Arc::clone(tally));
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(running_time) = info.buffer().and_then(|buffer| segment.running_time(buffer)) {
            let now = clock.now();
            counts.way.reaches_encoder(running_time, now);
            counts.inside.enter(running_time, now);
        }
        counts.frames_in.fetch_add(1, Relaxed);
        gst::PadProbeReturn::Ok
    });
    let (segment, clock, counts) = (follow(&src), timebase.clone(), Arc::clone(tally));
    let next = AtomicU64::new(0);
    src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
        let now = clock.now();
        if let Some(running_time) = segment.running_time(buffer) {
            counts.way.leaves_encoder(running_time, now);
            if let Some((number, entered)) = counts.inside.entered(running_time) {
                counts.delays.record(now.saturating_since(entered));
                if kind == MediaKind::Video {
                    let expected = next.swap(number + 1, Relaxed);
                    counts.swallowed.fetch_add(number.saturating_sub(expected), Relaxed);
                }
            }
            if kind == MediaKind::Audio || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                counts.keyframes.fetch_add(1, Relaxed);
                let slot = counts.marks.next.fetch_add(1, Relaxed) as usize % counts.marks.slots.len();
                counts.marks.slots[slot].store(running_time, Relaxed);
            }
        } else {
            counts.malformed.fetch_add(1, Relaxed);
        }
        counts.out.record(now, buffer.size());
        gst::PadProbeReturn::Ok
    });
}
