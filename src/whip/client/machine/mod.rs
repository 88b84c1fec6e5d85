//! The machine itself: what it holds, its deadlines and attempts. What an operator says is in `commands`, requests are
//! in `asking`, what follows a 201 is in `session`.

mod asking;
mod commands;
mod session;

use std::mem;
use std::time::{Duration, Instant};

use http::Method;
use url::Url;

use super::endpoint::Endpoint;
use super::pace::Pace;
use super::state::{Phase, State};
use super::wire::{Action, Failure, FailureKind, Input, RequestId, TransportEvent, TransportId};
use super::words::Veil;
use crate::media::Codec;
use crate::whip::broadcast_box;
use crate::whip::link::IceServer;
use crate::whip::trickle::Candidate;
use session::Joined;

/// From making a transport to its offer.
const OFFER: Duration = Duration::from_secs(10);
/// From an offer without candidates to sending it with those that were gathered.
const GATHER: Duration = Duration::from_secs(2);
/// More candidates than this of one transport are left out.
const CANDIDATES: usize = 64;
/// How long a server may still hold a session that could not be DELETEd: consent expires after 30 s (RFC 7675 §5.1).
const HELD: Duration = Duration::from_secs(40);

/// One publishing session, over all its reconnections.
pub struct Machine {
    endpoint: Endpoint,
    /// Hides the key, and the name of the session last given.
    veil: Veil,
    codec: Codec,
    /// Why nothing can be published at all.
    unfit: Option<String>,
    pace: Pace,
    wanted: bool,
    state: State,
    stage: Stage,
    deleting: Option<Deleting>,
    leftover: Option<Leftover>,
    next_attempt: Option<Instant>,
    last_attempt: Option<Instant>,
    /// What went wrong last; shown while the next attempt is on its way.
    trouble: String,
    learned: Learned,
    reconnects: u64,
    ids: u64,
    actions: Vec<Action>,
}

/// What earlier sessions showed of the server.
#[derive(Default)]
struct Learned {
    /// It gave a session.
    proved: bool,
    /// It takes PATCHes.
    trickles: bool,
    /// It is a Broadcast Box.
    broadcast_box: bool,
    /// Where it is watched, if the server says so.
    page: Option<Url>,
    ice_servers: Vec<IceServer>,
}

/// How far the current attempt is.
enum Stage {
    /// There is no transport and no session of ours.
    Quiet,
    Offering(Offering),
    Posting(Posting),
    Joined(Box<Joined>),
}

/// A transport is making its offer.
struct Offering {
    transport: TransportId,
    offer: Option<String>,
    candidates: Vec<Candidate>,
    until: Instant,
}

/// The POST is out.
struct Posting {
    /// None once it was closed: then the answer is awaited only to end the session that it may bring.
    transport: Option<TransportId>,
    request: RequestId,
    url: Url,
    hops: u32,
    offer: String,
    /// Gathered since.
    candidates: Vec<Candidate>,
    gathered: bool,
    until: Instant,
}

/// A DELETE is out.
struct Deleting {
    request: RequestId,
    until: Instant,
    /// An attempt waits for it.
    before_attempt: bool,
}

/// A session that the server may still hold.
struct Leftover {
    url: Url,
    until: Instant,
}

impl Machine {
    /// Idle, until it is started. `codec` is that of the video (of the sound where there is no picture); the seed moves
    /// its waits.
    pub fn new(endpoint: Endpoint, codec: Codec, seed: u64) -> Self {
        Machine {
            veil: Veil::new(endpoint.secrets()),
            endpoint,
            codec,
            unfit: None,
            pace: Pace::new(seed),
            wanted: false,
            state: State { phase: Phase::Idle, words: String::new(), retry_at: None },
            stage: Stage::Quiet,
            deleting: None,
            leftover: None,
            next_attempt: None,
            last_attempt: None,
            trouble: String::new(),
            learned: Learned::default(),
            reconnects: 0,
            ids: 0,
            actions: Vec::new(),
        }
    }

    /// What people are shown now.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Attempts that followed a failure, a loss or a change of codec, since it was made.
    pub const fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Where people watch it, as far as the server says or is known for.
    pub fn watch_url(&self) -> Option<Url> {
        self.learned.page.clone().or_else(|| Some(self.watch()?.watch_url()))
    }

    /// The stream at the Broadcast Box that the server turned out to be: where it is watched and its status read.
    pub fn watch(&self) -> Option<broadcast_box::Stream> {
        self.endpoint.broadcast_box().filter(|_| self.learned.broadcast_box)
    }

    /// Whether the server has fallen silent so that it is in doubt whether it still has the stream; where the driver can
    /// read that it has not, it is told by [`Input::Gone`].
    pub fn doubts(&self, now: Instant) -> bool {
        matches!(&self.stage, Stage::Joined(joined) if joined.is_doubtful(now))
    }

    /// When to call [`Machine::on`] with [`Input::Timer`] at the latest; always later than the `now` last given. It is
    /// right after that call only.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let attempt = self.next_attempt.filter(|_| self.deleting.is_none() && self.is_quiet());
        let deleting = self.deleting.as_ref().map(|deleting| deleting.until);
        let stage = match &self.stage {
            Stage::Quiet => None,
            Stage::Offering(offering) => Some(offering.until),
            Stage::Posting(posting) => Some(posting.until),
            Stage::Joined(joined) => joined.deadline(now),
        };
        [attempt, deleting, stage].into_iter().flatten().min()
    }

    /// Takes in what happened at `now`, which never goes back; gives what to do.
    pub fn on(&mut self, now: Instant, input: Input) -> Vec<Action> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(now),
            Input::CodecChanged(codec) => self.change_codec(now, codec),
            Input::Unfit(words) => self.judge_media(now, words),
            Input::Transport(id, event) => self.on_transport(now, id, event),
            Input::Answered(id, response) => self.on_answer(now, id, &response),
            Input::Unanswered(id, failure) => self.on_failure(now, id, &failure),
            Input::Gone(words) => {
                // Only while it is in doubt: it may have been heard of since.
                if self.doubts(now) {
                    self.lose(now, words, None);
                }
            }
            Input::Timer => {}
        }
        self.settle(now);
        mem::take(&mut self.actions)
    }

    /// Does all that is due, until nothing more is.
    fn settle(&mut self, now: Instant) {
        // Each round ends a stage or a request, or begins an attempt, of which there is one a second.
        for _ in 0..8 {
            if !self.expire(now) && !self.move_on(now) {
                return;
            }
        }
    }

    /// Ends what has waited too long.
    fn expire(&mut self, now: Instant) -> bool {
        let late = Failure { kind: FailureKind::Timeout, detail: String::new() };
        if let Some(deleting) = self.deleting.as_ref().filter(|deleting| deleting.until <= now) {
            let request = deleting.request;
            self.actions.push(Action::Cancel(request));
            self.on_failure(now, request, &late);
            return true;
        }
        match &self.stage {
            Stage::Quiet => false,
            Stage::Offering(offering) if offering.until <= now => {
                if offering.offer.is_some() {
                    self.post(now, false);
                } else {
                    self.lose(now, format!("no offer within {} s", OFFER.as_secs()), None);
                }
                true
            }
            Stage::Posting(posting) if posting.until <= now => {
                let request = posting.request;
                self.actions.push(Action::Cancel(request));
                self.on_failure(now, request, &late);
                true
            }
            Stage::Joined(joined) => {
                if let Some(request) = joined.late_request(now) {
                    self.actions.push(Action::Cancel(request));
                    self.on_failure(now, request, &late);
                    return true;
                }
                if let Some(words) = joined.verdict(now) {
                    self.lose(now, words, None);
                    return true;
                }
                let due = joined.is_question_due(now);
                if due {
                    self.question(now);
                }
                due
            }
            _ => false,
        }
    }

    /// Begins or ends what the way is free for.
    fn move_on(&mut self, now: Instant) -> bool {
        if !self.is_quiet() || self.deleting.is_some() {
            return false;
        }
        if !self.wanted {
            let stopping = self.state.phase == Phase::Stopping;
            if stopping {
                self.leftover = None;
                self.set(Phase::Stopped, String::new(), None);
            }
            return stopping;
        }
        match self.next_attempt {
            Some(due) if due <= now => {
                self.attempt(now);
                true
            }
            Some(due) if self.state.phase == Phase::Stopping => {
                self.set(Phase::BackingOff, String::new(), Some(due));
                true
            }
            _ => false,
        }
    }

    /// First the session that the server may still hold, then a transport.
    fn attempt(&mut self, now: Instant) {
        if let Some(words) = self.unfit.clone() {
            return self.halt(now, Phase::CodecRefused, words);
        }
        if self.learned.broadcast_box && self.codec == Codec::Vp8 {
            let words = "Broadcast Box does not take VP8; choose a profile with H.264, VP9 or AV1".to_owned();
            return self.halt(now, Phase::CodecRefused, words);
        }
        if self.leftover.as_ref().is_some_and(|leftover| leftover.until <= now) {
            self.leftover = None;
        }
        if self.leftover.is_some() {
            return self.delete_leftover(now, true);
        }
        self.next_attempt = None;
        self.last_attempt = Some(now);
        if !self.trouble.is_empty() {
            self.reconnects += 1;
        }
        let transport = TransportId(self.id());
        let ice_servers = self.learned.ice_servers.clone();
        self.actions.push(Action::CreateTransport { id: transport, ice_servers });
        let until = now + OFFER;
        self.stage = Stage::Offering(Offering { transport, offer: None, candidates: Vec::new(), until });
        let before =
            if self.trouble.is_empty() { String::new() } else { format!("; before: {}", self.trouble) };
        self.set(Phase::Connecting, format!("connecting to {}{before}", self.endpoint.origin()), None);
    }

    fn on_transport(&mut self, now: Instant, id: TransportId, event: TransportEvent) {
        if self.transport() != Some(id) {
            return;
        }
        if let TransportEvent::Failed(words) = event {
            let words = format!("the transport failed: {}", self.veil.tame(&words));
            return self.lose(now, words, None);
        }
        let at_once = self.learned.trickles;
        match &mut self.stage {
            Stage::Quiet => {}
            Stage::Offering(offering) => match event {
                TransportEvent::Offer { sdp, complete } => {
                    if offering.offer.replace(sdp).is_none() {
                        offering.until = now + GATHER;
                    }
                    if complete {
                        offering.candidates.clear();
                    }
                    if complete || at_once {
                        self.post(now, complete);
                    }
                }
                TransportEvent::Candidate(candidate) => push_bounded(&mut offering.candidates, candidate),
                TransportEvent::GatheringDone if offering.offer.is_some() => self.post(now, true),
                _ => {}
            },
            Stage::Posting(posting) => match event {
                TransportEvent::Candidate(candidate) => push_bounded(&mut posting.candidates, candidate),
                TransportEvent::GatheringDone | TransportEvent::Offer { complete: true, .. } => {
                    posting.gathered = true;
                }
                TransportEvent::Ice(super::IceState::Failed) => {
                    self.lose(now, "the transport failed before the server answered".to_owned(), None);
                }
                _ => {}
            },
            Stage::Joined(_) => self.on_joined(now, event),
        }
    }

    const fn is_quiet(&self) -> bool {
        matches!(self.stage, Stage::Quiet)
    }

    const fn transport(&self) -> Option<TransportId> {
        match &self.stage {
            Stage::Quiet => None,
            Stage::Offering(offering) => Some(offering.transport),
            Stage::Posting(posting) => posting.transport,
            Stage::Joined(joined) => Some(joined.transport),
        }
    }

    const fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn set(&mut self, phase: Phase, words: String, retry_at: Option<Instant>) {
        let state = State { phase, words, retry_at };
        if state != self.state {
            self.state = state;
            self.actions.push(Action::State(self.state.clone()));
        }
    }

    fn delete_leftover(&mut self, now: Instant, before_attempt: bool) {
        let Some(leftover) = &self.leftover else { return };
        let url = leftover.url.clone();
        let request = self.request(Method::DELETE, url, String::new());
        self.deleting = Some(Deleting { request: request.id, until: request.given_up(now), before_attempt });
        self.actions.push(Action::Send(Box::new(request)));
    }
}

fn push_bounded(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    if candidates.len() < CANDIDATES {
        candidates.push(candidate);
    }
}
