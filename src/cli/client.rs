//! The running daemon, as the command line speaks to it: HTTP over its Unix socket.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Outcome;
use crate::daemon::SocketPlaces;

/// How long the daemon may take to answer; a little more than the longest command's own limit.
const PATIENCE: Duration = Duration::from_secs(32);

/// How long it may take where its answer is not what matters.
const PEEK: Duration = Duration::from_secs(2);

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
