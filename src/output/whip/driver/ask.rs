//! What a Broadcast Box is asked beside the session: whether it has the stream.

use std::time::Duration;

use super::{Driver, Event, LOOK, now};
use crate::output::whip::server;
use crate::whip::client::{Machine, Phase};

/// How often a Broadcast Box is asked about the stream.
const ASK: Duration = Duration::from_secs(5);

/// How often a server in doubt is asked.
const DOUBT: Duration = Duration::from_secs(1);

impl Driver {
    /// Asks a Broadcast Box about the stream while it is live.
    pub(super) fn ask_server(&mut self) {
        let live = self.machine.as_ref().filter(|machine| machine.state().phase == Phase::Live);
        let Some(stream) = live.and_then(Machine::watch) else {
            self.ask_at = None;
            return;
        };
        let now = now();
        if *self.ask_at.get_or_insert(now + LOOK) > now {
            return;
        }
        self.ask_at = Some(now + ASK);
        let (wires, tell) = (self.wires.clone(), self.tell.clone());
        tokio::spawn(async move {
            let answer = wires.get(stream.status_url()).await;
            let words = answer.and_then(|(status, body)| {
                Some((server::words(status, &body)?, server::has(status, &body)?))
            });
            // Nobody may be there any more.
            let _ = tell.send(Event::Server(words)).await;
        });
    }

    /// Asks a Broadcast Box that has fallen silent whether it still has the stream, once a second.
    pub(super) fn ask_in_doubt(&mut self) {
        let now = now();
        let Some(machine) = self.machine.as_ref().filter(|machine| machine.doubts(now)) else {
            self.doubt_at = None;
            return;
        };
        // One that never listed the stream says nothing by not listing it.
        let Some(stream) = machine.watch().filter(|_| self.listed) else { return };
        if self.doubt_at.is_some_and(|asked| now < asked + DOUBT) {
            return;
        }
        self.doubt_at = Some(now);
        let (wires, tell, number) = (self.wires.clone(), self.tell.clone(), self.number);
        tokio::spawn(async move {
            let answer = wires.get(stream.status_url()).await;
            if answer.is_some_and(|(status, body)| server::has(status, &body) == Some(false)) {
                let _ = tell.send(Event::Gone(number)).await;
            }
        });
    }
}
