//! What arrives by SRT: `srtsrc` in a small pipeline of its own, on a thread that calls, listens and begins anew.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::engine::bus::{self, Note, post};
use crate::engine::teardown::Teardown;
use crate::engine::{Departure, Engine, TEARDOWN_PATIENCE};
use crate::media::{MediaTime, SourceHealth, SourceState, SrtMode, SrtPeer};

use super::link::Gauge;
use super::{Arrivals, Pacing, Reception, Shared};

/// A connection on which nothing has come for so long is closed, so that another sender can connect: SRT itself takes five
/// seconds to say that the other side is gone, and a listener lets nobody else in meanwhile.
const QUIET: Duration = Duration::from_secs(3);

/// Somebody else who calls after so long gets the place.
const GIVES_WAY: Duration = Duration::from_millis(500);

/// Somebody who called and is not connected after so long was turned away by SRT itself, …
const ANSWERED: Duration = Duration::from_secs(1);

/// … which is told until nobody has called for so long.
const TOLD: Duration = Duration::from_secs(15);

/// How often `srtsrc` looks whether it is to stop while nothing comes, in milliseconds; else it would not notice.
const LOOKS: i32 = 500;

/// Until a socket is opened anew: after a sender went, and after a failure.
const AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// What opens an encrypted connection, read anew for each; the error is words.
pub(super) type Passphrase = Box<dyn FnMut() -> Result<Option<String>, String> + Send>;

/// Receives a stream by SRT. Dropping it ends that.
pub struct SrtReceiver {
    control: Arc<Control>,
    done: Receiver<bool>,
}

impl SrtReceiver {
    /// Ends it, and says when its socket is closed: a process that ends before may crash in libsrt.
    pub fn stop(mut self) -> Departure {
        let (_, never) = channel();
        Departure::when(std::mem::replace(&mut self.done, never))
    }
}

#[derive(Default)]
struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    bus: Option<gst::Bus>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it is to end.
    fn wait(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), patience, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Drop for SrtReceiver {
    fn drop(&mut self) {
        let mut state = self.control.state();
        state.ended = true;
        if let Some(bus) = &state.bus {
            bus::end(bus);
        }
        self.control.changed.notify_all();
    }
}

impl Engine {
    /// Calls, or waits for, a sender by SRT, again and again; what it sends is read by capture graphs whose plan names `url`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn receive_srt(
        &self,
        url: &str,
        peer: SrtPeer,
        passphrase: impl FnMut() -> Result<Option<String>, String> + Send + 'static,
    ) -> std::io::Result<(Reception, SrtReceiver)> {
        let (reception, arrivals) = self.receive(url, Pacing::Live);
        let control = Arc::new(Control::default());
        let (tell, done) = channel();
        let worker = Worker {
            peer,
            passphrase: Box::new(passphrase),
            control: Arc::clone(&control),
            teardown: self.shared.teardown.clone(),
            shared: Arc::clone(&arrivals.shared),
            arrivals: Arc::new(Mutex::new(arrivals)),
            gone: false,
            done: tell,
        };
        thread::Builder::new().name("srt-receiver".to_owned()).spawn(move || worker.run())?;
        Ok((reception, SrtReceiver { control, done }))
    }
}

struct Worker {
    peer: SrtPeer,
    passphrase: Passphrase,
    control: Arc<Control>,
    teardown: Teardown,
    shared: Arc<Shared>,
    /// Locked by the streaming thread for each packet, and by nobody else while that runs.
    arrivals: Arc<Mutex<Arrivals>>,
    /// A sender was there.
    gone: bool,
    done: Sender<bool>,
}

/// What one connection brought so far.
struct Line {
    /// Nothing of it counts any more.
    over: AtomicBool,
    /// When the last bytes came, or 0.
    last: AtomicU64,
    /// When somebody called last who is not connected, or 0.
    called: AtomicU64,
    shared: Arc<Shared>,
    /// Somebody else called, who is to have its place.
    knocked: AtomicBool,
}

impl Line {
    /// For how long nothing has come; none before anything has.
    fn silence(&self) -> Option<Duration> {
        self.since(&self.last)
    }

    fn since(&self, time: &AtomicU64) -> Option<Duration> {
        let time = time.load(Relaxed);
        (time > 0).then(|| self.shared.timebase.now().saturating_since(MediaTime::from_nanos(time)))
    }

    /// Somebody called a moment ago and did not get in: SRT asks for the passphrase after it has asked here.
    fn turned_away(&self) -> bool {
        self.silence().is_none()
            && self.since(&self.called).is_some_and(|since| (ANSWERED..TOLD).contains(&since))
    }

    /// How long until that may have changed.
    fn patience(&self) -> Option<Duration> {
        match (self.silence(), self.since(&self.called)) {
            (Some(silence), _) => Some(QUIET.saturating_sub(silence)),
            (None, Some(since)) if since < ANSWERED => Some(ANSWERED - since),
            (None, Some(since)) if since < TOLD => Some(TOLD - since),
            (None, _) => None,
        }
    }

    /// Whether somebody who calls may connect. One sender has the place as long as it sends.
    fn lets_in(&self, sink: &gst_app::AppSink) -> bool {
        let Some(silence) = self.silence() else {
            self.called.store(self.shared.timebase.now().as_nanos().max(1), Relaxed);
            post(sink, Note::Flowing);
            return true;
        };
        self.shared.turned_away.fetch_add(1, Relaxed);
        if silence > GIVES_WAY && !self.knocked.swap(true, Relaxed) {
            post(sink, Note::Flowing);
        }
        false
    }
}

/// How a connection ended.
enum End {
    /// It is to.
    Wanted,
    /// The sender went.
    Gone,
    /// There was none, and why.
    Failed(SourceHealth),
}

impl Worker {
    fn run(mut self) {
        self.receive();
        // Nobody need be waiting.
        let _ = self.done.send(true);
    }

    fn receive(&mut self) {
        loop {
            self.lose(self.waiting());
            let wait = match self.connect() {
                End::Wanted => return,
                End::Gone => AGAIN[0],
                End::Failed(health) => {
                    self.lose(health);
                    AGAIN[1]
                }
            };
            if self.control.wait(wait) {
                return;
            }
        }
    }

    fn lose(&self, health: SourceHealth) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        // What a call that is tried again found before stays said.
        if self.peer.mode == SrtMode::Caller
            && health.state == SourceState::NoSignal
            && arrivals.is_lost_to(SourceState::Unreachable)
        {
            return;
        }
        arrivals.lose(health);
    }

    /// Says that somebody was turned away, or that nobody is any more, unless a sender has come meanwhile.
    fn tell(&self, line: &Line, turned_away: bool) {
        let health = if turned_away {
            self.shared.turned_away.fetch_add(1, Relaxed);
            let peer = &self.peer;
            let reason = format!(
                "somebody called {peer} and was turned away: the passphrase is another one, or only one side has one"
            );
            SourceHealth { state: SourceState::NoSignal, reason }
        } else {
            self.waiting()
        };
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if line.silence().is_none() {
            arrivals.lose(health);
        }
    }

    fn waiting(&self) -> SourceHealth {
        let peer = &self.peer;
        let reason = match (peer.mode, self.gone) {
            (SrtMode::Listener, false) => format!("no sender has connected yet; it is waited for at {peer}"),
            (SrtMode::Listener, true) => format!("the sender is gone; it is waited for at {peer}"),
            (SrtMode::Caller, false) => format!("{peer} is being called"),
            (SrtMode::Caller, true) => format!("the sender is gone; {peer} is being called again"),
        };
        SourceHealth { state: SourceState::NoSignal, reason }
    }

    /// One connection, from the attempt to its end.
    fn connect(&mut self) -> End {
        let unreachable = |reason| End::Failed(SourceHealth { state: SourceState::Unreachable, reason });
        let passphrase = match (self.passphrase)() {
            Ok(passphrase) => passphrase,
            Err(reason) => return unreachable(reason),
        };
        let line = Arc::new(Line {
            over: AtomicBool::new(false),
            last: AtomicU64::new(0),
            called: AtomicU64::new(0),
            shared: Arc::clone(&self.shared),
            knocked: AtomicBool::new(false),
        });
        let pipeline = match self.pipeline(passphrase.as_deref(), &line) {
            Ok(pipeline) => pipeline,
            Err(error) => return unreachable(format!("SRT cannot be received: {}", error.message)),
        };
        let Some(bus) = pipeline.bus() else { return unreachable("SRT cannot be received".to_owned()) };
        {
            let mut state = self.control.state();
            if state.ended {
                return End::Wanted;
            }
            state.bus = Some(bus.clone());
        }
        // A failure says why on the bus.
        let started = pipeline.set_state(gst::State::Playing).is_ok();
        let end = self.watch(&bus, started, &line);
        line.over.store(true, Relaxed);
        self.control.state().bus = None;
        if let End::Gone = end {
            // Closing the socket takes a while, and this is known now.
            self.gone = true;
            self.lose(self.waiting());
        }
        let gone = self.teardown.send(pipeline, self.peer.to_string(), Arc::new(|_| {}));
        // What comes next needs its port.
        gone.wait(TEARDOWN_PATIENCE);
        end
    }

    fn watch(&self, bus: &gst::Bus, started: bool, line: &Line) -> End {
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Application];
        let mut told = false;
        loop {
            if line.turned_away() != told {
                told = !told;
                self.tell(line, told);
            }
            let patience = if started { line.patience() } else { Some(Duration::ZERO) };
            let patience = patience.and_then(|patience| gst::ClockTime::try_from(patience).ok());
            let message = bus.timed_pop_filtered(patience, &kinds);
            let note = message.as_ref().and_then(|message| match message.view() {
                gst::MessageView::Application(note) => note.structure().and_then(Note::read),
                _ => None,
            });
            if note == Some(Note::Stop) {
                return End::Wanted;
            }
            match message.as_ref().map(|message| message.view()) {
                None if !started => return End::Failed(self.failure("it does not start")),
                Some(gst::MessageView::Eos(_)) => return End::Gone,
                Some(gst::MessageView::Error(_)) if line.silence().is_some() => return End::Gone,
                Some(gst::MessageView::Error(error)) => {
                    let debug = error.debug().unwrap_or_default();
                    let detail = debug.split_once('\n').map_or("", |(_, detail)| detail);
                    let error = error.error();
                    return End::Failed(self.failure(if detail.is_empty() {
                        error.message()
                    } else {
                        detail
                    }));
                }
                _ => {}
            }
            let silence = line.silence().unwrap_or_default();
            if silence >= QUIET || (line.knocked.load(Relaxed) && silence > GIVES_WAY) {
                return End::Gone;
            }
        }
    }

    /// In the words of somebody who set it up, from libsrt's.
    fn failure(&self, detail: &str) -> SourceHealth {
        let peer = &self.peer;
        let reason = if detail.contains("Incorrect passphrase") {
            format!("{peer} has another passphrase")
        } else if detail.contains("Password required") {
            format!("{peer} and this box do not agree whether there is a passphrase")
        } else if detail.contains("Connection timeout") {
            format!("{peer} does not answer: nobody listens there, or nothing gets through")
        } else if detail.contains("Cannot bind") {
            format!(
                "{peer} cannot be listened at: another program has the port, or the address is not this box's"
            )
        } else {
            format!("{peer}: {}", detail.trim().trim_end_matches('.'))
        };
        SourceHealth { state: SourceState::Unreachable, reason }
    }

    fn pipeline(&self, passphrase: Option<&str>, line: &Arc<Line>) -> Result<gst::Pipeline, glib::BoolError> {
        let peer = &self.peer;
        let source = gst::ElementFactory::make("srtsrc").build()?;
        // First, since it sets everything else back.
        source.set_property("uri", format!("{peer}?mode={}", peer.mode.as_str()));
        source.set_property("latency", i32::try_from(peer.latency.as_millis()).unwrap_or(i32::MAX));
        if let Some(streamid) = &peer.streamid {
            source.set_property("streamid", streamid);
        }
        if let Some(passphrase) = passphrase {
            source.set_property("passphrase", passphrase);
            // It logs what it is set to.
            if let Some(category) = gst::DebugCategory::get("srtobject")
                && category.threshold() > gst::DebugLevel::Info
            {
                category.set_threshold(gst::DebugLevel::Info);
            }
        }
        // Else nobody is asked whether a caller may come in. Before what follows: GStreamer 1.22 takes it for that as well.
        if source.has_property("authentication") {
            source.set_property("authentication", true);
        }
        if source.has_property("auto-reconnect") {
            source.set_property("auto-reconnect", false);
        }
        let sink = gst_app::AppSink::builder().sync(false).build();
        sink.set_property("async", false);
        sink.set_property("enable-last-sample", false);
        source.set_property("poll-timeout", LOOKS);
        if glib::subclass::SignalId::lookup("caller-connecting", source.type_()).is_some() {
            let (line, sink) = (Arc::clone(line), sink.downgrade());
            source.connect("caller-connecting", false, move |_| {
                Some(sink.upgrade().is_none_or(|sink| line.lets_in(&sink)).to_value())
            });
        }
        if glib::subclass::SignalId::lookup("caller-added", source.type_()).is_some() {
            let line = Arc::clone(line);
            source.connect("caller-added", false, move |_| {
                line.called.store(0, Relaxed);
                None
            });
        }
        let (arrivals, line) = (Arc::clone(&self.arrivals), Arc::clone(line));
        let (weak, mut gauge) = (source.downgrade(), Gauge::default());
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
            let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
            let Some(map) = map else { return Ok(gst::FlowSuccess::Ok) };
            let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.over.load(Relaxed) {
                arrivals.push(&map);
                let now = line.shared.timebase.now();
                if line.last.swap(now.as_nanos().max(1), Relaxed) == 0 {
                    post(sink, Note::Flowing);
                }
                if let Some(link) = weak.upgrade().and_then(|source| gauge.read(now, &source)) {
                    arrivals.say_link(link);
                }
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        let pipeline = gst::Pipeline::with_name("srt-receiver");
        self.shared.timebase.apply(&pipeline);
        let chain = [&source, sink.upcast_ref()];
        pipeline.add_many(chain)?;
        gst::Element::link_many(chain)?;
        bus::screen(&pipeline);
        Ok(pipeline)
    }
}
