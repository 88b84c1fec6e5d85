//! Commands, carried out.

use super::appliance::Appliance;
use super::change::{Reply, What, answer};
use super::target::Wanted;
use crate::config::EncoderChoice;
use crate::control::{Command, CommandError, Done, Order};
use crate::engine::ControlError;
use crate::media::{Bitrate, Fault};
use crate::output::Output;
use crate::plan::{BitrateControl, Downstream};

/// The most that an encoder is started anew with by command.
const MOST_BITRATE: Bitrate = Bitrate::from_bits(1_000_000_000);

impl Appliance {
    /// Carries a command out, or begins to; each is answered once.
    pub(super) fn obey(&mut self, order: Order) {
        let Order { command, reply } = order;
        let answer = match &command {
            Command::Ping => Ok(Done("alive".to_owned())),
            Command::Keyframe => self.force_keyframe(),
            Command::OutputStart(name) => self.output_starts(name),
            Command::OutputStop(name) => self.output_stops(name),
            Command::SetBitrate(bitrate) => match self.set_bitrate(*bitrate) {
                Some(answer) => answer,
                None => return self.rebuild_at(*bitrate, Some(reply)),
            },
            Command::Switch(profile) => {
                let (what, wanted) = (What::Switch(profile.clone()), Wanted::named(profile));
                return self.change(what, wanted, Some(reply));
            }
            Command::Start if self.stopped => return self.rise(What::Start, Some(reply)),
            Command::Start => self.is_up(),
            Command::Stop => return self.fall(Some(reply)),
            Command::Restart if self.stopped => Err(self.not_on_air()),
            Command::Restart => return self.rise(What::Restart, Some(reply)),
            Command::Reload => return self.reload(Some(reply)),
        };
        if let Ok(Done(done)) = &answer
            && command != Command::Ping
        {
            tracing::info!("by command: {done}");
        }
        // Whoever asked may have left.
        let _ = reply.send(answer);
    }

    /// Asked to start, and started already.
    fn is_up(&self) -> Result<Done, CommandError> {
        match self.encode.is_on_air() {
            true => Ok(Done(format!("on air already: {}", self.on_air_words()))),
            false => Err(self.not_on_air()),
        }
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

    /// None: the encoder cannot do it while it runs.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Option<Result<Done, CommandError>> {
        let control = self.encode.plan().control.bitrate.clone()?;
        if let Some(change) = &self.change {
            let reason = format!("{} is under way; ask again when it is done", change.what.words());
            return Some(Err(CommandError::Conflict(reason)));
        }
        Some(self.set_live(bitrate, &control))
    }

    fn set_live(&mut self, bitrate: Bitrate, control: &BitrateControl) -> Result<Done, CommandError> {
        let video = &self.profile.video;
        let encoder = self.encode.plan().fragment.clone();
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

    /// Starts the encoder anew at another bitrate, beside the one that runs, if that is worth it.
    fn rebuild_at(&mut self, bitrate: Bitrate, reply: Reply) {
        let plan = self.encode.plan();
        let (encoder, least) = (plan.fragment.clone(), self.profile.video.min_bitrate);
        let present = match &plan.downstream {
            Downstream::Video { bitrate, .. } => *bitrate,
            _ => self.profile.video.bitrate,
        };
        let refusal = if bitrate < least || bitrate > MOST_BITRATE {
            Some((
                format!("{bitrate} is not between {least} and {MOST_BITRATE}"),
                format!("the least is `min_bitrate` of profile `{}`", self.profile.name),
            ))
        } else if bitrate.bits().abs_diff(present.bits()) * 10 < present.bits() {
            Some((
                format!(
                    "`{encoder}` cannot change its bitrate while it runs, and is not started anew for so little"
                ),
                format!("it is {present} now; change it by a tenth or more"),
            ))
        } else {
            None
        };
        if let Some((reason, hint)) = refusal {
            return answer(reply, Err(CommandError::Refused { reason, hint: Some(hint) }));
        }
        let mut profile = self.profile.clone();
        profile.video.bitrate = bitrate;
        profile.video.encoder = EncoderChoice::Listed(vec![encoder]);
        self.change(What::Bitrate(bitrate), Wanted::Made(Box::new(profile)), reply);
    }

    fn output_starts(&mut self, name: &str) -> Result<Done, CommandError> {
        self.output(name)?;
        self.resting.remove(name);
        if self.stopped {
            return Ok(Done(format!("output `{name}` starts with `capcast start`")));
        }
        self.output(name)?.publish();
        Ok(Done(format!("output `{name}` starts")))
    }

    fn output_stops(&mut self, name: &str) -> Result<Done, CommandError> {
        self.output(name)?.stop();
        self.resting.insert(name.to_owned());
        Ok(Done(format!("output `{name}` stops")))
    }

    fn output(&self, name: &str) -> Result<&Output, CommandError> {
        if let Some(output) = self.outputs.iter().find(|output| output.name() == name) {
            return Ok(output);
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
}
