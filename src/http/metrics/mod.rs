//! The daemon's state as Prometheus metrics. Base units: seconds, bytes, bits per second, ratios; no label has more values
//! than the configuration has names, so there are none per viewer.

mod arrival;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::control::{Lifecycle, StageState, State, Summary};
use crate::media::MediaKind;
use crate::sfu;

/// What [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders every metric.
pub(super) fn render(
    state: Arc<State>,
    sfu: Option<Arc<sfu::Stats>>,
    log_lines_unwritten: u64,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot { state, sfu, log_lines_unwritten }));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Snapshot {
    state: Arc<State>,
    sfu: Option<Arc<sfu::Stats>>,
    log_lines_unwritten: u64,
}

/// Labels and value of one line.
type Row<V> = (Vec<(&'static str, String)>, V);

struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn counters<V: EncodeCounterValue>(&mut self, name: &str, help: &str, rows: Vec<Row<V>>) -> fmt::Result {
        if rows.is_empty() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            match labels.as_slice() {
                [] => family.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                labels => {
                    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                }
            }
        }
        Ok(())
    }

    fn gauges(&mut self, name: &str, help: &str, rows: Vec<Row<f64>>) -> fmt::Result {
        if rows.is_empty() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            match labels.as_slice() {
                [] => family.encode_gauge(&value)?,
                labels => family.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.whole(&mut sheet)?;
        self.stages(&mut sheet)?;
        self.arrival(&mut sheet)?;
        self.levels(&mut sheet)?;
        self.queues(&mut sheet)?;
        self.outputs(&mut sheet)?;
        self.streams(&mut sheet)?;
        self.sfu(&mut sheet)
    }
}

impl Snapshot {
    fn whole(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let state = &self.state;
        let build = vec![("version", state.version.to_owned())];
        sheet.gauges("capcast_build_info", "Always 1; the label is the version", vec![(build, 1.0)])?;
        sheet.gauges(
            "capcast_uptime_seconds",
            "Since the daemon started",
            plain(state.uptime.as_secs_f64()),
        )?;
        sheet.counters(
            "capcast_log_lines_unwritten",
            "Lines of the log that nobody took from stderr in time; `capcast logs` has them",
            plain(self.log_lines_unwritten),
        )?;
        let all = [Summary::Starting, Summary::OnAir, Summary::Degraded, Summary::Stopped, Summary::Failed];
        let rows = all.map(|one| (vec![("state", one.as_str().to_owned())], flag(one == state.summary)));
        sheet.gauges("capcast_state", "1 for the state that the daemon is in", rows.into())?;
        sheet.gauges(
            "capcast_on_air",
            "1 when frames leave the encoder",
            plain(flag(state.summary.is_on_air())),
        )
    }

    /// Every stage by its name: `capture`, `encode`, `encode-1`, `audio-capture`, `audio-encode`, `output-NAME`.
    fn stages(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let stages = self.named_stages();
        let each = |value: fn(&Stage<'_>) -> u64| -> Vec<Row<u64>> {
            stages.iter().map(|stage| (stage.labels(), value(stage))).collect()
        };
        sheet.counters("capcast_frames_in", "Frames that came into a stage", each(|s| s.stage.frames_in))?;
        sheet.counters("capcast_frames_out", "Frames that left a stage", each(|s| s.stage.frames_out))?;
        let dropped = stages
            .iter()
            .flat_map(|stage| {
                stage.stage.dropped.iter().map(|(place, count)| {
                    let mut labels = stage.labels();
                    labels.push(("at", (*place).to_owned()));
                    (labels, *count)
                })
            })
            .collect();
        sheet.counters("capcast_frames_dropped", "Frames lost, where they were lost", dropped)?;
        sheet.counters(
            "capcast_restarts",
            "How often a graph was built again after a failure",
            stages.iter().filter_map(|s| s.restarts.map(|count| (s.labels(), count))).collect(),
        )?;
        let gauges = |value: fn(&Stage<'_>) -> Option<f64>| -> Vec<Row<f64>> {
            stages.iter().filter_map(|stage| value(stage).map(|value| (stage.labels(), value))).collect()
        };
        sheet.gauges(
            "capcast_up",
            "1 when buffers flow through a graph",
            gauges(|s| s.lifecycle.map(|life| flag(life.is_flowing()))),
        )?;
        sheet.gauges("capcast_frames_per_second", "Frames out per second", gauges(|s| Some(s.stage.fps)))?;
        sheet.gauges(
            "capcast_bitrate_bits_per_second",
            "Bits that left an encoder or output per second",
            gauges(|s| s.encoded.then_some(s.stage.bitrate as f64)),
        )?;
        sheet.gauges(
            "capcast_target_bitrate_bits_per_second",
            "What an encoder is told to produce",
            gauges(|s| s.target.map(|bits| bits as f64)),
        )?;
        let mut latencies = Vec::new();
        for stage in &stages {
            let spans = [("0.5", stage.stage.latency_p50), ("0.95", stage.stage.latency_p95)];
            for (quantile, span) in spans.into_iter().filter_map(|(q, span)| Some((q, span?))) {
                let mut labels = stage.labels();
                labels.push(("quantile", quantile.to_owned()));
                latencies.push((labels, span.as_secs_f64()));
            }
        }
        sheet.gauges("capcast_latency_seconds", "Time a frame spends in a stage", latencies)?;
        let steps = self.state.latency.iter().flat_map(|latency| {
            [("0.5", latency.p50), ("0.95", latency.p95)].map(|(quantile, span)| {
                let labels = vec![("step", latency.step.to_owned()), ("quantile", quantile.to_owned())];
                (labels, span.as_secs_f64())
            })
        });
        sheet.gauges(
            "capcast_picture_latency_seconds",
            "Time a picture takes from its capture to the viewers' socket, by step and in total",
            steps.collect(),
        )?;
        let keyframes = |forced: bool| {
            let count =
                move |e: &crate::control::EncodeState| if forced { e.keyframes_forced } else { e.keyframes };
            let pictures =
                self.state.encode.iter().filter(|e| e.codec.kind() == MediaKind::Video).enumerate();
            pictures.map(|(n, e)| (vec![("stage", picture_stage(n))], count(e))).collect::<Vec<_>>()
        };
        sheet.counters("capcast_keyframes", "Keyframes that left an encoder", keyframes(false))?;
        sheet.counters(
            "capcast_keyframes_forced",
            "Keyframes that were forced, after merging and throttling",
            keyframes(true),
        )
    }

    fn named_stages(&self) -> Vec<Stage<'_>> {
        let state = &self.state;
        let mut stages = vec![Stage {
            name: "capture".to_owned(),
            stage: &state.capture.stage,
            lifecycle: Some(state.capture.lifecycle),
            restarts: Some(state.capture.restarts),
            encoded: false,
            target: None,
        }];
        if let Some(audio) = &state.audio {
            stages.push(Stage {
                name: "audio-capture".to_owned(),
                stage: &audio.stage,
                lifecycle: Some(audio.lifecycle),
                restarts: Some(audio.restarts),
                encoded: false,
                target: None,
            });
        }
        let mut pictures = 0;
        for encode in &state.encode {
            let name = match encode.codec.kind() {
                MediaKind::Video => {
                    pictures += 1;
                    picture_stage(pictures - 1)
                }
                MediaKind::Audio => "audio-encode".to_owned(),
            };
            stages.push(Stage {
                name,
                stage: &encode.stage,
                lifecycle: Some(encode.lifecycle),
                restarts: Some(encode.restarts),
                encoded: true,
                target: Some(encode.target_bitrate.bits()),
            });
        }
        stages.extend(state.outputs.iter().map(|output| Stage {
            name: format!("output-{}", output.name),
            stage: &output.stage,
            lifecycle: None,
            restarts: None,
            encoded: true,
            target: None,
        }));
        stages
    }

    fn levels(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let levels = self.state.audio.as_ref().map(|audio| audio.levels.dbfs()).unwrap_or_default();
        let rows = levels.into_iter().enumerate();
        let rows = rows.map(|(channel, peak)| (vec![("channel", channel.to_string())], peak)).collect();
        sheet.gauges("capcast_audio_peak_dbfs", "Peak of the captured sound, 0 is full scale", rows)?;
        let Some(audio) = &self.state.audio else { return Ok(()) };
        let one = |value: f64| vec![(Vec::new(), value)];
        let silent = one(f64::from(u8::from(audio.silent)));
        sheet.gauges("capcast_audio_silent", "1 while silence stands in for the sound", silent)?;
        let drift = audio.drift_ppm.map(one).unwrap_or_default();
        let help = "Millionths by which the sound card's clock is too fast; it is followed";
        sheet.gauges("capcast_audio_drift_ppm", help, drift)?;
        let help = "Times that a sound card lost sound, or brought too much at once";
        sheet.counters("capcast_audio_overruns", help, vec![(Vec::new(), audio.overruns)])
    }

    fn queues(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        type Queue = crate::control::QueueState;
        let queues = &self.state.queues;
        let labels = |queue: &Queue| vec![("queue", queue.name.clone()), ("stage", queue.stage.to_owned())];
        let gauges = |value: fn(&Queue) -> f64| -> Vec<Row<f64>> {
            queues.iter().map(|queue| (labels(queue), value(queue))).collect()
        };
        sheet.gauges(
            "capcast_queue_buffers",
            "Buffers in a queue now",
            gauges(|q| q.level_buffers as f64),
        )?;
        sheet.gauges("capcast_queue_max_buffers", "The queue's limit", gauges(|q| q.max_buffers as f64))?;
        sheet.gauges("capcast_queue_seconds", "Time in a queue now", gauges(|q| q.level.as_secs_f64()))?;
        sheet.gauges("capcast_queue_max_seconds", "The queue's limit", gauges(|q| q.max.as_secs_f64()))?;
        let dropped = queues.iter().map(|queue| (labels(queue), queue.dropped)).collect();
        sheet.counters("capcast_queue_dropped", "Buffers dropped at a queue", dropped)?;
        let blocked = queues.iter().map(|queue| (labels(queue), queue.blocked.as_secs_f64())).collect();
        sheet.counters("capcast_queue_blocked_seconds", "Time its producer was made to wait", blocked)
    }

    fn outputs(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        type Output = crate::control::OutputState;
        let outputs = &self.state.outputs;
        let labels = |output: &Output| vec![("output", output.name.clone())];
        let gauges = |value: fn(&Output) -> Option<f64>| -> Vec<Row<f64>> {
            outputs.iter().filter_map(|output| Some((labels(output), value(output)?))).collect()
        };
        let counters = |value: fn(&Output) -> u64| -> Vec<Row<u64>> {
            outputs.iter().map(|output| (labels(output), value(output))).collect()
        };
        sheet.gauges(
            "capcast_output_live",
            "1 when an output is connected and media flows",
            gauges(|o| Some(flag(o.state == "live"))),
        )?;
        sheet.gauges(
            "capcast_output_well",
            "0 when an output is not where it should be",
            gauges(|o| Some(flag(o.well))),
        )?;
        sheet.counters(
            "capcast_output_reconnects",
            "Attempts that followed a failure or a loss",
            counters(|o| o.reconnects),
        )?;
        sheet.counters(
            "capcast_output_keyframe_requests",
            "Keyframes that the server asked for",
            counters(|o| o.keyframe_requests),
        )?;
        sheet.gauges(
            "capcast_output_rtt_seconds",
            "Round trip to the server",
            gauges(|o| o.rtt.map(|rtt| rtt.as_secs_f64())),
        )?;
        sheet.gauges(
            "capcast_output_packets_lost",
            "Packets that the server reports as lost, in the present connection",
            gauges(|o| o.packets_lost.map(|lost| lost as f64)),
        )?;
        sheet.gauges(
            "capcast_output_loss_ratio",
            "The share of packets that was lost lately",
            gauges(|o| o.loss),
        )?;
        sheet.gauges(
            "capcast_output_estimate_bits_per_second",
            "What the way to the server is believed to carry",
            gauges(|o| o.estimate.map(|estimate| estimate.bits() as f64)),
        )?;
        sheet.gauges(
            "capcast_output_limits",
            "1 for the adaptive output that keeps the encoder's bitrate down",
            gauges(|o| o.adaptive.then(|| flag(o.limits))),
        )?;
        sheet.counters(
            "capcast_output_nacks",
            "Packets that the server asked for again",
            counters(|o| o.nacks),
        )?;
        sheet.counters("capcast_output_resent", "Packets that were sent again", counters(|o| o.resent))
    }

    fn streams(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        type Stream = crate::control::StreamState;
        let streams = &self.state.streams;
        let labels = |stream: &Stream| vec![("stream", stream.name.clone())];
        let gauges = |value: fn(&Stream) -> f64| -> Vec<Row<f64>> {
            streams.iter().map(|stream| (labels(stream), value(stream))).collect()
        };
        let counters = |value: fn(&Stream) -> u64| -> Vec<Row<u64>> {
            streams.iter().map(|stream| (labels(stream), value(stream))).collect()
        };
        sheet.gauges("capcast_stream_live", "1 when media arrives", gauges(|s| flag(s.live)))?;
        sheet.gauges("capcast_stream_viewers", "Connected viewers", gauges(|s| f64::from(s.viewers)))?;
        sheet.gauges(
            "capcast_stream_viewers_over_tcp",
            "Of those, the ones whose media goes over TCP",
            gauges(|s| f64::from(s.viewers_over_tcp)),
        )?;
        sheet.gauges(
            "capcast_stream_viewers_paused",
            "Of those, the ones that are sent no picture for now, for their way carries none",
            gauges(|s| f64::from(s.viewers_paused)),
        )?;
        sheet.counters(
            "capcast_stream_packets_in",
            "RTP packets that arrived",
            counters(|s| s.packets_in),
        )?;
        // A gauge: what is sent again and arrives is no longer lost.
        sheet.gauges(
            "capcast_stream_packets_lost",
            "RTP packets of a WHIP publisher that are missing",
            gauges(|s| s.packets_lost as f64),
        )?;
        sheet.counters(
            "capcast_stream_nacks",
            "Requests to a WHIP publisher to send packets again",
            counters(|s| s.nacks),
        )?;
        sheet.counters(
            "capcast_stream_packets_out",
            "RTP packets sent to viewers",
            counters(|s| s.packets_out),
        )?;
        sheet.counters(
            "capcast_stream_packets_resent",
            "RTP packets sent again, for viewers lacked them",
            counters(|s| s.packets_resent),
        )?;
        sheet.counters(
            "capcast_stream_bytes_out",
            "Payload bytes sent to viewers",
            counters(|s| s.bytes_out),
        )?;
        sheet.counters(
            "capcast_stream_keyframe_requests",
            "Keyframe requests that came from viewers",
            counters(|s| s.keyframe_requests),
        )?;
        sheet.counters(
            "capcast_stream_frames_dropped",
            "Frames dropped because the SFU did not keep up",
            counters(|s| s.dropped),
        )
    }

    fn sfu(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(sfu) = &self.sfu else { return Ok(()) };
        let one = |count: u64| vec![(Vec::new(), count)];
        sheet.gauges(
            "capcast_sfu_viewers",
            "Connected viewers of all streams",
            plain(f64::from(sfu.viewers)),
        )?;
        sheet.gauges("capcast_sfu_pending", "Viewers that are connecting", plain(f64::from(sfu.pending)))?;
        sheet.counters("capcast_sfu_joins", "Viewers that got an answer", one(sfu.joins))?;
        sheet.counters("capcast_sfu_connects", "Viewers that finished ICE and DTLS", one(sfu.connects))?;
        let left =
            sfu.disconnects.iter().map(|(why, count)| (vec![("reason", why.as_str().to_owned())], *count));
        sheet.counters("capcast_sfu_disconnects", "Viewers that left, by reason", left.collect())?;
        sheet.counters("capcast_sfu_datagrams_in", "Datagrams received", one(sfu.datagrams_in))?;
        sheet.counters("capcast_sfu_datagrams_out", "Datagrams sent", one(sfu.datagrams_out))?;
        sheet.counters("capcast_sfu_bytes_out", "Bytes of datagrams sent", one(sfu.bytes_out))?;
        sheet.counters("capcast_sfu_garbage", "Datagrams that meant nothing", one(sfu.garbage))?;
        sheet.counters(
            "capcast_sfu_stun_unknown",
            "STUN requests that named no session",
            one(sfu.stun_unknown),
        )?;
        sheet.counters(
            "capcast_sfu_send_errors",
            "Datagrams that the socket refused",
            one(sfu.send_errors),
        )?;
        self.tcp(sheet)
    }

    /// Connections for media, where they are listened for.
    fn tcp(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(tcp) = self.sfu.as_ref().and_then(|sfu| sfu.tcp) else { return Ok(()) };
        let one = |count: u64| vec![(Vec::new(), count)];
        sheet.gauges(
            "capcast_sfu_tcp_connections",
            "Connections for media over TCP",
            plain(f64::from(tcp.connections)),
        )?;
        sheet.gauges(
            "capcast_sfu_tcp_unproven",
            "Of those, the ones that have proved no session yet",
            plain(f64::from(tcp.unproven)),
        )?;
        sheet.counters("capcast_sfu_tcp_accepted", "Connections that were taken", one(tcp.accepted))?;
        sheet.counters("capcast_sfu_tcp_refused", "Connections beyond the limits", one(tcp.refused))?;
        let closed = [("stranger", tcp.strangers), ("stalled", tcp.stalled)];
        let closed = closed.map(|(why, count)| (vec![("reason", why.to_owned())], count));
        sheet.counters(
            "capcast_sfu_tcp_closed",
            "Connections that were closed here, by reason",
            closed.into(),
        )?;
        sheet.counters(
            "capcast_sfu_tcp_packets_dropped",
            "Packets that a slow connection had no room for",
            one(tcp.dropped),
        )
    }
}

/// One stage with what is known of it beyond its counters.
struct Stage<'a> {
    name: String,
    stage: &'a StageState,
    lifecycle: Option<Lifecycle>,
    restarts: Option<u64>,
    encoded: bool,
    target: Option<u64>,
}

impl Stage<'_> {
    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![("stage", self.name.clone())]
    }
}

fn picture_stage(index: usize) -> String {
    if index == 0 { "encode".to_owned() } else { format!("encode-{index}") }
}

fn plain<V>(value: V) -> Vec<Row<V>> {
    vec![(Vec::new(), value)]
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests;
