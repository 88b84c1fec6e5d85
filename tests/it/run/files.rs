//! A file as its source.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Place, get, text};

#[test]
fn a_file_that_is_spoilt_is_tried_again_until_it_is_whole_and_sound_does_not_wait_for_it() {
    let place = Place::new();
    let clip = place.folder.path().join("clip.webm");
    make_clip(&clip);
    let config = place.file("capcast.toml", "");
    let mut daemon = place.run(&playing(&clip, &config, &["capture.audio=test"]));
    let url = daemon.until_live();
    // In place: the file that is open is the one that changes.
    let whole = std::fs::read(&clip).unwrap();
    std::fs::write(&clip, "neither picture nor sound ".repeat(4_000)).unwrap();
    let broken = daemon.until_state("the capture is tried again while sound runs", |state| {
        state["capture"]["restarts"].as_u64() >= Some(3) && state["audio"]["encode"]["state"] == "running"
    });
    assert_eq!((&broken["state"], &broken["audio"]["restarts"]), (&"failed".into(), &0.into()), "{broken:#}");
    assert_eq!(get(&format!("{url}/readyz")).0, 503);
    std::fs::write(&clip, whole).unwrap();
    let state = daemon.until_state("it is on air", |state| state["state"] == "on_air");
    assert_eq!(
        (&state["encode"]["codec"], &state["audio"]["restarts"]),
        (&"vp8".into(), &0.into()),
        "{state:#}"
    );
    assert_eq!(get(&format!("{url}/readyz")).0, 200);
    assert_eq!(daemon.end(), Some(0), "{:#?}", daemon.said);
    // GStreamer's complaint about an element that was not sent to NULL: its device would stay open.
    let disposed: Vec<_> = daemon.said.iter().filter(|line| line.contains("dispose")).collect();
    assert!(disposed.is_empty(), "{disposed:#?}");
}

#[test]
fn a_file_without_sound_plays_without_and_says_so() {
    let place = Place::new();
    let clip = place.folder.path().join("clip.webm");
    make_clip(&clip);
    let config = place.file("capcast.toml", "");
    let mut daemon = place.run(&playing(&clip, &config, &[]));
    let url = daemon.until_live();
    let state = daemon.until_state("it is on air", |state| state["state"] == "on_air");
    let sound = &state["audio"];
    let seen = (&sound["state"], &sound["reason"], &sound["restarts"]);
    assert_eq!(seen, (&"stopped".into(), &"the file has no sound".into(), &0.into()), "{state:#}");
    assert_eq!(get(&format!("{url}/readyz")).0, 200);
    if !daemon.said.iter().any(|line| line.contains("no sound: the file has no sound")) {
        daemon.until_said("no sound: the file has no sound");
    }
    assert_eq!(daemon.end(), Some(0), "{:#?}", daemon.said);
}

#[test]
fn a_file_that_cannot_be_played_is_refused_at_once() {
    let place = Place::new();
    let config = place.file("capcast.toml", "");
    let junk = place.file("junk.mp4", &"neither picture nor sound ".repeat(4_000));
    // 0.1 s of silence: sound, and no picture.
    let mut wave =
        b"RIFF\xa4\x25\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\xbb\0\0\0\x77\x01\0\x02\0\x10\0data\x80\x25\0\0"
            .to_vec();
    wave.resize(wave.len() + 9_600, 0);
    let sound = place.folder.path().join("sound.wav");
    std::fs::write(&sound, wave).unwrap();
    let locked = place.file("locked.mp4", "x");
    std::fs::set_permissions(&locked, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    for (path, word) in [
        (place.folder.path().join("missing.mp4"), "missing.mp4` cannot be played: it does not exist"),
        (place.folder.path().to_owned(), "it is a directory"),
        ("/dev/null".into(), "it is not a regular file"),
        (junk, "junk.mp4` cannot be played: "),
        (sound, "it holds no moving picture"),
        (locked, "locked.mp4` cannot be played: "),
    ] {
        let mut daemon = place.command(&["run"]);
        let refused = daemon.args(playing(&path, &config, &[])).stdin(Stdio::null()).output().unwrap();
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{path:?}: {said}");
        let told = said.lines().filter(|line| line.contains("cannot be played: ")).count();
        assert!(told == 1 && said.contains(word) && said.contains("hint: "), "{path:?}: {said}");
        assert!(text(&refused.stdout).is_empty());
    }
}

/// Arguments to play a file, with further settings.
fn playing(clip: &Path, config: &Path, more: &[&str]) -> Vec<String> {
    let video = format!("capture.video=file:{}", clip.display());
    let set = [&video, "profile=vp8-720p30", "http.listen=127.0.0.1:0", "sfu.media=127.0.0.1:0"];
    let set = set.iter().chain(more).flat_map(|value| ["--set".to_owned(), (*value).to_owned()]);
    ["--config".to_owned(), config.display().to_string()].into_iter().chain(set).collect()
}

/// Two seconds of picture, there all at once.
fn make_clip(clip: &Path) {
    let part = clip.with_extension("part");
    let made = Command::new("gst-launch-1.0")
        .args([
            "-q",
            "videotestsrc",
            "num-buffers=60",
            "!",
            "video/x-raw,width=320,height=240,framerate=30/1",
            "!",
        ])
        .args(["vp8enc", "deadline=1", "!", "webmmux", "!", "filesink"])
        .arg(format!("location={}", part.display()))
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::rename(part, clip).unwrap();
}
