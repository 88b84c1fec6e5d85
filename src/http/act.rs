//! `POST /api/control/…`: what changes the running daemon.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};

use super::dto::{BitrateRequest, DoneDto, OutputDto, SwitchRequest};
use super::segment::Segment;
use super::trust::MayControl;
use super::{ApiError, Site};
use crate::control::Command;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/control/keyframe", plain(Command::Keyframe))
        .route("/api/control/bitrate", post(bitrate))
        .route("/api/control/switch", post(switch))
        .route("/api/control/start", plain(Command::Start))
        .route("/api/control/stop", plain(Command::Stop))
        .route("/api/control/restart", plain(Command::Restart))
        .route("/api/control/reload", plain(Command::Reload))
        .route("/api/outputs", get(outputs))
        .route("/api/outputs/{name}/start", of_output(Command::OutputStart))
        .route("/api/outputs/{name}/stop", of_output(Command::OutputStop))
        .route_layer(from_fn(unstored))
}

/// A command that needs no words; a body is not read.
fn plain(command: Command) -> MethodRouter<Site> {
    post(async move |_: MayControl, State(site): State<Site>| carry_out(&site, command).await)
}

/// A command to the output that the address names.
fn of_output(command: fn(String) -> Command) -> MethodRouter<Site> {
    post(async move |_: MayControl, State(site): State<Site>, Segment(name): Segment| {
        carry_out(&site, command(name)).await
    })
}

async fn bitrate(
    _: MayControl,
    State(site): State<Site>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DoneDto>, ApiError> {
    let wanted: BitrateRequest = json(&headers, body)?;
    let bitrate =
        wanted.bitrate.parse().map_err(|error: crate::media::UnitError| ApiError::Unprocessable {
            reason: error.complaint(),
            hint: Some(format!("write {}", error.expected())),
        })?;
    carry_out(&site, Command::SetBitrate(bitrate)).await
}

/// Answered when the profile is on air, or cannot be.
async fn switch(
    _: MayControl,
    State(site): State<Site>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DoneDto>, ApiError> {
    let wanted: SwitchRequest = json(&headers, body)?;
    carry_out(&site, Command::Switch(wanted.profile)).await
}

/// Every output with where it is watched, which may be secret: so only for whoever may control the box.
async fn outputs(_: MayControl, State(site): State<Site>) -> Json<Vec<OutputDto>> {
    Json(site.control.state().outputs.iter().map(OutputDto::with_watch).collect())
}

async fn carry_out(site: &Site, command: Command) -> Result<Json<DoneDto>, ApiError> {
    Ok(Json(DoneDto { done: site.control.command(command).await?.0 }))
}

/// Reads a JSON body.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<T, ApiError> {
    if !is_type(headers, "application/json") {
        return Err(ApiError::ContentType("application/json"));
    }
    let body = read(body)?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::Malformed(format!("not the JSON expected: {error}")))
}

/// The body, or why it was not read.
pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge,
        _ => ApiError::Malformed("the body did not arrive whole".to_owned()),
    })
}

/// Is the body's content type this one, whatever its parameters and case?
pub(super) fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

async fn unstored(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
