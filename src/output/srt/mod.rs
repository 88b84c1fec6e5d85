//! SRT: the stream, as it is encoded, as an MPEG transport stream to a receiver, or to whoever calls.
//!
//! Each output is a task of its own with a pipeline of its own for each connection. A connection that ends or never comes
//! about is made again, after waits that grow; a listener stays and feeds whoever is there.

mod driver;
mod gauge;
mod words;

use std::sync::Arc;

use super::Output;
use crate::engine::Engine;
use crate::engine::webrtc::Lane;
use crate::media::{SrtPeer, TsSound};

/// Reads the passphrase, now; none where media goes as it is.
pub type Passphrase = Box<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// Where to send, and what.
pub struct Settings {
    /// The output's name.
    pub name: String,
    /// The other side, or where to wait for it.
    pub peer: SrtPeer,
    /// Read at each connection, so that a changed file counts.
    pub passphrase: Passphrase,
    /// What is sent; the picture first.
    pub lanes: Arc<[Lane]>,
    /// As what sound is sent.
    pub sound: TsSound,
    /// May it lower the encoder's bitrate?
    pub adaptive: bool,
    /// Moves the waits between attempts.
    pub seed: u64,
}

/// Starts the output's task, and sending.
pub fn start(engine: &Engine, settings: Settings) -> Output {
    let unfinished = |output: &str| tracing::info!(output, "the SRT connection did not end in time");
    Output::spawn(
        (settings.name.clone(), settings.adaptive, unfinished),
        Arc::clone(&settings.lanes),
        |orders| driver::Driver::new(engine.clone(), settings, orders).run(),
    )
}
