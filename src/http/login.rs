//! `/api/session`: a browser shows the control token once, and holds a cookie from then on.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::act::json;
use super::trust::{COOKIE, Via, is_own_page, login_cookie};
use super::{ApiError, Site, logins};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/session", post(open).get(tell).delete(close))
}

/// `POST /api/session`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    /// The control token.
    token: String,
}

/// `GET /api/session`: what whoever asks may do, and what they could do about it.
#[derive(Serialize)]
struct MayDto {
    may_control: bool,
    /// Would the control token help?
    token_helps: bool,
    /// Is it a cookie that can be given back?
    logged_in: bool,
}

async fn tell(State(site): State<Site>, Extension(via): Extension<Via>, headers: HeaderMap) -> Response {
    let answer = MayDto {
        may_control: site.trust.may_control(via, &headers).is_ok(),
        token_helps: site.trust.has_token(),
        logged_in: site.trust.is_logged_in(&headers),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

async fn open(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    if !is_own_page(&headers) {
        return Err(ApiError::Forbidden {
            reason: "the request comes from a page of another site".to_owned(),
            hint: "open the box's own `/panel`".to_owned(),
        });
    }
    let wanted: LoginRequest = json(&headers, body)?;
    let cookie = site.trust.log_in(via.guesser(&headers), wanted.token.trim())?;
    // Where TLS is spoken, here or by a proxy in front, the cookie never leaves it.
    let secure =
        matches!(via, Via::Tls(_)) || headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if secure { "; Secure" } else { "" };
    let age = logins::LIFE.as_secs();
    Ok(with_cookie(&format!(
        "{COOKIE}={cookie}; Path=/api; HttpOnly; SameSite=Strict; Max-Age={age}{secure}"
    )))
}

async fn close(State(site): State<Site>, headers: HeaderMap) -> Response {
    if let Some(cookie) = login_cookie(&headers).filter(|_| is_own_page(&headers)) {
        site.trust.log_out(cookie);
    }
    with_cookie(&format!("{COOKIE}=; Path=/api; HttpOnly; SameSite=Strict; Max-Age=0"))
}

fn with_cookie(cookie: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
