//! The player, the panel, and what they load.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::assets::{self, CONTENT_SECURITY_POLICY};
use super::segment::Segment;
use super::{ApiError, Site};
use crate::media::StreamName;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { page("index.html", &headers) }))
        .route("/panel", get(|headers: HeaderMap| async move { page("panel.html", &headers) }))
        .route("/{stream}", get(player))
        .route("/assets/{*path}", get(asset))
}

/// The player of any name that could be a stream: it waits there until the stream is live.
async fn player(
    Segment(name): Segment,
    State(_): State<Site>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match name.parse::<StreamName>() {
        Ok(_) => page("index.html", &headers),
        // Icons and the like that browsers ask for at the root.
        Err(_) if name.contains('.') && !name.ends_with(".html") => page(&name, &headers),
        Err(error) => Err(ApiError::NotFound(error.to_string())),
    }
}

async fn asset(Segment(path): Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    page(&format!("assets/{path}"), &headers)
}

pub(super) fn page(path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let asset = assets::find(path).ok_or_else(|| ApiError::NotFound(format!("there is no page `{path}`")))?;
    let unchanged = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag || tag.trim() == "*");
    let (status, body) = if unchanged {
        (StatusCode::NOT_MODIFIED, Body::empty())
    } else {
        (StatusCode::OK, Body::from(asset.bytes.into_owned()))
    };
    let mut response = (status, body).into_response();
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static(asset.cache_control));
    set.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    set.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
    );
    if let Ok(etag) = HeaderValue::try_from(asset.etag) {
        set.insert(header::ETAG, etag);
    }
    Ok(response)
}
