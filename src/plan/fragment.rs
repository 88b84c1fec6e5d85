//! What `pipelines/**/*.toml` say: reusable pieces of a graph. Typed; parsed in `fragment_file`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{GstVersion, Role, Value};
use crate::config::Source;
use crate::media::{Bitrate, Codec, FrameSize, MediaKind};

/// All fragments of a box, by name within their folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fragments {
    /// `pipelines/source/*.toml`
    pub sources: BTreeMap<String, Fragment>,
    /// `pipelines/encoder/*.toml`
    pub encoders: BTreeMap<String, Fragment>,
    /// `pipelines/output/*.toml`
    pub outputs: BTreeMap<String, Fragment>,
}

impl Fragments {
    /// Every fragment.
    pub fn iter(&self) -> impl Iterator<Item = &Fragment> {
        self.sources.values().chain(self.encoders.values()).chain(self.outputs.values())
    }

    /// Every element factory that any plan may name: what an inventory must look at.
    pub fn factories(&self) -> BTreeSet<&str> {
        let named = self.iter().flat_map(|fragment| {
            let asked = fragment.conditions().filter_map(Condition::element);
            fragment.elements.iter().flat_map(ElementPart::factories).chain(asked)
        });
        named.chain(super::graph::FACTORIES).collect()
    }
}

/// One fragment file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// The file's name without `.toml`.
    pub name: String,
    /// The file's name as it was read, for messages.
    pub file: String,
    /// The file itself: an encoder is tried by another process, which reads it again.
    pub source: Source,
    /// One line for people.
    pub summary: String,
    /// The folder it is in.
    pub kind: FragmentKind,
    /// What it encodes to, or which codec's output it is; none for sources.
    pub codec: Option<Codec>,
    /// Picture or sound.
    pub media: MediaKind,
    /// `auto` tries the highest first; 0 is never tried by `auto`.
    pub rank: i64,
    /// What must hold for it to be used at all.
    pub requires: Vec<Condition>,
    /// Debian package by factory, for the hint when an element is missing.
    pub packages: BTreeMap<String, String>,
    /// What the box must have in it, for people, where an element is missing although its plugin is there.
    pub hardware: Option<String>,
    /// Properties of the encoder that no profile may change, each with the reason.
    pub forbidden: BTreeMap<String, String>,
    /// The hardware allows one session only.
    pub exclusive: bool,
    /// GStreamer raw formats: what an encoder takes, best first.
    pub formats: Vec<String>,
    /// The smallest picture that an encoder takes.
    pub smallest: Option<FrameSize>,
    /// An encoder takes pictures with even sides only.
    pub even: bool,
    /// A source's compressed or raw V4L2 formats by FourCC, best first.
    pub modes: Vec<SourceFormat>,
    /// In the order of data flow.
    pub elements: Vec<ElementPart>,
    /// How the bitrate is changed while playing.
    pub bitrate: Option<BitratePart>,
    /// How a keyframe is forced: `event` or `restart`.
    pub keyframe: Option<Term>,
}

impl Fragment {
    /// Every condition anywhere in the fragment.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let elements = self.elements.iter().flat_map(|element| {
            element.when.iter().chain(element.properties.iter().flat_map(|(_, term)| term.conditions()))
        });
        let bitrate = self.bitrate.iter().flat_map(|part| part.when.iter().chain(part.max.conditions()));
        let keyframe = self.keyframe.iter().flat_map(Term::conditions);
        let modes = self.modes.iter().flat_map(|mode| &mode.when);
        self.requires.iter().chain(elements).chain(bitrate).chain(keyframe).chain(modes)
    }
}

/// The folders under `pipelines/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FragmentKind {
    /// Brings raw media in.
    Source,
    /// Raw media to encoded media.
    Encoder,
    /// Encoded media to what leaves the box.
    Output,
}

/// A V4L2 format that a source fragment can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFormat {
    /// V4L2's FourCC.
    pub fourcc: String,
    /// GStreamer caps without size and rate: `video/x-raw,format=NV12`, `image/jpeg`.
    pub caps: String,
    /// All must hold for it to be taken.
    pub when: Vec<Condition>,
}

/// One `[[element]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ElementPart {
    /// The element factory.
    pub factory: String,
    /// Factories with the same properties, best first, for boxes that do not have it.
    pub instead: Vec<String>,
    /// What Capcast does with it.
    pub role: Role,
    /// All must hold for it to be there; empty is always.
    pub when: Vec<Condition>,
    /// In the order written.
    pub properties: Vec<(String, Term)>,
}

impl ElementPart {
    /// Every factory that it may be made by, best first.
    pub fn factories(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.factory.as_str()).chain(self.instead.iter().map(String::as_str))
    }
}

/// How a bitrate is changed while playing.
#[derive(Clone, Debug, PartialEq)]
pub struct BitratePart {
    /// All must hold, or it cannot be changed.
    pub when: Vec<Condition>,
    /// For properties that are no number: a text with `{value}` in it.
    pub text: Option<String>,
    /// The encoder's property.
    pub property: String,
    /// Bit/s per unit of the property.
    pub divisor: u64,
    /// The least it takes.
    pub min: Bitrate,
    /// The most it takes, in bit/s.
    pub max: Term,
    /// Time between changes, where each costs a keyframe.
    pub min_interval: Duration,
}

/// A property's value as a fragment writes it: a literal, or something that is known when the plan is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// `200`, `true`, `"zerolatency"`
    Literal(Value),
    /// `{ from = "bitrate", unit = "kbit/s", add = 0 }`
    From {
        /// What it is taken from.
        quantity: Quantity,
        /// The quantity is divided by this, …
        divisor: u64,
        /// … multiplied by this, …
        times: f64,
        /// … this is added, …
        add: i64,
        /// … and it is kept above …
        min: Option<i64>,
        /// … and below.
        max: Option<i64>,
    },
    /// `{ by = "height", "720" = 1, above = 4 }`: the first step that is not below.
    By {
        /// What decides.
        axis: Axis,
        /// Upper bound and value, ascending.
        steps: Vec<(u64, Term)>,
        /// Above the last step.
        above: Box<Term>,
    },
    /// `{ by = "speed", fastest = 10, realtime = 8, quality = 6 }`
    BySpeed {
        /// `speed = "fastest"`
        fastest: Box<Term>,
        /// `speed = "realtime"`
        realtime: Box<Term>,
        /// `speed = "quality"`
        quality: Box<Term>,
    },
    /// `{ when = "gstreamer < 1.26", then = …, else = … }`; without `else` the property is left alone.
    When {
        /// All must hold.
        when: Vec<Condition>,
        /// If they hold.
        then: Box<Term>,
        /// If not.
        otherwise: Option<Box<Term>>,
    },
    /// `{ text = "controls,video_bitrate={rate}", rate = { from = "bitrate" } }`
    Text {
        /// With `{name}` where parts go.
        text: String,
        /// By name.
        parts: Vec<(String, Term)>,
    },
}

impl Term {
    /// Every literal anywhere in the term.
    pub fn literals(&self) -> Vec<&Value> {
        match self {
            Term::Literal(value) => vec![value],
            Term::From { .. } => Vec::new(),
            Term::By { steps, above, .. } => {
                steps.iter().map(|(_, term)| term).chain([&**above]).flat_map(Term::literals).collect()
            }
            Term::BySpeed { fastest, realtime, quality } => {
                [fastest, realtime, quality].into_iter().flat_map(|term| term.literals()).collect()
            }
            Term::When { then, otherwise, .. } => {
                [then].into_iter().chain(otherwise).flat_map(|term| term.literals()).collect()
            }
            Term::Text { parts, .. } => parts.iter().flat_map(|(_, term)| term.literals()).collect(),
        }
    }

    /// Every condition anywhere in the term.
    pub fn conditions(&self) -> Box<dyn Iterator<Item = &Condition> + '_> {
        match self {
            Term::Literal(_) | Term::From { .. } => Box::new(std::iter::empty()),
            Term::By { steps, above, .. } => {
                Box::new(steps.iter().flat_map(|(_, term)| term.conditions()).chain(above.conditions()))
            }
            Term::BySpeed { fastest, realtime, quality } => {
                Box::new(fastest.conditions().chain(realtime.conditions()).chain(quality.conditions()))
            }
            Term::When { when, then, otherwise } => Box::new(
                when.iter()
                    .chain(then.conditions())
                    .chain(otherwise.iter().flat_map(|term| term.conditions())),
            ),
            Term::Text { parts, .. } => Box::new(parts.iter().flat_map(|(_, term)| term.conditions())),
        }
    }
}

/// What a term may be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The target bitrate; unit `bit/s`, `kbit/s` or `kibit/s`.
    Bitrate,
    /// The longest distance between keyframes, in frames.
    KeyframeInterval,
    /// The encoded rate, as a fraction: `30/1`.
    Framerate,
    /// How long one frame lasts, in seconds as a fraction: `1/30`.
    FrameTime,
    /// Threads that suit the cores and the picture.
    Threads,
    /// Width in pixels.
    Width,
    /// Height in pixels.
    Height,
    /// CPU cores.
    Cores,
    /// The device to open: a node, an ALSA name, a path.
    Device,
    /// The caps of the chosen capture mode.
    Mode,
}

/// What a term may depend on by steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Height in pixels: `"720"`.
    Height,
    /// Pixels a second: `"1280x720@30"`.
    Load,
    /// CPU cores: `"2"`.
    Cores,
}

/// Something that holds or not on this box, for this plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `gstreamer >= 1.24`
    Gstreamer(Comparison, GstVersion),
    /// `has vapostproc`
    Has(String),
    /// `has nvh264enc.vbv-buffer-size`: some properties depend on the device.
    HasProperty(String, String),
    /// `interlaced`: the capture mode gives fields.
    Interlaced,
    /// `compressed`: the capture mode needs a decoder.
    Compressed,
    /// `not …`
    Not(Box<Condition>),
}

impl Condition {
    /// The element that it asks about.
    fn element(&self) -> Option<&str> {
        match self {
            Condition::Has(factory) | Condition::HasProperty(factory, _) => Some(factory),
            Condition::Not(condition) => condition.element(),
            Condition::Gstreamer(..) | Condition::Interlaced | Condition::Compressed => None,
        }
    }
}

/// How versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}
