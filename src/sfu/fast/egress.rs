//! One viewer's senders: numbers, seals and reports.

use std::time::{Duration, Instant};

use super::header::{Extensions, Fields, Header};
use super::keys::Captured;
use super::resend::Allowance;
use super::rtcp::{self, Report};
use super::srtp::{Srtp, TAG};
use super::twcc::{Sent, Told};
use super::window::Window;
use crate::media::{MediaKind, RtpTime};
use crate::sfu::Pair;
use crate::sfu::peer::Out;
use crate::sfu::said::Said;
use crate::sfu::wall_clock::{CaptureTime, ntp};

/// How often senders report.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Nothing was sent for so long: a report would extrapolate too far.
const REPORT_WITHIN: Duration = Duration::from_secs(1);
/// What an RTX payload begins with: the number that is sent again (RFC 4588 §4).
const OSN: usize = 2;
/// The most padding there can be, its length at the end (RFC 3550 §5.1).
const PADDING: [u8; 255] = {
    let mut padding = [0; 255];
    padding[254] = 255;
    padding
};

/// What was negotiated for one m-line.
#[derive(Clone, Debug)]
pub(in crate::sfu) struct Line {
    pub(in crate::sfu) kind: MediaKind,
    pub(in crate::sfu) ssrc: u32,
    /// Where packets are sent again; none without RTX.
    pub(in crate::sfu) rtx: Option<u32>,
    pub(in crate::sfu) clock_rate: u32,
    pub(in crate::sfu) extensions: Extensions,
}

/// One packet to send.
#[derive(Clone, Copy, Debug)]
pub(in crate::sfu) struct Outgoing<'a> {
    pub(in crate::sfu) payload_type: u8,
    /// The viewer's number, extended.
    pub(in crate::sfu) sequence: u64,
    pub(in crate::sfu) time: RtpTime,
    pub(in crate::sfu) marker: bool,
    /// Two parts of the payload, one after the other.
    pub(in crate::sfu) payload: [&'a [u8]; 2],
    pub(in crate::sfu) capture_time: Option<CaptureTime>,
    pub(in crate::sfu) captured: Instant,
    pub(in crate::sfu) said: Said,
}

/// Which of a viewer's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sfu) enum Media {
    Video,
    Audio,
}

impl From<MediaKind> for Media {
    fn from(kind: MediaKind) -> Media {
        match kind {
            MediaKind::Video => Media::Video,
            MediaKind::Audio => Media::Audio,
        }
    }
}

/// What came of a wish to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sfu) enum Resent {
    Sent,
    /// Not now: it was sent just now, or too much was.
    Refused,
}

/// Everything that is sealed for one viewer.
pub(in crate::sfu) struct Fast {
    srtp: Srtp,
    /// Which way media goes; none until ICE told.
    route: Option<Pair>,
    video: Option<Sender>,
    audio: Option<Sender>,
    sent: Sent,
    /// Bytes of all datagrams with media.
    pub(in crate::sfu) bytes: u64,
    allowance: Allowance,
    cname: String,
    report_at: Instant,
    room: Vec<u8>,
    /// Packets that were not sent, for their number was used: never, unless there is a bug.
    pub(in crate::sfu) refused: u64,
}

struct Sender {
    line: Line,
    header: Header,
    /// Indices that were sealed.
    used: Window,
    rtx_next: u64,
    packets: u32,
    octets: u32,
    last: Option<(RtpTime, Instant)>,
}

impl Fast {
    /// `None` where the keys are not for AES-GCM: such a viewer is str0m's.
    pub(in crate::sfu) fn new(
        captured: &Captured,
        lines: Vec<Line>,
        cname: String,
        now: Instant,
    ) -> Option<Fast> {
        let mut fast = Fast {
            srtp: Srtp::new(captured)?,
            route: None,
            video: None,
            audio: None,
            sent: Sent::new(now),
            bytes: 0,
            allowance: Allowance::new(),
            cname,
            report_at: now,
            room: Vec::new(),
            refused: 0,
        };
        for line in lines {
            let sender = Sender {
                header: Header::new(&line.extensions),
                used: Window::default(),
                // As for the first number of all: rollover counters begin at 0 on both sides.
                rtx_next: 1,
                packets: 0,
                octets: 0,
                last: None,
                line,
            };
            match sender.line.kind {
                MediaKind::Video => fast.video = Some(sender),
                MediaKind::Audio => fast.audio = Some(sender),
            }
        }
        Some(fast)
    }

    /// ICE goes this way now.
    pub(in crate::sfu) fn set_route(&mut self, route: Pair) {
        self.route = Some(route);
    }

    /// Which way that is.
    pub(in crate::sfu) fn route(&self) -> Option<Pair> {
        self.route
    }

    /// Sends a packet; `false` where it cannot be sent.
    pub(in crate::sfu) fn send(
        &mut self,
        media: Media,
        packet: &Outgoing<'_>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> bool {
        let (Some(route), Some(sender)) = (self.route, sender(&mut self.video, &mut self.audio, media))
        else {
            return false;
        };
        // One owner of every index: what was sealed once is never sealed again.
        if !sender.used.take(packet.sequence) {
            self.refused += 1;
            return false;
        }
        let header = &sender.header;
        let payload = packet.payload[0].len() + packet.payload[1].len();
        let fields = Fields {
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence: packet.sequence as u16,
            time: packet.time.0,
            ssrc: sender.line.ssrc,
            transport: self.sent.next(),
            padding: false,
            capture: packet.capture_time.map(|time| (ntp(time.at), (time.ahead * 4_294_967_296.0) as i64)),
            ..said(&packet.said)
        };
        let head = header.length(&fields);
        let length = head + payload + TAG;
        let room = out.batch.room(route, length, out.wire);
        let (head, body) = room.split_at_mut(head);
        header.write(&fields, head);
        if self.srtp.seal(fields.ssrc, packet.sequence, head, packet.payload, body).is_err() {
            out.batch.take_back(length);
            return false;
        }
        self.sent.note(length, now);
        self.bytes += length as u64;
        self.allowance.sent(length);
        sender.packets = sender.packets.wrapping_add(1);
        sender.octets = sender.octets.wrapping_add(payload as u32);
        if sender.last.is_none_or(|(last, _)| packet.time.since(last) >= 0) {
            sender.last = Some((packet.time, packet.captured));
        }
        true
    }

    /// Sends a packet of video again (RTX, RFC 4588).
    pub(in crate::sfu) fn resend(
        &mut self,
        packet: &Outgoing<'_>,
        now: Instant,
        out: &mut Out<'_>,
    ) -> Resent {
        let (Some(route), Some(sender)) = (self.route, &mut self.video) else {
            return Resent::Refused;
        };
        let Some(ssrc) = sender.line.rtx else { return Resent::Refused };
        let header = &sender.header;
        let payload = OSN + packet.payload[0].len() + packet.payload[1].len();
        let index = sender.rtx_next;
        let fields = Fields {
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence: index as u16,
            time: packet.time.0,
            ssrc,
            transport: self.sent.next(),
            padding: false,
            capture: None,
            ..said(&packet.said)
        };
        let head = header.length(&fields);
        let length = head + payload + TAG;
        if !self.allowance.take(packet.sequence, length, now) {
            return Resent::Refused;
        }
        sender.rtx_next += 1;
        let mut first = std::mem::take(&mut self.room);
        first.clear();
        first.extend_from_slice(&(packet.sequence as u16).to_be_bytes());
        first.extend_from_slice(packet.payload[0]);
        let room = out.batch.room(route, length, out.wire);
        let (head, body) = room.split_at_mut(head);
        header.write(&fields, head);
        let sealed = self.srtp.seal(ssrc, index, head, [&first, packet.payload[1]], body);
        self.room = first;
        if sealed.is_err() {
            out.batch.take_back(length);
            return Resent::Refused;
        }
        self.sent.note(length, now);
        self.bytes += length as u64;
        Resent::Sent
    }

    /// Sends a packet of nothing but padding where packets are sent again; receivers only say that it came. `false` where
    /// that cannot be.
    pub(in crate::sfu) fn pad(&mut self, payload_type: u8, now: Instant, out: &mut Out<'_>) -> bool {
        let (Some(route), Some(sender)) = (self.route, &mut self.video) else {
            return false;
        };
        let Some((ssrc, (last, _))) = sender.line.rtx.zip(sender.last) else { return false };
        let header = &sender.header;
        let index = sender.rtx_next;
        sender.rtx_next += 1;
        let fields = Fields {
            marker: false,
            payload_type,
            sequence: index as u16,
            time: last.0,
            ssrc,
            transport: self.sent.next(),
            padding: true,
            capture: None,
            ..said(&Said::default())
        };
        let head = header.length(&fields);
        let length = head + PADDING.len() + TAG;
        let room = out.batch.room(route, length, out.wire);
        let (head, body) = room.split_at_mut(head);
        header.write(&fields, head);
        if self.srtp.seal(ssrc, index, head, [&PADDING, &[]], body).is_err() {
            out.batch.take_back(length);
            return false;
        }
        self.sent.note(length, now);
        self.bytes += length as u64;
        true
    }

    /// Reports what was sent, when that is due.
    pub(in crate::sfu) fn report(&mut self, now: Instant, out: &mut Out<'_>) {
        if now < self.report_at {
            return;
        }
        let (Some(route), Some(wall)) = (self.route, out.wall_clock.reported(now)) else { return };
        let mut packet = std::mem::take(&mut self.room);
        packet.clear();
        let mut ssrcs = [0; 2];
        let mut count = 0;
        for sender in self.video.iter().chain(&self.audio) {
            let Some((last, captured)) = sender.last else { continue };
            let since = now.saturating_duration_since(captured);
            if since > REPORT_WITHIN {
                continue;
            }
            let units = |span: Duration| {
                (span.as_nanos() * u128::from(sender.line.clock_rate) / 1_000_000_000) as u32
            };
            // Sound or picture that is put off lies ahead of now.
            let ahead = captured.saturating_duration_since(now);
            let report = Report {
                ssrc: sender.line.ssrc,
                ntp: ntp(wall),
                time: last.offset(units(since).wrapping_sub(units(ahead))).0,
                packets: sender.packets,
                octets: sender.octets,
            };
            rtcp::write_report(&report, &mut packet);
            ssrcs[count] = sender.line.ssrc;
            count += 1;
        }
        if count > 0 {
            rtcp::write_names(&ssrcs[..count], &self.cname, &mut packet);
            if self.srtp.seal_rtcp(&mut packet).is_ok() {
                out.batch.push(route, &packet, out.wire);
            }
            self.report_at = now + REPORT_EVERY;
        }
        self.room = packet;
    }

    /// Says that nothing more comes.
    pub(in crate::sfu) fn bye(&mut self, out: &mut Out<'_>) {
        let Some(route) = self.route else { return };
        let senders = self.video.iter().chain(&self.audio);
        let ssrcs: Vec<u32> = senders.flat_map(|s| [Some(s.line.ssrc), s.line.rtx]).flatten().collect();
        let mut packet = Vec::new();
        rtcp::write_bye(&ssrcs, &mut packet);
        if !packet.is_empty() && self.srtp.seal_rtcp(&mut packet).is_ok() {
            out.batch.push(route, &packet, out.wire);
        }
    }

    /// Opens RTCP of the viewer into `room`; `None` where it is not the viewer's, or was heard before.
    pub(in crate::sfu) fn open<'a>(&mut self, packet: &[u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.srtp.open(packet, room)
    }

    /// Whether `ssrc` is that of the picture.
    pub(in crate::sfu) fn is_video(&self, ssrc: u32) -> bool {
        self.video.as_ref().is_some_and(|sender| sender.line.ssrc == ssrc)
    }

    /// A report block names the last report of ours, and how long ago it came.
    pub(in crate::sfu) fn measure(&mut self, last: u32, since: u32, now: Instant, out: &Out<'_>) {
        let Some(wall) = out.wall_clock.reported(now).filter(|_| last != 0) else { return };
        let units = ((ntp(wall) >> 16) as u32).wrapping_sub(last).wrapping_sub(since);
        // A clock that was set makes nonsense of it: half a minute and more.
        if units < 30 << 16 {
            self.allowance.measured(Duration::from_secs_f64(f64::from(units) / 65_536.0));
        }
    }

    /// Hands over what transport-wide feedback tells.
    pub(in crate::sfu) fn arrivals(&mut self, feedback: &[u8], now: Instant, told: impl FnMut(Told)) {
        self.sent.read(feedback, now, told);
    }
}

/// A header's fields as far as a publisher says them; where it says no playout delay, there is to be none.
fn said(said: &Said) -> Fields {
    Fields {
        playout: said.playout.unwrap_or_default(),
        orientation: said.orientation.map(|orientation| orientation as u8),
        level: said.level,
        ..Fields::default()
    }
}

fn sender<'a>(
    video: &'a mut Option<Sender>,
    audio: &'a mut Option<Sender>,
    media: Media,
) -> Option<&'a mut Sender> {
    match media {
        Media::Video => video.as_mut(),
        Media::Audio => audio.as_mut(),
    }
}
