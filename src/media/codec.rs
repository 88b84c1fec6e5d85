//! Codecs Capcast can produce and forward.

use std::fmt;
use std::str::FromStr;

use super::UnitError;

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// Moving picture, 90 kHz RTP clock.
    Video,
    /// Sound, 48 kHz RTP clock.
    Audio,
}

/// The sound of an MPEG transport stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsSound {
    /// As it is encoded. Players built on ffmpeg and GStreamer read it; hardware seldom does.
    #[default]
    Opus,
    /// Encoded once more, for receivers that know nothing else.
    Aac,
    /// None.
    None,
}

/// A codec as it travels over RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// H.264 / AVC, RFC 6184.
    H264,
    /// VP9, RFC 9628.
    Vp9,
    /// AV1, AOM's RTP payload format.
    Av1,
    /// VP8, RFC 7741.
    Vp8,
    /// Opus, RFC 7587.
    Opus,
}

impl Codec {
    /// Every video codec, in the order they are offered.
    pub const VIDEO: [Codec; 4] = [Codec::H264, Codec::Vp9, Codec::Av1, Codec::Vp8];

    /// Whether this is picture or sound.
    pub const fn kind(self) -> MediaKind {
        match self {
            Codec::H264 | Codec::Vp9 | Codec::Av1 | Codec::Vp8 => MediaKind::Video,
            Codec::Opus => MediaKind::Audio,
        }
    }

    /// Whether MPEG transport streams carry it, as Capcast makes them.
    pub const fn fits_transport_stream(self) -> bool {
        matches!(self, Codec::H264 | Codec::Opus)
    }

    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self.kind() {
            MediaKind::Video => 90_000,
            MediaKind::Audio => 48_000,
        }
    }

    /// The word used in configuration, JSON and metrics: `h264`, `vp9`, `av1`, `vp8`, `opus`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::Vp9 => "vp9",
            Codec::Av1 => "av1",
            Codec::Vp8 => "vp8",
            Codec::Opus => "opus",
        }
    }

    /// The name people read: `H.264`, `VP9`, `AV1`, `VP8`, `Opus`.
    pub const fn title(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::Vp9 => "VP9",
            Codec::Av1 => "AV1",
            Codec::Vp8 => "VP8",
            Codec::Opus => "Opus",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Codec {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Codec::VIDEO
            .into_iter()
            .chain([Codec::Opus])
            .find(|codec| codec.as_str() == text)
            .ok_or_else(|| UnitError::new("codec", text, "one of `h264`, `vp9`, `av1`, `vp8`, `opus`"))
    }
}
