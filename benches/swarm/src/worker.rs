//! A thread that drives many peers from one epoll loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{self, Answer};
use crate::measure::Span;
use crate::peer::{Peer, Plan, Role};
use crate::udp::Batch;

const WAKE: u64 = u64::MAX;
const MAX_WAIT: Duration = Duration::from_millis(200);
/// Room for a TLS handshake, not for a hundred default stacks.
const HTTP_STACK: usize = 512 << 10;

pub enum Command {
    /// Open this session.
    Join {
        url: String,
        token: Option<String>,
    },
    Answer {
        peer: usize,
        answer: anyhow::Result<Answer>,
    },
    Measure(Span),
    /// Leave all sessions and end the thread.
    Stop,
}

/// What the main thread can see of all workers while they run.
#[derive(Default)]
pub struct Board {
    pub ready: AtomicUsize,
    pub failed: AtomicUsize,
}

#[derive(Clone)]
pub struct Mailbox {
    sender: Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl Mailbox {
    pub fn send(&self, command: Command) {
        // A worker that has ended needs no more commands.
        if self.sender.send(command).is_ok() {
            let one = 1u64.to_ne_bytes();
            // SAFETY: writes eight bytes from a live buffer to an open eventfd.
            unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

#[derive(Clone)]
pub struct Settings {
    pub plan: Plan,
    pub ip: IpAddr,
    /// Time to let datagrams gather before reading them, once all have joined.
    pub batch: Duration,
}

struct Slot {
    peer: Peer,
    token: Option<String>,
    /// Earliest entry for this peer in the timer heap.
    queued: Option<Instant>,
    ready: bool,
    failed: bool,
}

pub struct Worker {
    settings: Settings,
    board: Arc<Board>,
    mailbox: Mailbox,
    commands: Receiver<Command>,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    batch: Batch,
}

/// Starts a worker; joining the thread yields its peers.
pub fn spawn(settings: Settings, board: Arc<Board>) -> io::Result<(Mailbox, thread::JoinHandle<Vec<Peer>>)> {
    // SAFETY: plain system calls; each descriptor is checked, then owned.
    let (epoll, wake) = unsafe {
        let own = |fd: i32| {
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
        };
        (
            own(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
            own(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?,
        )
    };
    let (sender, commands) = channel();
    let mailbox = Mailbox { sender, wake: Arc::new(wake) };
    watch(&epoll, mailbox.wake.as_raw_fd(), WAKE)?;
    let worker = Worker {
        settings,
        board,
        mailbox: mailbox.clone(),
        commands,
        epoll,
        slots: Vec::new(),
        timers: BinaryHeap::new(),
        batch: Batch::new(),
    };
    let handle = thread::Builder::new().name("swarm-worker".into()).spawn(move || worker.run())?;
    Ok((mailbox, handle))
}

fn watch(epoll: &OwnedFd, fd: i32, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
    // SAFETY: both descriptors are open; `event` outlives the call.
    let rc = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Worker {
    fn run(mut self) -> Vec<Peer> {
        // SAFETY: all-zero is a valid epoll_event.
        let mut events: [libc::epoll_event; 256] = unsafe { std::mem::zeroed() };
        loop {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Join { url, token } => self.join(url, token),
                    Command::Answer { peer, answer } => self.answer(peer, answer),
                    Command::Measure(span) => self.measure(span),
                    Command::Stop => return self.stop(),
                }
            }
            let now = Instant::now();
            while let Some(&Reverse((at, i))) = self.timers.peek() {
                if at > now {
                    break;
                }
                self.timers.pop();
                self.slots[i].queued = None;
                if self.slots[i].peer.alive() && self.slots[i].peer.due() <= now {
                    self.slots[i].peer.tick(now);
                }
                self.settle(i);
            }
            let wait = self.timers.peek().map_or(MAX_WAIT, |Reverse((at, _))| {
                at.saturating_duration_since(Instant::now()).min(MAX_WAIT)
            });
            // Rounded up: waking early would only mean waking twice.
            let millis = wait.as_nanos().div_ceil(1_000_000) as i32;
            // SAFETY: `events` is valid for the stated number of entries.
            let n = unsafe {
                libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, millis)
            };
            for event in events.iter().take(usize::try_from(n).unwrap_or(0)) {
                match event.u64 {
                    WAKE => {
                        let mut count = [0u8; 8];
                        // SAFETY: reads eight bytes into a live buffer.
                        unsafe { libc::read(self.mailbox.wake.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
                    }
                    i => self.read(i as usize),
                }
            }
            if !self.settings.batch.is_zero() && self.slots.iter().all(|s| s.ready || s.failed) {
                thread::sleep(self.settings.batch);
            }
        }
    }

    fn join(&mut self, url: String, token: Option<String>) {
        let (peer, offer) = match Peer::new(&self.settings.plan, self.settings.ip) {
            Ok(made) => made,
            Err(e) => {
                eprintln!("swarm: cannot open a session: {e:#}");
                self.board.failed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let i = self.slots.len();
        let watched = watch(&self.epoll, peer.udp.fd(), i as u64);
        self.slots.push(Slot { peer, token: token.clone(), queued: None, ready: false, failed: false });
        let mailbox = self.mailbox.clone();
        let post = move || {
            let answer = http::post(&url, token.as_deref(), &offer);
            mailbox.send(Command::Answer { peer: i, answer });
        };
        let spawned = watched.and_then(|()| {
            thread::Builder::new().name("swarm-http".into()).stack_size(HTTP_STACK).spawn(post)
        });
        if let Err(e) = spawned {
            self.slots[i].peer.fail(e.to_string());
        }
        self.settle(i);
    }

    fn answer(&mut self, i: usize, answer: anyhow::Result<Answer>) {
        match answer {
            Ok(answer) => self.slots[i].peer.answer(answer),
            Err(e) => self.slots[i].peer.fail(format!("{e:#}")),
        }
        self.settle(i);
    }

    fn read(&mut self, i: usize) {
        let slot = &mut self.slots[i];
        loop {
            let more = self.batch.recv(&mut slot.peer.udp);
            let now = Instant::now();
            for n in 0..self.batch.len() {
                if slot.peer.alive() {
                    slot.peer.datagram(&self.batch.get(n), now);
                }
            }
            if !more {
                break;
            }
        }
        self.settle(i);
    }

    /// Files a peer's new state and its next deadline.
    fn settle(&mut self, i: usize) {
        let slot = &mut self.slots[i];
        if !slot.ready && slot.peer.ready() {
            slot.ready = true;
            self.board.ready.fetch_add(1, Ordering::Relaxed);
        }
        if !slot.peer.alive() {
            if !slot.failed {
                slot.failed = true;
                slot.peer.fail("closed".into());
                self.board.failed.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        let due = slot.peer.due();
        if slot.queued.is_none_or(|queued| due < queued) {
            slot.queued = Some(due);
            self.timers.push(Reverse((due, i)));
        }
    }

    fn measure(&mut self, span: Span) {
        for slot in &mut self.slots {
            if let Role::View(v) = &mut slot.peer.role {
                v.span = Some(span);
            }
        }
    }

    fn stop(mut self) -> Vec<Peer> {
        let sessions: Vec<_> =
            self.slots.iter().filter_map(|s| Some((s.peer.session.clone()?, s.token.clone()))).collect();
        // A handful at a time: a server may take a while over each.
        thread::scope(|scope| {
            for part in sessions.chunks(sessions.len().div_ceil(8).max(1)) {
                scope.spawn(move || {
                    for (session, token) in part {
                        let _ = http::delete(session, token.as_deref()); // it may be gone already
                    }
                });
            }
        });
        // For servers that gave no session URL, or do not heed it.
        self.slots.iter_mut().filter(|s| s.peer.alive()).for_each(|s| s.peer.close());
        self.slots.into_iter().map(|s| s.peer).collect()
    }
}
