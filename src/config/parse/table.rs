//! Asking a table for its keys.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use super::suggest::{listed, nearest};
use super::tree::{Entry, Node, Value};
use super::{Complaint, Document, FromText, Item};

/// A table whose reader asks for every key it knows. What nobody asked for when it is dropped is an unknown key.
#[derive(Debug)]
pub struct Table<'a> {
    document: &'a Document,
    node: &'a Node,
    /// As written in a header: `[video]`, `[[output]]`; empty for the top level.
    header: String,
    known: Vec<&'static str>,
    /// Forbidden keys that are here, and what was meant.
    forbidden: Vec<(&'static str, &'static str)>,
    /// Any key may be here.
    open: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(document: &'a Document, node: &'a Node, header: String) -> Table<'a> {
        Table { document, node, header, known: Vec::new(), forbidden: Vec::new(), open: false }
    }

    /// The value of a key, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<Item<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.find(key)
    }

    /// The value of a key that must be there; `example` is a whole line or header, such as `codec = "vp9"`.
    pub fn need(&mut self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.lacks(key, example);
        }
        item
    }

    /// A string of a type with a text form, if it is there: `table.text::<Bitrate>("bitrate")`.
    pub fn text<T: FromText>(&mut self, key: &'static str) -> Option<T> {
        self.get(key)?.text()
    }

    /// A string of a type with a text form that must be there.
    pub fn need_text<T: FromText>(&mut self, key: &'static str) -> Option<T> {
        self.need(key, &format!("{key} = \"{}\"", T::EXAMPLE))?.text()
    }

    /// Any string, if it is there; `example` without quotes.
    pub fn string(&mut self, key: &'static str, example: &str) -> Option<&'a str> {
        self.get(key)?.string(example)
    }

    /// Any string that must be there; `example` without quotes.
    pub fn need_string(&mut self, key: &'static str, example: &str) -> Option<&'a str> {
        self.need(key, &format!("{key} = \"{example}\""))?.string(example)
    }

    /// One of a few words, if it is there; `what` names the kind of word ("speed").
    pub fn word<T: Copy>(&mut self, key: &'static str, what: &str, words: &[(&str, T)]) -> Option<T> {
        self.get(key)?.word(what, words)
    }

    /// One of a few words that must be there.
    pub fn need_word<T: Copy>(&mut self, key: &'static str, what: &str, words: &[(&str, T)]) -> Option<T> {
        let example = words.first().map_or("", |(word, _)| word);
        self.need(key, &format!("{key} = \"{example}\""))?.word(what, words)
    }

    /// `true` or `false`, if it is there.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    /// A whole number within bounds, if it is there.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        self.get(key)?.integer(bounds)
    }

    /// A table below this one, if it is there.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.get(key)?.table()
    }

    /// A table below this one that must be there; `example` is what to write under its header.
    pub fn need_table(&mut self, key: &'static str, example: &str) -> Option<Table<'a>> {
        let header = self.path(key);
        self.need(key, &format!("[{header}]` with `{example}"))?.table()
    }

    /// The tables of a list (`[[key]]`); empty when there are none.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        self.get(key).map(|item| item.tables()).unwrap_or_default()
    }

    /// Every entry in the order written, for tables with free keys; none of them is unknown then.
    pub fn entries(&mut self) -> Vec<Item<'a>> {
        self.open = true;
        let Value::Table(entries) = &self.node.value else { return Vec::new() };
        entries.iter().map(|entry| Item::new(self.document, entry, self.path(&entry.key))).collect()
    }

    /// A key that must not be here, though people write it in place of `instead`: reported with its own words.
    pub fn forbid(&mut self, key: &'static str, instead: &'static str, complaint: Complaint) {
        if let Some(item) = self.find(key) {
            item.complain_at_key(complaint);
            self.forbidden.push((key, instead));
        }
    }

    /// Whether a key is here, without asking for it.
    pub fn has(&self, key: &str) -> bool {
        matches!(&self.node.value, Value::Table(entries) if entries.iter().any(|entry| entry.key == key))
    }

    /// A problem of the table as a whole, shown at its header.
    pub fn complain(&self, complaint: Complaint) {
        self.document.complain(self.node.place, self.node.span.clone(), complaint);
    }

    /// Reports a key that is missing; `example` is the line to add.
    pub fn lacks(&self, key: &str, example: &str) {
        if self.document.is_broken() || self.is_misspelt(key) {
            return;
        }
        let place = if self.header.is_empty() { String::new() } else { format!(" in `{}`", self.header) };
        self.complain(Complaint::new(format!("missing `{key}`{place}")).hint(format!("add `{example}`")));
    }

    /// Whether the missing key is here by a wrong name, which is reported by itself.
    fn is_misspelt(&self, key: &str) -> bool {
        let Value::Table(entries) = &self.node.value else { return false };
        let slip = |entry: &Entry| {
            !self.known.contains(&&*entry.key) && nearest(&entry.key, [key]).is_some() && entry.key != key
        };
        entries.iter().any(slip) || self.forbidden.iter().any(|(_, instead)| *instead == key)
    }

    fn find(&self, key: &str) -> Option<Item<'a>> {
        let Value::Table(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(Item::new(self.document, entry, self.path(&entry.key)))
    }

    /// `video.bitrate`, or `bitrate` at the top level.
    fn path(&self, key: &str) -> String {
        match self.header.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            header => format!("{header}.{key}"),
        }
    }

    fn unknown(&self, key: &str) -> Complaint {
        let place = if self.header.is_empty() { String::new() } else { format!(" in `{}`", self.header) };
        let complaint =
            Complaint::new(format!("unknown key {}{place}", super::super::diagnostic::quoted(key)));
        let advice = self.document.advice.iter().find(|(tried, _)| *tried == key);
        match (nearest(key, self.known.iter().copied()), advice) {
            (Some(meant), _) => complaint.hint(format!("did you mean `{meant}`?")),
            (None, Some((_, advice))) => complaint.hint(*advice),
            (None, None) => complaint.hint(format!("known here: {}", listed(self.known.iter().copied()))),
        }
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let Value::Table(entries) = &self.node.value else { return };
        if self.open {
            return;
        }
        let asked = |key: &str| {
            self.known.contains(&key) || self.forbidden.iter().any(|(forbidden, _)| *forbidden == key)
        };
        for entry in entries.iter().filter(|entry| !asked(&entry.key)) {
            if self.document.is_flooded() {
                return;
            }
            let complaint = self.unknown(&entry.key);
            self.document.complain(entry.node.place, entry.key_span.clone(), complaint);
        }
    }
}

/// Finds names given twice in one document.
#[derive(Debug)]
pub struct Unique {
    what: &'static str,
    seen: BTreeMap<String, (usize, Range<usize>)>,
}

impl Unique {
    /// `what` is named: "output".
    pub fn new(what: &'static str) -> Unique {
        Unique { what, seen: BTreeMap::new() }
    }

    /// Reports `item` if `name` was seen before.
    pub fn check(&mut self, item: &Item<'_>, name: &str) {
        let place = (item.node().place.source, item.span());
        if let Some((source, first)) = self.seen.get(name) {
            let complaint = Complaint::new(format!("{} `{name}` is defined twice", self.what))
                .label("again here")
                .hint("rename one of the two, or take it out");
            let also = (*source == place.0).then(|| (first.clone(), "first here".to_owned()));
            item.complain_also(complaint, also);
        } else {
            self.seen.insert(name.to_owned(), place);
        }
    }
}
