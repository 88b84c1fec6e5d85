//! One connection, a viewer's or a publisher's: the one type that owns an `Rtc`. Every method that changes it drains it to
//! its next timeout.
//!
//! A publisher's packets come out at [`Peer::take_runs`]. Frames for a viewer enter at [`Peer::forward`] and leave as datagrams at [`Peer::drain`]; a faster way for RTP would replace the
//! middle of these two and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::SdpOffer;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::media::{Direction, MediaTime as ExtTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{AbsCaptureTime, Extension, ExtensionMap, ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Reason, Rtc};

use super::batch::{Batcher, Wire};
use super::codecs::{self, PayloadTypes};
use super::gate::{Admission, Gate};
use super::ingest::{Ingest, Run};
use super::munger::Munger;
use super::sdp::{self, MAX_CANDIDATES, Offer, Side};
use super::timeline::Shift;
use super::vp8::Vp8Numbers;
use super::{Disconnect, SessionId};
use crate::media::{Codec, Frame, MediaKind, RtpTime};

/// A peer that has not finished ICE and DTLS by then is given up.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Video packets kept for resends; a second of 5 Mbit/s.
const RESEND_PACKETS: usize = 512;
/// Older packets are of no use to a player that waits for nothing.
const RESEND_AGE: Duration = Duration::from_secs(1);
/// Resends take at most this share of what is sent, so that NACKs cannot be used to multiply traffic.
const RESEND_SHARE: f32 = 0.25;
/// How often a publisher's receive statistics are looked at.
const STATS_EVERY: Duration = Duration::from_secs(1);
/// RTP time by which a viewer's next layer is at least later than its last, in 90 kHz: 1 ms.
const LAYER_STEP: u32 = 90;
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

/// Where a peer's datagrams go.
pub(super) struct Out<'a> {
    pub(super) batch: &'a mut Batcher,
    pub(super) wire: &'a mut dyn Wire,
}

/// One frame, placed on its lane's timeline.
pub(super) struct Placed<'a> {
    pub(super) frame: &'a Frame,
    /// Which layer of the picture it belongs to.
    pub(super) layer: u8,
    /// Names the layer's source; another one numbers as it likes.
    pub(super) source: (u8, u32),
    /// Bit n is set while layer n brings pictures.
    pub(super) live_layers: u8,
    pub(super) shift: Shift,
    /// When it was captured.
    pub(super) captured: Instant,
    /// The same on the wall clock, when this frame is to carry it (abs-capture-time).
    pub(super) capture_time: Option<SystemTime>,
}

/// What happened since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Keyframe requests, the first one after connecting included.
    pub(super) keyframe_requests: u64,
    /// A picture came that it would have been given, had it had a keyframe.
    pub(super) waiting: bool,
    /// It has just connected.
    pub(super) connected: bool,
    /// RTP packets written, and their payload bytes.
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// One viewer or publisher.
pub(super) struct Peer {
    rtc: Box<Rtc>,
    pub(super) session: SessionId,
    /// Index of the stream it watches or publishes.
    pub(super) stream: usize,
    /// Where it has proved to speak from.
    pub(super) addresses: Vec<SocketAddr>,
    offer: Offer,
    ufrag: String,
    candidates: Arc<[SocketAddr]>,
    candidates_taken: usize,
    video: Option<Track>,
    audio: Option<Track>,
    /// The layer it asked for; the best one unless it did.
    choice: u8,
    /// What a publisher sends; none for a viewer.
    ingest: Option<Ingest>,
    connected: bool,
    /// ICE has a working pair.
    reachable: bool,
    /// Until then it need not be reachable: it is connecting, or restarting ICE.
    grace: Option<Instant>,
    timeout: Instant,
    noted: Noted,
}

struct Track {
    mid: Mid,
    payload_types: PayloadTypes,
    gate: Gate,
    munger: Munger,
    /// Which layer it is shown.
    layer: u8,
    /// Added to RTP time, so that a change of layers makes no step back.
    later: u32,
    last_time: Option<RtpTime>,
    vp8: Vp8Numbers,
}

impl Peer {
    /// Answers an offer; the error is words.
    pub(super) fn answer(
        identity: &Identity,
        session: SessionId,
        stream: usize,
        (side, offer): (Side, Offer),
        candidates: Arc<[SocketAddr]>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(Peer, String), String> {
        let mut config = Rtc::builder()
            .set_crypto_provider(identity.crypto.clone())
            .set_dtls_cert(identity.certificate.clone())
            .set_rtp_mode(true);
        config = match side {
            Side::Viewer => config.set_extension_map(viewer_extensions()),
            Side::Publisher => {
                config.set_extension_map(publisher_extensions()).set_stats_interval(Some(STATS_EVERY))
            }
        };
        *config.codec_config() = match side {
            Side::Viewer => codecs::answered(),
            Side::Publisher => codecs::taken(),
        };
        let mut rtc = Box::new(config.build(now));
        for address in candidates.iter() {
            let candidate = Candidate::host(*address, Protocol::Udp).map_err(|error| error.to_string())?;
            rtc.add_local_candidate(candidate);
        }
        let parsed = SdpOffer::from_sdp_string(&offer.text).map_err(|error| error.to_string())?;
        let answer = rtc.sdp_api().accept_offer(parsed).map_err(|error| error.to_string())?.to_sdp_string();
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let ingest = (side == Side::Publisher).then(|| Ingest::new(&offer.layers));
        let mut peer = Peer {
            rtc,
            session,
            stream,
            addresses: Vec::new(),
            offer,
            ufrag,
            candidates,
            candidates_taken: 0,
            video: None,
            audio: None,
            choice: 0,
            ingest,
            connected: false,
            reachable: false,
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

    /// Whether a stream that carries `codec` can be shown: the viewer plays it, or did not ask for its kind at all.
    pub(super) fn accepts(&self, codec: Codec) -> bool {
        let plays = self.track(codec.kind()).is_some_and(|track| track.payload_types.of(codec).is_some());
        plays || !self.offer.asks_for(codec.kind())
    }

    /// A kind that the publisher wants to send although nothing it offers can be forwarded, with what it offers.
    pub(super) fn missing(&self) -> Option<(MediaKind, Vec<String>)> {
        let ingest = self.ingest.as_ref()?;
        let codecs = [Codec::H264, Codec::Opus].into_iter();
        let mut missing = codecs.filter(|c| self.offer.asks_for(c.kind()) && !ingest.takes(c.kind()));
        missing.next().map(|codec| (codec.kind(), self.offer.encodings(codec)))
    }

    /// What it sends, if it is a publisher.
    pub(super) fn ingest(&self) -> Option<&Ingest> {
        self.ingest.as_ref()
    }

    /// What a publisher has sent since the last call.
    pub(super) fn take_runs(&mut self) -> Vec<Run> {
        self.ingest.as_mut().map(Ingest::take_ready).unwrap_or_default()
    }

    /// Nothing more of a publisher is there to read.
    pub(super) fn end_runs(&mut self) {
        if let Some(ingest) = &mut self.ingest {
            ingest.end_runs();
        }
    }

    /// Asks a publisher for a keyframe.
    pub(super) fn request_keyframe(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        if let Some(ingest) = &self.ingest {
            ingest.request_keyframes(&mut self.rtc);
        }
        self.timeout(now, out)
    }

    /// From now on this layer, or the next one to it that there is.
    pub(super) fn choose_layer(&mut self, layer: u8) {
        self.choice = layer;
        self.noted.keyframe_requests += 1;
    }

    /// Encoding names that were offered for the kind of `codec`.
    pub(super) fn offered(&self, codec: Codec) -> Vec<String> {
        self.offer.encodings(codec)
    }

    /// Our user fragment; names the ICE session.
    pub(super) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// ICE and DTLS are done.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
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
        self.rtc.handle_input(Input::Timeout(now)).map_err(|_| Disconnect::Protocol)?;
        self.drain(now, out)
    }

    /// A datagram came; `true` when it proves that the viewer speaks from `source`.
    pub(super) fn receive(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<bool, Disconnect> {
        let destination = self.candidate_for(destination);
        let Ok(received) = Receive::new(Protocol::Udp, source, destination, bytes) else {
            return Ok(false);
        };
        let input = Input::Receive(now, received);
        if !self.rtc.accepts(&input) {
            return Ok(false);
        }
        self.rtc.handle_input(input).map_err(|_| Disconnect::Protocol)?;
        self.drain(now, out)?;
        Ok(true)
    }

    /// Sends one frame, whole, if the viewer can use it.
    pub(super) fn forward(
        &mut self,
        placed: &Placed<'_>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        let frame = placed.frame;
        let kind = frame.codec.kind();
        let Some(first) = frame.packets.first().filter(|_| self.connected) else {
            return Ok(());
        };
        let track = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let Some(track) = track else {
            return Ok(());
        };
        let pt = track.payload_types.of(frame.codec).ok_or(Disconnect::Codec)?;
        let starts = frame.keyframe || kind == MediaKind::Audio;
        if kind == MediaKind::Video {
            let wanted = best_layer(self.choice, placed.live_layers);
            if placed.layer == wanted && track.layer != wanted {
                if starts || track.gate == Gate::Closed {
                    (track.layer, track.gate) = (wanted, Gate::Closed);
                } else {
                    self.noted.waiting = true;
                }
            }
            if placed.layer != track.layer {
                return Ok(());
            }
        }
        match track.gate.admit(starts) {
            Admission::Refused => {
                self.noted.waiting = true;
                return Ok(());
            }
            Admission::Resumes => {
                track.munger.resume(placed.shift.sequence(first.sequence));
                let time = placed.shift.time(first.rtp_time).offset(track.later);
                if let Some(last) = track.last_time.filter(|last| time.since(*last) <= 0) {
                    track.later = track.later.wrapping_add(last.offset(LAYER_STEP).0.wrapping_sub(time.0));
                }
            }
            Admission::Passes => {}
        }
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else {
            return Ok(());
        };
        let mut extensions = ExtensionValues::default();
        if kind == MediaKind::Video {
            extensions.play_delay_min = Some(ExtTime::ZERO);
            extensions.play_delay_max = Some(ExtTime::ZERO);
        }
        for (index, packet) in frame.packets.iter().enumerate() {
            let Some(sequence) = track.munger.map(placed.shift.sequence(packet.sequence)) else {
                continue;
            };
            let mut extensions = extensions.clone();
            if let Some(capture_time) = placed.capture_time.filter(|_| index == 0) {
                extensions.abs_capture_time = Some(AbsCaptureTime { capture_time, clock_offset: None });
            }
            let time = placed.shift.time(packet.rtp_time).offset(track.later);
            track.last_time = Some(track.last_time.filter(|last| last.since(time) > 0).unwrap_or(time));
            let patch = (frame.codec == Codec::Vp8)
                .then(|| track.vp8.patch(placed.source, &packet.payload))
                .flatten();
            let mut write =
                RtpWrite::new(pt, sequence.into(), time.0, placed.captured, packet.payload.clone())
                    .marker(packet.marker)
                    .nackable(kind == MediaKind::Video)
                    .ext_vals(extensions);
            if let Some(patch) = patch {
                write = write.vp8_patch(patch);
            }
            stream.write_rtp(write);
            self.noted.packets += 1;
            self.noted.bytes += packet.payload.len() as u64;
        }
        self.timeout(now, out)
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
        self.offer.credentials = credentials;
        self.offer.text = text;
        let local = self.rtc.direct_api().local_ice_credentials();
        self.ufrag.clone_from(&local.ufrag);
        self.grace = Some(now + CONNECT_WITHIN);
        self.timeout(now, out)?;
        Ok(Ok(local))
    }

    /// Our candidates as after `a=`.
    pub(super) fn candidate_lines(&self) -> Vec<String> {
        let candidates = self.candidates.iter().filter_map(|a| Candidate::host(*a, Protocol::Udp).ok());
        candidates.map(|candidate| candidate.to_sdp_string().trim_start_matches("a=").to_owned()).collect()
    }

    /// Says good-bye (RTCP BYE, DTLS `close_notify`).
    pub(super) fn close(&mut self, now: Instant, out: &mut Out<'_>) {
        if self.rtc.close().is_ok() {
            let _ = self.timeout(now, out);
        }
    }

    /// Takes everything out of the `Rtc` until it only waits for time.
    fn drain(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(sent)) => {
                    out.batch.push(sent.source, sent.destination, &sent.contents, out.wire);
                }
                Ok(Output::Event(event)) => self.event(&event)?,
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

    fn event(&mut self, event: &Event) -> Result<(), Disconnect> {
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
                self.noted.keyframe_requests += u64::from(self.video.is_some());
            }
            Event::KeyframeRequest(_) => self.noted.keyframe_requests += 1,
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

    fn add_track(&mut self, mid: Mid) {
        let Some(media) = self.rtc.media(mid) else {
            return;
        };
        let kind = codecs::kind(media.kind());
        let payload_types = PayloadTypes::negotiated(media, self.rtc.codec_config());
        match (media.direction(), &mut self.ingest) {
            (Direction::RecvOnly, Some(ingest)) => return ingest.add_payload_types(payload_types),
            (Direction::SendOnly, None) => {}
            _ => return,
        }
        let (gate, munger) = (Gate::Closed, Munger::new());
        let track = Track {
            mid,
            payload_types,
            gate,
            munger,
            layer: 0,
            later: 0,
            last_time: None,
            vp8: Vp8Numbers::default(),
        };
        match kind {
            MediaKind::Video => {
                if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
                    stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, Some(RESEND_SHARE));
                }
                self.video = Some(track);
            }
            MediaKind::Audio => self.audio = Some(track),
        }
    }

    fn track(&self, kind: MediaKind) -> Option<&Track> {
        match kind {
            MediaKind::Video => self.video.as_ref(),
            MediaKind::Audio => self.audio.as_ref(),
        }
    }

    /// The candidate that a datagram to `destination` was meant for: behind a 1:1 NAT the two differ.
    fn candidate_for(&self, destination: SocketAddr) -> SocketAddr {
        let same = self.candidates.iter().find(|candidate| **candidate == destination);
        let family = || self.candidates.iter().find(|candidate| candidate.is_ipv4() == destination.is_ipv4());
        same.or_else(family).copied().unwrap_or(destination)
    }
}

/// The layer to show: the wished one, else the next lower, else the next higher one that brings pictures.
fn best_layer(choice: u8, live: u8) -> u8 {
    let has = |layer: &u8| live & 1 << layer != 0;
    (choice..8).find(has).or_else(|| (0..choice.min(8)).rev().find(has)).unwrap_or(0)
}

/// Which header extensions are negotiated with viewers: the mid, no playout delay, and the capture time. Transport-wide feedback is
/// not: nothing here estimates bandwidth, and reading it costs a quarter of all CPU time.
fn viewer_extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::AbsoluteCaptureTime);
    map
}

/// And with publishers: what tells streams and layers apart, and the feedback by which the publisher finds its bitrate.
fn publisher_extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(10, Extension::RtpStreamId);
    map.set(11, Extension::RepairedRtpStreamId);
    map
}
