//! `capcast doctor` as a process: what it says, to whom, and how it ends.

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

use serde_json::Value;

/// With a configuration of its own, and no daemon.
fn doctor(config: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capcast.toml");
    std::fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_capcast"))
        .arg("doctor")
        .args(arguments)
        .arg("--config")
        .arg(&path)
        .env("CAPCAST_SOCKET", folder.path().join("capcast.sock"))
        .env("CACHE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"))
        .env("STATE_DIRECTORY", folder.path())
        .output()
        .unwrap()
}

const QUIET: &str = "[capture]\nvideo = \"test\"\naudio = \"test\"\n\
    [http]\nlisten = \"127.0.0.1:0\"\n[sfu]\nmedia = \"127.0.0.1:0\"\n";

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

#[test]
fn a_sound_box_is_told_so_in_groups_that_fit_a_terminal() {
    let output = doctor(QUIET, &[]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty(), "no bar where there is no terminal: {output:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.is_ascii(), "no colours: {text:?}");

    insta::assert_snapshot!(everywhere(&text), @r"
    GStreamer
    Encoders
    ok aom AV1 by libaom, in software; N frames in T ms
    ok openh264 H.264 by OpenH264, in software; N frames in T ms
    ok rav1e AV1 by rav1e, in software; it holds back 13 frames; N frames in T ms
    ok vp8 VP8 by libvpx, in software; N frames in T ms
    ok vp9 VP9 by libvpx, in software; N frames in T ms
    ok x264 H.264 by x264, in software; N frames in T ms
    Configuration
    ok files no errors
    ok profile auto H.264 by x264
    Capture
    Sound
    Network
    ok HTTP port TCP 127.0.0.1:0 is free
    ok media port UDP 127.0.0.1:0 is free
    ok media over TCP TCP 127.0.0.1:0 is free
    warn candidates viewers are offered 127.0.0.1:0, each over UDP and TCP: nobody else can watch > connect this host to a network, or let `sfu.media` listen on more than loopback
    Outputs
    skip outputs none configured
    System
    ");
}

/// What such a report says on every machine: one line for each check, without those about the machine itself, times made
/// one.
fn everywhere(text: &str) -> String {
    let own = ["version", "elements", "WHIP outputs", "UDP buffers", "/dev/"];
    let software = ["aom", "openh264", "rav1e", "vp8", "vp9", "x264"];
    let mut entries: Vec<(&str, String)> = Vec::new();
    let mut group = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match (line.starts_with("    "), line.starts_with(' '), entries.last_mut()) {
            (true, _, Some((_, entry))) => *entry += &format!(" {words}"),
            (false, true, _) => entries.push((group, words)),
            _ => {
                group = line;
                entries.push((group, words));
            }
        }
    }
    let keeps = |(group, entry): &&mut (&str, String)| {
        let name = entry.split_once(' ').map_or("", |(_, rest)| rest);
        entry == group
            || match *group {
                "Encoders" => software.contains(&name.split(' ').next().unwrap_or_default()),
                "Configuration" | "Network" | "Outputs" | "GStreamer" => {
                    !own.iter().any(|own| name.starts_with(own))
                }
                _ => false,
            }
    };
    let mut kept = String::new();
    for (group, entry) in entries.iter_mut().filter(keeps) {
        // The last line, which sums up, depends on the machine.
        if entry.ends_with('.') && entry == group {
            continue;
        }
        if let Some((before, _)) = entry.split_once(" frames in ") {
            let before = before.rsplit_once(' ').map_or("", |(before, _)| before);
            *entry = format!("{before} N frames in T ms");
        }
        kept += &format!("{entry}\n");
    }
    kept
}

#[test]
fn programs_get_every_check_with_its_level() {
    let output = doctor(QUIET, &["--json"]);
    let report = json(&output);
    crate::http::contract::assert_schema("Report", &report);
    assert_eq!((output.status.code(), &report["well"]), (Some(0), &true.into()), "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for check in checks {
        let keys: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["group", "name", "level", "words", "cure", "package"]);
        assert!(!check["words"].as_str().unwrap().is_empty(), "{check}");
        *counts.entry(check["level"].as_str().unwrap()).or_insert(0) += 1;
    }
    for (level, count) in report["counts"].as_object().unwrap() {
        assert_eq!(counts.remove(level.as_str()).unwrap_or(0), count.as_u64().unwrap(), "{level}");
    }
    assert!(counts.is_empty(), "unknown levels: {counts:?}");
    assert!(check(&report, "x264")["words"].as_str().unwrap().contains(" frames in "), "{report:#}");
    assert!(report["at"].as_u64() > Some(1_700_000_000));
}

#[test]
fn what_is_wrong_ends_with_1_and_is_said_with_its_cure() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "profile = \"own\"\n[capture]\nvideo = \"/dev/video99\"\naudio = \"none\"\n\
         [http]\nlisten = \"{}\"\n[sfu]\nmedia = \"{}\"\n\
         [[output]]\nname = \"away\"\nkind = \"whip\"\nurl = \"http://{silent}/api/whip\"\ntoken_file = \"/nonexistent/key\"\n",
        tcp.local_addr().unwrap(),
        udp.local_addr().unwrap(),
    );
    let output = doctor(&config, &["--json"]);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["well"]), (Some(1), &false.into()), "{report:#}");
    // No such profile: the configuration is wrong, and the rest is judged by what is built in.
    assert_eq!(check(&report, "files")["level"], "fail");

    let output = doctor(&config.replace("profile = \"own\"\n", ""), &["--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    for (name, words, cure) in [
        ("/dev/video99", "not there", "`capcast devices`"),
        ("HTTP port", "another program", "`sudo ss "),
        ("media port", "another program", "`sfu.media`"),
        ("away", "127.0.0.1 cannot be reached: ", "firewall"),
        ("away key", "/nonexistent/key", "readable"),
    ] {
        let check = check(&report, name);
        assert_eq!(check["level"], "fail", "{check}");
        assert!(check["words"].as_str().unwrap().contains(words), "{check}");
        assert!(check["cure"].as_str().unwrap().contains(cure), "{check}");
    }
}
