//! `capcastsvtav1enc`: AV1 by SVT-AV1, really live. GStreamer's own `svtav1enc` waits for ever in low delay, or adds more
//! than a second.
//!
//! ```text
//!   buffer ─> element: GstVideoEncoder ─> session: one run of the encoder ─> library: dlopen, checked ─> libSvtAv1Enc.so
//! ```
//!
//! Low delay, constant bitrate, keyframes on demand, bitrate while playing, 8 and 10 bit. The library is loaded when it is
//! needed, so one Capcast serves boxes with SVT-AV1 1.4, 2.3 or none:
//!
//! | | 1.4 (Debian 12) | 2.3 (Debian 13) |
//! |---|---|---|
//! | a packet comes out | when the next picture goes in | with its picture |
//! | forced keyframe, other bitrate | by a new session, 15 to 35 ms | with the picture; a new bitrate is a keyframe too |
//!
//! One thread at a time is in an encoder; sessions start and end one after the other in the whole process. A panic stays on
//! this side: SVT-AV1 calls nothing back, and GStreamer's bindings turn one into an error on the bus.

mod abi;
mod element;
mod error;
mod library;
mod session;
#[cfg(test)]
mod tests;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::plan::Unusable;

use error::SvtError;

/// The factory's name.
pub(super) const NAME: &str = "capcastsvtav1enc";

/// To be called before GStreamer starts.
pub(super) fn quieten() {
    library::quieten();
}

/// Makes the element known to GStreamer; whether it can be used here is another question, see [`unusable`].
pub(super) fn register() -> Result<(), glib::BoolError> {
    gst::Element::register(None, NAME, gst::Rank::NONE, element::SvtAv1Enc::static_type())
}

/// Why it cannot be used here, with this library (empty: that of the box).
pub(super) fn unusable(library: &str) -> Option<Unusable> {
    let error = library::load(library).err()?;
    // GStreamer tells the distributions apart: Debian 12 has 1.22 and SVT-AV1 1.4.
    let (_, minor, ..) = gst::version();
    let package = match error {
        SvtError::Absent(_) if minor < 24 => Some("libsvtav1enc1".to_owned()),
        SvtError::Absent(_) => Some("libsvtav1enc2".to_owned()),
        _ => None,
    };
    Some(Unusable { reason: error.to_string(), package })
}
