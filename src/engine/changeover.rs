//! When another encoder follows on an outlet: at a keyframe that does not go back in time, and what happens until there
//! is one. Time is an argument.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::media::{MediaKind, MediaTime};

use super::baton::{Baton, Held};
use super::timeline::{MOST_SHIFT, Timeline};

/// How long a candidate whose first keyframe came too late has to catch up: what queued up while it started is old, and
/// soon gone. After that it is the encoder's own delay, and the stream has to wait for it.
const CATCH_UP: Duration = Duration::from_millis(500);

/// As many pictures as wait before an encoder at most (the link's own limit for small pictures), and one. What is asked
/// for when the stream falls silent becomes the picture that has waited longest, which may have been on air already; after
/// so many it cannot be, and asking once more spares the viewers a wait for the encoder's whole delay.
const WAITED_BEFORE: u32 = 4;

/// So much of a packet of sound may be heard twice at a change: nobody notices, and clocks are no finer.
const MOST_OVERLAP: Duration = Duration::from_millis(1);

/// Frames or access units: who is on air, who is to follow.
pub(super) struct Track {
    kind: MediaKind,
    pub(super) baton: Baton,
    pub(super) candidate: AtomicU64,
    /// When the candidate's first keyframe came, if that was too old to take over; 0 before.
    proven: AtomicU64,
    /// Pictures of the candidate since it was asked for a keyframe, and that one; 0: it was not.
    asked: AtomicU32,
    /// The feed on air was silenced, so that the candidate can catch up.
    pub(super) silenced: AtomicBool,
    /// When the last frame went out; 0 before.
    sent: AtomicU64,
    pub(super) line: Timeline,
}

/// What a frame may do.
pub(super) enum Admission<'a> {
    /// It goes out; the feed was on air already.
    On(Held<'a>),
    /// It goes out, and its feed takes over with it.
    First(Held<'a>, Duration),
    /// It does not go out; its feed can take over with a keyframe, and has to make one.
    Ask,
    No,
}

impl Track {
    pub(super) fn new(kind: MediaKind, clock_rate: u32) -> Track {
        Track {
            kind,
            baton: Baton::default(),
            candidate: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            asked: AtomicU32::new(0),
            silenced: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            line: Timeline::new(clock_rate),
        }
    }

    /// Lets a feed take over when it can.
    pub(super) fn nominate(&self, feed: u64) {
        self.proven.store(0, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
        self.silenced.store(false, Ordering::Relaxed);
        self.candidate.store(feed, Ordering::Release);
    }

    /// What a feed's frame may do, now.
    pub(super) fn admit(&self, feed: u64, pts: MediaTime, keyframe: bool, now: MediaTime) -> Admission<'_> {
        if let Some(held) = self.baton.pick_up(feed) {
            self.sent.store(now.as_nanos(), Ordering::Relaxed);
            return Admission::On(held);
        }
        if self.candidate.load(Ordering::Acquire) != feed {
            return Admission::No;
        }
        if !keyframe {
            return self.follow(pts, now);
        }
        let (before, mut held) = self.baton.take_over(feed);
        if self.is_too_old(pts) {
            held.pass_to(before);
            drop(held);
            return self.refuse(now);
        }
        self.candidate.store(0, Ordering::Relaxed);
        let last = self.sent.swap(now.as_nanos(), Ordering::Relaxed);
        let gap = match self.silenced.swap(false, Ordering::Relaxed) {
            true => now.saturating_since(MediaTime::from_nanos(last)).saturating_sub(self.line.step()),
            // The feed on air had nothing newer to give, so nothing was withheld.
            false => Duration::ZERO,
        };
        Admission::First(held, gap)
    }

    /// A candidate's keyframe came too late to take over.
    fn refuse(&self, now: MediaTime) -> Admission<'_> {
        if self.proven.load(Ordering::Relaxed) == 0 {
            self.proven.store(now.as_nanos().max(1), Ordering::Relaxed);
        }
        if self.kind == MediaKind::Audio {
            self.silence();
            return Admission::No;
        }
        // Where the stream stands still already, it needs another one at once, unless that is on its way.
        let again = self.silenced.load(Ordering::Relaxed);
        let coming = self.asked.swap(again.into(), Ordering::Relaxed) > WAITED_BEFORE;
        if again && !coming { Admission::Ask } else { Admission::No }
    }

    /// A candidate's picture that it cannot take over with: has it caught up since its first keyframe?
    fn follow(&self, pts: MediaTime, now: MediaTime) -> Admission<'_> {
        let proven = self.proven.load(Ordering::Relaxed);
        if proven == 0 {
            return Admission::No;
        }
        let asked = self.asked.load(Ordering::Relaxed);
        if asked > 0 {
            self.asked.store(asked.saturating_add(1), Ordering::Relaxed);
            let again = asked == WAITED_BEFORE && self.silenced.load(Ordering::Relaxed);
            return if again { Admission::Ask } else { Admission::No };
        }
        if self.is_too_old(pts) {
            if now.saturating_since(MediaTime::from_nanos(proven)) < CATCH_UP {
                return Admission::No;
            }
            self.silence();
        }
        self.asked.store(1, Ordering::Relaxed);
        Admission::Ask
    }

    fn silence(&self) {
        let (_, mut held) = self.baton.take_over(0);
        held.pass_to(0);
        self.silenced.store(true, Ordering::Relaxed);
    }

    /// Pictures may be moved a little to come after the last one; sound may not, for one would hear it twice.
    fn is_too_old(&self, pts: MediaTime) -> bool {
        match self.kind {
            MediaKind::Video => self.line.shift_for(pts) > MOST_SHIFT,
            MediaKind::Audio => self.line.overlap(pts) > MOST_OVERLAP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture every 100 ms; two encoders, each with a delay of its own.
    struct Race {
        track: Track,
        /// Capture times of what went out, in ms, and when.
        out: Vec<(u64, u64)>,
        /// The candidate takes over with it, after this gap.
        change: Option<(u64, Duration)>,
        /// When the candidate was asked for a keyframe; it makes one of the picture that waits before it.
        asked_at: Vec<u64>,
        /// How long ago that one was captured, in ms.
        waits: u64,
    }

    const OLD: u64 = 1;
    const NEW: u64 = 2;

    fn at(ms: u64) -> MediaTime {
        MediaTime::from_nanos(ms * 1_000_000)
    }

    impl Race {
        /// `old` and `new` give the delay of the picture captured at a time. The candidate starts at 1000 ms.
        fn run(old: impl Fn(u64) -> u64, new: impl Fn(u64) -> u64) -> Race {
            Race::with_waiting(0, old, new)
        }

        fn with_waiting(waits: u64, old: impl Fn(u64) -> u64, new: impl Fn(u64) -> u64) -> Race {
            let mut race = Race {
                track: Track::new(MediaKind::Video, 90_000),
                out: Vec::new(),
                change: None,
                asked_at: Vec::new(),
                waits,
            };
            race.track.nominate(OLD);
            let captured = (1..60).map(|n| n * 100);
            let mut due: Vec<(u64, u64, u64)> = captured
                .flat_map(|pts| [(pts + old(pts), OLD, pts), (pts + new(pts), NEW, pts)])
                .filter(|(_, feed, pts)| *feed == OLD || *pts >= 1000)
                .collect();
            due.sort_unstable();
            for (now, feed, pts) in due {
                if now > 1000 && race.change.is_none() && race.track.candidate.load(Ordering::Relaxed) == 0 {
                    race.track.nominate(NEW);
                }
                race.frame(feed, pts, now);
            }
            race
        }

        fn frame(&mut self, feed: u64, pts: u64, now: u64) {
            let first = if feed == OLD { 100 } else { 1000 };
            let forced =
                self.asked_at.iter().any(|asked| (*asked..asked + 100).contains(&(pts + self.waits)));
            let keyframe = pts == first || (feed == NEW && forced);
            let line = &self.track.line;
            let held = match self.track.admit(feed, at(pts), keyframe, at(now)) {
                Admission::On(held) => held,
                Admission::First(held, gap) => {
                    line.change(at(pts), 0);
                    if feed == NEW {
                        self.change = Some((pts, gap));
                    }
                    held
                }
                Admission::Ask => {
                    self.asked_at.push(now);
                    return;
                }
                Admission::No => return,
            };
            line.stamp(at(pts), &mut []);
            drop(held);
            self.out.push((pts, now));
        }

        /// The longest time in which nothing went out, in ms.
        fn stillness(&self) -> u64 {
            self.out.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap()
        }
    }

    #[test]
    fn an_encoder_as_quick_as_the_one_on_air_leaves_no_gap() {
        let race = Race::run(|_| 5, |_| 8);
        assert_eq!(race.change, Some((1000, Duration::ZERO)));
        assert!(race.stillness() <= 103, "{:?}", race.out);
    }

    /// Both delays are constant: the gap is what the new one's is longer by, to the picture.
    #[test]
    fn an_encoder_that_stays_late_leaves_a_gap_of_the_difference() {
        let race = Race::run(|_| 5, |_| 165);
        let (pts, gap) = race.change.expect("it took over");
        let before = race.out.iter().rev().find(|(captured, _)| *captured < pts).unwrap();
        let stood = race.out.iter().find(|(captured, _)| *captured == pts).unwrap().1 - before.1;
        assert_eq!(gap, Duration::from_millis(stood - 100), "{:?}", race.out);
        assert!((160..=260).contains(&(stood - 100)), "stood still for {stood} ms: {:?}", race.out);
        assert!(race.out.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", race.out);
    }

    /// For a moment the one on air is late itself: the other one's picture comes as soon as its own next one would have,
    /// so that the change takes nothing away, although the delay stays longer from there on.
    #[test]
    fn a_late_encoder_that_meets_a_late_one_on_air_leaves_no_gap() {
        let hiccup = |pts| if (1000..1300).contains(&pts) { 1300 - pts + 5 } else { 5 };
        let race = Race::run(hiccup, |_| 165);
        let (pts, gap) = race.change.expect("it took over");
        assert_eq!((pts, gap), (1000, Duration::ZERO), "{:?}", race.out);
        let alone = Race::run(hiccup, |_| 100_000);
        assert_eq!(alone.change, None);
        assert!(race.stillness() <= alone.stillness(), "{:?} and {:?}", race.out, alone.out);
    }

    /// The picture that is made a keyframe has waited so long that it was on air already: not the whole delay later
    /// another one is asked for, but as soon as what waited is through.
    #[test]
    fn a_keyframe_of_a_picture_that_waited_is_not_the_only_one() {
        let race = Race::with_waiting(300, |_| 5, |_| 1305);
        let (pts, gap) = race.change.expect("it took over");
        assert_eq!(race.asked_at.len(), 2, "{:?}", race.asked_at);
        assert!(race.out.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", race.out);
        let silent_since = race.asked_at[0];
        assert!(pts > silent_since - 100, "asked at {:?}, {pts}", race.asked_at);
        assert!(gap < Duration::from_millis(1305 + 500), "{gap:?}: {:?}", race.out);
    }

    /// What is on air goes on while a candidate never catches up to a keyframe.
    #[test]
    fn a_candidate_that_gives_nothing_takes_nothing() {
        let race = Race::run(|_| 5, |_| 100_000);
        assert_eq!((race.change, race.out.len()), (None, 59));
        assert_eq!(race.stillness(), 100);
    }
}
