//! VP8's own numbering as one viewer sees it: players order VP8 pictures by the numbers in the payload descriptor
//! (RFC 7741 §4.2), not by RTP's, so these must go on over a change of source or layer too.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// PictureID wraps here when it is long, and here when it is short.
const LONG: u16 = 0x7fff;
const SHORT: u16 = 0x7f;
/// The first two bytes, a long PictureID and TL0PICIDX.
const HEAD: usize = 5;

/// What is added to the numbers of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vp8Offsets {
    picture: u16,
    base_layer: u8,
}

/// The beginning of a payload with other numbers in it, as long as in the payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vp8Head {
    bytes: [u8; HEAD],
    length: usize,
}

impl Vp8Head {
    /// What takes the place of as many bytes of the payload.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Vp8Offsets {
    /// The payload's beginning with these added; none when it is right as it is.
    pub(super) fn head(self, payload: &[u8]) -> Option<Vp8Head> {
        if self == Vp8Offsets::default() || payload.first()? & 0x80 == 0 {
            return None;
        }
        let present = *payload.get(1)?;
        let (mut head, mut at) = (Vp8Head::default(), 2);
        let length = HEAD.min(payload.len());
        head.bytes[..length].copy_from_slice(&payload[..length]);
        if present & 0x80 != 0 {
            let first = *payload.get(at)?;
            if first & 0x80 != 0 {
                let number = u16::from_be_bytes([first & 0x7f, *payload.get(at + 1)?]);
                let number = number.wrapping_add(self.picture) & LONG;
                head.bytes[at..at + 2].copy_from_slice(&(number | 0x8000).to_be_bytes());
                at += 2;
            } else {
                head.bytes[at] = (u16::from(first).wrapping_add(self.picture) & SHORT) as u8;
                at += 1;
            }
        }
        if present & 0x40 != 0 {
            head.bytes[at] = payload.get(at)?.wrapping_add(self.base_layer);
            at += 1;
        }
        head.length = at;
        Some(head)
    }

    /// The same as str0m takes it.
    pub(super) fn patch(self, payload: &[u8]) -> Option<Vp8Patch> {
        if self == Vp8Offsets::default() {
            return None;
        }
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let picture = descriptor.picture_id().map(|number| number.wrapping_add(self.picture) & LONG);
        let base_layer = descriptor.tl0_pic_idx().map(|number| number.wrapping_add(self.base_layer));
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
}

/// Finds what to add, so that numbers go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vp8Numbers {
    /// Which source the offsets are for.
    source: Option<(u8, u32)>,
    offsets: Vp8Offsets,
    last_picture: Option<u16>,
    last_base_layer: Option<u8>,
}

impl Vp8Numbers {
    /// What to add in a packet of this source.
    pub(super) fn see(&mut self, source: (u8, u32), payload: &[u8]) -> Vp8Offsets {
        if let Ok(descriptor) = Vp8Descriptor::parse(payload) {
            self.follow(source, descriptor.picture_id(), descriptor.tl0_pic_idx());
        }
        self.offsets
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
                self.offsets.picture = last.wrapping_add(1).wrapping_sub(first) & LONG;
            }
            if let (Some(last), Some(first)) = (self.last_base_layer, base_layer) {
                self.offsets.base_layer = last.wrapping_add(1).wrapping_sub(first);
            }
        }
        let picture = picture.map(|number| number.wrapping_add(self.offsets.picture) & LONG);
        let base_layer = base_layer.map(|number| number.wrapping_add(self.offsets.base_layer));
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
    use proptest::prelude::*;

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
        assert!(numbers.see((0, 1), &long).head(&long).is_none(), "the first source is right as it is");
        let offsets = numbers.see((0, 2), &long);
        assert_eq!(offsets.head(&long).unwrap().bytes(), [0x90, 0xe0, 0x83, 0xe9, 6]);
        assert!(offsets.patch(&long).is_some());
        let short = [0x90, 0x80, 0x05, 0x11, 7];
        let offsets = numbers.see((0, 3), &short);
        assert_eq!(offsets.head(&short).unwrap().bytes(), [0x90, 0x80, 0x6a], "1,002 in seven bits");
        assert!(offsets.patch(&short).is_some());
        assert!(numbers.see((0, 4), &[]).head(&[]).is_none());
        let bare = [0x10, 0x11, 7];
        assert!(numbers.see((0, 5), &bare).head(&bare).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let offsets = Vp8Offsets { picture: 300, base_layer: 7 };
            let head = offsets.head(&bytes);
            prop_assert!(head.is_none_or(|head| head.bytes().len() <= bytes.len()));
            offsets.patch(&bytes);
        }
    }
}
