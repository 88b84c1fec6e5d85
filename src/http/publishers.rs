//! Who may publish: keys, and how often a wrong one may be tried.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::media::StreamName;

/// Wrong keys that one address may send within [`WINDOW`].
const MAX_FAILURES: u32 = 20;
/// How long they count.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered at one time. When there are more, the oldest is forgotten: guessing from so many places is not
/// what this can stop, and a key of any length does.
const MAX_ADDRESSES: usize = 1_024;

/// The publish keys of this box; cheap to clone. Its `Debug` shows no key.
#[derive(Clone)]
pub struct Publishers {
    inner: Arc<Inner>,
}

struct Inner {
    keys: ArcSwap<Keys>,
    failures: Mutex<Failures>,
}

struct Keys {
    of: Vec<(StreamName, String)>,
    replace: bool,
}

impl std::fmt::Debug for Publishers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.inner.keys.load().of.iter().map(|(stream, _)| stream)).finish()
    }
}

/// Why a bearer opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no key, or another stream's.
    Key,
    /// Too many wrong ones came from there; come again after this.
    Later(Duration),
}

impl Publishers {
    /// Each stream with its key. With `replace`, a publisher takes over from an earlier one of the same stream.
    pub fn new(keys: Vec<(StreamName, String)>, replace: bool) -> Publishers {
        let keys = ArcSwap::from_pointee(Keys { of: keys, replace });
        Publishers { inner: Arc::new(Inner { keys, failures: Mutex::default() }) }
    }

    /// These count from now on; who publishes already goes on.
    pub fn set(&self, keys: Vec<(StreamName, String)>, replace: bool) {
        self.inner.keys.store(Arc::new(Keys { of: keys, replace }));
    }

    /// Nobody may publish.
    pub fn none() -> Publishers {
        Publishers::new(Vec::new(), true)
    }

    /// Whether a publisher takes over from an earlier one of the same stream.
    pub(super) fn may_replace(&self) -> bool {
        self.inner.keys.load().replace
    }

    /// The stream whose key the bearer is, as it stands or in base64; with `named`, only that stream's key counts.
    /// `source` is the network it came from, for which wrong ones are counted.
    #[expect(clippy::disallowed_methods, reason = "when a wrong key came: this table's clock")]
    pub(super) fn stream_of(
        &self,
        source: Option<IpAddr>,
        bearer: &str,
        named: Option<&str>,
    ) -> Result<StreamName, Refused> {
        self.stream_at(source, bearer, named, Instant::now())
    }

    fn stream_at(
        &self,
        source: Option<IpAddr>,
        bearer: &str,
        named: Option<&str>,
        now: Instant,
    ) -> Result<StreamName, Refused> {
        let mut failures = self.inner.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = source.and_then(|source| failures.wait(source, now)) {
            return Err(Refused::Later(wait));
        }
        let decoded = STANDARD.decode(bearer).unwrap_or_default();
        let keys = self.inner.keys.load();
        let mut found = u32::MAX;
        // Every key is compared, whole, whichever fits.
        for (index, (stream, key)) in (0_u32..).zip(&keys.of) {
            let right = key.as_bytes().ct_eq(bearer.as_bytes()) | key.as_bytes().ct_eq(&decoded);
            let asked = Choice::from(u8::from(named.is_none_or(|name| name == stream.as_str())));
            found.conditional_assign(&index, right & asked);
        }
        let stream = usize::try_from(found).ok().and_then(|index| keys.of.get(index));
        match stream {
            Some((stream, _)) => Ok(stream.clone()),
            None => {
                if let Some(source) = source {
                    failures.note(source, now);
                }
                Err(Refused::Key)
            }
        }
    }
}

/// Wrong keys by address: how many, and since when.
#[derive(Default)]
pub(super) struct Failures(HashMap<IpAddr, (u32, Instant)>);

impl Failures {
    /// How long this address has to wait, if it has to.
    pub(super) fn wait(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let (count, since) = self.0.get(&source)?;
        let left =
            WINDOW.checked_sub(now.saturating_duration_since(*since)).filter(|left| !left.is_zero())?;
        (*count >= MAX_FAILURES).then_some(left)
    }

    pub(super) fn note(&mut self, source: IpAddr, now: Instant) {
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&source) {
            self.0.retain(|_, (_, since)| now.saturating_duration_since(*since) < WINDOW);
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX_ADDRESSES) {
                self.0.remove(&oldest);
            }
        }
        let entry = self.0.entry(source).or_insert((0, now));
        if now.saturating_duration_since(entry.1) >= WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Via;

    fn tcp(peer: &str) -> Option<IpAddr> {
        Via::Tcp(peer.parse().unwrap()).network()
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    fn publishers() -> Publishers {
        let key = |stream: &str, key: &str| (stream.parse().unwrap(), key.to_owned());
        Publishers::new(vec![key("obs", "s3cret"), key("cam", "xbox")], true)
    }

    #[test]
    fn a_key_opens_its_own_stream_only_plain_or_in_base64() {
        let (publishers, now, via) = (publishers(), start(), tcp("192.0.2.1:5"));
        let ask = |bearer: &str, named| publishers.stream_at(via, bearer, named, now).map(|s| s.to_string());
        for (bearer, named, expected) in [
            ("s3cret", None, Ok("obs")),
            ("s3cret", Some("obs"), Ok("obs")),
            ("czNjcmV0", None, Ok("obs")),
            ("xbox", None, Ok("cam")),
            ("eGJveA==", Some("cam"), Ok("cam")),
            ("s3cret", Some("cam"), Err(Refused::Key)),
            ("s3cret", Some("nothing"), Err(Refused::Key)),
            ("s3cre", None, Err(Refused::Key)),
            ("S3cret", None, Err(Refused::Key)),
            ("obs", None, Err(Refused::Key)),
            ("", None, Err(Refused::Key)),
        ] {
            assert_eq!(ask(bearer, named), expected.map(str::to_owned), "{bearer:?} for {named:?}");
        }
        assert_eq!(Publishers::none().stream_at(via, "s3cret", None, now), Err(Refused::Key));
        publishers.set(vec![("obs".parse().unwrap(), "another".to_owned())], false);
        assert_eq!(ask("s3cret", None), Err(Refused::Key));
        assert_eq!((ask("another", None), publishers.may_replace()), (Ok("obs".to_owned()), false));
        assert_eq!(format!("{publishers:?}").matches("s3cret").count(), 0);
    }

    #[test]
    fn guessing_is_slowed_down_for_the_guesser_alone_and_for_a_while() {
        let (publishers, now) = (publishers(), start());
        let from =
            |peer: &str, bearer: &str, now| publishers.stream_at(tcp(peer), bearer, None, now).map(drop);
        for _ in 0..MAX_FAILURES {
            assert_eq!(from("[2001:db8::1]:5", "guess", now), Err(Refused::Key));
        }
        let later = now + Duration::from_secs(20);
        for bearer in ["guess", "s3cret"] {
            let refused = from("[2001:db8::99]:6", bearer, later);
            assert_eq!(refused, Err(Refused::Later(Duration::from_secs(40))), "the same network");
        }
        assert_eq!(from("[2001:db8:1::1]:5", "s3cret", later), Ok(()));
        assert_eq!(from("[2001:db8::1]:5", "s3cret", now + WINDOW), Ok(()));
        for n in 0..3_000_u16 {
            let [high, low] = n.to_be_bytes();
            let _ = from(&format!("10.0.{high}.{low}:1"), "guess", later);
        }
        assert!(publishers.inner.failures.lock().unwrap().0.len() <= MAX_ADDRESSES);
    }
}
