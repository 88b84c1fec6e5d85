//! The coded data of a picture, taken code by code.

use super::codes::{Codes, ENDS, Step};

/// Bytes that may stand unused behind the last block, as some cards fill up to the next word.
pub(super) const SLACK: usize = 32;

/// The blocks of one component, one after another.
pub(super) struct Blocks<'a> {
    pub(super) dc: &'a Codes,
    pub(super) ac: &'a Codes,
    /// How many there are in a group.
    pub(super) count: usize,
    /// Brightness of the last one, and how far from grey it can be, in its steps.
    pub(super) level: i32,
    pub(super) most: i32,
}

/// Coded data, bit by bit, up to its next marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Where the next byte is taken.
    at: usize,
    /// The next bits, the first of them highest; zeros behind.
    held: u64,
    /// How many there are; fewer than none once more were taken.
    count: i32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, held: 0, count: 0 }
    }

    /// One block; none where it cannot be one.
    #[inline]
    pub(super) fn block(&mut self, blocks: &mut Blocks<'_>) -> Option<()> {
        let step = blocks.dc.one(self.next());
        blocks.level += self.amplitude(step);
        self.take(step)?;
        if blocks.level.abs() > blocks.most {
            return None;
        }
        let ac = blocks.ac;
        let mut coefficients = 1;
        while coefficients < 64 {
            let bits = self.next();
            let mut step = ac.many(bits);
            if coefficients + (step.coefficients & !ENDS) >= 64 {
                // The last ones may belong to the next block, and be no such codes.
                step = ac.one(bits);
            }
            self.take(step)?;
            coefficients += step.coefficients & !ENDS;
            if step.coefficients & ENDS != 0 {
                break;
            }
        }
        (coefficients <= 64 && self.count >= 0).then_some(())
    }

    /// The next 16 bits.
    #[inline]
    fn next(&mut self) -> u16 {
        self.fill();
        (self.held >> 48) as u16
    }

    /// What stands behind a code of brightness (T.81 §F.2.2.1), of which the amplitude has as many bits as its symbol says.
    #[inline]
    fn amplitude(&self, step: Step) -> i32 {
        let size = u32::from(step.coefficients);
        let raw = (self.held << (u32::from(step.bits) - size) >> 32) as u32;
        let value = raw.checked_shr(32 - size).unwrap_or(0) as i32;
        if size > 0 && value >> (size - 1) == 0 { value + 1 - (1 << size) } else { value }
    }

    #[inline]
    fn take(&mut self, step: Step) -> Option<()> {
        self.held <<= step.bits;
        self.count -= i32::from(step.bits);
        (step.bits != 0).then_some(())
    }

    /// Holds at least 32 bits, if there are as many: more than a code with its amplitude has.
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(four) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<4>())
            && self.count >= 0
        {
            let word = u32::from_be_bytes(*four);
            if !has_ff(word) {
                self.held |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.at += 4;
                return;
            }
        }
        self.fill_with_care();
    }

    #[cold]
    fn fill_with_care(&mut self) {
        while (0..=56).contains(&self.count) {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 1;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => return,
                (Some(byte), _) => *byte,
            };
            self.at += 1;
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// What follows the coded data, a marker first, unless too much of it was not taken.
    pub(super) fn end(&self) -> Option<&'a [u8]> {
        let rest = &self.data[self.at..];
        let marker = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0).unwrap_or(rest.len());
        let held = usize::try_from(self.count / 8).unwrap_or(0);
        (held + marker <= SLACK).then(|| &rest[marker..])
    }

    /// On behind the next marker, which must be this one.
    pub(super) fn pass(self, marker: u8) -> Option<Bits<'a>> {
        let rest = self.end()?;
        let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
        (rest.get(fill) == Some(&marker)).then(|| Bits::new(&rest[fill + 1..]))
    }
}

/// Whether one of the four bytes is 0xFF.
const fn has_ff(word: u32) -> bool {
    (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 != 0
}
