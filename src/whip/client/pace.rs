//! How long to wait before the next attempt.

use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::media::Backoff;

/// The first wait after a failure, before its jitter.
pub(super) const FIRST: Duration = Duration::from_millis(500);
/// The longest wait, jitter included.
pub(super) const LONGEST: Duration = Duration::from_secs(15);
/// Having been live this long, a session's failures are counted anew: what a server costs that loses every session is
/// then one POST in so many seconds at most.
pub(super) const SETTLED: Duration = Duration::from_secs(5);
/// Between attempts, whatever is commanded meanwhile.
pub(super) const SPACING: Duration = Duration::from_secs(1);
/// As long as Broadcast Box may hold a lost publisher (30 s), and some more.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(40);
/// Then somebody else publishes; each refused attempt costs the server memory.
const BUSY_LATER: Duration = Duration::from_secs(30);
/// Where nobody listens, before its jitter: a server that starts. Asking costs a TCP handshake that the kernel refuses.
const NOBODY: Duration = Duration::from_millis(1_500);
/// No server puts us off for longer than this.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// The waits of one session.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    backoff: Backoff,
    busy_since: Option<Instant>,
}

impl Pace {
    pub(super) const fn new(seed: u64) -> Self {
        Pace { backoff: Backoff::new(FIRST, LONGEST, seed), busy_since: None }
    }

    /// All is well: the next wait is the first again.
    pub(super) const fn reset(&mut self) {
        self.backoff.reset();
        self.busy_since = None;
    }

    /// The server is not (or no longer) busy with another publisher.
    pub(super) const fn not_busy(&mut self) {
        self.busy_since = None;
    }

    /// After a failure: 0.5 s doubling to 15 s, a quarter either way.
    pub(super) fn back_off(&mut self) -> Duration {
        self.backoff.next_wait()
    }

    /// While nobody listens: 1 to 2 s, however often it was asked. What the back-off has grown to stays.
    pub(super) fn nobody(&mut self) -> Duration {
        NOBODY.mul_f64((2.0 + 2.0 * self.backoff.unit()) / 3.0)
    }

    /// After a failure whose answer says when to come back: not sooner than that, nor than the back-off, and later by
    /// up to a tenth; in two minutes at the latest.
    pub(super) fn asked(&mut self, after: Duration) -> Duration {
        let back_off = self.back_off();
        let after = after.min(LONGEST_ASKED).mul_f64(1.0 + 0.1 * self.backoff.unit());
        after.max(back_off).min(LONGEST_ASKED)
    }

    /// While the server still has a publisher: 2 to 3 s for 40 s, about 30 s then. Says whether it is then.
    pub(super) fn busy(&mut self, now: Instant) -> (Duration, bool) {
        let since = *self.busy_since.get_or_insert(now);
        let unit = self.backoff.unit();
        if now.saturating_duration_since(since) < BUSY_PATIENCE {
            (Duration::from_secs(2) + Duration::from_secs(1).mul_f64(unit), false)
        } else {
            (BUSY_LATER.mul_f64(0.9 + 0.2 * unit), true)
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3). A date is counted from the answer's own `Date`, so that
/// clocks need not agree; from our wall clock where there is none.
pub(super) fn retry_after(headers: &HeaderMap, wall: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST_ASKED, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let said = headers.get(DATE).and_then(|value| value.to_str().ok());
    let from = said.and_then(|said| httpdate::parse_http_date(said).ok()).unwrap_or(wall);
    Some(date.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wall = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        let cases = [
            ("7", None, Some(7)),
            (" 0 ", None, Some(0)),
            ("99999999999999999999999", None, Some(120)),
            ("Wed, 21 Oct 2026 07:28:30 GMT", None, Some(30)),
            ("Wed, 21 Oct 2026 07:00:30 GMT", Some("Wed, 21 Oct 2026 07:00:00 GMT"), Some(30)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", None, Some(0)),
            ("soon", None, None),
            ("-1", None, None),
            ("", None, None),
        ];
        for (value, date, secs) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, wall), secs.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), wall), None);
    }

    #[test]
    fn what_a_server_asks_for_is_honoured_within_bounds() {
        let mut pace = Pace::new(3);
        let wait = pace.asked(Duration::from_secs(20));
        assert!((20.0..=22.0).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(pace.asked(Duration::ZERO) >= Duration::from_millis(750), "never below the back-off");
        assert_eq!(pace.asked(Duration::from_secs(86_400)), LONGEST_ASKED);
    }
}
