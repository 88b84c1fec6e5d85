//! Publishers: who brings a stream's media, and who comes after whom.
//!
//! A publisher takes over when it is connected, not when it asks: one that cannot get through ends nothing.

use std::time::Instant;

use super::{Answer, Disconnect, Ingest, Origin, Peer, Prepared, Run, SessionId, Sfu, Side, Stream, Wire};
use crate::media::{MediaKind, StreamName};
use crate::sfu::WhipError;
use crate::sfu::sdp::Refusal;

/// What happened to a publisher, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherChange {
    /// The stream.
    pub stream: StreamName,
    /// Whose session.
    pub session: SessionId,
    /// Why it left; none when it has come.
    pub left: Option<Disconnect>,
}

impl Sfu {
    /// Answers a publisher's offer under an id that nobody can guess. With `replace` it takes over from the present
    /// publisher once it is connected; without, that one must have been silent for a while.
    pub fn publish(
        &mut self,
        session: SessionId,
        name: &StreamName,
        offer: Prepared,
        replace: bool,
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<Answer, WhipError> {
        let stream = self.streams.iter().position(|stream| stream.name == *name);
        let stream = stream.ok_or_else(|| WhipError::UnknownStream(name.clone()))?;
        let state = &self.streams[stream];
        if state.local {
            return Err(WhipError::OwnPicture(name.clone()));
        }
        if !replace && (state.is_being_published(now) || state.connecting.is_some()) {
            return Err(WhipError::Taken(name.clone()));
        }
        let ready = offer.0.map_err(|refusal| match refusal {
            Refusal::Malformed(words) => WhipError::BadOffer(words),
            Refusal::Unsupported(words) => WhipError::Unsupported(words),
        })?;
        let (peer, sdp) =
            self.answer(session, stream, (Side::Publisher, ready), now, wire).map_err(WhipError::BadOffer)?;
        if let Some((kind, offers)) = peer.missing() {
            return Err(WhipError::NoCommonCodec { kind, offers });
        }
        if let Some(earlier) = self.streams[stream].connecting.take() {
            self.end(earlier, Disconnect::Replaced, now, wire);
        }
        let etag = peer.ufrag().to_owned();
        self.streams[stream].connecting = Some(self.admit(peer));
        self.batch.flush(wire);
        Ok(Answer { session, etag, sdp })
    }

    /// What publishers did since the last call.
    pub fn take_changes(&mut self) -> Vec<PublisherChange> {
        std::mem::take(&mut self.changes)
    }

    /// A publisher has connected: from now on its packets count.
    pub(super) fn take_over(&mut self, key: usize, now: Instant, wire: &mut dyn Wire) {
        let Some(peer) = &self.peers[key] else {
            return;
        };
        let (stream, session) = (peer.stream, peer.session);
        let layers = peer.ingest().map(Ingest::layer_names).unwrap_or_default();
        if self.streams[stream].local {
            return self.end(key, Disconnect::Replaced, now, wire);
        }
        if let Some(Origin::Peer(earlier)) = self.streams[stream].feed.map(|feed| feed.origin) {
            self.end(earlier, Disconnect::Replaced, now, wire);
        }
        self.feed(stream, Origin::Peer(key));
        let state = &mut self.streams[stream];
        state.connecting = None;
        let every = layers.iter().skip(1).fold(1, |bits, _| bits << 1 | 1);
        state.layers = layers;
        state.want_keyframes(every);
        self.change(PublisherChange { stream: self.streams[stream].name.clone(), session, left: None });
    }

    /// A publisher has been taken out of the tables of peers: its stream waits for the next one.
    pub(super) fn stop_publishing(&mut self, key: usize, peer: &Peer, why: Disconnect) {
        self.gathering.retain(|gathering| *gathering != key);
        self.displaced.retain(|displaced| *displaced != key);
        let state = &mut self.streams[peer.stream];
        if let Some(ingest) = peer.ingest() {
            state.counted.lost += ingest.lost();
            state.counted.nacks += ingest.nacks();
        }
        if state.connecting == Some(key) {
            state.connecting = None;
        }
        if state.feed.is_some_and(|feed| feed.origin == Origin::Peer(key)) {
            state.set_feed(None);
        }
        let change = PublisherChange { stream: state.name.clone(), session: peer.session, left: Some(why) };
        self.change(change);
    }

    /// Forwards what a publisher has sent so far, as far as it is complete.
    pub(super) fn take_runs(&mut self, key: usize, now: Instant, wire: &mut dyn Wire) {
        let Some(peer) = self.peers[key].as_mut() else {
            return;
        };
        let Some(ingest) = peer.ingest() else {
            return;
        };
        let (stream, gathers) = (peer.stream, ingest.is_gathering());
        let runs = peer.take_runs();
        if gathers && !self.gathering.contains(&key) {
            self.gathering.push(key);
        }
        for Run { layer, frame, said, captured, ends } in runs {
            let state = &mut self.streams[stream];
            if !state.feed.is_some_and(|feed| feed.origin == Origin::Peer(key)) {
                return;
            }
            // Layers are the same picture several times.
            state.counted.frames_in +=
                u64::from(ends && (layer == 0 || frame.codec.kind() == MediaKind::Audio));
            self.spread(stream, (&frame, &said), layer, captured, now, wire);
        }
    }

    /// When a publisher's packets have waited long enough for one that is missing; none while none wait.
    pub(in crate::sfu) fn held_until(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| self.ingest_of(stream)?.held_until()).min()
    }

    /// Those that have go on without it.
    pub(super) fn give_up_holes(&mut self, now: Instant) {
        for stream in &self.streams {
            let Some(Origin::Peer(key)) = stream.feed.map(|feed| feed.origin) else { continue };
            let Some(peer) = self.peers[key].as_mut() else { continue };
            if peer.give_up_holes(now) && !self.gathering.contains(&key) {
                self.gathering.push(key);
            }
        }
    }

    /// Everything there was to read has been handed over: what was gathered goes out.
    pub(super) fn end_runs(&mut self, now: Instant, wire: &mut dyn Wire) {
        for key in std::mem::take(&mut self.gathering) {
            if let Some(peer) = self.peers[key].as_mut() {
                peer.end_runs();
            }
            self.take_runs(key, now, wire);
        }
        self.batch.flush(wire);
    }

    /// Asks publishers for the keyframes that are due, and sends those away whose stream is no longer theirs.
    pub(super) fn ask_publishers(&mut self, now: Instant, wire: &mut dyn Wire) {
        while let Some(publisher) = self.displaced.pop() {
            self.end(publisher, Disconnect::Replaced, now, wire);
        }
        for stream in 0..self.streams.len() {
            let state = &mut self.streams[stream];
            let Some(Origin::Peer(key)) = state.feed.map(|feed| feed.origin) else {
                continue;
            };
            let asked = std::iter::from_fn(|| state.take_keyframe_request(now));
            let layers = asked.fold(0, |layers, layer| layers | 1 << layer);
            if layers != 0 {
                self.with_peer(key, now, wire, |peer, out| peer.request_keyframes(layers, now, out));
            }
        }
        self.batch.flush(wire);
    }

    /// What the present publisher of a stream sends.
    pub(super) fn ingest_of(&self, stream: &Stream) -> Option<&Ingest> {
        match stream.feed?.origin {
            Origin::Peer(key) => self.peers[key].as_ref()?.ingest(),
            Origin::Local => None,
        }
    }

    /// Kept for the log, as long as somebody reads it.
    fn change(&mut self, change: PublisherChange) {
        const MAX: usize = 256;
        if self.changes.len() < MAX {
            self.changes.push(change);
        }
    }
}
