//! How a part lives: what happened in, and what that makes of its graph.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Part, RESTS, Seat, Told};
use crate::device;
use crate::engine::{BuildError, EventSink, Graph, GraphEvent, StageCounters, TEARDOWN_PATIENCE};
use crate::lifecycle::{Action, ENDED, Event, Lag, Phase};
use crate::media::{Fault, MediaKind};
use crate::plan::Upstream;

impl Part {
    /// Feeds its life with what happened, and does what that says.
    pub(in crate::daemon) fn drive(&mut self, now: Duration, event: Event) {
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
    pub(in crate::daemon) fn hear(&mut self, now: Duration, generation: u64, event: GraphEvent) {
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
    pub(in crate::daemon) fn look(&mut self, now: Duration) {
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
    pub(in crate::daemon) fn end(&mut self, now: Duration) -> Option<crate::engine::Departure> {
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

    pub(super) fn frames_offered(&self) -> u64 {
        match &self.seat {
            Seat::Capture(_) | Seat::Sound(_) => 0,
            Seat::Encode(hub, _) => hub.frames(),
        }
    }

    /// A number for one more graph, be it only a candidate. No two graphs of the daemon have the same, so that a part that
    /// came for another hears nothing of its graphs.
    pub(super) fn issue(&self) -> u64 {
        static ISSUED: AtomicU64 = AtomicU64::new(0);
        ISSUED.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Why there is nothing to open, where that is known before it is tried.
    fn missing(&self) -> Option<String> {
        if self.rests {
            return Some(RESTS.to_owned());
        }
        match &self.plan.upstream {
            Upstream::SoundCard { hw } if device::sound_card_is_missing(hw) => {
                Some(format!("`{hw}` is not there; it is taken when it is plugged in"))
            }
            Upstream::Network { url } => {
                let kind = match &self.seat {
                    Seat::Capture(_) => MediaKind::Video,
                    Seat::Sound(_) => MediaKind::Audio,
                    // It is asked for what it reads.
                    Seat::Encode(_, outlet) => outlet.kind(),
                };
                match self.engine.reception(url) {
                    Some(reception) => reception.missing(kind),
                    None => Some("nothing is received yet".to_owned()),
                }
            }
            _ => None,
        }
    }

    /// Where a graph tells its events.
    pub(super) fn sink(&self, generation: u64) -> EventSink {
        let (told, part) = (self.told.clone(), self.name);
        Arc::new(move |event: GraphEvent| {
            // A full queue means that the daemon's loop stands still: then one event more or less is not the trouble,
            // and a graph that is gone is noticed by time as well.
            let _ = told.try_send(Told { part, generation, event });
        })
    }

    /// Nothing was seen of the present graph yet.
    pub(super) fn begin_anew(&mut self) {
        self.seen = (0, 0);
        self.strain.rebuilt();
        self.lag = Lag::default();
        self.on_air = false;
    }

    pub(super) fn build(&mut self) -> Result<(), BuildError> {
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
            // What is said of the source says it.
            Phase::Backoff | Phase::WaitingForDevice
                if matches!(self.plan.upstream, Upstream::Network { .. })
                    && (phase == Phase::WaitingForDevice || reason == ENDED) =>
            {
                tracing::debug!("{part} {}: {reason}", state.replace('_', " "));
            }
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
pub(super) fn add(to: &mut StageCounters, more: &StageCounters) {
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
