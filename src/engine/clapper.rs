//! The clap of the test source: with each full second of the common time the picture flashes and the tone beeps, so that
//! whoever watches sees whether the two are together.

use std::time::Duration;

use crate::media::MediaTime;

use super::sound::{CHANNELS, RATE};

/// How long both last, unless a picture lasts longer.
const LENGTH: Duration = Duration::from_millis(60);

/// Of the beep, in periods a second.
const PITCH: u64 = 1_000;

/// Of the beep, 0.4 of the full scale: twice the tone's.
const LOUDNESS: f64 = 13_107.0;

/// Whether the picture that is shown from here on, for so long, flashes: the first one of a second always does.
pub(super) fn flashes(pts: MediaTime, duration: Duration) -> bool {
    Duration::from_nanos(pts.as_nanos() % 1_000_000_000) < LENGTH.max(duration)
}

/// Beeps in the place of the tone, to the sample. `samples` are interleaved, the first one is of `pts`.
pub(super) fn beep(samples: &mut [i16], pts: MediaTime) {
    let rate = u64::from(RATE);
    let first = (u128::from(pts.as_nanos()) * u128::from(rate) + 500_000_000) / 1_000_000_000;
    let length = LENGTH.as_millis() as u64 * rate / 1_000;
    for (index, frame) in samples.chunks_exact_mut(CHANNELS).enumerate() {
        let at = (first as u64 + index as u64) % rate;
        if at < length {
            let phase = (at * PITCH % rate) as f64 / rate as f64;
            frame.fill((LOUDNESS * (phase * std::f64::consts::TAU).sin()) as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> MediaTime {
        MediaTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_first_picture_of_each_second_flashes_at_any_rate_and_offset() {
        for (rate, offset) in [(60, 0), (30, 7), (15, 60), (10, 99), (5, 0)] {
            let frame = Duration::from_nanos(1_000_000_000 / rate);
            let times: Vec<_> =
                (0..20 * rate).map(|n| ms(3_600_000 + offset) + frame * u32::try_from(n).unwrap()).collect();
            for pair in times.windows(2) {
                let begins = pair[0].as_nanos() / 1_000_000_000 < pair[1].as_nanos() / 1_000_000_000;
                assert!(!begins || flashes(pair[1], frame), "{pair:?} at {rate}");
            }
            let flashing = times.iter().filter(|pts| flashes(**pts, frame)).count() as u64;
            assert!((20..=20 * (1 + rate * 60 / 1_000)).contains(&flashing), "{flashing} at {rate}");
        }
    }

    #[test]
    fn the_beep_begins_with_the_second_whatever_the_blocks() {
        for block in [480_usize, 441, 7] {
            // From 1.9 s on for 200 ms.
            let mut all = vec![0; 9_600 * CHANNELS];
            for (index, samples) in all.chunks_mut(block * CHANNELS).enumerate() {
                let begin = ms(1_900) + Duration::from_nanos((index * block) as u64 * 1_000_000_000 / 48_000);
                beep(samples, begin);
            }
            let sounding: Vec<usize> =
                all.chunks(CHANNELS).enumerate().filter(|(_, s)| s[0] != 0).map(|(at, _)| at).collect();
            // A sine begins with nothing, and so it ends.
            assert_eq!((sounding[0], *sounding.last().unwrap()), (4_801, 4_800 + 2_879), "blocks of {block}");
            let peak = all.iter().max().unwrap();
            assert!((13_000..=13_107).contains(peak), "{peak}");
        }
    }
}
