//! One WHIP output: the publishing machine of [`crate::whip::client`], driven in real time.
//!
//! Each output is a task of its own with a transport of its own, so that nothing of one reaches another. The machine
//! decides everything; here are its clock, its HTTP and its transport.

mod driver;
mod server;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::adapt::Way;
use super::{Order, Report};
use crate::engine::Engine;
use crate::engine::webrtc::{Lane, Relay};
use crate::media::{Bitrate, MediaKind};
use crate::whip::client::Phase;

pub use wires::Wires;

/// Reads an output's key, now; none where none is configured.
pub type Key = Box<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// Reads which STUN and TURN servers an output is to use besides those that its server announces.
pub type Relays = Box<dyn Fn() -> Result<Vec<Relay>, String> + Send + Sync>;

/// Reads an output's URL, now.
pub type Place = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Where to publish, and what.
pub struct Settings {
    /// The output's name.
    pub name: String,
    /// As configured; read at each connection, for it may stand in a file of its own.
    pub url: Place,
    /// Read at each connection, so that a changed file counts.
    pub key: Key,
    /// STUN and TURN servers of the configuration; read at each connection as well.
    pub relays: Relays,
    /// What is published; the picture first.
    pub lanes: Arc<[Lane]>,
    /// May it lower the encoder's bitrate?
    pub adaptive: bool,
    /// Moves the machine's waits.
    pub seed: u64,
}

/// One output. Ends when dropped, without a farewell; see [`Whip::finish`].
pub struct Whip {
    name: String,
    adaptive: bool,
    orders: mpsc::Sender<Order>,
    lanes: watch::Sender<Arc<[Lane]>>,
    report: Arc<ArcSwap<Report>>,
    task: Option<JoinHandle<()>>,
}

impl Whip {
    /// Starts its task, and publishing.
    pub fn start(engine: &Engine, wires: &Wires, settings: Settings) -> Whip {
        let (orders, inbox) = mpsc::channel(super::ORDERS);
        let report = Arc::new(ArcSwap::from_pointee(Report::new(Phase::Idle.as_str())));
        let (name, adaptive) = (settings.name.clone(), settings.adaptive);
        let (lanes, changed) = watch::channel(Arc::clone(&settings.lanes));
        let hears = driver::Hears { inbox, lanes: changed };
        let driver = driver::Driver::new(engine.clone(), wires.clone(), settings, hears, Arc::clone(&report));
        let task = Some(tokio::spawn(driver.run()));
        let whip = Whip { name, adaptive, orders, lanes, report, task };
        whip.publish();
        whip
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

    /// Publishes these from now on: the encoder was changed. With the same codecs the session goes on; with others it is
    /// made anew.
    pub fn carry(&self, lanes: Arc<[Lane]>) {
        self.lanes.send_replace(lanes);
    }

    /// Publishes, if it does not. A wait for a retry goes on.
    pub fn publish(&self) {
        // Full means that one waits already.
        let _ = self.orders.try_send(Order::Start);
    }

    /// Publishes no more: the session is DELETEd.
    pub fn stop(&self) {
        let _ = self.orders.try_send(Order::Stop);
    }

    /// What is known of it now.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Ends it: the session is DELETEd if that takes no longer than `within`.
    pub async fn finish(mut self, within: Duration) {
        let Some(mut task) = self.task.take() else { return };
        let _ = self.orders.try_send(Order::Finish);
        if tokio::time::timeout(within, &mut task).await.is_err() {
            tracing::info!(output = %self.name, "the server did not confirm the end in time");
            task.abort();
        }
    }
}

impl Drop for Whip {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
