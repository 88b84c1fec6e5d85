//! `capcast profiles`

use std::path::PathBuf;

use super::{Outcome, answer, plan};
use crate::daemon::survey;
use crate::plan::{offers, render};

/// List profiles and whether they can run here; the configured one is marked
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON: [{name, summary, codec, encoder, size, framerate, bitrate, runs, missing, active}]
    #[arg(long)]
    json: bool,
    /// The configuration that says which one is active
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let Some(loaded) = plan::load(args.config.as_deref()) else { return Ok(Outcome::Failed) };
    // What is plugged in says nothing of an encoder.
    let inventory = survey(&loaded.fragments, false)?;
    let offers =
        offers(&loaded.config, loaded.profiles.values(), &loaded.fragments, &loaded.queues, &inventory);
    answer(&match args.json {
        true => format!("{:#}\n", render::offers_json(&offers)),
        false => render::offers_text(&offers),
    })
}
