//! From TOML text to typed values, reporting everything that is wrong with it.
//!
//! ```ignore
//! let document = Document::parse(Source::new("a.toml", text), &[]);
//! let value = read(document.root());          // asks for every key; what is not asked for is unknown
//! let (value, diagnostics) = document.finish(value);
//! ```
//!
//! A reader asks a [`Table`] for every key it knows, then judges; when the table is dropped, keys that nobody asked
//! for are reported with "did you mean". So nothing in a file is ever ignored in silence.

mod item;
mod overrides;
mod suggest;
mod syntax;
mod table;
mod text;
mod tree;

use std::cell::RefCell;
use std::ops::Range;

pub use item::Item;
pub use overrides::Override;
pub use suggest::nearest;
pub use table::{Table, Unique};
pub use text::FromText;
pub(super) use text::{meant_rate, meant_size};

use super::{Complaint, Diagnostic, Diagnostics, Severity, Source};
use syntax::Parsed;
use tree::{Node, Place, Value};

/// The most problems reported of one file.
const LIMIT: usize = 50;

/// After so many problems no more are looked for: a large file of garbage must not take long to refuse.
const ENOUGH: usize = 2 * LIMIT;

/// The top-level keys of a text, as far as it can be parsed: enough to see what kind of file it is.
pub fn top_level_keys(text: &str) -> Vec<String> {
    let Parsed { root, .. } = syntax::parse(&Source::new("", text), &mut Diagnostics::default());
    match root.value {
        Value::Table(entries) => entries.into_iter().map(|entry| entry.key).collect(),
        _ => Vec::new(),
    }
}

/// One parsed text, and the problems found in it so far.
#[derive(Debug)]
pub struct Document {
    /// The text itself, then the overrides.
    sources: Vec<Source>,
    root: Node,
    /// Lines with syntax errors: what the recovered tree says of them is not judged again.
    broken: Vec<Range<usize>>,
    /// Keys that people try, with the cure.
    advice: &'static [(&'static str, &'static str)],
    diagnostics: RefCell<Diagnostics>,
}

impl Document {
    /// Parses a text and lays `overrides` over it. Syntax errors are kept for [`Document::finish`]; the rest of the
    /// text can still be read, so that its problems are reported in the same run.
    pub fn parse(source: Source, overrides: &[Override]) -> Document {
        let mut diagnostics = Diagnostics::default();
        let Parsed { mut root, broken } = syntax::parse(&source, &mut diagnostics);
        let mut sources = vec![source];
        for over in overrides {
            let index = sources.len();
            sources.push(over.source().clone());
            if let Err(diagnostic) = over.lay_over(&mut root, index) {
                diagnostics.push(*diagnostic);
            }
        }
        Document { sources, root, broken, advice: &[], diagnostics: RefCell::new(diagnostics) }
    }

    /// Hints for keys that do not exist but that people try: `("fps", "the key is `framerate`")`.
    pub fn with_advice(mut self, advice: &'static [(&'static str, &'static str)]) -> Document {
        self.advice = advice;
        self
    }

    /// The top level.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, &self.root, String::new())
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &Source {
        &self.sources[0]
    }

    /// The value if nothing is wrong, and every problem, in the order of the text.
    pub fn finish<T>(self, value: Option<T>) -> (Option<T>, Diagnostics) {
        let mut diagnostics = self.diagnostics.into_inner();
        diagnostics.settle(LIMIT);
        (value.filter(|_| !diagnostics.has_errors()), diagnostics)
    }

    fn complain(&self, place: Place, span: Range<usize>, complaint: Complaint) {
        self.report(place, span, complaint, None);
    }

    fn report(
        &self,
        place: Place,
        span: Range<usize>,
        complaint: Complaint,
        also: Option<(Range<usize>, String)>,
    ) {
        let source = &self.sources[place.source];
        if self.is_flooded() {
            return;
        }
        if place.source == 0 && self.broken.iter().any(|lines| lines.contains(&span.start)) {
            return;
        }
        let diagnostic = Diagnostic { also, ..Diagnostic::error(source, span, complaint) };
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Whether more problems were found than anyone wants to read.
    fn is_flooded(&self) -> bool {
        self.diagnostics.borrow().iter().len() >= ENOUGH
    }

    fn warn(&self, place: Place, span: Range<usize>, complaint: Complaint) {
        if self.is_flooded() {
            return;
        }
        let error = Diagnostic::error(&self.sources[place.source], span, complaint);
        self.diagnostics.borrow_mut().push(Diagnostic { severity: Severity::Warning, ..error });
    }

    /// Whether the text is broken, so that a missing key proves nothing.
    fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }
}
