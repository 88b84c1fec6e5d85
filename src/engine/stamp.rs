//! Burns the wall clock, a frame number and more into raw pictures: for machines as blocks, for people as digits.
//!
//! ```text
//!   width / 80 per block, 32 blocks a row, at the top left; white is 1, black is 0, most significant bit first
//!   row 0   low 32 bits of the wall clock in ms since 1970, when the picture was made
//!   row 1   low 32 bits of the frame's number
//!   row 2   low 32 bits of its capture time in ms since the common base time
//!   at the top right, an eighth of the width: white with each full second, see `clapper`; else black
//!   and at the bottom, in the middle: 09:41:07.123 UTC #001234
//! ```
//!
//! Blocks and digits grow with the picture, so that a reader finds them at any size the picture is scaled to.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use gst_video::VideoFrameRef;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::media::MediaTime;

use super::clapper;
use super::probes::follow;

/// Blocks that would fit side by side over the whole width.
const BLOCKS_ACROSS: usize = 80;

/// Dots, of which letters are made, that would fit side by side over the whole width.
const DOTS_ACROSS: usize = 320;

/// Bits in a row.
const BITS: usize = 32;

/// Rows of blocks.
const ROWS: usize = 3;

/// Blocks that are as wide as what flashes.
const FLASH: usize = 10;

/// Luma within the limited range, and far enough apart for any encoder.
const BLACK: u8 = 16;

/// See [`BLACK`].
const WHITE: u8 = 235;

/// No colour.
const GREY: u8 = 128;

/// Stamps every picture that leaves `element` (an `identity`, plan role `Stamp`). Pictures without an 8-bit luma plane
/// pass as they are.
pub(super) fn install(element: &gst::Element) {
    let Some(pad) = element.static_pad("src") else { return };
    let (number, segment) = (AtomicU32::new(0), follow(&pad));
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        if let (Some(caps), Some(buffer)) = (pad.current_caps(), probe.buffer_mut()) {
            let captured = MediaTime::from_nanos(segment.running_time(buffer).unwrap_or_default());
            stamp(&caps, buffer.make_mut(), &Marks { clock: wall_clock(), number, captured });
        }
        gst::PadProbeReturn::Ok
    });
}

/// What is written into one picture.
struct Marks {
    clock: Duration,
    number: u32,
    captured: MediaTime,
}

fn stamp(caps: &gst::CapsRef, buffer: &mut gst::BufferRef, marks: &Marks) {
    let Ok(picture) = gst_video::VideoInfo::from_caps(caps) else { return };
    let span = buffer.duration().map_or(Duration::ZERO, Into::into);
    let format = picture.format_info();
    if !(format.is_yuv() || format.is_gray()) || format.depth()[0] != 8 {
        return;
    }
    let Ok(mut frame) = VideoFrameRef::from_buffer_ref_writable(buffer, &picture) else { return };
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let words = words(marks.clock, marks.number);
    let flashes = clapper::flashes(marks.captured, span);
    for component in 0..format.n_components() as usize {
        let (first, step) = (format.poffset()[component] as usize, format.pixel_stride()[component]);
        let index = format.plane()[component];
        let stride = frame.plane_stride()[index as usize].unsigned_abs() as usize;
        let Ok(plane) = frame.plane_data_mut(index) else { continue };
        let plane = plane.get_mut(first..).unwrap_or_default();
        let (right, down) = (format.w_sub()[component], format.h_sub()[component]);
        let step = step.unsigned_abs() as usize;
        let mut samples = Samples { plane, stride, step, width: width >> right, height: height >> down };
        match component {
            0 => samples.draw(marks, flashes, &words),
            // The places of the stamp are grey, so that colours beneath it do not show through.
            1 | 2 if format.is_yuv() => {
                for place in places(width, height, &words) {
                    let columns = place.columns.start >> right..place.columns.end >> right;
                    samples.fill(columns, place.lines.start >> down..place.lines.end >> down, GREY);
                }
            }
            _ => {}
        }
    }
}

/// A rectangle of the picture, in pixels; may reach beyond it.
struct Place {
    columns: Range<usize>,
    lines: Range<usize>,
}

/// Where the blocks, what flashes and the words are.
fn places(width: usize, height: usize, words: &str) -> [Place; 3] {
    let edge = |block: usize| block * width / BLOCKS_ACROSS;
    let (dot, left, top) = beginning(width, height, words);
    let plate = left.saturating_sub(4 * dot)..left + words.len() * 6 * dot + 3 * dot;
    [
        Place { columns: 0..edge(BITS), lines: 0..edge(ROWS) },
        Place { columns: edge(BLOCKS_ACROSS - FLASH)..width, lines: 0..edge(FLASH) },
        Place { columns: plate, lines: top.saturating_sub(3 * dot)..top + 10 * dot },
    ]
}

/// The size of a dot, and where the first letter begins: left, top.
fn beginning(width: usize, height: usize, words: &str) -> (usize, usize, usize) {
    let dot = (width / DOTS_ACROSS).max(2);
    (dot, width.saturating_sub(words.len() * 6 * dot) / 2, height.saturating_sub(34 * dot))
}

/// One component of a picture, such as its brightness: lines are `stride` bytes apart, samples `step`.
struct Samples<'a> {
    plane: &'a mut [u8],
    stride: usize,
    step: usize,
    width: usize,
    height: usize,
}

impl Samples<'_> {
    fn draw(&mut self, marks: &Marks, flashes: bool, words: &str) {
        // The low 32 bits are what the picture has room for.
        self.row(0, marks.clock.as_millis() as u32);
        self.row(1, marks.number);
        self.row(2, marks.captured.since_base().as_millis() as u32);
        let [_, flash, plate] = places(self.width, self.height, words);
        self.fill(flash.columns, flash.lines, if flashes { WHITE } else { BLACK });
        self.words(words, plate);
    }

    fn row(&mut self, row: usize, value: u32) {
        let width = self.width;
        let edge = |block: usize| block * width / BLOCKS_ACROSS;
        for bit in 0..BITS {
            let shade = if value >> (BITS - 1 - bit) & 1 == 1 { WHITE } else { BLACK };
            self.fill(edge(bit)..edge(bit + 1), edge(row)..edge(row + 1), shade);
        }
    }

    fn words(&mut self, words: &str, plate: Place) {
        let (dot, left, top) = beginning(self.width, self.height, words);
        self.fill(plate.columns, plate.lines, BLACK);
        for (place, letter) in words.chars().enumerate() {
            for (line, dots) in glyph(letter).into_iter().enumerate() {
                for column in 0..5 {
                    if dots >> (4 - column) & 1 == 1 {
                        let (x, y) = (left + (place * 6 + column) * dot, top + line * dot);
                        self.fill(x..x + dot, y..y + dot, WHITE);
                    }
                }
            }
        }
    }

    /// Fills a rectangle, as far as it lies within the picture.
    fn fill(&mut self, columns: Range<usize>, lines: Range<usize>, shade: u8) {
        for y in lines.start..lines.end.min(self.height) {
            let first = y * self.stride + columns.start * self.step;
            let last = y * self.stride + columns.end.min(self.width) * self.step;
            let Some(line) = self.plane.get_mut(first..last) else { continue };
            match self.step {
                1 => line.fill(shade),
                step => line.iter_mut().step_by(step).for_each(|sample| *sample = shade),
            }
        }
    }
}

fn words(clock: Duration, number: u32) -> String {
    let (seconds, ms) = (clock.as_secs(), clock.subsec_millis());
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{ms:03} UTC #{number:06}")
}

/// A letter as seven lines of five dots.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        '0' => [0x0E, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0E],
        '1' => [0x04, 0x0C, 0x04, 0x04, 0x04, 0x04, 0x0E],
        '2' => [0x0E, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1F],
        '3' => [0x1F, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0E],
        '4' => [0x02, 0x06, 0x0A, 0x12, 0x1F, 0x02, 0x02],
        '5' => [0x1F, 0x10, 0x1E, 0x01, 0x01, 0x11, 0x0E],
        '6' => [0x06, 0x08, 0x10, 0x1E, 0x11, 0x11, 0x0E],
        '7' => [0x1F, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08],
        '8' => [0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E],
        '9' => [0x0E, 0x11, 0x11, 0x0F, 0x01, 0x02, 0x0C],
        ':' => [0x00, 0x0C, 0x0C, 0x00, 0x0C, 0x0C, 0x00],
        '.' => [0x00, 0x00, 0x00, 0x00, 0x00, 0x0C, 0x0C],
        '#' => [0x0A, 0x0A, 0x1F, 0x0A, 0x1F, 0x0A, 0x0A],
        'U' => [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0E],
        'T' => [0x1F, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
        'C' => [0x0E, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0E],
        _ => [0; 7],
    }
}

#[expect(clippy::disallowed_methods, reason = "the stamp is the wall clock at this very moment")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
                let clock = Duration::from_millis(0x123_DEAD_BEEF);
                let captured = MediaTime::from_nanos(0x1_2345_6789 * 1_000_000);
                let marks = Marks { clock, number: 1, captured };
                for flashes in [true, false] {
                    let samples = &mut Samples { plane: &mut plane, stride, step, width, height };
                    samples.draw(&marks, flashes, &words(clock, 1));
                    let flash = plane[height / 16 * stride + width * 15 / 16 * step];
                    assert_eq!(flash, if flashes { WHITE } else { BLACK }, "{width}x{height}");
                }
                assert_eq!(read(&plane, stride, step, width, 0), 0xDEAD_BEEF, "{width}x{height}");
                assert_eq!(read(&plane, stride, step, width, 1), 1, "{width}x{height}");
                assert_eq!(read(&plane, stride, step, width, 2), 0x2345_6789, "{width}x{height}");
                assert_eq!(plane[stride * height - 1], 90, "the rest of the picture is left alone");
            }
        }
    }

    #[test]
    fn a_picture_smaller_than_the_stamp_is_not_written_beyond() {
        for (width, height) in [(16, 2), (1, 1), (64, 36)] {
            let mut plane = vec![90; width * height];
            let words = words(Duration::MAX, u32::MAX);
            for plane in [&mut plane[..], &mut []] {
                let mut samples = Samples { plane, stride: width, step: 1, width, height };
                let captured = MediaTime::from_nanos(u64::MAX);
                samples.draw(&Marks { clock: Duration::MAX, number: u32::MAX, captured }, true, &words);
            }
        }
    }

    #[test]
    fn the_words_are_the_time_of_day_and_the_number() {
        let clock = Duration::from_millis(1_700_000_000_123);
        assert_eq!(words(clock, 42), "22:13:20.123 UTC #000042");
        assert!(words(clock, 42).chars().all(|letter| letter == ' ' || glyph(letter) != [0; 7]));
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
            let before = wall_clock().as_millis() as u32;
            pipeline.set_state(gst::State::Playing).unwrap();
            for number in 0..3 {
                let sample = end.pull_sample().unwrap();
                let bytes = sample.buffer().unwrap().map_readable().unwrap();
                let step = if format == "YUY2" { 2 } else { 1 };
                let clock = read(&bytes, 640 * step, step, 640, 0);
                assert!(clock.wrapping_sub(before) < 60_000, "{format}: {clock} is not soon after {before}");
                assert_eq!(read(&bytes, 640 * step, step, 640, 1), number, "{format}");
                let colour = if format == "YUY2" { 1 } else { 640 * 360 };
                assert_eq!(bytes[colour], GREY, "{format}: no colour beneath the stamp");
            }
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }
}
