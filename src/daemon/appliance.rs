//! The running daemon: one loop that hears graphs, commands and signals, and tells its state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::Options;
use super::change::{Change, Prepared};
use super::compose::{lanes, room};
use super::doors::Doors;
use super::files::Loaded;
use super::ladder::Rendition;
use super::network::Receiving;
use super::part::{Part, PartName, Told};
use super::remembered::Remembered;
use super::snapshot::View;
use super::source::Watched;
use super::systemd::Systemd;
use super::usage::Usage;
use crate::config::{BoxConfig, Profile};
use crate::control::{Command, CommandError, Inbox, State, Summary};
use crate::engine::webrtc::Lane;
use crate::engine::{Engine, Outlet, RawHub, SoundLine};
use crate::lifecycle::{Event, Strikes};
use crate::media::MediaTime;
use crate::output::{Adapt, Local, Output};
use crate::plan::{Choice, passes_nothing};
use crate::sfu;
use crate::telemetry::Drops;

/// How often graphs are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often the state is told while nothing changes but counters.
const TELL: Duration = Duration::from_millis(250);

/// How long graphs have to go at the end. One that hangs is left behind.
const GOODBYE: Duration = Duration::from_millis(1200);

/// How long servers have to confirm that a session is over.
const FAREWELL: Duration = Duration::from_millis(1200);

/// Where plans arrive that were asked for.
pub(super) type Preparing = mpsc::Sender<Result<Prepared, CommandError>>;

/// Everything that runs.
pub(super) struct Appliance {
    pub(super) engine: Engine,
    pub(super) options: Options,
    /// What the files said when they were read last.
    pub(super) loaded: Arc<Loaded>,
    /// The same for `/api/profiles`.
    pub(super) shown: Arc<ArcSwap<Loaded>>,
    pub(super) remembered: Option<Remembered>,
    /// Who may come in.
    pub(super) doors: Doors,
    /// What counts of the configuration.
    pub(super) config: BoxConfig,
    pub(super) profile: Profile,
    /// Why what runs was chosen.
    pub(super) choices: Vec<Choice>,
    pub(super) capture: Part,
    /// Its source.
    pub(super) watched: Watched,
    pub(super) audio_capture: Option<Part>,
    pub(super) encode: Part,
    /// Smaller versions of the picture, the best one first.
    pub(super) renditions: Vec<Rendition>,
    pub(super) audio_encode: Option<Part>,
    /// From what captures the picture to what encodes it.
    pub(super) video_hub: RawHub,
    /// From what captures sound to what encodes it.
    pub(super) line: SoundLine,
    /// Why there is no sound, where there is none.
    pub(super) silence: String,
    pub(super) picture: Outlet,
    pub(super) sound: Outlet,
    pub(super) sfu: Option<sfu::Handle>,
    pub(super) local: Option<Local>,
    pub(super) outputs: Vec<Output>,
    pub(super) adapt: Adapt,
    /// Outputs that were stopped by name.
    pub(super) resting: BTreeSet<String>,
    /// Off air by command.
    pub(super) stopped: bool,
    pub(super) change: Option<Change>,
    /// Plans that were asked for.
    pub(super) prepared: (Preparing, mpsc::Receiver<Result<Prepared, CommandError>>),
    /// Failures of the encoder on air.
    pub(super) strikes: Strikes,
    /// There is no further encoder to fall back to.
    pub(super) no_other: bool,
    pub(super) seed: u64,
    pub(super) inbox: Inbox,
    pub(super) told: mpsc::Receiver<Told>,
    /// Where graphs tell, for parts to come.
    pub(super) tell: mpsc::Sender<Told>,
    pub(super) drops: Drops,
    pub(super) usage: Usage,
    pub(super) last_told: Duration,
    pub(super) was_on_air: bool,
    /// Where systemd supervises this process.
    pub(super) systemd: Option<Systemd>,
}

impl Appliance {
    /// Runs until `ended` completes; reads the configuration again at each `hangup`. `on_live` is called once, when the first frames are at the SFU (or left the encoder,
    /// where there is no SFU).
    pub(super) async fn run(
        &mut self,
        ended: impl Future<Output = &'static str>,
        mut hangup: Signal,
        on_live: impl FnOnce(&State),
    ) {
        let mut on_live = Some(on_live);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = self.now();
        self.line.set_on(true);
        self.mind_network();
        for part in self.parts() {
            part.drive(now, Event::Start);
        }
        self.tell_state();
        tokio::pin!(ended);
        loop {
            let changed = tokio::select! {
                biased;
                why = &mut ended => {
                    tracing::info!("shutting down: {why}");
                    self.systemd.iter().for_each(|systemd| systemd.stopping(why));
                    return;
                }
                Some(order) = self.inbox.orders.recv() => {
                    // Being asked whether it lives changes nothing, and everybody may ask that.
                    let changes = order.command != Command::Ping;
                    self.obey(order);
                    changes
                }
                Some(told) = self.told.recv() => self.hear(told),
                Some(news) = self.watched.next() => {
                    self.hear_of_devices(news);
                    true
                }
                Some(prepared) = self.prepared.1.recv() => {
                    self.take_aim(prepared);
                    true
                }
                Some(()) = hangup.recv() => {
                    self.reload(None);
                    true
                }
                _ = looks.tick() => self.look(),
            };
            self.progress();
            if changed || self.now() >= self.last_told + TELL {
                self.tell_state();
            }
            let state = self.inbox.state.borrow().clone();
            self.tell_systemd(&state);
            if on_live.is_some()
                && self.is_live(&state)
                && let Some(on_live) = on_live.take()
            {
                on_live(&state);
            }
        }
    }

    /// Takes everything down, within its time; what hangs is left behind.
    pub(super) async fn shut_down(mut self) {
        let now = self.now();
        let farewells: Vec<_> = std::mem::take(&mut self.outputs)
            .into_iter()
            .map(|output| tokio::spawn(output.finish(FAREWELL)))
            .collect();
        // Encoders first: what they hold of the hubs must not keep a capture from stopping.
        let mut departures = Vec::new();
        for part in self.parts() {
            departures.extend(part.end(now));
        }
        departures.extend(self.watched.receiving.take().and_then(Receiving::end));
        let engine = self.engine.clone();
        let goodbye = tokio::task::spawn_blocking(move || {
            let deadline = engine.now() + GOODBYE;
            let left = || deadline.saturating_since(engine.now());
            departures.iter().filter(|departure| !departure.wait(left())).count()
        });
        self.local = None;
        if let Some(sfu) = self.sfu.take() {
            sfu.shutdown().await;
        }
        match goodbye.await {
            Ok(0) => tracing::debug!("every graph is gone"),
            _ => tracing::warn!("a graph would not stop and was left behind"),
        }
        for farewell in farewells {
            // Each ends by itself in time; one that panicked has nothing more to say.
            let _ = farewell.await;
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.engine.now().since_base()
    }

    /// The box's own stream at the SFU, if it is not there.
    pub(super) fn publish_locally(&mut self) {
        let Some(sfu) = self.sfu.as_ref().filter(|_| self.local.is_none()) else { return };
        let epoch = self.engine.instant_of(MediaTime::default());
        let rooms = [Some(self.encode.plan()), self.audio_encode.as_ref().map(Part::plan)].map(room);
        let sound = self.audio_encode.is_some().then_some(&self.sound);
        let stream = self.config.sfu.stream.clone();
        self.local = Some(Local::publish(sfu, stream, epoch, rooms, &self.picture, sound));
        self.tell_layers();
    }

    /// What the encoders make, as outputs take it.
    pub(super) fn lanes(&self) -> Arc<[Lane]> {
        let sound = self.audio_encode.as_ref().map(|part| (part.plan(), &self.sound));
        lanes([Some((self.encode.plan(), &self.picture)), sound])
    }

    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        // What takes first, so that no first frame is missed.
        let encodes = [self.audio_encode.as_mut(), Some(&mut self.encode)].into_iter().flatten();
        let captures = [self.audio_capture.as_mut(), Some(&mut self.capture)].into_iter().flatten();
        encodes.chain(self.renditions.iter_mut().map(|rendition| &mut rendition.part)).chain(captures)
    }

    fn hear(&mut self, told: Told) -> bool {
        let now = self.now();
        let Some(part) = self.parts().find(|part| part.name() == told.part) else { return false };
        let before = part.phase();
        part.hear(now, told.generation, told.event);
        let changed = part.phase() != before;
        // What became of the capture says how its source is, before anybody is told.
        let news = told.part == PartName::Capture && self.mind_source();
        changed || news
    }

    fn look(&mut self) -> bool {
        let now = self.now();
        let mut changed = false;
        for part in self.parts() {
            let before = part.phase();
            part.look(now);
            changed |= part.phase() != before;
        }
        self.mind_renditions(now);
        changed |= self.mind_source();
        self.adapt_bitrate() || changed
    }

    fn tell_systemd(&mut self, state: &State) {
        let now = self.now();
        let Some(systemd) = &mut self.systemd else { return };
        let part = &self.capture;
        let frames = part.stage().frames_out;
        let capture = (part.phase(), (part.rebuilds(), frames));
        systemd.turn(now, (state.summary, &state.words), self.sfu.as_ref(), capture);
    }

    fn is_live(&self, state: &State) -> bool {
        let name = self.config.sfu.stream.as_str();
        let arrived =
            self.sfu.is_none() || state.streams.iter().any(|stream| stream.name == name && stream.live);
        state.summary.is_on_air() && arrived
    }

    pub(super) fn tell_state(&mut self) {
        let now = self.now();
        let stats = self.sfu.as_ref().map(|sfu| sfu.stats());
        let state = View {
            uptime: now,
            profile: &self.profile.name,
            min_bitrate: self.profile.video.min_bitrate,
            process: self.usage.read(now),
            config: &self.config,
            capture: &self.capture,
            source: self.watched.health(),
            showing: self.watched.showing(),
            receiving: self.watched.receiving.as_ref(),
            passes_nothing: passes_nothing(&self.profile),
            goes_on: self.watched.goes_on(),
            audio_capture: self.audio_capture.as_ref(),
            encode: &self.encode,
            renditions: &self.renditions,
            audio_encode: self.audio_encode.as_ref(),
            silence: &self.silence,
            sound: self.line.report(),
            keyframes_forced: self.picture.stage().keyframes_forced,
            ages: self.picture.ages(),
            sfu: stats.as_deref(),
            outputs: &self.outputs,
            limiter: self.limiter(),
            now: self.engine.instant_of(self.engine.now()),
            was_on_air: self.was_on_air,
            changing: self.changing(),
        }
        .state();
        self.was_on_air |= state.summary.is_on_air();
        if state.summary != self.inbox.state.borrow().summary {
            match state.summary {
                Summary::Failed => tracing::warn!("{}", state.words),
                _ => tracing::info!("{}", state.words),
            }
        }
        for (place, lost) in self.drops.observe(now, losses(&state)) {
            tracing::warn!("{lost} frames lost: {place}");
        }
        self.last_told = now;
        self.inbox.state.send_replace(Arc::new(state));
    }
}

/// Every place that can lose frames, with its total. Links that are not on air skip frames by design; one that is on air
/// and is cut says so itself.
fn losses(state: &State) -> Vec<(String, u64)> {
    let stage = |name: &str, stage: &crate::control::StageState| {
        let places = stage.dropped.iter().filter(|(place, _)| *place != "link");
        places.map(|(place, count)| (format!("{name}, {place}"), *count)).collect::<Vec<_>>()
    };
    let mut losses = stage("capture", &state.capture.stage);
    losses.extend(state.audio.iter().flat_map(|audio| stage("audio capture", &audio.stage)));
    for (index, encode) in state.encode.iter().enumerate() {
        let size = encode.size.filter(|_| index > 0).map(|size| format!(" {size}")).unwrap_or_default();
        losses.extend(stage(&format!("{}{size}", encode.codec.title()), &encode.stage));
    }
    losses.extend(
        state.outputs.iter().flat_map(|output| stage(&format!("output `{}`", output.name), &output.stage)),
    );
    losses.extend(
        state.streams.iter().map(|stream| (format!("SFU hand-over of `{}`", stream.name), stream.dropped)),
    );
    losses
}
