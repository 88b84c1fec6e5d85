//! A text, the name people know it by, and where in it something stands.

use std::sync::Arc;

/// A text with its name; cheap to clone, so that every diagnostic carries its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Arc<Named>);

#[derive(Debug, PartialEq, Eq)]
struct Named {
    name: String,
    text: String,
}

/// A place in a text as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Source {
    /// `name` is shown before line and column: a path, or `--set capture.video`. A byte order mark is taken off, as
    /// editors show none.
    pub fn new(name: impl Into<String>, text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Source(Arc::new(Named { name: name.into(), text: text.to_owned() }))
    }

    /// The name it is shown under.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Line and column of a byte; one beyond the end counts as the end, one inside a character as that character.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line_start(offset);
        let before = &self.text()[..line];
        let within = &self.text()[line..floor(self.text(), offset)];
        Position { line: before.matches('\n').count() + 1, column: within.chars().count() + 1 }
    }

    /// The byte at which the line of `offset` begins.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        self.text()[..floor(self.text(), offset)].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The byte at which the line of `offset` ends, before its line break.
    pub(super) fn line_end(&self, offset: usize) -> usize {
        let start = self.line_start(offset);
        let line = self.text()[start..].split('\n').next().unwrap_or_default();
        start + line.strip_suffix('\r').unwrap_or(line).len()
    }
}

/// The largest character boundary that is not beyond `offset`.
pub(super) fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_a_byte_order_mark_is_none() {
        let source = Source::new("a.toml", "\u{feff}ä = 1\r\nbé = 2\n");
        assert_eq!(source.text(), "ä = 1\r\nbé = 2\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(1), Position { line: 1, column: 1 });
        let second = source.text().find('2').unwrap();
        assert_eq!(source.position(second), Position { line: 2, column: 6 });
        assert_eq!(source.position(usize::MAX), Position { line: 3, column: 1 });
        assert_eq!(source.line_end(0), "ä = 1".len());
    }
}
