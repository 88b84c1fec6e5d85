//! Types that are written as strings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::suggest::nearest;
use crate::config::Complaint;
use crate::config::diagnostic::quoted;
use crate::media::{
    Bitrate, ByteSize, Codec, Delay, FrameSize, Framerate, NameError, StreamName, UnitError, parse_duration,
};

/// A type that is written as a string.
pub trait FromText: Sized {
    /// A good value, without quotes.
    const EXAMPLE: &'static str;

    /// Reads it.
    fn from_text(text: &str) -> Result<Self, Complaint>;

    /// What was probably meant by a bare number, as it should be written.
    fn meant_by(number: i64) -> Option<String> {
        Self::from_text(&number.to_string()).is_ok().then(|| number.to_string())
    }
}

impl FromText for Bitrate {
    const EXAMPLE: &'static str = "6 Mbit/s";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| unit(&error, meant_bitrate(text)))
    }

    /// Bits per second, unless that is too little for anything.
    fn meant_by(number: i64) -> Option<String> {
        let bits = u64::try_from(number).ok().filter(|bits| (10_000..=Bitrate::MAX.bits()).contains(bits))?;
        Some(Bitrate::from_bits(bits).to_string())
    }
}

impl FromText for ByteSize {
    const EXAMPLE: &'static str = "200 GB";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| unit(&error, None))
    }
}

impl FromText for FrameSize {
    const EXAMPLE: &'static str = "1280x720";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| unit(&error, meant_size(text)))
    }
}

impl FromText for Framerate {
    const EXAMPLE: &'static str = "60";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| unit(&error, meant_rate(text)))
    }
}

impl FromText for Duration {
    const EXAMPLE: &'static str = "2 s";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        parse_duration(text).map_err(|error| unit(&error, meant_span(text)))
    }
}

impl FromText for Delay {
    const EXAMPLE: &'static str = "40 ms";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| unit(&error, None))
    }
}

impl FromText for Codec {
    const EXAMPLE: &'static str = "vp9";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error: UnitError| {
            let words = Codec::VIDEO.into_iter().chain([Codec::Opus]).map(Codec::as_str);
            let bare: String = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
            unit(&error, nearest(&bare, words).map(str::to_owned))
        })
    }
}

impl FromText for StreamName {
    const EXAMPLE: &'static str = "live";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|error| match error {
            NameError::Malformed(_) => Complaint::new(format!("{} is not a stream name", quoted(text)))
                .hint("1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`, such as `\"live\"`"),
            NameError::Reserved(name) => {
                Complaint::new(format!("`{name}` cannot name a stream: it is a path of the HTTP server"))
                    .hint(format!("another name, such as `\"{name}-1\"`"))
            }
        })
    }
}

impl FromText for SocketAddr {
    const EXAMPLE: &'static str = "[::]:8899";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| {
            Complaint::new(format!("{} is not an address with a port", quoted(text)))
                .hint("write `\"[::]:PORT\"` for every address, `\"127.0.0.1:PORT\"` for this machine only")
        })
    }
}

impl FromText for IpAddr {
    const EXAMPLE: &'static str = "192.0.2.10";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| {
            Complaint::new(format!("{} is not an IP address", quoted(text)))
                .hint("write an address such as `\"192.0.2.10\"` or `\"2001:db8::10\"`, without a port")
        })
    }
}

impl FromText for String {
    const EXAMPLE: &'static str = "text";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        Ok(text.to_owned())
    }
}

/// What was read, and what it was meant to be or else what would have been right.
fn unit(error: &UnitError, meant: Option<String>) -> Complaint {
    let complaint = Complaint::new(error.complaint());
    match meant {
        Some(meant) => complaint.hint(format!("did you mean `\"{meant}\"`?")),
        None => complaint.hint(format!("expected {}", error.expected())),
    }
}

/// `6M`, `6000k`, `6 mbps`, `6Mb/s` …: what people write of bitrates elsewhere. Not `MB/s`, which is eight times that.
fn meant_bitrate(text: &str) -> Option<String> {
    let (number, unit) = number_and_rest(text)?;
    let unit = match unit.to_lowercase().as_str() {
        _ if unit.contains("B/") => return None,
        "m" | "mb" | "mbps" | "mbit" | "mbits" | "mbit/s" | "mbits/s" | "mb/s" => "Mbit/s",
        "k" | "kb" | "kbps" | "kbit" | "kbits" | "kbit/s" | "kbits/s" | "kb/s" => "kbit/s",
        "bps" | "bit" | "bits" | "b/s" | "bits/s" => "bit/s",
        _ => return None,
    };
    readable::<Bitrate>(format!("{number} {unit}"))
}

/// `720p`, `1280×720`, `1280 x 720`, `1280*720`.
pub(in crate::config) fn meant_size(text: &str) -> Option<String> {
    let named = match text.trim().trim_end_matches(['p', 'P']) {
        "360" => Some("640x360"),
        "480" => Some("854x480"),
        "540" => Some("960x540"),
        "720" => Some("1280x720"),
        "1080" => Some("1920x1080"),
        "1440" => Some("2560x1440"),
        "2160" => Some("3840x2160"),
        _ => None,
    };
    let written = || text.replace(['×', 'X', '*', ':', ','], "x").replace(' ', "");
    named.map(str::to_owned).or_else(|| readable::<FrameSize>(written()))
}

/// `60fps`, `59.94`.
pub(in crate::config) fn meant_rate(text: &str) -> Option<String> {
    let (number, unit) = number_and_rest(text)?;
    if !matches!(unit.to_lowercase().as_str(), "" | "fps" | "hz" | "p") {
        return None;
    }
    match number {
        "59.94" => Some("60000/1001".to_owned()),
        "29.97" => Some("30000/1001".to_owned()),
        "23.976" | "23.98" => Some("24000/1001".to_owned()),
        _ => readable::<Framerate>(number.trim_end_matches(".0").to_owned()),
    }
}

/// `2sec`, `500msec`.
fn meant_span(text: &str) -> Option<String> {
    let (number, unit) = number_and_rest(text)?;
    let unit = match unit.to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "msecs" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "min",
        "h" | "hour" | "hours" => "h",
        _ => return None,
    };
    let meant = format!("{number} {unit}");
    parse_duration(&meant).is_ok().then_some(meant)
}

fn number_and_rest(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim()))
}

fn readable<T: std::str::FromStr>(text: String) -> Option<String> {
    text.parse::<T>().is_ok().then_some(text)
}
