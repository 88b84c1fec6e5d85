//! Recording: the stream, as it is encoded, into Matroska files.
//!
//! Each recording is a task of its own with a pipeline of its own for each file. A new file begins when another encoder takes
//! over, with its first picture, and after every `segment`; there the one before goes on until the new one has its first
//! keyframe, so two files may share some frames. None is lost. A disk that is full ends the file and nothing else; the recording goes on in a new file when
//! there is room again.

mod driver;
mod names;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use super::Output;
use crate::engine::Engine;
use crate::engine::container::Room;
use crate::engine::webrtc::Lane;
use crate::media::ByteSize;

pub use shelf::{Shelf, Shelved};

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

/// Starts the recording's task, and recording.
pub fn start(engine: &Engine, settings: Settings) -> Output {
    let unfinished =
        |output: &str| tracing::warn!(output, "the disk did not take the end of the recording in time");
    Output::spawn((settings.name.clone(), false, unfinished), Arc::clone(&settings.lanes), |orders| {
        driver::Driver::new(engine.clone(), settings, orders).run()
    })
}
