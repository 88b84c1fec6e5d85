//! What goes over the wire as JSON. Units are in the names: `_s`, `_ms`, `_bps`.

mod arrival;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::{
    AudioState, CaptureState, EncodeState, OutputState, QueueState, StageState, State, StreamState,
};
use crate::media::{Latency, MediaKind};
use arrival::{ArrivalDto, RelayDto};

/// `POST /api/control/bitrate`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BitrateRequest {
    /// As in a profile: `"2 Mbit/s"`.
    pub bitrate: String,
}

/// `POST /api/control/switch`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchRequest {
    /// Its name.
    pub profile: String,
}

/// What a command did, in one sentence.
#[derive(Debug, Serialize)]
pub(super) struct DoneDto {
    pub done: String,
}

/// `GET /api/status`
#[derive(Debug, Serialize)]
pub(super) struct StatusDto {
    version: &'static str,
    uptime_s: f64,
    state: &'static str,
    words: String,
    profile: String,
    process: ProcessDto,
    capture: CaptureDto,
    encode: Option<EncodeDto>,
    audio: Option<AudioDto>,
    outputs: Vec<OutputDto>,
    latency: Vec<LatencyDto>,
    streams: Vec<StreamDto>,
    queues: Vec<QueueDto>,
}

#[derive(Debug, Serialize)]
struct ProcessDto {
    /// 100 is one core.
    cpu_percent: f64,
    memory_bytes: u64,
}

/// What every stage counts, flattened into it.
#[derive(Debug, Serialize)]
struct StageDto {
    frames_in: u64,
    frames_out: u64,
    dropped: u64,
    dropped_at: serde_json::Map<String, serde_json::Value>,
    rate_skipped: u64,
    fps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate_bps: Option<u64>,
    latency_p50_ms: Option<f64>,
    latency_p95_ms: Option<f64>,
}

/// How long one step of the picture's way takes.
#[derive(Debug, Serialize)]
struct LatencyDto {
    step: &'static str,
    p50_ms: f64,
    p95_ms: f64,
}

#[derive(Debug, Serialize)]
struct CaptureDto {
    state: &'static str,
    reason: String,
    source: SourceDto,
    showing: &'static str,
    format: Option<String>,
    size: Option<String>,
    framerate: Option<String>,
    restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<ArrivalDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayDto>,
    #[serde(flatten)]
    stage: StageDto,
}

#[derive(Debug, Serialize)]
struct SourceDto {
    name: String,
    state: &'static str,
    reason: String,
}

#[derive(Debug, Serialize)]
struct EncodeDto {
    state: &'static str,
    reason: String,
    encoder: String,
    codec: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framerate: Option<String>,
    target_bitrate_bps: u64,
    /// The least and the most that it can be set to while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate_range_bps: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by: Option<String>,
    keyframes: u64,
    keyframes_forced: u64,
    restarts: u64,
    #[serde(flatten)]
    stage: StageDto,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    renditions: Vec<EncodeDto>,
}

#[derive(Debug, Serialize)]
struct AudioDto {
    state: &'static str,
    reason: String,
    source: String,
    /// What goes out is silence.
    silent: bool,
    drift_ppm: Option<f64>,
    overruns: u64,
    silence_s: f64,
    peak_dbfs: Vec<f64>,
    restarts: u64,
    #[serde(flatten)]
    stage: StageDto,
    encode: Option<EncodeDto>,
}

/// One output. `watch` is left out where anyone may read: the address may hold the publish key.
#[derive(Debug, Serialize)]
pub(super) struct OutputDto {
    name: String,
    kind: &'static str,
    state: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<String>,
    server: Option<String>,
    retry_in_s: Option<f64>,
    reconnects: u64,
    keyframe_requests: u64,
    rtt_ms: Option<f64>,
    packets_lost: Option<u64>,
    loss: Option<f64>,
    estimate_bps: Option<u64>,
    adaptive: bool,
    limits: bool,
    nacks: u64,
    resent: u64,
    #[serde(flatten)]
    stage: StageDto,
}

#[derive(Debug, Serialize)]
struct StreamDto {
    name: String,
    live: bool,
    publisher: Option<&'static str>,
    layers: Vec<String>,
    video: Option<&'static str>,
    audio: Option<&'static str>,
    viewers: u32,
    viewers_over_tcp: u32,
    viewers_paused: u32,
    packets_in: u64,
    packets_lost: u64,
    nacks: u64,
    packets_out: u64,
    packets_resent: u64,
    bytes_out: u64,
    keyframe_requests: u64,
    keyframes_asked: u64,
    dropped: u64,
}

#[derive(Debug, Serialize)]
struct QueueDto {
    name: String,
    stage: &'static str,
    level_buffers: u64,
    level_ms: f64,
    max_buffers: u64,
    max_ms: f64,
    dropped: u64,
    blocked_ms: f64,
}

impl From<&State> for StatusDto {
    fn from(state: &State) -> Self {
        let mut pictures =
            state.encode.iter().filter(|encode| encode.codec.kind() == MediaKind::Video).map(EncodeDto::from);
        let mut encode = pictures.next();
        if let Some(first) = encode.as_mut() {
            first.renditions = pictures.collect();
        }
        let sound = state.encode.iter().find(|encode| encode.codec.kind() == MediaKind::Audio);
        StatusDto {
            version: state.version,
            uptime_s: rounded(state.uptime.as_secs_f64()),
            state: state.summary.as_str(),
            words: state.words.clone(),
            profile: state.profile.clone(),
            process: ProcessDto {
                cpu_percent: rounded(state.process.cores * 100.0),
                memory_bytes: state.process.memory,
            },
            capture: CaptureDto::from(&state.capture),
            encode,
            audio: state.audio.as_ref().map(|audio| AudioDto::new(audio, sound)),
            outputs: state.outputs.iter().map(OutputDto::from).collect(),
            latency: state.latency.iter().map(LatencyDto::from).collect(),
            streams: state.streams.iter().map(StreamDto::from).collect(),
            queues: state.queues.iter().map(QueueDto::from).collect(),
        }
    }
}

impl StageDto {
    fn new(stage: &StageState, encoded: bool) -> Self {
        StageDto {
            frames_in: stage.frames_in,
            frames_out: stage.frames_out,
            dropped: stage.dropped_total(),
            dropped_at: stage
                .dropped
                .iter()
                .map(|(place, count)| ((*place).to_owned(), (*count).into()))
                .collect(),
            rate_skipped: stage.rate_skipped,
            fps: rounded(stage.fps),
            bitrate_bps: encoded.then_some(stage.bitrate),
            latency_p50_ms: stage.latency_p50.map(ms),
            latency_p95_ms: stage.latency_p95.map(ms),
        }
    }
}

impl From<&Latency> for LatencyDto {
    fn from(latency: &Latency) -> Self {
        LatencyDto { step: latency.step, p50_ms: ms(latency.p50), p95_ms: ms(latency.p95) }
    }
}

impl From<&CaptureState> for CaptureDto {
    fn from(capture: &CaptureState) -> Self {
        CaptureDto {
            state: capture.lifecycle.as_str(),
            reason: capture.reason.clone(),
            source: SourceDto {
                name: capture.source.clone(),
                state: capture.health.state.as_str(),
                reason: capture.health.reason.clone(),
            },
            showing: capture.showing,
            format: capture.format.clone(),
            size: capture.size.map(|size| size.to_string()),
            framerate: capture.framerate.map(|rate| rate.to_string()),
            restarts: capture.restarts,
            arrival: capture.arrival.as_ref().map(ArrivalDto::from),
            relay: capture.relay.as_ref().map(|relay| RelayDto::new(relay, &capture.stage)),
            stage: StageDto::new(&capture.stage, false),
        }
    }
}

impl From<&EncodeState> for EncodeDto {
    fn from(encode: &EncodeState) -> Self {
        EncodeDto {
            state: encode.lifecycle.as_str(),
            reason: encode.reason.clone(),
            encoder: encode.encoder.clone(),
            codec: encode.codec.as_str(),
            size: encode.size.map(|size| size.to_string()),
            framerate: encode.framerate.map(|rate| rate.to_string()),
            target_bitrate_bps: encode.target_bitrate.bits(),
            bitrate_range_bps: encode.bitrate_range.map(|(least, most)| [least.bits(), most.bits()]),
            limited_by: encode.limited_by.clone(),
            keyframes: encode.keyframes,
            keyframes_forced: encode.keyframes_forced,
            restarts: encode.restarts,
            stage: StageDto::new(&encode.stage, true),
            renditions: Vec::new(),
        }
    }
}

impl AudioDto {
    fn new(audio: &AudioState, encode: Option<&EncodeState>) -> Self {
        AudioDto {
            state: audio.lifecycle.as_str(),
            reason: audio.reason.clone(),
            source: audio.source.clone(),
            silent: audio.silent,
            drift_ppm: audio.drift_ppm.map(rounded),
            overruns: audio.overruns,
            silence_s: rounded(audio.silence.as_secs_f64()),
            peak_dbfs: audio.levels.dbfs().into_iter().map(rounded).collect(),
            restarts: audio.restarts,
            stage: StageDto::new(&audio.stage, false),
            encode: encode.map(EncodeDto::from),
        }
    }
}

impl From<&OutputState> for OutputDto {
    fn from(output: &OutputState) -> Self {
        OutputDto {
            name: output.name.clone(),
            kind: output.kind,
            state: output.state.clone(),
            reason: output.reason.clone(),
            watch: None,
            server: output.server.clone(),
            retry_in_s: output.retry_in.map(|span| rounded(span.as_secs_f64())),
            reconnects: output.reconnects,
            keyframe_requests: output.keyframe_requests,
            rtt_ms: output.rtt.map(ms),
            packets_lost: output.packets_lost,
            loss: output.loss.map(rounded),
            estimate_bps: output.estimate.map(crate::media::Bitrate::bits),
            adaptive: output.adaptive,
            limits: output.limits,
            nacks: output.nacks,
            resent: output.resent,
            stage: StageDto::new(&output.stage, true),
        }
    }
}

impl OutputDto {
    /// With the address where it is watched.
    pub(super) fn with_watch(output: &OutputState) -> Self {
        OutputDto { watch: output.watch.clone(), ..OutputDto::from(output) }
    }
}

impl From<&StreamState> for StreamDto {
    fn from(stream: &StreamState) -> Self {
        StreamDto {
            name: stream.name.clone(),
            live: stream.live,
            publisher: stream.publisher,
            layers: stream.layers.clone(),
            video: stream.video.map(|codec| codec.as_str()),
            audio: stream.audio.map(|codec| codec.as_str()),
            viewers: stream.viewers,
            viewers_over_tcp: stream.viewers_over_tcp,
            viewers_paused: stream.viewers_paused,
            packets_in: stream.packets_in,
            packets_lost: stream.packets_lost,
            nacks: stream.nacks,
            packets_out: stream.packets_out,
            packets_resent: stream.packets_resent,
            bytes_out: stream.bytes_out,
            keyframe_requests: stream.keyframe_requests,
            keyframes_asked: stream.keyframes_asked,
            dropped: stream.dropped,
        }
    }
}

impl From<&QueueState> for QueueDto {
    fn from(queue: &QueueState) -> Self {
        QueueDto {
            name: queue.name.clone(),
            stage: queue.stage,
            level_buffers: queue.level_buffers,
            level_ms: ms(queue.level),
            max_buffers: queue.max_buffers,
            max_ms: ms(queue.max),
            dropped: queue.dropped,
            blocked_ms: ms(queue.blocked),
        }
    }
}

fn ms(span: Duration) -> f64 {
    rounded(span.as_secs_f64() * 1000.0)
}

/// To three decimals: more is noise, and JSON has no NaN.
fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { 0.0 }
}
