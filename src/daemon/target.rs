//! What is to run: a profile, and what it comes to on this box.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files::Loaded;
use super::survey::logging_prober;
use super::{RunError, know_candidates, survey, survey_file};
use crate::config::{AudioInput, BoxConfig, Profile, ProfileChoice, VideoInput};
use crate::plan::{self, DeviceAccess, Plan, Upstream};

/// A profile with its plan.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) profile: Profile,
    pub(super) plan: Plan,
}

/// What only Capcast itself knows of the box.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// The device that it has open.
    pub(super) device: Option<PathBuf>,
    /// What arrives, as [`Inventory::streams`](crate::plan::Inventory::streams) has it.
    pub(super) streams: BTreeMap<String, Result<(), String>>,
}

/// Which profile.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// The one of this name, or the box's own choice.
    Chosen(ProfileChoice),
    /// One that stands in no file.
    Made(Box<Profile>),
}

impl Wanted {
    /// As people name profiles: `auto` is the box's own choice.
    pub(super) fn named(name: &str) -> Wanted {
        Wanted::Chosen(match name {
            "auto" => ProfileChoice::Auto,
            name => ProfileChoice::Named(name.to_owned()),
        })
    }
}

/// Looks at the box and makes the plan. Takes its time.
///
/// # Errors
/// When there is no such profile, or it cannot run here.
pub(super) fn aim(loaded: &Loaded, wanted: Wanted, held: &Held) -> Result<Target, RunError> {
    let Loaded { config, profiles, fragments, queues } = loaded;
    let mut inventory = survey(fragments, needs_devices(config))?;
    survey_file(config, &mut inventory);
    inventory.streams.clone_from(&held.streams);
    let held = held.device.as_deref();
    for device in inventory.video_devices.iter_mut().filter(|device| Some(device.node.as_path()) == held) {
        device.access = DeviceAccess::Free;
    }
    let profile = match wanted {
        Wanted::Chosen(ProfileChoice::Auto) => plan::auto_profile(&inventory),
        Wanted::Chosen(ProfileChoice::Named(name)) => {
            profiles.get(&name).cloned().ok_or(RunError::NoProfile(name))?
        }
        Wanted::Made(profile) => *profile,
    };
    know_candidates(&logging_prober(), &profile, (fragments, queues), &mut inventory);
    let plan = plan::resolve(config, &profile, fragments, queues, &inventory)
        .map_err(|reasons| RunError::Plan { profile: profile.name.clone(), reasons })?;
    for choice in plan.choices.iter().filter(|choice| choice.taken) {
        tracing::debug!("{}: {} ({})", choice.subject, choice.candidate, choice.reason);
    }
    if plan.video_encode.is_empty() {
        return Err(RunError::Plan { profile: profile.name, reasons: vec![] });
    }
    Ok(Target { profile, plan })
}

/// The same while a change is made of what runs: where `auto` finds no card, `waited`, which it had taken, is waited for. A
/// test picture in its place would be a lie.
///
/// # Errors
/// As [`aim`].
pub(super) fn aim_again(
    loaded: &Loaded,
    wanted: Wanted,
    held: &Held,
    waited: Option<PathBuf>,
) -> Result<Target, RunError> {
    let target = aim(loaded, wanted.clone(), held)?;
    match waited {
        Some(card)
            if target.plan.video_capture.upstream == Upstream::Made
                && loaded.config.capture.video == VideoInput::Auto =>
        {
            let mut loaded = loaded.clone();
            loaded.config.capture.video = VideoInput::Device(card);
            aim(&loaded, wanted, held)
        }
        _ => Ok(target),
    }
}

/// The capture device that a plan opens.
pub(super) fn device(upstream: &Upstream) -> Option<PathBuf> {
    match upstream {
        Upstream::VideoDevice { node, .. } => Some(node.clone()),
        _ => None,
    }
}

/// Test picture, tone and files need no look at the hardware.
fn needs_devices(config: &BoxConfig) -> bool {
    let picture =
        matches!(config.capture.video, VideoInput::Auto | VideoInput::Device(_) | VideoInput::ById(_));
    let sound = matches!(config.capture.audio, AudioInput::Alsa(_));
    picture || sound
}
