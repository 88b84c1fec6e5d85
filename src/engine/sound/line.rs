//! What the sound's line puts out and when: the captured sound at its time, silence where there is none.

use crate::media::MediaTime;

use super::drift::{Drift, Jump};
use super::stretch::Stretch;
use super::{CHANNELS, RATE};

/// Frames of one block of silence: 10 ms.
const BLOCK: u64 = 480;

/// Silence ends so many frames before now, where a card's sound would begin as well: 20 ms.
const BEHIND: u64 = 960;

/// A source that brings nothing for so many frames is not waited for any longer: 250 ms, which is beyond what a card's own
/// buffer bridges on a busy machine.
const PATIENCE: u64 = 12_000;

/// The same of one that is sent in bundles, of up to 400 ms with what its sender holds back: a second.
const LONG_PATIENCE: u64 = 48_000;

/// Frames of a card that are listened to before its sound is let in: 200 ms. What comes late at its start must not count.
const PRIMING: u64 = 9_600;

/// A gap of more frames than this is left open: 2 s. The machine slept.
const MOST_SILENCE: u64 = 96_000;

/// Times of sources that need no following are rounded by this much, in frames: 1 ms.
const ROUNDING: u64 = 48;

/// How a source's times are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Pace {
    /// They are by the common clock: a tone, a file.
    Common,
    /// A card has a clock of its own.
    Own,
    /// A sender has one too, and bundles its sound.
    Sent,
}

/// Some captured sound.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Block {
    /// Interleaved.
    pub(in crate::engine) samples: Vec<i16>,
    /// When its last sample was captured.
    pub(in crate::engine) end: MediaTime,
    pub(in crate::engine) pace: Pace,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// How often a card lost sound, or brought too much.
    pub(super) jumps: u64,
    /// Frames of silence that were put in, all in all.
    pub(super) silence: u64,
    /// Of the card that is heard.
    pub(super) ppm: Option<f64>,
    /// No source is heard.
    pub(super) silent: bool,
}

/// Puts out blocks without gap or overlap, on a grid of frames that counts from the base time. Pure.
#[derive(Default)]
pub(super) struct Line {
    /// The next frame to put out.
    end: Option<u64>,
    source: Source,
    /// How long the source is waited for, in frames.
    patience: u64,
    counts: Counts,
    out: Vec<i16>,
}

#[derive(Default)]
enum Source {
    #[default]
    None,
    Common,
    /// Frames so far, and where on the grid the first one belongs, at the earliest.
    Priming(u64, f64),
    Card(Box<Card>),
}

struct Card {
    stretch: Stretch,
    drift: Drift,
    /// Frames to leave out, since there is no room for them.
    surplus: u64,
}

impl Line {
    /// Nobody is heard from here on; what comes next begins anew.
    pub(super) fn leave(&mut self) {
        self.source = Source::None;
    }

    pub(super) fn counts(&self) -> Counts {
        let ppm = match &self.source {
            Source::Card(card) => Some(card.drift.ppm()),
            _ => None,
        };
        let silent = matches!(self.source, Source::None | Source::Priming(..));
        Counts { ppm, silent, ..self.counts }
    }

    /// Takes captured sound in. `put` gets what goes out, with the time of its first frame.
    pub(super) fn take(&mut self, block: &Block, put: &mut impl FnMut(MediaTime, &[i16])) {
        let frames = (block.samples.len() / CHANNELS) as u64;
        let end = grid(block.end);
        self.patience = if block.pace == Pace::Sent { LONG_PATIENCE } else { PATIENCE };
        match block.pace {
            Pace::Common => {
                self.source = Source::Common;
                let begin = (end.round() as u64).saturating_sub(frames);
                let at = self.end.unwrap_or(begin);
                if begin > at + ROUNDING {
                    self.be_silent_to(begin, put);
                }
                let over = if at > begin + ROUNDING { (at - begin).min(frames) } else { 0 };
                self.put(&block.samples[over as usize * CHANNELS..], put);
            }
            Pace::Own | Pace::Sent => {
                if let Source::Card(_) = self.source {
                    self.play(&block.samples, end, put);
                } else {
                    self.listen(frames, end, put);
                }
            }
        }
    }

    /// Puts out silence where nothing else comes. Says for how long nothing is to be done, in frames.
    pub(super) fn pass(&mut self, now: MediaTime, put: &mut impl FnMut(MediaTime, &[i16])) -> u64 {
        let now = grid(now) as u64;
        let end = *self.end.get_or_insert(now.saturating_sub(BEHIND));
        let waits = matches!(self.source, Source::Common | Source::Card(_));
        if waits && now < end + self.patience {
            return end + self.patience - now;
        }
        if waits {
            self.leave();
        }
        let target = now.saturating_sub(BEHIND);
        if target >= end + BLOCK {
            self.be_silent_to(target - (target - end) % BLOCK, put);
        }
        (self.end.unwrap_or(now) + BLOCK + BEHIND).saturating_sub(now).max(1)
    }

    /// Before a card's sound is let in.
    fn listen(&mut self, frames: u64, end: f64, put: &mut impl FnMut(MediaTime, &[i16])) {
        let (before, earliest) = match self.source {
            Source::Priming(before, earliest) => (before, earliest),
            _ => (0, f64::INFINITY),
        };
        let heard = before + frames;
        let earliest = earliest.min(end - heard as f64);
        self.source = Source::Priming(heard, earliest);
        if heard < PRIMING {
            return;
        }
        let Some(stretch) = Stretch::new() else { return };
        // What it puts out first is `held` frames of nothing, before the next frame that goes in.
        let begin = (earliest + heard as f64 - stretch.held()).round().max(0.0) as u64;
        let at = self.end.unwrap_or(begin);
        let card = Card { stretch, drift: Drift::default(), surplus: at.saturating_sub(begin) };
        self.source = Source::Card(Box::new(card));
        self.end = Some(at);
        self.be_silent_to(begin, put);
    }

    fn play(&mut self, samples: &[i16], end: f64, put: &mut impl FnMut(MediaTime, &[i16])) {
        let Source::Card(card) = &mut self.source else { return };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        card.stretch.push(samples, card.drift.ratio(), &mut out);
        let made = (out.len() / CHANNELS) as u64;
        let left_out = card.surplus.min(made);
        card.surplus -= left_out;
        let at = self.end.unwrap_or_default();
        // Where its end lies on the grid, by what was put out and what is held.
        let lies =
            (at + made - left_out) as f64 + card.stretch.held() * card.drift.ratio() - card.surplus as f64;
        let span = samples.len() as f64 / (CHANNELS as f64 * f64::from(RATE));
        let jump = card.drift.observe(span, (end - lies) / f64::from(RATE));
        let frames = |seconds: f64| (seconds * f64::from(RATE)).round() as u64;
        let lost = match jump {
            None => 0,
            Some(Jump::Lost(seconds)) => frames(seconds),
            Some(Jump::Surplus(seconds)) => {
                card.surplus += frames(seconds);
                0
            }
        };
        self.counts.jumps += u64::from(jump.is_some());
        self.put(&out[left_out as usize * CHANNELS..], put);
        self.out = out;
        if lost > 0 {
            let at = self.end.unwrap_or_default();
            self.be_silent_to(at + lost, put);
        }
    }

    fn put(&mut self, samples: &[i16], put: &mut impl FnMut(MediaTime, &[i16])) {
        let at = self.end.unwrap_or_default();
        if !samples.is_empty() {
            put(time(at), samples);
        }
        self.end = Some(at + (samples.len() / CHANNELS) as u64);
    }

    fn be_silent_to(&mut self, target: u64, put: &mut impl FnMut(MediaTime, &[i16])) {
        let from = self.end.unwrap_or(target);
        self.counts.silence += target.saturating_sub(from);
        if target.saturating_sub(from) > MOST_SILENCE {
            self.end = Some(target);
            return;
        }
        let mut at = from;
        while at < target {
            let frames = (target - at).min(BLOCK);
            self.put(&[0; BLOCK as usize * CHANNELS][..frames as usize * CHANNELS], put);
            at += frames;
        }
    }
}

/// Frames since the base time.
fn grid(time: MediaTime) -> f64 {
    time.as_nanos() as f64 * f64::from(RATE) / 1e9
}

fn time(frame: u64) -> MediaTime {
    MediaTime::from_nanos(
        u64::try_from(u128::from(frame) * 1_000_000_000 / u128::from(RATE)).unwrap_or(u64::MAX),
    )
}
