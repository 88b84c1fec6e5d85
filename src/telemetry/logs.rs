//! The log: compact lines on stderr, for a person at a terminal or for the journal; the last of them are kept.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::keep::Keep;
use super::ring::LogRing;

/// What is logged unless `CAPCAST_LOG` says otherwise: state changes and what needs acting on. The WebRTC crates warn of
/// every packet that cannot be decrypted, so any stranger could fill the log; the SFU counts such packets.
const DEFAULT: &str = "warn,str0m=off,is=off,capcast=info";

/// Starts logging to stderr and to [`LogRing::of_process`]; a second call changes nothing.
///
/// `CAPCAST_LOG` takes what `tracing` calls directives: `debug`, `capcast::sfu=trace,info`. Under the journal
/// (`JOURNAL_STREAM`) lines carry no time, since the journal has its own; colour only on a terminal without `NO_COLOR`.
pub fn start_logging() {
    let filter = EnvFilter::builder().parse_lossy(
        std::env::var("CAPCAST_LOG").ok().filter(|text| !text.is_empty()).as_deref().unwrap_or(DEFAULT),
    );
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal();
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = fmt::layer().with_writer(stderr).with_ansi(colour).compact();
    let kept = Keep(LogRing::of_process());
    let started = if journal {
        tracing_subscriber::registry().with(filter).with(kept).with(lines.without_time()).try_init()
    } else {
        tracing_subscriber::registry().with(filter).with(kept).with(lines).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
