//! Chromium as a WHIP server of our outputs.

use serde_json::Value;

use super::{LIMIT, TEST_SOURCE, profile};
use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What of an output is secret: the key, or all of its URL.
#[derive(PartialEq)]
enum Secret {
    Key,
    Url,
}

fn arrives(codec: &str, encoder: &str, mime: &str, how: &Secret) {
    let _turn = turn();
    let mut server = Watcher::chromium_endpoint();
    let port = server.expect("listening", None, LIMIT);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let (place, secret) = match how {
        Secret::Key => {
            (format!("url = \"http://127.0.0.1:{port}/api/whip\"\ntoken_file"), "a-key".to_owned())
        }
        Secret::Url => ("url_file".to_owned(), format!("http://127.0.0.1:{port}/{SECRET}/webRTC/publish")),
    };
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let config =
        format!("{TEST_SOURCE}[[output]]\nname = \"chromium\"\nkind = \"whip\"\n{place} = {file:?}\n");
    let own = profile(codec, encoder, "640x360", 30);
    let mut appliance = Appliance::start(&config, &[("tried", &own)]);
    let session = server.expect("session", None, LIMIT);
    match how {
        Secret::Key => assert_eq!(session["bearer"], "Bearer YS1rZXk="),
        Secret::Url => {
            assert_eq!(
                (session["url"].as_str().unwrap().contains(SECRET), &session["bearer"]),
                (true, &Value::Null)
            );
        }
    }
    let played = server.expect("played", None, LIMIT);
    println!("{played}");
    assert_eq!(played["video"], mime, "{played}");
    assert!(played["audio"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("audio/opus")), "{played}");
    assert_eq!((&played["width"], &played["height"]), (&640.into(), &360.into()), "{played}");
    assert!(played["frames"].as_u64() >= Some(30), "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
    assert!(played["rms"].as_f64() > Some(0.05), "silence: {played}");
    assert_eq!(played["dropped"], 0, "{played}");
    for said in [appliance.cli(&["status", "--json"]), appliance.cli(&["outputs"])] {
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("chromium") && !said.contains(SECRET), "{said}");
    }
    let (_, log) = appliance.end();
    assert!(!log.iter().any(|line| line.contains(SECRET)), "the secret is in the log: {log:#?}");
    assert_eq!(server.expect("deleted", None, LIMIT), 1, "its first and only session");
}

#[test]
fn h264_arrives_in_chromium() {
    arrives("h264", "x264", "video/H264", &Secret::Key);
}

#[test]
fn vp9_arrives_in_chromium() {
    arrives("vp9", "vp9", "video/VP9", &Secret::Key);
}

#[test]
fn vp8_arrives_in_chromium_by_a_url_that_is_the_secret() {
    arrives("vp8", "vp8", "video/VP8", &Secret::Url);
}

#[test]
fn av1_arrives_in_chromium() {
    arrives("av1", "aom", "video/AV1", &Secret::Key);
}
