//! Real connections on loopback, under a clock that the tests move.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use mio::{Events, Poll};

use super::*;
use crate::sfu::framing::{self, messages};

const LISTENS: Token = Token(7);
/// How long anything real may take.
const DEADLINE: Duration = Duration::from_secs(10);

struct Port {
    poll: Poll,
    tcp: Connections,
    address: SocketAddr,
    now: Instant,
    room: Vec<u8>,
    /// Whoever spoke since, and what.
    heard: Vec<(Pair, Vec<u8>)>,
    /// This proves that somebody has a session.
    word: &'static [u8],
}

impl Port {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn new(most: usize) -> Port {
        let poll = Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let tcp = Connections::new(listener, poll.registry().try_clone().unwrap(), LISTENS, most).unwrap();
        let now = Instant::now();
        Port { poll, tcp, address, now, room: vec![0; 4_096], heard: Vec::new(), word: b"check" }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One round of what the SFU's thread does.
    fn turn(&mut self) {
        let mut events = Events::with_capacity(16);
        self.poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        for event in &events {
            self.tcp.heed(event, self.now);
        }
        self.tcp.accept(self.now);
        for slot in self.tcp.take_readable() {
            let Some((pair, received)) = self.tcp.read(slot, &mut self.room) else { continue };
            let used = messages(&received, |message| {
                self.heard.push((pair, message.to_vec()));
                self.tcp.judge(slot, message == self.word)
            });
            match used {
                Some(used) => self.tcp.keep(slot, received, used),
                None => self.tcp.turn_away(slot),
            }
        }
    }

    /// Turns until it is so.
    #[expect(clippy::disallowed_methods, reason = "what the kernel does takes real time")]
    fn until(&mut self, what: &str, is_so: impl Fn(&Port) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}: {:?}", self.tcp.stats());
            self.turn();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tcp.sweep(self.now, |_| true);
    }

    /// Somebody who has shown that they have a session.
    fn proven(&mut self) -> (TcpStream, Pair) {
        let mut stream = self.connect();
        stream.write_all(&framed(b"check")).unwrap();
        let before = self.heard.len();
        self.until("it is heard", |port| port.heard.len() > before);
        (stream, self.heard.last().unwrap().0)
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&framing::length(message).unwrap()[..], message].concat()
}

#[test]
fn messages_cross_both_ways_however_they_are_cut() {
    let mut port = Port::new(10);
    let mut stream = port.connect();
    let all = [framed(b"check"), framed(b"and"), framed(b""), framed(&[9; 2_000])].concat();
    for piece in all.chunks(3) {
        stream.write_all(piece).unwrap();
        port.turn();
    }
    port.until("all is heard", |port| port.heard.len() == 3);
    let (pair, ref last) = port.heard[2];
    assert_eq!((pair.theirs, last.len()), (stream.local_addr().unwrap(), 2_000));
    assert_eq!(port.tcp.stats().unproven, 0);
    let bytes: Vec<u8> = (0..5_000u16).map(|n| n as u8).collect();
    port.tcp.send(&Batch { pair, segment: 1_200, bytes: &bytes }, port.now);
    for segment in bytes.chunks(1_200) {
        let mut got = vec![0; 2 + segment.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, framed(segment));
    }
}

#[test]
fn who_says_nothing_or_the_wrong_thing_is_closed_without_a_word() {
    let mut port = Port::new(10);
    // Nothing; a part of a message; another protocol; a message of nobody.
    let mut silent = port.connect();
    let mut slow = port.connect();
    slow.write_all(&framed(b"check")[..4]).unwrap();
    port.until("both are in", |port| port.tcp.stats().connections == 2);
    let mut browser = port.connect();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut stranger = port.connect();
    stranger.write_all(&[framed(b"hello"), framed(b"check")].concat()).unwrap();
    port.until("two are closed", |port| port.tcp.stats().strangers == 2);
    assert_eq!(port.heard.len(), 1, "what follows a wrong word is not read: {:?}", port.heard);
    port.pass(Duration::from_millis(4_900));
    assert_eq!(port.tcp.stats().connections, 2);
    port.pass(Duration::from_millis(200));
    assert_eq!((port.tcp.stats().connections, port.tcp.stats().strangers), (0, 4));
    assert_eq!(port.tcp.take_lost().len(), 4);
    for stream in [&mut silent, &mut slow, &mut browser, &mut stranger] {
        // Closed, perhaps with what was not read still there; and nothing was ever said.
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert_eq!(said, b"");
    }
}

#[test]
fn who_takes_nothing_loses_whole_packets_and_then_the_connection() {
    let mut port = Port::new(10);
    let (mut stream, pair) = port.proven();
    let packet = |n: u32| [&n.to_be_bytes()[..], &[7; 996]].concat();
    let mut sent = 0u32;
    while port.tcp.stats().dropped == 0 {
        assert!(sent < 100_000, "a connection that takes nothing holds no more than it may");
        for _ in 0..64 {
            port.tcp.send(&Batch { pair, segment: 1_000, bytes: &packet(sent) }, port.now);
            sent += 1;
        }
        port.pass(Duration::ZERO);
    }
    // It reads again: what comes is whole, in order, and what was dropped is missing as a whole.
    let mut last = None;
    for _ in 0..sent - port.tcp.stats().dropped as u32 {
        let mut got = vec![0; 1_002];
        while stream.peek(&mut [0]).is_err() {}
        port.turn();
        stream.read_exact(&mut got).unwrap();
        let n = u32::from_be_bytes(got[2..6].try_into().unwrap());
        assert_eq!(got, framed(&packet(n)));
        assert!(last.is_none_or(|last| n > last));
        last = Some(n);
    }
    for n in 0..2_000 {
        port.tcp.send(&Batch { pair, segment: 1_000, bytes: &packet(n) }, port.now);
    }
    port.pass(Duration::from_millis(9_900));
    assert_eq!(port.tcp.stats().stalled, 0);
    port.pass(Duration::from_millis(200));
    assert_eq!((port.tcp.stats().stalled, port.tcp.stats().connections), (1, 0));
}

#[test]
fn a_session_that_is_over_and_a_side_that_is_gone_end_the_connection() {
    let mut port = Port::new(10);
    let (stream, _) = port.proven();
    let (_other, other) = port.proven();
    port.tcp.sweep(port.now, |source| source == other.source());
    assert_eq!(port.tcp.stats().connections, 1);
    assert_eq!(port.tcp.take_lost(), [(crate::sfu::Transport::Tcp, stream.local_addr().unwrap())]);
    _other.shutdown(Shutdown::Both).unwrap();
    port.until("it is gone", |port| port.tcp.stats().connections == 0);
    // Nobody is there: as on any network, what is sent is lost.
    port.tcp.send(&Batch { pair: other, segment: 1, bytes: &[1] }, port.now);
}

#[test]
fn there_are_only_so_many() {
    let mut port = Port::new(100);
    let idle: Vec<TcpStream> = (0..MAX_UNPROVEN_EACH + 8).map(|_| port.connect()).collect();
    port.until("the rest is refused", |port| port.tcp.stats().refused == 8);
    assert_eq!(port.tcp.stats().unproven as usize, MAX_UNPROVEN_EACH);
    drop(idle);
    port.until("all are gone", |port| port.tcp.stats().connections == 0);
    // Whoever has proved nothing makes room for the next one; whoever has does not.
    let mut port = Port::new(2);
    let (_first, _) = port.proven();
    let _idle = port.connect();
    port.until("it is in", |port| port.tcp.stats().connections == 2);
    let (_second, _) = port.proven();
    assert_eq!((port.tcp.stats().strangers, port.tcp.stats().unproven), (1, 0));
    let _third = port.connect();
    port.until("it is refused", |port| port.tcp.stats().refused == 1);
    assert_eq!(port.tcp.stats().connections, 2);
}
