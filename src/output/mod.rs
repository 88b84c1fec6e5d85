//! Where the box's own stream goes: the policy of each destination. Transports are `engine`'s and the SFU's.

mod adapt;
mod attempts;
mod local;
pub mod record;
mod report;
pub mod srt;
pub mod trickle;
pub mod whip;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use adapt::{Adapt, Scope, Way};
pub use local::Local;
pub use report::Report;

use crate::engine::webrtc::Lane;
use crate::media::{Bitrate, MediaKind};
use crate::whip::client::Phase;

/// What an output's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Start,
    Stop,
    /// Stop, and end when that is done.
    Finish,
}

/// Orders that wait. The task takes them at once; more than this is nobody's need.
const ORDERS: usize = 8;

/// What every output's task has of its handle.
struct Orders {
    inbox: mpsc::Receiver<Order>,
    /// What to carry, when it changes.
    lanes: watch::Receiver<Arc<[Lane]>>,
    /// What is known of it, for others to see.
    shown: Arc<ArcSwap<Report>>,
}

/// One configured destination, whatever its kind: a task of its own, so that nothing of one reaches another. Ends when
/// dropped, without a farewell; see [`Output::finish`].
pub struct Output {
    name: String,
    adaptive: bool,
    /// Logs, of this name, that its end takes too long.
    unfinished: fn(&str),
    orders: mpsc::Sender<Order>,
    lanes: watch::Sender<Arc<[Lane]>>,
    report: Arc<ArcSwap<Report>>,
    task: Option<JoinHandle<()>>,
}

impl Output {
    /// Starts the task that `run` makes, and what it does.
    fn spawn<T: Future<Output = ()> + Send + 'static>(
        (name, adaptive, unfinished): (String, bool, fn(&str)),
        lanes: Arc<[Lane]>,
        run: impl FnOnce(Orders) -> T,
    ) -> Output {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (lanes, changed) = watch::channel(lanes);
        let report = Arc::new(ArcSwap::from_pointee(Report::new(Phase::Idle.as_str())));
        let task = tokio::spawn(run(Orders { inbox, lanes: changed, shown: Arc::clone(&report) }));
        let output = Output { name, adaptive, unfinished, orders, lanes, report, task: Some(task) };
        output.publish();
        output
    }

    /// Its configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// May it lower the encoder's bitrate?
    pub fn is_adaptive(&self) -> bool {
        self.adaptive
    }

    /// What the way of an adaptive output carries, while it is connected and anything is known of it.
    pub fn way(&self) -> Option<Way> {
        let report = self.report.load();
        let estimate = report.stats.estimate.filter(|_| self.adaptive && report.is_live())?;
        let lanes = self.lanes.borrow();
        let besides = lanes.iter().filter(|lane| lane.codec.kind() == MediaKind::Audio);
        let besides = Bitrate::from_bits(besides.map(|lane| lane.bitrate.bits()).sum());
        Some(Way { output: self.name.clone(), estimate, besides })
    }

    /// Carries these from now on: the encoder was changed. With the same codecs it goes on as it is; with others a server
    /// gets a new session, and a recording a new file.
    pub fn carry(&self, lanes: Arc<[Lane]>) {
        self.lanes.send_replace(lanes);
    }

    /// Starts, if it does not run. A wait for a retry goes on.
    pub fn publish(&self) {
        // Full means that one waits already.
        let _ = self.orders.try_send(Order::Start);
    }

    /// Ends what it does, until it is started again: a session is DELETEd, a file finished.
    pub fn stop(&self) {
        let _ = self.orders.try_send(Order::Stop);
    }

    /// What is known of it now.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Ends it in order, if that takes no longer than `within`: a session is DELETEd, a file gets its index.
    pub async fn finish(mut self, within: Duration) {
        let Some(mut task) = self.task.take() else { return };
        let _ = self.orders.try_send(Order::Finish);
        if tokio::time::timeout(within, &mut task).await.is_err() {
            (self.unfinished)(&self.name);
            task.abort();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
