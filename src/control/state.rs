//! The whole state of a running daemon, as one value.

use std::time::Duration;

pub use crate::lifecycle::Phase as Lifecycle;
use crate::media::{Bitrate, Codec, FrameSize, Framerate, Latency, Levels, SourceHealth};

/// Everything `capcast status`, `/api/status`, the panel and the metrics show.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Capcast's version.
    pub version: &'static str,
    /// Since the daemon started.
    pub uptime: Duration,
    /// The whole in one word.
    pub summary: Summary,
    /// The whole in one sentence for people: "on air: 2 viewers, 1280x720 at 30, 3.9 Mbit/s".
    pub words: String,
    /// The active profile.
    pub profile: String,
    /// What the daemon itself costs.
    pub process: ProcessState,
    /// The picture's way in.
    pub capture: CaptureState,
    /// The sound's way in; stopped, with the reason, where there is none. None before anything was planned.
    pub audio: Option<AudioState>,
    /// One per rendition, the profile's own first, and audio last.
    pub encode: Vec<EncodeState>,
    /// In the configured order.
    pub outputs: Vec<OutputState>,
    /// How long the picture takes from its capture to the viewers' socket: each step in order, and `total` last. What is
    /// not measured now is left out.
    pub latency: Vec<Latency>,
    /// What can be watched at the bundled SFU.
    pub streams: Vec<StreamState>,
    /// Every queue, ring and link of the box.
    pub queues: Vec<QueueState>,
}

impl State {
    /// What is known before anything is built.
    pub fn starting(version: &'static str, profile: String) -> Self {
        State {
            version,
            uptime: Duration::ZERO,
            summary: Summary::Starting,
            words: "starting".to_owned(),
            profile,
            process: ProcessState::default(),
            capture: CaptureState {
                lifecycle: Lifecycle::Stopped,
                reason: String::new(),
                source: String::new(),
                health: SourceHealth::default(),
                showing: "source",
                format: None,
                size: None,
                framerate: None,
                restarts: 0,
                arrival: None,
                relay: None,
                stage: StageState::default(),
            },
            audio: None,
            encode: Vec::new(),
            outputs: Vec::new(),
            latency: Vec::new(),
            streams: Vec::new(),
            queues: Vec::new(),
        }
    }
}

/// What the daemon's process costs, encoders and all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessState {
    /// Cores that it kept busy lately: 1.5 is one and a half.
    pub cores: f64,
    /// Bytes of memory that it holds.
    pub memory: u64,
}

/// The whole in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Summary {
    /// Not on air yet.
    Starting,
    /// Frames leave the encoder.
    OnAir,
    /// On air, but something is wrong with a part of it.
    Degraded,
    /// Taken off air by command.
    Stopped,
    /// Off air because something failed; retried where that helps.
    Failed,
}

impl Summary {
    /// The word used in JSON and metrics: `starting`, `on_air`, `degraded`, `stopped`, `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Summary::Starting => "starting",
            Summary::OnAir => "on_air",
            Summary::Degraded => "degraded",
            Summary::Stopped => "stopped",
            Summary::Failed => "failed",
        }
    }

    /// Do frames leave the encoder?
    pub const fn is_on_air(self) -> bool {
        matches!(self, Summary::OnAir | Summary::Degraded)
    }
}

/// What a stage counts. Rates and latencies are over the last seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageState {
    /// Frames that came in.
    pub frames_in: u64,
    /// Frames that went out.
    pub frames_out: u64,
    /// Frames lost here, each counted where it was lost: (where, how many).
    pub dropped: Vec<(&'static str, u64)>,
    /// Frames left out on purpose, because the profile's rate is lower than the source's.
    pub rate_skipped: u64,
    /// Frames out per second; 0 until it ran long enough for a rate.
    pub fps: f64,
    /// Bits out per second; 0 for raw media.
    pub bitrate: u64,
    /// Time spent in this stage, median.
    pub latency_p50: Option<Duration>,
    /// Time spent in this stage, 95th percentile.
    pub latency_p95: Option<Duration>,
}

impl StageState {
    /// Frames lost here, all places together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }
}

/// The picture's way in.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureState {
    /// Its graph's life.
    pub lifecycle: Lifecycle,
    /// The reason for that life, in words; empty when running well.
    pub reason: String,
    /// What is captured: `test`, `/dev/video0 (USB3 HDMI)`, …
    pub source: String,
    /// How that is.
    pub health: SourceHealth,
    /// What is seen of it: `source`, `held` (its last picture) or `slate`.
    pub showing: &'static str,
    /// The negotiated raw or compressed format: `NV12`, `MJPG`, …
    pub format: Option<String>,
    /// Negotiated size.
    pub size: Option<FrameSize>,
    /// Negotiated rate.
    pub framerate: Option<Framerate>,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// What arrives, where the source comes over the network.
    pub arrival: Option<ArrivalState>,
    /// How it comes in segments, where it does.
    pub relay: Option<RelayState>,
    /// Its counters.
    pub stage: StageState,
}

/// A stream that arrives over the network. Counts are since it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalState {
    /// What the picture is coded in; none while there is none.
    pub picture: Option<String>,
    /// What the sound is coded in.
    pub sound: Option<String>,
    /// Streams that began: senders that came, or one that became another.
    pub streams: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Bits a second.
    pub bitrate: u64,
    /// Pictures, and pieces of sound, that came with holes in them and were left out.
    pub broken: u64,
    /// Bytes that are no MPEG-TS.
    pub garbage: u64,
    /// Pictures, and pieces of sound, that there was no room for.
    pub dropped: u64,
    /// How often the stream's times were placed anew.
    pub moved: u64,
    /// Senders that called while there was one, or with another passphrase.
    pub turned_away: u64,
    /// Whether the picture is passed on as it is, where that is wished for.
    pub passthrough: Option<Passthrough>,
    /// How the SRT connection fares, where there is one.
    pub srt: Option<SrtState>,
}

/// Whether a picture is passed on as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// It is.
    Passed,
    /// That is not known yet, or about to be.
    Awaited,
    /// It is encoded, and why.
    Refused(String),
}

impl Passthrough {
    /// The word used in JSON: `passed`, `awaited`, `refused`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Passthrough::Passed => "passed",
            Passthrough::Awaited => "awaited",
            Passthrough::Refused(_) => "refused",
        }
    }

    /// Why it is refused; else empty.
    pub fn reason(&self) -> &str {
        match self {
            Passthrough::Refused(reason) => reason,
            Passthrough::Passed | Passthrough::Awaited => "",
        }
    }
}

/// The SRT connection that a stream arrives by. Counts are from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct SrtState {
    /// Round trip.
    pub rtt: Duration,
    /// How long everything is held back, so that what was lost can come again.
    pub latency: Duration,
    /// Packets that came, with those that were sent again.
    pub packets: u64,
    /// Packets that had not come when later ones did.
    pub packets_lost: u64,
    /// The share of packets that this was true of lately, 0 to 1.
    pub loss: Option<f64>,
    /// Times that the sender was told what is missing.
    pub nacks: u64,
    /// What the way is believed to carry.
    pub estimate: Bitrate,
}

/// A source that comes in segments over HTTP. Counts are since it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayState {
    /// `hls` or `trickle`, once that is known.
    pub protocol: Option<&'static str>,
    /// What is wrong at the moment, in words; empty when nothing is.
    pub trouble: String,
    /// Segments that came whole.
    pub segments: u64,
    /// Segments that there were and that were left out.
    pub skipped: u64,
    /// How often the stream did not continue what came before.
    pub discontinuities: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Bytes of media.
    pub bytes: u64,
    /// Segments that are asked for or wait, and how many may.
    pub queued_segments: (usize, usize),
    /// Bytes that wait, and how many may.
    pub queued_bytes: (usize, usize),
    /// What has arrived ahead of its time.
    pub ahead: Duration,
    /// Segments a second, over the last half minute.
    pub segments_per_second: f64,
    /// From a byte's arrival until its picture leaves the capture, on average lately.
    pub latency: Duration,
}

/// The sound's way in.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioState {
    /// Its graph's life.
    pub lifecycle: Lifecycle,
    /// The reason, in words.
    pub reason: String,
    /// What is captured: `test`, `hw:CARD=Capture`, …
    pub source: String,
    /// How loud it is, where that is measured: what is read here is newer than the rest of the state.
    pub levels: Levels,
    /// Nothing is heard of it: what goes out is silence.
    pub silent: bool,
    /// By how many millionths the card's clock is faster than the system's, where a card is heard. It is followed.
    pub drift_ppm: Option<f64>,
    /// How often a card lost sound, or brought too much at once.
    pub overruns: u64,
    /// How much silence was put in since the start.
    pub silence: Duration,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// Its counters.
    pub stage: StageState,
}

/// One encode graph.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeState {
    /// Its graph's life.
    pub lifecycle: Lifecycle,
    /// The reason, in words.
    pub reason: String,
    /// The fragment: `x264`, `opus`, …
    pub encoder: String,
    /// What comes out.
    pub codec: Codec,
    /// Encoded size; none for audio.
    pub size: Option<FrameSize>,
    /// Encoded rate; none for audio.
    pub framerate: Option<Framerate>,
    /// The target in force.
    pub target_bitrate: Bitrate,
    /// What the bitrate may be set to while it runs; none where it cannot be.
    pub bitrate_range: Option<(Bitrate, Bitrate)>,
    /// The adaptive output whose way is too narrow for the bitrate that is wished for.
    pub limited_by: Option<String>,
    /// Keyframes that left.
    pub keyframes: u64,
    /// Keyframes that were forced, after merging and throttling.
    pub keyframes_forced: u64,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// Its counters.
    pub stage: StageState,
}

/// One destination.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputState {
    /// Its configured name.
    pub name: String,
    /// `whip`, `srt`, `record`, `trickle`.
    pub kind: &'static str,
    /// Its life in one word.
    pub state: String,
    /// The reason, in words.
    pub reason: String,
    /// Is it where it should be, live or stopped by command, or on its way there?
    pub well: bool,
    /// Until the next attempt, while one is waited for.
    pub retry_in: Option<Duration>,
    /// Where people watch what it publishes. It may hold the publish key: only for whoever may control the box.
    pub watch: Option<String>,
    /// What the server says about the stream, where it can be asked.
    pub server: Option<String>,
    /// Attempts that followed a failure or a loss.
    pub reconnects: u64,
    /// Keyframes that the server asked for.
    pub keyframe_requests: u64,
    /// Round trip to the server.
    pub rtt: Option<Duration>,
    /// Packets of the picture that the server reports as lost, in the present connection.
    pub packets_lost: Option<u64>,
    /// The share of packets that was lost lately, 0 to 1.
    pub loss: Option<f64>,
    /// What the way to the server is believed to carry.
    pub estimate: Option<Bitrate>,
    /// May it lower the encoder's bitrate?
    pub adaptive: bool,
    /// Is it the one that does?
    pub limits: bool,
    /// Packets that the server asked for again.
    pub nacks: u64,
    /// Packets that were sent again.
    pub resent: u64,
    /// Its counters.
    pub stage: StageState,
}

/// One stream at the SFU.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// Media arrives.
    pub live: bool,
    /// `box` or `whip`.
    pub publisher: Option<&'static str>,
    /// Layers of the picture, the best one first; empty without simulcast.
    pub layers: Vec<String>,
    /// Present codecs.
    pub video: Option<Codec>,
    /// Present codecs.
    pub audio: Option<Codec>,
    /// Connected viewers.
    pub viewers: u32,
    /// Of those, the ones whose media goes over TCP.
    pub viewers_over_tcp: u32,
    /// Of those, the ones that are sent no picture for now, for their way carries none.
    pub viewers_paused: u32,
    /// Packets that arrived.
    pub packets_in: u64,
    /// Packets of a WHIP publisher that never arrived.
    pub packets_lost: u64,
    /// Requests to a WHIP publisher to send packets again.
    pub nacks: u64,
    /// Packets sent, all viewers together.
    pub packets_out: u64,
    /// Of those that viewers said they lack, the ones sent again.
    pub packets_resent: u64,
    /// Bytes sent, all viewers together.
    pub bytes_out: u64,
    /// Keyframe requests that came from viewers.
    pub keyframe_requests: u64,
    /// Keyframe requests that were passed to the publisher.
    pub keyframes_asked: u64,
    /// Frames that the hand-over dropped because the SFU did not keep up.
    pub dropped: u64,
}

/// One queue, ring or link.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueState {
    /// Unique: `video-capture/queue`, `video-encode/from-hub`, …
    pub name: String,
    /// `capture`, `encode`, `output`, `sfu`.
    pub stage: &'static str,
    /// Buffers in it now.
    pub level_buffers: u64,
    /// Time in it now.
    pub level: Duration,
    /// The limit.
    pub max_buffers: u64,
    /// The limit.
    pub max: Duration,
    /// Dropped here since the start.
    pub dropped: u64,
    /// How long its producer was made to wait since the start.
    pub blocked: Duration,
}
