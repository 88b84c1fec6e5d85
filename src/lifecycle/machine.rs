//! The machine itself.

use std::time::Duration;

use crate::media::{Backoff, Fault};

/// Before the first rebuild.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Why a graph failed whose stream ended.
pub const ENDED: &str = "its stream ended";

/// Before any rebuild, at most.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where a graph is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Off by command.
    Stopped,
    /// The device is not there.
    WaitingForDevice,
    /// Built, no buffer yet.
    Starting,
    /// Buffers flow.
    Running,
    /// Buffers flow, but not as they should.
    Degraded,
    /// Failed; a rebuild is due.
    Backoff,
    /// Failed for good until something changes.
    Failed,
    /// Going down.
    Stopping,
}

impl Phase {
    /// The word used in JSON and metrics: `running`, `waiting_for_device`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Stopped => "stopped",
            Phase::WaitingForDevice => "waiting_for_device",
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Degraded => "degraded",
            Phase::Backoff => "backoff",
            Phase::Failed => "failed",
            Phase::Stopping => "stopping",
        }
    }

    /// Do buffers flow?
    pub const fn is_flowing(self) -> bool {
        matches!(self, Phase::Running | Phase::Degraded)
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From being built to the first buffer.
    pub first_buffer: Duration,
    /// Between buffers, once they flow.
    pub stall: Duration,
    /// Buffers must have flowed this long before the back-off begins anew.
    pub settled: Duration,
}

/// What happened to a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is wanted.
    Start,
    /// It is not wanted any more.
    Stop,
    /// Another graph, from which buffers flow already, took the place of the one there was, whatever became of that.
    Adopted,
    /// Buffers came out since the last time this was said.
    Flowed,
    /// None came out, and none could: nothing goes in, or whoever takes them holds it up. The stall clock stands still.
    Held,
    /// Buffers flow, but not as they should; the words say how.
    Trouble(String),
    /// They flow as they should again.
    TroubleOver,
    /// It could not be built, or reported an error.
    Error(Fault, String),
    /// Its stream ended.
    Ended,
    /// Its device is not there any more.
    DeviceGone(String),
    /// Its device came.
    DeviceBack,
    /// What was torn down is gone, or abandoned.
    Gone,
    /// Nothing happened, but the deadline may have passed.
    Tick,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Build the graph and set it playing; a failure to do so is an [`Event::Error`].
    Build,
    /// Take it down; say [`Event::Gone`] when that is done.
    TearDown,
}

/// Does a graph exist?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Graph {
    None,
    Built,
    Leaving,
}

/// One graph's life.
#[derive(Clone, Debug)]
pub struct Machine {
    timing: Timing,
    phase: Phase,
    graph: Graph,
    wanted: bool,
    backoff: Backoff,
    deadline: Option<Duration>,
    flowing_since: Duration,
    rebuilds: u64,
    reason: String,
}

impl Machine {
    /// Stopped, until it is started. The seed moves its back-off.
    pub const fn new(timing: Timing, seed: u64) -> Self {
        Machine {
            timing,
            phase: Phase::Stopped,
            graph: Graph::None,
            wanted: false,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, seed),
            deadline: None,
            flowing_since: Duration::ZERO,
            rebuilds: 0,
            reason: String::new(),
        }
    }

    /// Other times from now on, for another graph.
    pub const fn retime(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Where it is in its life.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it is there, in words; empty when all is well.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How often it was built again after a failure.
    pub const fn rebuilds(&self) -> u64 {
        self.rebuilds
    }

    /// When to call [`Machine::on`] again, at the latest, on the clock of its `now`.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Takes in what happened at `now`; gives what to do. `now` counts from any fixed point and never goes back.
    pub fn on(&mut self, now: Duration, event: Event) -> Option<Action> {
        match event {
            Event::Start => {
                self.wanted = true;
                match self.phase {
                    Phase::Stopped | Phase::Failed => {
                        self.backoff.reset();
                        self.reason.clear();
                        self.build_when_gone(now)
                    }
                    // The graph that is leaving must be gone first; `Gone` then builds.
                    Phase::Stopping => {
                        self.backoff.reset();
                        self.wait_until(now, Phase::Backoff)
                    }
                    _ => None,
                }
            }
            Event::Stop => {
                self.wanted = false;
                self.reason.clear();
                self.deadline = None;
                match self.graph {
                    Graph::None => {
                        self.phase = Phase::Stopped;
                        None
                    }
                    Graph::Leaving => {
                        self.phase = Phase::Stopping;
                        None
                    }
                    Graph::Built => {
                        self.phase = Phase::Stopping;
                        self.tear_down()
                    }
                }
            }
            Event::Adopted => {
                self.wanted = true;
                self.graph = Graph::Built;
                self.phase = Phase::Running;
                self.flowing_since = now;
                self.deadline = Some(now + self.timing.stall);
                self.backoff.reset();
                self.reason.clear();
                None
            }
            Event::Gone => {
                if self.graph != Graph::Leaving {
                    return None;
                }
                self.graph = Graph::None;
                if !self.wanted {
                    self.phase = Phase::Stopped;
                    return None;
                }
                self.tick(now)
            }
            Event::DeviceBack if self.phase == Phase::WaitingForDevice => {
                self.backoff.reset();
                self.build_when_gone(now)
            }
            Event::Tick => self.tick(now),
            _ if self.graph != Graph::Built => self.without_graph(now, event),
            event => self.with_graph(now, event),
        }
    }

    /// What a playing graph says.
    fn with_graph(&mut self, now: Duration, event: Event) -> Option<Action> {
        match event {
            Event::Flowed => {
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.flowing_since = now;
                    self.reason.clear();
                } else if now.saturating_sub(self.flowing_since) >= self.timing.settled {
                    self.backoff.reset();
                }
                self.deadline = Some(now + self.timing.stall);
                None
            }
            Event::Held => {
                let patience =
                    if self.phase.is_flowing() { self.timing.stall } else { self.timing.first_buffer };
                self.deadline = Some(now + patience);
                None
            }
            Event::Trouble(reason) => {
                if self.phase.is_flowing() {
                    self.phase = Phase::Degraded;
                    self.reason = reason;
                }
                None
            }
            Event::TroubleOver => {
                if self.phase == Phase::Degraded {
                    self.phase = Phase::Running;
                    self.reason.clear();
                }
                None
            }
            Event::Error(fault, reason) => self.fail(now, fault, reason),
            Event::Ended => self.fail(now, Fault::Graph, ENDED.to_owned()),
            Event::DeviceGone(reason) => self.lose_device(now, reason),
            Event::Start | Event::Stop | Event::Adopted | Event::Gone | Event::DeviceBack | Event::Tick => {
                None
            }
        }
    }

    /// What concerns a graph that is not there: only news of its device.
    fn without_graph(&mut self, now: Duration, event: Event) -> Option<Action> {
        match event {
            // Said again, it is waited for longer.
            Event::DeviceGone(reason) if matches!(self.phase, Phase::Backoff | Phase::WaitingForDevice) => {
                self.lose_device(now, reason)
            }
            _ => None,
        }
    }

    fn tick(&mut self, now: Duration) -> Option<Action> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.phase {
            Phase::Starting => {
                let waited = self.timing.first_buffer;
                self.fail(
                    now,
                    Fault::Graph,
                    format!("no buffer within {} ms of its start", waited.as_millis()),
                )
            }
            Phase::Running | Phase::Degraded => {
                let waited = self.timing.stall;
                self.fail(now, Fault::Graph, format!("no buffer for {} ms", waited.as_millis()))
            }
            Phase::Backoff | Phase::WaitingForDevice => self.build_when_gone(now),
            Phase::Stopped | Phase::Failed | Phase::Stopping => {
                self.deadline = None;
                None
            }
        }
    }

    fn fail(&mut self, now: Duration, fault: Fault, reason: String) -> Option<Action> {
        self.reason = reason;
        if fault == Fault::Config {
            self.phase = Phase::Failed;
            self.deadline = None;
        } else {
            self.rebuilds += 1;
            let wait = self.backoff.next_wait();
            self.wait_until(now + wait, Phase::Backoff);
        }
        self.tear_down()
    }

    /// Tried again now and then even so: a missed hot-plug event must not keep a device out for ever.
    fn lose_device(&mut self, now: Duration, reason: String) -> Option<Action> {
        self.reason = reason;
        self.wait_until(now + LONGEST_WAIT, Phase::WaitingForDevice);
        self.tear_down()
    }

    fn build_when_gone(&mut self, now: Duration) -> Option<Action> {
        if self.graph != Graph::None {
            // No deadline: only `Gone` can move it on, and that looks at the deadline that has passed.
            if self.phase != Phase::WaitingForDevice {
                self.phase = Phase::Backoff;
            }
            self.deadline = Some(now);
            return None;
        }
        self.graph = Graph::Built;
        self.phase = Phase::Starting;
        self.deadline = Some(now + self.timing.first_buffer);
        Some(Action::Build)
    }

    fn wait_until(&mut self, due: Duration, phase: Phase) -> Option<Action> {
        self.phase = phase;
        self.deadline = Some(due);
        None
    }

    fn tear_down(&mut self) -> Option<Action> {
        if self.graph != Graph::Built {
            return None;
        }
        self.graph = Graph::Leaving;
        Some(Action::TearDown)
    }
}
