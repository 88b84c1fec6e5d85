//! The forms that devices, addresses and files are written in.

use std::path::{Path, PathBuf};

use super::srt::srt;
use super::{AudioInput, CaptureMode, SecretSource, VideoInput};
use crate::config::Complaint;
use crate::config::diagnostic::quoted;
use crate::config::parse::{FromText, meant_rate, meant_size, nearest};
use crate::media::{FrameSize, Framerate};

/// Which URLs a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `http` and `https`.
    Http,
    /// `srt`, with a port.
    Srt,
}

pub(super) fn video_input(text: &str) -> Result<VideoInput, Complaint> {
    let forms =
        "`\"auto\"`, `\"/dev/video0\"`, `\"test\"`, `\"file:/clip.mp4\"`, `\"srt://…\"` or `\"https://…\"`";
    if let Some(path) = text.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return absolute(path).map(VideoInput::File);
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "srt" => srt(text, "srt://camera.example.org:9000").map(VideoInput::Srt),
            "http" | "https" => url(text, Scheme::Http, "https://example.org/live.m3u8")
                .map(|url| VideoInput::Url { url, token: None }),
            _ => Err(Complaint::new(format!("`{}` is not a source Capcast reads", shown(scheme)))
                .hint(format!("one of {forms}"))),
        };
    }
    match text {
        "auto" => Ok(VideoInput::Auto),
        "test" => Ok(VideoInput::Test),
        _ if text.starts_with("/dev/") && text.len() > 5 => Ok(VideoInput::Device(PathBuf::from(text))),
        _ if is_by_id(text) => Ok(VideoInput::ById(text.to_owned())),
        _ => {
            let complaint = Complaint::new(format!("{} is not a video source", quoted(text)));
            Err(match nearest(text, ["auto", "test"]) {
                Some(meant) => complaint.hint(format!("did you mean `{meant}`?")),
                None if text.starts_with("video") && !text.contains('/') => {
                    complaint.hint(format!("did you mean `/dev/{text}`?"))
                }
                None if text.starts_with('/') => {
                    complaint.hint(format!("a file is written `\"file:{text}\"`"))
                }
                None => complaint.hint(format!("one of {forms}; `capcast devices` lists the cards")),
            })
        }
    }
}

/// The names udev's 60-persistent-v4l.rules makes in `/dev/v4l/by-id`: `usb-Elgato_Cam_Link_4K-video-index0`.
fn is_by_id(text: &str) -> bool {
    text.rsplit_once("-video-index").is_some_and(|(device, index)| {
        !device.is_empty()
            && !device.contains('/')
            && !index.is_empty()
            && index.bytes().all(|b| b.is_ascii_digit())
    })
}

pub(super) fn capture_mode(text: &str) -> Result<CaptureMode, Complaint> {
    if text == "auto" {
        return Ok(CaptureMode::Auto);
    }
    let (size, rate) = text.split_once('@').map_or((text, None), |(size, rate)| (size, Some(rate)));
    if let Some(meant) = nearest(text, ["auto"]) {
        return Err(Complaint::new(format!("{} is not a mode", quoted(text)))
            .hint(format!("did you mean `{meant}`?")));
    }
    let meant = || {
        // `1080p60` is how such modes are spoken of.
        let (size, rate) = match (size.split_once('p'), rate) {
            (Some((lines, spoken)), None) if !spoken.is_empty() => (lines, Some(spoken)),
            _ => (size, rate),
        };
        let size =
            FrameSize::from_text(size).ok().map(|size| size.to_string()).or_else(|| meant_size(size))?;
        let Some(rate) = rate else { return Some(size) };
        let rate =
            Framerate::from_text(rate).ok().map(|rate| rate.to_string()).or_else(|| meant_rate(rate))?;
        Some(format!("{size}@{rate}"))
    };
    let read = || -> Result<CaptureMode, Complaint> {
        Ok(CaptureMode::Fixed(FrameSize::from_text(size)?, rate.map(Framerate::from_text).transpose()?))
    };
    read().map_err(|complaint| match meant() {
        Some(meant) => {
            Complaint::new(format!("{} is not a mode", quoted(text))).hint(format!("did you mean `{meant}`?"))
        }
        None => complaint,
    })
}

pub(super) fn audio_input(text: &str) -> Result<AudioInput, Complaint> {
    let complaint = || Complaint::new(format!("{} is not an audio source", quoted(text)));
    match text {
        "auto" => return Ok(AudioInput::Auto),
        "test" => return Ok(AudioInput::Test),
        "none" => return Ok(AudioInput::None),
        "off" | "no" | "" | "mute" => return Err(complaint().hint("for no sound at all write `\"none\"`")),
        _ => {}
    }
    let fits = text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\/;!".contains(&b));
    match nearest(text, ["auto", "test", "none"]) {
        Some(meant) => Err(complaint().hint(format!("did you mean `{meant}`?"))),
        None if fits => Ok(AudioInput::Alsa(text.to_owned())),
        None => Err(complaint().hint(
            "`\"auto\"`, `\"test\"`, `\"none\"`, or an ALSA name such as `\"hw:CARD=Capture\"`; `capcast devices` lists them",
        )),
    }
}

/// Output names stand in URLs and metrics.
pub(super) fn output_name(text: &str) -> Result<String, Complaint> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match fits {
        true => Ok(text.to_owned()),
        false => Err(Complaint::new(format!("{} is not an output's name", quoted(text)))
            .hint("1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`, such as `\"broadcast-box\"`")),
    }
}

pub(super) fn url(text: &str, takes: Scheme, example: &str) -> Result<String, Complaint> {
    let not_a_url = || Complaint::new(format!("{} is not a URL", quoted(text)));
    let hint = || format!("such as `\"{example}\"`");
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(not_a_url().hint("it holds a blank; write `%20` for one that is meant"));
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Err(not_a_url().hint(hint())) };
    let taken = match takes {
        Scheme::Http => matches!(scheme, "http" | "https"),
        Scheme::Srt => scheme == "srt",
    };
    if !taken {
        let schemes = if takes == Scheme::Http { "`http://` or `https://`" } else { "`srt://`" };
        return Err(Complaint::new(format!("expected a URL with {schemes}, found `{}://`", shown(scheme)))
            .hint(hint()));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let cure = if takes == Scheme::Http {
            "secrets go into a `token_file`"
        } else {
            "secrets go into a `passphrase_file`"
        };
        return Err(Complaint::new("a user name or password in a URL").hint(cure));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() && takes == Scheme::Http {
        return Err(not_a_url().label("no host").hint(hint()));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(not_a_url().hint("an IPv6 address stands in brackets: `http://[::1]:8080/`"));
    }
    match port {
        Some(port) if !port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Err(Complaint::new(format!("{} is not a port", quoted(port))).hint("from 1 to 65535"))
        }
        None if takes == Scheme::Srt => Err(Complaint::new("SRT needs a port").hint(hint())),
        _ => Ok(text.to_owned()),
    }
}

/// Plain HTTP to anywhere but this machine.
pub(super) fn is_readable_on_the_way(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let local = ["localhost", "127.", "[::1]"];
    !local.iter().any(|start| rest.starts_with(start))
}

/// A recording's path: whole, of a file, with nothing in braces but `{stream}` and `{time}`. `.mkv` is added where it
/// lacks. With `many` files, each has to have a name of its own.
pub(super) fn recording(text: &str, many: bool) -> Result<String, Complaint> {
    let path = absolute(text)?;
    if text.ends_with('/') || path.file_name().is_none() {
        let folder = text.trim_end_matches('/');
        return Err(Complaint::new(format!("{} is a folder", quoted(text)))
            .hint(format!("name a file in it, such as `\"{folder}/{{stream}}-{{time}}.mkv\"`")));
    }
    let bare = text.replace("{stream}", "").replace("{time}", "");
    if bare.contains(['{', '}']) {
        return Err(Complaint::new(format!("{} has braces that mean nothing", quoted(text)))
            .hint("`{stream}` and `{time}` are filled in"));
    }
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
    if folder.contains('{') {
        return Err(Complaint::new("a folder's name cannot be filled in")
            .hint("`{stream}` and `{time}` stand in the file's name"));
    }
    let end = name.rsplit_once('.').map(|(_, end)| end);
    let end = end.filter(|end| end.len() <= 4 && end.bytes().all(|b| b.is_ascii_alphanumeric()));
    if let Some(other) = end.filter(|end| *end != "mkv") {
        return Err(
            Complaint::new(format!("recordings are Matroska, not `.{other}`")).hint("end the path in `.mkv`")
        );
    }
    if many && !name.contains("{time}") {
        return Err(Complaint::new("every file would have the same name")
            .hint("put `{time}` into it, or take `segment` out"));
    }
    Ok(if end.is_some() { text.to_owned() } else { format!("{text}.mkv") })
}

/// STUN and TURN URIs (RFC 7064, RFC 7065).
pub(super) fn ice_server(text: &str) -> Result<String, Complaint> {
    let complaint = || Complaint::new(format!("{} is not a STUN or TURN server", quoted(text)));
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(complaint().hint(format!("did you mean `\"stun:{}\"`?", shown(text))));
    };
    match scheme {
        "stun" | "stuns" | "turn" | "turns" if rest.starts_with("//") => {
            Err(complaint().hint(format!("without slashes: `\"{scheme}:{}\"`", shown(&rest[2..]))))
        }
        "stun" | "stuns" | "turn" | "turns"
            if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(complaint().hint("such as `\"stun:stun.example.org:3478\"`")),
    }
}

/// A file's path, or `credential:NAME`.
pub(super) fn secret(text: &str) -> Result<SecretSource, Complaint> {
    let Some(name) = text.strip_prefix("credential:") else {
        return absolute(text).map(SecretSource::File);
    };
    let fits = (1..=255).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match fits {
        true => Ok(SecretSource::Credential(name.to_owned())),
        false => Err(Complaint::new(format!("{} is not a credential's name", quoted(name)))
            .hint("the name given to systemd's `LoadCredential=`, such as `\"credential:control-token\"`")),
    }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, Complaint> {
    match Path::new(text).is_absolute() {
        true => Ok(PathBuf::from(text)),
        false if text.is_empty() => {
            Err(Complaint::new("an empty path").hint("write it whole, such as `\"/etc/capcast/file\"`"))
        }
        false => Err(Complaint::new(format!("{} is not a whole path", quoted(text)))
            .hint("begin it with `/`: the daemon's working directory is not yours")),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
