//! As much of `http::access` as signed tokens need.

#[path = "../../src/http/access/token.rs"]
pub mod token;

/// What a token is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Publish,
    View,
}
