//! Documents about the box that take a look at it: one look serves all who ask at the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use super::recordings::Find;
use super::{ApiError, Doctor};

/// How old a look at the box may be.
const FRESH: Duration = Duration::from_secs(1);

/// What `/api/profiles`, `/api/devices` and `/api/doctor` answer with.
pub struct Documents {
    /// As `capcast profiles --json`.
    pub profiles: Document,
    /// As `capcast devices --json`.
    pub devices: Document,
    /// What was recorded, as `/api/recordings` has it.
    pub recordings: Document,
    /// Finds one of those files.
    pub recording: Find,
    /// Looks at the box when told to.
    pub doctor: Doctor,
}

/// One JSON document. It is made off the async threads, at most once a second and by one thread at a time, however many
/// ask; cheap to clone.
#[derive(Clone)]
pub struct Document {
    make: Arc<dyn Fn() -> Result<Value, String> + Send + Sync>,
    made: Arc<Mutex<Option<Made>>>,
}

struct Made {
    at: Instant,
    result: Result<Value, String>,
}

impl Document {
    /// Made by this, or it says why not.
    pub fn new(make: impl Fn() -> Result<Value, String> + Send + Sync + 'static) -> Document {
        Document { make: Arc::new(make), made: Arc::default() }
    }

    /// As of a second ago at most. Whoever leaves while it is made leaves the work to the others.
    #[expect(clippy::disallowed_methods, reason = "how old a document is: its clock")]
    pub(super) async fn get(&self) -> Result<Value, ApiError> {
        let mut made = self.made.clone().lock_owned().await;
        if let Some(made) = made.as_ref().filter(|made| made.at.elapsed() < FRESH) {
            return made.result.clone().map_err(ApiError::Failed);
        }
        let make = self.make.clone();
        // The lock goes along: it is held until the thread is done, also when this request is given up.
        let work = tokio::task::spawn_blocking(move || {
            let result = make();
            *made = Some(Made { at: Instant::now(), result: result.clone() });
            result
        });
        match work.await {
            Ok(result) => result.map_err(ApiError::Failed),
            Err(_) => Err(ApiError::Failed("looking at the box met a bug in Capcast".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_look_serves_everybody() {
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        let document = Document::new(move || Ok(Value::from(counted.fetch_add(1, Ordering::SeqCst))));
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let document = document.clone();
                tokio::spawn(async move { document.get().await })
            })
            .collect();
        for asked in asked {
            assert!(asked.await.unwrap().is_ok());
        }
        // A slow machine may take more than a second for fifty of them, but never one look each.
        assert!(looks.load(Ordering::SeqCst) < 5, "{looks:?} looks");
    }
}
