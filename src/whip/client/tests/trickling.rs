//! When the offer goes out, and what follows it.

use super::*;
use crate::whip::trickle::Candidate;

fn candidate(port: u16) -> TransportEvent {
    let line = format!("candidate:1 1 udp 1 10.0.0.1 {port} typ host");
    TransportEvent::Candidate(Candidate::new(0, &line).unwrap())
}

fn bare() -> TransportEvent {
    TransportEvent::Offer { sdp: OFFER.to_owned(), complete: false }
}

/// Live at a server that takes PATCHes, which the machine has learned, on its second session; the POST was answered.
fn second_session() -> Rig {
    let mut rig = Rig::live(FULL);
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let delete = rig.sent(&Method::DELETE);
    rig.answer(&delete, 200, &[], "");
    rig.until_attempt();
    rig
}

#[test]
fn the_first_offer_to_a_server_waits_for_its_candidates() {
    let mut rig = Rig::new(URL, Codec::H264);
    rig.tell(Input::Start);
    rig.hear(bare());
    rig.hear(candidate(1));
    rig.nothing_sent();
    rig.pass(ms(1_500));
    rig.hear(candidate(2));
    rig.hear(TransportEvent::GatheringDone);
    let post = rig.sent(&Method::POST);
    let tail =
        "10.0.0.1 1 typ host\r\na=candidate:1 1 udp 1 10.0.0.1 2 typ host\r\na=end-of-candidates\r\nm=audio";
    assert!(post.body.contains(tail), "{}", post.body);
    rig.answer(&post, 201, FULL, ANSWER);
    rig.nothing_sent();
}

#[test]
fn an_offer_that_comes_complete_replaces_the_one_that_was_not() {
    let mut rig = Rig::new(URL, Codec::H264);
    rig.tell(Input::Start);
    rig.hear(bare());
    rig.hear(candidate(1));
    let whole = OFFER.replace("a=mid:v0\r\n", "a=mid:v0\r\na=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n");
    rig.hear(TransportEvent::Offer { sdp: whole.clone(), complete: true });
    assert_eq!(rig.sent(&Method::POST).body, whole, "no candidate twice");
}

#[test]
fn gathering_is_waited_for_two_seconds_at_most() {
    let mut rig = Rig::new(URL, Codec::H264);
    rig.tell(Input::Start);
    rig.hear(bare());
    rig.hear(candidate(1));
    rig.pass(ms(1_999));
    rig.nothing_sent();
    rig.pass(ms(1));
    let post = rig.sent(&Method::POST);
    assert!(post.body.contains("10.0.0.1 1 typ host\r\nm=audio"), "{}", post.body);
    rig.hear(candidate(2));
    // This server shows that it takes the rest.
    rig.answer(&post, 201, FULL, ANSWER);
    let patch = rig.sent(&Method::PATCH);
    assert!(patch.body.contains("10.0.0.1 2 ") && !patch.body.contains("10.0.0.1 1 "), "{}", patch.body);
}

#[test]
fn only_a_server_that_shows_it_takes_patches_gets_them() {
    let cases: [(&[(&str, &str)], bool); 6] = [
        (BOX, false),
        (FULL, true),
        (&[("location", "/s/1"), ("etag", "\"*\"")], true),
        (&[("location", "/s/1"), ("accept-patch", "application/trickle-ice-sdpfrag")], true),
        (&[("location", "/s/1"), ("accept-patch", "application/json")], false),
        (&[("etag", "\"no location\"")], false),
    ];
    for (headers, taken) in cases {
        let mut rig = Rig::new(URL, Codec::H264);
        rig.tell(Input::Start);
        rig.hear(bare());
        rig.pass(ms(2_000));
        let post = rig.sent(&Method::POST);
        rig.hear(candidate(5));
        rig.answer(&post, 201, headers, ANSWER);
        if taken {
            let patch = rig.sent(&Method::PATCH);
            assert_eq!(patch.headers["content-type"], "application/trickle-ice-sdpfrag");
            assert!(patch.headers.contains_key("authorization"));
            let etag = headers.iter().find(|(name, _)| *name == "etag").map(|(_, value)| *value);
            assert_eq!(patch.headers.get("if-match").map(|v| v.to_str().unwrap()), etag, "{headers:?}");
        }
        rig.nothing_sent();
        rig.hear(candidate(6));
        rig.nothing_sent();
    }
}

#[test]
fn a_server_that_takes_patches_gets_the_next_offer_at_once() {
    let mut rig = second_session();
    rig.hear(candidate(1));
    rig.hear(bare());
    let post = rig.sent(&Method::POST);
    assert!(post.body.contains("10.0.0.1 1 typ"), "what is there already goes along");
    rig.hear(candidate(2));
    rig.nothing_sent();
    rig.answer(&post, 201, FULL, ANSWER);
    let patch = rig.sent(&Method::PATCH);
    assert!(patch.body.contains("10.0.0.1 2 typ"), "{}", patch.body);
    // One at a time: what comes meanwhile goes out together.
    rig.hear(candidate(3));
    rig.hear(candidate(4));
    rig.hear(TransportEvent::GatheringDone);
    rig.nothing_sent();
    rig.answer(&patch, 204, &[], "");
    let rest = rig.sent(&Method::PATCH);
    assert!(
        rest.body.contains("1 3 typ") && rest.body.ends_with("1 4 typ host\r\na=end-of-candidates\r\n"),
        "{}",
        rest.body
    );
    rig.answer(&rest, 204, &[], "");
    rig.nothing_sent();
}

#[test]
fn a_patch_that_fails_ends_trickling_and_not_the_session() {
    for status in [Some(400), Some(404), Some(412), Some(422), Some(428), Some(500), None] {
        let mut rig = second_session();
        rig.hear(bare());
        let post = rig.sent(&Method::POST);
        rig.hear(candidate(1));
        rig.answer(&post, 201, FULL, ANSWER);
        let patch = rig.sent(&Method::PATCH);
        match status {
            Some(status) => rig.answer(&patch, status, &[], "no session found"),
            None => rig.pass(ms(14_000)),
        }
        rig.hear(TransportEvent::Ice(IceState::Connected));
        if status.is_none() {
            rig.pass(ms(3_000));
        }
        assert_eq!(rig.phase(), Phase::Live, "{status:?}");
        rig.hear(candidate(2));
        rig.hear(TransportEvent::GatheringDone);
        rig.nothing_sent();
        // Nor is the next offer sent without candidates.
        rig.hear(TransportEvent::Ice(IceState::Failed));
        let delete = rig.sent(&Method::DELETE);
        rig.answer(&delete, 200, &[], "");
        rig.until_attempt();
        rig.hear(bare());
        rig.nothing_sent();
    }
}

#[test]
fn candidates_of_one_transport_are_bounded() {
    let mut rig = second_session();
    rig.hear(bare());
    let post = rig.sent(&Method::POST);
    for port in 0..1_000 {
        rig.hear(candidate(port));
    }
    rig.answer(&post, 201, FULL, ANSWER);
    let patch = rig.sent(&Method::PATCH);
    assert_eq!(patch.body.matches("a=candidate:").count(), 64);
    rig.answer(&patch, 204, &[], "");
    rig.hear(candidate(1_001));
    rig.nothing_sent();
}

#[test]
fn a_loss_drops_the_patch_that_is_out() {
    let mut rig = second_session();
    rig.hear(bare());
    let post = rig.sent(&Method::POST);
    rig.hear(candidate(1));
    rig.answer(&post, 201, FULL, ANSWER);
    let patch = rig.sent(&Method::PATCH);
    rig.tell(Input::Stop);
    assert!(rig.asked.iter().any(|action| matches!(action, Action::Cancel(id) if *id == patch.id)));
    rig.sent(&Method::DELETE);
}
