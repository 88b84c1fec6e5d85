//! What is seen while the source brings nothing: the last picture at first, then a slate that says why.
//!
//! ```text
//!   last frame   +150 ms             +500 ms                                        a frame
//!  ──────────────┬───────────────────┬──────────────────────────────────────────────┬──────>
//!    the picture │ the picture, held │ the slate, painted anew each second           │ the picture
//! ```
//!
//! It enters at the raw hub, in the format and at the rate of what was captured before, with times that go on where the
//! captured ones ended: encoders, outputs and viewers notice nothing. One thread keeps the pace and pushes, another
//! paints, which takes longer than a frame.

mod letters;
mod painter;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use gstreamer as gst;

use crate::media::{FrameSize, Framerate, MediaTime, SourceHealth};

use super::clock::Timebase;
use super::hub::RawHub;
use painter::{Painter, Subject};

/// Without a frame for so long the last one is shown again: at 30 frames a second four are missing then.
pub const HOLD_AFTER: Duration = Duration::from_millis(150);

/// The same of a source whose frames may come several at once: senders hold back a quarter of a second of picture until the
/// sound that belongs to it is complete. What stood in for such frames would take their place.
const HOLD_AFTER_BURST: Duration = Duration::from_millis(400);

/// Without a frame for so long the slate is shown.
pub const SLATE_AFTER: Duration = Duration::from_millis(500);

/// The slate is painted ahead of its time, so that it is there then.
const PAINT_AFTER: Duration = Duration::from_millis(250);

/// A source that was just asked for has this long before anything is shown instead: a card opens in well below a second.
const FIRST_FRAME: Duration = Duration::from_millis(1500);

/// No frame that stands for a missing one is older than this; captured ones are 20 to 70 ms old.
const OLDEST: Duration = Duration::from_millis(100);

/// What is seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// What is captured, or nothing at all.
    Source,
    /// The last picture, again and again.
    Held,
    /// The slate.
    Slate,
}

/// Keeps a hub's picture going. Dropping it ends that.
pub struct Slate {
    shared: Arc<Shared>,
}

struct Shared {
    hub: RawHub,
    timebase: Timebase,
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

struct Wanted {
    ended: bool,
    /// The picture is to go on without a source, from this time on.
    on_since: Option<MediaTime>,
    /// Frames may come several at once.
    bursts: bool,
    /// What is captured is no picture, since this time.
    closed_since: Option<MediaTime>,
    health: SourceHealth,
    /// The format until something was captured.
    planned: gst::Caps,
    showing: Showing,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slate {
    /// Not on yet. Until something was captured the slate has this size and rate.
    pub(super) fn start(
        hub: RawHub,
        timebase: Timebase,
        size: FrameSize,
        framerate: Framerate,
    ) -> std::io::Result<Slate> {
        let wanted = Wanted {
            ended: false,
            on_since: None,
            bursts: false,
            closed_since: None,
            health: SourceHealth::default(),
            planned: planned(size, framerate),
            showing: Showing::Source,
        };
        let shared = Arc::new(Shared { hub, timebase, wanted: Mutex::new(wanted), changed: Condvar::new() });
        let painter = Painter::start()?;
        let filler =
            Filler { shared: Arc::clone(&shared), painter, held: None, ticked: MediaTime::default() };
        thread::Builder::new().name("slate".to_owned()).spawn(move || filler.run())?;
        Ok(Slate { shared })
    }

    /// Whether the picture is to go on when nothing is captured.
    pub fn set_on(&self, on: bool) {
        let now = self.shared.timebase.now();
        self.change(|wanted| {
            if wanted.on_since.is_some() != on {
                wanted.on_since = on.then_some(now);
            }
        });
        self.shared.hub.keep_last(on);
    }

    /// Why nothing is captured, for the slate; and whether what is captured all the same is no picture of the source's
    /// (noise, a driver's own test picture), and not to be shown.
    pub fn say(&self, health: &SourceHealth, noise: bool) {
        let now = self.shared.timebase.now();
        self.shared.hub.set_closed(noise);
        self.change(|wanted| {
            wanted.health = health.clone();
            if wanted.closed_since.is_some() != noise {
                wanted.closed_since = noise.then_some(now);
            }
        });
    }

    /// The slate's size and rate while nothing was captured yet.
    pub fn plan(&self, size: FrameSize, framerate: Framerate) {
        self.change(|wanted| wanted.planned = planned(size, framerate));
    }

    /// Whether the source's frames come one by one, or several at once now and then: the last one is held sooner or later.
    pub fn expect_bursts(&self, bursts: bool) {
        self.change(|wanted| wanted.bursts = bursts);
    }

    /// What is seen now.
    pub fn showing(&self) -> Showing {
        self.shared.wanted().showing
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.shared.wanted());
        self.shared.changed.notify_all();
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        self.set_on(false);
        self.change(|wanted| wanted.ended = true);
    }
}

/// Planar, 8 bits: what every encoder takes, or is converted to in no time.
fn planned(size: FrameSize, framerate: Framerate) -> gst::Caps {
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", part(size.width))
        .field("height", part(size.height))
        .field("framerate", gst::Fraction::new(part(framerate.numerator()), part(framerate.denominator())))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("interlace-mode", "progressive")
        .build()
}

/// The thread that pushes.
struct Filler {
    shared: Arc<Shared>,
    painter: Painter,
    /// The last captured picture, copied: its buffer is the driver's.
    held: Option<gst::Sample>,
    ticked: MediaTime,
}

impl Filler {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut wanted = shared.wanted();
        while !wanted.ended {
            let now = shared.timebase.now();
            let (showing, wait) = match wanted.on_since {
                None => (Showing::Source, None),
                Some(on_since) => self.due(&wanted, on_since, now),
            };
            wanted.showing = showing;
            if showing == Showing::Source {
                wanted = match wait {
                    Some(wait) => {
                        let waited = shared.changed.wait_timeout(wanted, wait);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => shared.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            let caps = shared.hub.captured_caps().unwrap_or_else(|| wanted.planned.clone());
            let health = wanted.health.clone();
            // Pushing may wait for an encoder, and whoever changes what is wanted must not.
            drop(wanted);
            let wait = self.show(showing, &caps, &health, now);
            wanted = shared.wanted();
            if !wanted.ended && !wait.is_zero() {
                let waited = shared.changed.wait_timeout(wanted, wait);
                wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        drop(wanted);
        self.painter.end();
    }

    /// What is to be seen now, and when to look again if that is the source.
    fn due(&mut self, wanted: &Wanted, on_since: MediaTime, now: MediaTime) -> (Showing, Option<Duration>) {
        let captured = shared_captured(&self.shared.hub, on_since, wanted.closed_since);
        let silence = now.saturating_since(captured.unwrap_or(on_since));
        let patience = match captured {
            Some(_) if wanted.bursts => HOLD_AFTER_BURST,
            Some(_) => HOLD_AFTER,
            // Nothing to hold: either it is known that nothing comes, or something still may.
            None if wanted.closed_since.is_some() || !wanted.health.is_live() => SLATE_AFTER,
            None => FIRST_FRAME,
        };
        if silence < patience {
            return (Showing::Source, Some(patience - silence));
        }
        let slate = silence >= SLATE_AFTER.max(patience);
        let seen =
            if slate || (captured.is_none() && self.held.is_none()) { Showing::Slate } else { Showing::Held };
        (seen, None)
    }

    /// Pushes one frame; how long to wait for the next.
    fn show(
        &mut self,
        showing: Showing,
        caps: &gst::Caps,
        health: &SourceHealth,
        now: MediaTime,
    ) -> Duration {
        let period = period(caps);
        // A wait that was cut short is no reason for a frame.
        let early = (self.ticked + period).saturating_since(now);
        if !early.is_zero() && early <= period {
            return early;
        }
        // In step where it can be; after a pause, or an encoder that made it wait, from now on.
        let behind = now.saturating_since(self.ticked + period);
        self.ticked = if behind > period { now } else { self.ticked + period };
        if let Some(last) = self.shared.hub.take_last() {
            self.held = copied(&last);
        }
        let subject = Subject { caps: caps.clone(), health: health.clone() };
        let silence = self.shared.hub.captured().map_or(Duration::MAX, |last| now.saturating_since(last));
        if silence >= PAINT_AFTER || showing == Showing::Slate {
            self.painter.ask(subject.clone());
        }
        let held = self.held.as_ref().filter(|held| held.caps().is_some_and(|of| of == caps.as_ref()));
        let picture = match showing {
            Showing::Slate => self.painter.picture(&subject).or_else(|| held.cloned()),
            _ => held.cloned(),
        };
        if let Some(picture) = picture {
            let age = self.shared.hub.last_age().min(OLDEST);
            self.shared.hub.fill(&picture, self.ticked - age, period);
        }
        (self.ticked + period).saturating_since(self.shared.timebase.now())
    }
}

/// When the source's last picture came, since this was switched on; while what comes is no picture, when that began.
fn shared_captured(hub: &RawHub, on_since: MediaTime, closed: Option<MediaTime>) -> Option<MediaTime> {
    let captured = hub.captured().filter(|last| *last >= on_since);
    match closed {
        Some(since) => captured.map(|last| last.min(since)),
        None => captured,
    }
}

/// From one frame to the next; formats without a rate are given 30 a second.
fn period(caps: &gst::Caps) -> Duration {
    let rate = caps.structure(0).and_then(|fields| fields.get::<gst::Fraction>("framerate").ok());
    match rate {
        Some(rate) if rate.numer() > 0 && rate.denom() > 0 => {
            Duration::from_secs_f64(f64::from(rate.denom()) / f64::from(rate.numer()))
        }
        _ => Duration::from_nanos(33_333_333),
    }
}

fn copied(sample: &gst::Sample) -> Option<gst::Sample> {
    let buffer = sample.buffer()?.copy_deep().ok()?;
    Some(gst::Sample::builder().buffer(&buffer).caps_if_some(sample.caps_owned().as_ref()).build())
}
