//! Headless Chromium watches, through the player page, what the real binary sends.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use capcast::config::SizeChoice;
use capcast::media::Codec;

use crate::appliance::{Appliance, keepsake, setup, turn};
use crate::plans::boxes;
use crate::watcher::{Watcher, words};

/// Cold start of a browser on a busy machine, connecting, and measuring.
const LIMIT: Duration = Duration::from_secs(90);

/// A test picture and tone.
const TEST_SOURCE: &str = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";

/// A picture small enough that an encoder and a browser fit on two cores together.
fn small(codec: &str, encoder: &str, size: &str, framerate: u32) -> String {
    format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"{size}\"\n\
         framerate = \"{framerate}\"\nbitrate = \"1 Mbit/s\"\nspeed = \"fastest\"\n"
    )
}

/// The least RMS that the test tone must have in the browser, of 1.
const TONE: f64 = 0.05;

/// The same for a film's sound, which is quiet at times; true silence arrives as zeros.
const FILM: f64 = 0.001;

/// Plays it, checks the codec, the size and the sound, and gives what was measured.
fn played(watcher: &mut Watcher, codec: &str, size: (u64, u64), sound: f64) -> Value {
    let played = watcher.expect("played", None, LIMIT);
    assert_eq!(played["video"], format!("video/{codec}"), "{played}");
    assert_eq!(
        (played["width"].as_u64(), played["height"].as_u64()),
        (Some(size.0), Some(size.1)),
        "{played}"
    );
    assert_eq!(played["shownWidth"], played["width"], "{played}");
    assert!(played["contrast"].as_u64() > Some(15), "the picture is one colour: {played}");
    assert_eq!(played["audio"], "audio/opus", "{played}");
    assert!(played["rms"].as_f64() > Some(sound), "silence: {played}");
    assert_eq!(played["sounding"], true, "the page does not play the sound: {played}");
    played
}

fn plays(codec: &str, fragment: &str, mime: &str, size: &str, framerate: u32) {
    let _turn = turn();
    let profile = small(codec, fragment, size, framerate);
    let appliance = Appliance::start(TEST_SOURCE, &[("tried", &profile)]);
    let shot = keepsake(&format!("{fragment}.png"));
    let mut watcher = Watcher::chromium(&format!("{}/", appliance.base), &["--shot", shot.to_str().unwrap()]);
    let (width, height) = size.split_once('x').unwrap();
    let played = played(&mut watcher, mime, (width.parse().unwrap(), height.parse().unwrap()), TONE);
    println!("{fragment}: {played}");
    watcher.expect("shot", None, LIMIT);
}

#[test]
fn x264_plays() {
    plays("h264", "x264", "H264", "640x360", 30);
}

#[test]
fn openh264_plays() {
    plays("h264", "openh264", "H264", "640x360", 30);
}

#[test]
fn vp9_plays() {
    plays("vp9", "vp9", "VP9", "640x360", 30);
}

#[test]
fn vp8_plays() {
    plays("vp8", "vp8", "VP8", "640x360", 30);
}

#[test]
fn av1_by_libaom_plays() {
    plays("av1", "aom", "AV1", "640x360", 30);
}

#[test]
fn av1_by_svt_plays() {
    plays("av1", "svt", "AV1", "640x360", 30);
}

/// rav1e holds 13 frames back and is slow: small, but it plays.
#[test]
fn av1_by_rav1e_plays() {
    plays("av1", "rav1e", "AV1", "320x180", 15);
}

/// A profile as it is shipped, from the test source: its codec, its size, pictures and sound. However few pictures a second
/// this machine makes of it.
fn shipped_plays(name: &str, limit: Duration) {
    let _turn = turn();
    let profile = boxes::profile(name);
    let SizeChoice::Fixed(size) = profile.video.size else { panic!("{name} has no size of its own") };
    let mime = match profile.video.codec {
        Codec::H264 => "video/H264",
        Codec::Vp8 => "video/VP8",
        Codec::Vp9 => "video/VP9",
        Codec::Av1 => "video/AV1",
        Codec::Opus => panic!("{name} is no picture"),
    };
    let appliance = Appliance::start(&TEST_SOURCE.replace("tried", name), &[]);
    let shot = keepsake(&format!("{name}.png"));
    // By the stream's name this time.
    let url = format!("{}/live", appliance.base);
    let patience = limit.as_secs().to_string();
    let options = ["--shot", shot.to_str().unwrap(), "--limit", &patience];
    let mut watcher = Watcher::chromium(&url, &options);
    let played = watcher.expect("played", None, limit);
    println!("{name}: {played}");
    assert_eq!(played["video"], mime, "{name}: {played}");
    let wanted = (Some(u64::from(size.width)), Some(u64::from(size.height)));
    assert_eq!((played["width"].as_u64(), played["height"].as_u64()), wanted, "{name}: {played}");
    assert!(played["contrast"].as_u64() > Some(15), "{name}: the picture is one colour: {played}");
    assert_eq!(played["audio"], "audio/opus", "{name}: {played}");
    watcher.expect("shot", None, LIMIT);
}

#[test]
fn shipped_profiles_play_at_their_full_size() {
    for name in ["h264-x264-720p30", "vp8-720p30"] {
        shipped_plays(name, LIMIT);
    }
}

/// Those of hardware that is not here are left to where it is.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_every_shipped_software_profile_plays_at_its_full_size() {
    let hardware = ["nvenc", "vaapi", "qsv", "v4l2"];
    let names = boxes::shipped().profiles.keys().filter(|name| !hardware.iter().any(|of| name.contains(of)));
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        shipped_plays(name, Duration::from_secs(300));
    }
}

/// A film with sound of its own.
fn a_clip_plays(codec: &str, fragment: &str, mime: &str) {
    let _turn = turn();
    let clip = format!("{}/bigbuckbunny.mp4", setup("setup/clips", &[]));
    let config = format!("profile = \"tried\"\n[capture]\nvideo = \"file:{clip}\"\n");
    let appliance = Appliance::start(&config, &[("tried", &small(codec, fragment, "640x360", 25))]);
    let shot = keepsake(&format!("clip-{fragment}.png"));
    let mut watcher = Watcher::chromium(&format!("{}/", appliance.base), &["--shot", shot.to_str().unwrap()]);
    println!("{}", played(&mut watcher, mime, (640, 360), FILM));
    watcher.expect("shot", None, LIMIT);
}

#[test]
fn a_real_clip_plays_as_vp9() {
    a_clip_plays("vp9", "vp9", "VP9");
}

#[test]
fn a_real_clip_plays_as_h264() {
    a_clip_plays("h264", "x264", "H264");
}

#[test]
fn a_player_that_came_before_the_stream_turns_live_by_itself() {
    let _turn = turn();
    let clip = format!("{}/bigbuckbunny.mp4", setup("setup/clips", &[]));
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("later.mp4");
    let config = format!("profile = \"tried\"\n[capture]\nvideo = \"file:{}\"\n", later.display());
    fs::copy(&clip, &later).unwrap();
    let appliance = Appliance::start(&config, &[("tried", &small("vp8", "vp8", "640x360", 25))]);
    // Spoilt in place, and the stream is off air until the file is whole.
    let is_live = |state: &Value| state["streams"][0]["live"] == true;
    appliance.until_state("it is live", LIMIT, is_live);
    fs::write(&later, "").unwrap();
    appliance.until_state("it is not live any more", LIMIT, |state| !is_live(state));
    let mut watcher = Watcher::chromium(&format!("{}/live", appliance.base), &[]);
    let waiting = watcher.expect("state", Some("waiting"), LIMIT);
    assert_eq!(words(&waiting), "“live” is not live yet. It will start by itself.");
    fs::copy(clip, later).unwrap();
    played(&mut watcher, "VP8", (640, 360), FILM);
}

#[test]
fn a_player_outlives_the_daemon() {
    let _turn = turn();
    let profile = small("vp8", "vp8", "640x360", 30);
    let mut appliance = Appliance::start(TEST_SOURCE, &[("tried", &profile)]);
    let mut watcher = Watcher::chromium(&format!("{}/", appliance.base), &["--plays", "2", "--limit", "150"]);
    played(&mut watcher, "VP8", (640, 360), TONE);
    appliance.kill();
    let retrying = watcher.expect("state", Some("retrying"), LIMIT);
    assert!(words(&retrying).ends_with(". Retrying."), "{retrying}");
    appliance.start_again();
    played(&mut watcher, "VP8", (640, 360), TONE);
}

#[test]
fn a_browser_without_the_codec_is_told_so_in_words() {
    let _turn = turn();
    let profile = small("vp9", "vp9", "640x360", 30);
    let appliance = Appliance::start(TEST_SOURCE, &[("tried", &profile)]);
    let shot = keepsake("unplayable.png");
    let options = ["--only", "VP8", "--until", "unplayable", "--shot", shot.to_str().unwrap()];
    let mut watcher = Watcher::chromium(&format!("{}/", appliance.base), &options);
    let told = watcher.expect("state", Some("unplayable"), LIMIT);
    assert!(words(&told).starts_with("Your browser cannot play VP9. "), "{told}");
    watcher.expect("shot", None, LIMIT);
}

#[test]
fn a_stream_that_does_not_exist_is_said_to_be_missing() {
    let _turn = turn();
    let profile = small("vp8", "vp8", "320x180", 15);
    let appliance = Appliance::start(TEST_SOURCE, &[("tried", &profile)]);
    let mut watcher = Watcher::chromium(&format!("{}/nobody", appliance.base), &["--until", "absent"]);
    let told = watcher.expect("state", Some("absent"), LIMIT);
    assert!(words(&told).starts_with("There is no stream called “nobody”. "), "{told}");
}

#[test]
fn a_stream_with_a_view_key_asks_for_it_and_plays_with_it() {
    let _turn = turn();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "look at me\n").unwrap();
    let config = format!("{TEST_SOURCE}[[sfu.view]]\nstream = \"live\"\nkey_file = {:?}\n", key.path());
    let profile = small("vp8", "vp8", "320x180", 15);
    let appliance = Appliance::start(&config, &[("tried", &profile)]);
    // By its own name the box would take this for its operator's browser.
    let page = appliance.base.replace("127.0.0.1", "box.localhost");
    assert_ne!(page, appliance.base);
    let mut stranger = Watcher::chromium(&format!("{page}/"), &["--until", "locked"]);
    let told = stranger.expect("state", Some("locked"), LIMIT);
    assert!(words(&told).starts_with("The stream needs a key. "), "{told}");
    let mut guest = Watcher::chromium(&format!("{page}/#key=look%20at%20me"), &["--plays", "1"]);
    played(&mut guest, "VP8", (320, 180), TONE);
}

#[test]
fn mouse_and_keys_do_what_the_player_says() {
    let _turn = turn();
    let profile = small("vp8", "vp8", "640x360", 30);
    let appliance = Appliance::start(TEST_SOURCE, &[("tried", &profile)]);
    // One that is not live yet answers 409, which a browser's console takes for a fault.
    appliance.until_state("it is live", LIMIT, |state| state["streams"][0]["live"] == true);
    let mut watcher = Watcher::browser("controls.mjs", &format!("{}/", appliance.base), &[]);
    let seen = watcher.expect("seen", None, LIMIT);
    for empty in ["problems", "elsewhere", "overflow"] {
        assert_eq!(seen[empty], serde_json::json!([]), "{empty}: {seen:#}");
    }
    assert_eq!(seen["soundAtFirst"], "off", "{seen:#}");
    assert_eq!(seen["invited"], true, "{seen:#}");
    assert_eq!(seen["mutedShown"], "0", "{seen:#}");
    assert!((seen["volume"].as_f64().unwrap() - 0.9).abs() < 0.001, "{seen:#}");
    for said in ["640 × 360", "VP8 + Opus", "bit/s", " ms"] {
        assert!(seen["figures"].as_str().unwrap().contains(said), "no `{said}` in the statistics: {seen:#}");
    }
    assert_eq!(seen["figuresGone"], true, "{seen:#}");
    assert_eq!(seen["tabs"], serde_json::json!(["sound", "volume", "stats", "pip", "full"]), "{seen:#}");
    // The page has gone: by DELETE the server knows at once, else only after its peer has been silent for long.
    assert_eq!(watcher.expect("viewersLeft", None, LIMIT), 0);
}
