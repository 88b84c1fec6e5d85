//! A walk through one baseline picture (ITU-T T.81 Annexes B and F), block by block, without its values.

use super::bits::{Bits, Blocks};
use super::codes::{Class, Codes, usual};

/// How far from grey a block of 8-bit samples can be (T.81 §A.3.3): eight times 128.
const DEEPEST: i32 = 1024;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// It does not even begin as a picture does, or says nothing of itself.
    NoPicture,
    /// Of a kind that is not looked into: progressive, arithmetic, lossless, in several scans.
    Unknown,
    /// Every block is there.
    Whole,
    /// Its codes do not come out right.
    Damaged,
}

/// What the headers have said so far.
#[derive(Default)]
struct Headers {
    size: Option<(usize, usize)>,
    components: Vec<Component>,
    /// What a step of brightness counts, by number of the table.
    steps: [i32; 4],
    /// Blocks' codes by number, each where the picture brings them.
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Blocks' groups from one restart marker to the next; zero: there are none.
    restarts: usize,
}

enum Table {
    Usual(&'static Codes),
    Own(Codes),
}

impl Table {
    fn codes(&self) -> &Codes {
        match self {
            Table::Usual(codes) => codes,
            Table::Own(codes) => codes,
        }
    }
}

#[derive(Clone, Copy)]
struct Component {
    name: u8,
    across: usize,
    down: usize,
    /// Of the table with its steps.
    steps: usize,
}

/// Walks through a picture, up to its end; what stands behind that is padding, or the other field.
pub(super) fn walk(picture: &[u8]) -> Walked {
    let Some(mut rest) = picture.strip_prefix(&[0xFF, 0xD8]) else { return Walked::NoPicture };
    let mut headers = Headers::default();
    loop {
        let Some((marker, body, behind)) = segment(rest) else { return Walked::NoPicture };
        rest = behind;
        let understood = match marker {
            0xC0 | 0xC1 => headers.frame(body),
            0xC4 => headers.codes(body),
            0xDB => headers.steps(body),
            0xDD => headers.interval(body),
            0xDA => return headers.scan(body, rest),
            // Other kinds of frame; arithmetic conditioning; a number of lines that comes later; hierarchical ones.
            0xC2..=0xCF | 0xDC | 0xDE | 0xDF => return Walked::Unknown,
            0xD0..=0xD9 => return Walked::NoPicture,
            _ => Some(()),
        };
        if understood.is_none() {
            return Walked::Damaged;
        }
    }
}

/// The next marker with what belongs to it, and what follows. None where there is none.
fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let fill = bytes.iter().take_while(|byte| **byte == 0xFF).count();
    let (marker, rest) = bytes[fill..].split_first().filter(|_| fill > 0)?;
    // Those that stand alone.
    if let 0xD0..=0xD9 = marker {
        return Some((*marker, &[], rest));
    }
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    Some((*marker, rest.get(2..length)?, &rest[length..]))
}

impl Headers {
    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let [8, high, low, right, left, count, rest @ ..] = body else { return None };
        let (height, width) = (u16::from_be_bytes([*high, *low]), u16::from_be_bytes([*right, *left]));
        self.size = Some((usize::from(width), usize::from(height)));
        self.components = rest
            .chunks_exact(3)
            .map(|one| Component {
                name: one[0],
                across: usize::from(one[1] >> 4),
                down: usize::from(one[1] & 15),
                steps: usize::from(one[2]),
            })
            .collect();
        let fits = |one: &Component| (1..=4).contains(&one.across) && (1..=4).contains(&one.down);
        (self.components.len() == usize::from(*count) && self.components.iter().all(fits)).then_some(())
    }

    fn codes(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let (tables, class) =
                if kind >> 4 == 0 { (&mut self.dc, Class::Dc) } else { (&mut self.ac, Class::Ac) };
            let known = usual().iter().find(|usual| usual.is(class, counts, symbols));
            *tables.get_mut(usize::from(kind & 15))? = match known.and_then(|usual| usual.codes.as_ref()) {
                Some(codes) => Some(Table::Usual(codes)),
                None => Some(Table::Own(Codes::new(class, counts, symbols)?)),
            };
            body = &rest[16 + total..];
        }
        Some(())
    }

    fn steps(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let (wide, place) = (kind >> 4 != 0, self.steps.get_mut(usize::from(kind & 15))?);
            *place = match rest {
                [high, low, ..] if wide => i32::from(u16::from_be_bytes([*high, *low])),
                [first, ..] => i32::from(*first),
                [] => return None,
            };
            body = rest.get(if wide { 128 } else { 64 }..)?;
        }
        Some(())
    }

    fn interval(&mut self, body: &[u8]) -> Option<()> {
        self.restarts = usize::from(u16::from_be_bytes(body.try_into().ok()?));
        Some(())
    }

    /// The picture itself, if it stands in one scan.
    fn scan(mut self, body: &[u8], coded: &[u8]) -> Walked {
        let (Some((width, height)), Some((count, chosen))) = (self.size, body.split_first()) else {
            return Walked::NoPicture;
        };
        let count = usize::from(*count);
        if height == 0 || count != self.components.len() || chosen.len() != 2 * count + 3 {
            return Walked::Unknown;
        }
        for usual in usual() {
            let given = if usual.class == Class::Dc { &mut self.dc } else { &mut self.ac };
            if given[usual.place].is_none() {
                given[usual.place] = usual.codes.as_ref().map(Table::Usual);
            }
        }
        // A picture of one component has its blocks one by one.
        let mut group = Vec::new();
        let (mut across, mut down) = (1, 1);
        for one in chosen[..2 * count].chunks_exact(2) {
            let component = self.components.iter().find(|component| component.name == one[0]);
            let (dc, ac) = (self.dc.get(usize::from(one[1] >> 4)), self.ac.get(usize::from(one[1] & 15)));
            let (Some(component), Some(Some(dc)), Some(Some(ac))) = (component, dc, ac) else {
                return Walked::Damaged;
            };
            let mut blocks = 1;
            if count > 1 {
                (across, down) = (across.max(component.across), down.max(component.down));
                blocks = component.across * component.down;
            }
            let step = self.steps.get(component.steps).copied().unwrap_or(0).max(1);
            let most = DEEPEST / step + 2;
            group.push(Blocks { dc: dc.codes(), ac: ac.codes(), count: blocks, level: 0, most });
        }
        let groups = width.div_ceil(8 * across) * height.div_ceil(8 * down);
        match walk_groups(Bits::new(coded), &mut group, groups, self.restarts) {
            Some(()) => Walked::Whole,
            None => Walked::Damaged,
        }
    }
}

fn walk_groups(mut bits: Bits<'_>, group: &mut [Blocks<'_>], groups: usize, restarts: usize) -> Option<()> {
    for number in 0..groups {
        if restarts > 0 && number > 0 && number % restarts == 0 {
            let restart = 0xD0 + ((number / restarts - 1) % 8) as u8;
            bits = bits.pass(restart)?;
            group.iter_mut().for_each(|blocks| blocks.level = 0);
        }
        for blocks in &mut *group {
            for _ in 0..blocks.count {
                bits.block(blocks)?;
            }
        }
    }
    bits.end().map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::jpeg::bits::SLACK;

    /// A grey picture of blocks that are as bright as the one before (`00`) and have nothing else (`1010`), in the usual
    /// codes, which it does not bring.
    fn grey(width: u8, height: u8, restarts: u8, coded: &[u8]) -> Vec<u8> {
        let mut picture = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 2, 0xFF, 0xDD, 0, 4, 0, restarts];
        picture.extend([0xFF, 0xC0, 0, 11, 8, 0, height, 0, width, 1, 1, 0x11, 0]);
        picture.extend([0xFF, 0xDA, 0, 8, 1, 1, 0x00, 0, 63, 0]);
        picture.extend(coded);
        picture.extend([0xFF, 0xD9]);
        picture
    }

    /// Of zeros and ones, filled up with ones, with a zero byte behind each full one.
    fn coded(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        let bytes =
            bits.chunks(8).map(|byte| (0..8).fold(0, |sum, at| sum << 1 | byte.get(at).unwrap_or(&1)));
        bytes.flat_map(|byte| if byte == 0xFF { vec![0xFF, 0] } else { vec![byte] }).collect()
    }

    #[test]
    fn every_block_is_counted() {
        let four = coded("001010 001010 001010 001010");
        assert_eq!(walk(&grey(32, 8, 0, &four)), Walked::Whole);
        assert_eq!(walk(&grey(9, 16, 0, &four)), Walked::Whole, "parts of blocks are blocks");
        assert_eq!(walk(&grey(40, 8, 0, &four)), Walked::Damaged, "one is missing");
        let padded = [&four[..], &[0; SLACK]].concat();
        assert_eq!(walk(&grey(32, 8, 0, &padded)), Walked::Whole);
        assert_eq!(walk(&grey(32, 8, 0, &[&padded[..], &[0]].concat())), Walked::Damaged, "too much is left");
        let without_end = grey(32, 8, 0, &four);
        assert_eq!(
            walk(&without_end[..without_end.len() - 2]),
            Walked::Whole,
            "some cards do not mark the end"
        );
        assert_eq!(walk(&without_end[..without_end.len() - 3]), Walked::Damaged);
    }

    #[test]
    fn what_stands_for_nothing_is_damage() {
        assert_eq!(walk(&grey(8, 8, 0, &coded("00 1111111111111111 1010"))), Walked::Damaged, "no such code");
        // Sixteen coefficients that are nothing.
        const ZEROS: &str = "11111111001";
        let three = coded(&format!("00 {ZEROS} {ZEROS} {ZEROS} 1010"));
        assert_eq!(walk(&grey(8, 8, 0, &three)), Walked::Whole);
        let four = coded(&format!("00 {ZEROS} {ZEROS} {ZEROS} {ZEROS} 1010"));
        assert_eq!(walk(&grey(8, 8, 0, &four)), Walked::Damaged, "one more than a block has");
        // 63 coefficients of one bit each: nothing marks the end, and the next block begins with what would be one.
        let full = format!("00 {}", "00 1 ".repeat(63));
        assert_eq!(walk(&grey(16, 8, 0, &coded(&format!("{full} 1010101 1010")))), Walked::Whole);
    }

    #[test]
    fn restart_markers_come_in_their_turn() {
        let row = |markers: &[u8]| -> Vec<u8> {
            let blocks = markers.iter().flat_map(|marker| [0b0010_1011, 0xFF, *marker]);
            blocks.chain([0b0010_1011]).collect()
        };
        let nine = [0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD0];
        assert_eq!(walk(&grey(80, 8, 1, &row(&nine))), Walked::Whole);
        assert_eq!(walk(&grey(24, 8, 1, &row(&[0xD0, 0xD1]))), Walked::Whole);
        assert_eq!(walk(&grey(24, 8, 1, &row(&[0xD0, 0xD2]))), Walked::Damaged);
        assert_eq!(walk(&grey(24, 8, 1, &row(&[0xD0]))), Walked::Damaged);
        assert_eq!(walk(&grey(24, 8, 2, &row(&[0xD0, 0xD1]))), Walked::Damaged, "they come too early");
    }

    #[test]
    fn headers_that_are_not_understood_are_told_from_damage() {
        let whole = grey(8, 8, 0, &[0b0010_1011]);
        assert_eq!(walk(&whole), Walked::Whole);
        let with = |at: usize, byte: u8| {
            let mut other = whole.clone();
            other[at] = byte;
            walk(&other)
        };
        assert_eq!(with(13, 0xC2), Walked::Unknown, "progressive");
        assert_eq!(with(18, 0), Walked::Unknown, "lines are counted later");
        assert_eq!(with(31, 0x22), Walked::Damaged, "codes that nobody gave");
        for (cut, byte) in whole.iter().enumerate().take(35) {
            assert_ne!(walk(&whole[..cut]), Walked::Whole, "{cut} of {byte}");
        }
        for junk in [&[][..], &[0; 30], &[0xFF], &whole[2..], &[0xFF, 0xD8], &[0xFF, 0xD8, 0xFF, 0xD9]] {
            assert_eq!(walk(junk), Walked::NoPicture, "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_card_sends_breaks_it(
            counts in proptest::array::uniform16(0_u8..4),
            symbols in proptest::collection::vec(any::<u8>(), 64),
            class in 0_u8..2,
            garbage in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let mut tables = vec![0xFF, 0xC4, 0, 19 + total as u8, class << 4];
            tables.extend(counts);
            tables.extend(&symbols[..total]);
            let mut picture = grey(64, 64, garbage.len() as u8 % 5, &garbage);
            picture.splice(2..2, tables);
            walk(&picture);
            walk(&[&[0xFF, 0xD8][..], &garbage].concat());
        }
    }
}
