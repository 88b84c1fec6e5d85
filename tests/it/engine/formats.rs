//! What cards deliver, down to the encoder: pictures that cannot be decoded, colours that are not the usual ones.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use capcast::config::VideoInput;
use capcast::engine::{GraphEvent, StageCounters};
use capcast::media::{AccessUnit, MediaKind};
use capcast::plan::{Downstream, GraphKind, GraphPlan, Role, Value};

use super::{
    PATIENCE, chain, node, pass_through, plan_for, shared_engine, test_capture, text, told, unheard,
};

/// How bright picture number `n` is, all over.
fn shade(number: usize) -> u8 {
    30 + 5 * number as u8
}

/// Pictures that `jpegenc` made, one a file: `frame-00.jpg` and so on.
fn jpegs(folder: &Path, count: usize) -> Vec<Vec<u8>> {
    let raw: Vec<u8> = (0..count)
        .flat_map(|number| [vec![shade(number); 320 * 180], vec![128; 320 * 180 / 2]].concat())
        .collect();
    fs::write(folder.join("raw"), raw).unwrap();
    let made = Command::new("gst-launch-1.0")
        .args(["-q", "filesrc", &format!("location={}/raw", folder.display()), "!", "rawvideoparse"])
        .args([
            "format=i420",
            "width=320",
            "height=180",
            "framerate=30/1",
            "!",
            "jpegenc",
            "!",
            "multifilesink",
        ])
        .arg(format!("location={}/frame-%02d.jpg", folder.display()))
        .status()
        .unwrap();
    assert!(made.success());
    (0..count).map(|n| fs::read(folder.join(format!("frame-{n:02}.jpg"))).unwrap()).collect()
}

/// As a card in an MJPEG mode, with the shipped fragment's decoder.
fn mjpeg_card(folder: &Path, count: usize) -> GraphPlan {
    let location = format!("{}/frame-%02d.jpg", folder.display());
    let caps = "image/jpeg,framerate=30/1";
    let nodes = vec![
        node(
            "source",
            "multifilesrc",
            Role::Source,
            &[
                ("location", Value::Text(location)),
                ("stop-index", Value::Integer(count as i64 - 1)),
                ("caps", text(caps)),
                ("do-timestamp", Value::Bool(true)),
            ],
        ),
        node("decoder", "jpegdec", Role::Decoder, &[("max-errors", Value::Integer(-1))]),
        node("to-hub", "appsink", Role::ToHub, &[("sync", Value::Bool(false))]),
    ];
    chain(GraphKind::VideoCapture, nodes, Downstream::RawVideo { format: None, size: None, framerate: None })
}

#[test]
fn pictures_that_cannot_be_decoded_are_skipped_and_counted_and_the_others_are_shown() {
    const COUNT: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let whole = jpegs(folder.path(), COUNT);
    let spoil = |number: usize, bytes: &[u8]| {
        fs::write(folder.path().join(format!("frame-{number:02}.jpg")), bytes).unwrap();
        number
    };
    let zeros = vec![0; whole[5].len()];
    let without_tables = [&whole[25][..2], &whole[25][whole[25].len() / 2..]].concat();
    // Headers take some 600 bytes; what follows is the picture.
    let amid = |number: usize| 600 + (whole[number].len() - 600) / 2;
    let lost = [&whole[29][..amid(29)], &whole[29][amid(29) + 40..]].concat();
    let mut flipped = whole[33].clone();
    flipped[amid(33)..amid(33) + 4].iter_mut().for_each(|byte| *byte ^= 0x5A);
    let spoilt = [
        spoil(5, &zeros),
        spoil(6, &zeros[..16]),
        spoil(12, &whole[12][..whole[12].len() / 2]),
        spoil(18, &[0xFF, 0xD8, 0xFF, 0xD9]),
        spoil(25, &without_tables),
        spoil(29, &lost),
        spoil(33, &flipped),
    ];
    // The first one is of the very beginning of time, which no hub takes.
    let kept: Vec<usize> = (1..COUNT).filter(|number| !spoilt.contains(number)).collect();
    let (pictures, stage) = captured(folder.path(), COUNT, kept.len());
    // By their brightness amid the picture, to half a step.
    let shown: Vec<usize> =
        pictures.iter().map(|picture| (usize::from(picture.data[320 * 90 + 160]) - 28) / 5).collect();
    assert_eq!(shown, kept, "{stage:?}");
    assert!(pictures.is_sorted_by(|a, b| a.pts < b.pts), "time goes back");
    assert_eq!(stage.frames_in, COUNT as u64, "{stage:?}");
    let dropped: Vec<_> = stage.dropped.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(dropped, [&("backwards", 1), &("decoder", spoilt.len() as u64)], "{stage:?}");
}

/// What comes out of a card that delivers these files, which is so many pictures.
fn captured(folder: &Path, count: usize, wanted: usize) -> (Vec<AccessUnit>, StageCounters) {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut plan = pass_through(vec![]);
    // Files are read as fast as they can be; here none is to be left out for that.
    plan.nodes[0].properties.retain(|(name, _)| name != "max-buffers");
    plan.nodes[0].properties.push(("max-buffers".to_owned(), Value::Integer(0)));
    let (encode_events, mut encode_said) = told();
    let mut encode = engine.encode(&plan, &hub, &outlet, encode_events).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.clone());
    });
    outlet.attach(&encode);
    encode.start().unwrap();
    encode_said.wait_for("the encoder's link", |event| *event == GraphEvent::Playing);
    let (events, mut said) = told();
    let mut capture = engine.capture(&mjpeg_card(folder, count), &hub, events).unwrap();
    capture.start().unwrap();
    let mut pictures: Vec<AccessUnit> = Vec::new();
    while pictures.len() < wanted {
        match inbox.recv_timeout(PATIENCE) {
            Ok(picture) => pictures.push(picture),
            Err(_) => panic!("only {} pictures: {:?}", pictures.len(), capture.stage()),
        }
    }
    said.wait_for("the end of the files", |event| *event == GraphEvent::Ended);
    let stage = capture.stage();
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
    (pictures, stage)
}

/// In other samplings and sizes than whole blocks, with restart markers, with codes of their own, and, as many cards do,
/// without any.
#[test]
fn pictures_of_every_kind_of_card_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: usize| folder.path().join(format!("frame-{number:02}.jpg"));
    let kinds = [
        ("yuvj420p", "default", "1"),
        ("yuvj422p", "default", "4"),
        ("yuvj444p", "optimal", "1"),
        ("yuvj422p", "optimal", "4"),
        ("gray", "default", "1"),
    ];
    for (number, (format, codes, slices)) in kinds.into_iter().enumerate() {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=318x178", "-frames:v", "1"])
            .args(["-pix_fmt", format, "-huffman", codes, "-threads", slices, "-slices", slices])
            .args(["-strict", "unofficial", "-c:v", "mjpeg"])
            .arg(path(number))
            .status()
            .unwrap();
        assert!(made.success());
    }
    let restarts = fs::read(path(1)).unwrap();
    assert!(restarts.windows(2).any(|pair| pair == [0xFF, 0xD0]), "no restart marker");
    // A segment's length stands behind its marker.
    let mut bare = fs::read(path(0)).unwrap();
    while let Some(at) = bare.windows(2).position(|pair| pair == [0xFF, 0xC4]) {
        let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
        bare.drain(at..at + 2 + length);
    }
    fs::write(path(kinds.len()), bare).unwrap();
    let count = kinds.len() + 1;
    // Once more in front, for the one of the very beginning of time.
    for number in (0..count).rev() {
        fs::rename(path(number), path(number + 1)).unwrap();
    }
    fs::copy(path(1), path(0)).unwrap();
    let (_, stage) = captured(folder.path(), count + 1, count);
    let dropped: Vec<_> = stage.dropped.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(dropped, [&("backwards", 1)], "{stage:?}");
}

/// What ffprobe reads from the bitstream: range, matrix.
fn colours(units: &[AccessUnit], extension: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("stream.{extension}"));
    fs::write(&path, units.iter().flat_map(|unit| unit.data.to_vec()).collect::<Vec<u8>>()).unwrap();
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "stream=color_range,color_space"])
        .args(["-of", "default=noprint_wrappers=1"])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&probe.stdout).into_owned();
    let find = |key: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key} in {told:?} {}", String::from_utf8_lossy(&probe.stderr)))
            .to_owned()
    };
    (find("color_range"), find("color_space"))
}

/// Encodes the test picture in these colours; gives its first units.
fn encoded(fragment: &str, codec: &str, colorimetry: &str) -> Vec<AccessUnit> {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = test_capture(&[], vec![]);
    for node in &mut capture.nodes {
        if node.id == "caps" {
            let caps = "video/x-raw,format=I420,width=320,height=180,framerate=30/1";
            node.properties =
                vec![("caps".to_owned(), Value::Text(format!("{caps},colorimetry={colorimetry}")))];
        }
    }
    let plan = plan_for(fragment, codec, VideoInput::Test);
    let mut capture = engine.capture(&capture, &hub, unheard()).unwrap();
    let mut encode = engine.encode(&plan.video_encode[0], &hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.clone());
    });
    outlet.attach(&encode);
    encode.start().unwrap();
    capture.start().unwrap();
    let units = (0..5).map(|_| inbox.recv_timeout(PATIENCE).expect("it encodes")).collect();
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
    units
}

/// 4:2:0 pictures of a card in full range or of another matrix look pale or too green where the bitstream says otherwise.
#[test]
fn range_and_matrix_of_the_source_stand_in_the_bitstream() {
    for (fragment, codec, extension) in
        [("x264", "h264", "h264"), ("vp9", "vp9", "ivf"), ("svt", "av1", "obu")]
    {
        for (colorimetry, range, matrix) in
            [("bt709", "tv", "bt709"), ("bt601", "tv", "smpte170m"), ("1:3:5:1", "pc", "bt709")]
        {
            let mut units = encoded(fragment, codec, colorimetry);
            if extension == "ivf" {
                units[0].data = ivf(&units).into();
                units.truncate(1);
            }
            let (found_range, mut found_matrix) = colours(&units, extension);
            // VP9 has one name for both of BT.601's.
            if found_matrix == "bt470bg" {
                found_matrix = "smpte170m".to_owned();
            }
            let found = (found_range, found_matrix);
            assert_eq!(found, (range.to_owned(), matrix.to_owned()), "{fragment} of {colorimetry}");
        }
    }
}

/// The plainest container for VP9: a header of 32 bytes, and 12 before each frame.
fn ivf(units: &[AccessUnit]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(b"DKIF\0\0\x20\0VP90");
    file.extend_from_slice(&[0x40, 1, 180, 0]);
    file.extend_from_slice(&30_u32.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&u32::try_from(units.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    for (number, unit) in units.iter().enumerate() {
        file.extend_from_slice(&u32::try_from(unit.data.len()).unwrap().to_le_bytes());
        file.extend_from_slice(&(number as u64).to_le_bytes());
        file.extend_from_slice(&unit.data);
    }
    file
}
