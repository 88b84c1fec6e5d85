//! Profile, fragments and inventory to a plan.

use super::{Fragments, Inventory, Plan, PlanError, Queues};
use crate::config::{BoxConfig, Profile};

/// Decides everything: which source and mode, which encoder, every element and property. Pure and deterministic; the
/// result says why. All reasons why there is no plan are returned, not only the first.
pub fn resolve(
    config: &BoxConfig,
    profile: &Profile,
    fragments: &Fragments,
    queues: &Queues,
    inventory: &Inventory,
) -> Result<Plan, Vec<PlanError>> {
    let _ = (config, profile, fragments, queues, inventory);
    Err(Vec::new())
}

/// What `profile = "auto"` means on this box: H.264 by the best encoder there is, 720p30, or 1080p30 with four cores or
/// more.
pub fn auto_profile(inventory: &Inventory) -> Profile {
    use crate::config::{AudioProfile, EncoderChoice, SizeChoice, Speed, VideoProfile};
    use crate::media::{Bitrate, Codec, FrameSize, Framerate};
    use std::time::Duration;

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
            framerate: Framerate::new(30, 1).expect("30/1 is a rate"),
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
