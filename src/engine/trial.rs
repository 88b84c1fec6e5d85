//! Does an encoder work? Real frames through its encode graph, a forced keyframe among them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use gstreamer as gst;

use crate::media::{FrameSize, Framerate, MediaKind, MediaTime};
use crate::plan::{Downstream, GraphPlan};

use super::{BuildError, ControlError, Engine, EventSink, Graph, GraphError, GraphEvent, RawHub};

/// Encoded frames that must come out.
pub const TRIAL_FRAMES: u32 = 12;

/// Pictures that an encoder may take for those. What it holds back for ever is none of a live stream's.
const MOST_TAKEN: u32 = 120;

/// With this many pictures in the encoder a keyframe is forced; the first is one anyway.
const FORCED_AFTER: u64 = 3;

/// An encoder that gives nothing for so long although it took all there is holds what it has.
const SETTLED: Duration = Duration::from_secs(2);

/// How often room for another picture is looked for while no frame comes.
const LOOK: Duration = Duration::from_millis(2);

/// Frames and events that wait to be looked at.
const WAITING: usize = 1024;

/// What an encoder did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Encoded frames that came out.
    pub frames: u32,
    /// From the first picture given to the last frame taken.
    pub took: Duration,
    /// Pictures it had taken before its first frame came out.
    pub held: u32,
}

/// Why an encoder did not pass.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrialError {
    /// Its graph cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its graph broke, as GStreamer says.
    #[error("`{}` failed after {frames} frames: {}", .error.element, .error.message)]
    Graph {
        /// What broke.
        error: GraphError,
        /// Encoded frames that came out before.
        frames: u32,
    },
    /// It did not reach PLAYING.
    #[error("it did not start in {} s", .0.as_secs())]
    NoStart(Duration),
    /// No frame came for a while.
    #[error("it gave {} in {} s", counted(*.frames), .patience.as_secs())]
    Silent {
        /// Encoded frames that came out before.
        frames: u32,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It takes pictures and holds them.
    #[error("it gave {} of {taken} pictures", counted(*.frames))]
    Holds {
        /// Encoded frames that came out.
        frames: u32,
        /// Pictures it took.
        taken: u32,
    },
    /// Nobody could begin to watch.
    #[error("its first frame is no keyframe")]
    NoFirstKeyframe,
    /// A viewer that joins or lost something would see nothing until the next regular one.
    #[error("it gives no keyframe when asked for one")]
    NoKeyframe,
    /// It cannot even be asked for one.
    #[error("a keyframe cannot be asked for: {0}")]
    Keyframe(#[from] ControlError),
    /// What came out is empty.
    #[error("it gives empty frames")]
    Empty,
    /// Its graph would not go.
    #[error("it does not stop")]
    NoStop,
}

fn counted(frames: u32) -> String {
    match frames {
        0 => "no frame".to_owned(),
        1 => "one frame only".to_owned(),
        more => format!("{more} frames only"),
    }
}

enum Heard {
    Frame { keyframe: bool, empty: bool },
    Event(GraphEvent),
}

impl Engine {
    /// Pushes moving pictures through an encode graph until [`TRIAL_FRAMES`] encoded ones came out and a forced keyframe
    /// was among them. `starved` says how long the process has waited for a core so far, which is not the encoder's fault;
    /// `told` hears each step. Blocks; a driver that hangs makes it block for ever, one that
    /// crashes takes the process along, so this is for a process of its own.
    ///
    /// # Errors
    /// [`TrialError`]: what is wrong with the encoder, in words.
    pub fn trial(
        &self,
        plan: &GraphPlan,
        patience: Duration,
        starved: &dyn Fn() -> Duration,
        told: &mut dyn FnMut(),
    ) -> Result<Trial, TrialError> {
        let Downstream::Video { size: Some(size), framerate, .. } = plan.downstream else {
            return Err(BuildError::Medium { kind: "trial" }.into());
        };
        let (hub, outlet) = (self.raw_hub(MediaKind::Video), self.outlet(MediaKind::Video));
        let (tell, heard) = sync_channel(WAITING);
        let mut graph = self.encode(plan, &hub, &outlet, events(tell.clone()))?;
        // By the access units: what of them the payloader makes is what the SFU gets, and must not fail either.
        let _units = outlet.subscribe_units(move |unit| {
            let _ = tell.try_send(Heard::Frame { keyframe: unit.keyframe, empty: unit.data.is_empty() });
        });
        outlet.attach(&graph);
        graph.start()?;
        let run = Run {
            engine: self,
            hub,
            graph: &graph,
            heard,
            patience,
            starved,
            pictures: Pictures::new(size, framerate),
        };
        let trial = run.through(told)?;
        let (gone, before) = (graph.stop(), starved());
        // What it was without a processor does not count; at most as long again.
        let stopped = gone.wait(patience) || gone.wait(starved().saturating_sub(before).min(patience));
        if stopped { Ok(trial) } else { Err(TrialError::NoStop) }
    }
}

fn events(tell: SyncSender<Heard>) -> EventSink {
    Arc::new(move |event| {
        let _ = tell.try_send(Heard::Event(event));
    })
}

struct Run<'a> {
    engine: &'a Engine,
    hub: RawHub,
    graph: &'a Graph,
    heard: Receiver<Heard>,
    patience: Duration,
    starved: &'a dyn Fn() -> Duration,
    pictures: Pictures,
}

impl Run<'_> {
    fn through(mut self, told: &mut dyn FnMut()) -> Result<Trial, TrialError> {
        self.until_playing()?;
        let began = self.engine.now();
        let (mut frames, mut taken, mut held) = (0, 0, 0);
        let (mut asked, mut forced) = (false, false);
        let (mut last, mut starved) = (began, (self.starved)());
        while frames < TRIAL_FRAMES || !forced {
            let room = taken < MOST_TAKEN && self.has_room();
            if room {
                let (sample, pts) = self.pictures.next(began);
                self.hub.push(&sample, pts);
                taken += 1;
                // One that takes pictures lives, however slow the machine is.
                (last, starved) = (self.engine.now(), (self.starved)());
                told();
            }
            if !asked && self.graph.tally.frames_in.load(Ordering::Relaxed) >= FORCED_AFTER {
                self.graph.force_keyframe()?;
                asked = true;
            }
            match self.heard.recv_timeout(if room { Duration::ZERO } else { LOOK }) {
                Ok(Heard::Frame { keyframe, empty }) => {
                    match (frames, keyframe, empty) {
                        (_, _, true) => return Err(TrialError::Empty),
                        (0, false, _) => return Err(TrialError::NoFirstKeyframe),
                        (0, true, _) => held = taken,
                        (_, keyframe, _) => forced |= asked && keyframe,
                    }
                    frames += 1;
                    (last, starved) = (self.engine.now(), (self.starved)());
                    told();
                }
                Ok(Heard::Event(GraphEvent::Error(error))) => {
                    return Err(TrialError::Graph { error, frames });
                }
                Ok(Heard::Event(_)) | Err(RecvTimeoutError::Timeout) => {
                    let silent = self.engine.now().saturating_since(last);
                    if silent <= self.patience.min(SETTLED) {
                        continue;
                    }
                    let silent = silent.saturating_sub((self.starved)().saturating_sub(starved));
                    // All was given, and nothing more comes of it.
                    let over = taken == MOST_TAKEN && silent > self.patience.min(SETTLED);
                    if over && frames >= TRIAL_FRAMES {
                        return Err(TrialError::NoKeyframe);
                    } else if over && self.is_drained() {
                        return Err(TrialError::Holds { frames, taken });
                    } else if silent > self.patience {
                        return Err(TrialError::Silent { frames, patience: self.patience });
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(TrialError::NoStop),
            }
        }
        Ok(Trial { frames, took: last.saturating_since(began), held })
    }

    /// Not before that is a picture taken.
    fn until_playing(&self) -> Result<(), TrialError> {
        let (began, starved) = (self.engine.now(), (self.starved)());
        loop {
            match self.heard.recv_timeout(self.patience.min(SETTLED)) {
                Ok(Heard::Event(GraphEvent::Playing)) => return Ok(()),
                Ok(Heard::Event(GraphEvent::Error(error))) => {
                    return Err(TrialError::Graph { error, frames: 0 });
                }
                Ok(_) => {}
                Err(_) => {
                    let silent = self.engine.now().saturating_since(began);
                    if silent.saturating_sub((self.starved)().saturating_sub(starved)) > self.patience {
                        return Err(TrialError::NoStart(self.patience));
                    }
                }
            }
        }
    }

    /// A graph that is not on air skips what it has no room for; here nothing shall be skipped.
    fn has_room(&self) -> bool {
        self.graph.link.as_ref().is_some_and(|(link, _)| !link.is_full())
    }

    fn is_drained(&self) -> bool {
        self.graph.queues().iter().all(|queue| queue.buffers == 0)
    }
}

/// Moving pictures in I420.
struct Pictures {
    size: FrameSize,
    framerate: Framerate,
    caps: gst::Caps,
    number: u32,
}

impl Pictures {
    fn new(size: FrameSize, framerate: Framerate) -> Pictures {
        let (numerator, denominator) = (framerate.numerator(), framerate.denominator());
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", i32::try_from(size.width).unwrap_or(i32::MAX))
            .field("height", i32::try_from(size.height).unwrap_or(i32::MAX))
            .field(
                "framerate",
                gst::Fraction::new(
                    i32::try_from(numerator).unwrap_or(30),
                    i32::try_from(denominator).unwrap_or(1),
                ),
            )
            .build();
        Pictures { size, framerate, caps, number: 0 }
    }

    /// One more, a frame's duration after the one before.
    fn next(&mut self, began: MediaTime) -> (gst::Sample, MediaTime) {
        let (numerator, denominator) =
            (u64::from(self.framerate.numerator()), u64::from(self.framerate.denominator()));
        let at = |number: u32| u64::from(number) * 1_000_000_000 * denominator / numerator.max(1);
        let pts = began + Duration::from_nanos(at(self.number) + 1);
        let mut buffer = gst::Buffer::from_mut_slice(picture(self.size, self.number));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(pts.as_nanos()));
            buffer.set_duration(gst::ClockTime::from_nseconds(at(1)));
        }
        self.number += 1;
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        (gst::Sample::builder().buffer(&buffer).caps(&self.caps).segment(&segment).build(), pts)
    }
}

/// Stripes that wander, with noise in the uppermost lines: bits to spend in every frame, and few of them, as slow encoders
/// take long over noise. Planes without padding, for even sizes.
fn picture(size: FrameSize, number: u32) -> Vec<u8> {
    let (width, height) = (size.width, size.height);
    let mut bytes = Vec::with_capacity((width * height * 3 / 2) as usize);
    let mut noise = number.wrapping_mul(2_654_435_761) | 1;
    for y in 0..height {
        for x in 0..width {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let stripe = ((x + y + number * 4) / 16 % 8) * 24;
            let grain = if y < height / 8 { noise >> 27 } else { 0 };
            bytes.push((32 + stripe + grain) as u8);
        }
    }
    for plane in 0..2 {
        for y in 0..height / 2 {
            for x in 0..width / 2 {
                bytes.push((96 + (x / 8 + y / 8 * plane + number) % 64) as u8);
            }
        }
    }
    bytes
}
