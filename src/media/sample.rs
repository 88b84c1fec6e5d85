//! What leaves an encoder: access units for outputs, RTP frames for the SFU.

use std::sync::Arc;

use super::{Codec, FrameSize, MediaTime, RtpTime};

/// One complete encoded picture or audio frame, in the form outputs take it: H.264 as byte-stream with parameter sets
/// before each keyframe, AV1 as one temporal unit of an OBU stream, others as the codec defines a frame.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// The codec of `data`.
    pub codec: Codec,
    /// When it was captured.
    pub pts: MediaTime,
    /// Decoding can start here.
    pub keyframe: bool,
    /// What it was made by.
    pub make: Make,
    /// The encoded bytes, shared by everyone who takes this unit.
    pub data: Arc<[u8]>,
}

/// Where an access unit comes from. Where that differs from the unit before, so may what decoders must be told ahead of all
/// pictures, and what a file's header says once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Make {
    /// Each encoder that is built has a number of its own.
    pub encoder: u64,
    /// The picture's size, where the encoder says it.
    pub size: Option<FrameSize>,
}

/// One RTP packet without its header: what a forwarder must know of it, and the payload.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Sequence number extended beyond 16 bits, so that it never wraps.
    pub sequence: u64,
    /// Time in the header.
    pub rtp_time: RtpTime,
    /// Last packet of its access unit (video) or start of a talk spurt (audio).
    pub marker: bool,
    /// The payload, shared by all viewers.
    pub payload: Arc<[u8]>,
}

/// The RTP packets of one access unit, in order; the unit in which packets move, so that a viewer gets a whole frame
/// in one batch and nothing ever drops half of one.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The codec of the payloads.
    pub codec: Codec,
    /// When it was captured.
    pub pts: MediaTime,
    /// Decoding can start here.
    pub keyframe: bool,
    /// Never empty.
    pub packets: Vec<Packet>,
}
