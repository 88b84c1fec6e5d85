//! Why the daemon does not run.

use std::path::PathBuf;

use crate::config::Diagnostics;
use crate::engine::InitError;
use crate::http::{ListenError, TlsError, TokenKeyError};
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
    /// What tokens are signed with.
    #[error("`{key}`: {reason}")]
    TokenKey {
        /// The key that names its file.
        key: &'static str,
        /// Why it does not serve.
        reason: TokenKeyError,
    },
    /// No webhook can be asked.
    #[error("`sfu.webhook`: {0}")]
    Webhook(String),
    /// A key that opens more than one stream.
    #[error("`{table}`: `{stream}` and `{other}` have the same key\nhint: give each stream a key of its own")]
    SameKey {
        /// Whose keys these are.
        table: &'static str,
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
