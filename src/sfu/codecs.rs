//! Which codecs are answered, and which payload type a viewer gave each.

use str0m::format::{Codec as RtcCodec, CodecConfig, FormatParams};
use str0m::media::{Frequency, Media, Pt};

use crate::media::{Codec, MediaKind};

/// Everything a stream may ever carry, so that an encoder switch needs no renegotiation. H.264 is constrained baseline
/// with packetization-mode 1 (what every browser takes), VP9 profile 0.
pub(super) fn answered() -> CodecConfig {
    let mut config = CodecConfig::empty();
    config.enable_opus(true, false);
    config.add_h264(108.into(), Some(109.into()), true, 0x42_e0_1f);
    config.add_config(
        98.into(),
        Some(99.into()),
        RtcCodec::Vp9,
        Frequency::NINETY_KHZ,
        None,
        FormatParams { profile_id: Some(0), ..FormatParams::default() },
    );
    config.enable_av1(true);
    config.enable_vp8(true);
    config
}

/// Everything a publisher may send: the same codecs, H.264 in every profile and either packetization mode, since what it
/// sends is passed on as it is and browsers read them all.
pub(super) fn taken() -> CodecConfig {
    let mut config = CodecConfig::empty();
    config.enable_opus(true, false);
    let profiles = [0x42_e0_1f, 0x42_00_1f, 0x4d_00_1f, 0x64_00_1f, 0x64_0c_1f];
    let modes = profiles.into_iter().flat_map(|profile| [(profile, true), (profile, false)]);
    // Our own numbers do not matter: those of the offer are answered. They only must not collide.
    for ((profile, several_units), pt) in modes.zip((104_u8..).step_by(2).filter(|pt| *pt != 110)) {
        config.add_h264(pt.into(), Some((pt + 1).into()), several_units, profile);
    }
    config.add_config(
        98.into(),
        Some(99.into()),
        RtcCodec::Vp9,
        Frequency::NINETY_KHZ,
        None,
        FormatParams { profile_id: Some(0), ..FormatParams::default() },
    );
    config.enable_av1(true);
    config.enable_vp8(true);
    config
}

/// The payload types of one viewer for one m-line, each with that of its resends; each browser numbers them its own way.
#[derive(Clone, Debug, Default)]
pub(super) struct PayloadTypes(Vec<(Codec, Pt, Option<Pt>)>);

impl PayloadTypes {
    /// What was negotiated for `media`.
    pub(super) fn negotiated(media: &Media, config: &CodecConfig) -> PayloadTypes {
        let params = config.params().iter().filter(|p| media.remote_pts().contains(&p.pt()));
        PayloadTypes(params.filter_map(|p| Some((codec(p.spec().codec)?, p.pt(), p.resend()))).collect())
    }

    /// Those of another m-line as well.
    pub(super) fn join(&mut self, other: PayloadTypes) {
        self.0.extend(other.0);
    }

    /// Every codec and its number; a codec may have several.
    pub(super) fn all(&self) -> impl Iterator<Item = (Codec, Pt)> {
        self.0.iter().map(|(codec, pt, _)| (*codec, *pt))
    }

    /// Every codec, once for each number.
    pub(super) fn codecs(&self) -> impl Iterator<Item = Codec> {
        self.0.iter().map(|(codec, ..)| *codec)
    }

    /// The payload type for `codec`, if the viewer plays it.
    pub(super) fn of(&self, codec: Codec) -> Option<Pt> {
        self.0.iter().find(|(known, ..)| *known == codec).map(|(_, pt, _)| *pt)
    }

    /// Any payload type under which packets are sent again.
    pub(super) fn any_resend(&self) -> Option<Pt> {
        self.0.iter().find_map(|(.., resend)| *resend)
    }

    /// The payload type under which packets of that are sent again (RTX).
    pub(super) fn resend_of(&self, codec: Codec) -> Option<Pt> {
        self.0.iter().find(|(known, ..)| *known == codec)?.2
    }
}

fn codec(codec: RtcCodec) -> Option<Codec> {
    Some(match codec {
        RtcCodec::H264 => Codec::H264,
        RtcCodec::Vp9 => Codec::Vp9,
        RtcCodec::Av1 => Codec::Av1,
        RtcCodec::Vp8 => Codec::Vp8,
        RtcCodec::Opus => Codec::Opus,
        _ => return None,
    })
}

/// str0m's word for ours.
pub(super) fn kind(kind: str0m::media::MediaKind) -> MediaKind {
    match kind {
        str0m::media::MediaKind::Audio => MediaKind::Audio,
        str0m::media::MediaKind::Video => MediaKind::Video,
    }
}
