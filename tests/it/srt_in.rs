//! Streams that arrive by SRT, from ffmpeg, GStreamer and srt-live-transmit.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{Appliance, free_port, turn};
use crate::watcher::Watcher;

pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"320x180\"\n\
                       framerate = \"30\"\nbitrate = \"600 kbit/s\"\nspeed = \"fastest\"\n";

pub(crate) fn config(url: &str) -> String {
    format!("profile = \"tried\"\n[capture]\nvideo = \"{url}\"\n")
}

/// A program that sends. Dropping it kills it.
pub(crate) struct Sender(pub(crate) Child);

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sender {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Sender {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Sender(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// ffmpeg sends a file again and again, as it is. Its pictures wait for the sound that belongs to them, and come a
    /// quarter of a second at once.
    pub(crate) fn clip(url: &str, clip: &Path) -> Sender {
        let clip = clip.to_str().unwrap();
        Sender::start("ffmpeg", &["-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "mpegts", url])
    }

    /// ffmpeg sends a moving picture and a tone, and what `more` says of it.
    pub(crate) fn ffmpeg(url: &str, more: &[&str]) -> Sender {
        let picture = ["-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"];
        let sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac"];
        let encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30"];
        let all = [&picture[..], &sound, &encoder, &["-tune", "zerolatency"], more, &["-f", "mpegts", url]];
        Sender::start("ffmpeg", &all.concat())
    }
}

/// Twenty seconds of what browsers play.
pub(crate) fn clip(folder: &Path) -> PathBuf {
    let clip = folder.join("clip.ts");
    let make = "-v error -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=sample_rate=48000 -t 20 -c:v libx264 \
                -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 30 -c:a aac -f mpegts";
    let made = Command::new("ffmpeg").args(make.split_whitespace()).arg(&clip).status().unwrap();
    assert!(made.success());
    clip
}

/// State, and words, of the picture's source.
fn source(state: &Value) -> (&str, &str) {
    let source = &state["capture"]["source"];
    (source["state"].as_str().unwrap_or_default(), source["reason"].as_str().unwrap_or_default())
}

pub(crate) fn until_source(appliance: &Appliance, state: &str, words: &str) -> Value {
    let what = format!("the source is {state}: {words}");
    appliance.until_state(&what, SOON, |document| {
        let (is, reason) = source(document);
        is == state && reason.contains(words)
    })
}

fn plays(appliance: &Appliance) {
    let mut watcher =
        Watcher::aiortc(&format!("{}/api/whep/live", appliance.base), &["--frames", "60", "--limit", "80"]);
    watcher.expect("frames", None, Duration::from_secs(100));
    let all = watcher.last();
    assert_eq!(all["size"], serde_json::json!([320, 180]), "{all}");
    assert!(all["contrast"].as_u64() > Some(50), "the picture is one colour: {all}");
    assert!(all["audio_peak"].as_u64() > Some(500), "silence: {all}");
}

#[test]
fn a_sender_that_calls_is_watched_and_one_that_goes_may_come_back() {
    let _turn = turn();
    let port = free_port();
    // aiortc gathers no loopback candidates.
    let config = config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"));
    let appliance = Appliance::start_with_media("[::]:0", &config, &[("tried", PROFILE)]);
    until_source(&appliance, "no_signal", "no sender has connected yet");
    let url = format!("srt://127.0.0.1:{port}");
    let mut sender = Sender::ffmpeg(&url, &[]);
    until_source(&appliance, "live", "");
    plays(&appliance);
    for time in 0..3 {
        // At times it says goodbye, at times it is just gone.
        match time {
            1 => {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(sender.0.id()).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
                sender.0.wait().unwrap();
            }
            _ => drop(sender),
        }
        until_source(&appliance, "no_signal", "the sender is gone");
        appliance.until_state("the slate is shown", SOON, |state| state["capture"]["showing"] == "slate");
        let begun = Instant::now();
        sender = Sender::ffmpeg(&url, &[]);
        until_source(&appliance, "live", "");
        println!("back {:?} after it was started", begun.elapsed());
    }
    plays(&appliance);
    drop(sender);
}

#[test]
fn a_sender_that_is_called_is_found_once_it_is_there_and_must_know_the_passphrase() {
    let _turn = turn();
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("srt.key");
    std::fs::write(&key, "not the right one\n").unwrap();
    let config =
        config(&format!("srt://127.0.0.1:{port}?mode=caller&latency=80&passphrase_file={}", key.display()));
    let appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    until_source(&appliance, "unreachable", "does not answer");
    let url = format!("srt://127.0.0.1:{port}?mode=listener");
    let open = Sender::ffmpeg(&url, &[]);
    until_source(&appliance, "unreachable", "do not agree whether there is a passphrase");
    drop(open);
    let secret = "what nobody else knows";
    let _sender = Sender::ffmpeg(&format!("{url}&passphrase={secret}"), &[]);
    until_source(&appliance, "unreachable", "has another passphrase");
    std::fs::write(&key, format!("{secret}\n")).unwrap();
    let state = until_source(&appliance, "live", "");
    let log = appliance.log().join("\n");
    for text in [state.to_string(), log] {
        assert!(!text.contains(secret) && !text.contains("not the right one"), "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_told_in_words_and_what_can_is_shown() {
    let _turn = turn();
    let port = free_port();
    let config = config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"));
    let appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    let url = format!("srt://127.0.0.1:{port}");
    // Raw sound: bytes, and no MPEG-TS.
    let noise = "audiotestsrc is-live=true wave=white-noise samplesperbuffer=300 ! \
                 audio/x-raw,format=S16LE,rate=48000,channels=2 ! srtsink uri=";
    let noise = format!("{noise}{url}");
    let garbage = Sender::start("gst-launch-1.0", &noise.split_whitespace().collect::<Vec<_>>());
    until_source(&appliance, "unusable", "no MPEG-TS");
    drop(garbage);
    until_source(&appliance, "no_signal", "the sender is gone");

    let sound = Sender::ffmpeg(&url, &["-map", "1:a"]);
    until_source(&appliance, "unusable", "only sound (AAC)");
    drop(sound);
    until_source(&appliance, "no_signal", "the sender is gone");

    let picture = Sender::ffmpeg(&url, &["-map", "0:v"]);
    until_source(&appliance, "live", "");
    let state = appliance.until_state("the missing sound is told", SOON, |state| {
        state["audio"]["reason"].as_str().is_some_and(|words| words.contains("has no sound"))
    });
    assert_eq!(state["audio"]["silent"], true, "{:#}", state["audio"]);
    drop(picture);
    until_source(&appliance, "no_signal", "the sender is gone");

    // B-frames, fields and another sound are decoded like anything else.
    let other = ["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"];
    let _other = Sender::ffmpeg(&url, &other);
    until_source(&appliance, "live", "");
    appliance.until_state("the sound is heard", SOON, |state| state["audio"]["silent"] == false);
}

#[test]
fn a_picture_that_changes_its_size_and_a_stream_that_begins_anew_go_on() {
    let _turn = turn();
    let (port, udp) = (free_port(), free_port());
    let config = config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"));
    let appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    let from = format!("udp://127.0.0.1:{udp}");
    let _relay = Sender::start("srt-live-transmit", &["-q", &from, &format!("srt://127.0.0.1:{port}")]);
    let to = format!("{from}?pkt_size=1316");
    let first = Sender::ffmpeg(&to, &[]);
    let size = |state: &Value| state["capture"]["size"].as_str().unwrap_or_default().to_owned();
    appliance.until_state("the first size comes", SOON, |state| size(state) == "640x360");
    drop(first);
    let _second = Sender::ffmpeg(&to, &["-vf", "scale=480:270"]);
    let state = appliance.until_state("the second size comes", SOON, |state| size(state) == "480x270");
    println!("{:#}", state["capture"]);
    until_source(&appliance, "live", "");
    let encode = &state["encode"];
    assert_eq!(encode["size"], "320x180", "the encoder goes on: {encode:#}");
}

#[test]
fn sound_and_picture_of_a_stream_are_together() {
    let _turn = turn();
    // Flash, beep and the time of each picture, as the test source makes them.
    let folder = tempfile::tempdir().unwrap();
    let made = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n[[output]]\nname = \"made\"\n\
         kind = \"record\"\npath = \"{}/{{time}}.mkv\"\n",
        folder.path().display()
    );
    let clear = PROFILE.replace("600 kbit/s", "2 Mbit/s");
    let mut maker = Appliance::start(&made, &[("tried", &clear)]);
    let frames = |state: &Value| state["encode"]["frames_out"].as_u64().unwrap_or(0);
    maker.until_state("half a minute is made", SOON * 2, |state| frames(state) > 900);
    maker.end();
    let clip = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();

    let port = free_port();
    let config = config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"));
    let appliance = Appliance::start_with_media("[::]:0", &config, &[("tried", &clear)]);
    let mut watcher = Watcher::sync(&format!("{}/api/whep/live", appliance.base));
    let url = format!("srt://127.0.0.1:{port}");
    let clip = clip.to_str().unwrap();
    let arguments =
        ["-re", "-stream_loop", "-1", "-i", clip, "-c:v", "copy", "-c:a", "aac", "-f", "mpegts", &url];
    let _sender = Sender::start("ffmpeg", &arguments);
    until_source(&appliance, "live", "");
    let (mut heard, mut right) = (Vec::new(), 0);
    while right < 5 {
        assert!(heard.len() < 40, "not together: {heard:?}");
        let skew = watcher.expect("skew_ms", None, SOON).as_f64().unwrap();
        heard.push(skew);
        right = if skew.abs() <= 40.0 { right + 1 } else { 0 };
    }
    println!("{heard:?}");
}

/// The slices in an H.264 byte stream, each as it is.
fn slices(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0, 0, 1])
        .map(|(at, _)| at + 3)
        .collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &stream[*start..end]);
    let bare = |unit: &'_ [u8]| unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    units
        .map(|unit| &unit[..bare(unit)])
        .filter(|unit| !unit.is_empty() && matches!(unit[0] & 0x1f, 1 | 5))
        .collect()
}

fn bytes_of(file: &Path) -> Vec<u8> {
    let arguments =
        ["-v", "error", "-i", file.to_str().unwrap(), "-map", "0:v", "-c", "copy", "-f", "h264", "-"];
    Command::new("ffmpeg").args(arguments).stdin(Stdio::null()).output().unwrap().stdout
}

#[test]
fn pictures_that_come_several_at_once_are_all_shown() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"));
    let appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    let _sender = Sender::clip(&format!("srt://127.0.0.1:{port}"), &clip(folder.path()));
    until_source(&appliance, "live", "");
    let counted = |state: &Value| {
        let capture = &state["capture"];
        (capture["frames_in"].as_u64().unwrap_or(0), capture["dropped_at"]["backwards"].as_u64().unwrap_or(0))
    };
    let (begun, lost) =
        counted(&appliance.until_state("it has settled", SOON, |state| counted(state).0 > 150));
    let (seen, backwards) =
        counted(&appliance.until_state("a while has passed", SOON, |state| counted(state).0 > begun + 200));
    assert!(
        (backwards - lost) * 10 < seen - begun,
        "{} of {} were not shown",
        backwards - lost,
        seen - begun
    );
}

#[test]
fn h264_that_browsers_play_is_passed_on_as_it_is_and_other_is_encoded() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let port = free_port();
    let config = format!(
        "{}passthrough = true\n[[output]]\nname = \"kept\"\nkind = \"record\"\npath = \"{}/{{time}}.mkv\"\n",
        config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80")),
        folder.path().display()
    );
    let mut appliance = Appliance::start_with_media("[::]:0", &config, &[("tried", PROFILE)]);
    let url = format!("srt://127.0.0.1:{port}");
    let is = |encoder: &'static str| {
        move |state: &Value| state["encode"]["encoder"] == encoder && state["encode"]["state"] == "running"
    };
    let send = || Sender::clip(&url, &clip);
    appliance.until_state("the slate is encoded", SOON, is("x264"));
    let sender = send();
    let passed = appliance.until_state("it is passed on", SOON, is("passthrough"));
    println!("{}", passed["words"]);
    let mut watcher =
        Watcher::aiortc(&format!("{}/api/whep/live", appliance.base), &["--frames", "60", "--limit", "80"]);
    watcher.expect("frames", None, Duration::from_secs(100));
    assert_eq!(watcher.last()["size"], serde_json::json!([640, 360]), "{}", watcher.last());
    assert!(watcher.last()["audio_peak"].as_u64() > Some(500), "silence: {}", watcher.last());
    let resting = appliance.until_state("nothing is decoded", SOON, |state| {
        state["capture"]["reason"].as_str().is_some_and(|words| words.contains("passed on as it is"))
    });
    assert_eq!(source(&resting).0, "live", "{:#}", resting["capture"]);
    assert_eq!(resting["capture"]["arrival"]["passthrough"]["state"], "passed", "{:#}", resting["capture"]);
    // Its pictures come a quarter of a second at once: none is left out for being late.
    assert_eq!(resting["encode"]["dropped_at"]["malformed"], 0, "{:#}", resting["encode"]);
    // Enough of it to be compared later; a picture of another size takes a new file first.
    let kept = |state: &Value| state["outputs"][0]["frames_in"].as_u64().unwrap_or(0);
    let begun = kept(&resting);
    appliance.until_state("it is recorded", SOON, |state| {
        state["outputs"][0]["state"] == "recording" && kept(state) > begun + 320
    });

    // Without a sender the slate is encoded, and what comes then is passed on again.
    drop(sender);
    appliance.until_state("the slate is encoded again", SOON, is("x264"));
    until_source(&appliance, "no_signal", "the sender is gone");
    let sender = send();
    appliance.until_state("it is passed on again", SOON, is("passthrough"));
    drop(sender);
    until_source(&appliance, "no_signal", "the sender is gone");
    let _other = Sender::ffmpeg(&url, &["-tune", "fastdecode", "-preset", "veryfast", "-bf", "2"]);
    until_source(&appliance, "live", "");
    appliance.until_state("it is told why", SOON, |_| {
        appliance.log().iter().any(|line| line.contains("is encoded anew") && line.contains("B-frames"))
    });
    let encoded = appliance.until_state("it is encoded", SOON, is("x264"));
    let told = &encoded["capture"]["arrival"]["passthrough"];
    assert_eq!(told["state"], "refused", "{:#}", encoded["capture"]);
    assert!(told["reason"].as_str().is_some_and(|words| words.contains("B-frames")), "{told}");
    assert!(
        encoded["words"].as_str().is_some_and(|words| words.contains("not passed through")),
        "{}",
        encoded["words"]
    );
    let page = String::from_utf8(appliance.cli(&["status"]).stdout).unwrap();
    assert!(page.contains("not passed through: the picture arrives with B-frames"), "{page}");
    appliance.end();

    let made = bytes_of(&clip);
    let made: std::collections::BTreeSet<&[u8]> = slices(&made).into_iter().collect();
    let kept: Vec<Vec<u8>> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "mkv"))
        .map(|path| bytes_of(&path))
        .collect();
    let same = kept.iter().flat_map(|stream| slices(stream)).filter(|slice| made.contains(slice)).count();
    println!("{same} slices are the sender's own");
    assert!(same > 30, "only {same} slices are the sender's own");
}
