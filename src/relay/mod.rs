//! A stream that arrives as segments over HTTP: HLS playlists (RFC 8216), and trickle channels, as a pure state machine.
//!
//! [`Relay`] is told what happened ([`Input`]) and when; it says what to ask for ([`Action`]), gives the stream in order
//! ([`Media`]) and says when to be woken. It knows no socket and no clock. [`shell`] drives it.
//!
//! ```text
//!               #EXTM3U  ──> Hls:     list ─ every target duration ─> segments, two at a time, in order
//!  Knocking ──<
//!               anything ──> Trickle: newest ─> its number, and the next one at once, which waits until it exists
//!     ^ back-off                        │
//!     └────── neither, nor ever was ────┘
//! ```
//!
//! Decisions where the protocols leave room:
//!
//! - **Bytes leave as they arrive**, in whole packets: a segment that is still being made is watched already. What waits
//!   is bounded by not reading on, so a slow consumer slows the server down and nothing else.
//! - **Nothing is fetched twice**, but for a segment of which nothing came by an accident, once.
//! - **What is lost is passed over**, counted and marked: the next piece says that it does not continue.
//! - **Time-outs come from the segments' own duration.** A server is asked again for a list by RFC 8216, 6.3.4, for a
//!   channel's next segment when four times their distance have passed.
//! - **A playlist is written by others.** It may lead to its own host, and by https elsewhere; the token goes to the
//!   configured origin alone.
//! - **A stream that ended is looked for again**, with waits that grow to ten seconds.

mod address;
mod conveyor;
mod core;
mod hls;
mod machine;
mod playlist;
pub mod shell;
mod trickle;
mod trouble;
mod wire;

#[cfg(test)]
mod tests;

pub use address::shown;
pub use machine::Relay;
pub use trouble::Trouble;
pub use wire::{Action, Failure, Fetch, FetchId, Head, Input, Limits, Media, Numbers, Protocol};
