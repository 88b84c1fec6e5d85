//! Viewers keep their session while encoders change: Chromium and aiortc watch.

use std::time::Duration;

use serde_json::Value;

use super::{LIMIT, on_air, succeeds};
use crate::appliance::{Appliance, turn};
use crate::detour::Detour;
use crate::watcher::Watcher;

/// Encoder, codec, and what a browser calls it.
const ENCODERS: [(&str, &str, &str); 7] = [
    ("x264", "h264", "video/H264"),
    ("openh264", "h264", "video/H264"),
    ("vp8", "vp8", "video/VP8"),
    ("vp9", "vp9", "video/VP9"),
    ("aom", "av1", "video/AV1"),
    ("svt", "av1", "video/AV1"),
    // Holds back 13 pictures: the gap before it is that long, and on a busy machine too long for a sample in passing.
    ("rav1e", "av1", "video/AV1"),
];

/// So many switches until every encoder's library and threads were there once.
const SETTLED: usize = 20;

/// Encoders have threads of their own, more or fewer.
const MOST_MORE: usize = 12;

/// Of 1000 packets, so many are lost.
const SOME: u64 = 30;

/// Cold start of a browser on a busy machine.
const BROWSER: Duration = Duration::from_secs(120);

fn profile(codec: &str, encoder: &str) -> String {
    format!(
        "summary = \"tried by a test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"640x360\"\n\
         framerate = \"30\"\nbitrate = \"800 kbit/s\"\nspeed = \"fastest\"\n"
    )
}

fn appliance(media: &str) -> Appliance {
    let profiles = ENCODERS.map(|(encoder, codec, _)| (encoder, profile(codec, encoder)));
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    let config = "profile = \"x264\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    let appliance = Appliance::start_with_media(media, config, &profiles);
    on_air(&appliance);
    appliance
}

/// A walk from the first encoder that takes every ordered pair once (Hierholzer).
fn every_pair() -> Vec<usize> {
    let mut left: Vec<Vec<usize>> =
        (0..ENCODERS.len()).map(|from| (0..ENCODERS.len()).filter(|to| *to != from).collect()).collect();
    let (mut stack, mut walk) = (vec![0], Vec::new());
    while let Some(at) = stack.last() {
        match left[*at].pop() {
            Some(to) => stack.push(to),
            None => walk.extend(stack.pop()),
        }
    }
    walk.reverse();
    walk.remove(0);
    walk
}

/// So many of the first encoders after the very first, none after itself.
fn some_pairs(seed: u64, count: usize, among: usize) -> Vec<usize> {
    let (mut state, mut at) = (seed, 0);
    let mut next = || {
        // Knuth's MMIX generator; its upper bits are random enough for a walk.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let step = 1 + (state >> 33) as usize % (among - 1);
        at = (at + step) % among;
        at
    };
    (0..count).map(|_| next()).collect()
}

/// Chromium watches over a way that loses so many of 1000 packets. It is given so many seconds, and tells of a change, or that
/// there is none, when so many pictures were shown.
fn begin(appliance: &Appliance, lost: u64, (limit, frames): (usize, usize)) -> (Watcher, Option<Detour>) {
    let page = format!("{}/", appliance.base);
    let mut options =
        vec!["--limit".to_owned(), limit.to_string(), "--frames".to_owned(), frames.to_string()];
    let detour = (lost > 0).then(|| {
        let port = appliance.base.rsplit(':').next().and_then(|port| port.parse().ok());
        Detour::to(port.expect("the appliance's port"))
    });
    if let Some(detour) = &detour {
        options.extend(["--through".to_owned(), detour.port.to_string()]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut watcher = Watcher::browser("switch.mjs", &page, &options);
    watcher.expect("watching", None, BROWSER);
    if let Some(detour) = &detour {
        detour.lose(lost);
    }
    (watcher, detour)
}

/// Chromium watches a walk, over a way that loses so many of 1000 packets; gives what it saw at each change.
fn watch(walk: &[usize], lost: u64) -> Vec<Value> {
    // What is not lost goes over loopback.
    let appliance = appliance(if lost == 0 { "127.0.0.1:0" } else { "[::]:0" });
    let (mut watcher, detour) = begin(&appliance, lost, (120 + 30 * walk.len(), 20));
    let (mut seen, mut ssrc) = (Vec::new(), None);
    let (mut before, mut memory) = (None, Vec::new());
    for (turn, number) in walk.iter().enumerate() {
        // What the first rounds leave is there for good.
        if turn == SETTLED {
            before = Some(held(&appliance));
        }
        memory.push(appliance.memory());
        let (encoder, _, mime) = ENCODERS[*number];
        let said = succeeds(&appliance, &["switch", encoder]);
        watcher.tell(mime);
        let after = watcher.expect("after", None, LIMIT);
        println!("{} {after}", said.trim());
        assert_eq!((&after["codec"], &after["connections"]), (&mime.into(), &1.into()), "{encoder}: {after}");
        assert_eq!((&after["width"], &after["backwards"]), (&640.into(), &0.into()), "{encoder}: {after}");
        assert!(ssrc.replace(after["ssrc"].clone()).is_none_or(|last| last == after["ssrc"]), "{after}");
        seen.push(after);
    }
    let state = on_air(&appliance);
    assert_eq!(state["streams"][0]["viewers"], 1, "{state:#}");
    assert_eq!(
        (&state["capture"]["restarts"], &state["encode"]["restarts"]),
        (&0.into(), &0.into()),
        "{state:#}"
    );
    if let Some((threads, files, _)) = before {
        // Threads of graphs that are gone are on their way out.
        appliance.until_state("as many threads and files as before", LIMIT, |_| {
            let (now, open, _) = held(&appliance);
            now <= threads + MOST_MORE && open <= files + 4
        });
        let after = held(&appliance);
        // Each encoder takes memory of its own, up to 200 MiB, so that peaks are compared.
        let (first, second) = memory[SETTLED..].split_at((memory.len() - SETTLED) / 2);
        let peaks = [first, second].map(|half| half.iter().max().copied().unwrap_or_default());
        println!(
            "threads, files: {:?} after {SETTLED} switches, {:?} at last",
            (threads, files),
            (after.0, after.1)
        );
        println!("peaks of memory in the two halves of what followed, KiB: {peaks:?}");
        assert!(peaks[1] < peaks[0] + 48 * 1024, "{memory:?}");
    }
    if detour.is_some() {
        let missed: i64 = seen.iter().filter_map(|after| after["lost"].as_i64()).sum();
        assert!(missed > 0, "nothing was lost: {seen:#?}");
    }
    seen
}

/// Threads, files, memory in KiB.
fn held(appliance: &Appliance) -> (usize, usize, u64) {
    (appliance.count("task"), appliance.count("fd"), appliance.memory())
}

fn report(seen: &[Value]) {
    let sum = |name: &str| seen.iter().filter_map(|after| after[name].as_i64()).sum::<i64>();
    let mut gaps: Vec<u64> = seen.iter().filter_map(|after| after["longestGapMs"].as_u64()).collect();
    gaps.sort_unstable();
    let at = |percent: usize| gaps[(gaps.len() - 1) * percent / 100];
    println!(
        "{} switches; longest gap between rendered frames around each: p50 {} ms, p95 {} ms, max {} ms; \
         {} freezes, {} PLI, {} frames dropped, {} concealments of sound",
        gaps.len(),
        at(50),
        at(95),
        at(100),
        sum("freezes"),
        sum("plis"),
        sum("dropped"),
        sum("concealments")
    );
}

#[test]
fn chromium_goes_on_through_a_sample_of_switches() {
    let _turn = turn();
    report(&watch(&some_pairs(4, 6, ENCODERS.len() - 1), 0));
}

#[test]
fn chromium_goes_on_through_switches_although_packets_are_lost() {
    let _turn = turn();
    report(&watch(&some_pairs(2, 4, ENCODERS.len() - 1), SOME));
}

/// What is lost is sent again in time, so that the picture goes on. One of five rounds may be the machine's own fault.
#[test]
fn chromium_does_not_freeze_where_one_packet_in_twenty_is_lost() {
    let _turn = turn();
    let appliance = appliance("[::]:0");
    let (mut watcher, detour) = begin(&appliance, 50, (180, 90));
    let mut gaps = Vec::new();
    // A machine that stands still for half a second is no freeze of the player's.
    while gaps.len() < 20 && gaps.iter().filter(|gap| **gap <= 500).count() < 4 {
        watcher.tell(ENCODERS[0].2);
        let after = watcher.expect("after", None, LIMIT);
        println!("{after}");
        assert_eq!((&after["backwards"], &after["connections"]), (&0.into(), &1.into()), "{after}");
        gaps.push(after["longestGapMs"].as_u64().unwrap());
    }
    let lost = detour.map_or(0, |detour| detour.missed());
    let still = gaps.iter().filter(|gap| **gap > 500).count();
    assert!(
        gaps.len() - still >= 4 && still <= gaps.len() / 2,
        "longest gaps between pictures in rounds of 3 s: {gaps:?} ms"
    );
    assert!(lost > 50, "only {lost} packets were lost");
}

fn all_pairs(lost: u64) {
    let _turn = turn();
    let walk = every_pair();
    assert_eq!(walk.len(), ENCODERS.len() * (ENCODERS.len() - 1));
    report(&watch(&walk, lost));
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_chromium_goes_on_through_every_pair_of_encoders() {
    all_pairs(0);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_chromium_goes_on_through_every_pair_although_packets_are_lost() {
    all_pairs(SOME);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_chromium_goes_on_through_a_hundred_switches_although_packets_are_lost() {
    let _turn = turn();
    report(&watch(&some_pairs(1, 100, ENCODERS.len()), SOME));
}

/// aiortc decodes H.264 and VP8 only.
#[test]
fn aiortc_goes_on_through_switches() {
    let _turn = turn();
    // aiortc gathers no loopback candidates, so the two meet at this machine's own address.
    let appliance = appliance("[::]:0");
    let endpoint = format!("{}/api/whep/live", appliance.base);
    let mut watcher = Watcher::aiortc(&endpoint, &["--frames", "300", "--limit", "120"]);
    appliance.until_state("it watches", BROWSER, |state| state["streams"][0]["viewers"] == 1);
    for encoder in ["vp8", "openh264", "x264", "vp8", "x264"] {
        succeeds(&appliance, &["switch", encoder]);
        let before = on_air(&appliance)["streams"][0]["packets_out"].as_u64();
        appliance.until_state("packets go out", LIMIT, |state| {
            state["streams"][0]["packets_out"].as_u64() > before.map(|count| count + 60)
        });
    }
    let seen = watcher.expect("frames", None, BROWSER);
    let all = watcher.last();
    println!("{all}");
    assert!(seen.as_u64() >= Some(300) && all["size"] == serde_json::json!([640, 360]), "{all}");
    assert!(all["contrast"].as_u64() > Some(50) && all["audio_peak"].as_u64() > Some(500), "{all}");
}
