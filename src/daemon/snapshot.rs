//! What runs, as one [`State`].

use std::time::{Duration, Instant};

use super::ladder::Rendition;
use super::network::Receiving;
use super::part::{Part, PartName};
use crate::config::{BoxConfig, OutputConfig, OutputKind};
use crate::control::{
    AudioState, CaptureState, EncodeState, OutputState, Passthrough, ProcessState, QueueState, StageState,
    State, StreamState, Summary,
};
use crate::engine::{QueueLevel, Showing, SoundReport, StageCounters};
use crate::lifecycle::Phase;
use crate::media::{Ages, Bitrate, Codec, FrameSize, Framerate, Latency, Levels, MediaKind, SourceHealth};
use crate::output::Output;
use crate::plan::{Downstream, Upstream};
use crate::sfu;

/// What a snapshot is made from.
pub(super) struct View<'a> {
    pub(super) uptime: Duration,
    pub(super) profile: &'a str,
    /// The least that the profile allows.
    pub(super) min_bitrate: Bitrate,
    pub(super) config: &'a BoxConfig,
    pub(super) capture: &'a Part,
    /// How its source is, and what is seen of it.
    pub(super) source: &'a SourceHealth,
    pub(super) showing: Showing,
    /// What arrives over the network, where that is the source.
    pub(super) receiving: Option<&'a Receiving>,
    /// Why the profile has that encoded, whatever it is.
    pub(super) passes_nothing: Option<String>,
    /// The picture goes on without it.
    pub(super) goes_on: bool,
    pub(super) audio_capture: Option<&'a Part>,
    pub(super) encode: &'a Part,
    pub(super) renditions: &'a [Rendition],
    pub(super) audio_encode: Option<&'a Part>,
    /// Why there is no sound, where there is none.
    pub(super) silence: &'a str,
    /// How the sound's line fares.
    pub(super) sound: SoundReport,
    pub(super) keyframes_forced: u64,
    /// How old pictures are where they leave the encoder.
    pub(super) ages: Option<Ages>,
    pub(super) process: ProcessState,
    pub(super) sfu: Option<&'a sfu::Stats>,
    pub(super) outputs: &'a [Output],
    /// The adaptive output that keeps the bitrate down.
    pub(super) limiter: Option<&'a str>,
    pub(super) now: Instant,
    /// Frames have been on air since the start.
    pub(super) was_on_air: bool,
    /// What is being changed, where that keeps the picture from being on air.
    pub(super) changing: Option<String>,
}

impl View<'_> {
    pub(super) fn state(&self) -> State {
        let outputs: Vec<OutputState> =
            self.config.outputs.iter().map(|output| self.output(output)).collect();
        let summary = self.summary(&outputs);
        let mut encode = vec![self.encode_state(self.encode)];
        encode[0].keyframes_forced = self.keyframes_forced;
        let control = self.encode.plan().control.bitrate.as_ref();
        encode[0].bitrate_range = control.map(|of| (of.range.0.max(self.min_bitrate), of.range.1));
        encode[0].limited_by = self.limiter.map(str::to_owned);
        encode.extend(self.renditions.iter().map(|rendition| EncodeState {
            keyframes_forced: rendition.outlet.stage().keyframes_forced,
            ..self.encode_state(&rendition.part)
        }));
        encode.extend(self.audio_encode.map(|part| self.encode_state(part)));
        State {
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.uptime,
            summary,
            words: self.words(summary, &encode[0], &outputs),
            profile: self.profile.to_owned(),
            process: self.process,
            capture: self.capture_state(),
            audio: Some(self.audio_state()),
            encode,
            outputs,
            latency: self.latency(),
            streams: self.streams(),
            queues: self.queues(),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let sound = [self.audio_capture, self.audio_encode].into_iter().flatten();
        [self.capture, self.encode].into_iter().chain(self.renditions()).chain(sound)
    }

    fn renditions(&self) -> impl Iterator<Item = &Part> {
        self.renditions.iter().map(|rendition| &rendition.part)
    }

    fn summary(&self, outputs: &[OutputState]) -> Summary {
        // What is passed on as it arrives needs no capture.
        let capture = if self.capture.rests() { self.encode.phase() } else { self.capture.phase() };
        let picture = [capture, self.encode.phase()];
        // The slate is on air like any other picture.
        if self.encode.phase().is_flowing() && self.stands_in() {
            return Summary::Degraded;
        }
        if picture.iter().all(|phase| phase.is_flowing()) {
            let well = self.parts().all(|part| !self.is_ill(part) && part.note().is_empty())
                && outputs.iter().all(|output| output.well);
            return if well { Summary::OnAir } else { Summary::Degraded };
        }
        if picture.iter().all(|phase| matches!(phase, Phase::Stopped | Phase::Stopping)) {
            return Summary::Stopped;
        }
        if self.changing.is_some() {
            return Summary::Starting;
        }
        let failed = |part: &Part| part.rebuilds() > 0 || part.phase() == Phase::Failed;
        if self.was_on_air || failed(self.capture) || failed(self.encode) {
            return Summary::Failed;
        }
        Summary::Starting
    }

    /// A smaller version of the picture that is just being made is no trouble.
    fn is_ill(&self, part: &Part) -> bool {
        let comes = part.phase() == Phase::Starting && part.rebuilds() == 0;
        part.phase() != Phase::Running
            && !part.rests()
            && !(comes && matches!(part.name(), PartName::Rendition(_)))
    }

    /// Something is seen in place of the source. A frame that is late is none of that.
    fn stands_in(&self) -> bool {
        self.goes_on && !self.source.is_live()
    }

    /// The whole in one sentence.
    fn words(&self, summary: Summary, encode: &EncodeState, outputs: &[OutputState]) -> String {
        let ill = |part: &Part| {
            let phase = part.phase().as_str().replace('_', " ");
            if let (PartName::Rendition(_), Downstream::Video { size: Some(size), .. }) =
                (part.name(), &part.plan().downstream)
            {
                return format!("the smaller picture of {size} {phase}: {}", part.reason());
            }
            match part.reason() {
                "" if self.is_silent(part) => "the sound is silent".to_owned(),
                reason if self.is_silent(part) => format!("the sound is silent: {reason}"),
                "" => format!("{} {phase}", part.name().as_str()),
                reason => format!("{} {phase}: {reason}", part.name().as_str()),
            }
        };
        let standing_in = self.stands_in();
        // What is wrong with the source says more than what became of its graph.
        let told = |part: &&Part| self.is_ill(part) && !(standing_in && std::ptr::eq(*part, self.capture));
        let mut trouble: Vec<String> = self.parts().filter(told).map(ill).collect();
        if standing_in {
            let reason = &self.source.reason;
            trouble.insert(0, format!("the slate stands in for {}: {reason}", self.capture.plan().title));
        }
        if let Some(Passthrough::Refused(reason)) = self.passthrough() {
            trouble.push(format!("not passed through: {reason}"));
        }
        trouble.extend(self.parts().map(Part::note).filter(|note| !note.is_empty()).map(str::to_owned));
        match summary {
            Summary::OnAir | Summary::Degraded => {
                let viewers = self.sfu.map_or(0, |sfu| sfu.viewers);
                let mut words = format!(
                    "on air: {viewers} viewer{}, {}",
                    if viewers == 1 { "" } else { "s" },
                    encode.codec.title()
                );
                if let Some(size) = encode.size {
                    words += &format!(" {size}");
                }
                // Not measured yet with the first frame.
                if encode.stage.fps > 0.0 {
                    let (fps, megabits) = (encode.stage.fps, encode.stage.bitrate as f64 / 1e6);
                    words += &format!(" at {fps:.0}, {megabits:.1} Mbit/s");
                }
                for one in trouble {
                    words += &format!("; {one}");
                }
                for output in outputs.iter().filter(|output| !output.well) {
                    words += &format!("; output {} {}", output.name, output.state.replace('_', " "));
                }
                words
            }
            Summary::Starting => self.changing.clone().unwrap_or_else(|| "starting".to_owned()),
            Summary::Stopped => "off air by command; `capcast start` goes on".to_owned(),
            Summary::Failed => format!("off air: {}", trouble.join("; ")),
        }
    }

    fn capture_state(&self) -> CaptureState {
        let part = self.capture;
        let found = part.graph().and_then(crate::engine::Graph::format);
        let (mut format, mut size, mut framerate) = match &part.plan().downstream {
            Downstream::RawVideo { format, size, framerate } => (format.clone(), *size, *framerate),
            _ => (None, None, None),
        };
        if let Some(found) = found {
            format = Some(found.format);
            size = found.size.or(size);
            framerate = found.framerate.or(framerate);
        }
        CaptureState {
            lifecycle: part.phase(),
            reason: part.reason().to_owned(),
            source: part.plan().title.clone(),
            health: self.source.clone(),
            showing: match self.showing {
                Showing::Source => "source",
                Showing::Held => "held",
                Showing::Slate => "slate",
            },
            format,
            size,
            framerate,
            restarts: part.rebuilds(),
            arrival: self.receiving.map(|receiving| receiving.arrival(self.passthrough())),
            relay: self.receiving.and_then(|receiving| receiving.relay_state(&part.stage())),
            stage: stage_state(&part.stage()),
        }
    }

    /// Whether what arrives is passed on as it is, where that is wished for.
    fn passthrough(&self) -> Option<Passthrough> {
        let receiving = self.receiving.filter(|_| self.config.capture.passthrough)?;
        if matches!(self.encode.plan().upstream, Upstream::Network { .. }) {
            return Some(Passthrough::Passed);
        }
        let unfit = || receiving.reception().forwardable()?.err();
        Some(self.passes_nothing.clone().or_else(unfit).map_or(Passthrough::Awaited, Passthrough::Refused))
    }

    /// A source of sound that is not heard; its track goes on without it.
    fn is_silent(&self, part: &Part) -> bool {
        part.name() == PartName::AudioCapture && self.sound.silent
    }

    fn audio_state(&self) -> AudioState {
        let sound = &self.sound;
        let state = AudioState {
            // For good, and as it should be: nothing is tried again, and nothing is wrong with the rest.
            lifecycle: Phase::Stopped,
            reason: self.silence.to_owned(),
            source: "none".to_owned(),
            levels: Levels::default(),
            silent: self.audio_encode.is_some() && sound.silent,
            drift_ppm: sound.drift_ppm,
            overruns: sound.jumps,
            silence: sound.silence,
            restarts: 0,
            stage: StageState::default(),
        };
        match self.audio_capture {
            None => state,
            Some(part) => AudioState {
                lifecycle: part.phase(),
                reason: part.reason().to_owned(),
                source: part.plan().title.clone(),
                levels: part.levels(),
                restarts: part.rebuilds(),
                stage: stage_state(&part.stage()),
                ..state
            },
        }
    }

    fn encode_state(&self, part: &Part) -> EncodeState {
        let (codec, size, framerate, planned): (Codec, Option<FrameSize>, Option<Framerate>, Bitrate) =
            match &part.plan().downstream {
                Downstream::Video { codec, size, framerate, bitrate } => {
                    (*codec, *size, Some(*framerate), *bitrate)
                }
                Downstream::Audio { codec, bitrate } => (*codec, None, None, *bitrate),
                Downstream::RawVideo { .. } | Downstream::RawAudio => {
                    (Codec::H264, None, None, Bitrate::from_bits(0))
                }
            };
        let counters = part.stage();
        let size = match codec.kind() {
            MediaKind::Video => {
                size.or(part.graph().and_then(crate::engine::Graph::format).and_then(|f| f.size))
            }
            MediaKind::Audio => None,
        };
        EncodeState {
            lifecycle: part.phase(),
            reason: [part.reason(), part.note()]
                .into_iter()
                .find(|words| !words.is_empty())
                .unwrap_or("")
                .to_owned(),
            encoder: part.plan().fragment.clone(),
            codec,
            size,
            framerate,
            target_bitrate: part.bitrate_in_force().unwrap_or(planned),
            bitrate_range: None,
            limited_by: None,
            keyframes: counters.keyframes,
            keyframes_forced: counters.keyframes_forced,
            restarts: part.rebuilds(),
            stage: stage_state(&counters),
        }
    }

    fn output(&self, output: &OutputConfig) -> OutputState {
        let kind = match output.kind {
            OutputKind::Whip => "whip",
            OutputKind::Srt => "srt",
            OutputKind::Record => "record",
            OutputKind::Trickle => "trickle",
        };
        match self.outputs.iter().find(|running| running.name() == output.name) {
            Some(running) => self.running(running, kind),
            // Listed so that nobody takes silence for success; the log says why.
            None => OutputState {
                name: output.name.clone(),
                kind,
                state: "failed".to_owned(),
                reason: "it could not be started".to_owned(),
                well: false,
                retry_in: None,
                watch: None,
                server: None,
                reconnects: 0,
                keyframe_requests: 0,
                rtt: None,
                packets_lost: None,
                loss: None,
                estimate: None,
                adaptive: output.adaptive,
                limits: false,
                nacks: 0,
                resent: 0,
                stage: StageState::default(),
            },
        }
    }

    fn running(&self, output: &Output, kind: &'static str) -> OutputState {
        let report = output.report();
        let stats = &report.stats;
        let live = report.is_live();
        OutputState {
            name: output.name().to_owned(),
            kind,
            state: report.state.to_owned(),
            reason: report.words.clone(),
            well: report.is_well(),
            retry_in: report.retry_at.map(|at| at.saturating_duration_since(self.now)),
            watch: report.watch.clone(),
            server: report.server.clone(),
            reconnects: report.reconnects,
            keyframe_requests: stats.keyframe_requests,
            rtt: stats.rtt.filter(|_| live),
            packets_lost: stats.packets_lost.filter(|_| live),
            loss: stats.loss.filter(|_| live),
            estimate: stats.estimate.filter(|_| live),
            adaptive: output.is_adaptive(),
            limits: self.limiter == Some(output.name()),
            nacks: stats.nacks,
            resent: stats.resent,
            stage: StageState {
                frames_in: stats.units + stats.dropped,
                frames_out: stats.units,
                dropped: vec![("ring", stats.dropped)],
                rate_skipped: 0,
                fps: if live { stats.fps } else { 0.0 },
                bitrate: if live { stats.bitrate } else { 0 },
                latency_p50: None,
                latency_p95: None,
            },
        }
    }

    /// Step by step; the whole is told by the last place, since percentiles do not add up.
    fn latency(&self) -> Vec<Latency> {
        let graphs = [self.capture, self.encode].into_iter().filter_map(Part::graph);
        let mut steps: Vec<Latency> = graphs.flat_map(crate::engine::Graph::steps).collect();
        let own = |lane: &&sfu::LaneStats| {
            lane.stream == self.config.sfu.stream && lane.kind == MediaKind::Video && lane.layer == 0
        };
        let lane = self.sfu.and_then(|sfu| sfu.lanes.iter().find(own));
        let sending = lane.and_then(|lane| lane.sending);
        steps.extend(sending.map(|(p50, p95)| Latency { step: "sfu", p50, p95 }));
        let put_off = self.capture.plan().shift.as_micros().max(0).unsigned_abs();
        let ages = lane.and_then(|lane| lane.ages).or(self.ages);
        steps.extend(ages.map(|ages| ages.latency("total", Duration::from_micros(put_off))));
        steps
    }

    fn streams(&self) -> Vec<StreamState> {
        let streams = self.sfu.map(|sfu| sfu.streams.as_slice()).unwrap_or_default().iter();
        streams
            .map(|stream| StreamState {
                name: stream.name.to_string(),
                live: stream.live,
                publisher: stream.publisher.filter(|_| stream.live).map(sfu::PublisherKind::as_str),
                layers: stream.layers.clone(),
                packets_lost: stream.packets_lost,
                nacks: stream.nacks,
                keyframes_asked: stream.keyframe_requests_forwarded,
                video: stream.video,
                audio: stream.audio,
                viewers: stream.viewers,
                viewers_over_tcp: stream.over_tcp,
                viewers_paused: stream.paused,
                packets_in: stream.packets_in,
                packets_out: stream.packets_out,
                packets_resent: stream.packets_resent,
                bytes_out: stream.bytes_out,
                keyframe_requests: stream.keyframe_requests,
                dropped: stream.dropped,
            })
            .collect()
    }

    fn queues(&self) -> Vec<QueueState> {
        let stage_of = |part: &Part| match part.name().as_str() {
            name if name.ends_with("capture") => "capture",
            _ => "encode",
        };
        let mut queues: Vec<QueueState> = self
            .parts()
            .flat_map(|part| {
                part.queues().into_iter().map(move |level| {
                    let name = queue_name(&level.name, part);
                    queue_state(QueueLevel { name, ..level }, stage_of(part))
                })
            })
            .collect();
        for output in self.outputs {
            let report = output.report();
            let waiting = report.stats.waiting;
            queues.push(QueueState {
                name: format!("output/{}", output.name()),
                stage: "output",
                level_buffers: waiting.units,
                level: waiting.time,
                max_buffers: waiting.most_units,
                max: waiting.most_time,
                dropped: report.stats.dropped,
                blocked: Duration::ZERO,
            });
        }
        for lane in self.sfu.map(|sfu| sfu.lanes.as_slice()).unwrap_or_default() {
            let kind = match lane.kind {
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
            };
            let layer = if lane.layer == 0 { String::new() } else { format!("-{}", lane.layer) };
            queues.push(QueueState {
                name: format!("sfu/{}/{kind}{layer}", lane.stream),
                stage: "sfu",
                level_buffers: lane.level,
                level: lane.level_time,
                max_buffers: lane.max,
                max: lane.max_time,
                dropped: lane.dropped,
                blocked: Duration::ZERO,
            });
        }
        queues
    }
}

fn stage_state(counters: &StageCounters) -> StageState {
    StageState {
        frames_in: counters.frames_in,
        frames_out: counters.frames_out,
        dropped: counters.dropped.clone(),
        rate_skipped: counters.rate_skipped,
        fps: counters.fps,
        bitrate: counters.bitrate,
        latency_p50: counters.latency_p50,
        latency_p95: counters.latency_p95,
    }
}

/// The engine's own name for a queue; those of a smaller version of the picture say which: `video-encode-1/from-hub`.
fn queue_name(name: &str, part: &Part) -> String {
    match (part.name(), name.split_once('/')) {
        (PartName::Rendition(layer), Some((graph, node))) => format!("{graph}-{layer}/{node}"),
        _ => name.to_owned(),
    }
}

fn queue_state(level: QueueLevel, stage: &'static str) -> QueueState {
    QueueState {
        name: level.name,
        stage,
        level_buffers: level.buffers,
        level: level.time,
        max_buffers: level.max_buffers,
        max: level.max_time,
        dropped: level.dropped,
        blocked: level.blocked,
    }
}
