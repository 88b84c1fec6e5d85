//! `capcast status`

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};

use serde_json::Value;

use super::{Outcome, client};

#[cfg(test)]
mod tests;

/// Show what the running daemon does: capture, encode, streams, queues
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  capcast status\n  capcast status --watch\n  capcast status --json | jq .encode.fps"
)]
pub(crate) struct Args {
    /// The whole state as JSON, as `GET /api/status`
    #[arg(long)]
    json: bool,
    /// Show it as it changes, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.watch {
        return super::watch::run(args.json);
    }
    let state = match client::get("/api/status")? {
        client::Reply::Ended(outcome) => return Ok(outcome),
        client::Reply::Document(state) => state,
    };
    if args.json {
        return super::answer(&format!("{state:#}\n"));
    }
    let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    super::answer(&page(&state, colour))
}

/// The state for people: words first, then one line per part, then what is wrong.
pub(super) fn page(state: &Value, colour: bool) -> String {
    let mut page = String::new();
    let paint = |code: &str, text: String| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text };
    let word = text(state, "state");
    let code = match word {
        "on_air" => "1;32",
        "failed" => "1;31",
        _ => "1;33",
    };
    let _ = writeln!(page, "{}", paint(code, sentence(text(state, "words"))));
    let _ = writeln!(
        page,
        "capcast {}, up {}, profile {}\n",
        text(state, "version"),
        span(number(state, "uptime_s")),
        text(state, "profile")
    );

    let rows = rows(state);
    let wide = |column: usize| rows.iter().map(|row| row.cells[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (wide(0), wide(1));
    for Row { cells: [name, life, more], reason } in &rows {
        let _ = writeln!(page, "{}", format!("{name:first$}  {life:second$}  {more}").trim_end());
        if !reason.is_empty() {
            let _ = writeln!(page, "{:first$}  {}", "", paint("33", reason.clone()));
        }
    }

    let troubled: Vec<&Value> = list(state, "queues")
        .filter(|queue| number(queue, "dropped") > 0.0 || number(queue, "blocked_ms") >= 1000.0)
        .collect();
    if !troubled.is_empty() {
        page.push_str("\nqueues that dropped or held something up:\n");
        for queue in troubled {
            let _ = writeln!(
                page,
                "  {}: {:.0} dropped, {} blocked",
                text(queue, "name"),
                number(queue, "dropped"),
                span(number(queue, "blocked_ms") / 1000.0)
            );
        }
    }
    page
}

/// One line of the table, and why it is as it is.
struct Row {
    cells: [String; 3],
    reason: String,
}

/// What arrives over the network: `H.264 + AAC, 6.1 Mbit/s, 12.1 ms round trip, 0.2 % lost`.
fn arrives(arrival: &Value) -> String {
    let codings: Vec<&str> = ["picture", "sound"]
        .iter()
        .map(|kind| text(arrival, kind))
        .filter(|coding| !coding.is_empty())
        .collect();
    let mut line = match codings.as_slice() {
        [] => "nothing".to_owned(),
        codings => format!("{}, {}", codings.join(" + "), bits(number(arrival, "bitrate_bps"))),
    };
    if let Some(srt) = part(arrival, "srt") {
        let _ = write!(line, ", {:.1} ms round trip", number(srt, "rtt_ms"));
        if let Some(loss) = srt.get("loss").and_then(Value::as_f64) {
            let _ = write!(line, ", {:.1} % lost", loss * 100.0);
        }
    }
    for (name, words) in [("broken", "broken"), ("dropped", "dropped"), ("turned_away", "turned away")] {
        let count = number(arrival, name);
        if count > 0.0 {
            let _ = write!(line, ", {count:.0} {words}");
        }
    }
    line
}

/// Whether what arrives is passed on as it is, and why not.
fn passthrough(arrival: &Value) -> Value {
    let state = match arrival["passthrough"]["state"].as_str() {
        Some("passed") => "passed on",
        Some("refused") => "encoded",
        _ => "",
    };
    let reason = match text(&arrival["passthrough"], "reason") {
        "" => String::new(),
        reason => format!("not passed through: {reason}"),
    };
    serde_json::json!({ "state": state, "reason": reason })
}

/// A source that comes in segments: `trickle, 0.5 segments a second, 340 ms, 2 of 2 segments on their way, 12 kB wait`.
fn segments(relay: &Value) -> String {
    let number = |object: &str, key: &str| relay[object][key].as_f64().unwrap_or_default();
    let mut more = format!(
        "{}, {:.1} segments a second, {:.0} ms, {} of {} segments on their way, {:.0} kB wait",
        relay["protocol"].as_str().unwrap_or("not known yet"),
        number("performance_stats", "segments_per_second"),
        number("performance_stats", "average_latency_ms"),
        number("queue_sizes", "segments"),
        number("queue_sizes", "max_segments"),
        number("queue_sizes", "bytes") / 1000.0,
    );
    if let Some(skipped) = relay["skipped"].as_u64().filter(|skipped| *skipped > 0) {
        more += &format!(", {skipped} left out");
    }
    if let Some(trouble) = relay["trouble"].as_str().filter(|trouble| !trouble.is_empty()) {
        more += &format!(": {trouble}");
    }
    more
}

fn rows(state: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: String, part: &Value, more: String| {
        let cells = [name, text(part, "state").replace('_', " "), more];
        rows.push(Row { cells, reason: text(part, "reason").to_owned() });
    };
    if let Some(capture) = part(state, "capture") {
        let source = capture.get("source").unwrap_or(&Value::Null);
        let what = [text(source, "name"), text(capture, "format")].join(" ");
        let more = described(what.trim_end(), capture, false);
        let (state, reason) = (text(source, "state"), text(source, "reason"));
        let mut shown = capture.clone();
        // What is wrong with the source says more than what became of its graph.
        if state != "live" && !reason.is_empty() {
            shown["state"] = state.into();
            shown["reason"] = reason.into();
        }
        add("capture".into(), &shown, more);
        if let Some(arrival) = part(capture, "arrival") {
            add("arrives".into(), &passthrough(arrival), arrives(arrival));
        }
        if let Some(relay) = part(capture, "relay") {
            add("relay".into(), &Value::Null, segments(relay));
        }
    }
    if let Some(encode) = part(state, "encode") {
        add("encode".into(), encode, with(encode, &["encoder", "codec", "size"], true));
        for (index, rendition) in list(encode, "renditions").enumerate() {
            let name = format!("encode {}", index + 1);
            add(name, rendition, with(rendition, &["encoder", "codec", "size"], true));
        }
    }
    if let Some(audio) = part(state, "audio") {
        add("audio".into(), audio, sound(audio));
        if let Some(encode) = part(audio, "encode") {
            add("audio encode".into(), encode, with(encode, &["encoder"], true));
        }
    }
    for output in list(state, "outputs") {
        let known = [super::output::numbers(output), super::output::way(output)];
        let known: Vec<_> = known.into_iter().filter(|words| !words.is_empty()).collect();
        add(format!("output {}", text(output, "name")), output, known.join(", "));
    }
    if let Some(row) = latency(state) {
        rows.push(row);
    }
    for stream in list(state, "streams") {
        let live =
            if stream.get("live").and_then(Value::as_bool) == Some(true) { "live" } else { "not live" };
        let codecs: Vec<&str> = ["video", "audio"]
            .iter()
            .map(|name| text(stream, name))
            .filter(|name| !name.is_empty())
            .collect();
        let mut more = match number(stream, "viewers") {
            1.0 => "1 viewer".to_owned(),
            viewers => format!("{viewers:.0} viewers"),
        };
        let of_those: Vec<String> =
            [("viewers_over_tcp", "over TCP"), ("viewers_paused", "on a way too narrow for the picture")]
                .into_iter()
                .filter(|(key, _)| number(stream, key) > 0.0)
                .map(|(key, words)| format!("{:.0} {words}", number(stream, key)))
                .collect();
        if !of_those.is_empty() {
            let _ = write!(more, " ({})", of_those.join(", "));
        }
        if !codecs.is_empty() {
            let _ = write!(more, ", {}", codecs.join(" + "));
        }
        let layers: Vec<&str> = list(stream, "layers").filter_map(Value::as_str).collect();
        if !layers.is_empty() {
            let _ = write!(more, ", layers {}", layers.join(" "));
        }
        let cells = [format!("stream {}", text(stream, "name")), live.to_owned(), more];
        rows.push(Row { cells, reason: String::new() });
    }
    rows
}

/// How long the picture takes through the box, and where; none before it is measured.
fn latency(state: &Value) -> Option<Row> {
    let steps: Vec<(&str, f64, f64)> = list(state, "latency")
        .map(|step| (text(step, "step"), number(step, "p50_ms"), number(step, "p95_ms")))
        .collect();
    let (_, p50, p95) = *steps.iter().find(|(step, ..)| *step == "total")?;
    let mut more = format!("capture to socket, 95 of 100 within {p95:.0} ms");
    for (index, (step, p50, _)) in steps.iter().filter(|(step, ..)| *step != "total").enumerate() {
        let _ = write!(more, "{} {step} {p50:.1}", if index == 0 { ":" } else { "," });
    }
    let cells = ["latency".to_owned(), format!("{p50:.0} ms"), more];
    Some(Row { cells, reason: String::new() })
}

/// The source of the sound, and what it does.
fn sound(audio: &Value) -> String {
    let silent = audio.get("silent").and_then(Value::as_bool) == Some(true);
    let mut line = match text(audio, "state") {
        "stopped" if silent => String::new(),
        "stopped" => text(audio, "source").to_owned(),
        "running" | "degraded" => with(audio, &["source"], false),
        _ => text(audio, "source").to_owned(),
    };
    if silent {
        line = if line.is_empty() { "silent".to_owned() } else { format!("silent, {line}") };
    }
    if let Some(ppm) = audio.get("drift_ppm").and_then(Value::as_f64) {
        let _ = write!(line, ", clock {ppm:+.0} ppm");
    }
    match number(audio, "overruns") {
        0.0 => {}
        overruns => {
            let _ = write!(line, ", {overruns:.0} overruns");
        }
    }
    line
}

/// What a part is by these of its members, and what it does per second.
fn with(part: &Value, names: &[&str], encoded: bool) -> String {
    let what: Vec<&str> =
        names.iter().map(|name| text(part, name)).filter(|value| !value.is_empty()).collect();
    described(&what.join(" "), part, encoded)
}

fn described(what: &str, part: &Value, encoded: bool) -> String {
    let mut line = format!("{what}, {:.1} a second", number(part, "fps"));
    if encoded {
        let _ = write!(line, ", {}", bits(number(part, "bitrate_bps")));
        if let Some(target) = part.get("target_bitrate_bps").and_then(Value::as_f64) {
            let _ = write!(line, " of {}", bits(target));
        }
        if !text(part, "limited_by").is_empty() {
            let _ = write!(line, " (kept down by output {})", text(part, "limited_by"));
        }
    }
    if let Some(latency) = part.get("latency_p50_ms").and_then(Value::as_f64) {
        let _ = write!(line, ", {latency:.1} ms");
    }
    match number(part, "dropped") {
        0.0 => {}
        dropped => {
            let _ = write!(line, ", {dropped:.0} dropped");
        }
    }
    match number(part, "restarts") {
        0.0 => {}
        1.0 => line.push_str(", rebuilt once"),
        restarts => {
            let _ = write!(line, ", rebuilt {restarts:.0} times");
        }
    }
    line
}

fn part<'a>(state: &'a Value, name: &str) -> Option<&'a Value> {
    state.get(name).filter(|part| part.is_object())
}

fn list<'a>(state: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    state.get(name).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or_default()
}

pub(super) fn bits(bits: f64) -> String {
    if bits >= 1e6 { format!("{:.1} Mbit/s", bits / 1e6) } else { format!("{:.0} kbit/s", bits / 1e3) }
}

pub(super) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..=119 => format!("{seconds:.0} s"),
        120..=7199 => format!("{} min", whole / 60),
        7200..=172_799 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
