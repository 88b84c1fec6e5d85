//! Datagrams of one viewer, gathered so that a run of equal size is one system call (UDP_SEGMENT).

use super::pair::Pair;

/// The kernel takes at most this many segments at once (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// And at most one IP packet's worth of bytes; 65,535 less IPv6 and UDP headers.
const MAX_BYTES: usize = 65_000;

/// Datagrams for one destination: all `segment` long, the last one perhaps shorter.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Which way they go.
    pub pair: Pair,
    /// Length of each datagram but the last.
    pub segment: usize,
    /// All of them, one after another.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The datagrams one by one.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.bytes.chunks(self.segment.max(1))
    }
}

/// Takes datagrams to the network.
pub trait Wire {
    /// Sends, or drops and counts; never waits long.
    fn send(&mut self, batch: Batch<'_>);

    /// Bytes sent between a pair that the other side has not taken: more would only wait behind them. None where datagrams
    /// are sent one by one, and lost where there is too much.
    fn waiting(&self, _pair: Pair) -> usize {
        0
    }
}

/// Gathers what goes to one destination, in order.
#[derive(Debug)]
pub(super) struct Batcher {
    route: Option<Pair>,
    segment: usize,
    /// A shorter datagram ends a run.
    closed: bool,
    /// Room for a run, and how much of it is used.
    bytes: Vec<u8>,
    used: usize,
    /// Datagrams and bytes since the start.
    pub(super) datagrams: u64,
    pub(super) total: u64,
}

impl Batcher {
    pub(super) fn new() -> Batcher {
        let bytes = vec![0; MAX_BYTES];
        Batcher { route: None, segment: 0, closed: false, bytes, used: 0, datagrams: 0, total: 0 }
    }

    /// Adds one datagram, sending the run before it when it does not fit that.
    pub(super) fn push(&mut self, route: Pair, datagram: &[u8], wire: &mut dyn Wire) {
        self.room(route, datagram.len(), wire).copy_from_slice(datagram);
    }

    /// Room for one more datagram on a route, for the caller to fill; what was gathered before is sent when it does not
    /// fit that.
    pub(super) fn room(&mut self, route: Pair, length: usize, wire: &mut dyn Wire) -> &mut [u8] {
        let fits = self.route == Some(route)
            && !self.closed
            && length <= self.segment
            && self.used + length <= MAX_BYTES
            && self.used < self.segment * MAX_SEGMENTS;
        if !fits {
            self.flush(wire);
            self.route = Some(route);
            self.segment = length;
        }
        self.closed = length < self.segment;
        self.datagrams += 1;
        self.total += length as u64;
        let at = self.used;
        self.used += length;
        if self.bytes.len() < self.used {
            self.bytes.resize(self.used, 0);
        }
        &mut self.bytes[at..self.used]
    }

    /// The last datagram could not be filled.
    pub(super) fn take_back(&mut self, length: usize) {
        self.used = self.used.saturating_sub(length);
        self.datagrams -= 1;
        self.total -= length as u64;
        self.closed = false;
        if self.used == 0 {
            self.route = None;
        }
    }

    /// Sends what was gathered.
    pub(super) fn flush(&mut self, wire: &mut dyn Wire) {
        if let Some(pair) = self.route.take() {
            wire.send(Batch { pair, segment: self.segment, bytes: &self.bytes[..self.used] });
            self.used = 0;
            self.closed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Seen(Vec<(SocketAddr, Vec<Vec<u8>>)>);

    impl Wire for Seen {
        fn send(&mut self, batch: Batch<'_>) {
            self.0.push((batch.pair.theirs, batch.datagrams().map(<[u8]>::to_vec).collect()));
        }
    }

    proptest! {
        #[test]
        fn every_datagram_arrives_whole_in_order_and_in_runs_the_kernel_takes(
            datagrams in prop::collection::vec((0u16..3, prop_oneof![Just(1_200usize), 1usize..1_400], any::<u8>()), 0..300),
        ) {
            let (mut batcher, mut seen) = (Batcher::new(), Seen::default());
            let source = ([192, 0, 2, 9], 1).into();
            let mut expected = Vec::new();
            for (port, length, fill) in datagrams {
                let (to, bytes) = (SocketAddr::from(([192, 0, 2, 1], port)), vec![fill; length]);
                batcher.push(Pair::udp(source, to), &bytes, &mut seen);
                expected.push((to, bytes));
            }
            batcher.flush(&mut seen);
            for (_, run) in &seen.0 {
                prop_assert!(run.len() <= MAX_SEGMENTS && run.iter().map(Vec::len).sum::<usize>() <= MAX_BYTES);
                let (last, full) = run.split_last().unwrap();
                prop_assert!(full.iter().all(|d| d.len() == run[0].len()) && last.len() <= run[0].len());
            }
            let arrived: Vec<_> = seen.0.into_iter().flat_map(|(to, run)| run.into_iter().map(move |d| (to, d))).collect();
            prop_assert_eq!(arrived, expected);
        }
    }
}
