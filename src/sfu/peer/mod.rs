//! One connection, a viewer's or a publisher's: the one type that owns an `Rtc`. Every method that changes it drains it to
//! its next timeout.
//!
//! A publisher's packets come out at [`Peer::take_runs`]. Frames for a viewer enter at [`Peer::forward`] and leave sealed
//! by [`Fast`]; or at [`Peer::drain`], sealed by str0m, where the viewer does not speak AES-GCM, or that way was chosen.

mod candidates;
mod egress;
mod prepared;
mod publisher;
mod viewer;
mod way;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::Mid;
use str0m::net::Receive;
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Reason, Rtc};

use self::candidates::{candidate, pair, protocol};
pub(super) use self::prepared::Ready;
pub use self::prepared::{Prepared, Preparer};
use self::viewer::Track;
pub(super) use self::viewer::{Placed, STEP_EVERY};
use self::way::Way;
use super::batch::{Batcher, Wire};
use super::fast::{Capture, Fast};
use super::ingest::Ingest;
use super::sdp::{self, MAX_CANDIDATES, Offer, Side};
use super::stream::Stream;
use super::wall_clock::WallClock;
use super::{Disconnect, Pair, SealedBy, SessionId, Source, Transport};

/// A peer that has not finished ICE and DTLS by then is given up.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// After packets were sent, str0m asks to be woken at once, only to see that its queue is empty. Frames come often enough
/// to move its other timers, and when they stop, this is soon enough.
const AFTER_SENDING: Duration = Duration::from_millis(50);
/// Candidates one session may add over its whole life.
const MAX_SESSION_CANDIDATES: usize = 64;

/// What all peers have in common.
pub(super) struct Identity {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) certificate: DtlsCert,
}

impl Identity {
    /// With a new certificate, none where OpenSSL makes none. str0m reads the wall clock here, once for all.
    pub(super) fn new(now: Instant, sealed_by: SealedBy) -> Option<Identity> {
        let crypto = str0m::crypto::from_feature_flags();
        let crypto = Arc::new(match sealed_by {
            SealedBy::Capcast => Capture::provider(&crypto),
            SealedBy::Str0m => crypto,
        });
        let certificate = crypto.dtls_provider.generate_certificate()?;
        let mut first =
            Rtc::builder().set_crypto_provider(crypto.clone()).set_dtls_cert(certificate.clone()).build(now);
        first.handle_input(Input::Timeout(now)).ok()?;
        Some(Identity { crypto, certificate })
    }
}

/// Where a peer's datagrams go, and what they are made from.
pub(super) struct Out<'a> {
    pub(super) batch: &'a mut Batcher,
    pub(super) wire: &'a mut dyn Wire,
    /// What the peer watches or publishes.
    pub(super) stream: &'a Stream,
    pub(super) wall_clock: &'a WallClock,
}

/// What happened since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Keyframe requests, the first one after connecting included.
    pub(super) keyframe_requests: u64,
    /// Of which layers, one bit each.
    pub(super) asks_for: u8,
    /// Of these layers pictures came that it would have been given, had it had a keyframe.
    pub(super) waits_for: u8,
    /// It has just connected.
    pub(super) connected: bool,
    /// RTP packets written, and their payload bytes.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Packets sent again, and requests for that.
    pub(super) resent: u64,
    pub(super) nacks: u64,
}

impl Noted {
    /// Keyframes of a layer were asked for, so many times.
    pub(super) fn ask(&mut self, layer: u8, times: u64) {
        self.keyframe_requests += times;
        if times > 0 {
            self.asks_for |= 1 << layer;
        }
    }
}

/// One viewer or publisher.
pub(super) struct Peer {
    rtc: Box<Rtc>,
    pub(super) session: SessionId,
    /// Index of the stream it watches or publishes.
    pub(super) stream: usize,
    /// The network it asked from, if that is known.
    pub(super) from: Option<IpAddr>,
    /// Where it has proved to speak from.
    pub(super) addresses: Vec<Source>,
    offer: Offer,
    ufrag: String,
    candidates: Arc<[Source]>,
    candidates_taken: usize,
    video: Option<Track>,
    audio: Option<Track>,
    /// The layer it asked for; what fits unless it did.
    choice: Option<u8>,
    way: Way,
    /// Where its keys arrive; none where str0m seals.
    capture: Option<Capture>,
    /// What is sealed here; none before it is connected, and where str0m seals.
    fast: Option<Box<Fast>>,
    /// What a publisher sends; none for a viewer.
    ingest: Option<Ingest>,
    connected: bool,
    /// ICE has a working pair.
    reachable: bool,
    /// What carries its media, and DTLS before that.
    carried_by: Transport,
    /// Until then it need not be reachable: it is connecting, or restarting ICE.
    grace: Option<Instant>,
    timeout: Instant,
    noted: Noted,
}

impl Peer {
    /// Answers an offer; the error is words.
    pub(super) fn answer(
        session: SessionId,
        stream: usize,
        (side, ready): (Side, Ready),
        candidates: Arc<[Source]>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(Peer, String), String> {
        let Ready { offer, parsed, connection } = ready;
        let (mut rtc, capture) = (connection.rtc, connection.capture);
        for own in candidates.iter() {
            rtc.add_local_candidate(candidate(*own).map_err(|error| error.to_string())?);
        }
        let answer = rtc.sdp_api().accept_offer(parsed).map_err(|error| error.to_string())?.to_sdp_string();
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let ingest = (side == Side::Publisher).then(|| Ingest::new(&offer.layers));
        let mut peer = Peer {
            rtc,
            session,
            stream,
            from: None,
            addresses: Vec::new(),
            offer,
            ufrag,
            candidates,
            candidates_taken: 0,
            video: None,
            audio: None,
            choice: None,
            way: Way::default(),
            capture,
            fast: None,
            ingest,
            connected: false,
            reachable: false,
            carried_by: Transport::Udp,
            grace: Some(now + CONNECT_WITHIN),
            timeout: now,
            noted: Noted::default(),
        };
        for mid in peer.offer.mids.clone() {
            peer.add_track(Mid::from(mid.as_str()));
        }
        peer.timeout(now, out).map_err(|why| format!("it cannot be followed ({})", why.as_str()))?;
        Ok((peer, answer))
    }

    /// Our user fragment; names the ICE session.
    pub(super) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// ICE and DTLS are done.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Its media goes over TCP.
    pub(super) fn is_over_tcp(&self) -> bool {
        self.carried_by == Transport::Tcp
    }

    /// Until when it has to connect; none when it is connected.
    pub(super) fn connects_until(&self) -> Option<Instant> {
        self.grace.filter(|_| !self.connected)
    }

    /// When it wants to be woken.
    pub(super) fn next_timeout(&self) -> Instant {
        self.grace.map_or(self.timeout, |grace| grace.min(self.timeout))
    }

    /// What happened since the last call.
    pub(super) fn take_noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        if self.grace.is_some_and(|grace| grace <= now) {
            self.grace = None;
            match (self.connected, self.reachable) {
                (false, _) => return Err(Disconnect::NeverConnected),
                (true, false) => return Err(Disconnect::TimedOut),
                (true, true) => {}
            }
        }
        self.probe();
        self.rtc.handle_input(Input::Timeout(now)).map_err(|_| Disconnect::Protocol)?;
        self.drain(now, out)
    }

    /// A datagram came; `true` when it proves that the viewer speaks from there.
    pub(super) fn receive(
        &mut self,
        from: Pair,
        bytes: &[u8],
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<bool, Disconnect> {
        if self.fast.is_some() && bytes.first().is_some_and(|first| (128..192).contains(first)) {
            return Ok(self.hear(bytes, now, out));
        }
        let destination = self.candidate_for(from);
        let Ok(received) = Receive::new(protocol(from.transport), from.theirs, destination, bytes) else {
            return Ok(false);
        };
        let input = Input::Receive(now, received);
        // A handshake may begin as soon as the peer's own check was answered (RFC 8445 §12.2), which str0m takes for nothing
        // until ours was; and it comes from where the peer has proved to speak from.
        let is_dtls = bytes.first().is_some_and(|first| (20..64).contains(first));
        if !is_dtls && !self.rtc.accepts(&input) {
            return Ok(false);
        }
        if let Some(ingest) = &mut self.ingest {
            ingest.expect(bytes, &mut self.rtc);
        }
        self.probe();
        self.rtc.handle_input(input).map_err(|_| Disconnect::Protocol)?;
        self.drain(now, out)?;
        Ok(true)
    }

    /// Takes trickled candidates; unusable ones are passed over (RFC 9725 §4.3.2).
    pub(super) fn trickle(
        &mut self,
        candidates: &[String],
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        for text in candidates.iter().take(MAX_CANDIDATES).filter(|text| sdp::usable(text)) {
            if self.candidates_taken == MAX_SESSION_CANDIDATES {
                break;
            }
            if let Ok(candidate) = Candidate::from_sdp_string(text) {
                self.candidates_taken += 1;
                self.rtc.add_remote_candidate(candidate);
            }
        }
        self.timeout(now, out)
    }

    /// Whether `credentials` are those of the viewer's present ICE session.
    pub(super) fn is_same_ice_session(&self, credentials: &IceCreds) -> bool {
        self.offer.credentials == *credentials
    }

    /// Restarts ICE with the viewer's new credentials and returns ours. Media goes on over the old pair meanwhile.
    pub(super) fn restart_ice(
        &mut self,
        credentials: IceCreds,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<Result<IceCreds, String>, Disconnect> {
        let text = self.offer.restarted(&credentials);
        let parsed = match SdpOffer::from_sdp_string(&text) {
            Ok(parsed) => parsed,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(error) = self.rtc.sdp_api().accept_offer(parsed) {
            return Ok(Err(error.to_string()));
        }
        // Having answered, str0m has made its senders anew.
        self.disarm();
        self.offer.credentials = credentials;
        self.offer.text = text;
        let local = self.rtc.direct_api().local_ice_credentials();
        self.ufrag.clone_from(&local.ufrag);
        self.grace = Some(now + CONNECT_WITHIN);
        self.timeout(now, out)?;
        Ok(Ok(local))
    }

    /// Says good-bye (RTCP BYE, DTLS `close_notify`).
    pub(super) fn close(&mut self, now: Instant, out: &mut Out<'_>) {
        if let Some(fast) = &mut self.fast {
            fast.bye(out);
        }
        if self.rtc.close().is_ok() {
            let _ = self.timeout(now, out);
        }
    }

    /// Takes everything out of the `Rtc` until it only waits for time.
    fn drain(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(sent)) if self.keeps_back(&sent) => {}
                Ok(Output::Transmit(sent)) => {
                    self.note_way(&sent);
                    out.batch.push(pair(&sent), &sent.contents, out.wire);
                }
                Ok(Output::Event(event)) => self.event(&event, now)?,
                Ok(Output::Timeout(at)) if self.rtc.is_alive() => {
                    let sent = self.connected && matches!(self.rtc.last_timeout_reason(), Reason::Pacer(_));
                    self.timeout = if sent { now + AFTER_SENDING } else { at.max(now) };
                    return Ok(());
                }
                Ok(Output::Timeout(_)) => return Err(Disconnect::Closed),
                Err(_) => return Err(Disconnect::Protocol),
            }
        }
    }

    fn event(&mut self, event: &Event, now: Instant) -> Result<(), Disconnect> {
        match event {
            Event::RtpPacket(packet) => {
                if let Some(ingest) = &mut self.ingest {
                    ingest.push(packet, &mut self.rtc);
                }
            }
            Event::MediaIngressStats(stats) => {
                if let Some(ingest) = &mut self.ingest {
                    ingest.note(stats, &mut self.rtc);
                }
            }
            Event::Connected => {
                self.connected = true;
                self.grace = None;
                self.noted.connected = true;
                self.take_keys(now);
            }
            Event::KeyframeRequest(_) => self.noted.ask(self.shown_layer(), 1),
            Event::IceConnectionStateChange(state) => {
                self.reachable = state.is_connected();
                let lost = *state == IceConnectionState::Disconnected;
                if self.connected && lost && self.grace.is_none() {
                    return Err(Disconnect::TimedOut);
                }
            }
            Event::Closed => return Err(Disconnect::Closed),
            _ => {}
        }
        Ok(())
    }
}
