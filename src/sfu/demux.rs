//! Whose a datagram is: STUN requests name their session, everything else goes by source address (RFC 7983, RFC 8445).

use super::pair::Source;
use std::collections::HashMap;

/// The largest datagram that can be anything of ours.
pub(super) const MAX_DATAGRAM: usize = 2_000;
/// Addresses one viewer may speak from; the oldest is forgotten first.
const MAX_ADDRESSES: usize = 32;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A connectivity check that names this viewer; to be verified before its address is learnt.
    Check(usize),
    /// From an address this viewer is known by.
    Known(usize),
    /// A connectivity check for nobody.
    UnknownCheck,
    /// Nothing we know.
    Garbage,
}

/// The two tables.
#[derive(Debug, Default)]
pub(super) struct Demux {
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<Source, usize>,
}

impl Demux {
    /// Routes one datagram.
    pub(super) fn route(&self, source: Source, bytes: &[u8]) -> Route {
        if bytes.len() > MAX_DATAGRAM || bytes.is_empty() {
            return Route::Garbage;
        }
        if let Some(ufrag) = stun_request_ufrag(bytes) {
            return self.by_ufrag.get(ufrag).map_or(Route::UnknownCheck, |peer| Route::Check(*peer));
        }
        self.by_address.get(&source).map_or(Route::Garbage, |peer| Route::Known(*peer))
    }

    /// A session's user fragment names `peer`.
    pub(super) fn name(&mut self, ufrag: &str, peer: usize) {
        self.by_ufrag.insert(ufrag.to_owned(), peer);
    }

    /// A user fragment is no longer in force.
    pub(super) fn forget_name(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// `peer` proved that it speaks from `source`.
    pub(super) fn learn(&mut self, source: Source, peer: usize, known: &mut Vec<Source>) {
        if known.contains(&source) && self.by_address.get(&source) == Some(&peer) {
            return;
        }
        if !known.contains(&source) {
            if known.len() == MAX_ADDRESSES {
                self.forget(known.remove(0), peer);
            }
            known.push(source);
        }
        self.by_address.insert(source, peer);
    }

    /// `source` no longer belongs to `peer`, if it ever did.
    pub(super) fn forget(&mut self, source: Source, peer: usize) {
        if self.by_address.get(&source) == Some(&peer) {
            self.by_address.remove(&source);
        }
    }

    /// Whether somebody speaks from `source`.
    pub(super) fn knows(&self, source: Source) -> bool {
        self.by_address.contains_key(&source)
    }

    /// Nobody can speak from `source` any more: its connection is gone.
    pub(super) fn lose(&mut self, source: Source) {
        self.by_address.remove(&source);
    }

    /// How many names and addresses are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_ufrag.len(), self.by_address.len())
    }
}

/// Our user fragment in a STUN binding request: what stands before the `:` of USERNAME (RFC 8445 §7.2.2). Responses do
/// not count: libnice echoes the name in them.
fn stun_request_ufrag(bytes: &[u8]) -> Option<&str> {
    let header = bytes.get(..20)?;
    if header[..2] != [0, 1] || header[4..8] != [0x21, 0x12, 0xa4, 0x42] {
        return None;
    }
    let mut rest = &bytes[20..];
    while let [k0, k1, l0, l1, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if [*k0, *k1] == [0, 6] {
            return std::str::from_utf8(tail.get(..length)?).ok()?.split(':').next();
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    // A request without a name is still STUN: for nobody.
    Some("")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::sfu::Transport;
    use proptest::prelude::*;

    fn udp(address: impl Into<SocketAddr>) -> Source {
        (Transport::Udp, address.into())
    }

    fn request(username: &str) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([7; 12]);
        bytes.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
        bytes.extend([0, 6, 0, username.len() as u8]);
        bytes.extend(username.as_bytes());
        bytes
    }

    #[test]
    fn requests_go_by_name_and_the_rest_by_address() {
        let (mut demux, mut known) = (Demux::default(), Vec::new());
        let (here, there) = (udp(([192, 0, 2, 1], 5)), udp(([192, 0, 2, 2], 5)));
        demux.name("abcd", 3);
        assert_eq!(demux.route(here, &request("abcd:efgh")), Route::Check(3));
        assert_eq!(demux.route(here, &request("efgh:abcd")), Route::UnknownCheck);
        assert_eq!(demux.route(here, &[128, 200, 0, 0]), Route::Garbage);
        demux.learn(here, 3, &mut known);
        assert_eq!(demux.route(here, &[128, 200, 0, 0]), Route::Known(3));
        assert_eq!(demux.route(there, &[128, 200, 0, 0]), Route::Garbage);
        let over_tcp = (Transport::Tcp, here.1);
        assert_eq!(
            demux.route(over_tcp, &[128, 200, 0, 0]),
            Route::Garbage,
            "the same numbers, another port"
        );
        assert_eq!(demux.route(here, &[128; 2_001]), Route::Garbage);
        demux.forget(here, 4);
        assert_eq!(demux.route(here, &[22]), Route::Known(3), "it was not that peer's");
        demux.forget(here, 3);
        assert_eq!(demux.route(here, &[22]), Route::Garbage);
    }

    #[test]
    fn a_viewer_is_known_by_few_addresses() {
        let (mut demux, mut known) = (Demux::default(), Vec::new());
        for port in 1..=100 {
            demux.learn(udp(([192, 0, 2, 1], port)), 1, &mut known);
        }
        assert_eq!((demux.len().1, known.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert_eq!(demux.route(udp(([192, 0, 2, 1], 100)), &[22]), Route::Known(1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), stun in any::<bool>()) {
            if stun && bytes.len() > 8 {
                bytes[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
            }
            Demux::default().route(udp(([192, 0, 2, 1], 1)), &bytes);
        }
    }
}
