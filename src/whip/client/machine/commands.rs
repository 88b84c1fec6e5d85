//! Start, stop, another codec.

use std::time::Instant;

use super::Machine;
use crate::media::Codec;
use crate::whip::client::pace::SPACING;
use crate::whip::client::state::Phase;

impl Machine {
    pub(super) fn start(&mut self, now: Instant) {
        self.wanted = true;
        let phase = self.state.phase;
        if matches!(phase, Phase::Idle | Phase::Stopped) || phase.is_halted() {
            self.resume(now);
        } else if phase == Phase::Stopping {
            // What is being ended must be over first.
            self.pace.reset();
            self.trouble.clear();
            self.next_attempt = Some(self.spaced(now));
        }
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.wanted = false;
        self.next_attempt = None;
        self.pace.reset();
        self.trouble.clear();
        if self.state.phase == Phase::Idle {
            return self.set(Phase::Stopped, String::new(), None);
        }
        self.close(now);
        match &mut self.deleting {
            Some(deleting) => deleting.before_attempt = false,
            None => self.delete_leftover(now, false),
        }
        if self.state.phase != Phase::Stopped {
            self.set(Phase::Stopping, String::new(), None);
        }
    }

    pub(super) fn change_codec(&mut self, now: Instant, codec: Codec) {
        if codec == self.codec {
            return;
        }
        self.codec = codec;
        if !self.wanted {
            return;
        }
        if matches!(self.state.phase, Phase::InvalidOffer | Phase::CodecRefused) {
            self.resume(now);
        } else if self.transport().is_some() {
            self.close(now);
            self.trouble = format!("the codec changed to {}", codec.title());
            self.resume_with(now, self.trouble.clone());
        }
    }

    pub(super) fn judge_media(&mut self, now: Instant, words: Option<String>) {
        if words == self.unfit {
            return;
        }
        self.unfit = words;
        if !self.wanted {
            return;
        }
        match self.unfit.clone() {
            Some(words) if self.state.phase != Phase::Idle => self.halt(now, Phase::CodecRefused, words),
            None if self.state.phase == Phase::CodecRefused => self.resume(now),
            _ => {}
        }
    }

    /// An attempt as soon as may be, all earlier failures forgotten.
    pub(super) fn resume(&mut self, now: Instant) {
        self.pace.reset();
        self.trouble.clear();
        self.resume_with(now, String::new());
    }

    pub(super) fn resume_with(&mut self, now: Instant, words: String) {
        let due = self.spaced(now);
        self.next_attempt = Some(due);
        self.set(Phase::BackingOff, words, Some(due));
    }

    /// Not sooner than attempts may follow each other.
    pub(super) fn spaced(&self, at: Instant) -> Instant {
        self.last_attempt.map_or(at, |last| at.max(last + SPACING))
    }
}
