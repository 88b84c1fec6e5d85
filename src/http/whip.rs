//! WHIP: publishing a stream (RFC 9725). Only streams that the configuration names, only with their keys.
//!
//! `/api/whip/{stream}` names the stream, and the bearer must be its key; at `/api/whip` the key itself names the stream,
//! as Broadcast Box's publishers have it.

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::set_header::SetResponseHeaderLayer;

use super::publishers::Refused;
use super::segment::Segment;
use super::session::{
    ACCEPT_PATCH, ACCEPT_POST, FRAGMENT, SDP, cors, created, endpoint, no_session, offer, preflight, session,
    sfu,
};
use super::trust::{Via, bearer};
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{Role, SessionId, WhipError};

pub(super) fn routes() -> Router<Site> {
    let endpoints = Router::new()
        .route("/api/whip", endpoint(post(publish_by_key)))
        .route("/api/whip/{stream}", endpoint(post(publish)))
        .layer(cors(&[Method::POST, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_POST, HeaderValue::from_static(SDP)));
    let session = get(exists).patch(patch).delete(stop).options(preflight);
    let sessions = Router::new()
        .route("/api/whip/session/{id}", session)
        .layer(cors(&[Method::PATCH, Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)));
    endpoints.merge(sessions)
}

async fn publish_by_key(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let stream = authorised(&site, via, &headers, None)?;
    answer(&site, &stream, &headers, body).await
}

async fn publish(
    State(site): State<Site>,
    Segment(stream): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let stream = authorised(&site, via, &headers, Some(&stream))?;
    answer(&site, &stream, &headers, body).await
}

async fn answer(
    site: &Site,
    stream: &StreamName,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let offer = offer(headers, body)?;
    let answer = sfu(site)?.whip(stream, offer, site.publishers.may_replace()).await?;
    created(site, "/api/whip/session", answer)
}

async fn exists(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    own_session(&site, via, &headers, &id).await.map(|_| StatusCode::NO_CONTENT)
}

async fn stop(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let session = own_session(&site, via, &headers, &id).await?;
    if sfu(&site)?.close(session).await { Ok(StatusCode::OK) } else { Err(no_session()) }
}

async fn patch(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let session = own_session(&site, via, &headers, &id).await?;
    super::session::patch(sfu(&site)?, session, &headers, body).await
}

/// A publisher's session, asked for with the key of its stream.
async fn own_session(site: &Site, via: Via, headers: &HeaderMap, id: &str) -> Result<SessionId, ApiError> {
    let stream = authorised(site, via, headers, None)?;
    let session = session(id)?;
    match sfu(site)?.role(session).await {
        Some(Role::Publisher(published)) if published == stream => Ok(session),
        Some(_) | None => Err(no_session()),
    }
}

/// The stream that the bearer's key publishes: the one named, if one is named.
fn authorised(
    site: &Site,
    via: Via,
    headers: &HeaderMap,
    named: Option<&str>,
) -> Result<StreamName, ApiError> {
    let Some(bearer) = bearer(headers) else {
        return Err(ApiError::Unauthorised("send the publish key as `Authorization: Bearer …`".to_owned()));
    };
    site.publishers.stream_of(via, bearer, named).map_err(|refused| match refused {
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
