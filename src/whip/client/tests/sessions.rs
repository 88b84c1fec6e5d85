//! Joining, being live, and noticing that the server is gone.

use super::*;

#[test]
fn broadcast_box_is_known_by_its_answer_and_says_where_to_watch() {
    let mut rig = Rig::new(URL, Codec::H264);
    assert!(rig.machine.watch().is_none());
    rig.tell(Input::Start);
    let post = rig.offer();
    rig.answer(&post, 201, BOX, ANSWER);
    let stream = rig.machine.watch().expect("recognised");
    assert_eq!(stream.key(), "s3cret-Ключ_key");
    let base64 = crate::whip::broadcast_box::publish_bearer(stream.key());
    assert_eq!(stream.watch_url().as_str(), format!("https://b.example.org/{base64}"));
    let other = Rig::live(FULL);
    assert!(other.machine.watch().is_none(), "a server with ETag and Accept-Patch is none");
}

#[test]
fn a_server_that_names_its_page_says_where_to_watch() {
    let page = ("link", r#"</obs>; rel="alternate"; type="text/html""#);
    let (mut rig, post) = Rig::posted();
    assert!(rig.machine.watch_url().is_none());
    rig.answer(&post, 201, &[("location", "/s/1"), page], ANSWER);
    assert_eq!(rig.machine.watch_url().unwrap().as_str(), "https://b.example.org/obs");
}

#[test]
fn ice_servers_go_with_the_answer_and_with_the_next_transport() {
    let links = [
        ("location", "/s/1"),
        ("link", r#"<stun:s.example:3478>; rel="ice-server""#),
        ("link", r#"<turn:t.example>; rel="ice-server"; username="u"; credential="tp""#),
    ];
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 201, &links, ANSWER);
    let servers = rig.asked.iter().find_map(|action| match action {
        Action::ApplyAnswer { ice_servers, sdp, .. } => {
            assert_eq!(sdp, ANSWER);
            Some(ice_servers.clone())
        }
        _ => None,
    });
    let servers = servers.expect("an answer is applied");
    assert_eq!(servers.len(), 2);
    assert_eq!(servers[1].credential.as_deref(), Some("tp"));
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let delete = rig.sent(&Method::DELETE);
    rig.answer(&delete, 200, &[], "");
    rig.until_attempt();
    let next = rig.asked.iter().find_map(|action| match action {
        Action::CreateTransport { ice_servers, .. } => Some(ice_servers.clone()),
        _ => None,
    });
    assert_eq!(next, Some(servers));
}

#[test]
fn no_media_connection_within_fifteen_seconds_is_a_failure() {
    let (mut rig, post) = Rig::posted();
    rig.answer(&post, 201, BOX, ANSWER);
    rig.pass(ms(14_999));
    assert_eq!(rig.phase(), Phase::Connecting);
    rig.pass(ms(1));
    assert_eq!(rig.phase(), Phase::BackingOff);
    assert!(rig.words().contains("UDP"), "{}", rig.words());
    rig.sent(&Method::DELETE);
}

#[test]
fn no_offer_within_ten_seconds_is_a_failure() {
    let mut rig = Rig::new(URL, Codec::H264);
    rig.tell(Input::Start);
    rig.pass(ms(10_000));
    assert_eq!((rig.phase(), rig.words()), (Phase::BackingOff, "no offer within 10 s"));
    rig.until_attempt();
    rig.hear(TransportEvent::Failed(format!("webrtcbin: {KEY} for https://x.example/{KEY}")));
    assert_eq!(rig.words(), "the transport failed: webrtcbin: … for https://x.example");
}

#[test]
fn disconnected_is_endured_for_five_seconds() {
    let mut rig = Rig::live(BOX);
    rig.hear(TransportEvent::Ice(IceState::Disconnected));
    rig.pass(ms(3_000));
    rig.hear(TransportEvent::Ice(IceState::Disconnected));
    rig.pass(ms(1_900));
    rig.hear(TransportEvent::Ice(IceState::Connected));
    rig.pass(ms(60_000));
    assert_eq!(rig.phase(), Phase::Live);
    rig.hear(TransportEvent::Ice(IceState::Disconnected));
    rig.pass(ms(2_000));
    rig.hear(TransportEvent::Ice(IceState::Disconnected));
    rig.pass(ms(2_999));
    assert_eq!(rig.phase(), Phase::Live);
    rig.pass(ms(1));
    assert_eq!(rig.phase(), Phase::BackingOff);
    assert!(rig.words().contains("lost for 5 s"), "{}", rig.words());
}

#[test]
fn a_silent_server_is_noticed_by_its_missing_reports() {
    // (how often it reports, how long it was live, when silence is noticed)
    let cases = [
        (100, 10_000, 4_000..=4_100),
        (1_000, 60_000, 4_000..=4_100),
        (5_000, 60_000, 14_500..=15_500),
        (12_000, 240_000, 29_000..=30_100),
        // Reports too few to tell how often they come.
        (9_000, 9_100, 15_000..=15_100),
        (1_000, 2_100, 8_000..=8_100),
    ];
    for (interval, live, noticed) in cases {
        let mut rig = Rig::live(BOX);
        rig.media(ms(live), Some(ms(interval)));
        assert_eq!(rig.phase(), Phase::Live, "{interval}");
        // The last report came at the last multiple of the interval.
        let last = rig.now - ms(live - (live - 1) / interval * interval);
        rig.media(ms(60_000), None);
        assert_eq!(rig.phase(), Phase::BackingOff, "{interval}");
        assert!(rig.words().contains("no report from the server"), "{}", rig.words());
        let silence = u64::try_from((rig.now - last).as_millis()).unwrap();
        assert!(noticed.contains(&silence) || noticed.contains(&(silence - 100)), "{interval}: {silence} ms");
    }
}

#[test]
fn silence_is_not_held_against_a_server_that_never_reported_or_gets_nothing() {
    let mut rig = Rig::live(BOX);
    rig.media(ms(120_000), None);
    assert_eq!(rig.phase(), Phase::Live, "it never reported");
    rig.media(ms(10_000), Some(ms(200)));
    rig.pass(ms(3_600_000));
    assert_eq!(rig.phase(), Phase::Live, "no media flows");
    rig.media(ms(3_500), None);
    assert_eq!(rig.phase(), Phase::Live, "media flows again, and it has its 4 s");
    rig.media(ms(1_000), None);
    assert_eq!(rig.phase(), Phase::BackingOff);
}

#[test]
fn a_session_that_was_live_for_long_starts_the_waits_anew() {
    for (live, anew) in [(1_000, false), (4_900, false), (5_000, true)] {
        let (mut rig, mut post) = Rig::posted();
        for _ in 0..6 {
            rig.answer(&post, 500, &[], "");
            rig.until_attempt();
            post = rig.offer();
        }
        rig.answer(&post, 201, &[], ANSWER);
        rig.hear(TransportEvent::Ice(IceState::Connected));
        rig.pass(ms(live));
        rig.hear(TransportEvent::Ice(IceState::Failed));
        let wait = rig.until_attempt();
        assert_eq!(wait < ms(1_100), anew, "live for {live} ms: {wait:?}");
    }
}

#[test]
fn a_server_that_restarts_has_its_stream_back_within_three_seconds() {
    let mut rig = Rig::live(BOX);
    rig.media(ms(31_000), Some(ms(200)));
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let lost = rig.now;
    let delete = rig.sent(&Method::DELETE);
    // The new one does not know the session.
    rig.answer(&delete, 400, &[], "no session found");
    rig.until_attempt();
    let post = rig.offer();
    rig.answer(&post, 201, BOX, ANSWER);
    rig.hear(TransportEvent::Ice(IceState::Connected));
    assert_eq!((rig.phase(), rig.machine.reconnects()), (Phase::Live, 1));
    assert!(rig.now - lost < ms(3_000), "{:?}", rig.now - lost);
}

#[test]
fn a_server_that_is_restarted_again_and_again_is_waited_for_no_longer_each_time() {
    let mut rig = Rig::live(BOX);
    for away in [1_500, 3_000, 0, 30_000, 200, 60_000, 7_000, 600_000] {
        rig.media(ms(5_500), Some(ms(1_000)));
        let (killed, back) = (rig.now, rig.now + ms(away));
        // Its silence tells first.
        rig.media(ms(60_000), None);
        assert_eq!(rig.phase(), Phase::BackingOff);
        assert!(rig.now - killed <= ms(4_100), "{:?}", rig.now - killed);
        let from = rig.now.max(back);
        let mut asked = 0;
        while rig.phase() != Phase::Live {
            asked += 1;
            match rig.asked.pop_front() {
                Some(Action::Send(request)) if rig.now < back => {
                    rig.fail(&request, FailureKind::NobodyListens);
                }
                Some(Action::Send(request)) if request.method == Method::POST => {
                    rig.answer(&request, 201, BOX, ANSWER);
                    rig.hear(TransportEvent::Ice(IceState::Connected));
                }
                Some(Action::Send(request)) => rig.answer(&request, 400, &[], "no session found"),
                Some(Action::CreateTransport { .. }) => {
                    rig.hear(TransportEvent::Offer { sdp: OFFER.to_owned(), complete: true });
                }
                Some(_) => {}
                None => {
                    rig.now = rig.machine.deadline(rig.now).expect("a way on");
                    rig.tell(Input::Timer);
                }
            }
        }
        assert!(rig.now - from <= ms(2_100), "away for {away} ms, found after {:?} more", rig.now - from);
        assert!(asked <= 30 + away * 8 / 1_000, "away for {away} ms, and {asked} steps");
        rig.asked.clear();
    }
}

#[test]
fn a_server_that_fell_silent_is_in_doubt_and_gone_when_it_says_so() {
    let gone = || Input::Gone("not listed".to_owned());
    // (how often it reports, how long it was live, from when it is in doubt)
    for (interval, live, doubtful) in [(100, 10_000, 1_000), (1_000, 60_000, 3_000)] {
        let mut rig = Rig::live(BOX);
        rig.media(ms(live), Some(ms(interval)));
        assert!(!rig.machine.doubts(rig.now));
        rig.tell(gone());
        assert_eq!(rig.phase(), Phase::Live, "nobody doubted it");
        let last = rig.now - ms(live - (live - 1) / interval * interval);
        while !rig.machine.doubts(rig.now) {
            rig.media(ms(100), None);
        }
        let silence = rig.now - last;
        assert!((doubtful..=doubtful + 200).contains(&silence.as_millis()), "{interval}: {silence:?}");
        rig.tell(gone());
        assert_eq!((rig.phase(), rig.words()), (Phase::BackingOff, "not listed"));
        assert!(!rig.machine.doubts(rig.now));
        rig.sent(&Method::DELETE);
    }
    let mut young = Rig::live(BOX);
    young.media(ms(250), Some(ms(100)));
    young.media(ms(3_000), None);
    assert!(!young.machine.doubts(young.now), "it is not known what is usual");
    assert_eq!(young.phase(), Phase::Live);
    let mut paused = Rig::live(BOX);
    paused.media(ms(10_000), Some(ms(100)));
    paused.pass(ms(60_000));
    assert!(!paused.machine.doubts(paused.now), "nothing is sent");
}

#[test]
fn another_codec_makes_another_session_without_waiting() {
    let mut rig = Rig::live(BOX);
    rig.pass(ms(10_000));
    rig.tell(Input::CodecChanged(Codec::H264));
    assert_eq!(rig.phase(), Phase::Live, "the same codec");
    rig.tell(Input::CodecChanged(Codec::Av1));
    assert!(rig.words().contains("changed to AV1"), "{}", rig.words());
    let delete = rig.sent(&Method::DELETE);
    assert_eq!(rig.transport, None);
    rig.answer(&delete, 204, &[], "");
    assert_eq!(rig.until_attempt(), ms(0));
}

#[test]
fn media_that_nobody_can_take_is_refused_until_it_is_other_media() {
    let words = || Some("the encoder makes B-frames".to_owned());
    let mut rig = Rig::live(&[("Location", "/s/1")]);
    rig.tell(Input::Unfit(words()));
    assert_eq!((rig.phase(), rig.words()), (Phase::CodecRefused, "the encoder makes B-frames"));
    let delete = rig.sent(&Method::DELETE);
    rig.answer(&delete, 200, &[], "");
    rig.pass(ms(60_000));
    rig.tell(Input::Start);
    rig.pass(ms(60_000));
    rig.nothing_sent();
    assert_eq!(rig.phase(), Phase::CodecRefused, "a start does not make it fit");
    rig.tell(Input::Unfit(None));
    rig.until_attempt();
    assert_eq!(rig.phase(), Phase::Connecting);

    let mut rig = Rig::live(&[("Location", "/s/1")]);
    rig.tell(Input::Stop);
    rig.tell(Input::Unfit(words()));
    assert_eq!(rig.phase(), Phase::Stopping, "who is stopped is not refused");
}

#[test]
fn what_an_old_transport_says_is_not_heard() {
    let mut rig = Rig::live(BOX);
    let old = rig.transport.expect("live");
    rig.hear(TransportEvent::Ice(IceState::Failed));
    let delete = rig.sent(&Method::DELETE);
    rig.answer(&delete, 204, &[], "");
    rig.until_attempt();
    rig.tell(Input::Transport(old, TransportEvent::Ice(IceState::Failed)));
    rig.tell(Input::Transport(old, TransportEvent::Failed("late".to_owned())));
    assert_eq!(rig.phase(), Phase::Connecting);
}
