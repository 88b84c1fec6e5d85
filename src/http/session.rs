//! What WHIP and WHEP share: the routes of endpoints and sessions, and the words of requests and answers (RFC 9725 §4).
//!
//! A session's URL is `/api/…/session/{id}`: one piece longer than a stream's, so that no name can collide with it.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::act::{is_type, read};
use super::segment::Segment;
use super::trust::Via;
use super::{ApiError, Site};
use crate::media::StreamName;
use crate::sfu::{self, Answer, Patch, PatchError, Patched, Precondition, SessionId};
use crate::whip::Fragment;

/// An offer or answer.
const SDP: &str = "application/sdp";

/// Candidates, or an ICE restart (RFC 8840).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// `Accept-Post`, W3C Linked Data Platform §7.1, as RFC 9725 §4.2 asks for.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// `Accept-Patch`, RFC 5789 §3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// What differs between watching and publishing.
pub(super) trait Protocol: Send + Sync + 'static {
    /// Where its endpoint is.
    const ENDPOINT: &'static str;

    /// What belongs to a session of this stream, as `Link` headers.
    fn links(session: SessionId, stream: &StreamName) -> Vec<String>;

    /// Answers the offer of whoever may do this: with the stream that the address names, or the bearer, and says which.
    fn open(
        asked: Asked<'_>,
        stream: Option<&str>,
        offer: impl FnOnce() -> Result<String, ApiError> + Send,
    ) -> impl Future<Output = Result<(Answer, StreamName), ApiError>> + Send;

    /// The session of this id, if whoever asks may touch it.
    fn session(asked: Asked<'_>, id: &str) -> impl Future<Output = Result<SessionId, ApiError>> + Send;
}

/// A request, as far as who sent it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) site: &'a Site,
    pub(super) via: Via,
    pub(super) headers: &'a HeaderMap,
}

/// Endpoints and sessions of one protocol.
pub(super) fn routes<P: Protocol>() -> Router<Site> {
    let endpoints = Router::new()
        .route(P::ENDPOINT, endpoint(post(open::<P>)))
        .route(&format!("{}/{{stream}}", P::ENDPOINT), endpoint(post(open_named::<P>)))
        .layer(cors(&[Method::POST, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_POST, HeaderValue::from_static(SDP)));
    let session = get(exists::<P>).patch(change::<P>).delete(end::<P>).options(preflight);
    let sessions = Router::new()
        .route(&format!("{}/session/{{id}}", P::ENDPOINT), session)
        .layer(cors(&[Method::PATCH, Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS]))
        .layer(SetResponseHeaderLayer::overriding(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)));
    endpoints.merge(sessions)
}

type Body = Result<Bytes, BytesRejection>;

async fn open<P: Protocol>(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked = Asked { site: &site, via, headers: &headers };
    created::<P>(&site, P::open(asked, None, || offer(&headers, body)).await?)
}

async fn open_named<P: Protocol>(
    State(site): State<Site>,
    Segment(stream): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked = Asked { site: &site, via, headers: &headers };
    created::<P>(&site, P::open(asked, Some(&stream), || offer(&headers, body)).await?)
}

async fn exists<P: Protocol>(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    P::session(Asked { site: &site, via, headers: &headers }, &id).await.map(|_| StatusCode::NO_CONTENT)
}

async fn end<P: Protocol>(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let session = P::session(Asked { site: &site, via, headers: &headers }, &id).await?;
    if sfu(&site)?.close(session).await { Ok(StatusCode::OK) } else { Err(no_session()) }
}

async fn change<P: Protocol>(
    State(site): State<Site>,
    Segment(id): Segment,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let session = P::session(Asked { site: &site, via, headers: &headers }, &id).await?;
    patch(sfu(&site)?, session, &headers, body).await
}

/// The methods of an endpoint beside POST: GET and HEAD find nothing to read there, and say so kindly.
fn endpoint(on_post: MethodRouter<Site>) -> MethodRouter<Site> {
    on_post
        .get(|| async { StatusCode::NO_CONTENT })
        .head(|| async { ([(header::CONTENT_TYPE, SDP)], ()) })
        .options(preflight)
}

/// Answered by the CORS layer before it comes here; the route must exist for that.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::OK
}

/// Any site may embed a player or a publisher: what authorises is the bearer, and no cookie counts here.
pub(super) fn cors(methods: &[Method]) -> CorsLayer {
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

/// The offer in a request.
fn offer(headers: &HeaderMap, body: Body) -> Result<String, ApiError> {
    if !is_type(headers, SDP) {
        return Err(ApiError::ContentType(SDP));
    }
    String::from_utf8(read(body)?.into())
        .map_err(|_| ApiError::Malformed("the offer is not UTF-8 text".to_owned()))
}

/// 201 with the answer and where its session is.
fn created<P: Protocol>(site: &Site, (answer, stream): (Answer, StreamName)) -> Result<Response, ApiError> {
    let mut response = (StatusCode::CREATED, answer.sdp).into_response();
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set.insert(header::LOCATION, value(&format!("{}/session/{}", P::ENDPOINT, answer.session))?);
    set.insert(header::ETAG, value(&format!("\"{}\"", answer.etag))?);
    for server in site.ice_servers.load().iter() {
        set.append(header::LINK, value(&format!("<{server}>; rel=\"ice-server\""))?);
    }
    for link in P::links(answer.session, &stream) {
        set.append(header::LINK, value(&link)?);
    }
    Ok(response)
}

/// PATCH on a session that exists and that the client may change.
async fn patch(
    sfu: &sfu::Handle,
    session: SessionId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if !is_type(headers, FRAGMENT) {
        return Err(ApiError::ContentType(FRAGMENT));
    }
    let precondition = precondition(headers)?;
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

/// Reads the id in a session's URL.
pub(super) fn session(id: &str) -> Result<SessionId, ApiError> {
    id.parse().map_err(|_| no_session())
}

/// The same words whether it has ended, never was, or is not the client's.
pub(super) fn no_session() -> ApiError {
    ApiError::NotFound("there is no such session, or it has ended".to_owned())
}

/// The SFU, if it is on.
pub(super) fn sfu(site: &Site) -> Result<&sfu::Handle, ApiError> {
    site.sfu
        .as_ref()
        .ok_or_else(|| ApiError::NotFound("the bundled SFU is switched off (`sfu.enabled`)".to_owned()))
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| ApiError::Failed("a header could not be written".to_owned()))
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
