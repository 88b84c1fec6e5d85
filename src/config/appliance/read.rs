//! The text of `capcast.toml` to a [`BoxConfig`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::output::output;
use super::places::{self, Scheme};
use super::{
    BoxConfig, CaptureConfig, HttpConfig, JwtConfig, KnownProfiles, NoSignal, ProfileChoice, PublisherConfig,
    SecretSource, SfuConfig, VideoInput, ViewConfig, WebhookConfig,
};
use crate::config::diagnostic::quoted;
use crate::config::parse::{Document, Item, Override, Table, Unique, nearest};
use crate::config::{Complaint, Diagnostics, Source};
use crate::media::{Codec, StreamName};

const ADVICE: [(&str, &str); 24] = [
    ("profile", "`profile` belongs at the top of the file, before the first `[table]`"),
    ("outputs", "write `[[output]]`, once for each"),
    ("video", "the picture's source is `video` under `[capture]`; codec and size are a profile's"),
    ("audio", "the sound's source is `audio` under `[capture]`; its bitrate is a profile's"),
    ("device", "the card is `video` under `[capture]`"),
    ("codec", "codec, size and bitrate are a profile's: see `capcast profiles`"),
    ("encoder", "the encoder is a profile's: see `capcast profiles`"),
    ("bitrate", "codec, size and bitrate are a profile's: see `capcast profiles`"),
    ("size", "codec, size and bitrate are a profile's: see `capcast profiles`"),
    ("framerate", "the card's mode is `mode = \"1920x1080@60\"`; the encoder's frame rate is a profile's"),
    ("resolution", "the card's mode is `mode = \"1920x1080@60\"`"),
    ("type", "the key is `kind`"),
    ("uri", "the key is `url`"),
    ("endpoint", "the key is `url`"),
    ("file", "a recording's place is `path`"),
    ("bearer_token", "put it into a file and name that: `token_file = \"/etc/capcast/NAME.key\"`"),
    ("stream_key", "put it into a file and name that: `token_file = \"/etc/capcast/NAME.key\"`"),
    ("host", "address and port are one key: `listen = \"[::]:8899\"`"),
    ("port", "address and port are one key, such as `listen = \"[::]:8899\"`"),
    ("bind", "the key is `listen`, such as `listen = \"[::]:8899\"`"),
    ("address", "the key is `listen`, such as `listen = \"[::]:8899\"`"),
    ("publishers", "write `[[sfu.publisher]]`, once for each"),
    ("views", "write `[[sfu.view]]`, once for each"),
    ("viewers", "write `[[sfu.view]]` for streams that need a key, `max_viewers` for their number"),
];

/// Reads `capcast.toml`. Gives the configuration if nothing is wrong, and everything that is.
pub fn parse_box(file: &str, text: &str) -> (Option<BoxConfig>, Diagnostics) {
    parse_box_with(Source::new(file, text), &[], None)
}

/// As [`parse_box`], with values laid over it, and checks `profile` against the profiles there are.
pub fn parse_box_with(
    source: Source,
    overrides: &[Override],
    profiles: Option<&KnownProfiles>,
) -> (Option<BoxConfig>, Diagnostics) {
    let document = Document::parse(source, overrides).with_advice(&ADVICE);
    let config = read(document.root(), profiles);
    document.finish(Some(config))
}

/// Where a value is wrong its default stands in: the diagnostics say so, and the whole is not used then.
fn read(mut root: Table<'_>, profiles: Option<&KnownProfiles>) -> BoxConfig {
    let profile = root.get("profile").and_then(|item| profile(&item, profiles));
    let capture = root.table("capture").map(capture).unwrap_or_default();
    let mut names = Unique::new("output");
    let tables = root.tables("output").into_iter();
    let active = active(profile.as_ref(), profiles);
    let outputs = tables.filter_map(|table| output(table, &mut names, active)).collect();
    let (sfu, media) = root.table("sfu").map(sfu).unwrap_or_default();
    let (http, listen) = root.table("http").map(http).unwrap_or_default();
    if sfu.media.port() == http.listen.port()
        && sfu.media.port() != 0
        && let Some(item) = media.or(listen)
    {
        let complaint = Complaint::new(format!(
            "port {} is taken twice: `sfu.media` and `http.listen`",
            sfu.media.port()
        ))
        .hint("both listen for TCP; give each its own port, such as 8900 and 8899");
        item.complain(complaint);
    }
    BoxConfig { profile: profile.unwrap_or(ProfileChoice::Auto), capture, outputs, sfu, http }
}

/// The configured profile's name and codec, as far as they are known.
fn active<'a>(profile: Option<&'a ProfileChoice>, known: Option<&KnownProfiles>) -> Option<(&'a str, Codec)> {
    let Some(ProfileChoice::Named(name)) = profile else { return None };
    Some((name, (*known?.get(name)?)?))
}

fn profile(item: &Item<'_>, profiles: Option<&KnownProfiles>) -> Option<ProfileChoice> {
    let name = item.string("auto")?;
    if name == "auto" {
        return Some(ProfileChoice::Auto);
    }
    let fits = !name.is_empty()
        && !name.starts_with('.')
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !fits || name.ends_with(".toml") {
        let complaint = Complaint::new(format!("{} is not a profile's name", quoted(name)));
        let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".toml");
        item.complain(match stem.is_empty() || stem == name {
            true => complaint.hint("`\"auto\"`, or a file's name in `profiles/` without `.toml`"),
            false => complaint.hint(format!("write the name alone: `profile = \"{stem}\"`")),
        });
        return None;
    }
    if let Some(profiles) = profiles.filter(|profiles| !profiles.contains_key(name)) {
        let complaint = Complaint::new(format!("there is no profile called `{name}`"));
        item.complain(match nearest(name, profiles.keys().map(String::as_str).chain(["auto"])) {
            Some(meant) => complaint.hint(format!("did you mean `{meant}`?")),
            None => complaint.hint("`capcast profiles` lists them; `\"auto\"` takes what runs here"),
        });
    }
    Some(ProfileChoice::Named(name.to_owned()))
}

fn capture(mut table: Table<'_>) -> CaptureConfig {
    let defaults = CaptureConfig::default();
    let no_signal = [("slate", NoSignal::Slate), ("stop", NoSignal::Stop)];
    let video_item = table.get("video");
    let video = video_item.as_ref().and_then(|item| item.read("/dev/video0", places::video_input));
    let token = token(&mut table, video_item.as_ref(), video.as_ref());
    let video = match video {
        Some(VideoInput::Url { url, .. }) => VideoInput::Url { url, token },
        video => video.unwrap_or(defaults.video),
    };
    let item = table.get("passthrough");
    let passthrough = item.as_ref().and_then(Item::boolean).unwrap_or(defaults.passthrough);
    if passthrough
        && !matches!(video, VideoInput::Srt(_) | VideoInput::Url { .. })
        && let Some(item) = &item
    {
        let complaint = Complaint::new("only what arrives over the network can be passed through");
        item.complain_at_key(complaint.hint("take it out, or write `video = \"srt://…\"`"));
    }
    CaptureConfig {
        video,
        passthrough,
        mode: table
            .get("mode")
            .and_then(|item| item.read("1920x1080@60", places::capture_mode))
            .unwrap_or(defaults.mode),
        audio: table
            .get("audio")
            .and_then(|item| item.read("hw:CARD=Capture", places::audio_input))
            .unwrap_or(defaults.audio),
        audio_delay: table.text("audio_delay").unwrap_or(defaults.audio_delay),
        no_signal: table.word("no_signal", "no-signal behaviour", &no_signal).unwrap_or(defaults.no_signal),
    }
}

/// `token_file` of a source by HTTP.
fn token(
    table: &mut Table<'_>,
    video_item: Option<&Item<'_>>,
    video: Option<&VideoInput>,
) -> Option<SecretSource> {
    for key in ["token", "key", "password"] {
        table.forbid(key, "token_file", secret_in_line("token_file", "/etc/capcast/source.key"));
    }
    let item = table.get("token_file")?;
    let token = secret(&item);
    match (video, video_item) {
        (Some(VideoInput::Url { url, .. }), Some(video)) if places::is_readable_on_the_way(url) => {
            video.warn(
                Complaint::new("the token of this source travels unencrypted")
                    .hint("use `https://` where the server has it"),
            );
        }
        (Some(VideoInput::Url { .. }), _) | (None, Some(_)) => {}
        _ => item.complain_at_key(
            Complaint::new("only a source by HTTP has a `token_file`")
                .hint("take it out, or write `video = \"https://…\"`"),
        ),
    }
    token
}

/// And the item of `media`, for what concerns other tables too.
fn sfu<'a>(mut table: Table<'a>) -> (SfuConfig, Option<Item<'a>>) {
    let defaults = SfuConfig::default();
    let enabled = table.boolean("enabled").unwrap_or(defaults.enabled);
    let stream = table.text("stream").unwrap_or(defaults.stream);
    let media_item = table.get("media");
    let media = media_item.as_ref().and_then(Item::text::<SocketAddr>).unwrap_or(defaults.media);
    let public_addresses = table.get("public_addresses").and_then(|item| item.list("\"192.0.2.10\""));
    let public_addresses: Vec<IpAddr> =
        public_addresses.unwrap_or_default().iter().filter_map(public_address).collect();
    let max_viewers = table.integer("max_viewers", 1..=100_000).and_then(|n| u32::try_from(n).ok());
    let ice_servers = table.get("ice_servers").and_then(|item| item.list("\"stun:stun.example.org:3478\""));
    let ice_servers = ice_servers
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.read("stun:stun.example.org:3478", places::ice_server))
        .collect();
    let replace_publisher = table.boolean("replace_publisher").unwrap_or(defaults.replace_publisher);
    let jwt_or_webhook = table.has("jwt") || table.has("webhook");
    let mut names = Unique::new("publisher of stream");
    let publishers: Vec<PublisherConfig> = table
        .tables("publisher")
        .into_iter()
        .filter_map(|table| {
            let (item, name, key) = keyed_stream(table)?;
            names.check(&item, name.as_str());
            if name == stream {
                let complaint = Complaint::new(format!("`{name}` is the name of this box's own picture"))
                    .hint("name another stream here, or change `stream` under `[sfu]`");
                item.complain(complaint);
            }
            Some(PublisherConfig { stream: name, key })
        })
        .collect();
    let mut names = Unique::new("view key of stream");
    let views = table
        .tables("view")
        .into_iter()
        .filter_map(|table| {
            let (item, name, key) = keyed_stream(table)?;
            names.check(&item, name.as_str());
            let mut published = publishers.iter().map(|publisher| &publisher.stream).chain([&stream]);
            if !jwt_or_webhook && !published.any(|published| *published == name) {
                let complaint = Complaint::new(format!(
                    "nobody can publish `{name}`, so nobody will watch it"
                ))
                .hint(format!("this box's own picture is `{stream}`; others need a `[[sfu.publisher]]`"));
                item.warn(complaint);
            }
            Some(ViewConfig { stream: name, key })
        })
        .collect();
    let config = SfuConfig {
        enabled,
        stream,
        media,
        public_addresses,
        max_viewers: max_viewers.unwrap_or(defaults.max_viewers),
        ice_servers,
        replace_publisher,
        publishers,
        views,
        jwt: table.table("jwt").and_then(jwt),
        webhook: table.table("webhook").and_then(webhook),
    };
    (config, media_item)
}

fn public_address(item: &Item<'_>) -> Option<IpAddr> {
    let address: IpAddr = item.text()?;
    if address.is_unspecified() || address.is_multicast() {
        let complaint = Complaint::new(format!("`{address}` cannot be offered to viewers"))
            .hint("write the address under which they reach this box");
        item.complain(complaint);
    }
    Some(address)
}

/// `stream` and `key_file` of a publisher or view.
fn keyed_stream<'a>(mut table: Table<'a>) -> Option<(Item<'a>, StreamName, SecretSource)> {
    let item = table.need("stream", "stream = \"obs\"");
    for key in ["key", "token", "secret", "password"] {
        table.forbid(key, "key_file", secret_in_line("key_file", "/etc/capcast/obs.key"));
    }
    let key = table.need("key_file", "key_file = \"/etc/capcast/obs.key\"").and_then(|item| secret(&item));
    let item = item?;
    let stream = item.text()?;
    Some((item, stream, key?))
}

fn jwt(mut table: Table<'_>) -> Option<JwtConfig> {
    let shared_file = secret_in_line("secret_file", "/etc/capcast/jwt.key");
    table.forbid("secret", "public_key_file", shared_file);
    let public_file = secret_in_line("public_key_file", "/etc/capcast/jwt.pem");
    table.forbid("public_key", "public_key_file", public_file);
    let public = table.get("public_key_file");
    let shared = table.get("secret_file");
    match (public, shared) {
        (Some(_), Some(shared)) => {
            let complaint = Complaint::new("`public_key_file` and `secret_file` exclude each other")
                .hint("keep `public_key_file` for EdDSA, or `secret_file` for HS256");
            shared.complain_at_key(complaint);
            None
        }
        (Some(public), None) => secret(&public).map(JwtConfig::EdDsa),
        (None, Some(shared)) => secret(&shared).map(JwtConfig::Hs256),
        (None, None) => {
            table.lacks("public_key_file", "public_key_file = \"/etc/capcast/jwt.pem\"");
            None
        }
    }
}

fn webhook(mut table: Table<'_>) -> Option<WebhookConfig> {
    let example = "https://auth.example.org/capcast";
    let url = table
        .need("url", &format!("url = \"{example}\""))
        .and_then(|item| item.read(example, |text| places::url(text, Scheme::Http, example)));
    let timeout = table.get("timeout").and_then(|item| {
        let timeout: Duration = item.text()?;
        if !(Duration::from_millis(100)..=Duration::from_secs(30)).contains(&timeout) {
            let complaint =
                Complaint::new("`timeout` is out of bounds").hint("from `\"100 ms\"` to `\"30 s\"`");
            item.complain(complaint);
        }
        Some(timeout)
    });
    Some(WebhookConfig { url: url?, timeout: timeout.unwrap_or(Duration::from_secs(2)) })
}

/// And the item of `listen`, for what concerns other tables too.
fn http<'a>(mut table: Table<'a>) -> (HttpConfig, Option<Item<'a>>) {
    let defaults = HttpConfig::default();
    let listen_item = table.get("listen");
    let listen = listen_item.as_ref().and_then(Item::text).unwrap_or(defaults.listen);
    for key in ["control_token", "token", "password"] {
        let own_file = secret_in_line("control_token_file", "/etc/capcast/control.token");
        table.forbid(key, "control_token_file", own_file);
    }
    let control_token = table.get("control_token_file").and_then(|item| secret(&item));
    let mut file = |key, example| table.get(key).map(|item| (item.read(example, places::absolute), item));
    let certificate = file("tls_certificate", "/etc/capcast/tls.pem");
    let key = file("tls_key", "/etc/capcast/tls.key");
    let alone = |item: &Item<'_>, other: &str| {
        let complaint = Complaint::new(format!("`{}` without `{other}`", item.key()))
            .hint(format!("TLS needs both: add `{other} = \"/etc/capcast/…\"`"));
        item.complain_at_key(complaint);
    };
    let tls: Option<(PathBuf, PathBuf)> = match (certificate, key) {
        (Some((certificate, _)), Some((key, _))) => certificate.zip(key),
        (Some((_, item)), None) => {
            alone(&item, "tls_key");
            None
        }
        (None, Some((_, item))) => {
            alone(&item, "tls_certificate");
            None
        }
        (None, None) => None,
    };
    (HttpConfig { listen, control_token, tls }, listen_item)
}

pub(super) fn secret(item: &Item<'_>) -> Option<SecretSource> {
    item.read("/etc/capcast/control.token", places::secret)
}

pub(super) fn secret_in_line(key: &str, example: &str) -> Complaint {
    Complaint::new("a secret does not belong in this file")
        .hint(format!("put it into a file of its own and write `{key} = \"{example}\"`"))
}
