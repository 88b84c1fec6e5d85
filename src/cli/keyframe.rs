//! `capcast keyframe`

use super::{Outcome, client};

/// Make the next picture a keyframe
///
/// Viewers ask for keyframes by themselves when they need one; this is for trying things out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    client::command("/api/control/keyframe", &serde_json::json!({}), args.json)
}
