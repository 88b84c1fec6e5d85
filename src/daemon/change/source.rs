//! A source that changed: the capture follows it, the encoder goes on where it can, and is tried beside where it cannot.

use super::{RISE, Stage};
use crate::control::CommandError;
use crate::daemon::appliance::Appliance;
use crate::daemon::source::is_card;
use crate::daemon::target::Target;
use crate::lifecycle::Event;
use crate::media::{SourceHealth, SourceState};
use crate::plan::{GraphPlan, Upstream};

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
}

/// Whether the encoder that runs makes what the new plan would: then it goes on, though it would be fed otherwise.
pub(super) fn goes_on(runs: &GraphPlan, wanted: &GraphPlan) -> bool {
    runs.downstream == wanted.downstream && runs.fragment == wanted.fragment
}
