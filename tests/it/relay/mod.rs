//! Relays of segments, and the servers that tests have for them.

pub(crate) mod server;
