//! A relay, a clock, and a server that answers each request by a schedule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::Url;

use crate::relay::{Action, Failure, Fetch, FetchId, Head, Input, Limits, Relay};

/// One thing of an answer.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Head(u16, Vec<(&'static str, String)>),
    Bytes(Vec<u8>),
    End,
    Cut,
}

/// What happens to a request, each so long after it.
pub(super) type Answer = Vec<(Duration, Part)>;

/// Answers everything at once.
pub(super) fn now(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    let body = body.into();
    let zero = Duration::ZERO;
    vec![(zero, Part::Head(status, Vec::new())), (zero, Part::Bytes(body)), (zero, Part::End)]
}

pub(super) fn moved(to: &str) -> Answer {
    vec![(Duration::ZERO, Part::Head(302, vec![("location", to.to_owned())]))]
}

/// A segment's packets, each of which says whose it is.
pub(super) fn packets(segment: u64, count: usize) -> Vec<u8> {
    let mut one = [0u8; 188];
    one[0] = 0x47;
    one[4..12].copy_from_slice(&segment.to_be_bytes());
    one.repeat(count)
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) struct World {
    pub(super) relay: Relay,
    pub(super) now: Duration,
    limits: Limits,
    due: BTreeMap<(Duration, u64), (FetchId, Part)>,
    held: VecDeque<(FetchId, Part)>,
    order: u64,
    live: BTreeSet<FetchId>,
    /// What was asked for, and when.
    pub(super) asked: Vec<(Duration, Fetch)>,
    /// Whose packets came out, with the marks before them, without repetitions.
    pub(super) out: Vec<(bool, u64)>,
    /// When each segment's first packet came out.
    pub(super) times: BTreeMap<u64, Duration>,
    pub(super) bytes: usize,
    /// What it said of what went wrong.
    pub(super) told: String,
    /// Does anyone take what comes?
    pub(super) drains: bool,
}

impl World {
    pub(super) fn new(source: &str) -> World {
        World::with(source, Limits::default())
    }

    pub(super) fn with(source: &str, limits: Limits) -> World {
        World {
            relay: Relay::new(Duration::ZERO, Url::parse(source).unwrap(), limits, 1),
            now: Duration::ZERO,
            limits,
            due: BTreeMap::new(),
            held: VecDeque::new(),
            order: 0,
            live: BTreeSet::new(),
            asked: Vec::new(),
            out: Vec::new(),
            times: BTreeMap::new(),
            bytes: 0,
            told: String::new(),
            drains: true,
        }
    }

    /// Plays until then.
    pub(super) fn run(&mut self, until: Duration, server: &mut dyn FnMut(Duration, &Fetch) -> Answer) {
        loop {
            self.act(server);
            while self.release() {
                self.act(server);
            }
            let wake = self.relay.deadline().filter(|due| *due <= until);
            let next = self.due.keys().next().map(|(at, _)| *at).filter(|at| *at <= until);
            match (wake, next) {
                (None, None) => break,
                (Some(wake), next) if next.is_none_or(|next| wake <= next) => {
                    assert!(wake >= self.now || self.relay.deadline() != Some(wake), "time does not go back");
                    self.now = self.now.max(wake);
                    let before = (self.asked.len(), self.relay.deadline());
                    self.relay.wake(self.now);
                    self.act(server);
                    assert_ne!((self.asked.len(), self.relay.deadline()), before, "it wakes for nothing");
                }
                (_, Some(at)) => {
                    self.now = self.now.max(at);
                    let (_, (id, part)) = self.due.pop_first().unwrap();
                    self.held.push_back((id, part));
                }
                _ => unreachable!(),
            }
        }
        self.now = until;
    }

    /// Hands over what has arrived, as far as it may be read; the parts of one answer in order. Was there any?
    fn release(&mut self) -> bool {
        let before = self.held.len();
        let mut blocked = BTreeSet::new();
        for (id, part) in std::mem::take(&mut self.held) {
            if !self.live.contains(&id) {
                continue;
            }
            let waits = blocked.contains(&id) || matches!(part, Part::Bytes(_)) && !self.relay.may_read(id);
            if waits {
                blocked.insert(id);
                self.held.push_back((id, part));
                continue;
            }
            let input = match part {
                Part::Head(status, headers) => {
                    let headers: HeaderMap = headers
                        .iter()
                        .map(|(name, value)| {
                            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
                        })
                        .collect();
                    Input::Head(id, Head { status: StatusCode::from_u16(status).unwrap(), headers })
                }
                Part::Bytes(bytes) => Input::Bytes(id, Bytes::from(bytes)),
                Part::End => {
                    self.live.remove(&id);
                    Input::End(id)
                }
                Part::Cut => {
                    self.live.remove(&id);
                    Input::Failed(id, Failure::Cut)
                }
            };
            self.relay.take(self.now, input);
            self.check();
            self.drain();
        }
        self.held.len() < before
    }

    fn drain(&mut self) {
        while self.drains
            && let Some(media) = self.relay.media(self.now)
        {
            assert!(!media.bytes.is_empty() && media.bytes.len() % 188 == 0, "{}", media.bytes.len());
            self.bytes += media.bytes.len();
            let mut mark = media.discontinuity;
            for packet in media.bytes.chunks(188) {
                assert_eq!(packet[0], 0x47);
                let segment = u64::from_be_bytes(packet[4..12].try_into().unwrap());
                if mark || self.out.last().is_none_or(|(_, last)| *last != segment) {
                    self.out.push((mark, segment));
                }
                mark = false;
                self.times.entry(segment).or_insert(self.now);
            }
        }
        assert!(!self.drains || !self.relay.has_media());
    }

    pub(super) fn take_one(&mut self) -> Option<usize> {
        self.relay.media(self.now).map(|media| media.bytes.len())
    }

    fn act(&mut self, server: &mut dyn FnMut(Duration, &Fetch) -> Answer) {
        self.drain();
        while let Some(trouble) = self.relay.note() {
            self.told += &format!("{trouble}\n");
        }
        while let Some(action) = self.relay.action() {
            match action {
                Action::Fetch(fetch) => {
                    assert!(self.live.insert(fetch.id), "{:?} twice", fetch.id);
                    for (after, part) in server(self.now, &fetch) {
                        self.order += 1;
                        self.due.insert((self.now + after, self.order), (fetch.id, part));
                    }
                    self.asked.push((self.now, fetch));
                }
                Action::Cancel(id) => {
                    self.live.remove(&id);
                    self.due.retain(|_, (of, _)| *of != id);
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let numbers = self.relay.numbers(self.now);
        assert!(numbers.queued_segments <= self.limits.segments, "{numbers:?}");
        assert!(numbers.queued_bytes <= self.limits.waiting + (1 << 20), "{numbers:?}");
        // Segments, and a list.
        assert!(self.live.len() <= self.limits.segments + 1, "{:?}", self.live);
    }

    pub(super) fn numbers_out(&self) -> Vec<u64> {
        self.out.iter().map(|(_, segment)| *segment).collect()
    }

    pub(super) fn breaks(&self) -> Vec<u64> {
        self.out.iter().filter(|(mark, _)| *mark).map(|(_, segment)| *segment).collect()
    }

    pub(super) fn asked_for(&self, end: &str) -> Vec<Duration> {
        self.asked.iter().filter(|(_, fetch)| fetch.url.path().ends_with(end)).map(|(at, _)| *at).collect()
    }

    pub(super) fn trouble(&self) -> String {
        self.relay.trouble(self.now).map(|trouble| trouble.to_string()).unwrap_or_default()
    }
}
