//! RTCP of a viewer: what it reports and asks for (RFC 3550, RFC 4585, RFC 5104), and our reports to it.

/// Packet types.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const CNAME: u8 = 1;

/// One thing that a viewer says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sfu) enum Heard<'a> {
    /// How one of our streams arrives.
    Report {
        ssrc: u32,
        /// Share of packets lost since the last report, in 256ths.
        lost: u8,
        /// Middle of the NTP time in the last report of ours that arrived, and since when, in 65,536ths of a second.
        last: u32,
        since: u32,
    },
    /// Packets that did not arrive: pairs of a number and a mask of the sixteen after it.
    Missing { ssrc: u32, pairs: &'a [u8] },
    /// It needs a keyframe.
    Keyframe { ssrc: u32 },
    /// When packets arrived (transport-wide feedback).
    Arrived(&'a [u8]),
    /// What it can take, in bits a second (REMB).
    Capacity(u64),
}

/// Hands over what an opened compound packet says; what cannot be read is passed over.
pub(in crate::sfu) fn read<'a>(mut packets: &'a [u8], mut hear: impl FnMut(Heard<'a>)) {
    while let [first, kind, high, low, ..] = *packets {
        let length = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((packet, rest)) = packets.split_at_checked(length) else { return };
        packets = rest;
        if first >> 6 != 2 {
            return;
        }
        read_one(kind, first & 0x1f, packet, &mut hear);
    }
}

fn read_one<'a>(kind: u8, format: u8, packet: &'a [u8], hear: &mut impl FnMut(Heard<'a>)) {
    match (kind, format) {
        (SENDER_REPORT | RECEIVER_REPORT, count) => {
            let head = if kind == SENDER_REPORT { 28 } else { 8 };
            let blocks = packet.get(head..).unwrap_or_default().chunks_exact(24);
            for block in blocks.take(count.into()) {
                hear(Heard::Report {
                    ssrc: word(block, 0),
                    lost: block[4],
                    last: word(block, 16),
                    since: word(block, 20),
                });
            }
        }
        (TRANSPORT_FEEDBACK, 1) => {
            let pairs = packet.get(12..).unwrap_or_default();
            hear(Heard::Missing { ssrc: word(packet, 8), pairs });
        }
        (TRANSPORT_FEEDBACK, 15) => hear(Heard::Arrived(packet.get(12..).unwrap_or_default())),
        (PAYLOAD_FEEDBACK, 1) => hear(Heard::Keyframe { ssrc: word(packet, 8) }),
        (PAYLOAD_FEEDBACK, 4) => {
            for entry in packet.get(12..).unwrap_or_default().chunks_exact(8) {
                hear(Heard::Keyframe { ssrc: word(entry, 0) });
            }
        }
        (PAYLOAD_FEEDBACK, 15) if packet.get(12..16) == Some(b"REMB") && packet.len() >= 20 => {
            let exponent = packet[17] >> 2;
            let mantissa = u64::from(word(packet, 16) & 0x3_ffff);
            hear(Heard::Capacity(mantissa.checked_shl(exponent.into()).unwrap_or(u64::MAX)));
        }
        _ => {}
    }
}

/// The numbers that a pair of a NACK names.
pub(in crate::sfu) fn missing(pairs: &[u8]) -> impl Iterator<Item = u16> {
    pairs.chunks_exact(4).flat_map(|pair| {
        let (first, mask) = (u16::from_be_bytes([pair[0], pair[1]]), u16::from_be_bytes([pair[2], pair[3]]));
        let after = (0..16u16).filter(move |bit| mask & 1 << bit != 0);
        std::iter::once(first).chain(after.map(move |bit| first.wrapping_add(bit + 1)))
    })
}

/// One sender's report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) ssrc: u32,
    pub(super) ntp: u64,
    pub(super) time: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// Appends sender reports, each without blocks.
pub(super) fn write_report(report: &Report, out: &mut Vec<u8>) {
    out.extend([0x80, SENDER_REPORT, 0, 6]);
    out.extend(report.ssrc.to_be_bytes());
    out.extend(report.ntp.to_be_bytes());
    for word in [report.time, report.packets, report.octets] {
        out.extend(word.to_be_bytes());
    }
}

/// Appends the name that all of `ssrcs` go by.
pub(super) fn write_names(ssrcs: &[u32], cname: &str, out: &mut Vec<u8>) {
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    // An end of at least one zero, up to a word.
    let chunk = (4 + 2 + cname.len() + 1).next_multiple_of(4);
    out.extend([0x80 | ssrcs.len() as u8, DESCRIPTION]);
    out.extend(((chunk * ssrcs.len() / 4) as u16).to_be_bytes());
    for ssrc in ssrcs {
        let end = out.len() + chunk;
        out.extend(ssrc.to_be_bytes());
        out.extend([CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        out.resize(end, 0);
    }
}

/// Appends a good-bye, after the empty report that a compound packet begins with.
pub(super) fn write_bye(ssrcs: &[u32], out: &mut Vec<u8>) {
    let Some(first) = ssrcs.first() else { return };
    out.extend([0x80, RECEIVER_REPORT, 0, 1]);
    out.extend(first.to_be_bytes());
    out.extend([0x80 | ssrcs.len() as u8, BYE]);
    out.extend((ssrcs.len() as u16).to_be_bytes());
    for ssrc in ssrcs {
        out.extend(ssrc.to_be_bytes());
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(bytes: &[u8]) -> Vec<Heard<'_>> {
        let mut heard = Vec::new();
        read(bytes, |one| heard.push(one));
        heard
    }

    #[test]
    fn what_viewers_say_is_understood() {
        let mut bytes = vec![0x81, 201, 0, 7, 0, 0, 0, 1];
        bytes.extend([0, 0, 0, 9, 64, 0, 0, 5]);
        bytes.extend([0; 8]);
        bytes.extend([1, 2, 3, 4, 0, 0, 0x80, 0]);
        bytes.extend([0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0, 0b101]);
        bytes.extend([0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9]);
        bytes.extend([0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 7, 0, 0, 0]);
        bytes.extend([
            0x8f,
            206,
            0,
            5,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            b'R',
            b'E',
            b'M',
            b'B',
            1,
            3 << 2,
            0x80,
            0,
            0,
            0,
            0,
            9,
        ]);
        let pairs = [0xff, 0xff, 0, 0b101];
        assert_eq!(
            heard(&bytes),
            [
                Heard::Report { ssrc: 9, lost: 64, last: 0x0102_0304, since: 0x8000 },
                Heard::Missing { ssrc: 9, pairs: &pairs },
                Heard::Keyframe { ssrc: 9 },
                Heard::Keyframe { ssrc: 9 },
                Heard::Capacity(0x8000 << 3),
            ]
        );
        assert_eq!(missing(&pairs).collect::<Vec<_>>(), [0xffff, 0, 2]);
    }

    #[test]
    fn our_reports_have_the_lengths_they_say() {
        for cname in ["", "a", "abc", "abcd", "a longer one"] {
            let mut out = Vec::new();
            write_report(&Report { ssrc: 1, ntp: 2, time: 3, packets: 4, octets: 5 }, &mut out);
            write_names(&[1, 2], cname, &mut out);
            write_bye(&[1, 2], &mut out);
            let (mut at, mut kinds) = (0, Vec::new());
            while at < out.len() {
                kinds.push(out[at + 1]);
                at += 4 + 4 * usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
            }
            assert_eq!((at, kinds), (out.len(), vec![200, 202, 201, 203]), "{cname:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 200u8..208, format in 0u8..32) {
            if bytes.len() > 4 {
                (bytes[0], bytes[1], bytes[2]) = (0x80 | format, kind, 0);
                bytes[3] %= 50;
            }
            for one in heard(&bytes) {
                if let Heard::Missing { pairs, .. } = one {
                    prop_assert!(missing(pairs).count() <= bytes.len() / 4 * 17);
                }
            }
        }
    }
}
