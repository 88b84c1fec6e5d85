//! Whether an H.264 picture can be passed on as it came: what viewers' browsers, and those who join later, need of it. Pure.

use super::packets::Unit;
use super::program::Coding;
use super::store::nal_units;

/// So many pictures tell enough.
const ENOUGH: u32 = 20;

/// What was seen of a picture so far.
#[derive(Default)]
pub(super) struct Fitness {
    units: u32,
    latest: Option<u64>,
    keyframe: bool,
    against: Option<String>,
    told: Option<bool>,
}

impl Fitness {
    /// Takes in one more picture; gives what to say of the whole, when that is news.
    pub(super) fn judge(&mut self, unit: &Unit, coding: Coding) -> Option<Result<(), String>> {
        if self.against.is_none() {
            self.look(unit, coding);
        }
        let fits = match &self.against {
            Some(_) => false,
            None if self.units >= ENOUGH && self.keyframe => true,
            None => return None,
        };
        if self.told.replace(fits) == Some(fits) {
            return None;
        }
        Some(self.against.clone().map_or(Ok(()), Err))
    }

    fn look(&mut self, unit: &Unit, coding: Coding) {
        self.units = self.units.saturating_add(1);
        if coding != Coding::H264 {
            self.against =
                Some(format!("the picture arrives as {coding}, and only H.264 can be passed through"));
            return;
        }
        // Signed, across the end of the 33 bits.
        let earlier = |before: u64| (unit.pts.wrapping_sub(before) << 31).cast_signed() < 0;
        if unit.pts != unit.dts || self.latest.is_some_and(earlier) {
            let words = "the picture arrives with B-frames, which no browser shows by WebRTC";
            self.against = Some(format!("{words}: switch them off at the sender (`bframes=0`, zerolatency)"));
            return;
        }
        self.latest = Some(unit.pts);
        for nal in nal_units(&unit.bytes) {
            match nal[0] & 0x1f {
                // Slices: what follows is none of interest.
                1 => break,
                5 => {
                    self.keyframe = true;
                    break;
                }
                // A.2: Baseline, Main, High; others have more than 8 bits, or colours that browsers do not take.
                7 if !matches!(nal.get(1), Some(66 | 77 | 100)) => {
                    self.against = Some(
                        "the picture arrives in a profile of H.264 that browsers do not play: choose baseline, main or high"
                            .to_owned(),
                    );
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaKind;

    fn unit(pts: u64, dts: u64, bytes: &[u8]) -> Unit {
        Unit { kind: MediaKind::Video, pts, dts, random: false, bytes: bytes.to_vec() }
    }

    const KEY: [u8; 12] = [0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0, 0, 1, 0x65];
    const SLICE: [u8; 5] = [0, 0, 1, 0x41, 0x9a];

    fn judge(units: impl Iterator<Item = Unit>, coding: Coding) -> Vec<Result<(), String>> {
        let mut fitness = Fitness::default();
        units.filter_map(|unit| fitness.judge(&unit, coding)).collect()
    }

    #[test]
    fn what_suits_browsers_fits_and_what_does_not_says_why_once() {
        let begin = (1 << 33) - 20_000;
        let plain = |at: u64| (begin + at * 3000) & ((1 << 33) - 1);
        let stream = |at: u64| unit(plain(at), plain(at), if at == 3 { &KEY } else { &SLICE });
        assert_eq!(judge((0..60).map(stream), Coding::H264), [Ok(())]);
        assert_eq!(judge((4..60).map(stream), Coding::H264), [], "no keyframe yet");
        let [Err(why)] = &judge((0..60).map(stream), Coding::H265)[..] else { panic!("it is no H.264") };
        assert!(why.contains("H.265"), "{why}");
        let order = [0, 3, 1, 2];
        let reordered = (0..60).map(|at: u64| {
            let shown = plain(at / 4 * 4 + order[(at % 4) as usize]);
            unit(shown, shown, if at == 3 { &KEY } else { &SLICE })
        });
        let [Err(why)] = &judge(reordered, Coding::H264)[..] else { panic!("it has B-frames") };
        assert!(why.contains("B-frames"), "{why}");
        let mut deep = KEY;
        deep[5] = 110;
        let [Err(why)] = &judge([unit(0, 0, &deep)].into_iter(), Coding::H264)[..] else { panic!("10 bits") };
        assert!(why.contains("profile"), "{why}");
    }
}
