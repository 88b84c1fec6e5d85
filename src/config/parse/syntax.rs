//! TOML's own errors, all of them, in words that lead to the cure.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeTable;

use super::ENOUGH;
use super::suggest::nearest;
use super::tree::{self, Entry, Node, Place, Value};
use crate::config::diagnostic::quoted;
use crate::config::{Complaint, Diagnostic, Diagnostics, Source};

/// What could be parsed, and the lines of which nothing more can be said.
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) broken: Vec<Range<usize>>,
}

/// Parses as much as can be parsed.
pub(super) fn parse(source: &Source, diagnostics: &mut Diagnostics) -> Parsed {
    let begin = source.text().len() - source.text().trim_start().len();
    if source.text()[begin..].starts_with(['{', '<']) {
        let complaint = Complaint::new("this is not TOML")
            .hint("write `key = value` lines, and `[table]` before those that belong together");
        diagnostics.push(Diagnostic::error(source, begin..begin + 1, complaint));
        let root = Node { place: Place { source: 0 }, span: 0..0, value: Value::Table(Vec::new()) };
        let everything = 0..source.text().len();
        return Parsed { root, broken: vec![everything] };
    }
    let (table, errors) = DeTable::parse_recoverable(source.text());
    let entries = tree::entries(table.into_inner(), 0, 0);
    // The parser is blind to what follows a header that is not closed, so it is asked again without such headers.
    let closed = without_open_headers(source.text(), &errors);
    let (table, without) = DeTable::parse_recoverable(&closed);
    let others = tree::entries(table.into_inner(), 0, 0);
    let said = |error: &toml::de::Error| (error.message().to_owned(), error.span().unwrap_or(0..0));
    let without = without.iter().map(said).filter(|(message, _)| !message.starts_with("duplicate key"));
    let mut errors: Vec<(String, Range<usize>, &[Entry])> =
        errors.iter().map(said).map(|(message, span)| (message, span, &*entries)).collect();
    errors.extend(without.map(|(message, span)| (message, span, &*others)));
    // Widest first: what else is wrong inside an unclosed list follows from that.
    let runs_on = |message: &str| {
        message.starts_with("unclosed array,") || message.starts_with("unclosed inline table")
    };
    errors.sort_by_key(|(message, _, _)| !runs_on(message));
    let line_starts: Vec<usize> =
        std::iter::once(0).chain(source.text().match_indices('\n').map(|(at, _)| at + 1)).collect();
    let (mut broken, mut told): (Vec<Range<usize>>, Vec<Range<usize>>) = Default::default();
    for (message, span, entries) in errors {
        let line = line_starts[line_starts.partition_point(|start| *start <= span.start).saturating_sub(1)];
        // One slip often trips the parser twice in its line; the first report is the telling one.
        let is_told = |told: &[Range<usize>], at: usize, line: usize| {
            told.iter().any(|lines| lines.contains(&at) || lines.start == line)
        };
        if is_told(&told, span.start, line) {
            continue;
        }
        if told.len() == ENOUGH {
            broken.push(0..source.text().len());
            break;
        }
        let slip = Slip::new(source, entries, &message, span);
        if is_told(&told, slip.span.start, slip.told.start) {
            continue;
        }
        let mut diagnostic = Diagnostic::error(source, slip.span, slip.complaint);
        diagnostic.also = slip.also.map(|first| (first, "first here".to_owned()));
        told.push(slip.told);
        broken.push(slip.broken);
        diagnostics.push(diagnostic);
    }
    let root = Node { place: Place { source: 0 }, span: 0..0, value: Value::Table(entries) };
    Parsed { root, broken }
}

/// One of the parser's errors, put better.
struct Slip {
    span: Range<usize>,
    complaint: Complaint,
    also: Option<Range<usize>>,
    /// Whole lines: what else the parser says of them follows from this.
    told: Range<usize>,
    /// Whole lines that are not judged any further.
    broken: Range<usize>,
}

impl Slip {
    fn new(source: &Source, entries: &[Entry], message: &str, span: Range<usize>) -> Slip {
        let text = source.text();
        let span = super::super::source::floor(text, span.start)..super::super::source::floor(text, span.end);
        let line = source.line_start(span.start)..source.line_end(span.start);
        let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
        let slip = |span: Range<usize>, complaint: Complaint| {
            let told = source.line_start(span.start)..source.line_end(span.start) + 1;
            Slip { broken: told.clone(), told, span, complaint, also: None }
        };
        match what {
            "duplicate key" => Slip {
                also: match text[line.clone()].trim().starts_with('[') {
                    true => {
                        earlier_header(&text[..line.start], text[line.clone()].trim(), &text[span.clone()])
                    }
                    false => earlier(entries, &text[span.clone()], span.start),
                },
                ..slip(span.clone(), duplicate(&text[span], &text[line]))
            },
            "unclosed array" | "unclosed inline table" => {
                let (name, bracket) = if what == "unclosed array" { ("list", "]") } else { ("table", "}") };
                let open = container_at(entries, span.start).map_or(span, |value| value.span.clone());
                let complaint = Complaint::new(format!("this {name} is never closed"))
                    .hint(format!("end it with `{bracket}`"));
                Slip {
                    broken: open.clone(),
                    told: open.clone(),
                    ..slip(open.start..open.start + 1, complaint)
                }
            }
            "unclosed table" | "unclosed array table" => {
                let written = text[line.clone()].trim_end();
                let name = written.trim_matches(['[', ']', ' ', '\t']);
                let whole =
                    if what == "unclosed table" { format!("[{name}]") } else { format!("[[{name}]]") };
                let complaint =
                    Complaint::new("a table's header is not closed").hint(format!("write `{whole}`"));
                // The keys below it have lost their table.
                let begin = line.start + (written.len() - written.trim_start().len());
                Slip {
                    broken: line.start..next_header(text, line.end),
                    ..slip(begin..line.start + written.len(), complaint)
                }
            }
            "key with no value" => {
                let (begin, complaint) = bare_key(&text[line.clone()]);
                slip(line.start + begin..line.end, complaint)
            }
            "unexpected key or value" => {
                let end = line.end.max(span.start);
                let complaint =
                    Complaint::new(format!("unexpected {}", quoted(text[span.start..end].trim_end())))
                        .hint("one key and value, or one header, per line; comments begin with `#`");
                let slip = slip(span.start..end, complaint);
                match text[span.start..].starts_with('[') {
                    true => Slip { broken: line.start..next_header(text, line.end), ..slip },
                    false => slip,
                }
            }
            "invalid unquoted key" if !span.is_empty() => {
                let key = quoted(&text[span.clone()]);
                let complaint = Complaint::new(format!("{key} cannot stand in a key"))
                    .hint("keys are made of A-Z, a-z, 0-9, `_` and `-`");
                slip(span, complaint)
            }
            "unquoted keys cannot be empty" => {
                slip(span, Complaint::new("a name is missing here").hint("write `key = value`, or `[table]`"))
            }
            "invalid basic string" | "invalid literal string"
                if matches!(expected, "`\"`" | "`'`" | "'`'") =>
            {
                let open = value_at(entries, span.start).map_or(span, |value| value.span.clone());
                let quote = text[open.start..].chars().next().filter(|c| *c == '\'').unwrap_or('"');
                let complaint = Complaint::new("this string is never closed")
                    .hint(format!("end it with `{quote}`, on the same line"));
                slip(open.start..line.end.max(open.start), complaint)
            }
            "invalid basic string" | "invalid literal string" | "invalid multi-line basic string"
                if text[span.clone()].chars().all(char::is_control) && !span.is_empty() =>
            {
                let code = text[span.clone()].chars().next().map_or(0, u32::from);
                let complaint = Complaint::new(format!("a control character, U+{code:04X}, in a string"))
                    .hint(format!("take it out, or write `\\u{code:04x}` in double quotes"));
                slip(span, complaint)
            }
            "missing comma between array elements" => {
                slip(span, Complaint::new("a comma is missing").hint("put `,` between the items of a list"))
            }
            "missing comma between key-value pairs" => slip(
                span,
                Complaint::new("a comma is missing").hint("put `,` between the keys of an inline table"),
            ),
            "missing escaped value" => {
                let end =
                    text[span.start..].char_indices().nth(1).map_or(line.end, |(at, _)| span.start + at);
                let begin = span.start.saturating_sub(1);
                let complaint = Complaint::new(format!("{} is no escape", quoted(&text[begin..end])))
                    .hint("write `\\\\` for a backslash, or put the text in single quotes: 'C:\\path'");
                slip(begin..end, complaint)
            }
            _ if what.contains("recursion") || what.contains("recurse") => {
                slip(span, Complaint::new("nested too deeply").hint("no configuration needs that"))
            }
            _ => match value_at(entries, span.start)
                .filter(|value| (line.start..=line.end).contains(&value.span.start))
            {
                Some(value) if is_scalar_error(what) => {
                    let written = &text[value.span.start..value.span.end.min(line.end).max(value.span.start)];
                    slip(value.span.clone(), bare_value(written, &text[line], what, expected))
                }
                _ => slip(span, plain(what, expected)),
            },
        }
    }
}

/// The text with each header that is not closed made a comment of the same length.
fn without_open_headers<'a>(text: &'a str, errors: &[toml::de::Error]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    for error in errors.iter().filter(|error| {
        error.message().starts_with("unclosed table,") || error.message().starts_with("unclosed array table,")
    }) {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if let Some(open) = text[line..].find('[') {
            text.to_mut().replace_range(line + open..line + open + 1, "#");
        }
    }
    text
}

/// Where the next line begins that is a header.
fn next_header(text: &str, from: usize) -> usize {
    text[from..].find("\n[").map_or(text.len(), |at| from + at + 1)
}

fn plain(what: &str, expected: &str) -> Complaint {
    match expected {
        "" | "nothing" => Complaint::new(what),
        expected => Complaint::new(what).hint(format!("expected {expected}")),
    }
}

fn is_scalar_error(what: &str) -> bool {
    ["string values", "invalid boolean", "unexpected leading", "`_` may", "invalid ", "unexpected sign"]
        .iter()
        .any(|start| what.starts_with(start))
        && !what.ends_with("string")
}

/// A value that is none; most often a string without its quotes.
fn bare_value(written: &str, line: &str, what: &str, expected: &str) -> Complaint {
    let written = written.trim();
    let lower = written.to_lowercase();
    if written.is_empty() {
        let key = line.split('=').next().unwrap_or_default().trim();
        return Complaint::new(format!("{} has no value", quoted(key)))
            .hint(format!("write `{key} = …`, or take the line out for the default"));
    }
    let truth = nearest(written, ["true", "false"]).filter(|word| *word == lower || lower.len() > 3);
    if let Some(word) = truth.filter(|_| lower.chars().all(char::is_alphabetic)) {
        return Complaint::new(format!("{} is not a value", quoted(written)))
            .hint(format!("write `{word}`, in lower case"));
    }
    if let "yes" | "on" | "no" | "off" = &*lower {
        let word = if matches!(&*lower, "yes" | "on") { "true" } else { "false" };
        return Complaint::new(format!("{} is not a value", quoted(written)))
            .hint(format!("write `{word}`, or `\"{written}\"` if a string is meant"));
    }
    let typographic = ['“', '”', '„', '‘', '’', '«', '»'];
    if written.starts_with(typographic) {
        let inner = written.trim_matches(typographic);
        return Complaint::new("typographic quotes are no quotes").hint(format!("write `\"{inner}\"`"));
    }
    if let ("unexpected leading zero", true) = (what, written.bytes().all(|b| b.is_ascii_digit())) {
        let number = written.trim_start_matches('0');
        return Complaint::new("a number cannot begin with 0")
            .hint(format!("write `{}`", if number.is_empty() { "0" } else { number }));
    }
    if written.bytes().all(|b| b.is_ascii_digit() || b"+-_.:eETZ".contains(&b)) && written != "+" {
        return plain(what, expected);
    }
    let message = "a string must stand in quotes";
    match written.contains(['"', '\\', '\'']) {
        true => Complaint::new(message),
        false => Complaint::new(message).hint(format!("write `\"{written}\"`")),
    }
}

/// A line that is no `key = value`: where its text begins, and why it is none.
fn bare_key(line: &str) -> (usize, Complaint) {
    let written = line.trim_start();
    let begin = line.len() - written.len();
    let complaint = match written.split_once(':') {
        _ if written.starts_with("//") || written.starts_with(';') || written.starts_with("--") => {
            Complaint::new("this is no comment").hint("comments begin with `#`")
        }
        Some((key, value)) if !written.contains('=') => Complaint::new(
            "key and value are joined by `=`, not `:`",
        )
        .hint(format!("write `{} = {}`", key.trim(), value.trim())),
        _ => match written.split_once('=') {
            Some((key, _)) if key.trim().contains(' ') => {
                let joined = key.split_whitespace().collect::<Vec<_>>().join("_");
                Complaint::new("a key cannot hold blanks").hint(format!("such as `{joined} = …`"))
            }
            _ => Complaint::new("a key without a value").hint("write `key = value`"),
        },
    };
    (begin, complaint)
}

fn duplicate(key: &str, line: &str) -> Complaint {
    let header = line.trim();
    let complaint = Complaint::new(format!("{} is defined twice", quoted(key))).label("again here");
    match header.strip_prefix('[') {
        Some(_) if header.starts_with("[[") => {
            complaint.hint(format!("write it as a list each time: `{header}`"))
        }
        Some(_) => complaint.hint(format!("put the lines below under the first `{header}`")),
        None => complaint.hint("keep one of the two"),
    }
}

/// The innermost value whose text reaches to or around `offset`.
fn value_at(entries: &[Entry], offset: usize) -> Option<&Node> {
    let around = |node: &Node| node.span.start <= offset && offset <= node.span.end;
    entries.iter().map(|entry| &entry.node).find_map(|node| innermost(node, &around))
}

/// The innermost list or inline table that is still open at `offset`.
fn container_at(entries: &[Entry], offset: usize) -> Option<&Node> {
    let holds = |node: &Node| matches!(node.value, Value::List(_) | Value::Table(_));
    let around = |node: &Node| holds(node) && node.span.start < offset && offset <= node.span.end;
    entries.iter().map(|entry| &entry.node).find_map(|node| innermost(node, &around))
}

fn innermost<'a>(node: &'a Node, around: &impl Fn(&Node) -> bool) -> Option<&'a Node> {
    let inner = match &node.value {
        Value::Table(entries) => entries.iter().find_map(|entry| innermost(&entry.node, around)),
        Value::List(items) => items.iter().find_map(|item| innermost(item, around)),
        _ => None,
    };
    inner.or_else(|| around(node).then_some(node))
}

/// Where the key stands in the first line that is `header`.
fn earlier_header(text: &str, header: &str, key: &str) -> Option<Range<usize>> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim() == header {
            let start = at + line.rfind(key)?;
            return Some(start..start + key.len());
        }
        at += line.len();
    }
    None
}

/// The last key called `key` before `offset`.
fn earlier(entries: &[Entry], key: &str, offset: usize) -> Option<Range<usize>> {
    let key = key.trim_matches(['"', '\'']);
    entries.iter().filter_map(|entry| in_entry(entry, key, offset)).max_by_key(|span| span.start)
}

fn in_entry(entry: &Entry, key: &str, offset: usize) -> Option<Range<usize>> {
    let own = (entry.key == key && entry.key_span.start < offset).then(|| entry.key_span.clone());
    own.into_iter().chain(in_node(&entry.node, key, offset)).max_by_key(|span| span.start)
}

fn in_node(node: &Node, key: &str, offset: usize) -> Option<Range<usize>> {
    match &node.value {
        Value::Table(entries) => earlier(entries, key, offset),
        Value::List(items) => {
            items.iter().filter_map(|item| in_node(item, key, offset)).max_by_key(|span| span.start)
        }
        _ => None,
    }
}
