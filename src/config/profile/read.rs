//! A profile's text to a [`Profile`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::{AudioProfile, EncoderChoice, Profile, Rendition, SizeChoice, Speed, VideoProfile};
use crate::config::diagnostic::quoted;
use crate::config::parse::{Document, FromText, Item, Table, nearest};
use crate::config::{Complaint, Diagnostics, PropertyLiteral, Source};
use crate::media::{Bitrate, Codec, FrameSize, Framerate};

const SPEEDS: [(&str, Speed); 3] =
    [("fastest", Speed::Fastest), ("realtime", Speed::Realtime), ("quality", Speed::Quality)];

const ADVICE: [(&str, &str); 16] = [
    ("fps", "the key is `framerate`, such as `framerate = \"60\"`"),
    ("rate", "the key is `framerate` or `bitrate`"),
    ("resolution", "the key is `size`, such as `size = \"1280x720\"`"),
    ("width", "width and height are one key: `size = \"1280x720\"`"),
    ("height", "width and height are one key: `size = \"1280x720\"`"),
    ("gop", "the key is `keyframe_interval`, in time: `keyframe_interval = \"2 s\"`"),
    ("gop_size", "the key is `keyframe_interval`, in time: `keyframe_interval = \"2 s\"`"),
    ("keyint", "the key is `keyframe_interval`, in time: `keyframe_interval = \"2 s\"`"),
    ("max_bitrate", "`bitrate` is the most; an adaptive output may go down to `min_bitrate`"),
    ("preset", "the key is `speed`; an encoder's own preset goes under `[video.properties]`"),
    ("name", "a profile is named by its file"),
    ("description", "the key is `summary`"),
    ("renditions", "write `[[video.rendition]]`"),
    ("codec", "it belongs under `[video]` or `[audio]`"),
    ("bitrate", "it belongs under `[video]` or `[audio]`"),
    ("inherit", "profiles do not inherit: copy the file and change the copy"),
];

/// How low an adaptive output may push the bitrate unless the profile says; never above the bitrate itself.
const MIN_BITRATE: Bitrate = Bitrate::from_bits(500_000);
const AUDIO_BITRATE: Bitrate = Bitrate::from_bits(128_000);

/// Which encoder fragments there are, and the codec of each where it is known.
pub type KnownEncoders = BTreeMap<String, Option<Codec>>;

/// Reads `profiles/NAME.toml`. Gives the profile if nothing is wrong, and everything that is.
pub fn parse_profile(name: &str, file: &str, text: &str) -> (Option<Profile>, Diagnostics) {
    parse_profile_among(name, Source::new(file, text), None)
}

/// As [`parse_profile`], and checks `encoder` against the fragments there are.
pub fn parse_profile_among(
    name: &str,
    source: Source,
    encoders: Option<&KnownEncoders>,
) -> (Option<Profile>, Diagnostics) {
    let document = Document::parse(source, &[]).with_advice(&ADVICE);
    let profile = read(name, document.root(), encoders);
    document.finish(profile)
}

fn read(name: &str, mut root: Table<'_>, encoders: Option<&KnownEncoders>) -> Option<Profile> {
    let summary = root.string("summary", "VP9 720p60 for a small CPU");
    let video = root.need_table("video", "codec = \"vp9\"").and_then(|table| video(table, encoders));
    let audio = match root.table("audio") {
        Some(table) => audio(table),
        None => AudioProfile { codec: Codec::Opus, bitrate: AUDIO_BITRATE },
    };
    let video = video?;
    let summary = summary.map_or_else(|| summarise(&video), str::to_owned);
    Some(Profile { name: name.to_owned(), summary, video, audio })
}

/// What stands for a missing `summary`.
fn summarise(video: &VideoProfile) -> String {
    let size = match video.size {
        SizeChoice::Source => "the source's size".to_owned(),
        SizeChoice::Fixed(size) => size.to_string(),
    };
    format!("{} {size} at {}, {}", video.codec.title(), video.framerate, video.bitrate)
}

fn video(mut table: Table<'_>, encoders: Option<&KnownEncoders>) -> Option<VideoProfile> {
    let codec = table.need("codec", "codec = \"vp9\"").and_then(|item| video_codec(&item));
    let encoder = table.get("encoder").map(|item| encoder(&item, codec, encoders));
    let size = table.need("size", "size = \"1280x720\"").and_then(|item| {
        item.read(FrameSize::EXAMPLE, |text| match text {
            "source" => Ok(SizeChoice::Source),
            text => FrameSize::from_text(text).map(SizeChoice::Fixed),
        })
    });
    let framerate = table.need("framerate", "framerate = \"60\"").and_then(|item| framerate(&item));
    let rate_item = table.need("bitrate", "bitrate = \"4 Mbit/s\"");
    let bitrate = rate_item.as_ref().and_then(video_bitrate);
    let min_bitrate = table.get("min_bitrate").and_then(|item| {
        let least = video_bitrate(&item)?;
        if bitrate.is_some_and(|bitrate| least > bitrate) {
            let bitrate = bitrate.unwrap_or(least);
            item.complain(
                Complaint::new(format!("`min_bitrate` is above `bitrate`, which is `{bitrate}`"))
                    .hint("an adaptive output moves between `min_bitrate` and `bitrate`"),
            );
        }
        Some(least)
    });
    let keyframe_interval = table.get("keyframe_interval").and_then(|item| {
        let interval: Duration = item.text()?;
        if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&interval) {
            let complaint = Complaint::new("`keyframe_interval` is out of bounds")
                .hint("from `\"100 ms\"` to `\"60 s\"`; `\"2 s\"` suits most streams");
            item.complain(complaint);
        }
        Some(interval)
    });
    let speed = table.word("speed", "speed", &SPEEDS).unwrap_or(Speed::Realtime);
    let properties = table.table("properties").map(properties).unwrap_or_default();
    let renditions = renditions(table.get("rendition"), size, bitrate);
    let bitrate = bitrate?;
    Some(VideoProfile {
        codec: codec?,
        encoder: encoder.unwrap_or(Some(EncoderChoice::Auto))?,
        size: size?,
        framerate: framerate?,
        bitrate,
        min_bitrate: min_bitrate.unwrap_or(MIN_BITRATE.min(bitrate)),
        keyframe_interval: keyframe_interval.unwrap_or(Duration::from_secs(2)),
        speed,
        properties,
        renditions,
    })
}

fn video_codec(item: &Item<'_>) -> Option<Codec> {
    let text = item.string(Codec::EXAMPLE)?;
    let complaint = match text.to_lowercase().replace(['.', '-', ' '], "").as_str() {
        "opus" => Complaint::new("`opus` is a sound codec").hint("it belongs under `[audio]`"),
        "h265" | "hevc" | "x265" => Complaint::new(format!("`{text}` is not offered"))
            .hint("most browsers do not play H.265 over WebRTC; take `av1`, `vp9` or `h264`"),
        "x264" | "openh264" | "avc" | "nvenc" | "vaapi" | "svt" | "svtav1" | "rav1e" | "aom" => {
            let codec = if text.contains("av1") || "svtaom".contains(text) { "av1" } else { "h264" };
            Complaint::new(format!("`{text}` is not a codec"))
                .hint(format!("such as `codec = \"{codec}\"`; the encoder goes into `encoder`"))
        }
        _ => return item.word("video codec", &Codec::VIDEO.map(|codec| (codec.as_str(), codec))),
    };
    item.complain(complaint);
    None
}

fn encoder(item: &Item<'_>, codec: Option<Codec>, known: Option<&KnownEncoders>) -> Option<EncoderChoice> {
    let one = |item: &Item<'_>| -> Option<String> {
        let name = item.string("x264")?;
        if let Some(known) = known {
            check_encoder(item, name, codec, known);
        }
        Some(name.to_owned())
    };
    if !item.is_list() {
        if item.is_string() && item.string("auto")? == "auto" {
            return Some(EncoderChoice::Auto);
        }
        return Some(EncoderChoice::Listed(vec![one(item)?]));
    }
    let items = item.list("\"x264\"")?;
    if items.is_empty() {
        let complaint = Complaint::new("an empty list of encoders")
            .hint("write `encoder = \"auto\"`, or the names to try in order");
        item.complain(complaint);
    }
    let (autos, named): (Vec<_>, Vec<_>) =
        items.iter().partition(|item| item.is_string() && item.string("auto") == Some("auto"));
    for item in autos {
        let complaint =
            Complaint::new("`auto` cannot stand in a list").hint("write `encoder = \"auto\"` alone");
        item.complain(complaint);
    }
    Some(EncoderChoice::Listed(named.into_iter().filter_map(one).collect()))
}

fn check_encoder(item: &Item<'_>, name: &str, codec: Option<Codec>, known: &KnownEncoders) {
    let of_codec = || {
        known
            .iter()
            .filter(|(_, made)| codec.is_none() || made.is_none() || **made == codec)
            .map(|(n, _)| n.as_str())
    };
    match known.get(name) {
        None => {
            let complaint = Complaint::new(format!("no encoder is called {}", quoted(name)));
            item.complain(match nearest(name, known.keys().map(String::as_str).chain(["auto"])) {
                Some(meant) => complaint.hint(format!("did you mean `{meant}`?")),
                None => complaint.hint(format!(
                    "those for this codec: `auto`, {}",
                    of_codec().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )),
            });
        }
        Some(Some(made)) if codec.is_some_and(|codec| codec != *made) => {
            let wanted = codec.unwrap_or(*made);
            let complaint =
                Complaint::new(format!("encoder `{name}` makes {}, not {}", made.title(), wanted.title()))
                    .hint(format!("write `codec = \"{made}\"`, or `encoder = \"auto\"`"));
            item.complain(complaint);
        }
        Some(_) => {}
    }
}

fn framerate(item: &Item<'_>) -> Option<Framerate> {
    let rate: Framerate = item.text()?;
    if !(1.0..=240.0).contains(&rate.as_f64()) {
        item.complain(
            Complaint::new(format!("a frame rate of {rate} is out of bounds")).hint("from 1 to 240"),
        );
    }
    Some(rate)
}

fn video_bitrate(item: &Item<'_>) -> Option<Bitrate> {
    let bitrate: Bitrate = item.text()?;
    if !(20_000..=400_000_000).contains(&bitrate.bits()) {
        let complaint = Complaint::new(format!("a video bitrate of `{bitrate}` is out of bounds"))
            .hint("from `\"20 kbit/s\"` to `\"400 Mbit/s\"`");
        item.complain(complaint);
    }
    Some(bitrate)
}

fn properties(mut table: Table<'_>) -> Vec<(String, PropertyLiteral)> {
    let mut properties = Vec::new();
    for item in table.entries() {
        let key = item.key();
        let fits = key.starts_with(|c: char| c.is_ascii_lowercase())
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let complaint = Complaint::new(format!("{} cannot be an element's property", quoted(key)));
            item.complain_at_key(match key.to_lowercase().replace('_', "-") {
                likely if likely != key => complaint.hint(format!("did you mean `{likely}`?")),
                _ => complaint.hint("properties are spelled like `cpu-used`"),
            });
        }
        properties.extend(item.literal().map(|literal| (key.to_owned(), literal)));
    }
    properties
}

fn renditions(item: Option<Item<'_>>, size: Option<SizeChoice>, bitrate: Option<Bitrate>) -> Vec<Rendition> {
    let mut renditions: Vec<Rendition> = Vec::new();
    for mut table in item.map(|item| item.tables()).unwrap_or_default() {
        let size_item = table.need("size", "size = \"640x360\"");
        let rate_item = table.need("bitrate", "bitrate = \"800 kbit/s\"");
        let own_size = size_item.as_ref().and_then(|item| item.text::<FrameSize>());
        let own_rate = rate_item.as_ref().and_then(video_bitrate);
        if renditions.len() == 4 {
            table.complain(
                Complaint::new("more than four renditions").hint("each one is an encoder of its own"),
            );
        }
        if let (Some(item), Some(own), Some(SizeChoice::Fixed(size))) = (&size_item, own_size, size)
            && (own.width > size.width || own.height > size.height || own == size)
        {
            let complaint = Complaint::new(format!("a rendition must be smaller than the picture, {size}"))
                .hint(format!("such as `\"{}\"`", half(size)));
            item.complain(complaint);
        }
        if let (Some(item), Some(own), Some(bitrate)) = (&rate_item, own_rate, bitrate)
            && own >= bitrate
        {
            let complaint =
                Complaint::new(format!("a rendition's bitrate must be below the picture's, {bitrate}"))
                    .hint(format!("such as `\"{}\"`", Bitrate::from_bits((bitrate.bits() / 4).max(20_000))));
            item.complain(complaint);
        }
        if let (Some(item), Some(own)) = (&size_item, own_size)
            && renditions.iter().any(|rendition| rendition.size == own)
        {
            item.complain(
                Complaint::new(format!("a second rendition of {own}")).hint("give each its own size"),
            );
        }
        if let (Some(size), Some(bitrate)) = (own_size, own_rate) {
            renditions.push(Rendition { size, bitrate });
        }
    }
    renditions
}

/// Half the sides, even.
fn half(size: FrameSize) -> FrameSize {
    FrameSize::new((size.width / 4 * 2).max(16), (size.height / 4 * 2).max(16))
}

fn audio(mut table: Table<'_>) -> AudioProfile {
    if let Some(item) = table.get("codec")
        && let Some(text) = item.string("opus").filter(|text| *text != "opus")
    {
        let complaint = Complaint::new(format!("audio codec {} is not offered", quoted(text)));
        item.complain(match nearest(text, ["opus"]) {
            Some(_) => complaint.hint("did you mean `opus`?"),
            None => complaint.hint("only `opus`: it is the one every browser plays over WebRTC"),
        });
    }
    let bitrate = table.get("bitrate").and_then(|item| {
        let bitrate: Bitrate = item.text()?;
        if !(6_000..=510_000).contains(&bitrate.bits()) {
            let complaint = Complaint::new(format!("`{bitrate}` is out of bounds for Opus"))
                .hint("from `\"6 kbit/s\"` to `\"510 kbit/s\"` (RFC 6716)");
            item.complain(complaint);
        }
        Some(bitrate)
    });
    AudioProfile { codec: Codec::Opus, bitrate: bitrate.unwrap_or(AUDIO_BITRATE) }
}
