//! Who cannot be reached over UDP, and who changes the way that media goes.

use super::also_by_str0m;
use super::client::Manner;
use super::world::World;
use crate::sfu::Transport;

also_by_str0m! {
    where_udp_is_blocked_the_picture_comes_over_tcp_and_follows_when_udp_works,
    a_publisher_without_udp_is_watched,
}

#[test]
fn the_answer_offers_both_and_prefers_udp() {
    let mut world = World::on_air(10);
    let viewer = world.watch();
    let sdp = world.clients[viewer].answer.clone().unwrap().sdp;
    let lines: Vec<&str> = sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let of = |transport: &str| {
        let word = format!(" {transport} ");
        let line = lines.iter().find(|line| line.contains(&word)).unwrap_or_else(|| panic!("{lines:?}"));
        (line.split(' ').nth(3).unwrap().parse::<u32>().unwrap(), line.contains(" tcptype passive"))
    };
    let ((udp, _), (tcp, passive)) = (of("udp"), of("tcp"));
    assert!(udp > tcp && passive, "{lines:?}");
    assert_eq!(world.sfu.stats(world.now).streams[0].over_tcp, 0);
}

#[test]
fn where_udp_is_blocked_the_picture_comes_over_tcp_and_follows_when_udp_works() {
    let mut world = World::on_air(10);
    world.transports = &[Transport::Udp, Transport::Tcp];
    world.udp_blocked = true;
    let viewer = world.watch();
    world.run(1_000);
    let stream = world.sfu.stats(world.now).streams[0].clone();
    assert_eq!((stream.viewers, stream.over_tcp), (1, 1));
    world.udp_blocked = false;
    world.run(5_000);
    let stream = world.sfu.stats(world.now).streams[0].clone();
    assert_eq!((stream.viewers, stream.over_tcp), (1, 0), "the better pair is followed");
    let client = &world.clients[viewer];
    client.assert_seamless();
    assert!(client.video.len() > 900, "{} packets", client.video.len());
}

#[test]
fn a_publisher_without_udp_is_watched() {
    let mut world = World::declared();
    world.transports = &[Transport::Tcp];
    world.publish_live(&Manner::default());
    world.transports = &[Transport::Udp];
    let viewer = world.watch();
    world.run(2_000);
    let (whole, broken) = world.clients[viewer].pictures();
    assert!(broken.len() <= 1 && whole.len() > 60, "{} whole, {broken:?} broken", whole.len());
}

#[test]
fn behind_a_router_the_public_address_is_the_candidate() {
    let mut world = World::on_air(10);
    world.transports = &[Transport::Tcp];
    world.behind = Some("192.168.0.7:8900".parse().unwrap());
    let viewer = world.watch();
    world.run(1_000);
    world.clients[viewer].assert_seamless();
    assert_eq!(world.sfu.stats(world.now).streams[0].over_tcp, 1);
}
