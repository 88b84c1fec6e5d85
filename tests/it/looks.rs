//! Headless Chromium looks at the player, a room and the panel's login in all their states.

use std::time::Duration;

use serde_json::json;

use crate::appliance::{Appliance, keepsake, turn};
use crate::watcher::Watcher;

/// Cold start of a browser on a busy machine, and whatever is waited for.
const LIMIT: Duration = Duration::from_secs(120);

const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nsize = \"640x360\"\nframerate = \"15\"\n\
                       bitrate = \"800 kbit/s\"\nspeed = \"fastest\"\n";

#[test]
fn every_state_of_player_room_and_login_can_be_read_by_everybody() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (token, key) = (file("token", "s3cret"), file("key", "publish"));
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n[http]\ncontrol_token_file = \"{token}\"\n\
         [[sfu.publisher]]\nstream = \"obs\"\nkey_file = \"{key}\"\n"
    );
    let mut appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    appliance.until_state("it is on air", LIMIT, |state| state["state"] == "on_air");
    let shots = keepsake("x").with_file_name("");
    let options = ["--shots", shots.to_str().unwrap(), "--token", "s3cret"];
    let mut watcher = Watcher::browser("looks.mjs", &appliance.base, &options);
    let look = |watcher: &mut Watcher, name: &str| {
        let look = watcher.expect("look", Some(name), LIMIT);
        assert_eq!(look["wide"], 0, "the page is wider than its window: {name}");
        let all = look["violations"].as_array().unwrap();
        let grave: Vec<_> = all
            .iter()
            .filter(|found| found["impact"] == "serious" || found["impact"] == "critical")
            .collect();
        assert!(grave.is_empty(), "{name}: {grave:#?}");
    };
    let both = |name: &str| {
        ["wide", "phone"]
            .iter()
            .flat_map(|size| ["dark", "light"].map(|scheme| format!("{name}-{size}-{scheme}")))
            .collect::<Vec<_>>()
    };
    for name in ["player-live", "player-statistics", "player-absent", "player-waiting"] {
        for size in ["wide", "phone"] {
            look(&mut watcher, &format!("{name}-{size}"));
        }
    }
    both("room").into_iter().chain(both("room-empty")).for_each(|name| look(&mut watcher, &name));
    assert_eq!(watcher.expect("guest", None, LIMIT), json!({"disabled": true, "log": 0}));
    both("login").into_iter().chain(both("login-refused")).for_each(|name| look(&mut watcher, &name));
    assert_eq!(watcher.expect("member", None, LIMIT), json!({"disabled": false}));
    assert_eq!(watcher.expect("left", None, LIMIT), true);
    // This daemon listens on loopback alone, so there is nothing better to show.
    assert_eq!(watcher.expect("watch", None, LIMIT), format!("{}/live", appliance.base));
    assert_eq!(watcher.last()["others"], json!([]));

    watcher.expect("killed", None, LIMIT);
    appliance.kill();
    for size in ["wide", "phone"] {
        look(&mut watcher, &format!("player-lost-{size}"));
    }
    both("room-lost").into_iter().for_each(|name| look(&mut watcher, &name));
    both("panel-lost").into_iter().for_each(|name| look(&mut watcher, &name));
    watcher.expect("done", None, LIMIT);
}
