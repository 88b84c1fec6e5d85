//! Which indices were used of late: a replay window (RFC 3711 §3.3.2), for what is received and for what is sealed.

const WORDS: usize = 16;
/// Indices that are told apart.
const WIDTH: u64 = 64 * WORDS as u64;

/// The last 1,024 indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// One past the newest.
    end: u64,
    used: [u64; WORDS],
}

impl Window {
    /// Whether `index` may be used: not used yet, and not too old to tell.
    pub(super) fn is_free(&self, index: u64) -> bool {
        index >= self.end || (self.end - index <= WIDTH && self.used[word(index)] & bit(index) == 0)
    }

    /// Uses `index`; `false`, and nothing is changed, where it may not be.
    pub(super) fn take(&mut self, index: u64) -> bool {
        if !self.is_free(index) {
            return false;
        }
        if index >= self.end {
            if index - self.end >= WIDTH {
                self.used = [0; WORDS];
            } else {
                for passed in self.end..index {
                    self.used[word(passed)] &= !bit(passed);
                }
            }
            self.end = index + 1;
        }
        self.used[word(index)] |= bit(index);
        true
    }
}

fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_index_is_used_twice_and_every_new_one_of_late_may_be(
            steps in prop::collection::vec(prop_oneof![8 => -20i64..30, 1 => -3_000i64..3_000], 1..2_000),
        ) {
            let (mut window, mut used, mut at) = (Window::default(), std::collections::HashSet::new(), 5_000i64);
            for step in steps {
                at = (at + step).max(0);
                let index = at as u64;
                let newest = used.iter().max().copied();
                let late = newest.is_some_and(|newest: u64| newest >= index + WIDTH);
                prop_assert_eq!(window.take(index), !late && !used.contains(&index));
                if !late {
                    used.insert(index);
                }
            }
        }
    }
}
