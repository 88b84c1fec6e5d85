//! The recording's clock, its files and its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::Settings;
use super::names::{Finished, Names, TIME, surplus};
use crate::engine::Engine;
use crate::engine::container::{Container, ContainerError};
use crate::engine::webrtc::TransportStats;
use crate::media::{ByteSize, Codec};
use crate::output::attempts::{Attempts, LOOK, now};
use crate::output::report::{BACKOFF, DISK_FULL, RECORDING};
use crate::output::{Order, Orders};
use crate::whip::client::Phase;

/// How often what was written is put onto the disk itself, so that a power cut costs no more than that.
const SYNC: Duration = Duration::from_secs(1);
/// How often old files are looked for while one grows.
const SWEEP: Duration = Duration::from_secs(60);
/// How often a full disk is looked at.
const ROOM: Duration = Duration::from_secs(2);
/// A recording goes on when there is room for this long, at the bitrate that it had.
const ENOUGH: Duration = Duration::from_secs(10);
/// And for this much at the least.
const ENOUGH_BYTES: u64 = 2_000_000;

pub(super) struct Driver {
    engine: Engine,
    settings: Settings,
    names: Names,
    orders: Orders,
    attempts: Attempts,
    wanted: bool,
    finishing: bool,
    current: Option<Growing>,
    /// Goes on until `current` has begun.
    before: Option<Growing>,
    ending: JoinSet<()>,
    /// What a second took when it was last known.
    bitrate: u64,
    sync_at: Instant,
    sweep_at: Instant,
}

/// A file that is being written.
struct Growing {
    container: Container,
    path: PathBuf,
    codec: Option<Codec>,
    since: Instant,
}

impl Driver {
    pub(super) fn new(engine: Engine, settings: Settings, orders: Orders) -> Driver {
        let names = Names::new(&settings.path, &settings.stream);
        let now = now();
        Driver {
            engine,
            names,
            attempts: Attempts::new(&settings.name, settings.seed, &orders),
            settings,
            orders,
            wanted: false,
            finishing: false,
            current: None,
            before: None,
            ending: JoinSet::new(),
            bitrate: 0,
            sync_at: now,
            sweep_at: now,
        }
    }

    /// Until it is told to finish and has, or nobody holds the output any more.
    pub(super) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = self.orders.inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                Ok(()) = self.orders.lanes.changed() => {
                    self.settings.lanes = Arc::clone(&self.orders.lanes.borrow_and_update());
                }
                Some(_) = self.ending.join_next() => {}
                _ = looks.tick() => self.look().await,
            }
            self.show();
            if self.finishing {
                while self.ending.join_next().await.is_some() {}
                return;
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start if !self.wanted => {
                self.wanted = true;
                self.attempts.forgive();
                self.begin().await;
            }
            Order::Start => {}
            Order::Stop | Order::Finish => {
                self.finishing = order == Order::Finish;
                self.wanted = false;
                for file in [self.before.take(), self.current.take()].into_iter().flatten() {
                    self.end(file);
                }
                self.attempts.stop();
            }
        }
    }

    /// Opens the next file; the present one goes on until that has its first picture.
    async fn begin(&mut self) {
        self.attempts.cancel();
        let (engine, names, lanes) =
            (self.engine.clone(), self.names.clone(), Arc::clone(&self.settings.lanes));
        let (name, room) = (self.settings.name.clone(), self.settings.room);
        let (least, folder) = (self.enough(), self.names.folder().to_owned());
        let codec = self.codec();
        let growing = [&self.current, &self.before].into_iter().flatten();
        let remainder = growing.into_iter().find_map(|file| file.container.remainder());
        let opened = spawn_blocking(move || {
            fs::create_dir_all(&folder).map_err(|error| cannot(&folder, &error))?;
            if free(&folder).is_some_and(|free| free < least) {
                return Err(ContainerError::Full);
            }
            let time = chrono::Local::now().format(TIME).to_string();
            let path = names.fresh(&time, Path::exists);
            // GStreamer's own words for a folder that is not to be written to name neither.
            fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .map_err(|error| cannot(&path, &error))?;
            let made = engine.matroska(&name, &lanes, room, &path, remainder.as_ref());
            if made.is_err() {
                // It is empty.
                let _ = fs::remove_file(&path);
            }
            Ok((made?, path))
        });
        match opened.await.unwrap_or_else(|error| Err(ContainerError::Failed(error.to_string()))) {
            Ok((container, path)) => {
                tracing::info!(output = %self.settings.name, "recording to `{}`", path.display());
                let file = Growing { container, path, codec, since: now() };
                if let Some(current) = self.current.replace(file)
                    && let Some(earlier) = self.before.replace(current)
                {
                    self.end(earlier);
                }
                self.sweep_at = now();
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn look(&mut self) {
        if self.attempts.is_due() {
            return self.begin().await;
        }
        let Some(current) = &self.current else { return };
        if let Some(error) = current.container.fault() {
            return self.fail(&error);
        }
        let stats = current.container.stats();
        self.bitrate = self.bitrate.max(stats.bitrate);
        if current.container.has_begun() {
            if stats.units > 0 && now() >= current.since + SYNC {
                self.attempts.forgive();
            }
            if let Some(before) = self.before.take() {
                self.end(before);
            }
            self.keep_safe();
            self.sweep(stats.bytes);
        }
        let Some(current) = &self.current else { return };
        let due = self.settings.segment.is_some_and(|segment| now() >= current.since + segment);
        if current.container.has_begun() {
            if due || current.container.remainder().is_some() {
                self.begin().await;
            }
        } else if current.codec != self.codec() {
            // Nobody makes any more what it waits for.
            if let Some(empty) = self.current.take() {
                self.end(empty);
            }
            self.begin().await;
        }
    }

    /// The picture's, as last heard.
    fn codec(&self) -> Option<Codec> {
        self.settings.lanes.first().map(|lane| lane.codec)
    }

    /// The files end as they are; the next attempt is due when there is hope.
    fn fail(&mut self, error: &ContainerError) {
        for file in [self.before.take(), self.current.take()].into_iter().flatten() {
            self.end(file);
        }
        let folder = self.names.folder().display();
        let (state, wait, words) = match error {
            ContainerError::Full => {
                let least = ByteSize::from_bytes(self.enough());
                let words = format!("`{folder}` is full; goes on when {least} are free");
                (DISK_FULL, Some(ROOM), words)
            }
            error => (BACKOFF, None, error.to_string()),
        };
        self.attempts.fail(state, words, wait);
    }

    /// Finishes a file, on a thread that may wait for the disk.
    fn end(&mut self, file: Growing) {
        self.attempts.carry(sum(self.attempts.carried(), file.container.stats()));
        let output = self.settings.name.clone();
        self.ending.spawn_blocking(move || {
            let begun = file.container.has_begun();
            let outcome = file.container.finish();
            if !begun {
                // Nothing is in it.
                let _ = fs::remove_file(&file.path);
                return;
            }
            match outcome {
                Ok(()) => tracing::info!(output, "`{}` is done", file.path.display()),
                Err(error) => tracing::warn!(output, "`{}` has no index: {error}", file.path.display()),
            }
        });
    }

    /// Puts what was written onto the disk itself.
    fn keep_safe(&mut self) {
        if now() < self.sync_at || self.ending.len() > 4 {
            return;
        }
        self.sync_at = now() + SYNC;
        if let Some(path) = self.current.as_ref().map(|file| file.path.clone()) {
            self.ending.spawn_blocking(move || {
                // A disk that refuses says so to the writer as well.
                let _ = fs::File::open(path).and_then(|file| file.sync_data());
            });
        }
    }

    /// Deletes what is too old or too much.
    fn sweep(&mut self, growing: u64) {
        let limits = (self.settings.keep, self.settings.max_size.map(ByteSize::bytes));
        if limits == (None, None) || now() < self.sweep_at {
            return;
        }
        self.sweep_at = now() + SWEEP;
        let (names, output) = (self.names.clone(), self.settings.name.clone());
        let Some(current) = self.current.as_ref().map(|file| file.path.clone()) else { return };
        self.ending.spawn_blocking(move || {
            let finished = finished(&names, &current);
            for path in surplus(finished, growing, limits, system_time()) {
                match fs::remove_file(&path) {
                    Ok(()) => tracing::info!(output, "deleted `{}`, as configured", path.display()),
                    Err(error) => tracing::warn!(output, "cannot delete `{}`: {error}", path.display()),
                }
            }
        });
    }

    /// How much room it takes to begin.
    fn enough(&self) -> u64 {
        (self.bitrate / 8 * ENOUGH.as_secs()).max(ENOUGH_BYTES)
    }

    fn show(&mut self) {
        let present = self.current.as_ref().map(|current| {
            let present = current.container.stats();
            let path = current.path.display();
            let spans = now().saturating_duration_since(current.since).as_secs();
            let size = ByteSize::from_bytes(present.bytes);
            let (state, words) = if current.container.has_begun() {
                let span = format!("{}:{:02}:{:02}", spans / 3_600, spans / 60 % 60, spans % 60);
                (RECORDING, format!("to `{path}`, {span}, {size}"))
            } else {
                (Phase::Connecting.as_str(), "waits for a keyframe".to_owned())
            };
            (state, words, sum(self.attempts.carried(), present))
        });
        self.attempts.show(present);
    }
}

/// The output's own files, but the one that grows.
fn finished(names: &Names, current: &Path) -> Vec<Finished> {
    let Ok(entries) = fs::read_dir(names.folder()) else { return Vec::new() };
    let ours = entries.flatten().filter(|entry| names.is_ours(&entry.file_name().to_string_lossy()));
    let others = ours.filter(|entry| entry.path() != current);
    others
        .filter_map(|entry| {
            let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(Finished { path: entry.path(), bytes: about.len(), written: about.modified().ok()? })
        })
        .collect()
}

/// Bytes that this process may still write where the folder is.
fn free(folder: &Path) -> Option<u64> {
    let about = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(about.blocks_available() * about.fragment_size())
}

fn cannot(path: &Path, error: &std::io::Error) -> ContainerError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ContainerError::Full,
        _ => ContainerError::Failed(format!("cannot write `{}`: {error}", path.display())),
    }
}

/// Counters of both, measurements of the second.
fn sum(carried: &TransportStats, present: TransportStats) -> TransportStats {
    TransportStats {
        units: carried.units + present.units,
        bytes: carried.bytes + present.bytes,
        dropped: carried.dropped + present.dropped,
        ..present
    }
}

#[expect(clippy::disallowed_methods, reason = "files tell their age by the wall clock")]
fn system_time() -> SystemTime {
    SystemTime::now()
}
