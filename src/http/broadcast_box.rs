//! Broadcast Box's shapes: the status of streams, and what sessions are told as it happens.
//!
//! `packetsDropped` is 0 as it is there, where nothing ever counts it. Its `motd` is empty here, and a viewer's entry has no id: a session's id is what its owner alone may know.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::segment::Segment;
use super::session::{cors, no_session, preflight, session, sfu};
use super::{ApiError, Site};
use crate::media::MediaKind;
use crate::sfu::{self, Role, SessionId, StreamStats};

/// How often a viewer's way is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A session is told with every so many looks, five seconds apart as Broadcast Box does, and when its way has changed.
const EVERY: u32 = 5;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/sse/{id}", get(tell).options(preflight))
        .layer(cors(&[Method::GET, Method::OPTIONS]))
}

/// `?key=`: one stream that is live.
pub(super) fn stream(site: &Site, key: &str) -> Result<Value, ApiError> {
    let stats = site.sfu.as_ref().map(sfu::Handle::stats);
    let streams = stats.iter().flat_map(|stats| &stats.streams);
    let live = streams.into_iter().find(|stream| stream.live && stream.name.as_str() == key);
    live.map(status).ok_or_else(|| ApiError::NotFound("no active stream found".to_owned()))
}

/// The list: every stream that is live.
pub(super) fn streams(site: &Site) -> Value {
    let stats = site.sfu.as_ref().map(sfu::Handle::stats);
    let streams = stats.iter().flat_map(|stats| &stats.streams);
    Value::Array(streams.filter(|stream| stream.live).map(listed).collect())
}

fn status(stream: &StreamStats) -> Value {
    json!({
        "streamKey": stream.name.as_str(),
        "motd": "",
        "viewers": stream.viewers,
        "isOnline": stream.live,
        "streamStart": ago(stream.since),
    })
}

fn listed(stream: &StreamStats) -> Value {
    let of = |kind| stream.tracks.iter().filter(move |track| track.kind == kind);
    let (video, audio) = (of(MediaKind::Video), of(MediaKind::Audio));
    let video = video.map(|track| {
        json!({
            "rid": track.layer,
            "bitrate": track.bytes_per_second,
            "packetsReceived": track.packets,
            "packetsDropped": 0,
            "lastKeyframe": ago(track.keyframe),
        })
    });
    let audio = audio
        .map(|track| json!({ "rid": track.layer, "packetsReceived": track.packets, "packetsDropped": 0 }));
    json!({
        "streamKey": stream.name.as_str(),
        "isPublic": true,
        "motd": "",
        "streamStart": ago(stream.since),
        "audioTracks": audio.collect::<Vec<_>>(),
        "videoTracks": video.collect::<Vec<_>>(),
        "sessions": vec![json!({}); stream.viewers as usize],
    })
}

/// Status now and every five seconds, a viewer's choice of layers, and (which Broadcast Box does not have) whether its way
/// is too narrow for any picture, until the session ends.
async fn tell(State(site): State<Site>, Segment(id): Segment) -> Result<Response, ApiError> {
    let sfu = sfu(&site)?.clone();
    let session = session(&id)?;
    sfu.role(session).await.ok_or_else(no_session)?;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let told = Told { sfu, session, looks, looked: 0, paused: None, waiting: Vec::new() };
    let events = stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok::<_, Infallible>(event), told))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Told {
    sfu: sfu::Handle,
    session: SessionId,
    looks: Interval,
    looked: u32,
    /// What a viewer was told last.
    paused: Option<bool>,
    /// The next one last.
    waiting: Vec<Event>,
}

impl Told {
    /// The next event; none when the session is over.
    async fn next(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            self.looks.tick().await;
            let role = self.sfu.role(self.session).await?;
            let due = self.looked.is_multiple_of(EVERY);
            self.looked = self.looked.wrapping_add(1);
            if let Role::Viewer { paused, .. } = role
                && (self.paused.replace(paused) != Some(paused) || due)
            {
                self.wait("picture", &json!({ "paused": paused }));
            }
            if !due {
                continue;
            }
            let stats = self.sfu.stats();
            let stream = stats.streams.iter().find(|stream| stream.name == *role.stream())?;
            if matches!(role, Role::Viewer { .. }) {
                let layers: Vec<_> = stream.layers.iter().map(|rid| json!({ "encodingId": rid })).collect();
                self.wait("layers", &json!({ "1": { "layers": layers }, "2": { "layers": [] } }));
            }
            self.wait("status", &status(stream));
        }
        self.waiting.pop()
    }

    fn wait(&mut self, kind: &str, data: &Value) {
        self.waiting.push(Event::default().event(kind).data(data.to_string()));
    }
}

/// The wall clock so long ago, as RFC 3339 has it; the year 1 for never, as Go has it.
#[expect(clippy::disallowed_methods, reason = "told in wall clock time, as of now")]
fn ago(ago: Option<Duration>) -> String {
    let since_epoch = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).ok();
    let at = ago.and_then(|ago| since_epoch(SystemTime::now().checked_sub(ago)?));
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| rfc3339(at.as_secs()))
}

/// Seconds since 1970 as a date and a time of day in UTC.
fn rfc3339(seconds: u64) -> String {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hours, minutes) = (of_day / 3_600, of_day / 60 % 60);
    format!("{year:04}-{month:02}-{:02}T{hours:02}:{minutes:02}:{:02}Z", days + 1, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
        assert_eq!(ago(None), "0001-01-01T00:00:00Z");
    }
}
