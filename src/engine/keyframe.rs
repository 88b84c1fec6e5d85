//! Forcing a keyframe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use crate::plan::KeyframeControl;

/// Forces keyframes of one encoder. Holds no reference to the graph.
pub(super) struct Keyframer {
    encoder: glib::WeakRef<gst::Element>,
    method: KeyframeControl,
    forced: AtomicU64,
    /// A restart is waiting for the next frame.
    armed: Arc<AtomicBool>,
}

impl Keyframer {
    pub(super) fn new(encoder: &gst::Element, method: KeyframeControl) -> Keyframer {
        Keyframer {
            encoder: encoder.downgrade(),
            method,
            forced: AtomicU64::new(0),
            armed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// How many were forced.
    pub(super) fn forced(&self) -> u64 {
        self.forced.load(Ordering::Relaxed)
    }

    /// Makes the next frame that goes into the encoder a keyframe. False when the graph is gone. Any thread may; a
    /// streaming thread takes only GStreamer's own object lock.
    pub(super) fn force(&self) -> bool {
        let Some(encoder) = self.encoder.upgrade() else { return false };
        let done = match self.method {
            KeyframeControl::Event => by_event(&encoder),
            KeyframeControl::Restart => self.by_restart(&encoder),
        };
        if done {
            self.forced.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    /// Unlinks the encoder, takes it to READY and back, and links it again, between two frames: its next one starts a
    /// new sequence. `av1enc` before 1.24.5 ignores the event; this costs it 0.3–1.6 ms.
    fn by_restart(&self, encoder: &gst::Element) -> bool {
        let Some(sink) = encoder.static_pad("sink") else { return false };
        let Some(upstream) = sink.peer() else { return false };
        if self.armed.swap(true, Ordering::AcqRel) {
            return true;
        }
        let armed = Arc::clone(&self.armed);
        let encoder = encoder.downgrade();
        // A buffer probe runs on the streaming thread before the buffer goes on, so nothing is inside the encoder's pad.
        upstream.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            armed.store(false, Ordering::Release);
            let Some(encoder) = encoder.upgrade() else { return gst::PadProbeReturn::Remove };
            let Some(sink) = encoder.static_pad("sink") else { return gst::PadProbeReturn::Remove };
            if let Err(error) = restart(pad, &sink, &encoder) {
                gst::element_error!(
                    encoder,
                    gst::CoreError::StateChange,
                    ["restart for a keyframe: {error}"]
                );
            }
            gst::PadProbeReturn::Remove
        });
        true
    }
}

fn by_event(encoder: &gst::Element) -> bool {
    let Some(pad) = encoder.static_pad("src") else { return false };
    // Without `all_headers`: the payloader would put parameter sets before the next delta frame, which browsers take
    // for a keyframe, fail on, and answer with another request.
    pad.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(false).build())
}

fn restart(upstream: &gst::Pad, sink: &gst::Pad, encoder: &gst::Element) -> Result<(), glib::BoolError> {
    upstream.unlink(sink)?;
    encoder.set_state(gst::State::Ready).map_err(|error| glib::bool_error!("{error}"))?;
    encoder.sync_state_with_parent()?;
    upstream.link(sink).map_err(|error| glib::bool_error!("{error}"))?;
    Ok(())
}
