//! The plan's own types.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::QueueClass;
use crate::media::{Bitrate, Codec, Delay, FrameSize, Framerate, SourceHealth};

/// Everything that would run for one profile on one box.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The profile's name.
    pub profile: String,
    /// From the device to the raw hub.
    pub video_capture: GraphPlan,
    /// From the sound card to the raw hub; none when `capture.audio = "none"`.
    pub audio_capture: Option<GraphPlan>,
    /// From the raw hub to the outlet, one per rendition, the profile's own first.
    pub video_encode: Vec<GraphPlan>,
    /// From the raw hub to the outlet.
    pub audio_encode: Option<GraphPlan>,
    /// Why each fragment and mode was chosen or refused, in the order decided.
    pub choices: Vec<Choice>,
}

impl Plan {
    /// Every graph.
    pub fn graphs(&self) -> impl Iterator<Item = &GraphPlan> {
        let capture = [&self.video_capture].into_iter().chain(&self.audio_capture);
        capture.chain(&self.video_encode).chain(&self.audio_encode)
    }
}

/// One graph: nodes and links, what may change while it plays, and what comes out.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphPlan {
    /// Which kind of graph.
    pub kind: GraphKind,
    /// The fragment that gave its heart: `x264`, `v4l2`, `test`, …
    pub fragment: String,
    /// For people: `/dev/video0 (USB3 HDMI), NV12 1920x1080@60`, `H.264 by x264, in software`.
    pub title: String,
    /// What goes in at the start.
    pub upstream: Upstream,
    /// In the order of data flow, ids unique.
    pub nodes: Vec<Node>,
    /// Which node feeds which. A node with several outgoing links is a `tee`. Where the upstream element has no source
    /// pad yet (`decodebin`), the link is made when a pad appears that carries the graph's medium.
    pub links: Vec<Link>,
    /// The hardware allows one session of this only: a switch breaks before it makes, and rolls back if that fails.
    pub exclusive: bool,
    /// Limits of what is handed over at the end and not yet taken by the SFU or an output; none in capture graphs, for
    /// there the consumer's `appsrc` alone has capacity.
    pub handover: Option<QueueClass>,
    /// Added to every PTS on the way to the raw hub (`capture.audio_delay`); never negative, zero in encode graphs.
    pub shift: Delay,
    /// What may change while playing.
    pub control: Control,
    /// What comes out at the end.
    pub downstream: Downstream,
}

/// The kinds of graph of which Capcast consists; each is a `GstPipeline` of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraphKind {
    /// Device, test picture, file or network to raw hub.
    VideoCapture,
    /// Sound card or tone to raw hub.
    AudioCapture,
    /// Raw hub to outlet, one rendition.
    VideoEncode,
    /// Raw hub to outlet.
    AudioEncode,
}

/// What the first node takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Upstream {
    /// Raw media by an `appsrc` (role [`Role::FromHub`]).
    RawHub,
    /// Made up: the test picture, the tone. Cannot fail, cannot wait.
    Made,
    /// A V4L2 capture device.
    VideoDevice {
        /// `/dev/video0`
        node: PathBuf,
        /// As the driver calls it.
        card: String,
        /// FourCC of the mode: `NV12`, `MJPG`, …
        format: String,
    },
    /// A V4L2 capture device that is not there, or may not be opened: there is nothing to build, and a slate stands in
    /// until there is.
    Absent {
        /// How it is, in words.
        health: SourceHealth,
    },
    /// An ALSA capture device.
    SoundCard {
        /// `hw:CARD=Capture`
        hw: String,
    },
    /// A file that loops. Picture and sound are two graphs that read the same file; both place the file's zero and each
    /// further turn (a turn lasts as long as the container says) at the same `MediaTime`.
    File {
        /// Absolute.
        path: PathBuf,
    },
    /// MPEG-TS that arrives over the network. One reception feeds every graph that names its URL; picture and sound share
    /// its times.
    Network {
        /// As configured: `srt://…`, `https://…`. Never with a secret.
        url: String,
    },
}

/// What the last node delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum Downstream {
    /// Raw pictures; size and rate where the plan fixes them.
    RawVideo {
        /// Fixed GStreamer raw format, if the plan knows it.
        format: Option<String>,
        /// Fixed size, if the plan knows it.
        size: Option<FrameSize>,
        /// Fixed rate, if the plan knows it.
        framerate: Option<Framerate>,
    },
    /// Raw interleaved S16LE or F32LE samples, 48 kHz, stereo.
    RawAudio,
    /// Encoded pictures.
    Video {
        /// The codec.
        codec: Codec,
        /// Fixed size, or the source's.
        size: Option<FrameSize>,
        /// The encoder's rate; the most, where the source's is not known (files).
        framerate: Framerate,
        /// The target the graph starts with.
        bitrate: Bitrate,
    },
    /// Encoded sound.
    Audio {
        /// The codec.
        codec: Codec,
        /// The target.
        bitrate: Bitrate,
    },
}

/// One element, with everything that is set on it before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in its graph; the element's name.
    pub id: String,
    /// The element factory, such as `x264enc`, `capsfilter`, `appsrc`, `tee`.
    pub factory: String,
    /// Why it is there, where Capcast itself must know.
    pub role: Role,
    /// In the order they are set.
    pub properties: Vec<(String, Value)>,
}

/// What encoder elements call the number of B-frames: x264, NVENC, VA and QSV, VA-API.
const B_FRAMES: [&str; 4] = ["bframes", "b-frames", "max-bframes", "num-b-frames"];

impl GraphPlan {
    /// The encoder's property that asks for B-frames, if one does. No WebRTC peer can show them.
    pub fn reorders(&self) -> Option<&str> {
        let encoder = self.nodes.iter().find(|node| node.role == Role::Encoder)?;
        let asks = |(name, value): &&(String, Value)| {
            B_FRAMES.contains(&name.as_str()) && matches!(value, Value::Integer(count) if *count > 0)
        };
        encoder.properties.iter().find(asks).map(|(name, _)| name.as_str())
    }
}

impl Node {
    /// A property's value.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(property, _)| property == name).map(|(_, value)| value)
    }
}

/// What Capcast itself does with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nothing: it just runs.
    Plain,
    /// The element that talks to hardware or makes the picture.
    Source,
    /// `appsrc`: raw media enters from the raw hub.
    FromHub,
    /// `appsink`: raw media leaves to the raw hub.
    ToHub,
    /// The encoder: takes bitrate and keyframe requests; its pads are where frames in and out are counted.
    Encoder,
    /// The decoder of a compressed capture format or file.
    Decoder,
    /// `identity` or `clocksync` behind a source that cannot wait (test picture, file): a frame whose running time is
    /// more than three frame times behind now is dropped here and counted as skipped, as a driver would.
    Pacer,
    /// `capssetter` with the encoder's rate, in front of which the engine leaves out the frames that are too many.
    Thinner,
    /// `identity` where the engine burns the wall clock and the frame number into the raw picture (test picture).
    Stamp,
    /// The RTP payloader; payload type, SSRC and first sequence number are fixed by the plan, RTP time is running time.
    Payloader,
    /// `appsink`: encoded access units leave to the outlet.
    AccessUnits,
    /// `appsink`: RTP leaves to the SFU.
    Rtp,
}

impl Role {
    /// The word that fragments and JSON use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Plain => "plain",
            Role::Source => "source",
            Role::FromHub => "from-hub",
            Role::ToHub => "to-hub",
            Role::Decoder => "decoder",
            Role::Pacer => "pacer",
            Role::Thinner => "thinner",
            Role::Stamp => "stamp",
            Role::Encoder => "encoder",
            Role::Payloader => "payloader",
            Role::AccessUnits => "access-units",
            Role::Rtp => "rtp",
        }
    }
}

/// Data flows from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Upstream node's id.
    pub from: String,
    /// Downstream node's id.
    pub to: String,
}

/// A property's value before it is fitted to the property's real type. The engine's setter does that, and refuses what
/// does not fit: integers take any integer type in range, text takes strings, enum nicks, flags (`a+b`), caps, fractions
/// and structures.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// Any integer type.
    Integer(i64),
    /// `f32` or `f64`.
    Float(f64),
    /// Anything that GStreamer reads from text.
    Text(String),
}

/// In a text, the engine puts a number here that differs from one element made to the next: what must not be the same
/// in two encoders that follow each other in one stream (`sps-id` of H.264), and must not make two equal plans differ.
pub const INSTANCE: &str = "{instance}";

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
        }
    }
}

/// What may change while a graph plays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    /// How the encoder's bitrate is changed, if it can be.
    pub bitrate: Option<BitrateControl>,
    /// How a keyframe is forced, if it can be.
    pub keyframe: Option<KeyframeControl>,
}

/// How an encoder's bitrate is changed while it plays.
#[derive(Clone, Debug, PartialEq)]
pub struct BitrateControl {
    /// The encoder's node id.
    pub node: String,
    /// The property to set.
    pub property: String,
    /// The property's value is bit/s divided by this.
    pub divisor: u64,
    /// Where the property is a text: the text, with `{value}` for the number.
    pub text: Option<String>,
    /// The least and the most the encoder takes.
    pub range: (Bitrate, Bitrate),
    /// Each change costs a keyframe, so changes are spaced by this.
    pub min_interval: Duration,
}

impl BitrateControl {
    /// What to set the property to.
    pub fn value(&self, bitrate: Bitrate) -> Value {
        let divisor = self.divisor.max(1);
        let units = ((bitrate.bits() + divisor / 2) / divisor).max(1);
        match &self.text {
            Some(text) => Value::Text(text.replace("{value}", &units.to_string())),
            None => Value::Integer(i64::try_from(units).unwrap_or(i64::MAX)),
        }
    }
}

/// How a keyframe is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeControl {
    /// An upstream `GstForceKeyUnit` event.
    Event,
    /// The element ignores the event: unlink, READY, PLAYING, link again under a blocking probe (`av1enc` < 1.24.5).
    Restart,
}

/// One decision and why it fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What was decided on: `encoder`, `capture mode`, `source`, …
    pub subject: String,
    /// The fragment, mode or value looked at.
    pub candidate: String,
    /// Was it taken?
    pub taken: bool,
    /// In words.
    pub reason: String,
}
