//! What follows once a change is proven, and when one begins by itself.

use std::time::Duration;

use super::{Before, What, source};
use crate::config::EncoderChoice;
use crate::control::Done;
use crate::daemon::appliance::Appliance;
use crate::daemon::part::{Part, PartName, Seat};
use crate::daemon::target::{Target, Wanted};
use crate::lifecycle::{Event, Phase};
use crate::plan::{Choice, GraphPlan, Plan};

impl Appliance {
    pub(super) fn land_after_break(&mut self, target: Target, before: &Before) {
        let why = match before.capture == target.plan.video_capture {
            true => "the hardware encodes one picture at a time".to_owned(),
            false => format!("the capture was rebuilt too ({})", target.plan.video_capture.title),
        };
        let now = self.engine.now();
        let stood = before.last.map(|last| now.saturating_since(last).as_millis());
        let stood = stood.map(|ms| format!(", so the picture stood still for {ms} ms")).unwrap_or_default();
        self.land(target, &format!("; {why}{stood}"));
    }

    /// The picture is as wanted: everything else follows it.
    pub(super) fn land(&mut self, target: Target, words: &str) {
        let Some(change) = &mut self.change else { return };
        let (what, loaded) = (change.what.clone(), change.loaded.take());
        let mut words = words.to_owned();
        words += &self.replace_sound(&target.plan);
        let same = if what == What::Source { source::goes_on } else { GraphPlan::eq };
        self.settle_renditions(&target.plan.video_encode[1..], same);
        // A bitrate of its own, or another encoder, is no other profile.
        if !matches!(what, What::Bitrate(_) | What::Fallback(..) | What::Source) {
            self.profile = target.profile;
        }
        self.choices = match what {
            What::Bitrate(_) | What::Source => keep_others(&self.choices, target.plan.choices),
            _ => target.plan.choices,
        };
        words += &self.tell_what_is_left_out();
        self.strikes.forget();
        self.no_other = false;
        if let Some(loaded) = loaded {
            words += &self.take_over(loaded);
        }
        let lanes = self.lanes();
        for output in &self.outputs {
            output.carry(lanes.clone());
        }
        self.warn_of_a_fixed_bitrate();
        if let What::Switch(profile) = &what
            && let Some(remembered) = &self.remembered
            && let Err(error) = remembered.remember(&self.loaded.config.profile, profile)
        {
            tracing::warn!("the switch cannot be remembered: {error}");
            words += &format!("; it will not outlast a restart of the daemon: {error}");
        }
        self.show_active();
        let done = match &what {
            What::Fallback(..) => self.encode.note().to_owned(),
            What::Bitrate(bitrate) => format!("the picture is now encoded at {bitrate}{words}"),
            what => {
                let read = if *what == What::Reload { "the configuration was read again; " } else { "" };
                let on_air = if self.encode.is_on_air() { "is on air" } else { "is chosen" };
                format!("{read}`{}` {on_air}: {}{words}", self.profile.name, self.on_air_words())
            }
        };
        self.finish(Ok(Done(done)));
    }

    /// Sound that differs and was not tried beside the old one.
    fn replace_sound(&mut self, plan: &Plan) -> String {
        let now = self.now();
        if plan.audio_encode.is_some() != self.audio_encode.is_some() {
            self.begin_or_end_sound(plan);
            return if plan.audio_encode.is_some() { "; sound begins" } else { "; sound ends" }.to_owned();
        }
        self.begin_or_end_capture(plan);
        if let Some((part, plan)) = self.audio_encode.as_mut().zip(plan.audio_encode.as_ref())
            && plan != part.plan()
            && !self.stopped
            && !matches!(self.audio_capture.as_ref().map(Part::phase), Some(phase) if phase.is_flowing())
        {
            part.replace(now, plan.clone());
        }
        if let Some((part, plan)) = self.audio_capture.as_mut().zip(plan.audio_capture.as_ref())
            && plan != part.plan()
        {
            if self.stopped { part.set_plan(plan.clone()) } else { part.replace(now, plan.clone()) }
        }
        String::new()
    }

    /// The stream gets a track of sound, or has one no longer. Viewers stay: every track is negotiated from the start.
    fn begin_or_end_sound(&mut self, plan: &Plan) {
        let now = self.now();
        if let Some(mut part) = self.audio_encode.take() {
            drop(part.end(now));
        }
        self.begin_or_end_capture(plan);
        self.audio_encode = plan.audio_encode.as_ref().map(|plan| {
            let seat = Seat::Encode(self.line.hub().clone(), self.sound.clone());
            self.begin_part(PartName::AudioEncode, plan, seat)
        });
        self.local = None;
        if !self.stopped {
            self.publish_locally();
        }
    }

    /// A source of sound where there was none, or none any more.
    pub(in crate::daemon) fn begin_or_end_capture(&mut self, plan: &Plan) {
        let chosen = plan.choices.iter().find(|choice| choice.subject == "sound" && choice.taken);
        self.silence = chosen.map(|choice| choice.reason.clone()).unwrap_or_default();
        if plan.audio_capture.is_some() == self.audio_capture.is_some() {
            return;
        }
        let now = self.now();
        if let Some(mut part) = self.audio_capture.take() {
            drop(part.end(now));
        }
        self.audio_capture = plan
            .audio_capture
            .as_ref()
            .map(|plan| self.begin_part(PartName::AudioCapture, plan, Seat::Sound(self.line.clone())));
    }

    pub(in crate::daemon) fn begin_part(&self, name: PartName, plan: &GraphPlan, seat: Seat) -> Part {
        let seed = self.seed.wrapping_add(name.number());
        let mut part = Part::new(name, plan.clone(), &self.engine, seat, self.tell.clone(), seed);
        if !self.stopped {
            part.drive(self.now(), Event::Start);
        }
        part
    }

    /// Falls back when the encoder on air has failed once too often.
    pub(super) fn mind_failures(&mut self, now: Duration) {
        let Some(reason) = self.encode.failure() else { return };
        let for_good = self.encode.phase() == Phase::Failed;
        let too_often = self.strikes.strike(now) || for_good;
        if !too_often || self.no_other || self.stopped {
            return;
        }
        // Those after the one taken, in the plan's own order.
        let encoders = self.choices.iter().filter(|choice| choice.subject == "encoder");
        let later = encoders.skip_while(|choice| !choice.taken).skip(1);
        let rest: Vec<String> = later.map(|choice| choice.candidate.clone()).collect();
        // Until something else is on air there is nothing more to try.
        self.no_other = true;
        if rest.is_empty() {
            return;
        }
        let mut profile = self.profile.clone();
        profile.video.encoder = EncoderChoice::Listed(rest);
        let encoder = self.encode.plan().fragment.clone();
        self.change(What::Fallback(encoder, reason), Wanted::Made(Box::new(profile)), None);
    }
}

/// What a plan for the encoder that runs decided, with the profile's other encoders as they were: it was asked for that one
/// alone, and those after it are still there to fall back to.
fn keep_others(before: &[Choice], mut now: Vec<Choice>) -> Vec<Choice> {
    let is_encoder = |choice: &Choice| choice.subject == "encoder";
    let taken = |choices: &[Choice]| {
        choices
            .iter()
            .find(|choice| is_encoder(choice) && choice.taken)
            .map(|choice| choice.candidate.clone())
    };
    if taken(before).is_some() && taken(before) == taken(&now) {
        now.retain(|choice| !is_encoder(choice));
        now.extend(before.iter().filter(|choice| is_encoder(choice)).cloned());
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(subject: &str, candidate: &str, taken: bool) -> Choice {
        Choice { subject: subject.to_owned(), candidate: candidate.to_owned(), taken, reason: String::new() }
    }

    #[test]
    fn the_encoders_to_fall_back_to_outlast_a_plan_for_the_one_that_runs() {
        let all = |taken: &str| {
            ["nvenc", "x264", "openh264"].map(|name| choice("encoder", name, name == taken)).to_vec()
        };
        let source = |name: &str| choice("source", name, true);
        let mut before = all("x264");
        before.push(source("/dev/video0"));

        let now = vec![source("/dev/video1"), choice("encoder", "x264", true)];
        let mut expected = vec![source("/dev/video1")];
        expected.extend(all("x264"));
        assert_eq!(keep_others(&before, now), expected);

        for other in [vec![choice("encoder", "openh264", true)], vec![source("srt://host:1")]] {
            assert_eq!(keep_others(&before, other.clone()), other, "another encoder, or none");
        }
    }
}
