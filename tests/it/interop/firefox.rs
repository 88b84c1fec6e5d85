//! Debian's Firefox watches. Not H.264: Firefox has it from a download.

use super::{LIMIT, TEST_SOURCE, profile};
use crate::appliance::{Appliance, keepsake, turn};
use crate::watcher::Watcher;

fn plays(codec: &str, encoder: &str, name: &str) {
    let _turn = turn();
    // Firefox connects from loopback to nothing, so the two meet at this machine's own address.
    let own = profile(codec, encoder, "640x360", 30);
    let appliance = Appliance::start_with_media("[::]:0", TEST_SOURCE, &[("tried", &own)]);
    let shot = keepsake(&format!("firefox-{codec}.png"));
    let mut firefox = Watcher::firefox(&format!("{}/", appliance.base), &["--shot", shot.to_str().unwrap()]);
    let played = firefox.expect("played", None, LIMIT);
    println!("{played}");
    assert_eq!((&played["width"], &played["height"]), (&640.into(), &360.into()), "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
    assert_eq!(played["sounding"], true, "the page does not play the sound: {played}");
    let figures = played["figures"].as_str().unwrap();
    for said in ["640 × 360", &format!("{name} + Opus")] {
        assert!(figures.contains(said), "no `{said}` in the statistics: {figures}");
    }
    let heard = &played["heard"];
    assert_eq!((&heard["video"], &heard["audio"]), (&format!("video/{name}").into(), &"audio/opus".into()));
    assert!(heard["level"].as_f64() > Some(0.05), "silence: {heard}");
    assert_eq!((&heard["lost"], &heard["ended"]), (&0.into(), &200.into()), "{heard}");
}

#[test]
fn vp9_plays() {
    plays("vp9", "vp9", "VP9");
}

#[test]
fn vp8_plays() {
    plays("vp8", "vp8", "VP8");
}
