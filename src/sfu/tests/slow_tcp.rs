//! Viewers over TCP whose connections take less than the picture: what would wait is not sent.

use std::time::Duration;

use super::ladder::NAMES;
use super::ways::layers;
use super::world::World;
use crate::media::RtpTime;
use crate::sfu::Transport;

impl World {
    /// A viewer over TCP, beside whatever the others have.
    fn watch_over_tcp(&mut self) -> usize {
        self.transports = &[Transport::Tcp];
        let viewer = self.watch();
        self.transports = &[Transport::Udp];
        viewer
    }

    fn slow_down(&mut self, client: usize, kbps: u64) {
        self.sent.slow_down(self.clients[client].address, kbps);
    }

    /// Nothing is lost: numbered without hole, and a picture that is cut short is followed by a keyframe.
    fn assert_numbered(&self, client: usize) {
        for pair in self.clients[client].video.windows(2) {
            let [a, b] = pair else { unreachable!() };
            let follows = if a.frame == b.frame && a.layer == b.layer {
                b.time == a.time && b.index == a.index + 1
            } else {
                let later = RtpTime(b.time).since(RtpTime(a.time)) > 0;
                later && b.index == 0 && (a.index + 1 == a.count || b.keyframe)
            };
            assert!(b.sequence == a.sequence + 1 && follows, "{a:?} then {b:?}");
        }
    }

    /// How old the pictures were that came since the `first` packet, at most.
    fn oldest(&self, client: usize, first: usize) -> Duration {
        let age = |got: &super::client::Got| (got.at - self.start) - Duration::from_millis(30) * got.frame;
        self.clients[client].video[first..].iter().map(age).max().unwrap()
    }
}

#[test]
fn a_slow_connection_gets_a_layer_that_fits_and_the_best_one_when_it_is_quick() {
    let mut world = World::with_ladder(&NAMES);
    let (slow, other) = (world.watch_over_tcp(), world.watch());
    world.run(3_000);
    assert_eq!((layers(&world, slow, 0), layers(&world, other, 0)), (vec![0], vec![0]));
    let made = world.keyframes_made;
    let before = world.clients[slow].video.len();
    world.slow_down(slow, 1_500);
    world.run(2_000);
    assert_eq!(layers(&world, slow, before), [0, 1], "within two seconds");
    let first = world.clients[slow].video.len();
    world.run(25_000);
    assert_eq!(layers(&world, slow, first), [1], "there it stays");
    let shown = &world.clients[slow].video[first..];
    let span = shown.last().unwrap().frame - shown[0].frame;
    assert!(span > 700, "{span} pictures in 25 s");
    let oldest = world.oldest(slow, first);
    assert!(oldest < Duration::from_millis(700), "{oldest:?}");
    let connection = &world.sent.slow[&world.clients[slow].address];
    assert_eq!(connection.dropped, 0);
    assert!(connection.most_waited < 100_000, "{} bytes", connection.most_waited);
    world.slow_down(slow, 50_000);
    world.run(70_000);
    assert_eq!(layers(&world, slow, first), [1, 0], "and comes back");
    world.assert_numbered(slow);
    // The other one noticed nothing: no loss, no other layer, and no more keyframes than the way back took.
    assert_eq!(layers(&world, other, 0), [0]);
    let (whole, broken) = world.clients[other].pictures();
    assert!(broken.len() <= 1 && whole.len() > 3_000, "{} whole, {broken:?} broken", whole.len());
    let more = world.keyframes_made - made;
    assert!(more <= 3, "{more} keyframes");
}

#[test]
fn over_a_connection_that_nothing_fits_the_sound_goes_on_and_the_picture_comes_back() {
    let mut world = World::with_ladder(&NAMES[..2]);
    let viewer = world.watch_over_tcp();
    world.run(3_000);
    world.slow_down(viewer, 200);
    world.run(15_000);
    assert_eq!(world.sfu.stats(world.now).streams[0].paused, 1);
    let (pictures, sounds) = (world.clients[viewer].video.len(), world.clients[viewer].audio.len());
    world.run(2_000);
    let client = &world.clients[viewer];
    assert_eq!(client.video.len(), pictures, "no picture is sent");
    assert!(client.audio.len() > sounds + 75, "{} sounds in 2 s", client.audio.len() - sounds);
    assert_eq!(world.sent.slow[&client.address].dropped, 0);
    world.slow_down(viewer, 50_000);
    world.run(70_000);
    assert_eq!(world.sfu.stats(world.now).streams[0].paused, 0);
    let seen = layers(&world, viewer, pictures);
    assert!(seen.ends_with(&[0]), "{seen:?}");
    world.assert_numbered(viewer);
}

#[test]
fn of_one_layer_that_is_a_little_too_much_what_is_late_is_left_out() {
    let mut world = World::on_air(10);
    world.source.packets = 9;
    let (slow, other) = (world.watch_over_tcp(), world.watch());
    world.run(3_000);
    world.slow_down(slow, 2_400);
    let (first, sounds, made) =
        (world.clients[slow].video.len(), world.clients[slow].audio.len(), world.keyframes_made);
    world.run(20_000);
    let client = &world.clients[slow];
    let (oldest, heard) = (world.oldest(slow, first), client.audio.len() - sounds);
    let shown = &client.video[first..];
    let span = shown.last().unwrap().frame - shown[0].frame;
    println!("{oldest:?} old at most, {} packets, {heard} sounds", shown.len());
    assert!(oldest < Duration::from_secs(2) && span > 600 && heard > 950, "{oldest:?}, {span}, {heard}");
    assert_eq!(world.sent.slow[&client.address].dropped, 0);
    world.assert_numbered(slow);
    let more = world.keyframes_made - made;
    assert!(more <= 8, "{more} keyframes for one viewer in 20 s");
    let (_, broken) = world.clients[other].pictures();
    assert!(broken.len() <= 1, "{broken:?}");
}
