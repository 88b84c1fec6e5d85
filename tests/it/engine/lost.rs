//! A viewer loses the first packet of a switch's keyframe, and an independent decoder has the rest.

use std::sync::Arc;
use std::sync::mpsc;

use capcast::engine::{Graph, GraphEvent};
use capcast::media::{Codec, Frame, MediaKind};
use capcast::plan::{GraphPlan, INSTANCE, Role, Value};

use super::{PATIENCE, Wish, frames_until, planned, shared_engine, told, unheard};
use crate::quality::run;

/// So many pictures of the encoder before, so many of the next from its keyframe, and as many from the keyframe after.
const EACH: usize = 12;

/// H.264 as Annex B has it, out of RTP (RFC 6184 §5.6, §5.7.1, §5.8).
fn annex_b<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = [0, 0, 0, 1];
    // A fragment without those before it is none.
    let mut open = false;
    for payload in payloads {
        let kind = payload[0] & 0x1f;
        match kind {
            24 => {
                let mut rest = &payload[1..];
                while let [high, low, nal @ ..] = rest {
                    let (nal, further) = nal.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                    bytes.extend([&start, nal].concat());
                    rest = further;
                }
            }
            28 => {
                if payload[1] & 0x80 != 0 {
                    bytes.extend([&start[..], &[payload[0] & 0xe0 | payload[1] & 0x1f]].concat());
                    open = true;
                }
                if open {
                    bytes.extend(&payload[2..]);
                }
            }
            _ => bytes.extend([&start, payload].concat()),
        }
        open &= kind == 28;
    }
    bytes
}

/// Checksums of all pictures that ffmpeg makes of the packets, all at one size; whatever it complains about.
fn shown(frames: &[Arc<Frame>], without: Option<(usize, usize)>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream.h264");
    let payloads = frames.iter().enumerate().flat_map(|(number, frame)| {
        let packets = frame.packets.iter().enumerate();
        packets.filter(move |(at, _)| without != Some((number, *at))).map(|(_, packet)| &*packet.payload)
    });
    std::fs::write(&path, annex_b(payloads)).unwrap();
    let options = ["-v", "quiet", "-f", "h264", "-i", path.to_str().unwrap(), "-s", "320x180"];
    let sums = ["-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let said = run("ffmpeg", &[&options[..], &sums].concat());
    let pictures = said.lines().filter(|line| !line.starts_with('#'));
    pictures.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// One encoder on air, then the other, then a keyframe of that on request.
fn joined(first: &GraphPlan, second: &GraphPlan, capture: &GraphPlan) -> (Vec<Arc<Frame>>, usize, usize) {
    let engine = shared_engine();
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _frames = outlet.subscribe(move |frame| {
        let _ = sender.try_send(frame.clone());
    });
    let mut capture = engine.capture(capture, &hub, unheard()).unwrap();
    let mut on_air: Graph = engine.encode(first, &hub, &outlet, unheard()).unwrap();
    outlet.attach(&on_air);
    on_air.set_on_air(true);
    on_air.start().unwrap();
    capture.start().unwrap();
    let mut frames = frames_until(&inbox, "the first encoder", |frames| frames.len() >= EACH);
    let (events, mut said) = told();
    let mut candidate = engine.encode(second, &hub, &outlet, events).unwrap();
    outlet.switch_to(&candidate);
    candidate.start().unwrap();
    said.wait_for("the change", |event| matches!(event, GraphEvent::OnAir(_)));
    candidate.set_on_air(true);
    drop(std::mem::replace(&mut on_air, candidate).stop());
    frames.extend(frames_until(&inbox, "a new keyframe", |frames| frames.iter().any(|frame| frame.keyframe)));
    let change = frames.iter().rposition(|frame| frame.keyframe).unwrap();
    frames.extend(frames_until(&inbox, "frames of the new one", |frames| frames.len() >= EACH));
    on_air.force_keyframe().unwrap();
    let keyframe = |frames: &[Arc<Frame>]| frames.iter().position(|frame| frame.keyframe);
    let rest = frames_until(&inbox, "a keyframe on request", |frames| {
        keyframe(frames).is_some_and(|at| frames.len() >= at + EACH)
    });
    let again = frames.len() + keyframe(&rest).unwrap();
    frames.extend(rest);
    assert!(capture.stop().wait(PATIENCE) && on_air.stop().wait(PATIENCE));
    assert!(frames.iter().all(|frame| frame.codec == Codec::H264));
    (frames, change, again)
}

fn plan(encoder: &str, size: (u32, u32), slices: i64) -> (GraphPlan, GraphPlan) {
    let wish = Wish { encoder, codec: "h264", size, framerate: 30, bitrate: 400_000, keyframe_interval: 60 };
    let mut plan = planned(&wish);
    let encode = &mut plan.video_encode[0];
    let encoder = encode.nodes.iter_mut().find(|node| node.role == Role::Encoder).unwrap();
    for (name, value) in &mut encoder.properties {
        match name.as_str() {
            "sliced-threads" => *value = Value::Bool(slices > 1),
            "threads" => *value = Value::Integer(slices),
            _ => {}
        }
    }
    (plan.video_capture, plan.video_encode.remove(0))
}

/// Pictures that are shown although they are none of the stream's, half of a keyframe or what refers to it; and whether the
/// next keyframe ends that.
fn foreign(first: &GraphPlan, second: &GraphPlan, capture: &GraphPlan) -> (usize, bool) {
    let (frames, change, again) = joined(first, second, capture);
    let whole = shown(&frames, None);
    assert_eq!(whole.len(), frames.len(), "every picture decodes");
    let left = shown(&frames, Some((change, 0)));
    // What was before stays as it was.
    assert_eq!(left[..change], whole[..change]);
    let found = left[change..].iter().filter(|sum| !whole.contains(sum)).count();
    (found, left.ends_with(&whole[again..]))
}

fn leaves_nothing_foreign(first: &str, second: (&str, (u32, u32), i64)) {
    let (capture, old) = plan(first, (320, 180), 1);
    let (encoder, size, slices) = second;
    let (_, new) = plan(encoder, size, slices);
    let found = foreign(&old, &new, &capture);
    assert_eq!(found, (0, true), "{first} to {second:?}: pictures that nobody sent are shown");
}

#[test]
fn a_broken_keyframe_of_another_size_is_not_shown() {
    leaves_nothing_foreign("x264", ("x264", (160, 90), 1));
    leaves_nothing_foreign("x264", ("x264", (480, 270), 4));
}

#[test]
fn a_broken_keyframe_of_several_slices_is_not_shown() {
    leaves_nothing_foreign("x264", ("x264", (320, 180), 4));
}

/// That the tests above can fail: with one number for all, it is shown.
#[test]
fn with_the_parameter_sets_of_before_it_would_be_shown() {
    let (capture, mut old) = plan("x264", (320, 180), 1);
    let (_, mut new) = plan("x264", (160, 90), 1);
    for node in [&mut old, &mut new].into_iter().flat_map(|plan| &mut plan.nodes) {
        for (_, value) in &mut node.properties {
            if let Value::Text(text) = value {
                *text = text.replace(INSTANCE, "0");
            }
        }
    }
    assert!(foreign(&old, &new, &capture).0 > 0);
}
