//! The box's own picture in several layers, each from an encoder of its own.

use str0m_netem::NetemConfig;

use super::also_by_str0m;
use super::ways::{layers, narrow};
use super::world::World;
use crate::sfu::LayerError;

pub(super) const NAMES: [&str; 3] = ["1280x720", "640x360", "320x180"];

also_by_str0m! {
    a_viewer_sees_the_best_layer_or_the_one_it_chooses_and_only_that_encoder_is_asked,
    a_layer_that_ends_falls_back_and_is_taken_again_at_its_first_keyframe,
}

impl World {
    fn choose(&mut self, client: usize, layer: Option<&str>) -> Result<(), LayerError> {
        let session = self.session(client);
        self.sfu.choose_layer(session, layer, self.now, &mut self.sent)
    }

    fn name(&mut self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.sfu.name_layers(self.feed.unwrap(), names);
    }
}

#[test]
fn a_viewer_sees_the_best_layer_or_the_one_it_chooses_and_only_that_encoder_is_asked() {
    let mut world = World::with_ladder(&NAMES);
    let (first, second) = (world.watch(), world.watch());
    world.run(1_000);
    let stream = world.sfu.stats(world.now).streams[0].clone();
    assert_eq!(stream.layers, NAMES);
    let tracks: Vec<_> = stream.tracks.iter().map(|track| track.layer.as_str()).collect();
    assert_eq!(tracks, ["1280x720", "640x360", "320x180", ""]);
    let made = |world: &World| {
        let smaller = world.smaller.iter().map(|small| small.keyframes_made);
        [world.keyframes_made].into_iter().chain(smaller).collect::<Vec<_>>()
    };
    let before = made(&world);
    world.choose(second, Some("640x360")).unwrap();
    let chosen = world.clients[second].video.len();
    world.run(100);
    // Within a keyframe: the next picture of that layer, 10 ms away.
    let shown = &world.clients[second].video[chosen..];
    let wait = shown.iter().position(|got| got.layer == 1).expect("the layer within 100 ms");
    assert!(wait <= 2 * 9 && shown[wait].keyframe && shown[wait].index == 0, "{wait}: {:?}", shown[wait]);
    world.run(1_900);
    assert_eq!(made(&world), [before[0], before[1] + 1, before[2]]);
    assert_eq!((layers(&world, first, 0), layers(&world, second, 0)), (vec![0], vec![0, 1]));
    world.choose(second, Some("320x180")).unwrap();
    world.run(1_000);
    world.choose(second, None).unwrap();
    world.run(1_000);
    assert_eq!((layers(&world, first, 0), layers(&world, second, 0)), (vec![0], vec![0, 1, 2, 0]));
    for client in [first, second] {
        world.clients[client].assert_seamless();
    }
    let unknown = world.choose(second, Some("1920x1080"));
    assert!(matches!(unknown, Err(LayerError::UnknownLayer { .. })), "{unknown:?}");
}

/// Every layer keeps the time of its capture, so that a picture of another layer is neither early nor late.
#[test]
fn layers_share_one_time_line_though_one_comes_later() {
    let mut world = World::with_ladder(&NAMES[..1]);
    let viewer = world.watch();
    // Another encoder begins, 70 ms behind: when its first picture comes, two later ones are out.
    world.smaller.push(super::source::Smaller::new(7, 3));
    world.smaller[0].late = 70;
    world.name(&NAMES[..2]);
    world.run(1_000);
    let shown = &world.clients[viewer].video;
    let (zero, number) = shown.last().map(|got| (got.time, got.frame)).unwrap();
    // By how much the last picture's RTP time is off its capture time, in ms.
    let off = |world: &World| {
        let last = world.clients[viewer].video.last().unwrap();
        let ms = (i64::from(last.time.wrapping_sub(zero)) - i64::from(last.frame - number) * 2_700) / 90;
        (last.layer, ms)
    };
    for round in 0..5 {
        world.choose(viewer, Some("640x360")).unwrap();
        world.run(1_000);
        let (layer, ms) = off(&world);
        assert!(layer == 1 && (0..=80).contains(&ms), "{ms} ms in round {round}");
        world.choose(viewer, None).unwrap();
        world.run(1_000);
        let (layer, ms) = off(&world);
        assert!(layer == 0 && (0..=12).contains(&ms), "{ms} ms in round {round}");
    }
    world.clients[viewer].assert_seamless();
}

#[test]
fn a_narrow_way_gets_a_smaller_layer_and_the_best_one_when_it_widens() {
    let mut world = World::with_ladder(&NAMES);
    let (narrowed, other) = (world.watch(), world.watch());
    world.run(3_000);
    assert_eq!((layers(&world, narrowed, 0), layers(&world, other, 0)), (vec![0], vec![0]));
    world.link(narrowed, narrow(1_500));
    world.run(10_000);
    let down = layers(&world, narrowed, 0);
    assert_eq!(down.last(), Some(&1), "{down:?}");
    let first = world.clients[narrowed].video.len();
    world.run(20_000);
    assert_eq!(layers(&world, narrowed, first), [1], "there it stays");
    world.link(narrowed, NetemConfig::new());
    world.run(70_000);
    assert_eq!(layers(&world, narrowed, first), [1, 0], "and comes back");
    assert_eq!(layers(&world, other, 0), [0]);
    let (whole, broken) = world.clients[other].pictures();
    assert!(broken.len() <= 1 && whole.len() > 3_000, "{} whole, {broken:?} broken", whole.len());
}

#[test]
fn a_layer_that_ends_falls_back_and_is_taken_again_at_its_first_keyframe() {
    let mut world = World::with_ladder(&NAMES);
    let (small, best) = (world.watch(), world.watch());
    world.choose(small, Some("320x180")).unwrap();
    world.run(1_000);
    // Its encoder dies and is built again.
    world.smaller[1].silent = true;
    world.run(4_000);
    world.smaller[1].silent = false;
    world.smaller[1].keyframe_wanted = true;
    world.run(1_000);
    // The best one dies: everybody sees the next one rather than nothing.
    world.source.packets = 0;
    world.run(4_000);
    world.source.packets = 9;
    world.source.keyframe_wanted = true;
    world.run(1_000);
    assert_eq!(layers(&world, small, 0), [0, 2, 1, 2]);
    assert_eq!(layers(&world, best, 0), [0, 1, 0]);
    for client in [small, best] {
        world.clients[client].assert_seamless();
    }
}

#[test]
fn a_choice_follows_its_name_when_the_layers_change() {
    let mut world = World::with_ladder(&NAMES);
    let (kept, lost) = (world.watch(), world.watch());
    world.choose(kept, Some("640x360")).unwrap();
    world.choose(lost, Some("320x180")).unwrap();
    world.run(1_000);
    // Another profile: a larger picture, of which that one is the third.
    world.name(&["1920x1080", "1280x720", "640x360"]);
    world.source.keyframe_wanted = true;
    world.smaller.iter_mut().for_each(|small| {
        small.sequence += 1_000_000;
        small.keyframe_wanted = true;
    });
    world.run(2_000);
    assert_eq!(layers(&world, kept, 0), [0, 1, 2]);
    assert_eq!(layers(&world, lost, 0), [0, 2, 0], "its name is gone, so it sees what fits");
    // One version alone is no layer, and nothing of the others is left.
    world.name(&[]);
    world.run(2_000);
    let stream = world.sfu.stats(world.now).streams[0].clone();
    assert_eq!((stream.layers.len(), stream.tracks.len()), (0, 2), "{stream:?}");
    assert_eq!(layers(&world, kept, 0), [0, 1, 2, 0]);
    for client in [kept, lost] {
        world.clients[client].assert_seamless();
    }
}
