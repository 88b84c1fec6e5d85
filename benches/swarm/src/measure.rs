//! Counting, free of sockets and clocks so that it can be tested.

use serde::Serialize;
use str0m::format::Codec as Format;

use crate::clock::ms_between;
use crate::codec;
use crate::stamp::Stamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// Joining and settling: nothing counts yet.
    Warm,
    /// Everything counts.
    Measure,
    /// Only repairs of what was sent during `Measure` count.
    Grace,
}

/// When to measure, by kernel receive time: the same for every viewer, however
/// late its packets are read.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Span {
    pub fn phase(span: Option<Span>, at_ns: u64) -> Phase {
        match span {
            Some(s) if at_ns >= s.end_ns => Phase::Grace,
            Some(s) if at_ns >= s.start_ns => Phase::Measure,
            _ => Phase::Warm,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    pub n: usize,
    pub min: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Quantiles {
    pub fn of(mut values: Vec<f32>) -> Quantiles {
        values.sort_unstable_by(f32::total_cmp);
        let at = |q: f64| {
            let rank = (values.len() as f64 * q).ceil() as usize;
            values.get(rank.saturating_sub(1)).map_or(0.0, |v| (f64::from(*v) * 1e4).round() / 1e4)
        };
        Quantiles { n: values.len(), min: at(0.0), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// One RTP packet as the application sees it, after decryption and RTX.
pub struct Packet<'a> {
    pub seq: u64,
    pub time: u32,
    pub marker: bool,
    pub payload: &'a [u8],
    /// Kernel receive time.
    pub at_ns: u64,
}

/// Which packets of a run of sequence numbers arrived.
#[derive(Default)]
struct Window {
    /// First sequence number that counts.
    base: Option<u64>,
    /// Last one that counts, once the window is closed.
    end: Option<u64>,
    seen: Vec<u64>,
    unique: u64,
}

impl Window {
    /// True if `seq` counts and was not there yet.
    fn take(&mut self, seq: u64) -> bool {
        let base = *self.base.get_or_insert(seq);
        if seq < base || self.end.is_some_and(|end| seq > end) {
            return false;
        }
        let at = (seq - base) as usize;
        if self.seen.len() <= at / 64 {
            self.seen.resize(at / 64 + 1, 0);
        }
        let fresh = self.seen[at / 64] & 1 << (at % 64) == 0;
        self.seen[at / 64] |= 1 << (at % 64);
        self.unique += u64::from(fresh);
        fresh
    }
}

/// A keyframe that is arriving.
struct Keyframe {
    time: u32,
    first: u64,
    got: u64,
    last: Option<u64>,
}

/// The first and last stamp of the window, by position in the stream.
#[derive(Clone, Copy)]
struct Mark {
    stamp: Stamp,
    seq: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    pub packets: u64,
    pub bytes: u64,
    /// Packets with the marker bit: complete or not, the end of a frame.
    pub frames: u64,
    /// Sequence numbers from the first to the last of the window.
    pub expected: u64,
    /// Of these, never received, not even by retransmission.
    pub lost: u64,
    /// Received after a packet with a higher sequence number.
    pub late: u64,
    /// Padding only.
    pub empty: u64,
    pub stamps: u64,
    /// Frames (video) or packets (audio) between the first and the last stamp
    /// that the publisher sent and that never came.
    pub stamps_missing: u64,
    /// Packets the publisher sent, less those the server numbered, over the
    /// same stretch: what a server drops and renumbers to hide.
    pub hidden: i64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, o: Counts) {
        self.packets += o.packets;
        self.bytes += o.bytes;
        self.frames += o.frames;
        self.expected += o.expected;
        self.lost += o.lost;
        self.late += o.late;
        self.empty += o.empty;
        self.stamps += o.stamps;
        self.stamps_missing += o.stamps_missing;
        self.hidden += o.hidden;
    }
}

/// Milliseconds from the publisher's send time.
#[derive(Default)]
pub struct Delays {
    /// To the stamped packet itself.
    pub packet: Vec<f32>,
    /// To the last packet of the stamped frame.
    pub frame: Vec<f32>,
}

/// One SSRC.
pub struct Stream {
    pub ssrc: u32,
    pub format: Format,
    phase: Phase,
    max: Option<u64>,
    window: Window,
    counts: Counts,
    first: Option<Mark>,
    last: Option<Mark>,
    /// RTP time and send time of the stamped frame that is arriving.
    current: Option<(u32, u64)>,
    keyframe: Option<Keyframe>,
    pub first_keyframe_ns: Option<u64>,
    pub delays: Delays,
}

impl Stream {
    pub fn new(ssrc: u32, format: Format) -> Stream {
        Stream {
            ssrc,
            format,
            phase: Phase::Warm,
            max: None,
            window: Window::default(),
            counts: Counts::default(),
            first: None,
            last: None,
            current: None,
            keyframe: None,
            first_keyframe_ns: None,
            delays: Delays::default(),
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        match phase {
            Phase::Warm => {}
            Phase::Measure => self.window.base = self.max.map(|m| m + 1),
            // Without a packet in the window, nothing counts.
            Phase::Grace => self.window.end = Some(self.max.unwrap_or(0)),
        }
        self.phase = phase;
    }

    pub fn packet(&mut self, p: &Packet, phase: Phase) {
        if phase > self.phase {
            self.set_phase(phase);
        }
        if self.format.is_video() && self.first_keyframe_ns.is_none() {
            self.look_for_keyframe(p);
        }
        let late = self.max.is_some_and(|m| p.seq < m);
        self.max = self.max.max(Some(p.seq));
        if self.phase == Phase::Warm || !self.window.take(p.seq) {
            return;
        }
        self.counts.packets += 1;
        self.counts.bytes += p.payload.len() as u64;
        self.counts.late += u64::from(late);
        self.counts.empty += u64::from(p.payload.is_empty());
        self.counts.frames += u64::from(p.marker && self.format.is_video());

        if let Some(stamp) = codec::find_stamp(self.format, p.payload, p.marker) {
            self.counts.stamps += 1;
            let mark = Mark { stamp, seq: p.seq };
            if self.first.is_none_or(|m| p.seq < m.seq) {
                self.first = Some(mark);
            }
            if self.last.is_none_or(|m| p.seq > m.seq) {
                self.last = Some(mark);
            }
            self.current = Some((p.time, stamp.sent_ns));
            // Where the stamp rides at the frame's end, that is the frame's delay.
            if !(self.format.is_video() && p.marker) {
                self.delays.packet.push(ms_between(stamp.sent_ns, p.at_ns) as f32);
            }
        }
        if p.marker && self.format.is_video() {
            match self.current {
                Some((time, sent_ns)) if time == p.time => {
                    self.delays.frame.push(ms_between(sent_ns, p.at_ns) as f32);
                }
                _ => {}
            }
        }
    }

    fn look_for_keyframe(&mut self, p: &Packet) {
        let starts = codec::starts_keyframe(self.format, p.payload);
        match &mut self.keyframe {
            Some(k) if k.time == p.time => {
                k.got += u64::from(p.seq > k.first);
                if p.marker {
                    k.last = Some(p.seq);
                }
            }
            k if starts => {
                let last = p.marker.then_some(p.seq);
                *k = Some(Keyframe { time: p.time, first: p.seq, got: 1, last });
            }
            _ => return,
        }
        if let Some(Keyframe { first, got, last: Some(last), .. }) = self.keyframe
            && got == last - first + 1
        {
            self.first_keyframe_ns = Some(p.at_ns);
        }
    }

    pub fn counts(&self) -> Counts {
        let mut c = self.counts;
        if let (Some(base), Some(end)) = (self.window.base, self.window.end.or(self.max)) {
            c.expected = (end + 1).saturating_sub(base);
            c.lost = c.expected.saturating_sub(self.window.unique);
        }
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let frames = u64::from(last.stamp.frame.wrapping_sub(first.stamp.frame)) + 1;
            c.stamps_missing = frames.saturating_sub(c.stamps);
            let sent = last.stamp.packets.wrapping_sub(first.stamp.packets);
            c.hidden = i64::from(sent) - (last.seq - first.seq) as i64;
        }
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::opus;

    fn stream(format: Format) -> Stream {
        Stream::new(1, format)
    }

    fn audio(s: &mut Stream, seq: u64, number: u32) {
        let mut t = opus::silence(100);
        let stamp = Stamp { sent_ns: 1_000_000, frame: number, packets: number };
        stamp.write(&mut t.payload[t.stamp_at.unwrap()..]);
        s.packet(&Packet { seq, time: 0, marker: false, payload: &t.payload, at_ns: 3_500_000 }, s.phase);
    }

    #[test]
    fn losses_repairs_duplicates_and_hidden_drops() {
        let mut s = stream(Format::Opus);
        for n in 0..10 {
            audio(&mut s, 100 + n, n as u32);
        }
        s.set_phase(Phase::Measure); // from 110
        audio(&mut s, 108, 8); // from before the window
        for n in [0, 1, 2, 4, 5, 8, 9] {
            audio(&mut s, 110 + n, 10 + n as u32);
        }
        audio(&mut s, 113, 13); // repaired in time
        audio(&mut s, 113, 13); // and again
        s.set_phase(Phase::Grace);
        audio(&mut s, 116, 16); // repaired late
        audio(&mut s, 120, 20); // after the window
        let c = s.counts();
        assert_eq!((c.packets, c.expected, c.lost, c.late), (9, 10, 1, 2));
        assert_eq!((c.stamps, c.stamps_missing, c.hidden), (9, 1, 0));
        assert_eq!(s.delays.packet, vec![2.5; 9]);

        // A server that drops two and closes the gap.
        let mut s = stream(Format::Opus);
        s.set_phase(Phase::Measure);
        for n in 0..10 {
            audio(&mut s, 7 + n, if n < 5 { n as u32 } else { n as u32 + 2 });
        }
        s.set_phase(Phase::Grace);
        let c = s.counts();
        assert_eq!((c.packets, c.lost, c.stamps_missing, c.hidden), (10, 0, 2, 2));
    }

    #[test]
    fn keyframe_counts_only_when_complete() {
        let mut s = stream(Format::H264);
        let mut send = |seq, time, marker, payload: &[u8], at_ns| {
            s.packet(&Packet { seq, time, marker, payload, at_ns }, Phase::Warm);
            s.first_keyframe_ns
        };
        assert_eq!(send(1, 10, true, &[0x41, 0x9a], 1), None);
        assert_eq!(send(2, 20, false, &[24, 0, 1, 0x67], 2), None);
        assert_eq!(send(3, 20, false, &[0x7c, 0x85, 0], 3), None);
        assert_eq!(send(5, 20, true, &[0x7c, 0x45, 0], 5), None);
        assert_eq!(send(6, 30, true, &[0x41, 0x9a], 6), None);
        assert_eq!(send(4, 20, false, &[0x7c, 0x05, 0], 7), Some(7));
    }

    #[test]
    fn frame_delay_is_that_of_the_marker() {
        let mut s = stream(Format::H264);
        let unit: [&[u8]; 1] = [&[0x41, 0x9a, 1]];
        let mut sei = codec::h264::packetize(&unit, 1000).packets.remove(0).payload;
        Stamp { sent_ns: 5_000_000, frame: 1, packets: 1 }.write(&mut sei[3..]);
        s.packet(&Packet { seq: 1, time: 9, marker: false, payload: &sei, at_ns: 6_000_000 }, Phase::Measure);
        s.packet(
            &Packet { seq: 2, time: 9, marker: true, payload: unit[0], at_ns: 8_000_000 },
            Phase::Measure,
        );
        s.packet(
            &Packet { seq: 3, time: 10, marker: true, payload: unit[0], at_ns: 9_000_000 },
            Phase::Measure,
        );
        assert_eq!((&s.delays.packet[..], &s.delays.frame[..]), (&[1.0][..], &[3.0][..]));
        assert_eq!(s.counts().frames, 2);
    }

    #[test]
    fn the_window_goes_by_arrival() {
        let span = Some(Span { start_ns: 10, end_ns: 20 });
        let phases = [9, 10, 19, 20].map(|at| Span::phase(span, at));
        assert_eq!(phases, [Phase::Warm, Phase::Measure, Phase::Measure, Phase::Grace]);
        assert_eq!(Span::phase(None, 15), Phase::Warm);

        // A stream that begins after the window has nothing to show for it.
        let mut s = stream(Format::Opus);
        for seq in 5..9 {
            s.packet(&Packet { seq, time: 0, marker: false, payload: &[1], at_ns: 30 }, Phase::Grace);
        }
        let c = s.counts();
        assert_eq!((c.packets, c.expected, c.lost), (0, 0, 0));
    }

    #[test]
    fn quantiles() {
        let q = Quantiles::of((1..=100).rev().map(|v| v as f32).collect());
        assert_eq!((q.n, q.min, q.p50, q.p95, q.p99, q.max), (100, 1.0, 50.0, 95.0, 99.0, 100.0));
        assert_eq!(Quantiles::of(vec![]).max, 0.0);
        assert_eq!(Quantiles::of(vec![4.0]).p50, 4.0);
    }
}
