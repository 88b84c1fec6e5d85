//! How much is sent again: a share of what is sent, and no packet twice within a round trip.

use std::time::{Duration, Instant};

/// Resends take at most this share of what is sent, so that NACKs cannot be used to multiply traffic: one byte in so many.
const ONE_IN: u64 = 4;
/// Bytes that may be sent again at once, and that may be even at the start.
const MOST: u64 = 256 * 1_024;
const FIRST: u64 = 64 * 1_024;
/// Packets whose last resend is remembered.
const REMEMBERED: usize = 128;
/// A round trip before one was measured, and between which it counts.
const UNKNOWN: Duration = Duration::from_millis(40);
const SHORTEST: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(250);

/// One viewer's allowance.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    bytes: u64,
    round_trip: Duration,
    resent: Box<[Option<(u64, Instant)>]>,
}

impl Allowance {
    pub(super) fn new() -> Allowance {
        Allowance { bytes: FIRST, round_trip: UNKNOWN, resent: vec![None; REMEMBERED].into() }
    }

    /// Something was sent for the first time.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes = (self.bytes + bytes as u64 / ONE_IN).min(MOST);
    }

    /// A round trip was measured.
    pub(super) fn measured(&mut self, round_trip: Duration) {
        // Smoothed as TCP does (RFC 6298 §2).
        self.round_trip = (self.round_trip * 7 + round_trip.clamp(SHORTEST, LONGEST)) / 8;
    }

    /// Whether the packet of this number may be sent again now; it counts as sent.
    pub(super) fn take(&mut self, number: u64, bytes: usize, now: Instant) -> bool {
        let slot = &mut self.resent[number as usize % REMEMBERED];
        let on_its_way = slot.is_some_and(|(resent, at)| resent == number && now < at + self.round_trip);
        if on_its_way || self.bytes < bytes as u64 {
            return false;
        }
        self.bytes -= bytes as u64;
        *slot = Some((number, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn no_packet_goes_twice_within_a_round_trip_and_all_together_no_more_than_a_share() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut allowance = Allowance::new();
        assert!(allowance.take(7, 1_000, at(0)));
        assert!(!allowance.take(7, 1_000, at(39)));
        assert!(allowance.take(7, 1_000, at(40)) && allowance.take(8, 1_000, at(40)));
        for _ in 0..100 {
            allowance.measured(Duration::from_millis(100));
        }
        assert!(!allowance.take(7, 1_000, at(120)) && allowance.take(7, 1_000, at(141)));
        let resent = (0..10_000).filter(|n| allowance.take(1_000 + n, 1_200, at(200))).count();
        assert!(resent < 60, "{resent} at once");
        for _ in 0..100 {
            allowance.sent(1_200);
        }
        let resent = (0..10_000).filter(|n| allowance.take(20_000 + n, 1_200, at(300))).count();
        assert_eq!(resent, 25);
    }
}
