//! Vocabulary every other module speaks: codecs, units, names, times, access units, packets, faults.
//!
//! Knows nothing but `std`. A value that exists is valid: every type here parses on construction.

mod codec;
mod fault;
mod names;
mod sample;
mod time;
mod units;

pub use codec::{Codec, MediaKind};
pub use fault::Fault;
pub use names::{NameError, StreamName};
pub use sample::{AccessUnit, Frame, Packet};
pub use time::{MediaTime, RtpTime};
pub use units::{Bitrate, Delay, FrameSize, Framerate, UnitError, parse_duration};
