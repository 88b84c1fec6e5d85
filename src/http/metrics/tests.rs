use super::*;
use crate::control::{QueueState, StreamState};

#[test]
fn every_line_is_a_metric_in_base_units() {
    let mut state = State::starting("1.2.3", "p".to_owned());
    state.summary = Summary::OnAir;
    state.capture.stage.dropped = vec![("driver", 3)];
    state.capture.stage.latency_p50 = Some(std::time::Duration::from_millis(2));
    let (p50, p95) = (std::time::Duration::from_millis(41), std::time::Duration::from_millis(60));
    state.latency.push(crate::media::Latency { step: "total", p50, p95 });
    state.capture.arrival = Some(crate::control::ArrivalState {
        picture: Some("H.264".to_owned()),
        sound: None,
        streams: 1,
        bytes: 1316,
        bitrate: 6_000_000,
        broken: 0,
        garbage: 0,
        dropped: 0,
        moved: 0,
        turned_away: 0,
        passthrough: Some(crate::control::Passthrough::Passed),
        srt: Some(crate::control::SrtState {
            rtt: p50,
            latency: p95,
            packets: 7,
            packets_lost: 1,
            loss: Some(0.125),
            nacks: 1,
            estimate: crate::media::Bitrate::from_bits(9_000_000),
        }),
    });
    state.queues.push(QueueState {
        name: "video-capture/queue".to_owned(),
        stage: "capture",
        level_buffers: 1,
        level: std::time::Duration::from_millis(33),
        max_buffers: 4,
        max: std::time::Duration::from_millis(200),
        dropped: 0,
        blocked: std::time::Duration::from_millis(1500),
    });
    state.streams.push(StreamState {
        name: "live".to_owned(),
        live: true,
        publisher: Some("box"),
        layers: Vec::new(),
        video: None,
        audio: None,
        viewers: 2,
        viewers_over_tcp: 1,
        viewers_paused: 1,
        packets_in: 9,
        packets_lost: 2,
        nacks: 3,
        packets_out: 18,
        packets_resent: 4,
        bytes_out: 1,
        keyframe_requests: 1,
        keyframes_asked: 1,
        dropped: 0,
    });
    let tcp = Some(sfu::TcpStats { stalled: 3, ..sfu::TcpStats::default() });
    let sfu = sfu::Stats { tcp, ..sfu::Stats::default() };
    let page = render(Arc::new(state), Some(Arc::new(sfu)), 7).unwrap();
    for line in [
        "capcast_build_info{version=\"1.2.3\"} 1.0",
        "capcast_log_lines_unwritten_total 7",
        "capcast_state{state=\"on_air\"} 1.0",
        "capcast_state{state=\"failed\"} 0.0",
        "capcast_frames_dropped_total{stage=\"capture\",at=\"driver\"} 3",
        "capcast_latency_seconds{stage=\"capture\",quantile=\"0.5\"} 0.002",
        "capcast_picture_latency_seconds{step=\"total\",quantile=\"0.5\"} 0.041",
        "capcast_picture_latency_seconds{step=\"total\",quantile=\"0.95\"} 0.06",
        "capcast_queue_max_seconds{queue=\"video-capture/queue\",stage=\"capture\"} 0.2",
        "capcast_queue_blocked_seconds_total{queue=\"video-capture/queue\",stage=\"capture\"} 1.5",
        "capcast_stream_viewers{stream=\"live\"} 2.0",
        "capcast_stream_packets_lost{stream=\"live\"} 2.0",
        "capcast_stream_nacks_total{stream=\"live\"} 3",
        "capcast_stream_packets_out_total{stream=\"live\"} 18",
        "capcast_stream_packets_resent_total{stream=\"live\"} 4",
        "capcast_stream_viewers_over_tcp{stream=\"live\"} 1.0",
        "capcast_stream_viewers_paused{stream=\"live\"} 1.0",
        "capcast_source_bytes_total 1316",
        "capcast_source_passed_through 1.0",
        "capcast_source_loss_ratio 0.125",
        "capcast_source_rtt_seconds 0.041",
        "capcast_sfu_garbage_total 0",
        "capcast_sfu_tcp_connections 0.0",
        "capcast_sfu_tcp_closed_total{reason=\"stalled\"} 3",
        "# EOF",
    ] {
        assert!(page.lines().any(|found| found == line), "no `{line}` in:\n{page}");
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("capcast_"), "{line}");
    }
}
