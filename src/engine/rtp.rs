//! From the payloader's RTP packets to frames.

use std::sync::Arc;

use gstreamer as gst;

use crate::media::{MediaTime, Packet, RtpTime};

/// A frame of more packets than this is not one: a payloader that never sets the marker bit.
const MOST_PACKETS: usize = 4096;

/// The parts of an RTP header (RFC 3550 §5.1) that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    marker: bool,
    sequence: u16,
    /// Where the payload begins and ends in the packet.
    payload: (usize, usize),
}

impl Header {
    /// Skips CSRCs, header extension and padding. None when it is not RTP version 2 or cut short.
    fn read(packet: &[u8]) -> Option<Header> {
        let (first, second) = (*packet.first()?, *packet.get(1)?);
        if first >> 6 != 2 {
            return None;
        }
        let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let mut start = 12 + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            start += 4 + usize::from(word(start + 2)?) * 4;
        }
        let padding = if first & 0x20 != 0 { usize::from(*packet.last()?) } else { 0 };
        let end = packet.len().checked_sub(padding)?;
        (start <= end).then_some(Header {
            marker: second & 0x80 != 0,
            sequence: word(2)?,
            payload: (start, end),
        })
    }
}

/// Collects packets until a frame is whole. The marker bit ends a picture (`rtph264pay` may hand one picture over in
/// several lists); of sound every packet is a frame.
pub(super) struct Assembler {
    marker_ends: bool,
    scratch: Vec<u8>,
    open: Vec<Packet>,
    pts: Option<MediaTime>,
    /// Extended sequence number of the last packet.
    sequence: Option<u64>,
    usual: usize,
}

impl Assembler {
    pub(super) fn new(marker_ends: bool) -> Assembler {
        Assembler {
            marker_ends,
            scratch: Vec::with_capacity(2048),
            open: Vec::new(),
            pts: None,
            sequence: None,
            usual: 1,
        }
    }

    /// Takes one packet and gives the frames that it completes to `frame`, with their PTS. The packets' RTP times are
    /// not set; their sequence numbers are the payloader's, extended. False when it cannot be read.
    ///
    /// One copy and one allocation a packet: the payload's.
    pub(super) fn take(
        &mut self,
        buffer: &gst::BufferRef,
        pts: Option<MediaTime>,
        mut frame: impl FnMut(MediaTime, Vec<Packet>),
    ) -> bool {
        let read = if buffer.n_memory() == 1 {
            let Ok(map) = buffer.map_readable() else { return false };
            self.packet(&map)
        } else {
            // Header and payload are apart: gathered here rather than by `map_readable`, which would allocate.
            let mut gathered = std::mem::take(&mut self.scratch);
            gathered.clear();
            for memory in buffer.iter_memories() {
                if let Ok(map) = memory.map_readable() {
                    gathered.extend_from_slice(&map);
                }
            }
            let read = self.packet(&gathered);
            self.scratch = gathered;
            read
        };
        let Some(packet) = read else { return false };
        let marker = packet.marker;
        let Some(pts) = pts.or(self.pts) else { return false };
        if self.pts.is_some_and(|open| open != pts) && !self.open.is_empty() {
            // The marker never came; the next picture's first packet ends this one.
            self.close(&mut frame);
        }
        self.pts = Some(pts);
        if self.open.is_empty() {
            self.open.reserve_exact(self.usual);
        }
        if !packet.payload.is_empty() {
            self.open.push(packet);
        }
        if marker || !self.marker_ends || self.open.len() >= MOST_PACKETS {
            self.close(&mut frame);
        }
        true
    }

    fn packet(&mut self, bytes: &[u8]) -> Option<Packet> {
        let header = Header::read(bytes)?;
        let sequence = extend(self.sequence, header.sequence);
        self.sequence = Some(sequence);
        let (start, end) = header.payload;
        Some(Packet {
            sequence,
            rtp_time: RtpTime::default(),
            marker: header.marker,
            payload: Arc::from(&bytes[start..end]),
        })
    }

    fn close(&mut self, frame: &mut impl FnMut(MediaTime, Vec<Packet>)) {
        let packets = std::mem::take(&mut self.open);
        self.usual = packets.len().clamp(1, 64);
        if let Some(pts) = self.pts
            && !packets.is_empty()
        {
            frame(pts, packets);
        }
    }
}

/// The extended number nearest to the last one. Starts above 0, so that a step back never underflows.
fn extend(last: Option<u64>, sequence: u16) -> u64 {
    let Some(last) = last else { return (1 << 16) + u64::from(sequence) };
    let step = sequence.wrapping_sub(last as u16).cast_signed();
    last.saturating_add_signed(step.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_sources_and_padding_are_not_payload() {
        let plain = [0x80, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8, 9];
        let header = Header::read(&plain).unwrap();
        assert_eq!(header, Header { marker: true, sequence: 0x1234, payload: (12, 15) });
        let mut full = vec![0xb0 | 2, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2];
        full.extend([0; 8]);
        full.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        full.extend([42, 43, 0, 0, 3]);
        let header = Header::read(&full).unwrap();
        assert_eq!((header.payload, header.marker), ((28, 30), false));
        for cut in 0..12 {
            assert_eq!(Header::read(&plain[..cut]), None, "{cut}");
        }
        assert_eq!(Header::read(&full[..22]), None);
        assert_eq!(Header::read(&[0x40; 20]), None, "version 1");
        let mut padded = plain;
        padded[0] |= 0x20;
        padded[14] = 200;
        assert_eq!(Header::read(&padded), None, "more padding than packet");
    }

    #[test]
    fn sequence_numbers_go_on_across_the_wrap_and_back() {
        let mut last = None;
        let mut seen = Vec::new();
        for sequence in [65_534u16, 65_535, 0, 1, 65_535, 2] {
            last = Some(extend(last, sequence));
            seen.push(last.unwrap() - (1 << 16));
        }
        assert_eq!(seen, [65_534, 65_535, 65_536, 65_537, 65_535, 65_538]);
    }
}
