//! `capcast switch`

use super::{Outcome, client};

/// Go on with another profile while on air
///
/// The new encoder starts beside the running one and takes over with its first keyframe; whoever watches sees the picture
/// go on. Returns when it is on air. One that fails, or brings no keyframe within 14 s, leaves the running one as it is.
/// Remembered over restarts until `profile` in capcast.toml changes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  capcast profiles                 which there are, and which run here\n  capcast switch vp9-720p60"
)]
pub(crate) struct Args {
    /// A profile's name, or `auto`
    #[arg(value_name = "PROFILE")]
    profile: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    client::command("/api/control/switch", &serde_json::json!({ "profile": args.profile }), args.json)
}
