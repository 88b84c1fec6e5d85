//! What strangers' bytes reach in here, for the targets of `fuzz/`: an SFU that lives as long as its thread, with one viewer
//! that is connected, one that is not, and a publisher.
//!
//! Each function takes any bytes, and panics where something does not hold.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind as RtcKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::demux::MAX_DATAGRAM;
use super::fast::{fuzzed_feedback, rtcp};
use super::framing::{self, LENGTH, MAX_WAITING, Waiting};
use super::vp8::Vp8Numbers;
use super::{
    Batch, FeedId, LayerError, Pair, Patch, Precondition, SealedBy, SessionId, Settings, Sfu, Transport,
    Wire, keyframe,
};
use crate::media::{Codec, Frame, MediaTime, Packet, RtpTime};

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 8900);
const LAYERS: [&str; 3] = ["high", "mid", "low"];
/// A rig is made anew after so many inputs, for its time has to pass a little with each.
const INPUTS: u32 = 20_000;

struct Rig {
    sfu: Sfu,
    now: Instant,
    feed: FeedId,
    sent: Sent,
    /// Connected, and its own.
    viewer: SessionId,
    client: Rtc,
    /// Answered, and never heard of again.
    waiting: SessionId,
    publisher: SessionId,
    inputs: u32,
    ids: u128,
}

/// What the SFU sent.
#[derive(Default)]
struct Sent(Vec<(SocketAddr, Vec<u8>)>);

impl Wire for Sent {
    fn send(&mut self, batch: Batch<'_>) {
        self.0.extend(batch.datagrams().map(|bytes| (batch.pair.theirs, bytes.to_vec())));
    }
}

thread_local! {
    static RIG: RefCell<Option<Rig>> = const { RefCell::new(None) };
}

/// Runs `act` on this thread's rig.
fn with_rig(start: Instant, act: impl FnOnce(&mut Rig)) {
    RIG.with_borrow_mut(|slot| {
        let rig = match slot {
            Some(rig) if rig.inputs < INPUTS => rig,
            _ => slot.insert(Rig::new(start)),
        };
        rig.inputs += 1;
        rig.now += Duration::from_micros(10);
        act(rig);
        rig.sent.0.clear();
    });
}

/// A peer with an offer.
fn client(address: SocketAddr, direction: Direction, now: Instant) -> (Rtc, String, SdpPendingOffer) {
    let crypto = Arc::new(str0m::crypto::from_feature_flags());
    let mut rtc = Rtc::builder().set_crypto_provider(crypto).set_rtp_mode(true).build(now);
    rtc.add_local_candidate(Candidate::host(address, Protocol::Udp).expect("an address"));
    let mut api = rtc.sdp_api();
    for kind in [RtcKind::Audio, RtcKind::Video] {
        api.add_media(kind, direction, None, None, None);
    }
    let (offer, pending) = api.apply().expect("an offer");
    (rtc, offer.to_sdp_string(), pending)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, n], 5_000))
}

impl Rig {
    fn new(start: Instant) -> Rig {
        let settings = Settings {
            sealed_by: SealedBy::Capcast,
            max_viewers: 1_000,
            wall_clock: (start, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        };
        let mut sfu = Sfu::new(settings, vec![(Transport::Udp, SERVER), (Transport::Tcp, SERVER)])
            .expect("a certificate");
        let name = "live".parse().expect("a name");
        let feed = sfu.open_feed(&name);
        sfu.name_layers(feed, LAYERS.map(str::to_owned).to_vec());
        let other = "other".parse().expect("a name");
        sfu.declare(&other);
        let mut sent = Sent::default();
        let payload: Arc<[u8]> = vec![0x67; 100].into();
        for layer in 0..LAYERS.len() as u8 {
            let packet = Packet { sequence: 1, rtp_time: RtpTime(1), marker: true, payload: payload.clone() };
            let (codec, pts) = (Codec::H264, MediaTime::default());
            let frame = Frame { codec, pts, keyframe: true, packets: vec![packet] };
            sfu.forward(feed, layer, &frame, start, start, &mut sent);
        }
        let [viewer, waiting, publisher] = [1, 2, 3].map(SessionId::from_random);
        let (mut rtc, offer, pending) = client(address(1), Direction::RecvOnly, start);
        let prepared = sfu.preparer().viewer(&offer, start);
        let answer = sfu.join(viewer, &name, prepared, None, start, &mut sent).expect("an answer");
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).expect("an answer that can be read");
        rtc.sdp_api().accept_answer(pending, sdp).expect("an answer that can be followed");
        let (_, offer, _) = client(address(2), Direction::RecvOnly, start);
        let prepared = sfu.preparer().viewer(&offer, start);
        sfu.join(waiting, &name, prepared, None, start, &mut sent).expect("an answer");
        let (_, offer, _) = client(address(3), Direction::SendOnly, start);
        let prepared = sfu.preparer().publisher(&offer, start);
        sfu.publish(publisher, &other, prepared, true, start, &mut sent).expect("an answer");
        let mut rig =
            Rig { sfu, now: start, feed, sent, viewer, client: rtc, waiting, publisher, inputs: 0, ids: 10 };
        rig.connect();
        rig
    }

    /// Has the viewer connect, over a network that takes a millisecond.
    fn connect(&mut self) {
        let mut connected = false;
        for _ in 0..3_000 {
            self.now += Duration::from_millis(1);
            for (to, bytes) in std::mem::take(&mut self.sent.0) {
                if to == address(1)
                    && let Ok(received) = Receive::new(Protocol::Udp, SERVER, to, &bytes)
                {
                    self.client.handle_input(Input::Receive(self.now, received)).expect("no error");
                }
            }
            self.client.handle_input(Input::Timeout(self.now)).expect("no error");
            loop {
                match self.client.poll_output().expect("no error") {
                    Output::Timeout(_) => break,
                    Output::Transmit(out) => {
                        let pair = Pair::udp(SERVER, address(1));
                        self.sfu.receive(pair, &out.contents, self.now, &mut self.sent);
                    }
                    Output::Event(event) => connected |= matches!(event, Event::Connected),
                }
            }
            self.sfu.tick(self.now, &mut self.sent);
            if connected && self.sfu.stats(self.now).connects == 1 {
                return;
            }
        }
        panic!("the rig's viewer does not connect");
    }

    fn session(&mut self) -> SessionId {
        self.ids += 1;
        SessionId::from_random(self.ids)
    }
}

/// A datagram from anywhere. The first byte says from whom; and whose name a STUN request is made to have, so that it goes
/// beyond the demultiplexer.
pub fn datagram(bytes: &[u8], start: Instant) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    with_rig(start, |rig| {
        let from = address(kind & 3);
        let mut bytes = bytes.to_vec();
        let named = match kind >> 2 & 3 {
            1 => Some(rig.viewer),
            2 => Some(rig.waiting),
            3 => Some(rig.publisher),
            _ => None,
        };
        if let Some(ufrag) = named.and_then(|session| rig.sfu.fuzzed_ufrag(session)) {
            let name = format!("{ufrag}:abcd");
            let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            stun.extend([7; 12]);
            stun.extend([0, 6, 0, name.len() as u8]);
            stun.extend(name.bytes());
            stun.resize(stun.len().next_multiple_of(4), 0);
            stun.extend(&bytes);
            let length = (stun.len() - 20) as u16;
            stun[2..4].copy_from_slice(&length.to_be_bytes());
            bytes = stun;
        }
        let transport = if kind & 16 == 0 { Transport::Udp } else { Transport::Tcp };
        let pair = Pair { transport, ours: SERVER, theirs: from };
        rig.sfu.receive(pair, &bytes, rig.now, &mut rig.sent);
        rig.sfu.tick(rig.now, &mut rig.sent);
        assert!(rig.sfu.role(rig.viewer).is_some(), "a stranger's datagram ended a viewer");
        assert!(rig.sfu.is_open(rig.feed), "a stranger's datagram ended the feed");
    });
}

/// What comes over TCP, cut as the network likes: the first byte says how. The messages in it are sent again, to somebody
/// who takes as little at a time.
pub fn framing(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(*cut).pow(2) + 1;
    let mut all: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    let speaks = loop {
        match framing::head(rest) {
            framing::Head::Whole(message, behind) => {
                all.push(message);
                rest = behind;
            }
            framing::Head::Part => break true,
            framing::Head::TooLong => break false,
        }
    };
    all.retain(|message| !message.is_empty());
    let (mut held, mut got, mut understood) = (Vec::new(), Vec::new(), true);
    for piece in bytes.chunks(cut) {
        held.extend_from_slice(piece);
        loop {
            let used = framing::messages(&held, |message| {
                got.push(message.to_vec());
                // A reader may stop, and go on later.
                !got.len().is_multiple_of(3)
            });
            understood = used.is_some();
            match used {
                Some(used) if used > 0 => held.drain(..used),
                _ => break,
            };
        }
        if !understood {
            break;
        }
    }
    assert_eq!((understood, &got), (speaks, &all.iter().map(|message| message.to_vec()).collect()));
    assert!(!speaks || held.len() < LENGTH + MAX_DATAGRAM, "{} bytes are no message yet", held.len());

    let (mut waiting, mut wire, mut dropped) = (Waiting::default(), Vec::new(), 0);
    for message in all.iter().cycle().take(all.len() * 16) {
        let before = framing::length(message).expect("it came so");
        let taken = if waiting.is_empty() { cut.min(LENGTH + message.len()) } else { 0 };
        wire.extend_from_slice(&[&before[..], message].concat()[..taken]);
        dropped += waiting.add(std::iter::once([&before[..], message]), taken);
        let next = waiting.bytes().concat();
        assert!(next.len() <= MAX_WAITING + LENGTH + MAX_DATAGRAM);
        let taken = next.len().min(cut / 2);
        wire.extend_from_slice(&next[..taken]);
        waiting.taken(taken);
    }
    wire.extend_from_slice(&waiting.bytes().concat());
    let mut arrived = 0;
    let used = framing::messages(&wire, |message| {
        arrived += 1;
        all.contains(&message)
    });
    assert_eq!((used, arrived + dropped), (Some(wire.len()), all.len() as u64 * 16), "whole, or not at all");
}

/// An offer: of a viewer, and of a publisher.
pub fn offer(bytes: &[u8], start: Instant) {
    let text = String::from_utf8_lossy(bytes);
    with_rig(start, |rig| {
        let (live, other) = ("live".parse().expect("a name"), "other".parse().expect("a name"));
        let session = rig.session();
        let prepared = rig.sfu.preparer().viewer(&text, rig.now);
        if let Ok(answer) = rig.sfu.join(session, &live, prepared, None, rig.now, &mut rig.sent) {
            assert!(answer.sdp.starts_with("v=0"), "{}", answer.sdp);
            assert!(rig.sfu.close(session, rig.now, &mut rig.sent));
        }
        let session = rig.session();
        let prepared = rig.sfu.preparer().publisher(&text, rig.now);
        if let Ok(answer) = rig.sfu.publish(session, &other, prepared, true, rig.now, &mut rig.sent) {
            assert!(answer.sdp.starts_with("v=0"), "{}", answer.sdp);
            assert!(rig.sfu.close(session, rig.now, &mut rig.sent));
        }
        assert!(rig.sfu.role(rig.viewer).is_some(), "an offer ended a viewer");
    });
}

/// The beginning of an RTP payload; the first byte chooses the codec.
pub fn payload(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let codecs = [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus];
    let codec = codecs[usize::from(*choice) % codecs.len()];
    let found = keyframe::entry(codec, bytes);
    assert_eq!(found, keyframe::entry(codec, bytes));
    let mut numbers = Vp8Numbers::default();
    for (source, length) in [(0, bytes.len()), (1, bytes.len()), (2, bytes.len() / 2)] {
        let bytes = &bytes[..length];
        let offsets = numbers.see((0, source), bytes);
        let head = offsets.head(bytes).unwrap_or_default();
        assert!(
            head.bytes().len() <= bytes.len(),
            "what takes the place of the head is longer than all of it"
        );
        let _ = offsets.patch(bytes);
    }
}

/// RTCP of a viewer, as it is after it was opened.
pub fn feedback(bytes: &[u8], start: Instant) {
    rtcp::read(bytes, |heard| match heard {
        rtcp::Heard::Missing { pairs, .. } => assert!(rtcp::missing(pairs).count() <= bytes.len() / 4 * 17),
        rtcp::Heard::Arrived(feedback) => fuzzed_feedback(feedback, start),
        _ => {}
    });
}

/// A PATCH on a session, as read from its body; whether it is of any session at all is the first bit's.
pub fn patch(any: bool, ufrag: Option<&str>, pwd: Option<&str>, candidates: &[String], start: Instant) {
    with_rig(start, |rig| {
        for session in [rig.waiting, rig.publisher] {
            let etag = rig.sfu.fuzzed_ufrag(session).unwrap_or_default();
            let precondition = if any { Precondition::Any } else { Precondition::Tag(etag) };
            let [ufrag, pwd] = [ufrag, pwd].map(|text| text.map(str::to_owned));
            let patch = Patch { precondition, ufrag, pwd, candidates: candidates.to_vec() };
            let _ = rig.sfu.patch(session, &patch, rig.now, &mut rig.sent);
            assert!(rig.sfu.role(session).is_some(), "a PATCH ended its session: {patch:?}");
        }
        // So many restarts and candidates that little is left of them.
        rig.inputs += 20;
    });
}

/// A viewer's choice of a layer.
pub fn layer(name: Option<&str>, start: Instant) {
    with_rig(start, |rig| {
        let chosen = rig.sfu.choose_layer(rig.viewer, name, rig.now, &mut rig.sent);
        match (name, chosen) {
            (None, Ok(())) => {}
            (Some(name), Ok(())) => assert!(LAYERS.contains(&name), "`{name}` was taken"),
            (Some(name), Err(LayerError::UnknownLayer { .. })) => assert!(!LAYERS.contains(&name)),
            (_, Err(error)) => panic!("{error}"),
        }
    });
}
