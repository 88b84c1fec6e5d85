//! A change of what runs: proven before it counts, put back where it fails, one at a time.
//!
//! ```text
//!               capture stays                   keyframe            on air
//!  Preparing ──────────────────> Beside ──────────────────> Sound ─────────> landed
//!      │                           │ fails: the old one goes on
//!      │ capture differs, or the hardware encodes once only
//!      └───────────────────────> Broken ──────────────────────── on air ───> landed
//!                                  │ fails
//!                                  └──> Back ── the old one is on air again, or not in time ──> refused
//! ```

mod landing;
mod source;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::RunError;
use super::appliance::Appliance;
use super::files::Loaded;
use super::ladder::Rendition;
use super::network::Receiving;
use super::target::{self, Held, Target, Wanted};
use crate::config::VideoInput;
use crate::control::{CommandError, Done};
use crate::media::{Bitrate, Fault, MediaTime};
use crate::plan::GraphPlan;

/// How long graphs that took the place of others have to bring a picture.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long going on air may take: a card that has to find its signal takes some seconds.
const RISE: Duration = Duration::from_secs(20);

/// How long graphs may take to go; those that hang were left behind by then.
const FALL: Duration = Duration::from_secs(4);

/// Where the answer goes. Nobody may wait for it.
pub(super) type Reply = Option<oneshot::Sender<Result<Done, CommandError>>>;

/// What is changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// To another profile.
    Switch(String),
    /// The bitrate, of an encoder that cannot change it while it runs.
    Bitrate(Bitrate),
    /// To what the files say now.
    Reload,
    /// To another encoder of the profile's, since this one failed for this reason.
    Fallback(String, String),
    /// To what the source is now.
    Source,
    /// On air.
    Start,
    /// Everything anew.
    Restart,
    /// Off air.
    Stop,
}

impl What {
    /// For people.
    pub(super) fn words(&self) -> String {
        match self {
            What::Switch(profile) => format!("a switch to `{profile}`"),
            What::Bitrate(bitrate) => format!("a change to {bitrate}"),
            What::Reload => "a reload".to_owned(),
            What::Fallback(encoder, _) => format!("a change away from `{encoder}`, which failed,"),
            What::Source => "a change of the source".to_owned(),
            What::Start => "a start".to_owned(),
            What::Restart => "a restart".to_owned(),
            What::Stop => "a stop".to_owned(),
        }
    }
}

/// A change under way.
pub(super) struct Change {
    pub(super) what: What,
    reply: Reply,
    /// What the files say now, where they were read again.
    loaded: Option<Arc<Loaded>>,
    stage: Stage,
}

enum Stage {
    /// A plan is made, on a thread of its own.
    Preparing,
    /// The new encoder runs beside the old one.
    Beside(Box<Target>),
    /// The picture is changed; so is the sound being. What there is to say of the picture.
    Sound(Box<Target>, String),
    /// The capture was changed; the new encoder is tried once pictures come.
    Settling { target: Box<Target>, due: Duration },
    /// What there was is gone.
    Broken { target: Box<Target>, before: Box<Before>, due: Duration },
    /// What there was is coming back, for this reason.
    Back { reason: String, due: Duration },
    /// Going on air.
    Rising(Duration),
    /// Going off air.
    Falling(Duration),
}

impl Change {
    /// The picture's source, where the files were read again.
    pub(super) fn source(&self) -> Option<&VideoInput> {
        self.loaded.as_ref().map(|loaded| &loaded.config.capture.video)
    }
}

/// What ran before.
struct Before {
    capture: GraphPlan,
    encode: GraphPlan,
    /// When its last picture went out.
    last: Option<MediaTime>,
}

/// A plan that was asked for.
pub(super) struct Prepared {
    pub(super) target: Target,
    pub(super) loaded: Option<Arc<Loaded>>,
}

impl Appliance {
    /// Begins a change, unless one is under way.
    pub(super) fn change(&mut self, what: What, wanted: Wanted, reply: Reply) {
        let loaded = Arc::clone(&self.loaded);
        let (held, waited) = (self.held(), target::device(&self.capture.plan().upstream));
        self.prepare(what, reply, move || {
            let target = target::aim_again(&loaded, wanted, &held, waited).map_err(refused)?;
            Ok(Prepared { target, loaded: None })
        });
    }

    /// The same with a plan that `prepare` makes, on a thread of its own.
    pub(super) fn prepare(
        &mut self,
        what: What,
        reply: Reply,
        prepare: impl FnOnce() -> Result<Prepared, CommandError> + Send + 'static,
    ) {
        if self.begin(what, reply, Stage::Preparing) {
            let tell = self.prepared.0.clone();
            tokio::task::spawn_blocking(move || {
                // Nobody hears it once the daemon ends.
                let _ = tell.blocking_send(prepare());
            });
        }
    }

    /// Goes on air, or everything anew.
    pub(super) fn rise(&mut self, what: What, reply: Reply) {
        let now = self.now();
        if !self.begin(what, reply, Stage::Rising(now + RISE)) {
            return;
        }
        self.stopped = false;
        self.line.set_on(true);
        self.publish_locally();
        self.renditions.iter_mut().for_each(Rendition::settle);
        for part in self.parts() {
            let note = part.note().to_owned();
            part.replace(now, part.plan().clone());
            part.set_note(note);
        }
        for output in self.outputs.iter().filter(|output| !self.resting.contains(output.name())) {
            output.publish();
        }
    }

    /// Goes off air, whatever is under way.
    pub(super) fn fall(&mut self, reply: Reply) {
        let now = self.now();
        if let Some(change) = self.change.take() {
            if let Stage::Broken { before, .. } = &change.stage {
                let (capture, encode) = (before.capture.clone(), before.encode.clone());
                self.capture.set_plan(capture);
                self.encode.set_plan(encode);
            }
            let reason = format!("{} was cut short: the box goes off air", change.what.words());
            answer(change.reply, Err(CommandError::Conflict(reason)));
        }
        self.stopped = true;
        self.line.set_on(false);
        for part in self.parts() {
            part.stop(now);
        }
        self.renditions.iter_mut().for_each(Rendition::settle);
        for output in &self.outputs {
            output.stop();
        }
        self.local = None;
        self.change =
            Some(Change { what: What::Stop, reply, loaded: None, stage: Stage::Falling(now + FALL) });
    }

    /// Takes in a plan that was asked for.
    pub(super) fn take_aim(&mut self, prepared: Result<Prepared, CommandError>) {
        // One that was cut short meanwhile needs no plan any more.
        let Some(change) = self.change.as_mut().filter(|change| matches!(change.stage, Stage::Preparing))
        else {
            return;
        };
        match prepared {
            Ok(prepared) => {
                change.loaded = prepared.loaded;
                self.head_for(Box::new(prepared.target));
            }
            Err(error) => self.finish(Err(error)),
        }
    }

    /// What is going on, if it keeps the picture from being on air.
    pub(super) fn changing(&self) -> Option<String> {
        let change = self.change.as_ref()?;
        matches!(change.stage, Stage::Broken { .. } | Stage::Back { .. } | Stage::Rising(_))
            .then(|| format!("{} is under way", change.what.words()))
    }

    /// False: another one is under way, and whoever asked was told so.
    fn begin(&mut self, what: What, reply: Reply, stage: Stage) -> bool {
        if let Some(running) = &self.change {
            let reason = format!("{} is under way; ask again when it is done", running.what.words());
            answer(reply, Err(CommandError::Conflict(reason)));
            return false;
        }
        self.change = Some(Change { what, reply, loaded: None, stage });
        true
    }

    fn finish(&mut self, result: Result<Done, CommandError>) {
        let Some(change) = self.change.take() else { return };
        match (&result, &change.what) {
            (Ok(Done(done)), What::Fallback(..)) => tracing::warn!("{done}"),
            (Ok(Done(done)), _) => tracing::info!("{done}"),
            // What is missing may be so for days; its state says why.
            (Err(error), What::Source) => tracing::debug!("the source stays as it is: {error}"),
            (Err(error), what) => tracing::warn!("{} came to nothing: {error}", what.words()),
        }
        // Whoever asked may look at once.
        self.tell_state();
        answer(change.reply, result);
    }

    /// What Capcast itself has open now, and knows of it.
    pub(super) fn held(&self) -> Held {
        let device = self.capture.graph().and_then(|_| target::device(&self.capture.plan().upstream));
        Held { device, streams: self.watched.receiving.iter().filter_map(Receiving::known).collect() }
    }
}

/// The daemon's own words for why a plan cannot be made, as an answer.
pub(super) fn refused(error: RunError) -> CommandError {
    match error {
        RunError::NoProfile(name) => {
            CommandError::Unknown(format!("there is no profile `{name}`; `capcast profiles` lists them"))
        }
        RunError::Plan { profile, reasons } => {
            let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            CommandError::Refused {
                reason: format!("profile `{profile}` cannot run here: {}", words.join("; ")),
                hint: reasons.iter().find_map(crate::plan::PlanError::hint),
            }
        }
        // The files are at fault, and whoever asked can mend them.
        files @ (RunError::Secret { .. }
        | RunError::Tls { .. }
        | RunError::SameKey { .. }
        | RunError::TokenKey { .. }) => {
            CommandError::Failed { fault: Fault::Config, reason: files.to_string() }
        }
        other => CommandError::Failed { fault: Fault::Internal, reason: other.to_string() },
    }
}

/// Sends the answer.
pub(super) fn answer(reply: Reply, result: Result<Done, CommandError>) {
    if let Some(reply) = reply {
        // Whoever asked may have left.
        let _ = reply.send(result);
    }
}
