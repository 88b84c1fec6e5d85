//! The command line: one file per subcommand. Data goes to stdout, everything else to stderr.

mod air;
mod bitrate;
mod check;
mod client;
mod completions;
mod devices;
mod doctor;
mod keyframe;
mod logs;
mod man;
mod output;
mod plan;
mod probe_encoder;
mod profiles;
mod progress;
mod run;
mod status;
mod switch;
mod watch;

use std::io::{ErrorKind, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{Diagnostics, Look};

/// Capture a live picture, encode it, and send it to browsers and WHIP servers.
#[derive(Debug, Parser)]
#[command(name = "capcast", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Plan(plan::Args),
    Profiles(profiles::Args),
    Devices(devices::Args),
    Doctor(doctor::Args),
    Status(status::Args),
    Switch(switch::Args),
    Start(air::StartArgs),
    Stop(air::StopArgs),
    Restart(air::RestartArgs),
    Reload(air::ReloadArgs),
    Keyframe(keyframe::Args),
    Bitrate(bitrate::Args),
    Outputs(output::ListArgs),
    Output(output::Args),
    Logs(logs::Args),
    Completions(completions::Args),
    Man(man::Args),
    /// Try one encoder: JSON in, JSON out
    #[command(hide = true)]
    ProbeEncoder,
}

/// What a subcommand ends with, as an exit code. Wrong usage (2) is clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0
    Done,
    /// 1: what was asked for failed or is invalid, and stderr says why.
    Failed,
    /// 3: no daemon answers on the socket.
    Unreachable,
}

/// Parses the arguments, runs the subcommand, gives the exit code: 0 done, 1 failed, 2 wrong usage, 3 no daemon.
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Profiles(args) => profiles::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Switch(args) => switch::run(&args),
        Command::Start(args) => air::start(&args),
        Command::Stop(args) => air::stop(&args),
        Command::Restart(args) => air::restart(&args),
        Command::Reload(args) => air::reload(&args),
        Command::Keyframe(args) => keyframe::run(&args),
        Command::Bitrate(args) => bitrate::run(&args),
        Command::Outputs(args) => output::list(&args),
        Command::Output(args) => output::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::ProbeEncoder => probe_encoder::run(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Unreachable) => ExitCode::from(3),
        Err(error) => {
            report(&error);
            ExitCode::from(1)
        }
    }
}

/// Writes a command's answer to stdout. A reader that has seen enough (`capcast devices | head`) is no failure.
pub(crate) fn answer(text: &str) -> anyhow::Result<Outcome> {
    tell(text).map(|_| Outcome::Done)
}

/// The same for what goes on: breaks when nobody reads any more.
pub(crate) fn tell(text: &str) -> anyhow::Result<ControlFlow<Outcome>> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(Outcome::Done)),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

/// What tries encoders; says on stderr when nothing is remembered of them for a broken file.
#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
pub(crate) fn prober() -> crate::probe::Prober {
    let (prober, trouble) = crate::daemon::prober();
    if let Some(trouble) = trouble {
        eprintln!("warning: {trouble}");
    }
    prober
}

/// Writes what is wrong with configuration files to stderr, in colour on a terminal.
pub(crate) fn report_problems(problems: &Diagnostics) {
    let wanted = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let colour = std::io::stderr().is_terminal() && wanted("NO_COLOR") && !dumb;
    let width = if std::io::stderr().is_terminal() { 100 } else { Look::PLAIN.width };
    let report = problems.render(Look { colour, width });
    // Where stderr is closed nobody reads it.
    let _ = std::io::stderr().write_all(report.as_bytes());
}

/// Writes an error with its causes to stderr.
#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
