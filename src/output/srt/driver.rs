//! The connection's clock, its attempts, and what is told of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Settings;
use super::gauge::{Gauge, Reading};
use super::words::{Trouble, trouble};
use crate::engine::Engine;
use crate::engine::container::ContainerError;
use crate::engine::container::srt::{SrtCounts, SrtEvent, SrtListener, SrtRoute, SrtSender};
use crate::engine::webrtc::TransportStats;
use crate::media::{Codec, SrtMode};
use crate::output::attempts::{Attempts, HELD, LOOK, now};
use crate::output::report::{BACKOFF, LISTENING, REFUSED, unfit};
use crate::output::{Order, Orders};
use crate::whip::client::Phase;

/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// Events that wait; a connection tells two in its life, and each receiver of a listener two more.
const EVENTS: usize = 64;

pub(super) struct Driver {
    engine: Engine,
    settings: Settings,
    orders: Orders,
    attempts: Attempts,
    tell: mpsc::Sender<(u64, SrtEvent)>,
    events: mpsc::Receiver<(u64, SrtEvent)>,
    wanted: bool,
    current: Option<Connection>,
    /// Which connection it is.
    number: u64,
    /// Each attempt takes the next of a name's addresses.
    turn: usize,
    began: Instant,
}

/// One connection, or an attempt.
struct Connection {
    sender: SrtSender,
    codec: Option<Codec>,
    secret: bool,
    /// Since when it stands, or listens.
    since: Option<Instant>,
    receivers: usize,
    gauge: Gauge,
    reading: Reading,
    counts: SrtCounts,
}

impl Driver {
    pub(super) fn new(engine: Engine, settings: Settings, orders: Orders) -> Driver {
        let (tell, events) = mpsc::channel(EVENTS);
        Driver {
            engine,
            attempts: Attempts::new(&settings.name, settings.seed, &orders),
            settings,
            orders,
            tell,
            events,
            wanted: false,
            current: None,
            number: 0,
            turn: 0,
            began: now(),
        }
    }

    /// Until it is told to finish, or nobody holds the output any more.
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
                        return self.show();
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

    /// Ends the connection, if there is one.
    fn leave(&mut self) {
        self.attempts.cancel();
        // What the old one still tells is not heard.
        self.number += 1;
        if let Some(current) = self.current.take() {
            self.attempts.carry(current.sum(self.attempts.carried()));
        }
    }

    async fn connect(&mut self) {
        self.leave();
        if let Some(words) = unfit(&self.settings.lanes) {
            return self.attempts.refuse(words);
        }
        match self.attempt().await {
            Ok(connection) => self.current = Some(connection),
            Err(trouble) => self.fail(trouble),
        }
    }

    async fn attempt(&mut self) -> Result<Connection, Trouble> {
        let lost = |words: String| Trouble { words, refused: false };
        let passphrase = (self.settings.passphrase)().map_err(lost)?;
        let secret = passphrase.is_some();
        let address = self.address().await.map_err(lost)?;
        let peer = &self.settings.peer;
        let route = SrtRoute {
            address,
            mode: peer.mode,
            latency: peer.latency,
            streamid: peer.streamid.clone(),
            passphrase,
        };
        let (engine, name, sound) = (self.engine.clone(), self.settings.name.clone(), self.settings.sound);
        let (lanes, tell, number) = (Arc::clone(&self.settings.lanes), self.tell.clone(), self.number);
        let listener: SrtListener = Arc::new(move |event| {
            // Full: its receivers come and go faster than anyone can watch; the numbers come with the next one.
            let _ = tell.try_send((number, event));
        });
        let made = spawn_blocking(move || engine.srt(&name, &lanes, sound, &route, listener)).await;
        let made = made.unwrap_or_else(|error| Err(ContainerError::Failed(error.to_string())));
        let sender = made.map_err(|error| trouble(&error, peer, secret, false))?;
        let listens = peer.mode == SrtMode::Listener;
        Ok(Connection {
            sender,
            codec: self.codec(),
            secret,
            since: listens.then(now),
            receivers: 0,
            gauge: Gauge::default(),
            reading: Reading::default(),
            counts: SrtCounts::default(),
        })
    }

    /// The peer's address; of several, each attempt takes the next.
    async fn address(&mut self) -> Result<SocketAddr, String> {
        let (host, port) = (self.settings.peer.host.clone(), self.settings.peer.port);
        let looked_up = timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), port))).await;
        let found: Vec<SocketAddr> = match looked_up {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => return Err(format!("cannot find `{host}`: {error}")),
            Err(_) => return Err(format!("cannot find `{host}`: its name server does not answer")),
        };
        let index = self.turn % found.len().max(1);
        self.turn = self.turn.wrapping_add(1);
        found.get(index).copied().ok_or_else(|| format!("`{host}` has no address"))
    }

    fn hear(&mut self, event: SrtEvent) {
        let Some(current) = &mut self.current else { return };
        match event {
            SrtEvent::Connected => {
                current.since = Some(now());
                tracing::info!(output = %self.settings.name, "sends to {}", self.settings.peer);
            }
            SrtEvent::Failed(error) => {
                let trouble = trouble(&error, &self.settings.peer, current.secret, current.since.is_some());
                self.fail(trouble);
            }
            SrtEvent::Receivers(receivers) => {
                let (before, output) = (current.receivers, self.settings.name.as_str());
                current.receivers = receivers;
                if receivers > before {
                    tracing::info!(output, "a receiver has come: {receivers} now");
                } else {
                    tracing::info!(output, "a receiver has gone: {receivers} left");
                }
            }
        }
    }

    async fn look(&mut self) {
        if self.attempts.is_due() {
            return self.connect().await;
        }
        let Some(current) = &mut self.current else { return };
        if let Some(error) = current.sender.fault() {
            let trouble = trouble(&error, &self.settings.peer, current.secret, current.since.is_some());
            return self.fail(trouble);
        }
        let counts = current.sender.counts();
        if let Some(counts) = counts.iter().copied().reduce(worst) {
            // The counters of another set of receivers are another's.
            if counts.packets < current.counts.packets {
                current.gauge = Gauge::default();
            }
            current.reading = current.gauge.on(now().saturating_duration_since(self.began), counts);
            current.counts = counts;
        } else {
            (current.reading, current.gauge) = (Reading::default(), Gauge::default());
        }
        if current.since.is_some_and(|since| now() >= since + HELD) {
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
            let peer = &self.settings.peer;
            let (state, words) = match (peer.mode, current.receivers) {
                (SrtMode::Caller, _) if current.since.is_some() => {
                    (Phase::Live.as_str(), format!("to {peer}{}", locked(current.secret)))
                }
                (SrtMode::Caller, _) => (Phase::Connecting.as_str(), format!("calls {peer}")),
                (SrtMode::Listener, 0) => {
                    (LISTENING, format!("waits at {peer} for a receiver{}", locked(current.secret)))
                }
                (SrtMode::Listener, 1) => {
                    (Phase::Live.as_str(), format!("to one receiver at {peer}{}", locked(current.secret)))
                }
                (SrtMode::Listener, many) => {
                    (Phase::Live.as_str(), format!("to {many} receivers at {peer}{}", locked(current.secret)))
                }
            };
            (state, words, current.sum(self.attempts.carried()))
        });
        self.attempts.show(present);
    }
}

impl Connection {
    /// Its numbers on top of those of connections before it.
    fn sum(&self, carried: &TransportStats) -> TransportStats {
        let present = self.sender.stats();
        TransportStats {
            units: carried.units + present.units,
            bytes: carried.bytes + present.bytes,
            dropped: carried.dropped + present.dropped,
            nacks: carried.nacks + self.counts.nacks,
            resent: carried.resent + self.counts.resent,
            rtt: Some(self.counts.rtt).filter(|rtt| !rtt.is_zero()),
            packets_lost: self.reading.loss.map(|_| self.counts.lost),
            loss: self.reading.loss,
            estimate: self.reading.estimate,
            ..present
        }
    }
}

/// All receivers of a listener as one: each of its numbers is the worst.
fn worst(one: SrtCounts, other: SrtCounts) -> SrtCounts {
    SrtCounts {
        packets: one.packets.max(other.packets),
        bytes: one.bytes.max(other.bytes),
        lost: one.lost.max(other.lost),
        resent: one.resent.max(other.resent),
        late: one.late.max(other.late),
        nacks: one.nacks.max(other.nacks),
        rtt: one.rtt.max(other.rtt),
        bandwidth: one.bandwidth.min(other.bandwidth),
    }
}

const fn locked(secret: bool) -> &'static str {
    if secret { ", encrypted" } else { "" }
}
