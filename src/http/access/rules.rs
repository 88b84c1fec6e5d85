//! What keys and tokens allow. Pure: who asks often, and what a webhook says, is not decided here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::{Action, Asking, TokenKey, Webhook};
use crate::media::StreamName;

/// Who may do what, with every secret read. Its `Debug` shows none.
#[derive(Default)]
pub struct Rules {
    /// Streams that may be published, each with its key.
    pub publish: Vec<(StreamName, String)>,
    /// Streams that are watched with a key alone, each with it.
    pub view: Vec<(StreamName, String)>,
    /// What tokens are signed with. Where there is one, every stream is watched with a right alone.
    pub tokens: Option<TokenKey>,
    /// The server that has the last word.
    pub webhook: Option<Webhook>,
    /// A publisher takes over from an earlier one of the same stream.
    pub replace: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let streams = |keys: &[(StreamName, String)]| keys.iter().map(|(stream, _)| stream.clone()).collect();
        let (publish, view): (Vec<_>, Vec<_>) = (streams(&self.publish), streams(&self.view));
        f.debug_struct("Rules").field("publish", &publish).field("view", &view).finish_non_exhaustive()
    }
}

/// What keys and tokens say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The right was shown.
    Proven(StreamName),
    /// Everybody may.
    Open(StreamName),
    /// A right is needed that was not shown; for this stream, if one is named.
    Closed {
        /// Which.
        stream: Option<StreamName>,
        /// What is wrong with the token that was shown.
        fault: Option<&'static str>,
    },
    /// Nothing names a stream that there could be.
    Nothing,
}

impl Rules {
    /// Judges a request by `shown`, its bearer, or none where that is not to be looked at.
    pub(super) fn judge(&self, asking: &Asking<'_>, shown: Option<&str>) -> Judgement {
        let keys = match asking.action {
            Action::Publish => &self.publish,
            Action::View => &self.view,
        };
        if let Some(stream) = shown.and_then(|bearer| stream_of(keys, bearer, asking.named)) {
            return Judgement::Proven(stream);
        }
        let mut fault = None;
        // Three pieces with dots between (RFC 7515 §7.1); nothing else reads as a token.
        let token = shown.filter(|bearer| bearer.matches('.').count() == 2);
        if let (Some(tokens), Some(token)) = (&self.tokens, token) {
            match tokens.stream_of(token, asking.action, asking.named, asking.again) {
                Ok(stream) => return Judgement::Proven(stream),
                Err(words) => fault = Some(words),
            }
        }
        let named = asking.named.map(str::parse::<StreamName>);
        if asking.action == Action::Publish {
            return Judgement::Closed { stream: named.and_then(Result::ok), fault };
        }
        // A viewer's bearer may be nothing but the stream's name.
        let stream = named.or_else(|| asking.bearer.map(str::parse));
        match (stream, asking.default) {
            (Some(Ok(stream)), _) => self.open_or_closed(stream, fault),
            (None, Some(stream)) => self.open_or_closed(stream.clone(), fault),
            // Too long or odd for a name: a key or a token that is none.
            (Some(Err(_)), _) if asking.named.is_none() && self.guards_views() => {
                Judgement::Closed { stream: None, fault }
            }
            (Some(Err(_)) | None, _) => Judgement::Nothing,
        }
    }

    fn open_or_closed(&self, stream: StreamName, fault: Option<&'static str>) -> Judgement {
        if self.guards_view_of(&stream) {
            Judgement::Closed { stream: Some(stream), fault }
        } else {
            Judgement::Open(stream)
        }
    }

    /// Whether this stream is watched with a right alone.
    pub(super) fn guards_view_of(&self, stream: &StreamName) -> bool {
        self.tokens.is_some() || self.view.iter().any(|(guarded, _)| guarded == stream)
    }

    /// Whether any stream is watched with a right alone.
    pub(super) fn guards_views(&self) -> bool {
        self.tokens.is_some() || !self.view.is_empty()
    }

    /// Whether this is the name of a stream that has a key.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.view.iter().chain(&self.publish).any(|(stream, _)| stream.as_str() == name)
    }
}

/// The stream whose key the bearer is, as it stands or in base64 as Broadcast Box's publishers have it; with `named`, only
/// that stream's key counts.
fn stream_of(keys: &[(StreamName, String)], bearer: &str, named: Option<&str>) -> Option<StreamName> {
    let decoded = STANDARD.decode(bearer).unwrap_or_default();
    let mut found = u32::MAX;
    // Every key is compared, whole, whichever fits.
    for (index, (stream, key)) in (0_u32..).zip(keys) {
        let right = key.as_bytes().ct_eq(bearer.as_bytes()) | key.as_bytes().ct_eq(&decoded);
        let asked = Choice::from(u8::from(named.is_none_or(|name| name == stream.as_str())));
        found.conditional_assign(&index, right & asked);
    }
    let index = usize::try_from(found).ok()?;
    keys.get(index).map(|(stream, _)| stream.clone())
}
