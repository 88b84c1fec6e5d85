//! GStreamer, the encoders, and whether the configured profile can run.

use super::{Check, Level, Progress, Running};
use crate::config::{AudioInput, OutputKind, ProfileChoice, VideoInput};
use crate::daemon::files::Loaded;
use crate::daemon::pictures;
use crate::plan::{self, Condition, Fragment, GstVersion, Inventory, PlanError, Verdict};
use crate::probe::Prober;
use crate::{engine, probe};

/// The oldest that Capcast is made for: Debian 12's.
const OLDEST: GstVersion = GstVersion(1, 22, 0);

/// What WHIP outputs need beside `webrtcbin`'s own plugin.
const WEBRTC: [(&str, &str); 4] = [
    ("webrtcbin", "gstreamer1.0-plugins-bad"),
    ("nicesink", "gstreamer1.0-nice"),
    ("dtlssrtpenc", "gstreamer1.0-plugins-bad"),
    ("srtpenc", "gstreamer1.0-plugins-bad"),
];

pub(super) struct Look<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) running: Option<&'a Running>,
    pub(super) prober: &'a Prober,
    pub(super) told: &'a (dyn Fn(Progress<'_>) + Sync),
}

impl Look<'_> {
    /// Its version, and the elements of sources and outputs.
    pub(super) fn gstreamer(&self, inventory: &Inventory, checks: &mut Vec<Check>) {
        const GROUP: &str = "GStreamer";
        let version = inventory.gstreamer;
        checks.push(if version < OLDEST {
            Check::new(GROUP, "version", Level::Fail, format!("{version}; Capcast needs {OLDEST} or newer"))
                .cure("Debian 12 and later have it")
        } else {
            Check::new(GROUP, "version", Level::Ok, version.to_string())
        });
        let loaded = self.loaded;
        let wanted = |fragment: &Fragment| match fragment.name.as_str() {
            "v4l2" => matches!(
                loaded.config.capture.video,
                VideoInput::Auto | VideoInput::Device(_) | VideoInput::ById(_)
            ),
            "alsa" => matches!(loaded.config.capture.audio, AudioInput::Auto | AudioInput::Alsa(_)),
            "file" | "file-sound" => matches!(loaded.config.capture.video, VideoInput::File(_)),
            "network" | "network-sound" => {
                matches!(loaded.config.capture.video, VideoInput::Srt(_) | VideoInput::Url { .. })
            }
            _ => true,
        };
        let (mut whole, mut lacking) = (Vec::new(), Vec::new());
        for fragment in loaded.fragments.sources.values().chain(loaded.fragments.outputs.values()) {
            let missing = fragment.elements.iter().find(|part| {
                !part.factories().any(|factory| inventory.elements.contains_key(factory))
                    && part.when.iter().all(|condition| holds(condition, inventory))
            });
            match missing {
                None => whole.push(fragment.name.as_str()),
                Some(part) => {
                    let level = if wanted(fragment) { Level::Fail } else { Level::Skip };
                    let words = format!("element `{}` is missing: {}", part.factory, fragment.summary);
                    let package = fragment.packages.get(&part.factory).cloned();
                    lacking.push(Check::new(GROUP, &fragment.name, level, words).package(package));
                }
            }
        }
        checks.push(Check::new(GROUP, "elements", Level::Ok, format!("there for {}", whole.join(", "))));
        checks.extend(lacking);
        let whip = loaded.config.outputs.iter().any(|output| output.kind == OutputKind::Whip);
        let absent = WEBRTC.iter().find(|(factory, _)| engine::origin(factory).is_none());
        checks.push(match absent {
            None => Check::new(GROUP, "WHIP outputs", Level::Ok, "their elements are there"),
            Some((factory, package)) => {
                let level = if whip { Level::Fail } else { Level::Skip };
                Check::new(GROUP, "WHIP outputs", level, format!("element `{factory}` is missing"))
                    .package(Some((*package).to_owned()))
            }
        });
    }

    /// Every encoder, by pushing frames through it now.
    pub(super) fn encoders(&self, inventory: &mut Inventory, checks: &mut Vec<Check>) {
        const GROUP: &str = "Encoders";
        let Loaded { fragments, queues, .. } = self.loaded;
        let in_use = |encoder: &Fragment| {
            let on_air = self.running.and_then(|running| running.encoder.as_deref());
            encoder.exclusive && on_air == Some(encoder.name.as_str())
        };
        let all: Vec<&Fragment> = pictures(fragments).collect();
        let free: Vec<&Fragment> = all.iter().copied().filter(|encoder| !in_use(encoder)).collect();
        let told = |step: probe::Step<'_>| (self.told)(Progress::Encoder(step));
        inventory.verdicts = self.prober.try_out(&free, (fragments, queues), inventory, &told);
        for encoder in all {
            let check = |level, words: String| Check::new(GROUP, &encoder.name, level, words);
            checks.push(match (inventory.verdicts.get(&encoder.name), in_use(encoder)) {
                (_, true) => {
                    check(Level::Skip, "on air now, and the hardware takes one at a time".to_owned())
                }
                (Some(Verdict::Runs { frames, took }), _) => check(
                    Level::Ok,
                    format!("{}; {frames} frames in {} ms", encoder.summary, took.as_millis().max(1)),
                ),
                (Some(Verdict::Fails(reason)), _) => check(Level::Warn, reason.clone())
                    .cure("other encoders are used instead; update its driver and packages to have it"),
                (None, _) => {
                    let errors = plan::trial(encoder, fragments, queues, inventory).err().unwrap_or_default();
                    absent(check(Level::Skip, lacking(&errors)), &errors)
                }
            });
        }
    }

    /// What the configured profile comes to.
    pub(super) fn profile(&self, inventory: &Inventory, checks: &mut Vec<Check>) {
        const GROUP: &str = "Configuration";
        let Loaded { config, profiles, fragments, queues } = self.loaded;
        let profile = match &config.profile {
            ProfileChoice::Auto => Some(plan::auto_profile(inventory)),
            ProfileChoice::Named(name) => profiles.get(name).cloned(),
        };
        let Some(profile) = profile else { return };
        // A card that is not plugged in is the devices' matter.
        let mut neutral = config.clone();
        neutral.capture.video = VideoInput::Test;
        neutral.capture.mode = crate::config::CaptureMode::Auto;
        if matches!(neutral.capture.audio, AudioInput::Alsa(_)) {
            neutral.capture.audio = AudioInput::Test;
        }
        let name = format!("profile {}", profile.name);
        match plan::resolve(&neutral, &profile, fragments, queues, inventory) {
            Ok(plan) => {
                let encoder = plan.video_encode.first().map_or("", |graph| graph.fragment.as_str());
                // Those that are not there lack nothing here; those that fail do.
                let fails = |name: &str| matches!(inventory.verdicts.get(name), Some(Verdict::Fails(_)));
                let refused: Vec<&str> = plan
                    .choices
                    .iter()
                    .filter(|choice| choice.subject == "encoder" && !choice.taken)
                    .map(|choice| choice.candidate.as_str())
                    .filter(|name| fails(name))
                    .collect();
                let instead = match refused.as_slice() {
                    [] => String::new(),
                    names => format!("; not by {}, see above", names.join(", ")),
                };
                let words = format!("{} by {encoder}{instead}", profile.video.codec.title());
                checks.push(Check::new(GROUP, &name, Level::Ok, words));
            }
            Err(errors) => {
                for error in errors {
                    let check = Check::new(GROUP, &name, Level::Fail, error.to_string());
                    let cure = error.hint().unwrap_or_else(|| {
                        "choose another profile: `capcast profiles` lists those that run here".to_owned()
                    });
                    checks.push(check.cure(cure));
                }
            }
        }
    }
}

/// Whether the configuration could be read.
pub(super) fn configuration(broken: usize, checks: &mut Vec<Check>) {
    checks.push(match broken {
        0 => Check::new("Configuration", "files", Level::Ok, "no errors"),
        errors => {
            let words = format!("{errors} error(s); the rest is judged by what is built in");
            Check::new("Configuration", "files", Level::Fail, words)
                .cure("`capcast check` shows each with its place")
        }
    });
}

fn holds(condition: &Condition, inventory: &Inventory) -> bool {
    match condition {
        Condition::Has(factory) => inventory.elements.contains_key(factory),
        Condition::Not(inner) => !holds(inner, inventory),
        // Of versions and sources it is assumed, so that nothing that may be needed goes unseen.
        _ => true,
    }
}

fn lacking(errors: &[PlanError]) -> String {
    match errors.first() {
        Some(PlanError::NoElement { hardware: Some(hardware), .. }) => format!("not here; needs {hardware}"),
        Some(PlanError::NoElement { element, .. }) => format!("not installed: no `{element}`"),
        Some(PlanError::Unfit { reason, .. } | PlanError::Unusable { reason, .. }) => reason.clone(),
        Some(other) => other.to_string(),
        None => "not tried".to_owned(),
    }
}

fn absent(check: Check, errors: &[PlanError]) -> Check {
    match errors.first() {
        Some(PlanError::NoElement { package, hardware: None, .. } | PlanError::Unusable { package, .. }) => {
            check.package(package.clone())
        }
        // A box without that hardware lacks nothing.
        Some(PlanError::NoElement { .. }) => check,
        Some(other) => match other.hint() {
            Some(hint) => check.cure(hint),
            None => check,
        },
        None => check,
    }
}
