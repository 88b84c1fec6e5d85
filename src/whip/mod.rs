//! WHIP and WHEP words for server and client: what travels beside the SDP; and the publishing client's life as a pure
//! state machine.
//!
//! Nothing here reads a clock, opens a socket or knows a media library: text goes in and comes out, `now` is an
//! argument. [`client`] is the publishing side.

pub mod broadcast_box;
pub mod client;
mod fragment;
pub mod link;
pub mod trickle;

pub use fragment::{Fragment, FragmentError};
