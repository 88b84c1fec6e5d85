//! The daemon's inner API: commands, queries and state as plain data, and a handle to send them by.
//!
//! `http` and `cli` speak this; `daemon` answers. Nothing here does anything.

mod handle;
mod state;

pub use handle::{Command, CommandError, Done, Handle, Inbox, Order, channel};
pub use state::{
    ArrivalState, AudioState, CaptureState, EncodeState, Lifecycle, OutputState, Passthrough, ProcessState,
    QueueState, RelayState, SrtState, StageState, State, StreamState, Summary,
};
