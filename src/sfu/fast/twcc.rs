//! What was sent when, and what a viewer's transport-wide feedback says arrived when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use std::time::{Duration, Instant};

/// Packets that are remembered: three seconds of 4 Mbit/s.
const HISTORY: usize = 1_024;
/// Ticks of arrival times: 250 µs, and of the reference: 64 ms.
const TICK: Duration = Duration::from_micros(250);
const REFERENCE: Duration = Duration::from_millis(64);

/// One packet that feedback tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sfu) struct Told {
    /// Its transport-wide number.
    pub(in crate::sfu) number: u64,
    /// When it was sent, since the first.
    pub(in crate::sfu) sent: Duration,
    /// When it arrived, by the viewer's own clock; none where it did not.
    pub(in crate::sfu) arrived: Option<Duration>,
    /// Bytes of the datagram.
    pub(in crate::sfu) size: u16,
}

/// The transport-wide numbers of one viewer.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    epoch: Instant,
    next: u64,
    /// By number: microseconds since the epoch, wrapping, and size.
    packets: Box<[(u32, u16)]>,
    /// Feedback may say the same again: numbers below are done.
    told: u64,
}

impl Sent {
    pub(super) fn new(now: Instant) -> Sent {
        Sent { epoch: now, next: 0, packets: vec![(0, 0); HISTORY].into(), told: 0 }
    }

    /// The next packet's number.
    pub(super) fn next(&self) -> u16 {
        self.next as u16
    }

    /// It was sent.
    pub(super) fn note(&mut self, size: usize, now: Instant) {
        let micros = now.saturating_duration_since(self.epoch).as_micros() as u32;
        self.packets[self.next as usize % HISTORY] = (micros, u16::try_from(size).unwrap_or(u16::MAX));
        self.next += 1;
    }

    /// Hands over what a feedback packet tells that was not told before; `feedback` begins after the SSRCs.
    pub(super) fn read(&mut self, feedback: &[u8], now: Instant, mut told: impl FnMut(Told)) {
        let [b0, b1, c0, c1, r0, r1, r2, _, statuses @ ..] = feedback else { return };
        let (first, count) = (u16::from_be_bytes([*b0, *b1]), u16::from_be_bytes([*c0, *c1]));
        let reference = u32::from_be_bytes([0, *r0, *r1, *r2]);
        // 24 bits of 64 ms, as large as it gets: deltas may be negative.
        let mut arrival = REFERENCE * reference + REFERENCE;
        let behind = (self.next as u16).wrapping_sub(first);
        let Some(first) = self.next.checked_sub(behind.into()) else { return };
        let Some(deltas) = deltas_of(statuses, count) else { return };
        let (mut at, mut deltas) = (statuses, deltas);
        let mut number = first;
        let end = first + u64::from(count);
        while number < end {
            let Some(chunk) = take(&mut at, 2).map(|chunk| u16::from_be_bytes([chunk[0], chunk[1]])) else {
                return;
            };
            for status in symbols(chunk) {
                if number == end {
                    break;
                }
                let delta = match status {
                    1 => take(&mut deltas, 1).map(|delta| i32::from(delta[0])),
                    2 => {
                        take(&mut deltas, 2).map(|delta| i32::from(i16::from_be_bytes([delta[0], delta[1]])))
                    }
                    _ => Some(0),
                };
                let Some(delta) = delta else { return };
                arrival = match delta {
                    0.. => arrival.saturating_add(TICK * delta.unsigned_abs()),
                    _ => arrival.saturating_sub(TICK * delta.unsigned_abs()),
                };
                let arrived = matches!(status, 1 | 2).then_some(arrival);
                if number >= self.told && number < self.next && self.next - number <= HISTORY as u64 {
                    let (micros, size) = self.packets[number as usize % HISTORY];
                    // Microseconds wrap after 71 minutes; what is remembered is seconds old.
                    let elapsed = now.saturating_duration_since(self.epoch);
                    let age = (elapsed.as_micros() as u32).wrapping_sub(micros);
                    let sent = elapsed.saturating_sub(Duration::from_micros(age.into()));
                    told(Told { number, sent, arrived, size });
                }
                number += 1;
            }
        }
        self.told = self.told.max(end.min(self.next));
    }
}

/// The statuses that one chunk holds.
fn symbols(chunk: u16) -> impl Iterator<Item = u8> {
    let (count, width, run) = match chunk >> 14 {
        0 | 1 => (usize::from(chunk & 0x1fff), 0, Some((chunk >> 13 & 3) as u8)),
        2 => (14, 1, None),
        _ => (7, 2, None),
    };
    (0..count).map(move |index| match run {
        Some(status) => status,
        None => (chunk >> (14 - width * (index as u16 + 1)) & ((1 << width) - 1)) as u8,
    })
}

/// Where the deltas begin: after as many chunks as `count` statuses take.
fn deltas_of(statuses: &[u8], count: u16) -> Option<&[u8]> {
    let (mut at, mut left) = (statuses, usize::from(count));
    while left > 0 {
        let chunk = take(&mut at, 2)?;
        let held = symbols(u16::from_be_bytes([chunk[0], chunk[1]])).count();
        if held == 0 {
            return None;
        }
        left = left.saturating_sub(held);
    }
    Some(at)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn arrivals_are_read_from_every_kind_of_chunk_once() {
        let t0 = start();
        let mut sent = Sent::new(t0);
        for n in 0..40u32 {
            sent.note(1_000 + n as usize, t0 + Duration::from_millis(n.into()));
        }
        let mut feedback = vec![0, 2, 0, 25, 0, 0, 1, 0];
        // Three small deltas in a run; one-bit: small, missing, 12 small; two-bit: large, small, five missing; one missing.
        feedback.extend(0x2003u16.to_be_bytes());
        feedback.extend((0x8000u16 | 0b10_1111_1111_1111).to_be_bytes());
        feedback.extend((0xc000u16 | 0b10_01_00_00_00_00_00).to_be_bytes());
        feedback.extend(0x0001u16.to_be_bytes());
        feedback.extend([4; 16]);
        feedback.extend((-8i16).to_be_bytes());
        feedback.extend([4]);
        let mut told = Vec::new();
        sent.read(&feedback, t0 + Duration::from_secs(1), |one| told.push(one));
        assert_eq!(told.len(), 25);
        assert_eq!((told[0].number, told[0].size, told[0].sent), (2, 1_002, Duration::from_millis(2)));
        let ms = |ms: u64| Some(Duration::from_millis(128 + ms));
        assert_eq!([told[0].arrived, told[2].arrived, told[3].arrived], [ms(1), ms(3), ms(4)]);
        assert_eq!((told[4].arrived, told[5].arrived, told[16].arrived), (None, ms(5), ms(16)));
        assert_eq!((told[17].arrived, told[18].arrived), (ms(14), ms(15)));
        assert!(told[19..].iter().all(|one| one.arrived.is_none()));
        let mut again = 0;
        sent.read(&feedback, t0 + Duration::from_secs(1), |_| again += 1);
        assert_eq!(again, 0, "told already");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..3_000) {
            let t0 = start();
            let mut sent = Sent::new(t0);
            for _ in 0..count {
                sent.note(1_200, t0);
            }
            let mut told = 0;
            sent.read(&bytes, t0, |one| {
                told += 1;
                assert!(one.number < count as u64);
            });
            prop_assert!(told <= HISTORY);
        }
    }
}
