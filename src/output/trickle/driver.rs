//! The channel's clock, its attempts, and what is told of it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::Settings;
use super::publish::{Channel, Lost, Progress, Source, Trouble};
use crate::engine::Engine;
use crate::engine::container::ContainerError;
use crate::engine::container::pieces::Pieces;
use crate::engine::webrtc::TransportStats;
use crate::media::Codec;
use crate::output::attempts::{Attempts, HELD, LOOK, now};
use crate::output::report::{BACKOFF, REFUSED, unfit};
use crate::output::whip::Wires;
use crate::output::{Order, Orders};
use crate::whip::client::Phase;

/// Events that wait: one or two for each segment.
const EVENTS: usize = 64;
/// Access units that wait for the server.
const PIECES: usize = 256;
/// What they may come to where the stream says nothing.
const BYTES: u64 = 8_000_000;

enum Event {
    Progress(Progress),
    /// And the number of the segment that is to follow.
    Ended(Trouble, u64),
}

pub(super) struct Driver {
    engine: Engine,
    wires: Wires,
    settings: Settings,
    orders: Orders,
    attempts: Attempts,
    tell: mpsc::Sender<(u64, Event)>,
    events: mpsc::Receiver<(u64, Event)>,
    wanted: bool,
    current: Option<Connection>,
    /// Which connection it is.
    number: u64,
    /// Tells a connection's end to the server.
    ending: Option<JoinHandle<()>>,
    /// The next segment.
    next: u64,
}

/// A channel that is published, or about to be.
struct Connection {
    pieces: Pieces,
    lost: Lost,
    codec: Option<Codec>,
    task: JoinHandle<()>,
    /// Ends it in order, when it is used or dropped.
    end: oneshot::Sender<()>,
    open: bool,
    segment: Option<u64>,
    since: Instant,
}

impl Driver {
    pub(super) fn new(engine: Engine, wires: Wires, settings: Settings, orders: Orders) -> Driver {
        let (tell, events) = mpsc::channel(EVENTS);
        Driver {
            engine,
            wires,
            attempts: Attempts::new(&settings.name, settings.seed, &orders),
            settings,
            orders,
            tell,
            events,
            wanted: false,
            current: None,
            number: 0,
            ending: None,
            next: 0,
        }
    }

    /// Until it is told to finish and has, or nobody holds the output any more.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = self.orders.inbox.recv() => match order {
                    Some(Order::Start) => self.start().await,
                    Some(Order::Stop) => self.stop(),
                    Some(Order::Finish) => {
                        self.stop();
                        self.show();
                        if let Some(ending) = self.ending.take() {
                            let _ = ending.await;
                        }
                        return;
                    }
                    None => return,
                },
                Ok(()) = self.orders.lanes.changed() => self.carry().await,
                Some((number, event)) = self.events.recv() => {
                    if number == self.number {
                        self.hear(event);
                    }
                }
                _ = looks.tick() => self.look().await,
            }
            self.show();
        }
    }

    async fn start(&mut self) {
        if !self.wanted {
            self.wanted = true;
            self.attempts.forgive();
            self.connect().await;
        }
    }

    fn stop(&mut self) {
        self.wanted = false;
        self.leave();
        self.attempts.stop();
    }

    /// The encoder was changed: to another picture in the same codec, which goes on as it is, or to one that does not fit.
    async fn carry(&mut self) {
        self.settings.lanes = Arc::clone(&self.orders.lanes.borrow_and_update());
        if !self.wanted {
            return;
        }
        let same = self.current.as_ref().is_some_and(|current| current.codec == self.codec());
        if unfit(&self.settings.lanes).is_some() || !same {
            self.leave();
            self.connect().await;
        }
    }

    fn codec(&self) -> Option<Codec> {
        self.settings.lanes.first().map(|lane| lane.codec)
    }

    /// Ends what is published, if anything is; the server is told beside.
    fn leave(&mut self) {
        self.attempts.cancel();
        // What the old one still tells is not heard.
        self.number += 1;
        if let Some(current) = self.current.take() {
            self.attempts.carry(current.sum(self.attempts.carried()));
            // A channel that was ended begins anew.
            self.next = 0;
            let _ = current.end.send(());
            self.ending = Some(current.task);
        }
    }

    async fn connect(&mut self) {
        self.leave();
        if let Some(words) = unfit(&self.settings.lanes) {
            return self.attempts.refuse(words);
        }
        match self.attempt().await {
            Ok(connection) => self.current = Some(connection),
            Err(words) => self.fail(Trouble { words, refused: false }),
        }
    }

    async fn attempt(&mut self) -> Result<Connection, String> {
        let key = (self.settings.key)()?;
        let channel = Channel::new(self.wires.clone(), &self.settings.url, key.as_deref())?;
        let room = self.settings.lanes.first().map_or(0, |lane| lane.limits.bytes);
        let (sink, source, lost) = Source::new(PIECES, if room == 0 { BYTES } else { room });
        let (engine, name, sound) = (self.engine.clone(), self.settings.name.clone(), self.settings.sound);
        let lanes = Arc::clone(&self.settings.lanes);
        let made = spawn_blocking(move || engine.pieces(&name, &lanes, sound, sink)).await;
        let made = made.unwrap_or_else(|error| Err(ContainerError::Failed(error.to_string())));
        let pieces = made.map_err(|error| error.to_string())?;
        let (end, ended) = oneshot::channel();
        let (tell, number, before, mut next) =
            (self.tell.clone(), self.number, self.ending.take(), self.next);
        let task = tokio::spawn(async move {
            // Else the end of the old channel would be the end of the new one.
            if let Some(before) = before {
                let _ = before.await;
            }
            let progress = |progress| {
                // Full: a later one says the same.
                let _ = tell.try_send((number, Event::Progress(progress)));
            };
            match channel.publish(source, ended, &mut next, progress).await {
                // Nobody is there to be told, and nothing depends on it.
                Ok(()) => drop(channel.close().await),
                Err(trouble) => drop(tell.send((number, Event::Ended(trouble, next))).await),
            }
        });
        let codec = self.codec();
        Ok(Connection { pieces, lost, codec, task, end, open: false, segment: None, since: now() })
    }

    fn hear(&mut self, event: Event) {
        let Some(current) = &mut self.current else { return };
        match event {
            Event::Progress(Progress::Begun(segment)) => current.segment = Some(segment),
            Event::Progress(Progress::Open) => {
                if !current.open {
                    tracing::info!(output = %self.settings.name, "publishes to {}", self.settings.url);
                }
                current.open = true;
            }
            Event::Ended(trouble, next) => {
                self.fail(trouble);
                self.next = next;
            }
        }
    }

    async fn look(&mut self) {
        if self.attempts.is_due() {
            return self.connect().await;
        }
        let Some(current) = &self.current else { return };
        if let Some(error) = current.pieces.fault() {
            return self.fail(Trouble { words: error.to_string(), refused: false });
        }
        if current.open && now() >= current.since + HELD {
            self.attempts.forgive();
        }
    }

    /// The next attempt is due when there is hope.
    fn fail(&mut self, trouble: Trouble) {
        self.leave();
        self.attempts.fail(if trouble.refused { REFUSED } else { BACKOFF }, trouble.words, None);
    }

    fn show(&mut self) {
        let present = self.current.as_ref().map(|current| {
            let url = &self.settings.url;
            let (state, words) = match current.segment.filter(|_| current.open) {
                Some(segment) => (Phase::Live.as_str(), format!("to {url}, segment {segment}")),
                None => (Phase::Connecting.as_str(), format!("opens {url}")),
            };
            (state, words, current.sum(self.attempts.carried()))
        });
        self.attempts.show(present);
    }
}

impl Connection {
    /// Its numbers on top of those of connections before it.
    fn sum(&self, carried: &TransportStats) -> TransportStats {
        let present = self.pieces.stats();
        TransportStats {
            units: carried.units + present.units,
            bytes: carried.bytes + present.bytes,
            dropped: carried.dropped + present.dropped + self.lost.count(),
            ..present
        }
    }
}
