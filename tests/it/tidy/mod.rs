//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a machine can check, checked over the whole source tree.

mod rules;
pub(super) mod source;

use std::fmt;
use std::path::Path;

use source::Source;

/// A rule that a line breaks.
#[derive(Debug, PartialEq)]
struct Violation {
    path: String,
    line: usize,
    rule: &'static str,
    reason: String,
}

fn violation(source: &Source, line: usize, rule: &'static str, reason: String) -> Violation {
    Violation { path: source.path.clone(), line, rule, reason }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.reason)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text files of the tree below `folders`, with one of these extensions (all when empty).
fn texts(folders: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in source::files_below(root()) {
        let name = path.to_string_lossy().replace('\\', "/");
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let wanted = folders.is_empty() || folders.iter().any(|folder| name.starts_with(folder));
        if wanted && (extensions.is_empty() || extensions.contains(&extension.as_str())) {
            // What is not text is not ours to read.
            if let Ok(text) = std::fs::read_to_string(root().join(&path)) {
                found.push((name, text));
            }
        }
    }
    found
}

#[track_caller]
fn assert_none(violations: &[Violation]) {
    let list: String = violations.iter().map(|violation| format!("{violation}\n")).collect();
    assert!(violations.is_empty(), "{} violation(s):\n{list}", violations.len());
}

#[test]
fn sources_keep_the_rules() {
    let sources = texts(&["src/", "tests/it/", "benches/"], &["rs"]);
    assert!(sources.len() > 30, "only {} sources found below {}", sources.len(), root().display());
    let violations: Vec<_> =
        sources.iter().flat_map(|(path, text)| rules::all(&Source::new(path, text))).collect();
    assert_none(&violations);
}

#[test]
fn modules_with_parts_stand_in_mod_rs() {
    let mut violations = Vec::new();
    for (path, _) in texts(&["src/", "tests/it/"], &["rs"]) {
        let folder = path.trim_end_matches(".rs");
        if root().join(folder).is_dir() {
            let reason = format!("belongs into `{folder}/mod.rs`");
            violations.push(Violation { path, line: 1, rule: "layout", reason });
        }
    }
    assert_none(&violations);
}

#[test]
fn the_tree_speaks_of_itself_alone_and_leaves_nothing_undone() {
    // Put together here, so that this file does not contain them.
    let words =
        [concat!("/wo", "rk/"), concat!(".lib", "rary/"), concat!("../sha", "red"), concat!("sub", "agent")];
    let undone = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut violations = Vec::new();
    for (path, text) in texts(&[], &[]) {
        for (at, line) in text.lines().enumerate() {
            let mut found = |rule, word: &str| {
                let reason = format!("`{word}`");
                violations.push(Violation { path: path.clone(), line: at + 1, rule, reason });
            };
            words.iter().filter(|word| line.contains(**word)).for_each(|word| found("outside", word));
            if ["src/", "tests/", "web/src/", "benches/"].iter().any(|folder| path.starts_with(folder)) {
                undone.iter().filter(|word| line.contains(**word)).for_each(|word| found("undone", word));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn scripts_of_tests_do_not_sleep() {
    // Not asyncio.sleep: viewers wait with it as long as `Retry-After` says.
    let sleeps = ["time.sleep(", "setTimeout(", "waitForTimeout("];
    let mut violations = Vec::new();
    for (path, text) in texts(&["tests/"], &["py", "ts", "js", "mjs", "sh", ""]) {
        for (at, line) in text.lines().enumerate() {
            let shell = line
                .split("sleep ")
                .nth(1)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if shell || sleeps.iter().any(|sleep| line.contains(sleep)) {
                let reason = "wait for an event with a deadline instead".to_owned();
                violations.push(Violation { path: path.clone(), line: at + 1, rule: "sleep", reason });
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn fragments_hold_no_queue_sizes() {
    let mut violations = Vec::new();
    for (path, text) in texts(&["pipelines/", "profiles/"], &["toml"]) {
        for (at, line) in text.lines().enumerate().filter(|_| path != "pipelines/queues.toml") {
            if ["max-size-", "max-buffers", "max-bytes"]
                .iter()
                .any(|name| line.trim_start().starts_with(name))
            {
                let reason = "queue sizes stand in `pipelines/queues.toml` alone".to_owned();
                violations.push(Violation { path: path.clone(), line: at + 1, rule: "queue", reason });
            }
        }
    }
    assert_none(&violations);
}

/// The rules broken by a file of this content, as `line: rule`.
fn broken(path: &str, text: &str) -> Vec<String> {
    let text = format!("//! What it is for.\n{text}");
    rules::all(&Source::new(path, &text)).iter().map(|v| format!("{}: {}", v.line, v.rule)).collect()
}

#[test]
fn each_rule_catches_what_breaks_it() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("src/plan/a.rs", "use crate::engine::Graph;", &["2: layer"]),
        ("src/plan/a.rs", "use crate::{config, media::{Codec, Fault}, http::Api};", &["2: layer"]),
        ("src/plan/deep/a.rs", "use super::super::super::engine::Graph;", &["2: layer"]),
        ("src/plan/a.rs", "fn a() { super::super::daemon::go() }", &["2: layer"]),
        ("src/plan/mod.rs", "#[cfg(test)]\nmod tests {\n    use super::super::engine;\n}", &["4: layer"]),
        ("src/sfu/router.rs", "use super::shell::Socket;", &["2: layer"]),
        ("src/whip/mod.rs", "use crate::sfu::Sfu;", &["2: layer"]),
        ("src/extra/mod.rs", "", &["1: layer"]),
        ("src/plan/a.rs", "use gstreamer as gst;", &["2: crate"]),
        ("src/http/a.rs", "fn a(b: &gst::Element) {}", &["2: crate"]),
        ("src/http/a.rs", "use gstreamer_app::AppSink;", &["2: crate"]),
        ("src/engine/a.rs", "use str0m::Rtc;", &["2: crate"]),
        ("src/sfu/peer.rs", "use quinn_udp::UdpSocketState;", &["2: crate"]),
        ("src/daemon/a.rs", "fn a() -> anyhow::Result<()> { Ok(()) }", &["2: crate"]),
        ("src/config/a.rs", "fn a() { std::fs::read(b); }", &["2: pure"]),
        ("src/config/a.rs", "use std::{env, fmt};", &["2: pure"]),
        ("src/sfu/a.rs", "use std::net::{IpAddr, UdpSocket};", &["2: pure"]),
        ("src/sfu/a.rs", "let now = Instant::now();", &["2: pure"]),
        ("src/lifecycle/mod.rs", "\n\nfn a() { std::thread::spawn(b); }", &["4: pure"]),
        ("src/media/a.rs", "#[derive(serde::Serialize)]\nstruct A;", &["2: serde"]),
        ("src/http/a.rs", "fn a() { unsafe { b() } }", &["2: unsafe"]),
        ("src/engine/a.rs", "queue.set_property(\"max-size-buffers\", 3u32);", &["2: queue"]),
        ("src/engine/a.rs", "AppSrc::builder().max_bytes(65536).build()", &["2: queue"]),
        ("src/plan/a.rs", "let line = \"queue max-size-time=100\";", &["2: queue"]),
        ("src/http/util.rs", "", &["1: name"]),
        (
            "src/http/a.rs",
            "struct StreamInfo;\nenum Base { A }\nmod helpers;",
            &["2: name", "3: name", "4: name"],
        ),
        ("src/http/a.rs", "#[cfg(test)]\nmod tests { fn a() { std::thread::sleep(b) } }", &["3: sleep"]),
        ("tests/it/a.rs", "async fn a() { tokio::time::sleep(b).await }", &["2: sleep"]),
    ];
    for (path, text, expected) in cases {
        assert_eq!(broken(path, text), *expected, "{path}: {text}");
    }
    let long = "fn a() {}\n".repeat(801);
    assert_eq!(broken("src/http/a.rs", &long), ["800: length"]);
    let undocumented = Source::new("src/http/a.rs", "fn a() {}");
    assert_eq!(rules::all(&undocumented).iter().map(|v| v.rule).collect::<Vec<_>>(), ["doc"]);
}

#[test]
fn the_rules_let_good_sources_pass() {
    let cases: &[(&str, &str)] = &[
        ("src/plan/a.rs", "use crate::media::Codec;\nuse super::types::Plan;\nuse crate::plan::b;"),
        ("src/plan/a.rs", "// use crate::engine::Graph;\n/* gst::init() /* nested */ unsafe */ fn a() {}"),
        ("src/plan/a.rs", "const A: &str = \"std::fs::read unsafe\";\nconst B: &str = r#\"a \" unsafe\"#;"),
        ("src/plan/a.rs", "fn a<'a>(b: &'a str) -> char { if b == \"x\" { '\"' } else { '\\'' } }"),
        ("src/plan/a.rs", "let names = [\"max-size-buffers\", \"max-size-time\"];\nlet n = 3;"),
        (
            "src/config/mod.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n    fn a() { std::fs::read(b); }\n}",
        ),
        ("src/sfu/a.rs", "use std::net::{IpAddr, SocketAddr};\nuse std::time::Instant;"),
        ("src/sfu/mod.rs", "pub mod shell;\npub use shell::Handle;\nuse self::shell::Thread;"),
        ("src/sfu/shell/mod.rs", "use std::net::UdpSocket;\nuse crate::telemetry::Counter;\nuse super::Sfu;"),
        ("src/device/ioctl.rs", "fn a() { unsafe { b() } }"),
        ("src/sfu/tests/world.rs", "let start = Instant::now();"),
        ("src/http/a.rs", "struct Database;\nfn handler() {}\nlet max_buffers = state.max_buffers;"),
        ("src/main.rs", "fn main() { capcast::cli::main() }"),
    ];
    for (path, text) in cases {
        assert_eq!(broken(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
