//! `GET /api/rooms/{room}`: the streams of a room, whole at every change, as server-sent events; and the page that shows
//! them.
//!
//! A room is whatever has its name before the first `-`: there is nothing to set up, and none that does not exist.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::access::Access;
use super::segment::Segment;
use super::{ApiError, Site, pages};
use crate::control;
use crate::media::StreamName;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/rooms/{room}", get(follow)).route("/room/{room}", get(page))
}

/// One event's JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct RoomDto {
    room: String,
    /// In the order of their names.
    streams: Vec<MemberDto>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct MemberDto {
    name: String,
    live: bool,
    /// It is watched with a key or token alone.
    locked: bool,
    video: Option<&'static str>,
    audio: Option<&'static str>,
}

async fn page(Segment(name): Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    room(&name)?;
    pages::page("room.html", &headers)
}

async fn follow(State(site): State<Site>, Segment(name): Segment) -> Result<Response, ApiError> {
    let room = room(&name)?;
    super::session::sfu(&site)?;
    let place = super::place(&site.feeds.rooms)?;
    let mut gap = interval(site.feeds.limits.gap);
    gap.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let states = site.control.states();
    let follower = Follower { room, states, access: site.access, gap, told: None, _place: place };
    let events = stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|event| (Ok::<_, Infallible>(event), follower))
    });
    let answer = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(([("x-accel-buffering", "no"), ("cache-control", "no-store")], answer).into_response())
}

/// The name of a room: a stream's name, but for `-`.
fn room(name: &str) -> Result<String, ApiError> {
    let is_whole = name.parse::<StreamName>().is_ok_and(|stream| stream.room() == name);
    is_whole.then(|| name.to_owned()).ok_or_else(|| {
        ApiError::NotFound(
            "no room has such a name: it is what stands before a stream's first `-`".to_owned(),
        )
    })
}

/// One page's view of a room. It keeps nothing but what it told last: a slow one misses what is over.
struct Follower {
    room: String,
    states: watch::Receiver<Arc<control::State>>,
    access: Access,
    gap: Interval,
    told: Option<RoomDto>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The room once it differs from what was told; none when the daemon ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.gap.tick().await;
            let state = self.states.borrow_and_update().clone();
            let now = in_room(&self.room, &state, &self.access);
            if self.told.as_ref() != Some(&now) {
                let event = Event::default().event("room").json_data(&now).ok()?;
                self.told = Some(now);
                return Some(event);
            }
            self.states.changed().await.ok()?;
        }
    }
}

fn in_room(room: &str, state: &control::State, access: &Access) -> RoomDto {
    let member = |stream: &control::StreamState| {
        let name = stream.name.parse::<StreamName>().ok().filter(|name| name.room() == room)?;
        Some(MemberDto {
            live: stream.live,
            locked: access.guards_view_of(&name),
            video: stream.video.map(|codec| codec.as_str()),
            audio: stream.audio.map(|codec| codec.as_str()),
            name: stream.name.clone(),
        })
    };
    let mut streams: Vec<_> = state.streams.iter().filter_map(member).collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    RoomDto { room: room.to_owned(), streams }
}
