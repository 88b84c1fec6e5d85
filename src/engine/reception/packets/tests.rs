use proptest::prelude::*;

use super::super::program::Coding;
use super::*;

/// A packet with a payload of up to 184 bytes; shorter ones are filled up in the adaptation field, as muxers do.
pub(in crate::engine::reception) fn packet(pid: u16, count: u8, begins: bool, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let room = PACKET - 4 - payload.len();
    let mut packet = vec![0x47, high | if begins { 0x40 } else { 0 }, low, 0x10 | count & 0x0f];
    if room > 0 {
        packet[3] |= 0x20;
        packet.push(u8::try_from(room - 1).unwrap());
        if room > 1 {
            packet.push(0);
            packet.resize(4 + room, 0xff);
        }
    }
    packet.extend_from_slice(payload);
    packet
}

fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() + 4;
    let mut section = vec![table, 0xb0 | u8::try_from(length >> 8).unwrap(), length as u8];
    section.extend_from_slice(body);
    let crc = checksum(&section);
    section.extend_from_slice(&crc.to_be_bytes());
    let mut payload = vec![0];
    payload.extend(section);
    payload
}

/// Program association and program map, with the picture at 256 and the sound at 257.
pub(in crate::engine::reception) fn tables(picture: u8, sound: u8) -> Vec<u8> {
    let pat = section(0, &[0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0x00]);
    let pmt = section(
        2,
        &[0, 1, 0xc1, 0, 0, 0xe1, 0x00, 0xf0, 0, picture, 0xe1, 0x00, 0xf0, 0, sound, 0xe1, 0x01, 0xf0, 0],
    );
    [packet(0, 0, true, &pat), packet(0x1000, 0, true, &pmt)].concat()
}

/// An access unit as packets; `count` goes on.
pub(in crate::engine::reception) fn unit(pid: u16, count: &mut u8, pts: u64, bytes: &[u8]) -> Vec<u8> {
    let stamp = [
        0x21 | (pts >> 29) as u8 & 0x0e,
        (pts >> 22) as u8,
        1 | (pts >> 14) as u8 & 0xfe,
        (pts >> 7) as u8,
        1 | (pts << 1) as u8,
    ];
    let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
    pes.extend(stamp);
    pes.extend_from_slice(bytes);
    let mut packets = Vec::new();
    for (index, payload) in pes.chunks(184).enumerate() {
        packets.extend(packet(pid, *count, index == 0, payload));
        *count = (*count + 1) & 0x0f;
    }
    packets
}

fn read(demux: &mut Demux, bytes: &[u8], step: usize) -> Vec<Found> {
    let mut all = Vec::new();
    bytes.chunks(step).for_each(|part| demux.push(part, &mut |found| all.push(found)));
    all
}

#[test]
fn a_stream_is_read_in_pieces_of_any_size_and_a_unit_is_given_with_its_last_packet() {
    let (picture, mut count) = (vec![7_u8; 1000], 0);
    let mut stream = vec![1, 2, 0x47, 3];
    stream.extend(tables(0x1b, 0x0f));
    stream.extend(unit(256, &mut count, 0x1_2345_6789, &picture));
    // Exactly full: nothing says that this was all of it.
    stream.extend(unit(256, &mut count, 90_000, &[8; 184 - 14]));
    for step in [1, 7, 188, 1316, 100_000] {
        let mut demux = Demux::default();
        let found = read(&mut demux, &stream, step);
        let [Found::Program(program), Found::Unit(first)] = &found[..] else { panic!("{step}: {found:?}") };
        assert_eq!(program.picture, Some(Track { pid: 256, coding: Coding::H264 }));
        assert_eq!(program.sound, Some(Track { pid: 257, coding: Coding::Aac }));
        assert_eq!((first.pts, first.dts, &first.bytes), (0x1_2345_6789, 0x1_2345_6789, &picture));
        assert_eq!(demux.losses(), Losses { garbage: 4, broken: 0 });
        let mut count = count;
        let found = read(&mut demux, &unit(256, &mut count, 93_000, &[9; 10]), step);
        let sizes: Vec<usize> = found
            .iter()
            .map(|found| if let Found::Unit(unit) = found { unit.bytes.len() } else { 0 })
            .collect();
        assert_eq!(sizes, [170, 10], "the next one ends it");
    }
}

#[test]
fn what_has_a_hole_is_left_out_and_the_next_is_whole() {
    let mut count = 0;
    let mut stream = tables(0x1b, 0x0f);
    let mut holed = unit(256, &mut count, 0, &[1; 1000]);
    holed.drain(2 * PACKET..3 * PACKET);
    stream.extend(holed);
    stream.extend(unit(256, &mut count, 3000, &[2; 1000]));
    let mut demux = Demux::default();
    let found = read(&mut demux, &stream, 1316);
    let [_, Found::Unit(only)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((only.pts, demux.losses().broken), (3000, 1));
}

#[test]
fn tables_that_change_are_told_and_broken_ones_are_not_believed() {
    let mut demux = Demux::default();
    let mut broken = tables(0x1b, 0x0f);
    broken[2 * PACKET - 1] ^= 1;
    assert_eq!(read(&mut demux, &broken, 188), [], "the checksum says so");
    assert_eq!(read(&mut demux, &tables(0x1b, 0x0f), 188).len(), 1);
    assert_eq!(read(&mut demux, &tables(0x1b, 0x0f), 188).len(), 0, "as before");
    let found = read(&mut demux, &tables(0x24, 0x99), 188);
    let [Found::Program(program)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(program.picture.map(|track| track.coding), Some(Coding::H265));
    assert_eq!(program.sound, None, "nobody knows what that is");
}

proptest! {
    /// Nothing that anybody sends does more than come to nothing.
    #[test]
    fn garbage_is_survived(
        noise in prop::collection::vec(any::<u8>(), 0..6000),
        holes in prop::collection::vec((0..6000_usize, any::<u8>()), 0..20),
        step in 1..2000_usize,
    ) {
        let mut count = 0;
        let mut stream = tables(0x1b, 0x06);
        stream.extend(unit(256, &mut count, 5, &[1; 700]));
        stream.extend(&noise);
        stream.extend(unit(257, &mut count, 5, &[0x7f, 0xe0, 3, 1, 2, 3]));
        for (at, byte) in holes {
            let at = at % stream.len();
            stream[at] = byte;
        }
        let mut demux = Demux::default();
        for found in read(&mut demux, &stream, step) {
            if let Found::Unit(unit) = found {
                prop_assert!(!unit.bytes.is_empty() && unit.pts < 1 << 33);
            }
        }
    }
}
