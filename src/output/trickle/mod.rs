//! Trickle: the stream, as it is encoded, in numbered segments of an MPEG transport stream, each sent by HTTP while it is
//! made.
//!
//! A segment begins with a keyframe. It is one POST to `URL/NUMBER`, whose body grows as pictures come; the next number's
//! POST is opened beforehand, so that a keyframe waits for no connection. Who subscribes gets the next segment by a GET that
//! waits for it. The channel is made by a POST to `URL`, and ended by a DELETE.

mod driver;
mod publish;

use std::sync::Arc;

use super::Output;
use super::whip::{Key, Wires};
use crate::engine::Engine;
use crate::engine::webrtc::Lane;
use crate::media::TsSound;

/// Where to publish, and what.
pub struct Settings {
    /// The output's name.
    pub name: String,
    /// The channel's address.
    pub url: String,
    /// Read at each connection, so that a changed file counts.
    pub key: Key,
    /// What is published; the picture first.
    pub lanes: Arc<[Lane]>,
    /// As what sound it is published.
    pub sound: TsSound,
    /// Moves the waits between attempts.
    pub seed: u64,
}

/// Starts the output's task, and publishing.
pub fn start(engine: &Engine, wires: &Wires, settings: Settings) -> Output {
    let unfinished =
        |output: &str| tracing::info!(output, "the server did not confirm the channel's end in time");
    Output::spawn((settings.name.clone(), false, unfinished), Arc::clone(&settings.lanes), |orders| {
        driver::Driver::new(engine.clone(), wires.clone(), settings, orders).run()
    })
}
