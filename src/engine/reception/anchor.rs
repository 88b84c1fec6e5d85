//! From a stream's own times to `MediaTime`: one anchor for picture and sound, so that they stay together. Pure.

use std::time::Duration;

use crate::media::MediaTime;

/// A stream's clock steps in 1/90000 s and comes round after 33 bits.
const ROUND: i64 = 1 << 33;

/// Times that are further from the last one than this begin anew: two seconds.
const JUMP: i64 = 180_000;

/// A stream settles at first: senders begin with what they have in store.
const SETTLING: i64 = 5_000_000_000;

/// What was in store is caught up with by so many parts of what comes: pictures follow each other faster, and none is lost.
const CATCHING_UP: i64 = 4;

/// Errors are judged over this time, by the least of them.
const WINDOW: i64 = 1_000_000_000;

/// A clock that runs slower than ours is followed by so much in a window; a quartz is off by a tenth of it at most.
const FOLLOW: i64 = 500_000;

/// What comes too early for so much is believed at once in a window, …
const EARLY: i64 = 20_000_000;

/// … and a way that has become longer by so much.
const LATE: i64 = 100_000_000;

/// How a stream's bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// As they are made: what arrives is shown at once.
    Live,
    /// In pieces that hold much: what arrives is shown by its own times, the first of it after this long. What comes later
    /// than it should have been shown puts all that follows off.
    Ahead(Duration),
}

/// Where a stream's times lie.
#[derive(Debug)]
pub(super) struct Anchor {
    pacing: Pacing,
    /// The last decoding time, in 1/90000 s, without its coming round.
    last: Option<i64>,
    /// What makes one row of times that began anew in between, so that what is in store keeps its place.
    origin: i64,
    /// What turns such a time into `MediaTime`.
    shift: i64,
    /// When it was put there, by the stream's times.
    since: i64,
    window: i64,
    least: i64,
    /// How often it had to be put elsewhere.
    moved: u64,
    /// The latest `MediaTime` that was given.
    latest: i64,
}

/// Where one unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// By the stream, and of no meaning but to [`Anchor::at`].
    pub(super) pts: i64,
    pub(super) dts: i64,
    /// The times have begun anew here.
    pub(super) anew: bool,
}

impl Anchor {
    pub(super) const fn new(pacing: Pacing) -> Anchor {
        Anchor {
            pacing,
            last: None,
            origin: 0,
            shift: 0,
            since: 0,
            window: 0,
            least: i64::MAX,
            moved: 0,
            latest: 0,
        }
    }

    /// The stream comes otherwise than was thought; its times begin anew.
    pub(super) const fn pace(&mut self, pacing: Pacing) {
        self.pacing = pacing;
        self.last = None;
    }

    /// The next time begins anew, wherever it is.
    pub(super) const fn lift(&mut self) {
        self.last = None;
    }

    pub(super) const fn moved(&self) -> u64 {
        self.moved
    }

    /// Takes in a unit that arrived at `now`. Times are in 1/90000 s.
    pub(super) fn place(&mut self, pts: u64, dts: u64, now: MediaTime) -> Place {
        let now = nanos(now);
        let raw = i64::try_from(dts & (ROUND - 1).unsigned_abs()).unwrap_or_default();
        let shown = (i64::try_from(pts).unwrap_or_default() - raw + ROUND / 2).rem_euclid(ROUND) - ROUND / 2;
        let (ticks, anew) = match self.last {
            Some(last) => {
                let step = (raw - last + ROUND / 2).rem_euclid(ROUND) - ROUND / 2;
                (last + step, step.abs() > JUMP)
            }
            None => (raw, true),
        };
        if anew {
            self.begin(nanoseconds(ticks), now);
        }
        let dts = nanoseconds(ticks) + self.origin;
        let error = now - dts;
        if !anew {
            match self.pacing {
                Pacing::Live => self.follow(dts, error, nanoseconds(ticks - self.last.unwrap_or(ticks))),
                Pacing::Ahead(lead) if error > self.shift => {
                    self.shift = error + span(lead);
                    self.moved += 1;
                }
                Pacing::Ahead(_) => {}
            }
        }
        // Sound and picture are interleaved, and not to the frame.
        self.last = Some(if anew { ticks } else { self.last.unwrap_or(ticks).max(ticks) });
        self.latest = self.latest.max(dts + self.shift);
        Place { pts: nanoseconds(ticks + shown) + self.origin, dts, anew }
    }

    /// When something of the stream is, by a time that [`Anchor::place`] gave.
    pub(super) fn at(&self, time: i64) -> MediaTime {
        MediaTime::from_nanos(u64::try_from(time + self.shift).unwrap_or(0))
    }

    /// How much lies ahead of now.
    pub(super) fn ahead(&self, now: MediaTime) -> Duration {
        Duration::from_nanos(u64::try_from(self.latest - nanos(now)).unwrap_or(0))
    }

    /// Nothing lies ahead any more.
    pub(super) const fn forget_ahead(&mut self) {
        self.latest = 0;
    }

    fn begin(&mut self, dts: i64, now: i64) {
        self.moved += u64::from(self.last.is_some());
        let at = match self.pacing {
            Pacing::Live => now,
            // What lies ahead already is shown first.
            Pacing::Ahead(lead) => (now + span(lead)).max(self.latest + 1),
        };
        if self.latest == 0 {
            (self.origin, self.shift) = (0, at - dts);
        } else {
            self.origin = at - self.shift - dts;
        }
        let dts = dts + self.origin;
        (self.since, self.window, self.least) = (dts, dts, i64::MAX);
    }

    fn follow(&mut self, dts: i64, error: i64, step: i64) {
        self.least = self.least.min(error);
        if dts - self.since < SETTLING {
            let over = (self.shift - error).max(0);
            self.shift -= over.min(step.max(0) / CATCHING_UP);
            return;
        }
        if dts - self.window < WINDOW {
            return;
        }
        let off = self.least - self.shift;
        self.shift += match off {
            ..0 => off.max(-EARLY),
            _ if off > LATE => {
                self.moved += 1;
                off
            }
            _ => off.min(FOLLOW),
        };
        (self.window, self.least) = (dts, i64::MAX);
    }
}

fn nanos(time: MediaTime) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn span(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// Of 1/90000 s.
const fn nanoseconds(ticks: i64) -> i64 {
    ticks.saturating_mul(100_000) / 9
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 90_000;

    fn ms(ms: u64) -> MediaTime {
        MediaTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_live_stream_lies_where_it_arrived_soonest() {
        let mut anchor = Anchor::new(Pacing::Live);
        // Half a second in store, then as it is made, now and then late.
        for frame in 0..400_u64 {
            let made = frame * 25;
            let late = if frame % 7 == 0 { 15 } else { 0 };
            let now = ms(10_000 + made.max(500) + late);
            let dts = 5 * SECOND + frame * 2250;
            let place = anchor.place(dts + 4500, dts, now);
            assert_eq!(place.anew, frame == 0);
            if frame > 120 {
                assert_eq!(anchor.at(place.dts), ms(10_000 + made), "{frame}");
                assert_eq!(anchor.at(place.pts), ms(10_050 + made), "{frame}");
            }
        }
        assert_eq!(anchor.moved(), 0);
    }

    #[test]
    fn a_senders_clock_is_followed_and_comes_round() {
        for ppm in [-200_i64, 200] {
            let mut anchor = Anchor::new(Pacing::Live);
            let begin = (1 << 33) - 100 * SECOND;
            for frame in 0..12_000_u64 {
                let now = ms(1_000_000 + frame * 25);
                let ticks = frame.cast_signed() * 2250 * (1_000_000 + ppm) / 1_000_000;
                let dts = (begin + ticks.unsigned_abs()) & ((1 << 33) - 1);
                let place = anchor.place(dts, dts, now);
                assert_eq!(place.anew, frame == 0);
                let at = anchor.at(place.dts);
                let off = nanos(at) - nanos(now);
                assert!(off.abs() < 2_000_000, "{ppm} ppm, frame {frame}: {off} ns");
            }
        }
    }

    #[test]
    fn a_way_that_becomes_longer_is_believed_and_times_that_jump_begin_anew() {
        let mut anchor = Anchor::new(Pacing::Live);
        let mut last = MediaTime::default();
        for frame in 0..400_u64 {
            let late = if frame >= 200 { 300 } else { 0 };
            let jump = if frame >= 300 { 3600 * SECOND } else { 0 };
            let dts = jump + frame * 2250;
            let place = anchor.place(dts, dts, ms(1000 + frame * 25 + late));
            assert_eq!(place.anew, frame == 0 || frame == 300, "{frame}");
            last = anchor.at(place.dts);
        }
        assert_eq!(last, ms(1000 + 399 * 25 + 300));
        assert_eq!(anchor.moved(), 2);
    }

    #[test]
    fn what_lies_ahead_keeps_its_place_when_times_begin_anew() {
        for pacing in [Pacing::Live, Pacing::Ahead(Duration::from_millis(300))] {
            let mut anchor = Anchor::new(pacing);
            let before = anchor.place(900 * SECOND, 900 * SECOND, ms(1000));
            let was = anchor.at(before.dts);
            anchor.lift();
            let after = anchor.place(SECOND, SECOND, ms(3000));
            assert!(after.anew);
            assert_eq!(anchor.at(before.dts), was, "{pacing:?}");
            assert!(anchor.at(after.dts) >= ms(3000), "{pacing:?}");
        }
    }

    #[test]
    fn what_comes_in_pieces_is_shown_by_its_own_times_and_put_off_only_when_it_must() {
        let lead = Duration::from_millis(300);
        let mut anchor = Anchor::new(Pacing::Ahead(lead));
        let at = |second: u64, anchor: &mut Anchor| {
            let mut last = MediaTime::default();
            for frame in 0..80 {
                let dts = second * 2 * SECOND + frame * 2250;
                let place =
                    anchor.place(dts, dts, ms(1000 + second * 2000 + if second > 5 { 900 } else { 0 }));
                last = anchor.at(place.dts);
            }
            last
        };
        for second in 0..5 {
            assert_eq!(at(second, &mut anchor), ms(1300 + second * 2000 + 79 * 25));
        }
        assert_eq!(anchor.ahead(ms(9000)), Duration::from_millis(300 + 1975));
        at(5, &mut anchor);
        assert_eq!(anchor.moved(), 0);
        assert_eq!(at(6, &mut anchor), ms(1000 + 12_000 + 900 + 300 + 79 * 25));
        assert_eq!(anchor.moved(), 1, "once");
    }
}
