//! The line in virtual time, with a card that has a clock of its own.

use std::time::Duration;

use super::line::{Block, Line, Pace};
use super::{CHANNELS, RATE};
use crate::media::MediaTime;

/// A card that clicks at every whole second of true time.
struct Card {
    /// Seconds: when its next sample is captured.
    at: f64,
    ppm: f64,
    /// Seconds that each block comes late, in turn.
    late: Vec<f64>,
    blocks: usize,
}

impl Card {
    fn new(at: f64, ppm: f64) -> Card {
        Card { at, ppm, late: vec![0.0], blocks: 0 }
    }

    /// 10 ms by its clock, and when that is to be had.
    fn block(&mut self) -> (Block, MediaTime) {
        let step = 1.0 / (f64::from(RATE) * (1.0 + self.ppm * 1e-6));
        let mut samples = Vec::new();
        for _ in 0..480 {
            let next = self.at + step;
            let click = if next.floor() > self.at.floor() { 20_000 } else { 0 };
            samples.extend([click; CHANNELS]);
            self.at = next;
        }
        let late = self.late[self.blocks % self.late.len()];
        self.blocks += 1;
        let end = seconds(self.at + late);
        (Block { samples, end, pace: Pace::Own }, end)
    }
}

fn seconds(seconds: f64) -> MediaTime {
    MediaTime::default() + Duration::from_secs_f64(seconds)
}

/// What went out, checked for gaps and overlaps as it does.
#[derive(Default)]
struct Heard {
    /// Frames, from the first one's place on the grid.
    begin: Option<u64>,
    left: Vec<i16>,
}

impl Heard {
    fn put(&mut self, pts: MediaTime, samples: &[i16]) {
        let place = (pts.as_nanos() as f64 * 48e-6).round() as u64;
        let begin = *self.begin.get_or_insert(place);
        assert_eq!(place, begin + self.left.len() as u64, "a gap or an overlap at {:?}", pts.since_base());
        self.left.extend(samples.iter().step_by(CHANNELS));
    }

    /// Seconds at which it clicks.
    fn clicks(&self) -> Vec<f64> {
        let begin = self.begin.unwrap_or_default();
        let mut clicks: Vec<(usize, i16)> = Vec::new();
        for (n, sample) in self.left.iter().enumerate().filter(|(_, sample)| **sample > 5_000) {
            match clicks.last_mut().filter(|(last, _)| n - *last < 100) {
                Some(last) if *sample > last.1 => *last = (n, *sample),
                Some(_) => {}
                None => clicks.push((n, *sample)),
            }
        }
        clicks.iter().map(|(n, _)| (begin + *n as u64) as f64 / f64::from(RATE)).collect()
    }

    /// How far clicks are from whole seconds, at most, in those after `after`.
    fn worst(&self, after: f64) -> f64 {
        let late = self.clicks().into_iter().filter(|at| *at > after);
        late.map(|at| (at - at.round()).abs()).fold(0.0, f64::max)
    }
}

/// Lets time pass from one moment to another without anything being captured, in steps of 5 ms.
fn idle(line: &mut Line, heard: &mut Heard, from: f64, to: f64) {
    let mut now = from;
    while now < to {
        line.pass(seconds(now), &mut |pts, samples| heard.put(pts, samples));
        now += 0.005;
    }
}

/// Plays a card until `to`.
fn play(line: &mut Line, heard: &mut Heard, card: &mut Card, to: f64) {
    while card.at < to {
        let (block, now) = card.block();
        line.take(&block, &mut |pts, samples| heard.put(pts, samples));
        line.pass(now, &mut |pts, samples| heard.put(pts, samples));
    }
}

#[test]
fn without_a_source_there_is_silence_from_the_start_and_without_a_gap() {
    let (mut line, mut heard) = (Line::default(), Heard::default());
    idle(&mut line, &mut heard, 3.0, 8.0);
    assert!((239_000..=240_100).contains(&heard.left.len()), "{} frames", heard.left.len());
    assert!(heard.left.iter().all(|sample| *sample == 0) && line.counts().silent);
    // The machine slept for an hour: nobody needs an hour of silence.
    let before = heard.left.len();
    let mut after = Heard::default();
    idle(&mut line, &mut after, 3_608.0, 3_609.0);
    assert!((47_000..=49_000).contains(&after.left.len()), "{} and {before}", after.left.len());
}

#[test]
fn a_card_is_heard_at_the_time_that_it_captured_whatever_its_clock() {
    for ppm in [-5_000.0, 200.0, 5_000.0] {
        let (mut line, mut heard) = (Line::default(), Heard::default());
        idle(&mut line, &mut heard, 1.0, 2.0);
        let mut card = Card::new(2.0, ppm);
        play(&mut line, &mut heard, &mut card, 60.0);
        let clicks = heard.clicks().len();
        assert!((56..=58).contains(&clicks), "{ppm} ppm: {clicks} clicks");
        assert!(heard.worst(0.0) < 0.006, "{ppm} ppm: {:.2} ms off", heard.worst(0.0) * 1e3);
        assert!(heard.worst(40.0) < 0.001, "{ppm} ppm: {:.2} ms off", heard.worst(40.0) * 1e3);
        let counts = line.counts();
        assert!(counts.ppm.is_some_and(|found| (found - ppm).abs() < 50.0), "{ppm} ppm: {counts:?}");
        assert_eq!(counts.jumps, 0);
    }
}

#[test]
fn blocks_that_come_late_are_heard_in_time() {
    let (mut line, mut heard) = (Line::default(), Heard::default());
    idle(&mut line, &mut heard, 1.0, 2.0);
    let mut card = Card::new(2.0, 100.0);
    // A machine so busy that half of the blocks come up to 60 ms late, the first ones among them.
    card.late = vec![0.06, 0.04, 0.01, 0.0, 0.02, 0.0];
    play(&mut line, &mut heard, &mut card, 30.0);
    assert!(heard.worst(0.0) < 0.002, "{:.2} ms off", heard.worst(0.0) * 1e3);
    assert_eq!(line.counts().jumps, 0);
}

#[test]
fn what_a_card_loses_is_silence_and_what_follows_is_in_time() {
    for lost in [0.1, 0.7] {
        let (mut line, mut heard) = (Line::default(), Heard::default());
        let mut card = Card::new(2.0, -300.0);
        play(&mut line, &mut heard, &mut card, 20.3);
        card.at += lost;
        play(&mut line, &mut heard, &mut card, 35.0);
        // What lasts is no overrun: the card hung, and begins anew.
        assert_eq!(line.counts().jumps, u64::from(lost < 0.25), "{lost} s");
        assert!(heard.worst(21.0) < 0.002, "{lost} s: {:.2} ms off", heard.worst(21.0) * 1e3);
    }
}

#[test]
fn a_card_that_is_unplugged_leaves_silence_and_comes_back_in_time() {
    let (mut line, mut heard) = (Line::default(), Heard::default());
    play(&mut line, &mut heard, &mut Card::new(2.0, 1_000.0), 10.5);
    assert!(!line.counts().silent);
    line.leave();
    idle(&mut line, &mut heard, 10.5, 14.2);
    assert!(line.counts().silent);
    assert!(heard.clicks().iter().all(|at| *at < 10.4), "{:?}", heard.clicks());
    play(&mut line, &mut heard, &mut Card::new(14.2, 1_000.0), 30.0);
    assert!(!line.counts().silent);
    assert_eq!(heard.clicks().iter().filter(|at| **at > 14.0).count(), 16, "15 s to 30 s");
    assert!(heard.worst(0.0) < 0.003, "{:.2} ms off", heard.worst(0.0) * 1e3);
}

#[test]
fn a_card_that_hangs_is_waited_for_a_moment_only() {
    let (mut line, mut heard) = (Line::default(), Heard::default());
    play(&mut line, &mut heard, &mut Card::new(2.0, 0.0), 5.0);
    let played = heard.left.len();
    idle(&mut line, &mut heard, 5.0, 5.2);
    assert_eq!(heard.left.len(), played, "200 ms are what a card's own buffer bridges");
    idle(&mut line, &mut heard, 5.2, 6.0);
    assert!(heard.left.len() > played + 46_000, "{} frames", heard.left.len() - played);
    assert!(line.counts().silent);
}

#[test]
fn a_tone_passes_as_it_is() {
    let (mut line, mut heard) = (Line::default(), Heard::default());
    idle(&mut line, &mut heard, 1.0, 2.0);
    let mut sent = Vec::new();
    for block in 0..100_u64 {
        let samples: Vec<i16> = (0..480).flat_map(|n| [(block * 480 + n + 1) as i16; CHANNELS]).collect();
        sent.extend(samples.iter().step_by(CHANNELS).copied());
        let end = seconds(2.0 + (block + 1) as f64 / 100.0);
        line.take(&Block { samples, end, pace: Pace::Common }, &mut |pts, samples| heard.put(pts, samples));
        line.pass(end, &mut |pts, samples| heard.put(pts, samples));
    }
    let first = heard.left.iter().position(|sample| *sample != 0).unwrap();
    assert_eq!(heard.left[first..], sent);
    assert!((heard.begin.unwrap() + first as u64).abs_diff(96_000) <= 48, "{first}");
    // The same once more overlaps, and what overlaps is not heard twice.
    let again = Block { samples: vec![9; 960], end: seconds(2.5), pace: Pace::Common };
    let before = heard.left.len();
    line.take(&again, &mut |pts, samples| heard.put(pts, samples));
    assert_eq!(heard.left.len(), before);
}
