//! A plan becomes parts with their hubs and outlets, and everything that runs one value.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::appliance::Appliance;
use super::doors::Doors;
use super::files::Loaded;
use super::ladder::Rendition;
use super::outputs::{Place, outputs};
use super::part::{Part, PartName, Seat};
use super::remembered::Remembered;
use super::source::Watched;
use super::systemd::Systemd;
use super::target::Target;
use super::usage::Usage;
use super::{Options, RunError};
use crate::config::AudioInput;
use crate::control;
use crate::engine::webrtc::Lane;
use crate::engine::{Engine, Outlet};
use crate::lifecycle::Strikes;
use crate::media::MediaKind;
use crate::output::Adapt;
use crate::plan::{Downstream, GraphPlan, Role};
use crate::sfu;
use crate::telemetry::Drops;

/// Events of graphs that wait to be heard.
const TOLD: usize = 1024;

/// What the daemon was told, and what it remembers.
pub(super) struct Files {
    pub(super) options: Options,
    pub(super) loaded: Arc<Loaded>,
    pub(super) shown: Arc<ArcSwap<Loaded>>,
    pub(super) remembered: Option<Remembered>,
    pub(super) doors: Doors,
}

/// Hubs, outlets and the parts that join them, not started.
pub(super) fn compose(
    files: Files,
    target: Target,
    sfu: Option<sfu::Handle>,
    inbox: control::Inbox,
) -> Result<Appliance, RunError> {
    let Files { options, loaded, shown, remembered, doors } = files;
    let Target { profile, plan } = target;
    let config = loaded.config.clone();
    let engine = Engine::new()?;
    let (tell, told) = mpsc::channel(TOLD);
    let (video_hub, audio_hub) = (engine.raw_hub(MediaKind::Video), engine.raw_hub(MediaKind::Audio));
    let line = engine
        .sound_line(&audio_hub)
        .map_err(|error| RunError::System { what: "threads", source: std::io::Error::other(error) })?;
    let (picture, sound) = (engine.outlet(MediaKind::Video), engine.outlet(MediaKind::Audio));
    let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    let part = |name: PartName, plan, seat| {
        Part::new(name, plan, &engine, seat, tell.clone(), seed.wrapping_add(name.number()))
    };
    let mut pictures = plan.video_encode.into_iter();
    let encode =
        pictures.next().ok_or_else(|| RunError::Plan { profile: profile.name.clone(), reasons: vec![] })?;
    let silence = plan.choices.iter().find(|choice| choice.subject == "sound" && choice.taken);
    let silence = silence.map(|choice| choice.reason.clone()).unwrap_or_default();
    if plan.audio_capture.is_none() && config.capture.audio != AudioInput::None {
        let none = if plan.audio_encode.is_some() { "the sound is silent" } else { "there is no sound" };
        tracing::warn!("{none}: {silence}");
    }
    let watched = Watched::start(&engine, &video_hub, &plan.video_capture);
    let capture = part(PartName::Capture, plan.video_capture, Seat::Capture(video_hub.clone()));
    let encode = part(PartName::Encode, encode, Seat::Encode(video_hub.clone(), picture.clone()));
    let renditions = (1..)
        .zip(pictures)
        .map(|(layer, plan)| Rendition::new(&engine, &video_hub, layer, |name, seat| part(name, plan, seat)))
        .collect();
    let audio_capture =
        plan.audio_capture.map(|plan| part(PartName::AudioCapture, plan, Seat::Sound(line.clone())));
    let audio_encode = plan
        .audio_encode
        .map(|plan| part(PartName::AudioEncode, plan, Seat::Encode(audio_hub, sound.clone())));
    let mut appliance = Appliance {
        engine,
        options,
        loaded,
        shown,
        remembered,
        doors,
        config,
        profile,
        choices: plan.choices,
        capture,
        watched,
        audio_capture,
        encode,
        renditions,
        audio_encode,
        video_hub,
        line,
        silence,
        picture,
        sound,
        sfu,
        local: None,
        outputs: Vec::new(),
        adapt: Adapt::default(),
        resting: BTreeSet::new(),
        stopped: false,
        change: None,
        // One at a time is asked for.
        prepared: mpsc::channel(1),
        strikes: Strikes::default(),
        no_other: false,
        seed,
        inbox,
        told,
        tell,
        drops: Drops::default(),
        usage: Usage::default(),
        last_told: Duration::ZERO,
        was_on_air: false,
        systemd: None,
    };
    appliance.systemd = Systemd::from_environment(appliance.now());
    appliance.publish_locally();
    appliance.show_active();
    appliance.warn_of_a_fixed_bitrate();
    appliance.tell_what_is_left_out();
    let lanes = appliance.lanes();
    let config = &appliance.config;
    let place =
        Place { engine: &appliance.engine, disk: appliance.loaded.queues.disk, stream: &config.sfu.stream };
    appliance.outputs = outputs(&place, &config.outputs, &lanes, seed)?;
    Ok(appliance)
}

/// What the hand-over to the SFU holds, by the plan.
pub(super) fn room(encode: Option<&GraphPlan>) -> sfu::Room {
    let limits = encode.and_then(|plan| plan.handover);
    // Without a graph nothing is handed over: one place for nothing.
    limits.map_or(sfu::Room { frames: 1, time: Duration::ZERO, bytes: 0 }, |class| sfu::Room {
        frames: class.buffers,
        time: class.time,
        bytes: class.bytes,
    })
}

/// What encode graphs make, as outputs take it.
pub(super) fn lanes(encodes: [Option<(&GraphPlan, &Outlet)>; 2]) -> Arc<[Lane]> {
    encodes.into_iter().flatten().filter_map(|(plan, outlet)| lane(plan, outlet)).collect()
}

fn lane(plan: &GraphPlan, outlet: &Outlet) -> Option<Lane> {
    let (codec, picture, bitrate) = match &plan.downstream {
        Downstream::Video { codec, size, framerate, bitrate } => {
            (*codec, size.map(|size| (size, *framerate)), *bitrate)
        }
        Downstream::Audio { codec, bitrate } => (*codec, None, *bitrate),
        Downstream::RawVideo { .. } | Downstream::RawAudio => return None,
    };
    let payloader = plan.nodes.iter().find(|node| node.role == Role::Payloader)?.clone();
    Some(Lane {
        outlet: outlet.clone(),
        codec,
        payloader,
        limits: plan.handover?,
        picture,
        bitrate,
        reorders: plan.reorders().map(str::to_owned),
    })
}
