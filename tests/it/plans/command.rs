//! `capcast plan` and `capcast profiles` as processes.

use std::process::{Command, Output};

/// With a configuration of its own, so that this machine's does not matter.
fn capcast(config: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capcast.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capcast"));
    // What came of trying encoders is kept between tests, and not with the user's own.
    let cache = env!("CARGO_TARGET_TMPDIR");
    command.args(args).arg("--config").arg(&path).env("CACHE_DIRECTORY", cache).output().unwrap()
}

const TEST: &str = "[capture]\nvideo = \"test\"\n";

#[test]
fn every_format_is_printed_on_stdout() {
    for (format, first) in
        [("text", "profile vp8-720p30"), ("launch", "videotestsrc "), ("json", "{"), ("dot", "digraph ")]
    {
        let output = capcast(TEST, &["plan", "vp8-720p30", "--format", format]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(first), "{format}");
    }
    let output = capcast(TEST, &["plan", "auto", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["profile"], "auto");
}

#[test]
fn what_cannot_be_planned_is_said_with_its_cure() {
    for (config, args, code, words) in [
        (TEST, &["plan", "vp8-720p3"][..], 1, "hint: did you mean `vp8-720p30`?"),
        (
            "[capture]\nvideo = \"/dev/video99\"\nno_signal = \"stop\"\n",
            &["plan", "auto"],
            1,
            "`capcast devices` lists",
        ),
        ("profil = 1\n", &["plan", "auto"], 1, "capcast.toml:1:1"),
        ("profil = 1\n", &["profiles"], 1, "did you mean `profile`?"),
        (TEST, &["plan"], 2, "<PROFILE>"),
    ] {
        let output = capcast(config, args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn profiles_mark_the_active_one() {
    let output = capcast("profile = \"vp9-720p60\"\n", &["profiles", "--json"]);
    let offers: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::http::contract::assert_schema("Profiles", &offers);
    let offers = offers.as_array().unwrap();
    assert!(offers.len() >= 8, "{offers:#?}");
    let active: Vec<&str> = offers
        .iter()
        .filter(|offer| offer["active"] == true)
        .filter_map(|offer| offer["name"].as_str())
        .collect();
    assert_eq!(active, ["vp9-720p60"]);
    for offer in offers {
        assert_eq!(offer["tried"], true, "{offer}");
        assert_eq!(offer["runs"], offer["missing"].as_array().unwrap().is_empty(), "{offer}");
    }
    let output = capcast("", &["profiles"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("*  auto ")), "{text}");
}
