//! `capcast check`

use std::path::{Path, PathBuf};

use super::Outcome;
use crate::config::Diagnostics;
use crate::daemon::files::{Counted, DEFAULT_CONFIG, Sources};

/// Check configuration, profiles and fragments; report every problem at once.
///
/// Without FILE: everything `capcast run` would read, that is /etc/capcast/capcast.toml and the profiles and pipelines
/// that are built in and those in /usr/share/capcast and /etc/capcast. With FILE: those files; a folder stands for the
/// capcast.toml, profiles and pipelines in it. What a file is shows in its place (profiles/, pipelines/encoder/, …) or
/// else in its content.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files or folders to check
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the problems as JSON on stdout: [{severity, file, line, column, message, hint}]
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  capcast check                           what the daemon would load
  capcast check my.toml                   one file, before installing it
  capcast check ~/new/                    a folder with capcast.toml, profiles/, pipelines/
  capcast check --json | jq '.[].message'

Exit code: 0 all is well (warnings allowed), 1 at least one error.";

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let system = Sources::of_system(None);
    let (counted, problems) = match args.files.is_empty() {
        true => (system.counted(), system.load(&[]).1),
        false => check(&args.files, system),
    };
    let failed = problems.has_errors();
    if args.json {
        super::answer(&format!("{:#}\n", problems.to_json()))?;
    } else {
        super::report_problems(&problems);
        if !failed {
            let absent = args.files.is_empty() && counted.configurations == 0;
            let defaults =
                if absent { format!("; no {DEFAULT_CONFIG}, so its defaults hold") } else { String::new() };
            super::answer(&format!("ok: {}{defaults}\n", words(counted)))?;
        }
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// Each on its own, as two files may have the same name; what one mentions may be in any other or in the system's.
fn check(paths: &[PathBuf], mut others: Sources) -> (Counted, Diagnostics) {
    let read = |path: &PathBuf| {
        let mut given = Sources::default();
        if path.is_dir() {
            given.read_folder(path);
        } else {
            given.read_any(path);
        }
        given
    };
    let given: Vec<Sources> = paths.iter().map(read).collect();
    // As `run --config` would, with what stands beside a file.
    for beside in paths.iter().filter(|path| path.is_file()).filter_map(|path| path.parent()) {
        others.overlay(if beside.as_os_str().is_empty() { Path::new(".") } else { beside });
    }
    given.iter().for_each(|given| others.extend(given));
    let (mut counted, mut problems) = (Counted::default(), Diagnostics::default());
    for given in given {
        counted += given.counted();
        problems.append(given.check_among(&others));
    }
    (counted, problems)
}

/// `1 configuration, 14 profiles`
fn words(counted: Counted) -> String {
    let counts = [
        (counted.configurations, "configuration", "configurations"),
        (counted.profiles, "profile", "profiles"),
        (counted.fragments, "fragment", "fragments"),
        (counted.queues, "table of queue sizes", "tables of queue sizes"),
    ];
    let named = counts.iter().filter(|(count, ..)| *count > 0);
    let named = named.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
    named.collect::<Vec<_>>().join(", ")
}
