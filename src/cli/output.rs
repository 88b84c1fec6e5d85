//! `capcast outputs` and `capcast output NAME start|stop`

use std::fmt::Write as _;

use serde_json::Value;

use super::status::{bits, number, span, text};
use super::{Outcome, client};

/// List the outputs: state, numbers, and where they are watched
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  capcast outputs\n  capcast outputs --json | jq '.[].state'")]
pub(crate) struct ListArgs {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

/// Start or stop one output
///
/// Holds until the daemon ends; the next one starts every output again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  capcast output broadcast-box stop\n  capcast output broadcast-box start"
)]
pub(crate) struct Args {
    /// As in the configuration; `capcast outputs` lists them
    name: String,
    /// What to do
    act: Act,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Act {
    /// Publish; also after a refusal, once its cause is gone
    Start,
    /// Publish no more
    Stop,
}

pub(crate) fn list(args: &ListArgs) -> anyhow::Result<Outcome> {
    let outputs = match client::get("/api/outputs")? {
        client::Reply::Ended(outcome) => return Ok(outcome),
        client::Reply::Document(outputs) => outputs,
    };
    super::answer(&if args.json { format!("{outputs:#}\n") } else { page(&outputs) })
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let act = match args.act {
        Act::Start => "start",
        Act::Stop => "stop",
    };
    let name: String = url::form_urlencoded::byte_serialize(args.name.as_bytes()).collect();
    client::command(&format!("/api/outputs/{}/{act}", name.replace('+', "%20")), &Value::Null, args.json)
}

fn page(outputs: &Value) -> String {
    let outputs: Vec<&Value> = outputs.as_array().into_iter().flatten().collect();
    if outputs.is_empty() {
        return "no outputs are configured\n".to_owned();
    }
    let wide =
        |name: &str| outputs.iter().map(|output| text(output, name).chars().count()).max().unwrap_or(0);
    let (first, second) = (wide("name"), wide("state"));
    let mut page = String::new();
    for output in outputs {
        let state = text(output, "state").replace('_', " ");
        let _ = writeln!(page, "{:first$}  {state:second$}  {}", text(output, "name"), numbers(output));
        let lines = [text(output, "reason").to_owned(), text(output, "server").to_owned(), way(output)];
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(page, "{:first$}  {line}", "");
        }
        if let Some(seconds) = output.get("retry_in_s").and_then(Value::as_f64) {
            let _ = writeln!(page, "{:first$}  next attempt in {}", "", span(seconds.ceil()));
        }
        if !text(output, "watch").is_empty() {
            let _ = writeln!(page, "{:first$}  watch at {}", "", text(output, "watch"));
        }
    }
    page
}

/// What an output does: `whip, 30.0 a second, 2.5 Mbit/s, 12.1 ms round trip, 0.2 % lost`.
pub(super) fn numbers(output: &Value) -> String {
    let mut line = text(output, "kind").to_owned();
    if text(output, "state") == "live" {
        let _ =
            write!(line, ", {:.1} a second, {}", number(output, "fps"), bits(number(output, "bitrate_bps")));
        if let Some(rtt) = output.get("rtt_ms").and_then(Value::as_f64) {
            let _ = write!(line, ", {rtt:.1} ms round trip");
        }
        if let Some(loss) = output.get("loss").and_then(Value::as_f64) {
            let _ = write!(line, ", {:.1} % lost", loss * 100.0);
        }
    }
    for (name, one, more) in [("dropped", "dropped", "dropped"), ("reconnects", "reconnect", "reconnects")] {
        let count = number(output, name);
        if count > 0.0 {
            let _ = write!(line, ", {count:.0} {}", if count == 1.0 { one } else { more });
        }
    }
    line
}

/// What an output knows of its way: `its way carries 2.7 Mbit/s and keeps the bitrate down`; empty where it knows nothing.
pub(super) fn way(output: &Value) -> String {
    let estimate = output.get("estimate_bps").and_then(Value::as_f64);
    let Some(estimate) = estimate.filter(|_| text(output, "state") == "live") else { return String::new() };
    let limits = output.get("limits").and_then(Value::as_bool) == Some(true);
    format!("its way carries {}{}", bits(estimate), if limits { " and keeps the bitrate down" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_listed_with_what_there_is_to_know() {
        let outputs = serde_json::json!([
            {"name": "box", "kind": "whip", "state": "live", "reason": "live at https://b.example.org", "fps": 29.97,
             "bitrate_bps": 2_500_000, "rtt_ms": 12.08, "loss": 0.002, "estimate_bps": 2_700_000, "limits": true, "dropped": 0, "reconnects": 2,
             "server": "the server has the stream, 1 viewer", "watch": "https://b.example.org/k", "retry_in_s": null},
            {"name": "other", "kind": "whip", "state": "host_busy", "reason": "busy", "fps": 0.0, "bitrate_bps": 0,
             "rtt_ms": null, "loss": null, "dropped": 0, "reconnects": 1, "server": null, "retry_in_s": 1.2},
        ]);
        assert_eq!(
            page(&outputs),
            "box    live       whip, 30.0 a second, 2.5 Mbit/s, 12.1 ms round trip, 0.2 % lost, 2 reconnects\n\
             \u{20}      live at https://b.example.org\n\
             \u{20}      the server has the stream, 1 viewer\n\
             \u{20}      its way carries 2.7 Mbit/s and keeps the bitrate down\n\
             \u{20}      watch at https://b.example.org/k\n\
             other  host busy  whip, 1 reconnect\n\
             \u{20}      busy\n\
             \u{20}      next attempt in 2 s\n"
        );
        assert_eq!(page(&serde_json::json!([])), "no outputs are configured\n");
    }
}
