//! Our candidates, and the pairs that str0m speaks of.

use std::net::SocketAddr;

use str0m::net::{Protocol, TcpType, Transmit};
use str0m::{Candidate, error::IceError};

use super::Peer;
use crate::sfu::{Pair, Source, Transport};

/// str0m's word for it.
pub(super) fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
    }
}

/// A candidate of ours. Over TCP we wait to be connected to (`tcptype passive`, RFC 6544 §4.5), and are preferred less.
pub(super) fn candidate((transport, address): Source) -> Result<Candidate, IceError> {
    match transport {
        Transport::Udp => Candidate::host(address, Protocol::Udp),
        Transport::Tcp => Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build(),
    }
}

/// Which way str0m wants something sent.
pub(super) fn pair(sent: &Transmit) -> Pair {
    let transport = if sent.proto == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
    Pair { transport, ours: sent.source, theirs: sent.destination }
}

impl Peer {
    /// Something is sent: all but STUN goes the way that ICE chose (RFC 7983).
    pub(super) fn note_way(&mut self, sent: &Transmit) {
        if sent.contents.first().is_some_and(|first| *first > 3) {
            self.carried_by = pair(sent).transport;
        }
    }

    /// Our candidates as after `a=`.
    pub(in crate::sfu) fn candidate_lines(&self) -> Vec<String> {
        let candidates = self.candidates.iter().filter_map(|own| candidate(*own).ok());
        candidates.map(|candidate| candidate.to_sdp_string().trim_start_matches("a=").to_owned()).collect()
    }

    /// The candidate that a datagram was meant for: behind a 1:1 NAT that is not the address it came to.
    pub(super) fn candidate_for(&self, pair: Pair) -> SocketAddr {
        let of_kind = self.candidates.iter().filter(|(transport, _)| *transport == pair.transport);
        let mut of_family =
            of_kind.map(|(_, address)| *address).filter(|address| address.is_ipv4() == pair.ours.is_ipv4());
        let first = of_family.clone().next().unwrap_or(pair.ours);
        of_family.find(|address| *address == pair.ours).unwrap_or(first)
    }
}
