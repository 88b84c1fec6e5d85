//! What swarm needs to know about each codec: packetizing on the way out,
//! spotting keyframes on the way in.

use clap::ValueEnum;
use str0m::format::Codec as Format;

use crate::stamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    H264,
    Vp8,
    Vp9,
    Opus,
}

impl Codec {
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::Vp8 => "vp8",
            Codec::Vp9 => "vp9",
            Codec::Opus => "opus",
        }
    }
}

/// A packet ready to be copied, patched and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pub payload: Vec<u8>,
    /// Where the send-time stamp goes.
    pub stamp_at: Option<usize>,
    /// Where the 15-bit picture id goes.
    pub picture_id_at: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub key: bool,
    pub packets: Vec<Template>,
}

impl Frame {
    pub fn bytes(&self) -> usize {
        self.packets.iter().map(|p| p.payload.len()).sum()
    }
}

/// Splits `len` bytes into the fewest nearly equal pieces of at most `max`.
fn pieces(len: usize, max: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let n = len.div_ceil(max).max(1);
    (0..n).map(move |i| len * i / n..len * (i + 1) / n)
}

pub mod h264 {
    use super::*;

    const IDR: u8 = 5;
    const SEI: u8 = 6;
    const SPS: u8 = 7;
    const PPS: u8 = 8;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;

    /// The NAL units of an Annex-B byte stream, without start codes.
    pub fn nals(stream: &[u8]) -> Vec<&[u8]> {
        let mut starts = Vec::new();
        let mut i = 0;
        while i + 3 <= stream.len() {
            if stream[i..i + 3] == [0, 0, 1] {
                starts.push(i);
                i += 3;
            } else {
                i += 1;
            }
        }
        let mut out = Vec::new();
        for (n, &start) in starts.iter().enumerate() {
            let end = starts.get(n + 1).copied().unwrap_or(stream.len());
            let mut nal = &stream[start + 3..end];
            // Zeros before the next start code are not part of the NAL.
            while let [rest @ .., 0] = nal {
                nal = rest;
            }
            if !nal.is_empty() {
                out.push(nal);
            }
        }
        out
    }

    /// Groups NAL units into access units, keeping only SPS, PPS and slices.
    pub fn access_units<'a>(nals: &[&'a [u8]]) -> Vec<Vec<&'a [u8]>> {
        let mut out: Vec<Vec<&[u8]>> = Vec::new();
        let mut unit: Vec<&[u8]> = Vec::new();
        let mut has_slice = false;
        for nal in nals {
            let slice = matches!(nal[0] & 31, 1..=5);
            let first_slice = slice && nal.get(1).is_some_and(|b| b & 0x80 != 0);
            let opens = first_slice || matches!(nal[0] & 31, 6..=9 | 14..=18);
            if has_slice && opens {
                out.push(std::mem::take(&mut unit));
                has_slice = false;
            }
            has_slice |= slice;
            if slice || matches!(nal[0] & 31, SPS | PPS) {
                unit.push(nal);
            }
        }
        if has_slice {
            out.push(unit);
        }
        out
    }

    /// RFC 6184, non-interleaved mode: the stamp's SEI (with the parameter
    /// sets, where there are any) goes first, then the slices.
    pub fn packetize(unit: &[&[u8]], max: usize) -> Frame {
        let mut sei = vec![SEI, 5, stamp::LEN as u8];
        sei.resize(3 + stamp::LEN, 0);
        sei.push(0x80);
        let (sets, slices): (Vec<&[u8]>, Vec<&[u8]>) =
            unit.iter().partition(|n| matches!(n[0] & 31, SPS | PPS));

        let mut packets = Vec::new();
        if sets.is_empty() {
            packets.push(Template { payload: sei, stamp_at: Some(3), ..Template::default() });
        } else {
            let mut payload = vec![STAP_A | 0x60];
            let mut stamp_at = None;
            for nal in sets.iter().copied().chain([&sei[..]]) {
                payload.extend((nal.len() as u16).to_be_bytes());
                stamp_at = Some(payload.len() + 3); // in the end, that of the SEI
                payload.extend(nal);
            }
            packets.push(Template { payload, stamp_at, ..Template::default() });
        }
        for nal in &slices {
            if nal.len() <= max {
                packets.push(Template { payload: nal.to_vec(), ..Template::default() });
                continue;
            }
            let body = &nal[1..];
            for piece in pieces(body.len(), max - 2) {
                let mut fu = nal[0] & 31;
                fu |= if piece.start == 0 { 0x80 } else { 0 };
                fu |= if piece.end == body.len() { 0x40 } else { 0 };
                let mut payload = vec![nal[0] & 0xe0 | FU_A, fu];
                payload.extend(&body[piece]);
                packets.push(Template { payload, ..Template::default() });
            }
        }
        Frame { key: slices.iter().any(|n| n[0] & 31 == IDR), packets }
    }

    pub fn starts_keyframe(payload: &[u8]) -> bool {
        let starts = |kind: u8| kind == IDR || kind == SPS;
        match payload.first().map(|b| b & 31) {
            Some(STAP_A) => {
                let mut rest = &payload[1..];
                while let [hi, lo, nal @ ..] = rest {
                    let len = usize::from(u16::from_be_bytes([*hi, *lo]));
                    if nal.first().is_some_and(|b| starts(b & 31)) {
                        return true;
                    }
                    rest = nal.get(len..).unwrap_or(&[]);
                }
                false
            }
            Some(FU_A) => payload.get(1).is_some_and(|b| b & 0x80 != 0 && starts(b & 31)),
            Some(kind) => starts(kind),
            None => false,
        }
    }
}

pub mod vp8 {
    use super::*;

    pub fn packetize(data: &[u8], max: usize) -> Frame {
        let mut data = data.to_vec();
        let key = data.first().is_some_and(|b| b & 1 == 0);
        let body = data.len();
        data.resize(body + stamp::LEN, 0);
        let mut packets = Vec::new();
        for piece in pieces(data.len(), max - 4) {
            let start = if piece.start == 0 { 0x10 } else { 0 };
            let mut payload = vec![0x80 | start, 0x80, 0x80, 0];
            payload.extend(&data[piece.clone()]);
            let stamp_at = (piece.end == data.len()).then(|| payload.len() - stamp::LEN);
            packets.push(Template { payload, stamp_at, picture_id_at: Some(2) });
        }
        Frame { key, packets }
    }

    pub fn starts_keyframe(payload: &[u8]) -> bool {
        let Some(&first) = payload.first() else { return false };
        let mut at = 1;
        if first & 0x80 != 0 {
            let ext = payload.get(at).copied().unwrap_or(0);
            at += 1;
            if ext & 0x80 != 0 {
                at += if payload.get(at).is_some_and(|b| b & 0x80 != 0) { 2 } else { 1 };
            }
            at += usize::from(ext & 0x40 != 0) + usize::from(ext & 0x30 != 0);
        }
        first & 0x17 == 0x10 && payload.get(at).is_some_and(|b| b & 1 == 0)
    }
}

pub mod vp9 {
    use super::*;

    /// frame_marker 2, profile 0, show_existing_frame 1, of slot 0 (LAST).
    const SHOW_EXISTING: u8 = 0b1000_1000;

    pub fn packetize(data: &[u8], size: (u16, u16), max: usize) -> Frame {
        // frame_marker(2) profile(2) show_existing(1) frame_type(1): 0 is key.
        let key = data.first().is_some_and(|b| b & 0b1100_1100 == 0b1000_0000);
        let mut data = data.to_vec();
        let body = data.len() as u32;
        // A superframe of the frame and one that carries the stamp.
        data.push(SHOW_EXISTING);
        data.resize(data.len() + stamp::LEN, 0);
        let index = 0b1101_1001; // marker 110, four-byte sizes, two frames
        let mut tail = vec![index];
        tail.extend(body.to_le_bytes());
        tail.extend((1 + stamp::LEN as u32).to_le_bytes());
        tail.push(index);
        let stamp_from_end = tail.len() + stamp::LEN;
        data.extend(tail);

        let mut packets = Vec::new();
        for piece in pieces(data.len(), max - 3 - 7) {
            let (first, last) = (piece.start == 0, piece.end == data.len());
            let mut desc = 0x80; // picture id present, not flexible, no layers
            desc |= if key { 0 } else { 0x40 };
            desc |= if first { 0x08 } else { 0 };
            desc |= if last { 0x04 } else { 0 };
            desc |= if key && first { 0x02 } else { 0 };
            let mut payload = vec![desc, 0x80, 0];
            if key && first {
                payload.push(0x10); // one spatial layer, with its size
                payload.extend(size.0.to_be_bytes());
                payload.extend(size.1.to_be_bytes());
            }
            payload.extend(&data[piece]);
            let stamp_at = last.then(|| payload.len() - stamp_from_end);
            packets.push(Template { payload, stamp_at, picture_id_at: Some(1) });
        }
        Frame { key, packets }
    }

    pub fn starts_keyframe(payload: &[u8]) -> bool {
        let Some(&desc) = payload.first() else { return false };
        let mut at = 1;
        if desc & 0x80 != 0 {
            at += if payload.get(at).is_some_and(|b| b & 0x80 != 0) { 2 } else { 1 };
        }
        // Spatial layer 0, where there are layers.
        let base = desc & 0x20 == 0 || payload.get(at).is_some_and(|b| b & 0x0e == 0);
        desc & 0x48 == 0x08 && base
    }
}

pub mod opus {
    use super::*;

    /// Twenty milliseconds of silence, padded to `len` bytes (RFC 6716, 3.2.5),
    /// with the stamp at the very end.
    pub fn silence(len: usize) -> Template {
        // CELT fullband mono 20 ms, code 3; one frame of two bytes, with padding.
        let mut payload = vec![0xf8 | 3, 0x40 | 1];
        let pad = len.max(8 + stamp::LEN) - 2 - 2;
        // Each length byte of 255 stands for 254 bytes and a further length byte.
        let mut length = pad - 1;
        let mut lengths = Vec::new();
        while length >= 255 {
            lengths.push(255);
            length -= 255; // 254 of padding and the length byte itself
        }
        lengths.push(length as u8);
        let zeros = pad - lengths.len();
        payload.extend(lengths);
        payload.extend([0xff, 0xfe]);
        payload.resize(payload.len() + zeros, 0);
        let stamp_at = payload.len() - stamp::LEN;
        Template { payload, stamp_at: Some(stamp_at), picture_id_at: None }
    }
}

/// AV1 is only ever viewed, never published.
fn av1_starts_keyframe(payload: &[u8]) -> bool {
    // First packet of a coded video sequence, not the continuation of an OBU.
    payload.first().is_some_and(|b| b & 0x88 == 0x08)
}

pub fn starts_keyframe(format: Format, payload: &[u8]) -> bool {
    match format {
        Format::H264 => h264::starts_keyframe(payload),
        Format::Vp8 => vp8::starts_keyframe(payload),
        Format::Vp9 => vp9::starts_keyframe(payload),
        Format::Av1 => av1_starts_keyframe(payload),
        _ => false,
    }
}

/// Looks for a stamp where this codec would carry one.
pub fn find_stamp(format: Format, payload: &[u8], marker: bool) -> Option<stamp::Stamp> {
    match format {
        // A lone SEI or an aggregate.
        Format::H264 if matches!(payload.first()? & 31, 6 | 24) => stamp::Stamp::find(payload),
        Format::Vp8 | Format::Vp9 if marker => {
            stamp::Stamp::find(&payload[payload.len().saturating_sub(stamp::LEN + 16)..])
        }
        Format::Opus => stamp::Stamp::find(&payload[payload.len().saturating_sub(stamp::LEN)..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    const STAMP: Stamp = Stamp { sent_ns: 1_700_000_000_000_000_000, frame: 7, packets: 9 };

    fn stamped(frame: &Frame) -> Vec<Vec<u8>> {
        let patch = |t: &Template| {
            let mut p = t.payload.clone();
            if let Some(at) = t.stamp_at {
                STAMP.write(&mut p[at..]);
            }
            p
        };
        frame.packets.iter().map(patch).collect()
    }

    /// The stamp is found in exactly one packet, and keyframes start where they should.
    fn check(format: Format, frame: &Frame, max: usize) {
        let packets = stamped(frame);
        let last = packets.len() - 1;
        let found: Vec<_> =
            packets.iter().enumerate().filter_map(|(i, p)| find_stamp(format, p, i == last)).collect();
        assert_eq!(found, [STAMP], "{format:?}");
        assert!(packets.iter().all(|p| p.len() <= max));
        let keys: Vec<_> = packets.iter().map(|p| starts_keyframe(format, p)).collect();
        assert_eq!(keys[0], frame.key, "{format:?}");
    }

    #[test]
    fn h264_access_units_and_fragments() {
        let mut idr = vec![0x65, 0x88];
        idr.extend((0..3000).map(|i| (i % 251) as u8 + 1));
        let stream = [
            &[0, 0, 0, 1, 9, 0xf0][..],
            &[0, 0, 0, 1, 0x67, 1, 2, 3],
            &[0, 0, 0, 1, 0x68, 4],
            &[0, 0, 1, 6, 5, 1, 1, 0x80],
            &[0, 0, 1],
            &idr,
            &[0, 0, 0, 1, 9, 0xf0],
            &[0, 0, 0, 1, 0x41, 0x9a, 1],
            &[0, 0, 1, 0x41, 0x1a, 2], // second slice of the same picture
            &[0, 0, 0, 1, 0x41, 0x9a, 3, 0, 0],
        ]
        .concat();
        let nals = h264::nals(&stream);
        let units = h264::access_units(&nals);
        let sizes: Vec<_> = units.iter().map(|u| u.len()).collect();
        assert_eq!(sizes, [3, 2, 1]);
        assert_eq!(units[2][0], [0x41, 0x9a, 3]);

        let key = h264::packetize(&units[0], 1000);
        assert!(key.key);
        check(Format::H264, &key, 1000);
        // The fragments put the slice back together.
        let mut back = vec![];
        for (i, p) in key.packets[1..].iter().enumerate() {
            assert_eq!(p.payload[0] & 31, 28);
            assert_eq!(p.payload[1] & 0x80 != 0, i == 0);
            assert_eq!(p.payload[1] & 0x40 != 0, i == key.packets.len() - 2);
            if i == 0 {
                back.push(p.payload[0] & 0xe0 | p.payload[1] & 31);
            }
            back.extend(&p.payload[2..]);
        }
        assert_eq!(back, idr);

        let delta = h264::packetize(&units[1], 1000);
        assert!(!delta.key);
        check(Format::H264, &delta, 1000);
    }

    #[test]
    fn vp8_and_vp9_carry_the_stamp_whole() {
        for len in [10, 900, 951, 952, 953, 999, 1000, 1001, 5000] {
            let mut key = vec![1; len];
            key[0] = 0x10;
            let frame = vp8::packetize(&key, 1000);
            assert!(frame.key);
            check(Format::Vp8, &frame, 1000);
            key[0] = 0x11;
            let frame = vp8::packetize(&key, 1000);
            assert!(!frame.key);
            check(Format::Vp8, &frame, 1000);

            key[0] = 0b1000_0010;
            let frame = vp9::packetize(&key, (1280, 720), 1000);
            assert!(frame.key);
            check(Format::Vp9, &frame, 1000);
            key[0] = 0b1000_0110;
            let frame = vp9::packetize(&key, (1280, 720), 1000);
            assert!(!frame.key);
            check(Format::Vp9, &frame, 1000);
        }
    }

    #[test]
    fn opus_padding_adds_up() {
        for len in [0, 60, 160, 257, 258, 259, 300, 600, 1000] {
            let t = opus::silence(len);
            assert_eq!(t.payload.len(), len.max(8 + stamp::LEN));
            // Parse it the way a decoder does.
            let mut at = 2;
            let mut padding = 0;
            loop {
                let b = t.payload[at];
                at += 1;
                padding += if b == 255 { 254 } else { usize::from(b) };
                if b != 255 {
                    break;
                }
            }
            assert_eq!(t.payload[at..t.payload.len() - padding], [0xff, 0xfe], "length {len}");
            assert!(padding >= stamp::LEN);
            check(Format::Opus, &Frame { key: false, packets: vec![t] }, 2000);
        }
    }
}
