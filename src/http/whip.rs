//! WHIP: publishing a stream (RFC 9725). Only with a key of the configuration, a signed token, or a webhook's consent.
//!
//! `/api/whip/{stream}` names the stream, and the bearer must be its key; at `/api/whip` the key itself names the stream,
//! as Broadcast Box's publishers have it.

use axum::Router;

use super::access::{Action, Asking};
use super::session::{self, Asked, Protocol, no_session, session, sfu};
use super::trust::bearer;
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{Answer, Role, SessionId, WhipError};

pub(super) fn routes() -> Router<Site> {
    session::routes::<Whip>()
}

struct Whip;

impl Protocol for Whip {
    const ENDPOINT: &'static str = "/api/whip";

    /// Events as Broadcast Box names them, by WHEP's name for it, and the page that shows the stream.
    fn links(session: SessionId, stream: &StreamName) -> Vec<String> {
        let rel = "urn:ietf:params:whep:ext:core:server-sent-events";
        vec![
            format!("</api/sse/{session}>; rel=\"{rel}\"; events=\"status\""),
            format!("</{stream}>; rel=\"alternate\"; type=\"text/html\""),
        ]
    }

    /// The key comes before the offer: what a stranger sends is not looked at.
    async fn open(
        asked: Asked<'_>,
        stream: Option<&str>,
        offer: impl FnOnce() -> Result<String, ApiError> + Send,
    ) -> Result<(Answer, StreamName), ApiError> {
        let stream = authorised(asked, stream, false).await?;
        let (access, sfu) = (&asked.site.access, sfu(asked.site)?);
        let offer = offer()?;
        if access.may_name_streams() {
            sfu.announce(stream.clone());
        }
        Ok((sfu.whip(&stream, offer, access.may_replace()).await?, stream))
    }

    /// Asked for with the key of its stream (RFC 9725 §4.7: on every request).
    async fn session(asked: Asked<'_>, id: &str) -> Result<SessionId, ApiError> {
        let published = match session(id) {
            Ok(session) => sfu(asked.site)?.role(session).await.map(|role| (session, role)),
            Err(_) => None,
        };
        let Some((session, Role::Publisher(published))) = published else {
            // Who has no key hears nothing of sessions.
            authorised(asked, None, true).await?;
            return Err(no_session());
        };
        match authorised(asked, Some(published.as_str()), true).await {
            Ok(_) => Ok(session),
            // The key of another stream.
            Err(refused) => Err(authorised(asked, None, true).await.map_or(refused, |_| no_session())),
        }
    }
}

/// The stream that the bearer publishes: the one named, if one is named. `again`: its session is there already.
async fn authorised(
    Asked { site, via, headers }: Asked<'_>,
    named: Option<&str>,
    again: bool,
) -> Result<StreamName, ApiError> {
    let (action, source) = (Action::Publish, via.guesser(headers));
    let asking = Asking { action, bearer: bearer(headers), named, default: None, again, source };
    site.access.admit(asking).await.map_err(|refused| refused.told(action))
}

impl From<WhipError> for ApiError {
    fn from(error: WhipError) -> Self {
        let reason = error.to_string();
        match error {
            WhipError::UnknownStream(_) => ApiError::NotFound(reason),
            WhipError::OwnPicture(_) | WhipError::Taken(_) => ApiError::Conflict(reason),
            WhipError::NoCommonCodec { .. } => ApiError::NotAcceptable(reason),
            WhipError::BadOffer(_) => ApiError::Malformed(reason),
            WhipError::Unsupported(_) => ApiError::Unprocessable { reason, hint: None },
            WhipError::Busy { retry_after } => ApiError::Unavailable { reason, retry_after },
            WhipError::Stopped => {
                ApiError::Unavailable { reason, retry_after: std::time::Duration::from_secs(5) }
            }
        }
    }
}
