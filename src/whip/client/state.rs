//! What people and metrics see of the session.

use std::time::Instant;

use crate::media::Fault;

/// Where the session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Never started.
    Idle,
    /// On the way: offer, request, ICE.
    Connecting,
    /// Connected; media flows.
    Live,
    /// Failed; tried again when due.
    BackingOff,
    /// The server has a publisher for this key, maybe our own lost one; tried again when due.
    HostBusy,
    /// The server does not take the key (401, 403).
    Refused,
    /// There is no WHIP endpoint at this URL (404, 405, 301, a web page).
    WrongUrl,
    /// The server cannot make anything of the offer.
    InvalidOffer,
    /// The server does not take the codec.
    CodecRefused,
    /// The session is being ended.
    Stopping,
    /// Ended by command.
    Stopped,
}

impl Phase {
    /// The word used in JSON and metrics: `idle`, `backing_off`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Connecting => "connecting",
            Phase::Live => "live",
            Phase::BackingOff => "backing_off",
            Phase::HostBusy => "host_busy",
            Phase::Refused => "refused",
            Phase::WrongUrl => "wrong_url",
            Phase::InvalidOffer => "invalid_offer",
            Phase::CodecRefused => "codec_refused",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }

    /// Does only an operator's act move it on: start, or other configuration (or another codec)?
    pub const fn is_halted(self) -> bool {
        matches!(self, Phase::Refused | Phase::WrongUrl | Phase::InvalidOffer | Phase::CodecRefused)
    }

    /// The class of failure it stands for.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Phase::BackingOff | Phase::HostBusy => Some(Fault::Network),
            Phase::Refused | Phase::WrongUrl | Phase::InvalidOffer | Phase::CodecRefused => {
                Some(Fault::Config)
            }
            _ => None,
        }
    }
}

/// What people are shown. It never holds a key, nor more of a URL than its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The word for it.
    pub phase: Phase,
    /// Why it is so, and what to do about it; empty when there is nothing to say.
    pub words: String,
    /// When the next attempt is due, while one is waited for.
    pub retry_at: Option<Instant>,
}
