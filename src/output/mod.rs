//! Where the box's own stream goes: the policy of each destination. Transports are `engine`'s and the SFU's.

mod adapt;
mod local;
pub mod record;
mod report;
pub mod whip;

use std::sync::Arc;
use std::time::Duration;

pub use adapt::{Adapt, Scope, Way};
pub use local::Local;
pub use record::Record;
pub use report::Report;
pub use whip::Whip;

use crate::engine::webrtc::Lane;

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

/// One configured destination, whatever its kind. Nothing of one reaches another.
pub enum Output {
    /// To a server, by WebRTC.
    Whip(Whip),
    /// Into files.
    Record(Record),
}

impl Output {
    /// Its configured name.
    pub fn name(&self) -> &str {
        match self {
            Output::Whip(whip) => whip.name(),
            Output::Record(record) => record.name(),
        }
    }

    /// May it lower the encoder's bitrate?
    pub fn is_adaptive(&self) -> bool {
        match self {
            Output::Whip(whip) => whip.is_adaptive(),
            Output::Record(_) => false,
        }
    }

    /// What the way of an adaptive output carries, while it is connected and anything is known of it.
    pub fn way(&self) -> Option<Way> {
        match self {
            Output::Whip(whip) => whip.way(),
            Output::Record(_) => None,
        }
    }

    /// Carries these from now on: the encoder was changed.
    pub fn carry(&self, lanes: Arc<[Lane]>) {
        match self {
            Output::Whip(whip) => whip.carry(lanes),
            Output::Record(record) => record.carry(lanes),
        }
    }

    /// Starts, if it does not run. A wait for a retry goes on.
    pub fn publish(&self) {
        match self {
            Output::Whip(whip) => whip.publish(),
            Output::Record(record) => record.publish(),
        }
    }

    /// Ends what it does, until it is started again.
    pub fn stop(&self) {
        match self {
            Output::Whip(whip) => whip.stop(),
            Output::Record(record) => record.stop(),
        }
    }

    /// What is known of it now.
    pub fn report(&self) -> Arc<Report> {
        match self {
            Output::Whip(whip) => whip.report(),
            Output::Record(record) => record.report(),
        }
    }

    /// Ends it in order, if that takes no longer than `within`.
    pub async fn finish(self, within: Duration) {
        match self {
            Output::Whip(whip) => whip.finish(within).await,
            Output::Record(record) => record.finish(within).await,
        }
    }
}
