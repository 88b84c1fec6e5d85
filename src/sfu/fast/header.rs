//! The RTP header of one sender, written once: a packet changes a few bytes of it.

/// Room for a header with every extension there is.
const ROOM: usize = 96;
const FIXED: usize = 12;
/// RFC 8285: what announces extensions, and what says that each has a byte, or two, before it.
const WORD: usize = 4;
const ONE_BYTE: [u8; 2] = [0xbe, 0xde];
const TWO_BYTES: [u8; 2] = [0x10, 0x00];

/// Identifiers of the extensions that a viewer takes on one m-line.
#[derive(Clone, Debug, Default)]
pub(in crate::sfu) struct Extensions {
    /// Transport-wide sequence number.
    pub(in crate::sfu) transport: Option<u8>,
    /// Playout delay.
    pub(in crate::sfu) playout: Option<u8>,
    /// Capture time, orientation of the picture and level of the sound; only in packets that have one.
    pub(in crate::sfu) capture: Option<u8>,
    pub(in crate::sfu) orientation: Option<u8>,
    pub(in crate::sfu) level: Option<u8>,
    /// The mid, and what it is.
    pub(in crate::sfu) mid: Option<(u8, String)>,
}

/// A header to copy.
#[derive(Clone, Debug)]
pub(super) struct Header {
    bytes: [u8; ROOM],
    /// Of what every packet has.
    length: usize,
    one_byte: bool,
    /// Where the transport-wide number stands, and where the playout delay does.
    transport: Option<usize>,
    playout: Option<usize>,
    /// What only some have, by identifier.
    capture: Option<u8>,
    orientation: Option<u8>,
    level: Option<u8>,
}

/// What one packet says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) time: u32,
    pub(super) ssrc: u32,
    pub(super) transport: u16,
    /// The payload is padding alone, its last byte the length.
    pub(super) padding: bool,
    /// Least and greatest playout delay, 12 bits each.
    pub(super) playout: [u8; 3],
    /// NTP time, and how far that clock is ahead of the one in sender reports, both with 32 bits below the second.
    pub(super) capture: Option<(u64, i64)>,
    pub(super) orientation: Option<u8>,
    pub(super) level: Option<u8>,
}

impl Header {
    /// With these extensions.
    pub(super) fn new(extensions: &Extensions) -> Header {
        let mid = extensions.mid.as_ref().map(|(id, mid)| (*id, mid.as_bytes()));
        let always = [
            extensions.transport.map(|id| (id, &[0; 2][..])),
            extensions.playout.map(|id| (id, &[0; 3][..])),
            mid.filter(|(_, mid)| mid.len() <= 32),
        ];
        let now_and_then = [extensions.capture, extensions.orientation, extensions.level];
        // One form for all packets.
        let fits = |id: &u8| (1..=14).contains(id);
        let short = |(id, value): &(u8, &[u8])| fits(id) && (1..=16).contains(&value.len());
        let one_byte = always.iter().flatten().all(short) && now_and_then.iter().flatten().all(fits);
        let mut header = Header {
            bytes: [0; ROOM],
            length: FIXED + WORD,
            one_byte,
            transport: None,
            playout: None,
            capture: extensions.capture,
            orientation: extensions.orientation,
            level: extensions.level,
        };
        header.bytes[0] = 2 << 6;
        header.bytes[FIXED..FIXED + 2].copy_from_slice(if one_byte { &ONE_BYTE } else { &TWO_BYTES });
        for (index, (id, value)) in always.iter().enumerate().filter_map(|(n, v)| Some((n, (*v)?))) {
            header.length += put(&mut header.bytes[header.length..], one_byte, id, value);
            match index {
                0 => header.transport = Some(header.length - value.len()),
                1 => header.playout = Some(header.length - value.len()),
                _ => {}
            }
        }
        header
    }

    /// How long the header of a packet is.
    pub(super) fn length(&self, fields: &Fields) -> usize {
        let form = if self.one_byte { 1 } else { 2 };
        let mut length = self.length;
        for (id, bytes) in [
            (self.capture.filter(|_| fields.capture.is_some()), 16),
            (self.orientation.filter(|_| fields.orientation.is_some()), 1),
            (self.level.filter(|_| fields.level.is_some()), 1),
        ] {
            length += id.map_or(0, |_| form + bytes);
        }
        if length == FIXED + WORD { FIXED } else { length.next_multiple_of(WORD) }
    }

    /// Writes a packet's header into `out`, which is as long as [`Header::length`] says.
    pub(super) fn write(&self, fields: &Fields, out: &mut [u8]) {
        let copied = self.length.min(out.len());
        out[..copied].copy_from_slice(&self.bytes[..copied]);
        out[copied..].fill(0);
        out[0] |= u8::from(fields.padding) << 5;
        out[1] = u8::from(fields.marker) << 7 | fields.payload_type;
        out[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&fields.time.to_be_bytes());
        out[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        if out.len() == FIXED {
            return;
        }
        out[0] |= 1 << 4;
        let words = (out.len() - FIXED - WORD) / WORD;
        out[FIXED + 2..FIXED + WORD].copy_from_slice(&(words as u16).to_be_bytes());
        if let Some(at) = self.transport {
            out[at..at + 2].copy_from_slice(&fields.transport.to_be_bytes());
        }
        if let Some(at) = self.playout {
            out[at..at + 3].copy_from_slice(&fields.playout);
        }
        let mut at = self.length;
        if let Some((id, (time, ahead))) = self.capture.zip(fields.capture) {
            let mut value = [0; 16];
            value[..8].copy_from_slice(&time.to_be_bytes());
            value[8..].copy_from_slice(&ahead.to_be_bytes());
            at += put(&mut out[at..], self.one_byte, id, &value);
        }
        let bytes = [(self.orientation, fields.orientation), (self.level, fields.level)];
        for (id, value) in bytes.into_iter().filter_map(|(id, value)| id.zip(value)) {
            at += put(&mut out[at..], self.one_byte, id, &[value]);
        }
    }
}

/// Writes one extension; how long it became.
fn put(out: &mut [u8], one_byte: bool, id: u8, value: &[u8]) -> usize {
    let length = value.len() as u8;
    let head = if one_byte { 1 } else { 2 };
    if one_byte {
        out[0] = id << 4 | (length - 1);
    } else {
        out[..2].copy_from_slice(&[id, length]);
    }
    out[head..head + value.len()].copy_from_slice(value);
    head + value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = Fields {
        marker: true,
        payload_type: 96,
        sequence: 0x0102,
        time: 0x0304_0506,
        ssrc: 0x0708_090a,
        transport: 0x0b0c,
        padding: false,
        playout: [0xd, 0xe, 0xf],
        capture: None,
        orientation: None,
        level: None,
    };
    const CAPTURE: Option<(u64, i64)> = Some((0x1112_1314_1516_1718, -2));
    const FIXED_PART: [u8; 12] = [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    fn written(extensions: &Extensions, fields: &Fields) -> Vec<u8> {
        let header = Header::new(extensions);
        // What was there before is of no matter.
        let mut out = vec![0xff; header.length(fields)];
        header.write(fields, &mut out);
        out
    }

    fn with(bytes: &[u8]) -> Vec<u8> {
        [&[0x90], &FIXED_PART[1..], bytes].concat()
    }

    #[test]
    fn extensions_have_the_form_that_all_of_them_fit() {
        let timed = Fields { capture: CAPTURE, ..FIELDS };
        assert_eq!(written(&Extensions::default(), &timed), FIXED_PART);
        let mut some = Extensions {
            transport: Some(3),
            playout: Some(5),
            capture: Some(14),
            mid: Some((4, "0".to_owned())),
            ..Extensions::default()
        };
        let plain = [0xbe, 0xde, 0, 3, 0x31, 0x0b, 0x0c, 0x52, 0xd, 0xe, 0xf, 0x40, b'0', 0, 0, 0];
        assert_eq!(written(&some, &FIELDS), with(&plain));
        let mut long = plain[..13].to_vec();
        long[3] = 7;
        long.extend([0xef, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        long.extend((-2i64).to_be_bytes());
        long.extend([0, 0]);
        assert_eq!(written(&some, &timed), with(&long));
        // An id that does not fit four bits: two bytes before each, in all packets.
        some.playout = Some(15);
        let two = [0x10, 0, 0, 3, 3, 2, 0x0b, 0x0c, 15, 3, 0xd, 0xe, 0xf, 4, 1, b'0'];
        assert_eq!(written(&some, &FIELDS), with(&two));
        some = Extensions { level: Some(15), ..Extensions::default() };
        assert_eq!(written(&some, &Fields { level: Some(7), ..FIELDS }), with(&[0x10, 0, 0, 1, 15, 1, 7, 0]));
        // A mid that does not fit either.
        some = Extensions { transport: Some(3), mid: Some((4, "x".repeat(17))), ..Extensions::default() };
        let long = written(&some, &FIELDS);
        assert_eq!(long[12..16], [0x10, 0, 0, 6]);
        assert_eq!(long.len(), 12 + 4 + 24);
    }

    #[test]
    fn what_some_packets_say_is_in_those_alone() {
        let extensions = Extensions {
            transport: Some(3),
            orientation: Some(13),
            level: Some(1),
            capture: Some(6),
            ..Extensions::default()
        };
        let plain = [0xbe, 0xde, 0, 1, 0x31, 0x0b, 0x0c, 0];
        assert_eq!(written(&extensions, &FIELDS), with(&plain));
        let turned = Fields { orientation: Some(3), ..FIELDS };
        let with_turn = [0xbe, 0xde, 0, 2, 0x31, 0x0b, 0x0c, 0xd0, 3, 0, 0, 0];
        assert_eq!(written(&extensions, &turned), with(&with_turn));
        let loud = Fields { level: Some(0x85), ..FIELDS };
        assert_eq!(
            written(&extensions, &loud),
            with(&[0xbe, 0xde, 0, 2, 0x31, 0x0b, 0x0c, 0x10, 0x85, 0, 0, 0])
        );
        let all = Fields { capture: CAPTURE, orientation: Some(1), level: Some(2), ..FIELDS };
        let bytes = written(&extensions, &all);
        assert_eq!((bytes.len(), &bytes[15..20]), (12 + 4 + 24, &[6, 0x31, 0x0b, 0x0c, 0x6f][..]));
        assert_eq!(bytes[36..40], [0xd0, 1, 0x10, 2]);
        // Nobody asked for it.
        let none = Extensions { transport: Some(3), ..Extensions::default() };
        assert_eq!(written(&none, &all), with(&plain));
        // Alone, and not there.
        let alone = Extensions { level: Some(1), ..Extensions::default() };
        assert_eq!(written(&alone, &FIELDS), FIXED_PART);
        assert_eq!(written(&alone, &loud), with(&[0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0]));
    }
}
