//! `capcast completions`

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Outcome, answer};

/// Write completions for a shell to stdout
///
/// Packages install them. By hand, for this user and bash:
/// `capcast completions bash >~/.local/share/bash-completion/completions/capcast`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "capcast", &mut text);
    answer(&String::from_utf8_lossy(&text))
}
