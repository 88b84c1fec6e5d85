//! Everything GStreamer: plans become live graphs, joined by raw hubs and outlets. The only module that says `gst`.
//!
//! ```text
//!  Graph: VideoCapture                RawHub            Graph: VideoEncode                        Outlet
//!  ┌─────────────────────────────┐  ┌────────┐  Link  ┌───────────────────────────────────┐  ┌──────────────┐
//!  │ source ─ … ─ appsink ───────┼─>│ by     ├───────>│ appsrc ─ … ─ encoder ─ … ─ appsink ┼─>│ one timeline ├─> frames (SFU)
//!  └─────────────────────────────┘  │ refe-  │  Link  ├───────────────────────────────────┤  │ one sequence ├─> access units
//!                                   │ rence  ├───────>│ the candidate, or a lower rendition┼─>│ keyframe gate│    (outputs)
//!  Graph: AudioCapture ─> SoundLine ┴────────┴──> Graph: AudioEncode ──────────────────────┴─>└──────────────┘
//! ```
//!
//! Each graph is a `GstPipeline` of its own on one clock and one base time ([`Engine`]), with one thread of its own that
//! starts it and then sleeps on its bus. So a graph that breaks, hangs or is rebuilt touches no other. Running time of
//! every graph is [`MediaTime`].
//!
//! Who may wait for whom: a capture's streaming thread waits for links that are on air, together at most
//! [`LINK_PATIENCE`] a frame, then cuts them; nothing else ever waits. Who may drop: sources that cannot wait (counted as
//! `late`), links that are not on air (`link`), the driver (`source`). Streaming threads take no lock of ours.

mod baton;
mod build;
mod bus;
mod changeover;
mod clapper;
mod clip;
mod clock;
mod compose;
pub mod container;
mod counters;
mod events;
mod format;
mod graph;
mod hub;
mod init;
mod intake;
mod inventory;
mod jpeg;
mod keyframe;
mod link;
mod log;
mod looping;
mod meter;
mod outlet;
mod probes;
mod properties;
mod reception;
mod rtp;
mod slate;
mod sound;
mod stamp;
mod svt;
mod teardown;
mod thinning;
mod timeline;
mod trial;
mod trust;
mod way;
pub mod webrtc;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::media::{FrameSize, Framerate, MediaKind, MediaTime};
use crate::plan::GraphPlan;

pub use build::BuildError;
pub use clip::look_into;
pub use counters::StageCounters;
pub use events::{EventSink, GraphError, GraphEvent, Takeover};
pub use format::MediaFormat;
pub use graph::{ControlError, Graph, QueueLevel};
pub use hub::{LINK_PATIENCE, RawHub};
pub use init::{GstVersion, InitError, init};
pub use inventory::{Origin, inventory, origin};
pub use outlet::{FrameSink, KEYFRAME_SPACING, Outlet, Subscription, UnitSink};
pub use properties::{PropertyError, PropertyProblem};
pub use reception::{Arrivals, Pacing, Reception, ReceptionReport, SrtLink, SrtReceiver};
pub use slate::{HOLD_AFTER, SLATE_AFTER, Showing, Slate};
pub use sound::{SoundLine, SoundReport};
pub use teardown::{Departure, TEARDOWN_PATIENCE};
pub use trial::{TRIAL_FRAMES, Trial, TrialError};

use clock::Timebase;
use looping::Reels;
use reception::Receptions;
use teardown::Teardown;

/// The clock, the base time and the teardown that all graphs of one daemon share. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    timebase: Timebase,
    teardown: Teardown,
    reels: Reels,
    receptions: Receptions,
    feeds: AtomicU64,
}

impl Engine {
    /// Starts GStreamer if need be; base time is now.
    ///
    /// # Errors
    /// [`InitError`], and [`InitError::Start`] when the system gives no thread.
    pub fn new() -> Result<Engine, InitError> {
        Engine::patient(TEARDOWN_PATIENCE)
    }

    /// The same, with another time that a graph may take to stop: for whoever waits for it, and has nothing else to do.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn patient(teardown: Duration) -> Result<Engine, InitError> {
        init()?;
        let timebase = Timebase::start();
        let teardown = Teardown::start(timebase.clone(), teardown)
            .map_err(|error| InitError::Start(error.to_string()))?;
        let shared = Shared {
            timebase,
            teardown,
            reels: Reels::default(),
            receptions: Receptions::default(),
            feeds: AtomicU64::new(1),
        };
        Ok(Engine { shared: Arc::new(shared) })
    }

    /// Now, on the graphs' time line.
    pub fn now(&self) -> MediaTime {
        self.shared.timebase.now()
    }

    /// When a media time is, in the words of the standard library.
    pub fn instant_of(&self, time: MediaTime) -> Instant {
        self.shared.timebase.instant_of(time)
    }

    /// The media time of an instant; zero if before the base time.
    pub fn time_of(&self, instant: Instant) -> MediaTime {
        self.shared.timebase.time_of(instant)
    }

    /// A new hub, for picture or sound.
    pub fn raw_hub(&self, kind: MediaKind) -> RawHub {
        RawHub::new(kind, self.shared.timebase.clone())
    }

    /// What keeps a hub's picture going while nothing is captured; until something was, in this size and at this rate.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn slate(&self, hub: &RawHub, size: FrameSize, framerate: Framerate) -> std::io::Result<Slate> {
        Slate::start(hub.clone(), self.shared.timebase.clone(), size, framerate)
    }

    /// A new line for captured sound, which keeps `hub` filled; off until it is set on.
    ///
    /// # Errors
    /// When the hub is for pictures, or the system gives no thread.
    pub fn sound_line(&self, hub: &RawHub) -> Result<SoundLine, BuildError> {
        if hub.kind() != MediaKind::Audio {
            return Err(BuildError::Medium { kind: "sound-line" });
        }
        SoundLine::start(hub.clone(), self.shared.timebase.clone())
            .map_err(|error| BuildError::Thread(error.to_string()))
    }

    /// A new outlet, for one rendition or the sound.
    pub fn outlet(&self, kind: MediaKind) -> Outlet {
        Outlet::new(kind, self.shared.timebase.clone())
    }

    /// Builds a capture graph of sound for `line`; [`Graph::start`] starts it.
    ///
    /// # Errors
    /// When the plan cannot be built here.
    pub fn capture_sound(
        &self,
        plan: &GraphPlan,
        line: &SoundLine,
        events: EventSink,
    ) -> Result<Graph, BuildError> {
        compose::capture_sound(&self.shared, plan, line, events)
    }

    /// Builds a capture graph of the picture that fills `hub`; [`Graph::start`] starts it.
    ///
    /// # Errors
    /// When the plan cannot be built here.
    pub fn capture(&self, plan: &GraphPlan, hub: &RawHub, events: EventSink) -> Result<Graph, BuildError> {
        compose::capture(&self.shared, plan, hub, events)
    }

    /// Builds an encode graph from `hub` to `outlet`; [`Graph::start`] starts it. It is not on air: see
    /// [`Outlet::attach`] (or [`Outlet::switch_to`]) and [`Graph::set_on_air`].
    ///
    /// # Errors
    /// When the plan cannot be built here.
    pub fn encode(
        &self,
        plan: &GraphPlan,
        hub: &RawHub,
        outlet: &Outlet,
        events: EventSink,
    ) -> Result<Graph, BuildError> {
        compose::encode(&self.shared, plan, hub, outlet, events)
    }

    /// Graphs that would not stop in time and were left behind.
    pub fn abandoned(&self) -> u64 {
        self.shared.teardown.abandoned()
    }
}
