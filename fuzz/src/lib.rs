//! Those parts of Capcast that strangers' bytes reach, compiled from its own sources. The targets themselves stand in
//! `src/fuzzing.rs`, where `cargo test` has them digest the corpora.

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]

mod access;
#[path = "../../src/fuzzing.rs"]
pub mod fuzzing;
#[path = "../../src/media/mod.rs"]
pub mod media;
#[path = "../../src/sfu/mod.rs"]
pub mod sfu;
#[path = "../../src/http/wanted.rs"]
mod wanted;
#[path = "../../src/whip/mod.rs"]
pub mod whip;

/// As much of `http` as the targets need.
mod http {
    pub(crate) use crate::access::token::fuzzed as fuzzed_token;
    pub(crate) use crate::wanted::Wanted;
}
