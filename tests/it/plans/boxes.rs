//! Boxes to plan for, and what is shipped to plan with.

use std::sync::LazyLock;

use capcast::config::{BoxConfig, Profile, parse_box, parse_profile};
use capcast::daemon::files::{Loaded, Sources};
use capcast::media::{FrameSize, Framerate};
use capcast::plan::{DeviceAccess, Inventory, Rates, SoundCard, VideoDevice, VideoMode};

use crate::elements::table::{Table, is_hardware};

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
    with_hardware(gstreamer, cores, &[])
}

/// A box with hardware that brings these elements.
pub(crate) fn with_hardware(gstreamer: &str, cores: u32, elements: &[&str]) -> Inventory {
    let table = Table::of(gstreamer);
    for element in elements {
        assert!(table.elements.contains_key(*element), "GStreamer {gstreamer} has no {element}");
    }
    let here = |name: &String| !is_hardware(name) || elements.contains(&name.as_str());
    Inventory {
        gstreamer: table.version,
        elements: table
            .elements
            .into_iter()
            .filter(|(name, _)| here(name))
            .map(|(name, entry)| (name, entry.element))
            .collect(),
        cores,
        video_devices: Vec::new(),
        sound_cards: Vec::new(),
        ..Inventory::default()
    }
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
    usb3_on("1.22")
}

/// The same card with another GStreamer.
pub(crate) fn usb3_on(gstreamer: &str) -> Inventory {
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
        ..bare(gstreamer, 4)
    }
}

/// A cheap card on USB 2: raw 720p is slow, there is no MJPEG, and no sound.
pub(crate) fn usb2() -> Inventory {
    let modes = vec![mode("YUYV", "640x480", &["30"]), mode("YUYV", "1280x720", &["10", "5"])];
    Inventory { video_devices: vec![card(0, "USB2 Video", "usb-0000:00:1d.0-1", modes)], ..bare("1.22", 2) }
}
