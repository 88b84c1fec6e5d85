//! How far it is believed that something is wrong with a card's pictures.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// As many bad pictures in a row are left out, a third of a second at 30 a second; the ones after them are shown.
const MOST: u8 = 10;

/// Pictures that are called bad are left out as long as most are good. A card of which most are called bad has its own way
/// of writing them, or is so ill that a damaged picture says more than none.
#[derive(Debug)]
pub(super) struct Trust(AtomicU8);

impl Default for Trust {
    fn default() -> Trust {
        Trust(AtomicU8::new(MOST))
    }
}

impl Trust {
    /// Takes in how the next picture is called; says whether it is to be shown. One thread at a time.
    pub(super) fn is_good(&self, called_good: bool) -> bool {
        let trust = self.0.load(Relaxed);
        let next = if called_good { trust.saturating_add(1).min(MOST) } else { trust.saturating_sub(1) };
        self.0.store(next, Relaxed);
        called_good || trust == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(called_good: &[bool]) -> Vec<bool> {
        let trust = Trust::default();
        called_good.iter().map(|good| trust.is_good(*good)).collect()
    }

    #[test]
    fn the_bad_among_the_good_are_left_out() {
        let mixed: Vec<bool> = (0..100).map(|number| number % 3 != 1).collect();
        assert_eq!(shown(&mixed), mixed);
        let every_other: Vec<bool> = (0..100).map(|number| number % 2 == 0).collect();
        assert_eq!(shown(&every_other), every_other);
    }

    #[test]
    fn a_card_whose_pictures_are_mostly_called_bad_is_shown_all_the_same() {
        let shown_of_bad = shown(&[false; 100]);
        assert!(
            shown_of_bad[..10].iter().all(|shown| !shown) && shown_of_bad[10..].iter().all(|shown| *shown)
        );
        let mostly_bad: Vec<bool> = (0..90).map(|number| number % 3 == 0).collect();
        let left_out = shown(&mostly_bad)[60..].iter().filter(|shown| !**shown).count();
        assert_eq!(left_out, 10, "one of each good one's trust");
    }
}
