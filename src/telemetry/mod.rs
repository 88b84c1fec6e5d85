//! What the daemon says of itself: the log, and what was dropped, once a second.

mod drops;
mod logs;

pub use drops::Drops;
pub use logs::start_logging;
