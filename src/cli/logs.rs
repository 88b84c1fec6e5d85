//! `capcast logs`

use std::io::IsTerminal;
use std::ops::ControlFlow;

use anyhow::Context;
use serde_json::Value;

use super::status::text;
use super::{Outcome, client};

/// Show the running daemon's last log lines
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  capcast logs\n  capcast logs -f\n  capcast logs --json | jq 'select(.level == \"warn\")'"
)]
pub(crate) struct Args {
    /// Go on with what comes, until Ctrl-C, also after a restart of the daemon
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let path = format!("/api/logs?follow={}", args.follow);
    client::follow(&path, args.follow, |event| {
        let shown = match event.kind.as_str() {
            "" if args.json => format!("{}\n", event.text),
            "" => line(&serde_json::from_str(&event.text).context("the daemon's log is not JSON")?, colour),
            "lagged" if args.json => format!("{}\n", event.text),
            "lagged" => "(some lines are kept no more)\n".to_owned(),
            _ => return Ok(ControlFlow::Continue(())),
        };
        super::tell(&shown)
    })
}

/// One line for people: the time of day in UTC, as the daemon's own log has it.
fn line(line: &Value, colour: bool) -> String {
    let at = line.get("at_ms").and_then(Value::as_u64).unwrap_or_default();
    let (seconds, millis) = (at / 1000 % 86_400, at % 1000);
    let level = text(line, "level").to_uppercase();
    let code = match level.as_str() {
        "ERROR" => "31",
        "WARN" => "33",
        _ => "2",
    };
    let level = if colour { format!("\x1b[{code}m{level:>5}\x1b[0m") } else { format!("{level:>5}") };
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{millis:03} {level} {}\n", text(line, "words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_level_and_words() {
        let told = serde_json::json!({"at_ms": 1_700_000_000_123_u64, "level": "warn", "target": "x", "words": "3 frames lost"});
        assert_eq!(line(&told, false), "22:13:20.123  WARN 3 frames lost\n");
        assert!(line(&told, true).contains("\x1b[33m WARN\x1b[0m"));
    }
}
