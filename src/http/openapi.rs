//! `GET /api/openapi.json`: every route, what it takes and how it answers, as OpenAPI 3.1.

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Site;

/// Written by hand; every answer in the tests of these routes is held against it.
const DOCUMENT: &str = include_str!("openapi.json");

/// It changes with the version alone.
const ETAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/openapi.json", get(document))
}

async fn document(headers: HeaderMap) -> Response {
    let caching = [(header::ETAG, ETAG), (header::CACHE_CONTROL, "no-cache")];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == ETAG) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
