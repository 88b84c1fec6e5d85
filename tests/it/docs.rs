//! Every TOML block in every document, and every shipped file, is valid.
//!
//! A block says what it is after the word `toml`: nothing or `capcast` for `capcast.toml`, `profile`, `queues`, or
//! `fragment` with `source`, `encoder` or `output`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use capcast::config::{
    BoxConfig, Diagnostics, KnownEncoders, Look, Source, parse_box, parse_box_with, parse_profile_among,
};
use capcast::daemon::files::{Loaded, Sources};
use capcast::plan::{FragmentKind, parse_fragment, parse_queues};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the source tree, relative to it, whose name ends so.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut files = super::tidy::source::files_below(root());
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    files
}

fn shipped() -> Loaded {
    let (loaded, problems) = Sources::shipped().load(&[]);
    loaded.unwrap_or_else(|| panic!("{}", problems.render(Look::PLAIN)))
}

/// One fenced block: what stands after the fence, the line of the fence from 1, the text.
#[derive(Debug, PartialEq)]
struct Block {
    info: String,
    line: usize,
    text: String,
}

/// The fenced blocks of a Markdown document (CommonMark §4.5), without the indentation of their fence.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize, Block)> = None;
    for (index, line) in document.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let mark = content.chars().next().filter(|c| matches!(c, '`' | '~')).unwrap_or(' ');
        let fence: String = content.chars().take_while(|c| *c == mark).collect();
        match &mut open {
            None if fence.len() >= 3 => {
                let info = content[fence.len()..].trim().to_owned();
                open = Some((fence, indent, Block { info, line: index + 1, text: String::new() }));
            }
            None => {}
            Some((begun, ..)) if fence.starts_with(&**begun) && content.trim_end() == fence => {
                blocks.extend(open.take().map(|(.., block)| block));
            }
            Some((_, indent, block)) => {
                let blank = line.len() - line.trim_start().len();
                block.text.push_str(&line[blank.min(*indent)..]);
                block.text.push('\n');
            }
        }
    }
    blocks.extend(open.map(|(.., block)| block));
    blocks
}

/// Everything wrong with a block; `None` if it is not TOML.
fn problems(block: &Block, file: &str, shipped: &Loaded) -> Option<Diagnostics> {
    let mut words = block.info.split_whitespace();
    if words.next()? != "toml" {
        return None;
    }
    // Lines as in the document, so that the diagnostic leads there.
    let source = Source::new(file, &("\n".repeat(block.line) + &block.text));
    let encoders: KnownEncoders =
        shipped.fragments.encoders.iter().map(|(name, fragment)| (name.clone(), fragment.codec)).collect();
    Some(match words.collect::<Vec<_>>()[..] {
        [] | ["capcast"] => parse_box_with(source, &[], None).1,
        ["profile"] => parse_profile_among("example", source, Some(&encoders)).1,
        ["fragment", "source"] => parse_fragment(FragmentKind::Source, "example", source).1,
        ["fragment", "encoder"] => parse_fragment(FragmentKind::Encoder, "example", source).1,
        ["fragment", "output"] => parse_fragment(FragmentKind::Output, "example", source).1,
        ["queues"] => parse_queues(source).1,
        _ => panic!(
            "{file}:{}: a block is `toml`, `toml profile`, `toml fragment KIND` or `toml queues`",
            block.line
        ),
    })
}

#[test]
fn every_block_in_every_document_is_valid() {
    let shipped = shipped();
    let documents = files(".md");
    assert!(!documents.is_empty(), "no documents below {}", root().display());
    let mut wrong = String::new();
    for path in documents {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for block in blocks(&text) {
            if let Some(problems) = problems(&block, &path.display().to_string(), &shipped) {
                wrong.push_str(&problems.render(Look::PLAIN));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn blocks_are_found_and_judged() {
    let document = "# Title\n\n```toml\nprofil = 1\n```\n\n1. so:\n\n   ~~~toml profile\n   [video]\n     x = 1\n   ~~~\n\
                    ````text\n```toml\n````\n```toml\nprofile = \"x\"\n";
    let found = blocks(document);
    let infos: Vec<(&str, usize)> = found.iter().map(|block| (&*block.info, block.line)).collect();
    assert_eq!(infos, [("toml", 3), ("toml profile", 9), ("text", 13), ("toml", 16)]);
    assert_eq!(found[1].text, "[video]\n  x = 1\n");
    let shipped = shipped();
    let report = |block| problems(block, "a.md", &shipped).map(|problems| problems.render(Look::PLAIN));
    assert!(report(&found[0]).is_some_and(|report| report.contains("a.md:4:1")), "{:?}", report(&found[0]));
    assert!(report(&found[1]).is_some_and(|report| report.contains("unknown key `x`")));
    assert_eq!(report(&found[2]), None);
    assert_eq!(report(&found[3]).as_deref(), Some(""));
}

#[test]
#[should_panic(expected = "a.md:1: a block is")]
fn no_block_is_exempt() {
    let block = Block { info: "toml ignore".to_owned(), line: 1, text: String::new() };
    problems(&block, "a.md", &shipped());
}

/// The shipped example with its commented keys made real: `# key = value` and `# [table]`.
fn uncommented() -> String {
    let text = fs::read_to_string(root().join("packaging/capcast.toml")).expect("it is there");
    let key = |line: &str| {
        let first = line.split('=').next().unwrap_or_default().trim();
        line.starts_with('[')
            || line.contains(" = ") && first.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(commented) if key(commented) => commented,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_packaged_configuration_is_the_default_and_so_are_its_commented_keys() {
    let text = fs::read_to_string(root().join("packaging/capcast.toml")).unwrap();
    let (config, problems) = parse_box("packaging/capcast.toml", &text);
    assert_eq!(config, Some(BoxConfig::default()), "{}", problems.render(Look::PLAIN));
    let (config, problems) = parse_box("packaging/capcast.toml", &uncommented());
    assert!(problems.is_empty(), "{}", problems.render(Look::PLAIN));
    let mut config = config.unwrap();
    assert_eq!((config.outputs.len(), config.sfu.publishers.len(), config.sfu.views.len()), (1, 1, 1));
    assert!(config.sfu.jwt.take().is_some() && config.sfu.webhook.take().is_some());
    assert!(config.http.tls.take().is_some() && config.http.control_token.take().is_some());
    config.outputs.clear();
    config.sfu.publishers.clear();
    config.sfu.views.clear();
    assert_eq!(config, BoxConfig::default(), "an uncommented key is not the default");
}

/// The parser names the keys it knows when it meets one that it does not: each of them is in the packaged file.
#[test]
fn the_packaged_configuration_shows_every_key() {
    let text = uncommented();
    let mut asked = String::from("qqqqqqqqqq = 1\n");
    let mut shown: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut header = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            header = line.trim().to_owned();
            asked.push_str(&format!("{line}\nqqqqqqqqqq = 1\n"));
        } else {
            asked.push_str(&format!("{line}\n"));
        }
        if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            shown.entry(header.clone()).or_default().push(key.trim());
        }
    }
    let (_, problems) = parse_box("packaging/capcast.toml", &asked);
    let mut tables = 0;
    for problem in problems.iter().filter(|problem| problem.message.contains("qqqqqqqqqq")) {
        tables += 1;
        let header = problem.message.split('`').nth(3).unwrap_or_default();
        let known = problem.hint.as_deref().unwrap_or_default();
        for key in known.split('`').skip(1).step_by(2) {
            let path =
                format!("{}.{key}]", header.trim_matches(['[', ']'])).trim_start_matches('.').to_owned();
            let as_table = format!("[{path}");
            let is_shown =
                shown.get(header).is_some_and(|keys| keys.contains(&key)) || text.contains(&as_table);
            // Alternatives of a key that is shown are named in its comment.
            assert!(is_shown || text.contains(&format!("{key} ")), "`{key}` of `{header}` is not shown");
        }
    }
    assert_eq!(tables, 9, "{}", problems.render(Look::PLAIN));
}

/// Fragments, profiles and queue sizes of the tree, each under its own name for a good message.
#[test]
fn shipped_files_are_valid() {
    let mut sources = Sources::default();
    sources.overlay(root());
    let counted = sources.counted();
    assert_eq!(counted, Sources::shipped().counted(), "what is embedded is what is in the tree");
    let (loaded, problems) = sources.load(&[]);
    assert!(loaded.is_some() && problems.is_empty(), "{}", problems.render(Look::PLAIN));
}
