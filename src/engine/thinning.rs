//! Fewer frames than the source has: by PTS alone, evenly, and without holding any back. `videorate` would keep each frame
//! until the next one is there, and after a gap let pass every frame until it has made up for the gap.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::Framerate;

/// Lets pass what is due of the frames that come into the element.
pub(super) fn install(element: &gst::Element, rate: Framerate) {
    let Some(pad) = element.static_pad("sink") else { return };
    let period = nanos(rate.denominator(), rate.numerator());
    let (next, frame) = (AtomicU64::new(0), AtomicU64::new(0));
    let wanted = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(wanted, move |_, info| {
        if let Some(event) = info.event() {
            if let gst::EventView::Caps(caps) = event.view()
                && let Some(fields) = caps.caps().structure(0)
                && let Ok(rate) = fields.get::<gst::Fraction>("framerate")
            {
                frame.store(nanos(rate.denom().unsigned_abs(), rate.numer().unsigned_abs()), Relaxed);
            }
            return gst::PadProbeReturn::Ok;
        }
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else { return gst::PadProbeReturn::Ok };
        match due(next.load(Relaxed), pts.nseconds(), period, frame.load(Relaxed)) {
            Some(then) => {
                next.store(then, Relaxed);
                gst::PadProbeReturn::Ok
            }
            // Not `Drop`: the bindings have taken the buffer by then, and GStreamer would release it once more.
            None => gst::PadProbeReturn::Handled,
        }
    });
}

fn nanos(numerator: u32, denominator: u32) -> u64 {
    u64::from(numerator) * 1_000_000_000 / u64::from(denominator.max(1))
}

/// When the frame after this one is due, if this one is; all in nanoseconds. `next` is when this one was, 0 before the
/// first; `period` and `frame` are the times of a frame after and before thinning.
///
/// Half a frame early counts as in time. Where whole numbers of frames are left out, the next one is reckoned from this one,
/// so that a source that is a little slow or fast is thinned out as evenly; else from when this one was due.
fn due(next: u64, pts: u64, period: u64, frame: u64) -> Option<u64> {
    let known = next != 0 && next <= pts + 2 * period && pts < next + period;
    if known && pts + frame / 2 < next {
        return None;
    }
    let left_over = period % frame.max(1);
    let divides = left_over.min(frame.max(1) - left_over) < frame / 8;
    Some(if known && !divides { next + period } else { pts + period })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these frames pass, by index.
    fn passed(pts: impl Iterator<Item = u64>, from: u64, to: u64) -> Vec<usize> {
        let mut next = 0;
        let mut passed = Vec::new();
        for (index, pts) in pts.enumerate() {
            if let Some(then) = due(next, pts, 1_000_000_000 / to, 1_000_000_000 / from) {
                passed.push(index);
                next = then;
            }
        }
        passed
    }

    fn steps(passed: &[usize]) -> Vec<usize> {
        passed.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Up to four milliseconds early or late.
    fn jitter(index: u64) -> u64 {
        (index.wrapping_mul(2_654_435_761) >> 7) % 8_000_000
    }

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn every_second_frame_passes_whatever_the_jitter_and_the_drift() {
        for (from, to, step) in [(60, 30, 2), (50, 25, 2), (60, 15, 4), (120, 60, 2)] {
            // A clock that is a thousandth slow, exact, a thousandth fast; an encoder that starts late.
            for (drift, start) in [(999, 0), (1000, HOUR), (1001, 7)] {
                let shake = if from > 60 { 2 } else { 1 };
                let pts =
                    (0..5000).map(|n| start + n * 1_000_000_000 / from * drift / 1000 + jitter(n) / shake);
                let steps = steps(&passed(pts, from, to));
                assert!(steps.len() as u64 >= 5000 / step as u64 - 2, "{from} to {to}: {}", steps.len());
                assert!(steps.iter().all(|s| *s == step), "{from} to {to}, drift {drift}: {steps:?}");
            }
        }
    }

    #[test]
    fn what_does_not_divide_is_spread() {
        let passed = passed((0..3000).map(|n| HOUR + n * 20_000_000), 50, 30);
        assert!(passed.len().abs_diff(1800) <= 1, "{}", passed.len());
        let steps = steps(&passed);
        assert!(steps.iter().all(|step| (1..=2).contains(step)), "{steps:?}");
        assert!(steps.windows(3).all(|three| three != [2, 2, 2] && three != [1, 1, 1]), "{steps:?}");
    }

    #[test]
    fn after_a_gap_it_goes_on_as_before() {
        for (from, to) in [(60, 30), (50, 30)] {
            let frame = 1_000_000_000 / from;
            let pts = (0..600).map(|n| n * frame + if n < 300 { 0 } else { 20_000_000_000 });
            let passed = passed(pts, from, to);
            let expected = (600 * to / from) as usize;
            assert!(passed.len().abs_diff(expected) <= 2, "{from} to {to}: {} of {expected}", passed.len());
        }
    }

    #[test]
    fn time_that_jumps_back_does_not_stop_the_picture() {
        let pts = (0..60).map(|n| HOUR + n * 16_666_667).chain((0..60).map(|n| n * 16_666_667));
        let passed = passed(pts, 60, 30);
        assert!(passed.len().abs_diff(60) <= 2, "{}", passed.len());
    }
}
