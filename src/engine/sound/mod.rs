//! The sound's line: between the graphs that capture sound, which come and go, and the raw hub, which must never run dry.
//!
//! ```text
//!  AudioCapture (a card, by its own clock) ─┐            follows the card's clock,
//!  AudioCapture (a tone or a file) ─────────┼─> SoundLine ──────────────────────────> RawHub ─> AudioEncode
//!  nobody ──────────────────────────────────┘            silence where nothing comes
//! ```
//!
//! What leaves it lies on one grid of frames without gap or overlap, so a stream has its sound's track from the start, card or
//! no card, and an encoder never sees a card's clock. It has one thread of its own, which alone fills the hub: a capture
//! hands it a block and waits until that is taken, so a full link on air holds up the capture as ever.

mod drift;
mod line;
mod stretch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use gstreamer as gst;

use crate::media::MediaTime;

use super::clock::Timebase;
use super::hub::RawHub;
pub(in crate::engine) use line::{Block, Pace};
use line::{Counts, Line};

/// Frames a second, of everything that passes here.
pub(super) const RATE: u32 = 48_000;

/// Left and right.
pub(super) const CHANNELS: usize = 2;

/// What a capture of sound has to deliver.
pub(super) const CAPS: &str = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";

/// How long the thread sleeps at most: whether the line is to run is looked at that often.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps a raw hub for sound filled. Cheap to clone; all clones are the same line. Its thread ends with the last of them.
#[derive(Clone)]
pub struct SoundLine {
    hub: RawHub,
    shared: Arc<Shared>,
    blocks: SyncSender<(u64, Block)>,
}

/// How the line fares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoundReport {
    /// No source is heard: what goes out is silence.
    pub silent: bool,
    /// By how many millionths the clock of the card that is heard is too fast; none where no card is heard.
    pub drift_ppm: Option<f64>,
    /// How often a card lost sound (an overrun), or brought too much at once.
    pub jumps: u64,
    /// How much silence was put in, all in all.
    pub silence: Duration,
}

#[derive(Default)]
struct Shared {
    /// Off air, nothing goes out.
    on: AtomicBool,
    /// Number of the newest source that came, and of the newest that left.
    came: AtomicU64,
    left: AtomicU64,
    issued: AtomicU64,
    silent: AtomicBool,
    /// In thousandths of a millionth; `i64::MIN` is none.
    drift: AtomicI64,
    jumps: AtomicU64,
    silence: AtomicU64,
}

/// Where one capture graph puts its sound.
pub(super) struct Inlet {
    number: u64,
    shared: Arc<Shared>,
    blocks: SyncSender<(u64, Block)>,
}

impl SoundLine {
    /// A line that fills `hub`, off until [`SoundLine::set_on`].
    pub(super) fn start(hub: RawHub, timebase: Timebase) -> std::io::Result<SoundLine> {
        // No room at all: a block is handed over, never kept.
        let (blocks, taken) = sync_channel(0);
        let shared = Arc::new(Shared { drift: AtomicI64::new(i64::MIN), ..Shared::default() });
        let worker =
            Worker { hub: hub.clone(), timebase, shared: Arc::clone(&shared), line: Line::default() };
        thread::Builder::new().name("sound-line".to_owned()).spawn(move || worker.run(&taken))?;
        Ok(SoundLine { hub, shared, blocks })
    }

    /// Whether anything is to go out, be it silence.
    pub fn set_on(&self, on: bool) {
        self.shared.on.store(on, Relaxed);
    }

    /// The hub that it fills.
    pub fn hub(&self) -> &RawHub {
        &self.hub
    }

    /// How it fares.
    pub fn report(&self) -> SoundReport {
        let shared = &*self.shared;
        let drift = shared.drift.load(Relaxed);
        SoundReport {
            silent: shared.silent.load(Relaxed),
            drift_ppm: (drift != i64::MIN).then(|| drift as f64 / 1e3),
            jumps: shared.jumps.load(Relaxed),
            silence: span(shared.silence.load(Relaxed)),
        }
    }

    /// A way in for one more capture graph. The newest one that has brought something is heard.
    pub(super) fn inlet(&self) -> Arc<Inlet> {
        Arc::new(Inlet {
            number: self.shared.issued.fetch_add(1, Relaxed) + 1,
            shared: Arc::clone(&self.shared),
            blocks: self.blocks.clone(),
        })
    }
}

impl Inlet {
    /// Hands a block over; waits while the hub is held up. False when nobody takes it.
    pub(super) fn put(&self, block: Block) -> bool {
        self.shared.came.fetch_max(self.number, Relaxed);
        self.blocks.send((self.number, block)).is_ok()
    }

    /// Nothing more comes: there is no need to wait for it.
    pub(super) fn leave(&self) {
        self.shared.left.fetch_max(self.number, Relaxed);
    }
}

struct Worker {
    hub: RawHub,
    timebase: Timebase,
    shared: Arc<Shared>,
    line: Line,
}

impl Worker {
    fn run(mut self, blocks: &Receiver<(u64, Block)>) {
        let Ok(caps) = CAPS.parse::<gst::Caps>() else { return };
        let (mut heard, mut wait) = (0, Duration::ZERO);
        loop {
            let next = match blocks.recv_timeout(wait) {
                Ok(next) => Some(next),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            wait = LOOK;
            let (on, left) = (self.shared.on.load(Relaxed), self.shared.left.load(Relaxed));
            if !on || left >= heard {
                self.line.leave();
            }
            if !on {
                continue;
            }
            let Worker { hub, timebase, shared, line } = &mut self;
            let mut put = |pts: MediaTime, samples: &[i16]| {
                hub.push(&sample(&caps, pts, samples), pts);
            };
            if let Some((number, block)) = next
                && number > left
                && number >= heard
            {
                if number > heard {
                    line.leave();
                }
                heard = number;
                line.take(&block, &mut put);
            }
            let frames = line.pass(timebase.now(), &mut put);
            shared.note(line.counts());
            wait = wait.min(span(frames));
        }
    }
}

impl Shared {
    fn note(&self, counts: Counts) {
        self.silent.store(counts.silent, Relaxed);
        let drift = counts.ppm.map_or(i64::MIN, |ppm| (ppm * 1e3) as i64);
        self.drift.store(drift, Relaxed);
        self.jumps.store(counts.jumps, Relaxed);
        self.silence.store(counts.silence, Relaxed);
    }
}

fn sample(caps: &gst::Caps, pts: MediaTime, samples: &[i16]) -> gst::Sample {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut buffer = gst::Buffer::from_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        let span = span((samples.len() / CHANNELS) as u64);
        buffer.set_pts(gst::ClockTime::from_nseconds(pts.as_nanos()));
        buffer.set_duration(gst::ClockTime::try_from(span).ok());
    }
    gst::Sample::builder().buffer(&buffer).caps(caps).build()
}

/// How long so many frames last.
pub(super) fn span(frames: u64) -> Duration {
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(RATE))
}
