//! What a publisher sends: RTP packets put in order where that is worth a short wait ([`Order`]), and gathered into runs.
//!
//! A run is what arrived together of one picture. It ends with the picture, at a hole, and whenever there is nothing
//! more to read: so a viewer gets whole frames in one system call where the network delivers them so. A packet that
//! comes later than anybody waits for makes a run of its own.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::stats::MediaIngressStats;

use super::codecs::{self, PayloadTypes};
use super::keyframe::{self, Entry};
use super::order::Order;
use super::said::Said;
use super::unannounced::Unannounced;
use crate::media::{Codec, Frame, MediaKind, MediaTime, Packet, RtpTime};

/// RTP streams of one publisher that are listened to: a sound and the layers of a picture, and a few more, for a
/// publisher may change them.
const MAX_TRACKS: usize = 12;
/// Layers of one picture.
const MAX_LAYERS: usize = 4;
/// Packets of one run.
const MAX_RUN: usize = 256;
/// A capture cannot be further back than this by the publisher's own clock; else that clock was set.
const MAX_AGE: Duration = Duration::from_secs(2);

/// What arrived together of one picture, or one sound.
#[derive(Debug)]
pub(super) struct Run {
    /// 0 is the layer that the publisher named first.
    pub(super) layer: u8,
    /// Perhaps not a whole picture; `keyframe` says that a keyframe begins in it.
    pub(super) frame: Frame,
    /// What was said of each of its packets.
    pub(super) said: Vec<Said>,
    /// When it was captured, as well as that can be told.
    pub(super) captured: Instant,
    /// A picture ends in it, or it is a sound.
    pub(super) ends: bool,
}

/// One publisher's media.
#[derive(Debug)]
pub(super) struct Ingest {
    /// Layers in the order of the offer; empty without simulcast.
    layers: Vec<Rid>,
    payload_types: PayloadTypes,
    mids: Vec<Mid>,
    unannounced: Unannounced,
    tracks: Vec<Track>,
    ready: Vec<Run>,
    clock: SenderClock,
}

#[derive(Debug)]
struct Track {
    ssrc: Ssrc,
    kind: MediaKind,
    order: Order<Arrived>,
    gathered: Gathered,
    first: u64,
    last: u64,
    received: u64,
    nacks: u64,
}

/// What has been gathered of one track.
#[derive(Debug)]
struct Gathered {
    layer: u8,
    run: Option<Run>,
    /// RTP time of the last picture of which a keyframe's beginning was seen.
    begun: Option<RtpTime>,
}

/// One packet that came.
#[derive(Debug)]
struct Arrived {
    codec: Codec,
    rtp_time: RtpTime,
    marker: bool,
    payload: Arc<[u8]>,
    captured: Instant,
    said: Said,
}

impl Ingest {
    /// For an offer with these layers.
    pub(super) fn new(layers: &[String]) -> Ingest {
        Ingest {
            layers: layers.iter().take(MAX_LAYERS).map(|layer| Rid::from(layer.as_str())).collect(),
            payload_types: PayloadTypes::default(),
            mids: Vec::new(),
            unannounced: Unannounced::default(),
            tracks: Vec::new(),
            ready: Vec::new(),
            clock: SenderClock::default(),
        }
    }

    /// One m-line's payload types were negotiated.
    pub(super) fn add_payload_types(&mut self, mid: Mid, negotiated: PayloadTypes) {
        self.mids.push(mid);
        self.payload_types.join(negotiated);
    }

    /// A datagram comes. Layers are told apart by the rid that every packet carries, nothing else.
    pub(super) fn expect(&mut self, datagram: &[u8], rtc: &mut Rtc) {
        if self.layers.is_empty() {
            self.unannounced.meet(datagram, &self.mids, rtc);
        }
    }

    /// Whether any codec of `kind` was negotiated.
    pub(super) fn takes(&self, kind: MediaKind) -> bool {
        self.payload_types.codecs().any(|codec| codec.kind() == kind)
    }

    /// Names of its layers.
    pub(super) fn layer_names(&self) -> Vec<String> {
        self.layers.iter().map(ToString::to_string).collect()
    }

    /// One packet came, for the first time.
    pub(super) fn push(&mut self, packet: &RtpPacket, rtc: &mut Rtc) {
        let Some(codec) = self.payload_types.codec(packet.header.payload_type) else {
            return;
        };
        let Some(index) = self.track(packet.header.ssrc, rtc) else {
            return;
        };
        let (sequence, rtp_time) = (*packet.seq_no, RtpTime(packet.header.timestamp));
        let captured = self.clock.captured(packet, codec.clock_rate());
        let track = &mut self.tracks[index];
        if track.kind != codec.kind() {
            return;
        }
        if track.received == 0 {
            track.first = sequence;
        }
        track.first = track.first.min(sequence);
        track.last = track.last.max(sequence);
        track.received += 1;
        let (marker, payload) = (packet.header.marker, packet.payload.clone());
        let said = Said::read(&packet.header.ext_vals);
        let arrived = Arrived { codec, rtp_time, marker, payload, captured, said };
        let Track { order, gathered, .. } = track;
        let ready = &mut self.ready;
        order.push(sequence, arrived, packet.timestamp, |sequence, packet| {
            gathered.add(sequence, packet, ready);
        });
    }

    /// Packets that waited long enough for a missing one go on; `true` where there were any.
    pub(super) fn give_up_holes(&mut self, now: Instant) -> bool {
        let mut any = false;
        for Track { order, gathered, .. } in &mut self.tracks {
            order.give_up(now, |sequence, packet| {
                any = true;
                gathered.add(sequence, packet, &mut self.ready);
            });
        }
        any
    }

    /// When that is due; none while nothing waits.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.tracks.iter().filter_map(|track| track.order.until()).min()
    }

    /// The runs that are complete.
    pub(super) fn take_ready(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.ready)
    }

    /// Nothing more is there to read: what was gathered is all there is for now.
    pub(super) fn end_runs(&mut self) {
        self.ready.extend(self.tracks.iter_mut().filter_map(|track| track.gathered.run.take()));
    }

    /// Whether a run could still grow.
    pub(super) fn is_gathering(&self) -> bool {
        self.tracks.iter().any(|track| track.gathered.run.is_some())
    }

    /// Asks for a keyframe of each of these layers, one bit each (PLI).
    pub(super) fn request_keyframes(&self, layers: u8, rtc: &mut Rtc) {
        let asked =
            |track: &&Track| track.kind == MediaKind::Video && layers & 1 << track.gathered.layer != 0;
        for track in self.tracks.iter().filter(asked) {
            if let Some(stream) = rtc.direct_api().stream_rx(&track.ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    /// str0m counted.
    pub(super) fn note(&mut self, stats: &MediaIngressStats, rtc: &mut Rtc) {
        for track in &mut self.tracks {
            let of_it = rtc
                .direct_api()
                .stream_rx(&track.ssrc)
                .is_some_and(|stream| stream.mid() == stats.mid && stream.rid() == stats.rid);
            if of_it {
                track.nacks = stats.nacks;
            }
        }
    }

    /// Packets that never came, neither at first nor when asked for again.
    pub(super) fn lost(&self) -> u64 {
        let expected = |track: &Track| if track.received == 0 { 0 } else { track.last - track.first + 1 };
        self.tracks.iter().map(|track| expected(track).saturating_sub(track.received)).sum()
    }

    /// Requests to send again.
    pub(super) fn nacks(&self) -> u64 {
        self.tracks.iter().map(|track| track.nacks).sum()
    }

    fn track(&mut self, ssrc: Ssrc, rtc: &mut Rtc) -> Option<usize> {
        if let Some(index) = self.tracks.iter().position(|track| track.ssrc == ssrc) {
            return Some(index);
        }
        if self.tracks.len() == MAX_TRACKS {
            return None;
        }
        let (mid, rid) = rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid()))?;
        let kind = codecs::kind(rtc.media(mid)?.kind());
        let layer = match rid {
            Some(rid) => self.layers.iter().position(|layer| *layer == rid)?,
            None => 0,
        };
        let layer = u8::try_from(layer).ok()?;
        self.tracks.push(Track {
            ssrc,
            kind,
            order: Order::default(),
            gathered: Gathered { layer, run: None, begun: None },
            first: 0,
            last: 0,
            received: 0,
            nacks: 0,
        });
        Some(self.tracks.len() - 1)
    }
}

impl Gathered {
    /// The next packet to go on, whether it belongs to the run or begins another one.
    fn add(&mut self, sequence: u64, packet: Arrived, ready: &mut Vec<Run>) {
        let Arrived { codec, rtp_time, marker, payload, captured, said } = packet;
        let follows = |run: &Run| {
            let last = run.frame.packets.last();
            let next = last.is_some_and(|last| last.sequence + 1 == sequence && last.rtp_time == rtp_time);
            next && run.frame.codec == codec && run.frame.packets.len() < MAX_RUN
        };
        if !self.run.as_ref().is_some_and(follows) {
            ready.extend(self.run.take());
        }
        let begins = match keyframe::entry(codec, &payload) {
            Entry::Sequence => true,
            Entry::Picture => self.begun != Some(rtp_time),
            Entry::None => false,
        };
        if begins {
            self.begun = Some(rtp_time);
        }
        let run = self.run.get_or_insert_with(|| Run {
            layer: self.layer,
            frame: Frame { codec, pts: MediaTime::default(), keyframe: false, packets: Vec::new() },
            said: Vec::new(),
            captured,
            ends: false,
        });
        run.frame.keyframe |= begins;
        run.frame.packets.push(Packet { sequence, rtp_time, marker, payload });
        run.said.push(said);
        if marker || codec.kind() == MediaKind::Audio {
            run.ends = true;
            ready.extend(self.run.take());
        }
    }
}

/// Turns the publisher's clock into ours. Sound and picture speak the same clock in their sender reports, so they stay
/// together; the distance to our clock is the shortest way a packet ever took.
#[derive(Debug, Default)]
struct SenderClock {
    /// One moment on both clocks.
    moment: Option<(SystemTime, Instant)>,
}

impl SenderClock {
    /// When a packet was captured; without a sender report, when it came.
    fn captured(&mut self, packet: &RtpPacket, clock_rate: u32) -> Instant {
        let came = packet.timestamp;
        let Some(report) = packet.last_sender_info else {
            return came;
        };
        let units = RtpTime(packet.header.timestamp).since(RtpTime(report.rtp_time.numer() as u32));
        let from_report = Duration::from_secs_f64(f64::from(units).abs() / f64::from(clock_rate));
        let captured = match units {
            0.. => report.ntp_time.checked_add(from_report),
            _ => report.ntp_time.checked_sub(from_report),
        };
        let Some(captured) = captured else {
            return came;
        };
        let at = self.moment.and_then(|(wall, at)| match captured.duration_since(wall) {
            Ok(later) => at.checked_add(later),
            Err(earlier) => at.checked_sub(earlier.duration()),
        });
        match at {
            Some(at) if at <= came && came - at <= MAX_AGE => at,
            _ => {
                self.moment = Some((captured, came));
                came
            }
        }
    }
}

impl PayloadTypes {
    /// What a packet of this payload type carries.
    fn codec(&self, pt: Pt) -> Option<Codec> {
        self.all().find(|(_, known)| *known == pt).map(|(codec, _)| codec)
    }
}
