//! What WHIP and WHEP share: the words of a session's requests and answers (RFC 9725 §4).

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tower_http::cors::{Any, CorsLayer};

use super::act::{is_type, read};
use super::{ApiError, Site};
use crate::sfu::{self, Answer, Patch, PatchError, Patched, Precondition, SessionId};
use crate::whip::Fragment;

/// An offer or answer.
pub(super) const SDP: &str = "application/sdp";

/// Candidates, or an ICE restart (RFC 8840).
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// `Accept-Post`, W3C Linked Data Platform §7.1, as RFC 9725 §4.2 asks for.
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// `Accept-Patch`, RFC 5789 §3.1.
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The methods of an endpoint beside POST: GET and HEAD find nothing to read there, and say so kindly.
pub(super) fn endpoint(on_post: MethodRouter<Site>) -> MethodRouter<Site> {
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
pub(super) fn offer(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<String, ApiError> {
    if !is_type(headers, SDP) {
        return Err(ApiError::ContentType(SDP));
    }
    String::from_utf8(read(body)?.into())
        .map_err(|_| ApiError::Malformed("the offer is not UTF-8 text".to_owned()))
}

/// 201 with the answer and where its session is: below `base`.
pub(super) fn created(site: &Site, base: &str, answer: Answer) -> Result<Response, ApiError> {
    let mut response = (StatusCode::CREATED, answer.sdp).into_response();
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set.insert(header::LOCATION, value(&format!("{base}/{}", answer.session))?);
    set.insert(header::ETAG, value(&format!("\"{}\"", answer.etag))?);
    for server in &site.ice_servers {
        set.append(header::LINK, value(&format!("<{server}>; rel=\"ice-server\""))?);
    }
    Ok(response)
}

/// PATCH on a session that exists and that the client may change.
pub(super) async fn patch(
    sfu: &sfu::Handle,
    session: SessionId,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
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
