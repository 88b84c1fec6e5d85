//! What the daemon is, has and does: `/api/status`, `/api/profiles`, `/api/devices`, `/metrics`.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::dto::StatusDto;
use super::{ApiError, Document, Site, metrics};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/profiles", get(|State(site): State<Site>| document(site, |all| &all.profiles)))
        .route("/api/devices", get(|State(site): State<Site>| document(site, |all| &all.devices)))
        .route("/metrics", get(scrape))
}

async fn status(State(site): State<Site>) -> Response {
    let status = StatusDto::from(site.control.state().as_ref());
    ([(header::CACHE_CONTROL, "no-store")], Json(status)).into_response()
}

async fn document(site: Site, which: fn(&super::Documents) -> &Document) -> Result<Response, ApiError> {
    let made = tokio::task::spawn_blocking(move || which(&site.documents)()).await;
    match made {
        Ok(Ok(value)) => Ok(([(header::CACHE_CONTROL, "no-store")], Json(value)).into_response()),
        Ok(Err(reason)) => Err(ApiError::Failed(reason)),
        Err(_) => Err(ApiError::Failed("looking at the box met a bug in Capcast".to_owned())),
    }
}

async fn scrape(State(site): State<Site>) -> Result<Response, ApiError> {
    let sfu = site.sfu.as_ref().map(|sfu| sfu.stats());
    let text = metrics::render(site.control.state(), sfu)
        .map_err(|_| ApiError::Failed("the metrics could not be written".to_owned()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
