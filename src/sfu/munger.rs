//! Sequence numbers and RTP time as one viewer sees them, and the way back from a number to what was sent under it.

use std::collections::VecDeque;

use super::vp8::Vp8Offsets;
use crate::media::RtpTime;

/// First number of every viewer: below 2^16, so that both sides begin SRTP with rollover counter 0 (RFC 3711 §3.3.1).
const FIRST: u64 = 1;
/// Stretches that are remembered for resends: each begins with a keyframe, so they span more than a player waits.
const SPANS: usize = 8;
/// By this much the pictures from before a viewer came are moved together: a second of them takes 62 ms of RTP time, so
/// that its player does not lag behind, and a step stays longer than a millisecond at any rate up to 60 pictures a second.
const SQUEEZE: i32 = 16;

/// A stretch of one lane as one viewer sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Which layer's lane it is of.
    pub(super) layer: u8,
    /// The lane's number at which it begins, and the viewer's number for that.
    from: u64,
    to: u64,
    /// Added to RTP time.
    later: u32,
    /// Pictures from before this RTP time are moved together.
    live_from: Option<RtpTime>,
    /// Added to VP8's own numbers.
    pub(super) vp8: Vp8Offsets,
}

impl Span {
    /// The viewer's RTP time for the lane's.
    pub(super) fn time(&self, time: RtpTime) -> RtpTime {
        let squeezed = match self.live_from {
            Some(live) if live.since(time) > 0 => live.offset((-(live.since(time) / SQUEEZE)) as u32),
            _ => time,
        };
        squeezed.offset(self.later)
    }
}

/// Maps a lane's numbers to a viewer's: without a hole where the viewer was made to wait, with the hole where the source
/// lost a packet.
#[derive(Clone, Debug)]
pub(super) struct Munger {
    /// Newest last; never empty.
    spans: VecDeque<Span>,
    /// The viewer's next unused number.
    next: u64,
}

impl Munger {
    /// Nothing sent yet.
    pub(super) fn new() -> Munger {
        let vp8 = Vp8Offsets::default();
        let none = Span { layer: 0, from: u64::MAX, to: FIRST, later: 0, live_from: None, vp8 };
        Munger { spans: VecDeque::from([none]), next: FIRST }
    }

    /// From here on the viewer sees the packets of `layer` from `sequence`, numbered on from its last one.
    pub(super) fn resume(&mut self, layer: u8, sequence: u64, live_from: Option<RtpTime>) {
        // What an earlier layer was made later by is not this one's: it would add up.
        let span = Span { layer, from: sequence, to: self.next, later: 0, live_from, vp8: self.span().vp8 };
        self.push(span);
    }

    /// RTP time is this much later from here on.
    pub(super) fn delay(&mut self, by: u32) {
        if let Some(span) = self.spans.back_mut() {
            span.later = span.later.wrapping_add(by);
        }
    }

    /// VP8's own numbers differ by this from `sequence` on.
    pub(super) fn renumber_vp8(&mut self, sequence: u64, vp8: Vp8Offsets) {
        let span = *self.span();
        match sequence.checked_sub(span.from) {
            Some(after) if after > 0 => self.push(Span { from: sequence, to: span.to + after, vp8, ..span }),
            _ => {
                if let Some(span) = self.spans.back_mut() {
                    span.vp8 = vp8;
                }
            }
        }
    }

    /// The present stretch.
    pub(super) fn span(&self) -> &Span {
        // There is one from the start, and whoever adds one keeps it.
        &self.spans[self.spans.len() - 1]
    }

    /// The viewer's number for one of the lane's; `None` for a packet from before the viewer saw anything.
    pub(super) fn map(&mut self, sequence: u64) -> Option<u64> {
        let span = self.span();
        let mapped = span.to + sequence.checked_sub(span.from)?;
        self.next = self.next.max(mapped + 1);
        Some(mapped)
    }

    /// The lane's number, and where it was, for the low 16 bits of a viewer's number of late.
    pub(super) fn unmap(&self, low: u16) -> Option<(&Span, u64, u64)> {
        let last = self.next.checked_sub(1)?;
        let behind = (last as u16).wrapping_sub(low);
        let number = last.checked_sub(u64::from(behind))?;
        let span = self.spans.iter().rev().find(|span| span.to <= number)?;
        Some((span, span.from.checked_add(number - span.to)?, number))
    }

    fn push(&mut self, span: Span) {
        if self.spans.len() == SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waiting_leaves_no_hole_but_a_lost_packet_does() {
        let mut munger = Munger::new();
        assert_eq!(munger.map(5_000_000_000), None, "nothing before it began");
        munger.resume(0, 5_000_000_000, None);
        let first: Vec<_> = [0, 1, 3, 2].map(|n| munger.map(5_000_000_000 + n)).into();
        assert_eq!(first, [Some(1), Some(2), Some(4), Some(3)]);
        munger.resume(0, 6_000_000_000, None);
        assert_eq!(munger.map(6_000_000_000), Some(5));
        assert_eq!(munger.map(5_999_999_999), None, "from before the resumption");
    }

    #[test]
    fn what_was_sent_is_found_again_over_changes_of_layer() {
        let mut munger = Munger::new();
        munger.resume(0, 100, None);
        for sequence in 100..110 {
            munger.map(sequence);
        }
        munger.resume(2, 7_000, None);
        munger.delay(90);
        for sequence in 7_000..7_005 {
            munger.map(sequence);
        }
        let found = |low| munger.unmap(low).map(|(span, sequence, number)| (span.layer, sequence, number));
        assert_eq!(found(1), Some((0, 100, 1)));
        assert_eq!(found(10), Some((0, 109, 10)));
        assert_eq!(found(11), Some((2, 7_000, 11)));
        assert_eq!(found(15), Some((2, 7_004, 15)));
        assert_eq!(found(0), None, "never sent");
        assert_eq!(found(16), None, "not sent yet");
        assert_eq!(munger.unmap(3).unwrap().0.time(RtpTime(5)), RtpTime(5), "as it was then");
        assert_eq!(munger.unmap(12).unwrap().0.time(RtpTime(5)), RtpTime(95));
    }

    #[test]
    fn pictures_from_before_are_moved_together_and_none_after() {
        let mut munger = Munger::new();
        munger.resume(0, 0, Some(RtpTime(90_000)));
        let time = |time: u32| munger.span().time(RtpTime(time)).0;
        assert_eq!([time(0), time(3_000), time(87_000)], [84_375, 84_563, 89_813]);
        assert_eq!([time(90_000), time(93_000)], [90_000, 93_000]);
    }

    proptest! {
        #[test]
        fn numbers_are_never_used_twice_and_all_lead_back(
            steps in prop::collection::vec((0u64..1_000, any::<bool>(), 0u8..3), 1..200),
        ) {
            let (mut munger, mut sequence, mut used) = (Munger::new(), 0, std::collections::BTreeMap::new());
            munger.resume(0, 0, None);
            let mut layer = 0;
            for (gap, waited, to) in steps {
                sequence += 1 + gap;
                if waited {
                    layer = to;
                    munger.resume(layer, sequence, None);
                }
                let mapped = munger.map(sequence).unwrap();
                prop_assert!(used.last_key_value().is_none_or(|(last, _)| mapped > *last));
                prop_assert!(used.insert(mapped, (layer, sequence)).is_none());
                let (span, back, number) = munger.unmap(mapped as u16).unwrap();
                prop_assert_eq!((span.layer, back, number), (layer, sequence, mapped));
            }
            let oldest = munger.spans[0].to;
            for (mapped, (layer, sequence)) in used.range(oldest.max(munger.next.saturating_sub(60_000))..) {
                let (span, back, _) = munger.unmap(*mapped as u16).unwrap();
                prop_assert_eq!((span.layer, back), (*layer, *sequence));
            }
            prop_assert!(*used.first_key_value().unwrap().0 < 1 << 16);
        }
    }
}
