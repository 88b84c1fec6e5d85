//! `GET /api/logs`: the log's last lines and those to come, as server-sent events.
//!
//! Only for whoever may control: a log tells addresses and names.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::trust::MayControl;
use super::{ApiError, Site};
use crate::telemetry::{LogLine, LogRing};

/// Lines that are taken from the ring at once.
const AT_ONCE: usize = 256;

/// When a browser asks again after the connection broke.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/logs", get(logs))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// `false`: what there is, and no more.
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// One event's JSON.
#[derive(Serialize)]
struct LineDto<'a> {
    /// Milliseconds since 1970.
    at_ms: u64,
    level: &'a str,
    target: &'a str,
    words: &'a str,
}

/// The JSON of a `lagged` event.
#[derive(Serialize)]
struct LaggedDto {
    /// Lines that are kept no more.
    missed: u64,
}

async fn logs(
    _: MayControl,
    State(site): State<Site>,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(asked) =
        query.map_err(|rejection| ApiError::Malformed(format!("the query: {}", rejection.body_text())))?;
    let place = super::place(&site.feeds.logs)?;
    let ring = site.logs;
    let after =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| place_in(&ring, id));
    let reader = Reader {
        newest: ring.newest(),
        ring,
        after: after.unwrap_or(0),
        ready: Vec::new(),
        follow: asked.follow,
        _place: place,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|event| (Ok::<_, Infallible>(event), reader))
    });
    let answer = Sse::new(events).keep_alive(KeepAlive::default());
    // Proxies would hold lines back until they have enough of them.
    Ok(([("x-accel-buffering", "no")], answer).into_response())
}

/// The number in an id, if this process gave it; another one's numbers mean nothing here.
fn place_in(ring: &LogRing, id: &str) -> Option<u64> {
    let (epoch, number) = id.split_once('-')?;
    number.parse().ok().filter(|_| epoch == ring.epoch().to_string())
}

/// One client's way through the log.
struct Reader {
    ring: LogRing,
    newest: watch::Receiver<u64>,
    after: u64,
    /// The next last.
    ready: Vec<Arc<LogLine>>,
    follow: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.ready.pop() {
                return Some(self.event(&line));
            }
            self.newest.borrow_and_update();
            let mut piece = self.ring.after(self.after, AT_ONCE);
            if let Some(last) = piece.lines.last() {
                self.after = last.number;
                piece.lines.reverse();
                self.ready = piece.lines;
                if piece.missed > 0 {
                    let lagged = LaggedDto { missed: piece.missed };
                    return Event::default().event("lagged").json_data(lagged).ok();
                }
            } else if !self.follow || self.newest.changed().await.is_err() {
                return None;
            }
        }
    }

    fn event(&self, line: &LogLine) -> Event {
        let told = LineDto {
            at_ms: u64::try_from(line.at.as_millis()).unwrap_or_default(),
            level: match line.level {
                tracing::Level::ERROR => "error",
                tracing::Level::WARN => "warn",
                tracing::Level::INFO => "info",
                tracing::Level::DEBUG => "debug",
                tracing::Level::TRACE => "trace",
            },
            target: line.target,
            words: &line.words,
        };
        let event = Event::default().id(format!("{}-{}", self.ring.epoch(), line.number)).retry(AGAIN);
        event.json_data(told).unwrap_or_default()
    }
}
