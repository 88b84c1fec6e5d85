//! Chromium as a WHIP server of our outputs.

use super::{LIMIT, TEST_SOURCE, profile};
use crate::appliance::{Appliance, Watcher, turn};

fn arrives(codec: &str, encoder: &str, mime: &str) {
    let _turn = turn();
    let mut server = Watcher::chromium_endpoint();
    let port = server.expect("listening", None, LIMIT);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "a-key\n").unwrap();
    let config = format!(
        "{TEST_SOURCE}[[output]]\nname = \"chromium\"\nkind = \"whip\"\n\
         url = \"http://127.0.0.1:{port}/api/whip\"\ntoken_file = {key:?}\n"
    );
    let own = profile(codec, encoder, "640x360", 30);
    let mut appliance = Appliance::start(&config, &[("tried", &own)]);
    let played = server.expect("played", None, LIMIT);
    println!("{played}");
    assert_eq!(played["video"], mime, "{played}");
    assert!(played["audio"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("audio/opus")), "{played}");
    assert_eq!((&played["width"], &played["height"]), (&640.into(), &360.into()), "{played}");
    assert!(played["frames"].as_u64() >= Some(30), "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
    assert!(played["rms"].as_f64() > Some(0.05), "silence: {played}");
    assert_eq!(played["dropped"], 0, "{played}");
    appliance.end();
    assert_eq!(server.expect("deleted", None, LIMIT), 1, "its first and only session");
}

#[test]
fn h264_arrives_in_chromium() {
    arrives("h264", "x264", "video/H264");
}

#[test]
fn vp9_arrives_in_chromium() {
    arrives("vp9", "vp9", "video/VP9");
}

#[test]
fn vp8_arrives_in_chromium() {
    arrives("vp8", "vp8", "video/VP8");
}

#[test]
fn av1_arrives_in_chromium() {
    arrives("av1", "aom", "video/AV1");
}
