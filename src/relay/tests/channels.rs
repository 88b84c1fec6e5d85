//! Trickle.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{Answer, Part, World, ms, now, packets};
use crate::relay::{Fetch, Protocol};

const SOURCE: &str = "http://a.test/ch/live";

/// A segment begins every second, and its ten pieces come a tenth of a second apart.
const EVERY: u64 = 1000;

fn asked(fetch: &Fetch) -> Option<i64> {
    fetch.url.path().rsplit('/').next()?.parse().ok()
}

/// The number that is written next at a time, in a channel that began 20 s before, counted from `zero` on.
fn next_at(at: Duration, zero: Duration) -> u64 {
    (at - zero).as_millis() as u64 / EVERY + 1
}

/// What a server keeps, gives, and says of a channel whose segment 0 began at `zero`.
fn channel(at: Duration, zero: Duration, fetch: &Fetch) -> Answer {
    let Some(number) = asked(fetch) else { return now(405, "") };
    if at < zero {
        return Vec::new();
    }
    let next = next_at(at, zero);
    let sequence = if number < 0 { next } else { number as u64 };
    let says = |status, of: u64| {
        let headers = vec![("lp-trickle-seq", of.to_string()), ("lp-trickle-latest", next.to_string())];
        Part::Head(status, headers)
    };
    if sequence > next || sequence + 5 < next {
        return vec![(Duration::ZERO, says(470, sequence)), (Duration::ZERO, Part::End)];
    }
    let begin = zero + ms(sequence * EVERY);
    let after = |offset: u64| (begin + ms(offset)).saturating_sub(at);
    let head = vec![("lp-trickle-seq", sequence.to_string())];
    let mut answer =
        vec![(after(0), if sequence < next { says(200, sequence) } else { Part::Head(200, head) })];
    answer.extend((0..10).map(|piece| (after(piece * 100), Part::Bytes(packets(sequence, 10)))));
    answer.push((after(990), Part::End));
    answer
}

fn live(at: Duration, fetch: &Fetch) -> Answer {
    channel(at + ms(20_000), Duration::ZERO, fetch)
}

#[test]
fn a_channel_is_joined_at_its_next_segment_and_each_byte_leaves_as_it_comes() {
    let mut world = World::new(SOURCE);
    world.run(ms(10_500), &mut live);
    assert_eq!(world.relay.protocol(), Some(Protocol::Trickle));
    assert_eq!(world.numbers_out(), (21..31).collect::<Vec<_>>());
    assert_eq!((world.breaks(), world.trouble()), (vec![], String::new()));
    for (segment, at) in &world.times {
        assert_eq!(*at, ms((segment - 20) * EVERY), "not a moment later than it was written");
    }
    let numbers = world.relay.numbers(world.now);
    assert_eq!((numbers.segments, numbers.skipped, numbers.failures, numbers.queued_segments), (9, 0, 0, 2));
    assert_eq!(world.asked.len(), 12, "what is there, the newest, and one for each: {:?}", world.asked);
}

#[test]
fn who_is_behind_jumps_to_what_is_live() {
    let mut world = World::new(SOURCE);
    world.run(ms(5000), &mut live);
    // The next answer is late by eight seconds, and says so.
    let mut held = false;
    world.run(ms(20_500), &mut |at, fetch| {
        if !std::mem::replace(&mut held, true) {
            return vec![];
        }
        live(at, fetch)
    });
    let out = world.numbers_out();
    assert!(out.is_sorted() && out.ends_with(&[38, 39, 40]), "{out:?}");
    assert_eq!(world.breaks().len(), 1, "{:?}", world.out);
    assert!(world.relay.numbers(world.now).skipped >= 1);
}

#[test]
fn a_publisher_that_counts_anew_is_followed() {
    let mut world = World::new(SOURCE);
    world.run(ms(5500), &mut live);
    world.run(ms(30_000), &mut |at, fetch| channel(at, ms(7000), fetch));
    let out = world.numbers_out();
    let begin = out.iter().position(|n| *n < 10).expect("the new ones");
    assert!(out[begin..].is_sorted() && out[begin..].len() > 10, "{out:?}");
    assert_eq!(world.breaks(), [out[begin]]);
}

#[test]
fn a_closed_channel_is_told_and_looked_for_again() {
    let mut world = World::new(SOURCE);
    world.run(ms(5500), &mut live);
    let closed = vec![("lp-trickle-closed", "terminated".to_owned())];
    let mut first = true;
    world.run(ms(20_000), &mut |_, _| match std::mem::take(&mut first) {
        true => vec![(Duration::ZERO, Part::Head(200, closed.clone())), (Duration::ZERO, Part::End)],
        false => now(404, ""),
    });
    assert!(world.trouble().contains("404"), "{}", world.trouble());
    let asked = world.asked.len();
    world.run(ms(40_000), &mut |_, _| now(404, ""));
    assert!(world.asked.len() - asked < 8, "seldom by now");
    world.run(ms(60_000), &mut |at, fetch| channel(at, ms(40_000), fetch));
    assert_eq!(world.trouble(), "");
    assert!(world.numbers_out().ends_with(&[18, 19, 20]), "{:?}", world.out);
}

#[test]
fn silence_is_told_and_waited_out_with_few_questions() {
    let mut world = World::new(SOURCE);
    world.run(ms(5500), &mut live);
    let asked = world.asked.len();
    world.run(ms(60_500), &mut |_, _| Vec::new());
    assert!(world.trouble().starts_with("nothing has been published for 5"), "{}", world.trouble());
    assert!(world.asked.len() - asked <= 16, "{}", world.asked.len() - asked);
    world.run(ms(70_500), &mut live);
    assert_eq!(world.trouble(), "");
}

#[test]
fn what_is_no_channel_is_told() {
    for (status, words) in [
        (404, "neither a playlist nor a trickle channel"),
        (401, "wants a token"),
        (500, "answers 500"),
        (200, "`Lp-Trickle-Seq`"),
    ] {
        let mut world = World::new(SOURCE);
        world.run(ms(60_000), &mut |_, _| now(status, "<html>"));
        assert!(world.trouble().contains(words), "{status}: {}", world.trouble());
        assert!((3..100).contains(&world.asked.len()), "{status}: {}", world.asked.len());
    }
}

#[test]
fn segments_that_never_end_are_cut_and_told() {
    let mut world = World::new(SOURCE);
    world.run(ms(100_000), &mut |at, fetch| match asked(fetch) {
        Some(-1) if at < ms(1000) => {
            let mut answer = vec![(ms(1), Part::Head(200, vec![("lp-trickle-seq", "21".to_owned())]))];
            answer.extend((0..100_000).map(|piece| (ms(piece * 100), Part::Bytes(packets(21, 20)))));
            answer
        }
        Some(_) if at < ms(1000) => Vec::new(),
        _ => live(at, fetch),
    });
    assert!(world.told.contains("a segment that has not ended after 60 s is cut"), "{}", world.told);
    assert!(world.numbers_out().ends_with(&[118, 119, 120]), "{:?}", world.out);
    assert!(world.bytes < 600 * 20 * 188 * 2, "{}", world.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a server does for a while, bounds hold, nothing comes twice, and the picture comes back by itself.
    #[test]
    fn faults_pass(faults in prop::collection::vec((0u8..10, 0u64..3000), 1..40)) {
        let mut world = World::new(SOURCE);
        world.run(ms(3000), &mut live);
        let mut left = faults.into_iter();
        world.run(ms(60_000), &mut |at, fetch| {
            let Some((fault, after)) = left.next() else { return live(at, fetch) };
            match fault {
                0 => now(500, ""),
                1 => now(404, ""),
                2 => Vec::new(),
                3 => vec![(ms(after), Part::Cut)],
                4 => now(470, ""),
                5 => now(200, vec![b'x'; after as usize]),
                6 => now(200, ""),
                7 => vec![(ms(after), Part::Head(200, Vec::new())), (ms(after), Part::Cut)],
                _ => {
                    let mut answer = live(at, fetch);
                    answer.iter_mut().for_each(|(when, _)| *when += ms(after));
                    answer
                }
            }
        });
        let end = world.now + Duration::from_secs(120);
        world.run(end, &mut live);
        let out = world.numbers_out();
        prop_assert!(out.windows(2).all(|two| two[0] < two[1]), "{:?}", out);
        prop_assert!(out.ends_with(&[(end.as_millis() as u64) / EVERY + 20]), "{:?}", out);
        prop_assert_eq!(world.trouble(), "");
        for two in world.out.windows(2) {
            prop_assert!(two[1].1 == two[0].1 + 1 || two[1].0, "an unmarked hole: {:?}", world.out);
        }
        prop_assert!(world.asked.len() < 700, "{} requests", world.asked.len());
    }
}
