//! What the sources must keep to, one function per rule. Each gives its violations; none stops at the first.

use super::source::{Kind, Named, Source};
use super::{Violation, violation};

/// The layers of ARCHITECTURE.md: module, layer, and the modules it may import. The longest matching name rules.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("media", 0, &[]),
    ("config", 1, &["media"]),
    ("whip", 1, &["media"]),
    ("lifecycle", 1, &["media"]),
    ("relay", 1, &["media"]),
    ("sfu", 1, &["media"]),
    ("plan", 2, &["media", "config"]),
    ("telemetry", 3, &["media"]),
    ("device", 3, &["media", "plan"]),
    ("control", 3, &["media", "lifecycle"]),
    ("engine", 3, &["media", "plan", "telemetry"]),
    ("probe", 3, &["media", "config", "plan", "engine"]),
    ("relay::shell", 3, &["media", "relay", "telemetry"]),
    ("sfu::shell", 3, &["media", "sfu", "telemetry"]),
    ("output", 3, &["media", "engine", "sfu", "sfu::shell", "whip", "telemetry"]),
    ("http", 4, &["media", "control", "sfu", "sfu::shell", "whip", "telemetry"]),
    (
        "daemon",
        5,
        &[
            "media",
            "config",
            "whip",
            "lifecycle",
            "relay",
            "relay::shell",
            "sfu",
            "sfu::shell",
            "plan",
            "telemetry",
            "device",
            "control",
            "engine",
            "probe",
            "output",
            "http",
        ],
    ),
    ("cli", 6, &["media", "config", "plan", "control", "device", "probe", "daemon"]),
    ("fuzzing", 6, &["sfu", "whip", "http"]),
    ("", 7, &["cli"]),
];

/// The last layer that reads no clock, file, environment or socket and spawns nothing.
const LAST_PURE: u8 = 2;

/// Crates that belong to one place. A name ending in `_` stands for all that begin with it.
const CRATES: &[(&[&str], &[&str], &str)] = &[
    (
        &["gst", "gst_", "gstreamer", "gstreamer_", "glib", "gstrsrtp", "gstrav1e"],
        &["engine"],
        "only `engine` names GStreamer",
    ),
    (&["str0m"], &["sfu"], "only `sfu` names str0m"),
    (&["quinn_udp", "mio"], &["sfu::shell"], "only the SFU's shell owns its socket"),
    (&["v4l", "alsa", "udev"], &["device"], "only `device` enumerates hardware"),
    (&["m3u8_rs"], &["relay"], "only `relay` reads playlists"),
    (&["axum", "tower", "tower_http"], &["http", "daemon"], "only `http` speaks HTTP to clients"),
    (&["clap", "anyhow", "indicatif"], &["cli"], "only `cli` speaks to people at a terminal"),
];

/// Files that may say `unsafe`: the V4L2 ioctls that no crate wraps, and calls into SVT-AV1.
const FFI: &[&str] = &["src/device/ioctl.rs", "src/engine/svt/library.rs", "src/engine/svt/session.rs"];

/// Where serialisable types may exist: the edges.
const SERIALISABLE: &[&str] = &["config", "plan", "http", "cli"];

const BANNED_WORDS: &[&str] = &[
    "manager", "handler", "util", "utils", "helper", "helpers", "common", "info", "data", "base", "misc",
    "service",
];

pub(super) fn all(source: &Source) -> Vec<Violation> {
    [layers, crates, purity, serialisable, unsafe_code, queue_sizes, names, length, module_docs, sleeps]
        .into_iter()
        .flat_map(|rule| rule(source))
        .collect()
}

fn in_src(source: &Source) -> bool {
    source.path.starts_with("src/")
}

/// The row of the layer table that a module path falls into.
fn row(module: &[String]) -> Option<&'static (&'static str, u8, &'static [&'static str])> {
    let full = module.join("::");
    LAYERS
        .iter()
        .filter(|(name, ..)| name.is_empty() == full.is_empty())
        .filter(|(name, ..)| {
            full == *name || full.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"))
        })
        .max_by_key(|(name, ..)| name.len())
}

/// The path below the crate that a name stands for, or nothing where it does not begin at a module.
fn below_crate(source: &Source, named: &Named) -> Option<Vec<String>> {
    let mut module = source.module();
    let segments = named.segments.as_slice();
    match segments.first()?.as_str() {
        "crate" => Some(segments[1..].to_vec()),
        "capcast" if source.path == "src/main.rs" => Some(segments[1..].to_vec()),
        "self" | "super" => {
            // Names of enclosing inline modules do not matter: only how many there are.
            module.extend(std::iter::repeat_n("(inline)".to_owned(), named.depth));
            let ups = segments.iter().take_while(|s| *s == "super").count();
            module.truncate(module.len().saturating_sub(ups));
            let rest = segments.iter().filter(|s| *s != "super" && *s != "self");
            Some(module.into_iter().chain(rest.cloned()).collect())
        }
        _ => None,
    }
}

fn layers(source: &Source) -> Vec<Violation> {
    if !in_src(source) || source.path == "src/lib.rs" {
        return Vec::new();
    }
    let module = source.module();
    let Some((own, _, allowed)) = row(&module) else {
        return vec![violation(
            source,
            1,
            "layer",
            format!("`{}` has no row in the layer table", module.join("::")),
        )];
    };
    let mut found = Vec::new();
    for named in source.named() {
        let Some(target) = below_crate(source, &named) else { continue };
        let Some((other, ..)) = row(&target) else { continue };
        // A parent module may declare and re-export its own shell.
        let own_shell =
            source.path.ends_with("/mod.rs") && other.strip_prefix(own).is_some_and(|r| r.starts_with("::"));
        if !other.is_empty() && other != own && !allowed.contains(other) && !own_shell {
            let reason = format!("`{own}` may not import `{other}`");
            found.push(violation(source, named.line, "layer", reason));
        }
    }
    found
}

fn crates(source: &Source) -> Vec<Violation> {
    if !in_src(source) {
        return Vec::new();
    }
    let module = source.module();
    let mut found = Vec::new();
    for named in source.named() {
        let first = named.segments[0].as_str();
        let matches = |name: &&str| match name.strip_suffix('_') {
            Some(_) => first.starts_with(name),
            None => first == *name,
        };
        for (names, homes, reason) in CRATES {
            let home = homes.iter().any(|home| {
                let home: Vec<&str> = home.split("::").collect();
                module.len() >= home.len() && module.iter().zip(&home).all(|(a, b)| a == b)
            });
            if names.iter().any(matches) && !home {
                found.push(violation(source, named.line, "crate", format!("`{first}`: {reason}")));
            }
        }
    }
    found
}

/// No clock, file, environment, socket, thread or process below the shells, tests aside.
fn purity(source: &Source) -> Vec<Violation> {
    if !in_src(source) || row(&source.module()).is_none_or(|(_, layer, _)| *layer > LAST_PURE) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for named in source.named().iter().filter(|named| !named.test) {
        let path: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        let impure = matches!(
            path.as_slice(),
            ["std", "fs" | "env" | "thread" | "process", ..]
                | ["tokio" | "nix", ..]
                | ["std", "net", "TcpStream" | "TcpListener" | "UdpSocket", ..]
                | ["std", "io", "stdin" | "stdout" | "stderr", ..]
                | [.., "Instant" | "SystemTime", "now"]
                | ["fs" | "env" | "thread", _, ..]
        );
        if impure {
            let reason =
                format!("`{}`: layers 0 to {LAST_PURE} take such things as arguments", path.join("::"));
            found.push(violation(source, named.line, "pure", reason));
        }
    }
    found
}

fn serialisable(source: &Source) -> Vec<Violation> {
    let module = source.module();
    if !in_src(source) || module.first().is_some_and(|top| SERIALISABLE.contains(&top.as_str())) {
        return Vec::new();
    }
    let derives = |text: &str| matches!(text, "Serialize" | "Deserialize");
    let tokens = source.tokens.iter().filter(|t| t.kind == Kind::Ident && derives(&t.text) && !t.test);
    let reason = "serialisable types exist only at the edges";
    tokens.map(|t| violation(source, t.line, "serde", format!("`{}`: {reason}", t.text))).collect()
}

fn unsafe_code(source: &Source) -> Vec<Violation> {
    if !in_src(source) || FFI.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let tokens = source.tokens.iter().filter(|t| t.kind == Kind::Ident && t.text == "unsafe");
    tokens.map(|t| violation(source, t.line, "unsafe", "only the named FFI modules may".to_owned())).collect()
}

/// Sizes of queues stand in `pipelines/queues.toml` alone: in code, no such property beside a number.
fn queue_sizes(source: &Source) -> Vec<Violation> {
    if !in_src(source) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
        let name = token.text.replace('_', "-");
        let sized =
            ["max-size-buffers", "max-size-bytes", "max-size-time", "max-buffers", "max-bytes", "max-time"]
                .iter()
                .any(|property| match token.kind {
                    Kind::Text => name.split([' ', '=']).any(|word| word == *property),
                    Kind::Ident => name == *property,
                    _ => false,
                });
        let beside = source.tokens[at + 1..].iter().take_while(|t| t.line == token.line).take(5);
        let number_beside = beside.take_while(|t| t.text != ";").any(|t| t.kind == Kind::Number);
        let number_within =
            token.kind == Kind::Text && token.text.contains("=") && name.contains(char::is_numeric);
        if sized && (number_beside || number_within) {
            let reason = "queue sizes stand in `pipelines/queues.toml` alone".to_owned();
            found.push(violation(source, token.line, "queue", reason));
        }
    }
    found
}

/// Words that say nothing, in names of files and types.
fn names(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let banned = |name: &str| words(name).into_iter().find(|word| BANNED_WORDS.contains(&word.as_str()));
    if let Some(word) = banned(stem) {
        found.push(violation(source, 1, "name", format!("a file called `{word}` could hold anything")));
    }
    for pair in source.tokens.windows(2) {
        let declares = matches!(pair[0].text.as_str(), "struct" | "enum" | "trait" | "type" | "mod");
        if declares
            && pair.iter().all(|token| token.kind == Kind::Ident)
            && let Some(word) = banned(&pair[1].text)
        {
            let reason = format!("`{}`: `{word}` says nothing; see the glossary", pair[1].text);
            found.push(violation(source, pair[1].line, "name", reason));
        }
    }
    found
}

/// `StreamInfo` and `stream_info` are `stream`, `info`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_' && c != '-') {
            word.extend(c.to_lowercase());
        }
    }
    words
}

fn length(source: &Source) -> Vec<Violation> {
    match source.text.lines().count() {
        lines @ 501..=800 => {
            println!("{}: {lines} lines, is there a second room in it?", source.path);
            Vec::new()
        }
        lines if lines > 800 => {
            vec![violation(source, 800, "length", format!("{lines} lines, 800 are the most"))]
        }
        _ => Vec::new(),
    }
}

/// Every module says what it is for, and stands in `foo/mod.rs` when it has parts.
fn module_docs(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let first = source.text.lines().next().unwrap_or_default();
    let doc = first.strip_prefix("//!").unwrap_or_default().trim();
    let exempt = source.path.ends_with("/tests.rs") || source.path == "src/main.rs";
    if !exempt && (doc.is_empty() || doc.starts_with('(')) {
        found.push(violation(source, 1, "doc", "a file begins with `//!` and what it is for".to_owned()));
    }
    found
}

/// Tests wait for events, with a deadline.
fn sleeps(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for named in source.named() {
        let test = named.test || source.path.starts_with("tests/");
        let path: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        if test && matches!(path.as_slice(), [.., "thread" | "time", "sleep"]) {
            let reason = "wait for an event with a deadline instead".to_owned();
            found.push(violation(source, named.line, "sleep", reason));
        }
    }
    found
}
