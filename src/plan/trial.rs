//! How an encoder is tried: its encode graph for a small picture, and which encoders a profile may come to.

use super::encode::Encode;
use super::resolve::auto_profile;
use super::{Fragment, Fragments, GraphPlan, Inventory, PlanError, Queues};
use crate::config::{EncoderChoice, Profile, SizeChoice};
use crate::media::{Bitrate, Codec, FrameSize};

/// Small, and above the least that encoders in hardware take.
const SIZE: FrameSize = FrameSize::new(320, 240);

/// Enough for that.
const BITRATE: Bitrate = Bitrate::from_bits(1_000_000);

/// The graph in which an encoder is tried: what runs on air, but small.
///
/// # Errors
/// Everything that this box lacks for it.
pub fn trial(
    encoder: &Fragment,
    fragments: &Fragments,
    queues: &Queues,
    inventory: &Inventory,
) -> Result<GraphPlan, Vec<PlanError>> {
    let mut profile = auto_profile(inventory);
    profile.video.codec = encoder.codec.unwrap_or(Codec::H264);
    profile.video.encoder = EncoderChoice::Listed(vec![encoder.name.clone()]);
    profile.video.size = SizeChoice::Fixed(SIZE);
    profile.video.bitrate = BITRATE;
    // A keyframe among the few frames is one that was asked for.
    profile.video.keyframe_interval *= 4;
    Encode { profile: &profile, fragments, queues, inventory }.trial(encoder)
}

/// The encoders that a profile may come to, best first.
///
/// # Errors
/// When it names one that does not exist or makes another codec.
pub fn candidates<'a>(
    profile: &'a Profile,
    fragments: &'a Fragments,
    queues: &'a Queues,
    inventory: &'a Inventory,
) -> Result<Vec<&'a Fragment>, Vec<PlanError>> {
    let encode = Encode { profile, fragments, queues, inventory };
    Ok(encode.candidates()?.into_iter().filter_map(|found| fragments.encoders.get(&found.name)).collect())
}
