//! What holds for every plan, whatever the box and the profile.

use std::collections::BTreeSet;

use capcast::config::{EncoderChoice, Profile, SizeChoice, Speed};
use capcast::media::{Bitrate, Codec, FrameSize, Framerate, MediaKind};
use capcast::plan::{
    DeviceAccess, Downstream, GraphKind, GraphPlan, GstVersion, Inventory, Plan, Queues, Rates, Role, Value,
    VideoMode, render, resolve,
};
use proptest::prelude::*;

use super::boxes;

const SIZES: [(u32, u32); 8] =
    [(320, 240), (640, 480), (720, 576), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (16, 16)];
const RATES: [(u32, u32); 7] = [(60, 1), (60000, 1001), (50, 1), (30, 1), (25, 1), (10, 1), (1, 1)];
const FOURCCS: [&str; 7] = ["NV12", "YUYV", "UYVY", "YU12", "MJPG", "H264", "BGR3"];

fn size() -> impl Strategy<Value = FrameSize> {
    prop::sample::select(&SIZES[..]).prop_map(|(width, height)| FrameSize::new(width, height))
}

fn rate() -> impl Strategy<Value = Framerate> {
    prop::sample::select(&RATES[..]).prop_map(|(n, d)| Framerate::new(n, d).unwrap())
}

fn video_mode() -> impl Strategy<Value = VideoMode> {
    let list = prop::collection::vec(rate(), 1..4).prop_map(Rates::List);
    let range = (rate(), rate()).prop_map(|(a, b)| Rates::Range { min: a.min(b), max: a.max(b) });
    (prop::sample::select(&FOURCCS[..]), size(), prop_oneof![list, range], any::<bool>()).prop_map(
        |(fourcc, size, rates, interlaced)| VideoMode { fourcc: fourcc.to_owned(), size, rates, interlaced },
    )
}

fn inventory() -> impl Strategy<Value = Inventory> {
    let access = prop::sample::select(&[DeviceAccess::Free, DeviceAccess::Busy, DeviceAccess::Denied][..]);
    let device = (prop::collection::vec(video_mode(), 0..6), access);
    let version = prop::sample::select(&[(22, 0), (24, 4), (24, 5), (26, 2)][..]);
    (prop::collection::vec(device, 0..3), version, 1u32..33, 0usize..3).prop_map(
        |(devices, (minor, micro), cores, cards)| {
            let mut inventory = boxes::bare(if minor < 26 { "1.22" } else { "1.26" }, cores);
            inventory.gstreamer = GstVersion(1, minor, micro);
            for (n, (modes, access)) in devices.into_iter().enumerate() {
                let mut card = boxes::card(n as u32, "Card", &format!("usb-{n}"), modes);
                card.access = access;
                inventory.video_devices.push(card);
            }
            inventory.sound_cards =
                (0..cards).map(|n| boxes::sound(&format!("C{n}"), "Card", &format!("usb-{n}"))).collect();
            inventory
        },
    )
}

fn profile() -> impl Strategy<Value = Profile> {
    let speed = prop::sample::select(&[Speed::Fastest, Speed::Realtime, Speed::Quality][..]);
    let codec = prop::sample::select(&Codec::VIDEO[..]);
    let size = prop::option::of(size());
    (codec, size, rate(), 300_000u64..60_000_000, 1u64..20, speed).prop_map(
        |(codec, size, framerate, bitrate, seconds, speed)| {
            let mut profile = boxes::profile("vp9-720p60");
            profile.video.codec = codec;
            profile.video.encoder = EncoderChoice::Auto;
            profile.video.size = size.map_or(SizeChoice::Source, SizeChoice::Fixed);
            profile.video.framerate = framerate;
            profile.video.bitrate = Bitrate::from_bits(bitrate);
            profile.video.keyframe_interval = std::time::Duration::from_secs(seconds);
            profile.video.speed = speed;
            profile
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_can_be_built(inventory in inventory(), profile in profile()) {
        let (fragments, queues) = (&boxes::shipped().fragments, &boxes::shipped().queues);
        let config = boxes::config("");
        let plan = resolve(&config, &profile, fragments, queues, &inventory);
        prop_assert_eq!(&plan, &resolve(&config, &profile, fragments, queues, &inventory));
        let plan = match plan {
            Ok(plan) => plan,
            Err(errors) => return Err(TestCaseError::fail(format!("{errors:#?}"))),
        };
        holds(&plan, &profile, queues, &inventory);
    }
}

fn holds(plan: &Plan, profile: &Profile, queues: &Queues, inventory: &Inventory) {
    assert!(plan.audio_encode.is_some() || plan.audio_capture.is_none(), "sound that nobody encodes");
    assert_eq!(plan.video_encode.len(), 1 + profile.video.renditions.len());
    for graph in plan.graphs() {
        well_formed(graph, inventory);
        limits(graph, plan, queues);
    }
    let Downstream::Video { framerate, .. } = plan.video_encode[0].downstream else { panic!() };
    assert!(framerate <= profile.video.framerate, "never more frames than asked for");
    assert!(plan.choices.iter().all(|choice| !choice.reason.is_empty()), "{:?}", plan.choices);
    assert_eq!(plan.choices.iter().filter(|choice| choice.subject == "source" && choice.taken).count(), 1);
    assert_eq!(plan.choices.iter().filter(|choice| choice.subject == "encoder" && choice.taken).count(), 1);
    // Every form can be written of every plan.
    assert!(render::text(plan).starts_with("profile "));
    assert!(render::dot(plan).ends_with("}\n"));
    assert!(render::json(plan)["graphs"].as_array().is_some_and(|graphs| graphs.len() >= 2));
    let launch = render::launch(plan, inventory);
    assert!(
        launch.lines().count() <= 2 && !launch.contains("appsrc") && !launch.contains("appsink"),
        "{launch}"
    );
}

fn well_formed(graph: &GraphPlan, inventory: &Inventory) {
    let ids: BTreeSet<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids.len(), graph.nodes.len(), "ids are unique: {graph:#?}");
    let place = |id: &str| graph.nodes.iter().position(|node| node.id == id);
    for link in &graph.links {
        let (from, to) = (place(&link.from), place(&link.to));
        assert!(from.is_some() && to.is_some(), "links name nodes: {link:?}");
        assert!(from < to, "links go onward, so that there is no circle: {link:?}");
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let fed = graph.links.iter().filter(|link| link.to == node.id).count();
        assert_eq!(fed, usize::from(index > 0), "all but the first are fed once: {node:?}");
        let feeds = graph.links.iter().filter(|link| link.from == node.id).count();
        let wanted = match node.role {
            Role::ToHub | Role::AccessUnits | Role::Rtp => 0,
            _ if node.factory == "tee" => 2,
            _ => 1,
        };
        assert_eq!(feeds, wanted, "{node:?}");
        assert!(inventory.elements.contains_key(&node.factory), "{node:?}");
        let names: BTreeSet<&String> = node.properties.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), node.properties.len(), "each property once: {node:?}");
    }
    let count = |role| graph.nodes.iter().filter(|node| node.role == role).count();
    let capture = matches!(graph.kind, GraphKind::VideoCapture | GraphKind::AudioCapture);
    assert_eq!((count(Role::Source), count(Role::ToHub)), if capture { (1, 1) } else { (0, 0) });
    let encode = [Role::FromHub, Role::Encoder, Role::AccessUnits, Role::Payloader, Role::Rtp].map(count);
    assert_eq!(encode, if capture { [0; 5] } else { [1; 5] });
    assert!(graph.shift.as_micros() >= 0);
}

/// No queue size but those of `queues.toml`; sinks hold the one sample that is taken at once.
fn limits(graph: &GraphPlan, plan: &Plan, queues: &Queues) {
    let Downstream::RawVideo { size, .. } = &plan.video_capture.downstream else { panic!() };
    let video = matches!(graph.kind, GraphKind::VideoEncode);
    for node in &graph.nodes {
        let limit = |name: &str| match node.property(name) {
            Some(Value::Integer(number)) => u64::try_from(*number).unwrap(),
            Some(other) => panic!("{name} = {other}"),
            None => 0,
        };
        assert!(!node.factory.starts_with("queue") && node.property("leaky").is_none(), "{node:?}");
        assert!(node.property("leaky-type").is_none(), "{node:?}");
        match node.factory.as_str() {
            "appsrc" => {
                let class = if video { queues.video(*size) } else { &queues.audio };
                let found = [limit("max-buffers"), limit("max-time"), limit("max-bytes")];
                assert_eq!(found, [class.buffers, class.time.as_nanos() as u64, class.bytes]);
                assert_eq!(node.property("block"), Some(&Value::Bool(true)));
            }
            "appsink" => {
                assert_eq!(limit("max-buffers"), 1);
                assert_eq!(node.property("drop"), Some(&Value::Bool(false)));
                assert_eq!(node.property("sync"), Some(&Value::Bool(false)));
            }
            _ => {}
        }
    }
    let handover = match &graph.downstream {
        Downstream::Video { codec, .. } if codec.kind() == MediaKind::Video => Some(queues.rtp),
        Downstream::Audio { .. } => Some(queues.audio),
        _ => None,
    };
    assert_eq!(graph.handover, handover);
}
