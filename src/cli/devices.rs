//! `capcast devices`

use super::{Outcome, answer};
use crate::device;

/// List capture devices with their modes and signal, and sound cards
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let devices = device::list();
    answer(&if args.json { format!("{:#}\n", device::json(&devices)) } else { device::text(&devices) })
}
