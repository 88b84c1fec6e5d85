//! What a publisher says of a packet beside its media, in header extensions; a viewer is told the same, under the numbers
//! that it gave them.

use std::time::SystemTime;

use str0m::media::{Frequency, MediaTime};
use str0m::rtp::{ExtensionValues, VideoOrientation};

/// Said of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Said {
    /// How the picture is to be turned (3GPP TS 26.114 §7.4.5): on the last packet of a keyframe, and where it changes.
    pub(super) orientation: Option<VideoOrientation>,
    /// How loud the sound is (RFC 6464): a bit for voice above the level below full scale, in dB.
    pub(super) level: Option<u8>,
    /// How long a player may hold pictures back, at least and at most, in hundredths of a second, 12 bits each.
    pub(super) playout: Option<[u8; 3]>,
    /// When it was captured, by the clock of whoever captured it.
    pub(super) captured: Option<SystemTime>,
}

impl Said {
    /// As str0m has read it.
    pub(super) fn read(values: &ExtensionValues) -> Said {
        let hundredths = |time: MediaTime| time.rebase(Frequency::HUNDREDTHS).numer().min(0xfff) as u16;
        let playout = values.play_delay_min.zip(values.play_delay_max).map(|(least, most)| {
            let (least, most) = (hundredths(least), hundredths(most));
            [(least >> 4) as u8, (least << 4) as u8 | (most >> 8) as u8, most as u8]
        });
        Said {
            orientation: values.video_orientation,
            level: values.audio_level.map(|level| {
                let voice = values.voice_activity.unwrap_or_default();
                u8::from(voice) << 7 | level.unsigned_abs().min(127)
            }),
            playout,
            captured: values.abs_capture_time.as_ref().map(|time| time.capture_time),
        }
    }

    /// As str0m writes it, but the capture time.
    pub(super) fn write(&self, values: &mut ExtensionValues) {
        values.video_orientation = self.orientation;
        values.audio_level = self.level.map(|level| -((level & 0x7f) as i8));
        values.voice_activity = self.level.map(|level| level & 0x80 != 0);
        if let Some([a, b, c]) = self.playout {
            let least = u64::from(a) << 4 | u64::from(b) >> 4;
            let most = u64::from(b & 0xf) << 8 | u64::from(c);
            values.play_delay_min = Some(MediaTime::from_hundredths(least));
            values.play_delay_max = Some(MediaTime::from_hundredths(most));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_again() {
        for said in [
            Said::default(),
            Said { orientation: Some(VideoOrientation::Deg270), ..Said::default() },
            Said { level: Some(0x80 | 37), ..Said::default() },
            Said { level: Some(127), playout: Some([0x12, 0x3a, 0xbc]), ..Said::default() },
            Said { playout: Some([0, 0, 0]), level: Some(0), ..Said::default() },
        ] {
            let mut values = ExtensionValues::default();
            said.write(&mut values);
            assert_eq!(Said::read(&values), said);
        }
    }
}
