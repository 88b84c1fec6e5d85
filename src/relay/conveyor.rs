//! Segments on their way: asked for ahead, put out in order as their bytes arrive, and held to their bounds.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::{FetchId, Limits, Media, Trouble};

/// Of a packet of MPEG-TS (ISO/IEC 13818-1, 2.4.3.2).
const PACKET: usize = 188;

/// What each packet begins with.
const SYNC: u8 = 0x47;

/// A body that brings less than this in [`Patience::stall`] is a server that has stopped, or pretends not to have: the
/// poorest sound alone brings as much.
const LEAST: u64 = 8 * PACKET as u64;

/// How many whole segments are remembered for their rate, and for how long.
const REMEMBERED: usize = 256;
const RATE_WINDOW: Duration = Duration::from_secs(30);

/// How long a segment may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Until the head of the answer.
    pub(super) head: Duration,
    /// Without [`LEAST`] more of the body.
    pub(super) stall: Duration,
    /// From the head to the end, pauses for want of room not counted.
    pub(super) whole: Duration,
}

/// A segment on its way.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) id: FetchId,
    /// What it is to its protocol.
    pub(super) of: T,
    patience: Patience,
    phase: Phase,
    /// Since when its head or more of its body is waited for.
    since: Duration,
    opened: Duration,
    received: u64,
    received_since: u64,
    /// Not a whole packet yet.
    rest: Vec<u8>,
    chunks: VecDeque<(Duration, Bytes)>,
    waiting: usize,
    /// Some of it was taken or waits: it cannot be asked for again.
    begun: bool,
    /// It does not continue what came before it.
    breaks: bool,
    /// Since when its body may not be read.
    paused: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asked,
    Open,
    Ended,
}

/// The segments on their way, in order.
#[derive(Debug)]
pub(super) struct Conveyor<T> {
    limits: Limits,
    lanes: VecDeque<Lane<T>>,
    /// The next segment that is asked for does not continue what came before.
    broken: bool,
    pub(super) discontinuities: u64,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    wholes: VecDeque<Duration>,
    began: Option<Duration>,
    wait: Option<f64>,
}

impl<T> Conveyor<T> {
    pub(super) fn new(limits: Limits) -> Conveyor<T> {
        Conveyor {
            limits,
            lanes: VecDeque::new(),
            broken: false,
            discontinuities: 0,
            bytes: 0,
            segments: 0,
            wholes: VecDeque::new(),
            began: None,
            wait: None,
        }
    }

    /// May another segment be asked for?
    pub(super) fn has_room(&self) -> bool {
        self.lanes.len() < self.limits.segments && self.waiting() < self.limits.waiting / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting).sum()
    }

    pub(super) fn last(&self) -> Option<&Lane<T>> {
        self.lanes.back()
    }

    pub(super) fn lane(&mut self, id: FetchId) -> Option<&mut Lane<T>> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    /// A segment behind those that there are.
    pub(super) fn ask(&mut self, now: Duration, id: FetchId, of: T, patience: Patience) {
        self.lanes.push_back(Lane {
            id,
            of,
            patience,
            phase: Phase::Asked,
            since: now,
            opened: now,
            received: 0,
            received_since: 0,
            rest: Vec::new(),
            chunks: VecDeque::new(),
            waiting: 0,
            begun: false,
            breaks: std::mem::take(&mut self.broken),
            paused: None,
        });
    }

    /// The same segment is asked for anew, in its place. Only where nothing of it came yet.
    pub(super) fn ask_again(&mut self, now: Duration, id: FetchId, anew: FetchId) {
        if let Some(lane) = self.lane(id) {
            debug_assert!(!lane.begun, "what came in part is not asked for again");
            (lane.id, lane.phase, lane.since) = (anew, Phase::Asked, now);
            (lane.received, lane.received_since) = (0, 0);
            lane.rest.clear();
        }
    }

    /// Its answer begins.
    pub(super) fn open(&mut self, now: Duration, id: FetchId) {
        if let Some(lane) = self.lane(id) {
            (lane.phase, lane.since, lane.opened) = (Phase::Open, now, now);
        }
        self.note_pauses(now);
    }

    /// The next segment that is asked for does not continue what came before.
    pub(super) fn mark_break(&mut self) {
        self.broken = true;
    }

    /// This one does not continue what came before it.
    pub(super) fn mark_break_at(&mut self, id: FetchId) {
        self.lane(id).into_iter().for_each(|lane| lane.breaks = true);
    }

    /// More of a body.
    pub(super) fn push(&mut self, now: Duration, id: FetchId, mut bytes: Bytes) -> Result<(), Trouble> {
        let limit = self.limits.segment;
        let Some(lane) = self.lane(id) else { return Ok(()) };
        lane.received += bytes.len() as u64;
        if lane.received > limit {
            return Err(Trouble::TooBig { what: "a segment", limit });
        }
        if lane.received - lane.received_since >= LEAST {
            (lane.since, lane.received_since) = (now, lane.received);
        }
        if !lane.begun && lane.rest.len() + bytes.len() <= PACKET {
            // Enough to see what it is comes with the next piece.
            lane.rest.extend_from_slice(&bytes);
            return Ok(());
        }
        if !lane.begun {
            let start: Vec<u8> = lane.rest.iter().chain(bytes.iter()).take(PACKET + 1).copied().collect();
            look_at(&start)?;
            lane.begun = true;
        }
        let mut put = |bytes: Bytes| {
            lane.waiting += bytes.len();
            lane.chunks.push_back((now, bytes));
        };
        if !lane.rest.is_empty() {
            let missing = (PACKET - lane.rest.len()).min(bytes.len());
            lane.rest.extend_from_slice(&bytes.split_to(missing));
            if lane.rest.len() < PACKET {
                return Ok(());
            }
            put(Bytes::from(std::mem::take(&mut lane.rest)));
        }
        let rest = bytes.split_off(bytes.len() - bytes.len() % PACKET);
        lane.rest.extend_from_slice(&rest);
        if !bytes.is_empty() {
            put(bytes);
        }
        self.note_pauses(now);
        Ok(())
    }

    /// A body is complete.
    ///
    /// # Errors
    /// When it was no MPEG-TS.
    pub(super) fn end(&mut self, now: Duration, id: FetchId) -> Result<(), Trouble> {
        let Some(lane) = self.lane(id) else { return Ok(()) };
        lane.phase = Phase::Ended;
        if !lane.begun && !lane.rest.is_empty() {
            look_at(&lane.rest)?;
            let whole = lane.rest.len() - lane.rest.len() % PACKET;
            lane.rest.truncate(whole);
            let bytes = Bytes::from(std::mem::take(&mut lane.rest));
            lane.begun = true;
            lane.waiting += bytes.len();
            lane.chunks.push_back((now, bytes));
        }
        // Half a packet is of no use to anyone.
        lane.rest.clear();
        let begun = lane.begun;
        if !begun {
            self.break_behind(id);
        }
        if begun {
            self.segments += 1;
            self.began.get_or_insert(now);
            if self.wholes.len() == REMEMBERED {
                self.wholes.pop_front();
            }
            self.wholes.push_back(now);
        }
        self.clear_passed();
        Ok(())
    }

    /// Drops a segment. What waits of it stays; what follows does not continue it. Tells whether something of it came.
    pub(super) fn abandon(&mut self, id: FetchId) -> Option<bool> {
        let lane = self.lane(id)?;
        let begun = lane.begun;
        lane.phase = Phase::Ended;
        lane.rest.clear();
        self.break_behind(id);
        self.clear_passed();
        Some(begun)
    }

    fn break_behind(&mut self, id: FetchId) {
        let at = self.lanes.iter().position(|lane| lane.id == id);
        match at.and_then(|at| self.lanes.get_mut(at + 1)) {
            Some(behind) => behind.breaks = true,
            None => self.broken = true,
        }
    }

    /// Drops everything, and gives the requests that are still out.
    pub(super) fn clear(&mut self) -> Vec<FetchId> {
        self.broken = true;
        self.lanes.drain(..).filter(|lane| lane.phase != Phase::Ended).map(|lane| lane.id).collect()
    }

    /// Drops what was not answered yet, and gives those requests.
    pub(super) fn drop_asked(&mut self) -> Vec<FetchId> {
        let asked = self.lanes.iter().filter(|lane| lane.phase == Phase::Asked);
        let (asked, breaks): (Vec<_>, Vec<_>) = asked.map(|lane| (lane.id, lane.breaks)).unzip();
        self.broken |= breaks.contains(&true);
        self.lanes.retain(|lane| lane.phase != Phase::Asked);
        asked
    }

    /// What is put out next, if anything waits.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Media> {
        self.clear_passed();
        let lane = self.lanes.front_mut()?;
        let (arrived, bytes) = lane.chunks.pop_front()?;
        lane.waiting -= bytes.len();
        self.bytes += bytes.len() as u64;
        let wait = now.saturating_sub(arrived).as_secs_f64();
        self.wait = Some(self.wait.map_or(wait, |mean| mean + (wait - mean) / 64.0));
        let discontinuity = std::mem::take(&mut lane.breaks) && self.bytes > bytes.len() as u64;
        self.discontinuities += u64::from(discontinuity);
        self.clear_passed();
        self.note_pauses(now);
        Some(Media { bytes, discontinuity })
    }

    /// Does something wait to be taken?
    pub(super) fn has_media(&self) -> bool {
        self.lanes.iter().take_while(|lane| lane.phase == Phase::Ended).any(|lane| !lane.chunks.is_empty())
            || self.lanes.front().is_some_and(|lane| !lane.chunks.is_empty())
    }

    /// May more of this body be read? Those behind the first leave half the room to it.
    pub(super) fn may_read(&self, id: FetchId) -> bool {
        match self.lanes.iter().position(|lane| lane.id == id) {
            Some(0) => self.waiting() < self.limits.waiting,
            Some(_) => self.waiting() < self.limits.waiting / 2,
            None => true,
        }
    }

    /// What may not be read cannot be late: its times stand still meanwhile.
    fn note_pauses(&mut self, now: Duration) {
        let waiting = self.waiting();
        let most = self.limits.waiting;
        for (at, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.phase == Phase::Open) {
            let readable = waiting < if at == 0 { most } else { most / 2 };
            match (lane.paused, readable) {
                (None, false) => lane.paused = Some(now),
                (Some(since), true) => {
                    lane.opened += now.saturating_sub(since);
                    (lane.since, lane.paused) = (now, None);
                }
                _ => {}
            }
        }
    }

    /// When one of them has taken too long.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.lanes.iter().filter_map(|lane| self.due(lane)).min()
    }

    /// One that has taken too long by now, and what is wrong with it.
    pub(super) fn overdue(&self, now: Duration) -> Option<(FetchId, Trouble)> {
        let lane = self.lanes.iter().find(|lane| self.due(lane).is_some_and(|due| due <= now))?;
        let trouble = match lane.phase {
            Phase::Asked => Trouble::Silent(lane.patience.head),
            _ if lane.since + lane.patience.stall <= now => Trouble::Stalled,
            _ => Trouble::Endless(lane.patience.whole),
        };
        Some((lane.id, trouble))
    }

    fn due(&self, lane: &Lane<T>) -> Option<Duration> {
        match lane.phase {
            Phase::Asked => Some(lane.since + lane.patience.head),
            Phase::Open if lane.paused.is_some() => None,
            Phase::Open => Some((lane.since + lane.patience.stall).min(lane.opened + lane.patience.whole)),
            Phase::Ended => None,
        }
    }

    /// Whole segments a second.
    pub(super) fn rate(&self, now: Duration) -> f64 {
        let Some(began) = self.began else { return 0.0 };
        let window = RATE_WINDOW.min(now.saturating_sub(began)).max(Duration::from_secs(1));
        let count = self.wholes.iter().filter(|at| now.saturating_sub(**at) < window).count();
        count as f64 / window.as_secs_f64()
    }

    /// From arrival until taken, lately.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_secs_f64(self.wait.unwrap_or_default())
    }

    fn clear_passed(&mut self) {
        while self.lanes.front().is_some_and(|lane| lane.phase == Phase::Ended && lane.chunks.is_empty()) {
            let breaks = self.lanes.pop_front().is_some_and(|lane| lane.breaks);
            match self.lanes.front_mut() {
                Some(next) => next.breaks |= breaks,
                None => self.broken |= breaks,
            }
        }
    }
}

impl<T> Lane<T> {
    /// Did something of it come?
    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn is_asked(&self) -> bool {
        self.phase == Phase::Asked
    }
}

/// Does a segment begin like MPEG-TS? If not, like what?
fn look_at(start: &[u8]) -> Result<(), Trouble> {
    let second = start.get(PACKET).is_none_or(|byte| *byte == SYNC);
    if start.first() == Some(&SYNC) && second && start.len() >= PACKET {
        return Ok(());
    }
    let word = start.get(4..8).unwrap_or_default();
    Err(match start {
        _ if [b"ftyp", b"styp", b"moof", b"sidx", b"moov"].iter().any(|name| word == *name) => {
            Trouble::FragmentedMp4
        }
        [b'<', ..] => Trouble::NotTransportStream("it is a page, as for people"),
        [b'#', b'E', b'X', b'T', ..] => Trouble::NotTransportStream("it is another playlist"),
        [b'I', b'D', b'3', ..] => Trouble::NotTransportStream("it is sound alone"),
        [SYNC, ..] => Trouble::NotTransportStream("it is too short, or torn"),
        _ => Trouble::NotTransportStream("it is encrypted, or something else"),
    })
}
