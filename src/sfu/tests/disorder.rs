//! Publishers' packets that overtake each other, or get lost, on the way up.

use std::time::Duration;

use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::client::{Client, Manner};
use super::world::World;

/// Times that a packet came after a later one.
fn disorder(client: &Client) -> usize {
    let sets = [&client.video, &client.audio];
    sets.map(|set| set.windows(2).filter(|pair| pair[1].sequence < pair[0].sequence).count()).iter().sum()
}

/// A viewer of a publisher for 8 s, the last 6 of which count, over such a way up.
fn watched(config: NetemConfig) -> (World, usize) {
    let mut world = World::declared();
    world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.network_up(config);
    world.run(2_000);
    world.clients[viewer].video.clear();
    world.clients[viewer].audio.clear();
    world.run(6_000);
    (world, viewer)
}

fn jitter(ms: u64) -> NetemConfig {
    NetemConfig::new().jitter(Duration::from_millis(ms)).reorder_gap(3)
}

#[test]
fn what_overtakes_is_put_in_order() {
    let (world, viewer) = watched(jitter(4));
    let client = &world.clients[viewer];
    let late = disorder(client);
    println!("{late} of {} packets late", client.video.len() + client.audio.len());
    assert!(late < 12, "{late} times out of order");
    let (whole, broken) = client.pictures();
    assert!(whole.len() > 190 && broken.len() <= 2, "{} whole, {broken:?} broken", whole.len());
}

#[test]
fn what_is_sent_again_in_time_comes_in_order_and_nothing_waits_for_the_rest() {
    let lossy = NetemConfig::new().loss(RandomLoss::new(Probability::new(0.03)));
    let (world, viewer) = watched(lossy);
    let client = &world.clients[viewer];
    let stream = &world.sfu.stats(world.now).streams[0];
    println!("{} times late, {stream:?}", disorder(client));
    assert!(stream.nacks > 5, "{stream:?}");
    let (whole, broken) = client.pictures();
    assert!(whole.len() > 190 && broken.len() <= 4, "{} whole, {broken:?} broken", whole.len());
    // Sounds are not sent again: they wait for nothing, or not for long.
    let waits: Vec<_> = client.audio.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let longest = waits.iter().max().unwrap();
    assert!(*longest < Duration::from_millis(5 * 20), "{longest:?} between two sounds");
}

#[test]
fn a_clean_way_is_as_quick_as_ever() {
    let (mut world, viewer) = watched(NetemConfig::new());
    for _ in 0..1_000 {
        world.run(1);
        assert_eq!(world.sfu.held_until(), None);
    }
    let client = &world.clients[viewer];
    assert_eq!(disorder(client), 0);
    // Made when due, every 30 or 20 ms; 10 ms up and 10 ms down.
    for (set, every) in [(&client.video, 30), (&client.audio, 20)] {
        for got in set {
            let way = ((got.at - world.start).as_millis() as u64 + every - 20) % every;
            assert!(way <= 6, "{way} ms more than the way takes: {got:?}");
        }
    }
}
