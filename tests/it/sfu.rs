//! The SFU's thread and sockets, with str0m viewers on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use capcast::media::{Codec, Frame, MediaTime, Packet, RtpTime, StreamName};
use capcast::sfu::{
    Answer, Disconnect, Handle, LocalFeed, Options, Patch, PatchError, Patched, Precondition, Stats,
    WhepError, WhipError,
};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::{Candidate, Event, Input, Output, Rtc};

const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: capcast::sfu::Room =
    capcast::sfu::Room { frames: 64, time: Duration::from_millis(500), bytes: 8_000_000 };

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

fn stream() -> StreamName {
    "live".parse().unwrap()
}

/// An SFU with a feed that is given a frame whenever one is due.
struct Studio {
    handle: Handle,
    feed: Option<LocalFeed>,
    epoch: Instant,
    frame: u32,
    sequence: u64,
    keyframe_requests: Arc<AtomicU32>,
    answered_requests: u32,
}

impl Studio {
    fn new(media: &str, max_viewers: u32) -> Studio {
        let options = Options {
            media: media.parse().unwrap(),
            public_addresses: Vec::new(),
            max_viewers,
            sealed_by: Default::default(),
        };
        let handle = capcast::sfu::start(options).unwrap();
        let mut studio = Studio {
            handle,
            feed: None,
            epoch: now(),
            frame: 0,
            sequence: 0,
            keyframe_requests: Arc::default(),
            answered_requests: 0,
        };
        studio.open();
        studio.until("the stream is live", |stats| stats.streams.first().is_some_and(|s| s.live));
        studio
    }

    fn open(&mut self) {
        let requests = self.keyframe_requests.clone();
        let on_request = move |_| {
            requests.fetch_add(1, Ordering::Relaxed);
        };
        self.feed = Some(self.handle.local_feed(stream(), self.epoch, [ROOM; 2], Box::new(on_request)));
    }

    /// Pushes what is due: 100 pictures of three packets a second.
    fn play(&mut self) {
        let pts = self.epoch.elapsed();
        if pts.as_millis() < u128::from(self.frame) * 10 {
            return;
        }
        let requests = self.keyframe_requests.load(Ordering::Relaxed);
        let keyframe = self.frame == 0 || requests > self.answered_requests;
        self.answered_requests = requests;
        // What is long due is left out: nobody could take it all at once.
        self.frame = self.frame.max(u32::try_from(pts.as_millis() / 10).unwrap()) + 1;
        let packet = |index: u8| {
            let mut payload = vec![index; 1_100];
            payload[..4].copy_from_slice(&self.frame.to_be_bytes());
            payload[4..6].copy_from_slice(&[u8::from(keyframe), index]);
            let rtp_time = RtpTime(pts.as_millis() as u32 * 90);
            Packet {
                sequence: self.sequence + u64::from(index),
                rtp_time,
                marker: index == 2,
                payload: payload.into(),
            }
        };
        let packets = (0..3).map(packet).collect();
        let pts = MediaTime::from_nanos(pts.as_nanos() as u64);
        if let Some(feed) = &self.feed {
            feed.push(Frame { codec: Codec::Vp8, pts, keyframe, packets });
        }
        self.sequence += 3;
    }

    /// Plays until the SFU counts what is expected.
    fn until(&mut self, what: &str, expected: impl Fn(&Stats) -> bool) -> Arc<Stats> {
        let deadline = now() + PATIENCE;
        let idle = UdpSocket::bind("127.0.0.1:0").unwrap();
        idle.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        loop {
            let stats = self.handle.stats();
            if expected(&stats) {
                return stats;
            }
            assert!(now() < deadline, "waited in vain until {what}: {stats:#?}");
            self.play();
            // Nothing ever comes here: it is a wait.
            let _ = idle.recv(&mut [0]);
        }
    }
}

/// What a viewer speaks by.
enum Wire {
    Udp(UdpSocket),
    /// With what was received of a message.
    Tcp(TcpStream, Vec<u8>),
}

impl Wire {
    fn local(&self) -> SocketAddr {
        match self {
            Wire::Udp(socket) => socket.local_addr(),
            Wire::Tcp(stream, _) => stream.local_addr(),
        }
        .unwrap()
    }

    fn candidate(&self) -> Candidate {
        match self {
            Wire::Udp(_) => Candidate::host(self.local(), "udp"),
            Wire::Tcp(..) => Candidate::builder().tcp().host(self.local()).tcptype(TcpType::Active).build(),
        }
        .unwrap()
    }

    fn send(&mut self, sent: &Transmit) {
        match self {
            Wire::Udp(socket) => drop(socket.send_to(&sent.contents, sent.destination)),
            Wire::Tcp(stream, _) if stream.peer_addr().unwrap() == sent.destination => {
                let length = u16::try_from(sent.contents.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &sent.contents].concat()).unwrap();
            }
            // A candidate that it is not connected to.
            Wire::Tcp(..) => {}
        }
    }

    /// One datagram and where it came from, if one came.
    fn receive(&mut self) -> Option<(Protocol, SocketAddr, Vec<u8>)> {
        let mut buffer = [0; 2_000];
        match self {
            Wire::Udp(socket) => {
                let (length, source) = socket.recv_from(&mut buffer).ok()?;
                Some((Protocol::Udp, source, buffer[..length].to_vec()))
            }
            Wire::Tcp(stream, received) => {
                let whole = |received: &[u8]| {
                    let length = usize::from(u16::from_be_bytes(received.first_chunk().copied()?));
                    (received.len() >= 2 + length).then_some(2 + length)
                };
                if whole(received).is_none() {
                    let length = stream.read(&mut buffer).ok()?;
                    received.extend_from_slice(&buffer[..length]);
                }
                let message: Vec<u8> = received.drain(..whole(received)?).skip(2).collect();
                Some((Protocol::Tcp, stream.peer_addr().unwrap(), message))
            }
        }
    }
}

/// A viewer on a real socket.
struct Viewer {
    rtc: Rtc,
    wire: Wire,
    answer: Answer,
    /// (sequence, frame, keyframe, index) of each packet.
    got: Vec<(u64, u32, bool, u8)>,
    closed: bool,
    /// So many datagrams of the handshake are lost on the way here.
    deaf: usize,
}

impl Viewer {
    fn join(handle: &Handle, from: &str) -> Result<Viewer, WhepError> {
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Viewer::join_by(handle, Wire::Udp(socket))
    }

    /// Connected to this address of the SFU's.
    fn join_over_tcp(handle: &Handle, to: SocketAddr) -> Result<Viewer, WhepError> {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Viewer::join_by(handle, Wire::Tcp(stream, Vec::new()))
    }

    fn join_by(handle: &Handle, wire: Wire) -> Result<Viewer, WhepError> {
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(now());
        rtc.add_local_candidate(wire.candidate());
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let answer = block(handle.whep(&stream(), offer.to_sdp_string(), None))?;
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
        rtc.sdp_api().accept_answer(pending, sdp).unwrap();
        Ok(Viewer { rtc, wire, answer, got: Vec::new(), closed: false, deaf: 0 })
    }

    /// Plays and watches until the viewer has what is expected.
    fn until(&mut self, studio: &mut Studio, what: &str, expected: impl Fn(&Viewer) -> bool) {
        let deadline = now() + PATIENCE;
        let local = self.wire.local();
        while !expected(self) {
            assert!(
                now() < deadline,
                "waited in vain until {what}: {} packets, {:#?}",
                self.got.len(),
                studio.handle.stats()
            );
            studio.play();
            self.rtc.handle_input(Input::Timeout(now())).unwrap();
            self.drain();
            for _ in 0..64 {
                let Some((protocol, source, bytes)) = self.wire.receive() else { break };
                // The first byte tells what it is (RFC 7983 §7).
                if self.deaf > 0 && (20..64).contains(&bytes[0]) {
                    self.deaf -= 1;
                } else if let Ok(receive) = Receive::new(protocol, source, local, &bytes) {
                    self.rtc.handle_input(Input::Receive(now(), receive)).unwrap();
                    self.drain();
                }
            }
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(sent) => {
                    self.wire.send(&sent);
                }
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::RtpPacket(packet)) if packet.payload.len() == 1_100 => {
                    let frame = u32::from_be_bytes([0, 1, 2, 3].map(|n| packet.payload[n]));
                    let (keyframe, index) = (packet.payload[4] == 1, packet.payload[5]);
                    assert!(packet.payload[6..].iter().all(|byte| *byte == index), "payload is intact");
                    self.got.push((*packet.seq_no, frame, keyframe, index));
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Plays until so many packets came, numbered without a hole: a busy machine may lose datagrams, resends fill in.
    fn until_whole(&mut self, studio: &mut Studio, count: usize) {
        self.until(studio, "packets came without a hole", |viewer| {
            let mut numbers: Vec<u64> = viewer.got.iter().map(|(number, ..)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            viewer.got.len() >= count && numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
        });
        self.assert_whole();
    }

    /// From the first keyframe on.
    fn assert_whole(&self) {
        let mut sorted = self.got.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!((sorted[0].2, sorted[0].3), (true, 0), "begins with a keyframe: {:?}", sorted[0]);
        for (got, sequence) in sorted.iter().zip(sorted[0].0..) {
            assert_eq!(got.0, sequence, "no packet is missing");
        }
    }
}

#[test]
fn viewers_watch_over_ipv4_and_ipv6_through_one_socket() {
    let mut studio = Studio::new("[::]:0", 10);
    let port = studio.handle.local_addr().port();
    let candidates = studio.handle.candidates();
    assert!(candidates.contains(&SocketAddr::from(([127, 0, 0, 1], port))), "{candidates:?}");
    for from in ["127.0.0.1:0", "[::1]:0"] {
        if from.starts_with('[') && UdpSocket::bind(from).is_err() {
            eprintln!("this host has no IPv6: that half is left out");
            continue;
        }
        let mut viewer = Viewer::join(&studio.handle, from).unwrap();
        viewer.until_whole(&mut studio, 300);
        let counted = |stats: &Stats| {
            let live = &stats.streams[0];
            (stats.viewers, live.viewers) == (1, 1)
                && live.packets_out >= 300
                && stats.bytes_out > 300 * 1_100
        };
        let stats = studio.until("the viewer and its packets are counted", counted);
        assert_eq!(stats.streams[0].video, Some(Codec::Vp8));
        assert!(block(studio.handle.close(viewer.answer.session)));
        viewer.until(&mut studio, "the viewer was told", |viewer| viewer.closed);
        studio.until("nobody watches", |stats| stats.viewers == 0);
    }
}

#[test]
fn what_is_lost_of_a_handshake_is_sent_again() {
    let mut studio = Studio::new("127.0.0.1:0", 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    viewer.deaf = 1;
    viewer.until(&mut studio, "a picture came", |viewer| viewer.got.len() >= 3);
    assert_eq!(viewer.deaf, 0);
}

#[test]
fn viewers_without_udp_watch_over_ipv4_and_ipv6() {
    let mut studio = Studio::new("[::]:0", 10);
    let port = studio.handle.local_addr().port();
    for to in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        if to.is_ipv6() && UdpSocket::bind("[::1]:0").is_err() {
            eprintln!("this host has no IPv6: that half is left out");
            continue;
        }
        let mut viewer = Viewer::join_over_tcp(&studio.handle, to).unwrap();
        viewer.until_whole(&mut studio, 300);
        let counted = |stats: &Stats| (stats.viewers, stats.streams[0].over_tcp) == (1, 1);
        studio.until("it is counted", counted);
        assert!(block(studio.handle.close(viewer.answer.session)));
        viewer.until(&mut studio, "the viewer was told", |viewer| viewer.closed);
        let ended = |stats: &Stats| stats.tcp.is_some_and(|tcp| tcp.connections == 0);
        studio.until("its connection is closed", ended);
    }
}

#[test]
fn a_feed_may_end_and_come_again_while_viewers_stay() {
    let mut studio = Studio::new("127.0.0.1:0", 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    viewer.until(&mut studio, "the picture is there", |viewer| viewer.got.len() >= 30);
    studio.feed = None;
    studio.until("the stream ended", |stats| !stats.streams[0].live);
    assert!(matches!(Viewer::join(&studio.handle, "127.0.0.1:0").err(), Some(WhepError::NotLive { .. })));
    studio.sequence = 1 << 40;
    studio.open();
    let before = viewer.got.len();
    viewer.until_whole(&mut studio, before + 60);
}

#[test]
fn garbage_is_counted_and_harms_nobody() {
    let mut studio = Studio::new("127.0.0.1:0", 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    viewer.until(&mut studio, "the picture is there", |viewer| viewer.got.len() >= 30);
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = studio.handle.local_addr();
    let mut check = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 6, 0, 7];
    check.extend(b"who:me\0\0");
    let large = vec![0x80; 9_000];
    for n in 0..200_u8 {
        for datagram in [&[n; 40][..], &check, &large, &[]] {
            // On a busy machine the socket may be full for a moment; the counts below allow for that.
            let _ = attacker.send_to(datagram, to);
        }
        studio.play();
    }
    let counted = |stats: &Stats| stats.garbage >= 50 && stats.stun_unknown >= 20;
    let stats = studio.until("garbage is counted", counted);
    assert_eq!((stats.viewers, &stats.disconnects[..]), (1, &[][..]));
    let before = viewer.got.len();
    viewer.until(&mut studio, "the picture goes on", |viewer| viewer.got.len() >= before + 60);
}

#[test]
fn what_is_no_media_over_tcp_is_closed_and_harms_nobody() {
    let mut studio = Studio::new("127.0.0.1:0", 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    viewer.until(&mut studio, "the picture is there", |viewer| viewer.got.len() >= 30);
    let knock = |said: &[u8]| {
        let mut stream = TcpStream::connect(studio.handle.local_addr()).unwrap();
        stream.write_all(said).unwrap();
        stream
    };
    // Another protocol; a message of nobody; a check of no session; nothing at all.
    let mut check =
        vec![0, 32, 0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 6, 0, 7];
    check.extend(b"who:me\0\0");
    let mut closed = [knock(b"GET / HTTP/1.1\r\n\r\n"), knock(&[0, 4, 22, 254, 253, 0]), knock(&check)];
    let _silent = knock(&[]);
    let counted = |stats: &Stats| stats.tcp.is_some_and(|tcp| (tcp.strangers, tcp.connections) == (3, 1));
    let stats = studio.until("three are closed", counted);
    assert_eq!((stats.tcp.unwrap().accepted, stats.tcp.unwrap().unproven), (4, 1));
    for stream in &mut closed {
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert_eq!(said, b"", "nobody is answered");
    }
    let before = viewer.got.len();
    viewer.until(&mut studio, "the picture goes on", |viewer| viewer.got.len() >= before + 60);
    // Who says nothing is closed, too.
    let all = |stats: &Stats| stats.tcp.is_some_and(|tcp| (tcp.strangers, tcp.connections) == (4, 0));
    studio.until("the silent one is closed", all);
}

#[test]
fn a_taken_port_leaves_media_over_udp() {
    // Only TCP is taken here.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut studio = Studio::new(&taken.local_addr().unwrap().to_string(), 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    assert!(!viewer.answer.sdp.contains(" tcp "), "{}", viewer.answer.sdp);
    viewer.until(&mut studio, "the picture is there", |viewer| viewer.got.len() >= 30);
    assert_eq!(studio.handle.stats().tcp, None);
}

#[test]
fn places_are_limited_and_freed() {
    let mut studio = Studio::new("127.0.0.1:0", 2);
    let first = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    let _second = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    let full = Viewer::join(&studio.handle, "127.0.0.1:0").err();
    assert!(matches!(full, Some(WhepError::Full { max_viewers: 2, .. })), "{full:?}");
    assert!(block(studio.handle.exists(first.answer.session)));
    assert!(block(studio.handle.close(first.answer.session)));
    assert!(!block(studio.handle.close(first.answer.session)));
    assert!(!block(studio.handle.exists(first.answer.session)));
    let mut third = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    third.until(&mut studio, "the picture is there", |viewer| !viewer.got.is_empty());
    let unknown = block(studio.handle.whep(&"other".parse().unwrap(), "v=0\r\n".to_owned(), None));
    assert_eq!(unknown.err(), Some(WhepError::UnknownStream("other".parse().unwrap())));
    let bad = block(studio.handle.whep(&stream(), "v=0\r\nm=video".to_owned(), None));
    assert!(matches!(bad, Err(WhepError::BadOffer(_) | WhepError::Full { .. })), "{bad:?}");
}

#[test]
fn who_has_made_a_stream_known_may_publish_it_at_once() {
    let studio = Studio::new("127.0.0.1:0", 1);
    block(async {
        for n in 0..5_000 {
            let name: StreamName = format!("show-{n}").parse().unwrap();
            studio.handle.announce(name.clone());
            let refused = studio.handle.whip(&name, "no offer".to_owned(), false).await.unwrap_err();
            assert!(matches!(refused, WhipError::BadOffer(_)), "{n}: {refused}");
        }
    });
}

#[test]
fn patches_reach_the_session_and_shutting_down_ends_it() {
    let mut studio = Studio::new("127.0.0.1:0", 10);
    let mut viewer = Viewer::join(&studio.handle, "127.0.0.1:0").unwrap();
    let patch = |tag: &str| Patch {
        precondition: Precondition::Tag(tag.to_owned()),
        ufrag: None,
        pwd: None,
        candidates: vec!["candidate:1 1 udp 1 127.0.0.1 9 typ host".to_owned()],
    };
    let session = viewer.answer.session;
    let etag = viewer.answer.etag.clone();
    assert_eq!(block(studio.handle.patch(session, patch(&etag))), Ok(Patched::Trickled));
    let stale = block(studio.handle.patch(session, patch("stale")));
    assert_eq!(stale, Err(PatchError::PreconditionFailed { etag }));
    viewer.until(&mut studio, "the picture is there", |viewer| viewer.got.len() >= 30);
    block(studio.handle.shutdown());
    let stats = studio.handle.stats();
    assert_eq!((stats.viewers, &stats.disconnects[..]), (0, &[(Disconnect::Shutdown, 1)][..]));
    viewer.until(&mut studio, "the viewer was told", |viewer| viewer.closed);
    assert_eq!(block(studio.handle.whep(&stream(), String::new(), None)), Err(WhepError::Stopped));
    // The port is free again once the thread has gone.
    let address = studio.handle.local_addr();
    let deadline = now() + PATIENCE;
    while UdpSocket::bind(address).is_err() {
        assert!(now() < deadline, "{address} is still taken");
        std::thread::yield_now();
    }
}

#[test]
fn a_taken_port_is_said_with_its_address() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let media = taken.local_addr().unwrap();
    let options =
        Options { media, public_addresses: Vec::new(), max_viewers: 1, sealed_by: Default::default() };
    let error = capcast::sfu::start(options).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot use media address `{media}`: ")), "{error}");
}
