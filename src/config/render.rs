//! Diagnostics as people and programs read them.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::source::floor;
use super::{Diagnostic, Diagnostics, Severity, Source};

/// How a report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// ANSI colours; never the only carrier of meaning.
    pub colour: bool,
    /// Columns to keep within, where a source line is longer.
    pub width: usize,
}

impl Look {
    /// For pipes, files and tests.
    pub const PLAIN: Look = Look { colour: false, width: 140 };
}

impl Diagnostics {
    /// Every problem with `file:line:column`, the line, a caret and a hint, and a closing line with the count; empty
    /// when there are none.
    pub fn render(&self, look: Look) -> String {
        let mut report = String::new();
        for diagnostic in self {
            report.push_str(&render_one(diagnostic, look));
            report.push_str("\n\n");
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let counted = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let _ = match (errors, warnings) {
            (0, 0) => Ok(()),
            (0, w) => writeln!(report, "{}", counted(w, "warning")),
            (e, 0) => writeln!(report, "{}", counted(e, "error")),
            (e, w) => writeln!(report, "{}, {}", counted(e, "error"), counted(w, "warning")),
        };
        report
    }

    /// An array of `{severity, file, line, column, message, hint}`; `line` and `column` count from 1 and are null for
    /// a problem with the whole file, `hint` is null where there is none.
    pub fn to_json(&self) -> serde_json::Value {
        self.iter()
            .map(|d| {
                let position = d.span.as_ref().map(|span| d.source.position(span.start));
                serde_json::json!({
                    "severity": d.severity.as_str(),
                    "file": d.source.name(),
                    "line": position.map(|p| p.line),
                    "column": position.map(|p| p.column),
                    "message": d.message,
                    "hint": d.hint,
                })
            })
            .collect()
    }
}

fn render_one(diagnostic: &Diagnostic, look: Look) -> String {
    let renderer = if look.colour { Renderer::styled() } else { Renderer::plain() }.term_width(look.width);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let source = &diagnostic.source;
    let mut group = Group::with_title(level.primary_title(&*diagnostic.message));
    match &diagnostic.span {
        None => group = group.element(Origin::path(source.name())),
        Some(span) => group = group.element(snippet(source, span, diagnostic)),
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.with_name("hint").message(&**hint));
    }
    renderer.render(&[group])
}

/// Only the lines from the first to the last place: a report of a large file stays cheap.
fn snippet<'a>(
    source: &'a Source,
    span: &Range<usize>,
    diagnostic: &'a Diagnostic,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let span = within_line(source, span);
    let also = diagnostic.also.as_ref().map(|(span, label)| (within_line(source, span), label));
    let first = also.as_ref().map_or(span.start, |(also, _)| also.start.min(span.start));
    let last = also.as_ref().map_or(span.start, |(also, _)| also.start.max(span.start));
    let window = source.line_start(first)..source.line_end(last);
    let moved = |span: &Range<usize>| span.start - window.start..span.end - window.start;
    let mut snippet = Snippet::source(&source.text()[window.clone()])
        .path(source.name())
        .line_start(source.position(window.start).line)
        .annotation(AnnotationKind::Primary.span(moved(&span)).label(diagnostic.label.as_deref()));
    if let Some((also, label)) = also {
        snippet = snippet.annotation(AnnotationKind::Context.span(moved(&also)).label(label.as_str()));
    }
    snippet
}

/// The part of a span that lies in its first line, on character boundaries.
fn within_line(source: &Source, span: &Range<usize>) -> Range<usize> {
    let start = floor(source.text(), span.start).min(source.line_end(span.start));
    let end = floor(source.text(), span.end).clamp(start, source.line_end(start).max(start));
    start..end
}
