//! `GET /api/history`: the last ten minutes in figures, so that charts begin with more than a dot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Site;
use crate::control::State;

/// Time between two points.
const EVERY: Duration = Duration::from_secs(2);
/// Points kept: ten minutes.
const POINTS: usize = 300;

/// Figures of the last minutes: bounded, the oldest go first. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<VecDeque<Point>>>);

/// The figures at one time.
#[derive(Clone, Debug)]
struct Point {
    at: Duration,
    state: Figures,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    fps: f64,
    bitrate: u64,
    dropped: u64,
    p50: Option<Duration>,
    p95: Option<Duration>,
    cpu: f64,
    memory: u64,
    viewers: u32,
}

/// Columns, the oldest point first.
#[derive(Debug, Default, Serialize)]
struct HistoryDto {
    every_s: u64,
    /// Milliseconds since 1970.
    at_ms: Vec<u64>,
    fps: Vec<f64>,
    bitrate_bps: Vec<u64>,
    /// Since the start: of capture, encode, outputs and hand-overs to the SFU.
    dropped: Vec<u64>,
    /// Of the picture, from its capture to the viewers' socket.
    latency_p50_ms: Vec<Option<f64>>,
    latency_p95_ms: Vec<Option<f64>>,
    cpu_percent: Vec<f64>,
    memory_bytes: Vec<u64>,
    viewers: Vec<u32>,
}

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/history", get(tell))
}

async fn tell(Extract(site): Extract<Site>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(site.history.columns())).into_response()
}

impl History {
    /// Takes a point every two seconds, until the daemon ends.
    pub async fn follow(self, states: watch::Receiver<Arc<State>>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while states.has_changed().is_ok() {
            ticks.tick().await;
            let figures = Figures::of(&states.borrow());
            self.push(wall_clock(), figures);
        }
    }

    fn push(&self, at: Duration, state: Figures) {
        let mut points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while points.len() >= POINTS {
            points.pop_front();
        }
        points.push_back(Point { at, state });
    }

    fn columns(&self) -> HistoryDto {
        let points = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut columns = HistoryDto { every_s: EVERY.as_secs(), ..HistoryDto::default() };
        let ms = |span: Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
        for Point { at, state } in points.iter() {
            columns.at_ms.push(u64::try_from(at.as_millis()).unwrap_or_default());
            columns.fps.push((state.fps * 100.0).round() / 100.0);
            columns.bitrate_bps.push(state.bitrate);
            columns.dropped.push(state.dropped);
            columns.latency_p50_ms.push(state.p50.map(ms));
            columns.latency_p95_ms.push(state.p95.map(ms));
            columns.cpu_percent.push((state.cpu * 10.0).round() / 10.0);
            columns.memory_bytes.push(state.memory);
            columns.viewers.push(state.viewers);
        }
        columns
    }
}

impl Figures {
    fn of(state: &State) -> Figures {
        let encode = state.encode.first().map(|encode| &encode.stage);
        let total = state.latency.iter().find(|latency| latency.step == "total");
        let dropped = state.capture.stage.dropped_total()
            + encode.map_or(0, |stage| stage.dropped_total())
            + state.outputs.iter().map(|output| output.stage.dropped_total()).sum::<u64>()
            + state.streams.iter().map(|stream| stream.dropped).sum::<u64>();
        Figures {
            fps: encode.map_or(0.0, |stage| stage.fps),
            bitrate: encode.map_or(0, |stage| stage.bitrate),
            dropped,
            p50: total.map(|total| total.p50),
            p95: total.map(|total| total.p95),
            cpu: state.process.cores * 100.0,
            memory: state.process.memory,
            viewers: state.streams.iter().map(|stream| stream.viewers).sum(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a point says when it was")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_points_in_columns_of_one_length() {
        let history = History::default();
        for second in 0..POINTS as u64 + 5 {
            let state =
                Figures { dropped: second, p50: Some(Duration::from_micros(1_500)), ..Figures::default() };
            history.push(Duration::from_secs(second), state);
        }
        let columns = serde_json::to_value(history.columns()).unwrap();
        assert_eq!((&columns["at_ms"][0], &columns["dropped"][0]), (&5_000.into(), &5.into()));
        for (name, column) in columns.as_object().unwrap().iter().filter(|(name, _)| *name != "every_s") {
            assert_eq!(column.as_array().unwrap().len(), POINTS, "{name}");
        }
        assert_eq!(columns["latency_p50_ms"][0], 1.5);
    }

    #[tokio::test]
    async fn it_ends_with_the_daemon() {
        let (tell, states) = watch::channel(Arc::new(State::starting("1", "p".to_owned())));
        drop(tell);
        History::default().follow(states).await;
    }
}
