//! WHIP: publishing a stream (RFC 9725). Only streams that the configuration names, only with their keys.
//!
//! `/api/whip/{stream}` names the stream, and the bearer must be its key; at `/api/whip` the key itself names the stream,
//! as Broadcast Box's publishers have it.

use axum::Router;

use super::publishers::Refused;
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

    /// As Broadcast Box names it, by WHEP's name for it.
    fn extensions(session: SessionId) -> Vec<String> {
        let rel = "urn:ietf:params:whep:ext:core:server-sent-events";
        vec![format!("</api/sse/{session}>; rel=\"{rel}\"; events=\"status\"")]
    }

    /// The key comes before the offer: what a stranger sends is not looked at.
    async fn open(
        asked: Asked<'_>,
        stream: Option<&str>,
        offer: impl FnOnce() -> Result<String, ApiError> + Send,
    ) -> Result<Answer, ApiError> {
        let stream = authorised(asked, stream)?;
        Ok(sfu(asked.site)?.whip(&stream, offer()?, asked.site.publishers.may_replace()).await?)
    }

    /// Asked for with the key of its stream (RFC 9725 §4.7: on every request).
    async fn session(asked: Asked<'_>, id: &str) -> Result<SessionId, ApiError> {
        let stream = authorised(asked, None)?;
        let session = session(id)?;
        match sfu(asked.site)?.role(session).await {
            Some(Role::Publisher(published)) if published == stream => Ok(session),
            Some(_) | None => Err(no_session()),
        }
    }
}

/// The stream that the bearer's key publishes: the one named, if one is named.
fn authorised(Asked { site, via, headers }: Asked<'_>, named: Option<&str>) -> Result<StreamName, ApiError> {
    let Some(bearer) = bearer(headers) else {
        return Err(ApiError::Unauthorised("send the publish key as `Authorization: Bearer …`".to_owned()));
    };
    site.publishers.stream_of(via.network(), bearer, named).map_err(|refused| match refused {
        // Whether the stream exists is nobody's business who has not its key.
        Refused::Key => ApiError::Unauthorised("that is not the key of a stream to publish here".to_owned()),
        Refused::Later(retry_after) => ApiError::TooMany { retry_after },
    })
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
