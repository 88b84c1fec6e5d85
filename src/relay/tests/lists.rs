//! HLS.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{Answer, Part, World, moved, ms, now, packets};
use crate::relay::{Fetch, Limits, Protocol};

const SOURCE: &str = "http://a.test/live/x.m3u8";

/// Two seconds each.
const TARGET: Duration = Duration::from_secs(2);

/// A list of `count` segments that ends before `next`.
fn list(next: u64, count: u64, tags: &str) -> String {
    let first = next.saturating_sub(count);
    let segments: String = (first..next).map(|n| format!("#EXTINF:2.000,\n{n}.ts\n")).collect();
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{tags}{segments}")
}

/// How many segments there are by then, when one is added every two seconds and ten were there at the start.
fn next_at(now: Duration) -> u64 {
    10 + now.as_secs() / 2
}

fn number(fetch: &Fetch) -> Option<u64> {
    fetch.url.path().rsplit('/').next()?.strip_suffix(".ts")?.parse().ok()
}

/// A live stream without faults.
fn live(at: Duration, fetch: &Fetch) -> Answer {
    match number(fetch) {
        Some(number) => now(200, packets(number, 100)),
        None => now(200, list(next_at(at), 5, "")),
    }
}

/// What a server answers to a request.
type Reply = Box<dyn Fn(&Fetch) -> Answer>;
/// What it answers for the segment of this number.
type Body = Box<dyn Fn(u64) -> Answer>;

#[test]
fn a_live_list_is_joined_three_target_durations_from_its_end_and_followed() {
    let mut world = World::new(SOURCE);
    world.run(ms(20_500), &mut live);
    assert_eq!(world.relay.protocol(), Some(Protocol::Hls));
    assert_eq!(world.numbers_out(), (7..20).collect::<Vec<_>>());
    assert_eq!(world.breaks(), [] as [u64; 0]);
    assert_eq!(world.trouble(), "");
    let loads = world.asked_for(".m3u8");
    assert!(loads.windows(2).all(|two| two[1] - two[0] >= TARGET / 2), "RFC 8216, 6.3.4: {loads:?}");
    assert!(loads.len() <= 21, "{loads:?}");
    let numbers = world.relay.numbers(world.now);
    assert_eq!((numbers.segments, numbers.skipped, numbers.failures), (13, 0, 0));
    assert!((0.4..0.8).contains(&numbers.segments_per_second), "{numbers:?}");
}

#[test]
fn a_master_leads_to_its_variant_and_a_redirect_is_followed() {
    let mut world = World::new("https://a.test/all.m3u8?key=1");
    world.run(ms(7000), &mut |at, fetch| match fetch.url.path() {
        "/all.m3u8" => moved("/v2/all.m3u8"),
        "/v2/all.m3u8" => now(200, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhigh/x.m3u8\n"),
        "/v2/high/7.ts" if fetch.url.host_str() == Some("a.test") => moved("https://cdn.test/v2/high/7.ts"),
        _ => live(at, fetch),
    });
    assert_eq!(world.numbers_out(), (7..13).collect::<Vec<_>>());
    let elsewhere = world.asked.iter().find(|(_, fetch)| fetch.url.host_str() == Some("cdn.test")).unwrap();
    assert!(!elsewhere.1.token && world.asked[0].1.token, "the token stays with its origin");
    assert_eq!(world.asked_for("/all.m3u8").len(), 2, "the list itself is loaded again, not its master");
}

#[test]
fn an_address_without_the_ending_is_looked_into() {
    let mut world = World::new("http://a.test/live");
    world.run(ms(3000), &mut |at, fetch| live(at, fetch));
    assert_eq!(world.numbers_out(), [7, 8, 9, 10]);
}

#[test]
fn a_finished_list_is_played_from_its_start_and_ends_in_words() {
    let mut world = World::new(SOURCE);
    let mut ended = |_: Duration, fetch: &Fetch| match number(fetch) {
        Some(number) => now(200, packets(number, 10)),
        None => now(200, list(4, 4, "#EXT-X-ENDLIST\n")),
    };
    world.run(ms(60_000), &mut ended);
    assert_eq!(world.numbers_out(), [0, 1, 2, 3]);
    assert_eq!(world.trouble(), "the playlist has ended");
    assert!((4..8).contains(&world.asked_for(".m3u8").len()), "it is looked for now and then");
    // A new one begins under the same address.
    world.run(ms(80_000), &mut |at, fetch| match number(fetch) {
        Some(number) => now(200, packets(number, 10)),
        None => now(200, list(2 + (at.as_secs() - 60) / 10, 3, "")),
    });
    assert_eq!(world.numbers_out()[4..], [0, 1, 2, 3]);
    assert_eq!(world.breaks(), [0]);
}

#[test]
fn discontinuities_gaps_and_lost_segments_are_marked() {
    let mut world = World::new(SOURCE);
    let text = |next: u64| {
        let mut text = list(next, 5, "");
        for (before, tag) in [("12.ts", "#EXT-X-DISCONTINUITY\n"), ("14.ts", "#EXT-X-GAP\n")] {
            text =
                text.replace(&format!("#EXTINF:2.000,\n{before}"), &format!("{tag}#EXTINF:2.000,\n{before}"));
        }
        text
    };
    world.run(ms(20_500), &mut |at, fetch| match number(fetch) {
        Some(16) => now(404, ""),
        Some(number) => now(200, packets(number, 10)),
        None => now(200, text(next_at(at))),
    });
    assert_eq!(world.numbers_out(), [7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19]);
    assert_eq!(world.breaks(), [12, 15, 17]);
    assert_eq!(world.relay.numbers(world.now).skipped, 2);
    assert_eq!(world.asked_for("/16.ts").len(), 1, "what is not there is not asked for again");
    assert_eq!(world.trouble(), "", "all is well again");
}

#[test]
fn segments_that_left_the_window_are_passed_over() {
    let mut world = World::new(SOURCE);
    world.run(ms(40_500), &mut |at, fetch| match (number(fetch), at.as_secs()) {
        (Some(number), _) => now(200, packets(number, 10)),
        (None, 5..25) => now(503, ""),
        (None, _) => now(200, list(next_at(at), 5, "")),
    });
    let out = world.numbers_out();
    let hole = out.windows(2).find(|two| two[1] != two[0] + 1).expect("a hole");
    assert_eq!(world.breaks(), [hole[1]], "{out:?}");
    assert_eq!(world.relay.numbers(world.now).skipped, hole[1] - hole[0] - 1, "{out:?}");
}

#[test]
fn a_list_that_stands_still_is_told_and_asked_no_more_than_it_should() {
    let mut world = World::new(SOURCE);
    let mut still = |at: Duration, fetch: &Fetch| live(at.min(ms(4000)), fetch);
    world.run(ms(16_000), &mut still);
    assert_eq!(world.trouble(), "the playlist has not changed for 12 s");
    let loads = world.asked_for(".m3u8").len();
    assert!((10..=17).contains(&loads), "{loads}");
    world.run(ms(30_000), &mut live);
    assert_eq!(world.trouble(), "");
}

#[test]
fn a_list_that_goes_back_is_an_old_copy_at_first_and_then_a_new_one() {
    let mut world = World::new(SOURCE);
    // Two answers come from a cache.
    world.run(ms(20_000), &mut |at, fetch| match number(fetch) {
        None if (9000..12_000).contains(&(at.as_millis() as u64)) => now(200, list(next_at(at) - 3, 5, "")),
        _ => live(at, fetch),
    });
    assert_eq!(world.breaks(), [] as [u64; 0]);
    // The server counts anew, a little at first, and in a loop.
    world.run(ms(60_000), &mut |at, fetch| match number(fetch) {
        Some(number) => now(200, packets(number, 10)),
        None => now(200, list((at.as_secs() / 2) % 8, 5, "")),
    });
    let out = world.numbers_out();
    assert!(world.breaks().len() >= 2, "{:?}", world.out);
    assert!(out.len() > 20, "it goes on: {out:?}");
    let loads = world.asked_for(".m3u8");
    assert!(loads.windows(2).all(|two| two[1] - two[0] >= TARGET / 2), "{loads:?}");
}

#[test]
fn what_cannot_be_read_is_told_and_asked_for_seldom() {
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n";
    let cases: [(&str, Reply); 8] = [
        ("encrypted", Box::new(move |_| now(200, list(5, 5, key)))),
        ("fragmented MP4", Box::new(|_| now(200, list(5, 5, "#EXT-X-MAP:URI=\"i.mp4\"\n")))),
        ("wants a token", Box::new(|_| now(403, ""))),
        ("404: it is not there", Box::new(|_| now(404, ""))),
        ("does not begin with `#EXTM3U`", Box::new(|_| now(200, "<html>"))),
        ("redirects in circles", Box::new(|_| moved("/live/x.m3u8"))),
        (
            "a list of variants names another",
            Box::new(|_| now(200, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8\n")),
        ),
        ("a playlist of more than 2 MB is cut", Box::new(|_| now(200, vec![b'#'; 3 << 20]))),
    ];
    for (words, answer) in cases {
        let mut world = World::new(SOURCE);
        world.run(ms(120_000), &mut |_, fetch| answer(fetch));
        assert!(world.trouble().contains(words), "{}: {}", words, world.trouble());
        let asked = world.asked.len();
        assert!((3..=120).contains(&asked), "{words}: asked {asked} times in two minutes");
        assert_eq!(world.out, []);
    }
}

#[test]
fn segments_that_are_none_are_told() {
    let cases: [(&str, Vec<u8>); 6] = [
        ("fragmented MP4", b"\0\0\0\x18stypmsdh".repeat(30)),
        ("a page, as for people", b"<!doctype html>".repeat(30)),
        ("sound alone", b"ID3\x04\0\0".repeat(60)),
        ("something else", vec![7; 1000]),
        ("too short, or torn", vec![0x47; 100]),
        ("something else", vec![0x00, 0x47]),
    ];
    for (words, body) in cases {
        let mut world = World::new(SOURCE);
        world.run(ms(10_500), &mut |at, fetch| match number(fetch) {
            Some(_) => now(200, body.clone()),
            None => now(200, list(next_at(at), 5, "")),
        });
        assert!(world.trouble().contains(words), "{words}: {}", world.trouble());
        assert_eq!(world.out, []);
        assert_eq!(world.relay.numbers(world.now).skipped, 8, "each was asked for once");
    }
}

#[test]
fn torn_packets_are_left_out() {
    let mut world = World::new(SOURCE);
    world.run(ms(2500), &mut |at, fetch| match number(fetch) {
        Some(number) => {
            let body = packets(number, 10);
            let head = (Duration::ZERO, Part::Head(200, Vec::new()));
            let pieces =
                body[..10 * 188 - 50].chunks(77).map(|piece| (Duration::ZERO, Part::Bytes(piece.to_vec())));
            std::iter::once(head).chain(pieces).chain([(Duration::ZERO, Part::End)]).collect()
        }
        None => live(at, fetch),
    });
    assert_eq!(world.numbers_out(), [7, 8, 9, 10]);
    assert_eq!(world.bytes, 4 * 9 * 188);
}

/// A body of 100 packets a second, or as `drop` says, for so long.
fn slow(number: u64, pieces: u64, bytes: usize, every: Duration) -> Answer {
    let mut answer = vec![(Duration::ZERO, Part::Head(200, Vec::new()))];
    let body = packets(number, 2000);
    for (at, piece) in body.chunks(bytes).take(pieces as usize).enumerate() {
        answer.push((every * (at as u32 + 1), Part::Bytes(piece.to_vec())));
    }
    answer
}

#[test]
fn servers_that_drip_stop_or_never_end_are_left_behind() {
    let cases: [(&str, Body); 5] = [
        ("has stopped in the middle", Box::new(|n| slow(n, 3, 188 * 20, ms(10)))),
        ("drop by drop", Box::new(|n| slow(n, 300_000, 1, ms(300)))),
        ("not ended after 30 s", Box::new(|n| slow(n, 4000, 400, ms(200)))),
        ("has not answered for 5 s", Box::new(|_| Vec::new())),
        (
            "broke off",
            Box::new(|n| {
                let mut answer = slow(n, 3, 188 * 20, ms(10));
                answer.push((ms(40), Part::Cut));
                answer
            }),
        ),
    ];
    for (words, answer) in cases {
        let mut world = World::new(SOURCE);
        world.run(ms(60_000), &mut |at, fetch| match number(fetch) {
            Some(number @ 9..13) => answer(number),
            _ => live(at, fetch),
        });
        assert!(world.told.contains(words), "{words}: {}", world.told);
        world.run(ms(120_000), &mut live);
        assert_eq!(world.trouble(), "", "{words}");
        let out = world.numbers_out();
        assert!(out.is_sorted() && out.ends_with(&[65, 66, 67, 68, 69]), "{words}: {out:?}");
        assert!(!world.breaks().is_empty(), "{words}");
    }
}

#[test]
fn a_segment_of_100_mb_is_cut_announced_or_not() {
    for announced in [true, false] {
        let mut world = World::new(SOURCE);
        world.run(ms(2500), &mut |at, fetch| match number(fetch) {
            Some(8) => {
                let length = [("content-length", "100000000".to_owned())];
                let headers = if announced { length.to_vec() } else { Vec::new() };
                let mut answer = vec![(Duration::ZERO, Part::Head(200, headers))];
                answer.extend((1..100).map(|at| (ms(at), Part::Bytes(packets(8, 5600)))));
                answer
            }
            _ => live(at, fetch),
        });
        let taken = if announced { vec![7, 9, 10] } else { vec![7, 8, 9, 10] };
        assert_eq!(world.numbers_out(), taken);
        assert_eq!(world.breaks(), [9]);
        assert!(world.bytes < 70 << 20);
    }
}

#[test]
fn nobody_who_takes_means_that_nothing_more_is_read_and_nothing_is_late() {
    let limits = Limits { waiting: 100_000, ..Limits::default() };
    let mut world = World::with(SOURCE, limits);
    world.drains = false;
    let mut pieces = |at: Duration, fetch: &Fetch| match number(fetch) {
        Some(number) => {
            let mut answer = vec![(Duration::ZERO, Part::Head(200, Vec::new()))];
            let body = packets(number, 1000);
            answer.extend(body.chunks(18_800).map(|piece| (Duration::ZERO, Part::Bytes(piece.to_vec()))));
            answer.push((Duration::ZERO, Part::End));
            answer
        }
        None => live(at, fetch),
    };
    world.run(ms(60_000), &mut pieces);
    let numbers = world.relay.numbers(world.now);
    assert!((100_000..120_000).contains(&numbers.queued_bytes), "{numbers:?}");
    assert_eq!((numbers.failures, world.trouble().as_str()), (0, ""));
    for _ in 0..5 {
        assert!(world.take_one().is_some());
    }
    world.run(ms(61_000), &mut pieces);
    assert_eq!(world.relay.numbers(world.now).failures, 0, "the clock stood still meanwhile");
}

#[test]
fn parts_of_a_file_are_asked_for_as_such() {
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n#EXT-X-BYTERANGE:1880@0\na.bin\n\
        #EXTINF:2,\n#EXT-X-BYTERANGE:1880\na.bin\n#EXT-X-ENDLIST\n";
    for status in [206, 200] {
        let mut world = World::new(SOURCE);
        world.run(ms(1000), &mut |_, fetch| match fetch.range {
            Some((first, _)) => now(status, packets(first, 10)),
            None => now(200, text),
        });
        if status == 206 {
            assert_eq!(world.numbers_out(), [0, 1880]);
        } else {
            assert!(world.trouble().contains("parts of files"), "{}", world.trouble());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a server does for a while, bounds hold, nothing comes twice, and the picture comes back by itself.
    #[test]
    fn faults_pass(faults in prop::collection::vec((0u8..11, 0u64..3000), 1..60)) {
        let mut world = World::new(SOURCE);
        let mut left = faults.into_iter();
        world.run(ms(60_000), &mut |at, fetch| {
            let Some((fault, after)) = left.next() else { return live(at, fetch) };
            match fault {
                0 => now(500, ""),
                1 => now(404, ""),
                2 => Vec::new(),
                3 => vec![(ms(after), Part::Cut)],
                4 => slow(number(fetch).unwrap_or(0), after, 188, ms(10)),
                5 => now(200, vec![b'x'; after as usize]),
                6 => moved(&format!("https://b.test{}", fetch.url.path())),
                7 => now(200, ""),
                8 => vec![(ms(after), Part::Head(200, Vec::new())), (ms(after), Part::Cut)],
                _ => {
                    let mut answer = live(at, fetch);
                    answer.iter_mut().for_each(|(when, _)| *when += ms(after));
                    answer
                }
            }
        });
        let end = world.now + Duration::from_secs(180);
        let before = world.out.len();
        world.run(end, &mut live);
        let out = world.numbers_out();
        prop_assert!(out.windows(2).all(|two| two[0] < two[1]), "{:?}", out);
        prop_assert!(out.len() > before + 40 && out.last().is_some_and(|last| *last + 3 >= next_at(end)), "{:?}", out);
        prop_assert_eq!(world.trouble(), "");
        for (at, two) in world.out.windows(2).enumerate() {
            prop_assert!(two[1].1 == two[0].1 + 1 || two[1].0, "an unmarked hole at {}: {:?}", at, world.out);
        }
        for (_, fetch) in world.asked.iter().filter(|(_, fetch)| number(fetch).is_some()) {
            let times = world.asked.iter().filter(|(_, other)| other.url.path() == fetch.url.path()).count();
            prop_assert!(times <= 2 * 6, "{} was asked for {} times", fetch.url, times);
        }
        prop_assert!(world.asked.len() < 1000, "{} requests", world.asked.len());
    }
}
