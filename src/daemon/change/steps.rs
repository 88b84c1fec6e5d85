//! From one stage of a change to the next.

use std::time::Duration;

use super::{Before, PATIENCE, Stage, What};
use crate::control::{CommandError, Done};
use crate::daemon::appliance::Appliance;
use crate::daemon::part::{Outcome, Part};
use crate::daemon::target::Target;
use crate::engine::Showing;
use crate::media::Fault;
use crate::plan::{Downstream, GraphPlan};

impl Appliance {
    /// Looks how far a change is.
    pub(in crate::daemon) fn progress(&mut self) {
        let now = self.now();
        let Some(change) = &mut self.change else { return self.mind_failures(now) };
        let stage = std::mem::replace(&mut change.stage, Stage::Preparing);
        if let Some(next) = self.step(now, stage)
            && let Some(change) = &mut self.change
        {
            change.stage = next;
        }
    }

    /// The stage that it is in afterwards; none where it has ended, or was told elsewhere.
    fn step(&mut self, now: Duration, stage: Stage) -> Option<Stage> {
        match stage {
            Stage::Preparing => return Some(stage),
            Stage::Beside(target) => match self.encode.outcome() {
                None => return Some(Stage::Beside(target)),
                Some(Outcome::Failed(reason)) => self.stay(&target, &reason),
                Some(Outcome::OnAir(takeover)) => {
                    let waited = (!takeover.gap.is_zero()).then(|| {
                        let ms = takeover.gap.as_millis();
                        format!("; its pictures come later than those before, so it stood still for {ms} ms")
                    });
                    return self.go_on_with_sound(target, waited.unwrap_or_default());
                }
            },
            Stage::Sound(target, words) => match self.audio_encode.as_mut().map(Part::outcome) {
                Some(None) => return Some(Stage::Sound(target, words)),
                Some(Some(Outcome::Failed(reason))) => {
                    self.land(*target, &format!("{words}; the sound stays as it was: {reason}"));
                }
                Some(Some(Outcome::OnAir(_))) | None => self.land(*target, &words),
            },
            Stage::Settling { target, due } => {
                let next = target.plan.video_encode[0].clone();
                // The slate is a picture as well.
                let nothing = !self.capture.phase().is_flowing() && self.watched.showing() == Showing::Source;
                if nothing && now < due {
                    return Some(Stage::Settling { target, due });
                }
                if next.exclusive && self.encode.plan().exclusive {
                    self.encode.replace(now, next);
                    self.land(*target, "; the hardware encodes one picture at a time");
                } else {
                    self.encode.try_beside(now, &next);
                    return Some(Stage::Beside(target));
                }
            }
            Stage::Broken { target, before, due } => {
                if self.encode.is_on_air() {
                    self.land_after_break(*target, &before);
                    return None;
                }
                let failure = self.encode.failure();
                let Some(reason) = failure.or_else(|| (now >= due).then(|| self.why_not())) else {
                    return Some(Stage::Broken { target, before, due });
                };
                return Some(self.go_back(&target, &before, &reason));
            }
            Stage::Back { reason, due } => {
                let what = if self.encode.is_on_air() {
                    format!("`{}` is on air again", self.profile.name)
                } else if now >= due {
                    format!("and what ran before does not come back: {}", self.why_not())
                } else {
                    return Some(Stage::Back { reason, due });
                };
                self.fail(Fault::Graph, format!("{reason}; {what}"));
            }
            Stage::Rising(due) => {
                if self.encode.is_on_air() {
                    let words = format!("on air: {}", self.on_air_words());
                    self.finish(Ok(Done(words)));
                } else if now >= due {
                    self.fail(Fault::Device, format!("not on air yet, and tried on: {}", self.why_not()));
                } else {
                    return Some(Stage::Rising(due));
                }
            }
            Stage::Falling(due) => {
                let gone = self.parts().all(|part| part.is_gone());
                if !gone && now < due {
                    return Some(Stage::Falling(due));
                }
                let hangs = if gone { "" } else { "; a graph hangs and was left behind" };
                self.finish(Ok(Done(format!("off air{hangs}; `capcast start` goes on"))));
            }
        }
        None
    }

    /// The plan is there: the gentlest way to it.
    pub(super) fn head_for(&mut self, mut target: Box<Target>) {
        let now = self.now();
        let next = target.plan.video_encode[0].clone();
        let Some(change) = &self.change else { return };
        let (what, loaded) = (change.what.clone(), change.loaded.clone());
        if what != What::Source {
            self.keep_what_is_away(loaded.as_deref(), &mut target.plan);
        }
        if self.stopped {
            self.capture.set_plan(target.plan.video_capture.clone());
            self.encode.set_plan(next);
            if let Some((part, plan)) = self.audio_encode.as_mut().zip(target.plan.audio_encode.clone()) {
                part.set_plan(plan);
            }
            return self.land(*target, "; it is used from the next `capcast start` on");
        }
        if let What::Fallback(encoder, reason) = &what {
            let taker = &next.fragment;
            let note =
                format!("`{taker}` took over from `{encoder}`, which failed again and again: {reason}");
            self.encode.replace(now, next);
            self.encode.set_note(note);
            return self.land(*target, "");
        }
        if what == What::Source {
            return self.follow_source(target);
        }
        let same_capture = target.plan.video_capture == *self.capture.plan();
        let same_encode = next == *self.encode.plan() && self.encode.bitrate().is_none();
        if same_capture && same_encode {
            if let Some(stage) = self.go_on_with_sound(target, String::new()) {
                change_stage(self, stage);
            }
            return;
        }
        let exclusive = next.exclusive && self.encode.plan().exclusive;
        if same_capture && !exclusive {
            if !self.capture.phase().is_flowing() && self.watched.showing() == Showing::Source {
                let why = self.why_not();
                let reason = format!("no encoder can be tried while nothing is captured: {why}");
                return self.finish(Err(CommandError::NotOnAir(reason)));
            }
            self.encode.try_beside(now, &next);
            return change_stage(self, Stage::Beside(target));
        }
        let before = Box::new(Before {
            capture: self.capture.plan().clone(),
            encode: self.encode.plan().clone(),
            last: self.picture.stage().last_out,
        });
        self.replace_picture(now, &target.plan.video_capture, &next);
        change_stage(self, Stage::Broken { target, before, due: now + PATIENCE });
    }

    /// Encoders first: what they hold of the hub must not keep the capture from stopping.
    fn replace_picture(&mut self, now: Duration, capture: &GraphPlan, encode: &GraphPlan) {
        self.stop_renditions(now);
        self.encode.replace(now, encode.clone());
        if capture != self.capture.plan() {
            self.capture.replace(now, capture.clone());
        }
    }

    /// The candidate is gone, the old encoder is not.
    fn stay(&mut self, target: &Target, reason: &str) {
        let (wanted, encoder) = (&target.profile.name, &target.plan.video_encode[0].fragment);
        let stays = match self.encode.is_on_air() {
            true => format!("`{}` goes on", self.profile.name),
            false => format!("`{}` stays, and is not on air either: {}", self.profile.name, self.why_not()),
        };
        let reason = format!("`{wanted}` did not come on air by `{encoder}`: {reason}; {stays}");
        self.fail(Fault::Graph, reason);
    }

    fn go_back(&mut self, target: &Target, before: &Before, reason: &str) -> Stage {
        let now = self.now();
        let encoder = &target.plan.video_encode[0].fragment;
        let reason = format!("`{}` did not come on air by `{encoder}`: {reason}", target.profile.name);
        tracing::warn!("{reason}; going back");
        self.replace_picture(now, &before.capture, &before.encode);
        self.start_renditions(now);
        Stage::Back { reason, due: now + PATIENCE }
    }

    fn go_on_with_sound(&mut self, target: Box<Target>, words: String) -> Option<Stage> {
        let now = self.now();
        let flows = self.audio_capture.as_ref().is_some_and(|part| part.phase().is_flowing());
        let same_capture = target.plan.audio_capture.as_ref() == self.audio_capture.as_ref().map(Part::plan);
        if let (Some(part), Some(plan)) = (&mut self.audio_encode, &target.plan.audio_encode)
            && plan != part.plan()
            && flows
            && same_capture
        {
            part.try_beside(now, plan);
            return Some(Stage::Sound(target, words));
        }
        self.land(*target, &words);
        None
    }

    fn fail(&mut self, fault: Fault, reason: String) {
        self.finish(Err(CommandError::Failed { fault, reason }));
    }

    /// Why nothing is on air.
    pub(super) fn why_not(&self) -> String {
        let ill = [&self.capture, &self.encode].into_iter().find(|part| !part.phase().is_flowing());
        match ill.map(|part| (part, part.reason())) {
            Some((part, "")) => format!("{} brings nothing", part.name().as_str()),
            Some((part, reason)) => format!("{}: {reason}", part.name().as_str()),
            None => "no keyframe came".to_owned(),
        }
    }

    /// What the encoder makes: `VP9 by vp9, 1280x720 at 60, 4 Mbit/s`.
    pub(in crate::daemon) fn on_air_words(&self) -> String {
        let plan = self.encode.plan();
        let Downstream::Video { codec, size, framerate, bitrate } = &plan.downstream else {
            return plan.title.clone();
        };
        let size = size.map(|size| format!(", {size}")).unwrap_or_default();
        format!("{} by {}{size} at {framerate}, {bitrate}", codec.title(), plan.fragment)
    }
}

fn change_stage(appliance: &mut Appliance, stage: Stage) {
    if let Some(change) = &mut appliance.change {
        change.stage = stage;
    }
}
