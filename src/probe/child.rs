//! The two ends of a trial: the question on a child's stdin, and the child itself.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::starved::starved;
use crate::config::Source;
use crate::engine::{self, Engine};
use crate::plan::{self, Fragment, FragmentKind, Fragments, Inventory, Queues};

/// Longer than any question.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What a child is asked: the fragments as they stand in their files.
pub(super) fn question(encoder: &Fragment, fragments: &Fragments, patience: Duration, gentle: bool) -> Json {
    let output = encoder.codec.and_then(|codec| fragments.outputs.get(&format!("rtp-{codec}")));
    let text = |fragment: &Fragment| json!({ "name": fragment.name, "text": fragment.source.text() });
    json!({
        "encoder": text(encoder),
        "output": output.map(text),
        "patience_ms": u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        "gentle": gentle,
    })
}

/// The child: reads the question on `input`, tries the encoder, writes a line at each sign of life and the verdict as the last
/// one: `{"runs": {"frames", "took_us", "held"}, "libraries": ["/…", …]}` or `{"fails": "why"}`.
///
/// # Errors
/// When the question cannot be read or the answer not written; in words.
pub fn answer(queues: &Queues, input: impl Read, mut output: impl Write) -> Result<(), String> {
    let mut text = String::new();
    input.take(LONGEST).read_to_string(&mut text).map_err(|error| format!("no question: {error}"))?;
    let question: Json = serde_json::from_str(&text).map_err(|error| format!("no question: {error}"))?;
    // Nobody wants the core of a driver's crash, and a trial without its parent is of use to nobody.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    if question["gentle"] == true {
        let _ = rustix::process::nice(10);
    }
    let mut say = |line: Json| writeln!(output, "{line}").and_then(|()| output.flush());
    let own = super::libraries::loaded();
    let verdict = try_out(&question, queues, &mut || drop(say(json!({ "alive": true }))));
    let line = match verdict {
        Ok(trial) => json!({
            "runs": {
                "frames": trial.frames,
                "took_us": u64::try_from(trial.took.as_micros()).unwrap_or(u64::MAX),
                "held": trial.held,
            },
            // What Capcast itself is linked with is no part of the encoder.
            "libraries": super::libraries::loaded().difference(&own).collect::<Vec<_>>(),
        }),
        Err(reason) => json!({ "fails": reason }),
    };
    say(line).map_err(|error| format!("nobody hears the verdict: {error}"))
}

fn try_out(question: &Json, queues: &Queues, told: &mut dyn FnMut()) -> Result<engine::Trial, String> {
    let encoder =
        fragment(&question["encoder"], FragmentKind::Encoder).ok_or("its fragment cannot be read")?;
    let mut fragments = Fragments::default();
    if let Some(output) = fragment(&question["output"], FragmentKind::Output) {
        fragments.outputs.insert(output.name.clone(), output);
    }
    fragments.encoders.insert(encoder.name.clone(), encoder.clone());
    let patience = Duration::from_millis(question["patience_ms"].as_u64().unwrap_or(5000));
    let engine = Engine::patient(2 * patience).map_err(|error| error.to_string())?;
    let (gstreamer, elements) = engine::inventory(fragments.factories());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let inventory = Inventory { gstreamer, elements, cores, ..Inventory::default() };
    told();
    let graph = plan::trial(&encoder, &fragments, queues, &inventory).map_err(|errors| {
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        words.join("; ")
    })?;
    engine.trial(&graph, patience, &|| starved("self"), told).map_err(|error| error.to_string())
}

fn fragment(json: &Json, kind: FragmentKind) -> Option<Fragment> {
    let (name, text) = (json["name"].as_str()?, json["text"].as_str()?);
    plan::parse_fragment(kind, name, Source::new(format!("{name}.toml"), text)).0
}
