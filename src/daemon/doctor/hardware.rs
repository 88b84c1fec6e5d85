//! Capture devices, sound cards, and whether this user may open them.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::{Check, Level, Running};
use crate::config::{AudioInput, BoxConfig, VideoInput};
use crate::device::{self, Camera, Devices, Signal};
use crate::plan::DeviceAccess;

const CAPTURE: &str = "Capture";
const SOUND: &str = "Sound";

pub(super) fn look(config: &BoxConfig, running: Option<&Running>, checks: &mut Vec<Check>) {
    let devices = device::list();
    devices.video.iter().for_each(|camera| checks.push(card(camera, running.is_some())));
    wanted_picture(config, &devices, checks);
    for trouble in devices.troubles.iter().filter(|trouble| trouble.path.starts_with("/dev")) {
        let words = format!("it does not answer: {}", trouble.reason);
        checks.push(
            Check::new(CAPTURE, &trouble.path.display().to_string(), Level::Warn, words)
                .cure("unplug it and plug it in again"),
        );
    }
    render_nodes(checks);

    for card in &devices.sound {
        checks.push(Check::new(SOUND, &card.hw, Level::Ok, card.name.clone()));
    }
    wanted_sound(config, &devices, checks);
    for trouble in devices.troubles.iter().filter(|trouble| !trouble.path.starts_with("/dev")) {
        let check =
            Check::new(SOUND, &trouble.path.display().to_string(), Level::Warn, trouble.reason.clone());
        checks.push(check.cure(join("audio")));
    }
    let closed = nodes("/dev/snd", "pcm").into_iter().find(|node| !may_open(node));
    if let Some(node) = closed {
        let words = "this user may not open it";
        checks.push(Check::new(SOUND, &node.display().to_string(), Level::Warn, words).cure(join("audio")));
    }
}

fn card(camera: &Camera, running: bool) -> Check {
    let device = &camera.device;
    let check = |level, words: String| Check::new(CAPTURE, &device.node.display().to_string(), level, words);
    match device.access {
        DeviceAccess::Denied => {
            check(Level::Fail, format!("{}: this user may not open it", device.card)).cure(join("video"))
        }
        DeviceAccess::Busy if running => {
            check(Level::Ok, format!("{}: in use, by the running Capcast it seems", device.card))
        }
        DeviceAccess::Busy => {
            check(Level::Warn, format!("{}: another program captures from it", device.card))
                .cure(format!("`fuser {}` names it", device.node.display()))
        }
        DeviceAccess::Free if camera.slow_link() => {
            let words = format!("{}: at USB 2, where raw 1080p does not fit through", device.card);
            check(Level::Warn, words).cure("try a blue port and the cable that came with the card")
        }
        DeviceAccess::Free => match camera.signal {
            Signal::Unknown => check(Level::Ok, device.card.clone()),
            ref signal => check(Level::Ok, format!("{}, {signal}", device.card)),
        },
    }
}

fn wanted_picture(config: &BoxConfig, devices: &Devices, checks: &mut Vec<Check>) {
    let missing = |name: String| {
        Check::new(CAPTURE, &name, Level::Fail, "the configuration names it, and it is not there")
            .cure("plug it in; `capcast devices` lists what is there")
    };
    let there = |name: &str| {
        let links_here = |link: &PathBuf| link.as_os_str() == name || link.file_name() == Some(name.as_ref());
        devices.video.iter().any(|camera| {
            camera.device.node.as_os_str() == name || camera.device.links.iter().any(links_here)
        })
    };
    match &config.capture.video {
        VideoInput::Auto if devices.video.is_empty() => checks.push(
            Check::new(CAPTURE, "card", Level::Warn, "none found: the test picture would be shown")
                .cure("plug a capture card in; `capcast devices` lists what is there"),
        ),
        VideoInput::Device(node) if !there(&node.display().to_string()) => {
            checks.push(missing(node.display().to_string()));
        }
        VideoInput::ById(name) if !there(name) => checks.push(missing(name.clone())),
        VideoInput::File(path) if !may_open(path) => {
            let words = "this file cannot be read: it is waited for";
            checks.push(
                Check::new(CAPTURE, &path.display().to_string(), Level::Warn, words)
                    .cure("put it there, readable for the daemon's user"),
            );
        }
        VideoInput::Test | VideoInput::File(_) | VideoInput::Url { .. } if devices.video.is_empty() => {
            checks.push(Check::new(CAPTURE, "card", Level::Skip, "none found; the configuration needs none"));
        }
        _ => {}
    }
}

fn wanted_sound(config: &BoxConfig, devices: &Devices, checks: &mut Vec<Check>) {
    match &config.capture.audio {
        AudioInput::Alsa(name) => {
            let plain = name.strip_prefix("plug").unwrap_or(name);
            let known =
                devices.sound.iter().any(|card| plain.starts_with(&card.hw) || name.contains(&card.id));
            if !known && !name.is_empty() {
                checks.push(
                    Check::new(SOUND, name, Level::Warn, "the configuration names it, and it is not listed")
                        .cure("plug it in; `capcast devices` lists what is there"),
                );
            }
        }
        _ if !devices.sound.is_empty() => {}
        AudioInput::Auto
            if !matches!(
                config.capture.video,
                VideoInput::Auto | VideoInput::Device(_) | VideoInput::ById(_)
            ) =>
        {
            checks.push(Check::new(SOUND, "card", Level::Skip, "none found; the configuration needs none"));
        }
        AudioInput::Auto => checks.push(
            Check::new(SOUND, "card", Level::Warn, "none that captures: there would be no sound")
                .cure("plug one in, or write `capture.audio = \"none\"` if that is as you want it"),
        ),
        AudioInput::Test | AudioInput::None => {
            checks.push(Check::new(SOUND, "card", Level::Skip, "none found; the configuration needs none"));
        }
    }
}

/// What encoders in graphics hardware are reached by.
fn render_nodes(checks: &mut Vec<Check>) {
    for node in nodes("/dev/dri", "renderD") {
        let name = node.display().to_string();
        checks.push(if may_open(&node) && access(&node, AccessFlags::W_OK).is_ok() {
            Check::new(CAPTURE, &name, Level::Ok, "graphics hardware, open to this user")
        } else {
            Check::new(CAPTURE, &name, Level::Warn, "graphics hardware that this user may not open")
                .cure(join("render"))
        });
    }
}

fn nodes(folder: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    let mut nodes: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(named).collect();
    nodes.sort();
    nodes
}

fn may_open(path: &Path) -> bool {
    access(path, AccessFlags::R_OK).is_ok()
}

fn join(group: &str) -> String {
    format!("`sudo usermod --append --groups {group} $USER`, then log in again")
}
