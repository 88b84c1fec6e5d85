//! `GET /api/events`: the state by WebSocket, whole at every change; nobody has to ask again.
//!
//! A client that does not read, or does not answer pings, is cut; it costs nobody else anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use axum::routing::get;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dto::StatusDto;
use super::trust::is_own_page;
use super::{ApiError, Site};
use crate::control;

/// The longest that a client may say at once: it has nothing to say.
const LONGEST: usize = 4 * 1024;

/// What followers of the state, of the log and of rooms are allowed.
#[derive(Clone, Copy, Debug)]
pub struct FeedLimits {
    /// Clients at one time, of each kind.
    pub clients: usize,
    /// Those who follow rooms: viewers, of whom there are more.
    pub guests: usize,
    /// The least time between two snapshots.
    pub gap: Duration,
    /// The most time between two snapshots.
    pub idle: Duration,
    /// Time between two pings; who has said nothing from one to the next is gone.
    pub heartbeat: Duration,
    /// How long a client may take to take one message.
    pub patience: Duration,
}

impl Default for FeedLimits {
    fn default() -> Self {
        FeedLimits {
            clients: 32,
            guests: 256,
            gap: Duration::from_millis(100),
            idle: Duration::from_secs(2),
            heartbeat: Duration::from_secs(10),
            patience: Duration::from_secs(5),
        }
    }
}

/// Places for those who follow the state, the log or a room. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feeds {
    pub(super) limits: FeedLimits,
    pub(super) states: Arc<Semaphore>,
    pub(super) logs: Arc<Semaphore>,
    pub(super) rooms: Arc<Semaphore>,
}

impl Feeds {
    /// As many as `limits` says.
    pub fn new(limits: FeedLimits) -> Feeds {
        let places = |count| Arc::new(Semaphore::new(count));
        let (states, logs) = (places(limits.clients), places(limits.clients));
        Feeds { limits, states, logs, rooms: places(limits.guests) }
    }
}

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/events", get(events))
}

/// Whoever may read `/api/status` may follow it; but browsers let any page open a WebSocket anywhere, so pages of other
/// sites are refused here.
async fn events(State(site): State<Site>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    if !is_own_page(&parts.headers) {
        return Err(ApiError::Forbidden {
            reason: "the request comes from a page of another site".to_owned(),
            hint: "open the box's own `/panel`".to_owned(),
        });
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &site).await.map_err(|rejection| {
        let reason = match rejection {
            WebSocketUpgradeRejection::ConnectionNotUpgradable(_) => "this connection cannot be upgraded",
            _ => "this is a WebSocket: send `Connection: upgrade`, `Upgrade: websocket` and its headers",
        };
        ApiError::Malformed(reason.to_owned())
    })?;
    let place = super::place(&site.feeds.states)?;
    let (states, limits) = (site.control.states(), site.feeds.limits);
    Ok(upgrade.max_message_size(LONGEST).max_frame_size(LONGEST).on_upgrade(move |socket| async move {
        let _place = place;
        let (sink, stream) = socket.split();
        let alive = AtomicBool::new(true);
        // Both end with the first that does.
        tokio::select! {
            () = tell(sink, states, &alive, limits) => {}
            () = hear(stream, &alive) => {}
        }
    }))
}

async fn tell(
    mut sink: SplitSink<WebSocket, Message>,
    mut states: watch::Receiver<Arc<control::State>>,
    alive: &AtomicBool,
    limits: FeedLimits,
) {
    let mut gap = interval(limits.gap);
    gap.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = interval(limits.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.reset();
    loop {
        gap.tick().await;
        let state = states.borrow_and_update().clone();
        let Ok(text) = serde_json::to_string(&StatusDto::from(state.as_ref())) else { return };
        if !taken(&mut sink, Message::text(text), limits.patience).await {
            return;
        }
        tokio::select! {
            changed = timeout(limits.idle, states.changed()) => {
                if let Ok(Err(_)) = changed {
                    let goodbye = CloseFrame { code: close_code::AWAY, reason: "the daemon ends".into() };
                    taken(&mut sink, Message::Close(Some(goodbye)), limits.patience).await;
                    return;
                }
            }
            _ = beats.tick() => {
                let heard = alive.swap(false, Ordering::Relaxed);
                if !heard || !taken(&mut sink, Message::Ping(Vec::new().into()), limits.patience).await {
                    tracing::debug!("a follower of the state fell silent");
                    return;
                }
            }
        }
    }
}

/// Whether the client took it in time.
async fn taken(sink: &mut SplitSink<WebSocket, Message>, message: Message, patience: Duration) -> bool {
    matches!(timeout(patience, sink.send(message)).await, Ok(Ok(())))
}

/// Reads to the end; whatever comes shows that the client lives.
async fn hear(mut stream: SplitStream<WebSocket>, alive: &AtomicBool) {
    while let Some(Ok(message)) = stream.next().await {
        alive.store(true, Ordering::Relaxed);
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
