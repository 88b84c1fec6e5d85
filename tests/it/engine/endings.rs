//! How graphs end: by error, by force, again and again.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use capcast::config::VideoInput;
use capcast::engine::{
    ControlError, Engine, Graph, GraphEvent, Outlet, PropertyProblem, RawHub, Subscription, Takeover,
};
use capcast::media::{Codec, Fault, Frame, MediaKind};
use capcast::plan::{BitrateControl, Downstream, GraphKind, GraphPlan, Link, Plan, Role, Value};

use super::{PATIENCE, Told, chain, node, plan_for, shared_engine, test_capture, text, told, unheard};

#[test]
fn a_missing_file_is_a_device_error_with_the_nodes_name() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let plan = chain(
        GraphKind::VideoCapture,
        vec![
            node("source", "filesrc", Role::Source, &[("location", text("/no/such/file.mkv"))]),
            node("decoder", "decodebin", Role::Decoder, &[]),
            node("to-hub", "appsink", Role::ToHub, &[]),
        ],
        Downstream::RawVideo { format: None, size: None, framerate: None },
    );
    let (events, mut said) = told();
    let mut graph = engine.capture(&plan, &hub, events).unwrap();
    graph.start().unwrap();
    let GraphEvent::Error(error) = said.wait_for("the error", |e| matches!(e, GraphEvent::Error(_))) else {
        unreachable!()
    };
    assert_eq!((error.fault, error.element.as_str()), (Fault::Device, "source"), "{error:?}");
    assert!(error.message.contains("/no/such/file.mkv"), "{error:?}");
    assert!(graph.stop().wait(PATIENCE));
}

#[test]
fn an_element_that_fails_while_running_is_a_graph_error() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let broken = node("breaks", "identity", Role::Plain, &[("error-after", Value::Integer(5))]);
    let (events, mut said) = told();
    let mut graph = engine.capture(&test_capture(&[], vec![broken]), &hub, events).unwrap();
    graph.start().unwrap();
    let GraphEvent::Error(error) = said.wait_for("the error", |e| matches!(e, GraphEvent::Error(_))) else {
        unreachable!()
    };
    assert_eq!((error.fault, error.element.as_str()), (Fault::Graph, "breaks"), "{error:?}");
    assert!(said.seen.contains(&GraphEvent::Flowing), "{:?}", said.seen);
    assert!(graph.stop().wait(PATIENCE));
}

#[test]
fn a_source_that_ends_says_so() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let (events, mut said) = told();
    let plan = test_capture(&[("num-buffers", Value::Integer(3))], vec![]);
    let mut graph = engine.capture(&plan, &hub, events).unwrap();
    graph.start().unwrap();
    said.wait_for("the end", |event| *event == GraphEvent::Ended);
    assert!(graph.stop().wait(PATIENCE));
}

#[test]
fn a_graph_that_will_not_stop_is_left_behind_and_counted() {
    let engine = Engine::new().unwrap();
    let hub = engine.raw_hub(MediaKind::Video);
    let hangs = node("hangs", "identity", Role::Plain, &[("sleep-time", Value::Integer(20_000_000))]);
    let (events, mut said) = told();
    let mut stuck = engine.capture(&test_capture(&[], vec![hangs]), &hub, events).unwrap();
    let (other_events, mut other_said) = told();
    let mut other = engine.capture(&test_capture(&[], vec![]), &hub, other_events).unwrap();
    stuck.start().unwrap();
    other.start().unwrap();
    other_said.wait_for("flowing", |event| *event == GraphEvent::Flowing);
    said.wait_for("playing", |event| *event == GraphEvent::Playing);
    // Only a graph with a frame inside hangs: while the other makes ten, this one's first is long at its place.
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut until = u64::MAX;
    while other.stage().frames_out < until {
        if until == u64::MAX && stuck.stage().frames_in > 0 {
            until = other.stage().frames_out + 10;
        }
        assert!(std::time::Instant::now() < deadline, "{:?} {:?}", stuck.stage(), other.stage());
        std::thread::yield_now();
    }
    let (stuck, other) = (stuck.stop(), other.stop());
    assert!(other.wait(PATIENCE), "one that hangs delays no other");
    assert!(!stuck.wait(PATIENCE), "it cannot be gone");
    assert_eq!(
        said.wait_for("gone", |e| matches!(e, GraphEvent::Gone { .. })),
        GraphEvent::Gone { abandoned: true }
    );
    assert_eq!(engine.abandoned(), 1);
}

#[test]
fn a_graph_that_was_never_started_goes_without_a_word_but_the_last() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let (events, mut said) = told();
    let graph = engine.capture(&test_capture(&[], vec![]), &hub, events).unwrap();
    drop(graph);
    said.wait_for("gone", |event| matches!(event, GraphEvent::Gone { .. }));
    assert_eq!(said.seen.len(), 1, "{:?}", said.seen);
}

/// What the kernel counts of one engine's process, where nothing else runs: this test has a process of its own.
#[test]
fn graphs_rebuilt_fifty_times_leave_nothing_behind() {
    const CHILD: &str = "CAPCAST_TEST_REBUILD";
    if std::env::var_os(CHILD).is_none() {
        let name = "engine::endings::graphs_rebuilt_fifty_times_leave_nothing_behind";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let engine = Engine::patient(PATIENCE).unwrap();
    let plan = plan_for("x264", "h264", VideoInput::Test);
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let once = || {
        let (sender, ticks) = mpsc::sync_channel(64);
        let _frames = outlet.subscribe(move |frame| {
            let _ = sender.try_send(frame.keyframe);
        });
        let mut capture = engine.capture(&plan.video_capture, &hub, unheard()).unwrap();
        let mut encode = engine.encode(&plan.video_encode[0], &hub, &outlet, unheard()).unwrap();
        outlet.attach(&encode);
        encode.set_on_air(true);
        encode.start().unwrap();
        capture.start().unwrap();
        assert_eq!(ticks.recv_timeout(PATIENCE), Ok(true), "a keyframe first");
        assert!(capture.stop().wait(PATIENCE) && encode.stop().wait(PATIENCE));
    };
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    for _ in 0..3 {
        once();
    }
    let (fds, threads) = (count("fd"), count("task"));
    for _ in 0..50 {
        once();
    }
    // Threads of finished graphs, and what they hold, are on their way out when the graph is gone.
    let deadline = std::time::Instant::now() + PATIENCE;
    let lingers = || count("task") > threads + 2 || count("fd") > fds + 2;
    while lingers() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(count("fd") <= fds + 2, "{} fds, {fds} before", count("fd"));
    assert!(count("task") <= threads + 2, "{} threads, {threads} before", count("task"));
    assert_eq!(engine.abandoned(), 0);
}

/// How long one of the test picture's frames lasts.
const FRAME: Duration = Duration::from_nanos(33_333_333);

/// A VP8 encoder that is on air.
struct OnAir {
    engine: Engine,
    hub: RawHub,
    outlet: Outlet,
    plan: Plan,
    capture: Graph,
    old: Graph,
    inbox: Receiver<Arc<Frame>>,
    _frames: Subscription,
}

impl OnAir {
    fn start() -> OnAir {
        let engine = shared_engine();
        let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
        let plan = plan_for("vp8", "vp8", VideoInput::Test);
        let mut capture = engine.capture(&plan.video_capture, &hub, unheard()).unwrap();
        let mut old = engine.encode(&plan.video_encode[0], &hub, &outlet, unheard()).unwrap();
        let (sender, inbox) = mpsc::sync_channel(4096);
        let frames = outlet.subscribe(move |frame| {
            let _ = sender.try_send(frame.clone());
        });
        outlet.attach(&old);
        old.set_on_air(true);
        old.start().unwrap();
        capture.start().unwrap();
        OnAir { engine, hub, outlet, plan, capture, old, inbox, _frames: frames }
    }

    /// Another encoder, not started, with what it tells.
    fn candidate(&self, plan: &GraphPlan) -> (Graph, Told) {
        let (events, said) = told();
        (self.engine.encode(plan, &self.hub, &self.outlet, events).unwrap(), said)
    }

    fn until(&self, what: &str, fits: impl Fn(&[Arc<Frame>]) -> bool) -> Vec<Arc<Frame>> {
        super::frames_until(&self.inbox, what, fits)
    }

    /// Changes over to another encoder's codec; gives how that went and all frames from so many of the old to so many of
    /// the new, which are checked to be one stream. Its link goes on skipping frames: a slow one on a busy machine would
    /// be cut, and building it anew is the daemon's business.
    fn change(&self, to: (&mut Graph, &mut Told), codec: Codec, each: usize) -> (Takeover, Vec<Arc<Frame>>) {
        let (new, said) = to;
        let mut frames = self.until("frames of the old", |frames| frames.len() >= each);
        self.outlet.switch_to(new);
        new.start().unwrap();
        let event = said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
        let GraphEvent::OnAir(takeover) = event else { unreachable!() };
        assert!(takeover.shifted <= Duration::from_millis(51), "{takeover:?}");
        let of_new = |frames: &[Arc<Frame>]| frames.iter().filter(|frame| frame.codec == codec).count();
        frames.extend(self.until("frames of the new", |frames| of_new(frames) >= each));
        let change = frames.iter().position(|frame| frame.codec == codec).unwrap();
        assert!(frames[change].keyframe && change >= each, "changed at {change}");
        assert_eq!(of_new(&frames[change..]), frames.len() - change, "the old one is silent");
        for pair in frames.windows(2) {
            let (a, b) = (pair[0].packets.last().unwrap(), &pair[1].packets[0]);
            assert!(b.rtp_time.since(a.rtp_time) > 0, "RTP time goes up");
            assert_eq!(b.sequence, a.sequence + 1, "no gap in sequence");
        }
        (takeover, frames)
    }
}

#[test]
fn a_new_encoder_takes_over_at_its_keyframe_and_the_old_one_is_silent() {
    let scene = OnAir::start();
    let second = plan_for("x264", "h264", VideoInput::Test);
    let (mut new, mut said) = scene.candidate(&second.video_encode[0]);
    scene.change((&mut new, &mut said), Codec::H264, 10);
    new.set_on_air(true);
    let OnAir { capture, old, inbox, .. } = scene;
    assert!(old.stop().wait(PATIENCE));
    super::frames_until(&inbox, "frames after the old one is gone", |frames| frames.len() >= 5);
    assert!(new.stop().wait(PATIENCE) && capture.stop().wait(PATIENCE));
}

/// rav1e holds back 13 frames: its first keyframe is older than what has long gone out. What the change takes away is what
/// the new one's picture is older by than the old one's last was: on a machine so busy that this one was as old, nothing.
#[test]
fn an_encoder_that_is_much_slower_leaves_a_gap_and_never_goes_back_in_time() {
    let scene = OnAir::start();
    let (sender, ages) = mpsc::sync_channel(4096);
    let clock = scene.engine.clone();
    let _ages = scene.outlet.subscribe(move |frame| {
        let _ = sender.try_send((frame.codec, frame.pts, clock.now().saturating_since(frame.pts)));
    });
    let second = plan_for("rav1e", "av1", VideoInput::Test);
    let (mut new, mut said) = scene.candidate(&second.video_encode[0]);
    let (takeover, _) = scene.change((&mut new, &mut said), Codec::Av1, 5);
    // More than are inside it stand in its link, and some may have come out since the others were counted.
    let mut held = 0;
    for _ in 0..10 {
        scene.until("another frame of it", |frames| !frames.is_empty());
        let stage = new.stage();
        held = held.max(stage.frames_in.saturating_sub(stage.frames_out));
    }
    assert!((12..=16).contains(&held), "it holds {held} frames back");
    let ages: Vec<_> = ages.try_iter().collect();
    let first = ages.iter().position(|(codec, ..)| *codec == Codec::Av1).unwrap();
    let [(_, before, _), (_, last, age), (_, next, its_age)] = ages[first - 2..=first] else {
        unreachable!()
    };
    println!(
        "{takeover:?}; it holds {held} frames back; the last one was {age:?} old, the next one {its_age:?}"
    );
    // On a busy machine a late picture is shown as of now, close before the next one: half of the 13 is sure.
    let delay = FRAME * 6;
    assert!(its_age >= delay, "out of 13 frames that it holds back: {its_age:?}");
    // To its way out, not to this test's notice of it.
    let withheld = takeover.gap + age + last.saturating_since(before) + last.saturating_since(next);
    let of_delay = next.saturating_since(last) + delay;
    assert!(takeover.gap.is_zero() || withheld >= of_delay, "{takeover:?}: {withheld:?} of {of_delay:?}");
}

/// The candidate silences the old one, then goes away before it could take over.
#[test]
fn a_candidate_that_goes_away_gives_the_stream_back() {
    let scene = OnAir::start();
    // Each frame comes 150 ms late, and there is no second keyframe.
    let late = node("late", "identity", Role::Plain, &[("sleep-time", Value::Integer(150_000))]);
    let mut slow = scene.plan.video_encode[0].clone();
    let encoder = slow.nodes.iter().position(|node| node.role == Role::Encoder).unwrap();
    for link in &mut slow.links {
        if link.to == slow.nodes[encoder].id {
            link.to = "late".to_owned();
        }
    }
    slow.links.push(Link { from: "late".to_owned(), to: slow.nodes[encoder].id.clone() });
    slow.nodes.push(late);
    slow.control.keyframe = None;
    let (mut candidate, _said) = scene.candidate(&slow);
    scene.until("frames of the old", |frames| frames.len() >= 5);
    scene.outlet.switch_to(&candidate);
    candidate.start().unwrap();
    // Half a second after the candidate's first keyframe, the old one is silent.
    let silent = std::time::Instant::now() + PATIENCE;
    while candidate.stage().frames_out < 8 {
        assert!(std::time::Instant::now() < silent, "{:?}", candidate.stage());
        std::thread::yield_now();
    }
    while scene.inbox.try_recv().is_ok() {}
    drop(candidate.stop());
    let frames = scene.until("the old one again", |frames| frames.len() >= 5);
    assert!(frames[0].keyframe, "viewers can go on from here");
}

/// rav1e says that it takes a bitrate only while it is stopped; a plan that says otherwise is refused, not obeyed.
#[test]
fn a_property_that_cannot_change_while_playing_is_refused() {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut plan = plan_for("rav1e", "av1", VideoInput::Test).video_encode.remove(0);
    let range = ("1 kbit/s".parse().unwrap(), "10 Mbit/s".parse().unwrap());
    plan.control.bitrate = Some(BitrateControl {
        node: "encoder".to_owned(),
        property: "bitrate".to_owned(),
        divisor: 1,
        text: None,
        range,
        min_interval: Duration::from_secs(3600),
    });
    let encode = engine.encode(&plan, &hub, &outlet, unheard()).unwrap();
    encode.set_bitrate(range.1).expect("it is stopped");
    assert!(matches!(encode.set_bitrate(range.1), Err(ControlError::TooSoon(_))));
    drop(encode.stop());
    plan.control.bitrate.as_mut().unwrap().min_interval = Duration::ZERO;
    let (events, mut said) = told();
    let mut encode = engine.encode(&plan, &hub, &outlet, events).unwrap();
    encode.start().unwrap();
    said.wait_for("playing", |event| *event == GraphEvent::Playing);
    let error = encode.set_bitrate(range.1).unwrap_err();
    assert!(matches!(&error, ControlError::Property(e) if e.problem == PropertyProblem::NotNow), "{error}");
    drop(encode.stop());
}
