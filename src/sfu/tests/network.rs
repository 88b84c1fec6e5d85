//! What carries datagrams between the core and the clients of a world.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m_netem::{Netem, NetemConfig, WithLen};

use crate::sfu::framing::MAX_WAITING;
use crate::sfu::{Batch, Pair, Transport, Wire};

#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) transport: Transport,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl WithLen for Datagram {
    fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A connection that takes only so much.
pub(super) struct Connection {
    kbps: u64,
    /// Bits that it could have taken and did not.
    credit: u64,
    queue: VecDeque<Datagram>,
    queued: usize,
    /// The most that waited at any time, and what found no room.
    pub(super) most_waited: usize,
    pub(super) dropped: usize,
}

impl Connection {
    /// What the kernel holds of what was sent.
    const KERNEL: usize = 32 << 10;

    fn waiting(&self) -> usize {
        self.queued.saturating_sub(Connection::KERNEL)
    }

    fn push(&mut self, datagram: Datagram) {
        if self.waiting() + datagram.bytes.len() > MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.queued += datagram.bytes.len();
        self.queue.push_back(datagram);
        self.most_waited = self.most_waited.max(self.waiting());
    }

    /// What it takes in a millisecond.
    fn step(&mut self, taken: &mut Vec<Datagram>) {
        self.credit += self.kbps;
        while let Some(next) = self.queue.front() {
            let bits = next.bytes.len() as u64 * 8;
            if bits > self.credit {
                return;
            }
            self.credit -= bits;
            self.queued -= next.bytes.len();
            taken.extend(self.queue.pop_front());
        }
        self.credit = 0;
    }
}

/// What the core sends, for the network to carry.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) datagrams: Vec<Datagram>,
    /// Batches of three datagrams.
    pub(super) of_three: usize,
    /// The largest batch.
    pub(super) most_at_once: usize,
    /// Connections over TCP that take only so much, by who opened them.
    pub(super) slow: HashMap<SocketAddr, Connection>,
}

impl Wire for Sent {
    fn send(&mut self, batch: Batch<'_>) {
        let Pair { transport, ours: from, theirs: to } = batch.pair;
        let datagram = |bytes: &[u8]| Datagram { transport, from, to, bytes: bytes.to_vec() };
        self.most_at_once = self.most_at_once.max(batch.datagrams().len());
        self.of_three += usize::from(batch.datagrams().len() == 3);
        match self.slow.get_mut(&to).filter(|_| transport == Transport::Tcp) {
            Some(connection) => batch.datagrams().for_each(|bytes| connection.push(datagram(bytes))),
            None => self.datagrams.extend(batch.datagrams().map(datagram)),
        }
    }

    fn waiting(&self, pair: Pair) -> usize {
        self.slow.get(&pair.theirs).map_or(0, Connection::waiting)
    }
}

impl Sent {
    /// From now on the connection from there takes so many kbit/s.
    pub(super) fn slow_down(&mut self, client: SocketAddr, kbps: u64) {
        let new =
            Connection { kbps, credit: 0, queue: VecDeque::new(), queued: 0, most_waited: 0, dropped: 0 };
        self.slow.entry(client).or_insert(new).kbps = kbps;
    }
}

/// Both ways between all.
pub(super) struct Network {
    up: Netem<Datagram>,
    down: Netem<Datagram>,
    /// The way down to some, instead.
    links: HashMap<SocketAddr, Netem<Datagram>>,
    /// The ways of DTLS' handshakes, up and down, on which nothing is lost: OpenSSL sends again when a second of the real
    /// time has passed, and here none does.
    handshakes: [Netem<Datagram>; 2],
    /// So many of the clients' next answers to checks are lost.
    pub(super) answers_lost: usize,
}

/// A handshake's messages, and the one that changes the keys (RFC 5246 §6.2.1).
fn is_of_handshake(datagram: &Datagram) -> bool {
    matches!(datagram.bytes.first(), Some(20 | 22))
}

/// Between any two.
const LATENCY: Duration = Duration::from_millis(10);

impl Default for Network {
    fn default() -> Network {
        let way = || Netem::new(NetemConfig::new().latency(LATENCY).seed(1));
        Network { up: way(), down: way(), links: HashMap::new(), handshakes: [way(), way()], answers_lost: 0 }
    }
}

impl Network {
    pub(super) fn set_down(&mut self, config: NetemConfig) {
        self.down = Netem::new(config.latency(LATENCY).seed(7));
    }

    pub(super) fn set_up(&mut self, config: NetemConfig) {
        self.up = Netem::new(config.latency(LATENCY).seed(5));
    }

    pub(super) fn set_link(&mut self, to: SocketAddr, config: NetemConfig) {
        self.links.insert(to, Netem::new(config.latency(LATENCY).seed(3)));
    }

    /// A client sends.
    pub(super) fn send_up(&mut self, datagrams: Vec<Datagram>, now: Instant) {
        for datagram in datagrams {
            // A binding success response (RFC 8489 §5).
            if self.answers_lost > 0 && datagram.bytes.starts_with(&[1, 1]) {
                self.answers_lost -= 1;
                continue;
            }
            let way = if is_of_handshake(&datagram) { &mut self.handshakes[0] } else { &mut self.up };
            way.handle_input(str0m_netem::Input::Packet(now, datagram));
        }
    }

    /// What has arrived from clients.
    pub(super) fn came_up(&mut self, now: Instant) -> Vec<Datagram> {
        let mut came = arrived(&mut self.handshakes[0], now);
        came.extend(arrived(&mut self.up, now));
        came
    }

    /// Takes what the core sent in the last millisecond, which `see` looks at, and gives what has arrived at clients.
    pub(super) fn carry_down(
        &mut self,
        sent: &mut Sent,
        now: Instant,
        mut see: impl FnMut(&Datagram),
    ) -> Vec<Datagram> {
        for connection in sent.slow.values_mut() {
            connection.step(&mut sent.datagrams);
        }
        for datagram in sent.datagrams.drain(..) {
            see(&datagram);
            let way = if is_of_handshake(&datagram) {
                &mut self.handshakes[1]
            } else {
                self.links.get_mut(&datagram.to).unwrap_or(&mut self.down)
            };
            way.handle_input(str0m_netem::Input::Packet(now, datagram));
        }
        let mut came = arrived(&mut self.handshakes[1], now);
        came.extend(arrived(&mut self.down, now));
        for link in self.links.values_mut() {
            came.extend(arrived(link, now));
        }
        came
    }
}

fn arrived(way: &mut Netem<Datagram>, now: Instant) -> Vec<Datagram> {
    way.handle_input(str0m_netem::Input::Timeout(now));
    let mut out = Vec::new();
    while let Some(output) = way.poll_output() {
        match output {
            str0m_netem::Output::Packet(datagram) => out.push(datagram),
            str0m_netem::Output::Timeout(_) => break,
        }
    }
    out
}
