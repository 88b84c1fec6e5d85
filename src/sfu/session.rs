//! Sessions of viewers and publishers as the HTTP side sees them: ids, answers, patches and refusals.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::media::{Codec, MediaKind, StreamName};

/// The unguessable name of one session: 128 random bits, 32 hexadecimal digits in URLs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// From 128 bits that must come from the system's random source.
    pub const fn from_random(bits: u128) -> Self {
        SessionId(bits)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A session id is a capability, so debug output shows only its beginning.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:08x}…)", (self.0 >> 96) as u32)
    }
}

impl FromStr for SessionId {
    type Err = PatchError;

    /// Reads the 32 lower-case hexadecimal digits that [`fmt::Display`] writes; anything else names no session.
    fn from_str(text: &str) -> Result<Self, PatchError> {
        let fits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let bits = fits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        bits.map(SessionId).ok_or(PatchError::UnknownSession)
    }
}

/// What an offer was answered with (HTTP 201).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Names the session in its URL.
    pub session: SessionId,
    /// Names the ICE session, without the quotes of the header (RFC 9725 §4.3.1).
    pub etag: String,
    /// The answer, `application/sdp`.
    pub sdp: String,
}

/// Why a viewer's offer was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhepError {
    /// Nothing was ever published under this name (HTTP 404).
    #[error("there is no stream `{0}`")]
    UnknownStream(StreamName),
    /// The name is known, but no media arrives now (HTTP 409 with `Retry-After`).
    #[error("`{stream}` is not live")]
    NotLive {
        /// The stream asked for.
        stream: StreamName,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The browser cannot decode what the stream carries (HTTP 406).
    #[error("the stream is {}, which this browser does not offer to play; it offers {}", has.title(), words(offers))]
    NoCommonCodec {
        /// What the stream carries.
        has: Codec,
        /// Encoding names in the offer, as written there, each once.
        offers: Vec<String>,
    },
    /// The offer is malformed or asks for what a viewer cannot have (HTTP 400).
    #[error("the offer is not acceptable: {0}")]
    BadOffer(String),
    /// As many viewers as are allowed (HTTP 503 with `Retry-After`).
    #[error("all {max_viewers} places are taken")]
    Full {
        /// The limit.
        max_viewers: u32,
        /// When to ask again.
        retry_after: Duration,
    },
    /// More requests wait than are let wait (HTTP 503 with `Retry-After`).
    #[error("the SFU is busy")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The SFU has been shut down (HTTP 503).
    #[error("the SFU is stopped")]
    Stopped,
}

/// Why a publisher's offer was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhipError {
    /// No such stream was declared (HTTP 404).
    #[error("there is no stream `{0}` to publish to")]
    UnknownStream(StreamName),
    /// The name is that of the box's own picture (HTTP 409).
    #[error("`{0}` is this box's own picture; publish under another name")]
    OwnPicture(StreamName),
    /// Somebody publishes already, and is not to be replaced (HTTP 409).
    #[error("`{0}` is being published already")]
    Taken(StreamName),
    /// Nothing in an m-line can be forwarded (HTTP 406).
    #[error("no {} codec in the offer can be forwarded; it offers {}", noun(*kind), words(offers))]
    NoCommonCodec {
        /// Of which kind.
        kind: MediaKind,
        /// Encoding names in the offer, as written there, each once.
        offers: Vec<String>,
    },
    /// The offer is malformed (HTTP 400).
    #[error("the offer is not acceptable: {0}")]
    BadOffer(String),
    /// The offer holds more than a stream does (HTTP 422).
    #[error("the offer cannot be taken: {0}")]
    Unsupported(String),
    /// More requests wait than are let wait (HTTP 503 with `Retry-After`).
    #[error("the SFU is busy")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The SFU has been shut down (HTTP 503).
    #[error("the SFU is stopped")]
    Stopped,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Somebody who watches.
    Viewer {
        /// What is watched.
        stream: StreamName,
        /// No picture is sent, for the way to this viewer carries none.
        paused: bool,
    },
    /// The publisher of this stream.
    Publisher(StreamName),
}

impl Role {
    /// The stream that is watched or published.
    pub const fn stream(&self) -> &StreamName {
        match self {
            Role::Viewer { stream, .. } | Role::Publisher(stream) => stream,
        }
    }
}

/// Why a viewer gets no other layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// No such session of a viewer.
    #[error("there is no such session")]
    UnknownSession,
    /// The publisher offers no layer of that name.
    #[error("the stream has no layer `{wanted}`; it has {}", words(layers))]
    UnknownLayer {
        /// As asked for.
        wanted: String,
        /// What there is.
        layers: Vec<String>,
    },
}

/// The condition a PATCH was sent under: its `If-Match` header (RFC 9725 §4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// `*`: whatever the ICE session is; what an ICE restart carries.
    Any,
    /// The ICE session of this ETag, without quotes.
    Tag(String),
}

/// A PATCH on a session: what its `application/trickle-ice-sdpfrag` body says (RFC 8840).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// From `If-Match`.
    pub precondition: Precondition,
    /// `a=ice-ufrag`, if present.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`, if present.
    pub pwd: Option<String>,
    /// Candidates as after `a=`: `candidate:…`.
    pub candidates: Vec<String>,
}

/// What a PATCH did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Candidates were taken (HTTP 204).
    Trickled,
    /// ICE was restarted (HTTP 200 with a fragment and the new ETag).
    Restarted {
        /// The new ETag, without quotes.
        etag: String,
        /// Our new user fragment.
        ufrag: String,
        /// Our new password.
        pwd: String,
        /// Our candidates as after `a=`: `candidate:…`.
        candidates: Vec<String>,
    },
}

/// Why a PATCH was refused; the session goes on as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// No such session, or no longer (HTTP 404).
    #[error("there is no such session")]
    UnknownSession,
    /// `If-Match` names another ICE session (HTTP 412).
    #[error("the ICE session has changed; its ETag is now `{etag}`")]
    PreconditionFailed {
        /// The ETag in force, without quotes.
        etag: String,
    },
    /// The fragment cannot be used (HTTP 400).
    #[error("the fragment is not acceptable: {0}")]
    BadFragment(String),
    /// More requests wait than are let wait (HTTP 503 with `Retry-After`).
    #[error("the SFU is busy")]
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The SFU has been shut down (HTTP 503).
    #[error("the SFU is stopped")]
    Stopped,
}

fn noun(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    }
}

fn words(offers: &[String]) -> String {
    if offers.is_empty() { "nothing".to_owned() } else { offers.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_read_back_and_not_shown_in_logs() {
        let id = SessionId::from_random(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "SessionId(01234567…)");
        for bad in
            ["", "0", "0123456789ABCDEF0123456789abcdef", "+123456789abcdef0123456789abcdef", "../../etc"]
        {
            assert_eq!(bad.parse::<SessionId>(), Err(PatchError::UnknownSession), "{bad:?}");
        }
    }

    #[test]
    fn a_missing_codec_is_said_in_words() {
        let error = WhepError::NoCommonCodec { has: Codec::Vp9, offers: vec!["H264".into(), "VP8".into()] };
        assert_eq!(
            error.to_string(),
            "the stream is VP9, which this browser does not offer to play; it offers H264, VP8"
        );
    }
}
