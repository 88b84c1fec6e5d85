//! What a publisher says in header extensions arrives at its viewers, who number them otherwise.

use std::time::{Duration, SystemTime};

use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::also_by_str0m;
use super::client::{Manner, PLAYOUT, level, orientation};
use super::world::World;

also_by_str0m! {
    orientation_playout_delay_level_and_capture_time_are_passed_on,
    who_says_nothing_has_nothing_said_of_it,
}

#[test]
fn orientation_playout_delay_level_and_capture_time_are_passed_on() {
    let mut world = World::declared();
    // A clock that is nobody else's.
    let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    world.publish_live(&Manner { says: Some(clock), ..Manner::default() });
    let viewer = world.watch();
    world.run(3_000);
    // What is sent again says the same as it did at first.
    world.network(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.1))));
    world.run(4_000);
    world.network(NetemConfig::new());
    world.run(1_000);
    let client = &world.clients[viewer];
    let repaired = client.video.windows(2).filter(|pair| pair[1].sequence < pair[0].sequence).count();
    assert!(repaired > 10, "only {repaired} packets came late: was anything lost?");
    let mut turned = 0;
    for got in &client.video {
        let expected = orientation(got.frame).filter(|_| got.index + 1 == got.count);
        assert_eq!(got.said.orientation, expected, "{got:?}");
        turned += u32::from(expected.is_some());
    }
    assert!(turned > 150, "{turned} of {} packets", client.video.len());
    let first = client.video.iter().position(|got| got.said.playout == Some(PLAYOUT));
    let first = first.expect("a playout delay within 8 s");
    assert!(client.video[..first].iter().all(|got| got.said.playout == Some([0; 3])), "none before");
    assert!(client.video[first + 1..].iter().all(|got| got.said.playout == Some(PLAYOUT)), "and it holds");
    assert!(client.audio.len() > 350);
    for got in &client.audio {
        assert_eq!((got.said.level, got.said.playout), (Some(level(got.frame)), None), "{got:?}");
    }
    let (captured, time) = client.captured.as_ref().expect("a capture time within 8 s");
    let since = captured.capture_time.duration_since(clock).expect("by the publisher's clock");
    let frame = client.video.iter().find(|got| got.time == *time).unwrap();
    // It left when it was captured and took 20 ms.
    let at = frame.at - world.start;
    let way = at.saturating_sub(since);
    assert!((10..=300).contains(&way.as_millis()), "captured at {since:?}, came at {at:?}");
    // By the clock of our reports it is the same moment, as well as the publisher's own reports tell it.
    let ahead = captured.clock_offset_secs().expect("how far the clocks are apart");
    let by_reports =
        captured.capture_time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() - ahead;
    let really = (world.wall + since).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((by_reports - really).abs() < 0.2, "{} s off", by_reports - really);
}

#[test]
fn who_says_nothing_has_nothing_said_of_it() {
    let mut world = World::declared();
    world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.run(2_500);
    let client = &world.clients[viewer];
    let quiet = |got: &super::client::Got| got.said.orientation.is_none() && got.said.level.is_none();
    assert!(client.video.iter().chain(&client.audio).all(quiet));
    assert!(client.video.iter().all(|got| got.said.playout == Some([0; 3])), "shown at once");
    let (captured, _) = client.captured.as_ref().expect("our own capture time");
    let now = world.wall + (world.now - world.start);
    let ago = now.duration_since(captured.capture_time).expect("in the past");
    assert!(ago < Duration::from_millis(1_500), "{ago:?} ago");
}
