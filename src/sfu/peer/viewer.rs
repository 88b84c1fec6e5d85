//! What a viewer is sent: frames through its gate and its numbering, of the layer it is shown.

use std::time::{Duration, Instant};

use str0m::media::{Direction, MediaTime as ExtTime, Mid};
use str0m::rtp::{AbsCaptureTime, Extension, ExtensionMap, ExtensionValues, RtpWrite};

use super::{Disconnect, Out, Peer};
use crate::media::{Codec, Frame, MediaKind, RtpTime};
use crate::sfu::codecs::{self, PayloadTypes};
use crate::sfu::gate::{Admission, Gate};
use crate::sfu::munger::Munger;
use crate::sfu::timeline::Shift;
use crate::sfu::vp8::Vp8Numbers;
use crate::sfu::wall_clock::CaptureTime;

/// Video packets kept for resends; a second of 5 Mbit/s.
const RESEND_PACKETS: usize = 512;
/// Older packets are of no use to a player that waits for nothing.
const RESEND_AGE: Duration = Duration::from_secs(1);
/// Resends take at most this share of what is sent, so that NACKs cannot be used to multiply traffic.
const RESEND_SHARE: f32 = 0.25;
/// RTP time by which a viewer's next layer is at least later than its last, in 90 kHz: 1 ms.
const LAYER_STEP: u32 = 90;

/// One frame, placed on its lane's timeline.
pub(in crate::sfu) struct Placed<'a> {
    pub(in crate::sfu) frame: &'a Frame,
    /// Which layer of the picture it belongs to.
    pub(in crate::sfu) layer: u8,
    /// Names the layer's source; another one numbers as it likes.
    pub(in crate::sfu) source: (u8, u32),
    /// Bit n is set while layer n brings pictures.
    pub(in crate::sfu) live_layers: u8,
    pub(in crate::sfu) shift: Shift,
    /// When it was captured.
    pub(in crate::sfu) captured: Instant,
    /// The same on the wall clock, when this frame is to carry it (abs-capture-time).
    pub(in crate::sfu) capture_time: Option<CaptureTime>,
}

/// What a viewer gets of one kind.
pub(super) struct Track {
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
    /// Whether a stream that carries `codec` can be shown: the viewer plays it, or did not ask for its kind at all.
    pub(in crate::sfu) fn accepts(&self, codec: Codec) -> bool {
        let plays = self.track(codec.kind()).is_some_and(|track| track.payload_types.of(codec).is_some());
        plays || !self.offer.asks_for(codec.kind())
    }

    /// From now on this layer, or the next one to it that there is.
    pub(in crate::sfu) fn choose_layer(&mut self, layer: u8) {
        self.choice = layer;
        self.noted.keyframe_requests += 1;
    }

    /// Encoding names that were offered for the kind of `codec`.
    pub(in crate::sfu) fn offered(&self, codec: Codec) -> Vec<String> {
        self.offer.encodings(codec)
    }

    /// Sends one frame, whole, if the viewer can use it.
    pub(in crate::sfu) fn forward(
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
            if let Some(CaptureTime { at, ahead }) = placed.capture_time.filter(|_| index == 0) {
                let mut capture_time = AbsCaptureTime { capture_time: at, clock_offset: None };
                capture_time.set_clock_offset(ahead);
                extensions.abs_capture_time = Some(capture_time);
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

    /// Keeps what was negotiated for one m-line.
    pub(super) fn add_track(&mut self, mid: Mid) {
        let Some(media) = self.rtc.media(mid) else {
            return;
        };
        let kind = codecs::kind(media.kind());
        let payload_types = PayloadTypes::negotiated(media, self.rtc.codec_config());
        match (media.direction(), &mut self.ingest) {
            (Direction::RecvOnly, Some(ingest)) => return ingest.add_payload_types(mid, payload_types),
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
}

/// The layer to show: the wished one, else the next lower, else the next higher one that brings pictures.
fn best_layer(choice: u8, live: u8) -> u8 {
    let has = |layer: &u8| live & 1 << layer != 0;
    (choice..8).find(has).or_else(|| (0..choice.min(8)).rev().find(has)).unwrap_or(0)
}

/// Which header extensions are negotiated with viewers: the mid, no playout delay, and the capture time. Transport-wide feedback is
/// not: nothing here estimates bandwidth, and reading it costs a quarter of all CPU time.
pub(super) fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::AbsoluteCaptureTime);
    map
}
