//! One stream's RTP time and sequence numbers, across every encoder that ever feeds it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::media::{MediaTime, Packet, RtpTime};

/// How far a new encoder's RTP time may be moved to come after the old one's. Beyond that a gap is better: picture and
/// sound would no longer belong together.
pub(super) const MOST_SHIFT: Duration = Duration::from_millis(50);

/// A packet of sound lasts no longer than this; what is between frames beyond that is a hole.
const LONGEST_STEP: u64 = 60_000_000;

/// Atomic so that it can be shared, not raced for: whoever holds the outlet's baton is alone here.
pub(super) struct Timeline {
    clock_rate: u64,
    /// Last RTP time, not wrapped; 0 before the first.
    rtp: AtomicU64,
    /// Added to the present feed's RTP time.
    offset: AtomicU64,
    /// By how much that shrinks with each frame: 1 ms of a picture, nothing of sound, which is heard.
    ease: u64,
    /// Next sequence number minus the present feed's own; wrapping.
    sequence_offset: AtomicI64,
    next_sequence: AtomicU64,
    pts: AtomicU64,
    /// Between the last two frames, in nanoseconds.
    step: AtomicU64,
}

impl Timeline {
    pub(super) fn new(clock_rate: u32) -> Timeline {
        Timeline {
            clock_rate: clock_rate.into(),
            rtp: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            ease: if clock_rate == 90_000 { 90 } else { 0 },
            sequence_offset: AtomicI64::new(0),
            next_sequence: AtomicU64::new(0),
            pts: AtomicU64::new(0),
            step: AtomicU64::new(0),
        }
    }

    /// How far the RTP time of another feed's frame would have to be moved to come after the last one that went out.
    pub(super) fn shift_for(&self, pts: MediaTime) -> Duration {
        self.span(self.offset_for(pts))
    }

    /// How long a frame lasts: from the last but one that went out to the last; zero before there are two.
    pub(super) fn step(&self) -> Duration {
        Duration::from_nanos(self.step.load(Relaxed))
    }

    /// How much of a frame lies before the end of the last one that went out, which lasts as long as the one before.
    pub(super) fn overlap(&self, pts: MediaTime) -> Duration {
        let (last, step) = (self.pts.load(Relaxed), self.step.load(Relaxed));
        let end = if last == 0 { 0 } else { last + step.min(LONGEST_STEP) };
        MediaTime::from_nanos(end).saturating_since(pts)
    }

    /// The time of a frame without RTP: moved as its packets are.
    pub(super) fn moved(&self, pts: MediaTime) -> MediaTime {
        let own = self.units(pts);
        let rtp = self.advance(own);
        self.pass(pts);
        pts + self.span(rtp.saturating_sub(own))
    }

    /// Notes when the last frame was captured.
    fn pass(&self, pts: MediaTime) {
        let before = self.pts.fetch_max(pts.as_nanos(), Relaxed);
        if before != 0 && pts.as_nanos() > before {
            self.step.store(pts.as_nanos() - before, Relaxed);
        }
    }

    /// Begins with another feed: `first` is its first packet's own sequence number. Returns how far its RTP time is moved.
    pub(super) fn change(&self, pts: MediaTime, first: u64) -> Duration {
        let next = self.next_sequence.load(Relaxed);
        self.sequence_offset.store(next.wrapping_sub(first).cast_signed(), Relaxed);
        let offset = self.offset_for(pts);
        self.offset.store(offset, Relaxed);
        self.span(offset)
    }

    /// Gives one frame's packets their RTP time (strictly after the last frame's) and sequence numbers (the feed's own
    /// gaps are kept).
    pub(super) fn stamp(&self, pts: MediaTime, packets: &mut [Packet]) {
        let rtp = self.advance(self.units(pts));
        self.pass(pts);
        let offset = self.sequence_offset.load(Relaxed);
        for packet in packets.iter_mut() {
            packet.rtp_time = RtpTime(rtp as u32);
            packet.sequence = packet.sequence.wrapping_add_signed(offset);
            self.next_sequence.fetch_max(packet.sequence + 1, Relaxed);
        }
    }

    /// The next RTP time, strictly after the last one.
    fn advance(&self, own: u64) -> u64 {
        let offset = self.offset.load(Relaxed);
        let rtp = (own + offset).max(self.rtp.load(Relaxed) + 1);
        self.rtp.store(rtp, Relaxed);
        // Back to the capture time by a step that nobody sees, so that many changes do not add up.
        self.offset.store(offset.saturating_sub(self.ease), Relaxed);
        rtp
    }

    /// At least 1 ms after the last one.
    fn offset_for(&self, pts: MediaTime) -> u64 {
        let (last, own) = (self.rtp.load(Relaxed), self.units(pts));
        if last > 0 && own <= last { last + self.clock_rate / 1000 - own } else { 0 }
    }

    fn span(&self, units: u64) -> Duration {
        Duration::from_nanos(units * 1_000_000_000 / self.clock_rate)
    }

    fn units(&self, pts: MediaTime) -> u64 {
        let units = u128::from(pts.as_nanos()) * u128::from(self.clock_rate) + 500_000_000;
        (units / 1_000_000_000) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(from: u64, count: u64) -> Vec<Packet> {
        (from..from + count)
            .map(|sequence| Packet {
                sequence,
                rtp_time: RtpTime(0),
                marker: sequence + 1 == from + count,
                payload: [0u8].as_slice().into(),
            })
            .collect()
    }

    fn ms(ms: u64) -> MediaTime {
        MediaTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn rtp_time_is_ninety_kilohertz_of_the_capture_time() {
        let line = Timeline::new(90_000);
        assert_eq!(line.change(ms(1_000), 70_000), Duration::ZERO);
        let mut frame = packets(70_000, 3);
        line.stamp(ms(1_000), &mut frame);
        assert!(frame.iter().all(|packet| packet.rtp_time == RtpTime(90_000)));
        assert_eq!(frame.iter().map(|packet| packet.sequence).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn an_encoder_that_is_a_little_behind_is_moved_and_eased_back() {
        let line = Timeline::new(90_000);
        line.change(ms(1_000), 0);
        line.stamp(ms(1_000), &mut packets(0, 2));
        assert_eq!(line.shift_for(ms(980)), Duration::from_millis(21));
        assert_eq!(line.change(ms(980), 500), Duration::from_millis(21));
        let mut frame = packets(500, 1);
        line.stamp(ms(980), &mut frame);
        assert_eq!((frame[0].rtp_time, frame[0].sequence), (RtpTime(90_090), 2));
        let mut frame = packets(501, 1);
        line.stamp(ms(1_013), &mut frame);
        assert_eq!((frame[0].rtp_time, frame[0].sequence), (RtpTime(90_090 + 32 * 90), 3));
        assert_eq!(
            line.shift_for(ms(1_013)),
            Duration::from_millis(21),
            "from what went out, not from the capture"
        );
    }

    #[test]
    fn what_has_no_rtp_is_moved_as_its_packets_are() {
        let line = Timeline::new(90_000);
        line.change(ms(1_000), 0);
        assert_eq!(line.moved(ms(1_000)), ms(1_000));
        line.change(ms(980), 0);
        assert_eq!(line.moved(ms(980)), ms(1_001));
        assert_eq!(line.moved(ms(1_013)), ms(1_033));
    }

    #[test]
    fn sound_overlaps_until_the_last_packet_is_over() {
        let line = Timeline::new(48_000);
        assert_eq!(line.overlap(ms(5)), Duration::ZERO, "nothing was heard yet");
        for pts in [1_000, 1_020, 1_040] {
            line.moved(ms(pts));
        }
        assert_eq!(line.overlap(ms(1_047)), Duration::from_millis(13));
        assert_eq!(line.overlap(ms(1_060)), Duration::ZERO);
        assert_eq!(line.step(), Duration::from_millis(20));
    }

    proptest! {
        #[test]
        fn time_and_sequence_only_ever_go_up(
            steps in proptest::collection::vec((0u64..200, 1u64..5, proptest::bool::weighted(0.2), 0u64..60), 1..80)
        ) {
            let line = Timeline::new(90_000);
            let (mut pts, mut own, mut last): (u64, u64, Option<(i64, u64)>) = (1_000, 65_536, None);
            line.change(ms(pts), own);
            for (advance, count, change, back) in steps {
                pts += advance;
                if change {
                    pts -= back;
                    own = 65_536 + back;
                    line.change(ms(pts), own);
                }
                let mut frame = packets(own, count);
                own += count;
                line.stamp(ms(pts), &mut frame);
                let time = i64::from(frame[0].rtp_time.0);
                if let Some((before, sequence)) = last {
                    prop_assert!(time > before, "{time} after {before}");
                    prop_assert_eq!(frame[0].sequence, sequence + 1);
                }
                last = Some((time, frame[frame.len() - 1].sequence));
            }
        }
    }
}
