//! What is offered: the caps of each codec as they stand in the offer and before `webrtcbin`, and those of the access
//! units that go in.

use gstreamer as gst;

use crate::media::{Codec, FrameSize, Framerate};

/// Transport-wide sequence numbers, which bandwidth estimation lives on.
pub(super) const TWCC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Their extension id, in both media alike.
pub(super) const TWCC_ID: u32 = 3;

/// What every server can take, whatever the picture is: asked for exactly by some.
const LEAST_LEVEL: u8 = 31;

/// Levels of H.264 with the macroblocks a frame and a second that they allow (ITU-T H.264 table A-1).
const LEVELS: [(u8, u64, u64); 9] = [
    (31, 3_600, 108_000),
    (32, 5_120, 216_000),
    (40, 8_192, 245_760),
    (42, 8_704, 522_240),
    (50, 22_080, 589_824),
    (51, 36_864, 983_040),
    (52, 36_864, 2_073_600),
    (60, 139_264, 4_177_920),
    (62, 139_264, 16_711_680),
];

/// Payload types as browsers and servers expect them.
pub(super) const fn payload_type(codec: Codec) -> i32 {
    match codec {
        Codec::Opus => 111,
        _ => 96,
    }
}

/// RTP caps: those of the transceiver's codec preferences, and of the packets. Fixed by us rather than by the payloader,
/// so that another encoder of the same codec changes nothing.
pub(super) fn rtp(codec: Codec, picture: Option<(FrameSize, Framerate)>, ssrc: u32) -> gst::Caps {
    let mut caps = gst::Caps::builder("application/x-rtp")
        .field("payload", payload_type(codec))
        .field("clock-rate", i32::try_from(codec.clock_rate()).unwrap_or(90_000))
        .field("rtcp-fb-transport-cc", true)
        .field(format!("extmap-{TWCC_ID}"), TWCC)
        .field("ssrc", ssrc);
    caps = match codec {
        Codec::Opus => caps.field("media", "audio").field("encoding-params", "2"),
        _ => caps
            .field("media", "video")
            .field("rtcp-fb-nack", true)
            .field("rtcp-fb-nack-pli", true)
            .field("rtcp-fb-ccm-fir", true),
    };
    caps = match codec {
        Codec::H264 => caps
            .field("encoding-name", "H264")
            .field("packetization-mode", "1")
            .field("profile-level-id", format!("42e0{:02x}", level(picture)))
            .field("level-asymmetry-allowed", "1"),
        Codec::Vp9 => caps.field("encoding-name", "VP9").field("profile-id", "0"),
        Codec::Vp8 => caps.field("encoding-name", "VP8"),
        Codec::Av1 => caps.field("encoding-name", "AV1"),
        Codec::Opus => caps.field("encoding-name", "OPUS").field("useinbandfec", "1").field("minptime", "10"),
    };
    caps.build()
}

/// Caps of access units, in the form that [`AccessUnit`](crate::media::AccessUnit) promises.
pub(in crate::engine) fn units(codec: Codec) -> gst::Caps {
    match codec {
        Codec::H264 => gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build(),
        Codec::Vp9 => gst::Caps::new_empty_simple("video/x-vp9"),
        Codec::Vp8 => gst::Caps::new_empty_simple("video/x-vp8"),
        // `rtpav1pay` takes nothing that does not say that a parser has seen it, as ours always has.
        Codec::Av1 => gst::Caps::builder("video/x-av1")
            .field("parsed", true)
            .field("stream-format", "obu-stream")
            .field("alignment", "tu")
            .build(),
        Codec::Opus => gst::Caps::builder("audio/x-opus")
            .field("rate", 48_000)
            .field("channels", 2)
            .field("channel-mapping-family", 0)
            .build(),
    }
}

/// The least level that the picture fits, times ten; the most where it fits none.
fn level(picture: Option<(FrameSize, Framerate)>) -> u8 {
    let Some((size, rate)) = picture else { return LEAST_LEVEL };
    let blocks = u64::from(size.width.div_ceil(16)) * u64::from(size.height.div_ceil(16));
    let per_second = (blocks as f64 * rate.as_f64()).ceil() as u64;
    let fits = |(_, frame, second): &&(u8, u64, u64)| blocks <= *frame && per_second <= *second;
    LEVELS.iter().find(fits).map_or(62, |(level, ..)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_least_that_fits_but_not_below_what_servers_ask_for() {
        let level = |width, height, rate| {
            let rate = Framerate::new(rate, 1).unwrap();
            format!("{:02x}", level(Some((FrameSize::new(width, height), rate))))
        };
        for (found, expected) in [
            (level(640, 360, 30), "1f"),
            (level(1280, 720, 30), "1f"),
            (level(1280, 720, 60), "20"),
            (level(1920, 1080, 30), "28"),
            (level(1920, 1080, 60), "2a"),
            (level(3840, 2160, 30), "33"),
            (level(8192, 8192, 1000), "3e"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
