//! Every answer to the POST: state, words, wait, and what is left to do.

use super::*;

const GARBAGE: &str = "\u{1}\u{2}not sdp";
const PAGE: &str = "<!DOCTYPE html><title>hello</title>";
const NO_VIDEO: &str = "v=0\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\nm=audio 9 UDP/TLS/RTP/SAVPF 97\r\n";
const NO_AUDIO: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nm=audio 0 UDP/TLS/RTP/SAVPF 97\r\n";
const INACTIVE: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=inactive\r\nm=audio 9 X 97\r\n";
const OTHER_LINES: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 97\r\n";

type Headers = &'static [(&'static str, &'static str)];

/// What follows an answer.
enum Then {
    /// Nothing until somebody acts.
    Halts,
    /// An attempt after so many milliseconds.
    Waits(u64, u64),
    /// It is taken.
    Joins,
}
use Then::{Halts, Joins, Waits};

fn cases() -> Vec<(u16, Headers, &'static str, Phase, Then, &'static str)> {
    const FIRST: Then = Waits(1_000, 1_000); // 375 to 625 ms, but attempts are a second apart
    vec![
        (201, BOX, ANSWER, Phase::Connecting, Joins, ""),
        (200, FULL, ANSWER, Phase::Connecting, Joins, ""),
        (201, &[], ANSWER, Phase::Connecting, Joins, ""),
        (201, BOX, NO_AUDIO, Phase::Connecting, Joins, ""),
        (201, BOX, NO_VIDEO, Phase::CodecRefused, Halts, "not H.264"),
        (201, BOX, INACTIVE, Phase::CodecRefused, Halts, "not H.264"),
        (201, BOX, OTHER_LINES, Phase::BackingOff, FIRST, "does not fit the offer"),
        (201, BOX, GARBAGE, Phase::BackingOff, FIRST, "with what is no SDP"),
        (201, BOX, "", Phase::BackingOff, FIRST, "with nothing"),
        (200, &[("content-type", "text/html")], PAGE, Phase::WrongUrl, Halts, "with a web page"),
        (204, &[], "", Phase::WrongUrl, Halts, "204 with nothing"),
        (
            301,
            &[("location", "https://n.example/x/y")],
            "",
            Phase::WrongUrl,
            Halts,
            "points to https://n.example;",
        ),
        (302, &[("location", "/login")], "", Phase::WrongUrl, Halts, "points to https://b.example.org;"),
        (303, &[], "", Phase::WrongUrl, Halts, "303"),
        (307, &[], "", Phase::BackingOff, FIRST, "without saying where to"),
        (308, &[("location", "ftp://x/y")], "", Phase::WrongUrl, Halts, "`ftp:`"),
        (307, &[("location", "http://b.example.org/api/whip")], "", Phase::WrongUrl, Halts, "down to http"),
        (400, &[], "session already has a host\n", Phase::HostBusy, Waits(2_000, 3_000), "our lost one"),
        (409, &[], "", Phase::HostBusy, Waits(2_000, 3_000), "409"),
        (400, &[], "invalid offer: EOF", Phase::InvalidOffer, Halts, "invalid offer: EOF"),
        (400, &[], "error reading offer", Phase::InvalidOffer, Halts, "error reading offer"),
        (400, &[], "Authorization was not set", Phase::Refused, Halts, "does not take the key"),
        (400, &[], "unable to start track, codec is not supported", Phase::CodecRefused, Halts, "H.264"),
        (400, &[], "Client sent an HTTP request to an HTTPS server.", Phase::WrongUrl, Halts, "speaks https"),
        (
            400,
            &[],
            "<html>The plain HTTP request was sent to HTTPS port",
            Phase::WrongUrl,
            Halts,
            "`https://`",
        ),
        (401, &[], "", Phase::Refused, Halts, "does not take the key: 401"),
        (403, &[], "no", Phase::Refused, Halts, "403 `no`"),
        (404, &[], "404 page not found", Phase::WrongUrl, Halts, "no WHIP endpoint"),
        (405, &[], PAGE, Phase::WrongUrl, Halts, "405"),
        (410, &[], "", Phase::WrongUrl, Halts, "410"),
        (406, &[], "tracks", Phase::CodecRefused, Halts, "H.264: 406"),
        (415, &[], "", Phase::InvalidOffer, Halts, "415"),
        (422, &[], "", Phase::InvalidOffer, Halts, "422"),
        (429, &[("retry-after", "5")], "", Phase::BackingOff, Waits(5_000, 5_500), "later"),
        (500, &[], "oops", Phase::BackingOff, FIRST, "500 `oops`"),
        (502, &[], PAGE, Phase::BackingOff, FIRST, "the server failed: 502"),
        (503, &[], "", Phase::BackingOff, FIRST, "overloaded or restarting"),
        (503, &[("retry-after", "10")], "", Phase::BackingOff, Waits(10_000, 11_000), "503"),
        (503, &[("retry-after", "86400")], "", Phase::BackingOff, Waits(120_000, 120_000), "503"),
        (
            503,
            &[("retry-after", "Fri, 15 Jan 2027 08:00:20 GMT")],
            "",
            Phase::BackingOff,
            Waits(20_000, 22_000),
            "",
        ),
        (
            503,
            &[("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")],
            "",
            Phase::BackingOff,
            Waits(20_000, 22_000),
            "",
        ),
        (503, &[("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT")], "", Phase::BackingOff, FIRST, ""),
    ]
}

#[test]
fn each_answer_has_its_state_its_words_and_its_wait() {
    for (status, headers, body, phase, then, words) in cases() {
        let case = format!("{status} {headers:?} {body:?}");
        let (mut rig, post) = Rig::posted();
        rig.answer(&post, status, headers, body);
        assert_eq!(rig.phase(), phase, "{case}: {}", rig.words());
        assert!(rig.words().contains(words), "{case}: {}", rig.words());
        let applied = rig.asked.iter().any(|action| matches!(action, Action::ApplyAnswer { .. }));
        assert_eq!(applied, matches!(then, Joins), "{case}");
        assert_eq!(rig.transport.is_some(), matches!(then, Joins), "{case}: the transport is closed");
        let named = status < 300 && headers.iter().any(|(name, _)| *name == "location");
        if named && !matches!(then, Joins) {
            let delete = rig.sent(&Method::DELETE);
            rig.answer(&delete, 204, &[], "");
        }
        rig.nothing_sent();
        match then {
            Joins => {}
            Halts => assert_eq!(rig.machine.deadline(rig.now), None, "{case}"),
            Waits(least, most) => {
                let wait = rig.until_attempt();
                assert!((ms(least)..=ms(most)).contains(&wait), "{case}: {wait:?}");
                assert!(rig.words().contains("; before: "), "{case}: {}", rig.words());
            }
        }
    }
}

#[test]
fn a_post_says_what_it_is_and_carries_the_key() {
    let (_, post) = Rig::posted();
    assert_eq!((post.url.as_str(), post.body.as_str()), (URL, OFFER));
    assert_eq!(post.headers["content-type"], "application/sdp");
    assert_eq!(
        post.headers["authorization"],
        format!("Bearer {}", crate::whip::broadcast_box::publish_bearer(KEY))
    );
    assert!(post.headers["authorization"].is_sensitive());
    assert_eq!((post.connect, post.answer), (ms(5_000), ms(10_000)));
}

#[test]
fn every_request_carries_the_key_and_none_does_without_one() {
    for key in [Some("k"), None] {
        let mut rig = Rig::with(Endpoint::new(URL, key, KeyForm::Plain).unwrap(), Codec::H264);
        rig.tell(Input::Start);
        rig.hear(TransportEvent::Offer { sdp: OFFER.to_owned(), complete: false });
        rig.pass(ms(2_000));
        let mut requests = vec![rig.sent(&Method::POST)];
        rig.answer(&requests[0], 201, FULL, ANSWER);
        rig.hear(TransportEvent::GatheringDone);
        requests.push(rig.sent(&Method::PATCH));
        rig.hear(TransportEvent::Ice(IceState::Connected));
        rig.pass(ms(1_000));
        requests.push(rig.sent(&Method::GET));
        rig.tell(Input::Stop);
        requests.push(rig.sent(&Method::DELETE));
        for request in requests {
            let sent = request.headers.get("authorization").map(|value| value.to_str().unwrap());
            assert_eq!(sent, key.map(|_| "Bearer k"), "{request:?}");
        }
    }
}

#[test]
fn a_missing_answer_is_tried_again_and_said() {
    let cases = [
        (FailureKind::NobodyListens, "not reachable"),
        (FailureKind::Connect, "not reachable"),
        (FailureKind::Tls, "no secure connection"),
        (FailureKind::Timeout, "did not answer in time"),
        (FailureKind::TooBig, "longer than 64 KiB"),
        (FailureKind::Cut, "was cut"),
    ];
    for (kind, words) in cases {
        let (mut rig, post) = Rig::posted();
        rig.fail(&post, kind);
        assert_eq!((rig.phase(), rig.transport), (Phase::BackingOff, None));
        assert!(rig.words().contains(words), "{kind:?}: {}", rig.words());
        assert!(!rig.words().contains("/api/whip"), "{kind:?}: {}", rig.words());
        let wait = rig.until_attempt();
        let range = if kind == FailureKind::NobodyListens { 1_000..=2_000 } else { 1_000..=1_000 };
        assert!(range.contains(&wait.as_millis()), "{kind:?}: {wait:?}");
    }
}

#[test]
fn a_driver_that_says_nothing_is_not_waited_for() {
    let (mut rig, post) = Rig::posted();
    rig.pass(ms(15_999));
    assert_eq!(rig.phase(), Phase::Connecting);
    rig.pass(ms(1));
    assert_eq!(rig.phase(), Phase::BackingOff);
    assert!(rig.asked.iter().any(|action| matches!(action, Action::Cancel(id) if *id == post.id)));
}

#[test]
fn an_answer_beyond_the_limit_is_not_read() {
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 201, &[], &format!("{ANSWER}{}", "a=x\r\n".repeat(20_000)));
    assert_eq!(rig.phase(), Phase::BackingOff);
    assert!(rig.words().contains("longer than 64 KiB"), "{}", rig.words());
}

#[test]
fn the_place_is_asked_for_every_two_to_three_seconds_for_forty_then_rarely() {
    let (mut rig, mut post) = Rig::posted();
    let mut waits = Vec::new();
    for _ in 0..22 {
        rig.answer(&post, 400, &[], "session already has a host");
        assert_eq!(rig.phase(), Phase::HostBusy);
        let at = rig.elapsed();
        let somebody_else = rig.words().contains("somebody else");
        waits.push((at, rig.until_attempt(), somebody_else));
        post = rig.offer();
    }
    for (at, wait, somebody_else) in &waits {
        let early = *at < ms(40_000);
        let range = if early { ms(2_000)..=ms(3_000) } else { ms(27_000)..=ms(33_000) };
        assert!(range.contains(wait) && *somebody_else != early, "{waits:?}");
    }
    assert!(waits.iter().filter(|(at, ..)| *at < ms(40_000)).count() >= 13, "{waits:?}");
    rig.answer(&post, 201, BOX, ANSWER);
    assert_eq!(rig.phase(), Phase::Connecting);
}

#[test]
fn failures_are_waited_out_ever_longer_up_to_fifteen_seconds() {
    let (mut rig, mut post) = Rig::posted();
    let mut waits = Vec::new();
    for _ in 0..10 {
        rig.answer(&post, 500, &[], "");
        waits.push(rig.until_attempt());
        post = rig.offer();
    }
    assert!(waits[3] > ms(2_900) && waits[6..].iter().all(|wait| *wait > ms(11_000)), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= ms(15_000)), "{waits:?}");
    assert_eq!(rig.machine.reconnects(), 10);
}

#[test]
fn redirects_repeat_the_request_and_keep_the_key_at_home() {
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 307, &[("location", "/eu/whip")], "");
    let second = rig.sent(&Method::POST);
    assert_eq!((second.url.as_str(), second.body.as_str()), ("https://b.example.org/eu/whip", OFFER));
    assert!(second.headers.contains_key("authorization"));
    rig.answer(&second, 308, &[("location", "https://me:pw@edge.example.org/whip#x")], "");
    let third = rig.sent(&Method::POST);
    assert_eq!(third.url.as_str(), "https://edge.example.org/whip");
    assert!(!third.headers.contains_key("authorization"), "another origin");
    rig.answer(&third, 401, &[], "");
    assert_eq!(rig.phase(), Phase::Refused);
    assert!(
        rig.words().contains("redirected to https://edge.example.org, where the key is not sent"),
        "{}",
        rig.words()
    );
}

#[test]
fn the_session_of_a_redirected_post_is_found_and_ended_where_it_is() {
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 307, &[("location", "https://edge.example.org/whip")], "");
    let second = rig.sent(&Method::POST);
    rig.answer(&second, 201, &[("location", "/s/1")], ANSWER);
    rig.tell(Input::Stop);
    let delete = rig.sent(&Method::DELETE);
    assert_eq!(delete.url.as_str(), "https://edge.example.org/s/1");
    assert!(!delete.headers.contains_key("authorization"));
}

#[test]
fn five_redirects_are_followed_and_no_more() {
    let (mut rig, mut post) = Rig::posted();
    for hop in 0..5 {
        rig.answer(&post, 307, &[("location", &format!("/hop{hop}"))], "");
        post = rig.sent(&Method::POST);
    }
    rig.answer(&post, 307, &[("location", "/again")], "");
    assert_eq!((rig.phase(), rig.transport), (Phase::WrongUrl, None));
    rig.nothing_sent();
}

#[test]
fn a_url_that_has_worked_is_not_given_up() {
    for (status, body, phase) in [
        (404, "", Phase::BackingOff),
        (405, "", Phase::BackingOff),
        (200, PAGE, Phase::BackingOff),
        (400, "what?", Phase::BackingOff),
        (400, "invalid offer: x", Phase::InvalidOffer),
        (401, "", Phase::Refused),
    ] {
        let mut rig = Rig::live(BOX);
        rig.hear(TransportEvent::Ice(IceState::Failed));
        let delete = rig.sent(&Method::DELETE);
        rig.answer(&delete, 404, &[], "");
        rig.until_attempt();
        let post = rig.offer();
        rig.answer(&post, status, &[], body);
        assert_eq!(rig.phase(), phase, "{status} {body}: {}", rig.words());
    }
}

#[test]
fn vp8_is_refused_by_broadcast_box_until_the_codec_changes() {
    let mut rig = Rig::new(URL, Codec::Vp8);
    rig.tell(Input::Start);
    let post = rig.offer();
    rig.answer(&post, 400, &[], "some text of pion's");
    assert_eq!(rig.phase(), Phase::CodecRefused);
    assert!(rig.words().contains("VP8"), "{}", rig.words());
    rig.pass(ms(3_600_000));
    rig.nothing_sent();
    rig.tell(Input::CodecChanged(Codec::Vp9));
    rig.until_attempt();
    let post = rig.offer();
    rig.answer(&post, 201, BOX, ANSWER);
    rig.hear(TransportEvent::Ice(IceState::Connected));
    // Now that it is known, it is not even asked.
    rig.tell(Input::CodecChanged(Codec::Vp8));
    let delete = rig.sent(&Method::DELETE);
    rig.answer(&delete, 204, &[], "");
    rig.pass(ms(2_000));
    assert_eq!((rig.phase(), rig.transport), (Phase::CodecRefused, None));
    assert!(rig.words().contains("Broadcast Box does not take VP8"), "{}", rig.words());
    rig.nothing_sent();
}
