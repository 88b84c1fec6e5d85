//! WHEP: watching a stream (draft-ietf-wish-whep; session rules of RFC 9725 §4).
//!
//! A session's URL is `/api/whep/session/{id}`: one piece longer than a stream's, so that no name can collide with it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use tower_http::set_header::SetResponseHeaderLayer;

use super::act::json;
use super::segment::Segment;
use super::session::{
    ACCEPT_PATCH, ACCEPT_POST, FRAGMENT, SDP, cors, created, endpoint, no_session, offer, preflight, session,
    sfu,
};
use super::trust::bearer;
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{self, LayerError, Role, SessionId, WhepError};

pub(super) fn routes() -> Router<Site> {
    let endpoints = Router::new()
        .route("/api/whep", endpoint(post(watch_by_token)))
        .route("/api/whep/{stream}", endpoint(post(watch)))
        .layer(cors(&[Method::POST, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_POST, HeaderValue::from_static(SDP)));
    let session = get(exists).patch(patch).delete(leave).options(preflight);
    let sessions = Router::new()
        .route("/api/whep/session/{id}", session)
        .layer(cors(&[Method::PATCH, Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)));
    // Broadcast Box's address for it, and its players' words.
    let layers = Router::new()
        .route("/api/layer/{id}", post(layer).options(preflight))
        .layer(cors(&[Method::POST, Method::OPTIONS]));
    endpoints.merge(sessions).merge(layers)
}

/// The bearer token names the stream; without one it is the box's own, which is what the player at `/` shows.
async fn watch_by_token(
    State(site): State<Site>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let stream = bearer(&headers).unwrap_or(site.default_stream.as_str()).to_owned();
    answer(&site, &stream, &headers, body).await
}

async fn watch(
    State(site): State<Site>,
    Segment(stream): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    answer(&site, &stream, &headers, body).await
}

async fn answer(
    site: &Site,
    stream: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let offer = offer(headers, body)?;
    let stream: StreamName =
        stream.parse().map_err(|_| ApiError::NotFound("there is no stream of that name".to_owned()))?;
    let answer = sfu(site)?.whep(&stream, offer).await?;
    created(site, "/api/whep/session", answer)
}

async fn exists(State(site): State<Site>, Segment(id): Segment) -> Result<StatusCode, ApiError> {
    viewer(sfu(&site)?, &id).await.map(|_| StatusCode::NO_CONTENT)
}

async fn leave(State(site): State<Site>, Segment(id): Segment) -> Result<StatusCode, ApiError> {
    let sfu = sfu(&site)?;
    if sfu.close(viewer(sfu, &id).await?).await { Ok(StatusCode::OK) } else { Err(no_session()) }
}

async fn patch(
    State(site): State<Site>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let sfu = sfu(&site)?;
    super::session::patch(sfu, viewer(sfu, &id).await?, &headers, body).await
}

/// What Broadcast Box's player sends. Its `mediaId` says nothing here: there is one picture.
#[derive(Deserialize)]
struct LayerRequest {
    /// The layer's name; empty or absent for the best one.
    #[serde(rename = "encodingId")]
    encoding_id: Option<String>,
}

async fn layer(
    State(site): State<Site>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let sfu = sfu(&site)?;
    let session = session(&id)?;
    let wanted: LayerRequest = json(&headers, body)?;
    sfu.choose_layer(session, wanted.encoding_id.filter(|layer| !layer.is_empty())).await?;
    Ok(StatusCode::OK)
}

/// A viewer's session. A publisher's is not to be touched here, where no key is asked for.
async fn viewer(sfu: &sfu::Handle, id: &str) -> Result<SessionId, ApiError> {
    let session = session(id)?;
    match sfu.role(session).await {
        Some(Role::Viewer) => Ok(session),
        Some(Role::Publisher(_)) | None => Err(no_session()),
    }
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
