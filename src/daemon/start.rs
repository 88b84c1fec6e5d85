//! From options to the running appliance, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::compose::{Files, compose};
use super::doctor::{self, Running};
use super::doors::{Doors, Keys};
use super::files::Loaded;
use super::remembered::Remembered;
use super::survey::logging_prober;
use super::target::{Held, Target, Wanted, aim};
use super::{Options, RunError, SocketPlaces, know_remembered, recordings, survey};
use crate::config::BoxConfig;
use crate::control::{self, State};
use crate::engine;
use crate::http::{
    self, Doctor, Document, Documents, FeedLimits, Feeds, History, Limits, ListenError, Listener, Site,
};
use crate::plan;
use crate::sfu;
use crate::telemetry::LogRing;

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

/// The profile that was switched to, as long as it can run; else the configured one.
fn first_target(loaded: &Loaded, remembered: Option<&Remembered>) -> Result<Target, RunError> {
    let configured = &loaded.config.profile;
    if let Some(name) = remembered.and_then(|remembered| remembered.profile(configured)) {
        match aim(loaded, Wanted::named(&name), &Held::default()) {
            Ok(target) => {
                tracing::info!("going on with profile `{name}`, which was switched to");
                return Ok(target);
            }
            Err(error) => {
                tracing::warn!("profile `{name}` was switched to, but: {error}; the configured one instead");
            }
        }
    }
    aim(loaded, Wanted::Chosen(configured.clone()), &Held::default())
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
