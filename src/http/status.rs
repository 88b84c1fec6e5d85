//! What the daemon is, has and does: `/api/status`, `/api/profiles`, `/api/devices`, `/metrics`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::dto::StatusDto;
use super::{ApiError, Document, Site, broadcast_box, metrics};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/profiles", get(|State(site): State<Site>| document(site, |all| &all.profiles)))
        .route("/api/devices", get(|State(site): State<Site>| document(site, |all| &all.devices)))
        .route("/metrics", get(scrape))
}

/// Broadcast Box's shapes are asked for by name, or by its own `key`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusQuery {
    format: Option<String>,
    key: Option<String>,
}

async fn status(
    State(site): State<Site>,
    query: Result<Query<StatusQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(StatusQuery { format, key }) =
        query.map_err(|rejection| ApiError::Malformed(format!("the query: {}", rejection.body_text())))?;
    let boxed = match format.as_deref() {
        None => false,
        Some("broadcast-box") => true,
        Some(other) => {
            let other: String = other.chars().take(32).collect();
            return Err(ApiError::Malformed(format!(
                "there is no format `{other}`: leave it away, or ask for `broadcast-box`"
            )));
        }
    };
    let answer = match key {
        Some(key) => Json(broadcast_box::stream(&site, &key)?).into_response(),
        None if boxed => Json(broadcast_box::streams(&site)).into_response(),
        None => Json(StatusDto::from(site.control.state().as_ref())).into_response(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], answer).into_response())
}

async fn document(site: Site, which: fn(&super::Documents) -> &Document) -> Result<Response, ApiError> {
    let value = which(&site.documents).get().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(value)).into_response())
}

async fn scrape(State(site): State<Site>) -> Result<Response, ApiError> {
    let sfu = site.sfu.as_ref().map(|sfu| sfu.stats());
    let text = metrics::render(site.control.state(), sfu, site.logs.unwritten())
        .map_err(|_| ApiError::Failed("the metrics could not be written".to_owned()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
