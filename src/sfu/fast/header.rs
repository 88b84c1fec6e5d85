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
    /// Playout delay, always none.
    pub(in crate::sfu) playout: Option<u8>,
    /// Capture time; only in packets that have one.
    pub(in crate::sfu) capture: Option<u8>,
    /// The mid, and what it is.
    pub(in crate::sfu) mid: Option<(u8, String)>,
}

/// A header to copy.
#[derive(Clone, Debug)]
pub(super) struct Header {
    bytes: [u8; ROOM],
    length: usize,
    /// Where the transport-wide number stands, and where the capture time does.
    transport: Option<usize>,
    capture: Option<usize>,
}

/// What one packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) time: u32,
    pub(super) ssrc: u32,
    pub(super) transport: u16,
    /// The payload is padding alone, its last byte the length.
    pub(super) padding: bool,
    /// NTP time, and how far that clock is ahead of the one in sender reports, both with 32 bits below the second.
    pub(super) capture: Option<(u64, i64)>,
}

impl Header {
    /// With these extensions, the capture time only where `timed`.
    pub(super) fn new(extensions: &Extensions, timed: bool) -> Header {
        let mid = extensions.mid.as_ref().map(|(id, mid)| (*id, mid.as_bytes()));
        let capture = extensions.capture.filter(|_| timed);
        let values = [
            extensions.transport.map(|id| (id, &[0; 2][..])),
            extensions.playout.map(|id| (id, &[0; 3][..])),
            mid.filter(|(_, mid)| mid.len() <= 32),
            capture.map(|id| (id, &[0; 16][..])),
        ];
        // One form for the whole packet.
        let short = |(id, value): &(u8, &[u8])| (1..=14).contains(id) && (1..=16).contains(&value.len());
        let one_byte = values.iter().flatten().all(short);
        let mut header = Header { bytes: [0; ROOM], length: FIXED + WORD, transport: None, capture: None };
        for (index, (id, value)) in values.iter().enumerate().filter_map(|(n, v)| Some((n, (*v)?))) {
            let length = value.len() as u8;
            if one_byte {
                header.push(&[id << 4 | (length - 1)]);
            } else {
                header.push(&[id, length]);
            }
            match index {
                0 => header.transport = Some(header.length),
                3 => header.capture = Some(header.length),
                _ => {}
            }
            header.push(value);
        }
        header.bytes[0] = 2 << 6;
        if header.length == FIXED + WORD {
            header.length = FIXED;
        } else {
            header.length = header.length.next_multiple_of(WORD);
            header.bytes[0] |= 1 << 4;
            header.bytes[FIXED..FIXED + 2].copy_from_slice(if one_byte { &ONE_BYTE } else { &TWO_BYTES });
            let words = (header.length - FIXED - WORD) / WORD;
            header.bytes[FIXED + 2..FIXED + WORD].copy_from_slice(&(words as u16).to_be_bytes());
        }
        header
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Writes a packet's header into `out`, which is as long.
    pub(super) fn write(&self, fields: &Fields, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes[..self.length]);
        out[0] |= u8::from(fields.padding) << 5;
        out[1] = u8::from(fields.marker) << 7 | fields.payload_type;
        out[2..4].copy_from_slice(&fields.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&fields.time.to_be_bytes());
        out[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        if let Some(at) = self.transport {
            out[at..at + 2].copy_from_slice(&fields.transport.to_be_bytes());
        }
        if let Some((at, (time, ahead))) = self.capture.zip(fields.capture) {
            out[at..at + 8].copy_from_slice(&time.to_be_bytes());
            out[at + 8..at + 16].copy_from_slice(&ahead.to_be_bytes());
        }
    }
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
        capture: Some((0x1112_1314_1516_1718, -2)),
    };

    fn written(extensions: &Extensions, timed: bool) -> Vec<u8> {
        let header = Header::new(extensions, timed);
        let mut out = vec![0; header.len()];
        header.write(&FIELDS, &mut out);
        out
    }

    #[test]
    fn extensions_have_the_form_that_all_of_them_fit() {
        let fixed = [0x80, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert_eq!(written(&Extensions::default(), true), fixed);
        let mut some = Extensions {
            transport: Some(3),
            playout: Some(5),
            capture: Some(14),
            mid: Some((4, "0".to_owned())),
        };
        let with = |bytes: &[u8]| [&[0x90], &fixed[1..], bytes].concat();
        let plain = [0xbe, 0xde, 0, 3, 0x31, 0x0b, 0x0c, 0x52, 0, 0, 0, 0x40, b'0', 0, 0, 0];
        assert_eq!(written(&some, false), with(&plain));
        let mut timed = plain[..13].to_vec();
        timed[3] = 7;
        timed.extend([0xef, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        timed.extend((-2i64).to_be_bytes());
        timed.extend([0, 0]);
        assert_eq!(written(&some, true), with(&timed));
        // An id that does not fit four bits: two bytes before each.
        some.playout = Some(15);
        let two = [0x10, 0, 0, 3, 3, 2, 0x0b, 0x0c, 15, 3, 0, 0, 0, 4, 1, b'0'];
        assert_eq!(written(&some, false), with(&two));
        // A mid that does not fit either.
        some.playout = None;
        some.mid = Some((4, "x".repeat(17)));
        let long = written(&some, false);
        assert_eq!(long[12..16], [0x10, 0, 0, 6]);
        assert_eq!(long.len(), 12 + 4 + 24);
    }
}
