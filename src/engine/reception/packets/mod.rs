//! MPEG-TS (ISO/IEC 13818-1) taken apart: packets to tables and to the access units of one picture and one sound. Pure.
//!
//! Not `tsdemux`: picture and sound are graphs of their own, each rebuilt alone, and must agree to the sample on what time it
//! is; one place that reads the times for both makes that so. It also gives whole access units as soon as they are whole,
//! where `tsdemux` and the parser behind it wait for the next two.

use super::program::{Program, Track, read_pat, read_pmt};
use crate::media::MediaKind;

/// Bytes of a packet.
pub(super) const PACKET: usize = 188;

/// The most that one access unit may have; a picture of 100 Mbit/s with one keyframe a second stays below.
const MOST: [usize; 2] = [8_000_000, 1_000_000];

/// A table's section may have so many bytes.
const SECTION: usize = 1024;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What the stream consists of, when that is told first or changes.
    Program(Program),
    /// One access unit, or some of sound.
    Unit(Unit),
}

/// An access unit of the picture, or some of the sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) kind: MediaKind,
    /// Of the first, in 1/90000 s, 33 bits.
    pub(super) pts: u64,
    /// The same, when it is to be decoded.
    pub(super) dts: u64,
    /// The packets say that decoding can begin here.
    pub(super) random: bool,
    pub(super) bytes: Vec<u8>,
}

/// What could not be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Bytes that belong to no packet.
    pub(super) garbage: u64,
    /// Access units with a hole in them, or without a time.
    pub(super) broken: u64,
}

/// Reads a stream from any point on, in pieces of any size.
#[derive(Default)]
pub(super) struct Demux {
    /// The beginning of a packet.
    rest: Vec<u8>,
    /// Packets follow each other; else where one begins is a guess until the next one has, too.
    in_step: bool,
    pat: Section,
    pmt: Section,
    pmt_pid: Option<u16>,
    program: Option<Program>,
    picture: Assembly,
    sound: Assembly,
    losses: Losses,
}

impl Demux {
    pub(super) fn losses(&self) -> Losses {
        self.losses
    }

    /// Forgets the stream, but not what was lost.
    pub(super) fn restart(&mut self) {
        *self = Demux { losses: self.losses, ..Demux::default() };
    }

    /// Takes bytes as they come.
    pub(super) fn push(&mut self, bytes: &[u8], found: &mut impl FnMut(Found)) {
        let joined;
        let mut left = if self.rest.is_empty() {
            bytes
        } else {
            self.rest.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.rest);
            &joined[..]
        };
        while left.len() >= PACKET + usize::from(!self.in_step) {
            if left[0] != 0x47 || left.get(PACKET).is_some_and(|next| *next != 0x47) {
                self.in_step = false;
                let skip = 1 + left[1..].iter().position(|byte| *byte == 0x47).unwrap_or(left.len() - 1);
                self.losses.garbage += skip as u64;
                left = &left[skip..];
                continue;
            }
            self.in_step = true;
            let (packet, after) = left.split_at(PACKET);
            self.packet(packet, found);
            left = after;
        }
        self.rest = left.to_vec();
    }

    fn packet(&mut self, packet: &[u8], found: &mut impl FnMut(Found)) {
        let begins = packet[1] & 0x40 != 0;
        let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        // Damaged on the way, or scrambled.
        if packet[1] & 0x80 != 0 || packet[3] & 0xc0 != 0 {
            return;
        }
        let (mut at, mut random, mut stuffed) = (4, false, false);
        if packet[3] & 0x20 != 0 {
            let length = usize::from(packet[4]);
            at = 5 + length;
            if length > 0 {
                let flags = packet[5];
                random = flags & 0x40 != 0;
                let used = if flags & 0x10 != 0 { 7 } else { 1 };
                stuffed = flags & 0x0f == 0 && (length > used || flags == 0);
            } else {
                stuffed = true;
            }
        }
        if packet[3] & 0x10 == 0 || at >= PACKET {
            return;
        }
        let (payload, count) = (&packet[at..], packet[3] & 0x0f);
        if pid == 0 {
            if let Some(section) = self.pat.take(payload, begins)
                && let Some(pmt) = read_pat(section)
                && self.pmt_pid != Some(pmt)
            {
                (self.pmt_pid, self.pmt) = (Some(pmt), Section::default());
            }
        } else if Some(pid) == self.pmt_pid {
            if let Some(program) = self.pmt.take(payload, begins).and_then(read_pmt)
                && self.program.as_ref() != Some(&program)
            {
                (self.picture, self.sound) = (Assembly::default(), Assembly::default());
                self.program = Some(program.clone());
                found(Found::Program(program));
            }
        } else if let Some(program) = &self.program {
            let is = |track: &Option<Track>| track.as_ref().is_some_and(|track| track.pid == pid);
            let (assembly, kind) = if is(&program.picture) {
                (&mut self.picture, MediaKind::Video)
            } else if is(&program.sound) {
                (&mut self.sound, MediaKind::Audio)
            } else {
                return;
            };
            assembly.take(kind, payload, &Marks { begins, count, random, stuffed }, &mut self.losses, found);
        }
    }
}

/// A table in the making.
#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
}

impl Section {
    /// The section, once it is whole: from its table id up to its checksum.
    fn take(&mut self, payload: &[u8], begins: bool) -> Option<&[u8]> {
        if begins {
            let at = 1 + usize::from(payload[0]);
            self.bytes.clear();
            self.bytes.extend_from_slice(payload.get(at..)?);
        } else if !self.bytes.is_empty() && self.bytes.len() < SECTION {
            self.bytes.extend_from_slice(payload);
        }
        let length = 3 + (usize::from(*self.bytes.get(1)? & 0x0f) << 8 | usize::from(*self.bytes.get(2)?));
        let whole = self.bytes.get(..length)?;
        ((12..=SECTION).contains(&length) && checksum(whole) == 0).then(|| &whole[..length - 4])
    }
}

/// CRC-32/MPEG-2; over a section with its checksum it is zero.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 1 << 31 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

/// What a packet's header says.
struct Marks {
    begins: bool,
    /// Continuity counter.
    count: u8,
    random: bool,
    /// Filled up with nothing: as muxers do with the last packet of an access unit.
    stuffed: bool,
}

/// One access unit in the making.
#[derive(Default)]
struct Assembly {
    count: Option<u8>,
    unit: Option<Unit>,
    /// Bytes to come, where the header says.
    expected: Option<usize>,
    broken: bool,
    /// A unit was taken for whole and was not: this muxer fills up packets elsewhere, too.
    misled: bool,
    /// A unit was taken for whole, and no other has begun.
    gave: bool,
}

impl Assembly {
    fn take(
        &mut self,
        kind: MediaKind,
        payload: &[u8],
        marks: &Marks,
        losses: &mut Losses,
        found: &mut impl FnMut(Found),
    ) {
        let before = self.count.replace(marks.count);
        if before == Some(marks.count) {
            return;
        }
        let skipped = before.is_some_and(|before| (before + 1) & 0x0f != marks.count);
        self.broken |= skipped && (self.unit.is_some() || !marks.begins);
        if marks.begins {
            self.give(losses, found);
            (self.broken, self.gave) = (false, false);
            match header(payload) {
                Some((pts, dts, at, expected)) => {
                    let bytes = payload.get(at..).unwrap_or_default().to_vec();
                    self.unit = Some(Unit { kind, pts, dts, random: marks.random, bytes });
                    self.expected = expected;
                }
                None => losses.broken += 1,
            }
        } else if let Some(unit) = &mut self.unit {
            unit.bytes.extend_from_slice(payload);
        } else if self.gave && !skipped {
            self.misled = true;
        }
        let Some(unit) = &self.unit else { return };
        if unit.bytes.len() > MOST[usize::from(kind == MediaKind::Audio)] {
            self.unit = None;
            losses.broken += 1;
        } else if self.expected.is_some_and(|expected| unit.bytes.len() >= expected)
            || (self.expected.is_none() && marks.stuffed && !self.misled)
        {
            self.give(losses, found);
            self.gave = true;
        }
    }

    fn give(&mut self, losses: &mut Losses, found: &mut impl FnMut(Found)) {
        let Some(unit) = self.unit.take() else { return };
        if self.broken || unit.bytes.is_empty() {
            losses.broken += 1;
        } else {
            found(Found::Unit(unit));
        }
    }
}

/// Of a PES packet: PTS, DTS, where its payload begins, and how much that has if that is told.
fn header(bytes: &[u8]) -> Option<(u64, u64, usize, Option<usize>)> {
    let [0, 0, 1, _, high, low, first, flags, length, ..] = bytes else { return None };
    let at = 9 + usize::from(*length);
    let time = |at: usize| {
        let field = bytes.get(at..at + 5)?;
        let part = |index: usize| u64::from(field[index]);
        Some((part(0) >> 1 & 7) << 30 | part(1) << 22 | (part(2) >> 1) << 15 | part(3) << 7 | part(4) >> 1)
    };
    if first & 0xc0 != 0x80 || flags & 0x80 == 0 || *length < 5 {
        return None;
    }
    let pts = time(9)?;
    let dts = if flags & 0x40 != 0 && *length >= 10 { time(14)? } else { pts };
    let told = usize::from(*high) << 8 | usize::from(*low);
    let expected = (told > 0).then(|| (told + 6).saturating_sub(at));
    Some((pts, dts, at, expected))
}

#[cfg(test)]
mod tests;
