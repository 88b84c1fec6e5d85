//! The rendered launch line of every shipped profile really runs in `gst-launch-1.0`.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use capcast::config::Profile;
use capcast::daemon::survey;
use capcast::plan::{Inventory, PlanError, auto_profile, render, resolve};

use crate::plans::boxes::{config, shipped, written};

fn this_box() -> Inventory {
    survey(&shipped().fragments, false).unwrap()
}

fn line(profile: &Profile, inventory: &Inventory, capture: &str) -> String {
    planned(profile, inventory, capture).unwrap_or_else(|errors| panic!("{}: {errors:#?}", profile.name))
}

fn planned(profile: &Profile, inventory: &Inventory, capture: &str) -> Result<String, Vec<PlanError>> {
    let plan = resolve(&config(capture), profile, &shipped().fragments, &shipped().queues, inventory)?;
    Ok(render::launch(&plan, inventory))
}

/// For want of hardware, and for nothing else.
fn lacks_hardware(errors: &[PlanError]) -> bool {
    let hardware = |why: &String| why.contains("GPU") || why.contains("needs GStreamer");
    matches!(errors, [PlanError::NoEncoder { tried, .. }] if tried.iter().all(|(_, why)| hardware(why)))
}

/// Runs a line through a shell as a person would paste it, until both sources have ended.
fn run(what: &str, line: &str, seconds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec gst-launch-1.0 {line}"))
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .stderr(File::options().append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{what} did not end:\n{}\n{line}", std::fs::read_to_string(&log).unwrap());
            }
        }
    };
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(status.success() && said.contains("Got EOS"), "{what}: {status}\n{said}\n{line}");
}

/// The sources end after a second.
fn limited(line: &str) -> String {
    let limited = line
        .replace("videotestsrc ", "videotestsrc num-buffers=30 ")
        .replace("audiotestsrc ", "audiotestsrc num-buffers=100 ");
    assert_ne!(limited, line, "both sources are there");
    limited
}

#[test]
fn every_shipped_profile_runs_in_gst_launch() {
    let inventory = this_box();
    let test = "[capture]\nvideo = \"test\"\naudio = \"test\"\n";
    let mut ran = 0;
    for profile in shipped().profiles.values().chain([&auto_profile(&inventory)]) {
        let line = match planned(profile, &inventory, test) {
            Ok(line) => line,
            Err(errors) if lacks_hardware(&errors) => continue,
            Err(errors) => panic!("{}: {errors:#?}", profile.name),
        };
        match line.strip_prefix("# needs ") {
            // Up to the payloader that only Capcast has, it runs all the same.
            Some(rest) => {
                let (needed, line) = rest.split_once('\n').unwrap();
                assert_eq!(profile.video.codec.as_str(), "av1", "{}: {needed}", profile.name);
                let start = line.find("rtpav1pay ").expect("AV1 has its payloader");
                let end = start + line[start..].find(" ! ").unwrap() + 3;
                let without = format!("{}{}", &line[..start], &line[end..]);
                if !needed.contains("rav1enc") && !needed.contains("capcastsvtav1enc") {
                    run(&profile.name, &limited(&without), 120);
                    ran += 1;
                }
            }
            None => {
                run(&profile.name, &limited(&line), 120);
                ran += 1;
            }
        }
    }
    assert!(ran >= 7, "only {ran} profiles ran");
}

#[test]
fn renditions_share_one_capture() {
    let profile = written(
        "summary = \"s\"\n[video]\ncodec = \"vp8\"\nsize = \"640x360\"\nframerate = \"15\"\nbitrate = \"1 Mbit/s\"\n[[video.rendition]]\nsize = \"320x180\"\nbitrate = \"300 kbit/s\"\n",
    );
    let line = line(&profile, &this_box(), "[capture]\nvideo = \"test\"\naudio = \"none\"\n");
    assert_eq!(line.matches("videotestsrc").count(), 1, "{line}");
    assert_eq!(line.matches("vp8enc").count(), 2, "{line}");
    run("renditions", &limited(&line), 120);
}

#[test]
fn a_file_with_a_difficult_name_plays() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a clip's $(name) `x` & more.mkv");
    let make = format!(
        "videotestsrc num-buffers=30 ! video/x-raw,width=320,height=240,framerate=30/1,interlace-mode=interleaved ! \
         x264enc tune=zerolatency interlaced=true ! h264parse ! matroskamux name=mux ! filesink location={plain} \
         audiotestsrc num-buffers=43 ! audio/x-raw,rate=44100,channels=1 ! opusenc_or ! mux.",
        plain = folder.path().join("plain.mkv").display()
    )
    .replace("opusenc_or", "audioconvert ! audioresample ! opusenc");
    run("making a clip", &make, 60);
    std::fs::rename(folder.path().join("plain.mkv"), &clip).unwrap();
    let capture = format!("[capture]\nvideo = \"file:{}\"\n", clip.display());
    for name in ["h264-x264-720p30", "vp8-720p30"] {
        let line = line(&crate::plans::boxes::profile(name), &this_box(), &capture);
        run(name, &line, 60);
    }
}
