//! Drops are told once a second at most, as sums: a line for each lost frame would be a flood when the box is busiest.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often drops are told.
const EVERY: Duration = Duration::from_secs(1);

/// Remembers what was told, by the place of the loss.
#[derive(Debug, Default)]
pub struct Drops {
    told: BTreeMap<String, u64>,
    due: Duration,
}

impl Drops {
    /// Takes each place's total; gives, once a second at most, the places with new losses and how many those are.
    pub fn observe(
        &mut self,
        now: Duration,
        totals: impl IntoIterator<Item = (String, u64)>,
    ) -> Vec<(String, u64)> {
        if now < self.due {
            return Vec::new();
        }
        let mut news = Vec::new();
        for (place, total) in totals {
            let told = self.told.entry(place.clone()).or_default();
            // A graph that was rebuilt may count from zero again.
            let new = if total < *told { total } else { total - *told };
            *told = total;
            if new > 0 {
                news.push((place, new));
            }
        }
        if !news.is_empty() {
            self.due = now + EVERY;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once_a_second_and_as_sums() {
        let mut drops = Drops::default();
        let at = |drops: &mut Drops, millis, total| {
            drops.observe(
                Duration::from_millis(millis),
                [("queue".to_owned(), total), ("other".to_owned(), 0)],
            )
        };
        assert_eq!(at(&mut drops, 0, 0), []);
        assert_eq!(at(&mut drops, 10, 3), [("queue".to_owned(), 3)]);
        assert_eq!(at(&mut drops, 500, 9), [], "told less than a second ago");
        assert_eq!(at(&mut drops, 1_010, 20), [("queue".to_owned(), 17)]);
        assert_eq!(at(&mut drops, 9_000, 20), []);
        assert_eq!(at(&mut drops, 9_100, 4), [("queue".to_owned(), 4)], "counts from zero after a rebuild");
    }
}
