//! A session once the server answered: joining, live, trickling, lost.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use url::Url;

use super::{CANDIDATES, HELD, Leftover, Machine, Stage};
use crate::whip::client::pace::SETTLED;
use crate::whip::client::pulse::{Pulse, Silence};
use crate::whip::client::state::Phase;
use crate::whip::client::wire::{Action, IceState, RequestId, TransportEvent, TransportId};
use crate::whip::client::witness::{Question, Witness};
use crate::whip::trickle::{Candidate, Head};

/// From the server's answer to the media connection.
const JOIN: Duration = Duration::from_secs(15);
/// How long ICE may be disconnected.
const DISCONNECTED: Duration = Duration::from_secs(5);

/// A session of ours exists at the server.
pub(super) struct Joined {
    pub(super) transport: TransportId,
    /// Unknown when the server named none.
    pub(super) url: Option<Url>,
    pub(super) trickle: Option<Trickle>,
    joined: Instant,
    live_since: Option<Instant>,
    broken_since: Option<Instant>,
    pulse: Pulse,
    /// There from when it is live.
    witness: Option<Witness>,
}

/// Candidates that go out by PATCH.
pub(super) struct Trickle {
    pub(super) head: Head,
    /// As in the 201, quotes included.
    pub(super) etag: Option<String>,
    pub(super) pending: Vec<Candidate>,
    pub(super) gathered: bool,
    pub(super) finished: bool,
    pub(super) sent: usize,
    pub(super) in_flight: Option<(RequestId, Instant)>,
}

impl Joined {
    pub(super) fn new(
        transport: TransportId,
        url: Option<Url>,
        trickle: Option<Trickle>,
        now: Instant,
    ) -> Self {
        Joined {
            transport,
            url,
            trickle,
            joined: now,
            live_since: None,
            broken_since: None,
            pulse: Pulse::new(),
            witness: None,
        }
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let join = self.live_since.is_none().then(|| self.joined + JOIN);
        let broken = self.broken_since.map(|since| since + DISCONNECTED);
        let silent = self.live_since.and_then(|_| self.pulse.due(now));
        let gone = self.witness.as_ref().and_then(|witness| witness.verdict_due(&self.pulse, now));
        let question = self.witness.as_ref().and_then(|witness| witness.due(&self.pulse, now));
        let request = self.in_flight().map(|(_, until)| until).min();
        [join, broken, silent, gone, question, request].into_iter().flatten().min()
    }

    /// The requests that are out: a PATCH, a question.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (RequestId, Instant)> {
        let patch = self.trickle.as_ref().and_then(|trickle| trickle.in_flight);
        let question = self.witness.as_ref().and_then(Witness::in_flight);
        patch.into_iter().chain(question)
    }

    /// One that is overdue.
    pub(super) fn late_request(&self, now: Instant) -> Option<RequestId> {
        self.in_flight().find(|(_, until)| *until <= now).map(|(request, _)| request)
    }

    /// Whether the server is to be asked something now.
    pub(super) fn is_question_due(&self, now: Instant) -> bool {
        let due = self.witness.as_ref().and_then(|witness| witness.due(&self.pulse, now));
        due.is_some_and(|due| due <= now)
    }

    /// Whether the server is silent for longer than is usual.
    pub(super) fn is_doubtful(&self, now: Instant) -> bool {
        self.witness.is_some() && self.pulse.silent_at(Silence::Doubtful, now).is_some_and(|at| at <= now)
    }

    /// Why the session is lost, if it is.
    pub(super) fn verdict(&self, now: Instant) -> Option<String> {
        if self.live_since.is_none() {
            return (self.joined + JOIN <= now).then(|| {
                format!(
                    "the server answered, but no media connection came about within {} s; is UDP let through?",
                    JOIN.as_secs()
                )
            });
        }
        if self.broken_since.is_some_and(|since| since + DISCONNECTED <= now) {
            return Some(format!("the media connection was lost for {} s", DISCONNECTED.as_secs()));
        }
        if let Some(words) = self.witness.as_ref().and_then(|witness| witness.verdict(&self.pulse, now)) {
            return Some(words.to_owned());
        }
        let silent = self.pulse.due(now).is_some_and(|due| due <= now);
        silent.then(|| format!("no report from the server for {} s", self.pulse.patience().as_secs()))
    }
}

impl Machine {
    pub(super) fn on_joined(&mut self, now: Instant, event: TransportEvent) {
        let Stage::Joined(joined) = &mut self.stage else { return };
        match event {
            TransportEvent::Ice(IceState::Connected) => {
                joined.broken_since = None;
                if joined.live_since.is_none() {
                    joined.live_since = Some(now);
                    joined.witness = Some(Witness::new(now, joined.url.is_some()));
                    self.trouble.clear();
                    self.set(Phase::Live, format!("live at {}", self.endpoint.origin()), None);
                }
            }
            TransportEvent::Ice(IceState::Disconnected) => {
                if joined.live_since.is_some() {
                    joined.broken_since.get_or_insert(now);
                }
            }
            TransportEvent::Ice(IceState::Failed) => {
                let words = if joined.live_since.is_some() {
                    "the media connection was lost"
                } else {
                    "the server answered, but no media connection came about; is UDP let through?"
                };
                self.lose(now, words.to_owned(), None);
            }
            TransportEvent::Feedback => {
                joined.pulse.feedback(now);
                if let Some(witness) = &mut joined.witness {
                    witness.heard();
                }
            }
            TransportEvent::Sent => joined.pulse.sent(now),
            TransportEvent::Candidate(candidate) => {
                if let Some(trickle) = joined.trickle.as_mut().filter(|trickle| trickle.sent < CANDIDATES) {
                    trickle.sent += 1;
                    trickle.pending.push(candidate);
                }
                self.patch(now);
            }
            TransportEvent::GatheringDone | TransportEvent::Offer { complete: true, .. } => {
                if let Some(trickle) = &mut joined.trickle {
                    trickle.gathered = true;
                }
                self.patch(now);
            }
            TransportEvent::Offer { .. } | TransportEvent::Failed(_) => {}
        }
    }

    /// Sends what was gathered since, one PATCH at a time, so that what comes meanwhile goes out together.
    pub(super) fn patch(&mut self, now: Instant) {
        let Stage::Joined(joined) = &mut self.stage else { return };
        let (Some(trickle), Some(url)) = (&mut joined.trickle, &joined.url) else { return };
        let end = trickle.gathered && !trickle.finished;
        if trickle.in_flight.is_some() || (trickle.pending.is_empty() && !end) {
            return;
        }
        trickle.finished |= end;
        let fragment = trickle.head.fragment(&std::mem::take(&mut trickle.pending), end);
        let (url, etag) = (url.clone(), trickle.etag.clone());
        let mut request = self.request(Method::PATCH, url, fragment);
        if let Some(etag) = etag.and_then(|etag| etag.parse().ok()) {
            request.headers.insert(http::header::IF_MATCH, etag);
        }
        if let Stage::Joined(joined) = &mut self.stage
            && let Some(trickle) = &mut joined.trickle
        {
            trickle.in_flight = Some((request.id, request.given_up(now)));
        }
        self.actions.push(Action::Send(Box::new(request)));
    }

    /// A PATCH was answered, or not: the session goes on either way (RFC 9725 §4.3), but does not trickle after a
    /// failure, nor does the next one.
    pub(super) fn patched(&mut self, now: Instant, status: Option<StatusCode>) {
        let Stage::Joined(joined) = &mut self.stage else { return };
        if status.is_some_and(|status| status.is_success()) {
            if let Some(trickle) = &mut joined.trickle {
                trickle.in_flight = None;
            }
            self.patch(now);
        } else {
            joined.trickle = None;
            self.learned.trickles = false;
        }
    }

    /// Is this the PATCH that is out?
    pub(super) fn is_patch(&self, id: RequestId) -> bool {
        let Stage::Joined(joined) = &self.stage else { return false };
        joined.trickle.as_ref().and_then(|trickle| trickle.in_flight).is_some_and(|(own, _)| own == id)
    }

    /// Asks the server what it is compared by while media goes on, and what it then says when it has fallen silent.
    pub(super) fn question(&mut self, now: Instant) {
        let Stage::Joined(joined) = &self.stage else { return };
        let Some(witness) = &joined.witness else { return };
        let (method, url) = match (witness.question(), &joined.url) {
            (Question::Session, Some(session)) => (Method::GET, session.clone()),
            _ => (Method::OPTIONS, self.endpoint.url().clone()),
        };
        let request = self.request(method, url, String::new());
        if let Stage::Joined(joined) = &mut self.stage
            && let Some(witness) = &mut joined.witness
        {
            witness.ask(now, request.id, request.given_up(now));
        }
        self.actions.push(Action::Send(Box::new(request)));
    }

    /// Who asked this, if it is the question that is out.
    pub(super) fn witness_of(&mut self, id: RequestId) -> Option<&mut Witness> {
        let Stage::Joined(joined) = &mut self.stage else { return None };
        joined.witness.as_mut().filter(|witness| witness.in_flight().is_some_and(|(own, _)| own == id))
    }

    /// Ends what there is and tries again later: after the back-off, or when the server said.
    pub(super) fn lose(&mut self, now: Instant, words: String, after: Option<Duration>) {
        if let Stage::Joined(joined) = &self.stage
            && joined.live_since.is_some_and(|since| now.saturating_duration_since(since) >= SETTLED)
        {
            self.pace.reset();
        }
        self.close(now);
        self.pace.not_busy();
        let wait = match after {
            Some(after) => self.pace.asked(after),
            None => self.pace.back_off(),
        };
        self.retry(now + wait, Phase::BackingOff, words);
    }

    /// Ends what there is; tries no more until somebody acts.
    pub(super) fn halt(&mut self, now: Instant, phase: Phase, words: String) {
        self.close(now);
        self.next_attempt = None;
        self.trouble.clear();
        self.set(phase, words, None);
    }

    pub(super) fn retry(&mut self, due: Instant, phase: Phase, words: String) {
        let due = self.spaced(due);
        self.next_attempt = Some(due);
        self.trouble.clone_from(&words);
        self.set(phase, words, Some(due));
    }

    /// Ends transport and session; the DELETE goes out first, so that the server hears of it by name. A POST that is out
    /// stays out: its answer may bring a session that must be ended.
    pub(super) fn close(&mut self, now: Instant) {
        match std::mem::replace(&mut self.stage, Stage::Quiet) {
            Stage::Quiet => {}
            Stage::Offering(offering) => self.actions.push(Action::CloseTransport(offering.transport)),
            Stage::Posting(mut posting) => {
                self.actions.extend(posting.transport.take().map(Action::CloseTransport));
                self.stage = Stage::Posting(posting);
            }
            Stage::Joined(joined) => {
                self.actions.extend(joined.in_flight().map(|(request, _)| Action::Cancel(request)));
                self.leave(now, joined.url.clone());
                self.actions.push(Action::CloseTransport(joined.transport));
            }
        }
    }

    /// DELETEs a session, if its name is known.
    pub(super) fn leave(&mut self, now: Instant, url: Option<Url>) {
        let Some(url) = url else { return };
        self.leftover = Some(Leftover { url, until: now + HELD });
        self.delete_leftover(now, false);
    }
}
