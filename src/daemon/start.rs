//! From options to the running appliance, and its end.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::appliance::Appliance;
use super::doctor::{self, Running};
use super::doors::{Doors, Keys};
use super::files::Loaded;
use super::part::{Part, PartName, Seat};
use super::remembered::Remembered;
use super::source::Watched;
use super::survey::logging_prober;
use super::systemd::Systemd;
use super::target::{Target, Wanted, aim};
use super::usage::Usage;
use super::{Options, RunError, SocketPlaces, know_remembered, recordings, secret, survey};
use crate::config::{AudioInput, BoxConfig, OutputConfig, OutputKind};
use crate::control::{self, State};
use crate::engine::container::Room;
use crate::engine::webrtc::{Lane, Relay};
use crate::engine::{self, Engine, Outlet};
use crate::http::{
    self, Doctor, Document, Documents, FeedLimits, Feeds, History, Limits, ListenError, Listener, Site,
};
use crate::lifecycle::Strikes;
use crate::media::{MediaKind, StreamName};
use crate::output::whip::{Relays, Settings, Wires};
use crate::output::{Adapt, Output, record, whip};
use crate::plan::{self, Downstream, GraphPlan, QueueClass, Role};
use crate::sfu;
use crate::telemetry::Drops;
use crate::telemetry::LogRing;

/// Events of graphs that wait to be heard.
const TOLD: usize = 1024;

/// What is left to HTTP and stray threads once graphs and SFU are down.
const LAST: Duration = Duration::from_millis(200);

/// Where the running daemon is found: told once its stream is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Where HTTP is served, with the real port.
    pub http: SocketAddr,
    /// By TLS?
    pub secure: bool,
    /// The stream that is watched there.
    pub stream: String,
    /// Does the command line reach it?
    pub socket: bool,
    /// The state in words.
    pub words: String,
}

/// Runs the daemon until SIGINT or SIGTERM. `on_live` is called once, when the first frames are ready for viewers.
///
/// # Errors
/// When it cannot start; then nothing is left half started.
pub fn run(options: &Options, on_live: impl FnOnce(Live)) -> Result<(), RunError> {
    let began = now();
    raise_descriptor_limit();
    // GStreamer takes longest, and depends on nothing.
    let gstreamer = std::thread::spawn(engine::init);
    let (loaded, problems) = options.sources().load(&options.overrides());
    let Some(loaded) = loaded else { return Err(RunError::Config(Box::new(problems))) };
    for problem in &problems {
        tracing::warn!("{}: {}", problem.source.name(), problem.message);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|source| RunError::System { what: "threads", source })?;
    let ended = runtime.block_on(serve(options, loaded, gstreamer, |live| {
        tracing::info!(after_ms = began.elapsed().as_millis() as u64, "live: {}", live.words);
        on_live(live);
    }));
    // A graph that hangs has threads that never end; they are not waited for.
    runtime.shutdown_timeout(LAST);
    ended
}

/// Allows as many open files as the system grants. GStreamer 1.22's `v4l2src` keeps about six of each start for good, and a
/// card that fails all day is opened often.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(errno) = raised {
        tracing::debug!("the limit of open files stays as it is: {}", errno.desc());
    }
}

async fn serve(
    options: &Options,
    loaded: Loaded,
    gstreamer: std::thread::JoinHandle<Result<engine::GstVersion, engine::InitError>>,
    on_live: impl FnOnce(Live),
) -> Result<(), RunError> {
    let shown = Arc::new(ArcSwap::from_pointee(loaded.clone()));
    let documents = documents(Arc::clone(&shown));
    let loaded = Arc::new(loaded);
    let config = loaded.config.clone();
    let ended = end_signal()?;
    let hangup = taken(SignalKind::hangup())?;
    let doors = Doors::new(Keys::read(&config)?);
    let tcp = Listener::tcp(config.http.listen).await?.speaking(doors.tls.clone());
    let http_address = tcp.local_addr().unwrap_or(config.http.listen);
    let unix = socket()?;
    let sfu = config.sfu.enabled.then(|| sfu::start(sfu_options(&config))).transpose()?;

    gstreamer.join().map_err(|_| engine::InitError::Start("it panicked".to_owned()))??;
    let remembered = Remembered::of(options);
    let target = first_target(&loaded, remembered.as_ref())?;

    let (control, inbox) =
        control::channel(State::starting(env!("CARGO_PKG_VERSION"), target.profile.name.clone()));
    let site = Site {
        control,
        sfu: sfu.clone(),
        listen: http_address,
        tls: doors.tls.clone(),
        default_stream: config.sfu.stream.clone(),
        ice_servers: doors.ice_servers.clone(),
        access: doors.access.clone(),
        trust: doors.trust.clone(),
        history: History::default(),
        feeds: Feeds::new(FeedLimits::default()),
        logs: LogRing::of_process(),
        documents: Arc::new(documents),
    };
    // Before anyone can ask: a viewer that comes early must hear "not live yet", not "no such stream".
    let secure = doors.tls.is_spoken();
    tokio::spawn(doors.clone().watch());
    let files = Files { options: options.clone(), loaded, shown, remembered, doors };
    let mut appliance = compose(files, target, sfu, inbox)?;
    if let Some(sfu) = &appliance.sfu {
        appliance.config.sfu.publishers.iter().for_each(|publisher| sfu.declare(publisher.stream.clone()));
    }
    let stream = appliance.config.sfu.stream.to_string();
    tokio::spawn(site.history.clone().follow(site.control.states()));
    let (close, closing) = watch::channel(false);
    let router = http::router(site);
    let with_socket = unix.is_some();
    for listener in [Some(tcp), unix].into_iter().flatten() {
        tokio::spawn(http::serve(listener, router.clone(), Limits::default(), closing.clone()));
    }
    tracing::info!("listening on http{}://{http_address}", if secure { "s" } else { "" });

    appliance
        .run(ended, hangup, |state| {
            let words = state.words.clone();
            on_live(Live { http: http_address, secure, stream, socket: with_socket, words });
        })
        .await;
    close.send_replace(true);
    Box::pin(appliance.shut_down()).await;
    Ok(())
}

/// What the daemon was told, and what it remembers.
struct Files {
    options: Options,
    loaded: Arc<Loaded>,
    shown: Arc<ArcSwap<Loaded>>,
    remembered: Option<Remembered>,
    doors: Doors,
}

/// The profile that was switched to, as long as it can run; else the configured one.
fn first_target(loaded: &Loaded, remembered: Option<&Remembered>) -> Result<Target, RunError> {
    let configured = &loaded.config.profile;
    if let Some(name) = remembered.and_then(|remembered| remembered.profile(configured)) {
        match aim(loaded, Wanted::named(&name), None) {
            Ok(target) => {
                tracing::info!("going on with profile `{name}`, which was switched to");
                return Ok(target);
            }
            Err(error) => {
                tracing::warn!("profile `{name}` was switched to, but: {error}; the configured one instead");
            }
        }
    }
    aim(loaded, Wanted::Chosen(configured.clone()), None)
}

/// Hubs, outlets and the parts that join them, not started.
fn compose(
    files: Files,
    target: Target,
    sfu: Option<sfu::Handle>,
    inbox: control::Inbox,
) -> Result<Appliance, RunError> {
    let Files { options, loaded, shown, remembered, doors } = files;
    let Target { profile, plan } = target;
    let config = loaded.config.clone();
    let engine = Engine::new()?;
    let (tell, told) = mpsc::channel(TOLD);
    let (video_hub, audio_hub) = (engine.raw_hub(MediaKind::Video), engine.raw_hub(MediaKind::Audio));
    let line = engine
        .sound_line(&audio_hub)
        .map_err(|error| RunError::System { what: "threads", source: std::io::Error::other(error) })?;
    let (picture, sound) = (engine.outlet(MediaKind::Video), engine.outlet(MediaKind::Audio));
    let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    let part = |name: PartName, plan, seat| {
        Part::new(name, plan, &engine, seat, tell.clone(), seed.wrapping_add(name as u64))
    };
    let encode = plan
        .video_encode
        .into_iter()
        .next()
        .ok_or_else(|| RunError::Plan { profile: profile.name.clone(), reasons: vec![] })?;
    let silence = plan.choices.iter().find(|choice| choice.subject == "sound" && choice.taken);
    let silence = silence.map(|choice| choice.reason.clone()).unwrap_or_default();
    if plan.audio_capture.is_none() && config.capture.audio != AudioInput::None {
        let none = if plan.audio_encode.is_some() { "the sound is silent" } else { "there is no sound" };
        tracing::warn!("{none}: {silence}");
    }
    let watched = Watched::start(&engine, &video_hub, &plan.video_capture);
    let capture = part(PartName::Capture, plan.video_capture, Seat::Capture(video_hub.clone()));
    let encode = part(PartName::Encode, encode, Seat::Encode(video_hub, picture.clone()));
    let audio_capture =
        plan.audio_capture.map(|plan| part(PartName::AudioCapture, plan, Seat::Sound(line.clone())));
    let audio_encode = plan
        .audio_encode
        .map(|plan| part(PartName::AudioEncode, plan, Seat::Encode(audio_hub, sound.clone())));
    let mut appliance = Appliance {
        engine,
        options,
        loaded,
        shown,
        remembered,
        doors,
        config,
        profile,
        choices: plan.choices,
        capture,
        watched,
        audio_capture,
        encode,
        audio_encode,
        line,
        silence,
        picture,
        sound,
        sfu,
        local: None,
        outputs: Vec::new(),
        adapt: Adapt::default(),
        resting: BTreeSet::new(),
        stopped: false,
        change: None,
        // One at a time is asked for.
        prepared: mpsc::channel(1),
        strikes: Strikes::default(),
        no_other: false,
        seed,
        inbox,
        told,
        tell,
        drops: Drops::default(),
        usage: Usage::default(),
        last_told: Duration::ZERO,
        was_on_air: false,
        systemd: None,
    };
    appliance.systemd = Systemd::from_environment(appliance.now());
    appliance.publish_locally();
    appliance.show_active();
    appliance.warn_of_a_fixed_bitrate();
    let lanes = appliance.lanes();
    let config = &appliance.config;
    let place =
        Place { engine: &appliance.engine, disk: appliance.loaded.queues.disk, stream: &config.sfu.stream };
    appliance.outputs = outputs(&place, &config.outputs, &lanes, seed)?;
    Ok(appliance)
}

/// What the hand-over to the SFU holds, by the plan.
pub(super) fn room(encode: Option<&GraphPlan>) -> sfu::Room {
    let limits = encode.and_then(|plan| plan.handover);
    // Without a graph nothing is handed over: one place for nothing.
    limits.map_or(sfu::Room { frames: 1, time: Duration::ZERO, bytes: 0 }, |class| sfu::Room {
        frames: class.buffers,
        time: class.time,
        bytes: class.bytes,
    })
}

/// What encode graphs make, as outputs take it.
pub(super) fn lanes(encodes: [Option<(&GraphPlan, &Outlet)>; 2]) -> Arc<[Lane]> {
    encodes.into_iter().flatten().filter_map(|(plan, outlet)| lane(plan, outlet)).collect()
}

fn lane(plan: &GraphPlan, outlet: &Outlet) -> Option<Lane> {
    let (codec, picture, bitrate) = match &plan.downstream {
        Downstream::Video { codec, size, framerate, bitrate } => {
            (*codec, size.map(|size| (size, *framerate)), *bitrate)
        }
        Downstream::Audio { codec, bitrate } => (*codec, None, *bitrate),
        Downstream::RawVideo { .. } | Downstream::RawAudio => return None,
    };
    let payloader = plan.nodes.iter().find(|node| node.role == Role::Payloader)?.clone();
    Some(Lane {
        outlet: outlet.clone(),
        codec,
        payloader,
        limits: plan.handover?,
        picture,
        bitrate,
        reorders: plan.reorders().map(str::to_owned),
    })
}

/// What outputs of every kind need.
pub(super) struct Place<'a> {
    pub(super) engine: &'a Engine,
    /// How much may wait for a disk.
    pub(super) disk: QueueClass,
    pub(super) stream: &'a StreamName,
}

/// Starts every output that there is in this version. What is wrong with one is its own state, and stops nothing else.
pub(super) fn outputs(
    place: &Place<'_>,
    configured: &[OutputConfig],
    lanes: &Arc<[Lane]>,
    seed: u64,
) -> Result<Vec<Output>, RunError> {
    if configured.is_empty() {
        return Ok(Vec::new());
    }
    let wires = Wires::new()
        .map_err(|reason| RunError::System { what: "TLS", source: std::io::Error::other(reason) })?;
    let mut running = Vec::new();
    for (number, output) in configured.iter().enumerate() {
        let seed = seed.wrapping_add(number as u64);
        if let Some(recording) = &output.recording {
            let settings = record::Settings {
                name: output.name.clone(),
                path: recording.path.clone(),
                stream: place.stream.to_string(),
                segment: recording.segment,
                keep: recording.keep,
                max_size: recording.max_size,
                room: Room { time: place.disk.time, bytes: place.disk.bytes },
                lanes: Arc::clone(lanes),
                seed,
            };
            running.push(record::start(place.engine, settings));
            continue;
        }
        if output.kind != OutputKind::Whip {
            tracing::warn!(output = %output.name, "this version has no outputs of this kind yet");
            continue;
        }
        let (url, url_file) = (output.url.clone().unwrap_or_default(), output.url_file.clone());
        let token = output.token.clone();
        let settings = Settings {
            name: output.name.clone(),
            url: Box::new(move || match &url_file {
                Some(source) => secret::read("output.url_file", source).map_err(|error| error.to_string()),
                None => Ok(url.clone()),
            }),
            key: Box::new(move || match &token {
                Some(source) => {
                    secret::read("output.token_file", source).map(Some).map_err(|error| error.to_string())
                }
                None => Ok(None),
            }),
            relays: relays(output),
            lanes: Arc::clone(lanes),
            adaptive: output.adaptive,
            seed,
        };
        running.push(whip::start(place.engine, &wires, settings));
    }
    Ok(running)
}

/// The output's own STUN and TURN servers, their secret read when they are used.
fn relays(output: &OutputConfig) -> Relays {
    let (uris, source) = (output.ice_servers.clone(), output.ice_credential.clone());
    Box::new(move || {
        let text = match &source {
            Some(source) if !uris.is_empty() => {
                secret::read("output.ice_credential_file", source).map_err(|error| error.to_string())?
            }
            _ => String::new(),
        };
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let (username, credential) = (lines.next(), lines.next());
        if username.is_some() && credential.is_none() {
            return Err("`ice_credential_file` holds no second line with a password".to_owned());
        }
        let relay = |uri: &String| Relay {
            uri: uri.clone(),
            username: username.clone(),
            credential: credential.clone(),
        };
        Ok(uris.iter().map(relay).collect())
    })
}

fn sfu_options(config: &BoxConfig) -> sfu::Options {
    sfu::Options {
        media: config.sfu.media,
        public_addresses: config.sfu.public_addresses.clone(),
        max_viewers: config.sfu.max_viewers,
        sealed_by: sfu::SealedBy::default(),
    }
}

/// The socket for the command line. Without a place for it the daemon runs all the same; a second daemon does not.
fn socket() -> Result<Option<Listener>, RunError> {
    let Some(path) = SocketPlaces::from_environment().to_listen() else {
        tracing::warn!(
            "no place for the daemon's socket, so `capcast status` will not reach it; set `CAPCAST_SOCKET`"
        );
        return Ok(None);
    };
    match Listener::unix(&path) {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ ListenError::Socket { .. }) if std::env::var_os("CAPCAST_SOCKET").is_none() => {
            tracing::warn!("{error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Resolves when the daemon is to end, with the reason.
fn end_signal() -> Result<impl Future<Output = &'static str>, RunError> {
    let mut interrupt = taken(SignalKind::interrupt())?;
    let mut terminate = taken(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "interrupted",
            _ = terminate.recv() => "told to terminate",
        }
    })
}

/// A signal that the daemon hears itself.
fn taken(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|source| RunError::System { what: "signals", source })
}

/// Made anew when asked for: what is installed or plugged in may have changed.
fn documents(loaded: Arc<ArcSwap<Loaded>>) -> Documents {
    let (examined, listed, found) = (Arc::clone(&loaded), Arc::clone(&loaded), Arc::clone(&loaded));
    Documents {
        recordings: Document::new(move || Ok(recordings::list(&listed.load().config))),
        recording: Box::new(move |output, name| recordings::find(&found.load().config, output, name)),
        profiles: Document::new(move || {
            let loaded = loaded.load();
            let Loaded { config, profiles, fragments, queues } = &**loaded;
            let mut inventory = survey(fragments, false).map_err(|error| error.to_string())?;
            // Nothing is tried here: anybody may ask for this, and it would cost the stream its cores.
            know_remembered(&logging_prober(), &loaded, &mut inventory);
            let offers = plan::offers(config, profiles.values(), fragments, queues, &inventory);
            Ok(plan::render::offers_json(&offers))
        }),
        devices: Document::new(|| Ok(crate::device::json(&crate::device::list()))),
        doctor: Doctor::new(Box::new(move |state| {
            let encoder = state.encode.first().map(|encode| encode.encoder.clone());
            let mut prober = logging_prober();
            prober.gentle = true;
            let running = Running { encoder };
            let report = doctor::examine(&examined.load(), 0, Some(&running), &prober, &|_| ());
            Ok(doctor::json(&report))
        })),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the start took; read once")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
