//! What comes after a file's last unit. Another encoder's pictures do not fit below the file's header, so from its first
//! one on everything is kept for the file that follows, which begins with it: nothing is lost while that one is made.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::engine::intake::Intake;
use crate::media::{AccessUnit, Codec, Make, MediaKind};
use crate::plan::QueueClass;

/// One medium's remainder, at its way into a file. Units come one after the other, so nothing here is written by two at once.
#[derive(Default)]
pub(in crate::engine) struct Succession {
    /// What the file is made of, once it has begun.
    make: OnceLock<Make>,
    over: AtomicBool,
    kept: ArcSwap<Vec<AccessUnit>>,
    /// The file before keeps what this one begins with.
    before: ArcSwapOption<Intake>,
}

impl Succession {
    /// The file is made of this, and of nothing else.
    pub(in crate::engine) fn begin(&self, make: Make) {
        let _ = self.make.set(make);
    }

    /// Another encoder has taken over.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Does the file end before this unit?
    pub(in crate::engine) fn ends(&self, unit: &AccessUnit) -> bool {
        let ends = self.is_over() || self.make.get().is_some_and(|make| *make != unit.make);
        self.over.store(ends, Relaxed);
        ends
    }

    /// Keeps a unit for the next file; gives how many were lost with it. What is too much goes up to the next keyframe.
    pub(in crate::engine) fn keep(&self, unit: &AccessUnit, most: QueueClass) -> u64 {
        let mut kept = Vec::clone(&self.kept.load());
        let time = kept.first().map(|first| unit.pts.saturating_since(first.pts)).unwrap_or_default();
        let bytes = kept.iter().map(|unit| unit.data.len() as u64).sum::<u64>() + unit.data.len() as u64;
        let lost = if time > most.time || (most.bytes > 0 && bytes > most.bytes) {
            kept.drain(..).count() as u64 + 1
        } else if kept.is_empty() && !unit.keyframe {
            1
        } else {
            kept.push(unit.clone());
            0
        };
        self.kept.store(Arc::new(kept));
        lost
    }

    /// Begins with what `before` keeps.
    pub(in crate::engine) fn follow(&self, before: &Arc<Intake>) {
        self.before.store(Some(Arc::clone(before)));
    }

    /// Is it to begin with what the file before keeps?
    pub(in crate::engine) fn follows(&self) -> bool {
        self.before.load().is_some()
    }

    /// What the file before kept until now; once.
    pub(in crate::engine) fn inherit(&self) -> Arc<Vec<AccessUnit>> {
        let Some(before) = self.before.swap(None) else { return Arc::default() };
        before.close();
        before.succession().map(|succession| succession.kept.swap(Arc::default())).unwrap_or_default()
    }
}

/// All that is kept for the file that follows.
#[derive(Clone)]
pub struct Remainder {
    pub(super) intakes: Vec<Arc<Intake>>,
}

impl Remainder {
    /// Codec and make of what comes first, unless that was too much to keep.
    pub(super) fn first(&self, kind: MediaKind) -> Option<(Codec, Make)> {
        let kept = self.of(kind)?.succession()?.kept.load();
        kept.first().map(|unit| (unit.codec, unit.make))
    }

    pub(super) fn of(&self, kind: MediaKind) -> Option<&Arc<Intake>> {
        self.intakes.iter().find(|intake| intake.kind() == kind)
    }
}
