//! The last packets of one lane, shared by all viewers: what is sent again, and what a viewer that comes begins with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::said::Said;
use crate::media::{Codec, RtpTime};

/// Older packets are of no use to a player that waits for nothing.
const MAX_AGE: Duration = Duration::from_millis(1_500);
/// 1.5 s of 30 Mbit/s.
const MAX_PACKETS: usize = 5_000;
const MAX_BYTES: usize = 6 << 20;
/// A viewer that comes is given a keyframe that is no older, with what followed it, if that is no more.
const ENTRY_AGE: Duration = Duration::from_secs(1);
const ENTRY_BYTES: u64 = 1 << 20;

/// One packet, numbered and timed by its lane.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// The lane's number.
    pub(super) sequence: u64,
    /// The lane's RTP time.
    pub(super) time: RtpTime,
    pub(super) marker: bool,
    pub(super) codec: Codec,
    /// The layer's source; another one numbers as it likes.
    pub(super) source: (u8, u32),
    /// When it was captured, and when it was kept.
    pub(super) captured: Instant,
    pub(super) at: Instant,
    pub(super) said: Said,
    pub(super) payload: Arc<[u8]>,
}

/// Where a viewer can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The keyframe's first packet.
    pub(super) sequence: u64,
    /// The newest picture's RTP time.
    pub(super) live_from: RtpTime,
}

#[derive(Clone, Copy, Debug)]
struct Keyframe {
    sequence: u64,
    time: RtpTime,
    at: Instant,
    /// Of the keyframe and all that followed.
    bytes: u64,
}

/// The last packets of one lane, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Ring {
    first: u64,
    slots: VecDeque<Option<Kept>>,
    bytes: usize,
    keyframe: Option<Keyframe>,
    newest: Option<RtpTime>,
}

impl Ring {
    /// Keeps a packet; `begins` says that a keyframe begins with it.
    pub(super) fn put(&mut self, kept: Kept, begins: bool) {
        let end = self.first + self.slots.len() as u64;
        if self.slots.is_empty() || kept.sequence >= end + MAX_PACKETS as u64 {
            self.clear();
            self.first = kept.sequence;
        }
        let Some(index) = kept.sequence.checked_sub(self.first) else {
            return;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        while self.slots.len() <= index {
            self.slots.push_back(None);
        }
        self.newest = Some(self.newest.filter(|newest| newest.since(kept.time) > 0).unwrap_or(kept.time));
        let length = kept.payload.len();
        if begins && self.keyframe.is_none_or(|keyframe| kept.time.since(keyframe.time) > 0) {
            self.keyframe =
                Some(Keyframe { sequence: kept.sequence, time: kept.time, at: kept.at, bytes: 0 });
        }
        if let Some(keyframe) = self.keyframe.as_mut().filter(|keyframe| kept.sequence >= keyframe.sequence) {
            keyframe.bytes += length as u64;
        }
        let now = kept.at;
        self.bytes += length;
        if let Some(earlier) = self.slots[index].replace(kept) {
            self.bytes -= earlier.payload.len();
        }
        while self.slots.len() > MAX_PACKETS || self.bytes > MAX_BYTES || self.is_old(now) {
            if let Some(Some(gone)) = self.slots.pop_front() {
                self.bytes -= gone.payload.len();
            }
            self.first += 1;
        }
    }

    fn is_old(&self, now: Instant) -> bool {
        let front = self.slots.front();
        front.is_some_and(|front| match front {
            Some(kept) => now.saturating_duration_since(kept.at) > MAX_AGE,
            None => true,
        })
    }

    /// The packet of this number, if it is still there.
    pub(super) fn get(&self, sequence: u64) -> Option<&Kept> {
        self.slots.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)?.as_ref()
    }

    /// One past the newest number.
    pub(super) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The oldest number.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Where a viewer that comes now may begin; none where it is better off with a new keyframe.
    pub(super) fn entry(&self, now: Instant) -> Option<Entry> {
        let keyframe = self.keyframe?;
        let fresh = now.saturating_duration_since(keyframe.at) <= ENTRY_AGE;
        let fits = keyframe.bytes <= ENTRY_BYTES && self.get(keyframe.sequence).is_some();
        let entry = Entry { sequence: keyframe.sequence, live_from: self.newest? };
        (fresh && fits).then_some(entry)
    }

    /// Nobody may begin with what is here: its source has gone.
    pub(super) fn close_entry(&mut self) {
        self.keyframe = None;
    }

    fn clear(&mut self) {
        *self = Ring::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn kept(sequence: u64, at: Instant, time: u32, bytes: usize) -> Kept {
        let payload = vec![sequence as u8; bytes].into();
        let (codec, source, time) = (Codec::H264, (0, 1), RtpTime(time));
        let said = Said::default();
        Kept { sequence, time, marker: true, codec, source, captured: at, at, said, payload }
    }

    #[test]
    fn who_comes_begins_with_the_last_keyframe_while_it_is_fresh_and_small() {
        let (mut ring, t0) = (Ring::default(), start());
        let at = |ms| t0 + Duration::from_millis(ms);
        ring.put(kept(10, at(0), 0, 100), false);
        assert_eq!(ring.entry(at(0)), None);
        ring.put(kept(11, at(33), 3_000, 100), true);
        ring.put(kept(12, at(33), 3_000, 100), true);
        ring.put(kept(13, at(66), 6_000, 100), false);
        assert_eq!(ring.entry(at(70)), Some(Entry { sequence: 11, live_from: RtpTime(6_000) }));
        assert_eq!(ring.entry(at(1_033)).map(|entry| entry.sequence), Some(11));
        assert_eq!(ring.entry(at(1_034)), None, "too old");
        ring.put(kept(14, at(99), 9_000, 1 << 20), false);
        assert_eq!(ring.entry(at(99)), None, "too much");
        ring.put(kept(15, at(132), 12_000, 100), true);
        assert_eq!(ring.entry(at(132)).map(|entry| entry.sequence), Some(15));
        ring.close_entry();
        assert_eq!(ring.entry(at(132)), None);
        assert!(ring.get(15).is_some(), "but what was sent can be sent again");
    }

    #[test]
    fn a_jump_of_the_numbers_begins_anew() {
        let (mut ring, t0) = (Ring::default(), start());
        ring.put(kept(1, t0, 0, 10), true);
        ring.put(kept(1_000_000, t0, 90, 10), false);
        assert_eq!((ring.first(), ring.end(), ring.entry(t0)), (1_000_000, 1_000_001, None));
    }

    proptest! {
        #[test]
        fn what_is_there_is_right_and_there_is_never_too_much(
            steps in prop::collection::vec((-40i64..60, 0u64..80, 1usize..3_000), 1..400),
        ) {
            let (mut ring, t0) = (Ring::default(), start());
            let (mut sequence, mut ms) = (100i64, 0);
            for (step, later, bytes) in steps {
                (sequence, ms) = ((sequence + step).max(0), ms + later);
                ring.put(kept(sequence as u64, t0 + Duration::from_millis(ms), ms as u32 * 90, bytes), false);
                let held: usize = ring.slots.iter().flatten().map(|kept| kept.payload.len()).sum();
                prop_assert_eq!(held, ring.bytes);
                prop_assert!(ring.bytes <= MAX_BYTES + 3_000 && ring.slots.len() <= MAX_PACKETS);
                for number in ring.first()..ring.end() {
                    prop_assert!(ring.get(number).is_none_or(|kept| kept.sequence == number));
                }
            }
        }
    }
}
