//! One graph under supervision: its plan, its life, what it counted before it was last rebuilt.

mod candidate;
mod keeping_up;
mod life;
mod name;

use std::time::Duration;

use tokio::sync::mpsc;

use crate::engine::{Engine, Graph, GraphEvent, Outlet, QueueLevel, RawHub, SoundLine, StageCounters};
use crate::lifecycle::{Event, Lag, Machine, Phase, Strain};
use crate::media::{Bitrate, Levels};
use crate::plan::GraphPlan;

use candidate::Candidate;
pub(super) use candidate::Outcome;
use life::add;
pub(super) use name::PartName;

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

/// Why a capture that rests has no graph.
const RESTS: &str = "what arrives is passed on as it is";

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
    /// Of one that may not: whether it keeps up.
    lag: Lag,
    /// Nobody needs what it would make.
    rests: bool,
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
            lag: Lag::default(),
            rests: false,
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

    /// It was stopped, and has not been started since.
    pub(super) fn is_going(&self) -> bool {
        matches!(self.phase(), Phase::Stopped | Phase::Stopping)
    }

    /// Nobody needs what it would make.
    pub(super) fn rests(&self) -> bool {
        self.rests
    }

    /// Takes its graph down while nobody needs what it makes, and builds it again when somebody does.
    pub(super) fn set_rests(&mut self, now: Duration, rests: bool) {
        if self.rests == rests {
            return;
        }
        self.rests = rests;
        match rests {
            true => self.drive(now, Event::DeviceGone(RESTS.to_owned())),
            false => self.drive(now, Event::DeviceBack),
        }
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
}
