//! The one thread: it reads the clock once per wake-up and does everything the core asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll};
use tokio::sync::{mpsc, oneshot};

use super::feed::FeedOut;
use super::socket::{MediaSocket, ReceiveRoom};
use super::{BUSY, Declared, Options, SOCKET, Shared, WAKE, addresses, tcp};
use crate::media::{Frame, StreamName};
use crate::sfu::{
    Answer, FeedId, LayerError, Patch, PatchError, Patched, Prepared, Role, SessionId, Sfu, WhepError,
    WhipError, framing,
};

/// How old the shared statistics may get.
const STATS_EVERY: Duration = Duration::from_millis(250);
/// Bytes of one read from a connection.
const TCP_READ: usize = 65_536;
/// Work of one kind per wake-up; the rest waits for its turn.
const MAX_RECEIVES: usize = 16;
const MAX_COMMANDS: usize = 8;
const MAX_FRAMES: usize = 16;
/// A capture time further away than this is a mistake of a clock.
const MAX_CAPTURE_AGE: Duration = Duration::from_secs(10);
/// This host's addresses are looked up again for a viewer that comes later than this.
const ADDRESSES_EVERY: Duration = Duration::from_secs(5);

/// What the handle asks for. Replies to somebody who has gone are dropped.
pub(super) enum Command {
    Whep {
        stream: StreamName,
        offer: Prepared,
        from: Option<IpAddr>,
        reply: oneshot::Sender<Result<Answer, WhepError>>,
    },
    Patch(SessionId, Patch, oneshot::Sender<Result<Patched, PatchError>>),
    Close(SessionId, oneshot::Sender<bool>),
    Role(SessionId, oneshot::Sender<Option<Role>>),
    Layer(SessionId, Option<String>, oneshot::Sender<Result<(), LayerError>>),
    Whip {
        stream: StreamName,
        offer: Prepared,
        replace: bool,
        reply: oneshot::Sender<Result<Answer, WhipError>>,
    },
    ShutDown(oneshot::Sender<()>),
}

pub(super) struct SfuThread {
    pub(super) options: Options,
    pub(super) sfu: Sfu,
    pub(super) socket: MediaSocket,
    pub(super) poll: Poll,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) feeds: Vec<(FeedId, FeedOut)>,
    pub(super) stats_at: Instant,
    pub(super) warned_at: Option<Instant>,
    pub(super) addresses_at: Instant,
}

impl SfuThread {
    /// Runs until the last handle and feed are gone, or a command ends it.
    #[expect(clippy::disallowed_methods, reason = "the SFU's clock: read once per wake-up")]
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut room = ReceiveRoom::new();
        let mut tcp_room = vec![0; TCP_READ];
        let mut more = false;
        // Whether the socket may hold something: it tells once, and again only after it was found empty.
        let mut readable = true;
        loop {
            let now = Instant::now();
            let timer = self.sfu.next_timeout(now).unwrap_or(now + STATS_EVERY).min(self.stats_at);
            let timer = self.socket.rests_until().map_or(timer, |until| timer.min(until));
            let wait = if more { Duration::ZERO } else { timer.saturating_duration_since(now) };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the SFU cannot wait for its socket and ends");
                return;
            }
            let now = Instant::now();
            self.socket.wake(now);
            for event in &events {
                match event.token() {
                    SOCKET => readable = true,
                    WAKE => {}
                    _ => self.socket.heed(event),
                }
            }
            self.open_feeds();
            more = self.take_frames(now);
            let Some(commands) = self.take_commands(now) else {
                return;
            };
            more |= commands;
            readable |= self.socket.rests_until().is_some_and(|until| until <= now);
            readable = readable && self.receive(&mut room, now);
            more |= readable;
            more |= self.receive_tcp(&mut tcp_room, now);
            self.sfu.tick(now, &mut self.socket);
            self.request_keyframes(now);
            self.tell_changes();
            if self.shared.stopped.load(Ordering::Acquire) {
                self.sfu.shut_down(now, &mut self.socket);
                return;
            }
            if now >= self.stats_at {
                self.stats_at = now + STATS_EVERY;
                // The wall clock may be set at any time.
                self.sfu.set_wall_clock(now, SystemTime::now());
                self.sweep(now);
                self.publish_stats(now);
            }
        }
    }

    fn open_feeds(&mut self) {
        if !self.shared.feeds_waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        let new = std::mem::take(&mut *self.shared.lock_feeds());
        for feed in new {
            tracing::debug!(stream = %feed.stream, "a local feed opens");
            let id = self.sfu.open_feed(&feed.stream);
            // Frames of a feed that was taken over no longer count; its queue goes with it.
            self.feeds.retain(|(_, old)| old.stream != feed.stream);
            self.feeds.push((id, feed));
        }
        // The box's own stream comes first in every list.
        for Declared { stream, stays } in std::mem::take(&mut *self.shared.lock_declared()) {
            if stays {
                self.sfu.declare(&stream);
            } else {
                self.sfu.announce(&stream);
            }
        }
    }

    /// Forwards what the feeds have; `true` when there may be more.
    fn take_frames(&mut self, now: Instant) -> bool {
        let mut more = false;
        for (id, feed) in &mut self.feeds {
            if let Some(layers) = feed.take_layers() {
                self.sfu.name_layers(*id, layers);
            }
            // Asked before the lanes are emptied: nothing can come after the end.
            let ended = feed.has_ended();
            let mut count = 0;
            while count < MAX_FRAMES
                && let Some(handed) = feed.take()
            {
                count += 1;
                // A new layer is named before its first picture is handed over.
                if handed.layer > 0
                    && let Some(layers) = feed.take_layers()
                {
                    self.sfu.name_layers(*id, layers);
                }
                let captured = captured(feed.epoch, &handed.frame, now);
                self.sfu.forward(*id, handed.layer, &handed.frame, captured, now, &mut self.socket);
                feed.sent(&handed, sent());
            }
            more |= count == MAX_FRAMES;
            while let Some(layer) = feed.take_keyframe_wish() {
                self.sfu.want_keyframe(*id, layer);
            }
            if ended && count < MAX_FRAMES {
                tracing::debug!(stream = %feed.stream, "a local feed ends");
                self.sfu.close_feed(*id);
            }
        }
        self.feeds.retain(|(id, feed)| !feed.has_ended() || self.sfu.is_open(*id));
        more
    }

    /// `None` when the SFU is to end; else whether there may be more.
    fn take_commands(&mut self, now: Instant) -> Option<bool> {
        for _ in 0..MAX_COMMANDS {
            let Ok(command) = self.commands.try_recv() else {
                return Some(false);
            };
            // Whoever asks may just have made a stream known, and means it.
            self.open_feeds();
            match command {
                Command::Whep { stream, offer, from, reply } => {
                    self.refresh_addresses(now);
                    let _ = reply.send(self.join(&stream, offer, from, now));
                }
                Command::Patch(session, patch, reply) => {
                    let _ = reply.send(self.sfu.patch(session, &patch, now, &mut self.socket));
                }
                Command::Close(session, reply) => {
                    let _ = reply.send(self.sfu.close(session, now, &mut self.socket));
                }
                Command::Role(session, reply) => {
                    let _ = reply.send(self.sfu.role(session));
                }
                Command::Layer(session, layer, reply) => {
                    let chosen = self.sfu.choose_layer(session, layer.as_deref(), now, &mut self.socket);
                    let _ = reply.send(chosen);
                }
                Command::Whip { stream, offer, replace, reply } => {
                    self.refresh_addresses(now);
                    let _ = reply.send(self.publish(&stream, offer, replace, now));
                }
                Command::ShutDown(reply) => {
                    self.sfu.shut_down(now, &mut self.socket);
                    self.publish_stats(now);
                    let _ = reply.send(());
                    return None;
                }
            }
        }
        Some(true)
    }

    fn join(
        &mut self,
        stream: &StreamName,
        offer: Prepared,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Result<Answer, WhepError> {
        let session = session().ok_or(WhepError::Busy { retry_after: BUSY })?;
        let result = self.sfu.join(session, stream, offer, from, now, &mut self.socket);
        match &result {
            Ok(_) => tracing::debug!(%stream, ?session, "a viewer joins"),
            Err(error) => tracing::debug!(%stream, %error, "a viewer is refused"),
        }
        result
    }

    fn publish(
        &mut self,
        stream: &StreamName,
        offer: Prepared,
        replace: bool,
        now: Instant,
    ) -> Result<Answer, WhipError> {
        let session = session().ok_or(WhipError::Busy { retry_after: BUSY })?;
        let result = self.sfu.publish(session, stream, offer, replace, now, &mut self.socket);
        match &result {
            Ok(_) => tracing::debug!(%stream, ?session, "a publisher is answered"),
            Err(error) => tracing::info!(%stream, "a publisher is refused: {error}"),
        }
        result
    }

    fn tell_changes(&mut self) {
        for change in self.sfu.take_changes() {
            let (stream, session) = (change.stream, change.session);
            match change.left {
                None => tracing::info!(%stream, ?session, "a publisher is connected"),
                Some(why) => tracing::info!(%stream, ?session, why = why.as_str(), "a publisher has left"),
            }
        }
    }

    fn refresh_addresses(&mut self, now: Instant) {
        if now < self.addresses_at {
            return;
        }
        self.addresses_at = now + ADDRESSES_EVERY;
        self.socket.refresh_addresses();
        let (local, tcp) = (self.socket.local_addr(), self.socket.tcp.is_some());
        let candidates = addresses::offered(local, &self.options.public_addresses, tcp);
        self.sfu.set_candidates(candidates);
    }

    fn receive(&mut self, room: &mut ReceiveRoom, now: Instant) -> bool {
        let (sfu, mut came) = (&mut self.sfu, 0);
        for _ in 0..MAX_RECEIVES {
            let (count, more) = self.socket.receive(room, |socket, pair, bytes| {
                sfu.receive(pair, bytes, now, socket);
            });
            came += count;
            if !more {
                self.socket.was_read(came > 0, sfu.hears_reports_alone());
                return false;
            }
        }
        true
    }

    /// Reads once from each connection that holds something; `true` where there may be more.
    fn receive_tcp(&mut self, room: &mut [u8], now: Instant) -> bool {
        let Some(tcp) = &mut self.socket.tcp else { return false };
        let more = tcp.accept(now);
        for slot in tcp.take_readable() {
            self.read(slot, room, now);
        }
        self.lose_connections();
        more || self.socket.tcp.as_ref().is_some_and(tcp::Connections::is_readable)
    }

    fn read(&mut self, slot: usize, room: &mut [u8], now: Instant) {
        let Some((pair, received)) = self.socket.tcp.as_mut().and_then(|tcp| tcp.read(slot, room)) else {
            return;
        };
        let (sfu, socket) = (&mut self.sfu, &mut self.socket);
        let used = framing::messages(&received, |message| {
            let proves = sfu.receive(pair, message, now, socket);
            socket.tcp.as_mut().is_some_and(|tcp| tcp.judge(slot, proves))
        });
        let Some(tcp) = &mut self.socket.tcp else { return };
        match used {
            Some(used) => tcp.keep(slot, received, used),
            None => tcp.turn_away(slot),
        }
    }

    /// Connections that were waited for long enough.
    fn sweep(&mut self, now: Instant) {
        let sfu = &self.sfu;
        if let Some(tcp) = &mut self.socket.tcp {
            tcp.sweep(now, |source| sfu.knows(source));
        }
        self.lose_connections();
    }

    fn lose_connections(&mut self) {
        for source in self.socket.tcp.as_mut().map(tcp::Connections::take_lost).unwrap_or_default() {
            self.sfu.lose(source);
        }
    }

    fn request_keyframes(&mut self, now: Instant) {
        while let Some((wanted, layer)) = self.sfu.take_keyframe_request(now) {
            if let Some((_, feed)) = self.feeds.iter().find(|(id, _)| *id == wanted) {
                (feed.on_keyframe_request)(layer);
            }
        }
    }

    fn publish_stats(&mut self, now: Instant) {
        let mut stats = self.sfu.stats(now);
        stats.send_errors = self.socket.errors;
        stats.tcp = self.socket.tcp.as_ref().map(tcp::Connections::stats);
        stats.lanes = self.feeds.iter().flat_map(|(_, feed)| feed.stats()).collect();
        for stream in &mut stats.streams {
            let lanes = stats.lanes.iter().filter(|lane| lane.stream == stream.name);
            stream.dropped = lanes.map(|lane| lane.dropped).sum();
        }
        self.shared.set_stats(stats);
        if self.warned_at.is_none_or(|at| now >= at + Duration::from_secs(1)) {
            for (_, feed) in &mut self.feeds {
                let (pictures, sounds) = feed.take_dropped();
                if pictures + sounds > 0 {
                    self.warned_at = Some(now);
                    let stream = &feed.stream;
                    tracing::warn!(%stream, pictures, sounds, "the SFU does not keep up and dropped frames");
                }
            }
        }
    }
}

/// A new session's id; none without random bits.
fn session() -> Option<SessionId> {
    let mut bits = [0; 16];
    match getrandom::fill(&mut bits) {
        Ok(()) => Some(SessionId::from_random(u128::from_ne_bytes(bits))),
        Err(error) => {
            tracing::warn!(%error, "no random bits for a session id");
            None
        }
    }
}

/// When a frame has been sent.
#[expect(clippy::disallowed_methods, reason = "the SFU's clock: how long sending took is told")]
fn sent() -> Instant {
    Instant::now()
}

/// When a frame was captured, on the SFU's clock: after now where it is put off by more than it takes until here
/// (`capture.audio_delay`), for receivers go by it.
fn captured(epoch: Instant, frame: &Frame, now: Instant) -> Instant {
    let at = epoch.checked_add(frame.pts.since_base()).unwrap_or(now);
    let away = now.saturating_duration_since(at).max(at.saturating_duration_since(now));
    if away > MAX_CAPTURE_AGE { now } else { at }
}
