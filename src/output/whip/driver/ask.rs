//! What servers are asked beside the session: whether a Broadcast Box has the stream, and whether one is still there that
//! has fallen silent, which HTTP tells sooner than its silence can.

use std::time::Duration;

use url::Url;

use super::{Driver, Event, LOOK, now};
use crate::output::whip::{Wires, server};
use crate::whip::broadcast_box::Stream;
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

    /// Asks a server that has fallen silent whether it is still there, once a second.
    pub(super) fn ask_in_doubt(&mut self) {
        let now = now();
        let Some(machine) = &self.machine else { return };
        let Some(endpoint) = machine.doubts(now).cloned() else {
            self.doubt_at = None;
            return;
        };
        if self.doubt_at.is_some_and(|asked| now < asked + DOUBT) {
            return;
        }
        self.doubt_at = Some(now);
        let listed = machine.watch().filter(|_| self.listed);
        let (wires, tell, number) = (self.wires.clone(), self.tell.clone(), self.number);
        tokio::spawn(async move {
            let gone = is_gone(wires, endpoint, listed).await;
            let _ = tell.send(Event::Doubted(number, gone)).await;
        });
    }
}

/// Why the session is lost, if the server is seen not to have it: nobody listens any more where it was asked for, or a
/// Broadcast Box that had the stream has it no more. No answer, and any other, says nothing.
async fn is_gone(wires: Wires, endpoint: Url, listed: Option<Stream>) -> Option<String> {
    if let Some(stream) = listed
        && let Some((status, body)) = wires.get(stream.status_url()).await
        && server::has(status, &body) == Some(false)
    {
        return Some("the server fell silent and has the stream no more".to_owned());
    }
    let gone = !wires.listens(endpoint).await;
    gone.then(|| "the server fell silent and nobody listens there any more".to_owned())
}
