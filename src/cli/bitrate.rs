//! `capcast bitrate`

use super::{Outcome, client};
use crate::media::Bitrate;

/// Change the bitrate of the picture while it is on air
///
/// Holds until the profile is loaded again. What the profile's `min_bitrate` and the encoder allow is checked by the
/// daemon, which says so when a value does not fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  capcast bitrate '2.5 Mbit/s'\n  capcast bitrate 800kbit/s")]
pub(crate) struct Args {
    /// A number and `kbit/s` or `Mbit/s`
    #[arg(value_name = "VALUE")]
    bitrate: Bitrate,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    client::command(
        "/api/control/bitrate",
        &serde_json::json!({ "bitrate": args.bitrate.to_string() }),
        args.json,
    )
}
