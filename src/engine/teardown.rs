//! Taking graphs down without waiting for drivers that hang.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::media::MediaTime;

use super::bus;
use super::clock::Timebase;
use super::events::{EventSink, GraphEvent};

/// How long a graph may take to go to NULL, unless the engine is a patient one. A driver can hang in STREAMOFF for ever.
pub const TEARDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// Whether a graph may still go up. It goes up on one thread and down on another: one that was sent down before the first came
/// to it would go up afterwards, and be disposed of while it plays.
#[derive(Clone, Default)]
pub(super) struct Ascent {
    over: Arc<Mutex<bool>>,
}

impl Ascent {
    /// Goes up, unless it is to go down. Whoever ends it waits until this is through.
    pub(super) fn go<T>(&self, up: impl FnOnce() -> T) -> Option<T> {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        (!*over).then(up)
    }

    /// From now on it does not go up.
    fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// A graph on its way out.
pub struct Departure {
    done: Receiver<bool>,
}

impl Departure {
    /// One that is told by somebody else.
    pub(super) fn when(done: Receiver<bool>) -> Departure {
        Departure { done }
    }

    /// Waits until the graph is gone or abandoned, at most `within`. True when it is really gone.
    pub fn wait(&self, within: Duration) -> bool {
        self.done.recv_timeout(within) == Ok(true)
    }
}

/// Keeps the deadlines of graphs that go down. One thread keeps them, and each graph goes down on a thread of its own,
/// so that one that hangs delays no other. No thread is ever joined.
#[derive(Clone)]
pub(super) struct Teardown {
    jobs: Sender<Job>,
    abandoned: Arc<AtomicU64>,
    timebase: Timebase,
    patience: Duration,
}

enum Job {
    Begin { number: u64, leaving: Leaving },
    Done { number: u64 },
}

struct Leaving {
    name: String,
    bus: Option<gst::Bus>,
    deadline: MediaTime,
    events: EventSink,
    done: Sender<bool>,
}

impl Leaving {
    fn close(&self, abandoned: bool) {
        if let Some(bus) = &self.bus {
            bus::end(bus);
        }
        (self.events)(GraphEvent::Gone { abandoned });
        // Nobody need be waiting.
        let _ = self.done.send(!abandoned);
    }
}

impl Teardown {
    pub(super) fn start(timebase: Timebase, patience: Duration) -> std::io::Result<Teardown> {
        let (jobs, inbox) = mpsc::channel();
        let abandoned = Arc::new(AtomicU64::new(0));
        let keeper = Keeper { inbox, abandoned: Arc::clone(&abandoned), timebase: timebase.clone() };
        thread::Builder::new().name("teardown".to_owned()).spawn(move || keeper.run())?;
        Ok(Teardown { jobs, abandoned, timebase, patience })
    }

    /// Graphs that would not go and were left behind.
    pub(super) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Sends a graph to NULL that went up on the thread that calls.
    pub(super) fn send(&self, pipeline: gst::Pipeline, name: String, events: EventSink) -> Departure {
        self.send_after(Ascent::default(), pipeline, name, events)
    }

    /// Sends a graph to NULL. One that is on its way up elsewhere arrives there first.
    pub(super) fn send_after(
        &self,
        ascent: Ascent,
        pipeline: gst::Pipeline,
        name: String,
        events: EventSink,
    ) -> Departure {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (done, outcome) = mpsc::channel();
        let deadline = self.timebase.now() + self.patience;
        let leaving = Leaving { name, bus: pipeline.bus(), deadline, events, done };
        let _ = self.jobs.send(Job::Begin { number, leaving });
        let jobs = self.jobs.clone();
        let taken_down = thread::Builder::new().name("graph-down".to_owned()).spawn(move || {
            ascent.end();
            take_down(&pipeline);
            drop(pipeline);
            let _ = jobs.send(Job::Done { number });
        });
        if let Err(error) = taken_down {
            tracing::warn!(%error, "no thread to take a graph down: it is left behind");
        }
        Departure { done: outcome }
    }
}

/// Sends it to NULL. A pipeline that failed on its way up stands between states: then the first child that fails on the way
/// down ends the whole attempt, and elements in PLAYING would be disposed of. So each child is sent by itself, and the
/// pipeline once more.
fn take_down(pipeline: &gst::Pipeline) {
    if pipeline.set_state(gst::State::Null).is_ok() {
        return;
    }
    for element in pipeline.iterate_elements().into_iter().flatten() {
        let _ = element.set_state(gst::State::Null);
    }
    let _ = pipeline.set_state(gst::State::Null);
}

struct Keeper {
    inbox: Receiver<Job>,
    abandoned: Arc<AtomicU64>,
    timebase: Timebase,
}

impl Keeper {
    fn run(self) {
        let mut leaving: Vec<(u64, Leaving)> = Vec::new();
        loop {
            let now = self.timebase.now();
            let next = leaving.iter().map(|(_, graph)| graph.deadline.saturating_since(now)).min();
            let job = match next {
                Some(left) => self.inbox.recv_timeout(left),
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(Job::Begin { number, leaving: graph }) => leaving.push((number, graph)),
                Ok(Job::Done { number }) => {
                    // One that comes after its deadline is no longer listed.
                    if let Some(index) = leaving.iter().position(|(other, _)| *other == number) {
                        leaving.swap_remove(index).1.close(false);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.timebase.now();
                    for (_, graph) in leaving.extract_if(.., |(_, graph)| graph.deadline <= now) {
                        self.abandoned.fetch_add(1, Ordering::Relaxed);
                        tracing::debug!(graph = %graph.name, "would not stop and is left behind");
                        graph.close(true);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_down_first_does_not_go_up_afterwards() {
        let ascent = Ascent::default();
        assert_eq!(ascent.go(|| 1), Some(1));
        ascent.end();
        assert_eq!(ascent.go(|| 2), None);
    }

    #[test]
    fn it_goes_down_only_when_it_is_up() {
        let ascent = Ascent::default();
        let (order, seen) = mpsc::channel();
        let order_up = order.clone();
        let down = ascent.go(|| {
            let (ascent, order) = (ascent.clone(), order.clone());
            let (about, begun) = mpsc::channel();
            let down = thread::spawn(move || {
                about.send(()).unwrap();
                ascent.end();
                order.send("down").unwrap();
            });
            begun.recv().unwrap();
            order_up.send("up").unwrap();
            down
        });
        down.unwrap().join().unwrap();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["up", "down"]);
    }
}
