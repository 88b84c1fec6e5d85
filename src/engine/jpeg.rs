//! Which pictures of a Motion-JPEG card are whole: `jpegdec` shows what there is of one that was cut off, grey below.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Start and end of a picture (ITU-T T.81 §B.1.1.3).
const BEGINS: [u8; 2] = [0xFF, 0xD8];
const ENDS: [u8; 2] = [0xFF, 0xD9];

/// Judges the pictures of one card, one after another.
#[derive(Debug, Default)]
pub(super) struct Jpegs {
    /// The card marks the end of its pictures. Some cards do not, and then its lack says nothing.
    marks_ends: AtomicBool,
}

impl Jpegs {
    /// Whether this one is worth decoding. Padding after its end is common.
    pub(super) fn is_whole(&self, picture: &[u8]) -> bool {
        if !picture.starts_with(&BEGINS) {
            return false;
        }
        // Within a picture's coded data the end's mark cannot stand; seen from behind it is found at once.
        let ends = picture[BEGINS.len()..].windows(2).rev().any(|pair| pair == ENDS);
        if ends {
            self.marks_ends.store(true, Relaxed);
        }
        ends || !self.marks_ends.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_no_picture_is_told_from_what_is_whole() {
        let jpegs = Jpegs::default();
        let whole = [0xFF, 0xD8, 0xFF, 0xDB, 1, 2, 3, 0xFF, 0xD9];
        let padded = [&whole[..], &[0; 40]].concat();
        assert!(jpegs.is_whole(&whole[..6]), "a card that has not marked any end may not mark them at all");
        assert!(jpegs.is_whole(&whole) && jpegs.is_whole(&padded));
        assert!(!jpegs.is_whole(&whole[..6]), "this card does");
        for junk in [&[][..], &[0; 30], &[0xFF], &whole[2..], &BEGINS] {
            assert!(!jpegs.is_whole(junk), "{junk:?}");
        }
    }
}
