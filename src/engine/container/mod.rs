//! Access units multiplexed into one stream of bytes: a Matroska file, or an MPEG transport stream for whoever is to have it.
//!
//! ```text
//!  Outlet ─ access units ─> appsrc (bounded; drops to the next keyframe) ─ parser ─┐
//!  Outlet ─ access units ─> appsrc ────────────────────────────────────────────────┴─> muxer ─ sink
//! ```
//!
//! One pipeline for each. Every block of a file is with the system as soon as it is made, so a file whose writer was killed
//! plays up to there. What is written at the end, an index and the duration, comes with [`Container::finish`].

pub mod pieces;
pub(super) mod remainder;
pub mod srt;
mod transport_stream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::bus::words;
use super::intake::Intake;
use super::teardown::Teardown;
use super::webrtc::{Lane, TransportStats, caps};
use super::{Engine, Subscription};
use crate::media::{Codec, MediaKind};
use crate::plan::QueueClass;

pub use remainder::Remainder;

/// How long a file may take to be finished.
const FINISH: Duration = Duration::from_secs(3);

/// A cluster begins at each keyframe, or after this; a player that seeks without an index looks for clusters.
const CLUSTER: Duration = Duration::from_secs(2);

/// How much of each medium may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Media time.
    pub time: Duration,
    /// Bytes.
    pub bytes: u64,
}

/// Why nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// An element is missing.
    #[error("GStreamer has no element `{element}` here (Debian package `{package}`)")]
    Missing {
        /// The factory.
        element: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// No room is left.
    #[error("no room is left")]
    Full,
    /// The parts do not fit together, or the file cannot be written.
    #[error("{0}")]
    Failed(String),
}

impl From<glib::BoolError> for ContainerError {
    fn from(error: glib::BoolError) -> Self {
        ContainerError::Failed(error.message.to_string())
    }
}

/// One file that is being written. Dropping it leaves the file without its index.
pub struct Container {
    name: String,
    pipeline: gst::Pipeline,
    intakes: Vec<Arc<Intake>>,
    subscriptions: Vec<Subscription>,
    teardown: Teardown,
    departed: bool,
}

impl Engine {
    /// Writes `lanes` into a new file, from what the one before left, or else from the picture's next keyframe on. Opens the
    /// file: not for an async thread.
    ///
    /// # Errors
    /// When GStreamer lacks something, or the file cannot be made.
    pub fn matroska(
        &self,
        name: &str,
        lanes: &[Lane],
        room: Room,
        path: &Path,
        before: Option<&Remainder>,
    ) -> Result<Container, ContainerError> {
        let Some(location) = path.to_str() else {
            return Err(ContainerError::Failed("the path is not UTF-8".to_owned()));
        };
        let muxer = element("matroskamux", GOOD)?;
        muxer.set_property("offset-to-zero", true);
        muxer.set_property("min-cluster-duration", 0_i64);
        muxer.set_property("max-cluster-duration", i64::try_from(CLUSTER.as_nanos()).unwrap_or(i64::MAX));
        let sink = element("filesink", "libgstreamer1.0-0")?;
        sink.set_property("location", location);
        sink.set_property_from_str("buffer-mode", "unbuffered");
        for (property, value) in [("sync", false), ("async", false)] {
            sink.set_property(property, value);
        }
        let mut container = Container::new(self, name);
        container.pipeline.add_many([&muxer, &sink])?;
        muxer.link(&sink)?;
        let room = QueueClass { buffers: 0, time: room.time, bytes: room.bytes };
        for lane in lanes {
            let lane = &begins_with(lane, before);
            let parser = match lane.codec {
                Codec::H264 => Some(element("h264parse", BAD)?),
                Codec::Av1 => Some(element("av1parse", BAD)?),
                Codec::Vp9 => Some(element("vp9parse", BAD)?),
                Codec::Vp8 | Codec::Opus => None,
            };
            // An `appsrc` could be linked to any of the muxer's pads.
            let entry = match lane.codec.kind() {
                MediaKind::Video => "video_%u",
                MediaKind::Audio => "audio_%u",
            };
            container.add(self, lane, room, parser.as_slice(), (&muxer, entry))?;
            if lane.codec.kind() == MediaKind::Audio {
                container.begin_together();
            }
        }
        for intake in &container.intakes {
            intake.succeed(before.and_then(|before| before.of(intake.kind())));
        }
        container.play()?;
        container.open();
        Ok(container)
    }
}

impl Container {
    /// Nothing yet. Dropping it takes the pipeline down.
    fn new(engine: &Engine, name: &str) -> Container {
        let pipeline = gst::Pipeline::with_name(&format!("output-{name}"));
        engine.shared.timebase.apply(&pipeline);
        Container {
            name: name.to_owned(),
            pipeline,
            intakes: Vec::new(),
            subscriptions: Vec::new(),
            teardown: engine.shared.teardown.clone(),
            departed: false,
        }
    }

    fn play(&self) -> Result<(), ContainerError> {
        match self.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.fault().unwrap_or(ContainerError::Failed("it does not start".to_owned()))),
        }
    }

    /// Lets media in, from the next keyframe on.
    fn open(&self) {
        self.intakes.iter().for_each(|intake| intake.open());
    }

    /// What went in.
    pub fn stats(&self) -> TransportStats {
        let mut stats = TransportStats::default();
        for intake in &self.intakes {
            let flow = intake.flow();
            let (rate, bits) = flow.rates(intake.now());
            stats.units += flow.frames();
            stats.bytes += flow.bytes();
            stats.bitrate += bits;
            stats.dropped += intake.dropped();
            if intake.kind() == MediaKind::Video {
                stats.fps = rate;
                stats.waiting = intake.waiting();
            }
        }
        stats
    }

    /// The picture has begun, or the sound where there is no picture.
    pub fn has_begun(&self) -> bool {
        let leading = self.intakes.iter().find(|intake| intake.kind() == MediaKind::Video);
        leading.or(self.intakes.first()).is_some_and(|intake| intake.flow().frames() > 0)
    }

    /// What is kept for the next file, once another encoder has taken over.
    pub fn remainder(&self) -> Option<Remainder> {
        let over = self.intakes.iter().any(|intake| intake.is_over());
        over.then(|| Remainder { intakes: self.intakes.clone() })
    }

    /// What has gone wrong since it was last asked.
    pub fn fault(&self) -> Option<ContainerError> {
        fault(&self.pipeline.bus()?)
    }

    /// Ends the file with its index. Waits for the disk, but not for ever: not for an async thread.
    ///
    /// # Errors
    /// When the end could not be written; the file plays all the same.
    pub fn finish(mut self) -> Result<(), ContainerError> {
        self.subscriptions.clear();
        self.intakes.iter().for_each(|intake| intake.end());
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let limit = gst::ClockTime::try_from(FINISH).ok();
        let last = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(limit, &kinds));
        let outcome = match last.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error))
                if error.error().matches(gst::ResourceError::NoSpaceLeft) =>
            {
                Err(ContainerError::Full)
            }
            Some(gst::MessageView::Error(error)) => {
                Err(ContainerError::Failed(words(&error.error(), error.debug().as_deref())))
            }
            _ => Err(ContainerError::Failed("the disk did not take the end in time".to_owned())),
        };
        self.depart();
        outcome
    }

    /// One medium: `appsrc`, what prepares it for the muxer, the muxer's pad of this name.
    fn add(
        &mut self,
        engine: &Engine,
        lane: &Lane,
        room: QueueClass,
        preparing: &[gst::Element],
        (muxer, entry): (&gst::Element, &str),
    ) -> Result<gst::Pad, ContainerError> {
        let appsrc = gst_app::AppSrc::builder()
            .is_live(true)
            .format(gst::Format::Time)
            .caps(&entry_caps(lane))
            .max_bytes(room.bytes)
            .build();
        appsrc.set_property("block", false);
        appsrc.set_property("emit-signals", false);
        let mut chain = vec![appsrc.upcast_ref::<gst::Element>().clone()];
        chain.extend_from_slice(preparing);
        self.pipeline.add_many(&chain)?;
        gst::Element::link_many(&chain)?;
        let entry = muxer.request_pad_simple(entry);
        let exit = chain.last().and_then(|last| last.static_pad("src"));
        let (Some(exit), Some(entry)) = (exit, entry) else {
            return Err(ContainerError::Failed("the muxer takes no further medium".to_owned()));
        };
        exit.link(&entry).map_err(|error| ContainerError::Failed(error.to_string()))?;
        let timebase = engine.shared.timebase.clone();
        let intake = Intake::new(&appsrc, lane.outlet.clone(), lane.codec, room, timebase);
        let taking = Arc::clone(&intake);
        self.subscriptions.push(lane.outlet.subscribe_units(move |unit| taking.take(unit)));
        self.intakes.push(intake);
        Ok(entry)
    }

    /// What was added last begins with the picture.
    fn begin_together(&self) {
        let picture = self.intakes.iter().find(|intake| intake.kind() == MediaKind::Video);
        if let (Some(picture), Some(last)) = (picture, self.intakes.last()) {
            last.follow(picture);
        }
    }

    fn depart(&mut self) {
        self.departed = true;
        self.subscriptions.clear();
        self.intakes.iter().for_each(|intake| intake.close());
        drop(self.teardown.send(self.pipeline.clone(), self.name.clone(), Arc::new(|_| {})));
    }
}

/// The bus's next error.
fn fault(bus: &gst::Bus) -> Option<ContainerError> {
    let message = bus.pop_filtered(&[gst::MessageType::Error])?;
    let gst::MessageView::Error(error) = message.view() else { return None };
    if error.error().matches(gst::ResourceError::NoSpaceLeft) {
        return Some(ContainerError::Full);
    }
    Some(ContainerError::Failed(words(&error.error(), error.debug().as_deref())))
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.departed {
            self.depart();
        }
    }
}

const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";

fn element(factory: &'static str, package: &'static str) -> Result<gst::Element, ContainerError> {
    if gst::ElementFactory::find(factory).is_none() {
        return Err(ContainerError::Missing { element: factory, package });
    }
    Ok(gst::ElementFactory::make(factory).build()?)
}

/// The lane in the codec and size of what was left for it, which say more than what was last heard of the encoder.
fn begins_with(lane: &Lane, before: Option<&Remainder>) -> Lane {
    let first = before.and_then(|before| before.first(lane.codec.kind()));
    let Some((codec, make)) = first else { return lane.clone() };
    let picture = make.size.and_then(|size| Some((size, lane.picture?.1))).or(lane.picture);
    Lane { codec, picture, ..lane.clone() }
}

/// Caps of the access units, with what no parser could add.
fn entry_caps(lane: &Lane) -> gst::Caps {
    let mut entry = caps::units(lane.codec);
    if let (Some((size, rate)), Some(entry)) = (lane.picture, entry.get_mut()) {
        let int = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        entry.set("width", int(size.width));
        entry.set("height", int(size.height));
        entry.set("framerate", gst::Fraction::new(int(rate.numerator()), int(rate.denominator())));
    }
    entry
}
