//! Smaller versions of the picture: further encoders of the same capture, each a part of its own and a layer of the box's
//! stream. None of them ever holds up the picture itself, be it slow or broken.

use std::time::Duration;

use super::appliance::Appliance;
use super::part::{Outcome, Part, PartName, Seat};
use crate::engine::{Engine, Outlet, RawHub};
use crate::lifecycle::Event;
use crate::media::{Bitrate, MediaKind};
use crate::plan::{Downstream, GraphPlan, SMALLER};

/// One of them.
pub(super) struct Rendition {
    pub(super) part: Part,
    pub(super) outlet: Outlet,
    /// What is tried beside what there is.
    tried: Option<GraphPlan>,
}

impl Rendition {
    /// Not started. `make` makes the part that sits there.
    pub(super) fn new(
        engine: &Engine,
        hub: &RawHub,
        layer: u8,
        make: impl FnOnce(PartName, Seat) -> Part,
    ) -> Rendition {
        let outlet = engine.outlet(MediaKind::Video);
        let part = make(PartName::Rendition(layer), Seat::Encode(hub.clone(), outlet.clone()));
        Rendition { part, outlet, tried: None }
    }

    /// Makes this instead: beside what there is where that is seen, so that its viewers see no gap.
    fn change(&mut self, now: Duration, plan: &GraphPlan) {
        if self.part.is_on_air() && !(plan.exclusive && self.part.plan().exclusive) {
            self.part.try_beside(now, plan);
            self.tried = Some(plan.clone());
        } else {
            self.tried = None;
            self.part.replace(now, plan.clone());
        }
    }

    /// What it makes, or is about to.
    fn wanted(&self) -> &GraphPlan {
        self.tried.as_ref().unwrap_or(self.part.plan())
    }

    /// What was tried is what it makes from the next start on. For a graph that is about to start anew, or stopped.
    pub(super) fn settle(&mut self) {
        if let Some(plan) = self.tried.take() {
            self.part.set_plan(plan);
        }
    }

    /// What came of that. What was tried in vain is built anyway: what there was is not wanted any more.
    fn progress(&mut self, now: Duration) {
        match self.part.outcome() {
            Some(Outcome::Failed(reason)) => {
                let name = self.part.name().as_str();
                tracing::debug!(
                    "{name} is rebuilt, for it could not be changed beside what there was: {reason}"
                );
                if let Some(plan) = self.tried.take() {
                    self.part.replace(now, plan);
                }
            }
            Some(Outcome::OnAir(_)) => self.tried = None,
            None => {}
        }
    }
}

impl Appliance {
    /// Makes these versions besides the picture itself, in place of those there were; `goes_on` says of two plans that the
    /// encoder of the first makes what the second would.
    pub(super) fn settle_renditions(
        &mut self,
        wanted: &[GraphPlan],
        goes_on: impl Fn(&GraphPlan, &GraphPlan) -> bool,
    ) {
        let now = self.now();
        for mut gone in self.renditions.drain(wanted.len().min(self.renditions.len())..) {
            drop(gone.part.end(now));
        }
        for (rendition, plan) in self.renditions.iter_mut().zip(wanted) {
            let runs = rendition.wanted();
            if self.stopped {
                rendition.part.set_plan(plan.clone());
            } else if rendition.part.is_going() || !goes_on(runs, plan) {
                rendition.change(now, plan);
            }
        }
        for (layer, plan) in (1..).zip(wanted).skip(self.renditions.len()) {
            let rendition = Rendition::new(&self.engine, &self.video_hub, layer, |name, seat| {
                self.begin_part(name, plan, seat)
            });
            self.renditions.push(rendition);
        }
        self.tell_layers();
    }

    /// Takes them down: the picture itself is changed in a way that they would be in.
    pub(super) fn stop_renditions(&mut self, now: Duration) {
        for rendition in &mut self.renditions {
            rendition.part.stop(now);
            rendition.settle();
        }
    }

    /// And brings them back as they were.
    pub(super) fn start_renditions(&mut self, now: Duration) {
        for rendition in &mut self.renditions {
            rendition.part.drive(now, Event::Start);
        }
    }

    /// Looks how changes of them are getting on, and that none has more bits than the picture itself.
    pub(super) fn mind_renditions(&mut self, now: Duration) {
        let Some(most) = bitrate(&self.encode) else { return };
        for rendition in &mut self.renditions {
            rendition.progress(now);
            hold_below(&mut rendition.part, most);
        }
    }

    /// Says which smaller versions cannot be made here, in the log and as words to add to others.
    pub(super) fn tell_what_is_left_out(&self) -> String {
        let mut words = String::new();
        for choice in self.choices.iter().filter(|choice| choice.subject == SMALLER && !choice.taken) {
            let left_out =
                format!("the smaller picture, {}, is left out: {}", choice.candidate, choice.reason);
            tracing::warn!("{left_out}");
            words += &format!("; {left_out}");
        }
        words
    }

    /// Tells the SFU which layers there are.
    pub(super) fn tell_layers(&mut self) {
        let pictures = [self.encode.plan()].into_iter().chain(self.renditions.iter().map(Rendition::wanted));
        let names = pictures.map(layer_name).collect();
        let smaller: Vec<Outlet> = self.renditions.iter().map(|rendition| rendition.outlet.clone()).collect();
        if let Some(local) = &mut self.local {
            local.publish_layers(names, &smaller);
        }
    }
}

/// What people choose it by: `640x360`.
fn layer_name(plan: &GraphPlan) -> String {
    match &plan.downstream {
        Downstream::Video { size: Some(size), .. } => size.to_string(),
        _ => "source".to_owned(),
    }
}

/// In force.
fn bitrate(part: &Part) -> Option<Bitrate> {
    let Downstream::Video { bitrate, .. } = part.plan().downstream else { return None };
    Some(part.bitrate_in_force().unwrap_or(bitrate))
}

/// An encoder that cannot be told, or not now, is left as it is.
fn hold_below(part: &mut Part, most: Bitrate) {
    let (Downstream::Video { bitrate: planned, .. }, Some(control)) =
        (&part.plan().downstream, &part.plan().control.bitrate)
    else {
        return;
    };
    let (planned, least) = (*planned, control.range.0);
    let wanted = planned.min(most).max(least.min(planned));
    let Some(graph) = part.graph().filter(|_| part.phase().is_flowing()) else { return };
    if part.bitrate_in_force().unwrap_or(planned) != wanted && graph.set_bitrate(wanted).is_ok() {
        part.lower_bitrate((wanted < planned).then_some(wanted));
    }
}
