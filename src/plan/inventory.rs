//! What this box has: GStreamer's elements (filled by `engine`), devices (filled by `device`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::media::{FrameSize, Framerate};

/// Everything about a box that a plan depends on. Plain data, so that a test can be any box.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// GStreamer's version at run time.
    pub gstreamer: GstVersion,
    /// Elements by factory name. At least those that [`Fragments::factories`](super::Fragments::factories) names, where
    /// they exist.
    pub elements: BTreeMap<String, Element>,
    /// CPU cores this process may use, at least 1.
    pub cores: u32,
    /// V4L2 capture devices, without metadata nodes, ordered by node number.
    pub video_devices: Vec<VideoDevice>,
    /// ALSA capture cards, in ALSA's order.
    pub sound_cards: Vec<SoundCard>,
    /// Files that were looked into, or in words why they cannot be played. Of others the best is assumed.
    pub clips: BTreeMap<PathBuf, Result<Clip, String>>,
    /// Streams that arrive over the network, by URL: whether their picture can be passed on as it is, or in words why not.
    /// Of others nothing is known.
    pub streams: BTreeMap<String, Result<(), String>>,
    /// Debian packages that are installed, among those that fragments name.
    pub packages: BTreeSet<String>,
    /// What came of trying encoders, by fragment. One that was not tried is trusted as long as its elements are there.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// What came of pushing real frames through an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Runs {
        /// Frames that came out.
        frames: u32,
        /// How long that took.
        took: Duration,
    },
    /// It does not, for the reason in words.
    Fails(String),
}

impl Inventory {
    /// The device at a node (`/dev/video0`) or under a stable name (with or without its directory).
    pub fn video_device(&self, name: &str) -> Option<&VideoDevice> {
        let links_here = |link: &PathBuf| link.as_os_str() == name || link.file_name() == Some(name.as_ref());
        self.video_devices
            .iter()
            .find(|device| device.node.as_os_str() == name || device.links.iter().any(links_here))
    }
}

/// A GStreamer version: major, minor, micro.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GstVersion(pub u32, pub u32, pub u32);

impl fmt::Display for GstVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One element factory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    /// Linked into Capcast, so that `gst-launch-1.0` need not have it.
    pub built_in: bool,
    /// It exists, but what it needs at run time does not.
    pub unusable: Option<Unusable>,
    /// By name; empty means "not looked at", and nothing is checked then.
    pub properties: BTreeMap<String, Property>,
}

/// Why an element cannot be used here although it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// In words.
    pub reason: String,
    /// The Debian package that would mend it.
    pub package: Option<String>,
}

/// One property of an element, as its `GParamSpec` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Type and range.
    pub kind: PropertyKind,
    /// Can be set at all.
    pub writable: bool,
}

/// A property's type and what it accepts.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyKind {
    /// `gboolean`
    Bool,
    /// Any integer type (`gint`, `guint`, `gint64`, `guint64`), with its range.
    Integer {
        /// Least.
        min: i128,
        /// Most.
        max: i128,
    },
    /// `gfloat`, `gdouble`
    Float {
        /// Least.
        min: f64,
        /// Most.
        max: f64,
    },
    /// `gchararray`
    Text,
    /// One of these nicks.
    Enum(Vec<String>),
    /// Any of these nicks, joined by `+`.
    Flags(Vec<String>),
    /// Anything else that GStreamer reads from text (caps, fraction, structure), by type name.
    Other(String),
}

/// One V4L2 capture device.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoDevice {
    /// `/dev/video0`
    pub node: PathBuf,
    /// Stable names: in `/dev/v4l/by-id`, which stay with the device, then in `/dev/v4l/by-path`
    /// and `/dev/capcast`, which stay with the port.
    pub links: Vec<PathBuf>,
    /// As the driver calls it: `USB3 HDMI`.
    pub card: String,
    /// `uvcvideo`, `vivid`, …
    pub driver: String,
    /// As V4L2 says: `usb-0000:00:14.0-2`.
    pub bus: String,
    /// Every format, size and rate it offers.
    pub modes: Vec<VideoMode>,
    /// Whether it could be opened.
    pub access: DeviceAccess,
}

/// Whether a device could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceAccess {
    /// It can be used.
    Free,
    /// Another program streams from it.
    Busy,
    /// This user may not open it.
    Denied,
}

/// One format and size of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoMode {
    /// V4L2 FourCC: `NV12`, `YUYV`, `MJPG`, …
    pub fourcc: String,
    /// One size; of a device that offers a range, its largest and the usual ones within.
    pub size: FrameSize,
    /// Its rates.
    pub rates: Rates,
    /// Fields instead of frames.
    pub interlaced: bool,
}

/// The rates of a mode.
#[derive(Clone, Debug, PartialEq)]
pub enum Rates {
    /// These, highest first.
    List(Vec<Framerate>),
    /// Any between.
    Range {
        /// Slowest.
        min: Framerate,
        /// Fastest.
        max: Framerate,
    },
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Moving pictures.
    pub picture: Track,
    /// Sound.
    pub sound: Track,
}

/// One medium of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Track {
    /// It can be played.
    There,
    /// There is none.
    Absent,
    /// This decoder is not installed, in GStreamer's words: `H.265 (Main Profile) decoder`.
    Undecodable(String),
}

/// One ALSA capture card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundCard {
    /// ALSA's id: `Capture`.
    pub id: String,
    /// For people: `USB3 HDMI`.
    pub name: String,
    /// What `alsasrc` takes: `hw:CARD=Capture`.
    pub hw: String,
    /// Where it is plugged in, in the words of [`VideoDevice::bus`], so that picture and sound of one box are found
    /// together; empty if not known.
    pub bus: String,
}
