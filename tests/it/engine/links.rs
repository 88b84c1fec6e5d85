//! Who may make the capture wait, and for how long.

use std::sync::mpsc;
use std::time::Duration;

use capcast::engine::{GraphEvent, LINK_PATIENCE};
use capcast::media::MediaKind;
use capcast::plan::{Role, Value};

use super::{PATIENCE, node, pass_through, shared_engine, test_capture, told, unheard, wait_until};

/// Sleeps before each buffer, and cannot be woken.
fn stuck_for(time: Duration) -> capcast::plan::Node {
    let micros = i64::try_from(time.as_micros()).unwrap();
    node("stuck", "identity", Role::Plain, &[("sleep-time", Value::Integer(micros))])
}

#[test]
fn a_link_on_air_that_blocks_is_cut_and_the_others_go_on() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let (good, bad) = (engine.outlet(MediaKind::Video), engine.outlet(MediaKind::Video));
    let (events, mut said) = told();
    let mut capture = engine.capture(&test_capture(&[], vec![]), &hub, unheard()).unwrap();
    let mut goes_on = engine.encode(&pass_through(vec![]), &hub, &good, unheard()).unwrap();
    let mut blocks =
        engine.encode(&pass_through(vec![stuck_for(Duration::from_secs(4))]), &hub, &bad, events).unwrap();
    let (sender, ticks) = mpsc::sync_channel(4096);
    let _units = good.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.pts);
    });
    good.attach(&goes_on);
    goes_on.set_on_air(true);
    blocks.set_on_air(true);
    goes_on.start().unwrap();
    blocks.start().unwrap();
    capture.start().unwrap();

    said.wait_for("the cut", |event| *event == GraphEvent::LinkCut);
    assert_eq!((hub.cuts(), blocks.cuts(), goes_on.cuts()), (1, 1, 0));
    assert!(hub.blocked() >= LINK_PATIENCE, "{:?}", hub.blocked());
    let queue = |graph: &capcast::engine::Graph| graph.queues().remove(0);
    assert!(queue(&blocks).blocked >= LINK_PATIENCE, "{:?}", queue(&blocks));
    // A busy machine may make it wait for a moment.
    assert!(queue(&goes_on).blocked < LINK_PATIENCE, "{:?}", queue(&goes_on));
    // After the cut the capture is free again: the other encode gets frames at their rate.
    while ticks.try_recv().is_ok() {}
    let before = goes_on.stage().frames_out;
    wait_until(&ticks, "30 more frames", || goes_on.stage().frames_out >= before + 30);
    assert_eq!(hub.cuts(), 1, "cut once, not at every frame");
    // The test picture skipped what it could not deliver while it was blocked, and says so.
    let late = capture.stage().dropped.iter().find(|(place, _)| *place == "late").unwrap().1;
    assert!(late >= 5, "{:?}", capture.stage());
    drop(capture.stop());
    drop(goes_on.stop());
    drop(blocks.stop());
    said.wait_for("gone", |event| matches!(event, GraphEvent::Gone { .. }));
}

#[test]
fn a_link_off_air_skips_and_never_blocks() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let (fast, slow) = (engine.outlet(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut capture = engine.capture(&test_capture(&[], vec![]), &hub, unheard()).unwrap();
    let mut on_air = engine.encode(&pass_through(vec![]), &hub, &fast, unheard()).unwrap();
    let mut candidate = engine
        .encode(&pass_through(vec![stuck_for(Duration::from_millis(200))]), &hub, &slow, unheard())
        .unwrap();
    let (sender, ticks) = mpsc::sync_channel(4096);
    let _units = fast.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.pts);
    });
    fast.attach(&on_air);
    on_air.set_on_air(true);
    on_air.start().unwrap();
    candidate.start().unwrap();
    capture.start().unwrap();
    wait_until(&ticks, "frames and skips", || {
        let skipped = candidate.stage().dropped.iter().find(|(place, _)| *place == "link").unwrap().1;
        on_air.stage().frames_out >= 60 && skipped >= 20 && candidate.stage().frames_out >= 2
    });
    assert_eq!((hub.cuts(), candidate.queues()[0].blocked), (0, Duration::ZERO));
    assert!(candidate.queues()[0].dropped >= 20);
    // Frames it did take are whole and in order; the one on air got every frame there was.
    let skipped_on_air = on_air.stage().dropped.iter().find(|(place, _)| *place == "link").unwrap().1;
    assert_eq!(skipped_on_air, 0);
    assert!(capture.stop().wait(PATIENCE));
    assert!(on_air.stop().wait(PATIENCE));
    drop(candidate.stop());
}

#[test]
fn an_encoder_that_stops_under_load_does_not_disturb_the_capture() {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let (events, mut said) = told();
    let mut capture = engine.capture(&test_capture(&[], vec![]), &hub, events).unwrap();
    capture.start().unwrap();
    said.wait_for("flowing", |event| *event == GraphEvent::Flowing);
    for _ in 0..20 {
        let (sender, ticks) = mpsc::sync_channel(64);
        let _units = outlet.subscribe_units(move |_| {
            let _ = sender.try_send(());
        });
        let mut encode = engine.encode(&pass_through(vec![]), &hub, &outlet, unheard()).unwrap();
        encode.set_on_air(true);
        outlet.attach(&encode);
        encode.start().unwrap();
        assert!(ticks.recv_timeout(PATIENCE).is_ok(), "a frame by the new graph");
        drop(encode.stop());
    }
    assert_eq!(hub.cuts(), 0);
    assert!(capture.stop().wait(PATIENCE));
    said.wait_for("gone", |event| matches!(event, GraphEvent::Gone { .. }));
    assert!(!said.seen.iter().any(|e| matches!(e, GraphEvent::Error(_))), "{:?}", said.seen);
}
