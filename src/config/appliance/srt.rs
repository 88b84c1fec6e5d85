//! `srt://host:port?mode=…&latency=…&passphrase_file=…&streamid=…`, of sources and outputs alike.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{SecretSource, places};
use crate::config::Complaint;
use crate::config::diagnostic::quoted;
use crate::config::parse::nearest;
use crate::media::{SrtMode, SrtPeer};

/// One SRT connection, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtConfig {
    /// Where it leads.
    pub peer: SrtPeer,
    /// `passphrase_file`: what media is encrypted with; none: it is not.
    pub passphrase: Option<SecretSource>,
}

/// What may stand behind the `?`.
const KEYS: [&str; 4] = ["mode", "latency", "passphrase_file", "streamid"];

/// libsrt takes no longer one (`SRTO_STREAMID`).
const LONGEST_STREAMID: usize = 512;

/// A longer wait is nobody's, and most likely microseconds (ffmpeg's unit).
const LONGEST_LATENCY: u64 = 30_000;

/// Reads such a URL; `example` is one that fits the place.
pub(super) fn srt(text: &str, example: &str) -> Result<SrtConfig, Complaint> {
    let url = places::url(text, places::Scheme::Srt, example)?;
    // There are no fragments here, and `#!::r=live` is a common `streamid`.
    let rest = url.strip_prefix("srt://").unwrap_or_default();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if !path.is_empty() {
        return Err(Complaint::new(format!("an SRT address has no path, found {}", quoted(path)))
            .hint("what a server chooses the stream by is `?streamid=…`"));
    }
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().unwrap_or_default();
    let (mut mode, mut latency, mut passphrase, mut streamid) = (None, SrtPeer::LATENCY, None, None);
    let mut seen = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&key) {
            return Err(
                Complaint::new(format!("{} stands there twice", quoted(key))).hint("keep one of them")
            );
        }
        seen.push(key);
        let value = decoded(value)?;
        match key {
            "mode" => mode = Some(read_mode(&value)?),
            "latency" => latency = read_latency(&value)?,
            "passphrase_file" => passphrase = Some(places::secret(&value)?),
            "streamid" if value.len() > LONGEST_STREAMID => {
                return Err(Complaint::new("`streamid` is too long")
                    .hint(format!("up to {LONGEST_STREAMID} characters")));
            }
            "streamid" => streamid = Some(value).filter(|value| !value.is_empty()),
            _ => return Err(unknown(key)),
        }
    }
    let mode = mode.unwrap_or(if host.is_empty() { SrtMode::Listener } else { SrtMode::Caller });
    let host = match mode {
        SrtMode::Caller if host.is_empty() => {
            return Err(Complaint::new("a caller needs somebody to call")
                .hint(format!("write the other side's name or address, such as `\"{example}\"`")));
        }
        SrtMode::Listener if host.is_empty() => Ipv4Addr::UNSPECIFIED.to_string(),
        SrtMode::Listener if host.parse::<Ipv4Addr>().is_err() && host.parse::<Ipv6Addr>().is_err() => {
            return Err(Complaint::new(format!(
                "a listener waits at an address of this box, not at {}",
                quoted(host)
            ))
            .hint(format!(
                "for all of them write `\"srt://:{port}?mode=listener\"`; to call {} write `mode=caller`",
                quoted(host)
            )));
        }
        _ => host.to_owned(),
    };
    if mode == SrtMode::Listener && streamid.is_some() {
        return Err(Complaint::new("a listener has no `streamid`").hint("the caller chooses it; take it out"));
    }
    Ok(SrtConfig { peer: SrtPeer { mode, host, port, latency, streamid }, passphrase })
}

fn read_mode(value: &str) -> Result<SrtMode, Complaint> {
    match value {
        "caller" => Ok(SrtMode::Caller),
        "listener" => Ok(SrtMode::Listener),
        _ => {
            let complaint = Complaint::new(format!("unknown SRT mode {}", quoted(value)));
            Err(match nearest(value, ["caller", "listener"]) {
                Some(meant) => complaint.hint(format!("did you mean `mode={meant}`?")),
                None => {
                    complaint.hint("`mode=caller` calls the other side, `mode=listener` waits for its call")
                }
            })
        }
    }
}

fn read_latency(value: &str) -> Result<Duration, Complaint> {
    let refused = || Complaint::new(format!("{} is not a latency", quoted(value)));
    let Ok(latency) = value.parse::<u64>() else {
        let bare = value.trim_end_matches("ms").trim_end();
        return Err(match bare.parse::<u64>() {
            Ok(number) => refused().hint(format!("in milliseconds, without the unit: `latency={number}`")),
            Err(_) => refused().hint("in milliseconds, such as `latency=120`"),
        });
    };
    if latency > LONGEST_LATENCY {
        let meant = latency / 1000;
        return Err(refused().hint(match meant <= LONGEST_LATENCY && latency % 1000 == 0 {
            true => format!("it is in milliseconds here: did you mean `latency={meant}`?"),
            false => format!("in milliseconds, up to {LONGEST_LATENCY}"),
        }));
    }
    Ok(Duration::from_millis(latency))
}

fn unknown(key: &str) -> Complaint {
    if ["passphrase", "password", "pass", "key", "secret"].contains(&key) {
        return Complaint::new("a passphrase does not belong in this file").hint(
            "put it into a file of its own and write `passphrase_file=/etc/capcast/srt.key` in its place",
        );
    }
    let complaint = Complaint::new(format!("an SRT address has no {}", quoted(key)));
    match nearest(key, KEYS) {
        Some(meant) => complaint.hint(format!("did you mean `{meant}`?")),
        None if key.ends_with("latency") => complaint.hint("it is `latency`, one for both ways"),
        None => complaint.hint("there are `mode`, `latency`, `passphrase_file` and `streamid`"),
    }
}

/// RFC 3986, section 2.1.
fn decoded(text: &str) -> Result<String, Complaint> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(wrongly_escaped(text));
        };
        bytes.push(byte);
        rest = &rest[2..];
    }
    let decoded = String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
    decoded.ok_or_else(|| wrongly_escaped(text))
}

fn wrongly_escaped(text: &str) -> Complaint {
    Complaint::new(format!("{} is wrongly escaped", quoted(text))).hint("a `%` itself is written `%25`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "srt://server.example.org:9000";

    #[test]
    fn every_part_is_read_and_the_rest_has_defaults() {
        let peer = |mode, host: &str, latency, streamid: Option<&str>| SrtPeer {
            mode,
            host: host.to_owned(),
            port: 9000,
            latency: Duration::from_millis(latency),
            streamid: streamid.map(str::to_owned),
        };
        let file = |path: &str| Some(SecretSource::File(path.into()));
        for (text, expected, passphrase, shown) in [
            (
                "srt://a.example.org:9000",
                peer(SrtMode::Caller, "a.example.org", 120, None),
                None,
                "srt://a.example.org:9000",
            ),
            ("srt://:9000", peer(SrtMode::Listener, "0.0.0.0", 120, None), None, "srt://0.0.0.0:9000"),
            (
                "srt://[::]:9000/?mode=listener",
                peer(SrtMode::Listener, "::", 120, None),
                None,
                "srt://[::]:9000",
            ),
            (
                "srt://[2001:db8::1]:9000?latency=0&streamid=#!::r=live,m=publish&mode=caller",
                peer(SrtMode::Caller, "2001:db8::1", 0, Some("#!::r=live,m=publish")),
                None,
                "srt://[2001:db8::1]:9000",
            ),
            (
                "srt://192.0.2.1:9000?streamid=%23!::r=a%26b&passphrase_file=/etc/a%20b.key",
                peer(SrtMode::Caller, "192.0.2.1", 120, Some("#!::r=a&b")),
                file("/etc/a b.key"),
                "srt://192.0.2.1:9000",
            ),
            (
                "srt://a:9000?passphrase_file=credential:srt&streamid=",
                peer(SrtMode::Caller, "a", 120, None),
                Some(SecretSource::Credential("srt".to_owned())),
                "srt://a:9000",
            ),
        ] {
            let read = srt(text, EXAMPLE).unwrap_or_else(|complaint| panic!("{text}: {complaint:?}"));
            assert_eq!(read.peer.to_string(), shown);
            assert_eq!(read, SrtConfig { peer: expected, passphrase }, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_cure() {
        for (text, words) in [
            ("srt://a:9000?lantency=20", "did you mean `latency`?"),
            ("srt://a:9000?rcvlatency=20", "one for both ways"),
            ("srt://a:9000?pkt_size=1316", "there are `mode`"),
            ("srt://a:9000?mode=server", "waits for its call"),
            ("srt://a:9000?mode=Listner", "did you mean `mode=listener`?"),
            ("srt://a:9000?latency=120000", "did you mean `latency=120`?"),
            ("srt://a:9000?latency=120ms", "`latency=120`"),
            ("srt://a:9000?latency=-1", "in milliseconds, such as"),
            ("srt://a:9000?latency=1&latency=2", "keep one"),
            ("srt://a:9000?passphrase=verysecretword", "passphrase_file="),
            ("srt://a:9000?passphrase_file=srt.key", "begin it with `/`"),
            ("srt://a:9000?streamid=%zz", "`%25`"),
            ("srt://a:9000?streamid=%0a", "`%25`"),
            ("srt://a:9000/live", "`?streamid=…`"),
            ("srt://:9000?mode=caller", "somebody to call"),
            ("srt://a:9000?mode=listener", "`mode=caller`"),
            ("srt://:9000?streamid=x", "the caller chooses it"),
            ("srt://a", "SRT needs a port"),
            ("srt://a:0", "from 1 to 65535"),
            ("srt://me:secret@a:9000", "passphrase_file"),
        ] {
            let complaint = format!("{:?}", srt(text, EXAMPLE).expect_err(text));
            assert!(complaint.contains(words), "{text}: {complaint}");
            assert!(!complaint.contains("secretword"), "{complaint}");
        }
    }
}
