//! The list of devices for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::modes::{rates_text, rows};
use super::{Camera, Devices, Signal};
use crate::plan::{DeviceAccess, Rates};

/// Formats named in a row of modes; of the others the number.
const FORMATS_SHOWN: usize = 5;

/// What `capcast devices` prints: every device with its stable name, signal, link and modes.
pub fn text(devices: &Devices) -> String {
    let mut out = String::new();
    write_text(devices, &mut out);
    out
}

fn write_text(devices: &Devices, out: &mut String) {
    out.push_str("Capture devices\n");
    if devices.video.is_empty() {
        out.push_str(
            "  none found\n  hint: plug a capture card in; `capture.video = \"test\"` shows a test picture until then\n",
        );
    }
    for camera in &devices.video {
        camera_text(devices, camera, out);
    }
    out.push_str("\nSound cards that capture\n");
    if devices.sound.is_empty() {
        out.push_str(
            "  none found\n  hint: `capture.audio = \"test\"` sounds a tone, `\"none\"` sends no sound\n",
        );
    }
    for card in &devices.sound {
        line(out, format_args!("  {:<24} {}", card.hw, card.name));
    }
    if !devices.troubles.is_empty() {
        out.push_str("\nDevices that could not be asked\n");
    }
    for trouble in &devices.troubles {
        line(out, format_args!("  {:<24} {}", trouble.path.display(), trouble.reason));
    }
}

fn camera_text(devices: &Devices, camera: &Camera, out: &mut String) {
    let device = &camera.device;
    let mut place = vec![device.driver.as_str(), device.bus.as_str()];
    place.retain(|part| !part.is_empty());
    line(out, format_args!("  {}  {} ({})", device.node.display(), device.card, place.join(", ")));
    match device.access {
        DeviceAccess::Free => {}
        DeviceAccess::Busy => row(out, "state", "busy: another program captures from it"),
        DeviceAccess::Denied => {
            row(out, "state", "not allowed for this user");
            row(out, "hint:", "`sudo usermod --append --groups video,audio $USER`, then log in again");
        }
    }
    row(out, "config", &format!("video = \"{}\"", camera.stable_name().display()));
    if let Some(card) = devices.sound_of(camera) {
        row(out, "", &format!("audio = \"{}\"", card.hw));
    }
    if device.access != DeviceAccess::Denied {
        row(out, "signal", &camera.signal.to_string());
    }
    if let Some(megabits) = camera.link {
        let generation = if megabits >= 5000 { "USB 3" } else { "USB 2 or slower" };
        row(out, "link", &format!("{megabits} Mbit/s ({generation})"));
    }
    if camera.slow_link() {
        row(
            out,
            "hint:",
            "raw 1080p does not fit through it: try a blue port and the cable that came with the card",
        );
    }
    for (at, (size, rates, interlaced, formats)) in rows(&device.modes).into_iter().enumerate() {
        let shown = formats[..formats.len().min(FORMATS_SHOWN)].join(" ");
        let more = match formats.len().saturating_sub(FORMATS_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let fields = if interlaced { " interlaced" } else { "" };
        let mode = format!("{size} at {}{fields}", rates_text(rates));
        row(out, if at == 0 { "modes" } else { "" }, &format!("{mode:<34} {shown}{more}"));
    }
}

fn row(out: &mut String, title: &str, text: &str) {
    line(out, format_args!("    {title:<8} {text}"));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// The same for programs: what `capcast devices --json` prints.
pub fn json(devices: &Devices) -> Value {
    json!({
        "video": devices.video.iter().map(|camera| camera_json(devices, camera)).collect::<Vec<_>>(),
        "sound": devices.sound.iter().map(|card| json!({
            "id": card.id,
            "name": card.name,
            "config": card.hw,
            "bus": card.bus,
        })).collect::<Vec<_>>(),
        "troubles": devices.troubles.iter().map(|trouble| json!({
            "path": trouble.path.display().to_string(),
            "reason": trouble.reason,
        })).collect::<Vec<_>>(),
    })
}

fn camera_json(devices: &Devices, camera: &Camera) -> Value {
    let device = &camera.device;
    let mut signal = json!({ "state": camera.signal.as_str() });
    if let Signal::Present { size, framerate, interlaced } = camera.signal {
        signal["size"] = size.to_string().into();
        signal["framerate"] = framerate.map(|rate| rate.to_string()).into();
        signal["interlaced"] = interlaced.into();
    }
    json!({
        "node": device.node.display().to_string(),
        "config": camera.stable_name().display().to_string(),
        "links": device.links.iter().map(|link| link.display().to_string()).collect::<Vec<_>>(),
        "card": device.card,
        "driver": device.driver,
        "bus": device.bus,
        "access": match device.access {
            DeviceAccess::Free => "free",
            DeviceAccess::Busy => "busy",
            DeviceAccess::Denied => "denied",
        },
        "signal": signal,
        "link_mbit_s": camera.link,
        "sound": devices.sound_of(camera).map(|card| &card.hw),
        "modes": device.modes.iter().map(|mode| json!({
            "format": mode.fourcc,
            "size": mode.size.to_string(),
            "framerates": match &mode.rates {
                Rates::List(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
                Rates::Range { min, max } => json!({ "min": min.to_string(), "max": max.to_string() }),
            },
            "interlaced": mode.interlaced,
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Trouble;
    use crate::media::{FrameSize, Framerate};
    use crate::plan::{SoundCard, VideoDevice, VideoMode};

    fn usb_card() -> Devices {
        let mode = |fourcc: &str, width, height, rates: &[u32]| VideoMode {
            fourcc: fourcc.to_owned(),
            size: FrameSize::new(width, height),
            rates: Rates::List(rates.iter().filter_map(|&rate| Framerate::new(rate, 1)).collect()),
            interlaced: false,
        };
        Devices {
            video: vec![Camera {
                device: VideoDevice {
                    node: "/dev/video0".into(),
                    links: vec![
                        "/dev/v4l/by-id/usb-MACROSILICON_USB_Video-video-index0".into(),
                        "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:2:1.0-video-index0".into(),
                    ],
                    card: "USB Video".to_owned(),
                    driver: "uvcvideo".to_owned(),
                    bus: "usb-0000:00:14.0-2".to_owned(),
                    modes: vec![
                        mode("MJPG", 1920, 1080, &[60, 50, 30]),
                        mode("MJPG", 1280, 720, &[60, 50, 30]),
                        mode("YUYV", 1280, 720, &[60, 50, 30]),
                        mode("YUYV", 1920, 1080, &[5]),
                    ],
                    access: DeviceAccess::Free,
                },
                signal: Signal::Unknown,
                link: Some(480),
            }],
            sound: vec![SoundCard {
                id: "Video".to_owned(),
                name: "USB Video".to_owned(),
                hw: "hw:CARD=Video".to_owned(),
                bus: "usb-0000:00:14.0-2".to_owned(),
            }],
            troubles: vec![Trouble { path: "/dev/video7".into(), reason: "Input/output error".to_owned() }],
        }
    }

    #[test]
    fn a_card_with_everything_a_person_needs_to_configure_it() {
        insta::assert_snapshot!(text(&usb_card()), @r#"
        Capture devices
          /dev/video0  USB Video (uvcvideo, usb-0000:00:14.0-2)
            config   video = "/dev/v4l/by-id/usb-MACROSILICON_USB_Video-video-index0"
                     audio = "hw:CARD=Video"
            signal   not told by the driver
            link     480 Mbit/s (USB 2 or slower)
            hint:    raw 1080p does not fit through it: try a blue port and the cable that came with the card
            modes    1920x1080 at 60, 50, 30            MJPG
                     1920x1080 at 5                     YUYV
                     1280x720 at 60, 50, 30             MJPG YUYV

        Sound cards that capture
          hw:CARD=Video            USB Video

        Devices that could not be asked
          /dev/video7              Input/output error
        "#);
    }

    #[test]
    fn no_devices_is_said_in_words() {
        insta::assert_snapshot!(text(&Devices::default()), @r#"
        Capture devices
          none found
          hint: plug a capture card in; `capture.video = "test"` shows a test picture until then

        Sound cards that capture
          none found
          hint: `capture.audio = "test"` sounds a tone, `"none"` sends no sound
        "#);
    }

    #[test]
    fn busy_and_denied_do_not_look_like_absent() {
        let mut devices = usb_card();
        devices.video[0].device.access = DeviceAccess::Busy;
        assert!(text(&devices).contains("busy"));
        devices.video[0].device.access = DeviceAccess::Denied;
        assert!(text(&devices).contains("usermod"));
        assert_eq!(json(&devices)["video"][0]["access"], "denied");
    }

    #[test]
    fn json_has_names_to_configure_and_modes_to_choose_from() {
        let json = json(&usb_card());
        assert_eq!(json["video"][0]["config"], "/dev/v4l/by-id/usb-MACROSILICON_USB_Video-video-index0");
        assert_eq!(json["video"][0]["sound"], "hw:CARD=Video");
        assert_eq!(json["video"][0]["modes"][0]["framerates"], json!(["60", "50", "30"]));
        assert_eq!(json["video"][0]["signal"], json!({ "state": "unknown" }));
        assert_eq!(json["sound"][0]["config"], "hw:CARD=Video");
    }
}
