//! Recording: the stream, as it is encoded, into Matroska files.
//!
//! Each recording is a task of its own with a pipeline of its own for each file. A new file begins when the codec changes
//! and after every `segment`; the one before goes on until the new one has its first keyframe, so two files may share some
//! frames and none is lost. A disk that is full ends the file and nothing else; the recording goes on in a new file when
//! there is room again.

mod driver;
mod names;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Order, Report};
use crate::engine::Engine;
use crate::engine::container::Room;
use crate::engine::webrtc::Lane;
use crate::media::ByteSize;
use crate::whip::client::Phase;

/// What to record, and where.
pub struct Settings {
    /// The output's name.
    pub name: String,
    /// Each file's path, with `{stream}` and `{time}` to be filled in; ends in `.mkv`.
    pub path: String,
    /// The stream's name.
    pub stream: String,
    /// A new file after this long.
    pub segment: Option<Duration>,
    /// Files that were last written longer ago are deleted.
    pub keep: Option<Duration>,
    /// The oldest files are deleted beyond this, all together.
    pub max_size: Option<ByteSize>,
    /// How much may wait for the disk.
    pub room: Room,
    /// What is recorded; the picture first.
    pub lanes: Arc<[Lane]>,
    /// Moves the waits between attempts.
    pub seed: u64,
}

/// One recording. Ends when dropped, and its file then has no index; see [`Record::finish`].
pub struct Record {
    name: String,
    orders: mpsc::Sender<Order>,
    lanes: watch::Sender<Arc<[Lane]>>,
    report: Arc<ArcSwap<Report>>,
    task: Option<JoinHandle<()>>,
}

impl Record {
    /// Starts its task, and recording.
    pub fn start(engine: &Engine, settings: Settings) -> Record {
        let (orders, inbox) = mpsc::channel(super::ORDERS);
        let report = Arc::new(ArcSwap::from_pointee(Report::new(Phase::Idle.as_str())));
        let name = settings.name.clone();
        let (lanes, changed) = watch::channel(Arc::clone(&settings.lanes));
        let driver = driver::Driver::new(engine.clone(), settings, inbox, changed, Arc::clone(&report));
        let record = Record { name, orders, lanes, report, task: Some(tokio::spawn(driver.run())) };
        record.publish();
        record
    }

    /// Its configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records these from now on: the encoder was changed. Another codec is another file.
    pub fn carry(&self, lanes: Arc<[Lane]>) {
        self.lanes.send_replace(lanes);
    }

    /// Records, if it does not.
    pub fn publish(&self) {
        // Full means that one waits already.
        let _ = self.orders.try_send(Order::Start);
    }

    /// Finishes the file, and records no more.
    pub fn stop(&self) {
        let _ = self.orders.try_send(Order::Stop);
    }

    /// What is known of it now.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Ends it, the file with its index if that takes no longer than `within`.
    pub async fn finish(mut self, within: Duration) {
        let Some(mut task) = self.task.take() else { return };
        let _ = self.orders.try_send(Order::Finish);
        if tokio::time::timeout(within, &mut task).await.is_err() {
            tracing::warn!(output = %self.name, "the disk did not take the end of the recording in time");
            task.abort();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
