//! The receiving half of a peer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};

use crate::measure::{Packet, Span, Stream};

const PLI_INTERVAL: Duration = Duration::from_millis(500);
/// No publisher is silent for so long.
const PAUSE_NS: u64 = 400_000_000;

pub struct Viewer {
    /// When to count.
    pub span: Option<Span>,
    pub streams: Vec<Stream>,
    /// SSRCs that have been seen to belong to a stream.
    mapped: Vec<u32>,
    pub first_rtp_ns: Option<u64>,
    /// The first packet after the last pause: of a publisher that came after another.
    pub resumed_ns: Option<u64>,
    last_rtp_ns: Option<u64>,
    next_pli: Option<(Instant, u32)>,
    pub plis: u64,
    /// Cumulative, by media line.
    pub nacks: HashMap<Mid, u64>,
}

impl Viewer {
    pub fn new() -> Viewer {
        Viewer {
            span: None,
            streams: Vec::new(),
            mapped: Vec::new(),
            first_rtp_ns: None,
            resumed_ns: None,
            last_rtp_ns: None,
            next_pli: None,
            plis: 0,
            nacks: HashMap::new(),
        }
    }

    pub fn first_keyframe_ns(&self) -> Option<u64> {
        self.streams.iter().filter_map(|s| s.first_keyframe_ns).min()
    }

    /// Some servers name their SSRCs neither in the answer nor by the MID
    /// header extension. Where the engine could not tell which media line an
    /// RTP packet belongs to, its payload type decides. True if that settled
    /// it, and the packet should be fed in again.
    pub fn map_unknown(&mut self, rtc: &mut Rtc, datagram: &[u8], mids: &[(bool, Mid)]) -> bool {
        // RTP, not RTCP, DTLS or STUN (RFC 7983, RFC 5761).
        if datagram.len() < 12 || datagram[0] >> 6 != 2 || (192..224).contains(&datagram[1]) {
            return false;
        }
        let number = u32::from_be_bytes(datagram[8..12].try_into().expect("four bytes"));
        if self.mapped.contains(&number) {
            return false;
        }
        self.mapped.push(number);
        let ssrc = Ssrc::from(number);
        if rtc.direct_api().stream_rx(&ssrc).is_some() {
            return false;
        }
        let pt = datagram[1] & 0x7f;
        let Some(video) = rtc.codec_config().find(|p| *p.pt() == pt).map(|p| p.spec().codec.is_video())
        else {
            return false; // retransmissions, say
        };
        let Some((_, mid)) = mids.iter().find(|(v, _)| *v == video) else {
            return false;
        };
        rtc.direct_api().expect_stream_rx(ssrc, None, *mid, None);
        true
    }

    pub fn packet(&mut self, rtc: &mut Rtc, p: &RtpPacket, at_ns: u64) {
        self.first_rtp_ns.get_or_insert(at_ns);
        if self.last_rtp_ns.replace(at_ns).is_some_and(|last| at_ns.saturating_sub(last) > PAUSE_NS) {
            self.resumed_ns = Some(at_ns);
        }
        let ssrc = *p.header.ssrc;
        let stream = match self.streams.iter().position(|s| s.ssrc == ssrc) {
            Some(i) => &mut self.streams[i],
            None => {
                let pt = p.header.payload_type;
                let Some(params) = rtc.codec_config().find(|c| c.pt() == pt) else {
                    return;
                };
                let (codec, nack) = (params.spec().codec, params.fb_nack());
                // Without a retransmission SSRC in the answer the engine asks for
                // nothing; browsers do, and take repeats on the SSRC itself.
                if let Some(rx) = rtc.direct_api().stream_rx(&p.header.ssrc) {
                    rx.suppress_nack(!(nack && codec.is_video()));
                }
                self.streams.push(Stream::new(ssrc, codec));
                self.streams.last_mut().expect("just pushed")
            }
        };
        let packet = Packet {
            seq: *p.seq_no,
            time: p.header.timestamp,
            marker: p.header.marker,
            payload: &p.payload,
            at_ns,
        };
        stream.packet(&packet, Span::phase(self.span, at_ns));
        let stuck = stream.format.is_video() && stream.first_keyframe_ns.is_none();
        if stuck && self.next_pli.is_none() {
            let now = Instant::now();
            self.next_pli = Some((now + PLI_INTERVAL, ssrc));
            let starts = crate::codec::starts_keyframe(stream.format, &p.payload);
            if !starts {
                self.request_keyframe(rtc, ssrc);
            }
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.next_pli.map(|(at, _)| at)
    }

    /// Asks again for the keyframe that has not come.
    pub fn tick(&mut self, rtc: &mut Rtc, now: Instant) {
        let Some((at, ssrc)) = self.next_pli.filter(|(at, _)| *at <= now) else {
            return;
        };
        if self.first_keyframe_ns().is_some() {
            self.next_pli = None;
            return;
        }
        self.next_pli = Some((at + PLI_INTERVAL, ssrc));
        self.request_keyframe(rtc, ssrc);
    }

    fn request_keyframe(&mut self, rtc: &mut Rtc, ssrc: u32) {
        if let Some(stream) = rtc.direct_api().stream_rx(&Ssrc::from(ssrc)) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            self.plis += 1;
        }
    }
}
