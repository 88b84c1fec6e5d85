//! Which addresses viewers are offered.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::sfu::{Source, Transport};

/// Most candidates that are offered; each one makes every viewer's connecting longer.
const MAX: usize = 16;

/// The candidates for a socket bound to `local`: `public` where configured, else `local` itself, else, for a wildcard,
/// every address of this host's running interfaces, loopback last.
pub fn candidates(local: SocketAddr, public: &[IpAddr]) -> Vec<SocketAddr> {
    let port = local.port();
    if !public.is_empty() {
        return public.iter().map(|address| SocketAddr::new(*address, port)).collect();
    }
    if !local.ip().is_unspecified() {
        return vec![local];
    }
    let mut found: Vec<IpAddr> =
        host_addresses().into_iter().filter(|ip| local.is_ipv6() || ip.is_ipv4()).collect();
    found.sort_by_key(IpAddr::is_loopback);
    found.dedup();
    found.truncate(MAX);
    found.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

/// What viewers are offered at these addresses, UDP first: it is preferred.
pub(super) fn offered(local: SocketAddr, public: &[IpAddr], tcp: bool) -> Vec<Source> {
    let addresses = candidates(local, public);
    let transports = [Transport::Udp].into_iter().chain(tcp.then_some(Transport::Tcp));
    transports.flat_map(|transport| addresses.iter().map(move |address| (transport, *address))).collect()
}

/// What one subscriber has of the network: an address of IPv4, 64 bits of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) if v6.is_loopback() => IpAddr::V6(v6),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// Addresses of the interfaces that are up. Link-local IPv6 needs a scope that a candidate cannot carry.
pub(super) fn host_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        return Vec::new();
    };
    let up = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let addresses = up.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_unspecified() && !v6.is_multicast(),
    };
    addresses.filter(usable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_or_bound_is_what_is_offered() {
        let wildcard = "[::]:8900".parse().unwrap();
        let public = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let words = |found: Vec<SocketAddr>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(candidates(wildcard, &public)), ["192.0.2.1:8900", "[2001:db8::1]:8900"]);
        assert_eq!(words(candidates("127.0.0.1:9".parse().unwrap(), &[])), ["127.0.0.1:9"]);
        let found = candidates(wildcard, &[]);
        assert!(found.contains(&"127.0.0.1:8900".parse().unwrap()), "{found:?}");
        assert!(found.iter().all(|a| a.port() == 8900 && !a.ip().is_unspecified()), "{found:?}");
        let both = offered(wildcard, &public, true);
        let tcp = both.iter().filter(|(transport, _)| *transport == Transport::Tcp);
        assert_eq!((both.len(), both[0].0, tcp.count()), (4, Transport::Udp, 2));
        assert_eq!(offered(wildcard, &public, false), both[..2]);
        assert!(candidates("0.0.0.0:1".parse().unwrap(), &[]).iter().all(SocketAddr::is_ipv4));
    }
}
