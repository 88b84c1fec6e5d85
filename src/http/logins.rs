//! Browsers that showed the control token once: a page cannot send it with every request, so a cookie stands for it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::access::Guesses;

/// How long a login lasts.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Logins at one time; one more ends the oldest.
const MOST: usize = 64;
/// Random bytes of a login's name.
const LENGTH: usize = 32;

/// Logins; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Logins(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// What the cookie holds, and since when.
    open: Vec<([u8; LENGTH], Instant)>,
    failures: Guesses,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins(…)")
    }
}

impl Logins {
    /// What a wrong token costs: how long this network has to wait, if it has to.
    pub(super) fn wait(&self, source: Option<IpAddr>) -> Option<Duration> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        source.and_then(|source| inner.failures.wait(source, now()))
    }

    /// A wrong token came from there.
    pub(super) fn note_failure(&self, source: Option<IpAddr>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = source {
            inner.failures.note(source, now());
        }
    }

    /// Opens one; gives what its cookie holds. None when the system has no randomness.
    pub(super) fn open(&self) -> Option<String> {
        self.open_at(now())
    }

    fn open_at(&self, now: Instant) -> Option<String> {
        let mut secret = [0; LENGTH];
        getrandom::fill(&mut secret).ok()?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.open.retain(|(_, since)| now.saturating_duration_since(*since) < LIFE);
        // In order of age.
        if inner.open.len() >= MOST {
            inner.open.remove(0);
        }
        inner.open.push((secret, now));
        Some(URL_SAFE_NO_PAD.encode(secret))
    }

    /// Is it open?
    pub(super) fn is_open(&self, cookie: &str) -> bool {
        self.is_open_at(cookie, now())
    }

    fn is_open_at(&self, cookie: &str, now: Instant) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(cookie) else { return false };
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Every one is compared, whole, whichever fits.
        let mut found = subtle::Choice::from(0);
        for (secret, since) in &inner.open {
            let lasts = now.saturating_duration_since(*since) < LIFE;
            found |= secret.as_slice().ct_eq(&given) & subtle::Choice::from(u8::from(lasts));
        }
        found.into()
    }

    /// Ends all.
    pub(super) fn close_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.clear();
    }

    /// Ends it.
    pub(super) fn close(&self, cookie: &str) {
        let Ok(given) = URL_SAFE_NO_PAD.decode(cookie) else { return };
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.open.retain(|(secret, _)| !bool::from(secret.as_slice().ct_eq(&given)));
    }
}

#[expect(clippy::disallowed_methods, reason = "logins end by the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_opens_lasts_and_ends() {
        let (logins, start) = (Logins::default(), now());
        let cookie = logins.open_at(start).unwrap();
        assert_ne!(cookie, logins.open_at(start).unwrap());
        assert!(logins.is_open_at(&cookie, start + LIFE - Duration::from_secs(1)));
        for wrong in ["", "x", &cookie[1..], &cookie.replace(&cookie[..1], "?")] {
            assert!(!logins.is_open_at(wrong, start), "{wrong}");
        }
        assert!(!logins.is_open_at(&cookie, start + LIFE));
        logins.close(&cookie);
        assert!(!logins.is_open_at(&cookie, start));
    }

    #[test]
    fn there_are_never_more_than_so_many_and_the_oldest_goes() {
        let (logins, start) = (Logins::default(), now());
        let all: Vec<_> = (0..=MOST).map(|_| logins.open_at(start).unwrap()).collect();
        let open = |at: usize| logins.is_open_at(&all[at], start);
        assert_eq!((open(0), open(1), open(MOST)), (false, true, true));
        assert!(!format!("{logins:?}").contains(&all[1]));
    }
}
