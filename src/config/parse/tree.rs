//! The parsed text as a tree of which every node knows where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// Which of a document's texts something stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) source: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// `None` beyond 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    Datetime,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node,
}

impl Value {
    /// With its article, for "found …".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a decimal number",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// `offset` is where the value's text begins in its source.
pub(super) fn node(value: Spanned<DeValue<'_>>, source: usize, offset: usize) -> Node {
    let span = value.span().start + offset..value.span().end + offset;
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| node(item, source, offset)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, source, offset)),
    };
    Node { place: Place { source }, span, value }
}

/// The entries in the order written.
pub(super) fn entries(table: DeTable<'_>, source: usize, offset: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            key_span: key.span().start + offset..key.span().end + offset,
            key: key.into_inner().into_owned(),
            node: node(value, source, offset),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}
