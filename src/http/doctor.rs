//! `GET /api/doctor`, `POST /api/control/doctor`: the last look at the box, and a new one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::Mutex;

use super::trust::MayControl;
use super::{ApiError, Site};
use crate::control;

/// When to come again while a look is under way.
const SOON: Duration = Duration::from_secs(5);

/// Makes the report of a box in this state, or says why not. Takes some seconds.
pub type Examine = Box<dyn Fn(&control::State) -> Result<serde_json::Value, String> + Send + Sync>;

/// Looks at the box when told to, one look at a time, and keeps the last report.
pub struct Doctor {
    examine: Examine,
    last: ArcSwapOption<serde_json::Value>,
    at_work: Arc<Mutex<()>>,
}

impl Doctor {
    /// One that has not looked yet.
    pub fn new(examine: Examine) -> Doctor {
        Doctor { examine, last: ArcSwapOption::empty(), at_work: Arc::default() }
    }
}

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/doctor", get(last)).route("/api/control/doctor", post(look))
}

/// It names hosts, paths and addresses: so only for whoever may control the box.
async fn last(_: MayControl, State(site): State<Site>) -> Result<Response, ApiError> {
    match site.documents.doctor.last.load_full() {
        Some(report) => Ok(answer(&report)),
        None => Err(ApiError::NotFound(
            "nobody has looked yet since the daemon started; `POST /api/control/doctor` does".to_owned(),
        )),
    }
}

async fn look(_: MayControl, State(site): State<Site>) -> Result<Response, ApiError> {
    let doctor = &site.documents.doctor;
    let at_work = Arc::clone(&doctor.at_work).try_lock_owned().map_err(|_| ApiError::Unavailable {
        reason: "a look at the box is under way".to_owned(),
        retry_after: SOON,
    })?;
    let (documents, state) = (Arc::clone(&site.documents), site.control.state());
    // Whoever asked may leave: the look goes on, and its report is kept.
    let made = tokio::task::spawn_blocking(move || {
        let _at_work = at_work;
        let report = Arc::new((documents.doctor.examine)(&state)?);
        documents.doctor.last.store(Some(Arc::clone(&report)));
        Ok(report)
    });
    match made.await {
        Ok(Ok(report)) => Ok(answer(&report)),
        Ok(Err(reason)) => Err(ApiError::Failed(reason)),
        Err(_) => Err(ApiError::Failed("looking at the box met a bug in Capcast".to_owned())),
    }
}

fn answer(report: &serde_json::Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}
