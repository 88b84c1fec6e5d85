//! The composition root: the parts become the running appliance.
//!
//! ```text
//!  Options ─> files ─> config, profiles, fragments ─┐
//!  GStreamer, devices ─> Inventory ─────────────────┴─> Plan ─> Part (one per graph, under `lifecycle`)
//!  listeners, SFU: up before any graph, so that a port in use leaves nothing half started
//!  Change: another profile, a reload, on and off air: one at a time, proven before it counts
//!  Appliance: one loop hears graphs, commands and signals; tells snapshots of `control::State`
//! ```

mod adapt;
mod appliance;
mod change;
mod compose;
mod doors;
mod error;
mod ladder;
mod network;
mod options;
mod orders;
mod outputs;
mod part;
mod recordings;
mod reload;
mod remembered;
mod secret;
mod snapshot;
mod socket;
mod sound;
mod source;
mod start;
mod survey;
mod systemd;
mod target;
mod usage;
mod watchdog;

pub mod doctor;
pub mod files;

pub use error::RunError;
pub use options::Options;
pub use socket::SocketPlaces;
pub use start::{Live, run};
pub use survey::{know_candidates, know_remembered, pictures, prober, survey, survey_file};

pub use crate::telemetry::{Logging, start_logging};
