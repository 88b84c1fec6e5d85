//! Random servers, networks and operators, and what must hold whatever they do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::whip::broadcast_box::publish_bearer;
use crate::whip::trickle::Candidate;

const PAGE: &str = "<html>s3cret-Ключ key</html>";

/// What may happen next.
#[derive(Clone, Debug)]
enum Whim {
    Wait(u64),
    Deadline,
    Start,
    Stop,
    Codec(Codec),
    Transport(TransportEvent),
    Answer(u16, usize),
    Fail(FailureKind),
    Gone,
    /// All goes well, with an offer that is complete or not and a server of this kind.
    Forward(bool, usize),
}

fn any_whim() -> impl Strategy<Value = Whim> {
    let status = prop::sample::select(vec![
        201, 201, 201, 201, 200, 204, 204, 301, 307, 307, 400, 400, 401, 404, 406, 409, 412, 429, 500, 502,
        503,
    ]);
    let kind = prop::sample::select(vec![
        FailureKind::NobodyListens,
        FailureKind::Connect,
        FailureKind::Tls,
        FailureKind::Timeout,
        FailureKind::TooBig,
        FailureKind::Cut,
    ]);
    let candidate = Candidate::new(0, "candidate:1 1 udp 1 10.0.0.1 9 typ host").unwrap();
    let offer = |complete| TransportEvent::Offer { sdp: OFFER.to_owned(), complete };
    let event = prop::sample::select(vec![
        offer(true),
        offer(true),
        offer(false),
        TransportEvent::Candidate(candidate),
        TransportEvent::GatheringDone,
        TransportEvent::Ice(IceState::Connected),
        TransportEvent::Ice(IceState::Connected),
        TransportEvent::Ice(IceState::Disconnected),
        TransportEvent::Ice(IceState::Failed),
        TransportEvent::Feedback,
        TransportEvent::Sent,
        TransportEvent::Sent,
        TransportEvent::Failed(format!("no pad for {KEY}")),
    ]);
    prop_oneof![
        2 => (0u64..4_000).prop_map(Whim::Wait),
        4 => Just(Whim::Deadline),
        2 => Just(Whim::Start),
        1 => Just(Whim::Stop),
        1 => prop::sample::select(Codec::VIDEO.to_vec()).prop_map(Whim::Codec),
        10 => event.prop_map(Whim::Transport),
        8 => (status, 0usize..8).prop_map(|(status, how)| Whim::Answer(status, how)),
        2 => kind.prop_map(Whim::Fail),
        1 => Just(Whim::Gone),
        20 => (any::<bool>(), 0usize..2).prop_map(|(complete, how)| Whim::Forward(complete, how)),
    ]
}

/// The server's and the driver's view of one machine.
struct World {
    machine: Machine,
    now: Instant,
    transport: Option<TransportId>,
    in_flight: Vec<Request>,
    /// Sessions that a 2xx named, and how often each was DELETEd.
    sessions: BTreeMap<String, u32>,
    /// When transports were made, and when POSTs and DELETEs were sent.
    attempts: Vec<Instant>,
    requests: Vec<Instant>,
    patches: usize,
}

impl World {
    fn new(seed: u64, codec: Codec) -> World {
        let endpoint = Endpoint::new(URL, Some(KEY), KeyForm::Auto).unwrap();
        World {
            machine: Machine::new(endpoint, codec, seed),
            now: beginning(),
            transport: None,
            in_flight: Vec::new(),
            sessions: BTreeMap::new(),
            attempts: Vec::new(),
            requests: Vec::new(),
            patches: 0,
        }
    }

    fn act(&mut self, whim: &Whim) {
        match whim {
            Whim::Wait(millis) => {
                self.now += ms(*millis);
                self.tell(Input::Timer);
            }
            Whim::Deadline => {
                self.now = self.machine.deadline(self.now).unwrap_or(self.now);
                self.tell(Input::Timer);
            }
            Whim::Start => self.tell(Input::Start),
            Whim::Stop => self.tell(Input::Stop),
            Whim::Codec(codec) => self.tell(Input::CodecChanged(*codec)),
            Whim::Transport(event) => {
                if let Some(id) = self.transport {
                    self.tell(Input::Transport(id, event.clone()));
                }
            }
            Whim::Answer(status, how) => self.answer(*status, *how),
            Whim::Forward(complete, how) => self.forward(*complete, *how),
            Whim::Gone => self.tell(Input::Gone("it is gone".to_owned())),
            Whim::Fail(kind) => {
                if let Some(request) = self.in_flight.pop() {
                    self.tell(Input::Unanswered(request.id, failure(*kind)));
                }
            }
        }
    }

    fn answer(&mut self, status: u16, how: usize) {
        let Some(request) = self.in_flight.pop() else { return };
        let session = format!("/api/whip/0123456789abcdef{}", self.sessions.len());
        let absolute = format!("https://b.example.org{session}");
        let bearer = publish_bearer(KEY);
        let texts: [String; 8] = [
            ANSWER.to_owned(),
            ANSWER.to_owned(),
            format!("wrong key {KEY}, that is {bearer}"),
            "session already has a host".to_owned(),
            format!("invalid offer at {absolute}?key={bearer}"),
            PAGE.to_owned(),
            format!("unknown codec in {session}"),
            String::new(),
        ];
        let mut headers = vec![("location", session.as_str())];
        match how {
            0 => headers.extend(BOX.iter().copied().filter(|(name, _)| *name == "link")),
            1 => headers.push(("etag", "\"e\"")),
            2 => headers.push(("retry-after", "40")),
            3 => headers.clear(),
            _ => {}
        }
        if request.method == Method::POST && (200..300).contains(&status) && how != 3 {
            self.sessions.insert(absolute, 0);
        }
        // Now over one connection, now over another.
        let connection = Some(std::net::SocketAddr::from(([192, 0, 2, 1], if how < 6 { 1 } else { 2 })));
        let answer = Response { connection, ..response(status, &headers, &texts[how]) };
        self.tell(Input::Answered(request.id, answer));
    }

    fn tell(&mut self, input: Input) {
        for action in self.machine.on(self.now, input) {
            self.look(&action);
        }
        self.check();
    }

    fn look(&mut self, action: &Action) {
        unsaid(&format!("{action:?}"));
        match action {
            Action::CreateTransport { id, .. } => {
                assert_eq!(self.transport.replace(*id), None, "a second transport");
                self.attempts.push(self.now);
            }
            Action::CloseTransport(id) => assert_eq!(self.transport.take(), Some(*id)),
            Action::ApplyAnswer { id, .. } => assert_eq!(self.transport, Some(*id)),
            Action::Cancel(id) => self.in_flight.retain(|request| request.id != *id),
            Action::State(state) => unsaid(&state.words),
            Action::Send(request) => {
                self.send(request);
                self.in_flight.push(Request::clone(request));
            }
        }
    }

    fn send(&mut self, request: &Request) {
        match request.method {
            Method::POST => {
                assert!(self.in_flight.is_empty(), "a POST while {:?} is out", self.in_flight);
                let alive = self.sessions.iter().find(|(_, deletes)| **deletes == 0);
                assert!(alive.is_none(), "a POST while a session is alive");
                assert!(self.transport.is_some());
                self.requests.push(self.now);
                self.patches = 0;
            }
            Method::DELETE => {
                let deletes = self.sessions.get_mut(request.url.as_str());
                *deletes.expect("a session that there was") += 1;
                assert!(self.in_flight.iter().all(|other| other.method != Method::DELETE));
                self.requests.push(self.now);
            }
            Method::OPTIONS => assert_eq!(request.url.as_str(), URL),
            _ => {
                assert_eq!(self.sessions.get(request.url.as_str()), Some(&0), "of what is not alive");
                if request.method == Method::GET {
                    return;
                }
                self.patches += 1;
                assert!(self.patches <= 65);
            }
        }
        assert!(request.connect + request.answer <= ms(15_000));
    }

    fn check(&self) {
        let state = self.machine.state();
        let deadline = self.machine.deadline(self.now);
        assert!(deadline.is_none_or(|deadline| deadline > self.now), "it has passed in {state:?}");
        let waits = matches!(state.phase, Phase::BackingOff | Phase::HostBusy);
        assert_eq!(state.retry_at.is_some(), waits, "{state:?}");
        match state.phase {
            Phase::Idle | Phase::Stopped => {
                assert!(deadline.is_none() && self.transport.is_none() && self.in_flight.is_empty());
                assert!(self.sessions.values().all(|deletes| *deletes > 0), "a session was left behind");
            }
            Phase::Live => assert!(self.transport.is_some()),
            Phase::Connecting => assert!(deadline.is_some() && self.transport.is_some()),
            Phase::BackingOff | Phase::HostBusy => assert!(deadline.is_some(), "it hangs in {state:?}"),
            Phase::Stopping => assert!(deadline.is_some() && !self.in_flight.is_empty()),
            phase => {
                assert!(phase.is_halted() && self.transport.is_none());
                assert_eq!(deadline.is_some(), !self.in_flight.is_empty(), "{state:?}");
            }
        }
        assert!(self.in_flight.len() <= 2, "{:?}", self.in_flight);
        // In any minute: an attempt a second, six POSTs and two DELETEs for each.
        assert!(in_last_minute(&self.attempts, self.now) <= 61);
        assert!(in_last_minute(&self.requests, self.now) <= 61 * 8);
    }

    /// The next thing that happens when all goes well.
    fn forward(&mut self, complete: bool, how: usize) {
        let media =
            [TransportEvent::Sent, TransportEvent::Feedback, TransportEvent::Ice(IceState::Connected)];
        match self.in_flight.last().map(|request| request.method.clone()) {
            Some(Method::POST) => self.answer(201, how),
            Some(_) => self.answer(204, 7),
            None if self.machine.state().phase == Phase::Live => {
                self.act(&Whim::Wait(500));
                media[..2].iter().for_each(|event| self.act(&Whim::Transport(event.clone())));
            }
            None if self.transport.is_some() => {
                self.act(&Whim::Transport(TransportEvent::Offer { sdp: OFFER.to_owned(), complete }));
                self.act(&Whim::Transport(media[2].clone()));
                if self.in_flight.is_empty() && self.machine.state().phase != Phase::Live {
                    self.act(&Whim::Deadline);
                }
            }
            None => self.act(&Whim::Deadline),
        }
    }

    /// A server that does all it should.
    fn cooperate(&mut self) {
        self.act(&Whim::Codec(Codec::Vp9));
        self.act(&Whim::Codec(Codec::H264));
        self.act(&Whim::Start);
        for _ in 0..100 {
            if self.machine.state().phase == Phase::Live {
                return;
            }
            self.forward(true, 1);
        }
        panic!("not live: {:?}", self.machine.state());
    }
}

fn in_last_minute(times: &[Instant], now: Instant) -> usize {
    times.iter().rev().take_while(|time| now.duration_since(**time) < ms(60_000)).count()
}

/// What is shown or logged holds no key in any form, no session's name.
#[track_caller]
fn unsaid(text: &str) {
    let bearer = publish_bearer(KEY);
    for secret in ["s3cret", "Ключ", "0123456789abcdef", bearer.trim_end_matches('=')] {
        assert!(!text.contains(secret), "`{secret}` in {text:?}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_session_at_most_and_a_way_on(
        seed: u64,
        codec in prop::sample::select(Codec::VIDEO.to_vec()),
        whims in prop::collection::vec(any_whim(), 1..250),
    ) {
        let mut world = World::new(seed, codec);
        for whim in &whims {
            world.act(whim);
        }
        world.cooperate();
        world.act(&Whim::Stop);
        while !world.in_flight.is_empty() {
            world.answer(204, 7);
        }
        prop_assert_eq!(world.machine.state().phase, Phase::Stopped);
    }

    /// A server in trouble that is left alone with the machine: no operator hurries it.
    #[test]
    fn a_server_in_trouble_is_not_hammered(
        seed: u64,
        answers in prop::collection::vec(prop::sample::select(vec![400u16, 409, 500, 503, 0]), 60),
    ) {
        let mut world = World::new(seed, Codec::H264);
        world.act(&Whim::Start);
        for status in answers {
            world.act(&Whim::Transport(TransportEvent::Offer { sdp: OFFER.to_owned(), complete: true }));
            match status {
                0 => world.act(&Whim::Fail(FailureKind::Connect)),
                status => world.answer(status, if status == 400 { 3 } else { 7 }),
            }
            while world.transport.is_none() {
                world.act(&Whim::Deadline);
            }
            // A place is asked for every 2 s at most; failures alone make it far less.
            prop_assert!(in_last_minute(&world.requests, world.now) <= 34);
        }
    }
}
