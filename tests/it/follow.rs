//! The command line follows the log and the state of the real daemon.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// Reads until `words` came; all that came until then.
fn until(child: &mut Child, words: &str) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    let stdout = child.stdout.as_mut().unwrap();
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if text.contains(words) {
            return text;
        }
        let count = stdout.read(&mut piece).unwrap();
        assert!(count > 0, "it ended without `{words}`: {text}");
        said.extend_from_slice(&piece[..count]);
    }
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
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

    let mut following = appliance.spawn(&["logs", "-f"]);
    until(&mut following, "listening on");
    assert!(appliance.cli(&["keyframe"]).status.success());
    until(&mut following, "by command: a keyframe follows");
    // A daemon that was killed is waited for, and its log told from the start.
    appliance.kill();
    appliance.start_again();
    until(&mut following, "listening on");
    until(&mut following, "live: ");
    interrupt(&following);
    assert_eq!(following.wait().unwrap().code(), Some(0));
}

#[test]
fn the_state_is_watched_as_lines_where_there_is_no_terminal() {
    let _turn = turn();
    let mut appliance = on_air();
    let mut watching = appliance.spawn(&["status", "--watch"]);
    until(&mut watching, "on air: 0 viewers");
    assert!(appliance.cli(&["stop"]).status.success());
    until(&mut watching, "off air by command");
    let mut json = appliance.spawn(&["status", "--watch", "--json"]);
    let first = until(&mut json, "\n");
    let state: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(state["state"], "stopped");
    interrupt(&watching);
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    appliance.end();
    let mut rest = String::new();
    json.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(json.wait().unwrap().code(), Some(1), "the daemon ended: {rest}");
}

#[test]
fn a_terminal_is_drawn_on_and_given_back_as_it_was() {
    let _turn = turn();
    let appliance = on_air();
    // A shell that stays would take the Ctrl-C as well, and say 130; which shell it is depends on `SHELL`.
    let status = format!("exec {} status --watch", env!("CARGO_BIN_EXE_capcast"));
    // A terminal of its own; Debian's `bsdutils` has this program on every system.
    let mut terminal = Command::new("script")
        .args(["-qefc", &status, "/dev/null"])
        .env("CAPCAST_SOCKET", appliance.socket())
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let drawn = until(&mut terminal, "Ctrl-C ends");
    assert!(drawn.contains("\x1b[?1049h") && drawn.contains("On air: 0 viewers"), "{drawn:?}");
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let left = until(&mut terminal, "\x1b[?1049l");
    assert!(left.contains("\x1b[?25h"), "the cursor is back: {left:?}");
    assert_eq!(terminal.wait().unwrap().code(), Some(0));
}

#[test]
fn what_nobody_reads_any_more_is_not_followed() {
    let _turn = turn();
    let appliance = on_air();
    for arguments in [&["status", "--watch", "--json"][..], &["logs", "-f"]] {
        let mut following = appliance.spawn(arguments);
        until(&mut following, "\n");
        drop(following.stdout.take());
        assert!(appliance.cli(&["keyframe"]).status.success(), "something to tell");
        assert_eq!(following.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}
