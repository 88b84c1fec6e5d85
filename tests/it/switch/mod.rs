//! The real daemon changes what runs: another profile, a reload, off air and on, an encoder that fails.

mod followers;
mod watched;

use std::time::Duration;

use serde_json::Value;

use crate::appliance::Appliance;

/// Encoders start within seconds on a busy machine; what is waited for longer never comes.
const LIMIT: Duration = Duration::from_secs(60);

const SOURCE: &str = "profile = \"one\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";

/// Small, so that several of these tests fit on two cores at once.
fn profile(codec: &str, encoder: &str) -> String {
    format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = {encoder}\nsize = \"320x180\"\n\
         framerate = \"30\"\nbitrate = \"400 kbit/s\"\nspeed = \"fastest\"\n"
    )
}

/// An encoder fragment around a real encoder: more words for the head, elements before and after it.
fn fragment(codec: &str, head: &str, elements: &str) -> String {
    format!(
        "summary = \"made for a test\"\ncodec = \"{codec}\"\nrank = 0\nformats = [\"I420\"]\n{head}\n{elements}"
    )
}

/// VP8 without delay, in this role.
fn vp8(role: &str) -> String {
    format!(
        "[[element]]\nfactory = \"vp8enc\"\nrole = \"{role}\"\n[element.properties]\ndeadline = 1\ncpu-used = 10\n\
         lag-in-frames = 0\nkeyframe-max-dist = 3000\n"
    )
}

const KEYFRAMES: &str = "[control]\nkeyframe = \"event\"\n";

/// It starts, and ends in an error.
fn refuses() -> String {
    let x264 = "[[element]]\nfactory = \"x264enc\"\nrole = \"encoder\"\n[element.properties]\n\
                option-string = \"no-such-option=1\"\n";
    fragment("h264", "exclusive = true", &format!("{x264}{KEYFRAMES}"))
}

fn succeeds(appliance: &Appliance, arguments: &[&str]) -> String {
    let done = appliance.cli(arguments);
    let (said, complained) =
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {said}{complained}");
    said
}

fn fails(appliance: &Appliance, arguments: &[&str]) -> String {
    let done = appliance.cli(arguments);
    let (said, complained) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr).into_owned());
    assert_eq!((done.status.code(), &*said), (Some(1), ""), "{arguments:?}: {complained}");
    complained
}

fn on_air(appliance: &Appliance) -> Value {
    appliance.until_state("on air", LIMIT, |state| state["state"] == "on_air")
}

#[test]
fn a_switch_is_answered_on_air_and_outlasts_the_daemon() {
    let profiles = [("one", profile("h264", "\"x264\"")), ("two", profile("vp8", "\"vp8\""))];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut appliance = Appliance::start(SOURCE, &profiles);
    on_air(&appliance);
    let said = succeeds(&appliance, &["switch", "two"]);
    assert_eq!(said, "`two` is on air: VP8 by vp8, 320x180 at 30, 400 kbit/s\n");
    let state = on_air(&appliance);
    assert_eq!((&state["profile"], &state["encode"]["codec"]), (&"two".into(), &"vp8".into()), "{state:#}");
    for part in [&state["capture"], &state["encode"], &state["audio"], &state["audio"]["encode"]] {
        assert_eq!(part["restarts"], 0, "{state:#}");
    }
    let unknown = fails(&appliance, &["switch", "nonsense"]);
    assert!(unknown.contains("there is no profile `nonsense`"), "{unknown}");
    let state = on_air(&appliance);
    assert_eq!((&state["profile"], &state["encode"]["restarts"]), (&"two".into(), &0.into()), "{state:#}");

    appliance.kill();
    appliance.start_again();
    assert_eq!(on_air(&appliance)["profile"], "two", "remembered");
    appliance.kill();
    appliance.write(
        "capcast.toml",
        &format!("{}\n[sfu]\nmedia = \"127.0.0.1:0\"\n", SOURCE.replace("one", "auto")),
    );
    appliance.start_again();
    assert_eq!(on_air(&appliance)["profile"], "auto", "another profile was configured");
}

#[test]
fn of_two_switches_at_once_one_is_refused_in_words() {
    // Its pictures come so late that the other one meets it under way.
    let late = "[[element]]\nfactory = \"identity\"\n[element.properties]\nsleep-time = 1500000\n";
    let late = fragment("vp8", "", &format!("{late}{}{KEYFRAMES}", vp8("encoder")));
    let [one, slow] =
        ["vp8", "late"].map(|name| profile("vp8", &format!("\"{name}\"")).replace("\"30\"", "\"10\""));
    let files = [("pipelines/encoder/late.toml", late.as_str())];
    let appliance = Appliance::start_with_files(SOURCE, &[("one", &one), ("slow", &slow)], &files);
    on_air(&appliance);
    let both = [appliance.spawn(&["switch", "slow"]), appliance.spawn(&["switch", "slow"])];
    let ended = both.map(|child| child.wait_with_output().unwrap());
    let mut codes = ended.each_ref().map(|output| output.status.code());
    codes.sort();
    let words: String = ended.iter().map(|output| String::from_utf8_lossy(&output.stderr)).collect();
    let said: String = ended.iter().map(|output| String::from_utf8_lossy(&output.stdout)).collect();
    assert_eq!(codes, [Some(0), Some(1)], "{said}{words}");
    assert!(words.contains("error: a switch to `slow` is under way"), "{words}");
    assert!(said.contains("slow"), "{said}");
}

#[test]
fn what_does_not_come_on_air_changes_nothing_and_says_why() {
    // Its pictures never come out.
    let silent = "[[element]]\nfactory = \"valve\"\n[element.properties]\ndrop = true\n";
    let silent = fragment("vp8", "", &format!("{silent}{}{KEYFRAMES}", vp8("encoder")));
    let files = [("pipelines/encoder/refuses.toml", refuses()), ("pipelines/encoder/silent.toml", silent)];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let profiles = [
        ("one", profile("h264", "\"x264\"")),
        ("refuses", profile("h264", "\"refuses\"")),
        ("silent", profile("vp8", "\"silent\"")),
    ];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let appliance = Appliance::start_with_files(SOURCE, &profiles, &files);
    on_air(&appliance);
    let words = fails(&appliance, &["switch", "refuses"]);
    assert!(words.starts_with("error: `refuses` did not come on air by `refuses`: "), "{words}");
    assert!(words.ends_with("; `one` goes on\n"), "{words}");
    let words = fails(&appliance, &["switch", "silent"]);
    assert!(words.contains("no picture came out of it within 14 s; `one` goes on"), "{words}");
    let state = on_air(&appliance);
    assert_eq!((&state["profile"], &state["encode"]["codec"]), (&"one".into(), &"h264".into()), "{state:#}");
    assert_eq!(
        (&state["encode"]["restarts"], &state["capture"]["restarts"]),
        (&0.into(), &0.into()),
        "{state:#}"
    );
}

#[test]
fn hardware_that_encodes_once_is_given_up_first_and_given_back() {
    let exclusive = fragment("vp8", "exclusive = true", &format!("{}{KEYFRAMES}", vp8("encoder")));
    let files = [
        ("pipelines/encoder/first.toml", exclusive.clone()),
        ("pipelines/encoder/second.toml", exclusive),
        ("pipelines/encoder/refuses.toml", refuses()),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let profiles = [
        ("one", profile("vp8", "\"first\"")),
        ("two", profile("vp8", "\"second\"")),
        ("refuses", profile("h264", "\"refuses\"")),
    ];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let appliance = Appliance::start_with_files(SOURCE, &profiles, &files);
    on_air(&appliance);
    let said = succeeds(&appliance, &["switch", "two"]);
    assert!(
        said.contains("the hardware encodes one picture at a time, so the picture stood still for "),
        "{said}"
    );
    let words = fails(&appliance, &["switch", "refuses"]);
    assert!(
        words.contains("did not come on air by `refuses`") && words.contains("; `two` is on air again"),
        "{words}"
    );
    let state = on_air(&appliance);
    assert_eq!(
        (&state["profile"], &state["encode"]["encoder"]),
        (&"two".into(), &"second".into()),
        "{state:#}"
    );
    assert_eq!(state["capture"]["restarts"], 0, "{state:#}");
}

#[test]
fn another_size_of_the_test_picture_rebuilds_the_capture_and_says_so() {
    let larger = profile("vp8", "\"vp8\"").replace("320x180", "640x360");
    let appliance = Appliance::start(SOURCE, &[("one", &profile("h264", "\"x264\"")), ("larger", &larger)]);
    on_air(&appliance);
    let said = succeeds(&appliance, &["switch", "larger"]);
    let expected = "`larger` is on air: VP8 by vp8, 640x360 at 30, 400 kbit/s; the capture was rebuilt too \
                    (test picture, 640x360@30), so the picture stood still for ";
    assert!(said.starts_with(expected), "{said}");
    let state = on_air(&appliance);
    assert_eq!(
        (&state["encode"]["size"], &state["audio"]["restarts"]),
        (&"640x360".into(), &0.into()),
        "{state:#}"
    );
}

/// The first 20 pictures are fine; then it breaks.
fn breaks() -> String {
    let fuse = "[[element]]\nfactory = \"identity\"\n[element.properties]\nerror-after = 20\n";
    fragment("vp8", "", &format!("{fuse}{}{KEYFRAMES}", vp8("encoder")))
}

/// Nothing comes after the first picture.
fn stalls() -> String {
    let sieve = "[[element]]\nfactory = \"identity\"\nrole = \"encoder\"\n[element.properties]\n\
                 drop-buffer-flags = \"delta-unit\"\n";
    fragment("vp8", "", &format!("{}{sieve}", vp8("plain")))
}

fn falls_back(name: &str, text: &str, why: &str) {
    let file = format!("pipelines/encoder/{name}.toml");
    let one = profile("vp8", &format!("[\"{name}\", \"vp8\"]"));
    let appliance = Appliance::start_with_files(SOURCE, &[("one", &one)], &[(&file, text)]);
    let state = appliance
        .until_state("the next encoder is on air", LIMIT, |state| state["encode"]["encoder"] == "vp8");
    assert_eq!(state["profile"], "one", "{state:#}");
    let state = appliance.until_state("it is told", LIMIT, |state| {
        let words = state["words"].as_str().unwrap_or_default();
        state["state"] == "degraded" && words.contains(&format!("`vp8` took over from `{name}`"))
    });
    assert!(state["encode"]["reason"].as_str().unwrap().contains(why), "{state:#}");
    assert_eq!(state["capture"]["restarts"], 0, "{state:#}");
    appliance.until_logged(1, "took over from");
    // It goes back when asked, and not before.
    let said = succeeds(&appliance, &["switch", "one"]);
    assert!(said.contains(&format!("VP8 by {name}")), "{said}");
}

#[test]
fn an_encoder_that_breaks_again_and_again_is_replaced_by_the_next() {
    falls_back("breaks", &breaks(), "failed again and again: ");
}

#[test]
fn an_encoder_that_stalls_again_and_again_is_replaced_by_the_next() {
    falls_back("stalls", &stalls(), "no buffer for 4000 ms");
}

#[test]
fn off_air_and_on_again_by_command() {
    let appliance = Appliance::start(SOURCE, &[("one", &profile("vp8", "\"vp8\""))]);
    on_air(&appliance);
    assert!(succeeds(&appliance, &["start"]).starts_with("on air already: VP8 by vp8"));
    assert_eq!(succeeds(&appliance, &["stop"]), "off air; `capcast start` goes on\n");
    let state = appliance.until_state("off air", LIMIT, |state| state["state"] == "stopped");
    assert_eq!(
        (&state["capture"]["state"], &state["encode"]["state"]),
        (&"stopped".into(), &"stopped".into())
    );
    let (status, words) = crate::run::get(&format!("{}/readyz", appliance.base));
    assert!(status == 503 && words.contains("off air by command"), "{status} {words}");
    assert_eq!(crate::run::get(&format!("{}/healthz", appliance.base)).0, 200);
    assert!(fails(&appliance, &["restart"]).contains("off air by command"));
    assert!(succeeds(&appliance, &["start"]).starts_with("on air: VP8 by vp8"));
    on_air(&appliance);
    assert!(succeeds(&appliance, &["restart"]).starts_with("on air: VP8 by vp8"));
    let state = on_air(&appliance);
    assert_eq!(state["capture"]["restarts"], 0, "asked for is not failed: {state:#}");
    assert_eq!(crate::run::get(&format!("{}/readyz", appliance.base)).0, 200);
}

#[test]
fn a_reload_rebuilds_what_differs_and_a_broken_one_nothing() {
    let appliance = Appliance::start(SOURCE, &[("one", &profile("vp8", "\"vp8\""))]);
    on_air(&appliance);
    let config = format!("{SOURCE}\n[sfu]\nmedia = \"127.0.0.1:0\"\n");
    appliance.write("capcast.toml", &format!("{config}nonsense = 1\n"));
    appliance.write("profiles/one.toml", "[video]\ncodec = \"vp7\"\n");
    let words = fails(&appliance, &["reload"]);
    for problem in ["nothing was changed", "capcast.toml:", "`nonsense`", "one.toml:2:", "vp7"] {
        assert!(words.contains(problem), "{problem} is not in {words}");
    }
    appliance.write("capcast.toml", &config);
    appliance.write("profiles/one.toml", &profile("vp8", "\"vp8\"").replace("400 kbit/s", "600 kbit/s"));
    let said = succeeds(&appliance, &["reload"]);
    assert_eq!(
        said,
        "the configuration was read again; `one` is on air: VP8 by vp8, 320x180 at 30, 600 kbit/s\n"
    );
    let state = on_air(&appliance);
    for part in [&state["capture"], &state["encode"], &state["audio"], &state["audio"]["encode"]] {
        assert_eq!(part["restarts"], 0, "{state:#}");
    }
    appliance.write("profiles/one.toml", &profile("vp8", "\"vp8\""));
    appliance.signal(nix::sys::signal::Signal::SIGHUP);
    appliance.until_state("SIGHUP did the same", LIMIT, |state| {
        state["encode"]["target_bitrate_bps"] == 400_000 && state["state"] == "on_air"
    });
}

/// The stream gets its sound and loses it while it plays; the picture goes on.
#[test]
fn a_reload_begins_ends_and_changes_the_sound() {
    let with = |audio: &str| SOURCE.replace("audio = \"test\"", &format!("audio = \"{audio}\""));
    let appliance = Appliance::start(&with("none"), &[("one", &profile("vp8", "\"vp8\""))]);
    let state = on_air(&appliance);
    assert!(state["audio"]["encode"].is_null() && state["streams"][0]["audio"].is_null(), "{state:#}");

    appliance.write("capcast.toml", &with("test"));
    assert!(succeeds(&appliance, &["reload"]).contains("; sound begins"));
    appliance.until_state("a tone", LIMIT, |state| {
        state["audio"]["silent"] == false
            && state["streams"][0]["audio"] == "opus"
            && state["state"] == "on_air"
    });

    appliance.write("capcast.toml", &with("hw:CARD=NobodyCallsACardThis"));
    succeeds(&appliance, &["reload"]);
    let state =
        appliance.until_state("silence", LIMIT, |state| state["audio"]["state"] == "waiting_for_device");
    let audio = &state["audio"];
    assert!(audio["reason"].as_str().is_some_and(|why| why.contains("not there")), "{audio:#}");
    appliance.until_state("a silent track that goes on", LIMIT, |state| {
        state["audio"]["silent"] == true && state["audio"]["silence_s"].as_f64() > audio["silence_s"].as_f64()
    });
    let status = succeeds(&appliance, &["status"]);
    assert!(status.contains("silent, hw:CARD=NobodyCallsACardThis"), "{status}");

    appliance.write("capcast.toml", &with("none"));
    assert!(succeeds(&appliance, &["reload"]).contains("; sound ends"));
    let state = appliance.until_state("no sound", LIMIT, |state| state["audio"]["encode"].is_null());
    assert_eq!(state["encode"]["restarts"], 0, "{state:#}");
}

/// rav1e cannot change its bitrate while it runs.
#[test]
fn a_bitrate_that_cannot_change_live_is_a_new_encoder_if_it_is_worth_one() {
    let one = profile("av1", "\"rav1e\"");
    let appliance = Appliance::start(SOURCE, &[("one", &one)]);
    on_air(&appliance);
    let words = fails(&appliance, &["bitrate", "410 kbit/s"]);
    assert!(
        words.contains("not started anew for so little") && words.contains("hint: it is 400 kbit/s now"),
        "{words}"
    );
    let words = fails(&appliance, &["bitrate", "1 bit/s"]);
    assert!(words.contains("1 bit/s is not between "), "{words}");
    let said = succeeds(&appliance, &["bitrate", "800 kbit/s"]);
    assert!(said.starts_with("the picture is now encoded at 800 kbit/s"), "{said}");
    assert_eq!(on_air(&appliance)["encode"]["target_bitrate_bps"], 800_000);
    succeeds(&appliance, &["switch", "one"]);
    assert_eq!(on_air(&appliance)["encode"]["target_bitrate_bps"], 400_000, "the profile rules again");
}

#[test]
fn twenty_switches_leave_nothing_behind() {
    let profiles = [("one", profile("vp8", "\"vp8\"")), ("two", profile("h264", "\"x264\""))];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let appliance = Appliance::start(SOURCE, &profiles);
    on_air(&appliance);
    let turn = || ["two", "one"].map(|name| succeeds(&appliance, &["switch", name]));
    for _ in 0..3 {
        turn();
    }
    let settled = |what: &str, most: usize| {
        appliance.until_state(&format!("{what} back to {most}"), LIMIT, |_| appliance.count(what) <= most);
    };
    let before = (appliance.count("task"), appliance.count("fd"), appliance.memory());
    for _ in 0..10 {
        turn();
    }
    // Threads of graphs that are gone are on their way out.
    settled("task", before.0 + 2);
    settled("fd", before.1 + 2);
    let memory = appliance.memory();
    println!(
        "{before:?}, then {} threads, {} files, {memory} KiB",
        appliance.count("task"),
        appliance.count("fd")
    );
    assert!(memory < before.2 + 16 * 1024, "{} KiB before, {memory} KiB after 20 switches", before.2);
}
