//! One channel's segments over HTTP, from the first to the last that is accepted.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use reqwest::Response;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::engine::container::pieces::{Piece, PieceSink};
use crate::output::whip::{Wires, said};

const MPEG_TS: &str = "video/MP2T";
const EXPECT_CONTENT: HeaderName = HeaderName::from_static("expect-content");
const CLOSED: HeaderName = HeaderName::from_static("lp-trickle-closed");

/// How long an answer may take once its question is whole, and the server to take what waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Segments that are whole and whose answer has not come, beyond which none will.
const UNANSWERED: usize = 4;

/// Parts of a segment that wait for the connection, beyond which the stream itself waits.
const WAITING: usize = 64;

/// Why publishing has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) words: String,
    /// The server said no, and will again.
    pub(super) refused: bool,
}

impl Trouble {
    fn lost(words: impl Into<String>) -> Trouble {
        Trouble { words: words.into(), refused: false }
    }
}

/// What is told meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The server has the channel.
    Open,
    /// This segment is under way.
    Begun(u64),
}

/// What the muxer makes, on its way to the server: bounded, and what does not fit is left out up to the next keyframe.
pub(super) struct Source {
    pieces: mpsc::Receiver<Piece>,
    level: Arc<Level>,
}

/// What waits in it.
#[derive(Default)]
struct Level {
    bytes: AtomicU64,
    losing: AtomicBool,
    lost: AtomicU64,
}

/// Tells how many pieces were left out.
#[derive(Clone)]
pub(super) struct Lost(Arc<Level>);

impl Lost {
    pub(super) fn count(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }
}

impl Source {
    /// With room for so many pieces and bytes.
    pub(super) fn new(pieces: usize, bytes: u64) -> (PieceSink, Source, Lost) {
        let (sender, receiver) = mpsc::channel(pieces);
        let level = Arc::new(Level::default());
        let into = Arc::clone(&level);
        let sink: PieceSink = Box::new(move |piece| {
            let length = piece.bytes.len() as u64;
            let goes_on = !into.losing.load(Relaxed) || piece.first;
            if goes_on
                && into.bytes.fetch_add(length, Relaxed) + length <= bytes
                && sender.try_send(piece).is_ok()
            {
                into.losing.store(false, Relaxed);
                return;
            }
            if goes_on {
                into.bytes.fetch_sub(length, Relaxed);
            }
            into.losing.store(true, Relaxed);
            into.lost.fetch_add(1, Relaxed);
        });
        (sink, Source { pieces: receiver, level: Arc::clone(&level) }, Lost(level))
    }

    async fn next(&mut self) -> Option<Piece> {
        let piece = self.pieces.recv().await?;
        self.level.bytes.fetch_sub(piece.bytes.len() as u64, Relaxed);
        Some(piece)
    }
}

/// A channel at a server.
pub(super) struct Channel {
    wires: Wires,
    url: Url,
    authorization: Option<HeaderValue>,
}

/// A segment's way out, and where the task that sends it gives its answer.
struct Segment {
    number: u64,
    body: mpsc::Sender<Bytes>,
}

impl Channel {
    /// # Errors
    /// When the key cannot stand in a header, in words.
    pub(super) fn new(wires: Wires, url: &str, key: Option<&str>) -> Result<Channel, String> {
        let url = Url::parse(url.trim_end_matches('/')).map_err(|error| error.to_string())?;
        let authorization = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| "the token holds characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        Ok(Channel { wires, url, authorization: authorization.transpose()? })
    }

    /// Publishes pieces, beginning with segment `next`, until `end` comes or something is wrong; `next` is then the number
    /// that follows.
    pub(super) async fn publish(
        &self,
        mut pieces: Source,
        mut end: oneshot::Receiver<()>,
        next: &mut u64,
        tell: impl Fn(Progress),
    ) -> Result<(), Trouble> {
        if self.make().await? {
            tell(Progress::Open);
        }
        let mut answers = JoinSet::new();
        let mut current: Option<Segment> = None;
        let mut waiting = self.open(*next, &mut answers);
        loop {
            let piece = tokio::select! {
                // What it gives if it is dropped is the end as well.
                _ = &mut end => break,
                piece = pieces.next() => piece,
                Some(answer) = answers.join_next() => {
                    answer.unwrap_or_else(|error| Err(Trouble::lost(error.to_string())))?;
                    tell(Progress::Open);
                    continue;
                }
            };
            let Some(piece) = piece else { break };
            if piece.first {
                if answers.len() > 2 + UNANSWERED {
                    return Err(Trouble::lost("the server takes segments and does not answer"));
                }
                *next = waiting.number + 1;
                // The one before ends with this.
                current = Some(std::mem::replace(&mut waiting, self.open(*next, &mut answers)));
                tell(Progress::Begun(*next - 1));
            }
            let Some(segment) = &current else { continue };
            match timeout(PATIENCE, segment.body.send(piece.bytes.into())).await {
                Ok(Ok(())) => {}
                // Its answer says why, if there is one.
                Ok(Err(_)) => {
                    let answer = timeout(PATIENCE, answers.join_next()).await;
                    let lost = || Err(Trouble::lost("the connection broke"));
                    return answer.ok().flatten().and_then(Result::ok).unwrap_or_else(lost);
                }
                Err(_) => return Err(Trouble::lost("the server takes nothing any more")),
            }
        }
        drop((current, waiting));
        // Whatever comes of the last ones, they were the last.
        let _ = timeout(PATIENCE, async { while answers.join_next().await.is_some() {} }).await;
        Ok(())
    }

    /// Ends the channel, for those who subscribe too.
    pub(super) async fn close(&self) -> Result<(), Trouble> {
        let answer = self.request(Method::DELETE, self.url.clone()).timeout(PATIENCE).send().await;
        answer.map(drop).map_err(|error| Trouble::lost(said(&error)))
    }

    /// Has the channel made; whether the server says so. One that makes none by request may have it all the same.
    async fn make(&self) -> Result<bool, Trouble> {
        let asked = self
            .request(Method::POST, self.url.clone())
            .header(EXPECT_CONTENT, MPEG_TS)
            .timeout(PATIENCE)
            .send();
        let answer = asked.await.map_err(|error| Trouble::lost(said(&error)))?;
        let unknown = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        match answer.status() {
            status if unknown.contains(&status) => Ok(false),
            _ => judge(&answer).map(|()| true),
        }
    }

    /// Opens a segment's request. Its answer comes when its body has ended.
    fn open(&self, number: u64, answers: &mut JoinSet<Result<(), Trouble>>) -> Segment {
        let (body, parts) = mpsc::channel(WAITING);
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&number.to_string());
        }
        let request = self.request(Method::POST, url).header(CONTENT_TYPE, MPEG_TS).body(growing(parts));
        answers.spawn(async move {
            let answer = request.send().await.map_err(|error| Trouble::lost(said(&error)))?;
            judge(&answer)
        });
        Segment { number, body }
    }

    fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        let mut headers = HeaderMap::new();
        headers.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
        self.wires.request(method, url).headers(headers)
    }
}

/// What an answer means.
fn judge(answer: &Response) -> Result<(), Trouble> {
    if answer.headers().contains_key(CLOSED) {
        return Err(Trouble::lost("the server has ended the channel"));
    }
    let refused = |words: &str| Err(Trouble { words: words.to_owned(), refused: true });
    match answer.status() {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            refused("the server refuses the token, or wants one: see `token_file`")
        }
        StatusCode::NOT_FOUND => {
            refused("the server has no such channel, and makes none: is the `url` right?")
        }
        status if status.is_redirection() => {
            refused("the server sends elsewhere: write that address as `url`")
        }
        status => Err(Trouble::lost(format!("the server answers {status}"))),
    }
}

/// A body that grows.
fn growing(parts: mpsc::Receiver<Bytes>) -> reqwest::Body {
    let frames = stream::unfold(parts, async |mut parts| {
        let part = parts.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(part)), parts))
    });
    reqwest::Body::wrap(StreamBody::new(frames))
}
