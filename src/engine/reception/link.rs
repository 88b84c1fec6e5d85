//! How the SRT connection fares that brings a stream, by libsrt's counters.

use std::collections::VecDeque;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::MediaTime;

/// How often the counters are read.
const EVERY: Duration = Duration::from_millis(500);

/// What was lost lately is told over so many readings.
const LATELY: usize = 8;

/// How an SRT connection fares. Counts are from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SrtLink {
    /// Data packets that came, with those that were sent again.
    pub packets: u64,
    /// Packets that had not come when later ones did. Most of them do, once they are sent again.
    pub lost: u64,
    /// The share of packets that this was true of lately, 0 to 1.
    pub loss: Option<f64>,
    /// Times that the sender was told what is missing.
    pub nacks: u64,
    /// Round trip.
    pub rtt: Duration,
    /// How long everything is held back, as both sides agreed.
    pub latency: Duration,
    /// Bit/s that the way is believed to carry.
    pub estimate: u64,
}

/// Reads a connection's counters now and then.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// When, how many packets had come, and how many had been lost.
    readings: VecDeque<(MediaTime, u64, u64)>,
}

impl Gauge {
    /// What `source`, an `srtsrc`, says now; none where it was asked a moment ago, or nobody is connected.
    pub(super) fn read(&mut self, now: MediaTime, source: &gst::Element) -> Option<SrtLink> {
        let recent = self.readings.back().is_some_and(|(at, ..)| now.saturating_since(*at) < EVERY);
        if recent { None } else { Some(self.judge(now, counts(source)?)) }
    }

    fn judge(&mut self, now: MediaTime, link: SrtLink) -> SrtLink {
        let loss = self.readings.front().and_then(|(_, packets, lost)| {
            let packets = link.packets.checked_sub(*packets).filter(|packets| *packets > 0)?;
            Some((link.lost.saturating_sub(*lost) as f64 / packets as f64).min(1.0))
        });
        self.readings.push_back((now, link.packets, link.lost));
        if self.readings.len() > LATELY {
            self.readings.pop_front();
        }
        SrtLink { loss, ..link }
    }
}

fn counts(source: &gst::Element) -> Option<SrtLink> {
    let stats: gst::Structure = source.property("stats");
    match stats.get::<glib::ValueArray>("callers") {
        Ok(callers) => callers.iter().find_map(|one| one.get::<gst::Structure>().ok()).map(|one| read(&one)),
        Err(_) => stats.has_field("packets-received").then(|| read(&stats)),
    }
}

fn read(stats: &gst::StructureRef) -> SrtLink {
    // Types differ with GStreamer's version.
    let count = |name: &str| {
        let wide = stats.get::<i64>(name).ok().or_else(|| stats.get::<i32>(name).ok().map(i64::from));
        wide.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
    };
    let measured =
        |name: &str| stats.get::<f64>(name).ok().filter(|value| value.is_finite()).unwrap_or_default();
    SrtLink {
        packets: count("packets-received"),
        lost: count("packets-received-lost"),
        loss: None,
        nacks: count("packet-nack-sent"),
        rtt: Duration::from_secs_f64(measured("rtt-ms").clamp(0.0, 60_000.0) / 1000.0),
        latency: Duration::from_millis(count("negotiated-latency-ms")),
        estimate: (measured("bandwidth-mbps").max(0.0) * 1e6) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_of_the_last_seconds_alone() {
        let mut gauge = Gauge::default();
        let mut told = Vec::new();
        for reading in 0..40_u64 {
            // A tenth is lost in the first seconds, nothing later.
            let lost = reading.min(8) * 10;
            let link = SrtLink { packets: 1000 + reading * 100, lost, ..SrtLink::default() };
            told.push(gauge.judge(MediaTime::from_nanos(reading * 500_000_000), link).loss);
        }
        assert_eq!(told[0], None, "nothing to compare with");
        assert_eq!((told[5], told[8]), (Some(0.1), Some(0.1)));
        assert!(told[12].is_some_and(|loss| loss > 0.0 && loss < 0.1), "{told:?}");
        assert_eq!(told[20], Some(0.0));
        assert_eq!(gauge.readings.len(), LATELY);
    }
}
