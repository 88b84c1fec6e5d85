//! `capcast start`, `stop`, `restart`, `reload`

use super::{Outcome, client};

/// Go on air again after `capcast stop`
///
/// Opens the card, encodes, and lets the outputs publish that did before. Returns when the picture is on air.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// Go off air; the daemon stays
///
/// Ends what the outputs publish, and gives the capture card and the sound card back. Viewers stay connected and see the
/// picture again after `capcast start`.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// Build everything anew, from the card to the encoders
///
/// The configuration stays as it was read; see `capcast reload`. The picture stands still for a moment.
#[derive(Debug, clap::Args)]
pub(crate) struct RestartArgs {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// Read the configuration again and rebuild what differs
///
/// A configuration with errors changes nothing, and every error is reported. SIGHUP does the same, and reports to the log.
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn start(args: &StartArgs) -> anyhow::Result<Outcome> {
    client::command("/api/control/start", &serde_json::json!({}), args.json)
}

pub(crate) fn stop(args: &StopArgs) -> anyhow::Result<Outcome> {
    client::command("/api/control/stop", &serde_json::json!({}), args.json)
}

pub(crate) fn restart(args: &RestartArgs) -> anyhow::Result<Outcome> {
    client::command("/api/control/restart", &serde_json::json!({}), args.json)
}

pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<Outcome> {
    client::command("/api/control/reload", &serde_json::json!({}), args.json)
}
