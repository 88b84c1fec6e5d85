//! Makes a little more or a little less of sound.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Indexing, Resampler, Resizable, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use super::CHANNELS;

/// Frames that are taken at once; longer blocks are cut.
const MOST: usize = 2_048;

/// The furthest that a stretch may be from one, with some room.
const RANGE: f64 = 1.03;

/// Delays by 0.7 ms, and takes 0.2 dB away at 15 kHz.
const PARAMETERS: SincInterpolationParameters = SincInterpolationParameters {
    sinc_len: 64,
    f_cutoff: None,
    interpolation: SincInterpolationType::Cubic,
    oversampling_factor: 128,
    window: WindowFunction::BlackmanHarris,
};

/// Stretches interleaved 16-bit sound, and knows where it is.
pub(super) struct Stretch {
    resampler: Async<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    /// Frames that went in.
    fed: f64,
    /// The frame of the input that the next frame put out shows; below zero at first, which is the filter's delay.
    at: f64,
}

impl Stretch {
    /// None only if the parameters above make no sense.
    pub(super) fn new() -> Option<Stretch> {
        let resampler = Async::new_sinc(1.0, RANGE, &PARAMETERS, MOST, CHANNELS, FixedAsync::Input).ok()?;
        // It steps on before it makes a frame, so the first one is a step after its delay.
        let at = 1.0 - resampler.output_delay() as f64;
        let output = vec![0.0; resampler.output_frames_max() * CHANNELS];
        Some(Stretch { resampler, input: Vec::with_capacity(MOST * CHANNELS), output, fed: 0.0, at })
    }

    /// Frames of the input that are not put out yet; fractions count.
    pub(super) fn held(&self) -> f64 {
        self.fed - self.at
    }

    /// Makes `ratio` frames of each of `samples` and adds them to `out`.
    pub(super) fn push(&mut self, samples: &[i16], ratio: f64, out: &mut Vec<i16>) {
        for part in samples.chunks(MOST * CHANNELS) {
            let frames = part.len() / CHANNELS;
            self.input.clear();
            self.input.extend(part.iter().map(|sample| f32::from(*sample)));
            let ratio = ratio.clamp(1.0 / RANGE, RANGE);
            // Both only refuse what is out of the ranges that hold here.
            let fits = self.resampler.set_chunk_size(frames).is_ok()
                && self.resampler.set_resample_ratio(ratio, false).is_ok();
            let space = self.output.len() / CHANNELS;
            let (Ok(input), Ok(mut output)) = (
                InterleavedSlice::new(&self.input, CHANNELS, frames),
                InterleavedSlice::new_mut(&mut self.output, CHANNELS, space),
            ) else {
                continue;
            };
            let Ok((taken, made)) =
                self.resampler.process_into_buffer(&input, &mut output, None::<&Indexing>)
            else {
                continue;
            };
            debug_assert!(fits && taken == frames, "{taken} of {frames} frames were taken");
            self.fed += taken as f64;
            self.at += made as f64 / ratio;
            let round = |sample: &f32| sample.round().clamp(-32_768.0, 32_767.0) as i16;
            out.extend(self.output[..made * CHANNELS].iter().map(round));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn sine(frequency: f64, frames: usize) -> Vec<i16> {
        let at = |n: usize| (20_000.0 * (TAU * frequency * n as f64 / 48_000.0).sin()).round() as i16;
        (0..frames).flat_map(|n| [at(n); 2]).collect()
    }

    #[test]
    fn what_comes_out_is_what_went_in_at_the_time_it_says() {
        for ratio in [0.995, 1.000_2, 1.005] {
            for frequency in [440.0, 15_000.0] {
                let mut stretch = Stretch::new().unwrap();
                let before = stretch.at;
                let (sound, mut out) = (sine(frequency, 24_000), Vec::new());
                for block in sound.chunks(480 * CHANNELS) {
                    stretch.push(block, ratio, &mut out);
                }
                let made = out.len() as f64 / 2.0;
                assert!((stretch.at - before - made / ratio).abs() < 1e-6);
                assert!((30.0..40.0).contains(&stretch.held()), "{} held", stretch.held());
                // Frame n of the output shows frame `before + n / ratio` of the input.
                let wanted =
                    |n: usize| 20_000.0 * (TAU * frequency * (before + n as f64 / ratio) / 48_000.0).sin();
                let error = (1_000..out.len() / 2).map(|n| (f64::from(out[2 * n]) - wanted(n)).abs());
                let worst = error.fold(0.0, f64::max);
                let most = if frequency > 10_000.0 { 600.0 } else { 20.0 };
                assert!(worst < most, "{frequency} Hz, {ratio}: off by {worst:.0} of 20000");
            }
        }
    }

    #[test]
    fn blocks_of_any_length_go_through_without_a_seam() {
        let sound = sine(1_000.0, 20_000);
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        Stretch::new().unwrap().push(&sound, 1.001, &mut whole);
        let mut stretch = Stretch::new().unwrap();
        let mut rest = &sound[..];
        for frames in [1, 479, 481, 2_048, 5_000, 3].into_iter().cycle() {
            let (now, later) = rest.split_at((frames * CHANNELS).min(rest.len()));
            stretch.push(now, 1.001, &mut parts);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let same = whole.iter().zip(&parts).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() <= 1);
        assert!(same && whole.len().abs_diff(parts.len()) <= 2, "{} and {}", whole.len(), parts.len());
    }
}
