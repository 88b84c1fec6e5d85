//! The wall clock and the frame number, burnt into the test picture where a program can read them back after any encoder.
//!
//! Two rows of 32 blocks at the top left, each block `width / 32` pixels wide and high, rounded down to even, at most 16;
//! black (16) is 0 and white (235) is 1, the lowest bit first. The first row is the Unix time in milliseconds, the second
//! the frame's number from 0, both modulo 2³².

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

/// Burns the stamp into every frame that passes `element`. Only planar and semi-planar 8-bit YUV is written to.
pub(super) fn burn_in(element: &gst::Element) {
    let Some(pad) = element.static_pad("src") else { return };
    let number = AtomicU32::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let picture = pad.current_caps().and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        let Some((picture, buffer)) = picture.zip(info.buffer_mut()) else { return gst::PadProbeReturn::Ok };
        if let Ok(mut pixels) = buffer.make_mut().map_writable() {
            write(&mut pixels, &picture, wall_clock(), number);
        }
        gst::PadProbeReturn::Ok
    });
}

#[expect(clippy::disallowed_methods, reason = "the stamp is the wall clock")]
fn wall_clock() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u32)
}

fn write(pixels: &mut [u8], picture: &gst_video::VideoInfo, clock: u32, number: u32) {
    use gst_video::VideoFormat;
    let plain = matches!(
        picture.format(),
        VideoFormat::I420
            | VideoFormat::Yv12
            | VideoFormat::Nv12
            | VideoFormat::Nv21
            | VideoFormat::Y42b
            | VideoFormat::Y444
    );
    let block = (picture.width() as usize / 32 & !1).min(16);
    let stride = picture.stride()[0] as usize;
    if !plain || block == 0 || picture.height() < 64 {
        return;
    }
    let luma = &mut pixels[picture.offset()[0]..];
    for (row, word) in [clock, number].into_iter().enumerate() {
        for line in row * block..(row + 1) * block {
            for bit in 0..32 {
                let at = line * stride + bit * block;
                let Some(run) = luma.get_mut(at..at + block) else { return };
                run.fill(if word >> bit & 1 == 1 { 235 } else { 16 });
            }
        }
    }
}
