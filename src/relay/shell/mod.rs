//! HTTP and a clock around the machine: one task for each source.

mod wires;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::wires::{Step, Wires};
use super::{Action, FetchId, Input, Limits, Numbers, Protocol, Relay, Trouble};
use crate::media::{SourceHealth, SourceState};

/// No more than this is given ahead of its time.
const AHEAD: Duration = Duration::from_secs(6);

/// Nothing for so long, with nothing left to show, and the stream counts as lost: of what is sent as it is made, and of
/// what comes in whole segments, which may be late.
const QUIET: [Duration; 2] = [Duration::from_millis(1500), Duration::from_secs(3)];

/// Graphs that join are served at least this often while there is something to show.
const SERVE: Duration = Duration::from_millis(100);

/// The same trouble is not logged again sooner.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Where a stream goes.
pub trait Sink: Send + 'static {
    /// It is known how the stream comes; told once before the first bytes.
    fn comes_by(&mut self, protocol: Protocol);
    /// More of it. With `cut` it does not continue what came before.
    fn push(&mut self, bytes: &[u8], cut: bool);
    /// Lets those read who came meanwhile.
    fn serve(&mut self);
    /// How much of it lies ahead of its time.
    fn ahead(&self) -> Duration;
    /// Nothing comes, and why.
    fn lose(&mut self, health: SourceHealth);
}

/// Gives the token, read anew for each request that carries it; the error is words.
pub type Token = Box<dyn Fn() -> Result<String, String> + Send>;

/// What is read, and as whom.
pub struct Source {
    /// http or https.
    pub url: url::Url,
    /// Goes to the URL's origin as a bearer token.
    pub token: Option<Token>,
}

/// A source that is read. Dropping it ends that.
pub struct Reader {
    task: tokio::task::JoinHandle<()>,
    facts: watch::Receiver<Facts>,
}

/// How it fares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How it comes, once that is known.
    pub protocol: Option<Protocol>,
    /// Counts.
    pub numbers: Numbers,
    /// What is wrong, in words; empty when nothing is.
    pub trouble: String,
    /// How much may wait.
    pub limits: Limits,
}

impl Reader {
    /// How it fares now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a source on the present runtime, until the reader is dropped.
///
/// # Errors
/// When TLS cannot be set up; in words.
pub fn read(source: Source, sink: impl Sink) -> Result<Reader, String> {
    let wires = Wires::new(source.token)?;
    let (tell, facts) = watch::channel(Facts::default());
    let limits = Limits::default();
    let seed = RandomState::new().hash_one("relay");
    let began = clock();
    let driver = Driver {
        name: super::shown(&source.url),
        relay: Relay::new(Duration::ZERO, source.url, limits, seed),
        sink,
        wires,
        steps: JoinSet::new(),
        out: BTreeMap::new(),
        parked: BTreeMap::new(),
        began,
        limits,
        pushed: None,
        known: false,
        lost: None,
        logged: Vec::new(),
        tell,
    };
    Ok(Reader { task: tokio::spawn(driver.run()), facts })
}

struct Driver<S> {
    name: String,
    relay: Relay,
    sink: S,
    wires: Wires,
    steps: JoinSet<(FetchId, Step)>,
    /// Requests whose next step is waited for.
    out: BTreeMap<FetchId, AbortHandle>,
    /// Answers that may not be read on.
    parked: BTreeMap<FetchId, reqwest::Response>,
    began: Instant,
    limits: Limits,
    /// When something was given last, while the stream lasts.
    pushed: Option<Duration>,
    known: bool,
    /// What was said last of a stream that is lost.
    lost: Option<SourceHealth>,
    logged: Vec<(Trouble, Duration)>,
    tell: watch::Sender<Facts>,
}

impl<S: Sink> Driver<S> {
    async fn run(mut self) {
        loop {
            let now = clock().duration_since(self.began);
            self.give(now);
            self.read_on();
            self.act();
            self.log(now);
            self.judge(now);
            let facts = Facts {
                protocol: self.relay.protocol(),
                numbers: self.relay.numbers(now),
                trouble: self.relay.trouble(now).map(|trouble| trouble.to_string()).unwrap_or_default(),
                limits: self.limits,
            };
            self.tell.send_replace(facts);
            let wake = self.wake(now);
            let step = tokio::select! {
                Some(step) = self.steps.join_next() => Some(step),
                () = tokio::time::sleep_until((self.began + wake).into()) => None,
            };
            let now = clock().duration_since(self.began);
            match step {
                // One that was cancelled.
                Some(Err(_)) => {}
                Some(Ok((id, step))) => self.take(now, id, step),
                None => self.relay.wake(now),
            }
        }
    }

    fn take(&mut self, now: Duration, id: FetchId, step: Step) {
        if self.out.remove(&id).is_none() {
            // Cancelled while it was on its way here.
            return;
        }
        let (input, more) = match step {
            Step::Head(head, answer) => (Input::Head(id, head), Some(answer)),
            Step::Bytes(bytes, answer) => (Input::Bytes(id, bytes), Some(answer)),
            Step::End => (Input::End(id), None),
            Step::Failed(failure) => (Input::Failed(id, failure), None),
        };
        if let Some(answer) = more {
            self.parked.insert(id, answer);
        }
        self.relay.take(now, input);
    }

    /// Gives what has come, as far ahead as it may be.
    fn give(&mut self, now: Duration) {
        if let Some(protocol) = self.relay.protocol().filter(|_| !self.known) {
            self.known = true;
            tracing::info!("{}: read as {}", self.name, protocol.as_str());
            self.sink.comes_by(protocol);
            if self.relay.lacks_sound() {
                tracing::warn!("{}: its sound is in a playlist of its own, which is not read", self.name);
            }
        }
        while self.sink.ahead() < AHEAD
            && let Some(media) = self.relay.media(now)
        {
            self.sink.push(&media.bytes, media.discontinuity);
            (self.pushed, self.lost) = (Some(now), None);
        }
        if self.pushed.is_some_and(|at| at != now) {
            self.sink.serve();
        }
    }

    /// Reads on where there is room.
    fn read_on(&mut self) {
        let may: Vec<FetchId> = self.parked.keys().filter(|id| self.relay.may_read(**id)).copied().collect();
        for id in may {
            if let Some(answer) = self.parked.remove(&id) {
                let handle = self.steps.spawn(async move { (id, wires::next(answer).await) });
                self.out.insert(id, handle);
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.relay.action() {
            match action {
                Action::Fetch(fetch) => {
                    let (id, asked) = (fetch.id, self.wires.ask(&fetch));
                    let handle = self.steps.spawn(async move { (id, asked.await) });
                    self.out.insert(id, handle);
                }
                Action::Cancel(id) => {
                    self.parked.remove(&id);
                    if let Some(step) = self.out.remove(&id) {
                        step.abort();
                    }
                }
            }
        }
    }

    /// Each trouble once, then once a minute.
    fn log(&mut self, now: Duration) {
        while let Some(trouble) = self.relay.note() {
            self.logged.retain(|(_, at)| now.saturating_sub(*at) < TOLD_AGAIN);
            if self
                .logged
                .iter()
                .all(|(told, _)| std::mem::discriminant(told) != std::mem::discriminant(&trouble))
            {
                tracing::warn!("{}: {trouble}", self.name);
                self.logged.push((trouble, now));
            }
        }
    }

    /// Says why nothing comes, once it does not.
    fn judge(&mut self, now: Duration) {
        let quiet = QUIET[usize::from(self.relay.protocol() == Some(Protocol::Hls))];
        let flows = self.pushed.is_some_and(|at| now.saturating_sub(at) < quiet);
        let flows = flows || !self.sink.ahead().is_zero();
        if flows || self.relay.has_media() {
            return;
        }
        let health = match self.relay.trouble(now) {
            Some(trouble) => health(&trouble),
            None => SourceHealth {
                state: SourceState::NoSignal,
                reason: match self.known {
                    true => "nothing more has come for a while".to_owned(),
                    false => "the server was asked, and nothing has come yet".to_owned(),
                },
            },
        };
        if self.lost.as_ref() != Some(&health) {
            self.pushed = None;
            self.sink.lose(health.clone());
            self.lost = Some(health);
        }
    }

    /// When to look again at the latest.
    fn wake(&self, now: Duration) -> Duration {
        let ahead = self.sink.ahead();
        let room =
            self.relay.has_media().then(|| now + ahead.saturating_sub(AHEAD).max(Duration::from_millis(5)));
        let serve = self.pushed.map(|_| now + SERVE);
        // Words count seconds.
        let words = now + Duration::from_secs(1);
        self.relay
            .deadline()
            .into_iter()
            .chain(room)
            .chain(serve)
            .chain([words])
            .min()
            .unwrap_or(words)
            .max(now)
    }
}

/// What a trouble makes of a source.
fn health(trouble: &Trouble) -> SourceHealth {
    let state = match trouble {
        Trouble::Connect(_)
        | Trouble::Tls(_)
        | Trouble::Cut
        | Trouble::Silent(_)
        | Trouble::Status(_)
        | Trouble::Nothing(_)
        | Trouble::Circles => SourceState::Unreachable,
        Trouble::Stalled
        | Trouble::Endless(_)
        | Trouble::Unchanged(_)
        | Trouble::PlaylistEnded
        | Trouble::ChannelClosed
        | Trouble::Quiet(_) => SourceState::NoSignal,
        Trouble::Address(_)
        | Trouble::Playlist(_)
        | Trouble::Encrypted
        | Trouble::FragmentedMp4
        | Trouble::NotTransportStream(_)
        | Trouble::TooBig { .. }
        | Trouble::Unnumbered
        | Trouble::NoRanges => SourceState::Unusable,
    };
    SourceHealth { state, reason: trouble.to_string() }
}

#[expect(clippy::disallowed_methods, reason = "the clock that the machine is driven by")]
fn clock() -> Instant {
    Instant::now()
}
