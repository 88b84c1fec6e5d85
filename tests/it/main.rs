//! Integration tests, one binary: `cargo test --test it`, or one area with `cargo test --test it engine::`.

mod aiortc;
mod browser;
mod diagnostics;
mod docs;
mod engine;
mod http;
mod launch;
mod plans;
mod run;
mod sfu;
mod tidy;
