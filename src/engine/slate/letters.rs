//! Words on a plane of luma, in the system's own font.

use std::fs;

use fontdue::{Font, FontSettings};

/// DejaVu Sans, where distributions keep it. Debian's package is `fonts-dejavu-core`.
const FONTS: [&str; 3] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
];

/// A font to write with.
pub(super) struct Letters {
    font: Font,
}

/// Where a line stands, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    /// Height of a line, in pixels; letters have three quarters of it.
    pub(super) line: f32,
    /// Luma of the letters.
    pub(super) ink: u8,
}

impl Letters {
    /// The first font that is there.
    ///
    /// # Errors
    /// In words.
    pub(super) fn load() -> Result<Letters, String> {
        let bytes = FONTS.iter().find_map(|path| fs::read(path).ok());
        let bytes = bytes.ok_or_else(|| {
            format!("there is no font at {}; the Debian package `fonts-dejavu-core` has it", FONTS[0])
        })?;
        let font = Font::from_bytes(bytes, FontSettings::default()).map_err(str::to_owned)?;
        Ok(Letters { font })
    }

    /// How wide a line is, in pixels.
    pub(super) fn width(&self, text: &str, style: Style) -> f32 {
        text.chars().map(|letter| self.font.metrics(letter, size(style)).advance_width).sum()
    }

    /// Breaks a text between words into lines that are no wider than `width`. A word that is wider has a line of its own.
    pub(super) fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}"), style) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }

    /// Writes a line, its upper left corner at `x`, `y`, as far as it lies within the plane.
    pub(super) fn write(&self, plane: &mut Plane<'_>, (x, y): (f32, f32), text: &str, style: Style) {
        let baseline = y + style.line * 0.75;
        let mut pen = x;
        for letter in text.chars() {
            let (glyph, coverage) = self.font.rasterize(letter, size(style));
            let left = (pen + glyph.xmin as f32).round() as i64;
            let top = (baseline - glyph.ymin as f32).round() as i64 - glyph.height as i64;
            for (row, line) in coverage.chunks_exact(glyph.width.max(1)).enumerate() {
                for (column, share) in line.iter().enumerate() {
                    plane.blend(left + column as i64, top + row as i64, style.ink, *share);
                }
            }
            pen += glyph.advance_width;
        }
    }
}

fn size(style: Style) -> f32 {
    style.line * 0.75
}

/// A plane of luma.
pub(super) struct Plane<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Plane<'_> {
    /// Moves a pixel's luma towards `ink` by a share of 255.
    fn blend(&mut self, x: i64, y: i64, ink: u8, share: u8) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        if let Some(pixel) = self.bytes.get_mut(y * self.stride + x) {
            let (from, to, share) = (i32::from(*pixel), i32::from(ink), i32::from(share));
            *pixel = u8::try_from(from + (to - from) * share / 255).unwrap_or(ink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { line: 24.0, ink: 235 };

    #[test]
    fn lines_are_no_wider_than_they_may_be() {
        let letters = Letters::load().unwrap();
        let text = "the card is on a USB 2 link, which is too slow: try a blue port";
        let lines = letters.wrap(text, STYLE, 200.0);
        assert!(lines.len() > 1, "{lines:?}");
        assert!(lines.iter().all(|line| letters.width(line, STYLE) <= 200.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(letters.wrap("unbreakable", STYLE, 1.0), ["unbreakable"]);
        assert!(letters.wrap("", STYLE, 100.0).is_empty());
    }

    #[test]
    fn letters_stay_within_the_plane() {
        let letters = Letters::load().unwrap();
        let mut bytes = vec![16; 64 * 32 + 1];
        for at in [(-30.0, -10.0), (0.0, 0.0), (50.0, 20.0), (500.0, 500.0)] {
            let mut plane = Plane { bytes: &mut bytes, stride: 64, width: 64, height: 32 };
            letters.write(&mut plane, at, "Wäg\u{1F600}", STYLE);
        }
        assert_eq!(bytes.last(), Some(&16), "beyond the plane");
        assert!(bytes.iter().any(|luma| *luma > 200), "something is written");
    }
}
