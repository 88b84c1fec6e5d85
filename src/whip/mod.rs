//! WHIP and WHEP words: what travels beside the SDP, for server and client.

mod fragment;

pub use fragment::{Fragment, FragmentError};
