//! Which pictures of a Motion-JPEG card are worth showing: `jpegdec` takes what is damaged without a word, and shows grey,
//! stripes or wrong colours from there on.
//!
//! Told by walking through the coded data as a decoder would, without making a picture of it: damage puts its codes out of
//! step, so that some code stands for nothing, a block has too many coefficients, or the blocks do not come to the size.

mod bits;
mod codes;
mod walk;

use super::trust::Trust;
use walk::Walked;

/// Judges the pictures of one card, one after another.
#[derive(Debug, Default)]
pub(super) struct Jpegs(Trust);

impl Jpegs {
    /// Whether this one is worth decoding.
    pub(super) fn is_good(&self, picture: &[u8]) -> bool {
        match walk::walk(picture) {
            Walked::NoPicture => false,
            Walked::Unknown => true,
            Walked::Whole => self.0.is_good(true),
            Walked::Damaged => self.0.is_good(false),
        }
    }
}
