//! One WHIP output: the publishing machine of [`crate::whip::client`], driven in real time.
//!
//! Each output is a task of its own with a transport of its own, so that nothing of one reaches another. The machine
//! decides everything; here are its clock, its HTTP and its transport.

mod driver;
mod server;
mod wires;

use std::sync::Arc;

use super::Output;
use crate::engine::Engine;
use crate::engine::webrtc::{Lane, Relay};

pub use wires::Wires;
pub(in crate::output) use wires::said;

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

/// Starts the output's task, and publishing.
pub fn start(engine: &Engine, wires: &Wires, settings: Settings) -> Output {
    let unfinished = |output: &str| tracing::info!(output, "the server did not confirm the end in time");
    Output::spawn(
        (settings.name.clone(), settings.adaptive, unfinished),
        Arc::clone(&settings.lanes),
        |orders| driver::Driver::new(engine.clone(), wires, settings, orders).run(),
    )
}
