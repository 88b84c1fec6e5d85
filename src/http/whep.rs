//! WHEP: watching a stream (draft-ietf-wish-whep; session rules of RFC 9725 §4).

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;

use super::access::{Action, Asking};
use super::act::json;
use super::segment::Segment;
use super::session::{self, Asked, Protocol, cors, no_session, preflight, session, sfu};
use super::trust::bearer;
use super::wanted::Wanted;
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{Answer, LayerError, Role, SessionId, WhepError};

pub(super) fn routes() -> Router<Site> {
    // Broadcast Box's address for it, and its players' words.
    let layers = Router::new()
        .route("/api/layer/{id}", post(layer).options(preflight))
        .layer(cors(&[Method::POST, Method::OPTIONS]));
    session::routes::<Whep>().merge(layers)
}

struct Whep;

impl Protocol for Whep {
    const ENDPOINT: &'static str = "/api/whep";

    /// Those of Broadcast Box.
    fn links(session: SessionId, _: &StreamName) -> Vec<String> {
        let rel = "urn:ietf:params:whep:ext:core";
        vec![
            format!(
                "</api/sse/{session}>; rel=\"{rel}:server-sent-events\"; events=\"status,layers,picture\""
            ),
            format!("</api/layer/{session}>; rel=\"{rel}:layer\""),
        ]
    }

    /// The bearer names the stream, or is its view key; without one it is the box's own, which is what the player at `/`
    /// shows. Whoever may control the box may watch all of it. The key comes before the offer: what a stranger sends is
    /// not looked at.
    async fn open(
        Asked { site, via, headers }: Asked<'_>,
        stream: Option<&str>,
        offer: impl FnOnce() -> Result<String, ApiError> + Send,
    ) -> Result<(Answer, StreamName), ApiError> {
        let (action, source, bearer) = (Action::View, via.guesser(headers), bearer(headers));
        let stream = if bearer.is_none() && site.trust.may_control(via, headers).is_ok() {
            let named = stream.map(str::parse).transpose();
            let named =
                named.map_err(|_| ApiError::NotFound("there is no stream of that name".to_owned()))?;
            named.unwrap_or_else(|| site.default_stream.clone())
        } else {
            let default = Some(&site.default_stream);
            let asking = Asking { action, bearer, named: stream, default, again: false, source };
            site.access.admit(asking).await.map_err(|refused| refused.told(action))?
        };
        let answer = sfu(site)?.whep(&stream, offer()?, via.client_network(headers)).await;
        if bearer.is_some() && matches!(answer, Err(WhepError::UnknownStream(_))) {
            site.access.note_unknown(source);
        }
        Ok((answer?, stream))
    }

    /// A viewer's only: a publisher's is not to be touched here, where no key is asked for.
    async fn session(Asked { site, .. }: Asked<'_>, id: &str) -> Result<SessionId, ApiError> {
        let session = session(id)?;
        match sfu(site)?.role(session).await {
            Some(Role::Viewer { .. }) => Ok(session),
            Some(Role::Publisher(_)) | None => Err(no_session()),
        }
    }
}

async fn layer(
    State(site): State<Site>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let sfu = sfu(&site)?;
    let session = session(&id)?;
    let wanted: Wanted = json(&headers, body)?;
    sfu.choose_layer(session, wanted.layer()).await?;
    Ok(StatusCode::OK)
}

impl From<WhepError> for ApiError {
    fn from(error: WhepError) -> Self {
        let reason = error.to_string();
        match error {
            WhepError::UnknownStream(_) => ApiError::NotFound(reason),
            WhepError::NotLive { retry_after, .. } => ApiError::NotLive { reason, retry_after },
            WhepError::NoCommonCodec { .. } => ApiError::NotAcceptable(reason),
            WhepError::BadOffer(_) => ApiError::Malformed(reason),
            WhepError::Full { retry_after, .. } | WhepError::Busy { retry_after } => {
                ApiError::Unavailable { reason, retry_after }
            }
            WhepError::Stopped => {
                ApiError::Unavailable { reason, retry_after: std::time::Duration::from_secs(5) }
            }
        }
    }
}

impl From<LayerError> for ApiError {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::UnknownSession => no_session(),
            LayerError::UnknownLayer { .. } => {
                ApiError::Unprocessable { reason: error.to_string(), hint: None }
            }
        }
    }
}
