//! What was recorded: `GET /api/recordings`, and each file.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower_http::services::ServeFile;

use super::trust::MayControl;
use super::{ApiError, Site};

/// Where the file of an output and a name is, if that output made it.
pub type Find = Box<dyn Fn(&str, &str) -> Option<PathBuf> + Send + Sync>;

/// For whoever may control the box: what was recorded is not always for everybody who may watch.
pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/recordings", get(list)).route("/api/recordings/{output}/{name}", get(fetch))
}

async fn list(_: MayControl, State(site): State<Site>) -> Result<Response, ApiError> {
    let all = site.documents.recordings.get().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(all)).into_response())
}

/// The file, or the part of it that is asked for (RFC 9110 §14.2), so that a download goes on where it broke.
async fn fetch(_: MayControl, State(site): State<Site>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Path((output, name)) = Path::<(String, String)>::from_request_parts(&mut parts, &site)
        .await
        .map_err(|_| ApiError::Malformed("the address is not UTF-8 text".to_owned()))?;
    let missing = || ApiError::NotFound("there is no such recording; it may have been deleted".to_owned());
    let (documents, named) = (site.documents.clone(), name.clone());
    let path = tokio::task::spawn_blocking(move || (documents.recording)(&output, &named)).await;
    let path = path.ok().flatten().ok_or_else(missing)?;
    let served = ServeFile::new(path).try_call(Request::from_parts(parts, body)).await;
    let mut response = served.map_err(|_| missing())?.map(Body::new);
    if response.status() == StatusCode::NOT_FOUND {
        return Err(missing());
    }
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/matroska"));
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Stream names and times are plain letters; what else is in the configured name is left to the address.
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_. ".contains(*c)).collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"")) {
        set.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
