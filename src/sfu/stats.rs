//! What the SFU counts, as one value.

use std::time::Duration;

use crate::media::{Ages, Codec, MediaKind, StreamName};

/// Everything the SFU counts since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Streams in the order they became known.
    pub streams: Vec<StreamStats>,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Bytes of datagrams sent.
    pub bytes_out: u64,
    /// Received datagrams that were neither STUN nor from a viewer's address, or too large.
    pub garbage: u64,
    /// STUN requests that named no session.
    pub stun_unknown: u64,
    /// Datagrams that the socket refused.
    pub send_errors: u64,
    /// Viewers that got an answer.
    pub joins: u64,
    /// Viewers that finished ICE and DTLS.
    pub connects: u64,
    /// Viewers that left, by reason; reasons that never happened are absent.
    pub disconnects: Vec<(Disconnect, u64)>,
    /// Viewers now connected.
    pub viewers: u32,
    /// Viewers that have an answer but have not connected yet.
    pub pending: u32,
    /// The hand-over rings of the local feeds.
    pub lanes: Vec<LaneStats>,
    /// Connections for media over TCP; none where the media port does not listen for them.
    pub tcp: Option<TcpStats>,
}

/// What became of connections for media over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpStats {
    /// Open now.
    pub connections: u32,
    /// Of those, the ones that have not proved yet to be somebody's who has a session.
    pub unproven: u32,
    /// Opened since the start.
    pub accepted: u64,
    /// Not taken, for there were too many: of one network, or of all.
    pub refused: u64,
    /// Closed for what they sent, or did not send in time, before they had proved anything.
    pub strangers: u64,
    /// Closed for taking nothing of what was sent.
    pub stalled: u64,
    /// Packets that found no room behind what a connection had not taken yet.
    pub dropped: u64,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStats {
    /// Its name.
    pub name: StreamName,
    /// Media arrives.
    pub live: bool,
    /// Where it comes from; none while nobody publishes.
    pub publisher: Option<PublisherKind>,
    /// Layers of the picture, the best one first; empty where there is but one version of it.
    pub layers: Vec<String>,
    /// What arrives: the layers of the picture, then the sound; only what has come since the publisher did.
    pub tracks: Vec<TrackStats>,
    /// For how long its publisher has been sending; none before the first packet.
    pub since: Option<Duration>,
    /// The picture's codec, once known.
    pub video: Option<Codec>,
    /// The sound's codec, once known.
    pub audio: Option<Codec>,
    /// Viewers now connected.
    pub viewers: u32,
    /// Of those, the ones whose media goes over TCP.
    pub over_tcp: u32,
    /// Of those, the ones that are sent no picture, for their way carries none.
    pub paused: u32,
    /// RTP packets that arrived.
    pub packets_in: u64,
    /// Payload bytes that arrived.
    pub bytes_in: u64,
    /// RTP packets sent, all viewers together, without resends.
    pub packets_out: u64,
    /// Payload bytes sent, all viewers together, without resends.
    pub bytes_out: u64,
    /// Packets that a publisher sent and that never arrived, resends included.
    pub packets_lost: u64,
    /// Requests to a publisher to send packets again (NACK).
    pub nacks: u64,
    /// RTP packets sent again to viewers that asked.
    pub packets_resent: u64,
    /// Requests of viewers to send packets again (NACK).
    pub viewer_nacks: u64,
    /// Frames that arrived.
    pub frames_in: u64,
    /// Keyframe requests that came from viewers, joins included.
    pub keyframe_requests: u64,
    /// Keyframe requests that were passed to the publisher after merging and throttling.
    pub keyframe_requests_forwarded: u64,
    /// Frames that the hand-over dropped because the SFU did not keep up.
    pub dropped: u64,
}

/// One layer of a picture, or a sound, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackStats {
    /// Picture or sound.
    pub kind: MediaKind,
    /// The layer's name; empty without simulcast.
    pub layer: String,
    /// RTP packets.
    pub packets: u64,
    /// Payload bytes a second, over the last second or so.
    pub bytes_per_second: u64,
    /// How long ago the last keyframe began; none for sound.
    pub keyframe: Option<Duration>,
}

/// Where a stream's media comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublisherKind {
    /// This box's own encoders.
    Local,
    /// Somebody by WHIP.
    Whip,
}

impl PublisherKind {
    /// The word used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            PublisherKind::Local => "box",
            PublisherKind::Whip => "whip",
        }
    }
}

/// The ring between a streaming thread and the SFU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// The stream it feeds.
    pub stream: StreamName,
    /// Picture or sound.
    pub kind: MediaKind,
    /// Of a picture: which layer, 0 for the best one.
    pub layer: u8,
    /// Frames in it now.
    pub level: u64,
    /// Time in it now.
    pub level_time: Duration,
    /// The limit in frames.
    pub max: u64,
    /// The limit in time.
    pub max_time: Duration,
    /// Frames dropped here.
    pub dropped: u64,
    /// How long frames took lately from here until they were sent to everybody: median and 95th percentile.
    pub sending: Option<(Duration, Duration)>,
    /// How old they were then.
    pub ages: Option<Ages>,
}

/// Why a viewer or a publisher left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disconnect {
    /// DELETE on the session.
    Deleted,
    /// The other side closed the connection (DTLS `close_notify`).
    Closed,
    /// The other side no longer answers (RFC 7675).
    TimedOut,
    /// ICE and DTLS did not finish in time.
    NeverConnected,
    /// The stream changed to a codec that this viewer did not offer.
    Codec,
    /// The other side broke the protocol.
    Protocol,
    /// Another publisher took over.
    Replaced,
    /// A bug ended this one peer.
    Panic,
    /// The SFU went down.
    Shutdown,
}

impl Disconnect {
    /// Every reason.
    pub const ALL: [Disconnect; 9] = [
        Disconnect::Deleted,
        Disconnect::Closed,
        Disconnect::TimedOut,
        Disconnect::NeverConnected,
        Disconnect::Codec,
        Disconnect::Protocol,
        Disconnect::Replaced,
        Disconnect::Panic,
        Disconnect::Shutdown,
    ];

    /// The word used in JSON, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Disconnect::Deleted => "deleted",
            Disconnect::Closed => "closed",
            Disconnect::TimedOut => "timed-out",
            Disconnect::NeverConnected => "never-connected",
            Disconnect::Codec => "codec",
            Disconnect::Protocol => "protocol",
            Disconnect::Replaced => "replaced",
            Disconnect::Panic => "panic",
            Disconnect::Shutdown => "shutdown",
        }
    }
}
