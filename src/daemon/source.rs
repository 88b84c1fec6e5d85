//! The picture's source under watch: how it is, what stands in for it, and what is done about it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::appliance::Appliance;
use super::change::{Prepared, What, refused};
use super::network::Receiving;
use super::target::{self, Wanted, aim};
use crate::config::{EncoderChoice, NoSignal, VideoInput};
use crate::device::{self, Plugged, Sight, SightWatch, Signal};
use crate::engine::{Engine, RawHub, SLATE_AFTER, Showing, Slate};
use crate::lifecycle::{Event, Evidence, Phase, Remedy, Source, is_noise, judge, judge_stream};
use crate::media::{FrameSize, SourceHealth, SourceState};
use crate::plan::{Downstream, GraphPlan, Plan, Upstream};

/// News that wait to be heard; more than plugs can bring within one turn of the loop.
const NEWS: usize = 256;

/// Pixels a second that fit through a USB 2 link as they are: 720p at 15, two bytes each.
const USB_2: f64 = 1280.0 * 720.0 * 15.0;

/// News of devices.
#[derive(Debug)]
pub(super) enum News {
    /// One came or went.
    Plugged(Plugged),
    /// How the one in use is.
    Seen(Sight),
    /// A plan with a sound card that came.
    SoundFound(Box<Plan>),
}

/// The picture's source, and what is known of it.
pub(super) struct Watched {
    slate: Option<Slate>,
    watch: Option<SightWatch>,
    /// What arrives over the network, where that is the source.
    pub(super) receiving: Option<Receiving>,
    tell: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    /// The device that is looked at.
    followed: Option<PathBuf>,
    seen: Option<Sight>,
    /// What arrived when the capture was planned.
    planned_for: Option<Signal>,
    /// Capcast had the device open at the last look.
    was_ours: bool,
    /// The picture goes on without the source.
    goes_on: bool,
    /// A card came while a test picture is shown for want of one.
    offered: bool,
    /// The capture's plan is of another profile, since the card was away when that changed.
    outdated: bool,
    source: Source,
    /// Since when it is as it is, and what the log was told of it last.
    since: Duration,
    logged: SourceState,
}

impl Watched {
    /// Begins to listen. What the system does not give is told in the log and done without.
    pub(super) fn start(engine: &Engine, hub: &RawHub, plan: &GraphPlan) -> Watched {
        let (tell, news) = mpsc::channel(NEWS);
        let (plugs, kept) = (tell.clone(), tell.clone());
        // A full queue means that the loop stands still; devices are looked for now and then all the same.
        if let Err(error) = device::watch_plugs(move |plugged| drop(plugs.try_send(News::Plugged(plugged)))) {
            tracing::warn!("devices that are plugged in are found more slowly: {error}");
        }
        let watch = SightWatch::start(move |sight| drop(tell.try_send(News::Seen(sight))))
            .inspect_err(|error| tracing::warn!("the source's signal is not watched: {error}"))
            .ok();
        let (size, framerate) = size_and_rate(plan);
        let slate = engine
            .slate(hub, size, framerate)
            .inspect_err(|error| tracing::warn!("there is no slate: {error}"))
            .ok();
        Watched {
            slate,
            watch,
            receiving: None,
            tell: kept,
            news,
            followed: None,
            seen: None,
            planned_for: None,
            was_ours: false,
            goes_on: false,
            offered: false,
            outdated: false,
            source: Source::default(),
            since: Duration::ZERO,
            logged: SourceState::Live,
        }
    }

    /// The next news.
    pub(super) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Where further news are told.
    pub(super) fn teller(&self) -> mpsc::Sender<News> {
        self.tell.clone()
    }

    /// How the source is.
    pub(super) fn health(&self) -> &SourceHealth {
        self.source.health()
    }

    /// The picture goes on without it.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// What is seen of it.
    pub(super) fn showing(&self) -> Showing {
        self.slate.as_ref().map_or(Showing::Source, Slate::showing)
    }

    /// Whether the capture is to be planned for anew before it is taken again.
    pub(super) const fn set_outdated(&mut self, outdated: bool) {
        self.outdated = outdated;
    }

    /// Has the device looked at anew: what was seen of it is past.
    pub(super) fn look_again(&mut self) {
        self.seen = None;
        self.planned_for = None;
        self.followed = None;
    }

    /// Has the same device looked at now: what arrives there is as it was.
    fn look_once_more(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.taken = false;
        }
        if let Some(watch) = &self.watch {
            watch.follow(self.followed.clone());
        }
    }

    fn follow(&mut self, node: Option<PathBuf>) {
        if node == self.followed {
            return;
        }
        (self.seen, self.planned_for) = (None, None);
        self.followed.clone_from(&node);
        if let Some(watch) = &self.watch {
            watch.follow(node);
        }
    }
}

/// Size and rate of the slate until there is a picture.
fn size_and_rate(plan: &GraphPlan) -> (FrameSize, crate::media::Framerate) {
    let (size, rate) = match &plan.downstream {
        Downstream::RawVideo { size, framerate, .. } => (*size, *framerate),
        _ => (None, None),
    };
    let size = size.unwrap_or(FrameSize::new(1280, 720));
    (size, rate.unwrap_or_else(|| crate::plan::Rates::List(Vec::new()).fastest()))
}

impl Appliance {
    /// Takes in news of devices.
    pub(super) fn hear_of_devices(&mut self, news: News) {
        match news {
            News::Plugged(Plugged::VideoCame(node)) => {
                tracing::debug!("{} was plugged in", node.display());
                self.watched.source.plugged_in();
                self.watched.offered |= self.waits_for_any_card();
                if self.watched.followed.as_ref() == Some(&node) {
                    self.watched.look_again();
                }
            }
            News::Plugged(Plugged::VideoWent(node)) => {
                if self.watched.followed.as_ref() == Some(&node) {
                    self.watched.look_again();
                }
            }
            News::Plugged(Plugged::SoundCame(_)) => self.take_sound_card(),
            // The capture hears of it by itself, from the driver.
            News::Plugged(Plugged::SoundWent(_)) => {}
            News::SoundFound(plan) => self.begin_or_end_capture(&plan),
            News::Seen(sight) => {
                if self.watched.followed.as_ref() == Some(&sight.node) {
                    // A driver may follow its signal by itself, so that the card is set to what nobody planned for.
                    if sight.fits && matches!(sight.signal, Signal::Present { .. }) {
                        self.watched.planned_for.get_or_insert(sight.signal);
                    }
                    self.watched.seen = Some(sight);
                }
            }
        }
        self.mind_source();
    }

    /// A test picture is shown, and any card would be better.
    fn waits_for_any_card(&self) -> bool {
        self.config.capture.video == VideoInput::Auto && self.capture.plan().upstream == Upstream::Made
    }

    /// Looks how the source is, and does what is to be done; true when it is otherwise than before.
    pub(super) fn mind_source(&mut self) -> bool {
        self.mind_network();
        let now = self.now();
        let upstream = &self.capture.plan().upstream;
        let node = target::device(upstream);
        let may_go = may_go(upstream);
        self.watched.follow(node.filter(|_| !self.stopped));
        let health = self.judged();
        let changed = self.watched.source.health().state != health.state;
        let news = self.watched.source.observe(now, health);
        if changed {
            self.watched.since = now;
        }
        let rests = self.passes_through();
        self.capture.set_rests(now, rests);
        let goes_on = may_go && !rests && !self.stopped && self.config.capture.no_signal == NoSignal::Slate;
        let ours = self.capture.graph().is_some() || self.capture.is_leaving();
        if self.watched.was_ours && !ours {
            // What was seen of its buffers was Capcast's own doing.
            self.watched.look_once_more();
        }
        self.watched.was_ours = ours;
        self.watched.goes_on = goes_on && self.watched.slate.is_some();
        let health = self.watched.source.health().clone();
        if let Some(slate) = &self.watched.slate {
            if news {
                let (size, framerate) = size_and_rate(self.capture.plan());
                slate.plan(size, framerate);
            }
            slate.say(&health, may_go && is_noise(health.state));
            slate.expect_bursts(matches!(self.capture.plan().upstream, Upstream::Network { .. }));
            slate.set_on(goes_on);
        }
        if self.watched.offered && !self.stopped && self.change.is_none() {
            self.watched.offered = false;
            if self.waits_for_any_card() {
                self.replan_source();
            }
        }
        if may_go && !self.stopped {
            self.log_source(now, &health);
        }
        if may_go && !rests && !self.stopped {
            self.remedy(now, &health);
        }
        news
    }

    fn judged(&self) -> SourceHealth {
        let plan = self.capture.plan();
        // Frames that have not come for long enough to show the slate do not flow.
        let flows = self.capture.phase().is_flowing() && self.watched.showing() != Showing::Slate;
        if self.stopped {
            return SourceHealth { state: SourceState::Stalled, reason: "off air by command".to_owned() };
        }
        if let Upstream::Network { .. } = &plan.upstream {
            let arrives = match &self.watched.receiving {
                Some(receiving) => receiving.reception().health(),
                None => {
                    SourceHealth { state: SourceState::NoSignal, reason: "nothing is received".to_owned() }
                }
            };
            let flows = flows || self.capture.rests();
            let trouble =
                if self.capture.phase() == Phase::WaitingForDevice { "" } else { self.capture.reason() };
            return judge_stream(arrives, flows, trouble);
        }
        if !is_card(&plan.upstream) {
            let state = if flows { SourceState::Live } else { SourceState::Stalled };
            return SourceHealth { state, reason: self.capture.reason().to_owned() };
        }
        let seen = self.watched.seen.as_ref();
        let absent = match &plan.upstream {
            Upstream::Absent { health } => Some(health),
            _ => None,
        };
        judge(&Evidence {
            absent,
            seen: seen.map(|sight| &sight.health),
            fits: self.fits(),
            taken: seen.is_some_and(|sight| sight.taken),
            ours: self.capture.graph().is_some() || self.capture.is_leaving(),
            slow: seen.is_some_and(|sight| sight.slow_link) && is_wide(plan),
            flows,
            // Why it waited is past once nothing speaks against the device.
            trouble: if self.capture.phase() == Phase::WaitingForDevice { "" } else { self.capture.reason() },
        })
    }

    /// What arrives is what the capture was planned for.
    fn fits(&self) -> bool {
        let Some(sight) = &self.watched.seen else { return true };
        let present = matches!(sight.signal, Signal::Present { .. });
        sight.fits && (!present || self.watched.planned_for.is_none_or(|planned| planned == sight.signal))
    }

    fn remedy(&mut self, now: Duration, health: &SourceHealth) {
        let open = self.capture.graph().is_some();
        let waiting = self.capture.phase() == Phase::WaitingForDevice;
        let ready = match &self.watched.receiving {
            Some(receiving) => receiving.reception().health().is_live(),
            None => self.watched.seen.as_ref().is_some_and(|sight| sight.health.is_live()) && self.fits(),
        };
        let leaving = self.capture.is_leaving();
        match self.watched.source.remedy(now, open, leaving, waiting, ready) {
            Remedy::Release => self.capture.drive(now, Event::DeviceGone(health.reason.clone())),
            // Where another change is under way, it is asked for again.
            Remedy::Retake if self.watched.outdated && self.change.is_some() => {}
            Remedy::Retake if std::mem::take(&mut self.watched.outdated) => self.replan_source(),
            Remedy::Retake => self.capture.drive(now, Event::DeviceBack),
            Remedy::Replan if self.change.is_some() => self.watched.source.plugged_in(),
            Remedy::Replan => self.replan_source(),
            // It would be opened now and then in vain.
            Remedy::None if waiting && is_noise(health.state) => {
                self.capture.drive(now, Event::DeviceGone(health.reason.clone()));
            }
            Remedy::None => {}
        }
    }

    /// Plans with what is plugged in now, for the encoder that runs.
    pub(super) fn replan_source(&mut self) {
        let (loaded, held) = (self.loaded.clone(), self.held());
        let mut profile = self.profile.clone();
        let runs = self.encode.plan();
        // What is passed on as it arrives has no encoder.
        if let (Upstream::RawHub, Downstream::Video { bitrate, .. }) = (&runs.upstream, &runs.downstream) {
            profile.video.encoder = EncoderChoice::Listed(vec![runs.fragment.clone()]);
            // Another one may have been asked for since the profile was read.
            profile.video.bitrate = *bitrate;
        }
        self.prepare(What::Source, None, move || {
            let plan = || aim(&loaded, Wanted::Made(Box::new(profile.clone())), &held).map_err(refused);
            let mut target = plan()?;
            if let Some(node) = target::device(&target.plan.video_capture.upstream) {
                match device::adopt(&node) {
                    // Other timings, other modes.
                    Ok(true) => target = plan()?,
                    Ok(false) => {}
                    Err(reason) => {
                        tracing::debug!("{} cannot be set to its signal: {reason}", node.display());
                    }
                }
            }
            Ok(Prepared { target, loaded: None })
        });
    }

    /// Says in the log what lasted, once.
    fn log_source(&mut self, now: Duration, health: &SourceHealth) {
        if self.watched.logged == health.state || now < self.watched.since + SLATE_AFTER {
            return;
        }
        self.watched.logged = health.state;
        let name = &self.capture.plan().title;
        if health.is_live() {
            tracing::info!("source {name}: live");
        } else {
            tracing::warn!("source {name}: {}", health.reason);
        }
    }
}

/// A capture card, be it there or not.
pub(super) const fn is_card(upstream: &Upstream) -> bool {
    matches!(upstream, Upstream::VideoDevice { .. } | Upstream::Absent { .. })
}

/// A source that comes and goes, and that a slate stands in for.
const fn may_go(upstream: &Upstream) -> bool {
    is_card(upstream) || matches!(upstream, Upstream::Network { .. })
}

/// Whether what is captured is raw, and too much for a USB 2 link.
fn is_wide(plan: &GraphPlan) -> bool {
    match &plan.downstream {
        Downstream::RawVideo { format: Some(_), size: Some(size), framerate: Some(rate) } => {
            size.pixels() as f64 * rate.as_f64() > USB_2
        }
        _ => false,
    }
}
