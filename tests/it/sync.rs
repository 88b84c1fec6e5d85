//! Sound and picture keep together, as a receiver sees it that shares no code with Capcast or a browser.

use std::fs;
use std::time::Duration;

use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a person does not notice is 40 ms and more; this is what is promised.
const APART: f64 = 20.0;

const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nencoder = \"vp8\"\nsize = \"320x180\"\n\
                       framerate = \"30\"\nbitrate = \"600 kbit/s\"\nspeed = \"fastest\"\n";

fn config(delay: &str) -> String {
    format!("profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\naudio_delay = \"{delay}\"\n")
}

/// Waits until three beeps in a row are where they belong, and says where each was heard.
fn expect_skew(watcher: &mut Watcher, wanted: f64) {
    let (mut heard, mut right) = (Vec::new(), 0);
    // What comes first is of the time before a change.
    while right < 3 {
        assert!(heard.len() < 20, "not {wanted} ms apart, but: {heard:?}");
        let skew = watcher.expect("skew_ms", None, PATIENCE).as_f64().unwrap();
        let flash = watcher.last()["flash_ms"].as_f64().unwrap();
        heard.push((skew, flash));
        // The flash is seen with the first picture of its second, up to a picture's time after it.
        let as_seen = flash + skew;
        right =
            if (skew - wanted).abs() <= APART && (-2.0..=36.0).contains(&as_seen) { right + 1 } else { 0 };
    }
    println!("{wanted} ms wanted: {heard:?}");
}

#[test]
fn sound_and_picture_are_together_and_as_far_apart_as_wished() {
    let _turn = turn();
    // aiortc gathers no loopback candidates.
    let appliance = Appliance::start_with_media("[::]:0", &config("0 ms"), &[("tried", PROFILE)]);
    let endpoint = format!("{}/api/whep/live", appliance.base);
    let mut watcher = Watcher::sync(&endpoint);
    expect_skew(&mut watcher, 0.0);
    let file = appliance.folder().join("capcast.toml");
    for (delay, wanted) in [("200 ms", 200.0), ("-150 ms", -150.0), ("0 ms", 0.0)] {
        let text = fs::read_to_string(&file).unwrap();
        let others = text.lines().filter(|line| !line.starts_with("audio_delay"));
        let changed = others.map(|line| match line {
            "[capture]" => format!("[capture]\naudio_delay = \"{delay}\""),
            line => line.to_owned(),
        });
        fs::write(&file, changed.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        let told = appliance.cli(&["reload"]);
        assert!(told.status.success(), "{told:?}");
        expect_skew(&mut watcher, wanted);
    }
}
