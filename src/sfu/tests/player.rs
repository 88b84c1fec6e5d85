//! What a player can show of what arrives: pictures that are whole, and so is all that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::client::Got;

/// Pictures by the numbers of their packets, which are one sequence through all that happens.
#[derive(Default)]
pub(super) struct Player {
    /// Those that are not shown yet, by the number of the first packet.
    pictures: BTreeMap<u64, Picture>,
    /// The number after the last picture that was shown.
    next: Option<u64>,
    /// Which picture was shown when.
    shown: Vec<(u32, Instant)>,
}

struct Picture {
    parts: BTreeSet<u8>,
    count: u8,
    keyframe: bool,
    frame: u32,
}

impl Player {
    pub(super) fn take(&mut self, got: &Got) {
        let first = got.sequence - u64::from(got.index);
        if self.next.is_some_and(|next| first < next) {
            return;
        }
        let picture = self.pictures.entry(first).or_insert_with(|| Picture {
            parts: BTreeSet::new(),
            count: got.count,
            keyframe: got.keyframe,
            frame: got.frame,
        });
        picture.parts.insert(got.index);
        let can_show = |next: Option<u64>, first: u64, picture: &Picture| {
            picture.parts.len() == usize::from(picture.count) && (picture.keyframe || next == Some(first))
        };
        while let Some(first) = self
            .pictures
            .iter()
            .find(|(first, picture)| can_show(self.next, **first, picture))
            .map(|(first, _)| *first)
        {
            let picture = self.pictures.remove(&first).unwrap();
            let next = first + u64::from(picture.count);
            self.pictures.retain(|other, _| *other >= next);
            self.next = Some(next);
            self.shown.push((picture.frame, got.at));
        }
    }

    /// From `since` on.
    pub(super) fn shown(&self, since: Instant) -> &[(u32, Instant)] {
        &self.shown[self.shown.partition_point(|(_, at)| *at < since)..]
    }

    /// Whether it has shown something, and nothing for so long.
    pub(super) fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        self.shown.last().is_some_and(|(_, at)| now.saturating_duration_since(*at) > patience)
    }

    /// How long it showed each picture, from `since` to `end`.
    pub(super) fn spans(&self, since: Instant, end: Instant) -> Vec<Duration> {
        let shown = self.shown(since).iter().map(|(_, at)| *at);
        let moments: Vec<Instant> = std::iter::once(since).chain(shown).chain([end]).collect();
        moments.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).collect()
    }
}
