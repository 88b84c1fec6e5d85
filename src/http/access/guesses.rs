//! Wrong keys, counted for the network they came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong keys that one network may send within [`WINDOW`].
pub(super) const MAX_GUESSES: u32 = 20;
/// How long they count.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Networks remembered at one time. When there are more, the oldest is forgotten: guessing from so many places is not
/// what this can stop, and a key of any length does.
const MAX_NETWORKS: usize = 1_024;

/// Wrong keys by network: how many, and since when.
#[derive(Debug, Default)]
pub(in crate::http) struct Guesses(HashMap<IpAddr, (u32, Instant)>);

impl Guesses {
    /// How long this network has to wait, if it has to.
    pub(in crate::http) fn wait(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        let (count, since) = self.0.get(&source)?;
        let left =
            WINDOW.checked_sub(now.saturating_duration_since(*since)).filter(|left| !left.is_zero())?;
        (*count >= MAX_GUESSES).then_some(left)
    }

    /// A wrong one came from there.
    pub(in crate::http) fn note(&mut self, source: IpAddr, now: Instant) {
        if self.0.len() >= MAX_NETWORKS && !self.0.contains_key(&source) {
            self.0.retain(|_, (_, since)| now.saturating_duration_since(*since) < WINDOW);
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX_NETWORKS) {
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

    fn network(peer: &str) -> IpAddr {
        Via::Tcp(peer.parse().unwrap()).network().unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
    fn guessing_is_slowed_down_for_the_guesser_alone_and_for_a_while() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        let guesser = network("[2001:db8::1]:5");
        for _ in 0..MAX_GUESSES {
            assert_eq!(guesses.wait(guesser, now), None);
            guesses.note(guesser, now);
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(
            guesses.wait(network("[2001:db8::99]:6"), later),
            Some(Duration::from_secs(40)),
            "the same network"
        );
        assert_eq!(guesses.wait(network("[2001:db8:1::1]:5"), later), None);
        assert_eq!(guesses.wait(guesser, now + WINDOW), None);
        for n in 0..3_000_u16 {
            let [high, low] = n.to_be_bytes();
            guesses.note(network(&format!("10.0.{high}.{low}:1")), later);
        }
        assert!(guesses.0.len() <= MAX_NETWORKS);
    }
}
