//! The daemon's inner API: commands, queries and state as plain data, and a handle to send them by.
//!
//! `http` and `cli` speak this; `daemon` answers. Nothing here does anything.

mod handle;
mod state;

pub use handle::{Command, CommandError, Done, Handle, Inbox, Order, channel};
pub use state::{
    AudioState, CaptureState, EncodeState, Lifecycle, OutputState, ProcessState, QueueState, RelayState,
    StageState, State, StreamState, Summary,
};
