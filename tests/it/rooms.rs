//! A room's page in a browser, while publishers come and go.

use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, keepsake, turn};
use crate::watcher::Watcher;

/// Cold start of a browser on a busy machine, connecting, and measuring.
const LIMIT: Duration = Duration::from_secs(90);
const KEY: &str = "a publish key of";
const VIEW: &str = "look-at-ben";

/// A daemon that takes publishers of two streams of the room `meet`, one of them watched with a key, and of another room.
fn hospitable() -> (Appliance, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n".to_owned();
    for stream in ["meet-anna", "meet-ben", "other-one"] {
        let key = folder.path().join(stream);
        std::fs::write(&key, format!("{KEY} {stream}")).unwrap();
        config += &format!("[[sfu.publisher]]\nstream = \"{stream}\"\nkey_file = {key:?}\n");
    }
    let view = folder.path().join("view");
    std::fs::write(&view, VIEW).unwrap();
    config += &format!("[[sfu.view]]\nstream = \"meet-ben\"\nkey_file = {view:?}\n");
    let own = "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nencoder = \"vp8\"\nsize = \"160x90\"\n\
               framerate = \"5\"\nbitrate = \"100 kbit/s\"\nspeed = \"fastest\"\n";
    (Appliance::start(&config, &[("tried", own)]), folder)
}

fn publisher(appliance: &Appliance, stream: &str, hue: &str) -> Watcher {
    let endpoint = format!("{}/api/whip/{stream}", appliance.base);
    let key = format!("{KEY} {stream}");
    let options = ["--bearer", &key, "--hue", hue, "--size", "320x180"];
    let mut publisher = Watcher::browser("publish.mjs", &endpoint, &options);
    publisher.expect("sending", None, LIMIT);
    publisher
}

/// The page's tiles, once each of these is there in this state, and no other.
fn until(page: &mut Watcher, states: &[(&str, &str)]) -> Value {
    loop {
        let tiles = page.expect("tiles", None, LIMIT);
        let is =
            |(name, state): &(&str, &str)| tiles[name]["state"] == *state && tiles[name]["gone"] == false;
        if tiles.as_object().unwrap().len() == states.len() && states.iter().all(is) {
            return tiles;
        }
    }
}

fn shot(page: &mut Watcher, name: &str, size: &str, scheme: &str) {
    let file = keepsake(name);
    page.tell(&format!("shot {} {size} {scheme}", file.display()));
    page.expect("shot", Some(file.to_str().unwrap()), LIMIT);
    assert_eq!(page.last()["wide"], 0, "the page is wider than a window of {size}");
}

#[test]
fn publishers_come_and_go_and_nobody_elses_session_is_touched() {
    let _turn = turn();
    let (appliance, _keys) = hospitable();
    // By its own name the box would take this for its operator's browser, who needs no key.
    let home = appliance.base.replace("127.0.0.1", "box.localhost");
    let mut page = Watcher::browser("room.mjs", &format!("{home}/room/meet"), &[]);
    page.tell("measure");
    assert_eq!(page.expect("measured", None, LIMIT)["connections"], 0, "nobody is there to offer to");
    shot(&mut page, "room-empty.png", "1280x720", "light");

    let mut anna = publisher(&appliance, "meet-anna", "20");
    until(&mut page, &[("meet-anna", "playing")]);
    // Somebody of another room changes nothing here.
    let mut other = publisher(&appliance, "other-one", "300");
    page.tell("frames meet-anna");
    let alone = page.expect("frames", None, LIMIT);
    assert_eq!((&alone["connections"], &alone["tiles"]["meet-anna"]["muted"]), (&1.into(), &true.into()));
    let track = alone["tiles"]["meet-anna"]["track"].clone();
    other.hang_up();

    let mut ben = publisher(&appliance, "meet-ben", "210");
    let tiles = until(&mut page, &[("meet-anna", "playing"), ("meet-ben", "locked")]);
    assert!(tiles["meet-ben"]["words"].as_str().unwrap().contains("“ben” needs a key"), "{tiles}");
    shot(&mut page, "room-locked.png", "1280x720", "dark");
    page.tell(&format!("key meet-ben {VIEW}"));
    until(&mut page, &[("meet-anna", "playing"), ("meet-ben", "playing")]);
    page.tell("frames meet-anna meet-ben");
    let both = page.expect("frames", None, LIMIT);
    // One connection that was refused for want of the key, and one with it.
    assert_eq!((&both["connections"], &both["open"]), (&3.into(), &2.into()), "{both}");
    assert_eq!(both["tiles"]["meet-anna"]["track"], track, "the session is another one: {both}");

    page.tell("sound meet-ben");
    let heard = &page.expect("sound", None, LIMIT)["meet-ben"];
    assert!(heard["muted"] == false && heard["rms"].as_f64() > Some(0.05), "{heard}");
    page.tell("measure");
    let measured = page.expect("measured", None, LIMIT);
    assert_eq!(measured["tiles"]["meet-anna"]["muted"], true, "only what was chosen is heard: {measured}");
    page.tell("full meet-anna");
    page.expect("full", Some("meet-anna"), LIMIT);
    page.tell("follow meet-ben");
    assert_eq!(page.expect("followed", None, LIMIT), format!("/meet-ben#key={VIEW}"));
    shot(&mut page, "room.png", "1280x720", "light");
    shot(&mut page, "room-dark.png", "1280x720", "dark");
    shot(&mut page, "room-phone.png", "360x740", "dark");
    shot(&mut page, "room-phone-light.png", "360x740", "light");

    anna.hang_up();
    until(&mut page, &[("meet-ben", "playing")]);
    page.tell("frames meet-ben");
    let left = page.expect("frames", None, LIMIT);
    assert_eq!(left["open"], 1, "{left}");
    // A tile may ask once more before it hears that its publisher is gone.
    let asked = |measured: &Value| measured["connections"].as_u64().unwrap();
    assert!((3..=4).contains(&asked(&left)), "{left}");
    let of_ben = |measured: &Value| measured["tiles"]["meet-ben"]["track"].clone();
    assert_eq!(of_ben(&left), of_ben(&both), "the session is another one: {left}");
    assert_eq!(left["tiles"]["meet-ben"]["sound"], "on", "{left}");

    // Who comes back needs no reload, and whose key is known is not asked for it again.
    let _anna = publisher(&appliance, "meet-anna", "20");
    until(&mut page, &[("meet-anna", "playing"), ("meet-ben", "playing")]);
    ben.hang_up();
    until(&mut page, &[("meet-anna", "playing")]);
    let _ben = publisher(&appliance, "meet-ben", "210");
    until(&mut page, &[("meet-anna", "playing"), ("meet-ben", "playing")]);
    page.tell("measure");
    let last = page.expect("measured", None, LIMIT);
    assert_eq!(last["open"], 2, "{last}");
    assert!((2..=3).contains(&(asked(&last) - asked(&left))), "{last}");
}
