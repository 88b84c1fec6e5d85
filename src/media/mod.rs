//! Vocabulary every other module speaks: codecs, units, names, times, access units, packets, levels, faults, back-off.
//!
//! Knows nothing but `std`. A value that exists is valid: every type here parses on construction.

mod backoff;
mod codec;
mod fault;
mod latency;
mod levels;
mod names;
mod sample;
mod source;
mod srt;
mod time;
mod units;

pub use backoff::Backoff;
pub use codec::{Codec, MediaKind, TsSound};
pub use fault::Fault;
pub use latency::{Ages, Latency};
pub use levels::Levels;
pub use names::{NameError, StreamName};
pub use sample::{AccessUnit, Frame, Make, Packet};
pub use source::{SourceHealth, SourceState};
pub use srt::{SrtMode, SrtPeer};
pub use time::{MediaTime, RtpTime};
pub use units::{Bitrate, ByteSize, Delay, FrameSize, Framerate, UnitError, parse_duration};
