//! Streams that arrive as segments over HTTP: HLS, and trickle.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lists::{Fault, Lists};
use super::server::Server;
use crate::appliance::{Appliance, turn};
use crate::http::contract::assert_schema;
use crate::soak::{Holds, wanted};
use crate::watcher::Watcher;

const SOON: Duration = Duration::from_secs(90);

const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"320x180\"\n\
                       framerate = \"25\"\nbitrate = \"600 kbit/s\"\nspeed = \"fastest\"\n";

fn reads(url: &str, more: &str) -> Appliance {
    let config = format!("profile = \"tried\"\n[capture]\nvideo = \"{url}\"\n{more}");
    // aiortc gathers no loopback candidates.
    Appliance::start_with_media("[::]:0", &config, &[("tried", PROFILE)])
}

/// State, and words, of the picture's source.
fn source(state: &Value) -> (&str, &str) {
    let source = &state["capture"]["source"];
    (source["state"].as_str().unwrap_or_default(), source["reason"].as_str().unwrap_or_default())
}

fn until_slate(appliance: &Appliance, state: &str, words: &str) {
    appliance.until_state(&format!("the slate says {state}: {words}"), SOON, |document| {
        let (is, reason) = source(document);
        is == state && reason.contains(words) && document["capture"]["showing"] == "slate"
    });
}

fn until_live(appliance: &Appliance) -> Value {
    appliance.until_state("the source is live, seen and heard", SOON, |state| {
        source(state).0 == "live"
            && state["capture"]["showing"] == "source"
            && state["audio"]["silent"] == false
    })
}

fn plays(appliance: &Appliance) {
    let endpoint = format!("{}/api/whep/live", appliance.base);
    let mut watcher = Watcher::aiortc(&endpoint, &["--frames", "150", "--limit", "80"]);
    watcher.expect("frames", None, Duration::from_secs(100));
    let all = watcher.last();
    assert_eq!(all["size"], serde_json::json!([320, 180]), "{all}");
    assert!(all["contrast"].as_u64() > Some(50), "the picture is one colour: {all}");
    assert!(all["audio_peak"].as_u64() > Some(500), "silence: {all}");
}

fn relay(state: &Value) -> &Value {
    &state["capture"]["relay"]
}

#[test]
fn a_playlist_is_watched_with_sound_and_told_of() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("source.key");
    std::fs::write(&key, "not the right one\n").unwrap();
    let server = Lists::start(Some("a secret word"));
    let appliance =
        reads(&format!("{}?session=private", server.url()), &format!("token_file = \"{}\"\n", key.display()));
    until_slate(&appliance, "unreachable", "wants a token");
    std::fs::write(&key, "a secret word\n").unwrap();
    until_live(&appliance);
    plays(&appliance);
    // Past the end of the files, where all times begin anew.
    let state = appliance.until_state("it goes on after a discontinuity", SOON, |state| {
        relay(state)["discontinuities"].as_u64() >= Some(1) && relay(state)["segments"].as_u64() >= Some(12)
    });
    let told = relay(&state);
    assert_schema("Relay", told);
    assert_eq!((&told["protocol"], &told["trouble"]), (&"hls".into(), &"".into()), "{told:#}");
    // A machine that stands still for seconds is behind afterwards.
    assert!(told["skipped"].as_u64() <= Some(3), "{told:#}");
    let (queues, stats) = (&told["queue_sizes"], &told["performance_stats"]);
    assert!(queues["segments"].as_u64() <= queues["max_segments"].as_u64(), "{told:#}");
    assert!(queues["bytes"].as_u64() <= queues["max_bytes"].as_u64(), "{told:#}");
    assert!(stats["segments_per_second"].as_f64() > Some(0.3), "{told:#}");
    assert!(stats["fps"].as_f64() > Some(10.0), "{told:#}");
    let line = String::from_utf8(appliance.cli(&["status"]).stdout).unwrap();
    assert!(line.contains("hls, ") && line.contains("segments a second"), "{line}");
    plays(&appliance);
    let all = format!("{:?}{state}", appliance.log());
    assert!(!all.contains("private") && !all.contains("secret word"), "{all}");
    // RFC 8216, 6.3.4: not more often than it should.
    let began = Instant::now();
    server.asked();
    appliance.until_state("five seconds have passed", SOON, |_| began.elapsed() > Duration::from_secs(5));
    let lists = server.asked().iter().filter(|name| *name == "x.m3u8").count();
    assert!(lists as u128 <= began.elapsed().as_millis() / 500 + 2, "{lists} in {:?}", began.elapsed());
}

#[test]
fn faults_of_a_playlist_are_told_on_the_slate_and_pass() {
    let _turn = turn();
    let server = Lists::start(None);
    let appliance = reads(&server.url(), "");
    until_live(&appliance);
    let cases = [
        (Fault::Playlist(404), "unreachable", "404: it is not there"),
        (Fault::Segments(500), "unreachable", "answers 500"),
        (Fault::Still, "no_signal", "the playlist has not changed for"),
        (Fault::Ended, "no_signal", "the playlist has ended"),
        (Fault::Page, "unusable", "a page, as for people"),
        (Fault::FragmentedMp4, "unusable", "fragmented MP4"),
        (Fault::Drips(0), "no_signal", "drop by drop"),
        (Fault::Encrypted, "unusable", "encrypted"),
    ];
    for (fault, state, words) in cases {
        server.set(fault);
        until_slate(&appliance, state, words);
        let lost = Instant::now();
        server.set(Fault::None);
        until_live(&appliance);
        println!("{fault:?}: back after {:?}", lost.elapsed());
    }
    plays(&appliance);
    assert_eq!(appliance.log().iter().filter(|line| line.contains("ERROR")).count(), 0);
}

#[test]
fn what_is_too_much_torn_or_missing_is_left_out_and_the_rest_is_shown() {
    let _turn = turn();
    let server = Lists::start(None);
    let appliance = reads(&server.url(), "");
    until_live(&appliance);
    let before = appliance.memory();
    let cases = [
        (Fault::Huge, "is cut"),
        (Fault::Torn, ""),
        (Fault::Cut, "broke off"),
        (Fault::Holes, "answers 404"),
        (Fault::Loops, ""),
    ];
    for (fault, words) in cases {
        let segments = relay(&until_live(&appliance))["segments"].as_u64();
        server.set(fault);
        let said = |line: &String| line.contains(words);
        appliance.until_state(&format!("{fault:?} is told and passed over"), SOON, |state| {
            (words.is_empty() || appliance.log().iter().any(said))
                && (fault == Fault::Huge || relay(state)["segments"].as_u64() >= segments.map(|n| n + 4))
        });
        server.set(Fault::None);
        until_live(&appliance);
    }
    plays(&appliance);
    let grown = appliance.memory().saturating_sub(before);
    assert!(grown < 150 << 10, "it holds {grown} KiB more than before");
}

/// A playlist, one fault after the other, until the time is over.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_a_playlist_with_every_fault_again_and_again() {
    let _turn = turn();
    let server = Lists::start(None);
    let appliance = reads(&server.url(), "");
    until_live(&appliance);
    let until = Instant::now() + Duration::from_secs(wanted("CAPCAST_SOAK_MINUTES", 60) * 60);
    let faults = [Fault::Playlist(404), Fault::Segments(500), Fault::Still, Fault::Page, Fault::Encrypted];
    let (mut rounds, mut before) = (0, None);
    while rounds < 3 || Instant::now() < until {
        // What the first rounds leave is there for good.
        if rounds == 2 {
            before = Some(Holds::of(&appliance));
        }
        for fault in faults {
            server.set(fault);
            appliance.until_state(&format!("{fault:?} is seen"), SOON, |state| {
                state["capture"]["showing"] == "slate"
            });
            server.set(Fault::None);
            until_live(&appliance);
        }
        plays(&appliance);
        rounds += 1;
    }
    Holds::of(&appliance).assert_no_more_than(before.unwrap(), 24 * 1024, "the reader of a playlist");
    assert_eq!(appliance.log().iter().filter(|line| line.contains("ERROR")).count(), 0);
    println!("{rounds} rounds of {} faults", faults.len());
}

/// ffmpeg makes a stream as it is watched, and a new segment begins with each second.
struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Publisher {
    fn start(server: &Server, channel: &str, from: u64) -> Publisher {
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"])
            .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p"])
            .args(["-g", "25", "-flush_packets", "1", "-muxdelay", "0", "-f", "mpegts", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (address, path) = (server.address, format!("/t/{channel}"));
        let mut stream = ffmpeg.stdout.take().unwrap();
        std::thread::spawn(move || {
            answered(&request(address, "POST", &path, "content-length: 0"));
            let mut number = from;
            let mut packet = [0; 188];
            let mut open = stream.read_exact(&mut packet).is_ok();
            while open {
                let began = Instant::now();
                let mut to =
                    request(address, "POST", &format!("{path}/{number}"), "transfer-encoding: chunked");
                loop {
                    write!(to, "{:x}\r\n", packet.len()).unwrap();
                    to.write_all(&packet).and_then(|()| to.write_all(b"\r\n")).unwrap();
                    open = stream.read_exact(&mut packet).is_ok();
                    // A table of programs stands before each keyframe.
                    let table = packet[1] & 0x1f == 0 && packet[2] == 0;
                    if !open || table && began.elapsed() > Duration::from_millis(950) {
                        break;
                    }
                }
                to.write_all(b"0\r\n\r\n").unwrap();
                answered(&to);
                number += 1;
            }
        });
        Publisher(ffmpeg)
    }
}

fn request(address: SocketAddr, method: &str, path: &str, header: &str) -> TcpStream {
    let mut to = TcpStream::connect(address).unwrap();
    to.set_nodelay(true).unwrap();
    write!(to, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n").unwrap();
    to
}

fn answered(by: &TcpStream) {
    let mut status = String::new();
    BufReader::new(by).read_line(&mut status).unwrap();
    assert!(status.contains("200"), "{status}");
}

#[test]
fn a_channel_is_watched_with_sound_and_its_publisher_may_go_and_come_back() {
    let _turn = turn();
    let server = Server::start(None);
    let appliance = reads(&server.url("live"), "");
    until_slate(&appliance, "unreachable", "neither a playlist nor a trickle channel");
    let publisher = Publisher::start(&server, "live", 0);
    until_live(&appliance);
    plays(&appliance);
    let state = appliance
        .until_state("ten segments came", SOON, |state| relay(state)["segments"].as_u64() >= Some(10));
    let told = relay(&state);
    assert_schema("Relay", told);
    assert!(told["protocol"] == "trickle" && told["skipped"].as_u64() <= Some(3), "{told:#}");
    assert!(told["performance_stats"]["average_latency_ms"].as_f64() < Some(2000.0), "{told:#}");
    assert_eq!(told["queue_sizes"]["max_segments"], 2, "{told:#}");
    // It goes without a word, in the middle of a segment.
    drop(publisher);
    until_slate(&appliance, "no_signal", "nothing has been published for");
    let next = server.segments("live").keys().max().unwrap() + 1;
    let publisher = Publisher::start(&server, "live", next);
    until_live(&appliance);
    drop(publisher);
    // It says goodbye, and begins anew.
    answered(&request(server.address, "DELETE", "/t/live", "content-length: 0"));
    until_slate(&appliance, "no_signal", "the publisher has closed the channel");
    let _publisher = Publisher::start(&server, "live", 0);
    until_live(&appliance);
    plays(&appliance);
}
