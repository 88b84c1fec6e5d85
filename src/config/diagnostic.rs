//! What is wrong with a text, where, and how to cure it.

use std::ops::Range;

use super::Source;
use super::source::floor;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// The text can be used, but probably does not say what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The text it is about.
    pub source: Source,
    /// Bytes of the text; none where the problem is with the whole file.
    pub span: Option<Range<usize>>,
    /// What is wrong: lower-case start, no final period.
    pub message: String,
    /// A few words beside the caret.
    pub label: Option<String>,
    /// A second place in the same text with its own words: where a name was first given.
    pub also: Option<(Range<usize>, String)>,
    /// The cure.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a place in a text; a place that is not in the text is moved to its end.
    pub fn error(source: &Source, span: Range<usize>, complaint: Complaint) -> Diagnostic {
        let start = floor(source.text(), span.start);
        let span = start..floor(source.text(), span.end).max(start);
        let clean = |text: String| clean(&text);
        Diagnostic {
            severity: Severity::Error,
            source: source.clone(),
            span: Some(span),
            message: clean(complaint.message),
            label: complaint.label.map(clean),
            also: None,
            hint: complaint.hint.map(clean),
        }
    }

    /// An error about a whole file: it cannot be read, it is too large.
    pub fn whole_file(source: &Source, complaint: Complaint) -> Diagnostic {
        Diagnostic { span: None, ..Diagnostic::error(source, 0..0, complaint) }
    }
}

/// The words of a problem, before it has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    message: String,
    label: Option<String>,
    hint: Option<String>,
}

impl Complaint {
    /// What is wrong: lower-case start, no final period, values in backticks.
    pub fn new(message: impl Into<String>) -> Complaint {
        Complaint { message: message.into(), label: None, hint: None }
    }

    /// A few words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Complaint {
        self.label = Some(label.into());
        self
    }

    /// The cure.
    pub fn hint(mut self, hint: impl Into<String>) -> Complaint {
        self.hint = Some(hint.into());
        self
    }
}

/// All problems of some texts, in the order of the texts and of the places in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// One more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Those of the next text.
    pub fn append(&mut self, other: Diagnostics) {
        self.0.extend(other.0);
    }

    /// Whether anything here forbids to go on.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// No errors and no warnings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Sorts one text's by place, and keeps `limit`: a file of garbage must not flood a terminal.
    pub(super) fn settle(&mut self, limit: usize) {
        self.0.sort_by_key(|d| d.span.as_ref().map_or(0, |span| span.start));
        if self.0.len() > limit {
            let source = self.0[0].source.clone();
            self.0.truncate(limit);
            let complaint = Complaint::new("there are more problems in this file")
                .hint("cure those above, then check again");
            self.push(Diagnostic::whole_file(&source, complaint));
        }
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(diagnostics: I) -> Diagnostics {
        Diagnostics(diagnostics.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Control characters as escapes: a message is one line, whatever the text holds.
fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
        clean
    })
}

/// A user's text in backticks, shortened.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("`{text}`"),
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
    }
}
