//! Test picture → hub → each software encoder → outlet.

use std::sync::mpsc;

use capcast::config::VideoInput;
use capcast::engine::{ControlError, GraphEvent};
use capcast::media::{Bitrate, Codec, MediaKind};

use super::{frames_until, line_on, plan_for, shared_engine, told, unheard, wait_until};

/// Frames flow, begin with a keyframe, obey RTP's rules; a keyframe can be forced; the bitrate can change (or says why not).
fn encodes(encoder: &str, codec: Codec, live_bitrate: bool) {
    let engine = shared_engine();
    let plan = plan_for(encoder, codec.as_str(), VideoInput::Test);
    let (hub, outlet) = (engine.raw_hub(MediaKind::Video), engine.outlet(MediaKind::Video));
    let (events, mut said) = told();
    let mut capture = engine.capture(&plan.video_capture, &hub, unheard()).unwrap();
    let mut encode = engine.encode(&plan.video_encode[0], &hub, &outlet, events).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _frames = outlet.subscribe(move |frame| {
        let _ = sender.try_send(frame.clone());
    });
    let (sender, units) = mpsc::sync_channel(4096);
    let _units = outlet.subscribe_units(move |unit| {
        let _ = sender.try_send((unit.pts, unit.keyframe, unit.data.len(), unit.codec));
    });
    encode.set_on_air(true);
    outlet.attach(&encode);
    encode.start().unwrap();
    said.wait_for("playing", |event| *event == GraphEvent::Playing);
    capture.start().unwrap();

    let frames = frames_until(&inbox, "15 frames", |frames| frames.len() >= 15);
    said.wait_for("flowing", |event| *event == GraphEvent::Flowing);
    assert!(
        matches!(said.wait_for("on air", |e| matches!(e, GraphEvent::OnAir(_))), GraphEvent::OnAir(takeover) if takeover.gap.is_zero())
    );
    assert!(frames[0].keyframe, "the first frame is a keyframe");
    let keyframes = frames.iter().filter(|frame| frame.keyframe).count();
    assert!(keyframes <= 2, "{keyframes} keyframes in 15 frames");
    for pair in frames.windows(2) {
        assert!(pair[1].pts > pair[0].pts, "PTS goes up");
    }
    for frame in &frames {
        assert_eq!(frame.codec, codec);
        let ticks = (u128::from(frame.pts.as_nanos()) * 90_000 + 500_000_000) / 1_000_000_000;
        for (index, packet) in frame.packets.iter().enumerate() {
            assert_eq!(packet.rtp_time.0, ticks as u32, "RTP time is 90 kHz of the PTS");
            assert_eq!(
                packet.marker,
                index + 1 == frame.packets.len(),
                "the marker ends the frame, and only there"
            );
            assert!(!packet.payload.is_empty() && packet.payload.len() <= 1200, "{}", packet.payload.len());
        }
    }
    let sequence: Vec<u64> = frames.iter().flat_map(|f| f.packets.iter().map(|p| p.sequence)).collect();
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequence:?}");
    let (pts, keyframe, size, unit_codec) = units.recv_timeout(super::PATIENCE).unwrap();
    assert_eq!((pts, keyframe, unit_codec), (frames[0].pts, true, codec));
    let payload: usize = frames[0].packets.iter().map(|packet| packet.payload.len()).sum();
    assert!(size.abs_diff(payload) < 200 + frames[0].packets.len() * 16, "unit {size}, packets {payload}");

    // Requests are merged: three of them are one keyframe, and it comes within what the encoder holds back.
    while inbox.try_recv().is_ok() {}
    let before = outlet.keyframe_requests();
    for _ in 0..3 {
        outlet.request_keyframe();
    }
    let until = frames_until(&inbox, "a forced keyframe", |frames| frames.last().is_some_and(|f| f.keyframe));
    assert!(until.len() <= 45, "the keyframe came after {} frames", until.len());
    let (asked, forced) = outlet.keyframe_requests();
    assert_eq!(asked - before.0, 3);
    assert!((1..=2).contains(&(forced - before.1)), "{forced}");
    frames_until(&inbox, "frames after the keyframe", |frames| frames.len() >= 5);

    match encode.set_bitrate(Bitrate::from_bits(200_000)) {
        Ok(()) => assert!(live_bitrate),
        Err(error) => assert!(!live_bitrate && error == ControlError::Unsupported, "{error}"),
    }
    if live_bitrate {
        let refused = encode.set_bitrate(Bitrate::from_bits(1)).unwrap_err();
        assert!(matches!(refused, ControlError::Range(..)), "{refused}");
    }
    frames_until(&inbox, "frames after the bitrate", |frames| frames.len() >= 5);

    // There is no rate in the first second.
    let told = || encode.stage().frames_out >= 25 && encode.stage().fps > 1.0;
    wait_until(&inbox, "counters", told);
    let (stage, captured, out) = (encode.stage(), capture.stage(), outlet.stage());
    // The capture counts a frame once it is handed over; a quick encoder has it out by then.
    assert!(
        stage.frames_in >= stage.frames_out && captured.frames_out + 1 >= stage.frames_in,
        "{captured:?} {stage:?}"
    );
    assert!(stage.latency_p50.is_some() && stage.latency_p50 <= stage.latency_p95, "{stage:?}");
    assert!(out.latency_p50 >= stage.latency_p50, "age {out:?} contains encoding {stage:?}");
    assert!(stage.keyframes >= 2 && stage.bitrate > 0 && stage.fps > 1.0, "{stage:?}");
    let lost: u64 = stage.dropped.iter().filter(|(place, _)| *place != "link").map(|(_, count)| count).sum();
    assert_eq!(lost, 0, "{stage:?}");
    let format = hub.format().unwrap();
    assert_eq!(format.size.unwrap().to_string(), "320x180");
    assert_eq!(format.framerate.unwrap().to_string(), "30");
    let levels = encode.queues();
    assert!(
        levels.iter().any(|level| level.name == "video-encode/from-hub" && level.max_buffers > 0),
        "{levels:?}"
    );

    assert!(capture.stop().wait(super::PATIENCE) && encode.stop().wait(super::PATIENCE));
    assert_eq!(
        said.wait_for("gone", |e| matches!(e, GraphEvent::Gone { .. })),
        GraphEvent::Gone { abandoned: false }
    );
    assert!(!said.seen.iter().any(|event| matches!(event, GraphEvent::Error(_))), "{:?}", said.seen);
}

#[test]
fn x264_encodes() {
    encodes("x264", Codec::H264, true);
}

#[test]
fn openh264_encodes() {
    encodes("openh264", Codec::H264, true);
}

#[test]
fn vp9_encodes() {
    encodes("vp9", Codec::Vp9, true);
}

#[test]
fn vp8_encodes() {
    encodes("vp8", Codec::Vp8, true);
}

#[test]
fn aom_encodes_and_restarts_for_a_keyframe() {
    encodes("aom", Codec::Av1, true);
}

#[test]
fn svt_encodes() {
    encodes("svt", Codec::Av1, true);
}

#[test]
fn rav1e_encodes() {
    encodes("rav1e", Codec::Av1, false);
}

#[test]
fn opus_encodes_the_tone_in_whole_frames() {
    let engine = shared_engine();
    let plan = plan_for("x264", "h264", VideoInput::Test);
    let (hub, outlet) = (engine.raw_hub(MediaKind::Audio), engine.outlet(MediaKind::Audio));
    let mut capture = engine
        .capture_sound(plan.audio_capture.as_ref().unwrap(), &line_on(&engine, &hub), unheard())
        .unwrap();
    let mut encode = engine.encode(plan.audio_encode.as_ref().unwrap(), &hub, &outlet, unheard()).unwrap();
    let (sender, inbox) = mpsc::sync_channel(4096);
    let _frames = outlet.subscribe(move |frame| {
        let _ = sender.try_send(frame.clone());
    });
    encode.set_on_air(true);
    outlet.attach(&encode);
    encode.start().unwrap();
    capture.start().unwrap();
    let frames = frames_until(&inbox, "50 packets", |frames| frames.len() >= 50);
    for frame in &frames {
        assert_eq!((frame.packets.len(), frame.keyframe, frame.codec), (1, true, Codec::Opus));
    }
    // The first packet is shorter by what the encoder looks ahead, 6.5 ms.
    for pair in frames[1..].windows(2) {
        assert_eq!(pair[1].packets[0].rtp_time.since(pair[0].packets[0].rtp_time), 960, "20 ms at 48 kHz");
        assert_eq!(pair[1].packets[0].sequence, pair[0].packets[0].sequence + 1);
    }
    assert_eq!(hub.format().unwrap().sample_rate, Some(48_000));
    encode.set_bitrate(Bitrate::from_bits(32_000)).unwrap();
    assert_eq!(encode.force_keyframe(), Err(ControlError::Unsupported));
    assert!(capture.stop().wait(super::PATIENCE) && encode.stop().wait(super::PATIENCE));
}
