//! What HTTP testifies of a server whose media has fallen silent.
//!
//! While all is well the server is asked a question that changes nothing, every few seconds and over a connection of its
//! own, so that its answers have something to be compared with. Once its reports are late, two changes tell sooner than
//! silence alone that the session is gone: it does not know the session any more, or it closed the connection that it
//! kept before, which a process does that ends. Either counts only as long as nothing is heard, and a server that showed
//! such a change and was heard after it is not believed again in that session.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::CONNECTION;

use super::pulse::{Pulse, Silence};
use super::wire::{FailureKind, RequestId, Response};

/// How often a server is asked that is well: sooner than those close an idle connection that are quick to (5 s).
const WELL: Duration = Duration::from_secs(4);
/// When it is asked first.
const FIRST: Duration = Duration::from_secs(1);
/// How often one is asked that is late, at the most.
const LATE: Duration = Duration::from_millis(500);
/// Timers are no more exact than this.
const SLACK: Duration = Duration::from_millis(250);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// GET of the session, which RFC 9725 §4.2 has answered with 2xx.
    Session,
    /// OPTIONS of the endpoint, where the server has no kind answer to the other: that is a client's error each time, and
    /// some count those.
    Endpoint,
}

/// The answers of one session.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    question: Question,
    in_flight: Option<(RequestId, Instant)>,
    asked: Option<Instant>,
    since: Instant,
    /// It has answered about the session with something else than "not found".
    knew: bool,
    /// Our end of the connection that the last answer came over, and when that was asked for.
    connection: Option<(SocketAddr, Instant)>,
    /// The longest that a connection was idle and kept.
    kept: Duration,
    /// It does not know the session any more.
    forgot: bool,
    /// It closed a connection that it would have kept.
    closed: bool,
    /// Nobody listens.
    deserted: bool,
    /// It forgets what is alive.
    forgetful: bool,
    /// It closes connections while media goes on.
    fickle: bool,
}

impl Witness {
    /// Of a session that is live since then; `named` says whether its URL is known.
    pub(super) const fn new(since: Instant, named: bool) -> Self {
        Witness {
            question: if named { Question::Session } else { Question::Endpoint },
            in_flight: None,
            asked: None,
            since,
            knew: false,
            connection: None,
            kept: Duration::ZERO,
            forgot: false,
            closed: false,
            deserted: false,
            forgetful: false,
            fickle: false,
        }
    }

    pub(super) const fn question(&self) -> Question {
        self.question
    }

    pub(super) const fn in_flight(&self) -> Option<(RequestId, Instant)> {
        self.in_flight
    }

    /// When to ask next; none while a question is out.
    pub(super) fn due(&self, pulse: &Pulse, now: Instant) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let Some(asked) = self.asked else { return Some(self.since + FIRST) };
        let late = pulse.silent_at(Silence::Late, now);
        let late = late.map(|late| late.max(asked + LATE.max(pulse.usual() / 4)));
        Some(late.map_or(asked + WELL, |late| late.min(asked + WELL)))
    }

    pub(super) const fn ask(&mut self, now: Instant, request: RequestId, until: Instant) {
        self.in_flight = Some((request, until));
        self.asked = Some(now);
    }

    /// It was answered.
    pub(super) fn answered(&mut self, response: &Response) {
        self.in_flight = None;
        self.deserted = false;
        let Some(asked) = self.asked else { return };
        if self.question == Question::Session {
            self.compare(response.status);
        }
        let ends = response.headers.get_all(CONNECTION).iter();
        let ends =
            ends.filter_map(|value| value.to_str().ok()).any(|value| value.eq_ignore_ascii_case("close"));
        if let Some((earlier, before)) = self.connection.filter(|_| response.connection.is_some()) {
            if response.connection == Some(earlier) {
                self.kept = self.kept.max(asked.saturating_duration_since(before));
            } else {
                self.close(before);
            }
        }
        self.connection = response.connection.filter(|_| !ends).map(|connection| (connection, asked));
    }

    /// It was not answered.
    pub(super) fn unanswered(&mut self, kind: FailureKind) {
        self.in_flight = None;
        match kind {
            // A connection that stands would have been used: it was closed before.
            FailureKind::NobodyListens | FailureKind::Connect | FailureKind::Tls | FailureKind::Cut => {
                self.deserted = kind == FailureKind::NobodyListens;
                if let Some((_, before)) = self.connection.take() {
                    self.close(before);
                }
            }
            // It was we who closed it.
            FailureKind::Timeout | FailureKind::TooBig => self.connection = None,
        }
    }

    /// The server was heard: the session is alive, whatever was answered.
    pub(super) const fn heard(&mut self) {
        self.forgetful |= self.forgot;
        self.fickle |= self.closed;
        self.forgot = false;
        self.closed = false;
        self.deserted = false;
    }

    /// Why the session is gone, if what was answered proves it together with this silence.
    pub(super) fn verdict(&self, pulse: &Pulse, now: Instant) -> Option<&'static str> {
        let proof =
            self.proof().filter(|(silence, _)| pulse.silent_at(*silence, now).is_some_and(|at| at <= now));
        proof.map(|(_, words)| words)
    }

    /// When [`Self::verdict`] will say so if nothing is heard.
    pub(super) fn verdict_due(&self, pulse: &Pulse, now: Instant) -> Option<Instant> {
        self.proof().and_then(|(silence, _)| pulse.silent_at(silence, now))
    }

    /// The strongest proof that there is, and the silence that it takes.
    const fn proof(&self) -> Option<(Silence, &'static str)> {
        if self.forgot {
            Some((Silence::Late, "the server fell silent and does not know the session any more"))
        } else if self.closed {
            Some((Silence::Long, "the server fell silent and has closed its connection"))
        } else if self.deserted {
            Some((Silence::Doubtful, "the server fell silent and nobody listens there any more"))
        } else {
            None
        }
    }

    fn compare(&mut self, status: StatusCode) {
        let unknown = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        if self.knew {
            self.forgot = unknown && !self.forgetful;
        } else if status.is_client_error() && status != StatusCode::METHOD_NOT_ALLOWED {
            self.question = Question::Endpoint;
        } else if !status.is_server_error() {
            self.knew = true;
        }
    }

    /// The connection last asked over at that time is closed.
    fn close(&mut self, before: Instant) {
        let idle = self.asked.map_or(Duration::MAX, |asked| asked.saturating_duration_since(before));
        self.closed |= !self.fickle && idle <= self.kept + SLACK && !self.kept.is_zero();
    }
}
