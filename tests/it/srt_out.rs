//! The SRT output at real receivers: `srt-live-transmit`, ffmpeg, GStreamer's own source.

use std::collections::VecDeque;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{Appliance, free_port, turn};
use crate::soak::{Holds, wanted};

const SOON: Duration = Duration::from_secs(60);

const H264: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\n\
    size = \"640x360\"\nframerate = \"30\"\nbitrate = \"1 Mbit/s\"\nkeyframe_interval = \"1 s\"\n\
    [audio]\ncodec = \"opus\"\nbitrate = \"64 kbit/s\"\n";

fn sender(url: &str, more: &str, others: &[(&str, &str)]) -> Appliance {
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n[[output]]\nname = \"receiver\"\n\
         kind = \"srt\"\nurl = \"{url}\"\n{more}"
    );
    Appliance::start(&config, &[&[("tried", H264)], others].concat())
}

fn output(state: &Value) -> &Value {
    &state["outputs"][0]
}

fn reason(state: &Value) -> &str {
    output(state)["reason"].as_str().unwrap_or_default()
}

fn is(state: &Value, word: &str) -> bool {
    output(state)["state"] == word
}

/// A program that writes what it receives into a file.
struct Receiver {
    process: Child,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Receiver {
    /// `srt-live-transmit` at this URL.
    fn transmit(url: &str) -> Receiver {
        Receiver::run(|file| {
            let mut command = Command::new("srt-live-transmit");
            // Its standard output, since it cannot write files.
            command
                .args(["-q", "-autoreconnect:no", url, "file://con"])
                .stdout(fs::File::create(file).unwrap());
            command
        })
    }

    fn ffmpeg(url: &str) -> Receiver {
        Receiver::run(|file| {
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-y", "-i", url, "-c", "copy", "-f", "mpegts"]).arg(file);
            command
        })
    }

    fn gstreamer(url: &str) -> Receiver {
        Receiver::run(|file| {
            let mut command = Command::new("gst-launch-1.0");
            command.args(["-q", "srtsrc", &format!("uri={url}"), "!", "filesink", "buffer-mode=unbuffered"]);
            command.arg(format!("location={}", file.display()));
            command
        })
    }

    fn run(command: impl FnOnce(&Path) -> Command) -> Receiver {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("received.ts");
        let mut command = command(&file);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot run {command:?}: {error}\nhint: run `setup/install test`")
        });
        Receiver { process, file, _folder: folder }
    }

    fn received(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |about| about.len())
    }

    /// Ends it, and looks at what it has.
    fn finish(mut self) -> Found {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        Found::of(&self.file)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What ffprobe and ffmpeg find in a transport stream.
struct Found {
    /// By name, sorted.
    codecs: Vec<String>,
    size: (u64, u64),
    /// Seconds, in the order of the file.
    pictures: Vec<f64>,
    sounds: Vec<f64>,
    /// What the decoders complain of.
    complaints: String,
}

impl Found {
    fn of(file: &Path) -> Found {
        let ffprobe = |arguments: &[&str]| -> Value {
            let output = Command::new("ffprobe")
                .args(["-v", "error", "-of", "json"])
                .args(arguments)
                .arg(file)
                .output()
                .unwrap();
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let about = ffprobe(&["-show_streams"]);
        let streams = about["streams"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut codecs: Vec<String> = streams.iter().map(|one| text(&one["codec_name"])).collect();
        codecs.sort();
        let picture = streams.iter().find(|one| one["codec_type"] == "video").cloned().unwrap_or_default();
        let times = |kind: &str| -> Vec<f64> {
            let packets =
                ffprobe(&["-select_streams", kind, "-show_packets", "-show_entries", "packet=pts_time"]);
            let packets = packets["packets"].as_array().cloned().unwrap_or_default();
            packets.iter().filter_map(|packet| packet["pts_time"].as_str()?.parse().ok()).collect()
        };
        let mut decode = Command::new("ffmpeg");
        decode.args(["-v", "error", "-i"]).arg(file).args(["-f", "null", "-"]);
        Found {
            codecs,
            size: (picture["width"].as_u64().unwrap_or(0), picture["height"].as_u64().unwrap_or(0)),
            pictures: times("v:0"),
            sounds: times("a:0"),
            complaints: String::from_utf8_lossy(&decode.output().unwrap().stderr).into_owned(),
        }
    }

    /// Picture and sound play, without a hole in the sound, and are of the same time.
    fn plays(&self, sound: &str, state: &Value) {
        assert!(
            self.codecs.len() == 2
                && ["h264", sound].iter().all(|one| self.codecs.iter().any(|has| has == one)),
            "{:?}",
            self.codecs
        );
        assert_eq!(self.size, (640, 360));
        assert!(self.pictures.len() > 20, "{} pictures", self.pictures.len());
        // The test source leaves pictures out where the machine is busy, but time goes on.
        for times in [&self.pictures, &self.sounds] {
            let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.iter().all(|step| *step > 0.0), "{steps:?}");
        }
        let hole = self.sounds.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        // A machine that is too busy loses whole units, and counts them.
        let lost = output(state)["dropped"].as_u64().unwrap();
        assert!(hole < 0.1 || lost > 0, "a hole of {hole} s in the sound");
        let begin = (self.pictures[0] - self.sounds[0]).abs();
        assert!(begin < 2.0, "picture and sound begin {begin} s apart");
    }
}

#[test]
fn a_receiver_gets_what_plays_and_is_called_again_when_it_was_gone() {
    let _turn = turn();
    let port = free_port();
    let call = format!("srt://127.0.0.1:{port}");
    let appliance = sender(&call, "", &[]);
    let alone = appliance.until_state("nobody answers", SOON, |state| is(state, "backoff"));
    assert!(reason(&alone).contains("nobody answers at"), "{}", output(&alone));
    assert!(output(&alone)["retry_in_s"].is_number(), "{}", output(&alone));

    let wait = format!("srt://127.0.0.1:{port}?mode=listener");
    let receiver = Receiver::transmit(&wait);
    let live = appliance.until_state("the receiver has something", SOON, |state| {
        is(state, "live") && receiver.received() > 400_000
    });
    assert!(output(&live)["rtt_ms"].is_number(), "{}", output(&live));
    let found = receiver.finish();
    found.plays("opus", &live);
    // Seldom a receiver is killed at a packet's end.
    assert!(found.complaints.lines().count() < 8, "{}", found.complaints);

    let gone = appliance.until_state("its end is told", SOON, |state| !is(state, "live"));
    let words = ["ended the connection", "has fallen silent", "calls srt://"];
    assert!(words.iter().any(|word| reason(&gone).contains(word)), "{}", reason(&gone));
    let again = Receiver::transmit(&wait);
    let back = appliance
        .until_state("it is called again", SOON, |state| is(state, "live") && again.received() > 400_000);
    again.finish().plays("opus", &back);
    assert_eq!(back["encode"]["restarts"], alone["encode"]["restarts"], "nothing else is disturbed");
    assert!(back["encode"]["frames_out"].as_u64() > live["encode"]["frames_out"].as_u64());
}

#[test]
fn a_passphrase_stands_in_its_file_alone_and_a_wrong_one_is_told() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("srt.key");
    let port = free_port();
    let wait = format!("srt://127.0.0.1:{port}?mode=listener&passphrase=correct-horse-battery");
    let receiver = Receiver::transmit(&wait);
    fs::write(&key, "wrong-horse-battery\n").unwrap();
    let url = format!("srt://127.0.0.1:{port}?passphrase_file={}", key.display());
    let appliance = sender(&url, "audio = \"aac\"\n", &[]);
    // It may be refused before the picture is on air.
    let refused = appliance.until_state("it is refused, and that is said of the whole", SOON, |state| {
        is(state, "refused") && state["words"].as_str().unwrap_or_default().contains("receiver refused")
    });
    assert!(reason(&refused).contains("has another passphrase"), "{}", output(&refused));
    fs::write(&key, "short\n").unwrap();
    appliance.until_state("a short one is told", SOON, |state| reason(state).contains("10 to 79 characters"));
    fs::write(&key, "correct-horse-battery\n").unwrap();
    let live = appliance.until_state("the right one counts", SOON, |state| {
        is(state, "live") && receiver.received() > 400_000
    });
    assert!(reason(&live).ends_with(", encrypted"), "{}", reason(&live));
    receiver.finish().plays("aac", &live);
    let command = fs::read_to_string(format!("/proc/{}/cmdline", appliance.pid())).unwrap();
    let told = [live.to_string(), refused.to_string(), appliance.log().join("\n"), command];
    assert!(!told.iter().any(|text| text.contains("horse")), "{told:?}");
}

#[test]
fn a_listener_feeds_who_calls_and_waits_for_the_next_without_growing() {
    let _turn = turn();
    let port = free_port();
    let appliance = sender(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"), "", &[]);
    let alone = appliance.until_state("it waits", SOON, |state| {
        is(state, "listening") && state["encode"]["frames_out"].as_u64().unwrap_or(0) > 60
    });
    assert!(
        !alone["words"].as_str().unwrap().contains("receiver"),
        "to wait is no fault: {}",
        alone["words"]
    );
    assert_eq!(output(&alone)["dropped"], 0);
    assert_eq!(output(&alone)["frames_out"], 0, "nothing is made for nobody: {}", output(&alone));
    let call = format!("srt://127.0.0.1:{port}");
    for receiver in [Receiver::ffmpeg, Receiver::gstreamer, Receiver::transmit] {
        let receiver = receiver(&call);
        let live = appliance.until_state("it has something", SOON, |state| {
            is(state, "live") && receiver.received() > 300_000
        });
        assert!(reason(&live).starts_with("to one receiver at"), "{}", reason(&live));
        receiver.finish().plays("opus", &live);
        appliance.until_state("it waits for the next", SOON, |state| is(state, "listening"));
    }
    // One after the other: libsrt's door is narrow.
    let first = Receiver::transmit(&call);
    appliance.until_state("one receives", SOON, |state| is(state, "live") && first.received() > 100_000);
    let second = Receiver::transmit(&call);
    let before = first.received();
    appliance.until_state("two receive at once", SOON, |state| {
        let grow = first.received() > before + 300_000 && second.received() > 300_000;
        reason(state).starts_with("to 2 receivers") && grow
    });
    let last = appliance.until_state("it is asked", SOON, |_| true);
    assert_eq!(output(&last)["reconnects"], 0, "{}", output(&last));
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_receivers_that_go_leave_nothing_behind() {
    let _turn = turn();
    let port = free_port();
    let appliance = sender(&format!("srt://127.0.0.1:{port}?mode=listener&latency=80"), "", &[]);
    let call = format!("srt://127.0.0.1:{port}");
    let mut settled = None;
    let cycles = wanted("CAPCAST_SOAK_CYCLES", 60);
    for cycle in 0..cycles {
        let receiver =
            if cycle.is_multiple_of(2) { Receiver::ffmpeg(&call) } else { Receiver::transmit(&call) };
        appliance.until_state("it has something", SOON, |state| {
            is(state, "live") && receiver.received() > 200_000
        });
        drop(receiver);
        appliance.until_state("it waits for the next", SOON, |state| is(state, "listening"));
        if cycle == cycles / 4 {
            settled = Some(Holds::of(&appliance));
        }
    }
    let what = format!("{cycles} receivers");
    Holds::of(&appliance).assert_no_more_than(settled.unwrap(), 20_000, &what);
    let state = appliance.until_state("it is asked", SOON, |_| true);
    let (restarts, reconnects) = (&state["encode"]["restarts"], &output(&state)["reconnects"]);
    assert_eq!((restarts, reconnects), (&0.into(), &0.into()), "{state:#}");
}

#[test]
fn another_h264_goes_on_in_the_same_connection_and_another_codec_waits() {
    let _turn = turn();
    let vp9 = H264.replace("h264", "vp9").replace("x264", "vp9");
    let larger = H264.replace("640x360", "854x480");
    let port = free_port();
    let wait = format!("srt://127.0.0.1:{port}?mode=listener");
    let receiver = Receiver::transmit(&wait);
    let appliance = sender(&format!("srt://127.0.0.1:{port}"), "", &[("other", &vp9), ("larger", &larger)]);
    appliance.until_state("it sends", SOON, |state| is(state, "live") && receiver.received() > 200_000);
    let calls = || appliance.log().iter().filter(|line| line.contains("sends to srt://")).count();
    let before = calls();
    assert!(appliance.cli(&["switch", "larger"]).status.success());
    let received = receiver.received();
    appliance.until_state("it goes on", SOON, |state| {
        is(state, "live") && receiver.received() > received + 300_000
    });
    assert_eq!(calls(), before, "the receiver keeps its connection");

    assert!(appliance.cli(&["switch", "other"]).status.success());
    let refused = appliance.until_state("VP9 does not fit", SOON, |state| is(state, "codec_refused"));
    assert!(reason(&refused).contains("cannot carry VP9"), "{}", output(&refused));
    let found = receiver.finish();
    assert_eq!(found.codecs, ["h264", "opus"]);
    assert!(found.pictures.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] < 8.0));

    let receiver = Receiver::transmit(&wait);
    assert!(appliance.cli(&["switch", "tried"]).status.success());
    appliance.until_state("it sends again", SOON, |state| is(state, "live") && receiver.received() > 200_000);
}

#[test]
fn a_narrow_way_brings_the_encoder_down_and_a_wide_one_up_again() {
    let _turn = turn();
    let port = free_port();
    let receiver = Receiver::transmit(&format!("srt://127.0.0.1:{port}?mode=listener"));
    let way = Way::to(port);
    let profile = H264.replace("1 Mbit/s", "2 Mbit/s\"\nmin_bitrate = \"150 kbit/s");
    let url = format!("srt://127.0.0.1:{}?latency=300", way.port);
    let appliance = sender(&url, "adaptive = true\n", &[("tried", &profile)]);
    let target = |state: &Value| state["encode"]["target_bitrate_bps"].as_u64().unwrap_or(0);
    appliance.until_state("it sends at the full bitrate", SOON, |state| {
        is(state, "live") && receiver.received() > 500_000 && target(state) == 2_000_000
    });
    way.rate.store(800_000, Relaxed);
    let narrow = appliance.until_state("the encoder follows", SOON, |state| {
        target(state) < 800_000 && state["encode"]["limited_by"] == "receiver"
    });
    assert!(target(&narrow) >= 150_000, "{}", narrow["encode"]);
    assert!(output(&narrow)["estimate_bps"].as_u64() < Some(1_000_000), "{}", output(&narrow));
    way.rate.store(0, Relaxed);
    let wide = appliance.until_state("it comes back", 3 * SOON, |state| target(state) == 2_000_000);
    assert_eq!(output(&wide)["reconnects"], narrow["outputs"][0]["reconnects"], "{}", output(&wide));
}

/// A way for datagrams that can be narrowed.
struct Way {
    port: u16,
    /// Bit/s towards the receiver; 0 is no limit.
    rate: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Way {
    /// The longest that a packet waits before what comes is dropped.
    const QUEUE: Duration = Duration::from_millis(200);

    fn to(receiver: u16) -> Way {
        let [front, back] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        back.connect(("127.0.0.1", receiver)).unwrap();
        let port = front.local_addr().unwrap().port();
        let (rate, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let caller = Arc::<Mutex<Option<SocketAddr>>>::default();
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        }
        let (over, sender) = (Arc::clone(&ended), Arc::clone(&caller));
        let (entry, exit) = (front.try_clone().unwrap(), back.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !over.load(Relaxed) {
                let Ok(length) = exit.recv(&mut buffer) else { continue };
                if let Some(caller) = *sender.lock().unwrap() {
                    let _ = entry.send_to(&buffer[..length], caller);
                }
            }
        });
        let (over, limit) = (Arc::clone(&ended), Arc::clone(&rate));
        std::thread::spawn(move || {
            let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
            let mut free_at = Instant::now();
            let mut buffer = [0; 2048];
            while !over.load(Relaxed) {
                while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                    // Refused: the receiver is not there yet, or no more.
                    let _ = waiting.pop_front().map(|(_, packet)| back.send(&packet));
                }
                let Ok((length, address)) = front.recv_from(&mut buffer) else { continue };
                *caller.lock().unwrap() = Some(address);
                let (now, rate) = (Instant::now(), limit.load(Relaxed));
                let start = free_at.max(now);
                if rate > 0 && start - now > Way::QUEUE {
                    continue;
                }
                if rate > 0 {
                    free_at = start + Duration::from_secs_f64(length as f64 * 8.0 / rate as f64);
                }
                waiting.push_back((if rate > 0 { free_at } else { now }, buffer[..length].to_vec()));
            }
        });
        Way { port, rate, ended }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}
