//! The way to one viewer: what it carries, and what of the picture goes over it.

use std::time::{Duration, Instant};

use super::{Out, Peer};
use crate::sfu::Transport;
use crate::sfu::adapt::{Adapt, Verdict};
use crate::sfu::estimate::{Estimate, Judged};
use crate::sfu::fast::Fast;

/// Packets of padding that are sent at once at most.
const MOST_PADDING: u64 = 32;
/// Bytes of one, with everything around it.
const PADDED: u64 = 300;

/// What is known and decided of it.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) estimate: Estimate,
    adapt: Adapt,
    trial: Option<Trial>,
}

/// More is sent than the picture has, to see whether it arrives.
#[derive(Debug)]
struct Trial {
    bits: f64,
    began: Instant,
    ends: Instant,
    /// Bytes that had been sent when it began.
    sent: u64,
}

impl Trial {
    /// Bytes that were due by now and were not sent.
    fn lacks(&self, fast: &Fast, now: Instant) -> u64 {
        let due = self.bits / 8.0 * now.saturating_duration_since(self.began).as_secs_f64();
        (due as u64).saturating_sub(fast.bytes - self.sent)
    }
}

impl Way {
    /// The layer that fits.
    pub(super) fn layer(&self) -> u8 {
        self.adapt.layer()
    }

    /// Nothing of the picture fits, and the viewer did not insist on a layer.
    pub(super) fn is_paused(&self, choice: Option<u8>) -> bool {
        choice.is_none() && self.adapt.is_paused()
    }

    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }
}

impl Peer {
    /// A window of feedback was judged: what is shown follows it, unless the viewer chose.
    pub(super) fn adapt(&mut self, judged: Judged, now: Instant, out: &Out<'_>) {
        let Some(fast) = self.fast.as_ref().filter(|_| self.choice.is_none()) else { return };
        let limit = self.way.estimate.bits(now);
        match self.way.adapt.judge(judged, limit, &out.stream.rates(now), now) {
            Verdict::Stay | Verdict::Pause => {}
            Verdict::Show(_) => self.ask_for_wanted(now, out),
            Verdict::Try(bits, ends) if ends > now => {
                self.way.trial = Some(Trial { bits, began: now, ends, sent: fast.bytes });
            }
            Verdict::Try(..) => self.way.trial = None,
        }
    }

    /// The connection that carries its media has not taken all of what was sent: what comes now waits its turn, where it can
    /// still be left out. Nothing of that is known where it goes over UDP.
    pub(super) fn is_held_up(&self, out: &Out<'_>) -> bool {
        let route = self.fast.as_ref().and_then(|fast| fast.route());
        route.is_some_and(|route| route.transport == Transport::Tcp && out.wire.waiting(route) > 0)
    }

    /// Tells the estimate for how long the next packet for its connection has waited, or the next one of a trial.
    pub(super) fn note_wait(&mut self, now: Instant, out: &Out<'_>) {
        let Some(fast) = self.fast.as_ref().filter(|_| self.carried_by == Transport::Tcp) else { return };
        let next = self.video.as_ref().and_then(|track| {
            let kept = out.stream.ring(track.layer)?.get(track.cursor?)?;
            Some(now.saturating_duration_since(kept.at))
        });
        let lacks =
            self.way.trial.as_ref().map(|trial| {
                Duration::from_secs_f64(trial.lacks(fast, now) as f64 * 8.0 / trial.bits.max(1.0))
            });
        self.way.estimate.waits(next.max(lacks).unwrap_or_default());
    }

    /// Makes up for what the picture lacks of a trial's rate.
    pub(super) fn pad(&mut self, now: Instant, out: &mut Out<'_>) {
        let held_up = self.is_held_up(out);
        let (Some(trial), Some(fast)) = (&self.way.trial, &mut self.fast) else { return };
        let pt = self.video.as_ref().and_then(|track| track.payload_types.any_resend());
        let Some(pt) = pt.filter(|_| now < trial.ends) else {
            self.way.trial = None;
            return;
        };
        let most = if held_up { 0 } else { MOST_PADDING };
        for _ in 0..(trial.lacks(fast, now) / PADDED).min(most) {
            if !fast.pad(*pt, now, out) {
                break;
            }
        }
    }

    /// Not even the lowest layer fits this viewer's way: it is sent no picture.
    pub(in crate::sfu) fn is_paused(&self) -> bool {
        self.way.is_paused(self.choice)
    }
}
