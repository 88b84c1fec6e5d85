//! One outlet through many encoders: what a viewer's receiver builds on never breaks.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use capcast::config::VideoInput;
use capcast::engine::{Graph, GraphEvent};
use capcast::media::{Codec, Frame, MediaKind};
use capcast::plan::{Role, Value};

use super::{PATIENCE, frames_until, line_on, plan_for, shared_engine, told, unheard};

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
    let mut capture = engine
        .capture_sound(plan.audio_capture.as_ref().unwrap(), &line_on(&engine, &hub), unheard())
        .unwrap();
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
        candidate.set_on_air(true);
        candidate.start().unwrap();
        said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
        drop(std::mem::replace(&mut on_air, candidate).stop());
        frames.extend(frames_until(&inbox, "sound after the change", |frames| frames.len() >= 20));
    }
    one_stream(&frames[1..], 48_000, 48);
    // A machine so busy that the tone itself was made too late has holes of its own.
    let made_late = capture.stage().dropped.iter().any(|(_, count)| *count > 0);
    // The first packet is shorter by what the encoder looks ahead, 6.5 ms; after a change one may be, too.
    for pair in frames[1..].windows(2) {
        let step = pair[1].packets[0].rtp_time.since(pair[0].packets[0].rtp_time);
        assert!(step >= 600, "{step} of 48 000");
        assert!(step <= 1_920 || made_late, "{step} of 48 000: {:?}", capture.stage());
    }
    drop((on_air.stop(), capture.stop()));
}

/// H.264 bits as ITU-T H.264 §7.2 and §9.1 read them.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> u32 {
        let byte = self.bytes.get(self.at / 8).copied().unwrap_or(0xff);
        self.at += 1;
        u32::from(byte >> (7 - (self.at - 1) % 8) & 1)
    }

    /// ue(v)
    fn exp_golomb(&mut self) -> u32 {
        let zeros = (0..32).take_while(|_| self.bit() == 0).count();
        (0..zeros).fold(1, |value, _| value << 1 | self.bit()) - 1
    }
}

/// The NAL units of an Annex B access unit.
fn nal_units(unit: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..unit.len().saturating_sub(3))
        .filter(|at| unit[*at..*at + 3] == [0, 0, 1])
        .map(|at| at + 3)
        .collect();
    let end = |next: usize| starts.get(next).map_or(unit.len(), |start| start - 3);
    starts.iter().enumerate().map(|(index, start)| &unit[*start..end(index + 1)]).collect()
}

/// Which picture parameter set a slice refers to, or a set defines.
fn parameter_set(nal: &[u8]) -> Option<(u8, u32)> {
    let kind = nal.first()? & 0x1f;
    let mut bits = Bits { bytes: &nal[1..], at: 0 };
    match kind {
        // first_mb_in_slice, slice_type, pic_parameter_set_id (§7.3.3)
        1 | 5 => {
            bits.exp_golomb();
            bits.exp_golomb();
            Some((kind, bits.exp_golomb()))
        }
        8 => Some((kind, bits.exp_golomb())),
        _ => None,
    }
}

/// A viewer who loses the first packet of a switch's keyframe, with its parameter sets, has those of the encoder before.
/// No slice that arrives may refer to them, or half a picture is decoded as if it were whole.
#[test]
fn what_is_left_of_a_broken_keyframe_refers_to_nothing_that_is_known() {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let mut plan = plan_for("x264", "h264", VideoInput::Test);
    let encoder = plan.video_encode[0].nodes.iter_mut().find(|node| node.role == Role::Encoder).unwrap();
    for (name, value) in &mut encoder.properties {
        match name.as_str() {
            "sliced-threads" => *value = Value::Bool(true),
            "threads" => *value = Value::Integer(4),
            _ => {}
        }
    }
    let (sender, units) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send((unit.keyframe, unit.data.clone()));
    });
    let mut capture = engine.capture(&plan.video_capture, &hub, unheard()).unwrap();
    capture.start().unwrap();
    let mut on_air: Option<Graph> = None;
    let mut known: Option<u32> = None;
    for _ in 0..4 {
        let (events, mut said) = told();
        let mut candidate = engine.encode(&plan.video_encode[0], &hub, &outlet, events).unwrap();
        while units.try_recv().is_ok() {}
        outlet.switch_to(&candidate);
        candidate.start().unwrap();
        said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
        drop(on_air.replace(candidate).map(Graph::stop));
        let keyframe = loop {
            let (keyframe, data) = units.recv_timeout(PATIENCE).unwrap();
            if keyframe {
                break data;
            }
        };
        let sets: Vec<(u8, u32)> = nal_units(&keyframe).into_iter().filter_map(parameter_set).collect();
        let slices: Vec<u32> = sets.iter().filter(|(kind, _)| *kind == 5).map(|(_, id)| *id).collect();
        assert!(slices.len() >= 2, "several slices: {sets:?}");
        let own = sets.iter().find(|(kind, _)| *kind == 8).map(|(_, id)| *id).unwrap();
        assert!(slices.iter().all(|id| *id == own), "{sets:?}");
        assert!(known.replace(own).is_none_or(|before| before != own), "the same number as before: {sets:?}");
    }
    drop((on_air.map(Graph::stop), capture.stop()));
}
