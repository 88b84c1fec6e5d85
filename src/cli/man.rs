//! `capcast man`

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, Outcome};

/// Write the manual pages into a folder: capcast(1) and one for each subcommand
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))?;
    Ok(Outcome::Done)
}
