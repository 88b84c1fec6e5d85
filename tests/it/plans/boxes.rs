//! Boxes to plan for, and what is shipped to plan with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use capcast::config::{BoxConfig, Profile, parse_box, parse_profile};
use capcast::daemon::files::{Loaded, Sources};
use capcast::media::{FrameSize, Framerate};
use capcast::plan::{
    DeviceAccess, Element, GstVersion, Inventory, Property, PropertyKind, Rates, SoundCard, VideoDevice,
    VideoMode,
};

/// Everything that is shipped.
pub(crate) fn shipped() -> &'static Loaded {
    static SHIPPED: LazyLock<Loaded> = LazyLock::new(|| {
        let (loaded, problems) = Sources::shipped().load(&[]);
        loaded.unwrap_or_else(|| panic!("{problems:#?}"))
    });
    &SHIPPED
}

/// A shipped profile.
pub(crate) fn profile(name: &str) -> Profile {
    shipped().profiles.get(name).cloned().unwrap_or_else(|| panic!("no profile {name}"))
}

/// A profile from a text.
pub(crate) fn written(text: &str) -> Profile {
    let (profile, problems) = parse_profile("written", "written.toml", text);
    profile.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// A `capcast.toml` from a text.
pub(crate) fn config(text: &str) -> BoxConfig {
    let (config, problems) = parse_box("capcast.toml", text);
    config.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// A box without any device.
pub(crate) fn bare(gstreamer: &str, cores: u32) -> Inventory {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inventory");
    let path = folder.join(format!("gstreamer-{gstreamer}.json"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let version: Vec<u32> =
        json["gstreamer"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    let built_in = json["built_in"].as_array().unwrap();
    let element = |(name, properties): (&String, &serde_json::Value)| {
        let properties = properties.as_object().unwrap().iter();
        let properties: BTreeMap<_, _> =
            properties.map(|(name, json)| (name.clone(), property(json))).collect();
        let built_in = built_in.iter().any(|linked| linked == name.as_str());
        (name.clone(), Element { built_in, properties })
    };
    Inventory {
        gstreamer: GstVersion(version[0], version[1], version[2]),
        elements: json["elements"].as_object().unwrap().iter().map(element).collect(),
        cores,
        video_devices: Vec::new(),
        sound_cards: Vec::new(),
    }
}

fn property(json: &serde_json::Value) -> Property {
    if let Some(inner) = json.get("read_only") {
        return Property { writable: false, ..property(inner) };
    }
    let words = |json: &serde_json::Value| {
        json.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let whole = |json: &serde_json::Value| {
        json.as_i64().map(i128::from).or(json.as_u64().map(i128::from)).unwrap_or_else(|| panic!("{json}"))
    };
    let kind = match json.as_str() {
        Some("bool") => PropertyKind::Bool,
        Some("text") => PropertyKind::Text,
        Some(other) => panic!("{other}"),
        None => {
            let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
            match kind.as_str() {
                "integer" => PropertyKind::Integer { min: whole(&value[0]), max: whole(&value[1]) },
                "float" => {
                    PropertyKind::Float { min: value[0].as_f64().unwrap(), max: value[1].as_f64().unwrap() }
                }
                "enum" => PropertyKind::Enum(words(value)),
                "flags" => PropertyKind::Flags(words(value)),
                "other" => PropertyKind::Other(value.as_str().unwrap().to_owned()),
                other => panic!("{other}"),
            }
        }
    };
    Property { kind, writable: true }
}

pub(crate) fn mode(fourcc: &str, size: &str, rates: &[&str]) -> VideoMode {
    VideoMode {
        fourcc: fourcc.to_owned(),
        size: size.parse::<FrameSize>().unwrap(),
        rates: Rates::List(rates.iter().map(|rate| rate.parse::<Framerate>().unwrap()).collect()),
        interlaced: false,
    }
}

pub(crate) fn card(node: u32, name: &str, bus: &str, modes: Vec<VideoMode>) -> VideoDevice {
    VideoDevice {
        node: format!("/dev/video{node}").into(),
        links: vec![format!("/dev/v4l/by-id/usb-{}-video-index0", name.replace(' ', "_")).into()],
        card: name.to_owned(),
        driver: "uvcvideo".to_owned(),
        bus: bus.to_owned(),
        modes,
        access: DeviceAccess::Free,
    }
}

pub(crate) fn sound(id: &str, name: &str, bus: &str) -> SoundCard {
    SoundCard { id: id.to_owned(), name: name.to_owned(), hw: format!("hw:CARD={id}"), bus: bus.to_owned() }
}

/// A good USB 3 card: raw and MJPEG at 1080p60, with its own sound, beside a microphone.
pub(crate) fn usb3() -> Inventory {
    let modes = vec![
        mode("NV12", "1920x1080", &["60", "50", "30"]),
        mode("NV12", "1280x720", &["60", "50", "30"]),
        mode("MJPG", "1920x1080", &["60", "30"]),
        mode("MJPG", "2560x1440", &["30"]),
    ];
    Inventory {
        video_devices: vec![card(0, "USB3 HDMI", "usb-0000:00:14.0-2", modes)],
        sound_cards: vec![
            sound("PCH", "HDA Intel PCH", "pci-0000:00:1f.3"),
            sound("Capture", "USB3 HDMI", "usb-0000:00:14.0-2"),
        ],
        ..bare("1.22", 4)
    }
}

/// A cheap card on USB 2: raw 720p is slow, there is no MJPEG, and no sound.
pub(crate) fn usb2() -> Inventory {
    let modes = vec![mode("YUYV", "640x480", &["30"]), mode("YUYV", "1280x720", &["10", "5"])];
    Inventory { video_devices: vec![card(0, "USB2 Video", "usb-0000:00:1d.0-1", modes)], ..bare("1.22", 2) }
}
