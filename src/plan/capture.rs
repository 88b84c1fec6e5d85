//! The capture graphs: which source, in which mode.

use std::path::Path;

use super::fragment::{Fragment, SourceFormat};
use super::graph::Draft;
use super::mode::{self, ChosenMode, NoMode, Wish};
use super::term::{Setting, THIRTY, fraction};
use super::{
    Choice, Clip, Control, DeviceAccess, Downstream, Fragments, GraphKind, GraphPlan, Inventory, PlanError,
    QueueClass, Queues, Role, SoundCard, Track, Upstream, Value, VideoDevice,
};
use crate::config::{AudioInput, BoxConfig, CaptureMode, NoSignal, Profile, SizeChoice, Speed, VideoInput};
use crate::media::{Delay, FrameSize, SourceHealth, SourceState, SrtPeer};

/// What the test picture has where neither profile nor configuration says.
const TEST_SIZE: FrameSize = FrameSize::new(1280, 720);

/// The capture side in the making.
#[derive(Debug)]
pub(super) struct Capture<'a> {
    pub(super) config: &'a BoxConfig,
    pub(super) profile: &'a Profile,
    pub(super) fragments: &'a Fragments,
    pub(super) queues: &'a Queues,
    pub(super) inventory: &'a Inventory,
}

/// Where the sound comes from.
#[derive(Debug)]
pub(super) enum Sound {
    /// There is to be none.
    None,
    /// There is no card yet; until one comes, the stream has a silent track.
    Awaited,
    /// From here.
    From(Box<GraphPlan>),
}

/// A source that was decided on.
#[derive(Debug)]
enum Found<'a> {
    Device(&'a VideoDevice),
    Test,
    File(&'a Path),
    Network(String),
}

impl Capture<'_> {
    /// The picture's way in.
    pub(super) fn video(&self, choices: &mut Vec<Choice>) -> Result<GraphPlan, Vec<PlanError>> {
        let found = match (self.find(choices), self.config.capture.no_signal) {
            (Ok(found), _) => found,
            (Err(error), NoSignal::Slate) => return self.absent(error, choices),
            (Err(error), NoSignal::Stop) => return Err(vec![error]),
        };
        match found {
            Found::Device(device) => self.device(device, choices),
            Found::Test => self.test(),
            Found::File(path) => self.file(path),
            Found::Network(url) => self.network(&url),
        }
    }

    /// The sound's way in, beside the picture's.
    pub(super) fn audio(
        &self,
        picture: Option<&Upstream>,
        choices: &mut Vec<Choice>,
    ) -> Result<Sound, Vec<PlanError>> {
        match &self.config.capture.audio {
            AudioInput::None => {
                choices.push(choice("sound", "none", true, "the configuration says so"));
                Ok(Sound::None)
            }
            AudioInput::Test => {
                choices.push(choice("sound", "tone", true, "the configuration says so"));
                self.tone().map(Box::new).map(Sound::From)
            }
            AudioInput::Alsa(name) => self.alsa(name, choices).map(Box::new).map(Sound::From),
            AudioInput::Auto => self.audio_auto(picture, choices),
        }
    }

    fn audio_auto(
        &self,
        picture: Option<&Upstream>,
        choices: &mut Vec<Choice>,
    ) -> Result<Sound, Vec<PlanError>> {
        match picture {
            Some(Upstream::File { path }) => {
                let without = match self.inventory.clips.get(path) {
                    Some(Ok(Clip { sound: Track::Absent, .. })) => "the file has no sound".to_owned(),
                    Some(Ok(Clip { sound: Track::Undecodable(decoder), .. })) => {
                        format!("the file's sound needs a {decoder}, which is not installed")
                    }
                    Some(Ok(Clip { sound: Track::There, .. }) | Err(_)) | None => {
                        choices.push(choice("sound", "file", true, "a file brings its own"));
                        return self.file_sound(path).map(Box::new).map(Sound::From);
                    }
                };
                choices.push(choice("sound", "none", true, &without));
                Ok(Sound::None)
            }
            Some(Upstream::Network { url }) => {
                choices.push(choice("sound", "network", true, "what arrives brings its own"));
                self.network_sound(url).map(Box::new).map(Sound::From)
            }
            Some(from @ (Upstream::VideoDevice { .. } | Upstream::Absent { .. })) => {
                let node = match from {
                    Upstream::VideoDevice { node, .. } => Some(node),
                    _ => None,
                };
                let device = self.inventory.video_devices.iter().find(|device| Some(&device.node) == node);
                let mate = device.and_then(|device| mate(device, &self.inventory.sound_cards));
                let (card, reason) = match (mate, self.inventory.sound_cards.first()) {
                    (Some(card), _) => (card, "plugged in with the capture device"),
                    (None, Some(card)) => (card, "the first capture card"),
                    (None, None) => {
                        let reason = "there is no sound card that captures; one that is plugged in is taken";
                        choices.push(choice("sound", "silence", true, reason));
                        return Ok(Sound::Awaited);
                    }
                };
                choices.push(choice("sound", &card.hw, true, reason));
                self.sound_card(&card.hw, &format!("{} ({})", card.hw, card.name))
                    .map(Box::new)
                    .map(Sound::From)
            }
            _ => {
                choices.push(choice("sound", "tone", true, "the test picture brings a tone"));
                self.tone().map(Box::new).map(Sound::From)
            }
        }
    }

    fn find(&self, choices: &mut Vec<Choice>) -> Result<Found<'_>, PlanError> {
        let inventory = self.inventory;
        let named = |name: &str| {
            let device = inventory.video_device(name).ok_or_else(|| PlanError::NoDevice {
                name: name.to_owned(),
                key: "capture.video",
                known: inventory.video_devices.iter().map(title).collect(),
            })?;
            match device.access {
                DeviceAccess::Denied => Err(PlanError::DeviceDenied { name: name.to_owned() }),
                DeviceAccess::Free | DeviceAccess::Busy => Ok(device),
            }
        };
        let (found, reason) = match &self.config.capture.video {
            VideoInput::Auto => match self.first_device(choices) {
                Some(device) => (Found::Device(device), "the first capture card that can be used"),
                None => (Found::Test, "there is no capture card that can be used"),
            },
            VideoInput::Device(path) => {
                (Found::Device(named(&path.to_string_lossy())?), "the configuration names it")
            }
            VideoInput::ById(id) => (Found::Device(named(id)?), "the configuration names it"),
            VideoInput::Test => (Found::Test, "the configuration says so"),
            VideoInput::File(path) => {
                self.playable(path)?;
                (Found::File(path), "the configuration names it")
            }
            VideoInput::Srt(srt) => (Found::Network(srt_url(&srt.peer)), "the configuration names it"),
            VideoInput::Url { url, .. } => (Found::Network(relay_url(url)), "the configuration names it"),
        };
        let candidate = match &found {
            Found::Device(device) => title(device),
            Found::Test => "test".to_owned(),
            Found::File(path) => path.display().to_string(),
            Found::Network(url) => place(url),
        };
        choices.push(choice("source", &candidate, true, reason));
        Ok(found)
    }

    /// In place of a device that is not there, or may not be opened.
    fn absent(&self, error: PlanError, choices: &mut Vec<Choice>) -> Result<GraphPlan, Vec<PlanError>> {
        let (name, state) = match &error {
            PlanError::NoDevice { name, .. } => (name, SourceState::Gone),
            PlanError::DeviceDenied { name } => (name, SourceState::Denied),
            _ => return Err(vec![error]),
        };
        let (size, rate) = match self.config.capture.mode {
            CaptureMode::Fixed(size, rate) => (Some(size), rate),
            CaptureMode::Auto => (None, None),
        };
        let name = name.clone();
        choices.push(choice("source", "slate", true, &format!("{error}; it is taken when it can be")));
        Ok(GraphPlan {
            kind: GraphKind::VideoCapture,
            fragment: "slate".to_owned(),
            upstream: Upstream::Absent { health: SourceHealth::with(state, &name) },
            title: name,
            nodes: Vec::new(),
            links: Vec::new(),
            exclusive: false,
            handover: None,
            shift: Delay::default(),
            control: Control::default(),
            downstream: Downstream::RawVideo {
                format: Some("I420".to_owned()),
                size: Some(size.or(self.profile_size()).unwrap_or(TEST_SIZE)),
                framerate: Some(rate.unwrap_or(self.profile.video.framerate)),
            },
        })
    }

    fn playable(&self, path: &Path) -> Result<(), PlanError> {
        let reason = match self.inventory.clips.get(path) {
            None | Some(Ok(Clip { picture: Track::There, .. })) => return Ok(()),
            Some(Ok(Clip { picture: Track::Absent, .. })) => "it holds no moving picture".to_owned(),
            Some(Ok(Clip { picture: Track::Undecodable(decoder), .. })) => {
                format!("its picture needs a {decoder}, which is not installed")
            }
            Some(Err(reason)) => reason.clone(),
        };
        Err(PlanError::NoClip { path: path.display().to_string(), reason })
    }

    /// What the fragment can take of a device on this box.
    fn formats(&self, fragment: &Fragment) -> Vec<SourceFormat> {
        let setting = self.setting();
        let here = |format: &&SourceFormat| format.when.iter().all(|condition| setting.holds(condition));
        fragment.modes.iter().filter(here).cloned().collect()
    }

    fn first_device(&self, choices: &mut Vec<Choice>) -> Option<&VideoDevice> {
        let formats = self.fragments.sources.get("v4l2").map(|fragment| self.formats(fragment));
        let mut usable = Vec::new();
        for device in &self.inventory.video_devices {
            let known = |fourcc: &str| formats.iter().flatten().any(|format| format.fourcc == fourcc);
            let against = match device.access {
                DeviceAccess::Denied => Some("this user may not open it (group `video`)"),
                _ if !device.modes.iter().any(|mode| known(&mode.fourcc)) => {
                    Some("no format that can be taken")
                }
                _ => None,
            };
            match against {
                Some(reason) => choices.push(choice("source", &title(device), false, reason)),
                None => usable.push(device),
            }
        }
        let free = usable.iter().find(|device| device.access == DeviceAccess::Free).copied();
        let taken = free.or(usable.first().copied())?;
        for device in usable.into_iter().filter(|device| device.node != taken.node) {
            let reason = match device.access {
                DeviceAccess::Busy => "another program uses it",
                _ => "comes after the one taken",
            };
            choices.push(choice("source", &title(device), false, reason));
        }
        Some(taken)
    }

    fn device(&self, device: &VideoDevice, choices: &mut Vec<Choice>) -> Result<GraphPlan, Vec<PlanError>> {
        let fragment = self.source("v4l2")?;
        let wish = Wish { size: self.profile_size(), framerate: self.profile.video.framerate };
        let name = device.node.display().to_string();
        let chosen = mode::choose(device, &self.formats(fragment), self.config.capture.mode, wish).map_err(
            |error| {
                let offered = mode::offered(device);
                vec![match (error, self.config.capture.mode) {
                    (NoMode::Fixed, CaptureMode::Fixed(size, rate)) => {
                        let mode = rate.map_or_else(|| size.to_string(), |rate| format!("{size}@{rate}"));
                        PlanError::NoMode { name: name.clone(), mode, offered }
                    }
                    _ => PlanError::NoFormat { name: name.clone(), offered },
                }]
            },
        )?;
        let mode = format!("{} {}@{}", chosen.fourcc, chosen.size, chosen.framerate);
        choices.push(choice("capture mode", &mode, true, &chosen.reason));
        let title = format!("{}, {mode}", title(device));
        let upstream = Upstream::VideoDevice {
            node: device.node.clone(),
            card: device.card.clone(),
            format: chosen.fourcc.clone(),
        };
        self.picture(fragment, title, upstream, &name, Some(&chosen))
    }

    fn test(&self) -> Result<GraphPlan, Vec<PlanError>> {
        let fragment = self.source("test")?;
        let (size, rate) = match self.config.capture.mode {
            CaptureMode::Fixed(size, rate) => (Some(size), rate),
            CaptureMode::Auto => (None, None),
        };
        let chosen = ChosenMode {
            fourcc: "YU12".to_owned(),
            caps: "video/x-raw,format=I420".to_owned(),
            size: size.or(self.profile_size()).unwrap_or(TEST_SIZE),
            framerate: rate.unwrap_or(self.profile.video.framerate),
            interlaced: false,
            reason: String::new(),
        };
        let title = format!("test picture, {}@{}", chosen.size, chosen.framerate);
        self.picture(fragment, title, Upstream::Made, "", Some(&chosen))
    }

    fn file(&self, path: &Path) -> Result<GraphPlan, Vec<PlanError>> {
        let fragment = self.source("file")?;
        let upstream = Upstream::File { path: path.to_owned() };
        let title = format!("{}, looping", path.display());
        self.picture(fragment, title, upstream, &path.to_string_lossy(), None)
    }

    fn network(&self, url: &str) -> Result<GraphPlan, Vec<PlanError>> {
        let upstream = Upstream::Network { url: url.to_owned() };
        let graph = self.picture(self.source("network")?, place(url), upstream, url, None)?;
        Ok(self.limited(graph, url))
    }

    /// Lets the graph's `appsrc` hold what its class allows: a stream that is sent as it is made never waits long, one that
    /// comes in segments does.
    fn limited(&self, mut graph: GraphPlan, url: &str) -> GraphPlan {
        let QueueClass { buffers, time, bytes } =
            if url.starts_with("srt:") { self.queues.rtp } else { self.queues.disk };
        let limits = [
            ("max-buffers", u128::from(buffers)),
            ("max-time", time.as_nanos()),
            ("max-bytes", u128::from(bytes)),
        ];
        for node in graph.nodes.iter_mut().filter(|node| node.role == Role::Source) {
            let limits = limits.map(|(name, limit)| {
                (name.to_owned(), Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)))
            });
            node.properties.extend(limits);
        }
        graph
    }

    fn picture(
        &self,
        fragment: &Fragment,
        title: String,
        upstream: Upstream,
        device: &str,
        mode: Option<&ChosenMode>,
    ) -> Result<GraphPlan, Vec<PlanError>> {
        let caps = mode.map(|mode| {
            let interlaced = if mode.interlaced { ",interlace-mode=interleaved" } else { "" };
            let (size, rate) = (mode.size, fraction(mode.framerate));
            format!("{},width={},height={},framerate={rate}{interlaced}", mode.caps, size.width, size.height)
        });
        let setting = Setting {
            size: mode.map(|mode| mode.size),
            framerate: mode.map_or(self.profile.video.framerate, |mode| mode.framerate),
            device,
            mode: caps.as_deref().unwrap_or_default(),
            interlaced: mode.is_some_and(|mode| mode.interlaced),
            compressed: mode.is_some_and(ChosenMode::compressed),
            ..self.setting()
        };
        let downstream = Downstream::RawVideo {
            format: mode.and_then(|mode| mode.raw_format()).map(str::to_owned),
            size: mode.map(|mode| mode.size),
            framerate: mode.map(|mode| mode.framerate),
        };
        let ahead = Delay::from_micros((-self.config.capture.audio_delay.as_micros()).max(0));
        self.graph(GraphKind::VideoCapture, fragment, title, upstream, &setting, downstream, ahead)
    }

    fn tone(&self) -> Result<GraphPlan, Vec<PlanError>> {
        self.sound(self.source("tone")?, "tone".to_owned(), Upstream::Made, "")
    }

    fn alsa(&self, name: &str, choices: &mut Vec<Choice>) -> Result<GraphPlan, Vec<PlanError>> {
        let cards = &self.inventory.sound_cards;
        let wanted = name.split_once("CARD=").map(|(_, card)| card.split(',').next().unwrap_or(card));
        let known = |wanted: &str| cards.iter().find(|card| card.id == wanted);
        let (title, reason) = match wanted.map(known) {
            None => (name.to_owned(), "the configuration names it"),
            Some(Some(card)) => (format!("{name} ({})", card.name), "the configuration names it"),
            // Whether the name is wrong or the card is to come, nobody knows; silence until then.
            Some(None) => (name.to_owned(), "the configuration names it; it is not there yet"),
        };
        choices.push(choice("sound", name, true, reason));
        self.sound_card(name, &title)
    }

    fn sound_card(&self, hw: &str, title: &str) -> Result<GraphPlan, Vec<PlanError>> {
        let upstream = Upstream::SoundCard { hw: hw.to_owned() };
        self.sound(self.source("alsa")?, title.to_owned(), upstream, hw)
    }

    fn file_sound(&self, path: &Path) -> Result<GraphPlan, Vec<PlanError>> {
        let upstream = Upstream::File { path: path.to_owned() };
        let title = format!("{}, looping", path.display());
        self.sound(self.source("file-sound")?, title, upstream, &path.to_string_lossy())
    }

    fn network_sound(&self, url: &str) -> Result<GraphPlan, Vec<PlanError>> {
        let upstream = Upstream::Network { url: url.to_owned() };
        let graph =
            self.sound(self.source("network-sound")?, format!("the sound of {}", place(url)), upstream, url)?;
        Ok(self.limited(graph, url))
    }

    fn sound(
        &self,
        fragment: &Fragment,
        title: String,
        upstream: Upstream,
        device: &str,
    ) -> Result<GraphPlan, Vec<PlanError>> {
        let setting = Setting { device, ..self.setting() };
        let late = Delay::from_micros(self.config.capture.audio_delay.as_micros().max(0));
        self.graph(GraphKind::AudioCapture, fragment, title, upstream, &setting, Downstream::RawAudio, late)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one graph, all of different types")]
    fn graph(
        &self,
        kind: GraphKind,
        fragment: &Fragment,
        title: String,
        upstream: Upstream,
        setting: &Setting<'_>,
        downstream: Downstream,
        shift: Delay,
    ) -> Result<GraphPlan, Vec<PlanError>> {
        super::resolve::fits(fragment, setting).map_err(|error| vec![error])?;
        let mut draft = Draft::default();
        for part in &fragment.elements {
            draft.push_part(part, setting);
        }
        draft.push_sink(Role::ToHub);
        let (nodes, links) = draft.finish(Role::Source, &[fragment], self.inventory)?;
        Ok(GraphPlan {
            kind,
            fragment: fragment.name.clone(),
            title,
            upstream,
            nodes,
            links,
            exclusive: fragment.exclusive,
            handover: None,
            shift,
            control: Control::default(),
            downstream,
        })
    }

    fn source(&self, name: &str) -> Result<&Fragment, Vec<PlanError>> {
        let fragment = self.fragments.sources.get(name);
        fragment.ok_or_else(|| vec![PlanError::NoFragment(format!("source/{name}"))])
    }

    fn profile_size(&self) -> Option<FrameSize> {
        match self.profile.video.size {
            SizeChoice::Source => None,
            SizeChoice::Fixed(size) => Some(size),
        }
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            inventory: self.inventory,
            bitrate: self.profile.video.bitrate,
            keyframe_interval: 1,
            size: None,
            framerate: THIRTY,
            speed: Speed::Realtime,
            device: "",
            mode: "",
            interlaced: false,
            compressed: false,
        }
    }
}

/// A URL without what only machines need.
fn place(url: &str) -> String {
    url.split('?').next().unwrap_or(url).to_owned()
}

/// What a plan calls a stream by SRT, and GStreamer too; without what a server chooses a stream by, which may be as good as a key.
pub fn srt_url(peer: &SrtPeer) -> String {
    format!("{peer}?mode={}&latency={}", peer.mode.as_str(), peer.latency.as_millis())
}

/// What a plan calls a stream that is relayed over HTTP: its address without the query, which may hold a token.
pub fn relay_url(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or(url).to_owned()
}

/// The sound card that sits in the same box as a capture device.
fn mate<'a>(device: &VideoDevice, cards: &'a [SoundCard]) -> Option<&'a SoundCard> {
    cards.iter().find(|card| !card.bus.is_empty() && card.bus == device.bus)
}

/// `/dev/video0 (USB3 HDMI)`
fn title(device: &VideoDevice) -> String {
    format!("{} ({})", device.node.display(), device.card)
}

pub(super) fn choice(subject: &str, candidate: &str, taken: bool, reason: &str) -> Choice {
    Choice { subject: subject.to_owned(), candidate: candidate.to_owned(), taken, reason: reason.to_owned() }
}
