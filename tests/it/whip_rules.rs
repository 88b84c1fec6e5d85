//! RFC 9725's rules for servers, as far as they are about what must not go wrong: who is refused and how, what a session
//! survives, how ICE is restarted under running media.

use reqwest::{Method, StatusCode};
use str0m::media::Direction;

use crate::appliance::source;
use crate::http::{Server, header, problem};
use crate::whip::{KEY, Peer, offer, until};

const TRICKLE: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");
const CANDIDATE: &str =
    "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";

fn live(server: &Server) -> bool {
    server.sfu.stats().streams.iter().any(|stream| stream.name.as_str() == "obs" && stream.live)
}

/// `replace_publisher = false`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_first_stays_where_the_configuration_says_so() {
    let server = Server::keeping_publishers().await;
    let sdp = offer(Direction::SendOnly);
    let mut first = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    // From the moment that it was answered.
    let refused = problem(server.offer("/api/whip", &[KEY], &sdp).await, 409).await;
    assert!(refused["detail"].as_str().unwrap().contains("`obs` is being published already"), "{refused}");
    until("the first one is live", &mut [&mut first], |_| live(&server)).await;
    problem(server.offer("/api/whip/obs", &[KEY], &sdp).await, 409).await;
    // Another stream is another matter, and so is this one once it is free.
    let other = server.offer("/api/whip", &[("authorization", "Bearer other")], &sdp).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    assert_eq!(server.ask(Method::DELETE, &first.location, &[KEY], "").await.status(), StatusCode::OK);
    let mut second = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    until("the second one is live", &mut [&mut second], |_| live(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_says_all_that_a_publisher_needs_whatever_its_offer_leaves_out() {
    let server = Server::start().await;
    let sdp = offer(Direction::SendOnly);
    assert!(!sdp.contains("a=candidate:") && sdp.contains("a=setup:actpass"), "{sdp}");
    for (setup, answered) in [("actpass", ["active", "passive"].as_slice()), ("active", &["passive"])] {
        let sdp = sdp.replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let created = server.offer("/api/whip", &[KEY], &sdp).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{setup}");
        let links: Vec<_> =
            created.headers().get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
        assert_eq!(links[0], "<stun:stun.example.net>; rel=\"ice-server\"");
        assert!(links[2].ends_with("core:server-sent-events\"; events=\"status\""), "{links:?}");
        assert_eq!(links[3], "</obs>; rel=\"alternate\"; type=\"text/html\"");
        assert_eq!(header(&created, "accept-patch"), "");
        let id = header(&created, "location").rsplit('/').next().unwrap().to_owned();
        assert!(id.len() >= 32, "unguessable: {id}");
        let answer = created.text().await.unwrap();
        assert!(answered.iter().any(|side| answer.contains(&format!("a=setup:{side}\r\n"))), "{answer}");
        // All candidates at once: this server never trickles.
        for line in ["a=recvonly", "a=rtcp-mux", "a=group:BUNDLE", "a=candidate:", "a=fingerprint:sha-256"] {
            assert!(answer.contains(line), "no `{line}` in {answer}");
        }
        assert!(!answer.contains("a=ice-lite"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_contradicts_itself_is_refused_in_words_at_once() {
    let server = Server::start().await;
    let sdp = offer(Direction::SendOnly);
    let sound = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:snd\r\na=sendonly\r\na=rtcp-mux\r\n\
                 a=rtpmap:111 opus/48000/2\r\n";
    let mid = sdp.lines().find_map(|line| line.strip_prefix("a=mid:")).unwrap();
    let both = format!("{sdp}{sound}")
        .replace(&format!("a=group:BUNDLE {mid}"), &format!("a=group:BUNDLE {mid} snd"));
    let rtx = sdp.lines().find(|line| line.starts_with("a=rtpmap:") && line.contains(" rtx/")).unwrap();
    let rtx = rtx["a=rtpmap:".len()..].split(' ').next().unwrap();
    let created = server.offer("/api/whip", &[KEY], &both).await;
    assert_eq!(created.status(), StatusCode::CREATED, "{:?}", created.text().await);
    for (sdp, words) in [
        // As GStreamer's webrtcbin may number them.
        (
            both.replace("111", rtx),
            format!("payload type {rtx} stands for `rtx/90000` and for `opus/48000/2`"),
        ),
        (both.replace("a=mid:snd", &format!("a=mid:{mid}")), format!("two m-lines have the `mid` `{mid}`")),
        (both.replace("BUNDLE", "LS"), "not bundled".to_owned()),
        (both.replace(&format!("BUNDLE {mid} snd"), "BUNDLE snd"), "is not in `a=group:BUNDLE`".to_owned()),
        (sdp.replace("a=fingerprint", "a=fingertip"), "fingerprint".to_owned()),
        (sdp.replace("a=ice-pwd", "a=ice-wdp"), "a=ice-pwd".to_owned()),
        (sdp.replace("a=sendonly", "a=inactive"), "must be `sendonly`".to_owned()),
    ] {
        let refused = problem(server.offer("/api/whip", &[KEY], &sdp).await, 400).await;
        assert!(refused["detail"].as_str().unwrap().contains(&words), "no `{words}` in {refused}");
    }
    assert!(server.sfu.stats().streams.iter().all(|stream| !stream.live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ice_is_restarted_under_running_media_and_what_fails_of_it_ends_nothing() {
    let server = Server::start().await;
    let mut publisher = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    until("the stream is live", &mut [&mut publisher], |_| live(&server)).await;
    let mut viewer = Peer::new(&server, "/api/whep/obs", Direction::RecvOnly).await;
    until("it is watched", &mut [&mut publisher, &mut viewer], |peers| peers[1].got.len() >= 60).await;
    let old = publisher.etag.clone();
    let credentials = |pwd: &str| format!("a=ice-ufrag:EsAw\r\na=ice-pwd:{pwd}\r\n{CANDIDATE}");
    let good = credentials("P2uYro0UCOQ4zxjKXaWCBui1");
    for (condition, body, status) in [
        // A restart must not be tied to the session that it ends.
        (old.as_str(), good.as_str(), 412),
        ("\"stale\"", &good, 412),
        ("*", &credentials("short"), 400),
        ("*", &format!("a=ice-ufrag:EsAw\r\n{CANDIDATE}"), 400),
    ] {
        let headers = [TRICKLE, KEY, ("if-match", condition)];
        problem(server.ask(Method::PATCH, &publisher.location, &headers, body).await, status).await;
    }
    let got = viewer.got.len();
    until("it goes on", &mut [&mut publisher, &mut viewer], |peers| peers[1].got.len() >= got + 60).await;
    // Candidates that lead nowhere are taken and forgotten: names, TCP, other components.
    let nowhere = "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
                   a=candidate:1 1 udp 1 5a3ab3f4-0a11-4d35-8d34-6a54e2d5b7b1.local 9 typ host\r\n\
                   a=candidate:2 1 tcp 1 127.0.0.1 9 typ host tcptype active\r\na=end-of-candidates\r\n";
    for (etag, body, status) in [(&old, nowhere, 204), (&old, CANDIDATE, 204)] {
        let headers = [TRICKLE, KEY, ("if-match", etag.as_str())];
        let taken = server.ask(Method::PATCH, &publisher.location, &headers, body).await;
        assert_eq!((taken.status().as_u16(), header(&taken, "etag")), (status, ""), "{body}");
    }

    publisher.restart_ice(&server).await;
    let sent = publisher.frame;
    let past = |peers: &[&mut Peer]| peers[1].got.iter().any(|(_, frame, _)| *frame > sent + 100);
    until("media goes the new way", &mut [&mut publisher, &mut viewer], past).await;
    assert!(!publisher.closed && !viewer.closed);
    let stale = [TRICKLE, KEY, ("if-match", old.as_str())];
    problem(server.ask(Method::PATCH, &publisher.location, &stale, CANDIDATE).await, 412).await;
    let headers = [TRICKLE, KEY, ("if-match", publisher.etag.as_str())];
    let taken = server.ask(Method::PATCH, &publisher.location, &headers, CANDIDATE).await;
    assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    let mut frames: Vec<_> = viewer.got.iter().map(|(_, frame, _)| *frame).collect();
    frames.dedup();
    let missing = frames.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
    assert!(missing <= 1, "the restart cost more than one gap: {missing}");
}

/// Each stream has one place, so that places are never short; but an SFU that stops takes nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_when_to_come_back() {
    let server = Server::start().await;
    let mut publisher = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    until("the stream is live", &mut [&mut publisher], |_| live(&server)).await;
    server.sfu.shutdown().await;
    until("the publisher is told", &mut [&mut publisher], |peers| peers[0].closed).await;
    let refused = server.offer("/api/whip", &[KEY], &offer(Direction::SendOnly)).await;
    let after: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=30).contains(&after), "{after}");
    problem(refused, 503).await;
}

/// The client's rules are listed where they are kept, each with its test.
#[test]
fn each_rule_of_the_client_names_a_test_that_there_is() {
    let listed = std::fs::read_to_string(source("src/whip/client/mod.rs")).unwrap();
    let rows = listed.lines().filter(|line| line.starts_with("//! | 4."));
    let named: Vec<_> = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once("| `")).collect();
    assert!(named.len() >= 20, "the table is gone: {named:?}");
    let mut sources = String::new();
    let mut folders = vec![source("src/whip"), source("src/engine/webrtc"), source("tests/it")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                sources += &std::fs::read_to_string(entry).unwrap();
            }
        }
    }
    for (_, test) in named {
        let test = test.trim_end_matches('`');
        assert!(
            sources.contains(&format!("#[test]\nfn {test}()"))
                || sources.contains(&format!("    fn {test}()")),
            "no test `{test}`"
        );
    }
}
