//! `/healthz`: the process and its tasks answer. `/readyz`: the stream is on air.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::{ApiError, Site};
use crate::control::Command;

/// A daemon that is alive answers within its loop's turn.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/healthz", get(healthy)).route("/readyz", get(ready))
}

async fn healthy(State(site): State<Site>) -> Result<String, ApiError> {
    match tokio::time::timeout(PATIENCE, site.control.command(Command::Ping)).await {
        Ok(answer) => answer.map(|done| done.0 + "\n").map_err(ApiError::from),
        Err(_) => Err(ApiError::Unavailable {
            reason: "the daemon's loop does not answer".to_owned(),
            retry_after: Duration::from_secs(1),
        }),
    }
}

async fn ready(State(site): State<Site>) -> Result<(StatusCode, String), ApiError> {
    let state = site.control.state();
    if state.summary.is_on_air() {
        Ok((StatusCode::OK, format!("{}\n", state.words)))
    } else {
        Err(ApiError::Unavailable { reason: state.words.clone(), retry_after: Duration::from_secs(1) })
    }
}
