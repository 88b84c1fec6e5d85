//! `swarm`: load generator and yardstick for WHIP/WHEP servers.

mod churn;
mod clip;
mod clock;
mod codec;
mod crew;
mod http;
mod measure;
mod peer;
mod proc;
mod publisher;
mod stamp;
mod udp;
mod viewer;
mod worker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use str0m::format::Codec as Format;

use crate::clip::{Clip, Spec};
use crate::codec::Codec;
use crate::crew::{Crew, INTERRUPTED, interrupt, sleep_until};
use crate::measure::{Counts, Quantiles, Span};
use crate::peer::{Peer, Plan, Role};
use crate::proc::Watch;
use crate::publisher::{Media, Sent};
use crate::viewer::Viewer;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Send media to a WHIP endpoint until interrupted, or for --duration
    Publish(Publish),
    /// Open many WHEP viewers, measure, print one JSON line
    View(View),
}

#[derive(Args, Clone)]
struct Sessions {
    /// Bearer token; {n} as in the URL
    #[arg(long)]
    token: Option<String>,
    /// Sessions to open
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Sessions opened per second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Local address for media [default: the one the URL is reached from]
    #[arg(long)]
    bind: Option<IpAddr>,
    /// Threads for media
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Free text copied into the result
    #[arg(long)]
    label: Option<String>,
}

#[derive(Args)]
struct Publish {
    /// WHIP endpoint; {n} stands for the number of the session, from 0
    #[arg(long)]
    whip: String,
    #[arg(long, value_enum, default_value = "h264")]
    codec: Codec,
    /// Video bit rate: 2500k, 2.5M or bits per second
    #[arg(long, default_value = "2500k", value_parser = bits)]
    bitrate: u64,
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// Picture size
    #[arg(long, default_value = "1280x720", value_parser = size)]
    size: (u32, u32),
    /// Seconds between keyframes
    #[arg(long, default_value_t = 2)]
    gop: u32,
    /// Seconds in the loop
    #[arg(long, default_value_t = 10)]
    r#loop: u32,
    /// Annex-B (H.264) or IVF (VP8, VP9) file to send instead of a generated loop
    #[arg(long)]
    frames_file: Option<PathBuf>,
    /// Opus bit rate; 0 for no audio
    #[arg(long, default_value = "64k", value_parser = bits)]
    audio_bitrate: u64,
    /// Keyframe requests are answered at most this often
    #[arg(long, default_value_t = 500)]
    keyframe_throttle_ms: u64,
    /// Seconds to send for; 0 means until SIGINT or SIGTERM
    #[arg(long, default_value_t = 0.0)]
    duration: f64,
    #[command(flatten)]
    sessions: Sessions,
}

#[derive(Args)]
struct View {
    /// WHEP endpoint; {n} stands for the number of the stream, see --streams
    #[arg(long)]
    whep: String,
    /// Viewers take turns at this many streams
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Seconds to measure for, once all have joined
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds between the last join and the measurement
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Seconds to wait for the last viewers to show a picture
    #[arg(long, default_value_t = 10.0)]
    join_timeout: f64,
    /// Codecs to offer
    #[arg(long, value_delimiter = ',', default_value = "opus,h264,vp8,vp9,av1", value_parser = format)]
    codecs: Vec<Format>,
    /// Process to measure: PID or NAME=PID; may be repeated
    #[arg(long, value_parser = process)]
    pid: Vec<(String, u32)>,
    /// Microseconds to let packets gather before reading them. Arrival times
    /// are the kernel's, so this costs no precision; it saves CPU.
    #[arg(long, default_value_t = 1000)]
    batch_us: u64,
    /// While it is measured, so many more viewers come and go a second
    #[arg(long, default_value_t = 0)]
    churn: usize,
    #[command(flatten)]
    sessions: Sessions,
}

fn bits(text: &str) -> Result<u64> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(n) => (n, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |n| (n, 1e6)),
    };
    Ok((number.parse::<f64>()? * unit) as u64)
}

fn size(text: &str) -> Result<(u32, u32)> {
    let (w, h) = text.split_once('x').context("expected WIDTHxHEIGHT")?;
    Ok((w.parse()?, h.parse()?))
}

fn format(text: &str) -> Result<Format> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "opus" => Format::Opus,
        "h264" => Format::H264,
        "vp8" => Format::Vp8,
        "vp9" => Format::Vp9,
        "av1" => Format::Av1,
        _ => return Err(anyhow!("one of opus, h264, vp8, vp9, av1")),
    })
}

fn process(text: &str) -> Result<(String, u32)> {
    let (name, pid) = text.split_once('=').unwrap_or(("server", text));
    let pid = pid.parse()?;
    ensure!(proc::rss(pid).is_some(), "no such process");
    Ok((name.to_owned(), pid))
}

/// For retransmissions of what was sent in the measured time.
const GRACE: Duration = Duration::from_millis(500);

/// Why sessions failed, and how many each.
fn failures(peers: &[Peer]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for why in peers.iter().filter_map(|p| p.failure.clone()) {
        *out.entry(why).or_default() += 1;
    }
    out
}

/// Milliseconds from each session's POST.
fn since_post(peers: &[Peer], at: impl Fn(&Peer) -> Option<u64>) -> Quantiles {
    let one = |p: &Peer| Some(clock::ms_between(p.times.posted?, at(p)?) as f32);
    Quantiles::of(peers.iter().filter_map(one).collect())
}

fn publish(args: &Publish) -> Result<Value> {
    let sessions = &args.sessions;
    ensure!(sessions.count == 1 || args.whip.contains("{n}"), "--count needs {{n}} in the URL");
    let clip = match (args.codec, &args.frames_file) {
        (Codec::Opus, _) => None,
        (codec, Some(path)) => Some(Clip::load(codec, path)?),
        (codec, None) => {
            let spec = Spec {
                codec,
                kbps: u32::try_from(args.bitrate / 1000)?,
                fps: args.fps,
                width: args.size.0,
                height: args.size.1,
                gop: args.gop * args.fps,
                seconds: args.r#loop,
            };
            Some(Clip::load(codec, &spec.file()?)?)
        }
    };
    let clip_info = clip.as_ref().map(|c| {
        json!({
            "frames": c.frames.len(),
            "kbps": c.kbps(args.fps),
            "packets_per_frame": c.packets_per_frame(),
        })
    });
    let audio = args.audio_bitrate > 0;
    let media = Media {
        clip: clip.map(Arc::new),
        fps: args.fps,
        audio_bytes: audio.then_some(args.audio_bitrate as usize / 8 / 50),
        keyframe_throttle: Duration::from_millis(args.keyframe_throttle_ms),
    };
    let plan = Plan::Publish { codec: args.codec, media: Arc::new(media) };
    let crew = Crew::start(plan, &args.whip, sessions, Duration::ZERO)?;
    crew.join(sessions, |n| args.whip.replace("{n}", &n.to_string()));
    crew.wait(sessions.count, Duration::from_secs(15));
    eprintln!("swarm: publishing {} of {}", crew.ready() - crew.failed(), sessions.count);

    let start = Instant::now();
    let mut next = start;
    let limit = (args.duration > 0.0).then(|| start + Duration::from_secs_f64(args.duration));
    while limit.is_none_or(|l| next < l) && crew.failed() < sessions.count {
        next += Duration::from_millis(200);
        if !sleep_until(next) {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut peers = crew.stop();
    let join = json!({
        "answer_ms": since_post(&peers, |p| p.times.answered),
        "connected_ms": since_post(&peers, |p| p.times.connected),
    });
    let posted: Vec<_> = peers.iter().map(|p| p.times.posted).collect();
    let mut sent = Sent::default();
    let mut lag = Vec::new();
    for peer in &mut peers {
        if let Role::Publish(p) = &mut peer.role {
            sent.video_packets += p.sent.video_packets;
            sent.video_bytes += p.sent.video_bytes;
            sent.frames += p.sent.frames;
            sent.keyframes += p.sent.keyframes;
            sent.audio_packets += p.sent.audio_packets;
            sent.audio_bytes += p.sent.audio_bytes;
            sent.keyframe_requests += p.sent.keyframe_requests;
            sent.nacks_received += p.sent.nacks_received;
            lag.append(&mut p.lag);
        }
    }
    Ok(json!({
        "tool": "swarm",
        "mode": "publish",
        "label": sessions.label,
        "url": args.whip,
        "codec": args.codec.name(),
        "requested": sessions.count,
        "connected": peers.iter().filter(|p| p.times.connected.is_some()).count(),
        "failures": failures(&peers),
        "seconds": seconds,
        "join": join,
        "posted_ns": posted,
        "clip": clip_info,
        "sent": sent,
        "lag_ms": Quantiles::of(lag),
        "self_cpu_seconds": proc::cpu(std::process::id()).map(|(u, s)| u + s),
    }))
}

#[derive(Default, Serialize)]
struct Kind {
    #[serde(flatten)]
    counts: Counts,
    lost_percent: f64,
    kbps_per_viewer: f64,
    /// Frames (video) or packets (audio) per second, by viewer.
    rate: Quantiles,
    /// Lost packets, by viewer.
    lost_by_viewer: Quantiles,
}

fn view(args: &View) -> Result<Value> {
    let sessions = &args.sessions;
    let plan = Plan::View { codecs: args.codecs.clone() };
    let crew = Crew::start(plan, &args.whep, sessions, Duration::from_micros(args.batch_us))?;
    let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    crew.join(sessions, |n| args.whep.replace("{n}", &(n % args.streams.max(1)).to_string()));
    crew.wait(sessions.count, Duration::from_secs_f64(args.join_timeout));

    // Announced ahead, so that every worker knows before it begins.
    let settle = Duration::from_secs_f64(args.settle.max(0.1));
    let duration = Duration::from_secs_f64(args.duration);
    let start_ns = clock::realtime_ns() + settle.as_nanos() as u64;
    let start = Instant::now() + settle;
    let span = Span { start_ns, end_ns: start_ns + duration.as_nanos() as u64 };
    crew.measure(span);
    let mut processes = args.pid.clone();
    processes.push(("swarm-view".into(), std::process::id()));
    sleep_until(start);
    let mut watch = Watch::start(&processes);
    let end = start + duration;
    let churn = churn::start(args, end)?;
    while Instant::now() < end && sleep_until(end.min(Instant::now() + Duration::from_secs(1))) {
        watch.sample();
    }
    let usage = watch.finish();
    let churned = churn.finish();
    sleep_until(Instant::now() + GRACE);
    let peers = crew.stop();
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    let mut told = report(args, peers, span, &usage, loadavg.trim());
    told["churned"] = json!(churned);
    Ok(told)
}

fn report(args: &View, mut peers: Vec<Peer>, span: Span, usage: &proc::Report, load: &str) -> Value {
    let seconds = args.duration;
    let viewer = |p: &Peer, at: fn(&Viewer) -> Option<u64>| match &p.role {
        Role::View(v) => at(v),
        Role::Publish(_) => None,
    };
    let join = json!({
        "answer_ms": since_post(&peers, |p| p.times.answered),
        "connected_ms": since_post(&peers, |p| p.times.connected),
        "first_rtp_ms": since_post(&peers, |p| viewer(p, |v| v.first_rtp_ns)),
        "first_keyframe_ms": since_post(&peers, |p| viewer(p, Viewer::first_keyframe_ns)),
    });
    let resumed: Vec<_> = peers.iter().map(|p| viewer(p, |v| v.resumed_ns)).collect();
    let requested = args.sessions.count;
    let joined = peers.iter().filter(|p| p.ready()).count();
    let failures = failures(&peers);
    let dropped: u64 = peers.iter().map(|p| u64::from(p.udp.dropped)).sum();

    let (mut plis, mut nacks) = (0, 0);
    let mut kinds = [Kind::default(), Kind::default()];
    let mut rates = [vec![], vec![]];
    let mut losses = [vec![], vec![]];
    let mut codecs = BTreeMap::<String, usize>::new();
    let (mut packet_video, mut packet_audio, mut frame) = (vec![], vec![], vec![]);
    for peer in &mut peers {
        let Role::View(v) = &mut peer.role else {
            continue;
        };
        plis += v.plis;
        nacks += v.nacks.values().sum::<u64>();
        let mut own = [Counts::default(), Counts::default()];
        let mut has = [false, false];
        for s in &mut v.streams {
            let video = s.format.is_video();
            let counts = s.counts();
            *codecs.entry(s.format.to_string()).or_default() += 1;
            has[usize::from(video)] = true;
            own[usize::from(video)] += counts;
            let packet = if video { &mut packet_video } else { &mut packet_audio };
            packet.append(&mut s.delays.packet);
            frame.append(&mut s.delays.frame);
        }
        for i in 0..2 {
            if has[i] {
                kinds[i].counts += own[i];
                let units = if i == 1 { own[i].frames } else { own[i].packets };
                rates[i].push((units as f64 / seconds) as f32);
                losses[i].push(own[i].lost as f32);
            }
        }
    }
    for (kind, (rate, lost)) in kinds.iter_mut().zip(rates.into_iter().zip(losses)) {
        let viewers = rate.len().max(1) as f64;
        kind.lost_percent = 100.0 * kind.counts.lost as f64 / kind.counts.expected.max(1) as f64;
        kind.kbps_per_viewer = kind.counts.bytes as f64 * 8.0 / 1000.0 / seconds / viewers;
        kind.rate = Quantiles::of(rate);
        kind.lost_by_viewer = Quantiles::of(lost);
    }
    let [audio, video] = kinds;
    json!({
        "tool": "swarm",
        "mode": "view",
        "label": args.sessions.label,
        "url": args.whep,
        "requested": requested,
        "joined": joined,
        "failures": failures,
        "seconds": seconds,
        "window_ns": [span.start_ns, span.end_ns],
        "join": join,
        "resumed_ns": resumed,
        "codecs": codecs,
        "video": video,
        "audio": audio,
        "delay_ms": {
            "video_frame": Quantiles::of(frame),
            "video_first_packet": Quantiles::of(packet_video),
            "audio_packet": Quantiles::of(packet_audio),
        },
        "plis_sent": plis,
        "nacks_sent": nacks,
        "own_socket_drops": dropped,
        "loadavg_before": load,
        "usage": usage,
    })
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("SWARM_LOG"))
        .with_writer(std::io::stderr)
        .init();
    str0m::crypto::from_feature_flags().install_process_default();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(signal, interrupt as *const () as libc::sighandler_t) };
    }
    let result = match &Cli::parse().mode {
        Mode::Publish(args) => publish(args)?,
        Mode::View(args) => view(args)?,
    };
    println!("{result}");
    Ok(())
}
