//! The core, str0m viewers and an emulated network under one virtual clock.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::SdpAnswer;
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind as RtcKind, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::Extension;
use str0m::{Candidate, Input, Rtc};
use str0m_netem::NetemConfig;

use super::client::{Client, HEAD, Manner, Sending};
use super::egress::Nonces;
use super::network::{Datagram, Network, Sent};
use super::player::Player;
use super::source::{Smaller, Source, frame};
use crate::media::{Codec, Frame, StreamName};
use crate::sfu::{
    FeedId, Pair, Patch, Patched, Precondition, SealedBy, SessionId, Settings, Sfu, Transport, WhepError,
    WhipError,
};

thread_local! {
    /// Who seals in the worlds of this thread, which is that of one test.
    pub(super) static SEALED_BY: Cell<SealedBy> = const { Cell::new(SealedBy::Capcast) };
}

pub(super) const SERVER: &str = "10.0.0.1:8900";
pub(super) const STEP: Duration = Duration::from_millis(1);

pub(super) struct World {
    pub(super) sfu: Sfu,
    pub(super) start: Instant,
    /// The same on the wall clock.
    pub(super) wall: SystemTime,
    pub(super) now: Instant,
    pub(super) clients: Vec<Client>,
    pub(super) sent: Sent,
    pub(super) network: Network,
    pub(super) feed: Option<FeedId>,
    pub(super) source: Source,
    /// Layers below it.
    pub(super) smaller: Vec<Smaller>,
    pub(super) largest: usize,
    pub(super) keyframes_made: u32,
    /// Of everything that was ever sent.
    pub(super) nonces: Nonces,
    /// What the clients that come next have.
    pub(super) transports: &'static [Transport],
    /// No datagram gets through.
    pub(super) udp_blocked: bool,
    /// The host's own address, where a router has the one that is offered.
    pub(super) behind: Option<SocketAddr>,
    ids: u128,
}

pub(super) fn live() -> StreamName {
    "live".parse().unwrap()
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    pub(super) fn new(max_viewers: u32) -> World {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let server = SERVER.parse().unwrap();
        let settings = Settings { sealed_by: SEALED_BY.get(), max_viewers, wall_clock: (start, wall) };
        let sfu = Sfu::new(settings, vec![(Transport::Udp, server), (Transport::Tcp, server)]).unwrap();
        World {
            sfu,
            start,
            wall,
            now: start,
            clients: Vec::new(),
            sent: Sent::default(),
            network: Network::default(),
            feed: None,
            source: Source::default(),
            smaller: Vec::new(),
            largest: 0,
            keyframes_made: 0,
            nonces: Nonces::default(),
            transports: &[Transport::Udp],
            udp_blocked: false,
            behind: None,
            ids: 0,
        }
    }

    /// A world whose stream has been live for a while.
    pub(super) fn on_air(max_viewers: u32) -> World {
        let mut world = World::new(max_viewers);
        world.feed = Some(world.sfu.open_feed(&live()));
        world.run(200);
        world
    }

    /// The same with a ladder: layers of 2.8, 0.9 and 0.1 Mbit/s, the first of which keep these names.
    pub(super) fn with_ladder(names: &[&str]) -> World {
        let mut world = World::on_air(10);
        world.source.packets = 9;
        let rungs = [3, 1].into_iter().take(names.len() - 1);
        world.smaller = (0..).zip(rungs).map(|(n, packets)| Smaller::new(n, packets)).collect();
        world.sfu.name_layers(world.feed.unwrap(), names.iter().map(|name| (*name).to_owned()).collect());
        world.run(200);
        world
    }

    /// From now on the way down is like this.
    pub(super) fn network(&mut self, config: NetemConfig) {
        self.network.set_down(config);
    }

    /// From now on the way down to one client is like this.
    pub(super) fn link(&mut self, client: usize, config: NetemConfig) {
        self.network.set_link(self.clients[client].address, config);
    }

    pub(super) fn offer(&mut self, codecs: &[Codec]) -> (Client, String, str0m::change::SdpPendingOffer) {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let mut config = Rtc::builder()
            .set_crypto_provider(crypto)
            .set_rtp_mode(true)
            .clear_codecs()
            .clear_extension_map();
        // Other numbers than the core's own, and than the publishers'.
        for (id, extension) in [
            (9, Extension::AbsoluteCaptureTime),
            (7, Extension::PlayoutDelay),
            (12, Extension::VideoOrientation),
            (14, Extension::AudioLevel),
            (2, Extension::TransportSequenceNumber),
            (1, Extension::RtpMid),
        ] {
            config = config.set_extension(id, extension);
        }
        for codec in codecs {
            config = match codec {
                Codec::H264 => config.enable_h264(true),
                Codec::Vp9 => config.enable_vp9(true),
                Codec::Av1 => config.enable_av1(true),
                Codec::Vp8 => config.enable_vp8(true),
                Codec::Opus => config.enable_opus(true, false),
            };
        }
        let mut rtc = config.build(self.now);
        let address = self.address();
        self.add_candidates(&mut rtc, address);
        let mut api = rtc.sdp_api();
        let audio = api.add_media(RtcKind::Audio, Direction::RecvOnly, None, None, None);
        let video = api.add_media(RtcKind::Video, Direction::RecvOnly, None, None, None);
        if audio == video {
            // Three letters by chance each: an offer in which they are the same is refused, and rightly so.
            return self.offer(codecs);
        }
        let (offer, pending) = api.apply().unwrap();
        let client = Client {
            sending: None,
            skip: if self.feed.is_some() { 0 } else { HEAD },
            rtc,
            address,
            answer: None,
            video: Vec::new(),
            audio: Vec::new(),
            player: Player::default(),
            connected: false,
            closed: false,
            gone: false,
            report: None,
            captured: None,
            timeout: self.now,
        };
        (client, offer.to_sdp_string(), pending)
    }

    fn add_candidates(&self, rtc: &mut Rtc, address: SocketAddr) {
        for transport in self.transports {
            let candidate = match transport {
                Transport::Udp => Candidate::host(address, Protocol::Udp),
                Transport::Tcp => Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build(),
            };
            rtc.add_local_candidate(candidate.unwrap());
        }
    }

    /// Of the client that comes next; nobody ever had it.
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, 1], 5_000 + self.ids as u16))
    }

    /// One more viewer, by the HTTP exchange; its index.
    pub(super) fn join(&mut self, codecs: &[Codec]) -> Result<usize, WhepError> {
        self.join_from(None, codecs)
    }

    /// The same from a network that is known.
    pub(super) fn join_from(&mut self, from: Option<IpAddr>, codecs: &[Codec]) -> Result<usize, WhepError> {
        let (mut client, offer, pending) = self.offer(codecs);
        self.ids += 1;
        let session = SessionId::from_random(self.ids);
        let offer = self.sfu.preparer().viewer(&offer, self.now);
        let answer = self.sfu.join(session, &live(), offer, from, self.now, &mut self.sent)?;
        self.sfu.verify_invariants();
        client
            .rtc
            .sdp_api()
            .accept_answer(pending, SdpAnswer::from_sdp_string(&answer.sdp).unwrap())
            .unwrap();
        client.answer = Some(answer);
        self.clients.push(client);
        Ok(self.clients.len() - 1)
    }

    /// Joins with every codec and runs until the picture is there.
    pub(super) fn watch(&mut self) -> usize {
        let client = self.join(&[Codec::H264, Codec::Vp9, Codec::Av1, Codec::Vp8, Codec::Opus]).unwrap();
        for _ in 0..3_000 {
            self.run(1);
            if !self.clients[client].video.is_empty() {
                return client;
            }
        }
        let client = &self.clients[client];
        panic!("no picture within 3 s; connected: {}, {:?}", client.connected, self.sfu.stats(self.now));
    }

    pub(super) fn session(&self, client: usize) -> SessionId {
        self.clients[client].answer.as_ref().unwrap().session
    }

    /// A client restarts ICE by PATCH; the new ETag and the core's candidates.
    pub(super) fn restart_ice(&mut self, client: usize) -> (String, Vec<String>) {
        let answer = self.clients[client].answer.clone().unwrap();
        let mut api = self.clients[client].rtc.sdp_api();
        let new = api.ice_restart(true);
        let (_, pending) = api.apply().unwrap();
        let patch = Patch {
            precondition: Precondition::Any,
            ufrag: Some(new.ufrag),
            pwd: Some(new.pass),
            candidates: vec![format!(
                "candidate:1 1 udp 2130706431 {} {} typ host",
                self.clients[client].address.ip(),
                self.clients[client].address.port()
            )],
        };
        let patched = self.sfu.patch(answer.session, &patch, self.now, &mut self.sent).unwrap();
        let Patched::Restarted { etag, ufrag, pwd, candidates } = patched else { panic!("{patched:?}") };
        let sdp: Vec<String> = answer
            .sdp
            .lines()
            .map(|line| match line.split_once(':').map(|(key, _)| key) {
                Some("a=ice-ufrag") => format!("a=ice-ufrag:{ufrag}"),
                Some("a=ice-pwd") => format!("a=ice-pwd:{pwd}"),
                Some("a=candidate") => format!("a={}", candidates[0]),
                _ => line.to_owned(),
            })
            .collect();
        let sdp = SdpAnswer::from_sdp_string(&(sdp.join("\r\n") + "\r\n")).unwrap();
        self.clients[client].rtc.sdp_api().accept_answer(pending, sdp).unwrap();
        (etag, candidates)
    }

    /// A world whose stream is declared, for others to publish.
    pub(super) fn declared() -> World {
        let mut world = World::new(20);
        world.sfu.declare(&live());
        world
    }

    /// From now on the way up is like this.
    pub(super) fn network_up(&mut self, config: NetemConfig) {
        self.network.set_up(config);
    }

    /// One more publisher, by the HTTP exchange; its index.
    pub(super) fn publish(&mut self, manner: &Manner) -> Result<usize, WhipError> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let mut config = Rtc::builder().set_crypto_provider(crypto).set_rtp_mode(true);
        config =
            config.set_extension(5, Extension::PlayoutDelay).set_extension(8, Extension::AbsoluteCaptureTime);
        if manner.rsa {
            config = config.set_dtls_cert(rsa_certificate());
        }
        let mut rtc = config.build(self.now);
        let address = self.address();
        self.add_candidates(&mut rtc, address);
        let mut api = rtc.sdp_api();
        let audio = api.add_media(RtcKind::Audio, Direction::SendOnly, None, None, None);
        let layers = (!manner.layers.is_empty()).then(|| Simulcast {
            send: manner.layers.iter().map(|rid| SimulcastLayer::new(rid)).collect(),
            recv: Vec::new(),
        });
        let video = api.add_media(RtcKind::Video, Direction::SendOnly, None, None, layers);
        if audio == video {
            return self.publish(manner);
        }
        let (offer, pending) = api.apply().unwrap();
        let mut offer = offer.to_sdp_string();
        if manner.like_obs {
            offer =
                offer.lines().filter(|l| !l.starts_with("a=candidate")).map(|l| format!("{l}\r\n")).collect();
            offer = offer.replace("a=setup:actpass", "a=setup:active");
        }
        if manner.unannounced {
            let says = |line: &&str| line.starts_with("a=ssrc") || line.ends_with("sdes:mid");
            offer = offer.lines().filter(|line| !says(line)).map(|line| format!("{line}\r\n")).collect();
        }
        self.ids += 1;
        let session = SessionId::from_random(self.ids);
        let replace = !manner.keeps_earlier;
        let offer = self.sfu.preparer().publisher(&offer, self.now);
        let answer = self.sfu.publish(session, &live(), offer, replace, self.now, &mut self.sent)?;
        self.sfu.verify_invariants();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer.sdp).unwrap()).unwrap();
        let layers: Vec<_> = manner.layers.iter().map(|rid| Some(Rid::from(*rid))).collect();
        let sending = Sending {
            mids: [video, audio],
            layers: if layers.is_empty() { vec![None] } else { layers },
            sequence: [65_000, 200, 30_000, 9, 40_000],
            time_offset: (self.ids as u32).wrapping_mul(1_000_000_007),
            frame: 0,
            keyframe_wanted: true,
            keyframes_made: 0,
            ladder: manner.ladder,
            silent: Vec::new(),
            says: manner.says,
        };
        self.clients.push(Client {
            sending: Some(sending),
            skip: HEAD,
            rtc,
            address,
            answer: Some(answer),
            video: Vec::new(),
            audio: Vec::new(),
            player: Player::default(),
            connected: false,
            closed: false,
            gone: false,
            report: None,
            captured: None,
            timeout: self.now,
        });
        Ok(self.clients.len() - 1)
    }

    /// Publishes plainly and runs until the stream is live. Where packets are lost, ICE asks again after a quarter of a second,
    /// a half, one.
    pub(super) fn publish_live(&mut self, manner: &Manner) -> usize {
        let client = self.publish(manner).unwrap();
        for _ in 0..15_000 {
            self.run(1);
            if self.sfu.stats(self.now).streams[0].live && self.clients[client].connected {
                self.run(100);
                return client;
            }
        }
        panic!(
            "not live within 15 s; connected: {}, {:?}",
            self.clients[client].connected,
            self.sfu.stats(self.now)
        );
    }

    /// Lets `ms` milliseconds pass; the source makes 33 pictures and 50 sounds a second.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += STEP;
            let at = (self.now - self.start).as_millis() as u64;
            if let Some(feed) = self.feed {
                self.source.frame += u32::from(at.is_multiple_of(30));
                if at.is_multiple_of(30) && self.source.packets > 0 {
                    let frame = self.picture(at);
                    self.sfu.forward(feed, 0, &frame, self.now, self.now, &mut self.sent);
                }
                for layer in 0..self.smaller.len() {
                    let captured = at.saturating_sub(self.smaller[layer].late);
                    if captured.is_multiple_of(30) && !self.smaller[layer].silent {
                        let frame = self.small_picture(captured, layer);
                        let when = self.start + Duration::from_millis(captured);
                        self.sfu.forward(feed, layer as u8 + 1, &frame, when, self.now, &mut self.sent);
                    }
                }
                if at.is_multiple_of(20) {
                    let frame = self.source.sound(at);
                    self.sfu.forward(feed, 0, &frame, self.now, self.now, &mut self.sent);
                }
            }
            for client in &mut self.clients {
                client.send(at, self.now);
            }
            self.carry();
            if self.sfu.next_timeout(self.now).is_some_and(|timeout| timeout <= self.now) {
                self.sfu.tick(self.now, &mut self.sent);
            }
            while let Some((feed, layer)) = self.sfu.take_keyframe_request(self.now) {
                assert!(self.feed.is_none_or(|open| open == feed));
                match usize::from(layer).checked_sub(1) {
                    None => self.source.keyframe_wanted = true,
                    Some(smaller) => self.smaller[smaller].keyframe_wanted = true,
                }
            }
        }
        self.sfu.verify_invariants();
    }

    fn picture(&mut self, at: u64) -> Frame {
        let source = &mut self.source;
        let keyframe = std::mem::take(&mut source.keyframe_wanted);
        self.keyframes_made += u32::from(keyframe);
        let frame = frame(source, (source.sequence, source.packets), (0, keyframe), (source.frame, at));
        source.sequence += frame.packets.len() as u64;
        frame
    }

    /// The same picture, smaller.
    fn small_picture(&mut self, at: u64, layer: usize) -> Frame {
        let (source, small) = (&self.source, &mut self.smaller[layer]);
        let keyframe = std::mem::take(&mut small.keyframe_wanted);
        small.keyframes_made += u32::from(keyframe);
        let number = source.frame - (small.late / 30) as u32;
        let frame = frame(source, (small.sequence, small.packets), (layer as u8 + 1, keyframe), (number, at));
        small.sequence += frame.packets.len() as u64;
        frame
    }

    /// Moves datagrams through the network and lets viewers act.
    fn carry(&mut self) {
        let now = self.now;
        let (largest, nonces) = (&mut self.largest, &mut self.nonces);
        let came = self.network.carry_down(&mut self.sent, now, |datagram| {
            *largest = (*largest).max(datagram.bytes.len());
            nonces.see(datagram);
        });
        let passes = |datagram: &Datagram| !self.udp_blocked || datagram.transport == Transport::Tcp;
        for datagram in came.into_iter().filter(passes) {
            let protocol = match datagram.transport {
                Transport::Udp => Protocol::Udp,
                Transport::Tcp => Protocol::Tcp,
            };
            if let Some(client) = self.clients.iter_mut().find(|c| c.address == datagram.to && !c.gone)
                && let Ok(receive) = Receive::new(protocol, datagram.from, datagram.to, &datagram.bytes)
            {
                client.rtc.handle_input(Input::Receive(now, receive)).unwrap();
                // str0m hands over one RTP packet per poll.
                client.timeout = now;
                self.network.send_up(client.act(now), now);
            }
        }
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            self.network.send_up(client.act(now), now);
        }
        for datagram in self.network.came_up(now).into_iter().filter(passes) {
            let Datagram { transport, from: theirs, to, bytes } = datagram;
            let ours = self.behind.unwrap_or(to);
            self.sfu.receive(Pair { transport, ours, theirs }, &bytes, now, &mut self.sent);
        }
    }
}

/// As GStreamer's DTLS elements make it.
fn rsa_certificate() -> DtlsCert {
    use openssl::{asn1::Asn1Time, hash::MessageDigest, pkey::PKey, rsa::Rsa, x509::X509};
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build().to_der().unwrap();
    DtlsCert { certificate, private_key: key.private_key_to_der().unwrap() }
}
