//! Publishing by WHIP over HTTP and UDP, with str0m as publisher and viewer.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::http::{Server, header, problem};

const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const KEY: (&str, &str) = ("authorization", "Bearer s3cret");

pub(crate) fn offer(direction: Direction) -> String {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
    let mut api = rtc.sdp_api();
    api.add_media(MediaKind::Video, direction, None, None, None);
    api.apply().unwrap().0.to_sdp_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publishers_session_is_made_patched_and_ended_with_its_key_only() {
    let server = Server::start().await;
    let sdp = offer(Direction::SendOnly);
    // The key alone names the stream, plain or in base64; and so does the address with its key.
    for (path, bearer) in [
        ("/api/whip", "Bearer czNjcmV0"),
        ("/api/whip/obs", "Bearer czNjcmV0"),
        ("/api/whip/obs", "bearer s3cret"),
        ("/api/whip", "Bearer s3cret"),
    ] {
        let created = server.offer(path, &[("authorization", bearer)], &sdp).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{path} {bearer}");
    }
    let created = server.offer("/api/whip", &[KEY], &sdp).await;
    assert_eq!(header(&created, "content-type"), "application/sdp");
    assert_eq!(header(&created, "access-control-allow-origin"), "*");
    let etag = header(&created, "etag").to_owned();
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let location = header(&created, "location").to_owned();
    let id = location.strip_prefix("/api/whip/session/").unwrap().to_owned();
    let answer = created.text().await.unwrap();
    assert!(answer.contains("a=recvonly") && answer.contains("a=candidate:"), "{answer}");

    let kind = ("content-type", "application/trickle-ice-sdpfrag");
    let candidate = "m=video 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
    let restart = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n\
                   a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
    let other = ("authorization", "Bearer other");
    for (headers, body, status) in [
        (&[kind, KEY][..], candidate, 428),
        (&[kind, KEY, ("if-match", "\"other\"")], candidate, 412),
        (&[("content-type", "application/sdp"), KEY, ("if-match", &etag)], candidate, 415),
        (&[kind, KEY, ("if-match", &etag)], "rubbish", 400),
        (&[kind, ("if-match", &etag)], candidate, 401),
        (&[kind, ("authorization", "Bearer guess"), ("if-match", &etag)], candidate, 401),
        (&[kind, other, ("if-match", &etag)], candidate, 404),
    ] {
        problem(server.ask(Method::PATCH, &location, headers, body).await, status).await;
    }
    let taken = server.ask(Method::PATCH, &location, &[kind, KEY, ("if-match", &etag)], candidate).await;
    assert_eq!((taken.status(), header(&taken, "etag")), (StatusCode::NO_CONTENT, ""));
    let restarted = server.ask(Method::PATCH, &location, &[kind, KEY, ("if-match", "*")], restart).await;
    assert_eq!(restarted.status(), StatusCode::OK);
    assert_ne!(header(&restarted, "etag"), etag);
    assert!(restarted.text().await.unwrap().contains("a=ice-ufrag:"));

    assert_eq!(server.ask(Method::GET, &location, &[KEY], "").await.status(), StatusCode::NO_CONTENT);
    for headers in [&[][..], &[("authorization", "Bearer guess")]] {
        problem(server.ask(Method::DELETE, &location, headers, "").await, 401).await;
    }
    problem(server.ask(Method::DELETE, &location, &[other], "").await, 404).await;
    // Where viewers' sessions are, no key is asked for: a publisher's is not there.
    problem(server.ask(Method::DELETE, &format!("/api/whep/session/{id}"), &[], "").await, 404).await;
    let ended = server.ask(Method::DELETE, &location, &[KEY, ("if-match", "\"whatever\"")], "").await;
    assert_eq!(ended.status(), StatusCode::OK);
    problem(server.ask(Method::DELETE, &location, &[KEY], "").await, 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_is_refused_as_whip_says() {
    let mut server = Server::start().await;
    let sdp = offer(Direction::SendOnly);
    // Declared, so known; but nobody publishes.
    let waiting = server.offer("/api/whep/obs", &[], &offer(Direction::RecvOnly)).await;
    assert_ne!(header(&waiting, "retry-after"), "");
    problem(waiting, 409).await;
    let kind = ("content-type", "application/sdp");
    for (path, headers, body, status) in [
        ("/api/whip", &[kind][..], sdp.as_str(), 401),
        ("/api/whip/obs", &[kind, ("authorization", "Bearer other")], &sdp, 401),
        ("/api/whip/nothing", &[kind, KEY], &sdp, 401),
        ("/api/whip", &[KEY, ("content-type", "text/plain")], &sdp, 415),
        ("/api/whip", &[KEY], &sdp, 415),
        ("/api/whip", &[kind, KEY], "v=0", 400),
        ("/api/whip", &[kind, KEY], &sdp.replace("a=sendonly", "a=recvonly"), 400),
        ("/api/whip", &[kind, KEY], &format!("{sdp}{}", &sdp[sdp.find("m=video").unwrap()..]), 422),
        (
            "/api/whip",
            &[kind, KEY],
            &sdp.replace("VP8/90000", "VP7/90000")
                .replace("VP9/", "VX/")
                .replace("H264/", "H26X/")
                .replace("AV1/", "AVX/"),
            406,
        ),
        ("/api/whip", &[kind, KEY], &"x".repeat(64 * 1024 + 1), 413),
    ] {
        problem(server.ask(Method::POST, path, headers, body).await, status).await;
    }
    server.go_live().await;
    let own = server.offer("/api/whip", &[("authorization", "Bearer never")], &sdp).await;
    let own = problem(own, 409).await;
    assert!(own["detail"].as_str().unwrap().contains("own picture"), "{own}");

    for path in ["/api/whip", "/api/whip/obs", "/api/whip/session/x"] {
        let preflight = [
            ("origin", "https://studio.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let answer = server.ask(Method::OPTIONS, path, &preflight, "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let allowed = header(&answer, "access-control-allow-headers").to_ascii_lowercase();
        assert!(allowed.contains("authorization"), "{allowed}");
        assert_eq!(header(&answer, "link"), "", "ICE servers are not for a preflight");
        if !path.ends_with('x') {
            assert_eq!(header(&answer, "accept-post"), "application/sdp");
            let get = server.get(path).await;
            assert_eq!((get.status(), get.bytes().await.unwrap().len()), (StatusCode::NO_CONTENT, 0));
            assert_eq!(server.ask(Method::HEAD, path, &[], "").await.status(), StatusCode::OK);
        }
    }
    // Whoever guesses is made to wait, the right key included.
    loop {
        let guess = server.offer("/api/whip", &[("authorization", "Bearer guess")], &sdp).await;
        if guess.status() != StatusCode::UNAUTHORIZED {
            assert_ne!(header(&guess, "retry-after"), "");
            problem(guess, 429).await;
            break;
        }
        assert_eq!(header(&guess, "www-authenticate"), "Bearer");
    }
    problem(server.offer("/api/whip", &[KEY], &sdp).await, 429).await;
}

/// One end of a connection, on a real socket.
pub(crate) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    pub(crate) location: String,
    pub(crate) etag: String,
    answer: String,
    mid: Mid,
    connected: bool,
    pub(crate) closed: bool,
    keyframe_wanted: bool,
    pub(crate) frame: u32,
    sequence: u64,
    /// (sequence, picture, keyframe) of each packet.
    pub(crate) got: Vec<(u64, u32, bool)>,
    network: Network,
}

/// What lies between a socket and the SFU: it loses media, always the same way.
struct Network {
    percent: u32,
    state: u32,
    lost: u32,
}

impl Network {
    /// Whether this datagram gets lost; only RTP does, sound or picture, sent again or not (RFC 5761 §4).
    fn loses(&mut self, datagram: &[u8]) -> bool {
        let rtp = (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1]);
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        let loses = rtp && self.state % 100 < self.percent;
        self.lost += u32::from(loses);
        loses
    }
}

impl Peer {
    pub(crate) async fn new(server: &Server, path: &str, direction: Direction) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        // As OBS: without candidates.
        let offer: String = offer
            .to_sdp_string()
            .lines()
            .filter(|line| !line.starts_with("a=candidate"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let created = server.offer(path, &[KEY], &offer).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{path}");
        let location = header(&created, "location").to_owned();
        let etag = header(&created, "etag").to_owned();
        let answer = created.text().await.unwrap();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer).unwrap()).unwrap();
        Peer {
            rtc,
            socket,
            location,
            etag,
            answer,
            mid,
            connected: false,
            closed: false,
            keyframe_wanted: true,
            frame: 0,
            sequence: 65_530,
            got: Vec::new(),
            network: Network { percent: 0, state: 7, lost: 0 },
        }
    }

    /// Restarts ICE by PATCH (RFC 9725 §4.3.2): new credentials, the same socket.
    pub(crate) async fn restart_ice(&mut self, server: &Server) {
        let mut api = self.rtc.sdp_api();
        let own = api.ice_restart(true);
        let (_, pending) = api.apply().unwrap();
        let address = self.socket.local_addr().unwrap();
        let fragment = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{}\r\n\
             a=candidate:1 1 udp 2130706431 {} {} typ host\r\n",
            own.ufrag,
            own.pass,
            self.mid,
            address.ip(),
            address.port()
        );
        let kind = ("content-type", "application/trickle-ice-sdpfrag");
        let headers = [kind, KEY, ("if-match", "*")];
        let restarted = server.ask(Method::PATCH, &self.location, &headers, &fragment).await;
        assert_eq!(restarted.status(), StatusCode::OK);
        let etag = header(&restarted, "etag").to_owned();
        assert_ne!(std::mem::replace(&mut self.etag, etag), self.etag);
        let fragment = restarted.text().await.unwrap();
        let line = |start: &str| fragment.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        let renewed =
            self.answer.lines().map(|before| match before.split_once(':').map_or("", |(key, _)| key) {
                key @ ("a=ice-ufrag" | "a=ice-pwd" | "a=candidate") => line(key),
                _ => before.to_owned(),
            });
        self.answer = renewed.map(|line| format!("{line}\r\n")).collect();
        let answer = SdpAnswer::from_sdp_string(&self.answer).unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Sends one VP8 picture of two packets.
    fn send(&mut self, began: Instant) {
        if !self.connected || self.closed {
            return;
        }
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.frame += 1;
        let media = self.rtc.media(self.mid).unwrap();
        let params = self.rtc.codec_config().params().iter();
        let vp8 = |p: &&str0m::format::PayloadParams| p.spec().codec == str0m::format::Codec::Vp8;
        let pt = params.filter(|p| media.remote_pts().contains(&p.pt())).find(vp8).unwrap().pt();
        for index in 0..2_u8 {
            let mut payload = vec![0_u8; 900];
            payload[..2].copy_from_slice(&[if index == 0 { 0x10 } else { 0 }, u8::from(!keyframe)]);
            payload[2..6].copy_from_slice(&self.frame.to_be_bytes());
            let now = Instant::now();
            let time = now.duration_since(began).as_millis() as u32 * 90;
            let write = RtpWrite::new(pt, self.sequence.into(), time, now, payload).marker(index == 1);
            self.sequence += 1;
            self.rtc.direct_api().stream_tx_by_mid(self.mid, None).unwrap().write_rtp(write.nackable(true));
            self.step();
        }
    }

    /// Reads what is there, and drains.
    fn step(&mut self) {
        let local = self.socket.local_addr().unwrap();
        let mut buffer = [0; 2_000];
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
        self.drain();
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            if self.network.loses(&buffer[..length]) {
                continue;
            }
            if let Ok(receive) = Receive::new(Protocol::Udp, source, local, &buffer[..length]) {
                self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
                self.drain();
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(sent) if self.network.loses(&sent.contents) => {}
                Output::Transmit(sent) => {
                    let _ = self.socket.send_to(&sent.contents, sent.destination);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::KeyframeRequest(_)) => self.keyframe_wanted = true,
                Output::Event(Event::RtpPacket(packet)) if packet.payload.len() == 900 => {
                    let frame = u32::from_be_bytes([2, 3, 4, 5].map(|n| packet.payload[n]));
                    self.got.push((*packet.seq_no, frame, packet.payload[1] == 0));
                }
                Output::Event(_) => {}
            }
        }
    }
}

/// Lets all peers run, publishers first, until what is expected is there.
pub(crate) async fn until(what: &str, peers: &mut [&mut Peer], expected: impl Fn(&[&mut Peer]) -> bool) {
    let (began, mut sent) = (Instant::now(), Instant::now());
    while !expected(peers) {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        let due = sent.elapsed() >= Duration::from_millis(10);
        if due {
            sent = Instant::now();
        }
        for peer in peers.iter_mut() {
            if due && peer.location.starts_with("/api/whip/") {
                peer.send(began);
            }
            peer.step();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_stays_while_one_publisher_follows_another() {
    let server = Server::start().await;
    let mut first = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    let live =
        |server: &Server| server.sfu.stats().streams.iter().any(|s| s.name.as_str() == "obs" && s.live);
    until("the stream is live", &mut [&mut first], |_| live(&server)).await;
    let mut viewer = Peer::new(&server, "/api/whep/obs", Direction::RecvOnly).await;
    until("the picture is there", &mut [&mut first, &mut viewer], |peers| peers[1].got.len() >= 60).await;

    let mut second = Peer::new(&server, "/api/whip/obs", Direction::SendOnly).await;
    let before = viewer.got.len();
    let followed = |peers: &[&mut Peer]| peers[0].closed && peers[2].got.len() >= before + 60;
    until("the second one is seen", &mut [&mut first, &mut second, &mut viewer], followed).await;
    problem(server.ask(Method::GET, &first.location, &[KEY], "").await, 404).await;
    let mut sorted = viewer.got.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert!(sorted[0].2, "begins with a keyframe: {:?}", sorted[0]);
    for (got, sequence) in sorted.iter().zip(sorted[0].0..) {
        assert_eq!(got.0, sequence, "no packet is missing");
    }
    let switch =
        sorted.windows(2).find(|pair| pair[1].1 < pair[0].1).expect("the second one counts from one");
    assert!(switch[1].2, "it begins with a keyframe: {switch:?}");

    let stopped = server.ask(Method::DELETE, &second.location, &[KEY], "").await;
    assert_eq!(stopped.status(), StatusCode::OK);
    until("the second one was told", &mut [&mut second, &mut viewer], |peers| peers[0].closed).await;
    until("nobody publishes", &mut [&mut viewer], |_| !live(&server)).await;
    assert_eq!(server.sfu.stats().viewers, 1, "the viewer waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_networks_lose_is_sent_again_both_ways() {
    let server = Server::start().await;
    let mut publisher = Peer::new(&server, "/api/whip", Direction::SendOnly).await;
    let live =
        |server: &Server| server.sfu.stats().streams.iter().any(|s| s.name.as_str() == "obs" && s.live);
    until("the stream is live", &mut [&mut publisher], |_| live(&server)).await;
    let mut viewer = Peer::new(&server, "/api/whep/obs", Direction::RecvOnly).await;
    let seen = |peers: &[&mut Peer], count| peers[1].got.len() >= count;
    until("the picture is there", &mut [&mut publisher, &mut viewer], |peers| seen(peers, 20)).await;
    (publisher.network.percent, viewer.network.percent) = (10, 10);
    until("100 pictures are there", &mut [&mut publisher, &mut viewer], |peers| seen(peers, 220)).await;
    (publisher.network.percent, viewer.network.percent) = (0, 0);
    let sent = publisher.frame;
    let past = |peers: &[&mut Peer]| peers[1].got.iter().any(|(_, frame, _)| *frame > sent + 15);
    until("the rest has come", &mut [&mut publisher, &mut viewer], past).await;
    let (up, down) = (publisher.network.lost, viewer.network.lost);
    assert!(up >= 5 && down >= 5, "the networks lost {up} and {down} packets");

    let mut got: Vec<_> = viewer.got.iter().filter(|(_, frame, _)| *frame <= sent).collect();
    got.sort_unstable();
    got.dedup();
    let pictures = sent - got[0].1 + 1;
    let missing = (2 * pictures as usize).saturating_sub(got.len());
    // Nearly a fifth, if nothing were sent again.
    assert!(missing * 15 < got.len(), "{missing} of {} packets are missing for good", 2 * pictures);
    let stats = server.sfu.stats();
    let stream = stats.streams.iter().find(|stream| stream.name.as_str() == "obs").unwrap();
    assert!(stream.nacks > 0, "nothing was asked for again: {stream:?}");
}
