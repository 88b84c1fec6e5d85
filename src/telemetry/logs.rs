//! The log: compact lines on stderr, for a person at a terminal or for the journal; the last of them are kept.
//!
//! They are written by a thread of their own: whoever reads them may stop for a while (Ctrl-S in a terminal, `| less`, a busy
//! journal), and nothing of the stream waits for that.

use std::io::{IsTerminal, stderr};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::keep::Keep;
use super::ring::LogRing;

/// What is logged unless `CAPCAST_LOG` says otherwise: state changes and what needs acting on. The WebRTC crates warn of
/// every packet that cannot be decrypted, so any stranger could fill the log; the SFU counts such packets.
const DEFAULT: &str = "warn,str0m=off,is=off,capcast=info";

/// Lines that wait to be written; what comes on top is lost on stderr and counted there, and kept all the same.
const WAITING: usize = 4096;

/// Has what was logged written when it is dropped, which takes no longer than a second or so.
#[derive(Debug)]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Starts logging to stderr and to [`LogRing::of_process`]; a second call changes nothing.
///
/// `CAPCAST_LOG` takes what `tracing` calls directives: `debug`, `capcast::sfu=trace,info`. Under the journal
/// (`JOURNAL_STREAM`) lines carry no time, since the journal has its own; colour only on a terminal without `NO_COLOR`.
#[must_use = "it ends when this is dropped"]
pub fn start_logging() -> Logging {
    let filter = EnvFilter::builder().parse_lossy(
        std::env::var("CAPCAST_LOG").ok().filter(|text| !text.is_empty()).as_deref().unwrap_or(DEFAULT),
    );
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal();
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).thread_name("log");
    let (writer, guard) = queue.finish(stderr());
    let ring = LogRing::of_process();
    ring.counts_unwritten(writer.error_counter());
    let lines = fmt::layer().with_writer(writer).with_ansi(colour).compact();
    let kept = Keep(ring);
    let started = if journal {
        tracing_subscriber::registry().with(filter).with(kept).with(lines.without_time()).try_init()
    } else {
        tracing_subscriber::registry().with(filter).with(kept).with(lines).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Logging { _writer: guard }
}
