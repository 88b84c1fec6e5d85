//! Headless Chromium works the control panel of the real binary.

use std::time::Duration;

use serde_json::{Value, json};

use crate::appliance::{Appliance, keepsake, turn};
use crate::watcher::Watcher;

/// Cold start of a browser on a busy machine, and whatever is waited for.
const LIMIT: Duration = Duration::from_secs(90);

const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"640x360\"\n\
                       framerate = \"30\"\nbitrate = \"1 Mbit/s\"\nmin_bitrate = \"200 kbit/s\"\nspeed = \"fastest\"\n";

/// Nobody listens at that output's server: it waits to try again, which is as good a state to show as any.
const CONFIG: &str = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n\
                      [[output]]\nname = \"far\"\nkind = \"whip\"\nurl = \"http://localhost:9/whip\"\n";

#[test]
fn an_operator_sees_and_does_everything_in_the_panel() {
    let _turn = turn();
    let vp8 = PROFILE.replace("h264", "vp8").replace("x264", "vp8");
    let mut appliance = Appliance::start(CONFIG, &[("tried", PROFILE), ("other", &vp8)]);
    let shots = keepsake("panel").with_file_name("");
    let options = ["--shots", shots.to_str().unwrap(), "--profile", "other"];
    let mut watcher = Watcher::browser("panel.mjs", &appliance.base, &options);

    let state = watcher.expect("state", None, LIMIT);
    assert_eq!(state["word"], "On air", "{state:#}");
    let words = state["words"].as_str().unwrap();
    assert!(words.starts_with("1 viewer, H.264 640 × 360 at "), "{words}");
    let loud = |level: &Value| (-40.0..0.0).contains(&level.as_f64().unwrap());
    assert!(state["meters"].as_array().unwrap().iter().all(loud), "{state:#}");
    assert_eq!((&state["charts"], &state["active"]), (&json!(6), &json!("tried")), "{state:#}");
    assert_eq!(state["url"], format!("{}/live", appliance.base));
    assert!(state["profiles"].as_u64() > Some(5), "{state:#}");
    assert_ne!(state["output"], "live", "{state:#}");

    assert_eq!(watcher.expect("quiet", None, LIMIT), json!([]), "the panel asks again and again");
    let bitrate = watcher.expect("bitrate", None, LIMIT);
    assert_eq!(
        (&bitrate["was"], &bitrate["is"]),
        (&json!("1.0 Mbit/s"), &json!("900 kbit/s")),
        "{bitrate:#}"
    );
    let output = watcher.expect("output", None, LIMIT);
    assert_eq!(output, json!({"stopped": "Start", "again": "Stop"}));
    let switched = watcher.expect("switched", None, LIMIT);
    assert!(switched.as_str().unwrap().contains("other"), "{switched}");
    appliance.until_state("the daemon says so too", LIMIT, |state| state["encode"]["codec"] == "vp8");
    watcher.expect("air", None, LIMIT);

    let keyboard = watcher.expect("keyboard", None, LIMIT);
    assert_eq!(keyboard["controls"], keyboard["reached"], "{keyboard}");
    for name in ["dark", "light", "phone"] {
        let look = watcher.expect("look", Some(name), LIMIT);
        assert_eq!(look["wide"], 0, "the page is wider than its window: {name}");
        let grave = |found: &&Value| ["serious", "critical"].contains(&found["impact"].as_str().unwrap());
        let grave: Vec<_> = look["violations"].as_array().unwrap().iter().filter(grave).collect();
        assert!(grave.is_empty(), "{name}: {grave:#?}");
    }

    watcher.expect("killed", None, LIMIT);
    appliance.kill();
    let lost = watcher.expect("lost", None, LIMIT);
    assert!(lost.as_str().unwrap().contains("does not answer"), "{lost}");
    assert_eq!(watcher.last()["disabled"], true);
    appliance.start_again();
    watcher.expect("back", None, LIMIT);

    let log = watcher.expect("log", None, LIMIT);
    let lines = |name: &str| log[name].as_str().unwrap().to_owned();
    assert!(lines("all").starts_with("the last 1000 of "), "{log:#}");
    assert!(lines("searched").starts_with("the last 1000 of 2000"), "{log:#}");
    assert!(log["drawn"].as_u64() < Some(1_000), "{log:#}");
    assert_eq!(watcher.expect("problems", None, LIMIT), json!([]));
}
