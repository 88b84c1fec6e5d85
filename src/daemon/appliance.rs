//! The running daemon: one loop that hears graphs, commands and signals, and tells its state.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::part::{Part, Told};
use super::snapshot::View;
use crate::config::{BoxConfig, Profile};
use crate::control::{Command, CommandError, Done, Inbox, Order, State, Summary};
use crate::engine::{ControlError, Engine, Outlet};
use crate::lifecycle::Event;
use crate::media::{Bitrate, Fault};
use crate::output::{Adapt, Local, Whip};
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

/// Everything that runs.
pub(super) struct Appliance {
    pub(super) engine: Engine,
    pub(super) config: BoxConfig,
    pub(super) profile: Profile,
    pub(super) capture: Part,
    pub(super) audio_capture: Option<Part>,
    pub(super) encode: Part,
    pub(super) audio_encode: Option<Part>,
    /// Why there is no sound, where there is none.
    pub(super) silence: String,
    pub(super) picture: Outlet,
    pub(super) sfu: Option<sfu::Handle>,
    pub(super) local: Option<Local>,
    pub(super) outputs: Vec<Whip>,
    pub(super) adapt: Adapt,
    pub(super) inbox: Inbox,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) drops: Drops,
    pub(super) last_told: Duration,
    pub(super) was_on_air: bool,
}

impl Appliance {
    /// Runs until `ended` completes. `on_live` is called once, when the first frames are at the SFU (or left the encoder,
    /// where there is no SFU).
    pub(super) async fn run(
        &mut self,
        ended: impl Future<Output = &'static str>,
        on_live: impl FnOnce(&State),
    ) {
        let mut on_live = Some(on_live);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = self.now();
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
                    return;
                }
                Some(order) = self.inbox.orders.recv() => {
                    // Being asked whether it lives changes nothing, and everybody may ask that.
                    let changes = order.command != Command::Ping;
                    self.obey(order);
                    changes
                }
                Some(told) = self.told.recv() => self.hear(told),
                _ = looks.tick() => self.look(),
            };
            if changed || self.now() >= self.last_told + TELL {
                self.tell_state();
            }
            let state = self.inbox.state.borrow().clone();
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
        for part in [self.audio_encode.as_mut(), Some(&mut self.encode)].into_iter().flatten() {
            departures.extend(part.end(now));
        }
        for part in [self.audio_capture.as_mut(), Some(&mut self.capture)].into_iter().flatten() {
            departures.extend(part.end(now));
        }
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

    fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        // What takes first, so that no first frame is missed.
        [
            self.audio_encode.as_mut(),
            Some(&mut self.encode),
            self.audio_capture.as_mut(),
            Some(&mut self.capture),
        ]
        .into_iter()
        .flatten()
    }

    fn hear(&mut self, told: Told) -> bool {
        let now = self.now();
        let Some(part) = self.parts().find(|part| part.name() == told.part) else { return false };
        let before = part.phase();
        part.hear(now, told.generation, told.event);
        part.phase() != before
    }

    fn look(&mut self) -> bool {
        let now = self.now();
        let mut changed = false;
        for part in self.parts() {
            let before = part.phase();
            part.look(now);
            changed |= part.phase() != before;
        }
        self.adapt_bitrate() || changed
    }

    fn obey(&mut self, order: Order) {
        let answer = match &order.command {
            Command::Ping => Ok(Done("alive".to_owned())),
            Command::Keyframe => self.force_keyframe(),
            Command::SetBitrate(bitrate) => self.set_bitrate(*bitrate),
            Command::OutputStart(name) => self.output(name, "starts", Whip::publish),
            Command::OutputStop(name) => self.output(name, "stops", Whip::stop),
        };
        if let Ok(Done(done)) = &answer
            && order.command != Command::Ping
        {
            tracing::info!("by command: {done}");
        }
        // Whoever asked may have left.
        let _ = order.reply.send(answer);
    }

    fn force_keyframe(&mut self) -> Result<Done, CommandError> {
        if !self.encode.phase().is_flowing() {
            return Err(self.not_on_air());
        }
        if self.encode.plan().control.keyframe.is_none() {
            let encoder = &self.encode.plan().fragment;
            return Err(CommandError::Refused {
                reason: format!("`{encoder}` cannot make a keyframe when asked"),
                hint: None,
            });
        }
        self.picture.request_keyframe();
        Ok(Done("a keyframe follows".to_owned()))
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<Done, CommandError> {
        let video = &self.profile.video;
        let encoder = self.encode.plan().fragment.clone();
        let Some(control) = &self.encode.plan().control.bitrate else {
            return Err(CommandError::Refused {
                reason: format!("`{encoder}` cannot change its bitrate while it runs"),
                hint: Some("change `bitrate` in the profile".to_owned()),
            });
        };
        let (least, most) = (control.range.0.max(video.min_bitrate), control.range.1);
        if bitrate < least || bitrate > most {
            return Err(CommandError::Refused {
                reason: format!("{bitrate} is not between {least} and {most}"),
                hint: Some(format!(
                    "the least is `min_bitrate` of profile `{}`, the most is what `{encoder}` takes",
                    self.profile.name
                )),
            });
        }
        let Some(graph) = self.encode.graph().filter(|_| self.encode.phase().is_flowing()) else {
            return Err(self.not_on_air());
        };
        graph.set_bitrate(bitrate).map_err(|error| match error {
            ControlError::TooSoon(_) => {
                CommandError::Refused { reason: error.to_string(), hint: Some("try again then".to_owned()) }
            }
            ControlError::Unsupported | ControlError::Range(..) => {
                CommandError::Refused { reason: error.to_string(), hint: None }
            }
            ControlError::Property(_) => {
                CommandError::Failed { fault: Fault::Graph, reason: error.to_string() }
            }
        })?;
        self.encode.keep_bitrate(bitrate);
        Ok(Done(format!("the picture is now encoded at {bitrate}")))
    }

    fn output(&self, name: &str, what: &str, act: fn(&Whip)) -> Result<Done, CommandError> {
        if let Some(output) = self.outputs.iter().find(|output| output.name() == name) {
            act(output);
            return Ok(Done(format!("output `{name}` {what}")));
        }
        if self.config.outputs.iter().any(|output| output.name == name) {
            return Err(CommandError::Refused {
                reason: format!("this version has no outputs of the kind of `{name}` yet"),
                hint: None,
            });
        }
        Err(CommandError::Unknown(format!("there is no output `{name}`")))
    }

    fn not_on_air(&self) -> CommandError {
        CommandError::NotOnAir(format!("nothing is on air: {}", self.inbox.state.borrow().words))
    }

    fn is_live(&self, state: &State) -> bool {
        let name = self.config.sfu.stream.as_str();
        let arrived =
            self.sfu.is_none() || state.streams.iter().any(|stream| stream.name == name && stream.live);
        state.summary.is_on_air() && arrived
    }

    fn tell_state(&mut self) {
        let now = self.now();
        let stats = self.sfu.as_ref().map(|sfu| sfu.stats());
        let state = View {
            uptime: now,
            profile: &self.profile.name,
            config: &self.config,
            capture: &self.capture,
            audio_capture: self.audio_capture.as_ref(),
            encode: &self.encode,
            audio_encode: self.audio_encode.as_ref(),
            silence: &self.silence,
            keyframes_forced: self.picture.stage().keyframes_forced,
            sfu: stats.as_deref(),
            outputs: &self.outputs,
            limiter: self.limiter(),
            now: self.engine.instant_of(self.engine.now()),
            was_on_air: self.was_on_air,
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
    for encode in &state.encode {
        losses.extend(stage(encode.codec.title(), &encode.stage));
    }
    losses.extend(
        state.outputs.iter().flat_map(|output| stage(&format!("output `{}`", output.name), &output.stage)),
    );
    losses.extend(
        state.streams.iter().map(|stream| (format!("SFU hand-over of `{}`", stream.name), stream.dropped)),
    );
    losses
}
