//! One graph's life as a state machine: events in; actions and a deadline out.
//!
//! Pure: it reads no clock and holds no graph. Whoever supervises a graph feeds it what happened and the time, does what
//! it says, and calls it again at the deadline. Capture, encode and each output have one of their own, so that a
//! failure rebuilds that graph alone.
//!
//! ```text
//!              start           built, buffers                 trouble told
//!   Stopped ─────────> Starting ─────────────> Running <─────────────────────> Degraded
//!      ^                │   ^                     │          trouble over          │
//!      │ gone           │   │                     │ error · end · stall            │
//!      │                │   │ due and gone        v                                │
//!   Stopping <── stop ──┤   └───────────────── Backoff <───────────────────────────┤
//!      ^                │                         ^                                │
//!      │                ├── error · no buffer ────┘                                │
//!      │                ├── device gone ──> WaitingForDevice (back: Starting) <────┤
//!      └────────────────┴── fault `config` ──> Failed (until start) <──────────────┘
//! ```
//!
//! A new graph is built only once the old one is gone, since devices open once. An encoder that was tried beside the old
//! one and is on air is adopted: `Running` from anywhere.
//!
//! [`Source`] says what to do about a capture device that brings nothing. [`Strikes`] says when a graph has failed so often that something else should be tried.

mod lag;
mod machine;
mod source;
mod strain;
mod strikes;

pub use lag::Lag;
pub use machine::{Action, ENDED, Event, LONGEST_WAIT, Machine, Phase, Timing};
pub use source::{Evidence, RELEASE_AFTER, Remedy, Source, is_noise, judge, judge_stream};
pub use strain::{Skipping, Strain};
pub use strikes::Strikes;

#[cfg(test)]
mod tests;
