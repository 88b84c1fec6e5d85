//! Playlists and their segments, RFC 8216.

use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use url::Url;

use super::conveyor::Patience;
use super::core::{ANSWER, Core, Part, retry_after};
use super::playlist::{self, Entry, List, Playlist};
use super::{FetchId, Head, Trouble, address};

/// A list that went back this often in a row is a new one, not an old copy from a cache.
const STALE_COPIES: u32 = 3;

/// One that went back this far is a new one at once.
const FAR_BACK: u64 = 10;

/// After so many failures in a row the configured address is asked again, instead of the variant's.
const FAILURES: u32 = 3;

/// What waits beyond this, in target durations, is passed over to be live again.
const BEHIND: u32 = 8;

/// A playlist that is being loaded.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) id: FetchId,
    pub(super) url: Url,
    pub(super) redirects: u8,
    pub(super) text: Vec<u8>,
    pub(super) began: Duration,
}

impl Load {
    pub(super) fn due(&self) -> Duration {
        self.began + ANSWER
    }
}

/// A segment of the list that was not asked for yet.
#[derive(Debug)]
struct Ahead {
    number: u64,
    url: Url,
    entry: Entry,
}

#[derive(Debug)]
pub(super) struct Hls {
    /// The list's address; the configured one, or a variant's.
    address: Url,
    /// How many masters led there.
    masters: u8,
    load: Option<Load>,
    reload: Option<Duration>,
    target: Duration,
    /// Number of the segment after the last one that was taken from the list.
    next: Option<u64>,
    ahead: VecDeque<Ahead>,
    /// Number after the list's last one, and when that changed.
    end: u64,
    changed: Duration,
    ended: bool,
    /// The next segment of the list does not continue what was taken of it before.
    breaks: bool,
    gone_back: u32,
    failed: u32,
    list_trouble: Option<Trouble>,
    segment_trouble: Option<Trouble>,
    /// The picture comes, but its sound does not.
    pub(super) sound_apart: bool,
}

impl Hls {
    /// Begins with a list that is being loaded already, or soon.
    pub(super) fn new(now: Duration, source: Url, load: Option<Load>) -> Hls {
        let reload = if load.is_none() { Some(now) } else { None };
        Hls {
            address: source,
            masters: 0,
            load,
            reload,
            target: Duration::from_secs(6),
            next: None,
            ahead: VecDeque::new(),
            end: 0,
            changed: now,
            ended: false,
            breaks: false,
            gone_back: 0,
            failed: 0,
            list_trouble: None,
            segment_trouble: None,
            sound_apart: false,
        }
    }

    pub(super) fn trouble(&self, now: Duration, core: &Core) -> Option<Trouble> {
        let unchanged = now.saturating_sub(self.changed);
        let dry = self.ahead.is_empty() && core.conveyor.is_empty();
        match (&self.segment_trouble, &self.list_trouble) {
            (Some(trouble), _) | (None, Some(trouble)) => Some(trouble.clone()),
            _ if self.ended && dry => Some(Trouble::PlaylistEnded),
            _ if dry && unchanged >= self.target * 3 => Some(Trouble::Unchanged(unchanged)),
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.load.as_ref().map(Load::due).into_iter().chain(self.reload).min()
    }

    pub(super) fn is_loading(&self, id: FetchId) -> bool {
        self.load.as_ref().is_some_and(|load| load.id == id)
    }

    pub(super) fn head(&mut self, core: &mut Core, now: Duration, id: FetchId, head: &Head) {
        if let Some(load) = self.load.as_mut().filter(|load| load.id == id) {
            match core.redirect(&load.url, head, load.redirects) {
                Err(trouble) => self.list_failed(core, now, trouble, None),
                Ok(Some(to)) => {
                    core.cancel(id);
                    (load.id, load.redirects) = (core.fetch(&to, None), load.redirects + 1);
                    load.url = to;
                }
                Ok(None) if head.status != StatusCode::OK => {
                    let trouble = Trouble::Status(head.status.as_u16());
                    self.list_failed(core, now, trouble, retry_after(head));
                }
                Ok(None) => {}
            }
            return;
        }
        let Some(lane) = core.conveyor.lane(id) else { return };
        let (from, so_far, range) = (lane.of.url.clone(), lane.of.redirects, lane.of.range);
        let verdict = match core.redirect(&from, head, so_far) {
            Ok(Some(to)) => return core.move_on(now, id, &to),
            Ok(None) => match (head.status.as_u16(), range) {
                (206, Some(_)) | (200, None) => core.fits(head),
                (200, Some(_)) => Err(Trouble::NoRanges),
                (status, _) => Err(Trouble::Status(status)),
            },
            Err(trouble) => Err(trouble),
        };
        match verdict {
            Ok(()) => core.conveyor.open(now, id),
            Err(trouble) => self.segment_failed(core, now, id, trouble),
        }
    }

    pub(super) fn text(&mut self, core: &mut Core, now: Duration, bytes: &[u8]) {
        let Some(load) = &mut self.load else { return };
        let limit = core.limits.playlist;
        if load.text.len() + bytes.len() > limit {
            let trouble = Trouble::TooBig { what: "a playlist", limit: limit as u64 };
            return self.list_failed(core, now, trouble, None);
        }
        load.text.extend_from_slice(bytes);
    }

    /// A playlist is complete.
    pub(super) fn loaded(&mut self, core: &mut Core, now: Duration) {
        let Some(load) = self.load.take() else { return };
        match playlist::read(&load.text) {
            Ok(Playlist::Media(list)) => {
                self.list_trouble = None;
                self.failed = 0;
                core.went_well();
                self.take(core, now, &load, &list);
            }
            Ok(Playlist::Master { .. }) if self.masters > 0 => {
                self.list_failed(core, now, Trouble::Playlist("a list of variants names another one"), None);
            }
            Ok(Playlist::Master { uri, sound_apart }) => {
                match address::follow(&core.source, &load.url, &uri) {
                    Ok(url) => {
                        self.sound_apart = sound_apart;
                        self.address = url;
                        self.masters += 1;
                        self.begin_load(core, now);
                    }
                    Err(trouble) => self.list_failed(core, now, trouble, None),
                }
            }
            Err(trouble) => self.list_failed(core, now, trouble, None),
        }
    }

    pub(super) fn list_failed(
        &mut self,
        core: &mut Core,
        now: Duration,
        trouble: Trouble,
        asked: Option<Duration>,
    ) {
        if let Some(load) = self.load.take() {
            core.cancel(load.id);
        }
        self.failed += 1;
        if self.failed >= FAILURES || matches!(trouble, Trouble::Status(_) | Trouble::Playlist(_)) {
            (self.address, self.masters) = (core.source.clone(), 0);
        }
        self.reload = Some(now + core.wait_after(&trouble, asked));
        self.list_trouble = Some(trouble);
    }

    pub(super) fn segment_ended(&mut self, core: &mut Core, now: Duration, id: FetchId) {
        match core.conveyor.end(now, id) {
            Ok(()) => self.segment_trouble = None,
            Err(trouble) => self.segment_failed(core, now, id, trouble),
        }
    }

    /// One more try for what may have been an accident and of which nothing came; else the next one.
    pub(super) fn segment_failed(&mut self, core: &mut Core, now: Duration, id: FetchId, trouble: Trouble) {
        core.failures += 1;
        core.note(&trouble);
        core.cancel(id);
        let Some(lane) = core.conveyor.lane(id) else { return };
        let accident = match &trouble {
            Trouble::Connect(_) | Trouble::Cut | Trouble::Silent(_) => true,
            Trouble::Status(status) => *status >= 500,
            _ => false,
        };
        if accident && !lane.is_begun() && lane.of.tries == 0 {
            lane.of.tries += 1;
            let (url, range) = (lane.of.url.clone(), lane.of.range);
            let anew = core.fetch(&url, range);
            core.conveyor.ask_again(now, id, anew);
        } else if core.conveyor.abandon(id) == Some(false) {
            core.skipped += 1;
        }
        self.segment_trouble = Some(trouble);
    }

    pub(super) fn wake(&mut self, core: &mut Core, now: Duration) {
        if self.load.as_ref().is_some_and(|load| load.due() <= now) {
            self.list_failed(core, now, Trouble::Silent(ANSWER), None);
        }
        if self.reload.is_some_and(|due| due <= now) {
            self.begin_load(core, now);
        }
    }

    /// Asks for segments as long as there is room.
    pub(super) fn fill(&mut self, core: &mut Core, now: Duration) {
        while core.conveyor.has_room()
            && let Some(ahead) = self.ahead.pop_front()
        {
            if ahead.entry.discontinuity {
                core.conveyor.mark_break();
            }
            if ahead.entry.gap {
                core.conveyor.mark_break();
                core.skipped += 1;
                continue;
            }
            let id = core.fetch(&ahead.url, ahead.entry.range);
            let part = Part {
                url: ahead.url,
                range: ahead.entry.range,
                redirects: 0,
                tries: 0,
                number: Some(ahead.number),
            };
            core.conveyor.ask(now, id, part, self.patience());
        }
        let dry = self.ahead.is_empty() && core.conveyor.is_empty();
        if self.ended && dry && self.load.is_none() && self.reload.is_none() {
            // Perhaps it is taken up again one day.
            self.reload = Some(now + self.target.max(ANSWER));
        }
    }

    /// All from the target duration: an answer within one, a segment in the time of a few.
    fn patience(&self) -> Patience {
        let within = |times: u32, least, most| {
            (self.target * times / 2).clamp(Duration::from_secs(least), Duration::from_secs(most))
        };
        Patience {
            head: within(2, 5, 15),
            stall: within(3, 4, 15),
            whole: self.target * 5 + Duration::from_secs(20),
        }
    }

    fn begin_load(&mut self, core: &mut Core, now: Duration) {
        self.reload = None;
        let id = core.fetch(&self.address, None);
        let url = self.address.clone();
        self.load = Some(Load { id, url, redirects: 0, text: Vec::new(), began: now });
    }

    /// What is new in a list that came.
    fn take(&mut self, core: &mut Core, now: Duration, load: &Load, list: &List) {
        self.target = list.target;
        let changed = self.next.is_none() || list.next() != self.end || list.ended != self.ended;
        self.follow(core, list);
        let from = self.next.unwrap_or(list.first);
        for (number, entry) in (list.first..).zip(&list.segments).filter(|(number, _)| *number >= from) {
            match address::follow(&core.source, &load.url, &entry.uri) {
                Ok(url) => {
                    let mut entry = entry.clone();
                    entry.discontinuity |= std::mem::take(&mut self.breaks);
                    self.ahead.push_back(Ahead { number, url, entry });
                }
                Err(trouble) => {
                    core.skipped += 1;
                    self.breaks = true;
                    self.segment_trouble = Some(trouble);
                }
            }
        }
        self.next = Some(from.max(list.next()));
        (self.end, self.ended) = (list.next(), list.ended);
        if changed {
            self.changed = now;
        }
        // RFC 8216, 6.3.4: not sooner than a target duration after the last load began, or half of it if nothing changed.
        let wait = if changed { list.target } else { list.target / 2 };
        self.reload = (!list.ended).then(|| (load.began + wait).max(now));
        self.keep_up(core, list);
    }

    /// Finds the place in a list: the next number, or another one where the list has gone on without us or begun anew.
    fn follow(&mut self, core: &mut Core, list: &List) {
        let start = if list.ended { list.first } else { list.live_edge() };
        let Some(next) = self.next else {
            self.next = Some(start);
            return;
        };
        if list.first > next {
            core.skipped += start - next;
            self.breaks = true;
            self.next = Some(start);
        } else if list.next() < next {
            self.gone_back += 1;
            if self.ended || self.gone_back >= STALE_COPIES || list.next() + FAR_BACK < next {
                self.gone_back = 0;
                self.ahead.clear();
                self.breaks = true;
                self.next = Some(start);
            }
            return;
        }
        self.gone_back = 0;
    }

    /// Passes over what makes us late.
    fn keep_up(&mut self, core: &mut Core, list: &List) {
        let waiting: Duration = self.ahead.iter().map(|ahead| ahead.entry.duration).sum();
        if list.ended || waiting <= self.target * BEHIND {
            return;
        }
        let edge = list.live_edge();
        while self.ahead.front().is_some_and(|ahead| ahead.number < edge) {
            self.ahead.pop_front();
            core.skipped += 1;
        }
        if let Some(first) = self.ahead.front_mut() {
            first.entry.discontinuity = true;
        }
    }
}
