//! Caps, as what people and the status call them.

use gstreamer as gst;

use crate::media::{FrameSize, Framerate};

/// The negotiated format of raw or compressed media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaFormat {
    /// `NV12`, `MJPG`, `S16LE`, …; the caps' name for anything else.
    pub format: String,
    /// Pictures only.
    pub size: Option<FrameSize>,
    /// Pictures only; none when it varies.
    pub framerate: Option<Framerate>,
    /// Samples per second, sound only.
    pub sample_rate: Option<u32>,
    /// Sound only.
    pub channels: Option<u32>,
}

impl MediaFormat {
    /// From fixed caps.
    pub(super) fn of(caps: &gst::CapsRef) -> MediaFormat {
        let Some(fields) = caps.structure(0) else { return MediaFormat::default() };
        let number = |name: &str| fields.get::<i32>(name).ok().and_then(|value| u32::try_from(value).ok());
        let format = match fields.name().as_str() {
            "image/jpeg" => "MJPG".to_owned(),
            name => fields.get::<&str>("format").unwrap_or(name).to_owned(),
        };
        let framerate = fields.get::<gst::Fraction>("framerate").ok().and_then(|rate| {
            Framerate::new(u32::try_from(rate.numer()).ok()?, u32::try_from(rate.denom()).ok()?)
        });
        MediaFormat {
            format,
            size: number("width").zip(number("height")).map(|(width, height)| FrameSize::new(width, height)),
            framerate,
            sample_rate: number("rate"),
            channels: number("channels"),
        }
    }
}
