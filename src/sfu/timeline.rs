//! One lane's numbering and RTP time, continuous across everything a source does: encoder switches, restarts, gaps.

use std::time::{Duration, Instant};

use crate::media::{Codec, Frame, MediaKind, RtpTime};

/// A step of the source's sequence number larger than this is another source, not loss.
const MAX_GAP: u64 = 1_000;

/// The least step of RTP time between two frames, 1 ms: libwebrtc discards a frame whose RTP time is not newer.
const MIN_STEP: Duration = Duration::from_millis(1);

/// Pictures sent out of their order are no further apart than this.
const MAX_REORDERING: Duration = Duration::from_secs(1);

/// How the packets of one frame are to be renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    sequence: u64,
    time: u32,
}

impl Shift {
    /// The lane's number for a source's; wraps, because sources may count down from each other.
    pub(super) const fn sequence(self, source: u64) -> u64 {
        source.wrapping_add(self.sequence)
    }

    /// The lane's RTP time for a source's.
    pub(super) const fn time(self, source: RtpTime) -> RtpTime {
        source.offset(self.time)
    }
}

/// Where a lane stands.
#[derive(Debug)]
pub(super) struct Timeline {
    clock_rate: u32,
    /// Video needs a keyframe to begin a source with.
    needs_keyframe: bool,
    /// The source is a network: holes may be filled late, and time is left as it is sent.
    remote: bool,
    source: Option<Source>,
    /// How many sources there have been.
    generation: u32,
    next_sequence: u64,
    last: Option<(RtpTime, Instant)>,
    /// That is another layer's: nothing was placed here yet.
    beside: bool,
}

#[derive(Debug)]
struct Source {
    codec: Codec,
    first_sequence: u64,
    last_sequence: u64,
    last_time: RtpTime,
    /// The last packet ended its picture.
    ended: bool,
    shift: Shift,
}

impl Timeline {
    /// A lane that has carried nothing yet.
    pub(super) fn new(kind: MediaKind) -> Timeline {
        let clock_rate = match kind {
            MediaKind::Video => Codec::H264.clock_rate(),
            MediaKind::Audio => Codec::Opus.clock_rate(),
        };
        let needs_keyframe = kind == MediaKind::Video;
        Timeline {
            clock_rate,
            needs_keyframe,
            remote: false,
            source: None,
            generation: 0,
            next_sequence: 0,
            last: None,
            beside: false,
        }
    }

    /// The next frame comes from another source; `remote` says that a network brings it.
    pub(super) fn restart(&mut self, remote: bool) {
        self.source = None;
        self.remote = remote;
    }

    /// Names the present source, among those of this lane.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Time begins where `other` stands, if it has not begun: layers of one picture share one time line.
    pub(super) fn begin_beside(&mut self, other: &Timeline) {
        if self.last.is_none() {
            (self.last, self.beside) = (other.last, other.last.is_some());
        }
    }

    /// Whether a frame comes too late to be placed: it is from before this source began here.
    pub(super) fn is_stale(&self, frame: &Frame) -> bool {
        let first = frame.packets.first().map(|packet| packet.sequence);
        self.source.as_ref().zip(first).is_some_and(|(source, first)| {
            let before = source.first_sequence.saturating_sub(first);
            self.remote && source.codec == frame.codec && (1..=MAX_GAP).contains(&before)
        })
    }

    /// Places a frame captured at `captured`; `None` when it cannot be decoded after what came before it, so that a
    /// keyframe is needed.
    pub(super) fn place(&mut self, frame: &Frame, captured: Instant) -> Option<Shift> {
        let (first, last) = (frame.packets.first()?, frame.packets.last()?);
        let shift = match &self.source {
            Some(source) if source.continues(frame, first.sequence, self.remote) => {
                let step = first.rtp_time.since(source.last_time);
                if first.sequence <= source.last_sequence {
                    return Some(source.shift);
                }
                // The next picture, a further part of the same one, or time that stands still or runs backwards.
                match step {
                    1.. => source.shift,
                    _ if self.remote && self.is_reordering(step) => source.shift,
                    0 if !source.ended => source.shift,
                    _ => {
                        let time = self.later_than_last(captured)?;
                        Shift { time: time.0.wrapping_sub(first.rtp_time.0), ..source.shift }
                    }
                }
            }
            _ if self.needs_keyframe && !frame.keyframe => return None,
            _ => {
                self.generation = self.generation.wrapping_add(1);
                let time = self.next_time(captured).unwrap_or(first.rtp_time);
                Shift {
                    sequence: self.next_sequence.wrapping_sub(first.sequence),
                    time: time.0.wrapping_sub(first.rtp_time.0),
                }
            }
        };
        self.next_sequence = shift.sequence(last.sequence) + 1;
        let time = shift.time(last.rtp_time);
        if std::mem::take(&mut self.beside) || self.last.is_none_or(|(last, _)| time.since(last) >= 0) {
            self.last = Some((time, captured));
        }
        let continued = self.source.as_ref().filter(|source| source.shift.sequence == shift.sequence);
        self.source = Some(Source {
            codec: frame.codec,
            first_sequence: continued.map_or(first.sequence, |source| source.first_sequence),
            last_sequence: last.sequence,
            last_time: last.rtp_time,
            ended: last.marker,
            shift,
        });
        Some(shift)
    }

    /// A step back, or none, that a publisher with reordered pictures makes.
    fn is_reordering(&self, step: i32) -> bool {
        u128::from(step.unsigned_abs()) * 1_000 <= MAX_REORDERING.as_millis() * u128::from(self.clock_rate)
    }

    /// Where another source begins: later than what was placed here last, or where it belongs beside another layer, which
    /// may be a picture ahead.
    fn next_time(&self, captured: Instant) -> Option<RtpTime> {
        let (time, at) = self.last?;
        let behind = at.saturating_duration_since(captured);
        if self.beside && !behind.is_zero() {
            return Some(time.offset(self.units(behind).wrapping_neg()));
        }
        self.later_than_last(captured)
    }

    /// Forward by the time between the captures, at least by [`MIN_STEP`].
    fn later_than_last(&self, captured: Instant) -> Option<RtpTime> {
        let (time, at) = self.last?;
        let least = if self.beside { Duration::ZERO } else { MIN_STEP };
        Some(time.offset(self.units(captured.saturating_duration_since(at).max(least))))
    }

    fn units(&self, span: Duration) -> u32 {
        (span.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000) as u32
    }
}

impl Source {
    /// Whether `frame` belongs to this source and can follow it. A keyframe after a gap counts as a new source: nothing
    /// before it is needed, so nobody has to be told of the gap; unless it may yet be filled.
    fn continues(&self, frame: &Frame, first: u64, remote: bool) -> bool {
        let next = self.last_sequence + 1;
        let ahead = first.wrapping_sub(next);
        let late = next.wrapping_sub(first) <= MAX_GAP;
        frame.codec == self.codec && (ahead == 0 || (remote || !frame.keyframe) && (ahead <= MAX_GAP || late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{MediaTime, Packet};
    use proptest::prelude::*;

    fn frame(codec: Codec, keyframe: bool, sequence: u64, packets: u64, time: u32) -> Frame {
        let packet = |n| Packet {
            sequence: sequence + n,
            rtp_time: RtpTime(time),
            marker: n + 1 == packets,
            payload: vec![0; 10].into(),
        };
        Frame { codec, pts: MediaTime::default(), keyframe, packets: (0..packets).map(packet).collect() }
    }

    /// (first sequence, RTP time) as the lane numbers them.
    fn place(lane: &mut Timeline, frame: &Frame, at: Instant) -> Option<(u64, u32)> {
        let shift = lane.place(frame, at)?;
        Some((shift.sequence(frame.packets[0].sequence), shift.time(frame.packets[0].rtp_time).0))
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_restarted_source_goes_on_where_the_last_one_ended() {
        let (mut lane, t0) = (Timeline::new(MediaKind::Video), start());
        let at = |ms| t0 + Duration::from_millis(ms);
        assert_eq!(place(&mut lane, &frame(Codec::H264, false, 7, 2, 1_000), at(0)), None, "no keyframe yet");
        assert_eq!(place(&mut lane, &frame(Codec::H264, true, 9, 3, 1_000), at(0)), Some((0, 1_000)));
        assert_eq!(place(&mut lane, &frame(Codec::H264, false, 12, 1, 4_000), at(33)), Some((3, 4_000)));
        // Another encoder with another codec, numbering and clock; its first frames cannot be decoded.
        assert_eq!(place(&mut lane, &frame(Codec::Vp9, false, 60_000, 1, 77), at(66)), None);
        assert_eq!(
            place(&mut lane, &frame(Codec::Vp9, true, 60_001, 2, 80), at(66)),
            Some((4, 4_000 + 33 * 90))
        );
        assert_eq!(place(&mut lane, &frame(Codec::Vp9, false, 60_003, 1, 3_080), at(99)), Some((6, 9_970)));
        // A new feed that was captured before the last frame.
        lane.restart(false);
        assert_eq!(place(&mut lane, &frame(Codec::Vp9, true, 60_004, 1, 6_080), at(80)), Some((7, 10_060)));
    }

    #[test]
    fn a_gap_is_told_unless_a_keyframe_follows_it() {
        let (mut lane, t0) = (Timeline::new(MediaKind::Video), start());
        assert_eq!(place(&mut lane, &frame(Codec::Vp8, true, 0, 1, 0), t0), Some((0, 0)));
        assert_eq!(place(&mut lane, &frame(Codec::Vp8, false, 5, 1, 100), t0), Some((5, 100)));
        assert_eq!(place(&mut lane, &frame(Codec::Vp8, true, 9, 1, 200), t0).map(|p| p.0), Some(6));
        assert_eq!(
            place(&mut lane, &frame(Codec::Vp8, false, 5_000, 1, 300), t0),
            None,
            "too far to be loss"
        );
    }

    #[test]
    fn the_parts_of_one_picture_keep_one_time() {
        let (mut lane, t0) = (Timeline::new(MediaKind::Video), start());
        let mut head = frame(Codec::H264, true, 0, 2, 500);
        head.packets[1].marker = false;
        assert_eq!(place(&mut lane, &head, t0), Some((0, 500)));
        assert_eq!(place(&mut lane, &frame(Codec::H264, true, 2, 2, 500), t0), Some((2, 500)));
        assert_eq!(
            place(&mut lane, &frame(Codec::H264, false, 4, 1, 500), t0),
            Some((4, 590)),
            "stands still"
        );
        assert_eq!(place(&mut lane, &frame(Codec::H264, false, 5, 1, 400), t0), Some((5, 680)), "backwards");
    }

    #[test]
    fn what_a_network_brings_late_finds_its_place() {
        let (mut lane, t0) = (Timeline::new(MediaKind::Video), start());
        lane.restart(true);
        assert_eq!(place(&mut lane, &frame(Codec::H264, true, 20, 2, 1_000), t0), Some((0, 1_000)));
        assert!(lane.is_stale(&frame(Codec::H264, false, 19, 1, 400)));
        assert!(!lane.is_stale(&frame(Codec::H264, false, 20, 1, 400)));
        // 22 and 23 are missing, and a keyframe follows: the hole stays open, and is filled.
        assert_eq!(place(&mut lane, &frame(Codec::H264, true, 24, 2, 4_000), t0), Some((4, 4_000)));
        assert_eq!(place(&mut lane, &frame(Codec::H264, false, 22, 2, 2_500), t0), Some((2, 2_500)));
        // Pictures in the order of decoding keep their times.
        for (sequence, time) in [(26, 13_000), (27, 7_000), (28, 10_000), (29, 22_000)] {
            let placed = place(&mut lane, &frame(Codec::H264, false, sequence, 1, time), t0);
            assert_eq!(placed, Some((sequence - 20, time)));
        }
        lane.restart(true);
        assert_eq!(place(&mut lane, &frame(Codec::H264, false, 30, 1, 25_000), t0), None);
        assert_eq!(place(&mut lane, &frame(Codec::H264, true, 7, 1, 5), t0), Some((10, 22_090)));
    }

    proptest! {
        #[test]
        fn numbers_and_time_only_ever_grow(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<u32>(), any::<u32>(), 0u64..200), 1..100),
        ) {
            let (mut lane, mut at, mut last) = (Timeline::new(MediaKind::Video), start(), None);
            for (keyframe, jump, sequence, time, ms) in steps {
                at += Duration::from_millis(ms);
                let next = lane.source.as_ref().map(|s| (s.last_sequence + 1, s.last_time.0.wrapping_add(3_000)));
                let (sequence, time) = match next {
                    Some(next) if !jump => next,
                    _ => (u64::from(sequence) + (1 << 33), time),
                };
                let frame = frame(Codec::Av1, keyframe, sequence, 3, time);
                if let Some((sequence, time)) = place(&mut lane, &frame, at) {
                    if let Some((last_sequence, last_time)) = last {
                        prop_assert!(sequence > last_sequence);
                        prop_assert!(RtpTime(time).since(RtpTime(last_time)) > 0);
                    }
                    last = Some((sequence + 2, time));
                }
            }
        }
    }
}
