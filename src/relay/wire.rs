//! What goes between the machine and whoever drives it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use url::Url;

/// One request; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub(super) u64);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// GET this. No redirect is followed, no proxy asked.
    Fetch(Fetch),
    /// Drop this request, and report nothing more of it.
    Cancel(FetchId),
}

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Its number.
    pub id: FetchId,
    /// Of what.
    pub url: Url,
    /// With the token, where there is one.
    pub token: bool,
    /// Only these bytes, the last one included.
    pub range: Option<(u64, u64)>,
}

/// What happened to a request.
#[derive(Clone, Debug)]
pub enum Input {
    /// The answer begins.
    Head(FetchId, Head),
    /// More of its body. Read only while [`may_read`](super::Relay::may_read) says so.
    Bytes(FetchId, Bytes),
    /// The body is complete.
    End(FetchId),
    /// It failed.
    Failed(FetchId, Failure),
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
}

/// Why a request failed, in words that hold no URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect(String),
    /// No TLS.
    Tls(String),
    /// The connection ended too soon.
    Cut,
}

/// A piece of the stream: whole packets of MPEG-TS, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// A whole number of 188-byte packets.
    pub bytes: Bytes,
    /// It does not continue what came before it: times, programs and codecs may be others.
    pub discontinuity: bool,
}

/// How segments come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A playlist, RFC 8216.
    Hls,
    /// Numbered segments whose GET waits for them.
    Trickle,
}

impl Protocol {
    /// The word used in JSON: `hls`, `trickle`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Hls => "hls",
            Protocol::Trickle => "trickle",
        }
    }
}

/// How much may be held, and how long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Segments that are asked for or wait, at once.
    pub segments: usize,
    /// Bytes that wait to be taken; at most one piece of a body more.
    pub waiting: usize,
    /// Bytes of one segment.
    pub segment: u64,
    /// Bytes of a playlist.
    pub playlist: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segments: 2, waiting: 4 << 20, segment: 64 << 20, playlist: 2 << 20 }
    }
}

/// What a source has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Segments that came whole.
    pub segments: u64,
    /// Segments that there were and that were left out: gone too soon, refused, or passed over to catch up.
    pub skipped: u64,
    /// How often the stream did not continue what came before.
    pub discontinuities: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Bytes of media.
    pub bytes: u64,
    /// Segments that are asked for or wait.
    pub queued_segments: usize,
    /// Bytes that wait.
    pub queued_bytes: usize,
    /// Whole segments a second, over the last half minute.
    pub segments_per_second: f64,
    /// From a piece's arrival until it is taken, lately.
    pub wait: Duration,
}
