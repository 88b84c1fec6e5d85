//! What a profile says: what the operator wants of the encoder. Typed; read by `read`.

mod read;

use std::time::Duration;

use crate::media::{Bitrate, Codec, FrameSize, Framerate};

pub use read::{KnownEncoders, parse_profile, parse_profile_among};

/// `profiles/NAME.toml`
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The file's name without `.toml`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// `[video]`
    pub video: VideoProfile,
    /// `[audio]`; without the table there is Opus at 128 kbit/s.
    pub audio: AudioProfile,
}

/// `[video]`
#[derive(Clone, Debug, PartialEq)]
pub struct VideoProfile {
    /// A video codec.
    pub codec: Codec,
    /// Which fragment encodes.
    pub encoder: EncoderChoice,
    /// The size to encode at.
    pub size: SizeChoice,
    /// The rate to encode at; frames beyond it are dropped evenly, and not counted as lost.
    pub framerate: Framerate,
    /// The target.
    pub bitrate: Bitrate,
    /// How low an adaptive output may push it.
    pub min_bitrate: Bitrate,
    /// The longest time between keyframes.
    pub keyframe_interval: Duration,
    /// Speed against quality.
    pub speed: Speed,
    /// `[video.properties]`: element properties for experts, in the order written.
    pub properties: Vec<(String, PropertyLiteral)>,
    /// `[[video.rendition]]`: further, smaller versions.
    pub renditions: Vec<Rendition>,
}

/// `video.encoder`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncoderChoice {
    /// Hardware first, then software.
    Auto,
    /// Fragment names, tried in order; one or more.
    Listed(Vec<String>),
}

/// `video.size`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeChoice {
    /// Whatever the source has.
    Source,
    /// Scaled to this.
    Fixed(FrameSize),
}

/// `video.speed`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Least CPU.
    Fastest,
    /// What a live stream wants.
    Realtime,
    /// Best picture that still is live on a strong machine.
    Quality,
}

/// A value of `[video.properties]`.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyLiteral {
    /// `true`
    Bool(bool),
    /// `8`
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// `"realtime"`: text, an enum's nick, or flags' nicks joined by `+`.
    Text(String),
}

/// `[[video.rendition]]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// Smaller than the profile's size.
    pub size: FrameSize,
    /// Lower than the profile's bitrate.
    pub bitrate: Bitrate,
}

/// `[audio]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioProfile {
    /// Only Opus.
    pub codec: Codec,
    /// The target.
    pub bitrate: Bitrate,
}
