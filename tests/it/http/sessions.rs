//! WHEP: sessions are made, refused and embedded as the drafts say.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_made_patched_and_ended() {
    let mut server = Server::start().await;
    server.go_live().await;
    let created = server.offer("/api/whep", &[("authorization", "Bearer live")], &offer()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(header(&created, "content-type"), "application/sdp");
    assert_eq!(header(&created, "access-control-allow-origin"), "*");
    let links: Vec<_> = created.headers().get_all("link").iter().collect();
    assert_eq!(
        links[..2],
        ["<stun:stun.example.net>; rel=\"ice-server\"", "<stun:two.example.net>; rel=\"ice-server\""]
    );
    let id = header(&created, "location").rsplit('/').next().unwrap();
    for (link, path) in links[2..].iter().zip(["sse", "layer"]) {
        let link = link.to_str().unwrap();
        assert!(
            link.starts_with(&format!("</api/{path}/{id}>; rel=\"urn:ietf:params:whep:ext:core:")),
            "{link}"
        );
    }
    assert_eq!(links.len(), 4);
    let exposed = header(&created, "access-control-expose-headers").to_ascii_lowercase();
    for name in ["location", "etag", "link", "retry-after"] {
        assert!(exposed.split(',').any(|one| one.trim() == name), "{name} is not in `{exposed}`");
    }
    let etag = header(&created, "etag").to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let location = header(&created, "location").to_owned();
    let id = location.strip_prefix("/api/whep/session/").unwrap();
    assert!(id.len() >= 32, "unguessable: {id}");
    assert!(created.text().await.unwrap().contains("a=sendonly"));

    assert_eq!(server.get(&location).await.status(), StatusCode::NO_CONTENT);
    let fragment = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                    a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
    let candidate = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
    let kind = ("content-type", "application/trickle-ice-sdpfrag");
    let patch = |headers: Vec<(&'static str, String)>, body: &'static str| {
        let (server, location) = (&server, &location);
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            server.ask(Method::PATCH, location, &headers, body).await
        }
    };
    let typed = || (kind.0, kind.1.to_owned());
    problem(patch(vec![typed()], candidate).await, 428).await;
    problem(patch(vec![typed(), ("if-match", "\"other\"".to_owned())], candidate).await, 412).await;
    let other = vec![("content-type", "application/sdp".to_owned()), ("if-match", etag.clone())];
    problem(patch(other, candidate).await, 415).await;
    problem(patch(vec![typed(), ("if-match", etag.clone())], "rubbish").await, 400).await;
    let taken = patch(vec![typed(), ("if-match", etag.clone())], candidate).await;
    assert_eq!((taken.status(), header(&taken, "etag")), (StatusCode::NO_CONTENT, ""));
    let restarted = patch(vec![typed(), ("if-match", "*".to_owned())], fragment).await;
    assert_eq!(restarted.status(), StatusCode::OK, "{:?}", restarted.text().await);
    assert_eq!(header(&restarted, "content-type"), "application/trickle-ice-sdpfrag");
    assert_ne!(header(&restarted, "etag"), etag, "an ICE restart makes another ICE session");
    let answer = restarted.text().await.unwrap();
    assert!(answer.contains("a=ice-ufrag:") && answer.contains("a=mid:0\r\n"), "{answer}");
    problem(patch(vec![typed(), ("if-match", etag)], candidate).await, 412).await;

    assert_eq!(server.ask(Method::DELETE, &location, &[], "").await.status(), StatusCode::OK);
    problem(server.ask(Method::DELETE, &location, &[], "").await, 404).await;
    problem(server.get(&location).await, 404).await;
    problem(patch(vec![typed(), ("if-match", "*".to_owned())], candidate).await, 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_watched_is_refused_as_whep_says() {
    let mut server = Server::start().await;
    problem(server.offer("/api/whep/live", &[], &offer()).await, 404).await;
    let _feed = server.know();
    let waiting = server.offer("/api/whep/live", &[], &offer()).await;
    let again: u64 = header(&waiting, "retry-after").parse().unwrap();
    assert!((1..=30).contains(&again), "{again}");
    problem(waiting, 409).await;

    server.go_live().await;
    problem(server.offer("/api/whep/other", &[], &offer()).await, 404).await;
    for name in ["not%20a%20name", "%00", "..%2f..%2fetc", "metrics", &"x".repeat(65)] {
        problem(server.offer(&format!("/api/whep/{name}"), &[], &offer()).await, 404).await;
    }
    let no_vp8 = offer().replace("VP8/90000", "VP7/90000");
    let refused = problem(server.offer("/api/whep/live", &[], &no_vp8).await, 406).await;
    assert!(refused["detail"].as_str().unwrap().contains("VP8"), "{refused}");

    for kind in ["", "text/plain", "application/json", "application/sdpx"] {
        let headers = if kind.is_empty() { vec![] } else { vec![("content-type", kind)] };
        problem(server.ask(Method::POST, "/api/whep/live", &headers, &offer()).await, 415).await;
    }
    let parameters = [("content-type", "Application/SDP; charset=utf-8")];
    let taken = server.ask(Method::POST, "/api/whep/live", &parameters, &offer()).await;
    assert_eq!(taken.status(), StatusCode::CREATED);
    for garbage in ["", "v=0", "v=0\r\nm=video", "\u{0}\u{1}", "<html>", &"a=x\r\n".repeat(1000)] {
        problem(server.offer("/api/whep/live", &[], garbage).await, 400).await;
    }
    problem(server.offer("/api/whep/live", &[], &"x".repeat(64 * 1024 + 1)).await, 413).await;
    let second = server.offer("/api/whep", &[], &offer()).await;
    assert_eq!(second.status(), StatusCode::CREATED, "no bearer is the box's own stream");
    let full = server.offer("/api/whep/live", &[], &offer()).await;
    assert_ne!(header(&full, "retry-after"), "");
    problem(full, 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sites_may_embed_a_player() {
    let server = Server::start().await;
    for (path, method) in
        [("/api/whep", "POST"), ("/api/whep/live", "POST"), ("/api/whep/session/x", "PATCH")]
    {
        let preflight = [
            ("origin", "https://player.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization,content-type,if-match"),
        ];
        let answer = server.ask(Method::OPTIONS, path, &preflight, "").await;
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert!(header(&answer, "access-control-allow-methods").contains(method), "{answer:?}");
        let allowed = header(&answer, "access-control-allow-headers").to_ascii_lowercase();
        for name in ["authorization", "content-type", "if-match"] {
            assert!(allowed.contains(name), "{name} is not in `{allowed}`");
        }
        assert_eq!(header(&answer, "link"), "", "ICE servers are not for a preflight");
        if method == "POST" {
            assert_eq!(header(&answer, "accept-post"), "application/sdp");
            assert_eq!(server.get(path).await.status(), StatusCode::NO_CONTENT);
            let head = server.ask(Method::HEAD, path, &[], "").await;
            assert_eq!((head.status(), header(&head, "content-type")), (StatusCode::OK, "application/sdp"));
        }
    }
    let put = server.ask(Method::PUT, "/api/whep/live", &[], "").await;
    assert_problem(&put, 405);
    assert!(header(&put, "allow").contains("POST"), "{put:?}");
    let status = server.get("/api/status").await;
    assert_eq!(header(&status, "access-control-allow-origin"), "", "the API is no other site's business");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcast_boxs_shapes_tell_of_streams_and_sessions() {
    let mut server = Server::start().await;
    let list = "/api/status?format=broadcast-box";
    assert_eq!(server.get(list).await.json::<Value>().await.unwrap(), json!([]));
    problem(server.get("/api/status?key=live").await, 404).await;
    for query in ["format=xml", "format=", "key=live&secret=1", "x", "format=broadcast-box&format=x"] {
        problem(server.get(&format!("/api/status?{query}")).await, 400).await;
    }
    server.go_live().await;
    let listed: Value = server.get(list).await.json().await.unwrap();
    let stream = &listed[0];
    assert_eq!((&stream["streamKey"], &stream["isPublic"]), (&json!("live"), &json!(true)));
    assert_eq!((&stream["sessions"], &stream["audioTracks"]), (&json!([]), &json!([])));
    let track = &stream["videoTracks"][0];
    assert!(track["packetsReceived"].as_u64() > Some(0) && track["rid"] == "", "{listed}");
    for time in [&track["lastKeyframe"], &stream["streamStart"]] {
        let time = time.as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 20, "{time}");
    }
    let one: Value = server.get("/api/status?key=live").await.json().await.unwrap();
    assert_eq!((&one["isOnline"], &one["viewers"], &one["motd"]), (&json!(true), &json!(0), &json!("")));

    problem(server.get("/api/sse/nonsense").await, 404).await;
    let created = server.offer("/api/whep/live", &[], &offer()).await;
    let location = header(&created, "location").to_owned();
    let id = location.rsplit('/').next().unwrap();
    let mut events = server.get(&format!("/api/sse/{id}")).await;
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    let mut told = String::new();
    while told.matches("\n\n").count() < 3 {
        told.push_str(&String::from_utf8_lossy(&events.chunk().await.unwrap().expect("three events")));
    }
    let (status, rest) = told.split_once("\n\n").unwrap();
    let (layers, picture) = rest.split_once("\n\n").unwrap();
    assert!(status.starts_with("event: status\ndata: {\"streamKey\":\"live\",\"motd\":\"\""), "{told}");
    assert!(layers.starts_with("event: layers\ndata: {\"1\":{\"layers\":[]}"), "{told}");
    assert_eq!(picture, "event: picture\ndata: {\"paused\":false}\n\n", "{told}");
    // It ends with the session, at the latest when it would tell more.
    assert_eq!(server.ask(Method::DELETE, &location, &[], "").await.status(), StatusCode::OK);
    while let Some(more) = events.chunk().await.unwrap() {
        assert!(!more.is_empty());
    }
    problem(server.get(&format!("/api/sse/{id}")).await, 404).await;
}
