//! Huffman codes of JPEG (ITU-T T.81 Annex C and F.2.2), looked up for how far they reach and no more.

use std::sync::OnceLock;

/// Bits that are looked up at once. Longer codes are rare by their nature.
const QUICK: u32 = 12;

/// Set in [`Step::coefficients`] where the block ends.
pub(super) const ENDS: u8 = 0x80;

/// What some bits stand for. Of no bits: for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Of the code and of the amplitude that follows it.
    pub(super) bits: u8,
    /// Of the amplitude alone, in a table of brightness; else coefficients that it accounts for.
    pub(super) coefficients: u8,
}

/// What a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Dc,
    Ac,
}

/// The codes of one table.
#[derive(Debug)]
pub(super) struct Codes {
    /// The code that these bits begin with.
    one: Box<[Step; 1 << QUICK]>,
    /// That one, and those that follow it within these bits.
    many: Box<[Step; 1 << QUICK]>,
    /// By length: one beyond the last code, and what to add to a code to find its symbol.
    ends: [u32; 17],
    offsets: [i32; 17],
    symbols: Vec<Step>,
}

impl Codes {
    /// As a `DHT` segment has them: how many codes of each length from 1 to 16, then their symbols in order. None if there
    /// are more codes than bits allow.
    pub(super) fn new(class: Class, counts: &[u8; 16], symbols: &[u8]) -> Option<Codes> {
        let mut codes = Codes {
            one: Box::new([Step::default(); 1 << QUICK]),
            many: Box::new([Step::default(); 1 << QUICK]),
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.iter().map(|symbol| symbol_step(class, *symbol)).collect(),
        };
        let (mut code, mut at) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts) {
            codes.offsets[length as usize] = at as i32 - code as i32;
            for _ in 0..*count {
                if code >> length != 0 {
                    return None;
                }
                if length <= QUICK {
                    let (first, step) = (code << (QUICK - length), codes.step(at, length));
                    codes.one[first as usize..][..1 << (QUICK - length)].fill(step);
                }
                (code, at) = (code + 1, at + 1);
            }
            codes.ends[length as usize] = code;
            code <<= 1;
        }
        for bits in 0..1 << QUICK {
            codes.many[bits] = codes.follow(bits);
        }
        Some(codes)
    }

    /// The code that these bits begin with.
    #[inline]
    pub(super) fn one(&self, bits: u16) -> Step {
        let quick = self.one[usize::from(bits >> (16 - QUICK))];
        if quick.bits != 0 { quick } else { self.find_long(bits) }
    }

    /// As many codes as the first of these bits hold whole, at least one; nothing follows one that ends the block.
    #[inline]
    pub(super) fn many(&self, bits: u16) -> Step {
        let quick = self.many[usize::from(bits >> (16 - QUICK))];
        if quick.bits != 0 { quick } else { self.find_long(bits) }
    }

    fn follow(&self, bits: usize) -> Step {
        let mut all = self.one[bits];
        while all.bits > 0 && u32::from(all.bits) < QUICK && all.coefficients & ENDS == 0 {
            let next = self.one[(bits << all.bits) % (1 << QUICK)];
            // No block has more; with more of them they would run into the mark of its end.
            let many = all.coefficients + (next.coefficients & !ENDS) > 64;
            if next.bits == 0 || u32::from(all.bits + next.bits) > QUICK || many {
                break;
            }
            all.coefficients += next.coefficients;
            all.bits += next.bits;
        }
        all
    }

    #[cold]
    fn find_long(&self, bits: u16) -> Step {
        for length in QUICK + 1..=16 {
            let code = u32::from(bits >> (16 - length));
            if code < self.ends[length as usize] {
                return self.step((code as i32 + self.offsets[length as usize]) as usize, length);
            }
        }
        Step::default()
    }

    /// Of a symbol, with the length of its code.
    fn step(&self, number: usize, length: u32) -> Step {
        match self.symbols.get(number) {
            Some(step) if *step != NONE => Step { bits: step.bits + length as u8, ..*step },
            _ => Step::default(),
        }
    }
}

/// Of a symbol that baseline JPEG does not have.
const NONE: Step = Step { bits: u8::MAX, coefficients: 0 };

/// Bits of the amplitude, and coefficients: those of 8-bit samples in baseline (Tables F.1 and F.2).
const fn symbol_step(class: Class, symbol: u8) -> Step {
    let (run, size) = (symbol >> 4, symbol & 15);
    match class {
        Class::Dc if symbol <= 11 => Step { bits: symbol, coefficients: symbol },
        Class::Ac if size == 0 && run == 0 => Step { bits: 0, coefficients: ENDS },
        Class::Ac if size == 0 && run == 15 => Step { bits: 0, coefficients: 16 },
        Class::Ac if size > 0 && size <= 10 => Step { bits: size, coefficients: run + 1 },
        Class::Dc | Class::Ac => NONE,
    }
}

/// The codes that most pictures have, and that Motion-JPEG cards mean where they send none (T.81 Annex K.3).
pub(super) fn usual() -> &'static [Usual; 4] {
    static USUAL: OnceLock<[Usual; 4]> = OnceLock::new();
    USUAL.get_or_init(|| {
        [
            Usual::new(Class::Dc, 0, &LUMA_DC, &DC_SYMBOLS),
            Usual::new(Class::Dc, 1, &CHROMA_DC, &DC_SYMBOLS),
            Usual::new(Class::Ac, 0, &LUMA_AC, &LUMA_SYMBOLS),
            Usual::new(Class::Ac, 1, &CHROMA_AC, &CHROMA_SYMBOLS),
        ]
    })
}

/// A table that is known beforehand.
pub(super) struct Usual {
    pub(super) class: Class,
    /// Where it is where a picture brings none.
    pub(super) place: usize,
    counts: &'static [u8; 16],
    symbols: &'static [u8],
    pub(super) codes: Option<Codes>,
}

impl Usual {
    fn new(class: Class, place: usize, counts: &'static [u8; 16], symbols: &'static [u8]) -> Usual {
        Usual { class, place, counts, symbols, codes: Codes::new(class, counts, symbols) }
    }

    /// Whether a `DHT` segment brings the very same.
    pub(super) fn is(&self, class: Class, counts: &[u8; 16], symbols: &[u8]) -> bool {
        self.class == class && self.counts == counts && self.symbols == symbols
    }
}

const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const LUMA_DC: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
const CHROMA_DC: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
const LUMA_AC: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125];
const CHROMA_AC: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119];

#[rustfmt::skip]
const LUMA_SYMBOLS: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[rustfmt::skip]
const CHROMA_SYMBOLS: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
