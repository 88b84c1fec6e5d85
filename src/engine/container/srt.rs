//! The transport stream over SRT, by `srtsink` (libsrt).
//!
//! A caller connects first: one null packet is pushed into the sink, which waits until the connection stands or says why it
//! does not. Media enters after that, so nothing that is old by then ever goes out. A listener takes whoever calls, and
//! lets media in while somebody is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::{BAD, Container, ContainerError, element};
use crate::engine::Engine;
use crate::engine::intake::Intake;
use crate::engine::webrtc::{Lane, TransportStats};
use crate::media::{SrtMode, TsSound};

/// What one datagram of SRT's live mode takes: seven packets (`SRTO_PAYLOADSIZE`).
const DATAGRAM: usize = 7 * 188;

/// How long the other side may take to answer a call.
const ANSWER: Duration = Duration::from_secs(3);

/// How long it may be silent then. It says something ten times a second.
const SILENCE: Duration = Duration::from_secs(4);

/// ISO/IEC 13818-1, 2.4.1: a packet of this PID says nothing.
const NULL_PACKET: [u8; 188] = {
    let mut packet = [0xff; 188];
    (packet[0], packet[1], packet[2], packet[3]) = (0x47, 0x1f, 0xff, 0x10);
    packet
};

/// Where an SRT connection leads, its name resolved.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtRoute {
    /// The other side, or the own address to listen at.
    pub address: SocketAddr,
    /// Who calls.
    pub mode: SrtMode,
    /// What this side wants; the larger one of both rules.
    pub latency: Duration,
    /// For the other side to choose by.
    pub streamid: Option<String>,
    /// What media is encrypted with.
    pub passphrase: Option<String>,
}

/// What a connection tells, on threads of its own: hand over and return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SrtEvent {
    /// The call was taken.
    Connected,
    /// It was not.
    Failed(ContainerError),
    /// So many receivers are here now that a listener feeds.
    Receivers(usize),
}

/// Takes what a connection tells.
pub type SrtListener = Arc<dyn Fn(SrtEvent) + Send + Sync>;

/// A stream on its way over SRT. Dropping it ends it.
pub struct SrtSender {
    container: Container,
    sink: gst::Element,
}

/// What libsrt counted of a connection, from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SrtCounts {
    /// Data packets, with those sent again.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that the receiver missed.
    pub lost: u64,
    /// Packets that were sent again.
    pub resent: u64,
    /// Packets that were too late to be sent at all.
    pub late: u64,
    /// Times that the receiver told what it missed.
    pub nacks: u64,
    /// Round trip.
    pub rtt: Duration,
    /// Bit/s that the way is believed to carry.
    pub bandwidth: u64,
}

impl Engine {
    /// Sends `lanes` as a transport stream. What comes of it is told; a listener's address is taken at once.
    ///
    /// # Errors
    /// When GStreamer lacks something, a lane does not fit, or the address cannot be taken.
    pub fn srt(
        &self,
        name: &str,
        lanes: &[Lane],
        sound: TsSound,
        route: &SrtRoute,
        listener: SrtListener,
    ) -> Result<SrtSender, ContainerError> {
        let sink = sink(route)?;
        let mut container = Container::new(self, name);
        let muxer = container.transport_stream(self, lanes, sound, DATAGRAM)?;
        container.pipeline.add(&sink)?;
        match route.mode {
            SrtMode::Caller => {
                container.play()?;
                let call = Call { muxer, sink: sink.clone(), intakes: container.intakes.clone(), listener };
                let bus = container.pipeline.bus();
                thread::Builder::new()
                    .name(format!("srt-{name}"))
                    .spawn(move || call.make(bus.as_ref()))
                    .map_err(|error| ContainerError::Failed(error.to_string()))?;
            }
            SrtMode::Listener => {
                muxer.link(&sink)?;
                let idle = Arc::new(AtomicBool::new(true));
                hold_back(&muxer, Arc::clone(&idle))?;
                attend(&sink, container.intakes.clone(), idle, listener);
                container.play()?;
            }
        }
        Ok(SrtSender { container, sink })
    }
}

impl SrtSender {
    /// What went in.
    pub fn stats(&self) -> TransportStats {
        self.container.stats()
    }

    /// What has gone wrong since it was last asked.
    pub fn fault(&self) -> Option<ContainerError> {
        self.container.fault()
    }

    /// What libsrt counted, of each connection that stands.
    pub fn counts(&self) -> Vec<SrtCounts> {
        let stats: gst::Structure = self.sink.property("stats");
        match stats.get::<glib::ValueArray>("callers") {
            Ok(callers) => callers
                .iter()
                .filter_map(|one| one.get::<gst::Structure>().ok())
                .map(|one| read(&one))
                .collect(),
            Err(_) if stats.has_field("packets-sent") => vec![read(&stats)],
            Err(_) => Vec::new(),
        }
    }
}

/// A call, until it is taken.
struct Call {
    muxer: gst::Element,
    sink: gst::Element,
    intakes: Vec<Arc<Intake>>,
    listener: SrtListener,
}

impl Call {
    fn make(self, bus: Option<&gst::Bus>) {
        let outcome = self.knock().and_then(|()| Ok(self.muxer.link(&self.sink)?));
        match outcome {
            Ok(()) => {
                self.intakes.iter().for_each(|intake| intake.open());
                (self.listener)(SrtEvent::Connected);
            }
            Err(error) => {
                let told = bus.and_then(super::fault);
                (self.listener)(SrtEvent::Failed(told.unwrap_or(error)));
            }
        }
    }

    /// Waits in the sink until the connection stands.
    fn knock(&self) -> Result<(), ContainerError> {
        let failed = |words: &str| ContainerError::Failed(words.to_owned());
        let entry = self.sink.static_pad("sink").ok_or_else(|| failed("srtsink has no entry"))?;
        let caps =
            gst::Caps::builder("video/mpegts").field("systemstream", true).field("packetsize", 188).build();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        entry.send_event(gst::event::StreamStart::new("knock"));
        entry.send_event(gst::event::Caps::new(&caps));
        entry.send_event(gst::event::Segment::new(&segment));
        match entry.chain(gst::Buffer::from_slice(NULL_PACKET)) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

/// Lets nothing out after a time without receivers before the next keyframe: what is still in the muxer is old by then.
fn hold_back(muxer: &gst::Element, idle: Arc<AtomicBool>) -> Result<(), ContainerError> {
    let exit =
        muxer.static_pad("src").ok_or_else(|| ContainerError::Failed("the muxer has no exit".to_owned()))?;
    exit.add_probe(gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let delta = |buffer: &gst::BufferRef| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if info.buffer_list().is_some_and(|list| list.iter().any(|buffer| !delta(buffer))) {
            idle.store(false, Relaxed);
        }
        if idle.load(Relaxed) { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
    });
    Ok(())
}

/// Lets media in while receivers are there.
fn attend(sink: &gst::Element, intakes: Vec<Arc<Intake>>, idle: Arc<AtomicBool>, listener: SrtListener) {
    // One that goes at once may be told of before it is told to have come.
    let present = Arc::new(AtomicIsize::new(0));
    let (came, arrived) = (Arc::clone(&present), (intakes.clone(), Arc::clone(&listener)));
    sink.connect("caller-added", false, move |_| {
        let (intakes, listener) = &arrived;
        let now = came.fetch_add(1, Relaxed) + 1;
        // One that comes later is to see something soon as well.
        intakes.iter().for_each(|intake| intake.welcome());
        listener(SrtEvent::Receivers(now.max(0).unsigned_abs()));
        None
    });
    sink.connect("caller-removed", false, move |_| {
        let now = present.fetch_sub(1, Relaxed) - 1;
        if now <= 0 {
            intakes.iter().for_each(|intake| intake.close());
            idle.store(true, Relaxed);
        }
        listener(SrtEvent::Receivers(now.max(0).unsigned_abs()));
        None
    });
}

fn sink(route: &SrtRoute) -> Result<gst::Element, ContainerError> {
    let sink = element("srtsink", BAD)?;
    let (mode, address) = (route.mode.as_str(), route.address);
    let (answer, silence) = (ANSWER.as_millis(), SILENCE.as_millis());
    // Forgets all other properties, so it is the first. It is told in logs, so no secret is in it.
    sink.set_property(
        "uri",
        format!("srt://{address}?mode={mode}&conntimeo={answer}&peeridletimeo={silence}"),
    );
    sink.set_property("latency", i32::try_from(route.latency.as_millis()).unwrap_or(i32::MAX));
    if let Some(streamid) = &route.streamid {
        sink.set_property("streamid", streamid);
    }
    if let Some(passphrase) = &route.passphrase {
        sink.set_property("passphrase", passphrase);
    }
    // A caller's first packet waits for the connection; a listener's media waits for nobody.
    sink.set_property("wait-for-connection", route.mode == SrtMode::Caller);
    for (property, value) in
        [("sync", false), ("async", false), ("auto-reconnect", false), ("enable-last-sample", false)]
    {
        sink.set_property(property, value);
    }
    Ok(sink)
}

fn read(stats: &gst::StructureRef) -> SrtCounts {
    // Types differ with GStreamer's version.
    let count = |name: &str| {
        let wide = stats.get::<i64>(name).ok().or_else(|| stats.get::<i32>(name).ok().map(i64::from));
        wide.and_then(|count| u64::try_from(count).ok())
            .or_else(|| stats.get::<u64>(name).ok())
            .unwrap_or_default()
    };
    let measured =
        |name: &str| stats.get::<f64>(name).ok().filter(|value| value.is_finite()).unwrap_or_default();
    SrtCounts {
        packets: count("packets-sent"),
        bytes: count("bytes-sent"),
        lost: count("packets-sent-lost"),
        resent: count("packets-retransmitted"),
        late: count("packets-sent-dropped"),
        nacks: count("packet-nack-received"),
        rtt: Duration::from_secs_f64(measured("rtt-ms").clamp(0.0, 60_000.0) / 1000.0),
        bandwidth: (measured("bandwidth-mbps").max(0.0) * 1e6) as u64,
    }
}
