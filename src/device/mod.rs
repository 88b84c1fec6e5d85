//! What is plugged in: V4L2 capture devices and ALSA cards that capture.
//!
//! Reads device nodes and `/sys`, and changes nothing but a card's timings, to what arrives ([`adopt`]). A device that cannot be opened is listed with the reason, so that
//! "busy" and "not allowed" never look like "not there".

mod ioctl;
mod modes;
mod report;
mod signal;
mod sound;
mod sysfs;
mod video;
mod watch;

pub use report::{json, text};
pub use signal::Signal;
pub use sound::is_missing as sound_card_is_missing;
pub use watch::{Plugged, Sight, SightWatch, watch_plugs};

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::plan::{Inventory, SoundCard, VideoDevice};

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Capture devices, ordered by node number.
    pub video: Vec<Camera>,
    /// Sound cards that capture, in ALSA's order.
    pub sound: Vec<SoundCard>,
    /// Nodes and cards that are there but could not be asked, with the reason.
    pub troubles: Vec<Trouble>,
}

impl Devices {
    /// Puts the devices where `plan` looks for them.
    pub fn fill(&self, inventory: &mut Inventory) {
        inventory.video_devices = self.video.iter().map(|camera| camera.device.clone()).collect();
        inventory.sound_cards = self.sound.clone();
    }

    /// The sound card in the same box as a capture device.
    pub fn sound_of(&self, camera: &Camera) -> Option<&SoundCard> {
        self.sound.iter().find(|card| !card.bus.is_empty() && card.bus == camera.device.bus)
    }
}

/// One capture device with what a plan needs of it and what a person wants to know beside that.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// What a plan needs.
    pub device: VideoDevice,
    /// What arrives at its input.
    pub signal: Signal,
    /// Speed of its USB link in Mbit/s; none where it is not on USB.
    pub link: Option<u32>,
}

impl Camera {
    /// The name to put into `capture.video`: one that survives replugging where there is one.
    pub fn stable_name(&self) -> &Path {
        self.device.links.first().unwrap_or(&self.device.node)
    }

    /// Raw high-definition video does not fit through its link.
    pub fn slow_link(&self) -> bool {
        self.link.is_some_and(|megabits| megabits <= 480)
    }
}

/// Whether a time server keeps the system clock right, and how far it may be off; none where the kernel does not say.
pub fn clock() -> Option<(bool, Duration)> {
    let (right, micros) = ioctl::clock().ok()?;
    Some((right, Duration::from_micros(u64::try_from(micros).ok()?)))
}

/// Sets an HDMI or SDI card to the signal that arrives, which tells what sizes and rates it offers. False
/// where there is nothing to do: it is set so, has no such timings, or none now. Blocks, as drivers do.
///
/// # Errors
/// In words, when the card cannot be opened or refuses; while anybody captures it is busy.
pub fn adopt(node: &Path) -> Result<bool, String> {
    let device = v4l::Device::with_path(node).map_err(|error| error.to_string())?;
    match ioctl::adopt_timings(&device) {
        Ok(changed) => Ok(changed),
        Err(Errno::ENOTTY | Errno::ENODATA | Errno::ENOLINK | Errno::ENOLCK | Errno::ERANGE) => Ok(false),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

/// A device that is there but could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The node or card.
    pub path: PathBuf,
    /// In words.
    pub reason: String,
}

/// Looks at every device now. Blocks: for some milliseconds per device, longer where a driver is slow.
pub fn list() -> Devices {
    let mut devices = Devices::default();
    video::list(&mut devices);
    sound::list(&mut devices);
    devices
}
