//! What `webrtcbin` reports about the connection, read now and then and kept for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_webrtc as gst_webrtc;

/// What the server's receiver reports said last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reports {
    pub(super) rtt: Option<Duration>,
    pub(super) packets_lost: Option<u64>,
    pub(super) loss: Option<f64>,
}

/// The last reports; written on `webrtcbin`'s own thread.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Reports>>);

impl Shelf {
    pub(super) fn last(&self) -> Reports {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for new reports; they come later.
    pub(super) fn renew(&self, webrtcbin: &gst::Element) {
        let shelf = self.clone();
        let promise = gst::Promise::with_change_func(move |reply| {
            if let Ok(Some(stats)) = reply {
                *shelf.0.lock().unwrap_or_else(PoisonError::into_inner) = read(stats);
            }
        });
        webrtcbin.emit_by_name::<()>("get-stats", &[&None::<gst::Pad>, &promise]);
    }
}

fn read(stats: &gst::StructureRef) -> Reports {
    let mut reports = Reports::default();
    for (_, value) in stats.iter() {
        let Ok(one) = value.get::<gst::Structure>() else { continue };
        if one.get::<gst_webrtc::WebRTCStatsType>("type") != Ok(gst_webrtc::WebRTCStatsType::RemoteInboundRtp)
        {
            continue;
        }
        if let Some(seconds) = number(&one, "round-trip-time").filter(|seconds| *seconds > 0.0) {
            let rtt = Duration::from_secs_f64(seconds.min(60.0));
            reports.rtt = Some(reports.rtt.map_or(rtt, |other| other.max(rtt)));
        }
        if let Some(lost) = number(&one, "packets-lost") {
            *reports.packets_lost.get_or_insert(0) += lost.max(0.0) as u64;
        }
        if let Some(loss) = number(&one, "fraction-lost") {
            let loss = loss.clamp(0.0, 1.0);
            reports.loss = Some(reports.loss.map_or(loss, |other: f64| other.max(loss)));
        }
    }
    reports
}

/// A number, whichever type this version gives it.
fn number(fields: &gst::Structure, name: &str) -> Option<f64> {
    let value = fields.value(name).ok()?.transform::<f64>().ok()?;
    value.get::<f64>().ok().filter(|number| number.is_finite())
}
