//! A source that comes over the network, as JSON.

use serde::Serialize;

use super::{ms, rounded};
use crate::control::{ArrivalState, Passthrough, RelayState, SrtState, StageState};

/// What arrives over the network. Counts are since it was opened.
#[derive(Debug, Serialize)]
pub(super) struct ArrivalDto {
    picture: Option<String>,
    sound: Option<String>,
    streams: u64,
    bytes: u64,
    bitrate_bps: u64,
    broken: u64,
    garbage_bytes: u64,
    dropped: u64,
    moved: u64,
    turned_away: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    passthrough: Option<PassthroughDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    srt: Option<SrtDto>,
}

#[derive(Debug, Serialize)]
struct PassthroughDto {
    state: &'static str,
    reason: String,
}

/// An SRT connection, from its beginning.
#[derive(Debug, Serialize)]
struct SrtDto {
    rtt_ms: f64,
    latency_ms: f64,
    packets: u64,
    packets_lost: u64,
    loss: Option<f64>,
    nacks: u64,
    estimate_bps: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct RelayDto {
    protocol: Option<&'static str>,
    trouble: String,
    segments: u64,
    skipped: u64,
    discontinuities: u64,
    failures: u64,
    bytes: u64,
    queue_sizes: QueueSizesDto,
    performance_stats: PerformanceDto,
}

#[derive(Debug, Serialize)]
struct QueueSizesDto {
    segments: usize,
    max_segments: usize,
    bytes: usize,
    max_bytes: usize,
    ahead_ms: f64,
}

#[derive(Debug, Serialize)]
struct PerformanceDto {
    fps: f64,
    segments_per_second: f64,
    average_latency_ms: f64,
}

impl From<&ArrivalState> for ArrivalDto {
    fn from(arrival: &ArrivalState) -> Self {
        ArrivalDto {
            picture: arrival.picture.clone(),
            sound: arrival.sound.clone(),
            streams: arrival.streams,
            bytes: arrival.bytes,
            bitrate_bps: arrival.bitrate,
            broken: arrival.broken,
            garbage_bytes: arrival.garbage,
            dropped: arrival.dropped,
            moved: arrival.moved,
            turned_away: arrival.turned_away,
            passthrough: arrival.passthrough.as_ref().map(PassthroughDto::from),
            srt: arrival.srt.as_ref().map(SrtDto::from),
        }
    }
}

impl From<&Passthrough> for PassthroughDto {
    fn from(passthrough: &Passthrough) -> Self {
        PassthroughDto { state: passthrough.as_str(), reason: passthrough.reason().to_owned() }
    }
}

impl From<&SrtState> for SrtDto {
    fn from(srt: &SrtState) -> Self {
        SrtDto {
            rtt_ms: ms(srt.rtt),
            latency_ms: ms(srt.latency),
            packets: srt.packets,
            packets_lost: srt.packets_lost,
            loss: srt.loss.map(rounded),
            nacks: srt.nacks,
            estimate_bps: srt.estimate.bits(),
        }
    }
}

impl RelayDto {
    pub(super) fn new(relay: &RelayState, stage: &StageState) -> RelayDto {
        RelayDto {
            protocol: relay.protocol,
            trouble: relay.trouble.clone(),
            segments: relay.segments,
            skipped: relay.skipped,
            discontinuities: relay.discontinuities,
            failures: relay.failures,
            bytes: relay.bytes,
            queue_sizes: QueueSizesDto {
                segments: relay.queued_segments.0,
                max_segments: relay.queued_segments.1,
                bytes: relay.queued_bytes.0,
                max_bytes: relay.queued_bytes.1,
                ahead_ms: ms(relay.ahead),
            },
            performance_stats: PerformanceDto {
                fps: stage.fps,
                segments_per_second: relay.segments_per_second,
                average_latency_ms: ms(relay.latency),
            },
        }
    }
}
