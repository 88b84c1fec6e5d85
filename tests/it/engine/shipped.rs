//! Every shipped profile that this box can run, at its full size: what comes out decodes elsewhere, as the profile says.

use std::sync::mpsc;

use capcast::config::{Profile, SizeChoice};
use capcast::daemon::survey;
use capcast::engine::GraphEvent;
use capcast::media::MediaKind;
use capcast::plan::{Downstream, Inventory, PlanError, Role, Value, resolve};

use super::judge::{Unit, Verdict, judge};
use super::{PATIENCE, node, patient, shared_engine, text, told, unheard, unpaced};
use crate::plans::boxes::{config, shipped};

/// Long enough for a keyframe on request in the middle, behind whatever an encoder holds back.
const PICTURES: usize = 24;

/// More than any of them holds back.
const BEHIND: i64 = 24;

/// The line that tells what came out of it; none where the box lacks the hardware.
fn encoded(profile: &Profile, inventory: &Inventory) -> Option<String> {
    let config = config("[capture]\nvideo = \"test\"\naudio = \"none\"\n");
    let plan = match resolve(&config, profile, &shipped().fragments, &shipped().queues, inventory) {
        Ok(plan) => plan,
        Err(errors) => {
            let hardware = |why: &String| why.contains("GPU") || why.contains("needs GStreamer");
            let lacks = matches!(&errors[..], [PlanError::NoEncoder { tried, .. }] if tried.iter().all(|(_, why)| hardware(why)));
            assert!(lacks, "{}: {errors:#?}", profile.name);
            return None;
        }
    };
    let encode = &patient(&plan.video_encode[0]);
    let Downstream::Video { codec, .. } = encode.downstream else { panic!("{encode:?}") };
    // As large and as often as the source that the profile is made for.
    let Downstream::RawVideo { size: Some(size), framerate: Some(framerate), .. } =
        plan.video_capture.downstream
    else {
        panic!("{:?}", plan.video_capture)
    };
    let properties = [
        ("pattern", text("smpte")),
        ("horizontal-speed", Value::Integer(7)),
        ("num-buffers", Value::Integer(PICTURES as i64 + BEHIND)),
    ];
    let source = node("source", "videotestsrc", Role::Source, &properties);
    let capture = unpaced(vec![source], (size.width, size.height), framerate.numerator());
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = engine.capture(&capture, &hub, unheard()).unwrap();
    let (events, mut told) = told();
    let mut graph = engine.encode(encode, &hub, &outlet, events).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(Unit { pts: unit.pts, keyframe: unit.keyframe, bytes: unit.data.to_vec() });
    });
    graph.set_on_air(true);
    outlet.attach(&graph);
    graph.start().unwrap();
    told.wait_for("playing", |event| *event == GraphEvent::Playing);
    capture.start().unwrap();
    let units: Vec<Unit> = (0..PICTURES)
        .map(|n| {
            let unit = inbox.recv_timeout(PATIENCE);
            unit.unwrap_or_else(|_| panic!("{}: only {n} came; {:?}", profile.name, graph.stage()))
        })
        .collect();
    assert!(capture.stop().wait(PATIENCE) && graph.stop().wait(PATIENCE));
    let Verdict { size, pictures, keyframes, reordered } = judge(codec, &units);
    assert_eq!((pictures, reordered), (PICTURES, false), "{}", profile.name);
    assert_eq!(keyframes, [0], "{}", profile.name);
    let said = units.iter().filter(|unit| unit.keyframe).count();
    assert_eq!(said, 1, "{}", profile.name);
    Some(format!("{} by {}, {}x{}", codec.as_str(), encode.fragment, size.0, size.1))
}

#[test]
fn every_shipped_software_profile_decodes_at_its_full_size() {
    let inventory = survey(&shipped().fragments, false).unwrap();
    let mut lines = Vec::new();
    for profile in shipped().profiles.values() {
        let Some(line) = encoded(profile, &inventory) else { continue };
        let SizeChoice::Fixed(size) = profile.video.size else {
            panic!("{}: the source's size", profile.name)
        };
        assert!(line.ends_with(&format!(", {size}")), "{}: {line}", profile.name);
        println!("{}: {line}", profile.name);
        lines.push(line);
    }
    let missing = ["x264", "openh264", "vp8", "vp9", "aom", "rav1e", "svt"].into_iter().find(|encoder| {
        let by = format!(" by {encoder},");
        !lines.iter().any(|line| line.contains(&by))
    });
    assert_eq!(missing, None, "{lines:#?}");
}
