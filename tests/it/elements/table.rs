//! Reads `tests/data/elements`: what GStreamer's elements offer, by version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use capcast::plan::{Element, GstVersion, Property, PropertyKind};

/// The elements of one GStreamer version.
pub(crate) struct Table {
    pub(crate) version: GstVersion,
    pub(crate) elements: BTreeMap<String, Entry>,
}

/// One element.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    pub(crate) element: Element,
    /// Caps of what goes in, one text for each pad template.
    pub(crate) sinks: Vec<String>,
    /// Caps of what comes out.
    pub(crate) sources: Vec<String>,
    /// Properties with `GST_PARAM_MUTABLE_PLAYING`.
    pub(crate) playing: BTreeSet<String>,
    /// Properties that some devices or drivers do not have.
    pub(crate) conditional: BTreeSet<String>,
    /// Not taken from a GStreamer that ran: `docs-cache`, `source`. Hardware, or a version that was not installed.
    pub(crate) live: bool,
}

/// Linked into Capcast.
const BUILT_IN: [&str; 3] = ["capcastsvtav1enc", "rav1enc", "rtpav1pay"];

/// Elements that are only there where some hardware is.
pub(crate) const HARDWARE: [&str; 5] = ["nv", "va", "qsv", "cuda", "v4l2h264enc"];

/// Whether an element is only there where some hardware is.
pub(crate) fn is_hardware(factory: &str) -> bool {
    HARDWARE.iter().any(|prefix| factory.starts_with(prefix))
}

impl Table {
    /// The table of `1.22`, `1.24`, `1.26` or `1.28`.
    pub(crate) fn of(version: &str) -> Table {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/elements");
        let path = folder.join(format!("{version}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Table::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Table {
        let mut lines = text.lines();
        let first = lines.next().and_then(|line| line.strip_prefix("gstreamer ")).expect("the version");
        let numbers: Vec<u32> = first.split('.').map(|part| part.parse().unwrap()).collect();
        let mut elements: BTreeMap<String, Entry> = BTreeMap::new();
        let mut name = "";
        for line in lines.filter(|line| !line.is_empty()) {
            let Some(line) = line.strip_prefix("  ") else {
                let (element, origin) = line.split_once(' ').unwrap();
                name = element;
                let entry = elements.entry(name.to_owned()).or_default();
                entry.live = origin.starts_with("live");
                entry.element.built_in = BUILT_IN.contains(&name);
                continue;
            };
            let entry = elements.get_mut(name).expect("an element comes first");
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "<" => entry.sinks.push(rest.to_owned()),
                ">" => entry.sources.push(rest.to_owned()),
                "<>" => {
                    entry.sinks.push(rest.to_owned());
                    entry.sources.push(rest.to_owned());
                }
                property => entry.read(property, rest),
            }
        }
        Table { version: GstVersion(numbers[0], numbers[1], numbers[2]), elements }
    }
}

impl Entry {
    /// `bitrate`, `uint 1..2048000 = 2048 [playing]`
    fn read(&mut self, property: &str, text: &str) {
        let (text, flags) = match text.strip_suffix(']').and_then(|text| text.rsplit_once(" [")) {
            Some((text, flags)) => (text, flags.split(' ').collect()),
            None => (text, BTreeSet::new()),
        };
        let text = text.split_once(" =").map_or(text, |(text, _)| text);
        let (kind, values) = text.split_once(' ').unwrap_or((text, ""));
        let nicks = || values.split('|').map(str::to_owned).collect();
        let range = || values.split_once("..").unwrap_or_else(|| panic!("{property}: {text}"));
        let kind = match kind {
            "bool" => PropertyKind::Bool,
            "text" => PropertyKind::Text,
            "int" | "uint" | "int64" | "uint64" => {
                PropertyKind::Integer { min: range().0.parse().unwrap(), max: range().1.parse().unwrap() }
            }
            "float" | "double" => {
                PropertyKind::Float { min: range().0.parse().unwrap(), max: range().1.parse().unwrap() }
            }
            "enum" => PropertyKind::Enum(nicks()),
            "flags" => PropertyKind::Flags(nicks()),
            other => PropertyKind::Other(other.to_owned()),
        };
        let writable = !flags.contains("read-only");
        self.element.properties.insert(property.to_owned(), Property { kind, writable });
        if flags.contains("playing") {
            self.playing.insert(property.to_owned());
        }
        if flags.contains("conditional") {
            self.conditional.insert(property.to_owned());
        }
    }
}
