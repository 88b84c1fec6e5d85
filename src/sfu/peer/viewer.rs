//! What a viewer is sent: frames through its gate and its numbering, of the layer it is shown; first what it needs from
//! before it came, a little at a time.

use std::time::{Duration, Instant};

use str0m::media::{Direction, MediaTime as ExtTime, Mid};
use str0m::rtp::{AbsCaptureTime, Extension, ExtensionMap, ExtensionValues, RtpWrite};

use super::{Disconnect, Out, Peer};
use crate::media::{Codec, MediaKind, RtpTime};
use crate::sfu::codecs::{self, PayloadTypes};
use crate::sfu::fast::{Media, Outgoing};
use crate::sfu::gate::{Admission, Gate};
use crate::sfu::munger::Munger;
use crate::sfu::ring::Kept;
use crate::sfu::vp8::Vp8Numbers;
use crate::sfu::wall_clock::CaptureTime;

/// Video packets that str0m keeps for resends; a second of 5 Mbit/s.
const RESEND_PACKETS: usize = 512;
/// Older packets are of no use to a player that waits for nothing.
const RESEND_AGE: Duration = Duration::from_secs(1);
/// Resends take at most this share of what is sent, so that NACKs cannot be used to multiply traffic.
const RESEND_SHARE: f32 = 0.25;
/// RTP time by which a viewer's next layer is at least later than its last, in 90 kHz: 1 ms.
const LAYER_STEP: u32 = 90;
/// Packets that a viewer is sent at once; what is more of a keyframe, or from before it came, follows in steps.
const BURST: usize = 48;
/// Packets of one step; about 40 Mbit/s.
const STEP: usize = 20;
/// How often a viewer that is behind gets some of it.
pub(in crate::sfu) const STEP_EVERY: Duration = Duration::from_millis(5);

/// One frame, placed on its lane's timeline.
#[derive(Clone, Copy)]
pub(in crate::sfu) struct Placed<'a> {
    /// Its packets; never empty.
    pub(in crate::sfu) packets: &'a [Kept],
    pub(in crate::sfu) codec: Codec,
    /// Decoding can start here.
    pub(in crate::sfu) keyframe: bool,
    /// Which layer of the picture it belongs to.
    pub(in crate::sfu) layer: u8,
    /// Bit n is set while layer n brings pictures.
    pub(in crate::sfu) live_layers: u8,
    /// When it was captured on the wall clock, when this frame is to carry it (abs-capture-time).
    pub(in crate::sfu) capture_time: Option<CaptureTime>,
}

/// What a viewer gets of one kind.
pub(super) struct Track {
    pub(super) mid: Mid,
    pub(super) payload_types: PayloadTypes,
    gate: Gate,
    pub(super) munger: Munger,
    /// Which layer it is shown.
    pub(super) layer: u8,
    /// The lane's number it goes on with while it is behind; none when it gets what comes.
    pub(super) cursor: Option<u64>,
    last_time: Option<RtpTime>,
    vp8: Vp8Numbers,
}

impl Peer {
    /// Whether a stream that carries `codec` can be shown: the viewer plays it, or did not ask for its kind at all.
    pub(in crate::sfu) fn accepts(&self, codec: Codec) -> bool {
        let plays = self.track(codec.kind()).is_some_and(|track| track.payload_types.of(codec).is_some());
        plays || !self.offer.asks_for(codec.kind())
    }

    /// From now on this layer, or the next one to it that there is; without one, what fits.
    pub(in crate::sfu) fn choose_layer(&mut self, layer: Option<u8>, now: Instant, out: &Out<'_>) {
        self.choice = layer;
        self.ask_for_wanted(now, out);
    }

    /// The layer that it chose is another one now, or none.
    pub(in crate::sfu) fn rename_choice(&mut self, renamed: impl Fn(u8) -> Option<u8>) {
        self.choice = self.choice.and_then(renamed);
    }

    /// Asks for a keyframe of the layer that it is to be shown.
    pub(super) fn ask_for_wanted(&mut self, now: Instant, out: &Out<'_>) {
        self.noted.ask(best_layer(self.wanted_layer(), out.stream.live_layers(now)), 1);
    }

    /// The layer that it is shown.
    pub(in crate::sfu) fn shown_layer(&self) -> u8 {
        self.video.as_ref().map_or(0, |track| track.layer)
    }

    /// Encoding names that were offered for the kind of `codec`.
    pub(in crate::sfu) fn offered(&self, codec: Codec) -> Vec<String> {
        self.offer.encodings(codec)
    }

    /// A viewer that has just connected begins with the last keyframe, or asks for one.
    pub(in crate::sfu) fn begin(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        let wanted = best_layer(self.wanted_layer(), out.stream.live_layers(now));
        let Some(track) = self.video.as_mut().filter(|_| self.noted.connected) else { return Ok(()) };
        let ring = out.stream.ring(wanted);
        let entry = ring.and_then(|ring| Some((ring, ring.entry(now)?)));
        let start = entry.and_then(|(ring, entry)| Some((entry, ring.get(entry.sequence)?)));
        let Some((entry, first)) = start else {
            self.noted.ask(wanted, 1);
            return Ok(());
        };
        (track.layer, track.gate, track.cursor) = (wanted, Gate::Open, Some(entry.sequence));
        track.resume(wanted, first, Some(entry.live_from));
        self.catch_up(BURST, now, out)
    }

    /// Whether it still has to be sent what others have been sent.
    pub(in crate::sfu) fn is_behind(&self) -> bool {
        self.way.is_trying() || self.video.as_ref().is_some_and(|track| track.cursor.is_some())
    }

    /// The layer to show, if it brings pictures.
    fn wanted_layer(&self) -> u8 {
        self.choice.unwrap_or(self.way.layer())
    }

    /// Sends the next step of what it is behind by.
    pub(in crate::sfu) fn step(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        self.catch_up(STEP, now, out)?;
        self.pad(now, out);
        Ok(())
    }

    fn catch_up(&mut self, most: usize, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        let (stream, held_up) = (out.stream, self.is_held_up(out));
        let Some(track) = &mut self.video else { return Ok(()) };
        let (Some(mut cursor), Some(ring)) = (track.cursor, stream.ring(track.layer)) else {
            track.cursor = None;
            return Ok(());
        };
        if cursor < ring.first() {
            // What it has not been sent yet is gone: it begins anew.
            (track.cursor, track.gate) = (None, Gate::Closed);
            let layer = track.layer;
            self.noted.ask(layer, u64::from(!held_up));
            return Ok(());
        }
        let most = if held_up { 0 } else { most };
        let mut sent = 0;
        while cursor < ring.end() && sent < most {
            if let Some(kept) = ring.get(cursor) {
                self.write(kept, None, now, out)?;
                sent += 1;
            }
            cursor += 1;
        }
        if let Some(track) = &mut self.video {
            track.cursor = (cursor < ring.end()).then_some(cursor);
        }
        self.written(now, out)
    }

    /// Sends one frame, whole, if the viewer can use it.
    pub(in crate::sfu) fn forward(
        &mut self,
        placed: &Placed<'_>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        let kind = placed.codec.kind();
        let Some(first) = placed.packets.first().filter(|_| self.connected) else {
            return Ok(());
        };
        let held_up = kind == MediaKind::Video && self.is_held_up(out);
        if kind == MediaKind::Video {
            self.note_wait(now, out);
        }
        let track = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let Some(track) = track else {
            return Ok(());
        };
        if track.payload_types.of(placed.codec).is_none() {
            return Err(Disconnect::Codec);
        }
        let starts = placed.keyframe || kind == MediaKind::Audio;
        if kind == MediaKind::Video {
            if self.way.is_paused(self.choice) {
                (track.gate, track.cursor) = (Gate::Closed, None);
                return Ok(());
            }
            let wanted = best_layer(self.choice.unwrap_or(self.way.layer()), placed.live_layers);
            if placed.layer == wanted && track.layer != wanted {
                if starts || track.gate == Gate::Closed {
                    (track.layer, track.gate, track.cursor) = (wanted, Gate::Closed, None);
                } else {
                    self.noted.waits_for |= 1 << wanted;
                }
            }
            if placed.layer != track.layer {
                return Ok(());
            }
        }
        match track.gate.admit(starts) {
            Admission::Refused => {
                // A keyframe would wait as well.
                if kind == MediaKind::Video && !held_up {
                    self.noted.waits_for |= 1 << placed.layer;
                }
                return Ok(());
            }
            Admission::Resumes => track.resume(placed.layer, first, None),
            Admission::Passes => {}
        }
        if let Some(cursor) = track.cursor.filter(|cursor| placed.keyframe && *cursor < first.sequence) {
            self.leap(cursor, placed.layer, first, now, out)?;
        }
        let cursor = self.track(kind).and_then(|track| track.cursor);
        let most = if held_up { 0 } else { BURST };
        for (index, kept) in placed.packets.iter().enumerate() {
            // Its turn comes.
            if cursor.is_some_and(|cursor| kept.sequence >= cursor) {
                continue;
            }
            if index == most && kind == MediaKind::Video {
                if let Some(track) = &mut self.video {
                    track.cursor = Some(kept.sequence);
                }
                break;
            }
            self.write(kept, placed.capture_time.filter(|_| index == 0), now, out)?;
        }
        self.written(now, out)
    }

    /// A keyframe has come that begins with `first`: nothing from before it is needed any more but the rest of the picture
    /// under way at `cursor`.
    fn leap(
        &mut self,
        mut cursor: u64,
        layer: u8,
        first: &Kept,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        let Some(ring) = out.stream.ring(layer) else { return Ok(()) };
        let under_way = cursor.checked_sub(1).and_then(|last| ring.get(last)).filter(|last| !last.marker);
        if let Some(time) = under_way.map(|last| last.time) {
            if time == first.time {
                return Ok(());
            }
            while let Some(kept) = ring.get(cursor).filter(|kept| kept.time == time) {
                self.write(kept, None, now, out)?;
                cursor += 1;
            }
        }
        if let Some(track) = &mut self.video {
            track.cursor = None;
            track.resume(layer, first, None);
        }
        Ok(())
    }

    /// What was written is on its way.
    fn written(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Disconnect> {
        match &mut self.fast {
            Some(fast) => {
                fast.report(now, out);
                Ok(())
            }
            None => self.timeout(now, out),
        }
    }

    /// Gives one packet its number and time, and sends it.
    fn write(
        &mut self,
        kept: &Kept,
        capture_time: Option<CaptureTime>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Result<(), Disconnect> {
        let kind = kept.codec.kind();
        let track = match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        };
        let Some(track) = track else { return Ok(()) };
        let pt = track.payload_types.of(kept.codec).ok_or(Disconnect::Codec)?;
        if kept.codec == Codec::Vp8 {
            let offsets = track.vp8.see(kept.source, &kept.payload);
            if offsets != track.munger.span().vp8 {
                track.munger.renumber_vp8(kept.sequence, offsets);
            }
        }
        let Some(sequence) = track.munger.map(kept.sequence) else { return Ok(()) };
        let span = track.munger.span();
        let time = span.time(kept.time);
        track.last_time = Some(track.last_time.filter(|last| last.since(time) > 0).unwrap_or(time));
        let is_vp8 = kept.codec == Codec::Vp8;
        if let Some(fast) = &mut self.fast {
            let head = span.vp8.head(&kept.payload).filter(|_| is_vp8).unwrap_or_default();
            let packet = Outgoing {
                payload_type: *pt,
                sequence,
                time,
                marker: kept.marker,
                payload: [head.bytes(), &kept.payload[head.bytes().len()..]],
                capture_time,
                captured: kept.captured,
                said: kept.said,
            };
            if !fast.send(Media::from(kind), &packet, now, out) {
                return Ok(());
            }
        } else {
            let mut api = self.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(track.mid, None) else {
                return Ok(());
            };
            let mut extensions = ExtensionValues::default();
            if kind == MediaKind::Video {
                extensions.play_delay_min = Some(ExtTime::ZERO);
                extensions.play_delay_max = Some(ExtTime::ZERO);
            }
            kept.said.write(&mut extensions);
            if let Some(CaptureTime { at, ahead }) = capture_time {
                let mut capture_time = AbsCaptureTime { capture_time: at, clock_offset: None };
                capture_time.set_clock_offset(ahead);
                extensions.abs_capture_time = Some(capture_time);
            }
            let mut write = RtpWrite::new(pt, sequence.into(), time.0, kept.captured, kept.payload.clone())
                .marker(kept.marker)
                .nackable(kind == MediaKind::Video)
                .ext_vals(extensions);
            if let Some(patch) = span.vp8.patch(&kept.payload).filter(|_| is_vp8) {
                write = write.vp8_patch(patch);
            }
            stream.write_rtp(write);
        }
        self.noted.packets += 1;
        self.noted.bytes += kept.payload.len() as u64;
        Ok(())
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
        let track = Track {
            mid,
            payload_types,
            gate: Gate::Closed,
            munger: Munger::new(),
            layer: 0,
            cursor: None,
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

impl Track {
    /// Goes on with `first` of a layer, later than whatever was sent last.
    fn resume(&mut self, layer: u8, first: &Kept, live_from: Option<RtpTime>) {
        self.munger.resume(layer, first.sequence, live_from);
        let time = self.munger.span().time(first.time);
        if let Some(last) = self.last_time.filter(|last| time.since(*last) <= 0) {
            self.munger.delay(last.offset(LAYER_STEP).0.wrapping_sub(time.0));
        }
    }
}

/// The layer to show: the wished one, else the next lower, else the next higher one that brings pictures.
fn best_layer(choice: u8, live: u8) -> u8 {
    let has = |layer: &u8| live & 1 << layer != 0;
    (choice..8).find(has).or_else(|| (0..choice.min(8)).rev().find(has)).unwrap_or(0)
}

/// Which header extensions are negotiated with viewers: feedback on what arrives, the mid, the capture time, and what a
/// publisher may say: playout delay, the picture's orientation and the sound's level.
pub(super) fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::AbsoluteCaptureTime);
    map.set(13, Extension::VideoOrientation);
    map
}
