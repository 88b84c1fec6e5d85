//! `capcast run`

use std::io::{IsTerminal, stderr};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Outcome;
use crate::config::Look;
use crate::config::parse::Override;
use crate::daemon::{self, Live, Options, RunError};

/// Run the daemon in the foreground; logs go to stderr
///
/// Captures, encodes and serves the picture until Ctrl-C or SIGTERM. What it does is in /etc/capcast/capcast.toml; without
/// that file it takes the first capture card it finds, or else a test picture.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  capcast run --demo                            try it out: test picture and tone, on this host only
  capcast run --demo --listen 0.0.0.0:8899      the same, for everyone on the network
  capcast run --set profile=vp9-720p60          another profile, just this once
  capcast run --set capture.video=/dev/video0 --set capture.audio=none
  capcast run --config ./capcast.toml

The log's level is in CAPCAST_LOG: warn, info, debug, or directives such as `capcast::sfu=trace`.")]
pub(crate) struct Args {
    /// The configuration [default: /etc/capcast/capcast.toml, if it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    config: Option<PathBuf>,
    /// Test picture and tone on this host; reads nothing from disk, publishes nothing outside
    #[arg(long)]
    demo: bool,
    /// Where to serve HTTP; port 0 takes any free one, and says which
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Set one key of the configuration; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<Outcome> {
    let logging = daemon::start_logging();
    let options = Options {
        config: args.config,
        demo: args.demo,
        listen: args.listen,
        set: args.set.iter().map(|text| Override::new(text)).collect(),
    };
    let ended = daemon::run(&options, |live| announce(&live));
    // What is said now comes after what was logged.
    drop(logging);
    match ended {
        Ok(()) => Ok(Outcome::Done),
        Err(error) => {
            report(&error);
            Ok(Outcome::Failed)
        }
    }
}

/// Says on stdout where the stream can be watched.
fn announce(live: &Live) {
    let mut text = format!("\n  Watch:    {}\n", url(live));
    text += &format!("  Panel:    {}panel\n", url(live));
    text += &format!("  Stream:   {}, {}\n", live.stream, live.words);
    if live.socket {
        text += "  Control:  capcast status · capcast switch PROFILE · capcast bitrate '2 Mbit/s'\n";
    }
    text += "  Stop:     Ctrl-C\n\n";
    // A closed stdout is no reason to end the daemon.
    let _ = super::answer(&text);
}

/// An address that a browser on this host can open.
fn url(live: &Live) -> String {
    let scheme = if live.secure { "https" } else { "http" };
    match live.http {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("{scheme}://127.0.0.1:{}/", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("{scheme}://localhost:{}/", v6.port()),
        other => format!("{scheme}://{other}/"),
    }
}

#[expect(clippy::print_stderr, reason = "stderr is where a command line reports")]
fn report(error: &RunError) {
    if let RunError::Plan { reasons, .. } = error
        && let [reason] = reasons.as_slice()
        && reason.key().is_some_and(|key| key.starts_with("capture."))
    {
        // Nothing to do with the profile.
        eprintln!("error: {reason}");
        if let Some(hint) = reason.hint() {
            eprintln!("hint: {hint}");
        }
        return;
    }
    match error {
        RunError::Config(problems) => {
            let colour =
                stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            eprint!("{}", problems.render(Look { colour, ..Look::PLAIN }));
        }
        RunError::Plan { reasons, .. } => {
            eprintln!("error: {error}");
            for reason in reasons {
                eprintln!("  {reason}");
                if let Some(hint) = reason.hint() {
                    eprintln!("  hint: {hint}");
                }
            }
        }
        other => eprintln!("error: {other}"),
    }
}
