//! A look at the box: what GStreamer has, what is plugged in, how many cores.

use crate::config::{BoxConfig, VideoInput};
use crate::plan::{Fragments, Inventory};
use crate::{device, engine};

use super::RunError;

/// Takes stock for a plan. Devices are looked at only when asked for: a driver may be slow, and test sources need none.
///
/// # Errors
/// When GStreamer does not start.
pub fn survey(fragments: &Fragments, devices: bool) -> Result<Inventory, RunError> {
    engine::init()?;
    let (gstreamer, elements) = engine::inventory(fragments.factories());
    let mut inventory = Inventory { gstreamer, elements, cores: cores(), ..Inventory::default() };
    if devices {
        device::list().fill(&mut inventory);
    }
    Ok(inventory)
}

/// Looks into the file that is to be played, where one is. After [`survey`].
pub fn survey_file(config: &BoxConfig, inventory: &mut Inventory) {
    if let VideoInput::File(path) = &config.capture.video {
        inventory.clips.insert(path.clone(), engine::look_into(path));
    }
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}
