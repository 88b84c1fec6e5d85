//! Integration tests, one binary: `cargo test --test it`, or one area with `cargo test --test it engine::`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test is a shell: it reads the clock for its deadlines, and fails by panicking; sleeps are tidy's to find"
)]

mod aiortc;
mod appliance;
mod browser;
mod detour;
mod diagnostics;
mod docs;
mod doctor;
mod elements;
mod engine;
mod follow;
mod http;
mod interop;
mod json;
mod ladder;
mod launch;
mod lines;
mod looks;
mod packaged;
mod panel;
mod plans;
mod probe;
mod quality;
mod reach;
mod record;
mod relay;
mod rooms;
mod run;
mod sfu;
mod soak;
mod srt_bad;
mod srt_in;
mod srt_out;
mod supervised;
mod switch;
mod sync;
mod tidy;
mod trickle_out;
mod watcher;
mod whip;
mod whip_codecs;
mod whip_out;
mod whip_rules;
mod whip_ways;
