//! Reading one value.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use super::suggest::{listed, nearest};
use super::tree::{Entry, Node, Value};
use super::{Complaint, Document, FromText, Table};
use crate::config::PropertyLiteral;
use crate::config::diagnostic::quoted;

/// A value with its key and place. Reading it as the wrong type reports that, and gives `None`.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    document: &'a Document,
    key: &'a str,
    key_span: Range<usize>,
    /// From the top level, dotted.
    path: String,
    node: &'a Node,
    /// One of a list's.
    listed: bool,
}

impl<'a> Item<'a> {
    pub(super) fn new(document: &'a Document, entry: &'a Entry, path: String) -> Item<'a> {
        Item {
            document,
            key: &entry.key,
            key_span: entry.key_span.clone(),
            path,
            node: &entry.node,
            listed: false,
        }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// The key it stands under; a list's items have the list's.
    pub fn key(&self) -> &'a str {
        self.key
    }

    /// The key with the tables it stands in: `video.bitrate`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value's bytes in its text.
    pub fn span(&self) -> Range<usize> {
        self.node.span.clone()
    }

    /// A problem with the value.
    pub fn complain(&self, complaint: Complaint) {
        self.complain_also(complaint, None);
    }

    /// A problem with the value and a second place in the same text.
    pub fn complain_also(&self, complaint: Complaint, also: Option<(Range<usize>, String)>) {
        self.document.report(self.node.place, self.span(), complaint, also);
    }

    /// Something about the value that may not be what was meant, but works.
    pub fn warn(&self, complaint: Complaint) {
        self.document.warn(self.node.place, self.span(), complaint);
    }

    /// A problem with the key rather than its value.
    pub fn complain_at_key(&self, complaint: Complaint) {
        self.document.complain(self.node.place, self.key_span.clone(), complaint);
    }

    /// Any string; `example` without quotes.
    pub fn string(&self, example: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => self.expected(&format!("a string such as `\"{example}\"`"), format!("\"{example}\"")),
        }
    }

    /// A string of a type with a text form.
    pub fn text<T: FromText>(&self) -> Option<T> {
        match self.whole_number().and_then(T::meant_by) {
            Some(meant) => {
                self.expected(&format!("a string such as `\"{}\"`", T::EXAMPLE), format!("\"{meant}\""))
            }
            None => self.read(T::EXAMPLE, T::from_text),
        }
    }

    /// A string read by a function.
    pub fn read<T>(&self, example: &str, read: impl FnOnce(&str) -> Result<T, Complaint>) -> Option<T> {
        read(self.string(example)?).map_err(|complaint| self.complain(complaint)).ok()
    }

    /// One of a few words; `what` names the kind of word ("speed").
    pub fn word<T: Copy>(&self, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(words.first().map_or("", |(word, _)| word))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let all = format!("one of {}", listed(names()));
        let hint = match nearest(text, names()) {
            Some(meant) => format!("did you mean `{meant}`? ({all})"),
            None => all,
        };
        self.complain(Complaint::new(format!("unknown {what} {}", quoted(text))).hint(hint));
        None
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Text(text) if text == "true" || text == "false" => {
                let hint = format!("write `{} = {text}`, without quotes", self.key);
                self.complain(Complaint::new("expected `true` or `false`, found a string").hint(hint));
                None
            }
            _ => self.expected("`true` or `false`", "true"),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&self, bounds: RangeInclusive<i64>) -> Option<i64> {
        match &self.node.value {
            Value::Integer(Some(integer)) if bounds.contains(integer) => Some(*integer),
            Value::Integer(_) => {
                self.out_of_bounds(*bounds.start(), *bounds.end());
                None
            }
            Value::Text(text) if text.parse::<i64>().is_ok() => {
                let hint = format!("write `{} = {text}`, without quotes", self.key);
                self.complain(Complaint::new("expected a whole number, found a string").hint(hint));
                None
            }
            _ => self.expected("a whole number", *bounds.start()),
        }
    }

    /// A number within bounds; whole numbers count.
    pub fn float(&self, bounds: RangeInclusive<f64>) -> Option<f64> {
        let number = match &self.node.value {
            Value::Float(float) => *float,
            Value::Integer(Some(integer)) => *integer as f64,
            _ => return self.expected("a number", bounds.start()),
        };
        if !bounds.contains(&number) {
            self.out_of_bounds(bounds.start(), bounds.end());
            return None;
        }
        Some(number)
    }

    /// A boolean, number or string as it stands, for values whose type is known only later.
    pub fn literal(&self) -> Option<PropertyLiteral> {
        match &self.node.value {
            Value::Boolean(boolean) => Some(PropertyLiteral::Bool(*boolean)),
            Value::Integer(Some(integer)) => Some(PropertyLiteral::Integer(*integer)),
            Value::Integer(None) => {
                self.out_of_bounds(i64::MIN, i64::MAX);
                None
            }
            Value::Float(float) => Some(PropertyLiteral::Float(*float)),
            Value::Text(text) => Some(PropertyLiteral::Text(text.clone())),
            Value::Datetime | Value::List(_) | Value::Table(_) => {
                self.expected("a boolean, number or string", "8")
            }
        }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    /// The value, where it is an integer.
    pub fn whole_number(&self) -> Option<i64> {
        match self.node.value {
            Value::Integer(integer) => integer,
            _ => None,
        }
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// A list's items; `example` is one of them as written, with quotes if it is a string.
    pub fn list(&self, example: &str) -> Option<Vec<Item<'a>>> {
        match &self.node.value {
            Value::List(nodes) => {
                Some(nodes.iter().map(|node| Item { node, listed: true, ..self.clone() }).collect())
            }
            Value::Text(text) if text.len() <= 60 => {
                self.expected(&format!("a list such as `[{example}]`"), format!("[{text:?}]"))
            }
            _ => self.expected(&format!("a list such as `[{example}]`"), format!("[{example}]")),
        }
    }

    /// The strings of a list; what is not a string is reported and left out.
    pub fn strings(&self, example: &str) -> Option<Vec<&'a str>> {
        let items = self.list(&format!("\"{example}\""))?;
        Some(items.iter().filter_map(|item| item.string(example)).collect())
    }

    /// A table.
    pub fn table(&self) -> Option<Table<'a>> {
        match &self.node.value {
            Value::Table(_) => Some(self.as_table(format!("[{}]", self.path))),
            Value::List(_) => {
                let complaint = Complaint::new(format!("`{}` is a single table, not a list", self.path))
                    .hint(format!("write `[{}]`, in single brackets", self.path));
                self.complain(complaint);
                None
            }
            _ => {
                let message = format!("expected a table, found {}", self.node.value.kind());
                self.complain(
                    Complaint::new(message).hint(format!("begin it with the line `[{}]`", self.path)),
                );
                None
            }
        }
    }

    /// The tables of a list, `[[path]]`; items that are no tables are reported and left out.
    pub fn tables(&self) -> Vec<Table<'a>> {
        let header = format!("[[{}]]", self.path);
        let hint = format!("begin each with the line `{header}`");
        match &self.node.value {
            Value::List(nodes) => nodes
                .iter()
                .map(|node| Item { node, ..self.clone() })
                .filter_map(|item| match &item.node.value {
                    Value::Table(_) => Some(item.as_table(header.clone())),
                    other => {
                        let message = format!("expected a table, found {}", other.kind());
                        item.complain(Complaint::new(message).hint(&*hint));
                        None
                    }
                })
                .collect(),
            Value::Table(_) => {
                let complaint = Complaint::new(format!("`{}` is a list of tables", self.path))
                    .hint(format!("write `{header}`, in double brackets"));
                self.complain(complaint);
                // Still read, so that its own problems are reported too.
                vec![self.as_table(header)]
            }
            other => {
                let message = format!("expected a list of tables, found {}", other.kind());
                self.complain(Complaint::new(message).hint(hint));
                Vec::new()
            }
        }
    }

    fn as_table(&self, header: String) -> Table<'a> {
        Table::new(self.document, self.node, header)
    }

    fn expected<T>(&self, what: &str, example: impl Display) -> Option<T> {
        let complaint = Complaint::new(format!("expected {what}, found {}", self.node.value.kind()));
        let complaint = match self.listed {
            true => complaint.hint(format!("such as `{} = [{example}]`", self.key)),
            false => complaint.hint(format!("write `{} = {example}`", self.key)),
        };
        self.complain(complaint);
        None
    }

    fn out_of_bounds(&self, least: impl Display, most: impl Display) {
        let complaint = Complaint::new(format!("`{}` is out of bounds", self.path))
            .hint(format!("from {least} to {most}"));
        self.complain(complaint);
    }
}
