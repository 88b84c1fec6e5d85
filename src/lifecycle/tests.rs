//! Scenes of one graph's life, and random ones with what must always hold.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::media::Fault;

const TIMING: Timing = Timing {
    first_buffer: Duration::from_secs(5),
    stall: Duration::from_secs(1),
    settled: Duration::from_secs(10),
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn running() -> Machine {
    let mut life = Machine::new(TIMING, 7);
    assert_eq!(life.on(ms(0), Event::Start), Some(Action::Build));
    assert_eq!(life.on(ms(100), Event::Flowed), None);
    assert_eq!(life.phase(), Phase::Running);
    life
}

#[test]
fn an_error_rebuilds_after_the_back_off_and_not_before_the_old_graph_is_gone() {
    let mut life = running();
    let error = Event::Error(Fault::Device, "unplugged".to_owned());
    assert_eq!(life.on(ms(200), error), Some(Action::TearDown));
    assert_eq!((life.phase(), life.reason(), life.rebuilds()), (Phase::Backoff, "unplugged", 1));
    let due = life.deadline().expect("a rebuild is due");
    assert!((ms(350)..=ms(450)).contains(&due), "{due:?}");
    assert_eq!(life.on(due, Event::Tick), None, "the device is still open");
    assert_eq!(life.on(due + ms(900), Event::Gone), Some(Action::Build));
    assert_eq!(life.phase(), Phase::Starting);
}

#[test]
fn a_stall_is_no_buffer_for_the_time_given_unless_it_is_held() {
    let mut life = running();
    assert_eq!(life.on(ms(1_000), Event::Held), None);
    assert_eq!(life.on(ms(1_999), Event::Tick), None, "held until 1 s, so patience lasts to 2 s");
    assert_eq!(life.on(ms(2_000), Event::Tick), Some(Action::TearDown));
    assert!(life.reason().contains("no buffer for 1000 ms"), "{}", life.reason());
}

#[test]
fn waits_grow_to_five_seconds_and_start_anew_once_it_ran_well() {
    let mut life = running();
    let mut now = ms(200);
    let mut waits = Vec::new();
    for _ in 0..8 {
        life.on(now, Event::Ended);
        let due = life.deadline().expect("due");
        waits.push(due - now);
        now = due;
        assert_eq!(life.on(now, Event::Gone), Some(Action::Build));
        life.on(now, Event::Flowed);
    }
    assert!(
        waits[0] < ms(300) && waits[7] > ms(3_700) && waits.iter().all(|wait| *wait <= ms(5_000)),
        "{waits:?}"
    );
    life.on(now + TIMING.settled, Event::Flowed);
    life.on(now + TIMING.settled, Event::Ended);
    assert!(life.deadline().expect("due") - (now + TIMING.settled) < ms(300));
}

#[test]
fn what_configuration_forbids_is_not_tried_again_until_started() {
    let mut life = running();
    life.on(ms(200), Event::Error(Fault::Config, "no such property".to_owned()));
    life.on(ms(300), Event::Gone);
    assert_eq!((life.phase(), life.deadline()), (Phase::Failed, None));
    assert_eq!(life.on(ms(400), Event::Start), Some(Action::Build));
}

#[test]
fn a_device_that_comes_back_is_taken_at_once() {
    let mut life = running();
    assert_eq!(life.on(ms(200), Event::DeviceGone("unplugged".to_owned())), Some(Action::TearDown));
    assert_eq!(life.on(ms(250), Event::Gone), None);
    assert_eq!(life.phase(), Phase::WaitingForDevice);
    assert_eq!(life.on(ms(900), Event::DeviceBack), Some(Action::Build));
}

#[test]
fn start_while_stopping_builds_once_the_old_graph_is_gone() {
    let mut life = running();
    assert_eq!(life.on(ms(200), Event::Stop), Some(Action::TearDown));
    assert_eq!(life.on(ms(210), Event::Start), None);
    assert_eq!(life.on(ms(300), Event::Gone), Some(Action::Build));
    assert_eq!(life.on(ms(310), Event::Stop), Some(Action::TearDown));
    assert_eq!(life.on(ms(320), Event::Gone), None);
    assert_eq!((life.phase(), life.deadline()), (Phase::Stopped, None));
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Start),
        1 => Just(Event::Stop),
        5 => Just(Event::Flowed),
        2 => Just(Event::Held),
        1 => Just(Event::Trouble("slow".to_owned())),
        1 => Just(Event::TroubleOver),
        2 => Just(Event::Error(Fault::Graph, "broken".to_owned())),
        1 => Just(Event::Error(Fault::Config, "wrong".to_owned())),
        1 => Just(Event::Ended),
        1 => Just(Event::DeviceGone("gone".to_owned())),
        1 => Just(Event::DeviceBack),
        1 => Just(Event::Adopted),
        4 => Just(Event::Gone),
        6 => Just(Event::Tick),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_graph_at_most_and_a_way_on(
        seed: u64,
        script in prop::collection::vec((0u64..3_000, any_event()), 1..200),
    ) {
        let mut life = Machine::new(TIMING, seed);
        let (mut now, mut built, mut leaving, mut wanted) = (Duration::ZERO, false, false, false);
        for (wait, event) in script {
            now += ms(wait);
            match event {
                Event::Gone if !leaving => continue,
                Event::Gone => leaving = false,
                Event::Start => wanted = true,
                Event::Stop => wanted = false,
                Event::Adopted => (built, leaving, wanted) = (true, false, true),
                _ => {}
            }
            let before = life.clone();
            match life.on(now, event.clone()) {
                Some(Action::Build) => {
                    prop_assert!(!built && !leaving, "built a second graph on {:?}", event);
                    prop_assert!(wanted, "built what nobody wants on {:?}", event);
                    built = true;
                }
                Some(Action::TearDown) => {
                    prop_assert!(built, "tore down nothing on {:?}", event);
                    (built, leaving) = (false, true);
                }
                None => {}
            }
            let phase = life.phase();
            prop_assert_eq!(built, matches!(phase, Phase::Starting | Phase::Running | Phase::Degraded));
            // It never hangs: whatever is wanted and not failed for good has a deadline.
            let waits = built || matches!(phase, Phase::Backoff | Phase::WaitingForDevice);
            prop_assert_eq!(life.deadline().is_some(), waits, "{:?} after {:?} in {:?}", phase, event, before.phase());
            prop_assert_eq!(wanted, !matches!(phase, Phase::Stopped | Phase::Stopping), "{:?}", phase);
            if phase == Phase::Backoff {
                prop_assert!(life.deadline().is_some_and(|due| due <= now + LONGEST_WAIT));
            }
            prop_assert!(life.rebuilds() >= before.rebuilds());
        }
        // Started, left alone and fed, it runs.
        life.on(now, Event::Start);
        for _ in 0..50 {
            if life.phase() == Phase::Running {
                break;
            }
            now = life.deadline().unwrap_or(now).max(now);
            life.on(now, Event::Gone);
            life.on(now, Event::Tick);
            life.on(now, Event::Gone);
            life.on(now, Event::Flowed);
            life.on(now, Event::TroubleOver);
        }
        prop_assert_eq!(life.phase(), Phase::Running);
    }
}

#[test]
fn an_adopted_graph_runs_from_wherever_the_old_one_was() {
    let mut life = running();
    assert_eq!(life.on(ms(200), Event::Adopted), None);
    assert_eq!((life.phase(), life.deadline()), (Phase::Running, Some(ms(1_200))));
    life.on(ms(300), Event::Error(Fault::Graph, "broken".to_owned()));
    assert_eq!(life.phase(), Phase::Backoff);
    assert_eq!(life.on(ms(310), Event::Adopted), None, "the old one is still on its way out");
    assert_eq!((life.phase(), life.reason()), (Phase::Running, ""));
    assert_eq!(life.on(ms(320), Event::Gone), None, "which concerns nobody any more");
    assert_eq!(life.phase(), Phase::Running);
    assert_eq!(life.on(ms(2_000), Event::Tick), Some(Action::TearDown), "it can stall like any other");
}
