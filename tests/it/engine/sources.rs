//! Sources that cannot wait skip what comes too late; files loop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use capcast::config::VideoInput;
use capcast::engine::{GraphEvent, StageCounters};
use capcast::media::{Codec, Delay, MediaKind, MediaTime};
use capcast::plan::{Downstream, GraphKind, Role, Value};

use super::{
    PATIENCE, line_on, node, pass_through, plan_for, shared_engine, test_capture, told, unheard, wait_until,
};

fn late(stage: &StageCounters) -> u64 {
    stage.dropped.iter().find(|(place, _)| *place == "late").unwrap().1
}

/// The encoder takes 100 ms for each frame of 33: without skipping, frames would grow older by 67 ms each.
#[test]
fn the_test_picture_skips_under_load_and_does_not_grow_old() {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = engine.capture(&test_capture(&[], vec![]), &hub, unheard()).unwrap();
    let slow = node("slow", "identity", Role::Plain, &[("sleep-time", Value::Integer(100_000))]);
    let mut encode = engine.encode(&pass_through(vec![slow]), &hub, &outlet, unheard()).unwrap();
    let (sender, ticks) = mpsc::sync_channel(4096);
    let clock = shared_engine();
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(clock.now().saturating_since(unit.pts));
    });
    outlet.attach(&encode);
    encode.set_on_air(true);
    encode.start().unwrap();
    capture.start().unwrap();
    let mut ages: Vec<Duration> = Vec::new();
    while ages.len() < 50 {
        ages.push(ticks.recv_timeout(PATIENCE).expect("frames flow"));
    }
    // 50 frames took 5 s; a picture that only ever waits would be more than 3 s old by now.
    let (early, end) = (ages[10..20].iter().max().unwrap(), ages[40..].iter().min().unwrap());
    assert!(*end < Duration::from_millis(1500), "{ages:?}");
    assert!(*end < *early + Duration::from_millis(400), "ages grow: {ages:?}");
    assert!(late(&capture.stage()) >= 50, "{:?}", capture.stage());
    assert_eq!(hub.cuts(), 0, "slow is not stuck");
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
}

/// A second of picture and sound, made once.
fn clip() -> PathBuf {
    let path = std::env::temp_dir().join(format!("capcast-clip-{}.mkv", std::process::id()));
    let made = Command::new("gst-launch-1.0")
        .args(["-q", "videotestsrc", "num-buffers=30", "!"])
        .args(["video/x-raw,width=320,height=180,framerate=30/1", "!"])
        .args(["vp8enc", "deadline=1", "cpu-used=16", "keyframe-max-dist=10", "!", "mux."])
        .args(["audiotestsrc", "num-buffers=50", "samplesperbuffer=960", "!"])
        .args(["audio/x-raw,rate=48000,channels=2", "!", "opusenc", "!", "mux."])
        .args(["matroskamux", "name=mux", "!", "filesink"])
        .arg(format!("location={}", path.display()))
        .status()
        .unwrap();
    assert!(made.success());
    path
}

fn container_duration(path: &Path) -> Duration {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let seconds: f64 = String::from_utf8_lossy(&probe.stdout).trim().parse().unwrap();
    Duration::from_secs_f64(seconds)
}

/// PTS of what passes a hub, by an encode graph that does nothing.
fn taps(
    plan: &capcast::plan::GraphPlan,
    hub: &capcast::engine::RawHub,
) -> (capcast::engine::Graph, capcast::engine::Subscription, mpsc::Receiver<MediaTime>) {
    let engine = shared_engine();
    let outlet = engine.outlet(hub.kind());
    let mut encode = engine.encode(plan, hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let kept = outlet.clone();
    let subscription = outlet.subscribe_units(move |unit| {
        let _ = &kept;
        let _ = sender.try_send(unit.pts);
    });
    outlet.attach(&encode);
    encode.set_on_air(true);
    encode.start().unwrap();
    (encode, subscription, inbox)
}

#[test]
fn a_file_loops_with_picture_and_sound_in_step() {
    let engine = shared_engine();
    let path = clip();
    let plan = plan_for("vp8", "vp8", VideoInput::File(path.clone()));
    let sound_plan = plan.audio_capture.as_ref().expect("a file brings its sound");
    let (hub, sound) = (engine.raw_hub(MediaKind::Video), engine.raw_hub(MediaKind::Audio));
    let (encode, _kept, inbox) = taps(&pass_through(vec![]), &hub);
    let mut encode_sound_plan = plan.audio_encode.clone().unwrap();
    encode_sound_plan.control.keyframe = None;
    let (events, mut said) = told();
    let (sound_events, mut sound_said) = told();
    let mut capture = engine.capture(&plan.video_capture, &hub, events).unwrap();
    let mut capture_sound =
        engine.capture_sound(sound_plan, &line_on(&engine, &sound), sound_events).unwrap();
    capture.start().unwrap();
    capture_sound.start().unwrap();
    said.wait_for("picture", |event| *event == GraphEvent::Flowing);
    sound_said.wait_for("sound", |event| *event == GraphEvent::Flowing);

    // Three turns and a half of the picture.
    let mut times = Vec::new();
    while times.len() < 100 {
        times.push(
            inbox
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("{} frames; {:?}", times.len(), said.seen)),
        );
    }
    for pair in times.windows(2) {
        assert!(pair[1] > pair[0], "time goes up: {pair:?}");
    }
    let span = times[99].saturating_since(times[0]);
    assert!(span >= Duration::from_millis(3_200), "played in real time: {span:?}");
    // Frames of all turns lie on one raster: a turn is a whole second, or what the container says it is.
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
    let usual = gaps.iter().filter(|gap| (30..37).contains(&gap.as_millis())).count();
    assert!(usual >= 60, "{gaps:?}");
    wait_until(&inbox, "sound of three turns", || capture_sound.stage().frames_out >= 150);
    let format = sound.format().unwrap();
    assert_eq!((format.sample_rate, format.channels), (Some(48_000), Some(2)));

    // A picture graph that is rebuilt joins the turn under way: its frames lie on the same raster.
    assert!(capture.stop().wait(PATIENCE));
    let (events, mut said) = told();
    let mut again = engine.capture(&plan.video_capture, &hub, events).unwrap();
    again.start().unwrap();
    said.wait_for("picture again", |event| *event == GraphEvent::Flowing);
    let mut joined = Vec::new();
    while joined.len() < 40 {
        let pts = inbox.recv_timeout(PATIENCE).expect("frames after the rebuild");
        if pts > times[99] {
            joined.push(pts);
        }
    }
    // Turns are all as long as the container says, so every frame's place in its turn was seen before, to the microsecond.
    let turn = container_duration(&path).as_micros();
    let zero = times[0];
    let place = |pts: &MediaTime| pts.saturating_since(zero).as_micros() % turn;
    let known: Vec<u128> = times.iter().map(place).collect();
    let near = |a: u128, b: u128| a.abs_diff(b) <= 2 || a.abs_diff(b) >= turn - 2;
    for pts in &joined {
        assert!(known.iter().any(|known| near(*known, place(pts))), "{} of {turn} in {known:?}", place(pts));
    }
    assert!(
        !said.seen.iter().any(|event| matches!(event, GraphEvent::Error(_) | GraphEvent::Ended)),
        "{:?}",
        said.seen
    );
    assert!(
        again.stop().wait(PATIENCE) && capture_sound.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE)
    );
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_file_without_the_medium_says_what_is_missing() {
    let engine = shared_engine();
    let path = std::env::temp_dir().join(format!("capcast-mute-{}.mkv", std::process::id()));
    let made = Command::new("gst-launch-1.0")
        .args([
            "-q",
            "videotestsrc",
            "num-buffers=5",
            "!",
            "video/x-raw,width=64,height=64",
            "!",
            "vp8enc",
            "!",
        ])
        .args(["matroskamux", "!", "filesink"])
        .arg(format!("location={}", path.display()))
        .status()
        .unwrap();
    assert!(made.success());
    let plan = plan_for("vp8", "vp8", VideoInput::File(path.clone()));
    let hub = engine.raw_hub(MediaKind::Audio);
    let (events, mut said) = told();
    let mut graph =
        engine.capture_sound(plan.audio_capture.as_ref().unwrap(), &line_on(&engine, &hub), events).unwrap();
    graph.start().unwrap();
    let GraphEvent::Error(error) = said.wait_for("an error", |e| matches!(e, GraphEvent::Error(_))) else {
        unreachable!()
    };
    assert_eq!(error.element, "decoder");
    assert!(graph.stop().wait(PATIENCE));
    let _ = std::fs::remove_file(path);
}

#[test]
fn the_hub_never_lets_time_go_back() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let (encode, _kept, inbox) = taps(&pass_through(vec![]), &hub);
    // A capture whose frames are stamped five seconds ahead, then one that is right: it has to catch up first.
    let mut ahead = test_capture(&[], vec![]);
    ahead.shift = Delay::from_micros(5_000_000);
    let mut capture = engine.capture(&ahead, &hub, unheard()).unwrap();
    let began = engine.now();
    capture.start().unwrap();
    let mut times: Vec<MediaTime> = Vec::new();
    while times.len() < 10 {
        times.push(inbox.recv_timeout(PATIENCE).unwrap());
    }
    assert!(times[0] >= began + Duration::from_secs(5), "{:?}, began at {began:?}", times[0]);
    assert!(capture.stop().wait(PATIENCE));
    let mut capture = engine.capture(&test_capture(&[], vec![]), &hub, unheard()).unwrap();
    capture.start().unwrap();
    while times.len() < 30 {
        times.push(inbox.recv_timeout(PATIENCE).unwrap());
    }
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
    let refused = capture.stage().dropped.iter().find(|(place, _)| *place == "backwards").unwrap().1;
    assert!(refused >= 10 && hub.stage().dropped == [("backwards", refused)], "{refused}");
    assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
}

/// A sine of amplitude 0.2 peaks at 20·log₁₀ 0.2 = −14 dBFS. Sound that is switched off is silent, and a graph that is gone tells
/// nothing.
#[test]
fn captured_sound_is_metered() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Audio);
    let mut pass = pass_through(vec![]);
    pass.kind = GraphKind::AudioEncode;
    pass.downstream = Downstream::Audio { codec: Codec::Opus, bitrate: "64 kbit/s".parse().unwrap() };
    let (_encode, _kept, ticks) = taps(&pass, &hub);
    let line = line_on(&engine, &hub);
    for (volume, range) in [(0.2, -14.1..-13.9), (0.0, -120.0..-119.9)] {
        let mut plan = plan_for("vp8", "vp8", VideoInput::Test).audio_capture.unwrap();
        let source = plan.nodes.iter_mut().find(|node| node.role == Role::Source).unwrap();
        source.properties.retain(|(name, _)| name != "volume");
        source.properties.push(("volume".to_owned(), Value::Float(volume)));
        let mut capture = engine.capture_sound(&plan, &line, unheard()).unwrap();
        let levels = capture.levels();
        assert!(levels.dbfs().is_empty(), "nothing is heard yet");
        capture.start().unwrap();
        super::wait_until(&ticks, "a level", || !levels.dbfs().is_empty());
        let peaks = levels.dbfs();
        assert!(peaks.len() == 2 && peaks.iter().all(|peak| range.contains(peak)), "{volume}: {peaks:?}");
        assert!(capture.stop().wait(PATIENCE));
    }
}
