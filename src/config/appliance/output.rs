//! `[[output]]`: where the stream goes.

use std::time::Duration;

use super::places::{self, Scheme};
use super::read::{secret, secret_in_line};
use super::srt::srt;
use super::{OutputConfig, OutputKind, RecordingConfig, SecretSource, SrtConfig};
use crate::config::Complaint;
use crate::config::parse::{Item, Table, Unique};
use crate::media::{Codec, TsSound};

const TOKEN_FILE: &str = "/etc/capcast/broadcast-box.key";

/// An example of a recording's path.
const RECORDING: &str = "/var/lib/capcast/recordings/{stream}-{time}.mkv";

/// Shorter files are of use to nobody, and each costs a keyframe.
const SHORTEST_SEGMENT: Duration = Duration::from_secs(1);

const OUTPUT_KINDS: [(&str, OutputKind); 4] = [
    ("whip", OutputKind::Whip),
    ("srt", OutputKind::Srt),
    ("record", OutputKind::Record),
    ("trickle", OutputKind::Trickle),
];

/// The sound of an output that is MPEG-TS.
const SOUNDS: [(&str, TsSound); 3] =
    [("opus", TsSound::Opus), ("aac", TsSound::Aac), ("none", TsSound::None)];

/// `active` is the configured profile's name and codec, as far as they are known.
pub(super) fn output(
    mut table: Table<'_>,
    names: &mut Unique,
    active: Option<(&str, Codec)>,
) -> Option<OutputConfig> {
    let name = table.need("name", "name = \"broadcast-box\"").and_then(|item| {
        let name = item.read("broadcast-box", places::output_name)?;
        names.check(&item, &name);
        Some(name)
    });
    let kind_item = table.need("kind", "kind = \"whip\"");
    let kind = kind_item.as_ref().and_then(|item| item.word("kind of output", &OUTPUT_KINDS));
    if let (Some(item), Some(OutputKind::Srt | OutputKind::Trickle), Some((profile, codec))) =
        (&kind_item, kind, active)
        && !codec.fits_transport_stream()
    {
        let complaint =
            Complaint::new(format!("this output is MPEG-TS, which cannot carry {}", codec.title()));
        item.complain(complaint.hint(format!(
            "profile `{profile}` makes that: take one that makes H.264, such as `profile = \"auto\"`"
        )));
    }
    let recording = recording(&mut table, kind);
    let (adaptive, sound) = (adaptive(&mut table, kind), sound(&mut table, kind));
    match kind {
        Some(OutputKind::Srt) => table.forbid("passphrase", "url", secret_in_url()),
        _ => table.forbid("passphrase", "token_file", secret_in_line("token_file", TOKEN_FILE)),
    }
    for key in ["token", "key", "secret", "password"] {
        table.forbid(key, "token_file", secret_in_line("token_file", TOKEN_FILE));
    }
    let (ice_servers, ice_credential) = relays(&mut table, kind);
    let place = place(&mut table, kind);
    Some(OutputConfig {
        name: name?,
        kind: kind?,
        url: place.url,
        url_file: place.url_file,
        srt: place.srt,
        recording,
        token: place.token,
        adaptive,
        sound,
        ice_servers,
        ice_credential,
    })
}

/// Where an output leads.
#[derive(Default)]
struct Place {
    url: Option<String>,
    url_file: Option<SecretSource>,
    srt: Option<SrtConfig>,
    token: Option<SecretSource>,
}

fn place(table: &mut Table<'_>, kind: Option<OutputKind>) -> Place {
    let (url, url_file, token) = (table.get("url"), table.get("url_file"), table.get("token_file"));
    let refuse = |item: &Option<Item<'_>>, words: &str, hint: &str| {
        if let Some(item) = item {
            item.complain_at_key(Complaint::new(words).hint(hint));
        }
    };
    let mut place = Place {
        url_file: url_file.as_ref().and_then(secret),
        token: token.as_ref().and_then(secret),
        ..Place::default()
    };
    let Some(kind) = kind else { return place };
    let example = match kind {
        OutputKind::Record => {
            refuse(&url, "a recording has no `url`", "its place on disk is `path`");
            refuse(&url_file, "a recording has no `url_file`", "its place on disk is `path`");
            refuse(&token, "a recording needs no `token_file`", "take it out");
            return place;
        }
        OutputKind::Whip => "https://b.example.org/api/whip",
        OutputKind::Srt => "srt://server.example.org:9000",
        OutputKind::Trickle => "https://server.example.org/trickle/live",
    };
    if kind != OutputKind::Whip {
        refuse(&url_file, "only a WHIP output has a `url_file`", "write `url`, which is no secret here");
    } else if url.is_some() {
        refuse(&url_file, "this output has two addresses", "take out `url` or `url_file`");
    }
    let Some(url) = url else {
        if url_file.is_none() {
            table.lacks("url", &format!("url = \"{example}\""));
        }
        return place;
    };
    if kind == OutputKind::Srt {
        let cure =
            "what a receiver asks for is a passphrase: `?passphrase_file=/etc/capcast/srt.key` in the `url`";
        refuse(&token, "an SRT output has no `token_file`", cure);
        place.srt = url.read(example, |text| srt(text, example));
        return place;
    }
    place.url = url.read(example, |text| places::url(text, Scheme::Http, example));
    if kind == OutputKind::Trickle && place.url.as_deref().is_some_and(|url| url.contains(['?', '#'])) {
        let complaint = Complaint::new("a trickle channel's address ends with its name");
        url.complain(complaint.hint("take out what follows the `?`; a token stands in a `token_file`"));
    }
    if place.token.is_some() && place.url.as_deref().is_some_and(places::is_readable_on_the_way) {
        url.warn(
            Complaint::new("the token of this output travels unencrypted")
                .hint("use `https://` where the server has it"),
        );
    }
    place
}

fn adaptive(table: &mut Table<'_>, kind: Option<OutputKind>) -> bool {
    let Some(item) = table.get("adaptive") else { return false };
    let adaptive = item.boolean().unwrap_or(false);
    let refused = match kind {
        Some(OutputKind::Record) => {
            Some(("a recording cannot be `adaptive`", "a disk measures no bandwidth"))
        }
        Some(OutputKind::Trickle) => {
            Some(("a trickle output cannot be `adaptive`", "HTTP measures no bandwidth"))
        }
        _ => None,
    };
    if let Some((words, hint)) = refused.filter(|_| adaptive) {
        item.complain(Complaint::new(words).hint(hint));
    }
    adaptive
}

fn sound(table: &mut Table<'_>, kind: Option<OutputKind>) -> TsSound {
    let Some(item) = table.get("audio") else { return TsSound::Opus };
    if !matches!(kind, Some(OutputKind::Srt | OutputKind::Trickle) | None) {
        let complaint = Complaint::new("only an SRT or trickle output chooses its `audio`");
        item.complain_at_key(complaint.hint("take it out: others carry Opus as it is"));
        return TsSound::Opus;
    }
    item.word("sound", &SOUNDS).unwrap_or(TsSound::Opus)
}

fn secret_in_url() -> Complaint {
    Complaint::new("a passphrase does not belong in this file").hint(
        "put it into a file of its own and write `?passphrase_file=/etc/capcast/srt.key` into the `url`",
    )
}

/// Where a recording goes, and how much of it stays.
fn recording(table: &mut Table<'_>, kind: Option<OutputKind>) -> Option<RecordingConfig> {
    let path = table.get("path");
    let (segment, keep, max_size) = (table.get("segment"), table.get("keep"), table.get("max_size"));
    if kind? != OutputKind::Record {
        for item in [&path, &segment, &keep, &max_size].into_iter().flatten() {
            let complaint = Complaint::new(format!("only a recording has `{}`", item.key()));
            item.complain_at_key(complaint.hint("take it out, or `kind = \"record\"`"));
        }
        return None;
    }
    let segment = segment.and_then(|item| {
        let span = item.text::<Duration>()?;
        if span < SHORTEST_SEGMENT {
            item.complain(Complaint::new("a file of less than a second").hint("such as `\"1 h\"`"));
        }
        Some(span)
    });
    let keep = keep.and_then(|item| item.text());
    let max_size = max_size.and_then(|item| item.text());
    let Some(path) = path else {
        table.lacks("path", &format!("path = \"{RECORDING}\""));
        return None;
    };
    let many = segment.is_some();
    let path = path.read(RECORDING, |text| places::recording(text, many))?;
    Some(RecordingConfig { path, segment, keep, max_size })
}

/// STUN and TURN servers of a WHIP output, and where their secret is.
fn relays(table: &mut Table<'_>, kind: Option<OutputKind>) -> (Vec<String>, Option<SecretSource>) {
    let servers = table.get("ice_servers");
    let credential = table.get("ice_credential_file");
    for item in [&servers, &credential].into_iter().flatten() {
        if kind.is_some_and(|kind| kind != OutputKind::Whip) {
            let complaint = Complaint::new(format!("only a WHIP output has `{}`", item.key()));
            item.complain_at_key(complaint.hint("take it out"));
        }
    }
    let secret = credential.as_ref().and_then(secret);
    let items = servers.as_ref().and_then(|item| item.list("\"turn:turn.example.org:3478\""));
    let mut uris = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(uri) = item.read("turn:turn.example.org:3478", places::ice_server) else { continue };
        if uri.contains('@') {
            item.complain(secret_in_line("ice_credential_file", "/etc/capcast/turn.key"));
        } else if uri.starts_with("turn") && credential.is_none() {
            item.complain(
                Complaint::new("a TURN server wants a user name and a password").hint(
                    "put them into a file, one a line, and write `ice_credential_file = \"/etc/capcast/turn.key\"`",
                ),
            );
        }
        uris.push(uri);
    }
    (uris, secret)
}
