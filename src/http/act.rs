//! `POST /api/control/…`: what changes the running daemon.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};

use super::dto::{BitrateRequest, DoneDto, OutputDto, SwitchRequest};
use super::trust::Via;
use super::{ApiError, Site};
use crate::control::Command;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/control/keyframe", post(keyframe))
        .route("/api/control/bitrate", post(bitrate))
        .route("/api/control/switch", post(switch))
        .route("/api/control/start", post(start))
        .route("/api/control/stop", post(stop))
        .route("/api/control/restart", post(restart))
        .route("/api/control/reload", post(reload))
        .route("/api/outputs", get(outputs))
        .route("/api/outputs/{name}/start", post(output_start))
        .route("/api/outputs/{name}/stop", post(output_stop))
        .route_layer(from_fn(unstored))
}

async fn keyframe(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::Keyframe).await
}

async fn bitrate(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
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
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    let wanted: SwitchRequest = json(&headers, body)?;
    carry_out(&site, Command::Switch(wanted.profile)).await
}

async fn start(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::Start).await
}

async fn stop(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::Stop).await
}

async fn restart(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::Restart).await
}

async fn reload(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::Reload).await
}

/// Every output with where it is watched, which may be secret: so only for whoever may control the box.
async fn outputs(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Result<Json<Vec<OutputDto>>, ApiError> {
    site.trust.may_control(via, &headers)?;
    Ok(Json(site.control.state().outputs.iter().map(OutputDto::with_watch).collect()))
}

async fn output_start(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::OutputStart(name)).await
}

async fn output_stop(
    State(site): State<Site>,
    Extension(via): Extension<Via>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<DoneDto>, ApiError> {
    site.trust.may_control(via, &headers)?;
    carry_out(&site, Command::OutputStop(name)).await
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
