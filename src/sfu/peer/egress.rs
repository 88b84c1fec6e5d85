//! A viewer whose media is sealed here rather than by str0m: how that begins, where it goes, and what the viewer says of
//! it.

use std::time::Instant;

use str0m::media::Mid;
use str0m::rtp::{Extension, ExtensionMap, Ssrc};

use super::{Out, Peer, pair};
use crate::media::{Codec, MediaKind};
use crate::sfu::fast::rtcp::{self, Heard};
use crate::sfu::fast::{Extensions, Fast, Line, Outgoing, PROBE, Resent};

/// Packets that one datagram may ask for again.
const MAX_MISSING: usize = 256;

impl Peer {
    /// DTLS is done: from now on everything under its keys is sealed here, and str0m has nothing left to seal. Where
    /// the keys are not for AES-GCM, it stays str0m's.
    pub(super) fn take_keys(&mut self, now: Instant) {
        let Some(captured) = self.capture.as_ref().and_then(|capture| capture.take()) else {
            return;
        };
        let mut cname = String::new();
        let tracks = [(&self.video, MediaKind::Video), (&self.audio, MediaKind::Audio)];
        let tracks = tracks.map(|(track, kind)| (track.as_ref().map(|track| track.mid), kind));
        let mut lines = Vec::new();
        for (mid, kind) in tracks {
            let Some(mid) = mid else { continue };
            let Some(media) = self.rtc.media(mid) else { continue };
            cname = media.cname().to_owned();
            let extensions = negotiated(media.remote_extmap(), mid, kind);
            let Some((ssrc, rtx)) = self.sender(mid) else { continue };
            let codec = if kind == MediaKind::Video { Codec::H264 } else { Codec::Opus };
            let rtx = rtx.map(|rtx| *rtx);
            lines.push(Line { kind, ssrc: *ssrc, rtx, clock_rate: codec.clock_rate(), extensions });
        }
        if let Some(fast) = Fast::new(&captured, lines, cname, now) {
            self.fast = Some(Box::new(fast));
            self.disarm();
            self.probe();
        }
    }

    fn sender(&mut self, mid: Mid) -> Option<(Ssrc, Option<Ssrc>)> {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None)?;
        Some((stream.ssrc(), stream.rtx()))
    }

    /// Takes away from str0m whatever it could send under keys that are used here.
    pub(super) fn disarm(&mut self) {
        if self.fast.is_none() {
            return;
        }
        for mid in self.video.iter().chain(&self.audio).map(|track| track.mid).collect::<Vec<_>>() {
            if let Some((ssrc, _)) = self.sender(mid) {
                self.rtc.direct_api().remove_stream_tx(ssrc);
            }
        }
    }

    /// Asks str0m where it would send now.
    pub(super) fn probe(&mut self) {
        if let Some(capture) = self.capture.as_ref().filter(|_| self.fast.is_some()) {
            capture.probe();
        }
    }

    /// Looks at a datagram of str0m's before it is sent: `true` where it must not be.
    pub(super) fn keeps_back(&mut self, sent: &str0m::net::Transmit) -> bool {
        let is_probe = &*sent.contents == PROBE;
        let Some(fast) = &mut self.fast else {
            return false;
        };
        if is_probe {
            self.carried_by = pair(sent).transport;
            fast.set_route(pair(sent));
        }
        // RTP and RTCP (RFC 7983): there is none, for str0m has no sender; were there one, its nonces would be ours.
        is_probe || sent.contents.first().is_some_and(|first| (128..192).contains(first))
    }

    /// RTCP of a viewer; `false` where it is not the viewer's. Its RTP, if any, is passed over.
    pub(super) fn hear(&mut self, datagram: &[u8], now: Instant, out: &mut Out<'_>) -> bool {
        let Some(fast) = &mut self.fast else { return false };
        let mut room = Vec::with_capacity(datagram.len());
        let Some(opened) = fast.open(datagram, &mut room) else {
            return false;
        };
        let (mut keyframes, mut resent, mut nacks) = (0, 0, 0);
        let (way, mut judged) = (&mut self.way, None);
        rtcp::read(opened, |heard| match heard {
            Heard::Report { last, since, .. } => fast.measure(last, since, now, out),
            Heard::Missing { ssrc, pairs } if fast.is_video(ssrc) => {
                let Some(track) = &self.video else { return };
                nacks += 1;
                for low in rtcp::missing(pairs).take(MAX_MISSING) {
                    let Some((span, lane, sequence)) = track.munger.unmap(low) else { continue };
                    // A keyframe of another layer has followed, which needs nothing of it; a way that is full the less.
                    if span.layer != track.munger.span().layer {
                        continue;
                    }
                    let Some(kept) = out.stream.ring(span.layer).and_then(|ring| ring.get(lane)) else {
                        continue;
                    };
                    let Some(pt) = track.payload_types.resend_of(kept.codec) else { continue };
                    let head = span.vp8.head(&kept.payload).filter(|_| kept.codec == Codec::Vp8);
                    let head = head.unwrap_or_default();
                    let packet = Outgoing {
                        payload_type: *pt,
                        sequence,
                        time: span.time(kept.time),
                        marker: kept.marker,
                        payload: [head.bytes(), &kept.payload[head.bytes().len()..]],
                        capture_time: None,
                        captured: kept.captured,
                        said: kept.said,
                    };
                    resent += u64::from(fast.resend(&packet, now, out) == Resent::Sent);
                }
            }
            Heard::Keyframe { ssrc } => keyframes += u64::from(fast.is_video(ssrc)),
            Heard::Arrived(feedback) => {
                fast.arrivals(feedback, now, |told| judged = way.estimate.hear(told).or(judged));
            }
            Heard::Capacity(bits) => way.estimate.says(bits, now),
            Heard::Missing { .. } => {}
        });
        if let Some(judged) = judged {
            self.adapt(judged, now, out);
        }
        self.noted.ask(self.shown_layer(), keyframes);
        self.noted.resent += resent;
        self.noted.nacks += nacks;
        true
    }
}

/// What of our extensions the viewer takes on one m-line, under its numbers.
fn negotiated(map: &ExtensionMap, mid: Mid, kind: MediaKind) -> Extensions {
    let id = |wanted: Extension| (1..=16).find(|id| map.lookup(*id) == Some(&wanted));
    Extensions {
        transport: id(Extension::TransportSequenceNumber),
        playout: id(Extension::PlayoutDelay).filter(|_| kind == MediaKind::Video),
        capture: id(Extension::AbsoluteCaptureTime),
        orientation: id(Extension::VideoOrientation).filter(|_| kind == MediaKind::Video),
        level: id(Extension::AudioLevel).filter(|_| kind == MediaKind::Audio),
        mid: id(Extension::RtpMid).map(|id| (id, mid.to_string())),
    }
}
