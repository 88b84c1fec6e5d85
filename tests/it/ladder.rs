//! Several versions of one picture: the real daemon encodes each, and viewers get the one that they choose or that fits.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::appliance::{Appliance, keepsake, source, turn};
use crate::detour::Detour;
use crate::watcher::{Watcher, words};

/// Encoders start within seconds on a busy machine; what is waited for longer never comes.
const LIMIT: Duration = Duration::from_secs(60);

/// Cold start of a browser on a busy machine.
const BROWSER: Duration = Duration::from_secs(120);

const SOURCE: &str = "profile = \"one\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";

/// A picture of 640x360, and smaller versions of it.
fn profile(codec: &str, encoder: &str, smaller: &[&str]) -> String {
    let mut text = format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = {encoder}\nsize = \"640x360\"\n\
         framerate = \"30\"\nbitrate = \"800 kbit/s\"\nmin_bitrate = \"100 kbit/s\"\nspeed = \"fastest\"\n"
    );
    for size in smaller {
        text += &format!("[[video.rendition]]\nsize = \"{size}\"\nbitrate = \"300 kbit/s\"\n");
    }
    text
}

/// A fragment around VP8 without delay, with these elements before it.
fn fragment(head: &str, before: &str) -> String {
    format!(
        "summary = \"made for a test\"\ncodec = \"vp8\"\nrank = 0\nformats = [\"I420\"]\n{head}\n{before}\
         [[element]]\nfactory = \"vp8enc\"\nrole = \"encoder\"\n[element.properties]\ndeadline = 1\ncpu-used = 10\n\
         lag-in-frames = 0\nkeyframe-max-dist = 3000\n[control]\nkeyframe = \"event\"\n"
    )
}

fn succeeds(appliance: &Appliance, arguments: &[&str]) -> String {
    let done = appliance.cli(arguments);
    let (said, complained) =
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {said}{complained}");
    said
}

/// The sizes of the smaller versions that run, and have made pictures.
fn running(state: &Value) -> Vec<&str> {
    let renditions = state["encode"]["renditions"].as_array().into_iter().flatten();
    let runs = |one: &&Value| one["state"] == "running" && one["frames_out"].as_u64() > Some(0);
    renditions.filter(runs).filter_map(|one| one["size"].as_str()).collect()
}

/// The state once these smaller versions run and can be watched, and nothing is wrong.
fn settled(appliance: &Appliance, smaller: &[&str]) -> Value {
    let mut layers: Vec<&str> = if smaller.is_empty() { Vec::new() } else { vec!["640x360"] };
    layers.extend(smaller);
    appliance.until_state(&format!("{smaller:?} run"), LIMIT, |state| {
        let stream = &state["streams"][0];
        let live = stream["layers"] == json!(layers) && stream["live"] == true;
        let all = state["state"] == "on_air" && running(state) == *smaller && live;
        if !all {
            println!("{:?} {:?} {:?}", state["state"], running(state), stream["layers"]);
        }
        all
    })
}

#[test]
fn every_rendition_is_an_encoder_of_its_own_and_a_layer_of_the_stream() {
    let one = profile("vp8", "\"vp8\"", &["320x180", "160x90"]);
    let mut appliance = Appliance::start(SOURCE, &[("one", &one)]);
    let state = settled(&appliance, &["320x180", "160x90"]);
    let encode = &state["encode"];
    assert_eq!((&encode["size"], &encode["target_bitrate_bps"]), (&"640x360".into(), &800_000.into()));
    for smaller in encode["renditions"].as_array().unwrap() {
        assert_eq!((&smaller["codec"], &smaller["encoder"]), (&"vp8".into(), &"vp8".into()), "{smaller}");
        assert_eq!((&smaller["target_bitrate_bps"], &smaller["restarts"]), (&300_000.into(), &0.into()));
    }
    let queues: Vec<&str> =
        state["queues"].as_array().unwrap().iter().filter_map(|queue| queue["name"].as_str()).collect();
    for name in ["video-encode/", "video-encode-1/", "video-encode-2/", "sfu/live/video", "sfu/live/video-2"]
    {
        let found = queues.iter().filter(|queue| queue.starts_with(name)).count();
        assert!(found >= 1, "no `{name}` in {queues:?}");
    }
    let mut once = queues.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), queues.len(), "names are unique: {queues:?}");
    let status = succeeds(&appliance, &["status"]);
    for words in ["encode 1", "encode 2", "vp8 320x180", "layers 640x360 320x180 160x90"] {
        assert!(status.contains(words), "no `{words}` in\n{status}");
    }

    // A version below never has more bits than the picture.
    succeeds(&appliance, &["bitrate", "200 kbit/s"]);
    let bits = |state: &Value| state["encode"]["renditions"][0]["target_bitrate_bps"].clone();
    appliance.until_state("it follows", LIMIT, |state| bits(state) == 200_000);
    succeeds(&appliance, &["bitrate", "800 kbit/s"]);
    appliance.until_state("it comes back", LIMIT, |state| bits(state) == 300_000);

    succeeds(&appliance, &["stop"]);
    let stopped = appliance.until_state("off air", LIMIT, |state| state["state"] == "stopped");
    assert_eq!(running(&stopped), [""; 0], "{stopped:#}");
    succeeds(&appliance, &["start"]);
    settled(&appliance, &["320x180", "160x90"]);
    let (took, log) = appliance.end();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let left: Vec<_> = log.iter().filter(|line| line.contains("left behind")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_switch_and_a_reload_bring_other_layers_and_take_them_away() {
    let profiles = [
        ("one", profile("vp8", "\"vp8\"", &["320x180"])),
        ("more", profile("vp8", "\"vp8\"", &["480x270", "320x180", "160x90"])),
        ("plain", profile("vp8", "\"vp8\"", &[])),
        ("other", profile("h264", "\"x264\"", &["320x180", "160x90"])),
    ];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let appliance = Appliance::start(SOURCE, &profiles);
    settled(&appliance, &["320x180"]);
    let sizes: [(&str, &[&str]); 4] = [
        ("more", &["480x270", "320x180", "160x90"]),
        ("other", &["320x180", "160x90"]),
        ("plain", &[]),
        ("one", &["320x180"]),
    ];
    for (name, smaller) in sizes {
        let said = succeeds(&appliance, &["switch", name]);
        assert!(said.starts_with(&format!("`{name}` is on air")), "{said}");
        let state = settled(&appliance, smaller);
        for part in [&state["capture"], &state["encode"], &state["audio"]] {
            assert_eq!(part["restarts"], 0, "{name}: {state:#}");
        }
        let codec = &state["encode"]["codec"];
        for one in state["encode"]["renditions"].as_array().into_iter().flatten() {
            assert_eq!((&one["codec"], &one["restarts"]), (codec, &0.into()), "{name}: {one}");
        }
        assert_eq!(state["streams"][0]["dropped"], 0, "{name}: {state:#}");
    }
    appliance.write("profiles/one.toml", &profile("vp8", "\"vp8\"", &["160x90"]));
    succeeds(&appliance, &["reload"]);
    let state = settled(&appliance, &["160x90"]);
    assert_eq!(state["encode"]["restarts"], 0, "the picture itself went on: {state:#}");
}

#[test]
fn a_smaller_version_that_fails_leaves_the_picture_on_air_and_is_said() {
    // The first encodes one picture at a time, so the smaller version is by the second, which breaks again and again.
    let breaks = "[[element]]\nfactory = \"identity\"\n[element.properties]\nerror-after = 20\n";
    // This one takes no picture of fewer columns.
    let large = "[[element]]\nfactory = \"capsfilter\"\n[element.properties]\ncaps = \"video/x-raw,width=[400,4000]\"\n";
    let files = [
        ("pipelines/encoder/once.toml", fragment("exclusive = true", "")),
        ("pipelines/encoder/breaks.toml", fragment("", breaks)),
        ("pipelines/encoder/large.toml", fragment("", large)),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let profiles = [
        ("one", profile("vp8", "[\"once\", \"breaks\"]", &["320x180"])),
        ("large", profile("vp8", "\"large\"", &["320x180"])),
        ("plain", profile("vp8", "\"vp8\"", &[])),
    ];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let appliance = Appliance::start_with_files(SOURCE, &profiles, &files);
    let well = |state: &Value| {
        let encode = &state["encode"];
        assert_eq!((&encode["state"], &encode["restarts"]), (&"running".into(), &0.into()), "{state:#}");
        assert_eq!(state["streams"][0]["live"], true, "{state:#}");
        let words = state["words"].as_str().unwrap();
        assert!(
            words.starts_with("on air: ") && words.contains("; the smaller picture of 320x180 "),
            "{words}"
        );
        assert!(!encode["renditions"][0]["reason"].as_str().unwrap().is_empty(), "{state:#}");
    };
    let again = |state: &Value| {
        let smaller = &state["encode"]["renditions"][0];
        state["state"] == "degraded"
            && smaller["restarts"].as_u64() >= Some(2)
            && smaller["state"] == "backoff"
    };
    well(&appliance.until_state("the small one is tried again and again", LIMIT, again));
    appliance.until_logged(1, "encode 1 backoff: ");
    let log = appliance.log();
    let mut told = log.iter().filter(|line| line.contains("encode 1 backoff: "));
    assert!(told.any(|line| line.contains("WARN")), "{log:#?}");

    succeeds(&appliance, &["switch", "large"]);
    let given_up = |state: &Value| state["encode"]["renditions"][0]["state"] == "failed";
    well(&appliance.until_state("the small one is given up", LIMIT, given_up));
    // It goes with the profile that wants it.
    succeeds(&appliance, &["switch", "plain"]);
    settled(&appliance, &[]);
}

#[test]
fn a_smaller_version_that_is_slow_skips_frames_and_holds_nothing_up() {
    // The first encodes one picture at a time, so the smaller version is by the second, which takes 200 ms for each frame.
    let slow = "[[element]]\nfactory = \"identity\"\n[element.properties]\nsleep-time = 200000\n";
    let files = [
        ("pipelines/encoder/once.toml", fragment("exclusive = true", "")),
        ("pipelines/encoder/slow.toml", fragment("", slow)),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let one = profile("vp8", "[\"once\", \"slow\"]", &["320x180"]);
    let appliance = Appliance::start_with_files(SOURCE, &[("one", &one)], &files);
    let state = appliance.until_state("it is told that it lags", LIMIT, |state| {
        state["encode"]["renditions"][0]["state"] == "degraded"
    });
    let smaller = &state["encode"]["renditions"][0];
    assert_eq!((&state["encode"]["encoder"], &smaller["encoder"]), (&"once".into(), &"slow".into()));
    assert!(smaller["reason"].as_str().unwrap().contains("does not keep up"), "{smaller}");
    assert!(smaller["dropped_at"]["link"].as_u64() > Some(30), "{smaller}");
    assert!(state["words"].as_str().unwrap().contains("the smaller picture of 320x180"), "{state:#}");
    let queues = state["queues"].as_array().unwrap();
    let link = queues.iter().find(|queue| queue["name"] == "video-encode-1/from-hub").unwrap();
    assert_eq!(link["blocked_ms"], 0.0, "{link}");
    assert_eq!((&state["encode"]["state"], &state["encode"]["restarts"]), (&"running".into(), &0.into()));
}

#[test]
fn what_the_encoder_cannot_make_is_left_out_and_said() {
    let fragment = fragment("smallest = \"400x200\"", "");
    let files = [("pipelines/encoder/large.toml", fragment.as_str())];
    let one = profile("vp8", "\"large\"", &["480x270", "320x180"]);
    let appliance = Appliance::start_with_files(SOURCE, &[("one", &one)], &files);
    settled(&appliance, &["480x270"]);
    let left_out =
        "the smaller picture, 320x180 at 300 kbit/s, is left out: it takes no picture smaller than 400x200";
    appliance.until_logged(1, left_out);
}

#[test]
fn the_ladder_of_the_documents_runs() {
    let document = fs::read_to_string(source("profiles/README.md")).unwrap();
    let (_, section) = document.split_once("## A ladder").expect("a section about ladders");
    let (_, block) = section.split_once("```toml profile\n").expect("a profile in it");
    let (example, _) = block.split_once("```").unwrap();
    let appliance = Appliance::start(SOURCE, &[("one", example)]);
    let layers = json!(["1280x720", "640x360", "320x180"]);
    appliance.until_state("all of it runs and can be watched", LIMIT, |state| {
        let all = state["state"] == "on_air" && running(state) == ["640x360", "320x180"];
        all && state["streams"][0]["layers"] == layers
    });
}

#[test]
fn chromium_is_shown_the_layer_that_is_chosen_without_a_new_session() {
    let _turn = turn();
    for (codec, encoder, mime) in [("h264", "\"x264\"", "video/H264"), ("vp9", "\"vp9\"", "video/VP9")] {
        let appliance = Appliance::start(SOURCE, &[("one", &profile(codec, encoder, &["320x180"]))]);
        settled(&appliance, &["320x180"]);
        let shot = keepsake(&format!("ladder-{codec}.png"));
        let choices = ["--layers", "320x180,640x360,320x180,Best", "--shot", shot.to_str().unwrap()];
        let mut viewer = Watcher::chromium(&format!("{}/", appliance.base), &choices);
        let size = |seen: &Value| (seen["width"].as_u64(), seen["height"].as_u64());
        let (large, small) = ((Some(640), Some(360)), (Some(320), Some(180)));
        let played = viewer.expect("played", None, BROWSER);
        assert_eq!((size(&played), &played["video"]), (large, &mime.into()), "{played}");
        for (label, expected) in [("320x180", small), ("640x360", large), ("320x180", small), ("Best", large)]
        {
            let chosen = viewer.expect("layer", None, LIMIT);
            assert_eq!(size(&chosen), expected, "{chosen}");
            assert_eq!((&chosen["label"], &chosen["status"]), (&label.into(), &200.into()), "{chosen}");
            assert_eq!(chosen["offered"], json!(["Best", "640x360", "320x180"]), "{chosen}");
            assert_eq!(chosen["connections"], 1, "the viewer had to connect anew: {chosen}");
        }
        viewer.expect("shot", None, LIMIT);
        let state = settled(&appliance, &["320x180"]);
        assert!(state["encode"]["renditions"][0]["keyframes_forced"].as_u64() >= Some(1), "{state:#}");
    }
}

/// Nothing smaller can be sent, so the picture rests; whoever watches is told why, and sees it again in the same session.
#[test]
fn chromium_says_that_its_way_is_too_narrow_for_the_picture() {
    let _turn = turn();
    let one = profile("vp8", "\"vp8\"", &[]);
    let appliance = Appliance::start_with_media("[::]:0", SOURCE, &[("one", &one)]);
    settled(&appliance, &[]);
    let port = appliance.base.rsplit(':').next().and_then(|port| port.parse().ok());
    let detour = Detour::to(port.expect("the appliance's port"));
    let shot = keepsake("too-narrow.png");
    let port = detour.port.to_string();
    let options =
        ["--through", &port, "--plays", "2", "--paused-shot", shot.to_str().unwrap(), "--limit", "180"];
    let mut viewer = Watcher::chromium(&format!("{}/", appliance.base), &options);
    viewer.expect("played", None, BROWSER);

    detour.narrow_down(200_000);
    let told = viewer.expect("state", Some("paused"), LIMIT);
    assert!(words(&told).starts_with("Your connection is too slow for the picture."), "{told}");
    viewer.expect("shot", None, LIMIT);
    let paused = |state: &Value| state["streams"][0]["viewers_paused"] == 1;
    let state = appliance.until_state("it is counted", LIMIT, paused);
    assert_eq!(state["streams"][0]["viewers"], 1, "{state:#}");

    detour.narrow_down(0);
    let played = viewer.expect("played", None, LIMIT);
    assert_eq!(played["connections"], 1, "the viewer had to connect anew: {played}");
}
