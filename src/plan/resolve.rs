//! Profile, fragments and inventory to a plan.

use std::time::Duration;

use super::capture::{Capture, Sound};
use super::encode::{Encode, Raw};
use super::fragment::Fragment;
use super::term::{Setting, THIRTY};
use super::{
    Comparison, Condition, Downstream, Fragments, GraphPlan, Inventory, Plan, PlanError, Queues, Upstream,
};
use crate::config::{AudioProfile, BoxConfig, EncoderChoice, Profile, SizeChoice, Speed, VideoProfile};
use crate::media::{Bitrate, Codec, FrameSize};

/// Decides everything: which source and mode, which encoder, every element and property. Pure and deterministic; the
/// result says why. All reasons why there is no plan are returned, not only the first.
pub fn resolve(
    config: &BoxConfig,
    profile: &Profile,
    fragments: &Fragments,
    queues: &Queues,
    inventory: &Inventory,
) -> Result<Plan, Vec<PlanError>> {
    let mut choices = Vec::new();
    let mut errors = Vec::new();
    let capture = Capture { config, profile, fragments, queues, inventory };
    let encode = Encode { profile, fragments, queues, inventory };

    let video_capture = kept(capture.video(&mut choices), &mut errors);
    let raw = video_capture.as_ref().map(raw).unwrap_or_default();
    let picture = video_capture.as_ref().map(|graph| &graph.upstream);
    let arrives = match picture {
        Some(Upstream::Network { url }) if config.capture.passthrough => Some(url.as_str()),
        _ => None,
    };
    let passed = arrives.and_then(|url| encode.passthrough(url, &mut choices));
    let video_encode = match passed {
        Some(graph) => kept(graph.map(|graph| vec![graph]), &mut errors),
        None => kept(encode.video(&raw, &mut choices), &mut errors),
    };
    let sound = kept(capture.audio(picture, &mut choices), &mut errors).unwrap_or(Sound::None);
    let audio_encode = match sound {
        Sound::None => None,
        Sound::Awaited | Sound::From(_) => kept(encode.audio(&mut choices), &mut errors),
    };
    let audio_capture = match sound {
        Sound::From(graph) => Some(*graph),
        Sound::None | Sound::Awaited => None,
    };

    match (video_capture, video_encode) {
        (Some(video_capture), Some(video_encode)) if errors.is_empty() => Ok(Plan {
            profile: profile.name.clone(),
            video_capture,
            audio_capture,
            video_encode,
            audio_encode,
            choices,
        }),
        _ => Err(errors),
    }
}

fn kept<T>(result: Result<T, Vec<PlanError>>, errors: &mut Vec<PlanError>) -> Option<T> {
    result.map_err(|more| errors.extend(more)).ok()
}

fn raw(capture: &GraphPlan) -> Raw {
    match &capture.downstream {
        Downstream::RawVideo { format, size, framerate } => Raw {
            format: format.clone(),
            size: *size,
            framerate: *framerate,
            changes: matches!(
                capture.upstream,
                Upstream::VideoDevice { .. } | Upstream::Absent { .. } | Upstream::Network { .. }
            ),
        },
        _ => Raw::default(),
    }
}

/// Whether a fragment's `requires` hold, and its encoder takes pictures of this size.
pub(super) fn fits(fragment: &Fragment, setting: &Setting<'_>) -> Result<(), PlanError> {
    if let Some(reason) = setting.size.and_then(|size| wrong_size(fragment, size)) {
        return Err(PlanError::Unfit { fragment: fragment.name.clone(), reason });
    }
    let broken = fragment.requires.iter().find(|condition| !setting.holds(condition));
    broken.map_or(Ok(()), |condition| {
        let reason =
            format!("it needs {}, and this is GStreamer {}", words(condition), setting.inventory.gstreamer);
        Err(PlanError::Unfit { fragment: fragment.name.clone(), reason })
    })
}

fn wrong_size(fragment: &Fragment, size: FrameSize) -> Option<String> {
    let least = fragment.smallest.filter(|least| size.width < least.width || size.height < least.height);
    let odd = fragment.even && !(size.width.is_multiple_of(2) && size.height.is_multiple_of(2));
    match (least, odd) {
        (Some(least), _) => {
            Some(format!("it takes no picture smaller than {least}, and this one would be {size}"))
        }
        (None, true) => Some(format!(
            "it takes no picture with odd sides, and this one would be {size}: give the profile a `size`"
        )),
        (None, false) => None,
    }
}

fn words(condition: &Condition) -> String {
    match condition {
        Condition::Gstreamer(comparison, version) => {
            let comparison = match comparison {
                Comparison::Below => "older than",
                Comparison::AtMost => "at most",
                Comparison::AtLeast => "at least",
                Comparison::Above => "newer than",
            };
            format!("GStreamer {comparison} {version}")
        }
        Condition::Has(factory) => format!("the element `{factory}`"),
        Condition::HasProperty(factory, property) => format!("the property `{property}` of `{factory}`"),
        Condition::Interlaced => "an interlaced source".to_owned(),
        Condition::Compressed => "a compressed source".to_owned(),
        Condition::Not(condition) => format!("not {}", words(condition)),
    }
}

/// What `profile = "auto"` means on this box: H.264 by the best encoder there is, 720p30, or 1080p30 with four cores or
/// more.
pub fn auto_profile(inventory: &Inventory) -> Profile {
    let (size, bitrate) = match inventory.cores {
        ..=3 => (FrameSize::new(1280, 720), Bitrate::from_bits(3_000_000)),
        4.. => (FrameSize::new(1920, 1080), Bitrate::from_bits(6_000_000)),
    };
    Profile {
        name: "auto".to_owned(),
        summary: "H.264 by the best encoder that runs here".to_owned(),
        video: VideoProfile {
            codec: Codec::H264,
            encoder: EncoderChoice::Auto,
            size: SizeChoice::Fixed(size),
            framerate: THIRTY,
            bitrate,
            min_bitrate: Bitrate::from_bits(500_000),
            keyframe_interval: Duration::from_secs(2),
            speed: Speed::Realtime,
            properties: Vec::new(),
            renditions: Vec::new(),
        },
        audio: AudioProfile { codec: Codec::Opus, bitrate: Bitrate::from_bits(128_000) },
    }
}
