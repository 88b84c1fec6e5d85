//! The daemon as a process.

mod files;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const CAPCAST: &str = env!("CARGO_BIN_EXE_capcast");
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// A place for one daemon: its socket, and files of its own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("capcast.sock")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CAPCAST);
        command.args(arguments).env("CAPCAST_SOCKET", self.socket()).env_remove("CAPCAST_LOG");
        command.env("STATE_DIRECTORY", self.folder.path().join("state"));
        command.env("CACHE_DIRECTORY", self.folder.path().join("cache"));
        command
    }

    /// A command that ends by itself.
    fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// The daemon, started.
    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Daemon {
        let mut command = self.command(&["run"]);
        command.args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        // Both end when the daemon does.
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        Daemon { child, lines, said: Vec::new(), socket: self.socket() }
    }
}

struct Daemon {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    socket: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Reads what it says until a line holds `word`, and gives that line.
    fn until_said(&mut self, word: &str) -> String {
        let deadline = now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("it never said `{word}`: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without `{word}`: {:#?}", self.said),
            }
        }
    }

    /// Waits until it is live; gives where it serves.
    fn until_live(&mut self) -> String {
        let line = self.until_said("Watch:");
        line.split_once("http").map(|(_, rest)| format!("http{}", rest.trim_end_matches('/'))).unwrap()
    }

    /// The state it gives over its socket, once it is as expected.
    fn until_state(&self, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
        let deadline = now() + PATIENCE;
        loop {
            let state = crate::appliance::state_at(&self.socket).unwrap_or_default();
            if expected(&state) {
                return state;
            }
            assert!(now() < deadline, "waited in vain until {what}: {state:#}");
            // Other tests want the processor, too.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// SIGTERM; gives the exit code.
    fn end(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let deadline = now() + PATIENCE;
        // Its output ends with it, so this waits for an event, and what it says is kept.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.said),
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn get(url: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let response =
            reqwest::Client::builder().timeout(PATIENCE).build().unwrap().get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    })
}

pub(crate) fn post(url: &str, content_type: &str, body: String) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let request = client.post(url).header("content-type", content_type).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    })
}

const DEMO: [&str; 3] = ["--demo", "--listen", "127.0.0.1:0"];

#[test]
fn a_demo_is_live_obeys_and_ends() {
    let place = Place::new();
    let mut daemon = place.run(&DEMO);
    let url = daemon.until_live();

    let state = daemon.until_state("all parts run", |state| {
        state["state"] == "on_air" && state["encode"]["fps"].as_f64() > Some(1.0)
    });
    assert_eq!(
        (&state["encode"]["codec"], &state["audio"]["encode"]["codec"]),
        (&"h264".into(), &"opus".into())
    );
    assert_eq!(state["streams"][0]["live"], true);
    assert!(!state["queues"].as_array().unwrap().is_empty(), "{state:#}");

    let forced = |state: &Value| state["encode"]["keyframes_forced"].as_u64().unwrap_or_default();
    let before = forced(&state);
    let keyframe = place.ask(&["keyframe"]);
    assert_eq!(
        (keyframe.status.code(), text(&keyframe.stdout)),
        (Some(0), "a keyframe follows\n".to_owned())
    );
    daemon.until_state("a keyframe was forced", |state| forced(state) > before);

    let bitrate = place.ask(&["bitrate", "1 Mbit/s"]);
    assert_eq!(bitrate.status.code(), Some(0), "{}", text(&bitrate.stderr));
    daemon.until_state("the target changed", |state| state["encode"]["target_bitrate_bps"] == 1_000_000);
    let refused = place.ask(&["bitrate", "1 bit/s"]);
    assert_eq!(refused.status.code(), Some(1));
    let words = text(&refused.stderr);
    assert!(words.contains("1 bit/s is not between ") && words.contains("\nhint: "), "{words}");

    let page = place.ask(&["status"]);
    assert!(text(&page.stdout).starts_with("On air: 0 viewers, H.264 1280x720"), "{}", text(&page.stdout));
    for (path, status, words) in
        [("/readyz", 200, "on air"), ("/healthz", 200, "alive"), ("/", 200, "<!doctype html>")]
    {
        let (found, body) = get(&format!("{url}{path}"));
        assert!(found == status && body.contains(words), "{path}: {found} {body}");
    }
    let (_, profiles) = get(&format!("{url}/api/profiles"));
    let profiles: Value = serde_json::from_str(&profiles).unwrap();
    let active: Vec<&Value> = profiles.as_array().unwrap().iter().filter(|p| p["active"] == true).collect();
    assert!(active.len() == 1 && active[0]["name"] == "auto" && active[0]["runs"] == true, "{profiles:#}");
    assert_eq!(get(&format!("{url}/api/devices")).0, 200);
    let (_, metrics) = get(&format!("{url}/metrics"));
    for metric in ["capcast_frames_out_total{stage=\"encode\"} ", "capcast_stream_live{stream=\"live\"} 1.0"]
    {
        assert!(metrics.contains(metric), "no {metric} in {metrics}");
    }
    let (status, answer) = post(&format!("{url}/api/whep"), "application/sdp", super::http::offer());
    assert!(status == 201 && answer.contains("a=sendonly") && answer.contains("H264"), "{status}: {answer}");
    assert_eq!(post(&format!("{url}/api/whep/other"), "application/sdp", super::http::offer()).0, 404);

    let second = place.ask(&["run", "--demo", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another capcast daemon is running"), "{}", text(&second.stderr));
    let listen = url.strip_prefix("http://").unwrap();
    let elsewhere = Place::new();
    let taken = elsewhere.ask(&["run", "--demo", "--listen", listen]);
    assert_eq!(taken.status.code(), Some(1));
    let words = text(&taken.stderr);
    assert!(words.contains("the port is in use\nhint: "), "{words}");
    assert!(!elsewhere.socket().exists(), "nothing is half started");

    assert_eq!(daemon.end(), Some(0), "{:#?}", daemon.said);
    assert!(!place.socket().exists(), "the socket goes with the daemon");
    assert!(!daemon.said.iter().any(|line| line.contains("ERROR")), "{:#?}", daemon.said);
    assert!(!daemon.said.iter().any(|line| line.contains("left behind")), "{:#?}", daemon.said);
}

#[test]
fn others_publish_with_the_keys_of_the_configuration() {
    let place = Place::new();
    let key = place.file("obs.key", "s3cret\n");
    let config = format!(
        "[capture]\nvideo = \"test\"\n[sfu]\nmedia = \"127.0.0.1:0\"\n[[sfu.publisher]]\nstream = \"obs\"\nkey_file = {key:?}\n"
    );
    let config = place.file("capcast.toml", &config);
    let mut daemon = place.run(&["--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let url = daemon.until_live();
    let url = url.trim_end_matches('/');
    let sdp = "application/sdp";
    let (waiting, words) = post(&format!("{url}/api/whep/obs"), sdp, crate::http::offer());
    assert_eq!(waiting, 409, "known, but nobody publishes: {words}");
    assert_eq!(post(&format!("{url}/api/whip"), sdp, crate::http::offer()).0, 401);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The key is right, and only the offer is not: it wants to watch.
    let (status, words) = runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let request =
            client.post(format!("{url}/api/whip/obs")).header("content-type", sdp).bearer_auth("s3cret");
        let response = request.body(crate::http::offer()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    });
    assert!(status == 400 && words.contains("sendonly"), "{status} {words}");
    let state = daemon.until_state("both streams are known", |state| state["streams"][1]["name"] == "obs");
    assert_eq!((&state["streams"][0]["live"], &state["streams"][1]["live"]), (&true.into(), &false.into()));
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn what_is_wrong_is_said_at_once_and_nothing_starts() {
    let place = Place::new();
    let bad = place.file("capcast.toml", "profile = 3\n[captur]\nx = 1\n[sfu]\nmax_viewers = \"many\"\n");
    let refused = place.ask(&["run", "--config", bad.to_str().unwrap(), "--set", "http.listen=nowhere"]);
    let words = text(&refused.stderr);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{words}");
    for problem in
        ["capcast.toml:1:11", "capcast.toml:2:2", "capcast.toml:5:15", "--set http.listen:1:", "4 errors"]
    {
        assert!(words.contains(problem), "{problem} is not in:\n{words}");
    }
    assert!(!place.socket().exists());
    let missing = place.ask(&["run", "--config", "/nowhere/capcast.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nowhere/capcast.toml"), "{}", text(&missing.stderr));

    let key = place.file("view.key", "k");
    let publisher =
        |stream: &str, key: &Path| format!("[[sfu.publisher]]\nstream = \"{stream}\"\nkey_file = {key:?}\n");
    let keyless = place.file("keyless.toml", &publisher("obs", Path::new("/nowhere/obs.key")));
    let twice = place.file("twice.toml", &(publisher("obs", &key) + &publisher("cam", &key)));
    let view = |stream: &str| format!("[[sfu.view]]\nstream = \"{stream}\"\nkey_file = {key:?}\n");
    let views = place.file("views.toml", &(publisher("obs", &key) + &view("live") + &view("obs")));
    let short = place.file("short.toml", &format!("[sfu.jwt]\nsecret_file = {key:?}\n"));
    for (config, word) in [
        (keyless, "/nowhere/obs.key"),
        (twice, "`sfu.publisher`: `cam` and `obs` have the same key"),
        (views, "`sfu.view`: `obs` and `live` have the same key"),
        (short, "openssl rand -hex 32"),
    ] {
        let refused = place.ask(&["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(word), "{}", text(&refused.stderr));
    }

    for wrong in [
        &["run", "--nonsense"][..],
        &["bitrate", "fast"],
        &["switch"],
        &["run", "--demo", "--config", "x"],
        &[],
    ] {
        assert_eq!(place.ask(wrong).status.code(), Some(2), "{wrong:?}");
    }
    for daemonless in
        [&["status"][..], &["keyframe"], &["bitrate", "1 Mbit/s"], &["switch", "vp8-720p30"], &["stop"]]
    {
        let answer = place.ask(daemonless);
        assert_eq!((answer.status.code(), answer.stdout.len()), (Some(3), 0), "{daemonless:?}");
        assert!(
            text(&answer.stderr).contains("hint: start one with `capcast run`"),
            "{}",
            text(&answer.stderr)
        );
    }
}

#[test]
fn an_encoder_that_always_fails_is_tried_again_and_harms_nothing_else() {
    let place = Place::new();
    // It breaks at the first picture, not when it is planned.
    let fragment = "summary = \"made for a test\"\ncodec = \"vp8\"\nrank = 0\nformats = [\"I420\"]\n\
                    [[element]]\nfactory = \"identity\"\n[element.properties]\nerror-after = 1\n\
                    [[element]]\nfactory = \"vp8enc\"\nrole = \"encoder\"\n";
    place.file("pipelines/encoder/breaks.toml", fragment);
    let profile = "[video]\ncodec = \"vp8\"\nencoder = \"breaks\"\nsize = \"320x240\"\nframerate = \"15\"\n\
                   bitrate = \"500 kbit/s\"\n";
    place.file("profiles/broken.toml", profile);
    let config = place.file("capcast.toml", "");
    let mut arguments = vec!["--config", config.to_str().unwrap()];
    for value in [
        "profile=broken",
        "capture.video=test",
        "capture.audio=test",
        "http.listen=127.0.0.1:0",
        "sfu.media=127.0.0.1:0",
    ] {
        arguments.extend(["--set", value]);
    }
    let mut daemon = place.run(&arguments);
    let state = daemon.until_state("the encoder was rebuilt and all else runs", |state| {
        state["encode"]["restarts"].as_u64() >= Some(3)
            && state["capture"]["state"] == "running"
            && state["audio"]["encode"]["state"] == "running"
    });
    assert_eq!(state["state"], "failed", "{state:#}");
    assert!(state["words"].as_str().unwrap().starts_with("off air: encode "), "{state:#}");
    for part in [&state["capture"], &state["audio"], &state["audio"]["encode"]] {
        assert_eq!(part["restarts"], 0, "{state:#}");
    }
    assert_eq!(place.ask(&["keyframe"]).status.code(), Some(1), "nothing is on air");
    assert_eq!(daemon.end(), Some(0), "{:#?}", daemon.said);
}

#[test]
fn the_doctor_leaves_a_running_daemon_alone() {
    let place = Place::new();
    let mut daemon = place.run(&DEMO);
    let url = daemon.until_live();
    let none = get(&format!("{url}/api/doctor"));
    assert_eq!(none.0, 404, "{}", none.1);

    // Of the same port it says whose it is.
    let listen = url.strip_prefix("http://").unwrap();
    let config = place.file(
        "capcast.toml",
        &format!(
            "[capture]\nvideo = \"test\"\n[http]\nlisten = \"{listen}\"\n[sfu]\nmedia = \"127.0.0.1:0\"\n"
        ),
    );
    let asked = place.ask(&["doctor", "--json", "--config", config.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!((asked.status.code(), &report["well"]), (Some(0), &true.into()), "{report:#}");
    let port =
        report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "HTTP port").unwrap();
    assert!(port["words"].as_str().unwrap().contains("by the running Capcast"), "{port}");

    // On a box that is very busy the answer may come too late for whoever asked; the report is kept all the same.
    let (status, made) = post(&format!("{url}/api/control/doctor"), "application/json", String::new());
    assert!(matches!(status, 200 | 408), "{status}: {made}");
    let deadline = now() + PATIENCE;
    let mut kept = get(&format!("{url}/api/doctor"));
    while kept.0 == 404 && now() < deadline {
        daemon.until_state("it is on air", |state| state["state"] == "on_air");
        kept = get(&format!("{url}/api/doctor"));
    }
    let kept: Value = serde_json::from_str(&kept.1).unwrap();
    assert_eq!((&kept["well"], &kept["counts"]["fail"]), (&true.into(), &0.into()), "{kept:#}");
    daemon.until_state("it is still on air", |state| state["state"] == "on_air");
    assert_eq!(daemon.end(), Some(0));
}
