//! aiortc watches: a WebRTC implementation that shares no code with Chromium or Capcast.

use std::time::Duration;

use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

fn plays(codec: &str, fragment: &str, name: &str) {
    let _turn = turn();
    let profile = format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{fragment}\"\nsize = \"640x360\"\n\
         framerate = \"30\"\nbitrate = \"1 Mbit/s\"\n"
    );
    let config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    // aiortc gathers no loopback candidates, so the two meet at this machine's own address.
    let appliance = Appliance::start_with_media("[::]:0", config, &[("tried", &profile)]);
    let endpoint = format!("{}/api/whep/live", appliance.base);
    let mut watcher = Watcher::aiortc(&endpoint, &["--frames", "60", "--limit", "80"]);
    let seen = watcher.expect("frames", None, Duration::from_secs(100));
    let all = watcher.last();
    println!("{all}");
    assert!(seen.as_u64() >= Some(60), "{all}");
    assert_eq!(all["size"], serde_json::json!([640, 360]), "{all}");
    assert!(all["contrast"].as_u64() > Some(50), "the picture is one colour: {all}");
    let codecs = all["codecs"].as_array().unwrap();
    assert!(codecs.iter().any(|one| one == name) && codecs.iter().any(|one| one == "opus"), "{all}");
    // The tone is far above the noise of a decoder that decodes nothing.
    assert!(all["audio_peak"].as_u64() > Some(500), "silence: {all}");
    assert_eq!(all["lost"], 0, "{all}");
    assert_eq!(all["deleted"], 200, "{all}");
}

#[test]
fn h264_and_opus_play() {
    plays("h264", "x264", "H264");
}

#[test]
fn vp8_and_opus_play() {
    plays("vp8", "vp8", "VP8");
}
