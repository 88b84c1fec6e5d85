//! One graph under supervision: its plan, its life, what it counted before it was last rebuilt.

mod candidate;
mod keeping_up;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::device;
use crate::engine::{
    BuildError, Engine, EventSink, Graph, GraphEvent, Outlet, QueueLevel, RawHub, SoundLine, StageCounters,
    TEARDOWN_PATIENCE,
};
use crate::lifecycle::{Action, Event, Machine, Phase, Strain, Timing};
use crate::media::{Bitrate, Fault, Levels};
use crate::plan::{GraphPlan, Upstream};

use candidate::Candidate;
pub(super) use candidate::Outcome;

/// Which graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartName {
    Capture,
    AudioCapture,
    Encode,
    AudioEncode,
}

impl PartName {
    /// As the log calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            PartName::Capture => "capture",
            PartName::AudioCapture => "audio capture",
            PartName::Encode => "encode",
            PartName::AudioEncode => "audio encode",
        }
    }

    /// Opening a device takes long, and so does the first picture of an encoder that looks ahead (rav1e: 13 frames) on a
    /// slow machine.
    const fn timing(self, from: &Upstream) -> Timing {
        let (first_buffer, stall) = match (self, from) {
            (PartName::Encode, _) => (20_000, 4_000),
            // A slate is shown meanwhile, and a card that stands still does not come back by itself.
            (PartName::Capture, Upstream::VideoDevice { .. }) => (5_000, 1_000),
            _ => (10_000, 2_000),
        };
        Timing {
            first_buffer: Duration::from_millis(first_buffer),
            stall: Duration::from_millis(stall),
            settled: Duration::from_secs(30),
        }
    }
}

/// What a graph told, and which one: an event of a graph that was since replaced means nothing.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) part: PartName,
    pub(super) generation: u64,
    pub(super) event: GraphEvent,
}

/// Where a graph stands.
pub(super) enum Seat {
    /// It fills a hub.
    Capture(RawHub),
    /// It feeds the sound's line.
    Sound(SoundLine),
    /// It drains a hub into an outlet.
    Encode(RawHub, Outlet),
}

/// One graph under supervision.
pub(super) struct Part {
    name: PartName,
    plan: GraphPlan,
    engine: Engine,
    seat: Seat,
    told: mpsc::Sender<Told>,
    machine: Machine,
    graph: Option<Graph>,
    generation: u64,
    /// Another encoder that is tried.
    candidate: Option<Candidate>,
    /// What became of the last one.
    outcome: Option<Outcome>,
    /// The graph is to be built once no candidate is tried any more: it would take the outlet from it.
    owed: bool,
    /// Frames of the present graph went out of the outlet.
    on_air: bool,
    /// It failed since this was last asked, for this reason.
    failed: Option<String>,
    /// What people should know of it though it runs.
    note: String,
    /// The bitrate in force, where it is not the plan's.
    bitrate: Option<Bitrate>,
    /// Below that for the sake of an output.
    lowered: Option<Bitrate>,
    /// Frames out and in at the last look.
    seen: (u64, u64),
    /// What earlier graphs of this part counted.
    carried: StageCounters,
    leaving_since: Option<Duration>,
    /// Whether it may hold up the capture.
    strain: Strain,
    /// The trouble the log has been told of, until it runs again.
    logged: String,
}

impl Part {
    /// Not started.
    pub(super) fn new(
        name: PartName,
        plan: GraphPlan,
        engine: &Engine,
        seat: Seat,
        told: mpsc::Sender<Told>,
        seed: u64,
    ) -> Part {
        let machine = Machine::new(name.timing(&plan.upstream), seed);
        Part {
            name,
            plan,
            engine: engine.clone(),
            seat,
            told,
            machine,
            graph: None,
            generation: 0,
            candidate: None,
            outcome: None,
            owed: false,
            on_air: false,
            failed: None,
            note: String::new(),
            bitrate: None,
            lowered: None,
            seen: (0, 0),
            carried: StageCounters::default(),
            leaving_since: None,
            strain: Strain::default(),
            logged: String::new(),
        }
    }

    pub(super) fn name(&self) -> PartName {
        self.name
    }

    pub(super) fn plan(&self) -> &GraphPlan {
        &self.plan
    }

    pub(super) fn phase(&self) -> Phase {
        self.machine.phase()
    }

    pub(super) fn reason(&self) -> &str {
        self.machine.reason()
    }

    pub(super) fn rebuilds(&self) -> u64 {
        self.machine.rebuilds()
    }

    pub(super) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// What it makes reaches whoever watches.
    pub(super) fn is_on_air(&self) -> bool {
        self.on_air && self.phase().is_flowing()
    }

    /// There is no graph of it, and none is to come.
    pub(super) fn is_gone(&self) -> bool {
        self.phase() == Phase::Stopped
    }

    /// A graph of it is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving_since.is_some()
    }

    /// Why it failed, if it did since this was last asked. Being too slow is no failure: it skips frames then.
    pub(super) fn failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// What people should know of it though it runs; empty when there is nothing.
    pub(super) fn note(&self) -> &str {
        &self.note
    }

    /// Says something of it until it is replaced.
    pub(super) fn set_note(&mut self, note: String) {
        self.note = note;
    }

    /// Takes what there is down, and builds this instead when that is gone.
    pub(super) fn replace(&mut self, now: Duration, plan: GraphPlan) {
        self.owed = false;
        self.try_no_more(now);
        self.drive(now, Event::Stop);
        self.machine.retime(self.name.timing(&plan.upstream));
        self.plan = plan;
        (self.bitrate, self.lowered) = (None, None);
        self.strain = Strain::default();
        self.failed = None;
        self.note.clear();
        self.drive(now, Event::Start);
    }

    /// Another plan for the next time that it is started. For a graph that is stopped.
    pub(super) fn set_plan(&mut self, plan: GraphPlan) {
        self.machine.retime(self.name.timing(&plan.upstream));
        self.plan = plan;
        (self.bitrate, self.lowered) = (None, None);
        self.note.clear();
    }

    /// Takes it down, until it is started again.
    pub(super) fn stop(&mut self, now: Duration) {
        self.owed = false;
        self.try_no_more(now);
        self.drive(now, Event::Stop);
    }

    /// What it counts now, with what it counted before it was rebuilt.
    pub(super) fn stage(&self) -> StageCounters {
        let mut stage = self.graph.as_ref().map(Graph::stage).unwrap_or_default();
        add(&mut stage, &self.carried);
        stage
    }

    pub(super) fn queues(&self) -> Vec<QueueLevel> {
        self.graph.as_ref().map(Graph::queues).unwrap_or_default()
    }

    /// How loud the sound is that comes out; empty where nothing measures it.
    pub(super) fn levels(&self) -> Levels {
        self.graph.as_ref().map(Graph::levels).unwrap_or_default()
    }

    /// The operator's wish; holds for graphs to come, too.
    pub(super) fn keep_bitrate(&mut self, bitrate: Bitrate) {
        self.bitrate = Some(bitrate);
        self.lowered = None;
    }

    /// Below the wish, or not any more; holds for graphs to come, too.
    pub(super) fn lower_bitrate(&mut self, bitrate: Option<Bitrate>) {
        self.lowered = bitrate;
    }

    /// The operator's wish, where it is not the plan's.
    pub(super) fn bitrate(&self) -> Option<Bitrate> {
        self.bitrate
    }

    /// The bitrate in force, where it is not the plan's.
    pub(super) fn bitrate_in_force(&self) -> Option<Bitrate> {
        self.lowered.or(self.bitrate)
    }

    /// Feeds its life with what happened, and does what that says.
    pub(super) fn drive(&mut self, now: Duration, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let before = self.machine.phase();
            match self.machine.on(now, event) {
                Some(Action::Build) if self.candidate.is_some() => self.owed = true,
                Some(Action::Build) if let Upstream::Absent { health } = &self.plan.upstream => {
                    next = Some(Event::DeviceGone(health.reason.clone()));
                }
                Some(Action::Build) => {
                    if let Some(reason) = self.missing() {
                        next = Some(Event::DeviceGone(reason));
                    } else if let Err(error) = self.build() {
                        next = Some(Event::Error(error.fault(), error.to_string()));
                    }
                }
                Some(Action::TearDown) => {
                    (self.owed, self.on_air) = (false, false);
                    match self.graph.take() {
                        Some(graph) => self.take_down(graph, now),
                        None => next = Some(Event::Gone),
                    }
                }
                None => {}
            }
            self.tell(before);
        }
    }

    /// Takes in what its graph told.
    pub(super) fn hear(&mut self, now: Duration, generation: u64, event: GraphEvent) {
        if self.candidate.as_ref().is_some_and(|candidate| candidate.generation == generation) {
            return self.hear_candidate(now, event);
        }
        if generation != self.generation {
            return;
        }
        let cut = event == GraphEvent::LinkCut;
        let event = match event {
            GraphEvent::Flowing => Event::Flowed,
            GraphEvent::Error(error) => {
                if let Some(details) = &error.debug {
                    tracing::debug!(part = self.name.as_str(), element = error.element, "{details}");
                }
                Event::Error(error.fault, format!("{}: {}", error.element, error.message))
            }
            GraphEvent::Ended => Event::Ended,
            GraphEvent::LinkCut => {
                self.strain.cut(now);
                let reason = "it did not keep up and held the capture up for 500 ms".to_owned();
                Event::Error(Fault::Graph, reason)
            }
            GraphEvent::Gone { abandoned } => {
                if abandoned {
                    tracing::warn!(part = self.name.as_str(), "a graph would not stop and was left behind");
                }
                self.leaving_since = None;
                Event::Gone
            }
            GraphEvent::OnAir(_) => {
                self.on_air = true;
                return self.let_block(now);
            }
            GraphEvent::Warning { element, message } => {
                tracing::debug!(part = self.name.as_str(), element, "{message}");
                return;
            }
            GraphEvent::Playing => return,
        };
        self.drive(now, event);
        if cut {
            self.failed = None;
        }
    }

    /// Looks whether frames came out since the last look; `fed` says whether any could.
    pub(super) fn look(&mut self, now: Duration) {
        self.look_at_candidate(now);
        if let Some(graph) = &self.graph {
            let seen = (graph.frames_out(), self.frames_offered());
            let event = if seen.0 != self.seen.0 {
                Event::Flowed
            } else if self.is_held(seen.1) {
                Event::Held
            } else {
                Event::Tick
            };
            self.seen = seen;
            self.drive(now, event);
            self.watch_skipping(now);
        }
        if self.leaving_since.is_some_and(|since| now > since + TEARDOWN_PATIENCE + Duration::from_secs(1)) {
            self.leaving_since = None;
            self.drive(now, Event::Gone);
        }
        self.drive(now, Event::Tick);
    }

    /// Takes it down for good; gives what to wait for.
    pub(super) fn end(&mut self, now: Duration) -> Option<crate::engine::Departure> {
        self.owed = false;
        self.try_no_more(now);
        let departure = self.graph.take().map(Graph::stop);
        self.drive(now, Event::Stop);
        departure
    }

    /// Capture: held up by a link. Encode: nothing comes in.
    fn is_held(&self, offered: u64) -> bool {
        match &self.seat {
            Seat::Capture(hub) => hub
                .last_frame()
                .is_some_and(|last| self.engine.now().saturating_since(last) < Duration::from_millis(100)),
            // The line puts silence out meanwhile, so the hub's last frame says nothing.
            Seat::Sound(line) => line.hub().is_blocked(),
            Seat::Encode(..) => offered == self.seen.1,
        }
    }

    fn frames_offered(&self) -> u64 {
        match &self.seat {
            Seat::Capture(_) | Seat::Sound(_) => 0,
            Seat::Encode(hub, _) => hub.frames(),
        }
    }

    /// A number for one more graph, be it only a candidate. No two graphs of the daemon have the same, so that a part that
    /// came for another hears nothing of its graphs.
    fn issue(&self) -> u64 {
        static ISSUED: AtomicU64 = AtomicU64::new(0);
        ISSUED.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Why there is nothing to open, where that is known before it is tried.
    fn missing(&self) -> Option<String> {
        match &self.plan.upstream {
            Upstream::SoundCard { hw } if device::sound_card_is_missing(hw) => {
                Some(format!("`{hw}` is not there; it is taken when it is plugged in"))
            }
            _ => None,
        }
    }

    /// Where a graph tells its events.
    fn sink(&self, generation: u64) -> EventSink {
        let (told, part) = (self.told.clone(), self.name);
        Arc::new(move |event: GraphEvent| {
            // A full queue means that the daemon's loop stands still: then one event more or less is not the trouble,
            // and a graph that is gone is noticed by time as well.
            let _ = told.try_send(Told { part, generation, event });
        })
    }

    /// Nothing was seen of the present graph yet.
    fn begin_anew(&mut self) {
        self.seen = (0, 0);
        self.strain.rebuilt();
        self.on_air = false;
    }

    fn build(&mut self) -> Result<(), BuildError> {
        self.generation = self.issue();
        self.begin_anew();
        let sink = self.sink(self.generation);
        let mut graph = match &self.seat {
            Seat::Capture(hub) => self.engine.capture(&self.plan, hub, sink)?,
            Seat::Sound(line) => self.engine.capture_sound(&self.plan, line, sink)?,
            Seat::Encode(hub, outlet) => {
                let graph = self.engine.encode(&self.plan, hub, outlet, sink)?;
                outlet.attach(&graph);
                graph
            }
        };
        if let Some(bitrate) = self.bitrate_in_force()
            && let Err(error) = graph.set_bitrate(bitrate)
        {
            tracing::warn!(part = self.name.as_str(), %error, "the bitrate set before cannot be set again");
            (self.bitrate, self.lowered) = (None, None);
        }
        graph.start()?;
        self.graph = Some(graph);
        Ok(())
    }

    fn take_down(&mut self, graph: Graph, now: Duration) {
        let last = graph.stage();
        add(&mut self.carried, &last);
        self.leaving_since = Some(now);
        drop(graph.stop());
    }

    /// Says changes of its life in the log.
    fn tell(&mut self, before: Phase) {
        let (phase, part) = (self.machine.phase(), self.name.as_str());
        if phase == before {
            return;
        }
        let (state, reason) = (phase.as_str(), self.machine.reason());
        if !reason.is_empty() && matches!(phase, Phase::Backoff | Phase::WaitingForDevice | Phase::Failed) {
            self.failed = Some(reason.to_owned());
        }
        match phase {
            // Once, not at every attempt: a card may be out for days.
            Phase::Backoff | Phase::WaitingForDevice if self.logged == reason => {
                tracing::debug!("{part} {}: {reason}", state.replace('_', " "));
            }
            Phase::Backoff | Phase::WaitingForDevice => {
                tracing::warn!("{part} {}: {reason}", state.replace('_', " "));
                reason.clone_into(&mut self.logged);
            }
            Phase::Failed => tracing::warn!("{part} failed for good: {reason}"),
            Phase::Degraded => tracing::warn!("{part}: {reason}"),
            Phase::Running if before == Phase::Starting => {
                tracing::info!("{part} runs: {}", self.plan.title);
                self.logged.clear();
            }
            _ => tracing::debug!("{part} {state}"),
        }
    }
}

/// Adds totals; rates, latencies and the last time stay `to`'s own.
fn add(to: &mut StageCounters, more: &StageCounters) {
    to.frames_in += more.frames_in;
    to.frames_out += more.frames_out;
    to.bytes_out += more.bytes_out;
    to.rate_skipped += more.rate_skipped;
    to.keyframes += more.keyframes;
    to.keyframes_forced += more.keyframes_forced;
    for (place, count) in &more.dropped {
        match to.dropped.iter_mut().find(|(known, _)| known == place) {
            Some((_, sum)) => *sum += count,
            None => to.dropped.push((place, *count)),
        }
    }
}
