//! Publishing over WebRTC: what leaves an outlet goes through a pipeline of its own to one server.
//!
//! ```text
//!  Outlet ─ access units ─> appsrc (bounded; drops to the next keyframe) ─ payloader ─ capssetter ─┐
//!  Outlet ─ access units ─> appsrc ─────────────────────────────────────── payloader ─ capssetter ─┴─> webrtcbin ─> server
//!    ^                                                                                                     │
//!    └────────────── request for a keyframe <──────── PLI, FIR (upstream GstForceKeyUnit) <─────────────────┘
//! ```
//!
//! [`Transport`] is the seam: who drives it knows offer, answer, events and numbers, and nothing of GStreamer. What the
//! server says over HTTP is not its business.

pub(super) mod caps;
mod certificate;
mod parts;
mod publisher;
mod report;
mod resend;

use std::sync::Arc;
use std::time::Duration;

use super::{Departure, Outlet};
use crate::media::{Bitrate, Codec, FrameSize, Framerate};
use crate::plan::{Node, QueueClass};

pub use publisher::PublishError;

/// One connection to a server: made once, closed once. Its events come through the [`TransportSink`] it was made with;
/// the first is its offer.
pub trait Transport: Send {
    /// Sets the server's answer. What is wrong with it comes as [`TransportEvent::Failed`].
    fn answer(&mut self, sdp: &str);

    /// What it counted and measured so far.
    fn stats(&self) -> TransportStats;

    /// Ends it without waiting; nothing is heard of it afterwards.
    fn close(self: Box<Self>) -> Departure;
}

/// Takes a transport's events, on threads of the transport: hand over and return, never block.
pub type TransportSink = Arc<dyn Fn(TransportEvent) + Send + Sync>;

/// What a transport tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportEvent {
    /// Its offer; the last one holds all candidates.
    Offer {
        /// The whole description.
        sdp: String,
        /// Does it hold all candidates?
        complete: bool,
    },
    /// One local candidate, as it is gathered.
    Candidate {
        /// Which m-line it belongs to, from 0.
        m_line: usize,
        /// `candidate:…`
        line: String,
    },
    /// ICE and DTLS stand: media flows from the next keyframe on.
    Connected,
    /// Consent is lost for now.
    Disconnected,
    /// The connection failed for good, or the server closed it.
    Lost,
    /// It cannot go on, in words.
    Failed(String),
}

/// What a transport counted and measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TransportStats {
    /// Access units that went in, all media together.
    pub units: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pictures a second, over the last seconds.
    pub fps: f64,
    /// Bits a second that went in, all media together, over the last seconds.
    pub bitrate: u64,
    /// Access units that did not get in because the transport did not keep up.
    pub dropped: u64,
    /// Keyframes that the server asked for.
    pub keyframe_requests: u64,
    /// RTCP packets that came from the server.
    pub feedback: u64,
    /// Packets that the server asked for again (NACK).
    pub nacks: u64,
    /// Packets that were sent again (RTX); on a way that loses much, not all that were asked for.
    pub resent: u64,
    /// Access units whose PTS went back: B-frames, which no WebRTC peer can show.
    pub reordered: u64,
    /// Round trip, as the server's reports tell.
    pub rtt: Option<Duration>,
    /// Packets of the picture that the server reports as lost.
    pub packets_lost: Option<u64>,
    /// The share of them that was lost lately, 0 to 1.
    pub loss: Option<f64>,
    /// What the way to the server is believed to carry.
    pub estimate: Option<Bitrate>,
    /// Pictures that wait to be packed.
    pub waiting: Waiting,
}

/// What waits at a lane's entry, and what may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Access units now.
    pub units: u64,
    /// Media time now.
    pub time: Duration,
    /// The most access units; 0 is no limit.
    pub most_units: u64,
    /// The most media time; 0 is no limit.
    pub most_time: Duration,
}

/// One medium to publish.
#[derive(Clone)]
pub struct Lane {
    /// Where its access units come from.
    pub outlet: Outlet,
    /// Their codec. Units of another are not taken.
    pub codec: Codec,
    /// What packs them: the payloader of the encode graph's own plan.
    pub payloader: Node,
    /// How much may wait.
    pub limits: QueueClass,
    /// For the offered level of H.264.
    pub picture: Option<(FrameSize, Framerate)>,
    /// What the encoder is told to make.
    pub bitrate: Bitrate,
    /// The encoder's property that asks for B-frames, if one does.
    pub reorders: Option<String>,
}

/// A STUN or TURN server to use.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    /// `stun:…`, `turn:…`, `turns:…`
    pub uri: String,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

#[cfg(test)]
mod tests;
