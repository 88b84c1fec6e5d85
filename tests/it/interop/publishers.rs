//! Publishers that are not ours, into our SFU, each watched by a viewer that decodes it.

use serde_json::Value;

use super::gstreamer::{Habits, Publisher};
use super::{LIMIT, profile};
use crate::appliance::{Appliance, keepsake, turn};
use crate::watcher::Watcher;

const KEY: &str = "a publish key";

/// A daemon whose own picture is a small one, and which takes a publisher of `guest`.
fn hospitable() -> (Appliance, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n\
         [[sfu.publisher]]\nstream = \"guest\"\nkey_file = {key:?}\n"
    );
    // aiortc and stock GStreamer speak from no loopback address.
    let own = profile("vp8", "vp8", "160x90", 5);
    (Appliance::start_with_media("[::]:0", &config, &[("tried", &own)]), folder)
}

fn endpoint(appliance: &Appliance) -> String {
    format!("{}/api/whip/guest", appliance.base)
}

fn guest(state: &Value) -> &Value {
    let streams = state["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams.iter().find(|stream| stream["name"] == "guest").unwrap_or(&Value::Null)
}

fn until_live(appliance: &Appliance) -> Value {
    appliance.until_state("the guest is live", LIMIT, |state| guest(state)["live"] == true)
}

/// Chromium on the page of the guest's stream.
fn chromium(appliance: &Appliance, options: &[&str]) -> Watcher {
    Watcher::chromium(&format!("{}/guest", appliance.base), options)
}

#[track_caller]
fn assert_played(played: &Value, codec: &str, size: (u64, u64)) {
    println!("{played}");
    assert_eq!(
        (&played["video"], &played["audio"]),
        (&format!("video/{codec}").into(), &"audio/opus".into())
    );
    assert_eq!((&played["width"], &played["height"]), (&size.0.into(), &size.1.into()), "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
    assert!(played["rms"].as_f64() > Some(0.05), "silence: {played}");
}

/// A page of another origin, that asks before it has candidates.
fn chromium_publishes(codec: &str, options: &[&str]) -> (Appliance, Watcher, tempfile::TempDir) {
    let (appliance, key) = hospitable();
    let options = [&["--bearer", KEY, "--codec", codec], options].concat();
    let mut publisher = Watcher::browser("publish.mjs", &endpoint(&appliance), &options);
    let answered = publisher.expect("answered", None, LIMIT);
    assert_eq!(answered["status"], 201, "{answered}");
    assert!(answered["etag"].as_str().is_some_and(|etag| etag.starts_with('"')), "{answered}");
    if options.contains(&"--trickle") {
        assert!(!answered["offer"].as_str().unwrap().contains("a=candidate"), "{answered}");
        assert_eq!(answered["patched"], 204, "{answered}");
    }
    let sending = publisher.expect("sending", None, LIMIT);
    assert_eq!(sending[0]["codec"], format!("video/{codec}"), "{sending}");
    (appliance, publisher, key)
}

fn gone(appliance: &Appliance, publisher: &mut Watcher) {
    publisher.hang_up();
    assert_eq!(publisher.expect("deleted", None, LIMIT), 200);
    appliance.until_state("the guest has gone", LIMIT, |state| guest(state)["live"] == false);
}

#[test]
fn chromium_publishes_vp8_by_trickle_and_a_browser_watches() {
    let _turn = turn();
    let (appliance, mut publisher, _key) = chromium_publishes("VP8", &["--trickle"]);
    let mut viewer = chromium(&appliance, &[]);
    let played = viewer.expect("played", None, LIMIT);
    assert_played(&played, "VP8", (640, 360));
    // A tone of 0.3 at its peaks, as the publisher's packets say and ours to the viewer say again.
    assert!(played["level"].as_f64() > Some(0.05), "its level is not told: {played}");
    gone(&appliance, &mut publisher);
}

#[test]
fn chromium_publishes_h264_and_aiortc_watches() {
    let _turn = turn();
    let (appliance, mut publisher, _key) = chromium_publishes("H264", &[]);
    let mut viewer =
        Watcher::aiortc(&format!("{}/api/whep/guest", appliance.base), &["--frames", "60", "--limit", "80"]);
    viewer.expect("frames", None, LIMIT);
    let seen = viewer.last();
    println!("{seen}");
    assert_eq!(seen["size"], serde_json::json!([640, 360]), "{seen}");
    assert!(seen["contrast"].as_u64() > Some(50), "{seen}");
    assert!(seen["audio_peak"].as_u64() > Some(500), "{seen}");
    gone(&appliance, &mut publisher);
}

#[test]
fn both_layers_of_chromiums_simulcast_are_taken_and_the_full_one_is_watched() {
    let _turn = turn();
    let (appliance, mut publisher, _key) = chromium_publishes("VP8", &["--simulcast"]);
    let state = appliance.until_state("both layers are there", LIMIT, |state| {
        guest(state)["layers"].as_array().is_some_and(|l| l.len() == 2)
    });
    assert_eq!(guest(&state)["layers"], serde_json::json!(["h", "l"]));
    let shot = keepsake("layers.png");
    let mut viewer = chromium(&appliance, &["--layers", "l,h,l,Best", "--shot", shot.to_str().unwrap()]);
    assert_played(&viewer.expect("played", None, LIMIT), "VP8", (640, 360));
    for (label, size) in [("l", (320, 180)), ("h", (640, 360)), ("l", (320, 180)), ("Best", (640, 360))] {
        let chosen = viewer.expect("layer", None, LIMIT);
        assert_played(&chosen, "VP8", size);
        assert_eq!((&chosen["label"], &chosen["status"]), (&label.into(), &200.into()), "{chosen}");
        assert_eq!(chosen["offered"], serde_json::json!(["Best", "h", "l"]), "{chosen}");
        assert_eq!(chosen["connections"], 1, "the viewer had to connect anew: {chosen}");
    }
    viewer.expect("shot", None, LIMIT);
    gone(&appliance, &mut publisher);
}

/// Broadcast Box's own way to the layers: the events of a viewer's session name them, a POST chooses.
#[test]
fn a_player_of_broadcast_box_is_told_of_the_layers_and_chooses() {
    let _turn = turn();
    let (appliance, mut publisher, _key) = chromium_publishes("VP8", &["--simulcast"]);
    until_live(&appliance);
    let endpoint = format!("{}/api/whep", appliance.base);
    let mut viewer = Watcher::aiortc(&endpoint, &["--bearer", "guest", "--limit", "80", "--layer", "l"]);
    let layers = viewer.expect("layers", None, LIMIT);
    let named: Vec<_> = layers["1"]["layers"].as_array().unwrap().iter().collect();
    assert_eq!(named, [&serde_json::json!({"encodingId": "h"}), &serde_json::json!({"encodingId": "l"})]);
    assert_eq!(viewer.expect("chosen", None, LIMIT), 200);
    viewer.expect("frames", None, LIMIT);
    let seen = viewer.last();
    assert_eq!(seen["size"], serde_json::json!([320, 180]), "{seen}");
    gone(&appliance, &mut publisher);
}

/// RFC 9725 §4.3.2, by a browser's own ICE: other credentials, other candidates, the same media.
#[test]
fn chromium_restarts_ice_while_it_is_watched() {
    let _turn = turn();
    let (appliance, mut publisher, _key) = chromium_publishes("VP8", &[]);
    let mut viewer = chromium(&appliance, &["--plays", "2", "--limit", "150"]);
    assert_played(&viewer.expect("played", None, LIMIT), "VP8", (640, 360));
    let before = until_live(&appliance);
    publisher.tell("restart");
    let restarted = publisher.expect("restarted", None, LIMIT);
    println!("{restarted}");
    assert_eq!(restarted["connection"], "connected", "{restarted}");
    let pictures = |state: &Value| guest(state)["packets_in"].as_u64().unwrap();
    let state = appliance.until_state("its packets come the new way", LIMIT, |state| {
        pictures(state) > pictures(&before) + 100
    });
    assert_eq!((&guest(&state)["viewers"], &guest(&state)["live"]), (&1.into(), &true.into()));
    gone(&appliance, &mut publisher);
    drop(viewer);
}

#[test]
fn aiortc_publishes_and_a_browser_watches() {
    let _turn = turn();
    let (appliance, _key) = hospitable();
    let mut publisher = Watcher::aiortc_publisher(&endpoint(&appliance), &["--bearer", KEY]);
    publisher.expect("connection", Some("connected"), LIMIT);
    until_live(&appliance);
    let mut viewer = chromium(&appliance, &[]);
    assert_played(&viewer.expect("played", None, LIMIT), "VP8", (640, 360));
    gone(&appliance, &mut publisher);
}

#[test]
fn stock_gstreamer_publishes_with_its_rsa_certificate_and_a_browser_watches() {
    let _turn = turn();
    let (appliance, _key) = hospitable();
    let publisher = Publisher::start(&endpoint(&appliance), KEY, Habits::Gstreamer);
    until_live(&appliance);
    appliance.until_state("the keyframe it began with is older than the SFU keeps one", LIMIT, |state| {
        guest(state)["packets_in"].as_u64() > Some(300)
    });
    let mut viewer = chromium(&appliance, &[]);
    assert_played(&viewer.expect("played", None, LIMIT), "H264", (480, 270));
    assert!(publisher.keyframe_requests() > 0, "the viewer's wish for a keyframe did not come through");
    assert_eq!(publisher.stop(), 200);
    appliance.until_state("the guest has gone", LIMIT, |state| guest(state)["live"] == false);
}

/// Its offer has no candidates, it sends none later, and it makes keyframes when it likes.
#[test]
fn a_publisher_with_the_habits_of_obs_is_watched() {
    let _turn = turn();
    let (appliance, _key) = hospitable();
    // OBS has one address for all servers; the key alone says which stream.
    let publisher = Publisher::start(&format!("{}/api/whip", appliance.base), KEY, Habits::Obs);
    until_live(&appliance);
    let mut viewer = chromium(&appliance, &[]);
    assert_played(&viewer.expect("played", None, LIMIT), "H264", (480, 270));
    // OBS warns of anything but 200.
    assert_eq!(publisher.stop(), 200);
    appliance.until_state("the guest has gone", LIMIT, |state| guest(state)["live"] == false);
}

/// Another program, another codec, another size: the viewer's session goes on.
#[test]
fn a_viewer_goes_on_when_gstreamer_follows_chromium() {
    let _turn = turn();
    let (appliance, first, _key) = chromium_publishes("VP8", &[]);
    let mut viewer = chromium(&appliance, &["--resizes", "1", "--limit", "150"]);
    assert_played(&viewer.expect("played", None, LIMIT), "VP8", (640, 360));
    let second = Publisher::start(&endpoint(&appliance), KEY, Habits::Gstreamer);
    let resized = viewer.expect("resized", None, LIMIT);
    assert_played(&resized, "H264", (480, 270));
    assert_eq!(resized["connections"], 1, "the viewer had to connect anew: {resized}");
    assert_eq!(guest(&until_live(&appliance))["viewers"], 1);
    assert_eq!(second.stop(), 200);
    drop(first);
}
