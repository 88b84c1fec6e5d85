//! `capcast plan`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;

use super::{Outcome, answer, report_problems};
use crate::config::Profile;
use crate::config::parse::nearest;
use crate::daemon::files::{Loaded, Sources};
use crate::daemon::{know_candidates, survey, survey_file};
use crate::plan::{Inventory, auto_profile, render, resolve};

/// Show what would be built for a profile, and why
///
/// What `capcast run` would decide: an encoder that did not run when it was tried is refused, and one in hardware that was
/// never tried is tried first. No device is opened for streaming. `launch` prints one line for gst-launch-1.0 that captures
/// and encodes as Capcast would and throws the result away; where an element is built into Capcast only, a first line
/// `# needs …` names it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A profile's name, or auto
    profile: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The configuration that says what to capture
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  capcast plan vp9-720p60
  capcast plan auto --format dot | dot -Tsvg > plan.svg
  eval gst-launch-1.0 \"$(capcast plan h264-x264-720p30 --format launch)\"";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For gst-launch-1.0
    Launch,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let Some(loaded) = load(args.config.as_deref()) else { return Ok(Outcome::Failed) };
    let mut inventory = survey(&loaded.fragments, true)?;
    survey_file(&loaded.config, &mut inventory);
    let profile = chosen(&args.profile, &loaded, &inventory)?;
    know_candidates(&super::prober(), &profile, (&loaded.fragments, &loaded.queues), &mut inventory);
    let plan = match resolve(&loaded.config, &profile, &loaded.fragments, &loaded.queues, &inventory) {
        Ok(plan) => plan,
        Err(errors) => {
            let words = errors.iter().map(|error| match error.hint() {
                Some(hint) => format!("{error}\n  hint: {hint}"),
                None => error.to_string(),
            });
            bail!("{}", words.collect::<Vec<_>>().join("\nerror: "));
        }
    };
    answer(&match if args.json { Format::Json } else { args.format } {
        Format::Text => render::text(&plan),
        Format::Launch => render::launch(&plan, &inventory),
        Format::Json => format!("{:#}\n", render::json(&plan)),
        Format::Dot => render::dot(&plan),
    })
}

/// The configuration tree; `None` when it is wrong, which is reported.
pub(super) fn load(config: Option<&Path>) -> Option<Loaded> {
    let (loaded, problems) = Sources::of_system(config).load(&[]);
    report_problems(&problems);
    loaded
}

fn chosen(name: &str, loaded: &Loaded, inventory: &Inventory) -> anyhow::Result<Profile> {
    if name == "auto" {
        return Ok(auto_profile(inventory));
    }
    if let Some(profile) = loaded.profiles.get(name) {
        return Ok(profile.clone());
    }
    match nearest(name, loaded.profiles.keys().map(String::as_str)) {
        Some(meant) => bail!("there is no profile `{name}`\n  hint: did you mean `{meant}`?"),
        None => bail!("there is no profile `{name}`\n  hint: `capcast profiles` lists them"),
    }
}
