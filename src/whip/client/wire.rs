//! What goes into the machine and what comes out of it.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::endpoint::origin;
use super::state::State;
use crate::media::Codec;
use crate::whip::link::IceServer;
use crate::whip::trickle::Candidate;

/// No answer's body is read beyond this many bytes; a longer one is [`FailureKind::TooBig`].
pub const BODY_LIMIT: usize = 64 * 1024;

/// Until the connection (TCP and TLS) must stand.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// Until the answer to a POST or PATCH must be in, from when the connection stands.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// The same for a DELETE, a GET and OPTIONS: nothing hangs on their answer.
pub(super) const DELETE_CONNECT: Duration = Duration::from_secs(3);
/// The same for these.
pub(super) const DELETE_ANSWER: Duration = Duration::from_secs(3);

/// Names one request; an answer that comes too late is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// Names one transport (an ICE and DTLS association); what an old one still says is known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId(pub(super) u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Publish. While waiting for a retry it changes nothing.
    Start,
    /// Publish no more.
    Stop,
    /// What is to be published has another video codec from now on.
    CodecChanged(Codec),
    /// What is to be published cannot be sent to anybody by WebRTC, in words; none when it can be again.
    Unfit(Option<String>),
    /// A transport says something.
    Transport(TransportId, TransportEvent),
    /// A request was answered.
    Answered(RequestId, Response),
    /// A request was not answered.
    Unanswered(RequestId, Failure),
    /// The server was asked when [`Machine::doubts`](super::Machine::doubts) said so, and has the session no more; in words.
    Gone(String),
    /// Nothing, but the deadline may have passed.
    Timer,
}

/// What a transport says.
#[derive(Clone, Debug)]
pub enum TransportEvent {
    /// The offer. It may come twice, the second time with all candidates.
    Offer {
        /// The whole description.
        sdp: String,
        /// Does it hold all candidates?
        complete: bool,
    },
    /// A local candidate that the offer does not hold.
    Candidate(Candidate),
    /// No candidate will follow.
    GatheringDone,
    /// Its connection changed.
    Ice(IceState),
    /// Any RTCP came from the server.
    Feedback,
    /// Media went out since this was last said; say it at least twice a second while media flows.
    Sent,
    /// It cannot go on; in words.
    Failed(String),
}

/// A transport's connection: ICE and DTLS together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceState {
    /// Media can flow.
    Connected,
    /// Consent is lost for now; it may come back.
    Disconnected,
    /// It will not come back, or the server closed it.
    Failed,
}

/// An answer.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as text, at most [`BODY_LIMIT`] bytes.
    pub body: String,
    /// The wall clock when it came, for a `Retry-After` that is a date.
    pub wall: SystemTime,
    /// Our end of the connection that it came over; it tells connections apart.
    pub connection: Option<SocketAddr>,
}

/// Why there is no answer.
#[derive(Clone)]
pub struct Failure {
    /// The class.
    pub kind: FailureKind,
    /// What the HTTP client says; URLs and secrets in it are removed before people see it.
    pub detail: String,
}

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The host is there, but nobody listens at the port.
    NobodyListens,
    /// No connection otherwise: name not found, unreachable, not within [`Request::connect`].
    Connect,
    /// The server's certificate or TLS failed.
    Tls,
    /// No whole answer within [`Request::answer`].
    Timeout,
    /// The body is longer than [`BODY_LIMIT`].
    TooBig,
    /// The connection was cut, or what came is not HTTP.
    Cut,
}

/// What to do, in this order.
#[derive(Clone)]
pub enum Action {
    /// Make a transport, send-only, and its offer.
    CreateTransport {
        /// What its events are named by.
        id: TransportId,
        /// What the server last announced, for those that must be set before the offer.
        ice_servers: Vec<IceServer>,
    },
    /// Set the server's answer.
    ApplyAnswer {
        /// Of this transport.
        id: TransportId,
        /// The answer.
        sdp: String,
        /// What the server announced with it.
        ice_servers: Vec<IceServer>,
    },
    /// End a transport; nothing waits for it to be gone.
    CloseTransport(TransportId),
    /// Send a request.
    Send(Box<Request>),
    /// Drop a request and report nothing about it.
    Cancel(RequestId),
    /// Show this to people.
    State(State),
}

/// A request to send; redirects must not be followed.
#[derive(Clone)]
pub struct Request {
    /// What its answer is named by.
    pub id: RequestId,
    /// POST, PATCH or DELETE; and GET or OPTIONS, for which each machine needs a connection that nothing else uses, kept
    /// open from one to the next.
    pub method: Method,
    /// Where to; never log more than its origin.
    pub url: Url,
    /// All but those that HTTP itself needs. `Authorization` is marked sensitive.
    pub headers: HeaderMap,
    /// May be empty.
    pub body: String,
    /// Until the connection (TCP and TLS) must stand.
    pub connect: Duration,
    /// Until the whole answer must be in, from then on.
    pub answer: Duration,
}

impl Request {
    /// When the machine gives it up by itself, should its driver say nothing.
    pub(super) fn given_up(&self, now: Instant) -> Instant {
        now + self.connect + self.answer + Duration::from_secs(1)
    }
}

// What is printed holds no key, no session's address, no ICE password.

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}, {} bytes", self.id, self.method, origin(&self.url), self.body.len())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({:?})", self.kind)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::CreateTransport { id, ice_servers } => write!(f, "Create {id:?} {ice_servers:?}"),
            Action::ApplyAnswer { id, ice_servers, .. } => write!(f, "Apply {id:?} {ice_servers:?}"),
            Action::CloseTransport(id) => write!(f, "Close {id:?}"),
            Action::Send(request) => write!(f, "Send {request:?}"),
            Action::Cancel(id) => write!(f, "Cancel {id:?}"),
            Action::State(state) => write!(f, "State {state:?}"),
        }
    }
}
