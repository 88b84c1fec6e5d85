//! Frames on their way: placed on their lane's time line, kept in its ring, and sent to everybody who watches.

use std::time::Instant;

use super::{FeedId, Placed, Sfu, Stream, Wire};
use crate::media::{Frame, MediaKind};
use crate::sfu::peer::STEP_EVERY;
use crate::sfu::ring::Kept;
use crate::sfu::said::Said;

impl Sfu {
    /// Sends one frame to everybody who watches; of a picture, to those who are shown this layer.
    pub fn forward(
        &mut self,
        feed: FeedId,
        layer: u8,
        frame: &Frame,
        captured: Instant,
        now: Instant,
        wire: &mut dyn Wire,
    ) {
        let is_sound = frame.codec.kind() == MediaKind::Audio;
        // A layer that has ended may still have some under way.
        let ended = |stream: &Stream| layer > 0 && usize::from(layer) >= stream.layers.len();
        if !self.is_current(feed) || (!is_sound && ended(&self.streams[feed.stream])) {
            return;
        }
        // Layers are the same picture several times.
        self.streams[feed.stream].counted.frames_in += u64::from(is_sound || layer == 0);
        self.spread(feed.stream, (frame, &[]), layer, captured, now, wire);
        self.batch.flush(wire);
    }

    /// Places a frame, or what has arrived of one, with what was said of each packet if anything was, and sends it to
    /// everybody who watches.
    pub(super) fn spread(
        &mut self,
        stream: usize,
        (frame, said): (&Frame, &[Said]),
        layer: u8,
        captured: Instant,
        now: Instant,
        wire: &mut dyn Wire,
    ) {
        let state = &mut self.streams[stream];
        state.counted.packets_in += frame.packets.len() as u64;
        state.counted.bytes_in += frame.packets.iter().map(|p| p.payload.len() as u64).sum::<u64>();
        let local = state.local;
        let lane = state.lane(frame.codec.kind(), layer);
        if lane.timeline.is_stale(frame) {
            return;
        }
        let Some(shift) = lane.timeline.place(frame, captured) else {
            if local {
                lane.keyframes.want();
            } else {
                lane.keyframes.want_still(now);
            }
            return;
        };
        let source = (layer, lane.timeline.generation());
        let capture_time = lane.capture_time(said, captured, now, &self.wall_clock);
        let mut packets = std::mem::take(&mut self.placing);
        packets.extend(frame.packets.iter().enumerate().map(|(index, packet)| Kept {
            sequence: shift.sequence(packet.sequence),
            time: shift.time(packet.rtp_time),
            marker: packet.marker,
            codec: frame.codec,
            source,
            captured,
            at: now,
            said: said.get(index).map(|said| lane.heed(said)).unwrap_or_default(),
            payload: packet.payload.clone(),
        }));
        if frame.codec.kind() == MediaKind::Video {
            for (index, kept) in packets.iter().enumerate() {
                lane.ring.put(kept.clone(), frame.keyframe && index == 0);
            }
            if frame.keyframe {
                lane.keyframes.came();
            }
        }
        state.carried(frame, layer, now);
        let live_layers = state.live_layers(now);
        let viewers = std::mem::take(&mut state.viewers);
        let (codec, keyframe) = (frame.codec, frame.keyframe);
        let placed = Placed { packets: &packets, codec, keyframe, layer, live_layers, capture_time };
        // Viewer outer, packet inner: a viewer's packets of a frame leave in one system call.
        for peer in &viewers {
            self.with_peer(*peer, now, wire, |peer, out| peer.forward(&placed, now, out));
        }
        packets.clear();
        self.placing = packets;
        let still_here = viewers.into_iter().filter(|peer| self.peers[*peer].is_some());
        self.streams[stream].viewers = still_here.collect();
    }

    /// Sends viewers that are behind some more.
    pub(super) fn step(&mut self, now: Instant, wire: &mut dyn Wire) {
        if self.behind.is_empty() || self.step_at.is_some_and(|at| now < at) {
            return;
        }
        self.step_at = Some(now + STEP_EVERY);
        for key in std::mem::take(&mut self.behind) {
            // Whoever is still behind is put back there.
            self.with_peer(key, now, wire, |peer, out| peer.step(now, out));
        }
        self.batch.flush(wire);
    }
}
