//! An offer, checked and brought into the form that is answered as it must be: a viewer's with `sendonly`, a publisher's
//! with `recvonly`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use str0m::IceCreds;

use crate::media::{Codec, MediaKind};

/// Longest offer that is read; Chromium's with every codec is about 7 kB.
const MAX_BYTES: usize = 32 * 1024;
/// Most candidates that are taken from one offer or PATCH.
pub(super) const MAX_CANDIDATES: usize = 24;

/// Who offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Somebody who watches (WHEP).
    Viewer,
    /// Somebody who publishes (WHIP).
    Publisher,
}

impl Side {
    /// The direction that is answered.
    fn direction(self) -> &'static str {
        match self {
            Side::Viewer => "a=recvonly",
            Side::Publisher => "a=sendonly",
        }
    }

    /// The one that makes no sense.
    fn opposite(self) -> &'static str {
        match self {
            Side::Viewer => "a=sendonly",
            Side::Publisher => "a=recvonly",
        }
    }
}

/// Why an offer is not taken, in words for the person who wrote the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It cannot be read, or contradicts itself.
    Malformed(String),
    /// It asks for more than there is.
    Unsupported(String),
}

impl Refusal {
    pub(super) fn words(self) -> String {
        match self {
            Refusal::Malformed(words) | Refusal::Unsupported(words) => words,
        }
    }
}

impl From<String> for Refusal {
    fn from(words: String) -> Self {
        Refusal::Malformed(words)
    }
}

impl From<&str> for Refusal {
    fn from(words: &str) -> Self {
        Refusal::Malformed(words.to_owned())
    }
}

/// What an offer says, as far as it is not left to str0m.
#[derive(Debug)]
pub(super) struct Offer {
    /// The offer with every direction made the right one and only usable candidates.
    pub(super) text: String,
    /// Layers of the picture, the best one first; empty without simulcast.
    pub(super) layers: Vec<String>,
    /// The other side's ICE credentials.
    pub(super) credentials: IceCreds,
    /// `a=mid` of each m-line of audio or video.
    pub(super) mids: Vec<String>,
    /// Encoding names per kind, as written, each once, in their order.
    video: Option<Vec<String>>,
    audio: Option<Vec<String>>,
}

impl Offer {
    /// Reads an offer.
    pub(super) fn read(text: &str, side: Side) -> Result<Offer, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(format!("longer than {MAX_BYTES} bytes").into());
        }
        if !text.starts_with("v=0") {
            return Err("it does not begin with `v=0`".into());
        }
        let (session, sections) = split(text);
        let mut out = String::with_capacity(text.len() + 64);
        let (mut ufrag, mut pwd) = (value(&session, "ice-ufrag:"), value(&session, "ice-pwd:"));
        let mut candidates = 0;
        copy(&session, &mut out, &mut candidates);
        let (mut video, mut audio, mut mids, mut layers) = (None, None, Vec::new(), Vec::new());
        for section in &sections {
            ufrag = ufrag.or_else(|| value(section, "ice-ufrag:"));
            pwd = pwd.or_else(|| value(section, "ice-pwd:"));
            let names = match section[0].split(' ').next() {
                Some("m=video") => Some(&mut video),
                Some("m=audio") => Some(&mut audio),
                Some("m=application") => None,
                _ => return Err(Refusal::Unsupported("only audio and video are carried".to_owned())),
            };
            if let Some(names) = names {
                if names.is_some() {
                    let words = "more than one m-line of a kind; a stream has one picture and one sound";
                    return Err(Refusal::Unsupported(words.to_owned()));
                }
                *names = Some(encodings(section));
                mids.extend(value(section, "mid:").map(str::to_owned));
                let wrong = |line: &&&str| **line == side.opposite() || **line == "a=inactive";
                if let Some(line) = section.iter().find(wrong) {
                    return Err(match side {
                        Side::Viewer => format!("`{line}`: a viewer's media must be `recvonly`"),
                        Side::Publisher => format!("`{line}`: a publisher's media must be `sendonly`"),
                    }
                    .into());
                }
                layers.extend(value(section, "simulcast:").map(layers_sent).unwrap_or_default());
            }
            copy(section, &mut out, &mut candidates);
            if section[0].starts_with("m=video") || section[0].starts_with("m=audio") {
                out.push_str(side.direction());
                out.push_str("\r\n");
            }
        }
        if video.is_none() && audio.is_none() {
            return Err("it asks for neither audio nor video".into());
        }
        bundled(&session, &sections)?;
        let credentials =
            credentials(ufrag, pwd).ok_or("`a=ice-ufrag` or `a=ice-pwd` is missing or malformed")?;
        Ok(Offer { text: out, layers, credentials, mids, video, audio })
    }

    /// Whether there is an m-line for `kind` at all.
    pub(super) fn asks_for(&self, kind: MediaKind) -> bool {
        self.names(kind).is_some()
    }

    /// Encoding names offered for the kind of `codec`.
    pub(super) fn encodings(&self, codec: Codec) -> Vec<String> {
        self.names(codec.kind()).cloned().unwrap_or_default()
    }

    /// The same offer after an ICE restart of the viewer: other credentials, no candidates.
    pub(super) fn restarted(&self, credentials: &IceCreds) -> String {
        let mut out = String::with_capacity(self.text.len());
        for line in self.text.lines().filter(|line| !line.starts_with("a=candidate:")) {
            match line.split_once(':').map_or(line, |(key, _)| key) {
                "a=ice-ufrag" => out.extend(["a=ice-ufrag:", credentials.ufrag.as_str()]),
                "a=ice-pwd" => out.extend(["a=ice-pwd:", credentials.pass.as_str()]),
                _ => out.push_str(line),
            }
            out.push_str("\r\n");
        }
        out
    }

    fn names(&self, kind: MediaKind) -> Option<&Vec<String>> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }
}

/// ICE credentials of the form RFC 8839 §5.4 allows.
pub(super) fn credentials(ufrag: Option<&str>, pwd: Option<&str>) -> Option<IceCreds> {
    let ice_chars = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let ufrag = ufrag.filter(|text| (4..=256).contains(&text.len())).filter(ice_chars)?;
    let pass = pwd.filter(|text| (22..=256).contains(&text.len())).filter(ice_chars)?;
    Some(IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() })
}

/// Whether a `candidate:…` is UDP with an address rather than a name: we resolve nothing, mDNS names included; such
/// viewers are found by their own checks (peer-reflexive candidates).
pub(super) fn usable(candidate: &str) -> bool {
    let mut words = candidate.split_ascii_whitespace();
    let transport = words.nth(2).is_some_and(|word| word.eq_ignore_ascii_case("udp"));
    transport && words.nth(1).is_some_and(|word| word.parse::<IpAddr>().is_ok())
}

/// The session part, and each media section with its m-line first.
fn split(text: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let (mut session, mut sections) = (Vec::new(), Vec::<Vec<&str>>::new());
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            sections.push(vec![line]);
        } else {
            sections.last_mut().unwrap_or(&mut session).push(line);
        }
    }
    (session, sections)
}

/// Whether all m-lines can share one transport, as WHIP and WHEP have it (RFC 9725 §4.4): one group holds them all, and
/// what a number means in one of them, it means in all (RFC 8843 §7.1.3, RFC 8285 §5).
fn bundled(session: &[&str], sections: &[Vec<&str>]) -> Result<(), Refusal> {
    let group = value(session, "group:BUNDLE").map(|mids| mids.split_ascii_whitespace().collect::<Vec<_>>());
    let mut seen = Vec::new();
    let mut types = BTreeMap::new();
    let mut extensions = BTreeMap::new();
    for section in sections {
        if let Some(mid) = value(section, "mid:") {
            if seen.contains(&mid) {
                return Err(format!("two m-lines have the `mid` `{}`", shown(mid)).into());
            }
            seen.push(mid);
            if sections.len() > 1 && group.as_ref().is_some_and(|group| !group.contains(&mid)) {
                return Err(format!("the m-line `{}` is not in `a=group:BUNDLE`", shown(mid)).into());
            }
        }
        for line in section {
            let (kind, known, (number, meaning)) = if let Some(format) = line.strip_prefix("a=rtpmap:") {
                ("payload type", &mut types, format.split_once(' ').unwrap_or((format, "")))
            } else if let Some(extension) = line.strip_prefix("a=extmap:") {
                // The number may be followed by a direction.
                let (number, uri) = extension.split_once(' ').unwrap_or((extension, ""));
                let number = number.split('/').next().unwrap_or_default();
                ("header extension", &mut extensions, (number, uri))
            } else {
                continue;
            };
            let meaning = meaning.trim().to_ascii_lowercase();
            let before = known.entry(number).or_insert_with(|| meaning.clone());
            if *before != meaning {
                let (before, meaning) = (shown(before), shown(&meaning));
                let words = format!("{kind} {} stands for `{before}` and for `{meaning}`", shown(number));
                return Err(words.into());
            }
        }
    }
    if sections.len() > 1 && (group.is_none() || seen.len() < sections.len()) {
        return Err("its m-lines are not bundled: `a=group:BUNDLE` must name the `a=mid` of each".into());
    }
    Ok(())
}

/// As much of somebody's words as belongs into an answer.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

fn value<'a>(lines: &[&'a str], key: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(key))
}

/// Encoding names of a section's payload types, without the formats that are not codecs.
fn encodings(section: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for rtpmap in section.iter().filter_map(|line| line.strip_prefix("a=rtpmap:")) {
        let name = rtpmap.split(' ').nth(1).and_then(|format| format.split('/').next()).unwrap_or_default();
        let codec =
            !matches!(name.to_ascii_lowercase().as_str(), "" | "rtx" | "red" | "ulpfec" | "flexfec-03");
        let known = names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if codec && !known && names.len() < 16 {
            names.push(name.chars().take(32).collect());
        }
    }
    names
}

/// The layers of `send a;b,c;~d` (RFC 8853 §5.1): of alternatives the first, `~` (paused) or not.
fn layers_sent(simulcast: &str) -> Vec<String> {
    let mut words = simulcast.split_ascii_whitespace();
    let list = words.find(|word| *word == "send").and_then(|_| words.next()).unwrap_or_default();
    let first = |layer: &str| layer.split(',').next().unwrap_or_default().trim_start_matches('~').to_owned();
    list.split(';').map(first).filter(|layer| !layer.is_empty()).collect()
}

fn copy(lines: &[&str], out: &mut String, candidates: &mut usize) {
    for line in lines {
        if matches!(*line, "a=sendrecv" | "a=recvonly" | "a=sendonly") {
            continue;
        }
        if let Some(candidate) = line.strip_prefix("a=").filter(|text| text.starts_with("candidate:")) {
            *candidates += 1;
            if *candidates > MAX_CANDIDATES || !usable(candidate) {
                continue;
            }
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=extmap:4 urn:x:mid\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\na=sendrecv\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:1\r\na=extmap:4/sendonly urn:x:mid\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
        a=rtpmap:98 H264/90000\r\na=candidate:1 1 udp 2130706431 3d1a.local 5000 typ host\r\n\
        a=candidate:2 1 UDP 2130706431 192.0.2.7 5000 typ host\r\na=candidate:3 1 tcp 9 192.0.2.7 9 typ host\r\n";

    #[test]
    fn an_offer_is_made_a_viewers() {
        let offer = Offer::read(OFFER, Side::Viewer).unwrap();
        assert_eq!(offer.encodings(Codec::H264), ["VP8", "H264"]);
        assert_eq!(offer.encodings(Codec::Opus), ["opus"]);
        assert!(offer.asks_for(MediaKind::Video) && offer.asks_for(MediaKind::Audio));
        assert_eq!(offer.text.matches("a=recvonly\r\n").count(), 2);
        assert!(!offer.text.contains("sendrecv"));
        assert_eq!(offer.text.matches("a=candidate:").count(), 1);
        assert_eq!(offer.credentials.ufrag, "abcd");
    }

    #[test]
    fn a_restart_changes_nothing_but_ice() {
        let offer = Offer::read(OFFER, Side::Viewer).unwrap();
        let new = credentials(Some("wxyz"), Some("zyxwvutsrqponmlkjihgfe")).unwrap();
        let again = Offer::read(&offer.restarted(&new), Side::Viewer).unwrap();
        assert_eq!(again.credentials, new);
        assert_eq!(again.text.matches("a=candidate:").count(), 0);
        assert_eq!(again.encodings(Codec::Vp8), offer.encodings(Codec::Vp8));
    }

    #[test]
    fn an_offer_is_made_a_publishers() {
        let text = OFFER.replace("a=recvonly", "a=sendonly\r\na=simulcast:send h;~m,x;l recv z");
        let offer = Offer::read(&text, Side::Publisher).unwrap();
        assert_eq!(offer.layers, ["h", "m", "l"]);
        assert_eq!(offer.text.matches("a=sendonly\r\n").count(), 2);
        assert!(!offer.text.contains("sendrecv"));
        let refusal = |text: &str| Offer::read(text, Side::Publisher).unwrap_err();
        assert!(refusal(OFFER).words().contains("must be `sendonly`"));
        assert!(matches!(refusal(&text.replace("m=video", "m=audio")), Refusal::Unsupported(_)));
    }

    #[test]
    fn what_is_no_viewers_offer_is_refused_in_words() {
        for (offer, words) in [
            (String::new(), "does not begin"),
            ("v=0\r\ns=-\r\n".to_owned(), "neither audio nor video"),
            (OFFER.replace("a=recvonly", "a=sendonly"), "must be `recvonly`"),
            (OFFER.replace("a=recvonly", "a=inactive"), "must be `recvonly`"),
            (OFFER.replace("m=video", "m=audio"), "more than one m-line"),
            (OFFER.replace("m=video", "m=text"), "only audio and video"),
            (OFFER.replace("a=ice-pwd", "a=ice-dwp"), "a=ice-pwd"),
            (OFFER.replace("a=ice-ufrag:abcd", "a=ice-ufrag:a:d!"), "a=ice-ufrag"),
            (format!("{OFFER}{}", "a=x\r\n".repeat(8_000)), "longer than"),
            (
                OFFER.replace("a=rtpmap:97 rtx/90000", "a=rtpmap:111 rtx/90000"),
                "payload type 111 stands for `opus/48000/2` and for `rtx/90000`",
            ),
            (OFFER.replace("a=rtpmap:98 H264", "a=rtpmap:96 H264"), "payload type 96 stands for"),
            (OFFER.replace("/sendonly urn:x:mid", " urn:x:rid"), "header extension 4 stands for"),
            (OFFER.replace("a=mid:1", "a=mid:0"), "two m-lines have the `mid` `0`"),
            (OFFER.replace("BUNDLE 0 1", "BUNDLE 0"), "`1` is not in `a=group:BUNDLE`"),
            (OFFER.replace("a=group:BUNDLE 0 1\r\n", ""), "not bundled"),
            (OFFER.replace("a=mid:1\r\n", ""), "not bundled"),
        ] {
            let error = Offer::read(&offer, Side::Viewer).unwrap_err().words();
            assert!(error.contains(words), "{error} should contain {words}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(lines in prop::collection::vec("(m=|a=candidate:|a=ice-ufrag:|a=rtpmap:|)\\PC{0,30}", 0..30)) {
            let text = format!("v=0\r\n{}", lines.join("\r\n"));
            let _ = (Offer::read(&text, Side::Viewer), Offer::read(&text, Side::Publisher));
        }
    }
}
