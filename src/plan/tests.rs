//! Shipped files against boxes.

use std::path::Path;

use super::*;
use crate::config::{BoxConfig, EncoderChoice, Source};

/// Every shipped fragment.
fn fragments() -> Vec<Fragment> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let kinds = [
        ("source", FragmentKind::Source),
        ("encoder", FragmentKind::Encoder),
        ("output", FragmentKind::Output),
    ];
    let mut fragments = Vec::new();
    for (folder, kind) in kinds {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let (fragment, diagnostics) = parse_fragment(kind, name, Source::new(name, &text));
            assert!(diagnostics.is_empty(), "{diagnostics:#?}");
            fragments.extend(fragment);
        }
    }
    fragments
}

#[test]
fn every_element_has_its_debian_package_unless_it_is_linked_in() {
    let fragments = fragments();
    assert!(fragments.len() >= 18, "{} fragments", fragments.len());
    for fragment in &fragments {
        for factory in fragment.elements.iter().flat_map(ElementPart::factories) {
            let linked_in = ["capcastsvtav1enc", "rav1enc", "rtpav1pay"].contains(&factory);
            let package = graph::package(factory, &[fragment]);
            assert_eq!(package.is_none(), linked_in, "{}: {factory}", fragment.name);
        }
        for factory in fragment.packages.keys() {
            let used = fragment.elements.iter().flat_map(ElementPart::factories).any(|name| name == factory);
            assert!(used, "{}: `{factory}` is not used", fragment.name);
        }
    }
}

/// A box with GStreamer of a version and these elements beside those that Capcast adds, none of them looked at.
fn with(version: GstVersion, elements: &[&str]) -> Inventory {
    let names = elements.iter().copied().chain(graph::FACTORIES).chain([
        "videotestsrc",
        "audiotestsrc",
        "identity",
        "h264parse",
        "rtph264pay",
        "opusenc",
        "rtpopuspay",
    ]);
    Inventory {
        gstreamer: version,
        elements: names.map(|name| (name.to_owned(), Element::default())).collect(),
        cores: 8,
        ..Inventory::default()
    }
}

/// H.264 1080p60 at 8 Mbit/s by the encoder of a fragment text: its encode graph.
fn encoded_by(fragment: &str, inventory: &Inventory) -> Result<GraphPlan, Vec<PlanError>> {
    let mut all = Fragments::default();
    for fragment in fragments() {
        let folder = match fragment.kind {
            FragmentKind::Source => &mut all.sources,
            FragmentKind::Encoder => &mut all.encoders,
            FragmentKind::Output => &mut all.outputs,
        };
        folder.insert(fragment.name.clone(), fragment);
    }
    let (mine, problems) = parse_fragment(FragmentKind::Encoder, "mine", Source::new("mine.toml", fragment));
    all.encoders.insert("mine".to_owned(), mine.unwrap_or_else(|| panic!("{problems:#?}")));
    let queues = include_str!("../../pipelines/queues.toml");
    let queues = parse_queues(Source::new("queues.toml", queues)).0.unwrap();
    let mut profile = auto_profile(inventory);
    profile.video.encoder = EncoderChoice::Listed(vec!["mine".to_owned()]);
    profile.video.framerate = "60".parse().unwrap();
    profile.video.bitrate = "8 Mbit/s".parse().unwrap();
    let plan = resolve(&BoxConfig::default(), &profile, &all, &queues, inventory)?;
    Ok(plan.video_encode.into_iter().next().unwrap())
}

fn encoder(graph: &GraphPlan) -> String {
    let node = graph.nodes.iter().find(|node| node.role == Role::Encoder).unwrap();
    let properties = node.properties.iter().map(|(name, value)| format!(" {name}={value}"));
    properties.fold(node.factory.clone(), |text, property| text + &property)
}

/// One fragment for an element that was renamed and whose properties changed.
const NVENC: &str = r#"
summary = "H.264 by NVENC"
codec = "h264"
rank = 900
formats = ["NV12"]

[[element]]
factory = "nvcudah264enc"
role = "encoder"
when = "gstreamer < 1.26 and has nvcudah264enc"
[element.properties]
rate-control = "cbr"
bitrate = { from = "bitrate", unit = "kibit/s" }
b-frames = 0

[[element]]
factory = "nvh264enc"
role = "encoder"
when = "not has nvcudah264enc"
[element.properties]
preset = { when = "gstreamer >= 1.26", then = "p4", else = "low-latency-hq" }
tune = { when = "gstreamer >= 1.26", then = "ultra-low-latency" }
bitrate = { from = "bitrate", unit = "kibit/s" }
gop-size = { from = "keyframe-interval", add = -1 }

[control]
bitrate = { property = "bitrate", unit = "kibit/s", min = "100 kbit/s", max = "50 Mbit/s", min_interval = "1 s" }
keyframe = "event"
"#;

#[test]
fn a_plan_that_asks_for_b_frames_says_by_which_property() {
    let inventory = with(GstVersion(1, 22, 0), &["nvcudah264enc"]);
    let none = encoded_by(NVENC, &inventory).unwrap();
    assert_eq!(none.reorders(), None, "0 is none");
    let some = encoded_by(&NVENC.replace("b-frames = 0", "b-frames = 2"), &inventory).unwrap();
    assert_eq!(some.reorders(), Some("b-frames"));
}

#[test]
fn one_fragment_follows_an_element_through_its_versions() {
    let text = |version, element| encoder(&encoded_by(NVENC, &with(version, &[element])).unwrap());
    assert_eq!(
        text(GstVersion(1, 22, 0), "nvcudah264enc"),
        "nvcudah264enc rate-control=cbr bitrate=7813 b-frames=0"
    );
    assert_eq!(
        text(GstVersion(1, 22, 0), "nvh264enc"),
        "nvh264enc preset=low-latency-hq bitrate=7813 gop-size=119"
    );
    assert_eq!(
        text(GstVersion(1, 26, 2), "nvh264enc"),
        "nvh264enc preset=p4 tune=ultra-low-latency bitrate=7813 gop-size=119"
    );
    let graph = encoded_by(NVENC, &with(GstVersion(1, 26, 2), &["nvh264enc"])).unwrap();
    let control = graph.control.bitrate.unwrap();
    assert_eq!((control.divisor, control.min_interval.as_secs()), (1024, 1));
    let caps = graph.nodes.iter().find(|node| node.factory == "capsfilter").unwrap().property("caps");
    assert!(caps.unwrap().to_string().contains("format=NV12"), "{caps:?}");
    // Neither of its elements: the plan names one that would do.
    let errors = encoded_by(NVENC, &with(GstVersion(1, 26, 2), &[])).unwrap_err();
    assert!(errors[0].to_string().contains("element `nvh264enc` is missing"), "{errors:?}");
    let both = NVENC.replace("when = \"not has nvcudah264enc\"\n", "");
    let errors = encoded_by(&both, &with(GstVersion(1, 22, 0), &["nvcudah264enc", "nvh264enc"])).unwrap_err();
    assert!(errors[0].to_string().contains("leave 2 elements with the role `encoder`"), "{errors:?}");
}

#[test]
fn a_fragment_can_fill_in_a_structure() {
    let text = r#"
summary = "H.264 by a V4L2 encoder"
codec = "h264"
rank = 800
exclusive = true
formats = ["NV12"]
[[element]]
factory = "v4l2h264enc"
role = "encoder"
[element.properties]
extra-controls = { text = "controls,video_bitrate={rate},video_gop_size={gop}", rate = { from = "bitrate", unit = "bit/s" }, gop = { from = "keyframe-interval" } }
[[element]]
factory = "capsfilter"
[element.properties]
caps = { text = "video/x-h264,level=(string){level}", level = { by = "load", "1280x720@30" = "3.1", "1920x1080@30" = "4", above = "4.2" } }
"#;
    let graph = encoded_by(text, &with(GstVersion(1, 24, 0), &["v4l2h264enc"])).unwrap();
    assert_eq!(
        encoder(&graph),
        "v4l2h264enc extra-controls=controls,video_bitrate=8000000,video_gop_size=120"
    );
    assert!(graph.exclusive);
    let after = graph.nodes.iter().filter(|node| node.factory == "capsfilter").nth(1).unwrap();
    assert_eq!(after.property("caps").unwrap().to_string(), "video/x-h264,level=(string)4.2");
}

#[test]
fn a_fragment_for_a_newer_gstreamer_says_so() {
    let text = NVENC.replace("rank = 900", "rank = 900\nrequires = \"gstreamer >= 1.28\"");
    let errors = encoded_by(&text, &with(GstVersion(1, 26, 2), &["nvh264enc"])).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "no H.264 encoder can run here: `mine`: it needs GStreamer at least 1.28.0, and this is GStreamer 1.26.2"
    );
}
