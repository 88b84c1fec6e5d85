//! DELETE: on stop, before every new session, and for what a late answer brings.

use super::*;

#[test]
fn whatever_a_delete_is_answered_it_is_done() {
    let answers =
        [(200, ""), (204, ""), (404, ""), (400, "no session found"), (401, ""), (405, ""), (500, "")];
    for (status, body) in answers {
        let mut rig = Rig::live(BOX);
        rig.tell(Input::Stop);
        assert_eq!((rig.phase(), rig.transport), (Phase::Stopping, None));
        let delete = rig.sent(&Method::DELETE);
        assert_eq!(
            delete.url.as_str(),
            "https://b.example.org/api/whip/0f8fad5b-d9cb-469f-a165-70867728950e"
        );
        assert!(delete.headers.contains_key("authorization") && !delete.headers.contains_key("if-match"));
        rig.answer(&delete, status, &[], body);
        assert_eq!(rig.phase(), Phase::Stopped, "{status}");
        assert_eq!(rig.machine.deadline(rig.now), None);
        rig.nothing_sent();
    }
}

#[test]
fn a_stop_does_not_wait_for_a_dead_server_for_long() {
    let mut rig = Rig::live(BOX);
    rig.tell(Input::Stop);
    let delete = rig.sent(&Method::DELETE);
    assert!(delete.connect + delete.answer <= ms(6_000));
    rig.fail(&delete, FailureKind::Connect);
    assert_eq!(rig.phase(), Phase::Stopped);
    let mut silent = Rig::live(BOX);
    silent.tell(Input::Stop);
    silent.pass(ms(7_000));
    assert_eq!(silent.phase(), Phase::Stopped, "not even its driver answers");
}

#[test]
fn without_location_there_is_nothing_to_delete() {
    let mut rig = Rig::live(&[("etag", "\"x\"")]);
    rig.tell(Input::Stop);
    assert_eq!(rig.phase(), Phase::Stopped);
    rig.nothing_sent();
}

#[test]
fn a_stop_while_the_post_is_out_ends_the_session_it_brings() {
    let (mut rig, post) = Rig::posted();
    rig.tell(Input::Stop);
    assert_eq!((rig.phase(), rig.transport), (Phase::Stopping, None));
    rig.pass(ms(5_000));
    rig.answer(&post, 201, BOX, ANSWER);
    let delete = rig.sent(&Method::DELETE);
    assert_eq!(rig.phase(), Phase::Stopping);
    rig.answer(&delete, 204, &[], "");
    assert_eq!(rig.phase(), Phase::Stopped);
    // Refused or redirected, there is nothing to end.
    for (status, headers) in [(401, &[][..]), (307, &[("location", "/elsewhere")][..])] {
        let (mut rig, post) = Rig::posted();
        rig.tell(Input::Stop);
        rig.answer(&post, status, headers, "");
        assert_eq!(rig.phase(), Phase::Stopped);
        rig.nothing_sent();
    }
}

#[test]
fn a_start_while_stopping_waits_for_the_old_session_to_end() {
    let mut rig = Rig::live(BOX);
    rig.pass(ms(2_000));
    rig.tell(Input::Stop);
    let delete = rig.sent(&Method::DELETE);
    rig.tell(Input::Start);
    assert_eq!((rig.phase(), rig.transport), (Phase::Stopping, None));
    rig.answer(&delete, 204, &[], "");
    assert_eq!(rig.phase(), Phase::Connecting);
    assert!(rig.transport.is_some());
}

#[test]
fn after_a_cut_the_delete_is_sent_again_before_the_next_session() {
    let mut rig = Rig::live(BOX);
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let first = rig.sent(&Method::DELETE);
    rig.fail(&first, FailureKind::Connect);
    // The network is still down: a DELETE that finds no server stands for the attempt.
    rig.pass(ms(1_000));
    let second = rig.sent(&Method::DELETE);
    assert_eq!(second.url, first.url);
    rig.fail(&second, FailureKind::Connect);
    assert_eq!((rig.phase(), rig.transport), (Phase::BackingOff, None));
    assert!(rig.words().contains("not reachable"), "{}", rig.words());
    rig.pass(ms(2_000));
    let third = rig.sent(&Method::DELETE);
    rig.answer(&third, 204, &[], "");
    assert!(rig.transport.is_some(), "it is back, and the place is free");
    // Once more it goes away, and this time the server is in trouble, so it may not have heard.
    let post = rig.offer();
    rig.answer(&post, 201, BOX, ANSWER);
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let fourth = rig.sent(&Method::DELETE);
    rig.answer(&fourth, 502, &[], "");
    rig.pass(ms(5_000));
    let fifth = rig.sent(&Method::DELETE);
    rig.answer(&fifth, 502, &[], "");
    assert!(rig.transport.is_some(), "twice is enough");
}

#[test]
fn a_stop_while_an_attempt_waits_for_its_delete_stops() {
    for kind in [FailureKind::Connect, FailureKind::Timeout] {
        let mut rig = Rig::live(BOX);
        rig.hear(TransportEvent::Ice(IceState::Failed));
        let first = rig.sent(&Method::DELETE);
        rig.fail(&first, kind);
        rig.pass(ms(1_000));
        let second = rig.sent(&Method::DELETE);
        rig.tell(Input::Stop);
        assert_eq!(rig.phase(), Phase::Stopping);
        rig.fail(&second, kind);
        assert_eq!((rig.phase(), rig.machine.deadline(rig.now)), (Phase::Stopped, None));
        rig.nothing_sent();
    }
}

#[test]
fn a_session_is_forgotten_when_no_server_can_hold_it_any_more() {
    let mut rig = Rig::live(BOX);
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let mut lost = rig.now;
    let mut deletes = 0;
    while rig.transport.is_none() {
        while let Some(action) = rig.asked.pop_front() {
            if let Action::Send(request) = action {
                assert_eq!(request.method, Method::DELETE);
                deletes += 1;
                assert!(deletes < 50, "it is never forgotten");
                lost = rig.now.max(lost);
                rig.fail(&request, FailureKind::Connect);
            }
        }
        if rig.transport.is_none() {
            assert!(rig.elapsed() < ms(3_600_000), "it is never forgotten");
            let deadline = rig.machine.deadline(rig.now).expect("it goes on");
            rig.now = deadline;
            rig.tell(Input::Timer);
        }
    }
    assert!((3..=9).contains(&deletes), "{deletes}");
    assert!(rig.elapsed() >= ms(40_000) && rig.elapsed() < ms(60_000), "{:?}", rig.elapsed());
}

#[test]
fn commands_are_idempotent_and_cheap() {
    let mut rig = Rig::new(URL, Codec::H264);
    rig.tell(Input::Stop);
    assert_eq!(rig.phase(), Phase::Stopped);
    rig.tell(Input::Start);
    rig.tell(Input::Start);
    let post = rig.offer();
    rig.answer(&post, 500, &[], "");
    rig.tell(Input::Start);
    assert_eq!(rig.phase(), Phase::BackingOff, "a start does not hurry a retry");
    // A start after a stop tries at once, but not more than once a second.
    rig.tell(Input::Stop);
    assert_eq!(rig.phase(), Phase::Stopped);
    rig.tell(Input::Start);
    assert_eq!(rig.until_attempt(), ms(1_000));
    rig.tell(Input::Stop);
    rig.tell(Input::Stop);
    assert_eq!((rig.phase(), rig.machine.deadline(rig.now)), (Phase::Stopped, None));
}

#[test]
fn a_halted_session_starts_anew_when_told() {
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 401, &[], "");
    rig.tell(Input::CodecChanged(Codec::Av1));
    assert_eq!(rig.phase(), Phase::Refused, "another codec is no other key");
    rig.pass(ms(60_000));
    rig.tell(Input::Start);
    assert_eq!(rig.phase(), Phase::Connecting);
    assert!(!rig.words().contains("before"), "{}", rig.words());
}
