//! Between whom a datagram goes: a pair of candidates, ours and the other side's (RFC 8445, RFC 6544).

use std::net::SocketAddr;

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One by one.
    Udp,
    /// Each behind its length, on a connection that the other side opened (RFC 4571).
    Tcp,
}

/// Where a datagram of the other side's comes from.
pub type Source = (Transport, SocketAddr);

/// A candidate of ours and an address of the other side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What carries datagrams between them.
    pub transport: Transport,
    /// The candidate; of a datagram that came in, the address it came to.
    pub ours: SocketAddr,
    /// The other side.
    pub theirs: SocketAddr,
}

impl Pair {
    /// Over UDP.
    pub fn udp(ours: SocketAddr, theirs: SocketAddr) -> Pair {
        Pair { transport: Transport::Udp, ours, theirs }
    }

    /// Over TCP.
    pub fn tcp(ours: SocketAddr, theirs: SocketAddr) -> Pair {
        Pair { transport: Transport::Tcp, ours, theirs }
    }

    /// The other side of it.
    pub fn source(self) -> Source {
        (self.transport, self.theirs)
    }
}
