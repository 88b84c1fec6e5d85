//! What SRT's counters say of the way: loss, and how much it carries. Without a clock.
//!
//! libsrt sends every sixteenth pair of packets back to back, and its receiver takes the distance at which they arrive for
//! the way's width. That says nothing of what others put on it, and where packets are delivered in bursts it says too
//! little. So it bounds what may be tried; what arrives well is carried whatever it says, and when packets queue, get lost
//! or come too late, what got through is all there is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::container::srt::SrtCounts;
use crate::media::Bitrate;

/// How far back counters are compared.
const WINDOW: Duration = Duration::from_secs(2);
/// Of the packets, so many lost are more than an unlucky way loses.
const LOSSY: f64 = 0.1;
/// A round trip that is longer than the shortest by so much, and half of that, is a queue.
const QUEUEING: Duration = Duration::from_millis(60);
/// What was too much once is not tried again for so long.
const MEMORY: Duration = Duration::from_secs(20);
/// What is sent and arrives well leaves room for this much more.
const MARGIN: f64 = 1.15;
/// Of what got through while packets queued.
const RELIEF: f64 = 0.9;

/// Memory of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge {
    window: VecDeque<(Duration, SrtCounts)>,
    shortest: Option<Duration>,
    /// What was too much, and until when that is remembered.
    ceiling: Option<(u64, Duration)>,
}

/// What is known of the way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Of the packets, over the last seconds.
    pub(super) loss: Option<f64>,
    /// What it carries.
    pub(super) estimate: Option<Bitrate>,
}

impl Gauge {
    /// Counters as they are now. Times are since any fixed beginning.
    pub(super) fn on(&mut self, now: Duration, counts: SrtCounts) -> Reading {
        while self.window.len() > 1
            && self.window.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW)
        {
            self.window.pop_front();
        }
        self.window.push_back((now, counts));
        if !counts.rtt.is_zero() {
            self.shortest = Some(self.shortest.map_or(counts.rtt, |shortest| shortest.min(counts.rtt)));
        }
        let Some((since, before)) = self.window.front().copied() else { return Reading::default() };
        let span = now.saturating_sub(since);
        let packets = counts.packets.saturating_sub(before.packets);
        if span < WINDOW / 2 || packets == 0 {
            return Reading::default();
        }
        let lost = counts.lost.saturating_sub(before.lost) as f64 / packets as f64;
        let loss = lost.clamp(0.0, 1.0);
        let sent = counts.bytes.saturating_sub(before.bytes) as f64 * 8.0 / span.as_secs_f64();
        let shortest = self.shortest.unwrap_or_default();
        let queues = counts.rtt > shortest + shortest / 2 + QUEUEING;
        let late = counts.late > before.late;
        // A step down takes its time to show in these counters.
        let settled = self.ceiling.is_none_or(|(_, until)| now + MEMORY >= until + WINDOW);
        if settled && (late || queues || loss >= LOSSY) {
            let through = (sent * (1.0 - loss) * RELIEF) as u64;
            self.ceiling = Some((through, now + MEMORY));
        }
        self.ceiling = self.ceiling.filter(|(_, until)| now < *until);
        let estimate = match self.ceiling {
            Some((bits, _)) => bits,
            None => counts.bandwidth.max((sent * MARGIN) as u64),
        };
        Reading { loss: Some(loss), estimate: Some(Bitrate::from_bits(estimate)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// A way of this width, with a queue before it, and a sender at this rate; both in kbit/s.
    struct Rig {
        gauge: Gauge,
        counts: SrtCounts,
        now: Duration,
        queued: f64,
    }

    impl Rig {
        fn new() -> Rig {
            let counts =
                SrtCounts { rtt: Duration::from_millis(20), bandwidth: 50_000_000, ..SrtCounts::default() };
            Rig { gauge: Gauge::default(), counts, now: Duration::from_secs(7), queued: 0.0 }
        }

        fn pass(&mut self, span: Duration, sent: u64, width: u64) -> Reading {
            let end = self.now + span;
            let mut reading = Reading::default();
            while self.now < end {
                self.now += LOOK;
                let kbit = |rate: u64| rate as f64 * LOOK.as_secs_f64();
                self.queued = (self.queued + kbit(sent) - kbit(width)).max(0.0);
                // 200 ms of queue, and what is more is lost.
                let room = width as f64 * 0.2;
                let lost = (self.queued - room).max(0.0);
                self.queued = self.queued.min(room);
                self.counts.bytes += (kbit(sent) * 125.0) as u64;
                self.counts.packets += (kbit(sent) * 125.0 / 1316.0) as u64;
                self.counts.lost += (lost * 125.0 / 1316.0) as u64;
                self.counts.rtt = Duration::from_secs_f64(0.02 + self.queued / width as f64);
                reading = self.gauge.on(self.now, self.counts);
            }
            reading
        }
    }

    fn kbit(reading: Reading) -> u64 {
        reading.estimate.unwrap().bits() / 1000
    }

    #[test]
    fn a_wide_way_is_as_wide_as_srt_says() {
        let mut rig = Rig::new();
        assert_eq!(rig.pass(LOOK, 4000, 100_000), Reading::default(), "too early to say");
        let reading = rig.pass(Duration::from_secs(5), 4000, 100_000);
        assert_eq!((kbit(reading), reading.loss), (50_000, Some(0.0)));
        rig.counts.bandwidth = 1_000_000;
        let reading = rig.pass(Duration::from_secs(5), 4000, 100_000);
        assert!((4500..4700).contains(&kbit(reading)), "{reading:?}: what arrives well is carried");
    }

    #[test]
    fn a_narrow_way_is_found_and_not_tried_again_at_once() {
        let mut rig = Rig::new();
        rig.pass(Duration::from_secs(5), 4000, 100_000);
        let mut reading = rig.pass(Duration::from_secs(4), 4000, 2000);
        assert!((1600..2100).contains(&kbit(reading)), "{reading:?}");
        assert!(reading.loss.is_some_and(|loss| loss > 0.3), "{reading:?}");
        // The encoder follows, and the queue drains.
        reading = rig.pass(Duration::from_secs(15), kbit(reading) * 9 / 10, 2000);
        assert!((1300..2100).contains(&kbit(reading)), "{reading:?}");
        assert_eq!(reading.loss, Some(0.0));
        reading = rig.pass(Duration::from_secs(20), 1500, 2000);
        assert_eq!(kbit(reading), 50_000, "it is tried again in the end");
    }

    #[test]
    fn a_little_loss_is_no_narrow_way() {
        let mut rig = Rig::new();
        rig.pass(Duration::from_secs(3), 4000, 100_000);
        for _ in 0..20 {
            rig.counts.lost += 5;
            let reading = rig.pass(LOOK, 4000, 100_000);
            assert_eq!(kbit(reading), 50_000, "{reading:?}");
        }
    }
}
