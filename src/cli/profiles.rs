//! `capcast profiles`

use std::path::PathBuf;

use super::progress::Progress;
use super::{Outcome, answer, client, plan};
use crate::daemon::{pictures, survey};
use crate::plan::{Fragment, offers, render};

/// List profiles and whether they can run here; the configured one is marked
///
/// "Runs here" means that real frames went through the encoder. Encoders that were not tried yet, or are not the same any
/// more, are tried now, each in a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON: [{name, summary, codec, encoder, size, framerate, bitrate, runs, tried, missing, active}]
    #[arg(long)]
    json: bool,
    /// The configuration that says which one is active
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let Some(loaded) = plan::load(args.config.as_deref()) else { return Ok(Outcome::Failed) };
    // What is plugged in says nothing of an encoder.
    let mut inventory = survey(&loaded.fragments, false)?;
    let running = client::peek("/api/status");
    let on_air = running.as_ref().and_then(|state| state["encode"]["encoder"].as_str());
    // Hardware that takes one at a time would refuse a second one, and that would be remembered.
    let free = |encoder: &&Fragment| !encoder.exclusive || on_air != Some(encoder.name.as_str());
    let encoders: Vec<_> = pictures(&loaded.fragments).filter(free).collect();
    let mut prober = super::prober();
    prober.gentle = running.is_some();
    let progress = Progress::new("trying encoders");
    let files = (&loaded.fragments, &loaded.queues);
    inventory.verdicts = prober.verdicts(&encoders, files, &inventory, &|step| progress.step(step));
    progress.end();
    let offers =
        offers(&loaded.config, loaded.profiles.values(), &loaded.fragments, &loaded.queues, &inventory);
    answer(&match args.json {
        true => format!("{:#}\n", render::offers_json(&offers)),
        false => render::offers_text(&offers),
    })
}
