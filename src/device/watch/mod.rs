//! News of devices: what is plugged in and out (udev), and what arrives at the capture device in use.
//!
//! Each watch is a thread of its own, for drivers may hang in any call; neither is ever joined.

mod hotplug;
mod sight;

pub use hotplug::{Plugged, watch_plugs};
pub use sight::{Sight, SightWatch};
