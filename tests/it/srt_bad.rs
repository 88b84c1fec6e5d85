//! Senders by SRT that do it wrong: damaged streams, the wrong mode, too many at a time, another passphrase. Each is told in
//! words and harms nothing, and whoever does it right is seen next.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{Appliance, free_port, turn};
use crate::http::contract::assert_schema;
use crate::soak::{Holds, wanted};
use crate::srt_in::{PROFILE, SOON, Sender, clip, config, until_source};

const PACKET: usize = 188;

/// Sends the bytes of a file as they are, at 5 Mbit/s.
fn bytes(url: &str, file: &Path) -> Sender {
    let pipeline = format!(
        "filesrc blocksize=1316 location={} ! identity sleep-time=2000 ! srtsink uri={url}",
        file.display()
    );
    Sender::start("gst-launch-1.0", &pipeline.split_whitespace().collect::<Vec<_>>())
}

/// A clip of which each packet becomes something else, several times over.
fn damaged(clip: &Path, what: impl Fn(usize, &[u8]) -> Option<Vec<u8>>) -> PathBuf {
    let whole = fs::read(clip).unwrap();
    let once: Vec<u8> = whole
        .chunks_exact(PACKET)
        .enumerate()
        .flat_map(|(at, packet)| what(at, packet).unwrap_or_default())
        .collect();
    let path = clip.with_extension("damaged.ts");
    fs::write(&path, once.repeat(8)).unwrap();
    path
}

fn count(state: &Value, name: &str) -> u64 {
    state["capture"]["arrival"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no `{name}` in {:#}", state["capture"]))
}

fn until_gone(appliance: &Appliance) {
    until_source(appliance, "no_signal", "the sender is gone");
}

/// What strangers send is no bug of the box's.
fn assert_unharmed(appliance: &Appliance) {
    assert!(!appliance.log().iter().any(|line| line.contains("ERROR")), "{:#?}", appliance.log());
}

#[test]
fn damaged_streams_are_told_and_counted_and_a_right_one_is_shown() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let port = free_port();
    let appliance = Appliance::start(
        &config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80")),
        &[("tried", PROFILE)],
    );
    until_source(&appliance, "no_signal", "no sender has connected yet");
    let before = appliance.memory();
    let url = format!("srt://127.0.0.1:{port}");

    let noise = bytes(&url, Path::new("/dev/urandom"));
    let state = until_source(&appliance, "unusable", "what arrives is no MPEG-TS");
    assert!(count(&state, "garbage_bytes") > 200_000, "{:#}", state["capture"]["arrival"]);
    drop(noise);
    until_gone(&appliance);

    let tables = bytes(&url, &damaged(&clip, |_, packet| (packet[1] & 0x1f > 0).then(|| packet.to_vec())));
    until_source(&appliance, "unusable", "MPEG-TS without tables");
    drop(tables);
    until_gone(&appliance);

    // Some packets end in their middle, and what follows is not where it should be.
    let file = damaged(&clip, |at, packet| Some(packet[..if at % 40 == 39 { 100 } else { PACKET }].to_vec()));
    let truncated = bytes(&url, &file);
    let (broken, garbage) = (count(&state, "broken"), count(&state, "garbage_bytes"));
    appliance.until_state("packets that are cut off are counted", SOON, |state| {
        count(state, "broken") > broken + 10 && count(state, "garbage_bytes") > garbage + 1000
    });
    drop(truncated);
    until_gone(&appliance);

    let _right = Sender::clip(&url, &clip);
    let state = until_source(&appliance, "live", "");
    let frames = state["capture"]["frames_out"].as_u64();
    appliance.until_state("pictures follow", SOON, |state| {
        state["capture"]["showing"] == "source"
            && state["capture"]["frames_out"].as_u64() > frames.map(|n| n + 30)
    });
    assert_unharmed(&appliance);
    let grown = appliance.memory().saturating_sub(before);
    assert!(grown < 100 << 10, "it holds {grown} KiB more than before");
}

#[test]
fn two_that_wait_and_two_that_call_are_told_and_the_right_one_is_found() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    // Both call: nobody answers.
    let called = free_port();
    let address = format!("srt://127.0.0.1:{called}");
    let appliance =
        Appliance::start(&config(&format!("{address}?mode=caller&latency=80")), &[("tried", PROFILE)]);
    let calls = Sender::clip(&address, &clip);
    until_source(&appliance, "unreachable", "does not answer: nobody listens there");
    drop(calls);
    let _right = Sender::clip(&format!("{address}?mode=listener"), &clip);
    until_source(&appliance, "live", "");
    assert_unharmed(&appliance);
    drop(appliance);

    // Both wait: nobody calls.
    let (ours, theirs) = (free_port(), free_port());
    let appliance = Appliance::start(
        &config(&format!("srt://127.0.0.1:{ours}?mode=listener&latency=80")),
        &[("tried", PROFILE)],
    );
    let _waits = Sender::clip(&format!("srt://127.0.0.1:{theirs}?mode=listener"), &clip);
    let state = until_source(&appliance, "no_signal", "no sender has connected yet");
    assert_eq!(count(&state, "turned_away"), 0);
    let _right = Sender::clip(&format!("srt://127.0.0.1:{ours}"), &clip);
    until_source(&appliance, "live", "");
    assert_unharmed(&appliance);
}

#[test]
fn one_sender_at_a_time_gets_in_and_only_with_the_passphrase() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let port = free_port();
    let (secret, other) = ("what nobody else knows", "something else entirely");
    let key = folder.path().join("srt.key");
    fs::write(&key, format!("{secret}\n")).unwrap();
    let listens =
        format!("srt://127.0.0.1:{port}?mode=listener&latency=80&passphrase_file={}", key.display());
    let appliance = Appliance::start(&config(&listens), &[("tried", PROFILE)]);
    let url = format!("srt://127.0.0.1:{port}?passphrase={secret}");
    until_source(&appliance, "no_signal", "no sender has connected yet");

    let stranger = Sender::clip(&format!("srt://127.0.0.1:{port}?passphrase={other}"), &clip);
    let state = until_source(&appliance, "no_signal", "was turned away: the passphrase is another one");
    assert!(count(&state, "turned_away") >= 1, "{:#}", state["capture"]["arrival"]);
    drop(stranger);
    // Told for a while only.
    until_source(&appliance, "no_signal", "no sender has connected yet");

    let first = Sender::clip(&url, &clip);
    let begun = until_source(&appliance, "live", "");
    let mut second = Sender::clip(&url, &clip);
    let exit = second.0.wait().unwrap();
    assert!(!exit.success(), "a second sender was let in");
    let turned_away = count(&begun, "turned_away");
    let state =
        appliance.until_state("the second sender is counted, and the connection measured", SOON, |state| {
            count(state, "turned_away") > turned_away
                && count(state, "bitrate_bps") > 100_000
                && state["capture"]["arrival"]["srt"]["loss"].is_number()
        });
    assert_schema("Capture", &state["capture"]);
    let arrival = &state["capture"]["arrival"];
    assert_eq!(
        (&arrival["streams"], &arrival["srt"]["latency_ms"]),
        (&1.into(), &80.0.into()),
        "{arrival:#}"
    );
    assert_eq!((&arrival["picture"], &arrival["sound"]), (&"H.264".into(), &"AAC".into()), "{arrival:#}");
    assert!(arrival["srt"]["rtt_ms"].as_f64() > Some(0.0), "{arrival:#}");
    assert!(arrival["srt"]["packets"].as_u64() > Some(100), "{arrival:#}");
    let page = String::from_utf8(appliance.cli(&["status"]).stdout).unwrap();
    assert!(page.contains("H.264 + AAC, ") && page.contains(" ms round trip"), "{page}");
    assert_unharmed(&appliance);

    drop(first);
    until_gone(&appliance);
    let _again = Sender::clip(&url, &clip);
    let state = until_source(&appliance, "live", "");
    assert_eq!(count(&state, "streams"), 2, "{:#}", state["capture"]["arrival"]);
    let log = appliance.log().join("\n");
    for text in [state.to_string(), log] {
        assert!(!text.contains(secret) && !text.contains(other), "{text}");
    }
}

/// Senders that come and go, right and wrong ones, until the time is over: nothing grows.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_senders_come_and_go() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let port = free_port();
    let text = format!(
        "{}passthrough = true\n",
        config(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"))
    );
    let appliance = Appliance::start(&text, &[("tried", PROFILE)]);
    let url = format!("srt://127.0.0.1:{port}");
    let until = Instant::now() + Duration::from_secs(wanted("CAPCAST_SOAK_MINUTES", 60) * 60);
    let encoder = |name: &'static str| move |state: &Value| state["encode"]["encoder"] == name;
    let (mut rounds, mut before) = (0, None);
    while rounds < 5 || Instant::now() < until {
        // What the first rounds leave is there for good.
        if rounds == 4 {
            before = Some(Holds::of(&appliance));
        }
        // Passed on, encoded, and not to be used.
        match rounds % 3 {
            0 => {
                let _right = Sender::clip(&url, &clip);
                appliance.until_state("it is passed on", SOON, encoder("passthrough"));
            }
            1 => {
                let _other =
                    Sender::ffmpeg(&url, &["-tune", "fastdecode", "-preset", "veryfast", "-bf", "2"]);
                until_source(&appliance, "live", "");
            }
            _ => {
                let _noise = bytes(&url, Path::new("/dev/urandom"));
                until_source(&appliance, "unusable", "no MPEG-TS");
            }
        }
        until_gone(&appliance);
        appliance.until_state("the slate is encoded", SOON, encoder("x264"));
        rounds += 1;
    }
    Holds::of(&appliance).assert_no_more_than(before.unwrap(), 32 * 1024, "the receiver");
    assert!(!appliance.log().iter().any(|line| line.contains("ERROR")), "{:#?}", appliance.log());
    println!("{rounds} senders");
}
