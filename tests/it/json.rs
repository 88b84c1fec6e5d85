//! What the command line and the real daemon tell as JSON is as the OpenAPI document has it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use crate::appliance::{Appliance, setup, source, turn};
use crate::http::contract::{assert_schema, checked};

const LIMIT: Duration = Duration::from_secs(60);
const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"320x180\"\n\
                       framerate = \"15\"\nbitrate = \"500 kbit/s\"\nspeed = \"fastest\"\n";
/// Nobody listens at that output's server.
const CONFIG: &str = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n\
                      [[output]]\nname = \"far\"\nkind = \"whip\"\nurl = \"http://localhost:9/whip\"\n";

/// Those that the pages of `capcast status` are held to, so that these cannot be of states that no daemon tells.
#[test]
fn the_states_of_golden_pages_are_as_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let states: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    assert!(states.len() >= 5, "{states:?}");
    for path in states {
        println!("{}", path.display());
        assert_schema("Status", &serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap());
    }
}

#[test]
fn every_answer_for_programs_is_as_it_is_documented() {
    let _turn = turn();
    let appliance = Appliance::start(CONFIG, &[("tried", PROFILE)]);
    // What the SFU counts is seen a little later than what it is given.
    appliance.until_state("it is on air, and its stream live", LIMIT, |state| {
        (state["state"] == "on_air" || state["state"] == "degraded") && state["streams"][0]["live"] == true
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::builder().timeout(LIMIT).build().unwrap();
        for path in [
            "/api/status",
            "/api/status?format=broadcast-box",
            "/api/status?key=live",
            "/api/history",
            "/api/profiles",
            "/api/devices",
            "/api/outputs",
            "/api/session",
            "/api/openapi.json",
            "/api/logs?follow=false",
            "/metrics",
            "/healthz",
            "/readyz",
            "/",
            "/live",
            "/panel",
        ] {
            let answer = client.get(format!("{}{path}", appliance.base)).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            checked(&Method::GET, path, answer).await;
        }
        for path in [
            "/api/control/keyframe",
            "/api/outputs/far/stop",
            "/api/outputs/far/start",
            "/api/control/reload",
        ] {
            let answer = client.post(format!("{}{path}", appliance.base)).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            checked(&Method::POST, path, answer).await;
        }
    });
    let config = appliance.socket().with_file_name("capcast.toml");
    let config = config.to_str().unwrap();
    for (arguments, schema) in [
        (&["status", "--json"][..], "Status"),
        (&["devices", "--json"], "Devices"),
        (&["plan", "tried", "--json", "--config", config], "Plan"),
        (&["check", "--json", config], "Diagnostics"),
        (&["keyframe", "--json"], "Done"),
        (&["bitrate", "600 kbit/s", "--json"], "Done"),
        (&["output", "far", "stop", "--json"], "Done"),
    ] {
        let answer = appliance.cli(arguments);
        let said = String::from_utf8_lossy(&answer.stderr);
        assert_eq!(answer.status.code(), Some(0), "{arguments:?}: {said}");
        assert_schema(schema, &serde_json::from_slice(&answer.stdout).unwrap());
    }
    let outputs: Value = serde_json::from_slice(&appliance.cli(&["outputs", "--json"]).stdout).unwrap();
    assert_schema("Output", &outputs[0]);
    let lines = appliance.cli(&["logs", "--json"]);
    for line in String::from_utf8_lossy(&lines.stdout).lines() {
        assert_schema("LogLine", &serde_json::from_str(line).unwrap());
    }

    // What is refused says so on stderr, and nothing on stdout.
    for (arguments, code, words) in [
        (&["switch", "nothing"][..], 1, "there is no profile `nothing`"),
        (&["bitrate", "1 kbit/s"], 1, "is not between"),
        (&["output", "nothing", "start"], 1, "there is no output `nothing`"),
        (&["plan", "nothing"], 1, "there is no profile `nothing`"),
        (&["bitrate", "fast"], 2, "invalid value 'fast'"),
        (&["nothing"], 2, "unrecognized subcommand"),
    ] {
        let answer = appliance.cli(arguments);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert_eq!(answer.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words) && answer.stdout.is_empty(), "{arguments:?}: {said}");
    }
    drop(appliance);
}

/// Requests that its OpenAPI document allows and such as it does not, a few hundred of each: every answer is as documented,
/// none is a bug, and what is against the document is refused. What ends the stream or never ends is left out.
#[test]
fn whatever_is_asked_is_answered_as_documented() {
    let _turn = turn();
    let appliance = Appliance::start(CONFIG, &[("tried", PROFILE)]);
    appliance.until_state("it is on air", LIMIT, |state| state["state"] == "on_air");
    let (python, notes) = (setup("setup/python", &["tests/openapi"]), tempfile::tempdir().unwrap());
    let asked = Command::new(Path::new(&python).with_file_name("st"))
        .arg("--config-file")
        .arg(source("tests/openapi/schemathesis.toml"))
        .arg("run")
        .arg(source("src/http/openapi.json"))
        .args([
            "--url",
            &appliance.base,
            "--phases",
            "coverage,fuzzing",
            "-n",
            "10",
            "--seed",
            "1",
            "--no-shrink",
        ])
        .args([
            "--exclude-path-regex",
            "^/api/(events|logs|sse|rooms)|control/(restart|reload|doctor|start|stop)",
        ])
        .args(["--request-timeout", "30", "--continue-on-failure", "--no-color", "--warnings", "off"])
        // It keeps notes where it runs.
        .current_dir(notes.path())
        .envs([("SCHEMATHESIS_HOOKS", "hooks"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .env("PYTHONPATH", source("tests/openapi"))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{report}\n{}", String::from_utf8_lossy(&asked.stderr));
    assert!(
        report.contains("Coverage") && report.contains("Fuzzing") && !report.contains(" 0 generated"),
        "{report}"
    );
    let state = appliance.until_state("it is on air still", LIMIT, |state| state["state"] == "on_air");
    assert_eq!(state["encode"]["restarts"], 0, "{state:#}");
}
