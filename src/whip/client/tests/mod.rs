//! Scenes of a publishing session in virtual time: a rig that plays driver and server, and what is asked of it.

mod answers;
mod endings;
mod sessions;
mod testimony;
mod trickling;
mod whims;

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::*;
use crate::media::Codec;

pub(super) const URL: &str = "https://b.example.org/api/whip";
pub(super) const KEY: &str = "s3cret-Ключ key";
pub(super) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\na=group:BUNDLE v0 a1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v0\r\na=ice-ufrag:uf\r\na=ice-pwd:pw\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:a1\r\n";
pub(super) const ANSWER: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=recvonly\r\n";
/// What Broadcast Box answers with.
pub(super) const BOX: &[(&str, &str)] = &[
    ("location", "/api/whip/0f8fad5b-d9cb-469f-a165-70867728950e"),
    (
        "link",
        r#"</api/sse/0f8fad5b>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="status""#,
    ),
];
/// What a server answers with that takes PATCHes.
pub(super) const FULL: &[(&str, &str)] = &[
    ("location", "https://b.example.org/s/0123456789abcdef"),
    ("etag", "\"e1\""),
    ("accept-patch", "application/trickle-ice-sdpfrag"),
];

#[expect(clippy::disallowed_methods, reason = "virtual time needs some instant to begin at")]
pub(super) fn beginning() -> Instant {
    Instant::now()
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn response(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Response { status, headers: map, body: body.to_owned(), wall, connection: None }
}

pub(super) fn failure(kind: FailureKind) -> Failure {
    Failure { kind, detail: format!("error sending request for url ({URL}/{KEY})") }
}

/// Does it change nothing at the server?
pub(super) fn asks(request: &Request) -> bool {
    matches!(request.method, Method::GET | Method::OPTIONS)
}

/// A machine, its time, and what it asked for that was not looked at yet.
pub(super) struct Rig {
    pub(super) machine: Machine,
    start: Instant,
    pub(super) now: Instant,
    pub(super) asked: VecDeque<Action>,
    pub(super) transport: Option<TransportId>,
}

impl Rig {
    pub(super) fn new(url: &str, codec: Codec) -> Rig {
        Rig::with(Endpoint::new(url, Some(KEY), KeyForm::Base64).unwrap(), codec)
    }

    fn with(endpoint: Endpoint, codec: Codec) -> Rig {
        let start = beginning();
        let machine = Machine::new(endpoint, codec, 7);
        Rig { machine, start, now: start, asked: VecDeque::new(), transport: None }
    }

    /// Started, and the POST of a complete offer taken out.
    pub(super) fn posted() -> (Rig, Request) {
        let mut rig = Rig::new(URL, Codec::H264);
        rig.tell(Input::Start);
        let post = rig.offer();
        (rig, post)
    }

    /// Live at a server that answered with these headers.
    pub(super) fn live(headers: &[(&str, &str)]) -> Rig {
        let (mut rig, post) = Rig::posted();
        rig.answer(&post, 201, headers, ANSWER);
        rig.hear(TransportEvent::Ice(IceState::Connected));
        assert_eq!(rig.phase(), Phase::Live);
        rig.asked.clear();
        rig
    }

    pub(super) fn tell(&mut self, input: Input) {
        let actions = self.machine.on(self.now, input);
        for action in &actions {
            match action {
                Action::CreateTransport { id, .. } => {
                    assert_eq!(self.transport.replace(*id), None, "two transports at once");
                }
                Action::CloseTransport(id) => assert_eq!(self.transport.take(), Some(*id)),
                _ => {}
            }
        }
        self.asked.extend(actions);
        if let Some(deadline) = self.machine.deadline(self.now) {
            assert!(deadline > self.now, "a deadline that has passed: {:?}", self.machine.state());
        }
    }

    pub(super) fn hear(&mut self, event: TransportEvent) {
        let id = self.transport.expect("a transport");
        self.tell(Input::Transport(id, event));
    }

    /// A complete offer; gives the POST that carries it.
    pub(super) fn offer(&mut self) -> Request {
        self.hear(TransportEvent::Offer { sdp: OFFER.to_owned(), complete: true });
        self.sent(&Method::POST)
    }

    pub(super) fn answer(&mut self, request: &Request, status: u16, headers: &[(&str, &str)], body: &str) {
        self.tell(Input::Answered(request.id, response(status, headers, body)));
    }

    pub(super) fn fail(&mut self, request: &Request, kind: FailureKind) {
        self.tell(Input::Unanswered(request.id, failure(kind)));
    }

    /// The next request that was asked for, which must be of this method; questions that change nothing are passed over.
    #[track_caller]
    pub(super) fn sent(&mut self, method: &Method) -> Request {
        while let Some(action) = self.asked.pop_front() {
            if let Action::Send(request) = action {
                if asks(&request) && request.method != *method {
                    continue;
                }
                assert_eq!(request.method, *method);
                return *request;
            }
        }
        panic!("no {method} was sent; {:?}", self.machine.state());
    }

    /// Asserts that no request was asked for since the last one looked at, but questions that change nothing.
    #[track_caller]
    pub(super) fn nothing_sent(&mut self) {
        let sent = self.asked.drain(..).find(|action| matches!(action, Action::Send(sent) if !asks(sent)));
        assert!(sent.is_none(), "{sent:?}");
    }

    /// Lets time pass, waking the machine at its deadlines.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.machine.deadline(self.now).filter(|deadline| *deadline <= until) {
            self.now = deadline;
            self.tell(Input::Timer);
        }
        self.now = until;
    }

    /// Lets time pass until the next attempt makes a transport; gives how long that was.
    pub(super) fn until_attempt(&mut self) -> Duration {
        let from = self.now;
        for _ in 0..20 {
            if self.transport.is_some() {
                return self.now - from;
            }
            let Some(deadline) = self.machine.deadline(self.now) else { break };
            self.now = deadline;
            self.tell(Input::Timer);
        }
        panic!("no attempt; {:?}", self.machine.state());
    }

    /// Media for so long, a report each `interval` if there is one.
    pub(super) fn media(&mut self, time: Duration, interval: Option<Duration>) {
        let until = self.now + time;
        let mut report = interval.map(|interval| self.now + interval);
        while self.now < until && self.transport.is_some() {
            self.hear(TransportEvent::Sent);
            if let (Some(due), Some(interval)) = (report.filter(|due| *due <= self.now), interval) {
                self.hear(TransportEvent::Feedback);
                report = Some(due + interval);
            }
            self.pass(ms(100));
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.machine.state().phase
    }

    pub(super) fn words(&self) -> &str {
        &self.machine.state().words
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

/// Does a type implement [`std::fmt::Debug`]? An inherent constant goes before a trait's.
#[test]
fn secrets_cannot_be_printed() {
    trait Otherwise {
        const PRINTS: bool = false;
    }
    struct Debugs<T>(std::marker::PhantomData<T>);
    struct Displays<T>(std::marker::PhantomData<T>);
    impl<T> Otherwise for Debugs<T> {}
    impl<T> Otherwise for Displays<T> {}
    impl<T: std::fmt::Debug> Debugs<T> {
        const PRINTS: bool = true;
    }
    impl<T: std::fmt::Display> Displays<T> {
        const PRINTS: bool = true;
    }
    const { assert!(Debugs::<String>::PRINTS && Displays::<String>::PRINTS, "the test can tell") };
    const { assert!(!Debugs::<Bearer>::PRINTS && !Displays::<Bearer>::PRINTS) };
    const { assert!(!Debugs::<Endpoint>::PRINTS && !Debugs::<Machine>::PRINTS) };
    const { assert!(!Debugs::<crate::whip::broadcast_box::Stream>::PRINTS) };
}
