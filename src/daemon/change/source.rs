//! A source that changed: the capture follows it, the encoder goes on where it can, and is tried beside where it cannot.

use super::{RISE, Stage};
use crate::control::CommandError;
use crate::daemon::appliance::Appliance;
use crate::daemon::files::Loaded;
use crate::daemon::source::is_card;
use crate::daemon::target::Target;
use crate::lifecycle::Event;
use crate::media::{SourceHealth, SourceState};
use crate::plan::{GraphPlan, Plan, Upstream};

impl Appliance {
    /// The capture follows; viewers see the slate, or the last picture, in between.
    pub(super) fn follow_source(&mut self, target: Box<Target>) {
        let now = self.now();
        let capture = &target.plan.video_capture;
        if let Upstream::Absent { health } = &capture.upstream {
            // What is missing is waited for with the plan there is: it may come back as it was.
            if !matches!(self.capture.plan().upstream, Upstream::Absent { .. }) {
                self.capture.drive(now, Event::DeviceGone(health.reason.clone()));
            }
            return self.finish(Err(CommandError::NotOnAir(health.reason.clone())));
        }
        if capture.upstream == Upstream::Made && is_card(&self.capture.plan().upstream) {
            // `auto` found no card. The one that was there is waited for; a test picture in its place would be a lie.
            let gone = SourceHealth::with(SourceState::Gone, &self.capture.plan().title);
            self.capture.drive(now, Event::DeviceGone(gone.reason.clone()));
            return self.finish(Err(CommandError::NotOnAir(gone.reason)));
        }
        self.watched.set_outdated(false);
        let found = capture.title.clone();
        let same = capture == self.capture.plan();
        if same {
            self.capture.drive(now, Event::DeviceBack);
        } else {
            self.capture.replace(now, capture.clone());
        }
        self.watched.look_again();
        if goes_on(self.encode.plan(), &target.plan.video_encode[0]) {
            if same {
                return self.finish(Err(CommandError::NotOnAir("it is as it was planned for".to_owned())));
            }
            return self.land(*target, &format!("; captured is {found}"));
        }
        if let Some(change) = &mut self.change {
            change.stage = Stage::Settling { target, due: now + RISE };
        }
    }

    /// A plan that was made while the card is away knows nothing of it: the capture goes on waiting as it was planned, with
    /// the sound beside it, and is planned for anew when the card is there.
    pub(super) fn keep_what_is_away(&mut self, loaded: Option<&Loaded>, plan: &mut Plan) {
        let other_source = loaded.is_some_and(|loaded| loaded.config.capture != self.config.capture);
        let away = matches!(plan.video_capture.upstream, Upstream::Absent { .. });
        if !away || other_source || !is_card(&self.capture.plan().upstream) {
            return;
        }
        plan.video_capture = self.capture.plan().clone();
        if plan.audio_encode.is_some() {
            plan.audio_capture = self.audio_capture.as_ref().map(|part| part.plan().clone());
        }
        self.watched.set_outdated(true);
    }
}

/// Whether the encoder that runs makes what the new plan would: then it goes on, though it would be fed otherwise.
pub(super) fn goes_on(runs: &GraphPlan, wanted: &GraphPlan) -> bool {
    runs.downstream == wanted.downstream && runs.fragment == wanted.fragment
}
