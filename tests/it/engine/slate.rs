//! The picture goes on without its source: the last one at first, then the slate, then the source again.

use std::sync::mpsc;

use capcast::engine::Showing;
use capcast::media::{FrameSize, MediaKind, MediaTime, SourceHealth, SourceState};
use capcast::plan::Value;

use super::{pass_through, shared_engine, test_capture, text, unheard, wait_until};

const SIZE: FrameSize = FrameSize::new(320, 180);

/// What the middle of the lower third is like: the slate's ground, or something brighter.
fn is_slate(picture: &[u8]) -> bool {
    let line = 150 * 320;
    picture[line + 40..line + 280].iter().all(|luma| luma.abs_diff(36) <= 2)
}

#[test]
fn a_picture_whose_source_ends_is_held_then_a_slate_and_goes_on_when_it_comes_back() {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let outlet = engine.outlet(MediaKind::Video);
    let slate = engine.slate(&hub, SIZE, "30".parse().unwrap()).unwrap();
    let (sender, units) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send((unit.pts, is_slate(&unit.data), unit.data.len()));
    });
    let mut encode = engine.encode(&pass_through(vec![]), &hub, &outlet, unheard()).unwrap();
    outlet.attach(&encode);
    encode.set_on_air(true);
    encode.start().unwrap();
    slate.say(&SourceHealth::of(SourceState::Gone), false);
    slate.set_on(true);
    let mut seen: Vec<(MediaTime, bool, usize)> = Vec::new();
    let until = |seen: &mut Vec<_>, what: &str, slates: bool, count: usize| {
        let mut found = 0;
        while found < count {
            let unit = units.recv_timeout(super::PATIENCE).unwrap_or_else(|_| panic!("{what} never came"));
            found += usize::from(unit.1 == slates);
            seen.push(unit);
        }
    };
    // Before there was any source.
    until(&mut seen, "the slate at first", true, 10);
    assert_eq!(slate.showing(), Showing::Slate);
    for _ in 0..2 {
        let plan = test_capture(&[("pattern", text("white")), ("num-buffers", Value::Integer(900))], vec![]);
        let mut capture = engine.capture(&plan, &hub, unheard()).unwrap();
        capture.start().unwrap();
        until(&mut seen, "the picture", false, 20);
        slate.say(&SourceHealth::of(SourceState::Live), false);
        wait_until(&units, "the source itself", || slate.showing() == Showing::Source);
        assert!(capture.stop().wait(super::PATIENCE));
        slate.say(&SourceHealth::of(SourceState::NoSignal), false);
        until(&mut seen, "the slate", true, 10);
    }
    // The picture is held before the slate comes: white frames outlast their source.
    assert!(seen.windows(2).all(|pair| pair[1].0 > pair[0].0), "time goes back");
    assert!(seen.iter().all(|unit| unit.2 == seen[0].2), "the format changes");

    // Frames that are no picture are not shown.
    let plan = test_capture(&[("pattern", text("white"))], vec![]);
    let mut noise = engine.capture(&plan, &hub, unheard()).unwrap();
    slate.say(&SourceHealth::of(SourceState::NoSignal), true);
    noise.start().unwrap();
    let ticks: Vec<_> = units.try_iter().collect();
    drop(ticks);
    wait_until(&units, "frames of the capture", || noise.frames_out() > 20);
    while let Ok((_, slate, _)) = units.try_recv() {
        assert!(slate, "noise is shown");
    }
    slate.say(&SourceHealth::of(SourceState::Live), false);
    until(&mut seen, "the picture once it is one", false, 5);
    drop(slate);
    drop(noise.stop());
    drop(encode.stop());
}
