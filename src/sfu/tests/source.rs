//! The box's own picture and sound in a world, as its encoders would make them.

use crate::media::{Codec, Frame, MediaTime, Packet, RtpTime};

/// A publisher that numbers and stamps as it likes.
pub(super) struct Source {
    pub(super) codec: Codec,
    pub(super) sequence: u64,
    pub(super) audio_sequence: u64,
    pub(super) time_offset: u32,
    pub(super) frame: u32,
    pub(super) keyframe_wanted: bool,
    pub(super) packets: u8,
}

/// A smaller version of the box's own picture, from an encoder of its own.
pub(super) struct Smaller {
    pub(super) sequence: u64,
    pub(super) keyframe_wanted: bool,
    pub(super) packets: u8,
    pub(super) keyframes_made: u32,
    /// Its encoder has stopped.
    pub(super) silent: bool,
    /// Its pictures come out so much later than the best layer's, in ms.
    pub(super) late: u64,
}

impl Default for Source {
    fn default() -> Source {
        Source {
            codec: Codec::H264,
            sequence: 70_000,
            audio_sequence: 5,
            time_offset: 4_000_000_000,
            frame: 0,
            keyframe_wanted: true,
            packets: 5,
        }
    }
}

impl Source {
    /// 20 ms of sound.
    pub(super) fn sound(&mut self, at: u64) -> Frame {
        self.audio_sequence += 1;
        let mut payload = vec![0; 100];
        payload[5..7].copy_from_slice(&[0, 1]);
        let packet = Packet {
            sequence: self.audio_sequence,
            rtp_time: RtpTime(at as u32 * 48),
            marker: false,
            payload: payload.into(),
        };
        let pts = MediaTime::from_nanos(at * 1_000_000);
        Frame { codec: Codec::Opus, pts, keyframe: true, packets: vec![packet] }
    }
}

impl Smaller {
    /// The `n`th; its numbers differ from those of all others.
    pub(super) fn new(n: u64, packets: u8) -> Smaller {
        let sequence = 9_000 + 100_000 * n;
        Smaller { sequence, keyframe_wanted: true, packets, keyframes_made: 0, silent: false, late: 0 }
    }
}

/// A picture of one layer: its first packet's number and how many there are, the layer and whether it is a keyframe, its
/// number and when it was captured.
pub(super) fn frame(
    source: &Source,
    (sequence, packets): (u64, u8),
    (layer, keyframe): (u8, bool),
    (number, at): (u32, u64),
) -> Frame {
    let rtp_time = RtpTime((at as u32).wrapping_mul(90).wrapping_add(source.time_offset));
    let count = if keyframe { packets * 3 } else { packets };
    let packets = (0..count).map(|index| {
        let mut payload = vec![index; if index + 1 == count { 500 } else { 1_180 }];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        payload[4..8].copy_from_slice(&[u8::from(keyframe), index, count, layer]);
        let sequence = sequence + u64::from(index);
        Packet { sequence, rtp_time, marker: index + 1 == count, payload: payload.into() }
    });
    let pts = MediaTime::from_nanos(at * 1_000_000);
    Frame { codec: source.codec, pts, keyframe, packets: packets.collect() }
}
