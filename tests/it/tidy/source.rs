//! Just enough of Rust's syntax to ask a source file what it names: tokens, paths, test regions.

use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// One source file, read and cut into tokens.
pub(super) struct Source {
    /// Relative to the package's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Inside an item under `#[cfg(test)]`.
    pub(super) test: bool,
    /// How many `mod name { … }` of this file enclose it.
    pub(super) depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Number,
    /// A string's content, without quotes.
    Text,
    /// One character, or `::`.
    Punct,
}

/// A path as written, groups expanded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
#[derive(Debug, PartialEq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    pub(super) test: bool,
    pub(super) depth: usize,
    /// In a `use` declaration.
    pub(super) imported: bool,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Source {
        let mut tokens = tokens(text);
        mark_regions(&mut tokens, path.ends_with("/tests.rs") || path.contains("/tests/"));
        Source { path: path.to_owned(), text: text.to_owned(), tokens }
    }

    /// The module this file is, below the crate: `src/sfu/shell/mod.rs` is `sfu::shell`.
    pub(super) fn module(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }

    /// Every path and imported name of the file.
    pub(super) fn named(&self) -> Vec<Named> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let token = &self.tokens[at];
            let imported = token.text == "use" && token.kind == Kind::Ident;
            if imported {
                at += 1;
            } else if token.kind != Kind::Ident {
                at += 1;
                continue;
            }
            let before = all.len();
            at = self.path_at(at, &[], imported, &mut all);
            if !imported {
                // A lone identifier is no path.
                let kept = all.split_off(before).into_iter().filter(|n: &Named| n.segments.len() > 1);
                all.extend(kept.collect::<Vec<_>>());
            }
        }
        all
    }

    /// Reads one path or group at `at`; gives the index after it (always greater than `at`).
    fn path_at(&self, mut at: usize, prefix: &[String], imported: bool, all: &mut Vec<Named>) -> usize {
        let start = at;
        let mut segments = prefix.to_vec();
        while let Some(token) = self.tokens.get(at) {
            match (token.kind, token.text.as_str()) {
                (Kind::Punct, "::") if at == start => at += 1,
                (Kind::Ident, _) => {
                    segments.push(token.text.clone());
                    at += 1;
                    if !self.is_punct(at, "::") {
                        break;
                    }
                    at += 1;
                }
                (Kind::Punct, "*") if imported => {
                    segments.push("*".to_owned());
                    at += 1;
                    break;
                }
                (Kind::Punct, "{") if imported => {
                    at += 1;
                    while at < self.tokens.len() && !self.is_punct(at, "}") {
                        if self.is_punct(at, ",") {
                            at += 1;
                            continue;
                        }
                        at = self.path_at(at, &segments, imported, all);
                        // `as name`
                        while at < self.tokens.len() && !self.is_punct(at, ",") && !self.is_punct(at, "}") {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                _ => break,
            }
        }
        if let Some(token) = self.tokens.get(start).filter(|_| segments.len() > prefix.len()) {
            let (line, test, depth) = (token.line, token.test, token.depth);
            all.push(Named { line, segments, test, depth, imported });
        }
        at.max(start + 1)
    }

    pub(super) fn is_punct(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.kind == Kind::Punct && t.text == text)
    }
}

/// Every file below `root` that is part of the source tree, relative to it, in order.
pub(in super::super) fn files_below(root: &Path) -> Vec<PathBuf> {
    const SKIPPED: [&str; 7] =
        [".git", "target", "node_modules", "dist", "__pycache__", "artifacts", "corpus"];
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the source tree is readable") {
            let entry = entry.expect("a folder of the source tree is readable");
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found.iter().map(|path| path.strip_prefix(root).expect("found below it").to_owned()).collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut all = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let first_line = line;
        let (kind, text) = match c {
            '\n' => {
                line += 1;
                continue;
            }
            c if c.is_whitespace() => continue,
            '/' if chars.peek() == Some(&'/') => {
                while chars.peek().is_some_and(|&c| c != '\n') {
                    chars.next();
                }
                continue;
            }
            '/' if chars.peek() == Some(&'*') => {
                line += skip_block_comment(&mut chars);
                continue;
            }
            '"' => (Kind::Text, quoted(&mut chars)),
            '\'' => match character(&mut chars) {
                Some(text) => (Kind::Text, text),
                None => continue,
            },
            c if c.is_ascii_digit() => (Kind::Number, word(c, &mut chars)),
            c if c.is_alphabetic() || c == '_' => {
                let word = word(c, &mut chars);
                match (word.as_str(), chars.peek()) {
                    ("r" | "br" | "cr", Some('"' | '#')) => raw(word, &mut chars),
                    ("b" | "c", Some('"')) => {
                        chars.next();
                        (Kind::Text, quoted(&mut chars))
                    }
                    _ => (Kind::Ident, word),
                }
            }
            ':' if chars.peek() == Some(&':') => {
                chars.next();
                (Kind::Punct, "::".to_owned())
            }
            c => (Kind::Punct, c.to_string()),
        };
        if kind == Kind::Text {
            line += text.matches('\n').count();
        }
        all.push(Token { line: first_line, kind, text, test: false, depth: 0 });
    }
    all
}

fn word(first: char, chars: &mut Peekable<impl Iterator<Item = char>>) -> String {
    let mut word = String::from(first);
    while let Some(c) = chars.next_if(|&c| c.is_alphanumeric() || c == '_') {
        word.push(c);
    }
    word
}

fn quoted(chars: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next().filter(|&c| c == '\n')),
            c => text.push(c),
        }
    }
    text
}

/// After an opening `'`: a character's content, or nothing for a lifetime (whose name follows as an identifier).
fn character(chars: &mut Peekable<impl Iterator<Item = char> + Clone>) -> Option<String> {
    let mut ahead = chars.clone();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), escaped) => {
            chars.next();
            chars.next();
            while chars.next().is_some_and(|c| c != '\'') {}
            escaped.map(String::from)
        }
        (Some(c), Some('\'')) => {
            chars.next();
            chars.next();
            Some(c.to_string())
        }
        _ => None,
    }
}

/// After `r`: a raw string, or the raw identifier's `#`, which is dropped.
fn raw(word: String, chars: &mut Peekable<impl Iterator<Item = char>>) -> (Kind, String) {
    let mut hashes = 0;
    while chars.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if chars.next_if_eq(&'"').is_none() {
        return (Kind::Ident, word);
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let mut text = String::new();
    while !text.ends_with(&end) {
        match chars.next() {
            Some(c) => text.push(c),
            None => return (Kind::Text, text),
        }
    }
    text.truncate(text.len() - end.len());
    (Kind::Text, text)
}

/// After `/` with `*` next: skips to the end of the comment, which nests; gives the lines in it.
fn skip_block_comment(chars: &mut Peekable<impl Iterator<Item = char>>) -> usize {
    let (mut depth, mut lines, mut last) = (0, 0, '/');
    for c in chars {
        match (last, c) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            (_, '\n') => lines += 1,
            _ => {}
        }
        // A character serves one mark only: `/*/` is not closed.
        last = if matches!((last, c), ('/', '*') | ('*', '/')) { ' ' } else { c };
        if depth == 0 {
            break;
        }
    }
    lines
}

/// Marks what stands under `#[cfg(test)]` and inside `mod name { … }`.
fn mark_regions(tokens: &mut [Token], whole_file_is_test: bool) {
    let mut open: Vec<(bool, bool)> = Vec::new(); // per `{`: (a module's, test)
    let mut test_next = false;
    for at in 0..tokens.len() {
        let is = |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|t| t.text == text);
        if is(0, "#") && is(1, "[") && is(2, "cfg") && is(3, "(") && is(4, "test") && is(5, ")") {
            test_next = true;
        }
        let module = at >= 2 && tokens[at - 2].text == "mod" && is(0, "{");
        let test = whole_file_is_test || test_next || open.iter().any(|&(_, test)| test);
        let depth = open.iter().filter(|&&(module, _)| module).count();
        let is_punct = tokens[at].kind == Kind::Punct;
        match tokens[at].text.as_str() {
            "{" if is_punct => {
                open.push((module, test));
                test_next = false;
            }
            "}" if is_punct => {
                open.pop();
            }
            ";" if is_punct => test_next = false,
            _ => {}
        }
        tokens[at].test = test;
        tokens[at].depth = depth;
    }
}
