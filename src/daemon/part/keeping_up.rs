//! An encoder that does not keep up: first it is rebuilt, then it skips frames.

use std::time::Duration;

use super::Part;
use crate::engine::Graph;
use crate::lifecycle::{Event, Phase, Skipping};

impl Part {
    /// On air it may make the capture wait, unless that went wrong; until then it skips what it has no room for.
    pub(super) fn let_block(&mut self, now: Duration) {
        if let Some(graph) = &self.graph
            && self.name.may_block()
            && self.strain.on_air(now, skipped(graph))
        {
            graph.set_on_air(true);
        }
    }

    pub(super) fn watch_skipping(&mut self, now: Duration) {
        let Some(graph) = &self.graph else { return };
        let skipping = match self.name.may_block() {
            true => self.strain.look(now, skipped(graph)),
            // What it skips before its first picture is the time that it takes to open.
            false if self.on_air => self.lag.look(now, skipped(graph), self.frames_offered()),
            false => None,
        };
        match skipping {
            Some(Skipping::Still) if self.machine.phase() == Phase::Running => {
                let reason = "it does not keep up, so frames are skipped".to_owned();
                self.drive(now, Event::Trouble(reason));
            }
            Some(Skipping::Over) => {
                graph.set_on_air(self.name.may_block());
                self.drive(now, Event::TroubleOver);
            }
            Some(Skipping::Still) | None => {}
        }
    }
}

/// Frames that the link to it had no room for.
fn skipped(graph: &Graph) -> u64 {
    graph.stage().dropped.iter().filter(|(place, _)| *place == "link").map(|(_, count)| count).sum()
}
