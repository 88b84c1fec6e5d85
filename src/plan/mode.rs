//! Which of a device's modes to capture in.

use super::fragment::SourceFormat;
use super::{Rates, VideoDevice, VideoMode};
use crate::config::CaptureMode;
use crate::media::{FrameSize, Framerate};

/// One mode, taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChosenMode {
    pub(super) fourcc: String,
    /// Caps without size and rate.
    pub(super) caps: String,
    pub(super) size: FrameSize,
    pub(super) framerate: Framerate,
    pub(super) interlaced: bool,
    /// Why this one.
    pub(super) reason: String,
}

impl ChosenMode {
    /// `image/jpeg` and the like.
    pub(super) fn compressed(&self) -> bool {
        !self.caps.starts_with("video/x-raw")
    }

    /// The raw format that the device itself delivers.
    pub(super) fn raw_format(&self) -> Option<&str> {
        self.caps.split(',').find_map(|field| field.trim().strip_prefix("format="))
    }
}

/// What is asked of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// None: the largest.
    pub(super) size: Option<FrameSize>,
    pub(super) framerate: Framerate,
}

/// Why there is no mode.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NoMode {
    /// None of the device's formats can be taken.
    Format,
    /// The fixed mode is not offered.
    Fixed,
}

/// Chooses. In order: a rate that is high enough, a size that is large enough, the nearest size, the nearest rate, raw before
/// compressed, the source fragment's order of formats.
pub(super) fn choose(
    device: &VideoDevice,
    formats: &[SourceFormat],
    fixed: CaptureMode,
    wish: Wish,
) -> Result<ChosenMode, NoMode> {
    let usable = |mode: &&VideoMode| formats.iter().any(|format| format.fourcc == mode.fourcc);
    if !device.modes.iter().any(|mode| usable(&mode)) {
        return Err(NoMode::Format);
    }
    let (size, rate) = match fixed {
        CaptureMode::Auto => (None, None),
        CaptureMode::Fixed(size, rate) => (Some(size), rate),
    };
    let asked = wish;
    let wish = Wish { size: size.or(wish.size), framerate: rate.unwrap_or(wish.framerate) };
    let candidates =
        device.modes.iter().filter(usable).filter(|mode| size.is_none_or(|size| size == mode.size));
    let candidates = candidates.flat_map(|mode| {
        let rates = match rate {
            Some(rate) => mode.rates.exactly(rate).into_iter().collect(),
            None => mode.rates.near(wish.framerate),
        };
        rates.into_iter().map(move |rate| (mode, rate))
    });
    let best = candidates.min_by_key(|(mode, rate)| {
        let place = formats.iter().position(|format| format.fourcc == mode.fourcc);
        let compressed = place.is_some_and(|place| !formats[place].caps.starts_with("video/x-raw"));
        let small =
            wish.size.is_some_and(|size| mode.size.width < size.width || mode.size.height < size.height);
        let distance = match wish.size {
            Some(size) => mode.size.pixels().abs_diff(size.pixels()),
            None => u64::MAX - mode.size.pixels(),
        };
        let slow = *rate < wish.framerate;
        let lag = ((rate.as_f64() - wish.framerate.as_f64()).abs() * 1000.0) as u64;
        // A slow mode is judged by its rate first: 10 pictures a second are worse than small ones.
        let slowness = if slow { lag } else { 0 };
        (slowness, small, distance, lag, mode.interlaced, compressed, place)
    });
    let (mode, framerate) = best.ok_or(NoMode::Fixed)?;
    let format = formats.iter().find(|format| format.fourcc == mode.fourcc).ok_or(NoMode::Format)?;
    let chosen = ChosenMode {
        fourcc: mode.fourcc.clone(),
        caps: format.caps.clone(),
        size: mode.size,
        framerate,
        interlaced: mode.interlaced,
        reason: String::new(),
    };
    Ok(ChosenMode { reason: reason(device, formats, &chosen, fixed, asked), ..chosen })
}

fn reason(
    device: &VideoDevice,
    formats: &[SourceFormat],
    chosen: &ChosenMode,
    fixed: CaptureMode,
    wish: Wish,
) -> String {
    let mut words = Vec::new();
    match (fixed, wish.size) {
        (CaptureMode::Fixed(..), _) => words.push("the configuration fixes it".to_owned()),
        (CaptureMode::Auto, None) => words.push("the largest that is fast enough".to_owned()),
        (CaptureMode::Auto, Some(size)) if size == chosen.size => words.push("the profile's size".to_owned()),
        (CaptureMode::Auto, Some(size)) if chosen.size.pixels() > size.pixels() => {
            words.push(format!("the next larger than {size}, scaled down"));
        }
        (CaptureMode::Auto, Some(size)) => words.push(format!("nothing as large as {size} is fast enough")),
    }
    if chosen.framerate < wish.framerate && fixed == CaptureMode::Auto {
        words.push(format!("nothing reaches {} frames a second", wish.framerate));
    } else if chosen.framerate > wish.framerate {
        words.push(format!("thinned out to {}", wish.framerate));
    }
    if chosen.compressed() {
        let raw = device.modes.iter().filter(|mode| {
            mode.size == chosen.size
                && formats.iter().any(|f| f.fourcc == mode.fourcc && f.caps.starts_with("video/x-raw"))
        });
        match raw.map(|mode| mode.rates.fastest()).max() {
            Some(rate) if rate < chosen.framerate => {
                words.push(format!("raw at this size has only {rate}"));
            }
            _ => words.push("not offered raw".to_owned()),
        }
    }
    words.join("; ")
}

impl Rates {
    /// The highest.
    pub fn fastest(&self) -> Framerate {
        match self {
            Rates::List(rates) => rates.iter().copied().max().unwrap_or(super::term::THIRTY),
            Rates::Range { max, .. } => *max,
        }
    }

    /// This rate, if it is offered.
    fn exactly(&self, rate: Framerate) -> Option<Framerate> {
        self.near(rate).into_iter().find(|offered| *offered == rate)
    }

    /// Those worth a thought when `rate` is wished.
    fn near(&self, rate: Framerate) -> Vec<Framerate> {
        match self {
            Rates::List(rates) => rates.clone(),
            Rates::Range { min, max } => vec![rate.clamp(*min, *max)],
        }
    }
}

/// What a device offers, for people: `NV12 1920x1080@60`, one for each size and format, at most 12.
pub(super) fn offered(device: &VideoDevice) -> Vec<String> {
    let mut lines: Vec<String> = device
        .modes
        .iter()
        .map(|mode| format!("{} {}@{}", mode.fourcc, mode.size, mode.rates.fastest()))
        .collect();
    lines.dedup();
    let beyond = lines.len().saturating_sub(12);
    if beyond > 0 {
        lines.truncate(12);
        lines.push(format!("{beyond} more"));
    }
    lines
}
