//! Capcast: a live picture from a capture card to browsers and WHIP servers.
//!
//! Layers import downward only; `ARCHITECTURE.md` has the table and `tests/it/tidy.rs` holds it.

pub mod media;

pub mod config;
pub mod lifecycle;
pub mod plan;
pub mod probe;
pub mod relay;
pub mod sfu;
pub mod whip;

pub mod control;
pub mod device;
pub mod engine;
pub mod output;
pub mod telemetry;

pub mod http;

pub mod daemon;

pub mod cli;

#[cfg(test)]
mod fuzzing;
