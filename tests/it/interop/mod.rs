//! The real daemon with WebRTC that is not ours at the other end: browsers, aiortc and GStreamer's own `webrtcbin`
//! publish into its SFU, watch it, and receive its outputs. What arrives is decoded, looked at and listened to.

mod firefox;
mod gstreamer;
mod outputs;
mod publishers;

use std::time::Duration;

/// Cold start of browsers on a busy machine, connecting, and measuring.
const LIMIT: Duration = Duration::from_secs(90);

/// A test picture and tone.
const TEST_SOURCE: &str = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";

/// A small picture by this encoder.
fn profile(codec: &str, encoder: &str, size: &str, framerate: u32) -> String {
    format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"{size}\"\n\
         framerate = \"{framerate}\"\nbitrate = \"1 Mbit/s\"\nspeed = \"fastest\"\n"
    )
}
