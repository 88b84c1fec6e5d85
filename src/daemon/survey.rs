//! A look at the box: what GStreamer has, what is plugged in, how many cores, which encoders run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::RunError;
use super::files::Loaded;
use crate::config::{BoxConfig, VideoInput};
use crate::plan::{Fragments, Inventory};
use crate::probe::{Cache, Prober};
use crate::{device, engine};

/// Debian's names of the architectures that Capcast is built for.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Takes stock for a plan. Devices are looked at only when asked for: a driver may be slow, and test sources need none.
///
/// # Errors
/// When GStreamer does not start.
pub fn survey(fragments: &Fragments, devices: bool) -> Result<Inventory, RunError> {
    engine::init()?;
    let (gstreamer, elements) = engine::inventory(fragments.factories());
    let packages = installed(fragments.iter().flat_map(|fragment| fragment.packages.values()));
    let mut inventory = Inventory { gstreamer, elements, packages, cores: cores(), ..Inventory::default() };
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

/// What tries encoders on this system and remembers; with it, what was wrong with what is remembered.
pub fn prober() -> (Prober, Option<String>) {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("capcast"));
    let cache = Cache::of_system();
    let trouble = cache.trouble().map(str::to_owned);
    (Prober::new(program, cache), trouble)
}

/// As [`prober`], and what was wrong with what is remembered goes to the log.
pub(super) fn logging_prober() -> Prober {
    let (prober, trouble) = prober();
    if let Some(trouble) = trouble {
        tracing::warn!("{trouble}");
    }
    prober
}

/// Puts into the inventory what a start with this profile must know of its encoders. Hardware that was never tried is
/// tried now, which takes a moment.
pub fn know_candidates(
    prober: &Prober,
    profile: &crate::config::Profile,
    loaded: (&Fragments, &crate::plan::Queues),
    inventory: &mut Inventory,
) {
    // A profile that names encoders that do not exist is refused by the plan.
    let candidates = crate::plan::candidates(profile, loaded.0, loaded.1, inventory).unwrap_or_default();
    inventory.verdicts = prober.before_start(&candidates, loaded, inventory);
}

/// Puts into the inventory what is remembered of all encoders.
pub fn know_remembered(prober: &Prober, loaded: &Loaded, inventory: &mut Inventory) {
    let encoders: Vec<_> = pictures(&loaded.fragments).collect();
    inventory.verdicts = prober.remembered(&encoders, &loaded.fragments);
}

/// The encoders of pictures.
pub fn pictures(fragments: &Fragments) -> impl Iterator<Item = &crate::plan::Fragment> {
    fragments.encoders.values().filter(|encoder| encoder.media == crate::media::MediaKind::Video)
}

/// Which of these Debian packages dpkg has unpacked: none on other systems.
fn installed<'a>(packages: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let files = Path::new("/var/lib/dpkg/info");
    let is = |package: &&String| {
        let list = |name: String| files.join(name).exists();
        list(format!("{package}.list")) || ARCHITECTURES.iter().any(|of| list(format!("{package}:{of}.list")))
    };
    packages.collect::<BTreeSet<_>>().into_iter().filter(is).cloned().collect()
}

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}
