//! Numbered segments of a channel: the GET of a number waits until there is something of it.
//!
//! One GET brings the present segment, another one waits for the next. `-1` stands for the next one to be written. What
//! a server says: `Lp-Trickle-Seq`, the number of what it gives; `Lp-Trickle-Latest`, the next one to be written;
//! `Lp-Trickle-Closed`, the end; status 470, the channel is there and the segment is not.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::conveyor::Patience;
use super::core::{Core, Part, retry_after};
use super::{FetchId, Head, Trouble, address};

/// The channel is there, the segment is not: too old, or too far ahead.
const NO_SEGMENT: u16 = 470;

/// Segments that may be between ours and the next one to be written.
const BEHIND: u64 = 2;

/// Bounds for how long a next segment is waited for before its server is asked where it is by now.
const QUIET: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(20);

/// Silence is told from here on.
const TOLD: Duration = Duration::from_secs(3);

/// A segment that goes on for so long goes on for ever, unless others were as long.
const ENDLESS: Duration = Duration::from_secs(60);

/// What is next.
#[derive(Debug)]
pub(super) struct Trickle {
    channel: Url,
    /// The number that continues what came; none before the first.
    expected: Option<u64>,
    /// Ask for that number next; else for the newest.
    in_step: bool,
    /// No request before.
    retry: Option<Duration>,
    /// When the last segment began, and how far apart they are.
    began: Option<Duration>,
    spacing: Option<Duration>,
    trouble: Option<Trouble>,
    /// How often in a row the segment that was asked for was another.
    elsewhere: u32,
    /// Since when nothing comes.
    since: Duration,
}

impl Trickle {
    pub(super) fn new(now: Duration, channel: Url) -> Trickle {
        Trickle {
            channel,
            expected: None,
            in_step: false,
            retry: None,
            began: None,
            spacing: None,
            trouble: None,
            elsewhere: 0,
            since: now,
        }
    }

    /// Did it ever give a segment?
    pub(super) const fn has_given(&self) -> bool {
        self.expected.is_some()
    }

    pub(super) fn trouble(&self, now: Duration, core: &Core) -> Option<Trouble> {
        let quiet = now.saturating_sub(self.since);
        match &self.trouble {
            Some(trouble) => Some(trouble.clone()),
            None if quiet >= TOLD && core.conveyor.waiting() == 0 => Some(Trouble::Quiet(quiet)),
            None => None,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.retry
    }

    /// Gives a trouble when there is no channel at all, and never was.
    pub(super) fn head(
        &mut self,
        core: &mut Core,
        now: Duration,
        id: FetchId,
        head: &Head,
    ) -> Result<(), Trouble> {
        let Some(lane) = core.conveyor.lane(id) else { return Ok(()) };
        let (part, status) = (lane.of.clone(), head.status.as_u16());
        match core.redirect(&part.url, head, part.redirects) {
            Ok(Some(to)) => {
                core.move_on(now, id, &to);
                return Ok(());
            }
            Ok(None) => {}
            Err(trouble) => {
                self.refused(core, now, trouble, None);
                return Ok(());
            }
        }
        if head.headers.contains_key("lp-trickle-closed") {
            core.cancel(id);
            core.conveyor.abandon(id);
            self.refused(core, now, Trouble::ChannelClosed, None);
            return Ok(());
        }
        match status {
            200 => match number(&head.headers, "lp-trickle-seq").or(part.number) {
                Some(sequence) => self.begins(core, now, id, sequence, head),
                None => self.refused(core, now, Trouble::Unnumbered, None),
            },
            NO_SEGMENT => {
                self.is_elsewhere(core, now, id, part.number, number(&head.headers, "lp-trickle-latest"));
            }
            404 | 405 | 400 | 410 if !self.has_given() => return Err(Trouble::Nothing(status)),
            _ => self.refused(core, now, Trouble::Status(status), retry_after(head)),
        }
        Ok(())
    }

    pub(super) fn received(&mut self, core: &mut Core, now: Duration) {
        core.went_well();
        (self.trouble, self.elsewhere, self.since) = (None, 0, now);
    }

    pub(super) fn ended(&mut self, core: &mut Core, now: Duration, id: FetchId) {
        if let Err(trouble) = core.conveyor.end(now, id) {
            self.failed(core, now, id, trouble);
        }
    }

    pub(super) fn failed(&mut self, core: &mut Core, now: Duration, id: FetchId, trouble: Trouble) {
        let Some(lane) = core.conveyor.lane(id) else { return };
        let asked = lane.is_asked();
        core.cancel(id);
        if asked && matches!(trouble, Trouble::Silent(_)) {
            // Perhaps the publisher counts anew: the newest is what continues, or not.
            core.conveyor.drop_asked();
            self.in_step = false;
            return;
        }
        if core.conveyor.abandon(id) == Some(false) && !asked {
            core.skipped += 1;
        }
        if asked {
            self.refused(core, now, trouble, None);
        } else {
            core.failures += 1;
            core.note(&trouble);
            self.trouble = Some(trouble);
        }
    }

    pub(super) fn wake(&mut self, now: Duration) {
        if self.retry.is_some_and(|due| due <= now) {
            self.retry = None;
        }
    }

    /// Asks for what is next: one segment that comes, one that is waited for.
    pub(super) fn fill(&mut self, core: &mut Core, now: Duration) {
        let waits = core.conveyor.last().is_some_and(super::conveyor::Lane::is_asked);
        if self.retry.is_some() || waits || !core.conveyor.has_room() {
            return;
        }
        let number = self.expected.filter(|_| self.in_step);
        let word = number.map_or_else(|| "-1".to_owned(), |number| number.to_string());
        let url = address::segment(&self.channel, &word);
        let id = core.fetch(&url, None);
        let part = Part { url, range: None, redirects: 0, tries: 0, number };
        core.conveyor.ask(now, id, part, self.patience());
    }

    fn begins(&mut self, core: &mut Core, now: Duration, id: FetchId, sequence: u64, head: &Head) {
        if let Err(trouble) = core.fits(head) {
            self.expected = Some(sequence + 1);
            return self.failed_open(core, now, id, trouble);
        }
        // A server that says nothing of it gives the newest.
        let next = number(&head.headers, "lp-trickle-latest").unwrap_or(sequence + 1);
        if next > sequence + 1 + BEHIND {
            core.skipped += next - sequence;
            core.cancel(id);
            core.conveyor.abandon(id);
            (self.expected, self.in_step) = (Some(next), true);
            return;
        }
        if let Some(expected) = self.expected.filter(|expected| *expected != sequence) {
            core.skipped += sequence.saturating_sub(expected);
            core.conveyor.mark_break_at(id);
        }
        if let Some(began) = self.began.replace(now).filter(|_| self.expected == Some(sequence)) {
            let apart = now.saturating_sub(began);
            self.spacing = Some(self.spacing.map_or(apart, |mean| (mean * 3 + apart) / 4));
        }
        (self.expected, self.in_step) = (sequence.checked_add(1), true);
        core.conveyor.open(now, id);
    }

    fn failed_open(&mut self, core: &mut Core, now: Duration, id: FetchId, trouble: Trouble) {
        core.conveyor.open(now, id);
        self.failed(core, now, id, trouble);
    }

    /// 470: the segment is not there, another one is next.
    fn is_elsewhere(
        &mut self,
        core: &mut Core,
        now: Duration,
        id: FetchId,
        asked: Option<u64>,
        next: Option<u64>,
    ) {
        core.cancel(id);
        core.conveyor.abandon(id);
        match (asked, next) {
            (Some(asked), Some(next)) if next > asked => {
                core.skipped += next - asked;
                (self.expected, self.in_step) = (Some(next), true);
            }
            // Counted anew, or not known.
            _ => self.in_step = false,
        }
        // At once the first time; a server that says so again and again is not asked without pause.
        self.elsewhere += 1;
        let wait = core.wait_after(&Trouble::Status(NO_SEGMENT), None);
        self.retry = (self.elsewhere > 1).then_some(now + wait);
    }

    /// A request was answered by a no: nothing is asked for a while.
    fn refused(&mut self, core: &mut Core, now: Duration, trouble: Trouble, asked: Option<Duration>) {
        for id in core.conveyor.drop_asked() {
            core.cancel(id);
        }
        core.conveyor.mark_break();
        self.in_step = false;
        self.retry = Some(now + core.wait_after(&trouble, asked));
        self.trouble = Some(trouble);
    }

    /// All from how far apart segments are.
    fn patience(&self) -> Patience {
        let spacing = self.spacing.unwrap_or(*QUIET.end());
        Patience {
            head: (spacing * 4).clamp(*QUIET.start(), *QUIET.end()),
            stall: (spacing * 2).clamp(Duration::from_secs(4), Duration::from_secs(15)),
            whole: self.spacing.map_or(ENDLESS, |spacing| (spacing * 30).clamp(ENDLESS, ENDLESS * 10)),
        }
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
