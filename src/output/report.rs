//! What is known of an output, whatever its kind.

use std::time::Instant;

use crate::engine::webrtc::{Lane, TransportStats};
use crate::media::MediaKind;
use crate::whip::client::Phase;

/// A recording that grows.
pub(super) const RECORDING: &str = "recording";
/// A recording for which the disk has no room.
pub(super) const DISK_FULL: &str = "disk_full";
/// A recording or connection that cannot be made, for now.
pub(super) const BACKOFF: &str = "backoff";
/// A receiver that said no.
pub(super) const REFUSED: &str = "refused";
/// Nobody has called yet.
pub(super) const LISTENING: &str = "listening";

/// Why these cannot go into an MPEG transport stream, in words.
pub(super) fn unfit(lanes: &[Lane]) -> Option<String> {
    let picture = lanes.iter().find(|lane| lane.codec.kind() == MediaKind::Video)?;
    if !picture.codec.fits_transport_stream() {
        let title = picture.codec.title();
        return Some(format!("MPEG-TS cannot carry {title}; it goes on with an H.264 profile"));
    }
    let property = picture.reorders.as_ref()?;
    Some(format!(
        "`{property}` asks the encoder for B-frames; take them out of the profile's `[video.properties]`"
    ))
}

/// What is known of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its life in one word: the machine's of WHIP, `misconfigured`, `recording`, `disk_full`, `listening`, `backoff`.
    pub state: &'static str,
    /// What there is to say about it.
    pub words: String,
    /// When the next attempt is due.
    pub retry_at: Option<Instant>,
    /// Where people watch it. It may hold the key: for the operator, not for logs or open pages.
    pub watch: Option<String>,
    /// What the server says about the stream, where it can be asked.
    pub server: Option<String>,
    /// Attempts that followed a failure or loss.
    pub reconnects: u64,
    /// Counters over all connections, measurements of the present one.
    pub stats: TransportStats,
}

impl Report {
    pub(super) fn new(state: &'static str) -> Report {
        Report {
            state,
            words: String::new(),
            retry_at: None,
            watch: None,
            server: None,
            reconnects: 0,
            stats: TransportStats::default(),
        }
    }

    /// Does media flow?
    pub fn is_live(&self) -> bool {
        self.state == Phase::Live.as_str() || self.state == RECORDING
    }

    /// Is it where it should be, live or stopped by command, or on its way there for the first time?
    pub fn is_well(&self) -> bool {
        let connecting = self.state == Phase::Connecting.as_str() && self.reconnects == 0;
        let resting = [Phase::Stopped, Phase::Stopping, Phase::Idle];
        connecting
            || self.is_live()
            || self.state == LISTENING
            || resting.iter().any(|phase| phase.as_str() == self.state)
    }
}
