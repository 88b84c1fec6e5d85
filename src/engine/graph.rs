//! One live graph: built from a plan, started, counted, controlled, taken down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::{Bitrate, Latency, Levels, MediaTime};
use crate::plan::{BitrateControl, GraphKind, Role};

use super::build::{BuildError, Parts, kind_name};
use super::bus::Watch;
use super::clock::Timebase;
use super::counters::StageCounters;
use super::events::EventSink;
use super::format::MediaFormat;
use super::hub::RawHub;
use super::keyframe::Keyframer;
use super::link::Link;
use super::outlet::{Feed, Outlet};
use super::probes::Tally;
use super::properties::{PropertyError, set_live};
use super::reception::{Reception, Tap};
use super::sound::Inlet;
use super::teardown::{Ascent, Departure, Teardown};

/// Why a control did not take effect.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// This encoder has no such control while it plays.
    #[error("this encoder cannot do that while it runs")]
    Unsupported,
    /// Not a bitrate this encoder takes.
    #[error("this encoder takes {0} to {1}")]
    Range(Bitrate, Bitrate),
    /// Each change costs a keyframe, so changes are spaced.
    #[error("the bitrate changed just now; again in {} ms", .0.as_millis())]
    TooSoon(Duration),
    /// The element refused.
    #[error(transparent)]
    Property(#[from] Box<PropertyError>),
}

/// One queue or `appsrc` of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLevel {
    /// `video-encode/from-hub`: the kind of graph and the node's id.
    pub name: String,
    /// Buffers in it now.
    pub buffers: u64,
    /// Media time in it now.
    pub time: Duration,
    /// Bytes in it now.
    pub bytes: u64,
    /// Limits; 0 is none.
    pub max_buffers: u64,
    /// Limit.
    pub max_time: Duration,
    /// Limit.
    pub max_bytes: u64,
    /// Frames that did not get in: those a link that is not on air skipped.
    pub dropped: u64,
    /// How long the hub was made to wait here, all in all.
    pub blocked: Duration,
}

/// One live graph. Dropping it takes it down.
pub struct Graph {
    pub(super) kind: GraphKind,
    pub(super) fragment: String,
    pub(super) name: String,
    pub(super) parts: Parts,
    pub(super) timebase: Timebase,
    pub(super) tally: Arc<Tally>,
    pub(super) levels: Levels,
    pub(super) events: EventSink,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) watch: Option<Watch>,
    pub(super) teardown: Teardown,
    pub(super) ascent: Ascent,
    pub(super) link: Option<(Arc<Link>, RawHub)>,
    pub(super) feed: Option<(Arc<Feed>, Outlet)>,
    /// Where captured sound goes.
    pub(super) inlet: Option<Arc<Inlet>>,
    /// Where it reads what arrives over the network.
    pub(super) tap: Option<(Arc<Tap>, Reception)>,
    pub(super) keyframer: Option<Arc<Keyframer>>,
    pub(super) bitrate: Option<BitrateControl>,
    pub(super) bitrate_changed: AtomicU64,
    pub(super) departed: bool,
}

impl Graph {
    /// Which kind of graph.
    pub fn kind(&self) -> GraphKind {
        self.kind
    }

    /// The fragment at its heart.
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    /// Starts it, on its own thread: opening a device can take long. What becomes of it comes as events. Does nothing
    /// the second time.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&mut self) -> Result<(), BuildError> {
        match self.watch.take() {
            Some(watch) => watch.spawn().map_err(|error| BuildError::Thread(error.to_string())),
            None => Ok(()),
        }
    }

    /// Takes it down without waiting. The last event will be [`GraphEvent::Gone`](super::GraphEvent::Gone); the device
    /// is free then, not before.
    pub fn stop(mut self) -> Departure {
        self.depart()
    }

    /// May this encode graph make the capture wait (for at most [`LINK_PATIENCE`](super::LINK_PATIENCE)), or does it skip
    /// frames it has no room for? New graphs skip.
    pub fn set_on_air(&self, on_air: bool) {
        if let Some((link, _)) = &self.link {
            link.set_on_air(on_air);
        }
    }

    /// Changes the encoder's target while it plays.
    ///
    /// # Errors
    /// When the encoder cannot, the bitrate is out of its range, or the last change is too recent.
    pub fn set_bitrate(&self, bitrate: Bitrate) -> Result<(), ControlError> {
        let control = self.bitrate.as_ref().ok_or(ControlError::Unsupported)?;
        let (min, max) = control.range;
        if bitrate < min || bitrate > max {
            return Err(ControlError::Range(min, max));
        }
        let now = self.timebase.now();
        let last = self.bitrate_changed.load(Ordering::Relaxed);
        let since = now.saturating_since(MediaTime::from_nanos(last));
        if last != 0 && since < control.min_interval {
            return Err(ControlError::TooSoon(control.min_interval - since));
        }
        let encoder = self.parts.node(&control.node).ok_or(ControlError::Unsupported)?;
        set_live(encoder, &control.property, &control.value(bitrate))?;
        self.bitrate_changed.store(now.as_nanos().max(1), Ordering::Relaxed);
        Ok(())
    }

    /// Makes the next frame a keyframe. For viewers' requests, which are many, see
    /// [`Outlet::request_keyframe`](super::Outlet::request_keyframe).
    ///
    /// # Errors
    /// When the encoder cannot.
    pub fn force_keyframe(&self) -> Result<(), ControlError> {
        let keyframer = self.keyframer.as_ref().ok_or(ControlError::Unsupported)?;
        keyframer.force().then_some(()).ok_or(ControlError::Unsupported)
    }

    /// Frames that came out so far: what tells cheaply whether it lives.
    pub fn frames_out(&self) -> u64 {
        self.tally.out.frames()
    }

    /// How loud the sound is that this capture graph makes. Empty for pictures, and in formats that are not measured.
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// What it counted so far.
    pub fn stage(&self) -> StageCounters {
        let tally = &*self.tally;
        let (fps, bitrate) = tally.out.rates(self.timebase.now());
        let (p50, p95) = tally.delays.percentiles().unzip();
        let encode = matches!(self.kind, GraphKind::VideoEncode | GraphKind::AudioEncode);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dropped = if encode {
            let skipped = self.link.as_ref().map_or(0, |(link, _)| link.skipped());
            vec![
                ("link", skipped),
                ("encoder", count(&tally.swallowed)),
                ("malformed", count(&tally.malformed)),
            ]
        } else {
            let mut places = vec![
                ("source", count(&tally.gaps)),
                ("late", count(&tally.late)),
                ("backwards", count(&tally.malformed)),
            ];
            if self.parts.role(Role::Decoder).is_some() {
                places.push(("decoder", count(&tally.swallowed)));
            }
            places
        };
        StageCounters {
            frames_in: count(&tally.frames_in),
            frames_out: tally.out.frames(),
            bytes_out: tally.out.bytes(),
            dropped,
            rate_skipped: self.rate_skipped(),
            fps,
            bitrate,
            keyframes: count(&tally.keyframes),
            keyframes_forced: self.keyframer.as_ref().map_or(0, |keyframer| keyframer.forced()),
            latency_p50: p50,
            latency_p95: p95,
            last_out: tally.out.last(),
        }
    }

    /// How long each of its steps took lately, in the order of data flow.
    pub fn steps(&self) -> Vec<Latency> {
        match self.kind {
            GraphKind::VideoCapture | GraphKind::AudioCapture => self.tally.way.capture_steps(),
            GraphKind::VideoEncode | GraphKind::AudioEncode => {
                self.tally.way.encode_steps(&self.tally.delays)
            }
        }
    }

    /// Every queue and `appsrc` in it, in the order of data flow.
    pub fn queues(&self) -> Vec<QueueLevel> {
        let mut levels = Vec::new();
        for (node, element) in &self.parts.elements {
            let name = format!("{}/{}", kind_name(self.kind), node.id);
            match node.factory.as_str() {
                "queue" => levels.push(queue_level(name, element)),
                "appsrc" => levels.push(self.appsrc_level(name, element)),
                _ => {}
            }
        }
        levels
    }

    /// How often this graph's link was cut for blocking the hub: 0 or 1.
    pub fn cuts(&self) -> u64 {
        self.link.as_ref().map_or(0, |(link, _)| link.cuts())
    }

    /// What the source delivers (capture) or the encoder gets (encode), once negotiated.
    pub fn format(&self) -> Option<MediaFormat> {
        let pad = match self.parts.role(Role::Encoder) {
            Some(encoder) => encoder.static_pad("sink"),
            // What arrives is encoded: what is made of it tells more.
            None if self.tap.is_some() => self.parts.role(Role::ToHub)?.static_pad("sink"),
            None => self.parts.role(Role::Source)?.static_pad("src"),
        };
        pad?.current_caps().map(|caps| MediaFormat::of(&caps))
    }

    pub(super) fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.as_ref().map(|(feed, _)| feed)
    }

    fn rate_skipped(&self) -> u64 {
        let rates = self.parts.elements.iter().filter(|(node, _)| node.factory == "videorate");
        rates.map(|(_, element)| element.property::<u64>("drop")).sum()
    }

    fn appsrc_level(&self, name: String, element: &gst::Element) -> QueueLevel {
        let number = |property| element.property::<u64>(property);
        let link = self.link.as_ref().map(|(link, _)| link);
        QueueLevel {
            name,
            buffers: number("current-level-buffers"),
            time: Duration::from_nanos(number("current-level-time")),
            bytes: number("current-level-bytes"),
            max_buffers: number("max-buffers"),
            max_time: Duration::from_nanos(number("max-time")),
            max_bytes: number("max-bytes"),
            dropped: link.map_or(0, |link| link.skipped()),
            blocked: link.map_or(Duration::ZERO, |link| link.blocked()),
        }
    }

    fn depart(&mut self) -> Departure {
        self.departed = true;
        self.stopping.store(true, Ordering::Release);
        if let Some(inlet) = &self.inlet {
            inlet.leave();
        }
        if let Some((tap, reception)) = &self.tap {
            reception.detach(tap);
        }
        if let Some((link, hub)) = &self.link {
            hub.detach(link);
        }
        if let Some((feed, outlet)) = &self.feed {
            outlet.detach(feed);
        }
        self.watch = None;
        let (ascent, pipeline) = (self.ascent.clone(), self.parts.pipeline.clone());
        self.teardown.send_after(ascent, pipeline, self.name.clone(), Arc::clone(&self.events))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.departed {
            drop(self.depart());
        }
    }
}

fn queue_level(name: String, element: &gst::Element) -> QueueLevel {
    let number = |property| u64::from(element.property::<u32>(property));
    let time = |property| Duration::from_nanos(element.property::<u64>(property));
    QueueLevel {
        name,
        buffers: number("current-level-buffers"),
        time: time("current-level-time"),
        bytes: number("current-level-bytes"),
        max_buffers: number("max-size-buffers"),
        max_time: time("max-size-time"),
        max_bytes: number("max-size-bytes"),
        dropped: 0,
        blocked: Duration::ZERO,
    }
}
