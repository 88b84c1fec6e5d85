//! The running daemon, as the command line speaks to it: HTTP over its Unix socket.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use super::Outcome;
use crate::daemon::SocketPlaces;

/// How long the daemon may take to answer; a little more than the longest command's own limit.
const PATIENCE: Duration = Duration::from_secs(32);

/// How long it may take where its answer is not what matters.
const PEEK: Duration = Duration::from_secs(2);

/// How often a daemon that ended is looked for.
const AGAIN: Duration = Duration::from_millis(500);

/// Why following ended by itself.
const ENDED: &str = "the daemon ended";

/// What was asked of the daemon.
#[derive(Debug)]
pub(super) enum Reply {
    /// Its answer.
    Document(Value),
    /// It refused, or nobody is there: already told on stderr, and this is what to end with.
    Ended(Outcome),
}

/// `GET path`
pub(super) fn get(path: &str) -> anyhow::Result<Reply> {
    ask(reqwest::Method::GET, path, None)
}

/// `POST path` with a JSON body.
pub(super) fn post(path: &str, body: &Value) -> anyhow::Result<Reply> {
    ask(reqwest::Method::POST, path, Some(body))
}

fn ask(method: reqwest::Method, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
    let Some(socket) = reachable() else { return Ok(Reply::Ended(Outcome::Unreachable)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().unix_socket(socket).timeout(PATIENCE).build()?;
        let mut request = client.request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.context("the daemon broke the connection off")?;
        let refused = !response.status().is_success();
        let document: Value = response.json().await.context("the daemon's answer is not JSON")?;
        if refused {
            complain(&document);
            return Ok(Reply::Ended(Outcome::Failed));
        }
        Ok(Reply::Document(document))
    })
}

/// `GET path`, if a daemon is there and answers; says nothing when not.
pub(super) fn peek(path: &str) -> Option<Value> {
    let places = SocketPlaces::from_environment().to_connect();
    let socket = places.into_iter().find(|place| UnixStream::connect(place).is_ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().unix_socket(socket).timeout(PEEK).build().ok()?;
        client.get(format!("http://localhost{path}")).send().await.ok()?.json().await.ok()
    })
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name; empty for an ordinary one.
    pub(super) kind: String,
    /// By which it is found again; empty where it has none.
    pub(super) id: String,
    pub(super) text: String,
}

/// `GET path`, and each event that comes, until the daemon has no more or Ctrl-C. A daemon that ends meanwhile is a failure,
/// or, with `patiently`, waited for: then it goes on with the first event that was not seen.
pub(super) fn follow(
    path: &str,
    patiently: bool,
    mut each: impl FnMut(Event) -> anyhow::Result<ControlFlow<Outcome>>,
) -> anyhow::Result<Outcome> {
    let Some(mut socket) = reachable() else { return Ok(Outcome::Unreachable) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = interrupted()?;
        let mut last = String::new();
        loop {
            let ended = tokio::select! {
                _ = interrupt.recv() => return Ok(Outcome::Done),
                ended = events(&socket, path, &mut last, &mut each) => ended?,
            };
            match ended {
                Ended::Whole if !patiently => return Ok(Outcome::Done),
                Ended::Refused => return Ok(Outcome::Failed),
                Ended::Unread(outcome) => return Ok(outcome),
                Ended::Broken(error) if !patiently => return Err(error.context(ENDED)),
                Ended::Whole | Ended::Broken(_) => {}
            }
            aside("(the daemon ended; this goes on when it is back)");
            socket = tokio::select! {
                _ = interrupt.recv() => return Ok(Outcome::Done),
                socket = back() => socket,
            };
        }
    })
}

/// How a stream of events came to its end.
enum Ended {
    /// There are no more.
    Whole,
    /// The daemon refused, which is told already.
    Refused,
    /// Nobody wants more.
    Unread(Outcome),
    /// The connection broke, or there was none.
    Broken(anyhow::Error),
}

/// The events of one connection, the first of them the one after `last`.
async fn events(
    socket: &Path,
    path: &str,
    last: &mut String,
    each: &mut impl FnMut(Event) -> anyhow::Result<ControlFlow<Outcome>>,
) -> anyhow::Result<Ended> {
    let client = reqwest::Client::builder().unix_socket(socket).connect_timeout(PEEK).build()?;
    let mut request = client.get(format!("http://localhost{path}"));
    if !last.is_empty() {
        request = request.header("Last-Event-ID", last.as_str());
    }
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(Ended::Broken(error.into())),
    };
    if !response.status().is_success() {
        complain(&response.json().await.unwrap_or_default());
        return Ok(Ended::Refused);
    }
    let mut pending = Vec::new();
    loop {
        let piece = match response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Ended::Whole),
            Err(error) => return Ok(Ended::Broken(error.into())),
        };
        pending.extend_from_slice(&piece);
        while let Some(end) = pending.windows(2).position(|pair| pair == b"\n\n") {
            let event = event(&String::from_utf8_lossy(&pending[..end]));
            pending.drain(..end + 2);
            if !event.id.is_empty() {
                last.clone_from(&event.id);
            }
            if !event.text.is_empty()
                && let ControlFlow::Break(outcome) = each(event)?
            {
                return Ok(Ended::Unread(outcome));
            }
        }
    }
}

/// The socket of a daemon, once there is one.
async fn back() -> PathBuf {
    let mut looks = tokio::time::interval(AGAIN);
    loop {
        looks.tick().await;
        let places = SocketPlaces::from_environment().to_connect();
        if let Some(place) = places.into_iter().find(|place| UnixStream::connect(place).is_ok()) {
            return place;
        }
    }
}

/// The fields of an event that are used here.
fn event(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        if let Some(text) = line.strip_prefix("data:") {
            event.text += text.trim_start();
        } else if let Some(kind) = line.strip_prefix("event:") {
            kind.trim().clone_into(&mut event.kind);
        } else if let Some(id) = line.strip_prefix("id:") {
            id.trim().clone_into(&mut event.id);
        }
    }
    event
}

/// The state as JSON, as the daemon tells it, until Ctrl-C. A daemon that ends meanwhile is a failure.
pub(super) fn states(
    mut each: impl FnMut(String) -> anyhow::Result<ControlFlow<Outcome>>,
) -> anyhow::Result<Outcome> {
    let Some(socket) = reachable() else { return Ok(Outcome::Unreachable) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = interrupted()?;
        let stream = tokio::net::UnixStream::connect(socket).await?;
        let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/api/events", stream)
            .await
            .context("the daemon does not tell its state")?;
        loop {
            let message = tokio::select! {
                _ = interrupt.recv() => return Ok(Outcome::Done),
                message = socket.next() => message,
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    if let ControlFlow::Break(outcome) = each(text.to_string())? {
                        return Ok(outcome);
                    }
                }
                // Pings are answered when the next message is waited for.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => bail!(ENDED),
            }
        }
    })
}

/// Ctrl-C from now on. Taken before anything is shown: until then it ends the process as the shell would have it.
fn interrupted() -> std::io::Result<Signal> {
    signal(SignalKind::interrupt())
}

/// The first socket on which somebody answers; says on stderr when there is none.
#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
fn reachable() -> Option<PathBuf> {
    let places = SocketPlaces::from_environment().to_connect();
    let mut denied = None;
    for place in &places {
        match UnixStream::connect(place) {
            Ok(_) => return Some(place.clone()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => denied = Some(place),
            Err(_) => {}
        }
    }
    let shown = places.iter().map(|place| format!("`{}`", place.display())).collect::<Vec<_>>().join(" or ");
    match denied {
        Some(place) => eprintln!(
            "error: you may not open the daemon's socket `{}`\nhint: who may is in the group `capcast`; or use `sudo`",
            place.display()
        ),
        None => eprintln!(
            "error: no capcast daemon answers on {shown}\n\
             hint: start one with `capcast run`, `capcast run --demo` to try it out, or `systemctl start capcast`"
        ),
    }
    None
}

/// Says on stderr what is no answer.
#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
fn aside(words: &str) {
    eprintln!("{words}");
}

/// Says on stderr what a problem document says (RFC 9457).
#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
fn complain(problem: &Value) {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    eprintln!("error: {}", text("detail").or(text("title")).unwrap_or("the daemon refused without a reason"));
    if let Some(hint) = text("hint") {
        eprintln!("hint: {hint}");
    }
}

/// Sends a command and says what it did.
pub(super) fn command(path: &str, body: &Value, json: bool) -> anyhow::Result<Outcome> {
    let done = match post(path, body)? {
        Reply::Ended(outcome) => return Ok(outcome),
        Reply::Document(document) => document,
    };
    if json {
        return super::answer(&format!("{done:#}\n"));
    }
    let Some(words) = done.get("done").and_then(Value::as_str) else {
        bail!("the daemon did not say what it did")
    };
    super::answer(&format!("{words}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_name_and_text() {
        let told = event("event: lagged\nid: 7-1\nretry: 1000\ndata: {\"missed\":\ndata: 3}");
        assert_eq!(
            told,
            Event { kind: "lagged".to_owned(), id: "7-1".to_owned(), text: "{\"missed\":3}".to_owned() }
        );
        assert_eq!(event(": keep alive"), Event::default());
    }
}
