//! Counters that streaming threads write without locks or allocation, and what is read from them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::media::MediaTime;

/// What one stage counted so far. Rates and latencies are over the last seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageCounters {
    /// Frames (audio: buffers) that came in.
    pub frames_in: u64,
    /// Frames that went out.
    pub frames_out: u64,
    /// Bytes that went out; 0 for raw media.
    pub bytes_out: u64,
    /// Frames lost here: (where, how many). Only places that exist in this graph are listed.
    pub dropped: Vec<(&'static str, u64)>,
    /// Frames that `videorate` left out to meet the profile's rate: not lost, not wanted.
    pub rate_skipped: u64,
    /// Frames out per second.
    pub fps: f64,
    /// Bits out per second; 0 for raw media.
    pub bitrate: u64,
    /// Keyframes that went out.
    pub keyframes: u64,
    /// Keyframes that were forced.
    pub keyframes_forced: u64,
    /// Time spent in this stage, median. Capture: from PTS to the hub; encode: through the encoder; outlet: from PTS.
    pub latency_p50: Option<Duration>,
    /// Time spent in this stage, 95th percentile.
    pub latency_p95: Option<Duration>,
    /// When the last frame went out.
    pub last_out: Option<MediaTime>,
}

/// Frames and bytes passing one place: totals, and the last ones as a ring for rates.
pub(super) struct Flow {
    frames: AtomicU64,
    bytes: AtomicU64,
    /// When the first one passed.
    first: AtomicU64,
    ring: [(AtomicU64, AtomicU64); Flow::SLOTS],
}

impl Flow {
    const SLOTS: usize = 256;
    /// Rates are over this time.
    const SPAN: Duration = Duration::from_secs(2);
    /// At first frames come in a rush: those that waited while the graph started.
    const RUSH: Duration = Duration::from_millis(500);
    /// No rate is told of less than this.
    const LEAST: Duration = Duration::from_millis(500);

    /// One writer at a time.
    pub(super) fn record(&self, now: MediaTime, bytes: usize) {
        let frames = self.frames.load(Relaxed);
        if frames == 0 {
            self.first.store(now.as_nanos(), Relaxed);
        }
        let slot = frames as usize % Self::SLOTS;
        self.ring[slot].0.store(now.as_nanos(), Relaxed);
        self.ring[slot].1.store(bytes as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.frames.fetch_add(1, Relaxed);
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// When the last one passed.
    pub(super) fn last(&self) -> Option<MediaTime> {
        let frames = self.frames.load(Relaxed) as usize;
        (frames > 0).then(|| MediaTime::from_nanos(self.ring[(frames - 1) % Self::SLOTS].0.load(Relaxed)))
    }

    /// Frames and bits per second; zero until there is enough to tell from.
    pub(super) fn rates(&self, now: MediaTime) -> (f64, u64) {
        let filled = (self.frames.load(Relaxed) as usize).min(Self::SLOTS);
        let begin = (MediaTime::from_nanos(self.first.load(Relaxed)) + Self::RUSH).max(now - Self::SPAN);
        if filled == 0 || now.saturating_since(begin) < Self::LEAST {
            return (0.0, 0);
        }
        let within = self.ring[..filled].iter().filter_map(|(at, size)| {
            let at = MediaTime::from_nanos(at.load(Relaxed));
            (at >= begin && at <= now).then(|| (at, size.load(Relaxed)))
        });
        let (mut frames, mut bytes) = (0_u32, 0_u64);
        let (mut oldest, mut newest) = ((now, 0), begin);
        for (at, size) in within {
            frames += 1;
            bytes += size;
            if at <= oldest.0 {
                oldest = (at, size);
            }
            newest = newest.max(at);
        }
        if frames < 2 {
            return (0.0, 0);
        }
        // From the oldest to the newest there is one interval less than frames: exact where they come evenly, and of a
        // ring that has wrapped. Where none has come for long, the silence counts.
        let intervals = frames - 1;
        let between = newest.saturating_since(oldest.0);
        let silence = now.saturating_since(newest).saturating_sub(between / intervals);
        let seconds = (between + silence).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0);
        }
        (f64::from(intervals) / seconds, ((bytes - oldest.1) as f64 * 8.0 / seconds) as u64)
    }
}

impl Default for Flow {
    fn default() -> Self {
        Flow {
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first: AtomicU64::new(0),
            ring: std::array::from_fn(|_| (AtomicU64::new(0), AtomicU64::new(0))),
        }
    }
}

/// When each of the last frames passed a place, by its running time: when it went into an encoder, say. One thread writes,
/// one reads.
pub(super) struct Inside {
    slots: [(AtomicU64, AtomicU64); Inside::SLOTS],
    next: AtomicU64,
}

impl Inside {
    const SLOTS: usize = 64;

    pub(super) fn enter(&self, running_time: u64, now: MediaTime) {
        let slot = &self.slots[self.next.load(Relaxed) as usize % Self::SLOTS];
        slot.0.store(running_time, Relaxed);
        slot.1.store(now.as_nanos(), Relaxed);
        self.next.fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    /// Number (from 0) and time of entry of the newest frame at or before `running_time`. For video that is the frame itself; an audio encoder
    /// cuts frames anew, and its output begins within that buffer.
    pub(super) fn entered(&self, running_time: u64) -> Option<(u64, MediaTime)> {
        let next = self.next.load(std::sync::atomic::Ordering::Acquire);
        (next.saturating_sub(Self::SLOTS as u64)..next)
            .rev()
            .map(|number| (number, &self.slots[number as usize % Self::SLOTS]))
            .find(|(_, slot)| slot.0.load(Relaxed) <= running_time)
            .map(|(number, slot)| (number, MediaTime::from_nanos(slot.1.load(Relaxed))))
    }
}

impl Default for Inside {
    fn default() -> Self {
        Inside {
            slots: std::array::from_fn(|_| (AtomicU64::new(0), AtomicU64::new(0))),
            next: AtomicU64::new(0),
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
    fn rates_are_right_at_the_start_in_the_middle_and_after_a_stall() {
        let flow = Flow::default();
        for n in 0..=30 {
            flow.record(ms(5_000 + n * 100), 1_000);
        }
        for now in [8_000, 8_050, 8_099] {
            let (fps, bits) = flow.rates(ms(now));
            assert!((fps - 10.0).abs() < 0.001, "{fps} at {now}");
            assert_eq!(bits, 80_000, "at {now}");
        }
        let (fps, _) = flow.rates(ms(9_000));
        assert!((5.0..6.0).contains(&fps), "{fps} after a second of silence");
        assert_eq!(flow.rates(ms(60_000)), (0.0, 0));
        assert_eq!(flow.last(), Some(ms(8_000)));
        for n in 0..10_000 {
            flow.record(ms(10_000 + n * 5), 1);
        }
        let (fps, _) = flow.rates(ms(60_000));
        assert!((fps - 200.0).abs() < 0.001, "{fps}");
    }

    #[test]
    fn frames_that_come_in_a_rush_at_first_are_no_rate() {
        let flow = Flow::default();
        for n in 0..20 {
            flow.record(ms(1_000 + n), 9_000);
        }
        for n in 0..100_u64 {
            let now = 1_040 + n * 1_000 / 30;
            flow.record(ms(now), 1_000);
            let (fps, bits) = flow.rates(ms(now));
            if now < 2_000 {
                assert_eq!((fps, bits), (0.0, 0), "too early to tell, at {now} ms");
            } else {
                assert!((29.5..30.5).contains(&fps), "{fps} at {now} ms");
                assert!((236_000..244_000).contains(&bits), "{bits} at {now} ms");
            }
        }
    }

    #[test]
    fn a_frame_is_found_by_its_running_time_and_audio_by_the_buffer_it_begins_in() {
        let inside = Inside::default();
        assert_eq!(inside.entered(5), None);
        for n in 0..200 {
            inside.enter(n * 10, ms(n));
        }
        assert_eq!(inside.entered(1990), Some((199, ms(199))));
        assert_eq!(inside.entered(1985), Some((198, ms(198))));
        assert_eq!(inside.entered(10), None, "long overwritten");
    }
}
