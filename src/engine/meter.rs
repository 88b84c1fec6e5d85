//! How loud the captured sound is.

use gst_audio::AudioFormat;
use gstreamer as gst;
use gstreamer_audio as gst_audio;

use crate::media::Levels;

/// A peak is over this share of a second: told 20 times a second.
const WINDOWS: u32 = 20;

/// Measures what passes, on the streaming thread and without a lock: a maximum over the samples, as no element and no bus
/// message could be cheaper. Knows interleaved S16, S32 and F32; what it does not know, it does not tell.
pub(super) struct Meter {
    levels: Levels,
    caps: Option<gst::Caps>,
    format: Option<Format>,
    /// Since the window began: the peak of each channel, and frames left.
    peaks: [f32; Levels::CHANNELS],
    left: usize,
}

#[derive(Clone, Copy)]
struct Format {
    sample: AudioFormat,
    channels: usize,
    /// Frames of one window.
    window: usize,
}

impl Meter {
    pub(super) fn new(levels: Levels) -> Meter {
        Meter { levels, caps: None, format: None, peaks: [0.0; Levels::CHANNELS], left: 0 }
    }

    pub(super) fn measure(&mut self, sample: &gst::Sample) {
        self.follow(sample.caps());
        let (Some(format), Some(buffer)) = (self.format, sample.buffer()) else { return };
        let Ok(map) = buffer.map_readable() else { return };
        let mut bytes = map.as_slice();
        let frame = format.channels * format.sample_bytes();
        // A window ends within a buffer as well: buffers may be long.
        while bytes.len() >= frame {
            let frames = (bytes.len() / frame).min(self.left);
            let (now, later) = bytes.split_at(frames * frame);
            format.peaks(now, &mut self.peaks);
            bytes = later;
            self.left -= frames;
            if self.left == 0 {
                self.levels.set(&self.peaks[..format.channels.min(Levels::CHANNELS)]);
                self.peaks = [0.0; Levels::CHANNELS];
                self.left = format.window;
            }
        }
    }

    fn follow(&mut self, caps: Option<&gst::CapsRef>) {
        if self.caps.as_deref() == caps {
            return;
        }
        self.caps = caps.map(gst::CapsRef::to_owned);
        self.format = caps.and_then(Format::of);
        self.left = self.format.map_or(0, |format| format.window);
        self.peaks = [0.0; Levels::CHANNELS];
        self.levels.set(&[]);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.levels.set(&[]);
    }
}

impl Format {
    fn of(caps: &gst::CapsRef) -> Option<Format> {
        let sound = gst_audio::AudioInfo::from_caps(caps).ok()?;
        let known = [gst_audio::AUDIO_FORMAT_S16, gst_audio::AUDIO_FORMAT_S32, gst_audio::AUDIO_FORMAT_F32];
        let interleaved = sound.layout() == gst_audio::AudioLayout::Interleaved;
        (interleaved && known.contains(&sound.format()) && sound.channels() > 0).then(|| Format {
            sample: sound.format(),
            channels: sound.channels() as usize,
            window: (sound.rate() / WINDOWS).max(1) as usize,
        })
    }

    fn sample_bytes(self) -> usize {
        if self.sample == gst_audio::AUDIO_FORMAT_S16 { 2 } else { 4 }
    }

    /// Raises each channel's peak to what is in these whole frames.
    fn peaks(self, bytes: &[u8], peaks: &mut [f32; Levels::CHANNELS]) {
        if self.sample == gst_audio::AUDIO_FORMAT_S16 {
            self.each(bytes, peaks, |b: [u8; 2]| f32::from(i16::from_ne_bytes(b).unsigned_abs()) / 32_768.0);
        } else if self.sample == gst_audio::AUDIO_FORMAT_S32 {
            let scale = 2_147_483_648.0;
            self.each(bytes, peaks, |b: [u8; 4]| i32::from_ne_bytes(b).unsigned_abs() as f32 / scale);
        } else {
            self.each(bytes, peaks, |b: [u8; 4]| f32::from_ne_bytes(b).abs());
        }
    }

    fn each<const N: usize>(
        self,
        bytes: &[u8],
        peaks: &mut [f32; Levels::CHANNELS],
        share: impl Fn([u8; N]) -> f32,
    ) {
        let (samples, _) = bytes.as_chunks::<N>();
        match samples.as_chunks::<2>() {
            // Nearly always.
            (pairs, []) if self.channels == 2 => {
                for [left, right] in pairs {
                    peaks[0] = peaks[0].max(share(*left));
                    peaks[1] = peaks[1].max(share(*right));
                }
            }
            _ => {
                for frame in samples.chunks_exact(self.channels) {
                    for (peak, sample) in peaks.iter_mut().zip(frame) {
                        *peak = peak.max(share(*sample));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(format: &str, channels: u32, bytes: Vec<u8>) -> gst::Sample {
        gst::init().unwrap();
        let caps = format!(
            "audio/x-raw,format={format},layout=interleaved,rate=48000,channels={channels},channel-mask=(bitmask)0"
        );
        let caps: gst::Caps = caps.parse().unwrap();
        gst::Sample::builder().caps(&caps).buffer(&gst::Buffer::from_slice(bytes)).build()
    }

    #[test]
    fn each_channel_has_its_peak_in_every_format_it_knows() {
        let levels = Levels::default();
        let mut meter = Meter::new(levels.clone());
        let frames = 2_400;
        let s16 = [i16::MIN, 3_277, 0].map(i16::to_ne_bytes).concat().repeat(frames);
        let s32 = [i32::MIN, 214_748_365, 0].map(i32::to_ne_bytes).concat().repeat(frames);
        let f32 = [-1.0_f32, 0.1, 0.0].map(f32::to_ne_bytes).concat().repeat(frames);
        for (format, bytes) in [("S16LE", s16), ("S32LE", s32), ("F32LE", f32)] {
            meter.measure(&sound(format, 3, bytes));
            let dbfs: Vec<i64> = levels.dbfs().iter().map(|peak| peak.round() as i64).collect();
            assert_eq!(dbfs, [0, -20, -120], "{format}");
        }
        meter.measure(&sound("S24LE", 3, vec![0; 9_000]));
        assert!(levels.dbfs().is_empty(), "not known, not told");
    }

    #[test]
    fn a_window_ends_within_a_buffer_and_a_loud_moment_passes() {
        let levels = Levels::default();
        let mut meter = Meter::new(levels.clone());
        let of = |value: i16, frames: usize| [value; 2].map(i16::to_ne_bytes).concat().repeat(frames);
        meter.measure(&sound("S16LE", 2, of(16_384, 2_399)));
        assert!(levels.dbfs().is_empty(), "no window is whole yet");
        meter.measure(&sound("S16LE", 2, [of(16_384, 1), of(0, 2_399)].concat()));
        assert!(levels.dbfs().iter().all(|peak| (-6.1..-6.0).contains(peak)), "{levels:?}");
        meter.measure(&sound("S16LE", 2, of(0, 1)));
        assert_eq!(levels.dbfs(), [Levels::SILENCE; 2]);
        drop(meter);
        assert!(levels.dbfs().is_empty(), "nobody measures any more");
    }
}
