//! TOML's own errors, all of them, with a cure where one is known.

use std::ops::Range;

use toml::de::DeTable;

use super::tree::{self, Entry, Node, Place, Value};
use crate::config::{Complaint, Diagnostic, Diagnostics, Source};

/// Parses as much as can be parsed.
pub(super) fn parse(source: &Source, diagnostics: &mut Diagnostics) -> Node {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    let entries = tree::entries(table.into_inner(), 0, 0);
    let mut last_line = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        // One slip often trips the parser twice in its line; the first report is the telling one.
        let line = source.line_start(span.start);
        if last_line.replace(line) == Some(line) {
            continue;
        }
        let mut diagnostic = Diagnostic::error(source, span.clone(), words(source, error.message(), &span));
        if error.message().starts_with("duplicate key") {
            diagnostic.also = earlier(&entries, &source.text()[span.clone()], span.start)
                .map(|first| (first, "first given here".to_owned()));
        }
        diagnostics.push(diagnostic);
    }
    Node { place: Place { source: 0 }, span: 0..0, value: Value::Table(entries) }
}

fn words(_source: &Source, message: &str, _span: &Range<usize>) -> Complaint {
    Complaint::new(message)
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
