//! `capcast doctor`: looks at everything that Capcast needs of a box, and says what to do where something is missing.
//!
//! Each file looks at one side of the box and adds [`Check`]s. Nothing is changed, nothing is contacted but the servers
//! that the configuration names.

mod hardware;
mod host;
mod network;
mod report;
mod software;
mod source;

use crate::config::SecretSource;
use crate::daemon::files::Loaded;
use crate::probe::{Prober, Step};

use super::{secret, survey};

pub use report::{json, text};

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not looked at, or not needed here; nothing to do.
    Skip,
    /// Works, but not as well as it could.
    Warn,
    /// Capcast does not work with this.
    Fail,
}

impl Level {
    /// `ok`, `skip`, `warn`, `fail`
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Skip => "skip",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The side of the box: `GStreamer`, `Encoders`, …
    pub group: &'static str,
    /// What: `x264`, `/dev/video0`, `HTTP port`
    pub name: String,
    /// How it stands.
    pub level: Level,
    /// In words.
    pub words: String,
    /// What to do, where there is something.
    pub cure: Option<String>,
    /// The Debian package to install, where that is the cure.
    pub package: Option<String>,
}

impl Check {
    fn new(group: &'static str, name: &str, level: Level, words: impl Into<String>) -> Check {
        Check { group, name: name.to_owned(), level, words: words.into(), cure: None, package: None }
    }

    fn cure(mut self, cure: impl Into<String>) -> Check {
        self.cure = Some(cure.into());
        self
    }

    /// The cure is a package, if it is known.
    fn package(mut self, package: Option<String>) -> Check {
        if let Some(package) = package {
            self.cure = Some(format!("install the Debian package `{package}`"));
            self.package = Some(package);
        }
        self
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order looked at, grouped.
    pub checks: Vec<Check>,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Report {
    /// Nothing failed.
    pub fn is_well(&self) -> bool {
        self.count(Level::Fail) == 0
    }

    /// How many checks came out like this.
    pub fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }
}

/// The daemon that runs on this box, as far as it matters: what it uses is not free, and that is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The fragment that encodes the picture now.
    pub encoder: Option<String>,
}

/// What it tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Encoders are tried.
    Encoder(Step<'a>),
    /// Anything else, in a word or two.
    Looking(&'a str),
}

/// Looks at everything. Blocks for as long as encoders and servers take, some seconds. `broken` counts errors of the
/// configuration: then `loaded` is what is built in.
pub fn examine(
    loaded: &Loaded,
    broken: usize,
    running: Option<&Running>,
    prober: &Prober,
    told: &(dyn Fn(Progress<'_>) + Sync),
) -> Report {
    let mut checks = Vec::new();
    told(Progress::Looking("GStreamer"));
    match survey(&loaded.fragments, false) {
        Ok(mut inventory) => {
            let look = software::Look { loaded, running, prober, told };
            look.gstreamer(&inventory, &mut checks);
            look.encoders(&mut inventory, &mut checks);
            software::configuration(broken, &mut checks);
            look.profile(&inventory, &mut checks);
        }
        Err(error) => checks.push(
            Check::new("GStreamer", "version", Level::Fail, error.to_string())
                .package(Some("libgstreamer1.0-0".to_owned())),
        ),
    }
    told(Progress::Looking("devices"));
    hardware::look(&loaded.config, running, &mut checks);
    source::look(&loaded.config, running, &mut checks);
    told(Progress::Looking("network"));
    network::look(&loaded.config, running, &mut checks);
    told(Progress::Looking("outputs"));
    network::outputs(&loaded.config, &mut checks);
    host::look(&loaded.config, &mut checks);
    Report { checks, at: host::wall() }
}

/// Can it be read, and does it say something? The secret itself goes nowhere.
fn readable(key: &'static str, source: &SecretSource) -> Result<(), String> {
    secret::read(key, source).map(drop).map_err(|error| error.to_string())
}
