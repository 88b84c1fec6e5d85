//! WHEP: watching a stream (draft-ietf-wish-whep; session rules of RFC 9725 §4).
//!
//! A session's URL is `/api/whep/session/{id}`: one piece longer than a stream's, so that no name can collide with it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::act::{is_type, read};
use super::segment::Segment;
use super::trust::bearer;
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{self, Patch, PatchError, Patched, Precondition, SessionId, WhepError};
use crate::whip::Fragment;

/// An offer or answer.
const SDP: &str = "application/sdp";

/// Candidates, or an ICE restart (RFC 8840).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// `Accept-Post`, W3C Linked Data Platform §7.1, as RFC 9725 §4.2 asks for.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// `Accept-Patch`, RFC 5789 §3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

pub(super) fn routes() -> Router<Site> {
    let endpoint = |on_post: MethodRouter<Site>| {
        on_post
            .get(|| async { StatusCode::NO_CONTENT })
            .head(|| async { ([(header::CONTENT_TYPE, SDP)], ()) })
            .options(preflight)
    };
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
    endpoints.merge(sessions)
}

/// Answered by the CORS layer before it comes here; the route must exist for that.
async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Any site may embed a player: watching is open, and no cookie counts here.
fn cors(methods: &[Method]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods.to_vec())
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            ACCEPT_POST,
            ACCEPT_PATCH,
        ])
        .max_age(std::time::Duration::from_secs(3600))
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
    if !is_type(headers, SDP) {
        return Err(ApiError::ContentType(SDP));
    }
    let offer = String::from_utf8(read(body)?.into())
        .map_err(|_| ApiError::Malformed("the offer is not UTF-8 text".to_owned()))?;
    let stream: StreamName =
        stream.parse().map_err(|_| ApiError::NotFound("there is no stream of that name".to_owned()))?;
    let answer = sfu(site)?.whep(&stream, offer).await?;
    let mut response = (StatusCode::CREATED, answer.sdp).into_response();
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set.insert(header::LOCATION, value(&format!("/api/whep/session/{}", answer.session))?);
    set.insert(header::ETAG, value(&format!("\"{}\"", answer.etag))?);
    for server in &site.ice_servers {
        set.append(header::LINK, value(&format!("<{server}>; rel=\"ice-server\""))?);
    }
    Ok(response)
}

async fn exists(State(site): State<Site>, Segment(id): Segment) -> Result<StatusCode, ApiError> {
    if sfu(&site)?.exists(session(&id)?).await { Ok(StatusCode::NO_CONTENT) } else { Err(no_session()) }
}

async fn leave(State(site): State<Site>, Segment(id): Segment) -> Result<StatusCode, ApiError> {
    if sfu(&site)?.close(session(&id)?).await { Ok(StatusCode::OK) } else { Err(no_session()) }
}

async fn patch(
    State(site): State<Site>,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let session = session(&id)?;
    let sfu = sfu(&site)?;
    if !sfu.exists(session).await {
        return Err(no_session());
    }
    if !is_type(&headers, FRAGMENT) {
        return Err(ApiError::ContentType(FRAGMENT));
    }
    let precondition = precondition(&headers)?;
    let body = read(body)?;
    let fragment = std::str::from_utf8(&body)
        .map_err(|_| ApiError::Malformed("the fragment is not UTF-8 text".to_owned()))?
        .parse::<Fragment>()
        .map_err(|error| ApiError::Malformed(error.to_string()))?;
    let mid = fragment.mid;
    let patch =
        Patch { precondition, ufrag: fragment.ufrag, pwd: fragment.pwd, candidates: fragment.candidates };
    match sfu.patch(session, patch).await? {
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { etag, ufrag, pwd, candidates } => {
            let fragment = Fragment { ufrag: Some(ufrag), pwd: Some(pwd), mid, candidates };
            let mut response = fragment.to_string().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
            response.headers_mut().insert(header::ETAG, value(&format!("\"{etag}\""))?);
            Ok(response)
        }
    }
}

/// `If-Match`: `*`, or one strong tag (RFC 9110 §13.1.1).
fn precondition(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let given = headers.get(header::IF_MATCH).ok_or(ApiError::PreconditionRequired)?;
    let given = given.to_str().map_err(|_| ApiError::PreconditionFailed)?.trim();
    match given.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) {
        _ if given == "*" => Ok(Precondition::Any),
        // `"*"` in quotes is sent by clients of servers whose tag is literally that.
        Some("*") => Ok(Precondition::Any),
        Some(tag) => Ok(Precondition::Tag(tag.to_owned())),
        None => Err(ApiError::PreconditionFailed),
    }
}

fn session(id: &str) -> Result<SessionId, ApiError> {
    id.parse().map_err(|_| no_session())
}

fn no_session() -> ApiError {
    ApiError::NotFound("there is no such session, or it has ended".to_owned())
}

fn sfu(site: &Site) -> Result<&sfu::Handle, ApiError> {
    site.sfu
        .as_ref()
        .ok_or_else(|| ApiError::NotFound("the bundled SFU is switched off (`sfu.enabled`)".to_owned()))
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| ApiError::Failed("a header could not be written".to_owned()))
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

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        let reason = error.to_string();
        match error {
            PatchError::UnknownSession => no_session(),
            PatchError::PreconditionFailed { .. } => ApiError::PreconditionFailed,
            PatchError::BadFragment(_) => ApiError::Malformed(reason),
            PatchError::Busy { retry_after } => ApiError::Unavailable { reason, retry_after },
            PatchError::Stopped => {
                ApiError::Unavailable { reason, retry_after: std::time::Duration::from_secs(5) }
            }
        }
    }
}
