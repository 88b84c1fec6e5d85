//! How loud sound is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// The peak of each channel of some sound, replaced as it goes on: every clone reads what was last set. Neither setting
/// nor reading waits for anything.
#[derive(Clone, Default)]
pub struct Levels {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    channels: AtomicUsize,
    /// As bits of an `f32` in dBFS.
    peaks: [AtomicU32; Levels::CHANNELS],
}

impl Levels {
    /// Further channels are not measured.
    pub const CHANNELS: usize = 8;
    /// What silence is told as, in dBFS; a sound of 16 bits is never between this and −90.
    pub const SILENCE: f64 = -120.0;

    /// Sets the peak of each channel, as shares of full scale, 0 to 1. An empty slice says that there is no sound.
    pub fn set(&self, peaks: &[f32]) {
        for (slot, peak) in self.inner.peaks.iter().zip(peaks) {
            let dbfs = (20.0 * peak.log10()).max(Levels::SILENCE as f32);
            slot.store(dbfs.to_bits(), Relaxed);
        }
        self.inner.channels.store(peaks.len().min(Levels::CHANNELS), Relaxed);
    }

    /// The last peak of each channel in dBFS, from [`Levels::SILENCE`]; empty where nothing is measured.
    pub fn dbfs(&self) -> Vec<f64> {
        let channels = self.inner.channels.load(Relaxed);
        self.inner.peaks[..channels].iter().map(|peak| f32::from_bits(peak.load(Relaxed)).into()).collect()
    }
}

impl PartialEq for Levels {
    fn eq(&self, other: &Levels) -> bool {
        self.dbfs() == other.dbfs()
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Levels").field(&self.dbfs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_is_zero_and_silence_has_an_end() {
        let levels = Levels::default();
        assert_eq!(levels.dbfs(), Vec::<f64>::new());
        let writer = levels.clone();
        writer.set(&[1.0, 0.1, 0.0]);
        assert_eq!(levels.dbfs(), [0.0, -20.0, Levels::SILENCE]);
        levels.set(&[1.0; 20]);
        assert_eq!(levels.dbfs(), [0.0; Levels::CHANNELS]);
        levels.set(&[]);
        assert_eq!(levels, Levels::default());
    }
}
