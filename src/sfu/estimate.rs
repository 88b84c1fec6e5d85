//! What the way to one viewer carries, from its transport-wide feedback: how long packets queue, how many are lost, and how
//! much arrives.
//!
//! As long as nothing queues and little is lost, nothing is known but that the way carries at least what arrives. A queue
//! that does not empty for a whole window is congestion; its cure is to send less than what then arrives. So a keyframe's
//! burst, or a network that now and then delays, is not mistaken for it. What a connection does not take waits here, before
//! it is sent, and belongs to that queue.

use std::time::{Duration, Instant};

use super::fast::Told;

/// Over how long feedback is gathered before it is judged, at least.
const WINDOW: Duration = Duration::from_millis(200);
/// And from how many packets.
const FEWEST: u32 = 8;
/// Even the quickest packet of a window was delayed by this much: there is a queue, in microseconds.
const QUEUE: i64 = 60_000;
/// More than this share lost, over a second or so, is congestion; radio alone loses less.
const LOSS: f64 = 0.18;
/// The share of one window in that.
const WEIGHT: f64 = 0.2;
/// So much more lost in one window than usual.
const BURST: f64 = 0.12;
/// What is sent of what arrived, when there is a queue to empty.
const BACK_OFF: f64 = 0.85;
/// How much more than what arrives the way is believed to carry while nothing speaks against it.
const BELIEF: f64 = 1.2;
/// The shortest way of a packet is looked for over so long, twice.
const BEST_OVER: Duration = Duration::from_secs(10);
/// REMB holds for so long.
const TOLD_FOR: Duration = Duration::from_secs(5);

/// What one window said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged {
    /// There is too much on the way.
    pub(super) congested: bool,
    /// Much more was lost than usual: a trial of more has failed.
    pub(super) lossy: bool,
    /// Bits a second that arrived.
    pub(super) arrived: f64,
}

/// One viewer's.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    /// Bits a second; none while nothing ever queued.
    limit: Option<f64>,
    /// What the viewer said itself (REMB), and when.
    told: Option<(u64, Instant)>,
    /// The shortest ways of the present stretch and the one before, on two clocks: only differences mean anything.
    best: Option<(i64, i64, Duration)>,
    /// Share of packets that is usually lost.
    loss: f64,
    window: Window,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Option<Duration>,
    packets: u32,
    lost: u32,
    bytes: u64,
    /// First and last arrival, and the last departure.
    first: Option<Duration>,
    last: Duration,
    shortest: Option<i64>,
    /// The least that anything waited before it was sent.
    waited: Option<Duration>,
}

impl Estimate {
    /// The viewer says what it can take (REMB).
    pub(super) fn says(&mut self, bits: u64, now: Instant) {
        self.told = Some((bits, now));
    }

    /// What is to be sent next waits for that long already, for the way takes no more.
    pub(super) fn waits(&mut self, time: Duration) {
        let waited = &mut self.window.waited;
        *waited = Some(waited.map_or(time, |waited| waited.min(time)));
    }

    /// Bits a second that may be sent; none while there is no limit to be seen.
    pub(super) fn bits(&self, now: Instant) -> Option<f64> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < TOLD_FOR;
        let told = self.told.filter(|(_, at)| fresh(*at)).map(|(bits, _)| bits as f64);
        match (self.limit, told) {
            (Some(limit), Some(told)) => Some(limit.min(told)),
            (limit, told) => limit.or(told),
        }
    }

    /// Feedback tells of one packet. A window that it ends is judged.
    pub(super) fn hear(&mut self, packet: Told) -> Option<Judged> {
        let judged = match self.window.began {
            Some(began) if packet.sent.saturating_sub(began) >= WINDOW && self.window.packets >= FEWEST => {
                let judged = self.judge();
                self.window = Window::default();
                Some(judged)
            }
            _ => None,
        };
        let window = &mut self.window;
        window.began.get_or_insert(packet.sent);
        window.packets += 1;
        let Some(arrived) = packet.arrived else {
            window.lost += 1;
            return judged;
        };
        // The first packet only says when counting begins.
        if window.first.is_some() {
            window.bytes += u64::from(packet.size);
        }
        window.first.get_or_insert(arrived);
        window.last = window.last.max(arrived);
        let way = arrived.as_micros() as i64 - packet.sent.as_micros() as i64;
        window.shortest = Some(window.shortest.map_or(way, |shortest| shortest.min(way)));
        let (before, present, since) = self.best.unwrap_or((way, way, packet.sent));
        self.best = Some(if packet.sent.saturating_sub(since) >= BEST_OVER {
            (present, way, packet.sent)
        } else {
            (before, present.min(way), since)
        });
        judged
    }

    fn judge(&mut self) -> Judged {
        let window = &self.window;
        let span = window.first.map_or(Duration::ZERO, |first| window.last.saturating_sub(first));
        let arrived =
            if span.is_zero() { 0.0 } else { window.bytes as f64 * 8.0 / span.max(WINDOW / 2).as_secs_f64() };
        let loss = f64::from(window.lost) / f64::from(window.packets.max(1));
        let lossy = loss > self.loss + BURST;
        self.loss += (loss - self.loss) * WEIGHT;
        let best = self.best.map(|(before, present, _)| before.min(present));
        let queue = window.shortest.zip(best).map_or(0, |(shortest, best)| shortest - best);
        let queue = queue + window.waited.unwrap_or_default().as_micros() as i64;
        let congested = queue > QUEUE || self.loss > LOSS;
        if congested {
            let carries = arrived * if queue > QUEUE { BACK_OFF } else { 1.0 };
            self.limit = Some(self.limit.map_or(carries, |limit| limit.min(carries)));
        } else if let Some(limit) = &mut self.limit {
            *limit = limit.max(arrived * BELIEF);
        }
        Judged { congested, lossy, arrived }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that carries so many bits a second, with room for so much time of them, and a delay of 20 ms.
    struct Way {
        bits: f64,
        room: f64,
        /// When the last packet will have left it.
        busy: f64,
        sent: u64,
        at: f64,
    }

    impl Way {
        fn new(bits: f64, room: f64) -> Way {
            Way { bits, room, busy: 0.0, sent: 0, at: 0.0 }
        }

        /// Sends at a rate for so long; what was judged.
        fn carry(&mut self, estimate: &mut Estimate, rate: f64, seconds: f64, lose: u64) -> Vec<Judged> {
            let end = self.at + seconds;
            let mut judged = Vec::new();
            while self.at < end {
                self.at += 1_200.0 * 8.0 / rate;
                self.sent += 1;
                let waits = (self.busy - self.at).max(0.0);
                let lost = waits > self.room || (lose > 0 && self.sent.is_multiple_of(lose));
                if !lost {
                    self.busy = self.at + waits + 1_200.0 * 8.0 / self.bits;
                }
                let sent = Duration::from_secs_f64(self.at);
                let arrived = (!lost).then(|| Duration::from_secs_f64(self.busy + 5_000.02));
                judged.extend(estimate.hear(Told { number: self.sent, sent, arrived, size: 1_200 }));
            }
            judged
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn bits(estimate: &Estimate) -> Option<f64> {
        estimate.bits(Instant::now())
    }

    #[test]
    fn what_a_way_carries_is_found_when_it_is_too_narrow_and_only_then() {
        let (mut estimate, mut way) = (Estimate::default(), Way::new(2e6, 0.3));
        assert!(way.carry(&mut estimate, 1.5e6, 5.0, 0).iter().all(|judged| !judged.congested));
        assert_eq!(bits(&estimate), None, "nothing speaks against more");
        let judged = way.carry(&mut estimate, 4e6, 1.5, 0);
        assert!(judged.iter().any(|judged| judged.congested), "{judged:?}");
        let found = bits(&estimate).unwrap();
        assert!((1.4e6..=2.1e6).contains(&found), "{found}");
        // Sending less than that empties the queue, and what is then sent is believed to fit with a little more.
        way.carry(&mut estimate, 1.2e6, 2.0, 0);
        let judged = way.carry(&mut estimate, 1.2e6, 3.0, 0);
        assert!(judged.iter().all(|judged| !judged.congested), "{judged:?}");
        // The way widens; only sending more can tell.
        way.bits = 10e6;
        way.carry(&mut estimate, 4e6, 1.0, 0);
        let found = bits(&estimate).unwrap();
        assert!((4.5e6..=5e6).contains(&found), "{found}");
    }

    #[test]
    fn what_waits_before_it_is_sent_is_a_queue_too() {
        let (mut estimate, mut way) = (Estimate::default(), Way::new(10e6, 0.3));
        let waiting = |estimate: &mut Estimate, way: &mut Way, ms: [u64; 2]| {
            let mut judged = Vec::new();
            for n in 0..60 {
                estimate.waits(Duration::from_millis(ms[n % 2]));
                judged.extend(way.carry(estimate, 1e6, 0.033, 0));
            }
            judged
        };
        let judged = waiting(&mut estimate, &mut way, [100, 0]);
        assert!(judged.len() > 5 && judged.iter().all(|judged| !judged.congested), "a burst: {judged:?}");
        let judged = waiting(&mut estimate, &mut way, [100, 150]);
        assert!(judged[1..].iter().all(|judged| judged.congested), "{judged:?}");
        let found = bits(&estimate).unwrap();
        assert!((0.7e6..=0.9e6).contains(&found), "{found}");
    }

    #[test]
    fn a_tenth_lost_by_radio_is_no_congestion_and_a_shallow_queue_is() {
        let (mut estimate, mut way) = (Estimate::default(), Way::new(10e6, 0.3));
        assert!(way.carry(&mut estimate, 2e6, 10.0, 10).iter().all(|judged| !judged.congested));
        let (mut estimate, mut way) = (Estimate::default(), Way::new(2e6, 0.01));
        way.carry(&mut estimate, 3e6, 2.0, 0);
        let found = bits(&estimate).unwrap();
        assert!((1.7e6..=2.1e6).contains(&found), "{found}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn what_the_viewer_says_itself_is_honoured_for_a_while() {
        let (mut estimate, now) = (Estimate::default(), Instant::now());
        estimate.says(500_000, now);
        assert_eq!(estimate.bits(now + Duration::from_secs(4)), Some(500_000.0));
        assert_eq!(estimate.bits(now + Duration::from_secs(6)), None);
    }
}
