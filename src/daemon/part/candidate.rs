//! Another encoder beside the one on air, until one of the two is all there is.

use std::time::Duration;

use super::{Part, Seat, add};
use crate::engine::{Graph, GraphEvent, Takeover};
use crate::lifecycle::{Event, Phase, Strain};
use crate::media::MediaKind;
use crate::plan::GraphPlan;

/// How long a candidate has to bring its first keyframe. Opening an encoder takes well below a second; one that looks
/// ahead on a busy machine takes some.
const PATIENCE: Duration = Duration::from_secs(14);

/// An encoder that is tried.
pub(super) struct Candidate {
    plan: GraphPlan,
    graph: Graph,
    pub(super) generation: u64,
    due: Duration,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::daemon) enum Outcome {
    /// It is on air, and the other one is gone.
    OnAir(Takeover),
    /// It is gone, and the other one stays, for this reason.
    Failed(String),
}

impl Part {
    /// Tries another encoder beside the one there is. What becomes of it is told by [`Part::outcome`].
    pub(in crate::daemon) fn try_beside(&mut self, now: Duration, plan: &GraphPlan) {
        self.candidate = None;
        self.outcome = None;
        let generation = self.issue();
        let Seat::Encode(hub, outlet) = &self.seat else { return };
        let built = self.engine.encode(plan, hub, outlet, self.sink(generation)).and_then(|mut graph| {
            outlet.switch_to(&graph);
            // Sound costs nothing to encode, and a packet that its candidate skipped would be a hole that is heard.
            graph.set_on_air(hub.kind() == MediaKind::Audio);
            graph.start()?;
            Ok(graph)
        });
        match built {
            Ok(graph) => {
                self.candidate =
                    Some(Candidate { plan: plan.clone(), graph, generation, due: now + PATIENCE });
            }
            Err(error) => self.outcome = Some(Outcome::Failed(error.to_string())),
        }
    }

    /// Lets go of what is tried; what is on air stays.
    pub(in crate::daemon) fn try_no_more(&mut self, now: Duration) {
        if let Some(candidate) = self.candidate.take() {
            drop(candidate.graph.stop());
            self.catch_up(now);
        }
    }

    /// What became of the candidate, once.
    pub(in crate::daemon) fn outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// An event of the candidate.
    pub(super) fn hear_candidate(&mut self, now: Duration, event: GraphEvent) {
        match event {
            GraphEvent::OnAir(takeover) => self.adopt(now, takeover),
            GraphEvent::Error(error) => {
                if let Some(details) = &error.debug {
                    tracing::debug!(part = self.name.as_str(), element = error.element, "{details}");
                }
                self.fail(now, format!("{}: {}", error.element, error.message));
            }
            GraphEvent::Ended | GraphEvent::Gone { .. } => self.fail(now, "its stream ended".to_owned()),
            GraphEvent::Playing | GraphEvent::Flowing | GraphEvent::Warning { .. } | GraphEvent::LinkCut => {}
        }
    }

    /// Whether the candidate's time is over.
    pub(super) fn look_at_candidate(&mut self, now: Duration) {
        let Some(candidate) = self.candidate.as_ref().filter(|candidate| now >= candidate.due) else {
            return;
        };
        let came = candidate.graph.frames_out();
        let what = if came == 0 { "no picture" } else { "no keyframe that could follow what is on air" };
        self.fail(now, format!("{what} came out of it within {} s", PATIENCE.as_secs()));
    }

    fn adopt(&mut self, now: Duration, takeover: Takeover) {
        let Some(candidate) = self.candidate.take() else { return };
        if let Some(old) = self.graph.replace(candidate.graph) {
            add(&mut self.carried, &old.stage());
            drop(old.stop());
        }
        self.plan = candidate.plan;
        self.generation = candidate.generation;
        self.begin_anew();
        (self.bitrate, self.lowered) = (None, None);
        self.strain = Strain::default();
        self.owed = false;
        self.leaving_since = None;
        self.drive(now, Event::Adopted);
        self.let_block(now);
        self.on_air = true;
        self.outcome = Some(Outcome::OnAir(takeover));
    }

    fn fail(&mut self, now: Duration, reason: String) {
        self.try_no_more(now);
        self.outcome = Some(Outcome::Failed(reason));
    }

    /// Builds what was due while a candidate was tried.
    fn catch_up(&mut self, now: Duration) {
        if std::mem::take(&mut self.owed)
            && self.machine.phase() == Phase::Starting
            && let Err(error) = self.build()
        {
            self.drive(now, Event::Error(error.fault(), error.to_string()));
        }
    }
}
