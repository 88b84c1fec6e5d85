//! `engine` with real elements: graphs from shipped fragments, joined by hubs and outlets, small pictures.

mod content;
mod encoders;
mod endings;
mod formats;
mod judge;
mod links;
mod lost;
mod pictures;
mod refusals;
mod shipped;
mod slate;
mod sources;
mod switches;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use capcast::config::{AudioInput, BoxConfig, Source, VideoInput, parse_profile};
use capcast::engine::{self, Engine, EventSink, GraphEvent, RawHub, SoundLine};
use capcast::media::{Delay, Frame};
use capcast::plan::{
    Control, Downstream, Fragment, FragmentKind, Fragments, GraphKind, GraphPlan, Inventory, Link, Node,
    Plan, Queues, Role, Upstream, Value, parse_fragment, parse_queues, resolve,
};

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One for the whole test binary, as in a daemon.
fn shared_engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::patient(PATIENCE).expect("GStreamer starts")).clone()
}

/// A line that keeps the hub filled, and is on.
fn line_on(engine: &Engine, hub: &RawHub) -> SoundLine {
    let line = engine.sound_line(hub).unwrap();
    line.set_on(true);
    line
}

fn shipped(kind: FragmentKind, folder: &str) -> BTreeMap<String, Fragment> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(folder);
    let mut fragments = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = Source::new(path.to_str().unwrap(), &std::fs::read_to_string(&path).unwrap());
        let (fragment, problems) = parse_fragment(kind, &name, source);
        fragments.insert(name, fragment.unwrap_or_else(|| panic!("{path:?}: {problems:?}")));
    }
    fragments
}

struct Shipped {
    fragments: Fragments,
    queues: Queues,
    inventory: Inventory,
}

fn shipped_files() -> &'static Shipped {
    static FILES: OnceLock<Shipped> = OnceLock::new();
    FILES.get_or_init(|| {
        engine::init().unwrap();
        let fragments = Fragments {
            sources: shipped(FragmentKind::Source, "source"),
            encoders: shipped(FragmentKind::Encoder, "encoder"),
            outputs: shipped(FragmentKind::Output, "output"),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/queues.toml");
        let queues = Source::new("queues.toml", &std::fs::read_to_string(path).unwrap());
        let queues = parse_queues(queues).0.unwrap();
        let (gstreamer, elements) = engine::inventory(fragments.factories());
        let inventory = Inventory { gstreamer, elements, cores: 2, ..Inventory::default() };
        Shipped { fragments, queues, inventory }
    })
}

/// What a profile asks for.
struct Wish<'a> {
    encoder: &'a str,
    codec: &'a str,
    size: (u32, u32),
    framerate: u32,
    /// In bit/s.
    bitrate: u64,
    /// In seconds.
    keyframe_interval: usize,
}

/// The shipped fragments' plan for a small picture.
fn plan_for(encoder: &str, codec: &str, video: VideoInput) -> Plan {
    let wish =
        Wish { encoder, codec, size: (320, 180), framerate: 30, bitrate: 400_000, keyframe_interval: 60 };
    planned_for(&wish, video)
}

/// The same for a picture as wished.
fn planned(wish: &Wish<'_>) -> Plan {
    planned_for(wish, VideoInput::Test)
}

fn planned_for(wish: &Wish<'_>, video: VideoInput) -> Plan {
    let Wish { encoder, codec, size: (width, height), framerate, bitrate, keyframe_interval } = wish;
    let profile = format!(
        "summary = \"test\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"{width}x{height}\"\n\
         framerate = \"{framerate}\"\nbitrate = \"{bitrate} bit/s\"\nkeyframe_interval = \"{keyframe_interval} s\"\n\
         speed = \"realtime\"\n[audio]\ncodec = \"opus\"\nbitrate = \"64 kbit/s\"\n"
    );
    let (profile, problems) = parse_profile("test", "test.toml", &profile);
    let profile = profile.unwrap_or_else(|| panic!("{problems:?}"));
    let mut config = BoxConfig::default();
    config.capture.video = video;
    config.capture.audio = AudioInput::Auto;
    let files = shipped_files();
    resolve(&config, &profile, &files.fragments, &files.queues, &files.inventory)
        .unwrap_or_else(|errors| panic!("{encoder}: {errors:?}"))
}

/// What graphs tell, to be waited for.
struct Told {
    inbox: Receiver<GraphEvent>,
    seen: Vec<GraphEvent>,
}

fn told() -> (EventSink, Told) {
    let (sender, inbox) = mpsc::sync_channel(1024);
    let sink: EventSink = Arc::new(move |event| {
        let _ = sender.try_send(event);
    });
    (sink, Told { inbox, seen: Vec::new() })
}

/// For graphs whose events do not matter; an error of theirs fails the test by what is missing then.
fn unheard() -> EventSink {
    Arc::new(|event| {
        if let GraphEvent::Error(error) = event {
            println!("graph error: {error:?}");
        }
    })
}

impl Told {
    /// The first event that fits.
    fn wait_for(&mut self, what: &str, fits: impl Fn(&GraphEvent) -> bool) -> GraphEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if fits(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what} never came; seen: {:?}", self.seen)
                }
            }
        }
    }
}

/// Frames from an outlet until one fits, all of them.
fn frames_until(
    inbox: &Receiver<Arc<Frame>>,
    what: &str,
    fits: impl Fn(&[Arc<Frame>]) -> bool,
) -> Vec<Arc<Frame>> {
    let deadline = Instant::now() + PATIENCE;
    let mut frames = Vec::new();
    while !fits(&frames) {
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(frame) => frames.push(frame),
            Err(_) => panic!("{what}: only {} frames came", frames.len()),
        }
    }
    frames
}

/// Waits until a count that only grows is there; looks again at each of `ticks`.
fn wait_until<T>(ticks: &Receiver<T>, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(ticks.recv_timeout(left).is_ok(), "{what} never came");
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn node(id: &str, factory: &str, role: Role, properties: &[(&str, Value)]) -> Node {
    Node {
        id: id.to_owned(),
        factory: factory.to_owned(),
        role,
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    }
}

/// A chain of nodes as a graph.
fn chain(kind: GraphKind, nodes: Vec<Node>, downstream: Downstream) -> GraphPlan {
    let links =
        nodes.windows(2).map(|pair| Link { from: pair[0].id.clone(), to: pair[1].id.clone() }).collect();
    GraphPlan {
        kind,
        fragment: "own".to_owned(),
        title: "own".to_owned(),
        upstream: Upstream::Made,
        nodes,
        links,
        exclusive: false,
        shift: Delay::default(),
        control: Control::default(),
        handover: None,
        downstream,
    }
}

/// The test picture, by hand: its properties, and what lies behind it.
fn test_capture(properties: &[(&str, Value)], behind: Vec<Node>) -> GraphPlan {
    let mut source = vec![("is-live", Value::Bool(true))];
    source.extend_from_slice(properties);
    let mut nodes = vec![
        node("source", "videotestsrc", Role::Source, &source),
        node(
            "caps",
            "capsfilter",
            Role::Plain,
            &[("caps", text("video/x-raw,format=I420,width=320,height=180,framerate=30/1"))],
        ),
        node("pacer", "identity", Role::Pacer, &[]),
    ];
    nodes.extend(behind);
    nodes.push(node("to-hub", "appsink", Role::ToHub, &[("sync", Value::Bool(false))]));
    chain(GraphKind::VideoCapture, nodes, Downstream::RawVideo { format: None, size: None, framerate: None })
}

/// What these nodes make, which wait for no clock, so that the encoder alone sets the pace.
fn unpaced(mut nodes: Vec<Node>, (width, height): (u32, u32), framerate: u32) -> GraphPlan {
    let caps = format!("video/x-raw,format=I420,width={width},height={height},framerate={framerate}/1");
    nodes.push(node("caps", "capsfilter", Role::Plain, &[("caps", text(&caps))]));
    nodes.push(node("to-hub", "appsink", Role::ToHub, &[("sync", Value::Bool(false))]));
    let raw = Downstream::RawVideo { format: None, size: None, framerate: None };
    let mut plan = chain(GraphKind::VideoCapture, nodes, raw);
    // The first one at zero would be no later than nothing.
    plan.shift = Delay::from_micros(1_000_000);
    plan
}

/// With room for all of them at its entry: an encoder that takes long over one on a busy machine is not cut off.
fn patient(plan: &GraphPlan) -> GraphPlan {
    let mut plan = plan.clone();
    let entry = plan.nodes.iter_mut().find(|node| node.role == Role::FromHub).unwrap();
    for (name, value) in &mut entry.properties {
        if name.starts_with("max-") {
            *value = Value::Integer(0);
        }
    }
    plan
}

/// An encode graph that hands raw frames on as if they were encoded: fast, and its pace is `inside`'s.
fn pass_through(inside: Vec<Node>) -> GraphPlan {
    let mut nodes = vec![node(
        "from-hub",
        "appsrc",
        Role::FromHub,
        &[
            ("is-live", Value::Bool(true)),
            ("format", text("time")),
            ("block", Value::Bool(true)),
            ("max-buffers", Value::Integer(3)),
            ("max-bytes", Value::Integer(0)),
        ],
    )];
    nodes.extend(inside);
    nodes.push(node("encoder", "identity", Role::Encoder, &[]));
    nodes.push(node("units", "appsink", Role::AccessUnits, &[("sync", Value::Bool(false))]));
    chain(
        GraphKind::VideoEncode,
        nodes,
        Downstream::Video {
            codec: capcast::media::Codec::Vp8,
            size: None,
            framerate: "30".parse().unwrap(),
            bitrate: "1 Mbit/s".parse().unwrap(),
        },
    )
}
