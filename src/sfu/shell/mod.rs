//! The SFU's one thread, its socket, its clock, and the handle by which the rest of Capcast speaks to it.
//!
//! HTTP never touches a connection: it sends a command over a bounded queue and waits for the reply.

mod addresses;
mod feed;
mod socket;
mod tcp;
mod thread;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use mio::{Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

pub use self::addresses::{candidates, network};
use self::feed::FeedOut;
pub use self::feed::{LocalFeed, Room};
use self::socket::MediaSocket;
pub use self::socket::SOCKET_BUFFER;
use self::thread::{Command, SfuThread};
use super::{
    Answer, LayerError, Patch, PatchError, Patched, Preparer, Role, SealedBy, SessionId, Settings, Sfu,
    Stats, WhepError, WhipError,
};
use crate::media::StreamName;

/// Commands that wait at most; more is [`WhepError::Busy`].
const MAX_COMMANDS: usize = 128;
/// When to come again after that.
const BUSY: Duration = Duration::from_secs(1);

/// How the SFU is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where all media goes in and out; a wildcard address takes IPv4 and IPv6 alike. Port 0 takes any free one.
    pub media: SocketAddr,
    /// Candidates to offer; empty means this host's own addresses.
    pub public_addresses: Vec<IpAddr>,
    /// Viewers at one time, all streams together.
    pub max_viewers: u32,
    /// Who seals what viewers are sent.
    pub sealed_by: SealedBy,
}

/// Why the SFU did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The media port cannot be used.
    #[error("cannot use media address `{address}`: {source}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused a thread or a poll set.
    #[error("cannot start the SFU: {0}")]
    System(#[from] std::io::Error),
    /// OpenSSL made no certificate.
    #[error("cannot make a certificate for DTLS")]
    Certificate,
}

/// Speaks to the SFU; cheap to clone. When the last handle and the last feed are gone, the SFU ends.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    preparer: Preparer,
    alive: Arc<Alive>,
}

/// What the thread and the handles both see.
struct Shared {
    local: SocketAddr,
    public_addresses: Vec<IpAddr>,
    feeds: Mutex<Vec<FeedOut>>,
    feeds_waiting: AtomicBool,
    declared: Mutex<Vec<Declared>>,
    /// Swapped whole: no packet waits for whoever reads it.
    stats: ArcSwap<Stats>,
    stopped: AtomicBool,
}

/// A stream that others may publish.
struct Declared {
    stream: StreamName,
    /// It is known as long as this runs.
    stays: bool,
}

impl Shared {
    fn lock_feeds(&self) -> MutexGuard<'_, Vec<FeedOut>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_declared(&self) -> MutexGuard<'_, Vec<Declared>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_stats(&self, stats: Stats) {
        self.stats.store(Arc::new(stats));
    }
}

/// Keeps the thread running, and wakes it.
struct Alive {
    shared: Arc<Shared>,
    waker: Waker,
}

impl Alive {
    /// The thread may be in the middle of its round: it looks again.
    fn wake(&self) {
        // Fails only when the thread is gone, and then nobody is left to wake.
        let _ = self.waker.wake();
    }

    /// With nobody to wake.
    #[cfg(test)]
    fn for_tests() -> Alive {
        let poll = Poll::new().expect("a poll set");
        let waker = Waker::new(poll.registry(), WAKE).expect("a waker");
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        Alive { shared: Arc::new(Shared::new(local, Vec::new())), waker }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.wake();
    }
}

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
/// And all that follow: connections.
const LISTENER: Token = Token(2);
/// Connections over TCP beyond two for each viewer: a browser tries every candidate before it settles on one.
const SPARE_CONNECTIONS: usize = 64;

/// Binds the media port and starts the SFU's thread.
#[expect(clippy::disallowed_methods, reason = "the first moment that is known on both clocks")]
pub fn start(options: Options) -> Result<Handle, StartError> {
    let address = options.media;
    let poll = Poll::new()?;
    let now = Instant::now();
    let connections = 2 * options.max_viewers as usize + SPARE_CONNECTIONS;
    let socket = MediaSocket::bind(address, poll.registry(), connections, now)
        .map_err(|source| StartError::Bind { address, source })?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let local = socket.local_addr();
    let settings = Settings {
        sealed_by: options.sealed_by,
        max_viewers: options.max_viewers,
        wall_clock: (now, SystemTime::now()),
    };
    let candidates = addresses::offered(local, &options.public_addresses, socket.tcp.is_some());
    let sfu = Sfu::new(settings, candidates).ok_or(StartError::Certificate)?;
    let preparer = sfu.preparer();
    preparer.refill(now);
    let shared = Arc::new(Shared::new(local, options.public_addresses.clone()));
    let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
    let thread = SfuThread {
        options,
        sfu,
        socket,
        poll,
        commands: receiver,
        shared: shared.clone(),
        feeds: Vec::new(),
        stats_at: now,
        warned_at: None,
        addresses_at: now,
    };
    std::thread::Builder::new().name("sfu".to_owned()).spawn(move || thread.run())?;
    let alive = Arc::new(Alive { shared: shared.clone(), waker });
    Ok(Handle { shared, commands, preparer, alive })
}

impl Shared {
    fn new(local: SocketAddr, public_addresses: Vec<IpAddr>) -> Shared {
        Shared {
            local,
            public_addresses,
            feeds: Mutex::default(),
            feeds_waiting: AtomicBool::new(false),
            declared: Mutex::default(),
            stats: ArcSwap::default(),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Handle {
    /// Where the media socket is bound, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// The addresses of the candidates that viewers are offered now.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        addresses::candidates(self.shared.local, &self.shared.public_addresses)
    }

    /// Makes a stream known and opens the way for its media; a feed of the same name that is still open ends.
    /// `epoch` is the instant at which [`MediaTime`](crate::media::MediaTime) is zero, `rooms` what the hand-over holds of
    /// picture, for each of its layers, and of sound. `on_keyframe_request` is called with the layer on the SFU's thread, at
    /// most twice a second for each, and must not block.
    pub fn local_feed(
        &self,
        stream: StreamName,
        epoch: Instant,
        rooms: [Room; 2],
        on_keyframe_request: Box<dyn Fn(u8) + Send + Sync>,
    ) -> LocalFeed {
        let (feed, out) = feed::feed(stream, epoch, rooms, on_keyframe_request, self.alive.clone());
        self.shared.lock_feeds().push(out);
        self.shared.feeds_waiting.store(true, Ordering::Release);
        self.alive.wake();
        feed
    }

    /// Makes a stream known that others may publish: until they do, a viewer hears that it is not live.
    pub fn declare(&self, stream: StreamName) {
        self.tell(Declared { stream, stays: true });
    }

    /// Makes a stream known that is about to be published, until nobody publishes or watches it and its place is needed.
    pub fn announce(&self, stream: StreamName) {
        self.tell(Declared { stream, stays: false });
    }

    fn tell(&self, declared: Declared) {
        self.shared.lock_declared().push(declared);
        self.shared.feeds_waiting.store(true, Ordering::Release);
        self.alive.wake();
    }

    /// Answers a publisher's offer. Whether it may publish is the caller's to know. With `replace` it takes over from
    /// the present publisher, whose viewers stay.
    #[expect(clippy::disallowed_methods, reason = "the SFU's clock")]
    pub async fn whip(&self, stream: &StreamName, offer: String, replace: bool) -> Result<Answer, WhipError> {
        let stream = stream.clone();
        let offer = self.preparer.publisher(&offer, Instant::now());
        let asked = self.ask(|reply| Command::Whip { stream, offer, replace, reply }).map_err(|refused| {
            if refused.full { WhipError::Busy { retry_after: BUSY } } else { WhipError::Stopped }
        })?;
        asked.await.unwrap_or(Err(WhipError::Stopped))
    }

    /// Shows a viewer another layer of the picture: the one of this name, or the best one that fits.
    pub async fn choose_layer(&self, session: SessionId, layer: Option<String>) -> Result<(), LayerError> {
        let chosen = self.insist(|reply| Command::Layer(session, layer, reply)).await;
        chosen.unwrap_or(Err(LayerError::UnknownSession))
    }

    /// Answers a viewer's offer. `from` is the network that it comes from, where that is known: viewers that never
    /// connect take places from their own network first.
    #[expect(clippy::disallowed_methods, reason = "the SFU's clock")]
    pub async fn whep(
        &self,
        stream: &StreamName,
        offer: String,
        from: Option<IpAddr>,
    ) -> Result<Answer, WhepError> {
        let stream = stream.clone();
        let offer = self.preparer.viewer(&offer, Instant::now());
        let reply = self.ask(|reply| Command::Whep { stream, offer, from, reply }).map_err(|refused| {
            if refused.full { WhepError::Busy { retry_after: BUSY } } else { WhepError::Stopped }
        })?;
        let answer = reply.await.unwrap_or(Err(WhepError::Stopped));
        let preparer = self.preparer.clone();
        tokio::task::spawn_blocking(move || preparer.refill(Instant::now()));
        answer
    }

    /// Takes candidates of a session, or restarts its ICE.
    pub async fn patch(&self, session: SessionId, patch: Patch) -> Result<Patched, PatchError> {
        let reply = self.ask(|reply| Command::Patch(session, patch, reply)).map_err(|refused| {
            if refused.full { PatchError::Busy { retry_after: BUSY } } else { PatchError::Stopped }
        })?;
        reply.await.unwrap_or(Err(PatchError::Stopped))
    }

    /// Ends a session; `false` when there was none. Waits for its turn when many requests are under way.
    pub async fn close(&self, session: SessionId) -> bool {
        self.insist(|reply| Command::Close(session, reply)).await.unwrap_or(false)
    }

    /// Whether a session exists now.
    pub async fn exists(&self, session: SessionId) -> bool {
        self.role(session).await.is_some()
    }

    /// Whose session it is, if it exists.
    pub async fn role(&self, session: SessionId) -> Option<Role> {
        self.insist(|reply| Command::Role(session, reply)).await.flatten()
    }

    /// What was counted, at most a quarter of a second old.
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.stats.load_full()
    }

    /// Closes every session, then ends the SFU's thread; waits at most a second.
    pub async fn shutdown(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.insist(Command::ShutDown)).await;
    }

    /// Sends a command unless too many wait.
    fn ask<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<R>) -> Command,
    ) -> Result<oneshot::Receiver<R>, Refused> {
        let (reply, receiver) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|error| Refused { full: matches!(error, mpsc::error::TrySendError::Full(_)) })?;
        self.alive.wake();
        Ok(receiver)
    }

    /// Sends a command that frees something, waiting for room.
    async fn insist<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Command) -> Option<R> {
        let (reply, receiver) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        self.alive.wake();
        receiver.await.ok()
    }
}

struct Refused {
    full: bool,
}
