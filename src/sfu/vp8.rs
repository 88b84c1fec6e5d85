//! VP8's own numbering as one viewer sees it: players order VP8 pictures by the numbers in the payload descriptor
//! (RFC 7741 §4.2), not by RTP's, so these must go on over a change of source or layer too.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// PictureID wraps here when it is long, and here when it is short.
const LONG: u16 = 0x7fff;
const SHORT: u16 = 0x7f;

/// Renumbers PictureID and TL0PICIDX.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vp8Numbers {
    /// Which source the offsets are for.
    source: Option<(u8, u32)>,
    picture: u16,
    base_layer: u8,
    last_picture: Option<u16>,
    last_base_layer: Option<u8>,
}

impl Vp8Numbers {
    /// What to change in a packet of this source; none when it is right as it is.
    pub(super) fn patch(&mut self, source: (u8, u32), payload: &[u8]) -> Option<Vp8Patch> {
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let (picture, base_layer) = self.follow(source, descriptor.picture_id(), descriptor.tl0_pic_idx());
        if (self.picture, self.base_layer) == (0, 0) {
            return None;
        }
        let patch = |picture: Option<u16>| {
            let mut patch = descriptor.patch();
            if let Some(picture) = picture {
                patch = patch.picture_id(picture);
            }
            if let Some(base_layer) = base_layer {
                patch = patch.tl0_pic_idx(base_layer);
            }
            patch.build().ok()
        };
        patch(picture).or_else(|| patch(picture.map(|picture| picture & SHORT)))
    }

    /// The viewer's numbers for the source's.
    fn follow(
        &mut self,
        source: (u8, u32),
        picture: Option<u16>,
        base_layer: Option<u8>,
    ) -> (Option<u16>, Option<u8>) {
        if self.source != Some(source) {
            self.source = Some(source);
            if let (Some(last), Some(first)) = (self.last_picture, picture) {
                self.picture = last.wrapping_add(1).wrapping_sub(first) & LONG;
            }
            if let (Some(last), Some(first)) = (self.last_base_layer, base_layer) {
                self.base_layer = last.wrapping_add(1).wrapping_sub(first);
            }
        }
        let picture = picture.map(|number| number.wrapping_add(self.picture) & LONG);
        let base_layer = base_layer.map(|number| number.wrapping_add(self.base_layer));
        // What comes late does not set the clock back.
        let newer = |a: u16, b: u16| a.wrapping_sub(b) & LONG < LONG / 2;
        if let Some(picture) = picture.filter(|new| self.last_picture.is_none_or(|last| newer(*new, last))) {
            self.last_picture = Some(picture);
            self.last_base_layer = base_layer.or(self.last_base_layer);
        }
        (picture, base_layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_a_change_of_source() {
        let mut numbers = Vp8Numbers::default();
        let mut see = |source, picture, base| numbers.follow(source, Some(picture), Some(base));
        assert_eq!(see((0, 1), 32_766, 255), (Some(32_766), Some(255)));
        assert_eq!(see((0, 1), 32_767, 0), (Some(32_767), Some(0)));
        // Another layer, another publisher: wherever they stand.
        assert_eq!(see((1, 1), 500, 77), (Some(0), Some(1)));
        assert_eq!(see((1, 1), 501, 78), (Some(1), Some(2)));
        assert_eq!(see((1, 2), 9, 9), (Some(2), Some(3)));
        assert_eq!(see((1, 2), 8, 8), (Some(1), Some(2)), "late");
        assert_eq!(see((0, 2), 3, 3), (Some(3), Some(4)));
    }

    #[test]
    fn only_what_has_to_change_is_changed_as_wide_as_it_is() {
        // A descriptor with a long PictureID, TL0PICIDX and TID, then the frame.
        let long = [0x90, 0xe0, 0x83, 0xe8, 5, 0x20, 0x11, 7];
        let mut numbers = Vp8Numbers::default();
        assert!(numbers.patch((0, 1), &long).is_none(), "the first source is right as it is");
        assert!(numbers.patch((0, 2), &long).is_some());
        assert!(numbers.patch((0, 3), &[0x90, 0x80, 0x05, 0x11, 7]).is_some(), "1,002 in seven bits");
        assert!(numbers.patch((0, 4), &[]).is_none());
        let mut bare = Vp8Numbers::default();
        assert!(
            bare.patch((0, 1), &[0x10, 0x11, 7]).is_none() && bare.patch((0, 2), &[0x10, 0x11, 7]).is_none()
        );
    }
}
