//! Burns the wall clock and a frame number into raw pictures, for machines to read from the screen at the far end.
//!
//! ```text
//!   width / 80 per block, 32 blocks a row, at the top left; white is 1, black is 0, most significant bit first
//!   row 0   low 32 bits of the wall clock in ms since 1970, when the picture was made
//!   row 1   low 32 bits of the frame's number
//! ```
//!
//! Blocks grow with the picture, so that a reader finds them at any size the picture is scaled to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use gst_video::VideoFrameRef;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

/// Blocks that would fit side by side over the whole width.
const BLOCKS_ACROSS: usize = 80;

/// Bits in a row.
const BITS: usize = 32;

/// Luma of a 0 and of a 1: within the limited range, and far enough apart for any encoder.
const SHADES: [u8; 2] = [16, 235];

/// Stamps every picture that leaves `element` (an `identity`, plan role `Stamp`). Pictures without an 8-bit luma plane
/// pass as they are.
pub(super) fn install(element: &gst::Element) {
    let Some(pad) = element.static_pad("src") else { return };
    let number = AtomicU32::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        if let (Some(caps), Some(buffer)) = (pad.current_caps(), probe.buffer_mut()) {
            stamp(&caps, buffer.make_mut(), [now_ms(), number]);
        }
        gst::PadProbeReturn::Ok
    });
}

fn stamp(caps: &gst::CapsRef, buffer: &mut gst::BufferRef, rows: [u32; 2]) {
    let Ok(format) = gst_video::VideoInfo::from_caps(caps) else { return };
    let luma = format.format_info();
    if !(luma.is_yuv() || luma.is_gray()) || luma.depth()[0] != 8 {
        return;
    }
    let (width, height) = (format.width() as usize, format.height() as usize);
    let (first, step) = (luma.poffset()[0] as usize, luma.pixel_stride()[0].unsigned_abs() as usize);
    let Ok(mut frame) = VideoFrameRef::from_buffer_ref_writable(buffer, &format) else { return };
    let stride = frame.plane_stride()[0].unsigned_abs() as usize;
    if let Ok(plane) = frame.plane_data_mut(0) {
        draw(plane.get_mut(first..).unwrap_or_default(), stride, step, (width, height), rows);
    }
}

/// Draws the rows into a luma plane whose lines are `stride` and whose pixels are `step` bytes apart.
fn draw(plane: &mut [u8], stride: usize, step: usize, (width, height): (usize, usize), rows: [u32; 2]) {
    for (row, value) in rows.into_iter().enumerate() {
        let edge = |block: usize| block * width / BLOCKS_ACROSS;
        for y in edge(row)..edge(row + 1).min(height) {
            for bit in 0..BITS {
                let shade = SHADES[(value >> (BITS - 1 - bit) & 1) as usize];
                for x in edge(bit)..edge(bit + 1) {
                    if let Some(pixel) = plane.get_mut(y * stride + x * step) {
                        *pixel = shade;
                    }
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the stamp is the wall clock at this very moment")]
fn now_ms() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The low 32 bits are what the picture has room for.
    now.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a row back as a viewer does: the middle of each block.
    fn read(plane: &[u8], stride: usize, step: usize, width: usize, row: usize) -> u32 {
        let middle = |block: usize| (2 * block + 1) * width / (2 * BLOCKS_ACROSS);
        (0..BITS).fold(0, |value, bit| {
            value << 1 | u32::from(plane[middle(row) * stride + middle(bit) * step] > 127)
        })
    }

    #[test]
    fn what_is_drawn_can_be_read_at_every_size() {
        for (width, height) in [(320, 180), (640, 360), (1280, 720), (1920, 1080)] {
            for step in [1, 2] {
                let stride = width * step + 32;
                let mut plane = vec![90; stride * height];
                draw(&mut plane, stride, step, (width, height), [0xDEAD_BEEF, 1]);
                assert_eq!(read(&plane, stride, step, width, 0), 0xDEAD_BEEF, "{width}x{height}");
                assert_eq!(read(&plane, stride, step, width, 1), 1, "{width}x{height}");
                assert_eq!(plane[stride * height - 1], 90, "the rest of the picture is left alone");
            }
        }
    }

    #[test]
    fn a_picture_smaller_than_the_stamp_is_not_written_beyond() {
        let mut plane = vec![90; 16 * 2];
        draw(&mut plane, 16, 1, (16, 2), [u32::MAX, u32::MAX]);
        draw(&mut [], 16, 1, (16, 2), [u32::MAX, u32::MAX]);
    }

    #[test]
    fn frames_of_a_pipeline_carry_the_clock_and_their_number() {
        gst::init().unwrap();
        for format in ["I420", "NV12", "YUY2"] {
            let caps = format!("video/x-raw,format={format},width=640,height=360");
            let line =
                format!("videotestsrc num-buffers=3 ! {caps} ! identity name=stamp ! appsink name=end");
            let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
            install(&pipeline.by_name("stamp").unwrap());
            let end = pipeline.by_name("end").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
            let before = now_ms();
            pipeline.set_state(gst::State::Playing).unwrap();
            for number in 0..3 {
                let sample = end.pull_sample().unwrap();
                let bytes = sample.buffer().unwrap().map_readable().unwrap();
                let step = if format == "YUY2" { 2 } else { 1 };
                let clock = read(&bytes, 640 * step, step, 640, 0);
                assert!(clock.wrapping_sub(before) < 60_000, "{format}: {clock} is not soon after {before}");
                assert_eq!(read(&bytes, 640 * step, step, 640, 1), number, "{format}");
            }
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }
}
