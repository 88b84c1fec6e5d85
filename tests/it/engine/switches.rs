//! One outlet through many encoders: what a viewer's receiver builds on never breaks.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use capcast::config::VideoInput;
use capcast::engine::{Graph, GraphEvent};
use capcast::media::{Codec, Frame, MediaKind};

use super::{PATIENCE, frames_until, plan_for, shared_engine, told, unheard};

/// How far RTP time may be from the capture time: what a change moves it by, and rounding.
const MOST_SHIFT: u64 = 50 * 90 + 1;

/// What has to hold of everything that goes out, whatever feeds it.
fn one_stream(frames: &[Arc<Frame>], clock_rate: u64, most_shift: u64) {
    let mut last: Option<&Frame> = None;
    for frame in frames {
        let (first, end) = (&frame.packets[0], frame.packets.last().unwrap());
        assert!(
            frame.packets.iter().all(|packet| packet.rtp_time == first.rtp_time),
            "one picture, one time"
        );
        if clock_rate == 90_000 {
            assert!(end.marker, "whole pictures only");
        }
        let captured = frame.pts.as_nanos() / 1000 * clock_rate / 1_000_000;
        let moved = first.rtp_time.0.wrapping_sub(captured as u32).cast_signed();
        assert!((-1..=most_shift as i64).contains(&i64::from(moved)), "moved by {moved} of {clock_rate}");
        if let Some(last) = last {
            let before = last.packets.last().unwrap();
            assert!(first.rtp_time.since(before.rtp_time) > 0, "RTP time goes up");
            assert_eq!(first.sequence, before.sequence + 1, "no gap in sequence");
            assert!(frame.codec == last.codec || frame.keyframe, "another codec begins with a keyframe");
        }
        last = Some(frame);
    }
}

fn drain(inbox: &Receiver<Arc<Frame>>, into: &mut Vec<Arc<Frame>>) {
    while let Ok(frame) = inbox.try_recv() {
        into.push(frame);
    }
}

#[test]
fn the_picture_goes_on_through_every_software_encoder() {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let plan = |(encoder, codec): (&str, &str)| plan_for(encoder, codec, VideoInput::Test);
    let first = plan(("x264", "h264"));
    let (sender, inbox) = mpsc::sync_channel(65_536);
    let _frames = outlet.subscribe(move |frame| {
        let _ = sender.try_send(frame.clone());
    });
    let (sender, units) = mpsc::sync_channel(65_536);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send(unit.pts);
    });
    let mut capture = engine.capture(&first.video_capture, &hub, unheard()).unwrap();
    let mut on_air: Graph = engine.encode(&first.video_encode[0], &hub, &outlet, unheard()).unwrap();
    outlet.attach(&on_air);
    on_air.set_on_air(true);
    on_air.start().unwrap();
    capture.start().unwrap();
    let mut frames = frames_until(&inbox, "the first encoder", |frames| frames.len() >= 10);
    let turns = [
        ("vp9", "vp9"),
        ("x264", "h264"),
        ("openh264", "h264"),
        ("vp8", "vp8"),
        ("aom", "av1"),
        ("x264", "h264"),
    ];
    for turn in turns {
        let (events, mut said) = told();
        let next = plan(turn);
        assert_eq!(next.video_capture, first.video_capture, "the capture stays");
        let mut candidate = engine.encode(&next.video_encode[0], &hub, &outlet, events).unwrap();
        outlet.switch_to(&candidate);
        candidate.start().unwrap();
        let event = said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
        let GraphEvent::OnAir(takeover) = event else { unreachable!() };
        println!("{turn:?}: {takeover:?}");
        assert!(takeover.shifted <= Duration::from_millis(50), "{turn:?}: {takeover:?}");
        candidate.set_on_air(true);
        let old = std::mem::replace(&mut on_air, candidate);
        assert!(old.stop().wait(PATIENCE));
        drain(&inbox, &mut frames);
        let after = frames_until(&inbox, "frames of the new one", |frames| frames.len() >= 10);
        assert!(after.iter().all(|frame| frame.codec == after[0].codec), "the old one is silent");
        frames.extend(after);
    }
    one_stream(&frames, 90_000, MOST_SHIFT);
    let mut codecs: Vec<Codec> = frames.iter().map(|frame| frame.codec).collect();
    codecs.dedup();
    use Codec::{Av1, H264, Vp8, Vp9};
    assert_eq!(codecs, [H264, Vp9, H264, Vp8, Av1, H264]);
    let times: Vec<_> = units.try_iter().collect();
    assert!(times.len() >= frames.len() && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    drop((on_air.stop(), capture.stop()));
}

/// Every packet of sound decodes by itself, but none may be heard twice.
#[test]
fn sound_changes_over_without_an_overlap() {
    let engine = shared_engine();
    let plan = plan_for("vp8", "vp8", VideoInput::Test);
    let (hub, outlet) = (engine.raw_hub(MediaKind::Audio), engine.outlet(MediaKind::Audio));
    let mut capture = engine.capture(plan.audio_capture.as_ref().unwrap(), &hub, unheard()).unwrap();
    let encode = plan.audio_encode.as_ref().unwrap();
    let mut on_air = engine.encode(encode, &hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _frames = outlet.subscribe(move |frame| {
        let _ = sender.try_send(frame.clone());
    });
    on_air.set_on_air(true);
    outlet.attach(&on_air);
    on_air.start().unwrap();
    capture.start().unwrap();
    let mut frames = frames_until(&inbox, "sound", |frames| frames.len() >= 20);
    for _ in 0..5 {
        let (events, mut said) = told();
        let mut candidate = engine.encode(encode, &hub, &outlet, events).unwrap();
        outlet.switch_to(&candidate);
        candidate.start().unwrap();
        said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
        candidate.set_on_air(true);
        drop(std::mem::replace(&mut on_air, candidate).stop());
        frames.extend(frames_until(&inbox, "sound after the change", |frames| frames.len() >= 20));
    }
    one_stream(&frames[1..], 48_000, 48);
    // The first packet is shorter by what the encoder looks ahead, 6.5 ms; after a change one may be, too.
    for pair in frames[1..].windows(2) {
        let step = pair[1].packets[0].rtp_time.since(pair[0].packets[0].rtp_time);
        assert!((600..=1_920).contains(&step), "{step} of 48 000");
    }
    drop((on_air.stop(), capture.stop()));
}
