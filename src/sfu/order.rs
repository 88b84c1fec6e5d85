//! The packets of one RTP stream put back into their order, as long as that is worth a wait.
//!
//! Packets that come in order never wait. At a hole they do only where holes were of late filled in time, by packets that
//! overtook each other or were sent again, and no longer than those took. A hole that is not filled by then is given up;
//! where that happens again and again, nothing waits any more. What comes later still is passed on as it comes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// No packet is held back for longer.
pub(super) const MOST: Duration = Duration::from_millis(20);
/// And never more than these; a keyframe of half a megabyte.
const MAX_HELD: usize = 400;
/// By how much a wait is longer than what it waits for took so far.
const MARGIN: Duration = Duration::from_millis(2);
/// Where no hole was filled in time for so long, the way is clean.
const CLEAN: Duration = Duration::from_secs(3);
/// So many waits in vain, one after another, end waiting.
const VAIN: u32 = 4;
/// Holes that are remembered.
const MAX_HOLES: usize = 128;
/// A greater step of the numbers is no loss.
const MAX_STEP: u64 = 1_000;

/// What comes in any order and leaves by its numbers.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// Everything before has been passed on, or is not waited for.
    next: Option<u64>,
    /// By number, each with when it came; all beyond `next`.
    held: BTreeMap<u64, (Instant, T)>,
    /// Numbers that were missed, and since when; the oldest first.
    holes: VecDeque<(u64, Instant)>,
    /// How long a hole is waited for.
    patience: Duration,
    /// When a hole was last filled in time.
    filled: Option<Instant>,
    /// Waits in vain since.
    vain: u32,
}

impl<T> Default for Order<T> {
    fn default() -> Order<T> {
        Order {
            next: None,
            held: BTreeMap::new(),
            holes: VecDeque::new(),
            patience: Duration::ZERO,
            filled: None,
            vain: 0,
        }
    }
}

impl<T> Order<T> {
    /// One came at `now`, for the first time; what may go on is handed to `pass`.
    pub(super) fn push(&mut self, sequence: u64, item: T, now: Instant, mut pass: impl FnMut(u64, T)) {
        let next = *self.next.get_or_insert(sequence);
        let cleaned = self.filled.is_none_or(|filled| now.saturating_duration_since(filled) >= CLEAN);
        if cleaned && self.held.is_empty() {
            self.patience = Duration::ZERO;
        }
        self.learn(sequence, now);
        if sequence < next {
            return pass(sequence, item);
        }
        if sequence - next > MAX_STEP {
            self.pass_all(&mut pass);
            self.holes.clear();
            self.next = Some(sequence + 1);
            return pass(sequence, item);
        }
        let newest = self.held.last_key_value().map_or(next, |(newest, _)| newest + 1);
        self.holes.extend((newest..sequence).map(|missed| (missed, now)));
        self.holes.drain(..self.holes.len().saturating_sub(MAX_HOLES));
        if sequence == next {
            self.next = Some(next + 1);
            pass(sequence, item);
            return self.pass_on(&mut pass);
        }
        self.held.insert(sequence, (now, item));
        if self.patience.is_zero() || self.held.len() > MAX_HELD {
            self.pass_all(&mut pass);
        }
    }

    /// When the next hole is to be given up; none while nothing is held back.
    pub(super) fn until(&self) -> Option<Instant> {
        self.held.values().map(|(came, _)| *came).min().map(|came| came + self.patience)
    }

    /// Time has passed: hands on what has waited long enough.
    pub(super) fn give_up(&mut self, now: Instant, mut pass: impl FnMut(u64, T)) {
        while self.until().is_some_and(|until| until <= now) {
            let patience = self.patience;
            let waited = self.held.iter().rev().find(|(_, (came, _))| *came + patience <= now);
            let Some(last) = waited.map(|(sequence, _)| *sequence) else { return };
            while let Some(first) = self.held.first_entry().filter(|first| *first.key() <= last) {
                let (sequence, (_, item)) = first.remove_entry();
                self.next = Some(sequence + 1);
                pass(sequence, item);
            }
            self.pass_on(&mut pass);
            self.vain += 1;
            if self.vain >= VAIN {
                self.patience = Duration::ZERO;
                self.pass_all(&mut pass);
            }
        }
    }

    /// Takes note of how late a packet is that was missed.
    fn learn(&mut self, sequence: u64, now: Instant) {
        while self.holes.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) > MOST) {
            self.holes.pop_front();
        }
        let Some(at) = self.holes.iter().position(|(missed, _)| *missed == sequence) else { return };
        let Some((_, since)) = self.holes.remove(at) else { return };
        let late = now.saturating_duration_since(since);
        self.patience = (late + MARGIN).max(self.patience - self.patience / 16).min(MOST);
        (self.filled, self.vain) = (Some(now), 0);
    }

    /// What follows without a hole.
    fn pass_on(&mut self, pass: &mut impl FnMut(u64, T)) {
        while let Some(next) = self.next
            && let Some((_, item)) = self.held.remove(&next)
        {
            self.next = Some(next + 1);
            pass(next, item);
        }
    }

    fn pass_all(&mut self, pass: &mut impl FnMut(u64, T)) {
        while let Some((sequence, (_, item))) = self.held.pop_first() {
            self.next = Some(sequence + 1);
            pass(sequence, item);
        }
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

    /// Feeds `(number, millisecond it comes at)`; `(number, millisecond it goes on)`, with the timer kept to.
    fn through(order: &mut Order<()>, t0: Instant, came: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        let ms = |at: Instant| (at - t0).as_millis() as u64;
        let mut last = t0;
        for (sequence, at) in came {
            let now = t0 + Duration::from_millis(*at);
            // What is waited for may come to be due at once, when waits become shorter.
            while let Some(until) = order.until().map(|until| until.max(last)).filter(|until| *until <= now) {
                order.give_up(until, |sequence, ()| out.push((sequence, ms(until))));
            }
            order.push(*sequence, (), now, |sequence, ()| out.push((sequence, *at)));
            last = now;
        }
        while let Some(until) = order.until().map(|until| until.max(last)) {
            order.give_up(until, |sequence, ()| out.push((sequence, ms(until))));
        }
        out
    }

    #[test]
    fn a_clean_way_delays_nothing_and_the_first_disorder_teaches() {
        let (mut order, t0) = (Order::default(), start());
        let clean: Vec<_> = (70_000..70_050).map(|n| (n, n - 70_000)).collect();
        assert_eq!(through(&mut order, t0, &clean), clean);
        // 52 is overtaken: nothing waits for it, but its 3 ms are remembered.
        let first = [(70_050, 100), (70_052, 101), (70_053, 102), (70_051, 104), (70_054, 105)];
        assert_eq!(through(&mut order, t0, &first), first);
        let second = [(70_056, 110), (70_055, 113), (70_057, 114)];
        let sorted = [(70_055, 113), (70_056, 113), (70_057, 114)];
        assert_eq!(through(&mut order, t0, &second), sorted);
    }

    #[test]
    fn a_hole_is_given_up_in_time_and_many_end_waiting() {
        let (mut order, t0) = (Order::default(), start());
        through(&mut order, t0, &[(1, 0), (3, 0), (2, 6)]);
        // 6 ms and the margin; what comes later still is passed on.
        let lost = [(5, 10), (6, 12), (4, 40), (7, 41)];
        assert_eq!(through(&mut order, t0, &lost), [(5, 18), (6, 18), (4, 40), (7, 41)]);
        for n in 0..2 {
            let (sequence, at) = (9 + 2 * n, 100 + 50 * n);
            assert_eq!(through(&mut order, t0, &[(sequence, at)]), [(sequence, at + 8)], "wait {n}");
        }
        assert_eq!(through(&mut order, t0, &[(13, 300)]), [(13, 308)], "the fourth in vain");
        assert_eq!(through(&mut order, t0, &[(15, 400)]), [(15, 400)], "none is waited for any more");
    }

    #[test]
    fn waiting_ends_when_the_way_has_been_clean_for_a_while() {
        let (mut order, t0) = (Order::default(), start());
        through(&mut order, t0, &[(1, 0), (3, 0), (2, 9), (4, 2_900)]);
        assert_eq!(through(&mut order, t0, &[(6, 2_905)]), [(6, 2_916)]);
        through(&mut order, t0, &[(7, 3_100)]);
        assert_eq!(through(&mut order, t0, &[(9, 3_110)]), [(9, 3_110)]);
    }

    #[test]
    fn another_numbering_is_not_waited_for() {
        let (mut order, t0) = (Order::default(), start());
        through(&mut order, t0, &[(1, 0), (3, 0), (2, 9)]);
        let mut jump = [(5, 20), (1 << 33, 21), ((1 << 33) + 1, 22), (4, 23), (7, 24)];
        let went = through(&mut order, t0, &jump);
        jump[0].1 = 21;
        assert_eq!(went, jump, "5 goes on with the jump, at the latest");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_held_for_long_and_order_is_only_ever_mended(
            steps in prop::collection::vec((0u64..4, 0u64..30, any::<bool>()), 1..400),
        ) {
            // Packet n leaves at `at`, is late by up to 30 ms, and may be lost.
            let (t0, mut at) = (start(), 0);
            let mut came = Vec::new();
            for (n, (gap, late, lost)) in steps.iter().enumerate() {
                at += gap;
                let late = if n % 5 == 0 { *late } else { 0 };
                if !(*lost && n % 7 == 0) {
                    came.push((n as u64, at + late));
                }
            }
            came.sort_by_key(|(n, at)| (*at, *n));
            let mut order = Order::default();
            let went = through(&mut order, t0, &came);
            prop_assert_eq!(went.len(), came.len());
            for (n, left) in &went {
                let arrived = came.iter().find(|(known, _)| known == n).unwrap().1;
                prop_assert!((arrived..=arrived + 20).contains(left), "{} came at {}, left at {}", n, arrived, left);
            }
            // Pairs of which the later one went first.
            let disorder = |list: &[(u64, u64)]| -> usize {
                (0..list.len()).map(|n| list[n..].iter().filter(|later| later.0 < list[n].0).count()).sum()
            };
            prop_assert!(disorder(&went) <= disorder(&came));
            prop_assert!(order.held.is_empty() && order.holes.len() <= MAX_HOLES);
        }
    }
}
