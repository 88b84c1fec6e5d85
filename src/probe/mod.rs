//! Which encoders run here: real frames go through each, in a process of its own, and what came of it is remembered.
//!
//! ```text
//!  Prober ─ remembered? ─> Cache (encoders.json)
//!     └─ no: `capcast probe-encoder` ─ stdin: fragment's text ─> child: plan::trial ─> Engine::trial ─ stdout: verdict
//! ```
//!
//! A driver that crashes, hangs or eats memory takes a child along and nothing else.

mod cache;
mod child;
mod key;
mod libraries;
mod run;
mod starved;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::plan::{self, Fragment, Fragments, Inventory, Queues, Verdict};

use run::Outcome;

pub use cache::Cache;
pub use child::answer;

/// How long an encoder may give no frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// Children at one time. More would only fight for the cores, and an encoder that is slow for that looks broken.
const CHILDREN: usize = 2;

/// Tries encoders.
#[derive(Debug)]
pub struct Prober {
    program: PathBuf,
    cache: Mutex<Cache>,
    /// How long an encoder may give no frame.
    pub patience: Duration,
    /// Children give way to everything else: for a box that is on air.
    pub gentle: bool,
}

/// What a prober tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// So many encoders are there to be tried.
    Begin(usize),
    /// This encoder is next.
    Trying(&'a str),
    /// This came of it.
    Done(&'a str, &'a Verdict),
}

impl Prober {
    /// `program` is the Capcast that children run; `cache` is what is remembered.
    pub fn new(program: PathBuf, cache: Cache) -> Prober {
        Prober { program, cache: Mutex::new(cache), patience: PATIENCE, gentle: false }
    }

    /// What is remembered of these encoders and still holds.
    pub fn remembered(&self, encoders: &[&Fragment], fragments: &Fragments) -> BTreeMap<String, Verdict> {
        let cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = encoders.iter().filter_map(|encoder| {
            let verdict = cache.get(&encoder.name, &key::of(encoder, fragments), now())?;
            Some((encoder.name.clone(), verdict))
        });
        known.collect()
    }

    /// Tries these encoders, whatever is remembered of them, a few at a time and those in hardware one by one; remembers
    /// the verdicts. One whose elements are missing is not tried and has none: the plan says what to install.
    pub fn try_out(
        &self,
        encoders: &[&Fragment],
        (fragments, queues): (&Fragments, &Queues),
        inventory: &Inventory,
        told: &(dyn Fn(Step<'_>) + Sync),
    ) -> BTreeMap<String, Verdict> {
        let there: Vec<&Fragment> = encoders
            .iter()
            .copied()
            .filter(|encoder| plan::trial(encoder, fragments, queues, inventory).is_ok())
            .collect();
        told(Step::Begin(there.len()));
        let (next, hardware) = (AtomicUsize::new(0), Mutex::new(()));
        let outcomes = Mutex::new(BTreeMap::new());
        let work = || {
            while let Some(encoder) = there.get(next.fetch_add(1, Ordering::Relaxed)) {
                let _one_by_one = encoder.hardware.is_some().then(|| hardware.lock());
                told(Step::Trying(&encoder.name));
                let tried = self.try_one(encoder, fragments);
                let lasts = tried.is_ok();
                let outcome = tried.unwrap_or_else(|reason| Verdict::Fails(reason).into());
                told(Step::Done(&encoder.name, &outcome.verdict));
                if let Ok(mut outcomes) = outcomes.lock() {
                    outcomes.insert(encoder.name.clone(), (outcome, lasts));
                }
            }
        };
        let children = CHILDREN.min(inventory.cores.max(1) as usize).min(there.len());
        std::thread::scope(|scope| {
            for _ in 0..children {
                scope.spawn(work);
            }
        });
        let outcomes: BTreeMap<String, (Outcome, bool)> = outcomes.into_inner().unwrap_or_default();
        self.remember(&there, fragments, &outcomes);
        outcomes.into_iter().map(|(name, (outcome, _))| (name, outcome.verdict)).collect()
    }

    /// What is remembered, and for the rest of these encoders, what comes of trying them now.
    pub fn verdicts(
        &self,
        encoders: &[&Fragment],
        (fragments, queues): (&Fragments, &Queues),
        inventory: &Inventory,
        told: &(dyn Fn(Step<'_>) + Sync),
    ) -> BTreeMap<String, Verdict> {
        let mut verdicts = self.remembered(encoders, fragments);
        let new: Vec<&Fragment> =
            encoders.iter().copied().filter(|encoder| !verdicts.contains_key(&encoder.name)).collect();
        verdicts.extend(self.try_out(&new, (fragments, queues), inventory, told));
        verdicts
    }

    /// What a start needs to know of these candidates, best first: what is remembered, and of hardware that was never
    /// tried what comes of it now, up to the first that runs. Software that was never tried is trusted, so that a start
    /// does not wait for it: its libraries are the distribution's, and no driver is involved.
    pub fn before_start(
        &self,
        candidates: &[&Fragment],
        (fragments, queues): (&Fragments, &Queues),
        inventory: &Inventory,
    ) -> BTreeMap<String, Verdict> {
        let mut verdicts = self.remembered(candidates, fragments);
        for candidate in candidates {
            if !verdicts.contains_key(&candidate.name) && candidate.hardware.is_some() {
                verdicts.extend(self.try_out(&[candidate], (fragments, queues), inventory, &|_| ()));
            }
            let there = plan::trial(candidate, fragments, queues, inventory).is_ok();
            if there && !matches!(verdicts.get(&candidate.name), Some(Verdict::Fails(_))) {
                break;
            }
        }
        verdicts
    }

    /// What came of it; an error where no child could be had, which says nothing of the encoder and is not remembered.
    fn try_one(&self, encoder: &Fragment, fragments: &Fragments) -> Result<Outcome, String> {
        let question = child::question(encoder, fragments, self.patience, self.gentle);
        run::child(&self.program, &question, self.patience, encoder.hardware.is_some())
    }

    fn remember(
        &self,
        tried: &[&Fragment],
        fragments: &Fragments,
        outcomes: &BTreeMap<String, (Outcome, bool)>,
    ) {
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for encoder in tried {
            if let Some((outcome, true)) = outcomes.get(&encoder.name) {
                cache.put(&encoder.name, key::of(encoder, fragments), outcome, now());
            }
        }
        if !outcomes.is_empty() {
            cache.save();
        }
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "how old a verdict is; a restart does not end it")]
fn now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
