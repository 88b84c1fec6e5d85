//! Viewers whose ways carry less than the picture takes.

use std::time::Duration;

use str0m_netem::{Bitrate, DataSize, NetemConfig, Probability, RandomLoss};

use super::client::Manner;
use super::world::World;

pub(super) const LADDER: Manner = Manner {
    layers: &["h", "m", "l"],
    ladder: true,
    rsa: false,
    like_obs: false,
    keeps_earlier: false,
    unannounced: false,
    says: None,
};

/// Layers in the order in which a client saw them since its `first` packet.
pub(super) fn layers(world: &World, client: usize, first: usize) -> Vec<u8> {
    let mut layers: Vec<u8> = world.clients[client].video[first..].iter().map(|got| got.layer).collect();
    layers.dedup();
    layers
}

pub(super) fn narrow(kbps: u64) -> NetemConfig {
    // A quarter of a second's worth of queue.
    NetemConfig::new().link(Bitrate::kbps(kbps), DataSize::bytes(kbps as i64 * 1_000 / 8 / 4))
}

#[test]
fn a_narrow_way_gets_a_layer_that_fits_and_a_wide_one_the_best() {
    let mut world = World::declared();
    world.publish_live(&LADDER);
    let (narrowed, other) = (world.watch(), world.watch());
    world.run(3_000);
    assert_eq!((layers(&world, narrowed, 0), layers(&world, other, 0)), (vec![0], vec![0]));
    world.link(narrowed, narrow(1_500));
    world.run(10_000);
    let down = layers(&world, narrowed, 0);
    assert_eq!(down.last(), Some(&1), "{down:?}");
    // There it stays, but for trials, and nothing is lost by them.
    let first = world.clients[narrowed].video.len();
    world.run(20_000);
    assert_eq!(layers(&world, narrowed, first), [1]);
    let shown = &world.clients[narrowed].video[first..];
    let span = shown.last().unwrap().frame - shown[0].frame;
    assert!(span > 600, "{span} pictures in 20 s");
    // The way widens again.
    world.link(narrowed, NetemConfig::new());
    world.run(70_000);
    let up = layers(&world, narrowed, first);
    assert_eq!(up, [1, 0], "seen again after a while");
    // Nothing of that changed anything for the other.
    assert_eq!(layers(&world, other, 0), [0]);
    let (whole, broken) = world.clients[other].pictures();
    assert!(broken.len() <= 1 && whole.len() > 3_000, "{} whole, {broken:?} broken", whole.len());
}

#[test]
fn where_nothing_fits_the_sound_goes_on_alone_and_the_picture_comes_back() {
    let mut world = World::declared();
    world.publish_live(&Manner { layers: &["h", "m"], ..LADDER });
    let viewer = world.watch();
    world.run(3_000);
    world.link(viewer, narrow(200));
    world.run(15_000);
    assert_eq!(world.sfu.stats(world.now).streams[0].paused, 1);
    let (pictures, sounds) = (world.clients[viewer].video.len(), world.clients[viewer].audio.len());
    world.run(2_000);
    let client = &world.clients[viewer];
    assert_eq!(client.video.len(), pictures, "no picture is sent");
    // A trial of more may cost some.
    assert!(client.audio.len() > sounds + 75, "{} sounds in 2 s", client.audio.len() - sounds);
    world.link(viewer, NetemConfig::new());
    world.run(70_000);
    assert_eq!(world.sfu.stats(world.now).streams[0].paused, 0);
    let seen = layers(&world, viewer, pictures);
    assert!(seen.ends_with(&[0]), "{seen:?}");
}

#[test]
fn loss_that_is_not_congestion_changes_nothing() {
    for percent in [5, 10] {
        let mut world = World::declared();
        world.publish_live(&LADDER);
        let viewer = world.watch();
        let loss = RandomLoss::new(Probability::new(percent as f32 / 100.0));
        world.link(viewer, NetemConfig::new().loss(loss));
        world.run(15_000);
        assert_eq!(layers(&world, viewer, 0), [0], "{percent} % loss");
        let client = &world.clients[viewer];
        let (whole, broken) = client.pictures();
        println!("{percent} % loss: {} pictures whole, {} not", whole.len(), broken.len());
        let most = if percent == 5 { 3 } else { 10 };
        assert!(broken.len() <= most && whole.len() > 470, "{} whole, {broken:?} broken", whole.len());
        // No freeze of more than half a second: pictures are 30 ms apart.
        let longest = whole.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(Duration::from_millis(30) * longest < Duration::from_millis(500), "{longest} pictures");
    }
}
