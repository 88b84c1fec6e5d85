//! Media over TCP (RFC 6544, passive; RFC 4571), for whoever UDP does not reach: the media port listens for it too.
//!
//! Whoever connects has to prove by a connectivity check that they have a session, before anything else and soon. Nobody is
//! answered before that.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use self::connection::{Connection, Patience, Why};
use super::addresses::network;
use crate::sfu::{Batch, Pair, Source, TcpStats};

/// Connections of one network: a school behind one address, and browsers that try every candidate of ours at once.
const MAX_EACH: usize = 256;
/// Of those, and of all, the ones that have not proved anything.
const MAX_UNPROVEN_EACH: usize = 32;
const MAX_UNPROVEN: usize = 128;
/// Connections opened in one wake-up; the rest waits for its turn.
const MAX_ACCEPTS: usize = 16;
const PATIENCE: Patience = Patience { unproven: Duration::from_secs(5), stalled: Duration::from_secs(10) };

/// The port that listens, and everybody connected to it.
pub(super) struct Connections {
    listener: TcpListener,
    registry: Registry,
    /// Of the first connection; the others' follow.
    first: usize,
    /// Somebody may be waiting to be let in.
    acceptable: bool,
    /// Connections at one time.
    most: usize,
    slots: Vec<Option<Connection>>,
    by_source: HashMap<SocketAddr, usize>,
    /// Those that may hold something to read.
    readable: Vec<usize>,
    /// Connections that are gone, until the core knows.
    lost: Vec<Source>,
    patience: Patience,
    counted: TcpStats,
}

impl Connections {
    /// Takes at most so many connections. Tokens from `listens` on are its own.
    pub(super) fn new(
        mut listener: TcpListener,
        registry: Registry,
        listens: Token,
        most: usize,
    ) -> io::Result<Connections> {
        registry.register(&mut listener, listens, Interest::READABLE)?;
        Ok(Connections {
            listener,
            registry,
            first: listens.0 + 1,
            acceptable: true,
            most,
            slots: Vec::new(),
            by_source: HashMap::new(),
            readable: Vec::new(),
            lost: Vec::new(),
            patience: PATIENCE,
            counted: TcpStats::default(),
        })
    }

    /// Something happened to a token that is its own.
    pub(super) fn heed(&mut self, event: &Event, now: Instant) {
        let Some(slot) = event.token().0.checked_sub(self.first) else {
            self.acceptable = true;
            return;
        };
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return };
        if !connection.readable && (event.is_readable() || event.is_read_closed() || event.is_error()) {
            connection.readable = true;
            self.readable.push(slot);
        }
        if event.is_writable() {
            connection.flush(now);
        }
    }

    /// Lets in who waits; `true` where there may be more.
    pub(super) fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..MAX_ACCEPTS {
            if !self.acceptable {
                return false;
            }
            match self.listener.accept() {
                Ok((stream, theirs)) => {
                    let admitted = self.admit(stream, theirs, now);
                    self.counted.refused += u64::from(!admitted.unwrap_or(false));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                // Somebody who has gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                // No descriptors are left, most likely: the sweep tries again.
                Err(_) => {
                    self.counted.refused += 1;
                    self.acceptable = false;
                }
            }
        }
        self.acceptable
    }

    /// `false` where there are too many already.
    fn admit(&mut self, stream: mio::net::TcpStream, theirs: SocketAddr, now: Instant) -> io::Result<bool> {
        let ours = canonical(stream.local_addr()?);
        let theirs = canonical(theirs);
        let network = network(theirs.ip());
        let all = || self.slots.iter().flatten();
        let own = all().filter(|connection| connection.network == network);
        let own_unproven = own.clone().filter(|connection| !connection.proven).count();
        let known = self.by_source.contains_key(&theirs);
        if known || own.count() >= MAX_EACH || own_unproven >= MAX_UNPROVEN_EACH {
            return Ok(false);
        }
        let unproven = all().filter(|connection| !connection.proven).count();
        if unproven >= MAX_UNPROVEN || self.by_source.len() >= self.most {
            // Who has proved nothing for the longest makes room.
            let slots = self.slots.iter().enumerate();
            let unproven =
                slots.filter_map(|(slot, of)| of.as_ref().filter(|of| !of.proven).map(|of| (slot, of)));
            let Some((oldest, _)) = unproven.max_by_key(|(_, connection)| connection.age(now)) else {
                return Ok(false);
            };
            self.close(oldest, Why::Stranger);
        }
        let mut connection = Connection::new(stream, (ours, theirs), network, now)?;
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(connection.stream(), Token(self.first + slot), interest)?;
        self.slots[slot] = Some(connection);
        self.readable.push(slot);
        self.by_source.insert(theirs, slot);
        self.counted.accepted += 1;
        Ok(true)
    }

    /// The connections that may hold something, each to be read once.
    pub(super) fn take_readable(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.readable)
    }

    /// Whether there are any.
    pub(super) fn is_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// What one call reads from a connection, with whom it is of; to be given back by [`keep`](Self::keep).
    pub(super) fn read(&mut self, slot: usize, room: &mut [u8]) -> Option<(Pair, Vec<u8>)> {
        let connection = self.slots.get_mut(slot)?.as_mut()?;
        match connection.read(room) {
            Ok(received) => Some((connection.pair, received)),
            Err(why) => {
                self.close(slot, why);
                None
            }
        }
    }

    /// A message was read; whether the rest still counts.
    pub(super) fn judge(&mut self, slot: usize, proves: bool) -> bool {
        let Some(Some(connection)) = self.slots.get_mut(slot) else { return false };
        connection.proven |= proves;
        if !connection.proven {
            self.close(slot, Why::Stranger);
        }
        self.slots[slot].is_some()
    }

    /// Gives back what was read, of which so much was whole messages.
    pub(super) fn keep(&mut self, slot: usize, received: Vec<u8>, used: usize) {
        if let Some(Some(connection)) = self.slots.get_mut(slot) {
            connection.keep(received, used);
            if connection.readable {
                self.readable.push(slot);
            }
        }
    }

    /// The other side does not speak as it should.
    pub(super) fn turn_away(&mut self, slot: usize) {
        self.close(slot, Why::Stranger);
    }

    /// Sends to whoever is connected from there; datagrams of nobody are dropped, as on any network.
    pub(super) fn send(&mut self, batch: &Batch<'_>, now: Instant) {
        let slot = self.by_source.get(&batch.pair.theirs);
        if let Some(Some(connection)) = slot.and_then(|slot| self.slots.get_mut(*slot)) {
            connection.send(batch, now);
        }
    }

    /// Bytes that whoever is connected from there has not taken.
    pub(super) fn waiting(&self, pair: Pair) -> usize {
        let slot = self.by_source.get(&pair.theirs).and_then(|slot| self.slots.get(*slot));
        slot.and_then(Option::as_ref).map_or(0, Connection::waiting)
    }

    /// Closes what has been waited for long enough, and what nobody needs. `knows`: somebody who has a session speaks from
    /// there.
    pub(super) fn sweep(&mut self, now: Instant, knows: impl Fn(Source) -> bool) {
        self.acceptable = true;
        for slot in 0..self.slots.len() {
            let Some(connection) = &mut self.slots[slot] else { continue };
            self.counted.dropped += std::mem::take(&mut connection.dropped);
            let known = knows(connection.pair.source());
            if let Some(why) = connection.verdict(known, now, &self.patience) {
                self.close(slot, why);
            }
        }
    }

    fn close(&mut self, slot: usize, why: Why) {
        let Some(mut connection) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        // Dropping it closes it, which alone takes it out of the poll set.
        let _ = self.registry.deregister(connection.stream());
        self.by_source.remove(&connection.pair.theirs);
        self.lost.push(connection.pair.source());
        self.counted.dropped += connection.dropped;
        match why {
            Why::Stranger => self.counted.strangers += 1,
            Why::Stalled => self.counted.stalled += 1,
            Why::Gone | Why::Over => {}
        }
        tracing::trace!(theirs = %connection.pair.theirs, ?why, "a connection for media is closed");
    }

    /// Where connections were lost since the last call.
    pub(super) fn take_lost(&mut self) -> Vec<Source> {
        std::mem::take(&mut self.lost)
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> TcpStats {
        let open = || self.slots.iter().flatten();
        TcpStats {
            connections: open().count() as u32,
            unproven: open().filter(|connection| !connection.proven).count() as u32,
            ..self.counted
        }
    }
}

/// With an IPv4 address as what it is, not as one of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
