//! The sending half of a peer: when which packet of the clip goes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use str0m::media::{Mid, Pt};

use crate::clip::Clip;
use crate::clock;
use crate::codec::{Template, opus};
use crate::stamp::Stamp;

const AUDIO_FRAME: Duration = Duration::from_millis(20);
const AUDIO_CLOCK: u32 = 960; // samples in it, at 48 kHz

pub struct Media {
    pub clip: Option<Arc<Clip>>,
    pub fps: u32,
    /// Bytes of each Opus packet; no audio without.
    pub audio_bytes: Option<usize>,
    /// A keyframe request within this time of the last keyframe waits.
    pub keyframe_throttle: Duration,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Sent {
    pub video_packets: u64,
    pub video_bytes: u64,
    pub frames: u64,
    pub keyframes: u64,
    pub audio_packets: u64,
    pub audio_bytes: u64,
    pub keyframe_requests: u64,
    pub nacks_received: u64,
}

pub struct Out {
    pub mid: Mid,
    pub pt: Pt,
    pub seq: u64,
    pub time: u32,
    pub marker: bool,
    pub video: bool,
    pub payload: Vec<u8>,
}

/// One RTP stream's counters.
struct Track {
    mid: Mid,
    pt: Pt,
    seq: u64,
    time: u32,
    packets: u32,
    frame: u32,
}

impl Track {
    fn new(mid: Mid, pt: Pt, random: u32) -> Track {
        // Below 2^15: the receiver must be able to guess the rollover counter.
        Track { mid, pt, seq: u64::from(random & 0x7fff), time: random, packets: 0, frame: 0 }
    }

    fn out(&mut self, template: &Template, sent_ns: u64, time: u32, marker: bool, video: bool) -> Out {
        let mut payload = template.payload.clone();
        if let Some(at) = template.stamp_at {
            Stamp { sent_ns, frame: self.frame, packets: self.packets }.write(&mut payload[at..]);
        }
        if let Some(at) = template.picture_id_at {
            payload[at..at + 2].copy_from_slice(&(0x8000 | self.frame as u16).to_be_bytes());
        }
        let seq = self.seq;
        self.seq += 1;
        self.packets = self.packets.wrapping_add(1);
        Out { mid: self.mid, pt: self.pt, seq, time, marker, video, payload }
    }
}

pub struct Publisher {
    media: Arc<Media>,
    silence: Option<Template>,
    video: Option<Track>,
    audio: Option<Track>,
    start: Option<Instant>,
    /// Next frame of the clip.
    at: usize,
    last_keyframe: Option<Instant>,
    keyframe_wanted: bool,
    pub sent: Sent,
    /// How late frames left, in milliseconds.
    pub lag: Vec<f32>,
}

impl Publisher {
    pub fn new(media: Arc<Media>) -> Publisher {
        Publisher {
            silence: media.audio_bytes.map(opus::silence),
            media,
            video: None,
            audio: None,
            start: None,
            at: 0,
            last_keyframe: None,
            keyframe_wanted: false,
            sent: Sent::default(),
            lag: Vec::new(),
        }
    }

    pub fn start(&mut self, at: Instant, video: Option<(Mid, Pt)>, audio: Option<(Mid, Pt)>) {
        let random = clock::realtime_ns() as u32;
        self.video = video.map(|(mid, pt)| Track::new(mid, pt, random.rotate_left(7)));
        self.audio = audio.map(|(mid, pt)| Track::new(mid, pt, random.rotate_left(19)));
        self.start = Some(at);
    }

    pub fn keyframe_request(&mut self) {
        self.sent.keyframe_requests += 1;
        self.keyframe_wanted = true;
    }

    fn video_due(&self) -> Option<Instant> {
        let (start, track) = (self.start?, self.video.as_ref()?);
        let nanos = u64::from(track.frame) * 1_000_000_000 / u64::from(self.media.fps);
        Some(start + Duration::from_nanos(nanos))
    }

    fn audio_due(&self) -> Option<Instant> {
        Some(self.start? + AUDIO_FRAME * self.audio.as_ref()?.frame)
    }

    pub fn due(&self) -> Option<Instant> {
        match (self.video_due(), self.audio_due()) {
            (Some(v), Some(a)) => Some(v.min(a)),
            (v, a) => v.or(a),
        }
    }

    /// The packets to send now, one frame or audio packet at a time.
    pub fn take(&mut self, now: Instant) -> Option<Vec<Out>> {
        if let Some(due) = self.audio_due().filter(|due| *due <= now) {
            self.lag.push((now - due).as_secs_f32() * 1e3);
            let (track, template) = (self.audio.as_mut()?, self.silence.as_ref()?);
            let time = track.time.wrapping_add(track.frame.wrapping_mul(AUDIO_CLOCK));
            let out = track.out(template, clock::realtime_ns(), time, false, false);
            track.frame += 1;
            self.sent.audio_packets += 1;
            self.sent.audio_bytes += out.payload.len() as u64;
            return Some(vec![out]);
        }
        let due = self.video_due().filter(|due| *due <= now)?;
        self.lag.push((now - due).as_secs_f32() * 1e3);
        let (track, clip) = (self.video.as_mut()?, self.media.clip.clone()?);
        let throttled = |t: Instant| now < t + self.media.keyframe_throttle;
        if self.keyframe_wanted && !self.last_keyframe.is_some_and(throttled) {
            // Skip ahead to where the loop can be entered.
            while !clip.frames[self.at].key {
                self.at = (self.at + 1) % clip.frames.len();
            }
        }
        let frame = &clip.frames[self.at];
        self.at = (self.at + 1) % clip.frames.len();
        if frame.key {
            self.keyframe_wanted = false;
            self.last_keyframe = Some(now);
            self.sent.keyframes += 1;
        }
        let ticks = u64::from(track.frame) * 90_000 / u64::from(self.media.fps);
        let time = track.time.wrapping_add(ticks as u32);
        let sent_ns = clock::realtime_ns();
        let last = frame.packets.len() - 1;
        let packets = frame.packets.iter().enumerate();
        let out: Vec<Out> = packets.map(|(i, t)| track.out(t, sent_ns, time, i == last, true)).collect();
        track.frame += 1;
        self.sent.frames += 1;
        self.sent.video_packets += out.len() as u64;
        self.sent.video_bytes += out.iter().map(|o| o.payload.len() as u64).sum::<u64>();
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264;

    #[test]
    fn keeps_time_and_answers_keyframe_requests() {
        let unit = |first: u8| h264::packetize(&[&[first, 0x88, 1]], 1000);
        let frames = vec![unit(0x65), unit(0x41), unit(0x41), unit(0x41)];
        let media = Media {
            clip: Some(Arc::new(Clip { frames })),
            fps: 30,
            audio_bytes: Some(160),
            keyframe_throttle: Duration::from_millis(100),
        };
        let mut p = Publisher::new(Arc::new(media));
        let t = Instant::now();
        p.start(t, Some((Mid::from("v"), 96.into())), Some((Mid::from("a"), 111.into())));
        let mut keys = Vec::new();
        let mut seq = None;
        for ms in 0..1000 {
            while let Some(out) = p.take(t + Duration::from_millis(ms)) {
                for o in out.iter().filter(|o| o.video) {
                    assert_eq!(o.seq, seq.map_or(o.seq, |s| s + 1));
                    seq = Some(o.seq);
                }
                if out[0].video && out[1].payload[0] == 0x65 {
                    keys.push(p.sent.frames);
                }
            }
            if ms == 540 {
                p.keyframe_request(); // last keyframe was frame 17, at 533 ms
            }
        }
        assert_eq!((p.sent.frames, p.sent.audio_packets), (30, 50));
        assert_eq!(p.sent.video_packets, 60);
        // Every fourth frame; the request waits for 100 ms to have passed.
        assert_eq!(keys, [1, 5, 9, 13, 17, 20, 24, 28]);
        assert_eq!(p.sent.keyframe_requests, 1);
        assert!(p.due().unwrap() >= t + Duration::from_millis(999));
    }
}
