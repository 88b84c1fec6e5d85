//! `--set KEY=VALUE`: values laid over a file's.

use toml::de::DeValue;

use super::tree::{self, Entry, Node, Place, Value};
use crate::config::{Complaint, Diagnostic, Source};

/// One value given beside the file. Its text is a source of its own, so that diagnostics point into it.
#[derive(Clone, Debug)]
pub struct Override {
    source: Source,
}

impl Override {
    /// From `KEY=VALUE`: a dotted key, and a TOML value or else a bare string
    /// (`capture.video=test`, `sfu.max_viewers=50`). What is wrong with it is reported with the file's problems.
    pub fn new(text: &str) -> Override {
        let key = text.split_once('=').map_or(text, |(key, _)| key);
        Override { source: Source::new(format!("--set {}", key.trim()), text) }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn lay_over(&self, root: &mut Node, index: usize) -> Result<(), Box<Diagnostic>> {
        let text = self.source.text();
        let refuse = |complaint| Box::new(Diagnostic::error(&self.source, 0..text.len(), complaint));
        let Some((path, _)) = text.split_once('=') else {
            return Err(refuse(
                Complaint::new("an override lacks its value")
                    .hint("write `KEY=VALUE`, such as `capture.video=test`"),
            ));
        };
        // Blanks around a value are none of it, as in TOML.
        let value_text = text[path.len() + 1..].trim();
        let begin = text.len() - text[path.len() + 1..].trim_start().len();
        let node = value(value_text, index, begin);
        let mut steps = Vec::new();
        let mut at = 0;
        for step in path.split('.') {
            let (name, lead) = (step.trim(), step.len() - step.trim_start().len());
            if name.is_empty() || steps.len() == 8 {
                return Err(refuse(
                    Complaint::new(format!("`{path}` is not a key")).hint("keys look like `capture.video`"),
                ));
            }
            steps.push((name, at + lead..at + lead + name.len()));
            at += step.len() + 1;
        }
        let mut here = root;
        let last = steps.pop();
        for (name, span) in steps {
            let entries = self.entries_of(here)?;
            let found = entries.iter().position(|entry| entry.key == name).unwrap_or_else(|| {
                let place = Place { source: index };
                let node = Node { place, span: span.clone(), value: Value::Table(Vec::new()) };
                entries.push(Entry { key: name.to_owned(), key_span: span, node });
                entries.len() - 1
            });
            here = &mut entries[found].node;
        }
        let entries = self.entries_of(here)?;
        if let Some((name, key_span)) = last {
            entries.retain(|entry| entry.key != name);
            entries.push(Entry { key: name.to_owned(), key_span, node });
        }
        Ok(())
    }

    fn entries_of<'a>(&self, node: &'a mut Node) -> Result<&'a mut Vec<Entry>, Box<Diagnostic>> {
        let kind = node.value.kind();
        match &mut node.value {
            Value::Table(entries) => Ok(entries),
            _ => {
                let path = self.source.text().split('=').next().unwrap_or_default();
                let complaint = Complaint::new(format!("`{path}` leads through {kind}, not a table"))
                    .hint("an override reaches single values and whole lists, such as `output=[]`");
                Err(Box::new(Diagnostic::error(&self.source, 0..path.len(), complaint)))
            }
        }
    }
}

fn value(text: &str, index: usize, begin: usize) -> Node {
    match DeValue::parse(text) {
        Ok(value) => tree::node(value, index, begin),
        Err(_) => Node {
            place: Place { source: index },
            span: begin..begin + text.len(),
            value: Value::Text(text.to_owned()),
        },
    }
}
