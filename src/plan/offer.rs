//! Which profiles there are, and which of them can run on this box.

use super::{Fragments, Inventory, PlanError, Queues, auto_profile, resolve};
use crate::config::{BoxConfig, CaptureMode, EncoderChoice, Profile, ProfileChoice, SizeChoice, VideoInput};
use crate::media::{Bitrate, Codec, FrameSize, Framerate};

/// A profile, and what this box makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Its name; `auto` for the box's own choice.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// The video codec.
    pub codec: Codec,
    /// The encoder that would be used here; if none can, those that the profile wants.
    pub encoder: String,
    /// None: the source's.
    pub size: Option<FrameSize>,
    /// Of the picture.
    pub framerate: Framerate,
    /// Of the picture.
    pub bitrate: Bitrate,
    /// Real frames went through that encoder here, or failed to.
    pub tried: bool,
    /// Why it cannot run here; empty if it can.
    pub missing: Vec<PlanError>,
    /// The configuration chooses it.
    pub active: bool,
}

/// `auto` and every profile, judged without regard to the source: a card that is not plugged in now is no reason against a
/// profile.
pub fn offers<'a>(
    config: &BoxConfig,
    profiles: impl IntoIterator<Item = &'a Profile>,
    fragments: &Fragments,
    queues: &Queues,
    inventory: &Inventory,
) -> Vec<Offer> {
    let mut neutral = config.clone();
    neutral.capture.video = VideoInput::Test;
    neutral.capture.mode = CaptureMode::Auto;
    let auto = auto_profile(inventory);
    let offer = |profile: &Profile| {
        let plan = resolve(&neutral, profile, fragments, queues, inventory);
        let wanted = match &profile.video.encoder {
            EncoderChoice::Auto => "auto".to_owned(),
            EncoderChoice::Listed(names) => names.join(", "),
        };
        let chosen = plan.as_ref().ok().and_then(|plan| plan.video_encode.first());
        Offer {
            name: profile.name.clone(),
            summary: profile.summary.clone(),
            codec: profile.video.codec,
            tried: chosen.is_none_or(|graph| inventory.verdicts.contains_key(&graph.fragment)),
            encoder: chosen.map_or(wanted, |graph| graph.fragment.clone()),
            size: match profile.video.size {
                SizeChoice::Source => None,
                SizeChoice::Fixed(size) => Some(size),
            },
            framerate: profile.video.framerate,
            bitrate: profile.video.bitrate,
            missing: plan.err().unwrap_or_default(),
            active: match &config.profile {
                ProfileChoice::Auto => profile.name == auto.name,
                ProfileChoice::Named(name) => profile.name == *name,
            },
        }
    };
    let mut offers = vec![offer(&auto)];
    offers.extend(profiles.into_iter().map(offer));
    offers
}
