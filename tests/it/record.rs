//! Recordings, read by ffprobe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::http::contract::checked;

const SOON: Duration = Duration::from_secs(60);

const H264: &str = "summary = \"tried by a test\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\n\
    size = \"640x360\"\nframerate = \"30\"\nbitrate = \"1 Mbit/s\"\nkeyframe_interval = \"1 s\"\n\
    [audio]\ncodec = \"opus\"\nbitrate = \"64 kbit/s\"\n";

/// A box that records into `folder`.
fn config(folder: &Path, more: &str) -> String {
    format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n[[output]]\nname = \"show\"\n\
         kind = \"record\"\npath = \"{}/{{stream}}-{{time}}.mkv\"\n{more}",
        folder.display()
    )
}

fn recorder(more: &str, others: &[(&str, &str)]) -> (Appliance, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let profiles = [&[("tried", H264)], others].concat();
    (Appliance::start(&config(folder.path(), more), &profiles), folder)
}

/// What is recorded so far, the oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "mkv"));
    files.sort_by_key(|path| fs::metadata(path).and_then(|about| about.created()).ok());
    files
}

fn output(state: &Value) -> &Value {
    &state["outputs"][0]
}

/// What ffprobe finds: codecs, packets of the picture, and whether the first is a keyframe.
struct Found {
    codecs: Vec<String>,
    pictures: usize,
    begins_with_keyframe: bool,
    size: (u64, u64),
    /// Seconds, where the file says.
    length: Option<f64>,
}

fn probe(file: &Path) -> Found {
    let ffprobe = |arguments: &[&str]| -> Value {
        let mut command = Command::new("ffprobe");
        let output = command.args(["-v", "error", "-of", "json"]).args(arguments).arg(file).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let about = ffprobe(&["-show_streams", "-show_format"]);
    let packets = ffprobe(&["-select_streams", "v:0", "-show_packets", "-show_entries", "packet=flags"]);
    let packets = packets["packets"].as_array().cloned().unwrap_or_default();
    let codec = |stream: &Value| stream["codec_name"].as_str().unwrap_or_default().to_owned();
    Found {
        codecs: about["streams"].as_array().unwrap().iter().map(codec).collect(),
        pictures: packets.len(),
        size: {
            let side = |name: &str| about["streams"][0][name].as_u64().unwrap_or_default();
            (side("width"), side("height"))
        },
        begins_with_keyframe: packets
            .first()
            .is_some_and(|packet| packet["flags"].as_str().unwrap().contains('K')),
        length: about["format"]["duration"].as_str().and_then(|text| text.parse().ok()),
    }
}

/// The numbers that the test source has burnt into the pictures of a file (see `src/engine/stamp.rs`), read by ffmpeg.
fn numbers(file: &Path) -> Vec<u32> {
    let blocks = "crop=iw*2/5:iw*3/80:0:0,scale=32:3:flags=area,format=gray";
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(file).args(["-vf", blocks, "-fps_mode", "passthrough"]);
    let output = command.args(["-f", "rawvideo", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let number = |picture: &[u8]| {
        picture[32..64].iter().fold(0, |number, block| number << 1 | u32::from(*block > 125))
    };
    output.stdout.chunks_exact(96).map(number).collect()
}

/// How many pictures have left the encoder.
fn encoded(state: &Value) -> u64 {
    state["encode"]["frames_out"].as_u64().unwrap_or_default()
}

#[test]
fn files_follow_each_other_without_a_gap_and_play() {
    let _turn = turn();
    let (appliance, folder) = recorder("segment = \"2 s\"\n", &[]);
    let first = appliance.until_state("it records", SOON, |state| output(state)["state"] == "recording");
    assert!(output(&first)["reason"].as_str().unwrap().contains("/live-"), "{}", output(&first));
    appliance.until_state("there are four files", SOON, |_| files(folder.path()).len() >= 4);
    let last = appliance.until_state("it still records", SOON, |_| true);
    assert!(appliance.cli(&["output", "show", "stop"]).status.success());
    appliance.until_state("it has stopped", SOON, |state| output(state)["state"] == "stopped");
    let done = || appliance.log().iter().filter(|line| line.contains("is done")).count();
    let written = files(folder.path());
    appliance.until_state("every file has its end", SOON, |_| done() >= written.len());
    let found: Vec<Found> = written.iter().map(|file| probe(file)).collect();
    for (file, found) in written.iter().zip(&found) {
        assert_eq!(found.codecs, ["h264", "opus"], "{file:?}");
        assert!(found.begins_with_keyframe, "{file:?}");
        assert!(found.length.is_some_and(|length| length > 0.0), "{file:?}: {:?}", found.length);
    }
    let (kept, made) =
        (found.iter().map(|found| found.pictures as u64).sum::<u64>(), encoded(&last) - encoded(&first));
    assert!(kept >= made, "{kept} pictures in the files, {made} were made meanwhile");
}

#[test]
fn a_file_whose_writer_was_killed_plays_up_to_the_last_second() {
    kill_again_and_again(3);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_files_whose_writer_was_killed_play() {
    kill_again_and_again(20);
}

fn kill_again_and_again(times: usize) {
    let _turn = turn();
    let (mut appliance, folder) = recorder("", &[]);
    for time in 0..times {
        let state = appliance.until_state("there is something to lose", SOON, |state| {
            output(state)["state"] == "recording" && encoded(state) > 60 + 7 * time as u64
        });
        appliance.kill();
        let file = files(folder.path()).pop().unwrap();
        let found = probe(&file);
        let most = encoded(&state) as usize;
        assert!(
            found.pictures + 45 >= most && found.begins_with_keyframe,
            "kill {time}: {} of about {most} pictures can be read of {file:?}",
            found.pictures
        );
        appliance.start_again();
    }
}

#[test]
fn another_codec_is_another_file() {
    let _turn = turn();
    let vp8 = H264.replace("h264", "vp8").replace("x264", "vp8");
    let vp9 = H264.replace("h264", "vp9").replace("x264", "vp9");
    let (appliance, folder) = recorder("", &[("other", &vp8), ("third", &vp9)]);
    appliance.until_state("it records", SOON, |state| output(state)["state"] == "recording");
    for (number, profile) in [(2, "other"), (3, "third")] {
        let switched = appliance.cli(&["switch", profile]);
        assert!(switched.status.success(), "{switched:?}");
        appliance.until_state("it goes on in another file", SOON, |state| {
            let files = files(folder.path());
            let newest = files.last().unwrap().display().to_string();
            let grows = output(state)["state"] == "recording";
            files.len() == number
                && grows
                && output(state)["reason"].as_str().unwrap_or_default().contains(&newest)
        });
    }
    assert!(appliance.cli(&["output", "show", "stop"]).status.success());
    appliance.until_state("every file has its end", SOON, |_| {
        appliance.log().iter().filter(|line| line.contains("is done")).count() == 3
    });
    let codecs: Vec<_> = files(folder.path()).iter().map(|file| probe(file).codecs[0].clone()).collect();
    assert_eq!(codecs, ["h264", "vp8", "vp9"]);
}

/// The same codec all the way, by other encoders and in other sizes: a file's header says neither twice.
#[test]
fn another_size_or_encoder_is_another_file_and_no_picture_is_lost() {
    let _turn = turn();
    let larger = H264.replace("640x360", "854x480");
    let other = H264.replace("x264", "openh264");
    let (appliance, folder) = recorder("", &[("larger", &larger), ("other", &other)]);
    let begun = |number: usize| {
        appliance.until_state("it records", SOON, |state| {
            let newest = files(folder.path()).pop().map(|file| file.display().to_string());
            let grows =
                output(state)["reason"].as_str().unwrap_or_default().contains(&newest.unwrap_or_default());
            files(folder.path()).len() == number && output(state)["state"] == "recording" && grows
        })
    };
    let mut last = begun(1);
    for (number, profile) in [(2, "larger"), (3, "other")] {
        assert!(appliance.cli(&["switch", profile]).status.success());
        begun(number);
        last = appliance.until_state("pictures follow", SOON, |state| encoded(state) > 30);
    }
    assert_eq!((&output(&last)["reconnects"], &output(&last)["dropped"]), (&0.into(), &0.into()));
    assert!(appliance.cli(&["output", "show", "stop"]).status.success());
    appliance.until_state("every file has its end", SOON, |_| {
        appliance.log().iter().filter(|line| line.contains("is done")).count() == 3
    });
    let files = files(folder.path());
    let found: Vec<Found> = files.iter().map(|file| probe(file)).collect();
    assert!(found.iter().all(|found| found.begins_with_keyframe));
    let sizes: Vec<_> = found.iter().map(|found| found.size).collect();
    assert_eq!(sizes, [(640, 360), (854, 480), (640, 360)]);
    let numbers: Vec<Vec<u32>> = files.iter().map(|file| numbers(file)).collect();
    for (before, after) in numbers.iter().zip(&numbers[1..]) {
        // A source that is late leaves numbers out, the recording none.
        let (last, first) = (before.last().unwrap(), after.first().unwrap());
        println!("{} pictures up to {last}, {} from {first} on", before.len(), after.len());
        // A test picture of another size begins to count anew, and goes on air when its encoder does.
        match first.checked_sub(*last) {
            Some(left_out) => assert!((1..30).contains(&left_out), "from {last} to {first}"),
            None => assert!(*first < 60, "from {last} to {first}"),
        }
    }
}

#[test]
fn what_was_recorded_is_listed_and_fetched_by_whoever_may_control() {
    let _turn = turn();
    let (appliance, folder) = recorder("", &[]);
    appliance.until_state("there is something to fetch", SOON, |state| {
        output(state)["state"] == "recording" && encoded(state) > 60
    });
    assert!(appliance.cli(&["output", "show", "stop"]).status.success());
    appliance.until_state("the file has its end", SOON, |_| {
        appliance.log().iter().any(|line| line.contains("is done"))
    });
    fs::write(folder.path().join("private.mkv"), "somebody else's").unwrap();
    let file = files(folder.path()).into_iter().find(|path| !path.ends_with("private.mkv")).unwrap();
    let (name, whole) = (file.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&file).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let ask = async |path: &str, headers: &[(&str, &str)]| {
            let mut request = client.get(format!("{}{path}", appliance.base));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            checked(&reqwest::Method::GET, path, request.send().await.unwrap()).await
        };
        let listed: Value = ask("/api/recordings", &[]).await.json().await.unwrap();
        let url = format!("/api/recordings/show/{name}");
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed:#}");
        let (found, bytes) = (&listed[0], whole.len());
        assert_eq!(
            (&found["name"], &found["bytes"], &found["url"]),
            (&name.into(), &bytes.into(), &url.clone().into())
        );

        let fetched = ask(&url, &[]).await;
        let disposition = fetched.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename=\"live-"), "{disposition}");
        assert_eq!(fetched.bytes().await.unwrap(), whole);
        let part = ask(&url, &[("range", "bytes=100-")]).await;
        assert_eq!(part.status(), 206, "a download goes on where it broke");
        assert_eq!(part.bytes().await.unwrap(), whole[100..]);
        assert_eq!(ask(&url, &[("range", "bytes=99999999999-")]).await.status(), 416);
        for missing in
            ["show/private.mkv", "other/private.mkv", "show/..%2Fprivate.mkv", "show/%2Fetc%2Fpasswd"]
        {
            assert_eq!(ask(&format!("/api/recordings/{missing}"), &[]).await.status(), 404, "{missing}");
        }
        let elsewhere = [("x-forwarded-for", "192.0.2.1")];
        for path in ["/api/recordings", url.as_str()] {
            assert_eq!(ask(path, &elsewhere).await.status(), 403, "{path}");
        }
    });
}

#[test]
fn a_full_disk_ends_the_file_and_nothing_else_and_goes_on_when_there_is_room() {
    let _turn = turn();
    let appliance = Appliance::start_with_disk("4m", |disk| config(disk, ""), &[("tried", H264)]);
    let disk = appliance.folder().join("disk");
    let before = appliance.until_state("it records", SOON, |state| output(state)["state"] == "recording");
    // The rest of the disk goes to somebody else.
    let others = appliance.sees(&disk).join("other");
    let mut size = 3_600_000;
    while fs::write(&others, vec![0; size]).is_err() {
        size -= 100_000;
    }
    let full = appliance.until_state("the disk is full", SOON, |state| output(state)["state"] == "disk_full");
    assert!(output(&full)["reason"].as_str().unwrap().contains("is full"), "{}", output(&full));
    assert!(full["words"].as_str().unwrap().contains("show"), "{}", full["words"]);
    let later = appliance.until_state("pictures go on", SOON, |state| encoded(state) > encoded(&full) + 30);
    assert_eq!(later["encode"]["restarts"], before["encode"]["restarts"]);
    fs::remove_file(&others).unwrap();
    appliance.until_state("it records again", SOON, |state| output(state)["state"] == "recording");
    let files = files(&appliance.sees(&disk));
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(probe(&files[0]).begins_with_keyframe);
}

#[test]
fn the_oldest_files_go_and_nobody_elses() {
    let _turn = turn();
    let (appliance, folder) = recorder("segment = \"1 s\"\nmax_size = \"700 kB\"\n", &[]);
    let foreign = folder.path().join("live-holiday.mkv");
    fs::write(&foreign, vec![0; 1_000_000]).unwrap();
    let deleted = || appliance.log().iter().filter(|line| line.contains("as configured")).count();
    appliance.until_state("files are deleted", SOON, |_| deleted() >= 3);
    let state = appliance.until_state("it goes on", SOON, |state| output(state)["state"] == "recording");
    assert!(!state["words"].as_str().unwrap().contains("show"), "{}", state["words"]);
    assert!(foreign.exists());
    let own = files(folder.path());
    // The oldest may be deleted meanwhile.
    let sizes = own.iter().filter(|file| **file != foreign).filter_map(|file| fs::metadata(file).ok());
    let bytes: u64 = sizes.map(|found| found.len()).sum();
    assert!(bytes < 2_000_000, "{bytes} bytes in {own:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_and_tried_again() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    fs::write(&place, "a file where a folder is to be").unwrap();
    let appliance = Appliance::start(&config(&place, ""), &[("tried", H264)]);
    let state = appliance.until_state("it says so", SOON, |state| output(state)["state"] == "backoff");
    assert!(output(&state)["reason"].as_str().unwrap().contains("cannot write `"), "{}", output(&state));
    fs::remove_file(&place).unwrap();
    appliance.until_state("it records", SOON, |state| output(state)["state"] == "recording");
}
