//! Relays of segments, and the servers that tests have for them.

mod lists;
mod reading;
pub(crate) mod server;
