use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::engine::{Engine, TEARDOWN_PATIENCE};
use crate::media::MediaKind;
use crate::plan::{Role, Value};

fn lane(engine: &Engine, codec: Codec, factory: &str) -> Lane {
    let properties = vec![("mtu".to_owned(), Value::Integer(1200)), ("pt".to_owned(), Value::Integer(96))];
    Lane {
        outlet: engine.outlet(codec.kind()),
        codec,
        payloader: Node {
            id: "pay".to_owned(),
            factory: factory.to_owned(),
            role: Role::Payloader,
            properties,
        },
        limits: QueueClass { buffers: 0, time: Duration::from_millis(500), bytes: 8_000_000 },
        picture: None,
        bitrate: Bitrate::from_bits(1_000_000),
        reorders: None,
    }
}

#[test]
fn every_codec_is_offered_before_any_media_and_with_our_certificate() {
    let engine = Engine::new().unwrap();
    for (codec, factory, lines) in [
        (
            Codec::H264,
            "rtph264pay",
            &["a=rtpmap:96 H264/90000", "profile-level-id=42e01f", "a=rtpmap:97 rtx/90000"][..],
        ),
        (Codec::Vp9, "rtpvp9pay", &["a=rtpmap:96 VP9/90000", "profile-id=0"]),
        (Codec::Av1, "rtpav1pay", &["a=rtpmap:96 AV1/90000"]),
        (Codec::Vp8, "rtpvp8pay", &["a=rtpmap:96 VP8/90000"]),
    ] {
        let lanes = [lane(&engine, codec, factory), lane(&engine, Codec::Opus, "rtpopuspay")];
        let (tell, told) = mpsc::channel();
        let sink: TransportSink = Arc::new(move |event| drop(tell.send(event)));
        let transport = engine.webrtc("test", &lanes, &[], sink).unwrap();
        let (mut early, mut all) = (None, None);
        while all.is_none() {
            match told.recv_timeout(Duration::from_secs(30)) {
                Ok(TransportEvent::Offer { sdp, complete: false }) => early = Some(sdp),
                Ok(TransportEvent::Offer { sdp, complete: true }) => all = Some(sdp),
                Ok(TransportEvent::Candidate { line, .. }) => {
                    assert!(line.starts_with("candidate:"), "{line}");
                }
                other => panic!("{codec}: {other:?} before the whole offer"),
            }
        }
        let (early, all) = (early.expect("an offer at once"), all.unwrap_or_default());
        let shared =
            ["a=rtpmap:111 OPUS/48000/2", "a=rtcp-fb:96 nack pli", "a=sendonly", "a=ssrc:", "a=group:BUNDLE"];
        for line in lines.iter().chain(&shared) {
            assert!(all.contains(line), "{codec}: no `{line}` in\n{all}");
        }
        let fingerprint = |sdp: &str| {
            let lines: Vec<_> = sdp.lines().filter(|line| line.starts_with("a=fingerprint:")).collect();
            (lines.len(), lines[0].to_owned())
        };
        assert_eq!(fingerprint(&early), fingerprint(&all), "{codec}");
        assert_eq!(transport.stats().units, 0);
        assert!(transport.close().wait(TEARDOWN_PATIENCE), "{codec}: it does not go down");
        assert!(told.recv().is_err(), "{codec}: something still holds what it speaks by");
    }
    assert_eq!(engine.outlet(MediaKind::Video).keyframe_requests(), (0, 0));
}

/// RFC 9725 §4.2 and §4.4, of a picture and its sound.
#[test]
fn an_offer_keeps_the_constraints_of_whip() {
    let engine = Engine::new().unwrap();
    let lanes = [lane(&engine, Codec::H264, "rtph264pay"), lane(&engine, Codec::Opus, "rtpopuspay")];
    let (tell, told) = mpsc::channel();
    let sink: TransportSink = Arc::new(move |event| drop(tell.send(event)));
    let _transport = engine.webrtc("test", &lanes, &[], sink).unwrap();
    let offer = loop {
        match told.recv_timeout(Duration::from_secs(30)) {
            Ok(TransportEvent::Offer { sdp, complete: true }) => break sdp,
            Ok(TransportEvent::Offer { .. } | TransportEvent::Candidate { .. }) => {}
            other => panic!("{other:?} before the whole offer"),
        }
    };
    let mut parts = offer.split("\r\nm=");
    let session = parts.next().unwrap_or_default();
    let media: Vec<&str> = parts.collect();
    let kinds: Vec<_> = media.iter().filter_map(|media| media.split(' ').next()).collect();
    assert_eq!(kinds, ["video", "audio"], "{offer}");
    let bundle = session.lines().find_map(|line| line.strip_prefix("a=group:BUNDLE ")).unwrap_or_default();
    let mids: Vec<_> =
        media.iter().filter_map(|m| m.lines().find_map(|line| line.strip_prefix("a=mid:"))).collect();
    assert_eq!(bundle.split(' ').collect::<Vec<_>>(), mids, "one bundle of all: {offer}");
    for media in &media {
        for line in ["a=rtcp-mux", "a=rtcp-mux-only", "a=sendonly", "a=setup:actpass"] {
            assert!(media.lines().any(|one| one == line), "no `{line}` in\n{media}");
        }
    }
    for line in ["a=ice-lite", "a=simulcast", "a=rid:", "a=recvonly", "a=inactive"] {
        assert!(!offer.contains(line), "`{line}` in\n{offer}");
    }
    // `a=msid:STREAM TRACK`, or the same within `a=ssrc:`.
    let streams = offer.lines().filter_map(|line| line.split_once("msid:"));
    let streams: std::collections::BTreeSet<_> =
        streams.filter_map(|(_, names)| names.split(' ').next()).collect();
    assert_eq!(streams.len(), 1, "one MediaStream: {offer}");
}

#[test]
fn an_answer_that_does_not_fit_is_refused_in_words() {
    let engine = Engine::new().unwrap();
    let lanes = [lane(&engine, Codec::Vp8, "rtpvp8pay")];
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
    let media =
        |port: u32| format!("m=video {port} UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:video0\r\n");
    for (answer, words) in [
        (head.to_owned(), "another number of media"),
        (format!("{head}{}{}", media(9), media(9)), "another number of media"),
        (format!("{head}{}", media(0)), "does not take the picture"),
        (format!("{head}{}", media(9)), "the server's answer cannot be used"),
    ] {
        let (tell, told) = mpsc::channel();
        let sink: TransportSink = Arc::new(move |event| drop(tell.send(event)));
        let mut transport = engine.webrtc("test", &lanes, &[], sink).unwrap();
        let mut answered = false;
        loop {
            match told.recv_timeout(Duration::from_secs(30)) {
                Ok(TransportEvent::Offer { .. }) if !answered => {
                    answered = true;
                    transport.answer(&answer);
                }
                Ok(TransportEvent::Failed(said)) => {
                    assert!(said.contains(words), "{said}");
                    break;
                }
                Ok(_) => {}
                Err(error) => panic!("{error}: nothing was said about {answer}"),
            }
        }
    }
}
