//! Worker threads that hold sessions, and how they are told what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Sessions;
use crate::http;
use crate::measure::Span;
use crate::peer::{Peer, Plan};
use crate::worker::{self, Board, Command, Mailbox, Settings};

pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub extern "C" fn interrupt(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Sleeps until `at`; false if interrupted.
pub fn sleep_until(at: Instant) -> bool {
    while !INTERRUPTED.load(Ordering::Relaxed) {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
    false
}

/// The worker threads and their mailboxes.
pub struct Crew {
    board: Arc<Board>,
    mailboxes: Vec<Mailbox>,
    handles: Vec<thread::JoinHandle<Vec<Peer>>>,
}

impl Crew {
    pub fn start(plan: Plan, url: &str, sessions: &Sessions, batch: Duration) -> Result<Crew> {
        ensure!(sessions.threads > 0 && sessions.rate > 0.0, "--threads and --rate must be above zero");
        let ip = sessions.bind.map_or_else(|| http::local_ip(url), Ok)?;
        let settings = Settings { plan, ip, batch };
        let board = Arc::new(Board::default());
        let mut crew = Crew { board: board.clone(), mailboxes: vec![], handles: vec![] };
        for _ in 0..sessions.threads.min(sessions.count.max(1)) {
            let (mailbox, handle) = worker::spawn(settings.clone(), board.clone())?;
            crew.mailboxes.push(mailbox);
            crew.handles.push(handle);
        }
        Ok(crew)
    }

    pub fn ready(&self) -> usize {
        self.board.ready.load(Ordering::Relaxed)
    }

    pub fn failed(&self) -> usize {
        self.board.failed.load(Ordering::Relaxed)
    }

    /// Opens the sessions at the wanted rate.
    pub fn join(&self, sessions: &Sessions, url: impl Fn(usize) -> String) {
        let start = Instant::now();
        for n in 0..sessions.count {
            if !sleep_until(start + Duration::from_secs_f64(n as f64 / sessions.rate)) {
                return;
            }
            let token = sessions.token.as_ref().map(|token| token.replace("{n}", &n.to_string()));
            self.mailboxes[n % self.mailboxes.len()].send(Command::Join { url: url(n), token });
        }
    }

    /// Waits until every session is ready or failed.
    pub fn wait(&self, count: usize, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.ready() + self.failed() < count && Instant::now() < end {
            if !sleep_until(Instant::now() + Duration::from_millis(20)) {
                return false;
            }
        }
        true
    }

    pub fn measure(&self, span: Span) {
        self.mailboxes.iter().for_each(|m| m.send(Command::Measure(span)));
    }

    pub fn stop(self) -> Vec<Peer> {
        self.mailboxes.iter().for_each(|m| m.send(Command::Stop));
        self.handles.into_iter().flat_map(|h| h.join().expect("worker panicked")).collect()
    }
}
