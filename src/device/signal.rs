//! What arrives at a capture device's input.

use std::fmt;

use crate::media::{FrameSize, Framerate};

/// What arrives at a capture device's input, as far as its driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The driver does not say; so do all USB video class devices, which show a picture of their own without a signal.
    Unknown,
    /// Nothing is plugged in, or it is off.
    None,
    /// Something arrives, but it is not stable.
    Unstable,
    /// Something arrives that the device cannot take.
    OutOfRange,
    /// A picture arrives.
    Present {
        /// Its size.
        size: FrameSize,
        /// Its rate in frames (not fields), where it is a usual one.
        framerate: Option<Framerate>,
        /// Fields instead of frames.
        interlaced: bool,
    },
}

impl Signal {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Signal::Unknown => "unknown",
            Signal::None => "none",
            Signal::Unstable => "unstable",
            Signal::OutOfRange => "out-of-range",
            Signal::Present { .. } => "present",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Unknown => f.write_str("not told by the driver"),
            Signal::None => f.write_str("none: no cable, or the source is off"),
            Signal::Unstable => f.write_str("not stable: try another cable"),
            Signal::OutOfRange => f.write_str("more than the card can take: lower the source's resolution"),
            Signal::Present { size, framerate, interlaced } => {
                write!(f, "{size}")?;
                if let Some(rate) = framerate {
                    write!(f, " at {rate}")?;
                }
                if *interlaced { f.write_str(" interlaced") } else { Ok(()) }
            }
        }
    }
}

/// The parts of `v4l2_bt_timings` that give size and rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timings {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) interlaced: bool,
    /// Hz.
    pub(super) pixel_clock: u64,
    /// Pixels.
    pub(super) horizontal_blanking: u32,
    /// Lines, of both fields where there are two.
    pub(super) vertical_blanking: u32,
}

impl Timings {
    pub(super) const fn size(&self) -> FrameSize {
        FrameSize::new(self.width, self.height)
    }

    /// Frames per second: the usual rate nearest to what the pixel clock gives, if one is within 0.04 %, which tells 60
    /// from 59.94 and forgives a receiver's clock.
    pub(super) fn framerate(&self) -> Option<Framerate> {
        const USUAL: [(u32, u32); 13] = [
            (24_000, 1001),
            (24, 1),
            (25, 1),
            (30_000, 1001),
            (30, 1),
            (50, 1),
            (60_000, 1001),
            (60, 1),
            (75, 1),
            (100, 1),
            (120_000, 1001),
            (120, 1),
            (144, 1),
        ];
        let across = f64::from(self.width) + f64::from(self.horizontal_blanking);
        let down = f64::from(self.height) + f64::from(self.vertical_blanking);
        let rate = self.pixel_clock as f64 / (across * down);
        let off = |usual: &Framerate| (rate / usual.as_f64() - 1.0).abs();
        USUAL
            .into_iter()
            .filter_map(|(numerator, denominator)| Framerate::new(numerator, denominator))
            .min_by(|a, b| off(a).total_cmp(&off(b)))
            .filter(|usual| off(usual) < 4e-4)
    }

    /// Whether both are the same, but for what a receiver's clock measures a little differently each time.
    pub(super) fn like(&self, other: &Timings) -> bool {
        let clocks = self.pixel_clock.abs_diff(other.pixel_clock);
        self.size() == other.size()
            && self.interlaced == other.interlaced
            && self.framerate() == other.framerate()
            && clocks <= self.pixel_clock / 200
    }

    pub(super) fn signal(&self) -> Signal {
        Signal::Present { size: self.size(), framerate: self.framerate(), interlaced: self.interlaced }
    }
}

/// What `VIDIOC_ENUMINPUT` says of the selected input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InputStatus {
    pub(super) no_signal: bool,
    pub(super) no_lock: bool,
}

impl InputStatus {
    /// Only bad news counts: a status of 0 is what drivers say that do not look.
    pub(super) fn signal(self) -> Signal {
        match (self.no_signal, self.no_lock) {
            (true, _) => Signal::None,
            (false, true) => Signal::Unstable,
            (false, false) => Signal::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(width: u32, height: u32, pixel_clock: u64, blanking: (u32, u32)) -> Timings {
        Timings {
            width,
            height,
            interlaced: false,
            pixel_clock,
            horizontal_blanking: blanking.0,
            vertical_blanking: blanking.1,
        }
    }

    #[test]
    fn timings_of_cta_861_give_their_rates() {
        // Format, clock and totals as in CTA-861 (linux/v4l2-dv-timings.h).
        let rate = |t: Timings| t.framerate().map(|rate| rate.to_string());
        assert_eq!(rate(timings(1920, 1080, 148_500_000, (280, 45))).as_deref(), Some("60"));
        assert_eq!(rate(timings(1920, 1080, 148_351_648, (280, 45))).as_deref(), Some("60000/1001"));
        assert_eq!(rate(timings(1920, 1080, 74_250_000, (280, 45))).as_deref(), Some("30"));
        assert_eq!(rate(timings(1920, 1080, 148_500_000, (720, 45))).as_deref(), Some("50"));
        assert_eq!(rate(timings(1280, 720, 74_250_000, (370, 30))).as_deref(), Some("60"));
        assert_eq!(rate(timings(3840, 2160, 594_000_000, (560, 90))).as_deref(), Some("60"));
        // A receiver's clock that is 100 ppm off.
        assert_eq!(rate(timings(1920, 1080, 148_514_850, (280, 45))).as_deref(), Some("60"));
        // 1080i50 has 25 frames of 1125 lines.
        let interlaced = Timings { interlaced: true, ..timings(1920, 1080, 74_250_000, (720, 45)) };
        assert_eq!(interlaced.signal().to_string(), "1920x1080 at 25 interlaced");
    }

    #[test]
    fn odd_timings_have_a_size_and_no_rate() {
        assert_eq!(timings(1920, 1080, 0, (280, 45)).framerate(), None);
        assert_eq!(timings(0, 0, 1, (0, 0)).framerate(), None);
        assert_eq!(timings(800, 600, 38_250_000, (224, 24)).signal().to_string(), "800x600");
    }

    #[test]
    fn a_status_of_zero_is_no_promise() {
        assert_eq!(InputStatus { no_signal: false, no_lock: false }.signal(), Signal::Unknown);
        assert_eq!(InputStatus { no_signal: true, no_lock: true }.signal(), Signal::None);
        assert_eq!(InputStatus { no_signal: false, no_lock: true }.signal(), Signal::Unstable);
    }
}
