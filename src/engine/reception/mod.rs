//! A stream that arrives over the network: MPEG-TS from one socket or fetcher, for capture graphs that come and go.
//!
//! ```text
//!                       Arrivals (one writer)                        Graph: VideoCapture
//!  srtsrc ─ bytes ──> ┌───────────────────────────────┐  Tap   ┌──────────────────────────────┐
//!  HTTP fetcher ────> │ packets ─ access units ─ times ├──────>│ appsrc ─ decoder ─ … ─ appsink ┼─> RawHub
//!                     │ store: from the last keyframe  │  Tap   ├──────────────────────────────┤
//!                     └───────────────────────────────┴──────>│ appsrc ─ decoder ─ … ─ appsink ┼─> SoundLine
//!                                                              └──────────────────────────────┘
//! ```
//!
//! One [`Anchor`] turns the stream's times into `MediaTime` for everybody. A graph that joins is given
//! what there is from the last keyframe on, so that it need not wait for the next one. When the sender goes, or the stream
//! becomes another one, each graph's stream ends; the next graph joins what there is then. The writer never waits: what
//! a graph has no room for is dropped up to the next keyframe, and counted.

mod anchor;
mod fitness;
mod link;
mod packets;
mod program;
mod srt;
mod store;
mod tap;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use gstreamer as gst;

use crate::media::{MediaKind, MediaTime, SourceHealth, SourceState};

use super::Engine;
use super::clock::Timebase;
use super::counters::Flow;
use anchor::Anchor;
pub use anchor::Pacing;
use fitness::Fitness;
pub use link::SrtLink;
use packets::{Demux, Found, Unit};
use program::{Program, Track};
pub use srt::SrtReceiver;
use store::{Held, Store};
pub(super) use tap::Tap;

/// So many bytes without a table are no MPEG-TS, or none that can be used.
const WITHOUT_TABLES: u64 = 400_000;

/// A sender that sends nothing for so long is silent: as long as it takes until the slate is shown.
const SILENT: Duration = Duration::from_millis(450);

/// After so long it is not waited for with a picture that is passed on: a busy machine is no reason to change encoders.
const LOST: Duration = Duration::from_secs(1);

/// The streams that arrive, by their URL.
#[derive(Default)]
pub(super) struct Receptions {
    open: Mutex<BTreeMap<String, Weak<Shared>>>,
}

/// A stream that arrives, as it is read. Cheap to clone.
#[derive(Clone)]
pub struct Reception {
    shared: Arc<Shared>,
}

/// The one who writes it: owns what is between the bytes and the graphs. Dropping it ends the stream.
pub struct Arrivals {
    shared: Arc<Shared>,
    demux: Demux,
    anchor: Anchor,
    stores: [Store; 2],
    fitness: Fitness,
    /// Bytes of the present session.
    bytes: u64,
}

struct Shared {
    timebase: Timebase,
    pacing: Pacing,
    taps: ArcSwap<Vec<Arc<Tap>>>,
    facts: ArcSwap<Facts>,
    /// Bytes in.
    flow: Flow,
    /// The SRT connection, where there is one.
    link: ArcSwapOption<SrtLink>,
    sessions: AtomicU64,
    lost: AtomicU64,
    garbage: AtomicU64,
    moved: AtomicU64,
    ahead: AtomicU64,
    turned_away: AtomicU64,
    /// By taps that are gone.
    dropped: AtomicU64,
}

/// What is known of it now.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// Which of the streams that came one after the other; 0 is none.
    session: u64,
    program: Option<Program>,
    /// How it is, as far as arriving goes.
    health: SourceHealth,
    /// Whether the picture can be passed on as it is, once that is known; the error says why not.
    forward: Option<Result<(), String>>,
}

/// How a reception fares. Counts are since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReceptionReport {
    /// Streams that began: senders that came, or one that became another.
    pub sessions: u64,
    /// What the picture is coded in; none while there is none.
    pub picture: Option<String>,
    /// What the sound is coded in.
    pub sound: Option<String>,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Bits a second.
    pub bitrate: u64,
    /// The SRT connection that brings it, where there is one.
    pub link: Option<SrtLink>,
    /// Access units that arrived with holes in them and were left out.
    pub lost: u64,
    /// Bytes that are no MPEG-TS.
    pub garbage: u64,
    /// Access units that graphs had no room for.
    pub dropped: u64,
    /// How often the stream's times were placed anew: a jump in them, or a longer way.
    pub moved: u64,
    /// What has arrived ahead of its time.
    pub ahead: Duration,
    /// Senders that called while there was one, or with another passphrase.
    pub turned_away: u64,
}

impl Engine {
    /// Opens a stream that arrives. Capture graphs whose plan names this URL read it; one that was open under it before is
    /// read no more.
    pub fn receive(&self, url: &str, pacing: Pacing) -> (Reception, Arrivals) {
        let shared = Arc::new(Shared {
            timebase: self.shared.timebase.clone(),
            pacing,
            taps: ArcSwap::default(),
            facts: ArcSwap::default(),
            flow: Flow::default(),
            link: ArcSwapOption::empty(),
            sessions: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            garbage: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        shared
            .say(SourceHealth { state: SourceState::NoSignal, reason: "nothing has arrived yet".to_owned() });
        let mut open = self.shared.receptions.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, reception| reception.strong_count() > 0);
        open.insert(url.to_owned(), Arc::downgrade(&shared));
        let arrivals = Arrivals {
            shared: Arc::clone(&shared),
            demux: Demux::default(),
            anchor: Anchor::new(pacing),
            stores: [Store::new(MediaKind::Video), Store::new(MediaKind::Audio)],
            fitness: Fitness::default(),
            bytes: 0,
        };
        (Reception { shared }, arrivals)
    }

    /// The stream that arrives under this URL, if one is open.
    pub fn reception(&self, url: &str) -> Option<Reception> {
        self.shared.receptions.find(url)
    }
}

impl Receptions {
    pub(super) fn find(&self, url: &str) -> Option<Reception> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(url).and_then(Weak::upgrade).map(|shared| Reception { shared })
    }
}

impl Reception {
    /// How the stream is: live when there is a picture to be had, and else why not.
    pub fn health(&self) -> SourceHealth {
        let facts = self.shared.facts.load();
        match &facts.program {
            Some(Program { picture: None, sound }) => SourceHealth {
                state: SourceState::Unusable,
                reason: match sound {
                    Some(sound) => format!(
                        "what arrives has no picture that can be decoded, only sound ({})",
                        sound.coding
                    ),
                    None => "what arrives has neither picture nor sound that can be decoded".to_owned(),
                },
            },
            Some(_) if self.is_silent() => {
                let reason = "the sender is connected, and sends nothing at the moment".to_owned();
                SourceHealth { state: SourceState::NoSignal, reason }
            }
            _ => facts.health.clone(),
        }
    }

    /// What should come all the time does not come.
    fn is_silent(&self) -> bool {
        self.is_silent_for(SILENT)
    }

    fn is_silent_for(&self, patience: Duration) -> bool {
        let shared = &*self.shared;
        let now = shared.timebase.now();
        shared.pacing == Pacing::Live
            && shared.flow.last().is_some_and(|last| now.saturating_since(last) > patience)
    }

    /// Whether the picture can be passed on without being encoded anew, by what has come of it; the error says why not. None:
    /// nobody knows, or nothing comes.
    pub fn forwardable(&self) -> Option<Result<(), String>> {
        self.shared.facts.load().forward.clone().filter(|_| !self.is_silent_for(LOST))
    }

    /// Why there is no such track to be had now; none when there is.
    pub fn missing(&self, kind: MediaKind) -> Option<String> {
        let facts = self.shared.facts.load();
        match &facts.program {
            Some(program) if program.track(kind).is_some() && !self.is_silent() => None,
            Some(program) if kind == MediaKind::Audio && program.sound.is_none() => {
                Some("what arrives has no sound that can be decoded".to_owned())
            }
            _ if kind == MediaKind::Audio => Some("nothing arrives".to_owned()),
            _ => Some(self.health().reason),
        }
    }

    /// How it fares.
    pub fn report(&self) -> ReceptionReport {
        let shared = &*self.shared;
        let facts = shared.facts.load();
        let coding = |kind| facts.program.as_ref()?.track(kind).map(|track: &Track| track.coding.to_string());
        let (_, bitrate) = shared.flow.rates(shared.timebase.now());
        ReceptionReport {
            sessions: shared.sessions.load(Relaxed),
            picture: coding(MediaKind::Video),
            sound: coding(MediaKind::Audio),
            bytes: shared.flow.bytes(),
            bitrate,
            link: shared.link.load().as_deref().copied(),
            lost: shared.lost.load(Relaxed),
            garbage: shared.garbage.load(Relaxed),
            dropped: shared.dropped.load(Relaxed)
                + shared.taps.load().iter().map(|tap| tap.dropped()).sum::<u64>(),
            moved: shared.moved.load(Relaxed),
            ahead: Duration::from_nanos(shared.ahead.load(Relaxed)),
            turned_away: shared.turned_away.load(Relaxed),
        }
    }

    /// What a graph that is being built will read.
    pub(super) fn caps(&self, kind: MediaKind) -> Option<(u64, gst::Caps)> {
        let facts = self.shared.facts.load();
        let caps = facts.program.as_ref()?.track(kind)?.coding.caps().parse().ok()?;
        Some((facts.session, caps))
    }

    /// Lets a graph read from now on.
    pub(super) fn attach(&self, tap: &Arc<Tap>) {
        self.shared.taps.rcu(|taps| taps.iter().chain([tap]).cloned().collect::<Vec<_>>());
        if tap.session() != self.shared.facts.load().session {
            // It was built for what came before.
            tap.end();
            self.shared.detach(tap);
        }
    }

    /// Lets it read no more.
    pub(super) fn detach(&self, tap: &Arc<Tap>) {
        self.shared.detach(tap);
    }
}

impl Arrivals {
    /// Takes bytes as they come, in pieces of any size. The first ones after [`Arrivals::lose`] begin a new stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let now = self.shared.timebase.now();
        if self.shared.facts.load().session == 0 {
            self.begin();
        }
        self.shared.flow.record(now, bytes.len());
        self.bytes += bytes.len() as u64;
        let mut demux = std::mem::take(&mut self.demux);
        demux.push(bytes, &mut |found| match found {
            Found::Program(program) => self.take_program(program),
            Found::Unit(unit) => self.take_unit(unit, now),
        });
        let losses = demux.losses();
        self.demux = demux;
        self.shared.lost.store(losses.broken, Relaxed);
        self.shared.garbage.store(losses.garbage, Relaxed);
        self.shared.moved.store(self.anchor.moved(), Relaxed);
        if self.bytes > WITHOUT_TABLES && self.shared.facts.load().program.is_none() {
            let what = if losses.garbage > self.bytes / 2 { "no MPEG-TS" } else { "MPEG-TS without tables" };
            let reason = format!("what arrives is {what}: the sender must send MPEG-TS");
            self.shared.say(SourceHealth { state: SourceState::Unusable, reason });
        }
        self.serve();
    }

    /// Gives graphs that have joined what there is. [`Arrivals::push`] does so too; who pushes seldom calls this in
    /// between.
    pub fn serve(&mut self) {
        let now = self.shared.timebase.now();
        self.shared.ahead.store(self.ahead_at(now).as_nanos().try_into().unwrap_or(u64::MAX), Relaxed);
        for tap in self.shared.taps.load().iter() {
            let store = &self.stores[usize::from(tap.kind() == MediaKind::Audio)];
            if tap.joins() {
                if tap.session() != self.shared.facts.load().session {
                    // It was built for what came before.
                    tap.end();
                    self.shared.detach(tap);
                    continue;
                }
                for held in store.units() {
                    tap.push(held, &self.anchor, now);
                }
            }
        }
    }

    /// How much has arrived ahead of its time: with [`Pacing::Ahead`], what is still to be shown.
    pub fn ahead(&self) -> Duration {
        self.ahead_at(self.shared.timebase.now())
    }

    /// What follows comes otherwise than was thought.
    pub fn pace(&mut self, pacing: Pacing) {
        self.anchor.pace(pacing);
    }

    /// What follows has other times.
    pub fn cut(&mut self) {
        self.anchor.lift();
    }

    /// Throws away what is still to be shown, in graphs as well; what follows has other times and begins at a keyframe.
    pub fn flush(&mut self) {
        self.anchor.forget_ahead();
        self.anchor.lift();
        self.stores.iter_mut().for_each(Store::clear);
        self.shared.taps.load().iter().for_each(|tap| tap.flush());
    }

    /// How the connection fares that it comes by.
    pub(super) fn say_link(&self, link: SrtLink) {
        self.shared.link.store(Some(Arc::new(link)));
    }

    /// Nothing arrives any more, or nothing has arrived yet, and why.
    pub fn lose(&mut self, health: SourceHealth) {
        self.end();
        self.shared.link.store(None);
        self.shared.facts.store(Arc::new(Facts { health, ..Facts::default() }));
    }

    /// Nothing arrives, and this was said of it.
    pub(super) fn is_lost_to(&self, state: SourceState) -> bool {
        let facts = self.shared.facts.load();
        facts.session == 0 && facts.health.state == state
    }

    fn ahead_at(&self, now: MediaTime) -> Duration {
        self.anchor.ahead(now)
    }

    /// A stream begins, in which nothing is as before.
    fn begin(&mut self) {
        self.end();
        let session = self.shared.sessions.fetch_add(1, Relaxed) + 1;
        let reason = "something arrives, but not yet what it consists of".to_owned();
        let health = SourceHealth { state: SourceState::NoSignal, reason };
        self.shared.facts.store(Arc::new(Facts { session, health, ..Facts::default() }));
    }

    fn end(&mut self) {
        self.demux.restart();
        self.anchor.lift();
        self.bytes = 0;
        self.stores.iter_mut().for_each(Store::clear);
        for tap in self.shared.taps.load().iter() {
            tap.end();
            self.shared.detach(tap);
        }
    }

    fn take_program(&mut self, program: Program) {
        self.fitness = Fitness::default();
        let facts = self.shared.facts.load();
        let (session, before) = (facts.session, facts.program.is_some());
        let session = if before {
            // Other tracks need other decoders.
            self.stores.iter_mut().for_each(Store::clear);
            for tap in self.shared.taps.load().iter() {
                tap.end();
                self.shared.detach(tap);
            }
            self.shared.sessions.fetch_add(1, Relaxed) + 1
        } else {
            session
        };
        let health = SourceHealth::of(SourceState::Live);
        self.shared.facts.store(Arc::new(Facts { session, program: Some(program), health, forward: None }));
    }

    fn take_unit(&mut self, unit: Unit, now: MediaTime) {
        let facts = self.shared.facts.load_full();
        let Some(track) = facts.program.as_ref().and_then(|program| program.track(unit.kind)) else { return };
        let place = self.anchor.place(unit.pts, unit.dts, now);
        let kind = unit.kind;
        if kind == MediaKind::Video
            && let Some(forward) = self.fitness.judge(&unit, track.coding)
        {
            self.shared.facts.store(Arc::new(Facts { forward: Some(forward), ..Facts::clone(&facts) }));
        }
        let store = &mut self.stores[usize::from(kind == MediaKind::Audio)];
        Held::of(unit, place, track.coding, |held| {
            for tap in self.shared.taps.load().iter().filter(|tap| tap.kind() == kind && tap.has_joined()) {
                tap.push(&held, &self.anchor, now);
            }
            store.keep(held);
        });
        store.forget(|time| self.anchor.at(time) < now);
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.lose(SourceHealth { state: SourceState::NoSignal, reason: "nothing is received".to_owned() });
    }
}

impl Shared {
    fn say(&self, health: SourceHealth) {
        let facts = self.facts.load();
        if facts.health != health {
            self.facts.store(Arc::new(Facts { health, ..Facts::clone(&facts) }));
        }
    }

    fn detach(&self, tap: &Arc<Tap>) {
        self.taps
            .rcu(|taps| taps.iter().filter(|other| !Arc::ptr_eq(other, tap)).cloned().collect::<Vec<_>>());
        self.dropped.fetch_add(tap.take_dropped(), Relaxed);
    }
}
