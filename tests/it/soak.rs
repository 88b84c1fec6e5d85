//! The real daemon for a long time: nothing grows, nothing gets older, nothing is lost uncounted.
//!
//! Each has a short form that is always run. `make soak` runs the long ones: `CAPCAST_SOAK_MINUTES` (60) of each picture,
//! `CAPCAST_SOAK_CYCLES` (60) restarts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;

const PATIENCE: Duration = Duration::from_secs(90);

/// How much of it the environment asks for.
pub(crate) fn wanted(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the kernel counts of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    files: usize,
    threads: usize,
    memory_kib: u64,
}

impl Holds {
    pub(crate) fn of(appliance: &Appliance) -> Holds {
        let process = format!("/proc/{}", appliance.pid());
        let count = |what: &str| fs::read_dir(format!("{process}/{what}")).unwrap().count();
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Holds { files: count("fd"), threads: count("task"), memory_kib }
    }

    /// A connection or a thread that is just ending is not a leak; neither is what an allocator keeps for the next
    /// rebuild.
    pub(crate) fn assert_no_more_than(self, before: Holds, memory_kib: u64, what: &str) {
        println!("{what}: {before:?} before, {self:?} after");
        assert!(self.files <= before.files + 4, "{what}: {before:?} before, {self:?} after");
        assert!(self.threads <= before.threads + 4, "{what}: {before:?} before, {self:?} after");
        assert!(
            self.memory_kib <= before.memory_kib + memory_kib,
            "{what}: {before:?} before, {self:?} after"
        );
    }
}

/// Keeps every core busy until dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn begin() -> Load {
        Load::of(std::thread::available_parallelism().map_or(2, std::num::NonZero::get))
    }

    /// As many busy threads.
    fn of(threads: usize) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Load(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {value:#}"))
}

/// What went into a stage came out of it, was counted as lost, or is inside.
fn assert_accounted(state: &Value) {
    let (capture, encode) = (&state["capture"], &state["encode"]);
    let captured = number(capture, "frames_out") + number(capture, "dropped");
    let skipped = number(&encode["dropped_at"], "link");
    let to_encoder = number(encode, "frames_in") + skipped + number(encode, "rate_skipped");
    let encoded = number(encode, "frames_out") + number(encode, "dropped") - skipped;
    for (what, come, gone) in [
        ("capture", number(capture, "frames_in"), captured),
        ("capture to encoder", number(capture, "frames_out"), to_encoder),
        ("encoder", number(encode, "frames_in"), encoded),
    ] {
        println!("{what}: {come} came, {gone} went or are counted as lost");
        // The counters are read one after another while frames pass.
        assert!(come + 4 >= gone && come <= gone + 32, "{what}: {come} came, {gone} went: {state:#}");
    }
}

/// Calm and busy times: every frame is accounted for, and nothing that the daemon holds grows. How old pictures were in
/// the middle, in ms, at first and at last.
fn watched(codec: &str, fragment: &str, size: &str, periods: u64, period: Duration) -> [u64; 2] {
    let _turn = turn();
    let profile = format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{fragment}\"\nsize = \"{size}\"\n\
         framerate = \"15\"\nbitrate = \"1 Mbit/s\"\nspeed = \"fastest\"\n"
    );
    let config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    // aiortc gathers no loopback candidates.
    let appliance = Appliance::start_with_media("[::]:0", config, &[("tried", &profile)]);
    let mut watcher = Watcher::ages(&format!("{}/api/whep/live", appliance.base), period);
    let mut told = || {
        watcher.expect("pictures", None, period + PATIENCE);
        watcher.last()
    };
    // Its first moments: the viewer's decoder begins behind.
    told();
    let first = told();
    let before = Holds::of(&appliance);
    let mut last = first.clone();
    for number in 0..periods {
        let busy = (number % 4 == 2).then(Load::begin);
        if number % 4 == 3 {
            let bitrate = if number % 8 == 3 { "600 kbit/s" } else { "1 Mbit/s" };
            assert!(appliance.cli(&["bitrate", bitrate]).status.success());
        }
        let seen = told();
        println!("{codec}, {number} of {periods}, {}: {seen}", if busy.is_some() { "busy" } else { "calm" });
        assert!(seen["pictures"].as_u64() > Some(0), "no picture in {period:?}: {seen}");
        drop(busy);
        if number % 4 != 2 {
            last = seen;
        }
    }
    let state = appliance.until_state("it is on air", PATIENCE, |state| state["state"] == "on_air");
    println!("{}", state["words"]);
    assert_eq!(
        (&state["capture"]["restarts"], &state["audio"]["restarts"]),
        (&0.into(), &0.into()),
        "{state:#}"
    );
    assert_accounted(&state);
    Holds::of(&appliance).assert_no_more_than(before, 24 * 1024, codec);
    [number(&first, "age_p50"), number(&last, "age_p50")]
}

/// A queue that fills up never empties by itself: what piles up in busy times shows in the calm after them.
fn watched_for_long(codec: &str, fragment: &str) {
    let periods = wanted("CAPCAST_SOAK_MINUTES", 60) * 6;
    let [young, old] = watched(codec, fragment, "640x360", periods, Duration::from_secs(10));
    assert!(old <= young + 1_000, "pictures were {young} ms old and are {old} ms old");
}

#[test]
fn all_of_a_watched_picture_is_accounted_for() {
    watched("vp8", "vp8", "320x180", 3, Duration::from_secs(2));
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_x264_watched_for_long() {
    watched_for_long("h264", "x264");
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_vp9_watched_for_long() {
    watched_for_long("vp9", "vp9");
}

/// How long the picture takes from its capture to the viewers' socket by the daemon's own measure: half of the pictures,
/// and 95 of 100, in ms.
fn own_latency(state: &Value) -> (f64, f64) {
    let steps = state["latency"].as_array().unwrap_or_else(|| panic!("no `latency` in {state:#}"));
    let names: Vec<&str> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    let all = ["capture", "decode", "link", "convert", "encode", "outlet", "sfu", "total"];
    assert_eq!(names, all, "{state:#}");
    let number = |key: &str, step: &Value| step[key].as_f64().unwrap();
    let (total, parts) = steps.split_last().unwrap();
    // Medians of parts do not add up to that of the whole, but nothing of it is left out either.
    let (sum, whole) =
        (parts.iter().map(|step| number("p50_ms", step)).sum::<f64>(), number("p50_ms", total));
    assert!((sum - whole).abs() < 10.0 + whole / 2.0, "{sum} ms in parts, {whole} ms together: {steps:#?}");
    (whole, number("p95_ms", total))
}

/// Calm and busy times in turn, as many busy threads and as long as chance says: what piles up in a busy time is gone soon
/// after it, at the viewer and in the box, and the last calm is as the first one.
fn ages_come_back(changes: u64, seed: u64, most_busy: Duration) {
    /// Pictures may be that much older than at first: a decoder that shares two cores with an encoder wavers.
    const MORE: u64 = 150;
    let _turn = turn();
    let profile = "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nencoder = \"vp8\"\nsize = \"320x180\"\n\
                   framerate = \"15\"\nbitrate = \"500 kbit/s\"\nspeed = \"fastest\"\n";
    let config = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    let appliance = Appliance::start_with_media("[::]:0", config, &[("tried", profile)]);
    let mut watcher = Watcher::ages(&format!("{}/api/whep/live", appliance.base), Duration::from_secs(1));
    let mut told = || {
        watcher.expect("pictures", None, PATIENCE);
        watcher.last()
    };
    let age = |seen: &Value| seen["age_p50"].as_u64().unwrap_or(u64::MAX);
    let calm = |told: &mut dyn FnMut() -> Value, wanted: u64| {
        let mut seen = Vec::new();
        for _ in 0..PATIENCE.as_secs() {
            seen.push(age(&told()));
            if seen.last().is_some_and(|age| *age <= wanted) {
                return seen;
            }
        }
        panic!("pictures stay older than {wanted} ms: {seen:?}");
    };
    // Its first moments: the viewer's decoder begins behind.
    let first = (0..4).map(|_| age(&told())).min().unwrap();
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut chance = seed;
    let mut next = |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    for change in 0..changes {
        let threads = 1 + next(2 * cores as u64) as usize;
        let seconds = 1 + next(most_busy.as_secs());
        let load = Load::of(threads);
        let busy: Vec<u64> = (0..seconds).map(|_| age(&told())).collect();
        drop(load);
        let back = calm(&mut told, first + MORE);
        let (half, most) = own_latency(&appliance.until_state("it is on air", PATIENCE, |_| true));
        println!(
            "change {change}, {threads} busy threads: {busy:?} ms old, then {back:?} (first {first}); in the box \
             {half:.0} ms, {most:.0} at most"
        );
    }
    let state = appliance.until_state("the box is calm", PATIENCE, |state| own_latency(state).1 < 200.0);
    assert_eq!(state["capture"]["restarts"], 0, "{state:#}");
    assert_accounted(&state);
}

#[test]
fn pictures_are_as_young_after_a_busy_time_as_before() {
    ages_come_back(2, 5, Duration::from_secs(3));
}

/// Twenty minutes, unless told otherwise.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_pictures_stay_young_through_changes_of_load() {
    let minutes = wanted("CAPCAST_SOAK_MINUTES", 20).min(20);
    ages_come_back(minutes * 3, wanted("CAPCAST_SEED", 5), Duration::from_secs(20));
}

/// The source breaks and the output is stopped, again and again.
fn restarted(cycles: u64) {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let clip = path("clip.webm");
    make_clip(&clip);
    let whole = fs::read(&clip).unwrap();
    fs::write(path("key"), "s3cret\n").unwrap();
    let key = path("key");
    let profile = "summary = \"tried by a test\"\n[video]\ncodec = \"vp8\"\nencoder = \"vp8\"\nsize = \"320x180\"\n\
                   framerate = \"15\"\nbitrate = \"300 kbit/s\"\nspeed = \"fastest\"\n";
    let server = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n[[sfu.publisher]]\nstream = \"obs\"\n\
         key_file = {key:?}\n"
    );
    // WebRTC of GStreamer gathers no loopback candidates.
    let server = Appliance::start_with_media("[::]:0", &server, &[("tried", profile)]);
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"file:{}\"\n[[output]]\nname = \"one\"\nkind = \"whip\"\n\
         url = \"{}/api/whip/obs\"\ntoken_file = {key:?}\n",
        clip.display(),
        server.base
    );
    let appliance = Appliance::start(&config, &[("tried", profile)]);
    let output = |state: &Value, word: &str| state["outputs"][0]["state"] == word;
    let on_air = |state: &Value| state["state"] == "on_air" && output(state, "live");
    let mut state = appliance.until_state("it is on air and published", PATIENCE, on_air);
    let outputs: Value = serde_json::from_slice(&appliance.cli(&["outputs", "--json"]).stdout).unwrap();
    assert_eq!(outputs[0]["watch"], format!("{}/obs", server.base), "{outputs:#}");
    let mut before = None;
    for cycle in 0..cycles + 2 {
        // What the first rounds leave is there for good: threads, pages, sockets that are kept.
        if cycle == 2 {
            before = Some([Holds::of(&appliance), Holds::of(&server)]);
        }
        let restarts = number(&state["capture"], "restarts");
        fs::write(&clip, "neither picture nor sound ".repeat(4_000)).unwrap();
        appliance.until_state("the source has broken", PATIENCE, |state| {
            number(&state["capture"], "restarts") > restarts
        });
        fs::write(&clip, &whole).unwrap();
        appliance.until_state("it is on air again", PATIENCE, on_air);
        for (word, act) in [("stopped", "stop"), ("live", "start")] {
            assert!(appliance.cli(&["output", "one", act]).status.success());
            let told = format!("the output is {word}");
            state = appliance.until_state(&told, PATIENCE, |state| output(state, word));
        }
    }
    let [own, servers] = before.expect("two cycles at least");
    Holds::of(&appliance).assert_no_more_than(own, 24 * 1024, "the publishing box");
    Holds::of(&server).assert_no_more_than(servers, 24 * 1024, "the receiving box");
    println!("{}: {} restarts of the capture", state["words"], state["capture"]["restarts"]);
}

fn make_clip(clip: &Path) {
    let made = Command::new("gst-launch-1.0")
        .args([
            "-q",
            "videotestsrc",
            "num-buffers=60",
            "!",
            "video/x-raw,width=320,height=180,framerate=15/1",
            "!",
        ])
        .args(["vp8enc", "deadline=1", "!", "webmmux", "!", "filesink"])
        .arg(format!("location={}", clip.display()))
        .status()
        .unwrap();
    assert!(made.success());
}

#[test]
fn a_source_and_an_output_come_back_each_time() {
    restarted(1);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_source_and_output_restarted_again_and_again() {
    restarted(wanted("CAPCAST_SOAK_CYCLES", 60));
}
