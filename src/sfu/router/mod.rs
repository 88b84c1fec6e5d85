//! The whole SFU without a socket, a clock or a thread: streams, viewers, publishers, and who gets what.

mod forward;
mod publish;
mod sessions;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use self::publish::PublisherChange;
use super::batch::{Batcher, Wire};
use super::demux::{Demux, Route};
use super::ingest::{Ingest, Run};
use super::peer::{Identity, Out, Peer, Placed, Prepared, Preparer, Ready, STEP_EVERY};
use super::ring::Kept;
use super::sdp::Side;
use super::stream::{Feed, MAX_LAYERS, Origin, Stream};
use super::wall_clock::WallClock;
use super::{Answer, Disconnect, Pair, SessionId, Source, Stats};
use crate::media::StreamName;

/// Peers' timers are looked at no more often than this.
const TICK: Duration = Duration::from_millis(10);

/// Streams at one time that nothing but their publishers names.
const MAX_ANNOUNCED: usize = 64;

/// Who seals what viewers are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SealedBy {
    /// Capcast, for every viewer that speaks AES-GCM.
    #[default]
    Capcast,
    /// str0m, for all; what Capcast's own is measured against.
    Str0m,
}

/// How the core is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who seals what viewers are sent.
    pub sealed_by: SealedBy,
    /// Viewers at one time.
    pub max_viewers: u32,
    /// Now, on both clocks.
    pub wall_clock: (Instant, SystemTime),
}

/// A feed of one stream, as opened; stale when another took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedId {
    stream: usize,
    serial: u64,
}

/// Streams, viewers and publishers.
pub struct Sfu {
    settings: Settings,
    preparer: Preparer,
    wall_clock: WallClock,
    candidates: Arc<[Source]>,
    streams: Vec<Stream>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    sessions: HashMap<SessionId, usize>,
    demux: Demux,
    batch: Batcher,
    feeds: u64,
    /// Publishers whose packets are being gathered until nothing more is there to read.
    gathering: Vec<usize>,
    /// Publishers of a stream that became the box's own, to be sent away.
    displaced: Vec<usize>,
    changes: Vec<PublisherChange>,
    /// Viewers that are sent a little at a time, and when they get more.
    behind: Vec<usize>,
    step_at: Option<Instant>,
    /// Packets of the frame that is being forwarded.
    placing: Vec<Kept>,
    /// No peer wants to be woken before.
    earliest: Option<Instant>,
    last_tick: Option<Instant>,
    counted: Counted,
}

#[derive(Default)]
struct Counted {
    datagrams_in: u64,
    garbage: u64,
    stun_unknown: u64,
    joins: u64,
    connects: u64,
    /// Viewers that left before they were connected.
    gave_up: u64,
    disconnects: [u64; Disconnect::ALL.len()],
}

impl Sfu {
    /// An SFU without streams; `None` when no certificate can be made.
    pub fn new(settings: Settings, candidates: Vec<Source>) -> Option<Sfu> {
        Some(Sfu {
            settings,
            preparer: Preparer::new(Identity::new(settings.wall_clock.0, settings.sealed_by)?),
            wall_clock: WallClock::new(settings.wall_clock),
            candidates: candidates.into(),
            streams: Vec::new(),
            peers: Vec::new(),
            free: Vec::new(),
            sessions: HashMap::new(),
            demux: Demux::default(),
            batch: Batcher::new(),
            feeds: 0,
            gathering: Vec::new(),
            displaced: Vec::new(),
            changes: Vec::new(),
            behind: Vec::new(),
            step_at: None,
            placing: Vec::new(),
            earliest: None,
            last_tick: None,
            counted: Counted::default(),
        })
    }

    /// Prepares sessions for [`Sfu::join`] and [`Sfu::publish`], on any thread.
    pub fn preparer(&self) -> Preparer {
        self.preparer.clone()
    }

    /// This host's wall clock now: it may have been set, and drifts.
    pub fn set_wall_clock(&mut self, now: Instant, wall_clock: SystemTime) {
        self.wall_clock.read((now, wall_clock));
    }

    /// Candidates that later viewers are offered.
    pub fn set_candidates(&mut self, candidates: Vec<Source>) {
        if *self.candidates != *candidates {
            self.candidates = candidates.into();
        }
    }

    /// Makes a stream known that others may publish; nothing is published yet.
    pub fn declare(&mut self, name: &StreamName) {
        let stream = self.stream_of(name);
        self.streams[stream].stays = true;
    }

    /// Makes a stream known for as long as somebody publishes or watches it, or nothing else needs its place. One too many
    /// stays unknown.
    pub fn announce(&mut self, name: &StreamName) {
        if self.streams.iter().any(|stream| stream.name == *name) {
            return;
        }
        let passing = self.streams.iter().filter(|stream| !stream.stays && !stream.local).count();
        if passing < MAX_ANNOUNCED {
            self.stream_of(name);
        } else if let Some(idle) = self.streams.iter_mut().find(|stream| stream.may_go()) {
            *idle = Stream::new(name.clone());
        }
    }

    /// Makes a stream known as the box's own; frames of an earlier feed of that name no longer count.
    pub fn open_feed(&mut self, name: &StreamName) -> FeedId {
        let stream = self.stream_of(name);
        self.streams[stream].local = true;
        if let Some(Origin::Peer(publisher)) = self.streams[stream].feed.map(|feed| feed.origin) {
            self.displaced.push(publisher);
        }
        self.feed(stream, Origin::Local)
    }

    /// Where a stream is, made known if it was not.
    fn stream_of(&mut self, name: &StreamName) -> usize {
        self.streams.iter().position(|stream| stream.name == *name).unwrap_or_else(|| {
            self.streams.push(Stream::new(name.clone()));
            self.streams.len() - 1
        })
    }

    fn feed(&mut self, stream: usize, origin: Origin) -> FeedId {
        self.feeds += 1;
        self.streams[stream].set_feed(Some(Feed { serial: self.feeds, origin }));
        FeedId { stream, serial: self.feeds }
    }

    /// The publisher is gone; its viewers stay and wait for the next one.
    pub fn close_feed(&mut self, feed: FeedId) {
        if self.is_current(feed) {
            self.streams[feed.stream].set_feed(None);
        }
    }

    /// The layers of a local picture from now on, the best one first; none where there is but one version of it. Layers
    /// that are no longer named end. Whoever chose one by its name goes on with that name, or with what fits.
    pub fn name_layers(&mut self, feed: FeedId, mut layers: Vec<String>) {
        if !self.is_current(feed) {
            return;
        }
        layers.truncate(MAX_LAYERS);
        let stream = &mut self.streams[feed.stream];
        let before = std::mem::take(&mut stream.layers);
        let mut left_behind = false;
        for key in &stream.viewers {
            if let Some(peer) = &mut self.peers[*key] {
                peer.rename_choice(|chosen| {
                    let name = before.get(usize::from(chosen))?;
                    u8::try_from(layers.iter().position(|layer| layer == name)?).ok()
                });
                left_behind |= usize::from(peer.shown_layer()) >= layers.len().max(1);
            }
        }
        stream.name_layers(layers);
        if left_behind {
            stream.want_keyframes(1);
        }
    }

    /// Whether this feed's frames still count.
    pub fn is_open(&self, feed: FeedId) -> bool {
        self.is_current(feed)
    }

    /// Somebody other than a viewer needs a keyframe of this layer of a feed.
    pub fn want_keyframe(&mut self, feed: FeedId, layer: u8) {
        if self.is_current(feed) {
            self.streams[feed.stream].want_keyframes(1 << layer);
        }
    }

    /// The next local feed, and its layer, that has to make a keyframe now; call until `None`. Publishers are asked by
    /// [`tick`](Self::tick).
    pub fn take_keyframe_request(&mut self, now: Instant) -> Option<(FeedId, u8)> {
        self.streams.iter_mut().enumerate().find_map(|(stream, state)| {
            let serial = state.feed.filter(|feed| feed.origin == Origin::Local)?.serial;
            Some((FeedId { stream, serial }, state.take_keyframe_request(now)?))
        })
    }

    /// Takes one datagram from the network; `true` where it proves that somebody who has a session speaks from there.
    pub fn receive(&mut self, from: Pair, bytes: &[u8], now: Instant, wire: &mut dyn Wire) -> bool {
        self.counted.datagrams_in += 1;
        let key = match self.demux.route(from.source(), bytes) {
            Route::Check(peer) | Route::Known(peer) => peer,
            Route::UnknownCheck => {
                self.counted.stun_unknown += 1;
                return false;
            }
            Route::Garbage => {
                self.counted.garbage += 1;
                return false;
            }
        };
        let took = self.with_peer(key, now, wire, |peer, out| peer.receive(from, bytes, now, out));
        match (took, self.peers[key].as_mut()) {
            (Some(true), Some(peer)) => self.demux.learn(from.source(), key, &mut peer.addresses),
            (Some(false), _) => self.counted.garbage += 1,
            _ => {}
        }
        self.take_runs(key, now, wire);
        self.batch.flush(wire);
        took == Some(true)
    }

    /// Nobody connects or publishes: what viewers report is all that can come, and that may be read a little later.
    pub fn hears_reports_alone(&self) -> bool {
        let published = |stream: &Stream| {
            let by_peer = stream.feed.is_some_and(|feed| feed.origin != Origin::Local);
            by_peer || stream.connecting.is_some()
        };
        self.pending() == 0 && !self.streams.iter().any(published)
    }

    /// Whether somebody who has a session speaks from there.
    pub fn knows(&self, source: Source) -> bool {
        self.demux.knows(source)
    }

    /// A connection is gone: whoever comes from there next is somebody else.
    pub fn lose(&mut self, source: Source) {
        self.demux.lose(source);
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if !self.gathering.is_empty() || !self.displaced.is_empty() {
            return Some(now);
        }
        let keyframes =
            self.streams.iter().filter(|s| s.feed.is_some()).filter_map(|s| s.keyframes_due(now)).min();
        let behind = self.step_at.filter(|_| !self.behind.is_empty());
        let peers = self.earliest.map(|at| self.last_tick.map_or(at, |last| at.max(last + TICK)));
        peers.into_iter().chain(keyframes).chain(behind).chain(self.held_until()).min()
    }

    /// Time has passed, or everything that was there to read has been handed over.
    pub fn tick(&mut self, now: Instant, wire: &mut dyn Wire) {
        self.give_up_holes(now);
        self.end_runs(now, wire);
        self.ask_publishers(now, wire);
        self.step(now, wire);
        let due = self.earliest.is_some_and(|at| at <= now);
        if !due || self.last_tick.is_some_and(|last| now < last + TICK) {
            return;
        }
        self.last_tick = Some(now);
        self.earliest = None;
        for key in 0..self.peers.len() {
            match &self.peers[key] {
                Some(peer) if peer.next_timeout() <= now => {
                    self.with_peer(key, now, wire, |peer, out| peer.timeout(now, out));
                }
                Some(peer) => self.earliest = soonest(self.earliest, peer.next_timeout()),
                None => {}
            }
        }
        self.batch.flush(wire);
    }

    /// What was counted so far; what only the shell knows is left at zero.
    pub fn stats(&self, now: Instant) -> Stats {
        let connected = |stream: &Stream| {
            let viewers = stream.viewers.iter().filter_map(|key| self.peers[*key].as_ref());
            viewers.filter(|peer| peer.is_connected()).count() as u32
        };
        let counted = |stream: &Stream| {
            let mut stats = stream.stats(connected(stream), now);
            let viewers = stream.viewers.iter().filter_map(|key| self.peers[*key].as_ref());
            stats.over_tcp = viewers.clone().filter(|peer| peer.is_over_tcp()).count() as u32;
            stats.paused = viewers.filter(|peer| peer.is_paused()).count() as u32;
            if let Some(ingest) = self.ingest_of(stream) {
                stats.packets_lost += ingest.lost();
                stats.nacks += ingest.nacks();
            }
            stats
        };
        let streams: Vec<_> = self.streams.iter().map(counted).collect();
        let disconnects = Disconnect::ALL.into_iter().zip(self.counted.disconnects);
        Stats {
            viewers: streams.iter().map(|stream| stream.viewers).sum(),
            streams,
            datagrams_in: self.counted.datagrams_in,
            datagrams_out: self.batch.datagrams,
            bytes_out: self.batch.total,
            garbage: self.counted.garbage,
            stun_unknown: self.counted.stun_unknown,
            joins: self.counted.joins,
            connects: self.counted.connects,
            disconnects: disconnects.filter(|(_, count)| *count > 0).collect(),
            pending: self.pending() as u32,
            ..Stats::default()
        }
    }

    fn is_current(&self, feed: FeedId) -> bool {
        self.streams[feed.stream].feed.is_some_and(|current| current.serial == feed.serial)
    }

    fn viewers(&self) -> usize {
        self.streams.iter().map(|stream| stream.viewers.len()).sum()
    }

    /// The boundary around one peer: what goes wrong inside, error or panic, ends that peer only.
    pub(super) fn with_peer<R>(
        &mut self,
        key: usize,
        now: Instant,
        wire: &mut dyn Wire,
        act: impl FnOnce(&mut Peer, &mut Out<'_>) -> Result<R, Disconnect>,
    ) -> Option<R> {
        let peer = self.peers.get_mut(key)?.as_mut()?;
        let (stream, wall_clock) = (&self.streams[peer.stream], &self.wall_clock);
        let mut out = Out { batch: &mut self.batch, wire, stream, wall_clock };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = act(peer, &mut out)?;
            peer.begin(now, &mut out)?;
            Ok(value)
        }));
        let noted = peer.take_noted();
        self.earliest = soonest(self.earliest, peer.next_timeout());
        let stream = &mut self.streams[peer.stream];
        stream.counted.packets_out += noted.packets;
        stream.counted.bytes_out += noted.bytes;
        stream.counted.resent += noted.resent;
        stream.counted.viewer_nacks += noted.nacks;
        stream.counted.keyframe_requests += noted.keyframe_requests;
        stream.want_keyframes(noted.asks_for);
        stream.want_keyframes_still(noted.waits_for, now);
        let publishes = peer.ingest().is_some();
        self.counted.connects += u64::from(noted.connected && !publishes);
        if peer.is_behind() && !self.behind.contains(&key) {
            if self.behind.is_empty() {
                self.step_at = Some(now + STEP_EVERY);
            }
            self.behind.push(key);
        }
        if noted.connected && publishes {
            self.take_over(key, now, wire);
        }
        match result {
            Ok(Ok(value)) => Some(value),
            Ok(Err(why)) => {
                self.end(key, why, now, wire);
                None
            }
            Err(_) => {
                self.end(key, Disconnect::Panic, now, wire);
                None
            }
        }
    }

    /// Takes a peer out of every table, saying good-bye where that can be heard.
    fn end(&mut self, key: usize, why: Disconnect, now: Instant, wire: &mut dyn Wire) {
        let Some(mut peer) = self.peers.get_mut(key).and_then(Option::take) else {
            return;
        };
        if peer.ingest().is_some() {
            self.stop_publishing(key, &peer, why);
        } else {
            self.counted.disconnects[why as usize] += 1;
            self.counted.gave_up += u64::from(!peer.is_connected());
        }
        self.free.push(key);
        self.sessions.remove(&peer.session);
        self.demux.forget_name(peer.ufrag());
        for address in &peer.addresses {
            self.demux.forget(*address, key);
        }
        self.behind.retain(|viewer| *viewer != key);
        self.streams[peer.stream].viewers.retain(|viewer| *viewer != key);
        let (stream, wall_clock) = (&self.streams[peer.stream], &self.wall_clock);
        let mut out = Out { batch: &mut self.batch, wire, stream, wall_clock };
        // A peer that panicked may panic again, even while it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(move || {
            use Disconnect::{Codec, Deleted, Replaced, Shutdown};
            if matches!(why, Deleted | Codec | Replaced | Shutdown) {
                peer.close(now, &mut out);
            }
            drop(peer);
        }));
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn verify_invariants(&self) {
        let live: Vec<usize> = (0..self.peers.len()).filter(|key| self.peers[*key].is_some()).collect();
        assert_eq!(live.len() + self.free.len(), self.peers.len(), "every slot is used or free");
        assert!(self.free.iter().all(|key| self.peers[*key].is_none()));
        assert_eq!(self.sessions.len(), live.len());
        assert!(self.viewers() <= self.settings.max_viewers as usize);
        assert_eq!(self.pending(), self.connecting().count() as u64);
        let (names, addresses) = self.demux.len();
        assert_eq!(names, live.len(), "one name per peer");
        assert!(
            addresses
                <= live.iter().map(|key| self.peers[*key].as_ref().unwrap().addresses.len()).sum::<usize>()
        );
        let mut watching: Vec<usize> = self.streams.iter().flat_map(|s| s.viewers.clone()).collect();
        for stream in &self.streams {
            let publisher = match stream.feed.map(|feed| feed.origin) {
                Some(Origin::Peer(key)) => Some(key),
                Some(Origin::Local) | None => None,
            };
            watching.extend(publisher.into_iter().chain(stream.connecting));
        }
        watching.extend(&self.displaced);
        watching.sort_unstable();
        assert_eq!(watching, live, "every peer watches or publishes exactly one stream");
        for key in live {
            let peer = self.peers[key].as_ref().unwrap();
            assert_eq!(self.sessions[&peer.session], key);
            assert!(self.earliest.is_some_and(|at| at <= peer.next_timeout()), "no timer is forgotten");
        }
    }
}

fn soonest(a: Option<Instant>, b: Instant) -> Option<Instant> {
    Some(a.map_or(b, |a| a.min(b)))
}
