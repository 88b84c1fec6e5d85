//! Why the daemon does not run.

use std::path::PathBuf;

use crate::config::Diagnostics;
use crate::engine::InitError;
use crate::http::{ListenError, TlsError};
use crate::media::StreamName;
use crate::plan::PlanError;
use crate::sfu;

/// Why the daemon did not start, or ended. Nothing is left half started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration has errors; every one of them is in here.
    #[error("the configuration has errors")]
    Config(Box<Diagnostics>),
    /// No profile of that name.
    #[error("there is no profile `{0}`")]
    NoProfile(String),
    /// The profile cannot be planned on this box.
    #[error("profile `{profile}` cannot run here")]
    Plan {
        /// Its name.
        profile: String,
        /// Every reason.
        reasons: Vec<PlanError>,
    },
    /// The configuration asks for what this version does not do, where going on without would be wrong.
    #[error("`{key}` is configured, and this version cannot do that yet\nhint: {hint}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A secret's file.
    #[error("`{key}`: cannot read `{}`: {reason}", path.display())]
    Secret {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate and a key that TLS cannot use.
    #[error("`http.tls_certificate` `{}` and `http.tls_key` `{}`: {reason}", certificate.display(), key.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        reason: TlsError,
    },
    /// A publish key that says nothing.
    #[error(
        "`sfu.publisher`: `{stream}` and `{other}` have the same key\nhint: give each stream a key of its own"
    )]
    SameKey {
        /// One.
        stream: StreamName,
        /// The other.
        other: StreamName,
    },
    /// The port or the socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The SFU.
    #[error("{0}\nhint: another program may use that port; choose one with `--set sfu.media='[::]:PORT'`")]
    Sfu(#[from] sfu::StartError),
    /// GStreamer.
    #[error(transparent)]
    Gstreamer(#[from] InitError),
    /// The system refused threads or signals.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}
