//! Who may speak on an outlet, decided without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Held by at most one feed at a time. A feed that is on air picks it up and puts it down around each frame; another
/// feed's first frame takes it over in between. The only wait is for a frame that is just being handed out.
#[derive(Default)]
pub(super) struct Baton {
    /// Feed number × 2, + 1 while a frame is being handed out. Feed 0 is nobody.
    state: AtomicU64,
}

impl Baton {
    /// Picks it up if `feed` is on air.
    pub(super) fn pick_up(&self, feed: u64) -> Option<Held<'_>> {
        self.state
            .compare_exchange(feed << 1, feed << 1 | 1, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Held { baton: self, next: feed })
    }

    /// Takes it over, whoever is on air, and tells who was. Unless released to someone else, `feed` is on air from here.
    pub(super) fn take_over(&self, feed: u64) -> (u64, Held<'_>) {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            let free = state & 1 == 0;
            if free
                && self
                    .state
                    .compare_exchange_weak(state, feed << 1 | 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return (state >> 1, Held { baton: self, next: feed });
            }
            if !free {
                thread::yield_now();
            }
        }
    }

    /// Takes `feed` off air if it is on.
    pub(super) fn drop_feed(&self, feed: u64) {
        loop {
            if self.on_air() != feed {
                return;
            }
            if let Some(mut held) = self.pick_up(feed) {
                held.pass_to(0);
                return;
            }
            thread::yield_now();
        }
    }

    /// Who is on air; 0 is nobody.
    pub(super) fn on_air(&self) -> u64 {
        self.state.load(Ordering::Relaxed) >> 1
    }
}

/// The right to hand out one frame.
pub(super) struct Held<'a> {
    baton: &'a Baton,
    next: u64,
}

impl Held<'_> {
    /// Who is on air once this is dropped.
    pub(super) fn pass_to(&mut self, feed: u64) {
        self.next = feed;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.baton.state.store(self.next << 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn only_one_feed_speaks_and_none_after_it_was_replaced() {
        let baton = Baton::default();
        let spoken = Mutex::new(Vec::new());
        drop(baton.take_over(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(_held) = baton.pick_up(1) {
                    spoken.try_lock().expect("one at a time").push(1);
                }
            });
            scope.spawn(|| {
                for _ in 0..100 {
                    thread::yield_now();
                }
                let (before, held) = baton.take_over(2);
                assert_eq!(before, 1);
                spoken.try_lock().expect("one at a time").push(2);
                drop(held);
            });
        });
        let spoken = spoken.into_inner().unwrap();
        assert_eq!(spoken.iter().filter(|feed| **feed == 2).count(), 1);
        assert_eq!(spoken.last(), Some(&2));
        assert!(baton.pick_up(1).is_none());
        baton.drop_feed(1);
        assert_eq!(baton.on_air(), 2);
        baton.drop_feed(2);
        assert_eq!(baton.on_air(), 0);
    }
}
