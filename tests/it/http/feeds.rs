//! The state by WebSocket, the log by server-sent events.

use capcast::control::Lifecycle;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream as Stream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tracing::Level;

use super::*;

/// Follows the state; the error is the status that refused it.
async fn follow(server: &Server, headers: &[(&'static str, &str)]) -> Result<WebSocketStream<Stream>, u16> {
    let mut request = format!("ws://{}/api/events", server.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = Stream::connect(server.address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The next snapshot.
async fn snapshot(socket: &mut WebSocketStream<Stream>) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message in time");
        match message.expect("it goes on").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gets_the_whole_state_at_once_at_changes_and_in_between() {
    let server = Server::start().await;
    let mut socket = follow(&server, &[]).await.unwrap();
    let first = snapshot(&mut socket).await;
    let asked: Value = server.get("/api/status").await.json().await.unwrap();
    assert_eq!(first, asked, "the same as /api/status");

    let mut state = State::starting("1.2.3", "other".to_owned());
    state.capture.lifecycle = Lifecycle::Running;
    server.state.send_replace(Arc::new(state));
    let changed = snapshot(&mut socket).await;
    assert_eq!((&changed["profile"], &changed["capture"]["state"]), (&"other".into(), &"running".into()));
    assert_eq!(snapshot(&mut socket).await, changed, "nothing changed, and it still says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_are_one_snapshot() {
    let feeds = FeedLimits { gap: Duration::from_secs(1), ..FeedLimits::default() };
    let server = Server::with_feeds(Limits::default(), None, feeds).await;
    let mut socket = follow(&server, &[]).await.unwrap();
    snapshot(&mut socket).await;
    for change in 1..=50 {
        server.state.send_replace(Arc::new(State::starting("1.2.3", format!("profile{change}"))));
        tokio::task::yield_now().await;
    }
    let mut seen = 0;
    while snapshot(&mut socket).await["profile"] != "profile50" {
        seen += 1;
    }
    assert!(seen < 5, "{seen} snapshots of 49 states that were over at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_plain_requests_and_one_too_many_are_refused() {
    let feeds = FeedLimits { clients: 2, ..FeedLimits::default() };
    let server = Server::with_feeds(Limits::default(), None, feeds).await;
    let own = format!("http://{}", server.address);
    for (headers, status) in [
        (&[("origin", "https://evil.example")][..], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("origin", "null")], 403),
    ] {
        assert_eq!(follow(&server, headers).await.err(), Some(status), "{headers:?}");
    }
    problem(server.get("/api/events").await, 400).await;
    let mut first = follow(&server, &[("origin", &own)]).await.unwrap();
    let _second = follow(&server, &[]).await.unwrap();
    assert_eq!(follow(&server, &[]).await.err(), Some(503));
    // Its place is free once the server has heard of its end.
    first.close(None).await.unwrap();
    while first.next().await.is_some() {}
    let deadline = now() + PATIENCE;
    while follow(&server, &[]).await.is_err() {
        assert!(now() < deadline, "the place of a follower that left is never free");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_does_not_answer_is_cut_and_others_go_on() {
    let feeds = FeedLimits {
        clients: 2,
        guests: 2,
        gap: Duration::from_millis(1),
        idle: Duration::from_millis(50),
        heartbeat: Duration::from_secs(2),
        patience: Duration::from_secs(2),
    };
    let server = Server::with_feeds(Limits::default(), None, feeds).await;
    // Reads nothing, so it never answers a ping, and its buffers fill.
    let _deaf = follow(&server, &[]).await.unwrap();
    let mut well = follow(&server, &[]).await.unwrap();
    let deadline = now() + PATIENCE;
    loop {
        // It answers pings while it reads.
        snapshot(&mut well).await;
        well.flush().await.unwrap();
        // A third has a place once the deaf one lost its own.
        match follow(&server, &[]).await {
            Ok(_) => break,
            Err(status) => assert!(status == 503 && now() < deadline, "{status}: the deaf one is never cut"),
        }
    }
    snapshot(&mut well).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_talks_too_much_is_cut() {
    let server = Server::start().await;
    let mut socket = follow(&server, &[]).await.unwrap();
    socket.send(Message::text("well met")).await.unwrap();
    snapshot(&mut socket).await;
    let _ = socket.send(Message::text("x".repeat(100_000))).await;
    let ended = tokio::time::timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            assert!(!matches!(message, Message::Binary(_)));
        }
    });
    ended.await.expect("the server ends it");
}

/// Events of the log as (event, id, JSON), read until there are so many.
pub(super) struct Events {
    response: Response,
    text: String,
}

impl Events {
    pub(super) async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = server.ask(Method::GET, path, headers, "").await;
        assert_eq!(
            (response.status(), header(&response, "content-type")),
            (StatusCode::OK, "text/event-stream")
        );
        Events { response, text: String::new() }
    }

    /// None at the end.
    pub(super) async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let lines = event.lines().find_map(|line| line.strip_prefix(name));
                    lines.unwrap_or_default().trim().to_owned()
                };
                let found = (line("event:"), line("id:"), line("data:"));
                self.text = rest.to_owned();
                if !found.2.is_empty() {
                    return Some((found.0, found.1, serde_json::from_str(&found.2).unwrap()));
                }
                continue;
            }
            let more = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("more in time");
            self.text += &String::from_utf8_lossy(&more.unwrap()?);
        }
    }

    async fn words(&mut self) -> String {
        self.next().await.expect("a line").2["words"].as_str().expect("words").to_owned()
    }
}

fn say(server: &Server, words: &str) {
    server.logs.push(
        Duration::from_millis(1_700_000_000_123),
        Level::WARN,
        "capcast::here",
        words.to_owned(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_told_from_the_ring_then_as_it_comes_and_goes_on_where_it_broke() {
    let server = Server::start().await;
    say(&server, "one");
    let mut events = Events::open(&server, "/api/logs", &[]).await;
    let (event, id, line) = events.next().await.unwrap();
    assert_eq!((event.as_str(), id.as_str()), ("", "7-1"));
    let expected =
        json!({"at_ms": 1_700_000_000_123_u64, "level": "warn", "target": "capcast::here", "words": "one"});
    assert_eq!(line, expected);
    say(&server, "two\nlines");
    assert_eq!(events.words().await, "two\nlines");
    drop(events);
    say(&server, "three");

    let mut again = Events::open(&server, "/api/logs", &[("last-event-id", "7-2")]).await;
    assert_eq!(again.words().await, "three");
    // An id of a daemon before this one.
    let mut stranger = Events::open(&server, "/api/logs", &[("last-event-id", "6-2")]).await;
    assert_eq!(stranger.words().await, "one");
    let mut all = Events::open(&server, "/api/logs?follow=false", &[]).await;
    for words in ["one", "two\nlines", "three"] {
        assert_eq!(all.words().await, words);
    }
    assert_eq!(all.next().await, None, "it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_too_late_is_told_how_much_it_missed() {
    let server = Server::start().await;
    for line in 1..=6_000 {
        say(&server, &line.to_string());
    }
    let mut late = Events::open(&server, "/api/logs?follow=false", &[("last-event-id", "7-10")]).await;
    let (event, _, lagged) = late.next().await.unwrap();
    let missed = lagged["missed"].as_u64().unwrap();
    assert_eq!((event.as_str(), missed > 0), ("lagged", true), "{lagged}");
    for line in 11 + missed..=6_000 {
        assert_eq!(late.words().await, line.to_string());
    }
    assert_eq!(late.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_only_for_who_may_control() {
    let server = Server::with(Limits::default(), Some("s3cret")).await;
    for (headers, status) in [
        (&[("host", "capcast.example")][..], 401),
        (&[("x-forwarded-for", "192.0.2.1")], 401),
        (&[("origin", "https://evil.example")], 401),
        (&[("authorization", "Bearer guess")], 401),
    ] {
        problem(server.ask(Method::GET, "/api/logs", headers, "").await, status).await;
    }
    let with_token = [("host", "capcast.example"), ("authorization", "Bearer s3cret")];
    assert_eq!(server.ask(Method::GET, "/api/logs", &with_token, "").await.status(), StatusCode::OK);
}
