//! The transport that the machine asks for: made, listened to, closed.

use std::sync::Arc;

use super::{Driver, Event};
use crate::engine::webrtc::{PublishError, Relay, Transport, TransportEvent, TransportSink, TransportStats};
use crate::whip::client::{self, IceState, Input, TransportId};
use crate::whip::link::IceServer;
use crate::whip::trickle::Candidate;

/// A transport and how far its counters were told.
pub(super) struct Running {
    pub(super) id: TransportId,
    pub(super) transport: Box<dyn Transport>,
    units: u64,
    feedback: u64,
}

impl Driver {
    pub(super) fn made(&mut self, id: TransportId, made: Result<Box<dyn Transport>, PublishError>) {
        match made {
            Ok(transport) => {
                self.running = Some(Running { id, transport, units: 0, feedback: 0 });
                for said in std::mem::take(&mut self.early) {
                    self.said(id, said);
                }
            }
            Err(error) => {
                let failed = client::TransportEvent::Failed(error.to_string());
                self.feed(Input::Transport(id, failed));
            }
        }
    }

    pub(super) fn said(&mut self, id: TransportId, said: TransportEvent) {
        if let Some(event) = words_of(said) {
            self.feed(Input::Transport(id, event));
        }
    }

    /// What transports are only asked for now and then: media, feedback, numbers.
    pub(super) fn look(&mut self) {
        if let Some(running) = &mut self.running {
            let stats = running.transport.stats();
            let (id, heard) = (running.id, stats.feedback > running.feedback);
            let sent = stats.units > running.units;
            (running.units, running.feedback) = (stats.units, stats.feedback);
            self.report.stats = sum(&self.carried, stats);
            if stats.reordered > 0 && !self.reordering {
                self.reordering = true;
                return self.feed(Input::Unfit(self.unfit()));
            }
            if heard {
                self.feed(Input::Transport(id, client::TransportEvent::Feedback));
            }
            if sent {
                self.feed(Input::Transport(id, client::TransportEvent::Sent));
            }
        }
        self.ask_server();
        self.ask_in_doubt();
    }

    /// The key may have changed since; the machine is made anew then, and asks for its transport itself.
    pub(super) fn create(&mut self, id: TransportId, ice_servers: &[IceServer]) {
        match self.endpoint() {
            Ok((endpoint, key)) if key != self.key => {
                tracing::info!(output = %self.settings.name, "its URL or key has changed");
                self.renew(endpoint, key);
                return self.feed(Input::Start);
            }
            Ok(_) => {}
            Err(words) => {
                tracing::warn!(output = %self.settings.name, "going on with URL and key as they were: {words}");
            }
        }
        self.wanted = Some(id);
        self.early.clear();
        let number = self.number;
        let mut relays: Vec<Relay> = ice_servers.iter().map(relay).collect();
        match (self.settings.relays)() {
            // After the server's: there is place for one STUN server only, and the configuration's rules.
            Ok(own) => relays.extend(own),
            Err(words) => tracing::warn!(output = %self.settings.name, "going on without relays: {words}"),
        }
        let (engine, lanes, name) =
            (self.engine.clone(), Arc::clone(&self.settings.lanes), self.settings.name.clone());
        let (tell, said) = (self.tell.clone(), self.tell.clone());
        let sink: TransportSink = Arc::new(move |event| {
            // Full: this transport floods, and its output will be lost and made anew.
            let _ = said.try_send(Event::Said(number, id, event));
        });
        tokio::task::spawn_blocking(move || {
            let made = engine.webrtc(&name, &lanes, &relays, sink);
            // Where the output is gone, so is the transport.
            let _ = tell.blocking_send(Event::Made(number, id, made));
        });
    }

    pub(super) fn close(&mut self, id: TransportId) {
        if self.wanted == Some(id) {
            self.wanted = None;
        }
        if let Some(running) = self.running.take_if(|running| running.id == id) {
            let last = running.transport.stats();
            self.carried = sum(&self.carried, last);
            self.report.stats = self.carried;
            // Nothing waits for it to be gone.
            drop(running.transport.close());
        }
    }
}

/// A transport's event in the machine's words; none for one that makes no sense.
fn words_of(event: TransportEvent) -> Option<client::TransportEvent> {
    Some(match event {
        TransportEvent::Offer { sdp, complete } => client::TransportEvent::Offer { sdp, complete },
        TransportEvent::Candidate { m_line, line } => {
            client::TransportEvent::Candidate(Candidate::new(m_line, &line)?)
        }
        TransportEvent::Connected => client::TransportEvent::Ice(IceState::Connected),
        TransportEvent::Disconnected => client::TransportEvent::Ice(IceState::Disconnected),
        TransportEvent::Lost => client::TransportEvent::Ice(IceState::Failed),
        TransportEvent::Failed(words) => client::TransportEvent::Failed(words),
    })
}

fn relay(server: &IceServer) -> Relay {
    Relay {
        uri: server.uri.clone(),
        username: server.username.clone(),
        credential: server.credential.clone(),
    }
}

/// Counters of both, measurements of the second.
fn sum(carried: &TransportStats, present: TransportStats) -> TransportStats {
    TransportStats {
        units: carried.units + present.units,
        bytes: carried.bytes + present.bytes,
        dropped: carried.dropped + present.dropped,
        keyframe_requests: carried.keyframe_requests + present.keyframe_requests,
        feedback: carried.feedback + present.feedback,
        nacks: carried.nacks + present.nacks,
        resent: carried.resent + present.resent,
        reordered: carried.reordered + present.reordered,
        ..present
    }
}
