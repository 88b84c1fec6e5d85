//! str0m as a viewer or a publisher, and what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use str0m::format::Codec as RtcCodec;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::net::Protocol;
use str0m::rtp::{AbsCaptureTime, ExtensionValues, RtpWrite, Ssrc, VideoOrientation};
use str0m::{Event, Input, Output, Rtc};

use super::network::Datagram;
use super::player::Player;
use super::world::STEP;
use crate::media::RtpTime;
use crate::sfu::said::Said;
use crate::sfu::{Answer, Transport};

/// Length of a publisher's payload descriptor and first byte of the frame.
pub(super) const HEAD: usize = 2;

/// One received RTP packet.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) ssrc: Ssrc,
    pub(super) sequence: u64,
    pub(super) time: u32,
    pub(super) codec: RtcCodec,
    pub(super) frame: u32,
    pub(super) keyframe: bool,
    pub(super) index: u8,
    pub(super) count: u8,
    /// Which layer it is of.
    pub(super) layer: u8,
    /// When it came, and what was said of it.
    pub(super) at: Instant,
    pub(super) said: Said,
}

/// What a publisher sends: VP8 in form, so that keyframes are found.
pub(super) struct Sending {
    pub(super) mids: [Mid; 2],
    pub(super) layers: Vec<Option<Rid>>,
    /// Sequence numbers of each layer, then of the sound.
    pub(super) sequence: [u64; 5],
    pub(super) time_offset: u32,
    pub(super) frame: u32,
    pub(super) keyframe_wanted: bool,
    pub(super) keyframes_made: u32,
    /// Layers are of 2.6, 0.9 and 0.1 Mbit/s.
    pub(super) ladder: bool,
    /// These layers send nothing.
    pub(super) silent: Vec<u8>,
    /// It says things in header extensions, this being its wall clock when the test's is 0.
    pub(super) says: Option<SystemTime>,
}

/// What such a publisher says of the last packet of a picture, of its first, or of a sound.
pub(super) fn orientation(frame: u32) -> Option<VideoOrientation> {
    (!frame.is_multiple_of(3)).then(|| VideoOrientation::from((frame % 4) as u8))
}

/// Only now and then: it holds.
pub(super) const PLAYOUT: [u8; 3] = [0x00, 0x50, 0x64];

pub(super) fn level(sound: u32) -> u8 {
    (sound % 256) as u8
}

/// How a publisher of the tests differs from the plain one.
#[derive(Default)]
pub(super) struct Manner {
    pub(super) layers: &'static [&'static str],
    pub(super) ladder: bool,
    pub(super) rsa: bool,
    /// Neither candidates in the offer nor a PATCH, and the DTLS client, as OBS.
    pub(super) like_obs: bool,
    pub(super) keeps_earlier: bool,
    /// Nothing but the payload type says which m-line a packet is of, as with `webrtcbin`.
    pub(super) unannounced: bool,
    pub(super) says: Option<SystemTime>,
}

/// A viewer, or a publisher.
pub(super) struct Client {
    /// Set for publishers.
    pub(super) sending: Option<Sending>,
    /// Bytes before the tests' own in each payload.
    pub(super) skip: usize,
    pub(super) rtc: Rtc,
    pub(super) address: SocketAddr,
    pub(super) answer: Option<Answer>,
    pub(super) video: Vec<Got>,
    pub(super) audio: Vec<Got>,
    pub(super) player: Player,
    pub(super) connected: bool,
    pub(super) closed: bool,
    /// Stops reading and answering.
    pub(super) gone: bool,
    /// (RTP time, wall clock) of the last sender report for video.
    pub(super) report: Option<(u32, SystemTime)>,
    /// The last capture time that came with a picture, and the picture's RTP time.
    pub(super) captured: Option<(AbsCaptureTime, u32)>,
    pub(super) timeout: Instant,
}

impl Client {
    /// What it sends, now that time has passed or something came.
    pub(super) fn act(&mut self, now: Instant) -> Vec<Datagram> {
        let mut out = Vec::new();
        if self.timeout > now {
            return out;
        }
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        loop {
            match self.rtc.poll_output().unwrap() {
                // DTLS timers run on the real clock: never wait less than a step.
                Output::Timeout(at) => {
                    self.timeout = at.max(now + STEP);
                    return out;
                }
                Output::Transmit(sent) => {
                    let transport = if sent.proto == Protocol::Tcp { Transport::Tcp } else { Transport::Udp };
                    let (from, to) = (sent.source, sent.destination);
                    out.push(Datagram { transport, from, to, bytes: sent.contents.to_vec() });
                }
                Output::Event(event) => self.event(event, now),
            }
        }
    }

    fn event(&mut self, event: Event, at: Instant) {
        match event {
            Event::Connected => self.connected = true,
            Event::KeyframeRequest(_) => {
                if let Some(sending) = &mut self.sending {
                    sending.keyframe_wanted = true;
                }
            }
            Event::Closed => self.closed = true,
            Event::RtpPacket(packet) if packet.payload.len() > 8 + self.skip => {
                let pt = packet.header.payload_type;
                let config = self.rtc.codec_config();
                let codec = config.params().iter().find(|p| p.pt() == pt).unwrap().spec().codec;
                let payload = &packet.payload[self.skip..];
                let got = Got {
                    ssrc: packet.header.ssrc,
                    sequence: *packet.seq_no,
                    time: packet.header.timestamp,
                    codec,
                    frame: u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]),
                    keyframe: payload[4] == 1,
                    index: payload[5],
                    count: payload[6],
                    layer: payload[7],
                    at,
                    said: Said::read(&packet.header.ext_vals),
                };
                if codec == RtcCodec::Opus {
                    self.audio.push(got);
                } else {
                    if let Some(capture_time) = packet.header.ext_vals.abs_capture_time {
                        self.captured = Some((capture_time, packet.header.timestamp));
                    }
                    if let Some(info) = packet.last_sender_info {
                        self.report = Some((info.rtp_time.numer() as u32, info.ntp_time));
                    }
                    self.player.take(&got);
                    self.video.push(got);
                }
            }
            _ => {}
        }
    }

    /// A publisher's 33 pictures, of each layer, and 50 sounds a second.
    pub(super) fn send(&mut self, at: u64, now: Instant) {
        let Some(sending) = self.sending.as_mut().filter(|_| self.connected && !self.gone && !self.closed)
        else {
            return;
        };
        let pt = |rtc: &Rtc, mid: Mid, codec: RtcCodec| {
            let media = rtc.media(mid).unwrap();
            let negotiated =
                rtc.codec_config().params().iter().filter(|p| media.remote_pts().contains(&p.pt()));
            negotiated.into_iter().find(|p| p.spec().codec == codec).expect("the codec is negotiated").pt()
        };
        let [video, audio] = sending.mids;
        if at.is_multiple_of(30) {
            let pt = pt(&self.rtc, video, RtcCodec::Vp8);
            let keyframe = std::mem::take(&mut sending.keyframe_wanted);
            sending.keyframes_made += u32::from(keyframe);
            sending.frame += 1;
            let time = (at as u32).wrapping_mul(90).wrapping_add(sending.time_offset);
            for (layer, rid) in sending.layers.clone().into_iter().enumerate() {
                if sending.silent.contains(&(layer as u8)) {
                    continue;
                }
                let count = match (sending.ladder, keyframe) {
                    (_, true) => 9,
                    (true, _) => [9, 3, 1][layer.min(2)],
                    (false, _) => 3,
                };
                for index in 0..count {
                    let mut payload = vec![index; if index + 1 == count { 500 } else { 1_100 }];
                    payload[0] = if index == 0 { 0x10 } else { 0 };
                    payload[1] = u8::from(!keyframe);
                    payload[2..6].copy_from_slice(&sending.frame.to_be_bytes());
                    payload[6] = u8::from(keyframe);
                    payload[7..10].copy_from_slice(&[index, count, layer as u8]);
                    let time = time.wrapping_add(layer as u32 * 77_000_000);
                    let mut said = ExtensionValues::default();
                    if let Some(clock) = sending.says {
                        let first = index == 0;
                        let playout = Some(PLAYOUT).filter(|_| first && sending.frame.is_multiple_of(50));
                        let orientation = orientation(sending.frame).filter(|_| index + 1 == count);
                        Said { orientation, playout, ..Said::default() }.write(&mut said);
                        let capture_time = clock + Duration::from_millis(at);
                        let captured = AbsCaptureTime { capture_time, clock_offset: None };
                        said.abs_capture_time =
                            Some(captured).filter(|_| first && sending.frame.is_multiple_of(7));
                    }
                    let write = RtpWrite::new(pt, sending.sequence[layer].into(), time, now, payload)
                        .marker(index + 1 == count)
                        .ext_vals(said)
                        .nackable(true);
                    sending.sequence[layer] += 1;
                    let mut api = self.rtc.direct_api();
                    api.stream_tx_by_mid(video, rid).unwrap().write_rtp(write);
                    self.rtc.handle_input(Input::Timeout(now)).unwrap();
                }
            }
        }
        if at.is_multiple_of(20) {
            let pt = pt(&self.rtc, audio, RtcCodec::Opus);
            let mut payload = vec![0; 100];
            payload[7..9].copy_from_slice(&[0, 1]);
            let number = sending.sequence[4] as u32;
            payload[2..6].copy_from_slice(&number.to_be_bytes());
            let mut said = ExtensionValues::default();
            if sending.says.is_some() {
                Said { level: Some(level(number)), ..Said::default() }.write(&mut said);
            }
            let write = RtpWrite::new(pt, sending.sequence[4].into(), at as u32 * 48 + 7_000, now, payload)
                .ext_vals(said);
            sending.sequence[4] += 1;
            self.rtc.direct_api().stream_tx_by_mid(audio, None).unwrap().write_rtp(write);
        }
        self.timeout = now;
    }

    pub(super) fn request_keyframe(&mut self) {
        let ssrc = self.video.last().unwrap().ssrc;
        self.rtc.direct_api().stream_rx(&ssrc).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        self.timeout -= Duration::from_secs(1);
    }

    /// Numbers of the pictures that arrived whole, and of those that did not.
    pub(super) fn pictures(&self) -> (Vec<u32>, Vec<u32>) {
        let mut seen: BTreeMap<u32, (BTreeSet<u8>, u8)> = BTreeMap::new();
        for got in &self.video {
            seen.entry(got.frame).or_insert_with(|| (BTreeSet::new(), got.count)).0.insert(got.index);
        }
        let whole = |(indices, count): &(BTreeSet<u8>, u8)| indices.len() == usize::from(*count);
        let (good, bad): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(_, parts)| whole(parts));
        (good.into_iter().map(|p| p.0).collect(), bad.into_iter().map(|p| p.0).collect())
    }

    /// On a network without loss: numbered without hole from the first, time only forward, one SSRC.
    pub(super) fn assert_seamless(&self) {
        for pair in self.video.windows(2).chain(self.audio.windows(2)) {
            let [a, b] = pair else { unreachable!() };
            assert_eq!(b.sequence, a.sequence + 1, "{a:?} then {b:?}");
            assert_eq!(b.ssrc, a.ssrc);
            let step = RtpTime(b.time).since(RtpTime(a.time));
            // A change of layers may cut the picture under way short: the keyframe needs nothing of it.
            let changes_layer = a.layer != b.layer && b.keyframe;
            if a.index + 1 == a.count || changes_layer {
                assert!(step > 0 && b.index == 0, "a picture after another one: {a:?} then {b:?}");
            } else {
                assert_eq!((step, b.index), (0, a.index + 1), "within one picture: {a:?} then {b:?}");
            }
        }
        let first = &self.video[0];
        assert!(first.keyframe && first.index == 0, "begins with a keyframe: {first:?}");
    }
}
