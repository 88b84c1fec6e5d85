//! Where pictures spend their time: each place notes, under a picture's PTS, when it came by, and the next place says how
//! long that is ago.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::{Latency, MediaTime};
use crate::telemetry::Delays;

use super::clock::Timebase;
use super::counters::Inside;
use super::probes::{Tally, follow};

/// Where a graph's pictures spend their time, by times that are kept under each picture's PTS.
#[derive(Default)]
pub(super) struct Way {
    /// Capture: from the moment of capture to the driver's hand-over, and from there to the hub.
    waited: Delays,
    taken: Inside,
    decoded: Delays,
    /// Encode: from the hub out of the link, from there to the encoder, and from the encoder into the outlet.
    linked: Delays,
    entered: Inside,
    converted: Delays,
    left: Inside,
    handed: Delays,
}

impl Way {
    /// How long each step in a capture graph takes.
    pub(super) fn capture_steps(&self) -> Vec<Latency> {
        steps([("capture", &self.waited), ("decode", &self.decoded)])
    }

    /// How long each step takes from the hub to the outlet; `inside` is the encoder's.
    pub(super) fn encode_steps(&self, inside: &Delays) -> Vec<Latency> {
        steps([
            ("link", &self.linked),
            ("convert", &self.converted),
            ("encode", inside),
            ("outlet", &self.handed),
        ])
    }

    /// A captured frame reaches the hub.
    pub(super) fn reaches_hub(&self, pts: MediaTime, now: MediaTime) {
        took(&self.taken, &self.decoded, pts.as_nanos(), now);
    }

    /// A frame goes into the encoder.
    pub(super) fn reaches_encoder(&self, running_time: u64, now: MediaTime) {
        took(&self.entered, &self.converted, running_time, now);
    }

    /// A frame came out of the encoder.
    pub(super) fn leaves_encoder(&self, running_time: u64, now: MediaTime) {
        self.left.enter(running_time, now);
    }

    /// An encoded frame has reached the outlet, and whoever takes from it.
    pub(super) fn reaches_outlet(&self, pts: MediaTime, now: MediaTime) {
        took(&self.left, &self.handed, pts.as_nanos(), now);
    }
}

/// Records how long it is since the frame of this running time passed a place.
fn took(place: &Inside, delays: &Delays, running_time: u64, now: MediaTime) {
    if let Some((_, then)) = place.entered(running_time) {
        delays.record(now.saturating_since(then));
    }
}

fn steps<const N: usize>(steps: [(&'static str, &Delays); N]) -> Vec<Latency> {
    let told = |(step, delays): (&'static str, &Delays)| {
        delays.percentiles().map(|(p50, p95)| Latency { step, p50, p95 })
    };
    steps.into_iter().filter_map(told).collect()
}

/// Notes when each frame is there: as it leaves the source, or what paces it.
pub(super) fn watch_arrival(element: &gst::Element, timebase: &Timebase, tally: &Arc<Tally>) {
    let Some(pad) = element.static_pad("src") else { return };
    let (segment, clock, tally) = (follow(&pad), timebase.clone(), Arc::clone(tally));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(running_time) = info.buffer().and_then(|buffer| segment.running_time(buffer)) {
            let now = clock.now();
            tally.way.waited.record_age(MediaTime::from_nanos(running_time), now);
            tally.way.taken.enter(running_time, now);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Notes how long each frame waited in the link, between the hub and what follows the graph's `appsrc`.
pub(super) fn watch_link(appsrc: &gst::Element, hub: Arc<Inside>, timebase: &Timebase, tally: &Arc<Tally>) {
    let Some(pad) = appsrc.static_pad("src") else { return };
    let (segment, clock, tally) = (follow(&pad), timebase.clone(), Arc::clone(tally));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(running_time) = info.buffer().and_then(|buffer| segment.running_time(buffer)) {
            let now = clock.now();
            took(&hub, &tally.way.linked, running_time, now);
            tally.way.entered.enter(running_time, now);
        }
        gst::PadProbeReturn::Ok
    });
}
