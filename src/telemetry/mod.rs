//! What the daemon says of itself: the log, its last lines, and what was dropped, once a second.

mod delays;
mod drops;
mod keep;
mod logs;
mod ring;

pub use delays::Delays;
pub use drops::Drops;
pub use logs::{Logging, start_logging};
pub use ring::{LogLine, LogPiece, LogRing};
