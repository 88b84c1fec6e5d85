//! What both protocols have: numbers for requests, what is to be done, segments on their way, waits.

use std::collections::VecDeque;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use url::Url;

use super::conveyor::Conveyor;
use super::{Action, Failure, Fetch, FetchId, Head, Limits, Trouble, address};
use crate::media::Backoff;

/// Redirects of one request that are followed.
pub(super) const REDIRECTS: u8 = 5;

/// Until a playlist must be there.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Until something is looked at again that only a person can mend.
const LASTING: Duration = Duration::from_secs(30);

/// A server that asks for more patience does not get it.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

const NOTES: usize = 16;

/// A segment, as asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) url: Url,
    pub(super) range: Option<(u64, u64)>,
    pub(super) redirects: u8,
    pub(super) tries: u8,
    /// Its number; none for the newest one of a channel.
    pub(super) number: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) source: Url,
    pub(super) limits: Limits,
    pub(super) conveyor: Conveyor<Part>,
    pub(super) actions: VecDeque<Action>,
    pub(super) skipped: u64,
    pub(super) failures: u64,
    /// What went wrong and was not told yet.
    pub(super) notes: VecDeque<Trouble>,
    backoff: Backoff,
    last: u64,
}

impl Core {
    pub(super) fn new(source: Url, limits: Limits, seed: u64) -> Core {
        Core {
            source,
            limits,
            conveyor: Conveyor::new(limits),
            actions: VecDeque::new(),
            skipped: 0,
            failures: 0,
            notes: VecDeque::new(),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(10), seed),
            last: 0,
        }
    }

    pub(super) fn fetch(&mut self, url: &Url, range: Option<(u64, u64)>) -> FetchId {
        self.last += 1;
        let id = FetchId(self.last);
        let token = address::takes_token(&self.source, url);
        self.actions.push_back(Action::Fetch(Fetch { id, url: url.clone(), token, range }));
        id
    }

    pub(super) fn cancel(&mut self, id: FetchId) {
        self.actions.push_back(Action::Cancel(id));
    }

    /// How long to wait after such a trouble.
    pub(super) fn wait_after(&mut self, trouble: &Trouble, asked: Option<Duration>) -> Duration {
        self.failures += 1;
        self.note(trouble);
        let wait = self.backoff.next_wait();
        let wait = if trouble.lasts() { LASTING } else { wait };
        wait.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// To be told; the oldest are forgotten where nobody listens.
    pub(super) fn note(&mut self, trouble: &Trouble) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(trouble.clone());
    }

    /// Something came as it should.
    pub(super) fn went_well(&mut self) {
        self.backoff.reset();
    }

    /// Where a redirect leads, if the answer is one.
    pub(super) fn redirect(&self, from: &Url, head: &Head, so_far: u8) -> Result<Option<Url>, Trouble> {
        if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        if so_far >= REDIRECTS {
            return Err(Trouble::Circles);
        }
        let to = head.headers.get(LOCATION).and_then(|to| to.to_str().ok());
        let to = to.ok_or(Trouble::Status(head.status.as_u16()))?;
        address::follow(&self.source, from, to).map(Some)
    }

    /// A segment's request goes on elsewhere.
    pub(super) fn move_on(&mut self, now: Duration, id: FetchId, to: &Url) {
        let Some(lane) = self.conveyor.lane(id) else { return };
        lane.of.redirects += 1;
        lane.of.url.clone_from(to);
        let range = lane.of.range;
        self.cancel(id);
        let anew = self.fetch(to, range);
        self.conveyor.ask_again(now, id, anew);
    }

    /// A segment whose size is announced is not begun where it is too large.
    pub(super) fn fits(&self, head: &Head) -> Result<(), Trouble> {
        let length: Option<u64> =
            head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        match length {
            Some(length) if length > self.limits.segment => {
                Err(Trouble::TooBig { what: "a segment", limit: self.limits.segment })
            }
            _ => Ok(()),
        }
    }
}

/// How long a server asks to be left alone; dates are not heeded.
pub(super) fn retry_after(head: &Head) -> Option<Duration> {
    head.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

pub(super) fn trouble_of(failure: Failure) -> Trouble {
    match failure {
        Failure::Connect(why) => Trouble::Connect(why),
        Failure::Tls(why) => Trouble::Tls(why),
        Failure::Cut => Trouble::Cut,
    }
}
