//! The media socket: batches in, batches out.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Registry, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::addresses::host_addresses;
use super::tcp::Connections;
use super::{LISTENER, SOCKET};
use crate::sfu::{Batch, Pair, Transport, Wire};

/// Asked of the kernel for each direction; it gives less unless `net.core.{r,w}mem_max` allow.
pub const SOCKET_BUFFER: usize = 4 << 20;
/// Buffers of one receive call; each takes as many datagrams of one viewer as the kernel coalesced.
const RECEIVE_BATCH: usize = 8;
const RECEIVE_BYTES: usize = 65_536;
/// Where datagrams come more often than this and may be read later, they are.
const REST: Duration = Duration::from_millis(5);
/// How long all of a wake-up's sends together may wait for room in the socket, before they are dropped.
const SEND_PATIENCE: Duration = Duration::from_millis(5);

/// Ports that both UDP and TCP are tried to get, where any will do.
const BIND_TRIES: usize = 16;

/// One UDP socket for all viewers, and connections for those that it does not reach.
pub(super) struct MediaSocket {
    io: UdpSocket,
    registry: Registry,
    /// When something last came, and until when nothing is to be read.
    came_at: Option<Instant>,
    rests_until: Option<Instant>,
    /// None where TCP is not listened for.
    pub(super) tcp: Option<Connections>,
    /// As of this wake-up.
    now: Instant,
    state: UdpSocketState,
    v6: bool,
    local: SocketAddr,
    /// This host's addresses, the only ones that can be sent from.
    addresses: Vec<IpAddr>,
    /// Tells when there is room to send; by a second descriptor, for one can be in one poll set only.
    writable: Poll,
    _writable: UdpSocket,
    events: Events,
    /// Waits left in this wake-up.
    patience: u32,
    /// Datagrams that were not sent.
    pub(super) errors: u64,
}

/// Room for one receive call.
pub(super) struct ReceiveRoom {
    buffers: [Vec<u8>; RECEIVE_BATCH],
    meta: [RecvMeta; RECEIVE_BATCH],
}

impl ReceiveRoom {
    pub(super) fn new() -> ReceiveRoom {
        ReceiveRoom {
            buffers: std::array::from_fn(|_| vec![0; RECEIVE_BYTES]),
            meta: [RecvMeta::default(); RECEIVE_BATCH],
        }
    }
}

impl MediaSocket {
    /// Binds `address`, for UDP and, where that can be had, for at most so many connections over TCP; a host without IPv6
    /// gets the IPv4 wildcard for `[::]`.
    pub(super) fn bind(
        address: SocketAddr,
        registry: &Registry,
        most: usize,
        now: Instant,
    ) -> io::Result<MediaSocket> {
        let (socket, listener) = bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        for set in [UdpSocketState::set_send_buffer_size, UdpSocketState::set_recv_buffer_size] {
            set(&state, UdpSockRef::from(&socket), SOCKET_BUFFER)?;
        }
        let local = socket.local_addr()?;
        let mut second = UdpSocket::from_std(socket.try_clone()?);
        let mut io = UdpSocket::from_std(socket);
        registry.register(&mut io, SOCKET, Interest::READABLE)?;
        let tcp =
            listener.and_then(|listener| Connections::new(listener, registry.try_clone()?, LISTENER, most));
        if let Err(error) = &tcp {
            let why =
                "the media port does not listen for TCP: viewers whom UDP does not reach cannot connect";
            tracing::warn!(address = %local, %error, "{why}");
        }
        let writable = Poll::new()?;
        writable.registry().register(&mut second, Token(0), Interest::WRITABLE)?;
        Ok(MediaSocket {
            io,
            registry: registry.try_clone()?,
            came_at: None,
            rests_until: None,
            tcp: tcp.ok(),
            now,
            state,
            v6: local.is_ipv6(),
            local,
            addresses: host_addresses(),
            writable,
            _writable: second,
            events: Events::with_capacity(4),
            patience: 0,
            errors: 0,
        })
    }

    /// Where it is bound.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Looks this host's addresses up again.
    pub(super) fn refresh_addresses(&mut self) {
        self.addresses = host_addresses();
    }

    /// A new wake-up: sends may wait again.
    pub(super) fn wake(&mut self, now: Instant) {
        self.patience = 4;
        self.now = now;
    }

    /// Something happened to a token of TCP's.
    pub(super) fn heed(&mut self, event: &Event) {
        if let Some(tcp) = &mut self.tcp {
            tcp.heed(event, self.now);
        }
    }

    /// When it is to be read though it tells nothing, for it rests.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Everything was read; `came`: that was something. Where `may_rest`, datagrams that come one after the other are left
    /// until there are some: each of them would wake the thread, which costs more than to read it.
    pub(super) fn was_read(&mut self, came: bool, may_rest: bool) {
        let often = self.came_at.is_some_and(|at| self.now < at + REST);
        if came {
            self.came_at = Some(self.now);
        }
        if came && may_rest && self.rests_until.is_some() {
            self.rests_until = Some(self.now + REST);
        } else if self.rests_until.is_some() {
            // What has come meanwhile is told at once. Where that cannot be, it goes on being read now and then.
            let told = self.registry.register(&mut self.io, SOCKET, Interest::READABLE);
            self.rests_until = told.is_err().then(|| self.now + REST);
        } else if came && may_rest && often && self.registry.deregister(&mut self.io).is_ok() {
            self.rests_until = Some(self.now + REST);
        }
    }

    /// Receives what one call takes and hands each datagram over with whom it is between: how many there were, and whether
    /// there may be more.
    pub(super) fn receive(
        &mut self,
        room: &mut ReceiveRoom,
        mut take: impl FnMut(&mut MediaSocket, Pair, &[u8]),
    ) -> (usize, bool) {
        let mut slices = room.buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        let count = match self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut room.meta) {
            Ok(count) => count,
            // A pending ICMP error is reported by a receive; the next one goes on.
            Err(error) => return (0, error.kind() != ErrorKind::WouldBlock),
        };
        for (buffer, meta) in room.buffers.iter().zip(&room.meta).take(count) {
            let source = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            let ip = meta.dst_ip.map_or(self.local.ip(), |ip| ip.to_canonical());
            let destination = SocketAddr::new(ip, self.local.port());
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                take(self, Pair::udp(destination, source), datagram);
            }
        }
        // Fewer than it has room for: nothing is left, and what comes later is told.
        (count, count == RECEIVE_BATCH)
    }

    fn transmit(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        loop {
            match self.state.try_send(UdpSockRef::from(&self.io), transmit) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.patience > 0 => {
                    self.patience -= 1;
                    self.writable.poll(&mut self.events, Some(SEND_PATIENCE / 4))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Wire for MediaSocket {
    fn send(&mut self, batch: Batch<'_>) {
        if batch.pair.transport == Transport::Tcp {
            if let Some(tcp) = &mut self.tcp {
                tcp.send(&batch, self.now);
            }
            return;
        }
        let Some(destination) = self.reachable(batch.pair) else {
            return;
        };
        let src_ip = Some(batch.pair.ours.ip()).filter(|ip| self.addresses.contains(ip));
        let whole = batch.bytes.len() > batch.segment;
        if whole && self.state.max_gso_segments() > 1 {
            let segment_size = Some(batch.segment);
            let transmit = Transmit { destination, ecn: None, contents: batch.bytes, segment_size, src_ip };
            match self.transmit(&transmit) {
                Ok(()) => return,
                // The kernel or the card cannot segment: one by one, from now on (quinn-udp remembers).
                Err(error)
                    if self.state.max_gso_segments() == 1 || error.kind() == ErrorKind::InvalidInput => {}
                Err(_) => {
                    self.errors += batch.datagrams().len() as u64;
                    return;
                }
            }
        }
        for contents in batch.datagrams() {
            let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
            self.errors += u64::from(self.transmit(&transmit).is_err());
        }
    }

    fn waiting(&self, pair: Pair) -> usize {
        let tcp = self.tcp.as_ref().filter(|_| pair.transport == Transport::Tcp);
        tcp.map_or(0, |tcp| tcp.waiting(pair))
    }
}

impl MediaSocket {
    /// The destination in the socket's own family, if packets from us can get there at all: full ICE tries every
    /// pair of candidates, loopback with the world included.
    fn reachable(&self, Pair { ours, theirs: destination, .. }: Pair) -> Option<SocketAddr> {
        if ours.ip().is_loopback() && !destination.ip().is_loopback() {
            return None;
        }
        match (destination.ip(), self.v6) {
            (IpAddr::V4(v4), true) if self.local.ip().is_unspecified() => {
                Some(SocketAddr::new(v4.to_ipv6_mapped().into(), destination.port()))
            }
            (IpAddr::V4(_), true) | (IpAddr::V6(_), false) => None,
            (IpAddr::V6(_), true) | (IpAddr::V4(_), false) => Some(destination),
        }
    }
}

/// One port for both; the listener is what may be missing.
fn bind(address: SocketAddr) -> io::Result<(std::net::UdpSocket, io::Result<TcpListener>)> {
    let mut tries = if address.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        let socket = match std::net::UdpSocket::bind(address) {
            Err(error) if address.is_ipv6() && address.ip().is_unspecified() => {
                let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
                // The first error is the one to tell: the port may simply be taken.
                std::net::UdpSocket::bind(v4).map_err(|_| error)?
            }
            bound => bound?,
        };
        let listener = TcpListener::bind(socket.local_addr()?);
        tries -= 1;
        if listener.is_ok() || tries == 0 {
            return Ok((socket, listener));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        poll: Poll,
        socket: MediaSocket,
        viewer: std::net::UdpSocket,
        room: ReceiveRoom,
        start: Instant,
    }

    impl Rig {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
        fn new() -> Rig {
            let (poll, start) = (Poll::new().unwrap(), Instant::now());
            let local = "127.0.0.1:0".parse().unwrap();
            let socket = MediaSocket::bind(local, poll.registry(), 1, start).unwrap();
            let viewer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            viewer.connect(socket.local_addr()).unwrap();
            Rig { poll, socket, viewer, room: ReceiveRoom::new(), start }
        }

        /// A datagram comes; whether that is told. On loopback it is there when it was sent.
        fn comes(&mut self) -> bool {
            let mut events = Events::with_capacity(4);
            self.viewer.send(b"report").unwrap();
            self.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().any(|event| event.token() == SOCKET)
        }

        /// Reads all that is there; how much that was, and until when nothing is read then.
        fn read(&mut self, ms: u64, may_rest: bool) -> (usize, Option<u128>) {
            self.socket.wake(self.start + Duration::from_millis(ms));
            let mut came = 0;
            while self.socket.receive(&mut self.room, |_, _, _| came += 1).1 {}
            self.socket.was_read(came > 0, may_rest);
            (came, self.socket.rests_until().map(|until| (until - self.start).as_millis()))
        }
    }

    #[test]
    fn datagrams_that_come_often_are_read_together_and_none_is_left() {
        let mut rig = Rig::new();
        assert!(rig.comes());
        assert_eq!(rig.read(0, true), (1, None), "the first one at once");
        assert!(rig.comes());
        assert_eq!(rig.read(1, true), (1, Some(6)));
        assert!(!rig.comes() && !rig.comes());
        assert_eq!(rig.read(6, true), (2, Some(11)));
        assert_eq!(rig.read(11, true), (0, None), "nothing came: it is told of again");
        assert!(rig.comes());
        assert_eq!(rig.read(30, true), (1, None));
        assert!(rig.comes());
        assert_eq!(rig.read(31, true), (1, Some(36)));
        assert!(!rig.comes());
        assert_eq!(rig.read(36, false), (1, None), "now everything counts at once");
        assert!(rig.comes());
        assert_eq!(rig.read(37, false), (1, None));
    }
}
