//! A trickle server, as small as it can be, that a test can spoil: channels of numbered segments under `/t/NAME`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

/// Segments of a channel that are kept, as the protocol's first server does.
const KEPT: u64 = 5;

/// A channel exists, its segment does not.
const NO_SEGMENT: u16 = 470;

/// One segment as it was received.
#[derive(Clone, Default)]
pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    pub(crate) done: bool,
    pub(crate) begun: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    /// Pieces it came in.
    pub(crate) pieces: usize,
}

#[derive(Default)]
struct Channel {
    /// All that ever came, for the test to look at.
    segments: BTreeMap<u64, Segment>,
    /// The next to be written.
    next: u64,
    closed: bool,
}

/// What a test may change while it runs.
#[derive(Default)]
pub(crate) struct Knobs {
    /// Bodies are not read any more.
    pub(crate) stalls: AtomicBool,
    /// Channels are not made by request.
    pub(crate) makes_none: AtomicBool,
}

struct Shared {
    channels: Mutex<BTreeMap<String, Channel>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    key: Option<String>,
    knobs: Arc<Knobs>,
}

/// The server. It and all its connections end when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) knobs: Arc<Knobs>,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// At a free port of loopback; with a key, that is asked for.
    pub(crate) fn start(key: Option<&str>) -> Server {
        Server::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), key)
    }

    /// At the port that an earlier one had.
    pub(crate) fn start_at(address: SocketAddr, key: Option<&str>) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let knobs = Arc::<Knobs>::default();
        let shared = Arc::new(Shared {
            channels: Mutex::default(),
            changed: watch::channel(0).0,
            key: key.map(str::to_owned),
            knobs: Arc::clone(&knobs),
        });
        let router = Router::new()
            .route("/t/{name}", post(make).delete(end))
            .route("/t/{name}/{number}", post(write).get(read).delete(skip))
            .with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Server { address, knobs, shared, _runtime: runtime }
    }

    pub(crate) fn url(&self, channel: &str) -> String {
        format!("http://{}/t/{channel}", self.address)
    }

    /// All segments of a channel so far.
    pub(crate) fn segments(&self, channel: &str) -> BTreeMap<u64, Segment> {
        let channels = self.shared.channels.lock().unwrap();
        channels.get(channel).map(|channel| channel.segments.clone()).unwrap_or_default()
    }

    /// Was it ended by its publisher?
    pub(crate) fn is_closed(&self, channel: &str) -> bool {
        self.shared.channels.lock().unwrap().get(channel).is_some_and(|channel| channel.closed)
    }

    /// Waits until a channel's segments are as expected.
    pub(crate) fn until(
        &self,
        what: &str,
        channel: &str,
        expected: impl Fn(&BTreeMap<u64, Segment>) -> bool,
    ) -> BTreeMap<u64, Segment> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut changed = self.shared.changed.subscribe();
        loop {
            let segments = self.segments(channel);
            if expected(&segments) {
                return segments;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let waited =
                self._runtime.block_on(async { tokio::time::timeout(left, changed.changed()).await });
            let seen = segments
                .iter()
                .map(|(number, one)| format!("{number}: {} bytes, done: {}", one.bytes.len(), one.done));
            assert!(waited.is_ok(), "waited in vain until {what}; there are {:#?}", seen.collect::<Vec<_>>());
        }
    }
}

impl Shared {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        headers.get("authorization").is_some_and(|value| *value == *format!("Bearer {key}"))
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

async fn make(State(shared): State<Arc<Shared>>, Path(name): Path<String>, headers: HeaderMap) -> StatusCode {
    if !shared.lets_in(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    let mut channels = shared.channels.lock().unwrap();
    if shared.knobs.makes_none.load(Relaxed) && !channels.contains_key(&name) {
        return StatusCode::NOT_FOUND;
    }
    let channel = channels.entry(name).or_default();
    if channel.closed {
        *channel = Channel::default();
    }
    StatusCode::OK
}

async fn end(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    let mut channels = shared.channels.lock().unwrap();
    let Some(channel) = channels.get_mut(&name) else { return StatusCode::BAD_REQUEST };
    channel.closed = true;
    shared.tell();
    StatusCode::OK
}

async fn write(
    State(shared): State<Arc<Shared>>,
    Path((name, number)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    if !shared.lets_in(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    if shared.channels.lock().unwrap().get(&name).is_none_or(|channel| channel.closed) {
        return StatusCode::NOT_FOUND;
    }
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let Ok(part) = part else { return StatusCode::INTERNAL_SERVER_ERROR };
        while shared.knobs.stalls.load(Relaxed) {
            let _ = shared.changed.subscribe().changed().await;
        }
        let mut channels = shared.channels.lock().unwrap();
        let Some(channel) = channels.get_mut(&name) else { return StatusCode::NOT_FOUND };
        channel.next = channel.next.max(number + 1);
        let segment = channel.segments.entry(number).or_default();
        segment.begun.get_or_insert_with(Instant::now);
        segment.bytes.extend_from_slice(&part);
        segment.pieces += 1;
        shared.tell();
    }
    if let Some(segment) =
        shared.channels.lock().unwrap().get_mut(&name).and_then(|channel| channel.segments.get_mut(&number))
    {
        segment.done = true;
        segment.ended = Some(Instant::now());
    }
    shared.tell();
    StatusCode::OK
}

async fn skip(State(shared): State<Arc<Shared>>, Path((name, number)): Path<(String, u64)>) -> StatusCode {
    if let Some(channel) = shared.channels.lock().unwrap().get_mut(&name) {
        channel.segments.entry(number).or_default().done = true;
    }
    shared.tell();
    StatusCode::OK
}

async fn read(
    State(shared): State<Arc<Shared>>,
    Path((name, number)): Path<(String, i64)>,
    headers: HeaderMap,
) -> Response {
    if !shared.lets_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut changed = shared.changed.subscribe();
    let mut wanted = None;
    loop {
        let found = {
            let channels = shared.channels.lock().unwrap();
            let Some(channel) = channels.get(&name) else { return StatusCode::NOT_FOUND.into_response() };
            let next = channel.next;
            let number = *wanted.get_or_insert(u64::try_from(number).unwrap_or(next));
            let segment = channel.segments.get(&number);
            let told = [("lp-trickle-seq", number.to_string()), ("lp-trickle-latest", next.to_string())];
            if channel.closed && segment.is_none() {
                return (told, [("lp-trickle-closed", "terminated")]).into_response();
            }
            if number + KEPT < next
                || number > next + 1
                || segment.is_some_and(|one| one.done && one.bytes.is_empty())
            {
                return (StatusCode::from_u16(NO_SEGMENT).unwrap(), told).into_response();
            }
            segment.map(|_| (number, told))
        };
        if let Some((number, told)) = found {
            let body = Body::from_stream(parts(Arc::clone(&shared), name, number));
            return (told, [("content-type", "video/MP2T")], body).into_response();
        }
        let _ = changed.changed().await;
    }
}

/// A segment's bytes, as they come.
fn parts(
    shared: Arc<Shared>,
    name: String,
    number: u64,
) -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let changed = shared.changed.subscribe();
    stream::unfold((shared, changed, 0), move |(shared, mut changed, read)| {
        let name = name.clone();
        async move {
            loop {
                let (more, over) = {
                    let channels = shared.channels.lock().unwrap();
                    let channel = channels.get(&name)?;
                    let segment = channel.segments.get(&number)?;
                    (segment.bytes.get(read..)?.to_vec(), segment.done || channel.closed)
                };
                if !more.is_empty() {
                    let read = read + more.len();
                    return Some((Ok(more), (shared, changed, read)));
                }
                if over {
                    return None;
                }
                let _ = changed.changed().await;
            }
        }
    })
}
