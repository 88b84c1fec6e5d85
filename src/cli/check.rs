//! `capcast check`

use super::Outcome;

/// Check configuration, profiles and fragments; report every problem at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> anyhow::Result<Outcome> {
    anyhow::bail!("not built yet")
}
