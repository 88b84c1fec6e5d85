//! Publishers, with str0m as publisher and viewer.

use std::time::Duration;

use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::client::Manner;
use super::world::{World, live};
use super::{ALL, WhepError, also_by_str0m};
use crate::media::{Codec, RtpTime};
use crate::sfu::{
    Disconnect, LayerError, Patch, PatchError, Patched, Precondition, PublisherKind, Role, WhipError,
};

also_by_str0m! {
    what_is_published_is_watched,
    whole_pictures_go_out_together_where_they_come_so,
    viewers_are_shown_the_best_layer_or_the_one_they_choose,
}

#[test]
fn what_is_published_is_watched() {
    let mut world = World::declared();
    assert!(matches!(world.join(&ALL), Err(WhepError::NotLive { .. })), "declared, not live");
    let publisher = world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.run(6_000);
    let client = &world.clients[viewer];
    client.assert_seamless();
    let (whole, broken) = client.pictures();
    assert!(whole.len() > 195 && broken.len() <= 1, "{} whole, {broken:?} broken", whole.len());
    assert!(client.audio.len() > 290, "{} sounds", client.audio.len());
    // The publisher's reports, 10 ms away, and ours agree on when the picture was taken.
    let (time, wall) = client.report.expect("a sender report within 6 s");
    let units = RtpTime(client.video.last().unwrap().time).since(RtpTime(time));
    let captured =
        world.wall + (world.now - world.start) - Duration::from_secs_f64(f64::from(units) / 90_000.0);
    let off = captured.duration_since(wall).unwrap_or_else(|error| error.duration());
    assert!(off < Duration::from_millis(200), "{off:?} between the report and the capture");
    let stats = world.sfu.stats(world.now);
    let stream = &stats.streams[0];
    assert_eq!((stream.publisher, stream.video), (Some(PublisherKind::Whip), Some(Codec::Vp8)));
    assert_eq!((stream.packets_lost, stats.joins, stats.connects, stats.viewers), (0, 1, 1, 1));
    let session = world.session(publisher);
    assert_eq!(world.sfu.role(session), Some(Role::Publisher(live())));
    assert!(world.sfu.close(session, world.now, &mut world.sent));
    world.run(100);
    assert!(world.clients[publisher].closed, "the publisher was told");
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.streams[0].live, stats.streams[0].publisher, stats.viewers), (false, None, 1));
    let left: Vec<_> = world.sfu.take_changes().into_iter().map(|change| change.left).collect();
    assert_eq!(left, [None, Some(Disconnect::Deleted)]);
}

#[test]
fn publishers_like_obs_and_like_gstreamer_get_through() {
    for manner in [Manner { like_obs: true, ..Manner::default() }, Manner { rsa: true, ..Manner::default() }]
    {
        let mut world = World::declared();
        world.publish_live(&manner);
        let viewer = world.watch();
        world.run(500);
        world.clients[viewer].assert_seamless();
    }
}

#[test]
fn a_publisher_that_does_not_name_its_streams_is_watched_and_repaired() {
    let mut world = World::declared();
    world.publish_live(&Manner { unannounced: true, ..Manner::default() });
    let viewer = world.watch();
    world.network_up(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.05))));
    world.run(4_000);
    world.network_up(NetemConfig::new());
    world.run(1_000);
    let stats = world.sfu.stats(world.now);
    let stream = &stats.streams[0];
    assert!(stream.nacks > 0, "{stream:?}");
    let client = &world.clients[viewer];
    assert!(client.audio.len() > 200, "{} sounds", client.audio.len());
    let (whole, broken) = client.pictures();
    assert!(whole.len() > 140 && broken.len() <= 1, "{} whole, {broken:?} broken", whole.len());
}

#[test]
fn whole_pictures_go_out_together_where_they_come_so() {
    let mut world = World::declared();
    world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.run(1_000);
    let before = (world.sent.of_three, world.clients[viewer].video.len());
    world.run(1_000);
    let after = (world.sent.of_three, world.clients[viewer].video.len());
    // Each picture has three packets. str0m, publishing, may spread those that coincide with a sound: every second one.
    assert!(after.1 - before.1 >= 96 && after.0 - before.0 >= 16, "{before:?}, a second later {after:?}");
}

#[test]
fn what_is_lost_on_the_way_up_is_sent_again() {
    let mut world = World::declared();
    world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.network_up(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.05))));
    world.run(6_000);
    world.network_up(NetemConfig::new());
    world.run(1_000);
    let client = &world.clients[viewer];
    let (whole, broken) = client.pictures();
    let span = client.video.last().unwrap().frame - client.video[0].frame + 1;
    assert!(broken.len() <= 3, "of {span} pictures these are broken: {broken:?}");
    assert!(whole.len() as u32 + 4 >= span, "{} of {span}", whole.len());
    let repaired = client.video.windows(2).filter(|pair| pair[1].sequence < pair[0].sequence).count();
    assert!(repaired > 10, "only {repaired} packets came late: was anything lost?");
    let stream = &world.sfu.stats(world.now).streams[0];
    assert!(stream.nacks > 5 && stream.packets_lost < 30, "{stream:?}");
}

#[test]
fn another_publisher_takes_over_when_it_is_connected_and_viewers_stay() {
    let mut world = World::declared();
    let first = world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.run(500);
    // One that never gets through ends nothing.
    let lost = world.publish(&Manner::default()).unwrap();
    world.clients[lost].gone = true;
    world.run(500);
    assert!(!world.clients[first].closed);
    let second = world.publish_live(&Manner::default());
    assert_eq!(world.sfu.role(world.session(lost)), None, "the newer attempt ended the older");
    world.run(1_000);
    assert!(world.clients[first].closed, "the first one was told");
    assert_eq!(world.sfu.role(world.session(first)), None);
    let client = &world.clients[viewer];
    client.assert_seamless();
    // The first one had made far more pictures by now; the last one may still be under way.
    let (last, made) =
        (client.video.last().unwrap().frame, world.clients[second].sending.as_ref().unwrap().frame);
    assert!(made - last <= 1, "picture {last} of {made} is the last");
    assert_eq!(world.sfu.stats(world.now).viewers, 1);
}

#[test]
fn a_name_that_is_taken_can_be_kept() {
    let mut world = World::declared();
    let first = world.publish_live(&Manner::default());
    let keeps = Manner { keeps_earlier: true, ..Manner::default() };
    assert_eq!(world.publish(&keeps).err(), Some(WhipError::Taken(live())));
    // Not for the sake of one that has gone silent.
    world.clients[first].gone = true;
    world.run(5_100);
    let second = world.publish_live(&keeps);
    assert!(!world.clients[second].closed);
}

#[test]
fn a_publisher_trickles_and_restarts_ice_while_media_flows() {
    let mut world = World::declared();
    let publisher = world.publish_live(&Manner { like_obs: true, ..Manner::default() });
    let viewer = world.watch();
    let (session, old) = (world.session(publisher), world.clients[publisher].answer.clone().unwrap().etag);
    let trickle = |etag: &str| Patch {
        precondition: Precondition::Tag(etag.to_owned()),
        ufrag: None,
        pwd: None,
        candidates: vec!["candidate:1 1 udp 2130706431 10.0.7.7 5000 typ host".to_owned()],
    };
    let now = world.now;
    assert_eq!(world.sfu.patch(session, &trickle(&old), now, &mut world.sent), Ok(Patched::Trickled));
    let before = world.clients[viewer].video.len();
    let (etag, _) = world.restart_ice(publisher);
    assert_ne!(etag, old);
    let now = world.now;
    let stale = world.sfu.patch(session, &trickle(&old), now, &mut world.sent);
    assert_eq!(stale, Err(PatchError::PreconditionFailed { etag: etag.clone() }));
    assert_eq!(world.sfu.patch(session, &trickle(&etag), now, &mut world.sent), Ok(Patched::Trickled));
    world.run(20_000);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.streams[0].live, stats.viewers), (true, 1), "still there after the grace");
    assert!(!world.clients[publisher].closed);
    let client = &world.clients[viewer];
    let (whole, broken) = (client.pictures().0.len(), client.pictures().1.len());
    assert!(client.video.len() > before + 1_500, "{} more packets", client.video.len() - before);
    assert!(broken <= 1, "{whole} whole and {broken} broken pictures");
    client.assert_seamless();
}

#[test]
fn a_publishers_failed_restart_keeps_its_session_until_nobody_answers() {
    let mut world = World::declared();
    let publisher = world.publish_live(&Manner::default());
    let viewer = world.watch();
    let patch = Patch {
        precondition: Precondition::Any,
        ufrag: Some("abcdef".to_owned()),
        pwd: Some("0123456789abcdefghijkl".to_owned()),
        candidates: Vec::new(),
    };
    let session = world.session(publisher);
    let too_short = Patch { pwd: Some("short".to_owned()), ..patch.clone() };
    let now = world.now;
    let refused = world.sfu.patch(session, &too_short, now, &mut world.sent);
    assert!(matches!(refused, Err(PatchError::BadFragment(_))), "{refused:?}");
    world.sfu.patch(session, &patch, now, &mut world.sent).unwrap();
    let before = world.clients[viewer].video.len();
    world.run(3_000);
    assert!(world.clients[viewer].video.len() > before + 200, "media goes on meanwhile");
    world.run(60_000);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.streams[0].publisher, stats.viewers), (None, 1), "nobody answers the new checks");
}

#[test]
fn a_publisher_that_vanishes_leaves_its_viewers_waiting() {
    let mut world = World::declared();
    let first = world.publish_live(&Manner::default());
    let viewer = world.watch();
    world.clients[first].gone = true;
    world.run(5_100);
    assert!(!world.sfu.stats(world.now).streams[0].live);
    assert!(matches!(world.join(&ALL), Err(WhepError::NotLive { .. })));
    world.run(30_000);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.streams[0].publisher, stats.viewers), (None, 1));
    assert!(world.sfu.take_changes().iter().any(|change| change.left == Some(Disconnect::TimedOut)));
    let before = world.clients[viewer].video.len();
    world.publish_live(&Manner::default());
    world.run(1_000);
    let client = &world.clients[viewer];
    assert!(client.video.len() > before + 90, "{} more packets", client.video.len() - before);
    client.assert_seamless();
}

#[test]
fn a_lost_keyframe_request_is_made_again() {
    let mut world = World::declared();
    let publisher = world.publish_live(&Manner::default());
    world.network(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.9))));
    world.run(100);
    world.network(NetemConfig::new());
    let viewer = world.watch();
    assert!(world.clients[viewer].video[0].keyframe);
    let made = |world: &World| world.clients[publisher].sending.as_ref().unwrap().keyframes_made;
    let before = made(&world);
    // Too late for what came before.
    world.run(1_100);
    // Nothing reaches the publisher while one more viewer comes.
    let next = world.join(&ALL).unwrap();
    world.run(200);
    world.clients[publisher].sending.as_mut().unwrap().keyframe_wanted = false;
    world.run(3_000);
    assert!(!world.clients[next].video.is_empty() && made(&world) > before);
}

#[test]
fn viewers_are_shown_the_best_layer_or_the_one_they_choose() {
    let mut world = World::declared();
    let publisher = world.publish_live(&Manner { layers: &["h", "m", "l"], ..Manner::default() });
    let (first, second) = (world.watch(), world.watch());
    world.run(1_000);
    assert_eq!(world.sfu.stats(world.now).streams[0].layers, ["h", "m", "l"]);
    let session = world.session(second);
    let now = world.now;
    let unknown = world.sfu.choose_layer(session, Some("x"), now, &mut world.sent);
    assert!(matches!(unknown, Err(LayerError::UnknownLayer { .. })), "{unknown:?}");
    let of_publisher = world.session(publisher);
    let refused = world.sfu.choose_layer(of_publisher, Some("l"), now, &mut world.sent);
    assert_eq!(refused, Err(LayerError::UnknownSession));
    world.sfu.choose_layer(session, Some("l"), now, &mut world.sent).unwrap();
    world.run(2_000);
    let layers = |world: &World, client: usize| {
        let mut layers: Vec<u8> = world.clients[client].video.iter().map(|got| got.layer).collect();
        layers.dedup();
        layers
    };
    assert_eq!((layers(&world, first), layers(&world, second)), (vec![0], vec![0, 2]));
    // The best layer falls silent, as when the publisher's line gets thin; then it comes back.
    world.clients[publisher].sending.as_mut().unwrap().silent.push(0);
    world.run(4_000);
    world.clients[publisher].sending.as_mut().unwrap().silent.clear();
    world.run(4_000);
    assert_eq!((layers(&world, first), layers(&world, second)), (vec![0, 1, 0], vec![0, 2]));
    for client in [first, second] {
        world.clients[client].assert_seamless();
        let changes = world.clients[client].video.windows(2).filter(|pair| pair[0].layer != pair[1].layer);
        for pair in changes {
            assert!(pair[1].keyframe && pair[1].index == 0, "{pair:?}");
        }
    }
    world.sfu.choose_layer(session, None, world.now, &mut world.sent).unwrap();
    world.run(2_000);
    assert_eq!(layers(&world, second), [0, 2, 0]);
}

#[test]
fn streams_that_nothing_names_make_room_for_each_other_once_nobody_needs_them() {
    let mut world = World::new(10);
    world.sfu.announce(&live());
    let publisher = world.publish_live(&Manner::default());
    let name = |n: usize| format!("show-{n}").parse().unwrap();
    (0..1_000).for_each(|n| world.sfu.announce(&name(n)));
    let names = |world: &mut World| -> Vec<String> {
        world.sfu.stats(world.now).streams.iter().map(|stream| stream.name.to_string()).collect()
    };
    let known = names(&mut world);
    assert_eq!((known.len(), known[0].as_str()), (64, "live"), "{known:?}");
    assert!(known.contains(&"show-999".to_owned()) && !world.clients[publisher].closed);
    world.sfu.declare(&name(999));
    (1_000..2_000).for_each(|n| world.sfu.announce(&name(n)));
    let known = names(&mut world);
    assert!(known.len() <= 65 && known.contains(&"show-999".to_owned()), "{known:?}");
}

#[test]
fn what_cannot_be_published_is_refused_in_words() {
    let mut world = World::on_air(10);
    assert_eq!(world.publish(&Manner::default()).err(), Some(WhipError::OwnPicture(live())));
    let mut world = World::new(10);
    assert_eq!(world.publish(&Manner::default()).err(), Some(WhipError::UnknownStream(live())));
    // A stream that becomes the box's own sends its publisher away.
    let mut world = World::declared();
    let publisher = world.publish_live(&Manner::default());
    world.feed = Some(world.sfu.open_feed(&live()));
    world.run(200);
    assert!(world.clients[publisher].closed);
    assert_eq!(world.sfu.stats(world.now).streams[0].publisher, Some(PublisherKind::Local));
}
