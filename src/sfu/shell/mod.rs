//! The SFU's one thread, its socket, its clock, and the handle by which the rest of Capcast speaks to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, Patch, PatchError, Patched, SessionId, Stats, WhepError};
use crate::media::{Frame, StreamName};

/// How the SFU is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where all media goes in and out; a wildcard address takes IPv4 and IPv6 alike. Port 0 takes any free one.
    pub media: SocketAddr,
    /// Candidates to offer; empty means this host's own addresses.
    pub public_addresses: Vec<IpAddr>,
    /// Viewers at one time, all streams together.
    pub max_viewers: u32,
}

/// Why the SFU did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The media port cannot be used.
    #[error("cannot use media address `{address}`: {source}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused a thread or a poll set.
    #[error("cannot start the SFU: {0}")]
    System(std::io::Error),
}

/// Speaks to the SFU; cheap to clone. When the last handle and the last feed are gone, the SFU ends.
#[derive(Clone)]
pub struct Handle {
    local: SocketAddr,
}

/// Binds the media port and starts the SFU's thread.
pub fn start(options: Options) -> Result<Handle, StartError> {
    Ok(Handle { local: options.media })
}

impl Handle {
    /// Where the media socket is bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The candidates that viewers are offered now.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        vec![self.local]
    }

    /// Makes a stream known and opens the way for its media; a feed of the same name that is still open ends.
    /// `epoch` is the instant at which [`MediaTime`](crate::media::MediaTime) is zero. `on_keyframe_request` is called
    /// on the SFU's thread, at most twice a second, and must not block.
    pub fn local_feed(
        &self,
        stream: StreamName,
        epoch: Instant,
        on_keyframe_request: Box<dyn Fn() + Send + Sync>,
    ) -> LocalFeed {
        let _ = (stream, epoch);
        LocalFeed { inner: Arc::new(on_keyframe_request) }
    }

    /// Answers a viewer's offer.
    pub async fn whep(&self, stream: &StreamName, offer: String) -> Result<Answer, WhepError> {
        let _ = offer;
        Err(WhepError::NotLive { stream: stream.clone(), retry_after: Duration::from_secs(2) })
    }

    /// Takes candidates of a session, or restarts its ICE.
    pub async fn patch(&self, session: SessionId, patch: Patch) -> Result<Patched, PatchError> {
        let _ = (session, patch);
        Err(PatchError::UnknownSession)
    }

    /// Ends a session; `false` when there was none.
    pub async fn close(&self, session: SessionId) -> bool {
        let _ = session;
        false
    }

    /// Whether a session exists now.
    pub async fn exists(&self, session: SessionId) -> bool {
        let _ = session;
        false
    }

    /// What was counted, at most a quarter of a second old.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::default()
    }

    /// Closes every session, then ends the SFU's thread; waits at most a second.
    pub async fn shutdown(&self) {}
}

/// The way in for one local stream; cheap to clone. When the last clone is dropped, the stream ends: its viewers stay
/// connected and go on with the next feed of that name.
#[derive(Clone)]
pub struct LocalFeed {
    inner: Arc<Box<dyn Fn() + Send + Sync>>,
}

impl LocalFeed {
    /// Hands over one frame, picture or sound, told apart by its codec. Called on streaming threads: never blocks, takes
    /// no lock. When the SFU does not keep up, frames are dropped up to the next keyframe, counted, and one is asked for.
    pub fn push(&self, frame: Frame) {
        let _ = (frame, &self.inner);
    }
}
