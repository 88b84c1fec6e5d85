//! The machine's clock and HTTP; its transport is in `transport`.

mod ask;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{Settings, Wires};
use crate::engine::Engine;
use crate::engine::webrtc::{PublishError, Transport, TransportEvent, TransportStats};
use crate::media::{Codec, MediaKind};
use crate::output::{Order, Orders, Report};
use crate::whip::client::{
    self, Action, Endpoint, Failure, Input, KeyForm, Machine, Phase, Request, RequestId, Response,
    TransportId,
};
use transport::Running;

/// How often transports are looked at. The machine wants to hear of media twice a second.
const LOOK: Duration = Duration::from_millis(250);

/// Answers that are missed in a row before it counts as silent.
const MISSES: u32 = 3;

/// Events that wait. A transport tells some dozens in its life; what does not fit is of one that floods.
const EVENTS: usize = 256;

/// What comes from elsewhere, with the number of the machine that it is for: each counts its ids from the beginning.
enum Event {
    Made(u64, TransportId, Result<Box<dyn Transport>, PublishError>),
    Said(u64, TransportId, TransportEvent),
    Answered(u64, RequestId, Result<Response, Failure>),
    /// What the server says about the stream, and whether it has it; none when it did not answer.
    Server(Option<(String, bool)>),
    /// A Broadcast Box in doubt was asked and has the stream no more.
    Gone(u64),
}

pub(super) struct Driver {
    engine: Engine,
    wires: Wires,
    settings: Settings,
    orders: Orders,
    tell: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    machine: Option<Machine>,
    /// Which machine it is.
    number: u64,
    /// The key that the machine has.
    key: Option<String>,
    running: Option<Running>,
    /// The transport that is wanted, made or not.
    wanted: Option<TransportId>,
    /// What it said before it was made.
    early: Vec<TransportEvent>,
    requests: BTreeMap<RequestId, AbortHandle>,
    /// A transport saw B-frames come from the present encoder.
    reordering: bool,
    /// Of transports that are gone.
    carried: TransportStats,
    /// Of machines that are gone.
    reconnects: u64,
    report: Report,
    ask_at: Option<Instant>,
    /// When it was last asked because it had fallen silent.
    doubt_at: Option<Instant>,
    /// A Broadcast Box said in this session that it has the stream.
    listed: bool,
    misses: u32,
    finishing: bool,
    /// The last two lines of its log since it was live: an outage that goes on is told once.
    told: [String; 2],
}

impl Driver {
    pub(super) fn new(engine: Engine, wires: &Wires, settings: Settings, orders: Orders) -> Driver {
        let (tell, events) = mpsc::channel(EVENTS);
        Driver {
            engine,
            wires: wires.apart(),
            settings,
            orders,
            tell,
            events,
            machine: None,
            number: 0,
            key: None,
            running: None,
            wanted: None,
            early: Vec::new(),
            requests: BTreeMap::new(),
            reordering: false,
            carried: TransportStats::default(),
            reconnects: 0,
            report: Report::new(Phase::Idle.as_str()),
            ask_at: None,
            doubt_at: None,
            listed: false,
            misses: 0,
            finishing: false,
            told: Default::default(),
        }
    }

    /// Until it is told to finish and has, or nobody holds the output any more.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.machine.as_ref().and_then(|machine| machine.deadline(now()));
            tokio::select! {
                order = self.orders.inbox.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Ok(()) = self.orders.lanes.changed() => self.carry(),
                Some(event) = self.events.recv() => self.hear(event),
                () = until(deadline) => self.feed(Input::Timer),
                _ = looks.tick() => self.look(),
            }
            self.show();
            let over = self.machine.as_ref().is_none_or(|machine| machine.state().phase == Phase::Stopped);
            if self.finishing && over {
                return;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start => {
                if self.machine.is_none() {
                    match self.endpoint() {
                        Ok((endpoint, key)) => self.renew(endpoint, key),
                        Err(words) => return self.misconfigured(words),
                    }
                }
                self.feed(Input::Start);
            }
            Order::Stop => {
                if self.machine.is_none() {
                    self.report = Report::new(Phase::Stopped.as_str());
                }
                self.feed(Input::Stop);
            }
            Order::Finish => {
                self.finishing = true;
                self.feed(Input::Stop);
            }
        }
    }

    /// The encoder was changed. The machine makes a new session if the codec is another.
    fn carry(&mut self) {
        self.settings.lanes = Arc::clone(&self.orders.lanes.borrow_and_update());
        self.reordering = false;
        self.feed(Input::CodecChanged(self.codec()));
        self.feed(Input::Unfit(self.unfit()));
    }

    fn codec(&self) -> Codec {
        self.settings.lanes.first().map_or(Codec::H264, |lane| lane.codec)
    }

    /// Why what is to be published cannot be, in words.
    fn unfit(&self) -> Option<String> {
        let picture = self.settings.lanes.iter().find(|lane| lane.codec.kind() == MediaKind::Video)?;
        let why = match &picture.reorders {
            Some(property) => format!("`{property}` asks the encoder for B-frames"),
            None if self.reordering => "the encoder makes B-frames".to_owned(),
            None => return None,
        };
        Some(format!(
            "{why}, which no WebRTC peer can show; take them out of the profile's `[video.properties]`"
        ))
    }

    fn hear(&mut self, event: Event) {
        match event {
            // Dropping a transport that is no longer wanted closes it.
            Event::Made(number, id, made) => {
                if number == self.number && self.wanted == Some(id) {
                    self.made(id, made);
                }
            }
            Event::Said(number, id, said) => {
                let ours = number == self.number && self.wanted == Some(id);
                if ours && self.running.is_none() {
                    self.early.push(said);
                } else if ours {
                    self.said(id, said);
                }
            }
            Event::Answered(number, id, answer) => {
                // One that was cancelled is not listed.
                if number == self.number && self.requests.remove(&id).is_some() {
                    self.feed(match answer {
                        Ok(response) => Input::Answered(id, response),
                        Err(failure) => Input::Unanswered(id, failure),
                    });
                }
            }
            Event::Gone(number) => {
                if number == self.number {
                    self.feed(Input::Gone("the server fell silent and has the stream no more".to_owned()));
                }
            }
            Event::Server(words) => match words {
                Some((words, has)) => {
                    self.misses = 0;
                    self.listed = has;
                    self.report.server = Some(words);
                }
                None => {
                    self.misses += 1;
                    if self.misses >= MISSES {
                        self.report.server = Some("the server's status does not answer".to_owned());
                    }
                }
            },
        }
    }

    fn feed(&mut self, input: Input) {
        let Some(machine) = &mut self.machine else { return };
        let number = self.number;
        for action in machine.on(now(), input) {
            self.act(action);
            if self.number != number {
                // That machine is gone, and what it still wants goes with it.
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreateTransport { id, ice_servers } => self.create(id, &ice_servers),
            Action::ApplyAnswer { id, sdp, .. } => {
                if let Some(running) = self.running.as_mut().filter(|running| running.id == id) {
                    running.transport.answer(&sdp);
                }
            }
            Action::CloseTransport(id) => self.close(id),
            Action::Send(request) => self.send(*request),
            Action::Cancel(id) => {
                if let Some(request) = self.requests.remove(&id) {
                    request.abort();
                }
            }
            Action::State(state) => self.tell_state(&state),
        }
    }

    fn send(&mut self, request: Request) {
        let (id, number) = (request.id, self.number);
        let (wires, tell) = (self.wires.clone(), self.tell.clone());
        let task = tokio::spawn(async move {
            let answer = wires.send(request).await;
            let _ = tell.send(Event::Answered(number, id, answer)).await;
        });
        self.requests.insert(id, task.abort_handle());
    }

    /// Reads URL and key; and both of them as one text, to see whether they have changed.
    fn endpoint(&self) -> Result<(Endpoint, Option<String>), String> {
        let (url, key) = ((self.settings.url)()?, (self.settings.key)()?);
        let endpoint = Endpoint::new(&url, key.as_deref(), KeyForm::Auto);
        Ok((
            endpoint.map_err(|error| error.to_string())?,
            Some(format!("{url}\n{}", key.unwrap_or_default())),
        ))
    }

    fn renew(&mut self, endpoint: Endpoint, key: Option<String>) {
        self.reconnects += self.machine.as_ref().map_or(0, Machine::reconnects);
        for (_, request) in std::mem::take(&mut self.requests) {
            request.abort();
        }
        if let Some(id) = self.wanted {
            self.close(id);
        }
        self.number += 1;
        self.machine = Some(Machine::new(endpoint, self.codec(), self.settings.seed));
        self.key = key;
        self.feed(Input::Unfit(self.unfit()));
    }

    fn misconfigured(&mut self, words: String) {
        tracing::warn!(output = %self.settings.name, "{words}");
        self.report = Report { words, ..Report::new("misconfigured") };
    }

    fn tell_state(&mut self, state: &client::State) {
        let output = self.settings.name.as_str();
        let (phase, words) = (state.phase.as_str().replace('_', " "), &state.words);
        let line = if words.is_empty() { phase } else { format!("{phase}: {words}") };
        match state.phase {
            phase if phase.is_halted() => tracing::warn!(output, "{line}"),
            Phase::Live => tracing::info!(output, "{words}"),
            _ if words.is_empty() || self.told.contains(&line) => tracing::debug!(output, "{line}"),
            _ => tracing::info!(output, "{line}"),
        }
        if matches!(state.phase, Phase::BackingOff | Phase::HostBusy | Phase::Connecting) {
            if !self.told.contains(&line) {
                self.told.rotate_left(1);
                self.told[1] = line;
            }
        } else {
            self.told = Default::default();
        }
        if state.phase != Phase::Live {
            self.report.server = None;
            self.listed = false;
            self.misses = 0;
        }
    }

    fn show(&mut self) {
        if let Some(machine) = &self.machine {
            let state = machine.state();
            self.report.state = state.phase.as_str();
            self.report.words.clone_from(&state.words);
            self.report.retry_at = state.retry_at;
            self.report.watch = machine.watch_url().map(String::from);
            self.report.reconnects = self.reconnects + machine.reconnects();
        }
        if **self.orders.shown.load() != self.report {
            self.orders.shown.store(Arc::new(self.report.clone()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock that the machine is driven by")]
fn now() -> Instant {
    Instant::now()
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
