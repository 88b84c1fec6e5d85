//! What HTTP says of a server that fell silent, and what it must not be believed.

use std::net::SocketAddr;

use super::*;

const SESSION: &[(&str, &str)] = &[("location", "/s/1")];
const SILENT: &str = "no report from the server";

/// How a server answers a question.
#[derive(Clone, Copy)]
struct Answer {
    /// 0 is none at all.
    status: u16,
    /// The connection it comes over, by number.
    connection: u16,
    headers: &'static [(&'static str, &'static str)],
}

const fn over(connection: u16, status: u16) -> Answer {
    Answer { status, connection, headers: &[] }
}

fn end(connection: u16) -> Option<SocketAddr> {
    Some(SocketAddr::from(([192, 0, 2, 1], connection)))
}

/// Lets media pass with a report each `interval`, if there is one, while questions are answered; gives what was asked.
fn pass(
    rig: &mut Rig,
    time: Duration,
    interval: Option<Duration>,
    mut answer: impl FnMut(&Request, Instant) -> Result<Answer, FailureKind>,
) -> Vec<(Method, String)> {
    let until = rig.now + time;
    let mut report = interval.map(|interval| rig.now + interval);
    let mut asked = Vec::new();
    while rig.now < until && rig.phase() == Phase::Live {
        rig.hear(TransportEvent::Sent);
        if let (Some(due), Some(interval)) = (report.filter(|due| *due <= rig.now), interval) {
            rig.hear(TransportEvent::Feedback);
            report = Some(due + interval);
        }
        while let Some(action) = rig.asked.pop_front() {
            let Action::Send(request) = action else { continue };
            if !matches!(request.method, Method::GET | Method::OPTIONS) {
                rig.asked.push_front(Action::Send(request));
                break;
            }
            asked.push((request.method.clone(), request.url.path().to_owned()));
            match answer(&request, rig.now) {
                Ok(Answer { status: 0, .. }) => {}
                Ok(Answer { status, connection, headers }) => {
                    let answer = Response { connection: end(connection), ..response(status, headers, "") };
                    rig.tell(Input::Answered(request.id, answer));
                }
                Err(kind) => rig.fail(&request, kind),
            }
        }
        if rig.phase() == Phase::Live {
            rig.pass(ms(50));
        }
    }
    asked
}

/// Live for half a minute with a report each second, the last one now.
fn healthy(headers: &[(&str, &str)], answer: Answer) -> Rig {
    let mut rig = Rig::live(headers);
    pass(&mut rig, ms(30_000), Some(ms(1_000)), |_, _| Ok(answer));
    rig.hear(TransportEvent::Feedback);
    rig
}

/// How long it was silent until the session was called lost, and the words.
fn lost(
    mut rig: Rig,
    answer: impl FnMut(&Request, Instant) -> Result<Answer, FailureKind>,
) -> (u128, String) {
    rig.hear(TransportEvent::Feedback);
    let silent = rig.now;
    pass(&mut rig, ms(60_000), None, answer);
    assert_eq!(rig.phase(), Phase::BackingOff);
    ((rig.now - silent).as_millis(), rig.words().to_owned())
}

#[track_caller]
fn assert_lost((after, words): (u128, String), within: std::ops::RangeInclusive<u128>, why: &str) {
    assert!(within.contains(&after), "after {after} ms: {words}");
    assert!(words.contains(why), "{words}");
}

#[test]
fn a_server_is_asked_a_harmless_thing_every_four_seconds_while_all_is_well() {
    for (headers, status, later) in [
        (SESSION, 204, (Method::GET, "/s/1")),
        (SESSION, 405, (Method::GET, "/s/1")),
        (SESSION, 503, (Method::GET, "/s/1")),
        // Such answers would count against us: what every server has an answer to is asked instead.
        (SESSION, 404, (Method::OPTIONS, "/api/whip")),
        (SESSION, 401, (Method::OPTIONS, "/api/whip")),
        (SESSION, 429, (Method::OPTIONS, "/api/whip")),
        (&[], 200, (Method::OPTIONS, "/api/whip")),
    ] {
        let mut rig = Rig::live(headers);
        let asked = pass(&mut rig, ms(61_000), Some(ms(1_000)), |request, _| {
            assert!(request.headers.contains_key("authorization") && request.body.is_empty());
            assert!(request.connect + request.answer <= ms(6_000));
            Ok(over(1, status))
        });
        assert_eq!(asked.len(), 15, "{status}");
        for (method, path) in &asked[1..] {
            assert_eq!((method, path.as_str()), (&later.0, later.1), "{status}");
        }
    }
}

#[test]
fn a_session_that_the_server_no_longer_knows_is_lost_when_a_report_is_late() {
    for (known, gone) in [(204, 404), (405, 404), (200, 410)] {
        let rig = healthy(SESSION, over(1, known));
        // Late is one and a half of the second that is usual.
        assert_lost(lost(rig, |_, _| Ok(over(1, gone))), 1_500..=2_100, "does not know the session");
    }
}

#[test]
fn a_connection_that_was_kept_and_is_closed_tells_of_a_restart() {
    // It was gone for a while, or back before it was asked.
    for away in [0, 300, 1_400, 1_900] {
        let rig = healthy(SESSION, over(1, 405));
        let back = rig.now + ms(away);
        let answer = |_: &Request, now: Instant| {
            if now < back { Err(FailureKind::NobodyListens) } else { Ok(over(2, 405)) }
        };
        assert_lost(lost(rig, answer), 2_000..=2_600, "has closed its connection");
    }
    let rig = healthy(&[], over(1, 200));
    assert_lost(lost(rig, |_, _| Ok(over(2, 200))), 2_000..=2_600, "has closed its connection");
    // Where it is not back, this is known as soon.
    let rig = healthy(SESSION, over(1, 405));
    assert_lost(
        lost(rig, |_, _| Err(FailureKind::NobodyListens)),
        2_000..=2_600,
        "has closed its connection",
    );
    // Over connections that tell nothing, three seconds.
    let rig = healthy(SESSION, Answer { headers: &[("connection", "close")], ..over(1, 405) });
    assert_lost(lost(rig, |_, _| Err(FailureKind::NobodyListens)), 3_000..=3_600, "nobody listens");
}

#[test]
fn a_question_just_after_the_death_is_not_forgotten_when_silence_is_noticed() {
    // The usual question falls between the death and the first late report, wherever that is.
    for extra in (0..4_000).step_by(250) {
        for gone in [over(2, 405), over(2, 404)] {
            let mut rig = healthy(SESSION, over(1, 405));
            pass(&mut rig, ms(extra), Some(ms(1_000)), |_, _| Ok(over(1, 405)));
            rig.hear(TransportEvent::Feedback);
            let (after, words) = lost(rig, |_, _| Ok(gone));
            assert!(after <= 2_600 && !words.contains(SILENT), "{extra}: after {after} ms: {words}");
        }
    }
}

#[test]
fn a_server_whose_http_fails_lives_as_long_as_it_is_heard() {
    let kinds = [FailureKind::NobodyListens, FailureKind::Connect, FailureKind::Tls, FailureKind::Cut];
    for kind in kinds.into_iter().chain([FailureKind::Timeout, FailureKind::TooBig]) {
        let mut rig = healthy(SESSION, over(1, 204));
        pass(&mut rig, ms(600_000), Some(ms(1_000)), |_, _| Err(kind));
        assert_eq!(rig.phase(), Phase::Live, "{kind:?}");
    }
    // Answers that speak against it, all of them wrong.
    let mut rig = healthy(SESSION, over(1, 204));
    let mut connection = 1;
    pass(&mut rig, ms(600_000), Some(ms(1_000)), |_, _| {
        connection += 1;
        Ok(over(connection, 404))
    });
    assert_eq!(rig.phase(), Phase::Live);
    // It was wrong before, so it is not believed now: silence has to tell by itself.
    assert_lost(lost(rig, |_, _| Ok(over(999, 404))), 4_000..=4_100, SILENT);
    // Slow to answer, and then never.
    let mut rig = healthy(SESSION, over(1, 204));
    pass(&mut rig, ms(600_000), Some(ms(1_000)), |_, _| Ok(over(1, 0)));
    assert_eq!(rig.phase(), Phase::Live);
    assert_lost(lost(rig, |_, _| Ok(over(1, 0))), 4_000..=4_100, SILENT);
}

#[test]
fn answers_that_prove_nothing_leave_the_judgement_to_silence() {
    let unnamed: &[(&str, &str)] = &[];
    let cases = [
        ("the same over the same connection", SESSION, over(1, 204), over(1, 204)),
        ("405 from the start", SESSION, over(1, 405), over(1, 405)),
        ("404 from the start", SESSION, over(1, 404), over(1, 404)),
        ("in trouble", SESSION, over(1, 204), over(1, 503)),
        ("the key is refused now", SESSION, over(1, 204), over(1, 401)),
        ("no word of the session", unnamed, over(1, 200), over(1, 404)),
        ("in trouble from the start", SESSION, over(1, 503), over(1, 404)),
    ];
    for (what, headers, before, after) in cases {
        let rig = healthy(headers, before);
        let (took, words) = lost(rig, |_, _| Ok(after));
        assert!((4_000..=4_100).contains(&took), "{what}: after {took} ms: {words}");
        assert!(words.contains(SILENT), "{what}: {words}");
    }
}

#[test]
fn a_server_that_closes_idle_connections_proves_nothing_by_it() {
    // Each answer over another connection, whether it is announced or not.
    for headers in [&[][..], &[("connection", "close")]] {
        let mut connection = 0;
        let mut next = move |_: &Request, _: Instant| {
            connection += 1;
            Ok(Answer { status: 405, connection, headers })
        };
        let mut rig = Rig::live(SESSION);
        pass(&mut rig, ms(30_000), Some(ms(1_000)), &mut next);
        rig.hear(TransportEvent::Feedback);
        assert_lost(lost(rig, next), 4_000..=4_100, SILENT);
    }
    // Two seconds are kept, four are not: late questions find the connection kept, the usual ones never do. Reports come
    // late now and then.
    let mut rig = Rig::live(SESSION);
    let (mut connection, mut last) = (1, rig.now);
    let mut answer = |_: &Request, now: Instant| {
        connection += u16::from(now - last > ms(2_000));
        last = now;
        Ok(over(connection, 405))
    };
    for silence in [1_000, 1_000, 1_000, 2_900].repeat(100) {
        pass(&mut rig, ms(silence), None, &mut answer);
        assert_eq!(rig.phase(), Phase::Live, "{}", rig.words());
        rig.hear(TransportEvent::Feedback);
    }
    // One that closes a connection after so many requests, and is late just then, is heard before that counts.
    let mut rig = healthy(SESSION, over(1, 405));
    pass(&mut rig, ms(1_900), None, |_, _| Ok(over(2, 405)));
    rig.hear(TransportEvent::Feedback);
    pass(&mut rig, ms(60_000), Some(ms(1_000)), |_, _| Ok(over(2, 405)));
    assert_eq!(rig.phase(), Phase::Live);
    assert_lost(lost(rig, |_, _| Ok(over(3, 405))), 4_000..=4_100, SILENT);
}

#[test]
fn a_late_report_is_no_loss_where_http_is_as_ever() {
    let mut rig = healthy(SESSION, over(1, 204));
    for _ in 0..100 {
        pass(&mut rig, ms(3_900), None, |_, _| Ok(over(1, 204)));
        rig.hear(TransportEvent::Feedback);
        pass(&mut rig, ms(5_000), Some(ms(1_000)), |_, _| Ok(over(1, 204)));
        rig.hear(TransportEvent::Feedback);
    }
    assert_eq!(rig.phase(), Phase::Live);
    // Nor where nothing is sent, whatever is answered.
    let rig = &mut healthy(SESSION, over(1, 204));
    rig.pass(ms(3_000));
    for _ in 0..100 {
        rig.pass(ms(500));
        while let Some(Action::Send(request)) = rig.asked.pop_front() {
            rig.answer(&request, 404, &[], "");
        }
    }
    assert_eq!(rig.phase(), Phase::Live);
}

#[test]
fn a_loss_drops_the_question_that_is_out() {
    let mut rig = Rig::live(SESSION);
    rig.pass(ms(1_000));
    let get = rig.sent(&Method::GET);
    rig.tell(Input::Stop);
    assert!(rig.asked.iter().any(|action| matches!(action, Action::Cancel(id) if *id == get.id)));
    rig.sent(&Method::DELETE);
    rig.answer(&get, 404, &[], "");
    assert_eq!(rig.phase(), Phase::Stopping);
}
