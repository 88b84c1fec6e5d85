//! A room's streams by server-sent events, and its page.

use capcast::control::StreamState;

use super::feeds::Events;
use super::*;

fn stream(name: &str, live: bool) -> StreamState {
    StreamState {
        name: name.to_owned(),
        live,
        publisher: live.then_some("whip"),
        layers: Vec::new(),
        video: live.then_some(Codec::Vp8),
        audio: None,
        viewers: 0,
        viewers_over_tcp: 0,
        viewers_paused: 0,
        packets_in: 0,
        packets_lost: 0,
        nacks: 0,
        packets_out: 0,
        packets_resent: 0,
        bytes_out: 0,
        keyframe_requests: 0,
        keyframes_asked: 0,
        dropped: 0,
    }
}

fn tell(server: &Server, streams: &[StreamState]) {
    let mut state = State::starting("1.2.3", "test".to_owned());
    state.streams = streams.to_vec();
    server.state.send_replace(Arc::new(state));
}

async fn room(events: &mut Events) -> Vec<(String, bool, bool)> {
    let (event, _, room) = events.next().await.unwrap();
    assert_eq!(event, "room");
    contract::assert_schema("Room", &room);
    let member = |one: &Value| {
        let is = |key: &str| one[key].as_bool().unwrap();
        (one["name"].as_str().unwrap().to_owned(), is("live"), is("locked"))
    };
    room["streams"].as_array().unwrap().iter().map(member).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_told_whole_at_once_and_when_it_changes_and_at_no_other_time() {
    let rules = Rules { view: vec![("meet-ben".parse().unwrap(), "k".to_owned())], ..Rules::default() };
    let server = Server::ruled(Limits::default(), None, FeedLimits::default(), rules).await;
    let mut meet = Events::open(&server, "/api/rooms/meet", &[]).await;
    assert_eq!(room(&mut meet).await, []);
    let others = [stream("live", true), stream("meeting", true), stream("other-meet", true)];
    tell(&server, &[&others[..], &[stream("meet-ben", false), stream("meet", true)]].concat());
    let told = |name: &str, live, locked| (name.to_owned(), live, locked);
    assert_eq!(room(&mut meet).await, [told("meet", true, false), told("meet-ben", false, true)]);
    // What changes elsewhere, or in figures, is not told: the next event is of the room.
    tell(&server, &[stream("meet", true), stream("meet-ben", false), stream("live", false)]);
    let mut busy = stream("meet", true);
    busy.packets_in = 7;
    tell(&server, &[busy, stream("meet-ben", false)]);
    tell(&server, &[stream("meet", true), stream("meet-ben", true)]);
    assert_eq!(room(&mut meet).await, [told("meet", true, false), told("meet-ben", true, true)]);
    // Who comes later is told what is.
    let mut late = Events::open(&server, "/api/rooms/meet", &[]).await;
    assert_eq!(room(&mut late).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_has_a_streams_name_without_a_dash_and_so_many_followers() {
    let feeds = FeedLimits { guests: 1, ..FeedLimits::default() };
    let server = Server::with_feeds(Limits::default(), None, feeds).await;
    for name in ["a-b", "-", "a%20b", "api", &"x".repeat(65)] {
        problem(server.get(&format!("/api/rooms/{name}")).await, 404).await;
        problem(server.get(&format!("/room/{name}")).await, 404).await;
    }
    let first = Events::open(&server, "/api/rooms/meet", &[]).await;
    let refused = server.get("/api/rooms/other").await;
    assert_ne!(header(&refused, "retry-after"), "");
    problem(refused, 503).await;
    drop(first);
    let deadline = now() + PATIENCE;
    while server.get("/api/rooms/other").await.status() != StatusCode::OK {
        assert!(now() < deadline, "the place of a follower that left is never free");
    }
}
