//! The command line follows the log and the state of the real daemon.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::appliance::{Appliance, turn};

const LIMIT: Duration = Duration::from_secs(60);
const CONFIG: &str = "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n";
const PROFILE: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"320x180\"\n\
                       framerate = \"15\"\nbitrate = \"500 kbit/s\"\nspeed = \"fastest\"\n";

fn on_air() -> Appliance {
    let appliance = Appliance::start(CONFIG, &[("tried", PROFILE)]);
    appliance.until_state("it is on air", LIMIT, |state| state["state"] == "on_air");
    appliance
}

/// A command that goes on telling.
struct Told {
    child: Child,
    /// What it told after the words that were waited for last.
    rest: Vec<u8>,
}

impl Told {
    fn by(child: Child) -> Told {
        Told { child, rest: Vec::new() }
    }

    /// Reads until `words` came; all that came until then, and nothing of what came after them.
    fn until(&mut self, words: &str) -> String {
        let mut piece = [0; 4096];
        let stdout = self.child.stdout.as_mut().unwrap();
        loop {
            let found = self.rest.windows(words.len()).position(|some| some == words.as_bytes());
            if let Some(at) = found {
                let later = self.rest.split_off(at + words.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.rest, later)).into_owned();
            }
            let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
            let limit = PollTimeout::try_from(LIMIT).unwrap();
            let told = || String::from_utf8_lossy(&self.rest);
            assert!(poll(&mut ready, limit).unwrap() > 0, "no `{words}` within {LIMIT:?}: {}", told());
            let count = stdout.read(&mut piece).unwrap();
            assert!(count > 0, "it ended without `{words}`: {}", told());
            self.rest.extend_from_slice(&piece[..count]);
        }
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn the_log_is_told_and_followed() {
    let _turn = turn();
    let mut appliance = on_air();
    let told = appliance.cli(&["logs"]);
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && words.contains(" INFO listening on http://"), "{words}");
    let json = appliance.cli(&["logs", "--json"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&json.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().any(|line| line["words"].as_str().unwrap().starts_with("on air: ")), "{lines:#?}");

    let mut following = Told::by(appliance.spawn(&["logs", "-f"]));
    following.until("listening on");
    assert!(appliance.cli(&["keyframe"]).status.success());
    following.until("by command: a keyframe follows");
    // A daemon that was killed is waited for, and its log told from the start.
    appliance.kill();
    appliance.start_again();
    following.until("listening on");
    following.until("live: ");
    following.interrupt();
    assert_eq!(following.code(), Some(0));
}

#[test]
fn the_state_is_watched_as_lines_where_there_is_no_terminal() {
    let _turn = turn();
    let mut appliance = on_air();
    let mut watching = Told::by(appliance.spawn(&["status", "--watch"]));
    watching.until("on air: 0 viewers");
    assert!(appliance.cli(&["stop"]).status.success());
    watching.until("off air by command");
    let mut json = Told::by(appliance.spawn(&["status", "--watch", "--json"]));
    let state: Value = serde_json::from_str(&json.until("\n")).unwrap();
    assert_eq!(state["state"], "stopped");
    watching.interrupt();
    assert_eq!(watching.code(), Some(0));
    appliance.end();
    let mut rest = String::new();
    json.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(json.code(), Some(1), "the daemon ended: {rest}");
}

#[test]
fn a_terminal_is_drawn_on_and_given_back_as_it_was() {
    let _turn = turn();
    let appliance = on_air();
    // A shell that stays would take the Ctrl-C as well, and say 130; which shell it is depends on `SHELL`.
    let status = format!("exec {} status --watch", env!("CARGO_BIN_EXE_capcast"));
    // A terminal of its own; Debian's `bsdutils` has this program on every system.
    let terminal = Command::new("script")
        .args(["-qefc", &status, "/dev/null"])
        .env("CAPCAST_SOCKET", appliance.socket())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = Told::by(terminal);
    let drawn = terminal.until("Ctrl-C ends");
    assert!(drawn.contains("\x1b[?1049h") && drawn.contains("On air: 0 viewers"), "{drawn:?}");
    terminal.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let left = terminal.until("\x1b[?1049l");
    assert!(left.contains("\x1b[?25h"), "the cursor is back: {left:?}");
    assert_eq!(terminal.code(), Some(0));
}

#[test]
fn what_nobody_reads_any_more_is_not_followed() {
    let _turn = turn();
    let appliance = on_air();
    for arguments in [&["status", "--watch", "--json"][..], &["logs", "-f"]] {
        let mut following = Told::by(appliance.spawn(arguments));
        following.until("\n");
        drop(following.child.stdout.take());
        assert!(appliance.cli(&["keyframe"]).status.success(), "something to tell");
        assert_eq!(following.code(), Some(0), "{arguments:?}");
    }
}

/// Whoever reads the log may stop for a while, as a terminal does at Ctrl-S: that takes nothing off air.
#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    std::fs::write(folder.path().join("profiles/tried.toml"), PROFILE).unwrap();
    std::fs::write(folder.path().join("capcast.toml"), CONFIG).unwrap();
    let daemon = Command::new(env!("CARGO_BIN_EXE_capcast"))
        .args(["run", "--listen", "127.0.0.1:0", "--set", "sfu.media=\"127.0.0.1:0\"", "--config"])
        .arg(folder.path().join("capcast.toml"))
        .env("CAPCAST_SOCKET", folder.path().join("capcast.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut daemon = Told::by(daemon);
    // The least that a pipe can be made to hold.
    let stderr = daemon.child.stderr.as_ref().unwrap();
    let room = fcntl(stderr, FcntlArg::F_SETPIPE_SZ(4_096)).unwrap();
    daemon.until("http://");
    let address = daemon.until("/");
    // Each is a line of the log.
    for _ in 0..room / 40 {
        let url = format!("http://{address}api/control/keyframe");
        let (status, answer) = crate::run::post(&url, "application/json", "{}".to_owned());
        assert_eq!(status, 200, "{answer}");
    }
    let frames = || {
        let (status, state) = crate::run::get(&format!("http://{address}api/status"));
        assert_eq!(status, 200, "{state}");
        serde_json::from_str::<Value>(&state).unwrap()["encode"]["frames_out"].as_u64().unwrap()
    };
    let (before, began) = (frames(), std::time::Instant::now());
    while frames() < before + 30 {
        assert!(began.elapsed() < LIMIT, "no pictures any more");
    }
    daemon.child.kill().unwrap();
    // Until it is gone, it writes on as soon as there is room.
    daemon.child.wait().unwrap();
    let mut log = Vec::new();
    daemon.child.stderr.take().unwrap().read_to_end(&mut log).unwrap();
    // A line that does not fit stays out whole.
    let room = usize::try_from(room).unwrap();
    assert!((room - 512..=room).contains(&log.len()), "the pipe was not full: {} of {room} bytes", log.len());
}
