//! Joins a built graph to its hub and its outlet, and puts the probes that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::media::{Codec, Levels, MediaKind, MediaTime};
use crate::plan::{Downstream, GraphKind, GraphPlan, Role, Upstream};

use super::Shared;
use super::build::{BuildError, Parts, assemble, kind_name};
use super::bus::{Note, Watch, post};
use super::clock::Timebase;
use super::events::EventSink;
use super::format::MediaFormat;
use super::graph::Graph;
use super::hub::RawHub;
use super::keyframe::Keyframer;
use super::link::Link;
use super::log::Limit;
use super::looping::Looping;
use super::meter::Meter;
use super::outlet::{Feed, Outlet};
use super::probes::{Tally, watch_decoder, watch_encoder, watch_pacer, watch_source};
use super::reception::{Reception, Tap};
use super::rtp::Assembler;
use super::sound::{self, Block, Inlet, Pace, SoundLine};
use super::teardown::Ascent;
use super::way::{watch_arrival, watch_link};
use super::{clapper, stamp, thinning};

pub(super) fn capture(
    shared: &Shared,
    plan: &GraphPlan,
    hub: &RawHub,
    events: EventSink,
) -> Result<Graph, BuildError> {
    check(plan, &[GraphKind::VideoCapture], "to be a capture graph of the picture", hub.kind())?;
    let (mut graph, sink, looping) = source(shared, plan, events)?;
    if let Some(element) = graph.parts.role(Role::Stamp) {
        stamp::install(element);
    }
    fill(&sink, hub.clone(), &shared.timebase, shift(plan), &graph.tally);
    graph.watch = Some(watch(plan, &graph, looping, reads(&graph)));
    Ok(graph)
}

pub(super) fn capture_sound(
    shared: &Shared,
    plan: &GraphPlan,
    line: &SoundLine,
    events: EventSink,
) -> Result<Graph, BuildError> {
    check(plan, &[GraphKind::AudioCapture], "to be a capture graph of sound", line.hub().kind())?;
    let (mut graph, sink, looping) = source(shared, plan, events)?;
    sink.set_caps(sound::CAPS.parse().ok().as_ref());
    let pace = match plan.upstream {
        Upstream::SoundCard { .. } => Pace::Own,
        Upstream::Network { .. } => Pace::Sent,
        _ => Pace::Common,
    };
    let inlet = line.inlet();
    let meter = Meter::new(graph.levels.clone());
    let made = plan.upstream == Upstream::Made;
    speak(&sink, &inlet, pace, &shared.timebase, shift(plan), &graph.tally, meter, made);
    graph.inlet = Some(inlet);
    graph.watch = Some(watch(plan, &graph, looping, reads(&graph)));
    Ok(graph)
}

/// What capture graphs of picture and sound have in common: the elements, what counts on them, and the end.
fn source(
    shared: &Shared,
    plan: &GraphPlan,
    events: EventSink,
) -> Result<(Graph, gst_app::AppSink, Option<Arc<Looping>>), BuildError> {
    let kind = medium(plan.kind);
    let parts = assemble(plan, &shared.timebase)?;
    let sink = app_sink(plan, &parts, Role::ToHub)?
        .ok_or_else(|| lacks(plan, "an `appsink` with the role `ToHub`"))?;
    let tally = Arc::new(Tally::default());
    let looping = match &plan.upstream {
        Upstream::File { path } => Some(Looping::new(shared.reels.open(path), shared.timebase.clone())),
        _ => None,
    };
    let device = matches!(plan.upstream, Upstream::VideoDevice { .. } | Upstream::SoundCard { .. });
    if let Some(source) = parts.role(Role::Source) {
        watch_source(source, kind, device, &tally);
    }
    if let Some(pacer) = parts.role(Role::Pacer) {
        watch_pacer(pacer, kind, looping.as_ref(), &shared.timebase, &tally);
    }
    if let Some(decoder) = parts.role(Role::Decoder) {
        watch_decoder(decoder, &shared.timebase, &tally);
    }
    // A file waits for its time in front of what paces it.
    if let Some(element) = parts.role(Role::Pacer).or(parts.role(Role::Source)) {
        watch_arrival(element, &shared.timebase, &tally);
    }
    let tap = match &plan.upstream {
        Upstream::Network { url } => Some(tap(shared, plan, url, &parts)?),
        _ => None,
    };
    let mut graph = finish(shared, plan, parts, tally, events);
    graph.tap = tap;
    Ok((graph, sink, looping))
}

/// Where a graph reads what arrives under a URL.
fn tap(
    shared: &Shared,
    plan: &GraphPlan,
    url: &str,
    parts: &Parts,
) -> Result<(Arc<Tap>, Reception), BuildError> {
    let kind = medium(plan.kind);
    let reception = shared.receptions.find(url);
    let reception = reception.ok_or_else(|| BuildError::NotArriving("nothing is received".to_owned()))?;
    let appsrc = parts
        .role(Role::Source)
        .and_then(|element| element.downcast_ref::<gst_app::AppSrc>())
        .ok_or_else(|| lacks(plan, "an `appsrc` with the role `Source`"))?;
    let (session, caps) = reception
        .caps(kind)
        .ok_or_else(|| BuildError::NotArriving(reception.missing(kind).unwrap_or_default()))?;
    appsrc.set_caps(Some(&caps));
    // One that takes over from another encoder must not begin in the past.
    let tap = match plan.kind {
        GraphKind::VideoEncode => Tap::from_next(session, appsrc),
        _ => Tap::new(kind, session, appsrc),
    };
    Ok((Arc::new(tap), reception))
}

/// Begins to read what arrives. Not before the graph has started: what is pushed before comes back as FLUSHING.
fn reads(graph: &Graph) -> impl FnOnce() + Send + 'static {
    let (tap, stopping) = (graph.tap.clone(), Arc::clone(&graph.stopping));
    move || {
        if let Some((tap, reception)) = tap {
            reception.attach(&tap);
            if stopping.load(Ordering::Acquire) {
                reception.detach(&tap);
            }
        }
    }
}

/// By how much what is captured is put off.
fn shift(plan: &GraphPlan) -> Duration {
    Duration::from_micros(plan.shift.as_micros().max(0).unsigned_abs())
}

pub(super) fn encode(
    shared: &Shared,
    plan: &GraphPlan,
    hub: &RawHub,
    outlet: &Outlet,
    events: EventSink,
) -> Result<Graph, BuildError> {
    let kind = medium(plan.kind);
    check(plan, &[GraphKind::VideoEncode, GraphKind::AudioEncode], "to be an encode graph", hub.kind())?;
    if outlet.kind() != kind {
        return Err(BuildError::Medium { kind: kind_name(plan.kind) });
    }
    let codec = match plan.downstream {
        Downstream::Video { codec, .. } | Downstream::Audio { codec, .. } => codec,
        Downstream::RawVideo { .. } | Downstream::RawAudio => return Err(lacks(plan, "a codec")),
    };
    let parts = assemble(plan, &shared.timebase)?;
    let arriving = match &plan.upstream {
        Upstream::Network { url } => Some(tap(shared, plan, url, &parts)?),
        _ => None,
    };
    let appsrc = match arriving {
        Some(_) => None,
        None => {
            let appsrc = parts
                .role(Role::FromHub)
                .and_then(|element| element.downcast_ref::<gst_app::AppSrc>())
                .ok_or_else(|| lacks(plan, "an `appsrc` with the role `FromHub`"))?;
            appsrc.set_format(gst::Format::Time);
            Some(appsrc.clone())
        }
    };
    let encoder =
        parts.role(Role::Encoder).ok_or_else(|| lacks(plan, "a node with the role `Encoder`"))?.clone();
    let (rtp, units) = (app_sink(plan, &parts, Role::Rtp)?, app_sink(plan, &parts, Role::AccessUnits)?);
    let last = rtp
        .as_ref()
        .or(units.as_ref())
        .ok_or_else(|| lacks(plan, "an `appsink` with the role `Rtp` or `AccessUnits`"))?;
    if let (Some(element), Downstream::Video { framerate, .. }) =
        (parts.role(Role::Thinner), &plan.downstream)
    {
        thinning::install(element, *framerate);
    }
    let tally = Arc::new(Tally::default());
    if let Some(appsrc) = &appsrc {
        watch_link(appsrc.upcast_ref(), hub.passed(), &shared.timebase, &tally);
    }
    watch_encoder(&encoder, kind, &shared.timebase, &tally);
    let keyframer = plan.control.keyframe.map(|method| Arc::new(Keyframer::new(&encoder, method)));
    let feed = Arc::new(Feed {
        number: shared.feeds.fetch_add(1, Ordering::Relaxed),
        keyframer: keyframer.clone(),
        element: last.upcast_ref::<gst::Element>().downgrade(),
    });
    if let Some(sink) = &units {
        take_units(sink, codec, &feed, outlet, &tally, rtp.is_none());
    }
    if let Some(sink) = &rtp {
        take_frames(sink, codec, &feed, outlet, &shared.timebase, &tally);
    }
    let mut graph = finish(shared, plan, parts, tally, events);
    graph.feed = Some((feed, outlet.clone()));
    graph.keyframer = keyframer;
    let Some(appsrc) = appsrc else {
        // What arrives encoded already is read where it arrives.
        graph.tap = arriving;
        graph.watch = Some(watch(plan, &graph, None, reads(&graph)));
        return Ok(graph);
    };
    let link = Link::new(appsrc, shared.timebase.clone());
    graph.link = Some((Arc::clone(&link), hub.clone()));
    // Not before it has started: what is pushed into an `appsrc` that does not run yet comes back as FLUSHING.
    let (stopping, hub) = (Arc::clone(&graph.stopping), hub.clone());
    graph.watch = Some(watch(plan, &graph, None, move || {
        hub.attach(&link);
        if stopping.load(Ordering::Acquire) {
            hub.detach(&link);
        }
    }));
    Ok(graph)
}

fn medium(kind: GraphKind) -> MediaKind {
    match kind {
        GraphKind::VideoCapture | GraphKind::VideoEncode => MediaKind::Video,
        GraphKind::AudioCapture | GraphKind::AudioEncode => MediaKind::Audio,
    }
}

fn lacks(plan: &GraphPlan, what: &'static str) -> BuildError {
    BuildError::Role { kind: kind_name(plan.kind), what }
}

fn check(
    plan: &GraphPlan,
    kinds: &[GraphKind],
    what: &'static str,
    hub: MediaKind,
) -> Result<(), BuildError> {
    if !kinds.contains(&plan.kind) {
        return Err(lacks(plan, what));
    }
    if hub != medium(plan.kind) {
        return Err(BuildError::Medium { kind: kind_name(plan.kind) });
    }
    Ok(())
}

fn finish(shared: &Shared, plan: &GraphPlan, parts: Parts, tally: Arc<Tally>, events: EventSink) -> Graph {
    Graph {
        kind: plan.kind,
        fragment: plan.fragment.clone(),
        name: format!("{} ({})", kind_name(plan.kind), plan.fragment),
        parts,
        timebase: shared.timebase.clone(),
        tally,
        levels: Levels::default(),
        events,
        stopping: Arc::new(AtomicBool::new(false)),
        watch: None,
        teardown: shared.teardown.clone(),
        ascent: Ascent::default(),
        link: None,
        feed: None,
        inlet: None,
        tap: None,
        keyframer: None,
        bitrate: plan.control.bitrate.clone(),
        bitrate_changed: AtomicU64::new(0),
        departed: false,
    }
}

fn watch(
    plan: &GraphPlan,
    graph: &Graph,
    looping: Option<Arc<Looping>>,
    started: impl FnOnce() + Send + 'static,
) -> Watch {
    let sources = plan.nodes.iter().filter(|node| node.role == Role::Source);
    Watch {
        pipeline: graph.parts.pipeline.clone(),
        name: kind_name(plan.kind).to_owned(),
        devices: sources.map(|node| node.id.clone()).collect(),
        events: Arc::clone(&graph.events),
        stopping: Arc::clone(&graph.stopping),
        ascent: graph.ascent.clone(),
        looping,
        warnings: Limit::default(),
        started: Box::new(started),
    }
}

/// The `appsink` with a role, made to keep nothing: no last sample (it would hold a driver's buffer), no QoS events.
fn app_sink(plan: &GraphPlan, parts: &Parts, role: Role) -> Result<Option<gst_app::AppSink>, BuildError> {
    let Some(element) = parts.role(role) else { return Ok(None) };
    let sink = element
        .downcast_ref::<gst_app::AppSink>()
        .ok_or_else(|| lacks(plan, "its roles `ToHub`, `Rtp` and `AccessUnits` on `appsink`s"))?;
    sink.set_enable_last_sample(false);
    sink.set_qos(false);
    Ok(Some(sink.clone()))
}

fn fill(sink: &gst_app::AppSink, hub: RawHub, timebase: &Timebase, shift: Duration, tally: &Arc<Tally>) {
    let (timebase, tally) = (timebase.clone(), Arc::clone(tally));
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        let Some(pts) = running_time(&sample) else {
            tally.malformed.fetch_add(1, Ordering::Relaxed);
            return Ok(gst::FlowSuccess::Ok);
        };
        let now = timebase.now();
        tally.delays.record(now.saturating_since(pts));
        tally.way.reaches_hub(pts, now);
        let pts = pts + shift;
        if hub.push(&with_pts(sample, pts), pts) {
            tally.out.record(now, 0);
            if tally.out.frames() == 1 {
                post(sink, Note::Flowing);
            }
        } else {
            tally.malformed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

#[expect(clippy::too_many_arguments, reason = "what a callback takes with it, all of different types")]
fn speak(
    sink: &gst_app::AppSink,
    inlet: &Arc<Inlet>,
    pace: Pace,
    timebase: &Timebase,
    shift: Duration,
    tally: &Arc<Tally>,
    mut meter: Meter,
    made: bool,
) {
    let (timebase, tally, inlet) = (timebase.clone(), Arc::clone(tally), Arc::clone(inlet));
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        let samples = sample.buffer().and_then(|buffer| buffer.map_readable().ok()).map(|map| {
            let (samples, _) = map.as_chunks::<2>();
            samples.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect::<Vec<_>>()
        });
        let (Some(pts), Some(mut samples)) = (running_time(&sample), samples) else {
            tally.malformed.fetch_add(1, Ordering::Relaxed);
            return Ok(gst::FlowSuccess::Ok);
        };
        meter.measure(&sample);
        if made {
            clapper::beep(&mut samples, pts);
        }
        let now = timebase.now();
        tally.delays.record(now.saturating_since(pts));
        let span = sound::span((samples.len() / sound::CHANNELS) as u64);
        // Behind a conversion of rates, times are made up from counts of samples; what the card said stands at the source.
        let end = match (pace, tally.source_end.load(Ordering::Relaxed)) {
            (Pace::Own, end) if end > 0 => MediaTime::from_nanos(end),
            _ => pts + span,
        };
        inlet.put(Block { samples, end: end + shift, pace });
        tally.out.record(now, 0);
        if tally.out.frames() == 1 {
            post(sink, Note::Flowing);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

/// When a sample was captured: its PTS by its segment.
fn running_time(sample: &gst::Sample) -> Option<MediaTime> {
    let pts = sample.buffer()?.pts()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(pts).map(|time| MediaTime::from_nanos(time.nseconds()))
}

/// The sample with this PTS. Live sources stamp running time already and pass untouched; of others the buffer's outside
/// is copied, never its memory.
fn with_pts(sample: gst::Sample, pts: MediaTime) -> gst::Sample {
    let pts = gst::ClockTime::from_nseconds(pts.as_nanos());
    let Some(buffer) = sample.buffer().filter(|buffer| buffer.pts() != Some(pts)) else { return sample };
    let mut moved = buffer.copy();
    if let Some(moved) = moved.get_mut() {
        moved.set_pts(pts);
        moved.set_dts(gst::ClockTime::NONE);
    }
    gst::Sample::builder().buffer(&moved).caps_if_some(sample.caps_owned().as_ref()).build()
}

fn take_frames(
    sink: &gst_app::AppSink,
    codec: Codec,
    feed: &Arc<Feed>,
    outlet: &Outlet,
    timebase: &Timebase,
    tally: &Arc<Tally>,
) {
    let (feed, outlet, tally) = (Arc::clone(feed), outlet.clone(), Arc::clone(tally));
    let timebase = timebase.clone();
    let video = codec.kind() == MediaKind::Video;
    let mut assembler = Assembler::new(video);
    let flowing = AtomicBool::new(false);
    sink.set_buffer_list(true);
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let mut one = |buffer: &gst::BufferRef| {
            let pts = segment
                .zip(buffer.pts())
                .and_then(|(segment, pts)| segment.to_running_time(pts))
                .map(|time| MediaTime::from_nanos(time.nseconds()));
            let read = assembler.take(buffer, pts, |pts, packets| {
                if !flowing.swap(true, Ordering::Relaxed) {
                    post(sink, Note::Flowing);
                }
                let keyframe = !video || tally.is_keyframe(pts);
                outlet.frame(&feed, codec, (pts, keyframe), packets);
                tally.way.reaches_outlet(pts, timebase.now());
            });
            if !read {
                tally.malformed.fetch_add(1, Ordering::Relaxed);
            }
        };
        match sample.buffer_list() {
            Some(list) => list.iter().for_each(&mut one),
            None => sample.buffer().into_iter().for_each(&mut one),
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

fn take_units(
    sink: &gst_app::AppSink,
    codec: Codec,
    feed: &Arc<Feed>,
    outlet: &Outlet,
    tally: &Arc<Tally>,
    says_flowing: bool,
) {
    let (feed, outlet, tally) = (Arc::clone(feed), outlet.clone(), Arc::clone(tally));
    let video = codec.kind() == MediaKind::Video;
    let flowing = AtomicBool::new(!says_flowing);
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        match running_time(&sample) {
            Some(pts) => {
                let keyframe = !video || tally.is_keyframe(pts);
                outlet.unit(&feed, codec, (pts, keyframe), || {
                    let data = Arc::from(sample.buffer()?.map_readable().ok()?.as_slice());
                    Some((data, sample.caps().and_then(|caps| MediaFormat::of(caps).size)))
                });
            }
            None => {
                tally.malformed.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !flowing.swap(true, Ordering::Relaxed) {
            post(sink, Note::Flowing);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}
