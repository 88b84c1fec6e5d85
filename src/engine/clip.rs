//! What is in a file, before it is played.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_pbutils::{Discoverer, DiscovererInfo};

use crate::plan::{Clip, Track};

use super::bus::words;

/// How long a file may take to say what is in it: network disks are slow.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// Looks into a file as `decodebin` will. [`init`](super::init()) comes first.
///
/// # Errors
/// In words, why it cannot be played: not there, not a file, not readable, not media.
pub fn look_into(path: &Path) -> Result<Clip, String> {
    let file = File::open(path).map_err(|error| said(&error))?;
    let kind = file.metadata().map_err(|error| said(&error))?.file_type();
    if kind.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if !kind.is_file() {
        return Err("it is not a regular file, and could not begin anew when it ends".to_owned());
    }
    let path = std::path::absolute(path).map_err(|error| said(&error))?;
    let told = |error: &glib::Error| {
        let unknown =
            error.matches(gst::StreamError::TypeNotFound) || error.matches(gst::StreamError::WrongType);
        if unknown { "it is nothing that GStreamer can play".to_owned() } else { words(error, None) }
    };
    let uri = glib::filename_to_uri(path, None).map_err(|error| told(&error))?;
    let discoverer = Discoverer::new(PATIENCE).map_err(|error| told(&error))?;
    let found = discoverer.discover_uri(&uri).map_err(|error| told(&error))?;
    Ok(Clip {
        picture: track(&found, "video", found.video_streams().iter().any(|stream| !stream.is_image())),
        sound: track(&found, "audio", !found.audio_streams().is_empty()),
    })
}

fn track(found: &DiscovererInfo, medium: &str, there: bool) -> Track {
    // `gstreamer|1.0|capcast|H.265 decoder|decoder-video/x-h265, …`
    let wanted = format!("|decoder-{medium}/");
    let missing = found.missing_elements_installer_details();
    match missing.iter().find(|details| details.contains(&wanted)) {
        _ if there => Track::There,
        Some(details) => Track::Undecodable(details.split('|').nth(3).unwrap_or("decoder").to_owned()),
        None => Track::Absent,
    }
}

fn said(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "it does not exist".to_owned(),
        ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        _ => error.to_string(),
    }
}
