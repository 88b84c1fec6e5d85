//! The trickle output at a server of the tests: what is in its segments, and what it does when the server misbehaves.

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::relay::server::{Segment, Server};
use crate::soak::{Holds, wanted};
use crate::watcher::Watcher;

const SOON: Duration = Duration::from_secs(60);

const H264: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\n\
    size = \"640x360\"\nframerate = \"30\"\nbitrate = \"1 Mbit/s\"\nkeyframe_interval = \"1 s\"\n\
    [audio]\ncodec = \"opus\"\nbitrate = \"64 kbit/s\"\n";

fn publisher(url: &str, more: &str, others: &[(&str, &str)]) -> Appliance {
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n[[output]]\nname = \"service\"\n\
         kind = \"trickle\"\nurl = \"{url}\"\n{more}"
    );
    Appliance::start(&config, &[&[("tried", H264)], others].concat())
}

fn output(state: &Value) -> &Value {
    &state["outputs"][0]
}

fn is(state: &Value, word: &str) -> bool {
    output(state)["state"] == word
}

/// Codecs in a transport stream, and the flags of its first picture.
fn probe(bytes: &[u8]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segment.ts");
    fs::write(&file, bytes).unwrap();
    let ffprobe = |arguments: &[&str]| -> Value {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-of", "json"])
            .args(arguments)
            .arg(&file)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let streams = ffprobe(&["-show_streams"])["streams"].as_array().cloned().unwrap_or_default();
    let mut codecs: Vec<String> =
        streams.iter().map(|one| one["codec_name"].as_str().unwrap_or_default().to_owned()).collect();
    codecs.sort();
    let packets = ffprobe(&["-select_streams", "v:0", "-show_packets", "-show_entries", "packet=flags"]);
    (codecs, packets["packets"][0]["flags"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn segments_begin_with_keyframes_and_are_sent_while_they_are_made() {
    let _turn = turn();
    let server = Server::start(Some("a secret word"));
    let mut appliance = publisher(&server.url("live"), "token_file = \"/dev/null\"\n", &[]);
    let refused = appliance.until_state("the token is missed", SOON, |state| {
        !output(state)["reason"].as_str().unwrap_or_default().is_empty()
    });
    assert!(output(&refused)["reason"].as_str().unwrap().contains("empty"), "{}", output(&refused));
    drop(appliance);

    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "another word\n").unwrap();
    appliance = publisher(&server.url("live"), &format!("token_file = \"{}\"\n", key.display()), &[]);
    let refused = appliance.until_state("it is refused", SOON, |state| is(state, "refused"));
    assert!(output(&refused)["reason"].as_str().unwrap().contains("`token_file`"), "{}", output(&refused));
    fs::write(&key, "a secret word\n").unwrap();
    appliance.until_state("it publishes", SOON, |state| is(state, "live"));

    // A busy machine may send several pieces as one, or a segment when it is whole; not always.
    let while_made = |segment: &&Segment| {
        let span = segment.ended.zip(segment.begun).map(|(ended, begun)| ended - begun);
        segment.done && segment.pieces > 10 && span > Some(Duration::from_millis(500))
    };
    let segments =
        server.until("there are four segments, two of them sent while they were made", "live", |segments| {
            segments.values().filter(|segment| segment.done).count() >= 4
                && segments.values().filter(while_made).count() >= 2
        });
    assert_eq!(segments.keys().copied().collect::<Vec<_>>(), (0..segments.len() as u64).collect::<Vec<_>>());
    for (number, segment) in segments.iter().filter(|(_, segment)| segment.done).take(4) {
        let (codecs, flags) = probe(&segment.bytes);
        assert_eq!(codecs, ["h264", "opus"], "segment {number}");
        assert!(flags.contains('K'), "segment {number} begins with {flags}");
        assert!(segment.bytes.len() % 188 == 0 && segment.bytes[0] == 0x47, "segment {number}");
    }
    let whole: Vec<u8> = segments.values().take(4).flat_map(|segment| segment.bytes.clone()).collect();
    assert_eq!(probe(&whole).0, ["h264", "opus"], "joined again they are one stream");

    let (_, log) = appliance.end();
    assert!(server.is_closed("live"), "who subscribes is told of the end");
    assert!(!log.iter().any(|line| line.contains("secret word")), "{log:#?}");
}

/// Sent in segments, read in segments, encoded anew, watched by a browser's protocol: all of it on this machine.
#[test]
fn what_one_capcast_sends_in_segments_another_one_shows_within_a_second() {
    let _turn = turn();
    let server = Server::start(None);
    let sends = publisher(&server.url("live"), "", &[]);
    sends.until_state("it publishes", SOON, |state| is(state, "live"));
    let config = format!("profile = \"tried\"\n[capture]\nvideo = \"{}\"\n", server.url("live"));
    // aiortc gathers no loopback candidates.
    let shows = Appliance::start_with_media("[::]:0", &config, &[("tried", H264)]);
    shows.until_state("it shows what the other one sends", SOON, |state| {
        state["capture"]["source"]["state"] == "live" && state["capture"]["showing"] == "source"
    });
    let endpoint = format!("{}/api/whep/live", shows.base);
    let mut watcher = Watcher::ages(&endpoint, Duration::from_secs(1));
    let (mut best, mut pictures, mut unreadable) = (f64::MAX, 0, 0);
    // A busy machine may hold each second up by something, but not all of them.
    for _ in 0..15 {
        watcher.expect("pictures", None, SOON);
        let seen = watcher.last();
        best = best.min(seen["age_p50"].as_f64().unwrap_or(f64::MAX));
        pictures += seen["pictures"].as_u64().unwrap();
        unreadable += seen["unreadable"].as_u64().unwrap();
    }
    println!(
        "{pictures} pictures, {unreadable} of them not readable, {best} ms old in the best of 15 seconds"
    );
    assert!(pictures > 100, "{pictures} pictures in 15 seconds");
    assert!(unreadable * 20 < pictures, "{unreadable} of {pictures} are not what was sent");
    assert!(best < 1_000.0, "{best} ms old in the best of 15 seconds");
}

#[test]
fn a_server_that_goes_stalls_or_knows_no_channel_is_told_in_words_and_tried_again() {
    let _turn = turn();
    let mut server = Server::start(None);
    let appliance = publisher(&server.url("live"), "", &[]);
    appliance.until_state("it publishes", SOON, |state| is(state, "live"));
    server.until("there are two segments", "live", |segments| segments.len() >= 2);
    let before = appliance.until_state("it is asked", SOON, |_| true);

    let address = server.address;
    drop(server);
    appliance.until_state("the server is missed", SOON, |state| is(state, "backoff"));
    server = Server::start_at(address, None);
    appliance.until_state("it publishes again", SOON, |state| is(state, "live"));
    let segments =
        server.until("there is a segment", "live", |segments| segments.values().any(|one| one.done));
    assert!(*segments.keys().next().unwrap() >= 2, "the numbers go on");

    server.knobs.stalls.store(true, Relaxed);
    appliance.until_state("nothing is taken any more", SOON, |state| is(state, "backoff"));
    server.knobs.stalls.store(false, Relaxed);
    appliance.until_state("it publishes once more", SOON, |state| is(state, "live"));

    drop(server);
    server = Server::start_at(address, None);
    server.knobs.makes_none.store(true, Relaxed);
    let refused = appliance.until_state("there is no channel", SOON, |state| is(state, "refused"));
    assert!(output(&refused)["reason"].as_str().unwrap().contains("no such channel"), "{}", output(&refused));
    let after = appliance.until_state("pictures go on", SOON, |state| {
        state["encode"]["frames_out"].as_u64()
            > before["encode"]["frames_out"].as_u64().map(|frames| frames + 30)
    });
    assert_eq!(after["encode"]["restarts"], before["encode"]["restarts"]);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_a_server_that_comes_and_goes() {
    let _turn = turn();
    let mut server = Server::start(None);
    let address = server.address;
    let appliance = publisher(&server.url("live"), "", &[]);
    let mut settled = None;
    let cycles = wanted("CAPCAST_SOAK_CYCLES", 60);
    for cycle in 0..cycles {
        appliance.until_state("it publishes", SOON, |state| is(state, "live"));
        drop(server);
        appliance.until_state("the server is missed", SOON, |state| is(state, "backoff"));
        server = Server::start_at(address, None);
        if cycle == cycles / 4 {
            settled = Some(Holds::of(&appliance));
        }
    }
    appliance.until_state("it publishes", SOON, |state| is(state, "live"));
    let what = format!("{cycles} restarts of the server");
    Holds::of(&appliance).assert_no_more_than(settled.unwrap(), 20_000, &what);
    let state = appliance.until_state("it is asked", SOON, |_| true);
    assert_eq!(state["encode"]["restarts"], 0, "{state:#}");
}

#[test]
fn another_codec_ends_the_channel_until_it_fits_again() {
    let _turn = turn();
    let vp8 = H264.replace("h264", "vp8").replace("x264", "vp8");
    let larger = H264.replace("640x360", "854x480");
    let server = Server::start(None);
    let appliance =
        publisher(&server.url("live"), "audio = \"none\"\n", &[("other", &vp8), ("larger", &larger)]);
    appliance.until_state("it publishes", SOON, |state| is(state, "live"));
    assert!(appliance.cli(&["switch", "larger"]).status.success());
    let begun = server.segments("live").len();
    let segments = server.until("segments go on", "live", |segments| segments.len() > begun + 2);
    assert_eq!(probe(&segments[&(begun as u64 + 1)].bytes).0, ["h264"], "without sound");

    assert!(appliance.cli(&["switch", "other"]).status.success());
    let refused = appliance.until_state("VP8 does not fit", SOON, |state| is(state, "codec_refused"));
    assert!(output(&refused)["reason"].as_str().unwrap().contains("H.264"), "{}", output(&refused));
    assert_eq!(output(&refused)["reconnects"], 0, "{}", output(&refused));
    server.until("the channel is ended", "live", |_| server.is_closed("live"));
    assert!(appliance.cli(&["switch", "tried"]).status.success());
    appliance.until_state("it publishes again", SOON, |state| is(state, "live"));
}
