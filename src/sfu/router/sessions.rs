//! Sessions: how they begin, change and end, for viewers and as far as it is the same for publishers.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Out, Peer, Prepared, Ready, Sfu, Side, Wire, soonest};
use crate::media::StreamName;
use crate::sfu::{
    Answer, Disconnect, LayerError, Patch, PatchError, Patched, Precondition, Role, SessionId, WhepError, sdp,
};

/// Viewers that may be connecting at one time, of all and of one network.
const MAX_PENDING: usize = 128;
const MAX_PENDING_EACH: usize = 16;

impl Sfu {
    /// Answers a viewer's offer under an id that nobody can guess. `from` is the network that asks: who asks and never
    /// connects, takes places from their own network first.
    pub fn join(
        &mut self,
        session: SessionId,
        name: &StreamName,
        offer: Prepared,
        from: Option<IpAddr>,
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<Answer, WhepError> {
        let stream = self.streams.iter().position(|stream| stream.name == *name);
        let stream = stream.ok_or_else(|| WhepError::UnknownStream(name.clone()))?;
        if !self.streams[stream].is_live(now) {
            return Err(WhepError::NotLive { stream: name.clone(), retry_after: Duration::from_secs(1) });
        }
        if self.viewers() >= self.settings.max_viewers as usize {
            let max_viewers = self.settings.max_viewers;
            return Err(WhepError::Full { max_viewers, retry_after: Duration::from_secs(10) });
        }
        let ready = offer.0.map_err(|refusal| WhepError::BadOffer(refusal.words()))?;
        let (mut peer, sdp) =
            self.answer(session, stream, (Side::Viewer, ready), now, wire).map_err(WhepError::BadOffer)?;
        peer.from = from;
        if let Some(has) = self.streams[stream].codecs().find(|codec| !peer.accepts(*codec)) {
            return Err(WhepError::NoCommonCodec { has, offers: peer.offered(has) });
        }
        self.make_room(from, now, wire)?;
        let etag = peer.ufrag().to_owned();
        let key = self.admit(peer);
        self.streams[stream].viewers.push(key);
        self.counted.joins += 1;
        self.batch.flush(wire);
        Ok(Answer { session, etag, sdp })
    }

    /// Viewers that have an answer and are not connected yet: key, network, and until when they may try.
    pub(super) fn connecting(&self) -> impl Iterator<Item = (usize, Option<IpAddr>, Instant)> {
        let peers = self.peers.iter().enumerate();
        let viewers = peers.filter_map(|(key, peer)| Some((key, peer.as_ref()?)));
        let viewers = viewers.filter(|(_, peer)| peer.ingest().is_none());
        viewers.filter_map(|(key, peer)| Some((key, peer.from, peer.connects_until()?)))
    }

    /// How many those are.
    pub(super) fn pending(&self) -> u64 {
        self.counted.joins.saturating_sub(self.counted.connects + self.counted.gave_up)
    }

    /// Sees to it that one more viewer may connect. When there are too many, the one that has been at it for the longest
    /// goes: of the network that asks when it has many itself, else of the one that has the most.
    fn make_room(
        &mut self,
        from: Option<IpAddr>,
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<(), WhepError> {
        let all: Vec<_> = self.connecting().collect();
        let of = |network| all.iter().filter(|(_, from, _)| *from == network).count();
        let own = of(from);
        let crowded = if from.is_some() && own >= MAX_PENDING_EACH {
            from
        } else if all.len() < MAX_PENDING {
            return Ok(());
        } else {
            let most = all.iter().map(|(_, from, _)| *from).max_by_key(|network| of(*network)).flatten();
            match most.filter(|most| of(Some(*most)) > own + 1) {
                Some(most) => Some(most),
                None => return Err(WhepError::Busy { retry_after: Duration::from_secs(1) }),
            }
        };
        let oldest = all.iter().filter(|(_, from, _)| *from == crowded).min_by_key(|(_, _, until)| *until);
        if let Some((key, ..)) = oldest {
            self.end(*key, Disconnect::NeverConnected, now, wire);
        }
        Ok(())
    }

    /// A peer that answers this offer, in no table yet; the error is words.
    pub(super) fn answer(
        &mut self,
        session: SessionId,
        stream: usize,
        ready: (Side, Ready),
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<(Peer, String), String> {
        let (watched, wall_clock) = (&self.streams[stream], &self.wall_clock);
        let mut out = Out { batch: &mut self.batch, wire, stream: watched, wall_clock };
        let candidates = self.candidates.clone();
        let answered = catch_unwind(AssertUnwindSafe(|| {
            Peer::answer(session, stream, ready, candidates, now, &mut out)
        }));
        answered.unwrap_or_else(|_| Err("it cannot be followed".to_owned()))
    }

    /// Puts a peer into the tables that all peers are in; its key.
    pub(super) fn admit(&mut self, peer: Peer) -> usize {
        let key = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        self.demux.name(peer.ufrag(), key);
        self.sessions.insert(peer.session, key);
        self.earliest = soonest(self.earliest, peer.next_timeout());
        self.peers[key] = Some(peer);
        key
    }

    /// Shows a viewer another layer of the picture: the one of this name, or the best one that fits.
    pub fn choose_layer(
        &mut self,
        session: SessionId,
        layer: Option<&str>,
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<(), LayerError> {
        let key = *self.sessions.get(&session).ok_or(LayerError::UnknownSession)?;
        let viewer = self.peers[key].as_ref().filter(|peer| peer.ingest().is_none());
        let layers = &self.streams[viewer.ok_or(LayerError::UnknownSession)?.stream].layers;
        let chosen = layer.map(|name| layers.iter().position(|layer| layer == name));
        let chosen = match chosen {
            None => Some(None),
            Some(layer) => layer.and_then(|layer| u8::try_from(layer).ok()).map(Some),
        };
        let Some(chosen) = chosen else {
            let wanted = layer.unwrap_or_default().chars().take(32).collect();
            return Err(LayerError::UnknownLayer { wanted, layers: layers.clone() });
        };
        self.with_peer(key, now, wire, |peer, out| {
            peer.choose_layer(chosen, now, out);
            Ok(())
        });
        Ok(())
    }

    /// Takes candidates of a session, or restarts its ICE.
    pub fn patch(
        &mut self,
        session: SessionId,
        patch: &Patch,
        now: Instant,
        wire: &mut dyn Wire,
    ) -> Result<Patched, PatchError> {
        let key = *self.sessions.get(&session).ok_or(PatchError::UnknownSession)?;
        let peer = self.peers[key].as_ref().ok_or(PatchError::UnknownSession)?;
        let etag = peer.ufrag().to_owned();
        let failed = Err(PatchError::PreconditionFailed { etag: etag.clone() });
        if matches!(&patch.precondition, Precondition::Tag(tag) if *tag != etag) {
            return failed;
        }
        let named = patch.ufrag.is_some() || patch.pwd.is_some();
        let credentials = sdp::credentials(patch.ufrag.as_deref(), patch.pwd.as_deref());
        let restart = match credentials {
            None if named => {
                return Err(PatchError::BadFragment("`a=ice-ufrag` or `a=ice-pwd` is malformed".to_owned()));
            }
            None => None,
            Some(credentials) => (!peer.is_same_ice_session(&credentials)).then_some(credentials),
        };
        // A restart must not be tied to the session it ends (RFC 9725 §4.3.3).
        if restart.is_some() && patch.precondition != Precondition::Any {
            return failed;
        }
        let patched = self.with_peer(key, now, wire, |peer, out| {
            let local = match restart {
                None => None,
                Some(credentials) => match peer.restart_ice(credentials, now, out)? {
                    Ok(local) => Some(local),
                    Err(words) => return Ok(Err(PatchError::BadFragment(words))),
                },
            };
            peer.trickle(&patch.candidates, now, out)?;
            Ok(Ok(local.map(|local| (local, peer.candidate_lines()))))
        });
        self.batch.flush(wire);
        match patched.unwrap_or(Err(PatchError::UnknownSession))? {
            None => Ok(Patched::Trickled),
            Some((local, candidates)) => {
                self.demux.forget_name(&etag);
                self.demux.name(&local.ufrag, key);
                Ok(Patched::Restarted {
                    etag: local.ufrag.clone(),
                    ufrag: local.ufrag,
                    pwd: local.pass,
                    candidates,
                })
            }
        }
    }

    /// Ends a session; `false` when there was none.
    pub fn close(&mut self, session: SessionId, now: Instant, wire: &mut dyn Wire) -> bool {
        let Some(key) = self.sessions.get(&session).copied() else {
            return false;
        };
        self.end(key, Disconnect::Deleted, now, wire);
        self.batch.flush(wire);
        true
    }

    /// Whose session it is, if it exists.
    pub fn role(&self, session: SessionId) -> Option<Role> {
        let peer = self.peers[*self.sessions.get(&session)?].as_ref()?;
        let stream = self.streams[peer.stream].name.clone();
        Some(match peer.ingest() {
            None => Role::Viewer { stream, paused: peer.is_paused() },
            Some(_) => Role::Publisher(stream),
        })
    }

    /// What names a session in STUN, as its own client knows it.
    #[cfg(any(test, fuzzing))]
    pub(in crate::sfu) fn fuzzed_ufrag(&self, session: SessionId) -> Option<String> {
        let peer = self.peers[*self.sessions.get(&session)?].as_ref()?;
        Some(peer.ufrag().to_owned())
    }

    /// Ends every session.
    pub fn shut_down(&mut self, now: Instant, wire: &mut dyn Wire) {
        for key in 0..self.peers.len() {
            self.end(key, Disconnect::Shutdown, now, wire);
        }
        self.batch.flush(wire);
    }
}
