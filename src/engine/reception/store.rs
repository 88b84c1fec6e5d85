//! What a graph that joins begins with: the picture from its last keyframe on, the sound that is still to be heard.

use std::collections::VecDeque;

use gstreamer as gst;

use crate::media::MediaKind;

use super::anchor::Place;
use super::packets::Unit;
use super::program::Coding;

/// More is not kept: half a minute of what goes through a usual line.
const BYTES: usize = 24_000_000;

/// An access unit as it is handed to graphs: its bytes are shared, its time is the stream's own.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) bytes: gst::Buffer,
    pub(super) pts: i64,
    pub(super) dts: i64,
    /// Decoding can begin here.
    pub(super) key: bool,
    /// The times have begun anew here.
    pub(super) anew: bool,
}

impl Held {
    /// What a unit consists of; most of itself.
    pub(super) fn of(unit: Unit, place: Place, coding: Coding, mut held: impl FnMut(Held)) {
        let Place { pts, dts, anew } = place;
        match coding {
            Coding::Opus(_) => {
                let mut passed = 0;
                for packet in opus(&unit.bytes) {
                    let (pts, dts) = (pts + passed, dts + passed);
                    let anew = anew && passed == 0;
                    passed += opus_duration(packet);
                    held(Held { bytes: gst::Buffer::from_slice(packet.to_vec()), pts, dts, key: true, anew });
                }
            }
            _ => {
                let key = coding.kind() == MediaKind::Audio || is_key(&unit, coding);
                held(Held { bytes: gst::Buffer::from_slice(unit.bytes), pts, dts, key, anew });
            }
        }
    }
}

/// Kept units of one track.
pub(super) struct Store {
    kind: MediaKind,
    held: VecDeque<Held>,
    bytes: usize,
}

impl Store {
    pub(super) const fn new(kind: MediaKind) -> Store {
        Store { kind, held: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// Keeps one; what nothing can begin with is not kept.
    pub(super) fn keep(&mut self, held: Held) {
        if self.held.is_empty() && !held.key {
            return;
        }
        self.bytes += held.bytes.size();
        self.held.push_back(held);
        if self.bytes > BYTES {
            self.clear();
        }
    }

    /// Leaves out what is over: of the picture, what lies before the last keyframe whose time has come.
    pub(super) fn forget(&mut self, is_past: impl Fn(i64) -> bool) {
        let kind = self.kind;
        let over = |held: &VecDeque<Held>| match kind {
            MediaKind::Audio => held.front().is_some_and(|first| is_past(first.pts)),
            MediaKind::Video => {
                let next = held.iter().skip(1).find(|held| held.key);
                next.is_some_and(|next| is_past(next.dts))
            }
        };
        while over(&self.held) {
            let Some(first) = self.held.pop_front() else { return };
            self.bytes -= first.bytes.size();
            while self.kind == MediaKind::Video && self.held.front().is_some_and(|first| !first.key) {
                if let Some(first) = self.held.pop_front() {
                    self.bytes -= first.bytes.size();
                }
            }
        }
    }
}

/// Whether a picture can be decoded by itself.
fn is_key(unit: &Unit, coding: Coding) -> bool {
    match coding {
        // 7.4.1.2.3 of H.264: a sequence parameter set stands in front of where decoding can begin.
        Coding::H264 => first_of(&unit.bytes, |nal| match nal & 0x1f {
            5 | 7 => Some(true),
            1..=4 => Some(false),
            _ => None,
        }),
        Coding::H265 => first_of(&unit.bytes, |nal| match nal >> 1 & 0x3f {
            16..=21 | 33 => Some(true),
            0..=9 => Some(false),
            _ => None,
        }),
        // A sequence header.
        Coding::Mpeg2 => unit.bytes.windows(4).take(64).any(|bytes| bytes == [0, 0, 1, 0xb3]),
        _ => unit.random,
    }
}

/// What the first unit says that tells; what comes behind the first slice is as long as the picture, and not looked at.
fn first_of(bytes: &[u8], tells: impl Fn(u8) -> Option<bool>) -> bool {
    nal_units(bytes).find_map(|nal| tells(nal[0])).unwrap_or(false)
}

/// What stands behind each start code. The first byte of each is there.
pub(super) fn nal_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let at = left.windows(3).position(|bytes| bytes == [0, 0, 1])?;
        left = left.get(at + 3..)?;
        (!left.is_empty()).then_some(left)
    })
}

/// The packets in a PES of Opus: each behind a header that says how long it is (ETSI TS 103 491, "Opus in MPEG-TS").
fn opus(mut left: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [0x7f, low, rest @ ..] = left else { return None };
        if low & 0xe0 != 0xe0 {
            return None;
        }
        let (mut rest, mut size) = (rest, 0);
        loop {
            let (part, after) = rest.split_first()?;
            (rest, size) = (after, size + usize::from(*part));
            if *part != 255 {
                break;
            }
        }
        // Trims at the start and at the end have two bytes each, an extension says how many it has.
        rest = rest.get(if low & 0x10 != 0 { 2 } else { 0 } + if low & 0x08 != 0 { 2 } else { 0 }..)?;
        if low & 0x04 != 0 {
            let (length, after) = rest.split_first()?;
            rest = after.get(usize::from(*length)..)?;
        }
        let packet = rest.get(..size).filter(|packet| !packet.is_empty())?;
        left = &rest[size..];
        Some(packet)
    })
}

/// In nanoseconds (RFC 6716, 3.1).
fn opus_duration(packet: &[u8]) -> i64 {
    let config = packet[0] >> 3;
    let frame: i64 = match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match packet[0] & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => i64::from(packet.get(1).map_or(1, |count| count & 0x3f)),
    };
    frame * frames * 1000
}
