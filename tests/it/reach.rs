//! Browsers that UDP does not reach.

use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

/// Cold start of a browser on a busy machine, connecting, and measuring.
const LIMIT: Duration = Duration::from_secs(90);
const KEY: &str = "a publish key";

fn profile(size: &str) -> String {
    format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nencoder = \"vp8\"\nsize = \"{size}\"\n\
         framerate = \"15\"\nbitrate = \"1 Mbit/s\"\nspeed = \"fastest\"\n"
    )
}

fn stream<'a>(state: &'a Value, name: &str) -> &'a Value {
    let streams = state["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams.iter().find(|stream| stream["name"] == name).unwrap_or(&Value::Null)
}

#[track_caller]
fn assert_over_tcp(played: &Value) {
    println!("{played}");
    assert_eq!(played["transport"], "tcp", "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
}

#[test]
fn a_browser_watches_over_tcp_and_is_counted() {
    let _turn = turn();
    let config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    let appliance = Appliance::start(config, &[("tried", &profile("640x360"))]);
    let mut viewer = Watcher::chromium(&format!("{}/", appliance.base), &["--tcp", "--plays", "2"]);
    let played = viewer.expect("played", None, LIMIT);
    assert_over_tcp(&played);
    assert!(played["rms"].as_f64() > Some(0.05), "silence: {played}");
    let is_counted = |state: &Value| stream(state, "live")["viewers_over_tcp"] == 1;
    appliance.until_state("the viewer is counted", LIMIT, is_counted);
    let words = String::from_utf8(appliance.cli(&["status"]).stdout).unwrap();
    assert!(words.contains("1 viewer (1 over TCP)"), "{words}");
    viewer.hang_up();
    let has_left = |state: &Value| stream(state, "live")["viewers"] == 0;
    appliance.until_state("the viewer has left", LIMIT, has_left);
}

#[test]
fn a_browser_publishes_over_tcp_and_another_watches_by_udp() {
    let _turn = turn();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), KEY).unwrap();
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n\
         [[sfu.publisher]]\nstream = \"guest\"\nkey_file = {:?}\n",
        key.path()
    );
    let appliance = Appliance::start(&config, &[("tried", &profile("160x90"))]);
    let endpoint = format!("{}/api/whip/guest", appliance.base);
    let mut publisher = Watcher::browser("publish.mjs", &endpoint, &["--bearer", KEY, "--tcp"]);
    let answered = publisher.expect("answered", None, LIMIT);
    let answer = answered["answer"].as_str().unwrap();
    assert!(answer.contains(" udp ") && answer.contains(" tcptype passive"), "{answer}");
    publisher.expect("sending", None, LIMIT);
    let mut viewer = Watcher::chromium(&format!("{}/guest", appliance.base), &[]);
    let played = viewer.expect("played", None, LIMIT);
    assert_eq!((&played["transport"], &played["width"]), (&"udp".into(), &640.into()), "{played}");
    publisher.hang_up();
    assert_eq!(publisher.expect("deleted", None, LIMIT), 200);
}
