//! RTP streams of a publisher that its offer did not name by `a=ssrc`, and whose packets do not say which m-line they are
//! of: GStreamer's `webrtcbin` offers so when it is asked before its payloader has begun. Their payload type tells, as
//! RFC 8843 §9.2 has it.

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::Ssrc;

/// Streams that one publisher may bring so over its whole life: a datagram from its address is enough to begin one.
const MAX: u8 = 8;

/// Those that one publisher has brought.
#[derive(Debug, Default)]
pub(super) struct Unannounced {
    taken: u8,
}

impl Unannounced {
    /// Has `rtc` take the stream of an RTP datagram, if it is of one of `mids` and not known yet.
    pub(super) fn meet(&mut self, datagram: &[u8], mids: &[Mid], rtc: &mut Rtc) {
        let Some((payload_type, ssrc)) = head(datagram) else { return };
        // SSRC 0 is a browser's probe.
        if *ssrc == 0 || self.taken == MAX || rtc.direct_api().stream_rx(&ssrc).is_some() {
            return;
        }
        let mut found: Option<(Mid, bool, bool)> = None;
        for mid in mids {
            let Some(media) = rtc.media(*mid) else { continue };
            let main = media.remote_pts();
            for params in rtc.codec_config().params().iter().filter(|params| main.contains(&params.pt())) {
                let repairs = params.resend().is_some();
                let is_main = *params.pt() == payload_type;
                if is_main || params.resend().is_some_and(|resend| *resend == payload_type) {
                    if found.is_some_and(|(other, ..)| other != *mid) {
                        // Of either m-line: nobody can tell.
                        return;
                    }
                    found = Some((*mid, is_main, repairs));
                }
            }
        }
        let Some((mid, is_main, repairs)) = found else { return };
        let mut api = rtc.direct_api();
        if is_main {
            api.expect_stream_rx(ssrc, None, mid, None).suppress_nack(!repairs);
            self.taken += 1;
        } else if let Some(main) = api.stream_rx_by_mid(mid, None).filter(|main| main.rtx().is_none()) {
            let main = main.ssrc();
            api.expect_stream_rx(main, Some(ssrc), mid, None);
            self.taken += 1;
        }
    }
}

/// Payload type and SSRC of an RTP packet (RFC 3550 §5.1, told from RTCP as in RFC 5761 §4).
fn head(datagram: &[u8]) -> Option<(u8, Ssrc)> {
    let [first, second, _, _, _, _, _, _, a, b, c, d, ..] = *datagram else { return None };
    let is_rtcp = (192..=223).contains(&second);
    let is_rtp = first >> 6 == 2 && !is_rtcp;
    is_rtp.then(|| (second & 0x7f, Ssrc::from(u32::from_be_bytes([a, b, c, d]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_is_told_from_everything_else() {
        let packet = |first, second| head(&[first, second, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5]);
        assert_eq!(packet(0x90, 0x80 | 96), Some((96, Ssrc::from(0x0102_0304))));
        assert_eq!(packet(0x80, 111), Some((111, Ssrc::from(0x0102_0304))));
        for (first, second) in [(0x80, 200), (0x81, 206), (0x00, 1), (22, 254)] {
            assert_eq!(packet(first, second), None, "{first:#x} {second}");
        }
        assert_eq!(head(&[0x80; 11]), None);
    }
}
