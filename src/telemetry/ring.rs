//! The log's last lines, kept for whoever asks later.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::Level;
use tracing_appender::non_blocking::ErrorCounter;

/// Lines kept.
const LINES: usize = 5_000;
/// Bytes of text kept, all lines together.
const BYTES: usize = 2 * 1024 * 1024;
/// A longer line is cut.
const LONGEST: usize = 4 * 1024;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its place in the log, from 1.
    pub number: u64,
    /// When it was written, by the wall clock, since 1970.
    pub at: Duration,
    /// How much it matters.
    pub level: Level,
    /// Where in Capcast it comes from: `capcast::daemon::appliance`.
    pub target: &'static str,
    /// What it says, with its fields as `name=value`.
    pub words: String,
}

/// Lines of the log, and how many before them are kept no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPiece {
    /// In order.
    pub lines: Vec<Arc<LogLine>>,
    /// Lines between the one asked after and the first given.
    pub missed: u64,
}

/// The log's last lines: bounded, and the oldest go first. Cheap to clone.
///
/// Its lock is held for as long as it takes to move a pointer; text is made before.
#[derive(Clone, Debug)]
pub struct LogRing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    epoch: u64,
    unwritten: OnceLock<ErrorCounter>,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    last: u64,
}

impl LogRing {
    /// Empty. `epoch` tells its numbers from those of another ring.
    pub fn new(epoch: u64) -> LogRing {
        let (newest, unwritten) = (watch::Sender::new(0), OnceLock::new());
        LogRing(Arc::new(Shared { kept: Mutex::default(), newest, epoch, unwritten }))
    }

    /// The ring that this process's log goes to.
    pub fn of_process() -> LogRing {
        static RING: LazyLock<LogRing> = LazyLock::new(|| {
            let began = wall_clock();
            LogRing::new(u64::try_from(began.as_millis()).unwrap_or_default())
        });
        RING.clone()
    }

    /// What tells this ring's numbers from those of a process before or after.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Keeps a line.
    pub fn push(&self, at: Duration, level: Level, target: &'static str, mut words: String) {
        if words.len() > LONGEST {
            words.truncate(words.floor_char_boundary(LONGEST));
            words.push('…');
        }
        let mut line = Arc::new(LogLine { number: 0, at, level, target, words });
        let mut gone = Vec::new();
        let number = {
            let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.last += 1;
            if let Some(line) = Arc::get_mut(&mut line) {
                line.number = kept.last;
            }
            kept.bytes += line.words.len();
            kept.lines.push_back(line);
            while kept.lines.len() > LINES || kept.bytes > BYTES {
                let Some(oldest) = kept.lines.pop_front() else { break };
                kept.bytes -= oldest.words.len();
                gone.push(oldest);
            }
            kept.last
        };
        drop(gone);
        self.0.newest.send_if_modified(|newest| {
            let newer = number > *newest;
            *newest = number.max(*newest);
            newer
        });
    }

    /// At most `most` lines that follow line `after`; 0 asks from the oldest on, and misses nothing by that.
    pub fn after(&self, after: u64, most: usize) -> LogPiece {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = kept.lines.front().map(|line| line.number) else { return LogPiece::default() };
        let missed = if after == 0 { 0 } else { (oldest - 1).saturating_sub(after) };
        let skip = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        LogPiece { lines: kept.lines.iter().skip(skip).take(most).cloned().collect(), missed }
    }

    /// Lines that stderr has not taken in time: they are here alone.
    pub fn unwritten(&self) -> u64 {
        self.0.unwritten.get().map_or(0, |counter| counter.dropped_lines() as u64)
    }

    /// Who counts them; only the first is asked.
    pub(super) fn counts_unwritten(&self, counter: ErrorCounter) {
        let _ = self.0.unwritten.set(counter);
    }

    /// Wakes whenever there are new lines; holds the newest one's number.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }
}

/// Since 1970.
#[expect(clippy::disallowed_methods, reason = "a line of the log says when it was written")]
pub(super) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(ring: &LogRing, words: &str) {
        ring.push(Duration::from_secs(1), Level::INFO, "here", words.to_owned());
    }

    fn words(piece: &LogPiece) -> Vec<&str> {
        piece.lines.iter().map(|line| line.words.as_str()).collect()
    }

    #[test]
    fn lines_are_numbered_and_read_on_from_any_of_them() {
        let ring = LogRing::new(7);
        assert_eq!(ring.after(0, 10), LogPiece::default());
        for line in ["one", "two", "three"] {
            say(&ring, line);
        }
        assert_eq!(words(&ring.after(0, 10)), ["one", "two", "three"]);
        assert_eq!(words(&ring.after(1, 1)), ["two"]);
        assert_eq!((words(&ring.after(3, 10)), ring.after(3, 10).missed), (vec![], 0));
        assert_eq!(ring.after(99, 10), LogPiece::default(), "a number that is yet to come");
        assert_eq!(ring.after(0, 10).lines[2].number, 3);
        assert_eq!(*ring.newest().borrow(), 3);
    }

    #[test]
    fn it_is_bounded_in_lines_and_says_what_is_gone() {
        let ring = LogRing::new(7);
        for line in 1..=LINES + 10 {
            say(&ring, &line.to_string());
        }
        let piece = ring.after(4, usize::MAX);
        assert_eq!((piece.lines.len(), piece.missed), (LINES, 6));
        assert_eq!(words(&piece)[0], "11");
        assert_eq!(ring.after(0, usize::MAX).missed, 0);
    }

    #[test]
    fn it_is_bounded_in_bytes_and_cuts_long_lines_between_characters() {
        let ring = LogRing::new(7);
        for _ in 0..1_000 {
            say(&ring, &"ä".repeat(LONGEST));
        }
        let piece = ring.after(0, usize::MAX);
        let bytes: usize = piece.lines.iter().map(|line| line.words.len()).sum();
        assert!(bytes <= BYTES && bytes > BYTES - 2 * LONGEST, "{bytes}");
        assert!(piece.lines[0].words.ends_with("ä…"));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_a_line() {
        let ring = LogRing::new(7);
        let mut newest = ring.newest();
        let waiting = tokio::spawn(async move { newest.changed().await.map(|()| *newest.borrow()) });
        say(&ring, "one");
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
    }
}
