//! `capcast doctor`

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;

use super::progress::Progress;
use super::{Outcome, client};
use crate::daemon::doctor::{self, Running};
use crate::daemon::files::Sources;

/// Check this box, and say what to do about what is missing
///
/// GStreamer, encoders, devices and rights, ports, network, outputs, clock and folders. Real frames go through every encoder. Nothing is changed, and no server is contacted but those of configured outputs.
/// Works without a daemon; beside a running one, what that uses is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  capcast doctor
  sudo -u capcast capcast doctor          as the service sees it
  capcast doctor --json | jq '.checks[] | select(.level == \"fail\")'

Exit code: 0 nothing failed (warnings allowed), 1 something did.")]
pub(crate) struct Args {
    /// As JSON: {version, at, well, counts, checks: [{group, name, level, words, cure, package}]}
    #[arg(long)]
    json: bool,
    /// The configuration to check the box for [default: /etc/capcast/capcast.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let (loaded, problems) = Sources::of_system(args.config.as_deref()).load(&[]);
    let broken = problems.count(crate::config::Severity::Error);
    let Some(loaded) = loaded.or_else(|| Sources::shipped().load(&[]).0) else {
        anyhow::bail!("what is built in cannot be read");
    };
    let running = client::peek("/api/status")
        .map(|state| Running { encoder: state["encode"]["encoder"].as_str().map(str::to_owned) });
    let mut prober = super::prober();
    prober.gentle = running.is_some();
    let progress = Progress::new("looking at this box");
    let report = doctor::examine(&loaded, broken, running.as_ref(), &prober, &|step| match step {
        doctor::Progress::Encoder(step) => progress.step(step),
        doctor::Progress::Looking(what) => progress.say(what),
    });
    progress.end();
    if args.json {
        super::answer(&format!("{:#}\n", doctor::json(&report)))?;
    } else {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        super::answer(&doctor::text(&report, 80, colour))?;
    }
    Ok(if report.is_well() { Outcome::Done } else { Outcome::Failed })
}
