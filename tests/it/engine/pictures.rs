//! Size, rate and depth of the picture on its way to the encoder; encoders of one's own; parameter sets.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use super::{PATIENCE, node, plan_for, shared_engine, test_capture, text, unheard};
use crate::plans::boxes;
use capcast::config::{Profile, VideoInput};
use capcast::daemon::files::{Loaded, Sources};
use capcast::daemon::survey;
use capcast::media::MediaKind;
use capcast::plan::{GraphPlan, Plan, Role, Value, resolve};

/// Access units of an encode graph behind a capture graph, until there are so many.
fn units(capture: &GraphPlan, encode: &GraphPlan, count: usize) -> Vec<Vec<u8>> {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = engine.capture(capture, &hub, unheard()).unwrap();
    let mut encode = engine.encode(encode, &hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.data.to_vec());
    });
    encode.set_on_air(true);
    outlet.attach(&encode);
    encode.start().unwrap();
    capture.start().unwrap();
    let units = (0..count).map(|n| inbox.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("only {n} came")));
    let units = units.collect();
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
    units
}

/// What an independent decoder finds in a stream: codec, size, pixel format, frames that it decoded.
fn decoded(units: &[Vec<u8>], format: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    std::fs::write(&path, units.concat()).unwrap();
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-f", format, "-count_frames", "-select_streams", "v:0", "-show_entries"])
        .args(["stream=codec_name,profile,width,height,pix_fmt,nb_read_frames", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(probe.status.success(), "{}", String::from_utf8_lossy(&probe.stderr));
    String::from_utf8_lossy(&probe.stdout).trim().to_owned()
}

/// A source at ten frames a second, so that big pictures are no load.
fn slow_source(format: &str, size: &str) -> GraphPlan {
    let (width, height) = size.split_once('x').unwrap();
    let mut plan = test_capture(&[], vec![]);
    plan.nodes[1] = node(
        "caps",
        "capsfilter",
        Role::Plain,
        &[(
            "caps",
            text(&format!("video/x-raw,format={format},width={width},height={height},framerate=10/1")),
        )],
    );
    plan
}

/// The encode graph of a card that delivers this.
fn encode_of(fourcc: &str, size: &str, profile: &str) -> GraphPlan {
    let card = boxes::card(0, "Card", "", vec![boxes::mode(fourcc, size, &["10"])]);
    let mut inventory = survey(&boxes::shipped().fragments, false).unwrap();
    // Its own version may not capture ten bits yet; what encodes them does not mind.
    inventory.gstreamer = inventory.gstreamer.max(capcast::plan::GstVersion(1, 26, 0));
    inventory.video_devices = vec![card];
    let shipped = boxes::shipped();
    let plan = resolve(
        &boxes::config(""),
        &boxes::profile(profile),
        &shipped.fragments,
        &shipped.queues,
        &inventory,
    );
    plan.unwrap_or_else(|errors| panic!("{errors:#?}")).video_encode.remove(0)
}

#[test]
fn ten_bits_of_1440_lines_become_eight_bits_of_720() {
    let encode = encode_of("P010", "2560x1440", "h264-x264-720p30");
    let order: Vec<&str> = encode.nodes.iter().map(|node| node.factory.as_str()).collect();
    assert!(order.windows(2).any(|pair| pair == ["videoconvert", "videoscale"]), "{order:?}");
    let units = units(&slow_source("P010_10LE", "2560x1440"), &encode, 5);
    assert_eq!(decoded(&units, "h264"), "h264,Constrained Baseline,1280,720,yuv420p,5");
}

#[test]
fn a_picture_is_scaled_in_its_own_format() {
    let encode = encode_of("YUYV", "2560x1440", "h264-x264-1080p30");
    let order: Vec<&str> = encode.nodes.iter().map(|node| node.factory.as_str()).collect();
    assert!(order.windows(2).any(|pair| pair == ["videoscale", "videoconvert"]), "{order:?}");
    let units = units(&slow_source("YUY2", "2560x1440"), &encode, 5);
    assert_eq!(decoded(&units, "h264"), "h264,Constrained Baseline,1920,1080,yuv420p,5");
}

#[test]
fn sixty_frames_become_thirty() {
    let engine = shared_engine();
    let mode = "[capture]\nvideo = \"test\"\nmode = \"320x180@60\"\n";
    let (shipped, inventory) = (boxes::shipped(), survey(&boxes::shipped().fragments, false).unwrap());
    let mut profile = boxes::profile("h264-x264-720p30");
    profile.video.size = capcast::config::SizeChoice::Source;
    let plan =
        resolve(&boxes::config(mode), &profile, &shipped.fragments, &shipped.queues, &inventory).unwrap();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = engine.capture(&plan.video_capture, &hub, unheard()).unwrap();
    let mut encode = engine.encode(&plan.video_encode[0], &hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.pts);
    });
    encode.set_on_air(true);
    outlet.attach(&encode);
    encode.start().unwrap();
    capture.start().unwrap();
    let times: Vec<_> =
        (0..45).map(|n| inbox.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("only {n} came"))).collect();
    // A busy machine misses frames of the source, and then gaps are longer; never shorter.
    for pair in times.windows(2) {
        let step = pair[1].saturating_since(pair[0]);
        assert!(step.as_millis() >= 33, "{step:?} in {times:?}");
    }
    assert_eq!(hub.format().unwrap().framerate.unwrap().to_string(), "60");
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
}

/// Identifier of the first sequence parameter set (ITU-T H.264, 7.3.2.1.1).
fn sps_id(unit: &[u8]) -> u32 {
    let start = unit.windows(4).position(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 31 == 7).unwrap();
    let bits = |n: usize| unit[start + 7 + n / 8] >> (7 - n % 8) & 1;
    let zeros = (0..).take_while(|n| bits(*n) == 0).count();
    (0..=zeros).fold(0, |value, n| value << 1 | u32::from(bits(zeros + n))) - 1
}

#[test]
fn each_x264_numbers_its_parameter_sets_anew() {
    let plan = plan_for("x264", "h264", VideoInput::Test);
    let ids: Vec<u32> =
        (0..3).map(|_| sps_id(&units(&plan.video_capture, &plan.video_encode[0], 1)[0])).collect();
    assert!(ids.iter().all(|id| *id < 16), "{ids:?}");
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
}

const OWN_ENCODER: &str = r#"
summary = "an encoder of one's own"
codec   = "h264"
formats = ["I420"]

[packages]
x264enc = "gstreamer1.0-plugins-ugly"

[[element]]
factory = "x264enc"
role    = "encoder"

[element.properties]
tune = "zerolatency"
speed-preset = "veryfast"
bitrate = { from = "bitrate", unit = "kbit/s" }
key-int-max = { from = "keyframe-interval" }

[[element]]
factory = "capsfilter"

[element.properties]
caps = "video/x-h264,profile=main,stream-format=byte-stream,alignment=au"

[control]
bitrate  = { property = "bitrate", unit = "kbit/s", min = "10 kbit/s", max = "1 Gbit/s" }
keyframe = "event"
"#;

const OWN_PROFILE: &str = r#"
summary = "my own"
[video]
codec     = "h264"
encoder   = "mine"
size      = "320x240"
framerate = "30"
bitrate   = "300 kbit/s"
"#;

/// What a folder with an own encoder says.
fn own(folder: &Path, encoder: &str) -> (Loaded, Profile, Plan) {
    for (name, text) in [
        ("capcast.toml", "profile = \"my-own\"\n[capture]\nvideo = \"test\"\n"),
        ("pipelines/encoder/mine.toml", encoder),
        ("profiles/my-own.toml", OWN_PROFILE),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (loaded, problems) = Sources::of_system(Some(&folder.join("capcast.toml"))).load(&[]);
    let loaded = loaded.unwrap_or_else(|| panic!("{problems:#?}"));
    let inventory = survey(&loaded.fragments, false).unwrap();
    let profile = loaded.profiles["my-own"].clone();
    let plan = resolve(&loaded.config, &profile, &loaded.fragments, &loaded.queues, &inventory)
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    (loaded, profile, plan)
}

#[test]
fn an_encoder_of_ones_own_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (loaded, _, plan) = own(folder.path(), OWN_ENCODER);
    assert_eq!(plan.video_encode[0].fragment, "mine");
    assert_eq!(loaded.fragments.encoders["mine"].summary, plan.video_encode[0].title);
    let encoder = plan.video_encode[0].nodes.iter().find(|node| node.role == Role::Encoder).unwrap();
    assert_eq!(encoder.property("bitrate"), Some(&Value::Integer(300)));
    let units = units(&plan.video_capture, &plan.video_encode[0], 20);
    assert_eq!(decoded(&units, "h264"), "h264,Main,320,240,yuv420p,20");
    // And as its user sees it.
    let capcast = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capcast"));
        command.args(words).arg("--config").arg(folder.path().join("capcast.toml")).output().unwrap()
    };
    let profiles = String::from_utf8(capcast(&["profiles"]).stdout).unwrap();
    let line =
        profiles.lines().find(|line| line.contains(" my-own ")).unwrap_or_else(|| panic!("{profiles}"));
    assert!(line.starts_with('*') && line.contains(" mine ") && line.ends_with("yes"), "{line}");
    std::fs::write(
        folder.path().join("pipelines/encoder/mine.toml"),
        OWN_ENCODER.replace("key-int-max", "key-int-maxx"),
    )
    .unwrap();
    let refused = capcast(&["plan", "my-own"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(words.contains("element `x264enc` has no property `key-int-maxx`"), "{words}");
}
