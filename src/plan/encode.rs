//! The encode graphs: which encoder, and everything around it.

use super::capture::choice;
use super::fragment::{BitratePart, Fragment, Quantity, Term};
use super::graph::Draft;
use super::term::{Setting, THIRTY, fraction};
use super::{
    BitrateControl, Choice, Control, Downstream, Fragments, GraphKind, GraphPlan, Inventory, KeyframeControl,
    Link, Node, PlanError, Queues, Role, Upstream, Value, Verdict, check,
};
use crate::config::parse::nearest;
use crate::config::{EncoderChoice, Profile, SizeChoice};
use crate::media::{Bitrate, Codec, Delay, FrameSize, Framerate, MediaKind};

/// The encode side in the making.
#[derive(Debug)]
pub(super) struct Encode<'a> {
    pub(super) profile: &'a Profile,
    pub(super) fragments: &'a Fragments,
    pub(super) queues: &'a Queues,
    pub(super) inventory: &'a Inventory,
}

/// What the raw hub delivers, as far as the plan knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    pub(super) format: Option<String>,
    pub(super) size: Option<FrameSize>,
    pub(super) framerate: Option<Framerate>,
    /// Any of it may change while it runs: a card follows its signal, and a slate stands in for it.
    pub(super) changes: bool,
}

/// Under this, choices say what became of a profile's renditions.
pub(crate) const SMALLER: &str = "smaller picture";

/// What a plan calls the picture that is passed on as it arrives.
const PASSTHROUGH: &str = "passthrough";

/// One version of the picture.
#[derive(Clone, Copy, Debug)]
struct Version {
    size: Option<FrameSize>,
    bitrate: Bitrate,
    framerate: Framerate,
}

/// Why a profile has everything encoded, whatever arrives; none where something can be passed on as it is.
pub fn passes_nothing(profile: &Profile) -> Option<String> {
    let video = &profile.video;
    match video.codec {
        Codec::H264 if video.renditions.is_empty() => None,
        Codec::H264 => Some(format!("profile `{}` asks for smaller pictures as well", profile.name)),
        codec => Some(format!("profile `{}` asks for {}", profile.name, codec.title())),
    }
}

impl Encode<'_> {
    /// The profile's own version first, then its renditions, by the same encoder where it makes several at a time. One that
    /// cannot be made here is left out, and the picture itself is not.
    pub(super) fn video(
        &self,
        raw: &Raw,
        choices: &mut Vec<Choice>,
    ) -> Result<Vec<GraphPlan>, Vec<PlanError>> {
        let video = &self.profile.video;
        let framerate = match raw.framerate {
            Some(rate) if rate < video.framerate => {
                let reason = format!("the source has no more; the profile asks for {}", video.framerate);
                choices.push(choice("frame rate", &rate.to_string(), true, &reason));
                rate
            }
            _ => video.framerate,
        };
        let size = match video.size {
            SizeChoice::Source => raw.size,
            SizeChoice::Fixed(size) => Some(size),
        };
        let main = Version { size, bitrate: video.bitrate, framerate };
        let (fragment, first) = self.choose(raw, main, choices)?;
        let mut versions = vec![first];
        for rendition in &video.renditions {
            let version = Version { size: Some(rendition.size), bitrate: rendition.bitrate, framerate };
            let title = format!("{} at {}", rendition.size, rendition.bitrate);
            match self.smaller(fragment, raw, version) {
                Ok(graph) => {
                    let reason = format!("by `{}`", graph.fragment);
                    choices.push(choice(SMALLER, &title, true, &reason));
                    versions.push(graph);
                }
                Err(reason) => choices.push(choice(SMALLER, &title, false, &reason)),
            }
        }
        Ok(versions)
    }

    /// What arrives, as it is; none when it is to be encoded, for a reason that is told.
    pub(super) fn passthrough(
        &self,
        url: &str,
        choices: &mut Vec<Choice>,
    ) -> Option<Result<GraphPlan, Vec<PlanError>>> {
        let arrives = || match self.inventory.streams.get(url) {
            None => Some("nothing is known yet of what arrives".to_owned()),
            Some(Err(reason)) => Some(reason.clone()),
            Some(Ok(())) => None,
        };
        if let Some(reason) = passes_nothing(self.profile).or_else(arrives) {
            choices.push(choice(PASSTHROUGH, url, false, &reason));
            return None;
        }
        choices.push(choice(PASSTHROUGH, url, true, "it is H.264 that browsers play, without B-frames"));
        Some(self.passed(url))
    }

    fn passed(&self, url: &str) -> Result<GraphPlan, Vec<PlanError>> {
        let video = &self.profile.video;
        let mut draft = Draft::default();
        draft.push_from_network(&self.queues.rtp);
        draft.push("identity", Role::Encoder, Vec::new());
        let downstream = Downstream::Video {
            codec: Codec::H264,
            size: None,
            framerate: video.framerate,
            bitrate: video.bitrate,
        };
        let (nodes, links) = self.outlets(
            draft,
            Codec::H264,
            &[],
            &self.setting(Version { size: None, bitrate: video.bitrate, framerate: video.framerate }),
        )?;
        Ok(GraphPlan {
            kind: GraphKind::VideoEncode,
            fragment: PASSTHROUGH.to_owned(),
            title: "H.264 as it arrives".to_owned(),
            upstream: Upstream::Network { url: url.to_owned() },
            nodes,
            links,
            exclusive: false,
            handover: Some(self.queues.rtp),
            shift: Delay::default(),
            control: Control::default(),
            downstream,
        })
    }

    /// A further version of the picture; the error is words.
    fn smaller(&self, main: &Fragment, raw: &Raw, version: Version) -> Result<GraphPlan, String> {
        let words = |errors: Vec<PlanError>| errors.iter().map(reason).collect::<Vec<_>>().join("; ");
        if !main.exclusive {
            let graph = self.picture(main, raw, version).map_err(words)?;
            return self.expert(main, graph).map_err(words);
        }
        let several = self.candidates().map_err(words)?.into_iter().filter(|fragment| !fragment.exclusive);
        let runs =
            |fragment: &Fragment| self.tried(fragment, self.picture(fragment, raw, version).ok()?).ok();
        several.filter_map(runs).next().ok_or_else(|| {
            let name = &main.name;
            format!(
                "`{name}` encodes one picture at a time, and no other encoder that may be taken runs here"
            )
        })
    }

    /// Opus.
    pub(super) fn audio(&self, choices: &mut Vec<Choice>) -> Result<GraphPlan, Vec<PlanError>> {
        let codec = self.profile.audio.codec;
        let bitrate = self.profile.audio.bitrate;
        let fragment = self
            .ranked(codec)
            .next()
            .ok_or_else(|| vec![PlanError::NoFragment("encoder/opus".to_owned())])?;
        let setting = Setting { bitrate, ..self.setting(Version { size: None, bitrate, framerate: THIRTY }) };
        let mut draft = Draft::default();
        draft.push_from_hub(&self.queues.audio);
        let downstream = Downstream::Audio { codec, bitrate };
        let graph = self.graph(GraphKind::AudioEncode, draft, fragment, &setting, downstream)?;
        choices.push(choice("sound encoder", &fragment.name, true, &fragment.summary));
        Ok(graph)
    }

    /// The first candidate that runs here, with its graph; every refused one leaves its reason.
    fn choose(
        &self,
        raw: &Raw,
        version: Version,
        choices: &mut Vec<Choice>,
    ) -> Result<(&Fragment, GraphPlan), Vec<PlanError>> {
        let candidates = self.candidates()?;
        let mut tried = Vec::new();
        let mut packages = Vec::new();
        for (index, fragment) in candidates.iter().enumerate() {
            match self.picture(fragment, raw, version).and_then(|graph| self.tried(fragment, graph)) {
                Ok(graph) => {
                    choices.push(choice("encoder", &fragment.name, true, &self.recommendation(fragment)));
                    for later in &candidates[index + 1..] {
                        let reason = format!("`{}` comes before it", fragment.name);
                        choices.push(choice("encoder", &later.name, false, &reason));
                    }
                    return Ok((fragment, self.expert(fragment, graph)?));
                }
                Err(errors) => {
                    let words: Vec<String> = errors.iter().map(reason).collect();
                    packages.extend(errors.iter().find_map(|error| match error {
                        PlanError::NoElement { package, hardware: None, installed: false, .. }
                        | PlanError::Unusable { package, .. } => package.clone(),
                        _ => None,
                    }));
                    choices.push(choice("encoder", &fragment.name, false, &words.join("; ")));
                    tried.push((fragment.name.clone(), words.join("; ")));
                }
            }
        }
        Err(vec![PlanError::NoEncoder { codec: self.profile.video.codec, tried, packages }])
    }

    /// An encoder that was tried and does not run is refused.
    fn tried(&self, fragment: &Fragment, graph: GraphPlan) -> Result<GraphPlan, Vec<PlanError>> {
        match self.inventory.verdicts.get(&fragment.name) {
            Some(Verdict::Fails(reason)) => {
                Err(vec![PlanError::DoesNotRun { encoder: fragment.name.clone(), reason: reason.clone() }])
            }
            Some(Verdict::Runs { .. }) | None => Ok(graph),
        }
    }

    fn recommendation(&self, fragment: &Fragment) -> String {
        match self.inventory.verdicts.get(&fragment.name) {
            Some(Verdict::Runs { frames, .. }) => {
                format!("{}; tried here with {frames} frames", fragment.summary)
            }
            Some(Verdict::Fails(_)) | None => fragment.summary.clone(),
        }
    }

    /// The graph in which an encoder is tried.
    pub(super) fn trial(&self, fragment: &Fragment) -> Result<GraphPlan, Vec<PlanError>> {
        let video = &self.profile.video;
        let SizeChoice::Fixed(size) = video.size else { return Err(Vec::new()) };
        let (size, framerate) = (Some(size), video.framerate);
        let raw = Raw { format: Some("I420".to_owned()), size, framerate: Some(framerate), changes: false };
        self.picture(fragment, &raw, Version { size, bitrate: video.bitrate, framerate })
    }

    pub(super) fn candidates(&self) -> Result<Vec<&Fragment>, Vec<PlanError>> {
        let codec = self.profile.video.codec;
        let names = match &self.profile.video.encoder {
            EncoderChoice::Auto => return Ok(self.ranked(codec).collect()),
            EncoderChoice::Listed(names) => names,
        };
        let mut errors = Vec::new();
        let mut fragments = Vec::new();
        for name in names {
            match self.fragments.encoders.get(name) {
                Some(fragment) if fragment.codec == Some(codec) => fragments.push(fragment),
                Some(fragment) => errors.push(PlanError::OtherCodec {
                    name: name.clone(),
                    makes: fragment.codec.unwrap_or(codec),
                    wanted: codec,
                }),
                None => {
                    let known: Vec<&str> =
                        self.ranked(codec).map(|fragment| fragment.name.as_str()).collect();
                    errors.push(PlanError::UnknownEncoder {
                        name: name.clone(),
                        nearest: nearest(name, self.fragments.encoders.keys().map(String::as_str))
                            .map(str::to_owned),
                        known: known.into_iter().map(str::to_owned).collect(),
                    });
                }
            }
        }
        if errors.is_empty() { Ok(fragments) } else { Err(errors) }
    }

    /// Encoders of a codec that `auto` may take, best first.
    fn ranked(&self, codec: Codec) -> impl Iterator<Item = &Fragment> {
        let mut fragments: Vec<&Fragment> = self
            .fragments
            .encoders
            .values()
            .filter(|fragment| fragment.codec == Some(codec) && fragment.rank > 0)
            .collect();
        fragments.sort_by_key(|fragment| (-fragment.rank, fragment.name.as_str()));
        fragments.into_iter()
    }

    fn picture(&self, fragment: &Fragment, raw: &Raw, version: Version) -> Result<GraphPlan, Vec<PlanError>> {
        let Version { size, bitrate, framerate } = version;
        let mut draft = Draft::default();
        draft.push_from_hub(self.queues.video(raw.size));
        match raw.framerate {
            Some(rate) if rate == framerate && !raw.changes => {}
            // What a card delivers may have another rate tomorrow, and the encoder is to go on.
            Some(_) => {
                let caps = format!("video/x-raw,framerate={}", fraction(framerate));
                draft.push("capssetter", Role::Thinner, vec![("caps", Value::Text(caps))]);
            }
            // A file has the rate it has. An encoder that starts later would else let pass every frame until it has made
            // up for all since zero.
            None => {
                let properties = ["drop-only", "skip-to-first"].map(|name| (name, Value::Bool(true)));
                draft.push("videorate", Role::Plain, properties.to_vec());
            }
        }
        let large = raw.size.is_none_or(|size| size.height > 720);
        let threads = if large { self.inventory.cores.clamp(2, 8) / 2 } else { 1 };
        self.fit(&mut draft, raw, size, threads);
        draft.push_caps(raw_caps(fragment, raw, size, framerate));
        let downstream = Downstream::Video { codec: self.profile.video.codec, size, framerate, bitrate };
        self.graph(GraphKind::VideoEncode, draft, fragment, &self.setting(version), downstream)
    }

    /// Size and format, cheapest first: a picture is scaled in its own format and then converted, which halves what both
    /// in one cost. More than eight bits are left behind before scaling. Measured from 1440p to 720p: 1 ms instead of 6
    /// from NV12 to I420, 2 instead of 5 from YUY2.
    fn fit(&self, draft: &mut Draft, raw: &Raw, size: Option<FrameSize>, threads: u32) {
        // Two taps are as good as an average down to half the height, and cost the least; below they leave lines out.
        let far = raw.size.zip(size).is_some_and(|(from, to)| from.height > 2 * to.height);
        let method = if far { "bilinear2" } else { "bilinear" };
        let threads = ("n-threads", Value::Integer(threads.into()));
        let scale = |draft: &mut Draft| {
            let properties = vec![("method", Value::Text(method.to_owned())), threads.clone()];
            draft.push("videoscale", Role::Plain, properties);
        };
        let deep = raw.format.as_ref().is_some_and(|format| format.contains("10"));
        if !deep {
            scale(draft);
        }
        draft.push("videoconvert", Role::Plain, vec![threads.clone()]);
        if deep {
            scale(draft);
        }
    }

    /// Behind the raw caps: encoder, parser, then access units on one branch, RTP on the other, all in one thread.
    fn graph(
        &self,
        kind: GraphKind,
        mut draft: Draft,
        fragment: &Fragment,
        setting: &Setting<'_>,
        downstream: Downstream,
    ) -> Result<GraphPlan, Vec<PlanError>> {
        super::resolve::fits(fragment, setting).map_err(|error| vec![error])?;
        let codec = fragment.codec.unwrap_or(self.profile.video.codec);
        for part in &fragment.elements {
            draft.push_part(part, setting);
        }
        let (nodes, links) = self.outlets(draft, codec, &[fragment], setting)?;
        let handover = match codec.kind() {
            MediaKind::Video => self.queues.rtp,
            MediaKind::Audio => self.queues.audio,
        };
        Ok(GraphPlan {
            kind,
            fragment: fragment.name.clone(),
            title: fragment.summary.clone(),
            upstream: Upstream::RawHub,
            control: control(fragment, setting, &nodes),
            nodes,
            links,
            exclusive: fragment.exclusive,
            handover: Some(handover),
            shift: Delay::default(),
            downstream,
        })
    }

    /// Behind the encoder: parser, then access units on one branch, RTP on the other, all in one thread.
    fn outlets(
        &self,
        mut draft: Draft,
        codec: Codec,
        fragments: &[&Fragment],
        setting: &Setting<'_>,
    ) -> Result<(Vec<Node>, Vec<Link>), Vec<PlanError>> {
        let name = format!("rtp-{codec}");
        let output = self.fragments.outputs.get(&name);
        let output = output.ok_or_else(|| vec![PlanError::NoFragment(format!("output/{name}"))])?;
        let payloader = output.elements.iter().position(|part| part.role == Role::Payloader);
        let (trunk, branch) = output.elements.split_at(payloader.unwrap_or(output.elements.len()));
        trunk.iter().for_each(|part| draft.push_part(part, setting));
        draft.push("tee", Role::Plain, Vec::new());
        let fork = draft.end();
        draft.push_sink(Role::AccessUnits);
        draft.go_on_from(fork);
        branch.iter().for_each(|part| draft.push_part(part, setting));
        draft.push_sink(Role::Rtp);
        let fragments = [fragments, &[output]].concat();
        draft.finish(Role::Encoder, &fragments, self.inventory)
    }

    /// Lays `[video.properties]` over what the fragment says of the encoder.
    fn expert(&self, fragment: &Fragment, mut graph: GraphPlan) -> Result<GraphPlan, Vec<PlanError>> {
        let Some(encoder) = graph.nodes.iter_mut().find(|node| node.role == Role::Encoder) else {
            return Ok(graph);
        };
        let wanted: Vec<(String, Value)> = self
            .profile
            .video
            .properties
            .iter()
            .map(|(name, literal)| (name.clone(), literal.clone().into()))
            .collect();
        let mut errors = check::properties("`[video.properties]`", &encoder.factory, &wanted, self.inventory);
        // What the fragment has set already may be said again.
        let changes = wanted.iter().filter(|(name, value)| encoder.property(name) != Some(value));
        errors.extend(changes.filter_map(|(name, _)| {
            Some(PlanError::Forbidden {
                encoder: fragment.name.clone(),
                property: name.clone(),
                reason: governed(fragment, name).or_else(|| fragment.forbidden.get(name).cloned())?,
            })
        }));
        if !errors.is_empty() {
            return Err(errors);
        }
        for (name, value) in wanted {
            match encoder.properties.iter_mut().find(|(property, _)| *property == name) {
                Some(property) => property.1 = value,
                None => encoder.properties.push((name, value)),
            }
        }
        Ok(graph)
    }

    fn setting(&self, version: Version) -> Setting<'_> {
        let video = &self.profile.video;
        Setting {
            inventory: self.inventory,
            bitrate: version.bitrate,
            keyframe_interval: version.framerate.frames_in(video.keyframe_interval),
            size: version.size,
            framerate: version.framerate,
            speed: video.speed,
            device: "",
            mode: "",
            interlaced: false,
            compressed: false,
        }
    }
}

/// Why a property is the profile's own business, if it is: one number in two places would be two truths, and what is said
/// and counted everywhere else is the profile's.
fn governed(fragment: &Fragment, property: &str) -> Option<String> {
    let live = fragment.bitrate.iter().any(|part| part.property == property);
    let part = fragment.elements.iter().find(|part| part.role == Role::Encoder)?;
    let term = part.properties.iter().find(|(name, _)| name == property).map(|(_, term)| term);
    let key = match term {
        _ if live => "bitrate",
        Some(Term::From { quantity: Quantity::Bitrate, times: 1.0, .. }) => "bitrate",
        Some(Term::From { quantity: Quantity::KeyframeInterval, .. }) => "keyframe_interval",
        _ => return None,
    };
    Some(format!("the profile's `{key}` says it"))
}

/// The raw picture that the encoder gets. The format stays the same whatever the hub delivers later (a slate, another
/// card), for a new one would start the encoder anew.
fn raw_caps(fragment: &Fragment, raw: &Raw, size: Option<FrameSize>, framerate: Framerate) -> String {
    let native = raw.format.as_ref().filter(|format| fragment.formats.contains(format));
    let format = native.or(fragment.formats.first()).map_or("I420", String::as_str);
    let size = size.map(|size| format!(",width={},height={}", size.width, size.height)).unwrap_or_default();
    let rate = match raw.framerate {
        Some(_) => fraction(framerate),
        // A file has the rate it has; only more than the profile's is thinned out.
        None => format!("[0/1,{}]", fraction(framerate)),
    };
    format!(
        "video/x-raw,format={format}{size},framerate={rate},pixel-aspect-ratio=1/1,interlace-mode=progressive"
    )
}

fn control(fragment: &Fragment, setting: &Setting<'_>, nodes: &[Node]) -> Control {
    let encoder = nodes.iter().find(|node| node.role == Role::Encoder).map(|node| node.id.clone());
    let most = |term: &Term| match setting.value(term) {
        Some(Value::Integer(bits)) => Bitrate::from_bits(bits.unsigned_abs()),
        _ => setting.bitrate,
    };
    let live = |part: &&BitratePart| part.when.iter().all(|condition| setting.holds(condition));
    let bitrate = fragment.bitrate.as_ref().filter(live).zip(encoder).map(|(part, node)| BitrateControl {
        node,
        property: part.property.clone(),
        text: part.text.clone(),
        divisor: part.divisor,
        range: (part.min, most(&part.max)),
        min_interval: part.min_interval,
    });
    let keyframe = match fragment.keyframe.as_ref().and_then(|term| setting.value(term)) {
        Some(Value::Text(word)) if word == "event" => Some(KeyframeControl::Event),
        Some(Value::Text(word)) if word == "restart" => Some(KeyframeControl::Restart),
        _ => None,
    };
    Control { bitrate, keyframe }
}

/// An error as a reason against a candidate, with the cure where there is one.
fn reason(error: &PlanError) -> String {
    match error {
        PlanError::NoElement { element, hardware: Some(hardware), .. } => {
            format!("there is no `{element}`, which needs {hardware}")
        }
        PlanError::NoElement { element, package: Some(package), .. } => {
            format!("element `{element}` is missing (Debian package `{package}`)")
        }
        PlanError::NoElement { element, .. } => format!("element `{element}` is missing"),
        PlanError::Unusable { reason, package: Some(package), .. } => {
            format!("{reason} (Debian package `{package}`)")
        }
        PlanError::Unusable { reason, .. } => reason.clone(),
        PlanError::Unfit { reason, .. } | PlanError::DoesNotRun { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
