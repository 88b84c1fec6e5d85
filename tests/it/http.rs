//! The HTTP server on a real port, with the real SFU behind it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capcast::control::{self, Command, CommandError, Done, State, Summary};
use capcast::http::{ControlToken, Documents, Limits, Listener, Publishers, Site, router, serve};
use capcast::media::{Bitrate, Codec, Frame, MediaTime, Packet, RtpTime};
use capcast::sfu::{self, LocalFeed};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use str0m::media::{Direction, MediaKind};
use str0m::{Candidate, Rtc};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: sfu::Room = sfu::Room { frames: 64, time: Duration::from_millis(500), bytes: 8_000_000 };

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// A server on a free port, and the daemon's end of its commands: answers like a daemon that is on air.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    client: Client,
    pub(super) sfu: sfu::Handle,
    feed: Option<LocalFeed>,
    state: watch::Sender<Arc<State>>,
    _close: watch::Sender<bool>,
}

impl Server {
    pub(super) async fn start() -> Server {
        Server::with(Limits::default(), None).await
    }

    async fn with(limits: Limits, token: Option<&str>) -> Server {
        let media = "127.0.0.1:0".parse().unwrap();
        let sfu = sfu::start(sfu::Options { media, public_addresses: Vec::new(), max_viewers: 2 }).unwrap();
        let (handle, mut inbox) = control::channel(State::starting("1.2.3", "test".to_owned()));
        let state = inbox.state;
        tokio::spawn(async move {
            while let Some(order) = inbox.orders.recv().await {
                let _ = order.reply.send(match order.command {
                    Command::Ping => Ok(Done("alive".to_owned())),
                    Command::Keyframe => Err(CommandError::NotOnAir("nothing is on air".to_owned())),
                    Command::SetBitrate(bitrate) if bitrate > Bitrate::from_bits(9_000_000) => {
                        Err(CommandError::Refused {
                            reason: "too much".to_owned(),
                            hint: Some("less".to_owned()),
                        })
                    }
                    Command::SetBitrate(bitrate) => Ok(Done(format!("now {bitrate}"))),
                    Command::OutputStart(name) => Ok(Done(format!("`{name}` starts"))),
                    Command::OutputStop(name) => Err(CommandError::Unknown(format!("no `{name}`"))),
                });
            }
        });
        let site = Site {
            control: handle,
            sfu: Some(sfu.clone()),
            default_stream: "live".parse().unwrap(),
            ice_servers: vec!["stun:stun.example.net".to_owned(), "stun:two.example.net".to_owned()],
            publishers: publishers(),
            control_token: token.and_then(ControlToken::new),
            documents: Arc::new(Documents {
                profiles: Box::new(|| Ok(json!([{"name": "test"}]))),
                devices: Box::new(|| Err("the driver hangs".to_owned())),
            }),
        };
        for stream in ["obs", "cam"] {
            sfu.declare(stream.parse().unwrap());
        }
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closing) = watch::channel(false);
        tokio::spawn(serve(listener, router(site), limits, closing));
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        Server { address, client, sfu, feed: None, state, _close: close }
    }

    /// Makes `live` known, and live.
    pub(super) async fn go_live(&mut self) {
        let feed = self.know();
        let deadline = now() + PATIENCE;
        let mut sequence = 0;
        while !self.sfu.stats().streams.iter().any(|stream| stream.live) {
            assert!(now() < deadline, "the SFU never saw the stream: {:?}", self.sfu.stats());
            let packet =
                Packet { sequence, rtp_time: RtpTime(0), marker: true, payload: Arc::from([0x90_u8; 20]) };
            let (codec, pts) = (Codec::Vp8, MediaTime::from_nanos(sequence * 1_000_000));
            feed.push(Frame { codec, pts, keyframe: true, packets: vec![packet] });
            sequence += 1;
            tokio::task::yield_now().await;
        }
    }

    /// Makes `live` known.
    fn know(&mut self) -> LocalFeed {
        let feed = self.sfu.local_feed("live".parse().unwrap(), now(), [ROOM; 2], Box::new(|| {}));
        self.feed = Some(feed.clone());
        feed
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[], "").await
    }

    pub(super) async fn offer(&self, path: &str, headers: &[(&str, &str)], sdp: &str) -> Response {
        let headers = [headers, &[("content-type", "application/sdp")]].concat();
        self.ask(Method::POST, path, &headers, sdp).await
    }
}

/// `obs` and `cam` may be published; a second publisher of `live` may not.
fn publishers() -> Publishers {
    let key = |stream: &str, key: &str| (stream.parse().unwrap(), key.to_owned());
    Publishers::new(vec![key("obs", "s3cret"), key("cam", "other"), key("live", "never")], true)
}

pub(super) fn offer() -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now());
    rtc.add_local_candidate(Candidate::host("127.0.0.1:9".parse().unwrap(), "udp").unwrap());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    api.apply().unwrap().0.to_sdp_string()
}

pub(super) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let values: Vec<&str> = response.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
    assert!(values.len() < 2, "{name} is there {} times", values.len());
    values.first().copied().unwrap_or_default()
}

/// Checks that a refusal is a problem document (RFC 9457) of this status, and gives it.
#[track_caller]
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status().as_u16(), status, "{response:?}");
    assert_eq!(header(response, "content-type"), "application/problem+json");
    assert_eq!(header(response, "location"), "", "no session, no Location");
}

pub(super) async fn problem(response: Response, status: u16) -> Value {
    assert_problem(&response, status);
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["status"], status);
    assert!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{document}");
    document
}

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
        links,
        ["<stun:stun.example.net>; rel=\"ice-server\"", "<stun:two.example.net>; rel=\"ice-server\""]
    );
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
async fn state_health_and_metrics_tell_the_truth() {
    let server = Server::start().await;
    let status: Value = server.get("/api/status").await.json().await.unwrap();
    assert_eq!((&status["state"], &status["version"]), (&json!("starting"), &json!("1.2.3")));
    for key in ["uptime_s", "profile", "capture", "encode", "outputs", "streams", "queues"] {
        assert!(status.get(key).is_some(), "{key} is missing in {status}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
    problem(server.get("/readyz").await, 503).await;
    server.state.send_modify(|state| {
        let mut on_air = State::clone(state);
        on_air.summary = Summary::OnAir;
        on_air.words = "on air: 0 viewers".to_owned();
        *state = Arc::new(on_air);
    });
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status(), ready.text().await.unwrap()),
        (StatusCode::OK, "on air: 0 viewers\n".to_owned())
    );
    let metrics = server.get("/metrics").await;
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    let page = metrics.text().await.unwrap();
    assert!(page.contains("capcast_state{state=\"on_air\"} 1.0\n"), "{page}");
    let profiles: Value = server.get("/api/profiles").await.json().await.unwrap();
    assert_eq!(profiles, json!([{"name": "test"}]));
    let devices = problem(server.get("/api/devices").await, 500).await;
    assert_eq!(devices["detail"], "the driver hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_strict_and_everything_else_is_a_problem() {
    let server = Server::start().await;
    for path in ["/", "/live", "/a-room_2"] {
        let page = server.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(header(&page, "content-type").starts_with("text/html"));
        let policy = header(&page, "content-security-policy").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        let etag = header(&page, "etag").to_owned();
        let again = server.ask(Method::GET, path, &[("if-none-match", &etag)], "").await;
        assert_eq!((again.status(), again.bytes().await.unwrap().len()), (StatusCode::NOT_MODIFIED, 0));
    }
    for path in ["/%ff", "/assets/%ff"] {
        problem(server.get(path).await, 400).await;
    }
    for path in ["/panel/x", "/api/nothing", "/assets/..%2f..%2fCargo.toml", "/assets/none.js", "/no%20name"]
    {
        problem(server.get(path).await, 404).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_is_for_this_host_and_for_the_token() {
    let server = Server::start().await;
    let set = |headers: &'static [(&'static str, &'static str)], body: &'static str| {
        let server = &server;
        async move {
            let headers = [headers, &[("content-type", "application/json")]].concat();
            server.ask(Method::POST, "/api/control/bitrate", &headers, body).await
        }
    };
    let good = r#"{"bitrate": "2 Mbit/s"}"#;
    let done: Value = set(&[], good).await.json().await.unwrap();
    assert_eq!(done, json!({"done": "now 2 Mbit/s"}));
    for foreign in [
        &[("host", "capcast.example")][..],
        &[("x-forwarded-for", "192.0.2.1")],
        &[("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("authorization", "Bearer guess")],
    ] {
        let refused = problem(set(foreign, good).await, 403).await;
        assert!(refused["hint"].as_str().unwrap().contains("http.control_token_file"), "{refused}");
    }
    let done = server.ask(Method::POST, "/api/outputs/one/start", &[], "").await;
    assert_eq!(done.json::<Value>().await.unwrap(), json!({"done": "`one` starts"}));
    problem(server.ask(Method::POST, "/api/outputs/one/stop", &[], "").await, 404).await;
    assert_eq!(server.get("/api/outputs").await.json::<Value>().await.unwrap(), json!([]));
    // What outputs are watched at may be secret.
    for (method, path) in [(Method::GET, "/api/outputs"), (Method::POST, "/api/outputs/one/start")] {
        problem(server.ask(method, path, &[("x-forwarded-for", "192.0.2.1")], "").await, 403).await;
    }
    let refused = problem(set(&[], r#"{"bitrate": "10 Mbit/s"}"#).await, 422).await;
    assert_eq!((&refused["detail"], &refused["hint"]), (&json!("too much"), &json!("less")));
    problem(set(&[], r#"{"bitrate": "fast"}"#).await, 422).await;
    for body in ["", "{}", "[]", r#"{"bitrate": 5}"#, r#"{"bitrate": "1 Mbit/s", "x": 1}"#] {
        problem(set(&[], body).await, 400).await;
    }
    problem(server.ask(Method::POST, "/api/control/bitrate", &[], good).await, 415).await;
    let large = "x".repeat(70_000);
    let json = [("content-type", "application/json")];
    problem(server.ask(Method::POST, "/api/control/bitrate", &json, &large).await, 413).await;
    problem(server.ask(Method::POST, "/api/control/keyframe", &[], "").await, 409).await;
    problem(server.get("/api/control/keyframe").await, 405).await;

    let guarded = Server::with(Limits::default(), Some("s3cret")).await;
    let far = [("host", "capcast.example"), ("content-type", "application/json")];
    let refused = guarded.ask(Method::POST, "/api/control/bitrate", &far, good).await;
    assert_eq!(header(&refused, "www-authenticate"), "Bearer");
    problem(refused, 401).await;
    let with = |token: &'static str| [far[0], far[1], ("authorization", token)];
    problem(guarded.ask(Method::POST, "/api/control/bitrate", &with("Bearer S3cret"), good).await, 401).await;
    let let_in = guarded.ask(Method::POST, "/api/control/bitrate", &with("Bearer s3cret"), good).await;
    assert_eq!(let_in.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_shown_out_and_cost_others_nothing() {
    let short = Duration::from_millis(300);
    let limits = Limits { connections: 3, head: short, body: short, answer: PATIENCE };
    let server = Server::with(limits, None).await;
    let mut slow = Vec::new();
    for beginning in [
        "GET /api/status HT",
        "",
        "POST /api/whep/live HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        slow.push(stream);
    }
    // All places are taken, so this waits until one is free, and then is served.
    assert_eq!(server.get("/api/status").await.status(), StatusCode::OK);
    for stream in slow {
        let said = rest(stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

/// All that comes until the server ends the connection; a reset is as good an end as any.
async fn rest(mut stream: TcpStream) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            let timed_out =
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            assert!(!timed_out, "the server does not end the connection");
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_ends_that_connection_only() {
    let server = Server::start().await;
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    for garbage in [
        "\u{16}\u{3}\u{1}\u{0}TLS",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        &endless,
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // The server may hang up before all is written.
        let _ = stream.write_all(garbage.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let said = rest(stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{garbage:.20}: {said}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_may_control_without_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capcast.sock");
    let (handle, mut inbox) = control::channel(State::starting("1", "p".to_owned()));
    let site = Site {
        control: handle,
        sfu: None,
        default_stream: "live".parse().unwrap(),
        ice_servers: Vec::new(),
        publishers: Publishers::none(),
        control_token: ControlToken::new("s3cret"),
        documents: Arc::new(Documents {
            profiles: Box::new(|| Ok(json!([]))),
            devices: Box::new(|| Ok(json!([]))),
        }),
    };
    let (close, closing) = watch::channel(false);
    let serving =
        tokio::spawn(serve(Listener::unix(&path).unwrap(), router(site), Limits::default(), closing));
    tokio::spawn(async move {
        let order = inbox.orders.recv().await.unwrap();
        assert_eq!(order.command, Command::Keyframe);
        order.reply.send(Ok(Done("done".to_owned()))).unwrap();
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    let ask =
        "POST /api/control/keyframe HTTP/1.1\r\nHost: box\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = reading.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"done":"done"}"#), "{answer}");
    close.send_replace(true);
    tokio::time::timeout(PATIENCE, serving).await.expect("it closes").unwrap();
    assert!(!path.exists(), "the socket goes with the server");
}
