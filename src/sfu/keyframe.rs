//! Where decoding can begin, read from the first bytes of RTP payloads: a publisher does not tell it otherwise.

use crate::media::Codec;

/// What a packet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing that could be decoded by itself.
    None,
    /// A picture that needs no other one, but perhaps parameter sets from before (H.264 IDR).
    Picture,
    /// Everything that decoding needs.
    Sequence,
}

/// Looks at one payload; what cannot be read begins nothing.
pub(super) fn entry(codec: Codec, payload: &[u8]) -> Entry {
    let found = match codec {
        Codec::H264 => h264(payload),
        Codec::Vp8 => vp8(payload),
        Codec::Vp9 => vp9(payload),
        Codec::Av1 => av1(payload),
        Codec::Opus => Some(Entry::Sequence),
    };
    found.unwrap_or(Entry::None)
}

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// RFC 6184 §5.3: one NAL unit, several (STAP-A), or a piece of one (FU-A).
fn h264(payload: &[u8]) -> Option<Entry> {
    match payload.first()? & 0x1f {
        STAP_A => {
            let mut rest = payload.get(1..)?;
            let mut found = Entry::None;
            while let [high, low, tail @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let unit = tail.get(..length)?;
                match nal_unit(unit.first()? & 0x1f, unit.get(1)) {
                    Entry::Sequence => return Some(Entry::Sequence),
                    Entry::Picture => found = Entry::Picture,
                    Entry::None => {}
                }
                rest = tail.get(length..)?;
            }
            Some(found)
        }
        FU_A => {
            let header = payload.get(1)?;
            let starts = header & 0x80 != 0;
            Some(if starts { nal_unit(header & 0x1f, payload.get(2)) } else { Entry::None })
        }
        kind => Some(nal_unit(kind, payload.get(1))),
    }
}

/// A slice's header begins with the number of its first macroblock, in Exp-Golomb: a set bit is 0, the picture's start.
fn nal_unit(kind: u8, first_byte: Option<&u8>) -> Entry {
    match (kind, first_byte) {
        (SPS, _) => Entry::Sequence,
        (IDR, Some(byte)) if byte & 0x80 != 0 => Entry::Picture,
        _ => Entry::None,
    }
}

/// RFC 7741 §4.2: the payload descriptor, then the frame's own first byte, whose lowest bit is clear for a keyframe.
fn vp8(payload: &[u8]) -> Option<Entry> {
    let descriptor = *payload.first()?;
    // S, and the first partition: the frame's start.
    if descriptor & 0x17 != 0x10 {
        return Some(Entry::None);
    }
    let mut at = 1;
    if descriptor & 0x80 != 0 {
        let extension = *payload.get(at)?;
        at += 1;
        if extension & 0x80 != 0 {
            // A picture id of 7 or 15 bits.
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extension & 0x40 != 0);
        at += usize::from(extension & 0x30 != 0);
    }
    let keyframe = payload.get(at)? & 1 == 0;
    Some(if keyframe { Entry::Sequence } else { Entry::None })
}

/// RFC 9628 §4.2: begins a frame (B), not predicted from another picture (P clear), lowest spatial layer.
fn vp9(payload: &[u8]) -> Option<Entry> {
    let descriptor = *payload.first()?;
    if descriptor & 0x48 != 0x08 {
        return Some(Entry::None);
    }
    let mut at = 1;
    if descriptor & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let spatial = if descriptor & 0x20 != 0 { payload.get(at)? >> 1 & 7 } else { 0 };
    Some(if spatial == 0 { Entry::Sequence } else { Entry::None })
}

/// AV1's RTP payload format §4.4: the aggregation header says that a coded video sequence begins (N); else its first
/// OBU is a sequence header.
fn av1(payload: &[u8]) -> Option<Entry> {
    let header = *payload.first()?;
    let (continues, count, new) = (header & 0x80 != 0, header >> 4 & 3, header & 0x08 != 0);
    if continues {
        return Some(Entry::None);
    }
    let mut at = 1;
    if count != 1 {
        // The first element's length, LEB128.
        while payload.get(at)? & 0x80 != 0 {
            at += 1;
            if at > 8 {
                return None;
            }
        }
        at += 1;
    }
    let sequence_header = payload.get(at)? >> 3 & 0xf == 1;
    Some(if new || sequence_header { Entry::Sequence } else { Entry::None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keyframes_of_each_codec_are_known() {
        use Codec::{Av1, H264, Vp8, Vp9};
        use Entry::{None, Picture, Sequence};
        for (codec, payload, expected) in [
            (H264, &[0x67, 0x42, 0xe0][..], Sequence),
            (H264, &[0x68, 0xce], None),
            (H264, &[0x06, 0x05, 0x10], None),
            (H264, &[0x65, 0x88, 0x84], Picture),
            (H264, &[0x65, 0x40, 0x84], None),
            (H264, &[0x41, 0x9a], None),
            // STAP-A of an access unit delimiter, then SPS, PPS; of PPS and an IDR slice.
            (H264, &[0x78, 0, 2, 0x09, 0x10, 0, 2, 0x67, 0x42, 0, 1, 0x68], Sequence),
            (H264, &[0x78, 0, 1, 0x68, 0, 2, 0x65, 0x88], Picture),
            (H264, &[0x78, 0, 9, 0x67], None),
            // FU-A of an IDR: its start, its middle; and of another slice.
            (H264, &[0x7c, 0x85, 0x88], Picture),
            (H264, &[0x7c, 0x05, 0x88], None),
            (H264, &[0x7c, 0x81, 0x9a], None),
            (Vp8, &[0x10, 0x00], Sequence),
            (Vp8, &[0x10, 0x01], None),
            (Vp8, &[0x11, 0x00], None),
            (Vp8, &[0x00, 0x00], None),
            // With a picture id of 15 bits, TL0PICIDX and TID/KEYIDX.
            (Vp8, &[0x90, 0xe0, 0x80, 0x01, 0x05, 0x20, 0x10], Sequence),
            (Vp8, &[0x90, 0xe0, 0x80, 0x01, 0x05, 0x20, 0x11], None),
            (Vp8, &[0x90, 0x80, 0x81], None),
            (Vp9, &[0x8a, 0x80, 0x01], Sequence),
            (Vp9, &[0xca, 0x80, 0x01], None),
            (Vp9, &[0x82, 0x80, 0x01], None),
            (Vp9, &[0xaa, 0x05, 0x00, 0x00], Sequence),
            (Vp9, &[0xaa, 0x05, 0x02, 0x00], None),
            (Av1, &[0x18, 0x0a], Sequence),
            (Av1, &[0x10, 0x0a], Sequence),
            (Av1, &[0x10, 0x32], None),
            (Av1, &[0x98, 0x0a], None),
            (Av1, &[0x20, 0x0b, 0x0a], Sequence),
            (Av1, &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0a], None),
        ] {
            assert_eq!(entry(codec, payload), expected, "{codec} {payload:02x?}");
            // Cut short, it never says more than whole.
            for end in 0..payload.len() {
                entry(codec, &payload[..end]);
            }
        }
        assert_eq!(entry(H264, &[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for codec in Codec::VIDEO {
                entry(codec, &bytes);
            }
        }
    }
}
