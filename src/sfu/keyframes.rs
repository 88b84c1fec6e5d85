//! Keyframe requests of one stream: many wishes, few keyframes.

use std::time::{Duration, Instant};

/// The least time between two forced keyframes of one stream.
pub(super) const THROTTLE: Duration = Duration::from_millis(500);

/// How long a publisher may take to send the keyframe it was asked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Merges wishes and puts them off; never forgets one.
#[derive(Debug, Default)]
pub(super) struct Keyframes {
    wanted: bool,
    last: Option<Instant>,
}

impl Keyframes {
    /// Somebody needs one.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Somebody still waits for one: the last request, or the keyframe, may have been lost on the way.
    pub(super) fn want_still(&mut self, now: Instant) {
        self.wanted |= self.last.is_none_or(|last| now.saturating_duration_since(last) >= PATIENCE);
    }

    /// A keyframe came by itself: whoever waited has it.
    pub(super) fn came(&mut self) {
        self.wanted = false;
    }

    /// When the next request may go out, if one is wanted.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.last.map_or(now, |last| last + THROTTLE))
    }

    /// Whether to pass a request on now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.due(now).is_some_and(|due| due <= now);
        if due {
            self.wanted = false;
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn requests_are_merged_put_off_and_not_forgotten() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut keyframes = Keyframes::default();
        assert_eq!((keyframes.take(at(0)), keyframes.due(at(0))), (false, None));
        keyframes.want();
        keyframes.want();
        assert!(keyframes.take(at(0)));
        assert!(!keyframes.take(at(0)), "merged");
        keyframes.want();
        assert!(!keyframes.take(at(499)));
        assert_eq!(keyframes.due(at(499)), Some(at(500)));
        assert!(keyframes.take(at(500)), "put off, not dropped");
        keyframes.want();
        keyframes.came();
        assert!(!keyframes.take(at(2_000)));
    }
}
