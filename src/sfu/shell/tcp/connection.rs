//! One connection: what it has received of a message, and what it has not taken yet of what was sent.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::sfu::framing::{self, LENGTH, Waiting};
use crate::sfu::{Batch, Pair};

/// What the kernel holds of what was sent (it counts its own bookkeeping in).
const KERNEL_BUFFER: usize = 128 << 10;
/// And of that, what is not on its way yet: the rest is to be seen waiting here.
const KERNEL_UNSENT: u32 = 32 << 10;
/// Messages of one system call.
const MAX_MESSAGES: usize = 64;

/// A connection that somebody opened.
pub(super) struct Connection {
    stream: TcpStream,
    /// Where it came to, and from where.
    pub(super) pair: Pair,
    /// Whose network it is.
    pub(super) network: IpAddr,
    since: Instant,
    /// Somebody who has a session was heard here.
    pub(super) proven: bool,
    /// Something may be there to read.
    pub(super) readable: bool,
    received: Vec<u8>,
    waiting: Waiting,
    /// When the other side last took something, or had nothing to take.
    took_at: Instant,
    broken: bool,
    /// Messages that found no room.
    pub(super) dropped: u64,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The other side closed it, or the network did.
    Gone,
    /// What came was of nobody who has a session, or nothing came.
    Stranger,
    /// It takes nothing.
    Stalled,
    /// Its session is over.
    Over,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        (ours, theirs): (SocketAddr, SocketAddr),
        network: IpAddr,
        now: Instant,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(&stream);
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        socket.set_tcp_notsent_lowat(KERNEL_UNSENT)?;
        Ok(Connection {
            stream,
            pair: Pair::tcp(ours, theirs),
            network,
            since: now,
            proven: false,
            readable: true,
            received: Vec::new(),
            waiting: Waiting::default(),
            took_at: now,
            broken: false,
            dropped: 0,
        })
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what one call gives, behind what there is of a message already, and hands all of it over; to be given back by
    /// [`keep`](Self::keep).
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<Vec<u8>, Why> {
        match self.stream.read(room) {
            Ok(0) => return Err(Why::Gone),
            Ok(count) => self.received.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Why::Gone),
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Keeps what was read and is not a whole message.
    pub(super) fn keep(&mut self, mut received: Vec<u8>, used: usize) {
        received.drain(..used);
        self.received = received;
    }

    /// Sends datagrams as messages: at once as far as that goes, the rest when there is room.
    pub(super) fn send(&mut self, batch: &Batch<'_>, now: Instant) {
        let mut lengths = [[0; LENGTH]; MAX_MESSAGES];
        let mut messages = batch.datagrams();
        while messages.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 2 * MAX_MESSAGES];
            let mut count = 0;
            for (message, length) in messages.by_ref().zip(&mut lengths).take(MAX_MESSAGES) {
                let Some(before) = framing::length(message) else { continue };
                *length = before;
                slices[2 * count + 1] = IoSlice::new(message);
                count += 1;
            }
            for (at, length) in lengths.iter().take(count).enumerate() {
                slices[2 * at] = IoSlice::new(length);
            }
            self.send_slices(&slices[..2 * count], now);
        }
    }

    /// The same of lengths and messages in turn.
    fn send_slices(&mut self, slices: &[IoSlice<'_>], now: Instant) {
        let mut taken = 0;
        if self.waiting.is_empty() {
            self.took_at = now;
            taken = self.write(|stream| stream.write_vectored(slices));
        }
        let messages = slices.chunks_exact(2).map(|pair| [&*pair[0], &*pair[1]]);
        self.dropped += self.waiting.add(messages, taken);
    }

    /// Bytes that were sent and that it has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// There is room again: what waits is sent.
    pub(super) fn flush(&mut self, now: Instant) {
        while !self.waiting.is_empty() {
            let slices = self.waiting.bytes().map(IoSlice::new);
            let count = match (&self.stream).write_vectored(&slices) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.broken |= error.kind() != ErrorKind::WouldBlock;
                    return;
                }
            };
            self.waiting.taken(count);
            self.took_at = now;
        }
    }

    fn write(&mut self, write: impl Fn(&mut &TcpStream) -> io::Result<usize>) -> usize {
        loop {
            match write(&mut &self.stream) {
                Ok(count) => return count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken |= error.kind() != ErrorKind::WouldBlock;
                    return 0;
                }
            }
        }
    }

    /// Why it should be closed now, if it should. `known`: somebody who has a session speaks here.
    pub(super) fn verdict(&self, known: bool, now: Instant, patience: &Patience) -> Option<Why> {
        let stalls = !self.waiting.is_empty() && now >= self.took_at + patience.stalled;
        if self.broken {
            Some(Why::Gone)
        } else if !self.proven {
            (now >= self.since + patience.unproven).then_some(Why::Stranger)
        } else if !known {
            Some(Why::Over)
        } else {
            stalls.then_some(Why::Stalled)
        }
    }

    /// How long it has been open.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// How long connections are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until somebody who has a session must have been heard.
    pub(super) unproven: Duration,
    /// Until something must have been taken.
    pub(super) stalled: Duration,
}
