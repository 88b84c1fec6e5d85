//! One error for every route: RFC 9457 problem details.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::CommandError;
use crate::media::Fault;

/// `Content-Type` of problem details.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request was not answered with what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// 400: the body or a header cannot be read.
    Malformed(String),
    /// 401: a token is needed, or the given one is wrong.
    Unauthorised(String),
    /// 403: not from there.
    Forbidden {
        /// Why not.
        reason: String,
        /// From where, or how.
        hint: String,
    },
    /// 404: no such route, stream, session or asset.
    NotFound(String),
    /// 405: not with this method.
    Method,
    /// 406: nothing that both sides can do.
    NotAcceptable(String),
    /// 409: not now; the stream is not live.
    NotLive {
        /// Which stream.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// 409: not in this state.
    Conflict(String),
    /// 412: `If-Match` names an ICE session that is over.
    PreconditionFailed,
    /// 413: longer than 64 KiB.
    TooLarge,
    /// 415: another content type is expected.
    ContentType(&'static str),
    /// 422: understood, but it cannot be done as asked.
    Unprocessable {
        /// Why not.
        reason: String,
        /// What would be accepted.
        hint: Option<String>,
    },
    /// 428: `If-Match` is missing.
    PreconditionRequired,
    /// 429: too many wrong keys.
    TooMany {
        /// When to ask again.
        retry_after: Duration,
    },
    /// 500: it was tried and failed.
    Failed(String),
    /// 503: too busy, or going down.
    Unavailable {
        /// Why.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// RFC 9457 §3.1, with a `hint` for people.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl ApiError {
    /// The status, title, detail and hint it is sent as.
    fn parts(&self) -> (StatusCode, &'static str, String, Option<&str>) {
        match self {
            ApiError::Malformed(detail) => {
                (StatusCode::BAD_REQUEST, "the request cannot be read", detail.clone(), None)
            }
            ApiError::Unauthorised(detail) => {
                (StatusCode::UNAUTHORIZED, "a token is needed", detail.clone(), None)
            }
            ApiError::Forbidden { reason, hint } => {
                (StatusCode::FORBIDDEN, "not allowed from there", reason.clone(), Some(hint))
            }
            ApiError::NotFound(detail) => (StatusCode::NOT_FOUND, "not found", detail.clone(), None),
            ApiError::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method",
                "the `Allow` header names the methods of this route".to_owned(),
                None,
            ),
            ApiError::NotAcceptable(detail) => {
                (StatusCode::NOT_ACCEPTABLE, "no common codec", detail.clone(), None)
            }
            ApiError::NotLive { reason, .. } => {
                (StatusCode::CONFLICT, "the stream is not live", reason.clone(), None)
            }
            ApiError::Conflict(detail) => (StatusCode::CONFLICT, "not now", detail.clone(), None),
            ApiError::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "another ICE session is running",
                "`If-Match` does not name the current ICE session".to_owned(),
                None,
            ),
            ApiError::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too long",
                "a body may have 64 KiB".to_owned(),
                None,
            ),
            ApiError::ContentType(expected) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "another content type is expected",
                format!("send `Content-Type: {expected}`"),
                None,
            ),
            ApiError::Unprocessable { reason, hint } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "it cannot be done so", reason.clone(), hint.as_deref())
            }
            ApiError::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "`If-Match` is missing",
                "send the `ETag` of the session as `If-Match`, or `*` to restart ICE".to_owned(),
                None,
            ),
            ApiError::TooMany { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "not so often",
                "too many wrong keys came from there".to_owned(),
                None,
            ),
            ApiError::Failed(detail) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "it was tried and failed", detail.clone(), None)
            }
            ApiError::Unavailable { reason, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "not now", reason.clone(), None)
            }
        }
    }

    /// Headers beyond the content type.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            ApiError::NotLive { retry_after, .. }
            | ApiError::TooMany { retry_after }
            | ApiError::Unavailable { retry_after, .. } => {
                // In whole seconds (RFC 9110 §10.2.3), never zero: that would be a busy loop.
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            }
            ApiError::Unauthorised(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ApiError::ContentType(expected) => {
                headers.insert(header::ACCEPT, HeaderValue::from_static(expected));
            }
            _ => {}
        }
        headers
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, title, detail, hint) = self.parts();
        let problem = Problem { title, status: status.as_u16(), detail: &detail, hint };
        let mut response = (status, self.headers(), Json(problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { reason, hint } => ApiError::Unprocessable { reason, hint },
            CommandError::NotOnAir(reason) | CommandError::Conflict(reason) => ApiError::Conflict(reason),
            CommandError::Unknown(reason) => ApiError::NotFound(reason),
            CommandError::Failed { fault: Fault::Config, reason } => {
                ApiError::Unprocessable { reason, hint: None }
            }
            CommandError::Failed { reason, .. } => ApiError::Failed(reason),
            CommandError::Busy | CommandError::Gone => {
                ApiError::Unavailable { reason: error.to_string(), retry_after: Duration::from_secs(1) }
            }
        }
    }
}
