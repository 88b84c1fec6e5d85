//! Viewers on bad ways, told as data: what each of them sees, and that the others see nothing of it.
//!
//! A picture counts as shown when it is whole and so is all that it needs; who has waited for that asks for a keyframe, as
//! players do.

use std::time::{Duration, Instant};

use str0m_netem::{Bitrate, DataSize, NetemConfig, Probability, RandomLoss};

use super::ALL;
use super::client::Manner;
use super::ways::{LADDER, layers};
use super::world::World;

/// A player asks for a keyframe when it has shown nothing for so long.
const PATIENCE: Duration = Duration::from_millis(300);

/// The way down to a viewer.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Of a hundred packets, so many are lost.
    loss: f32,
    /// No more than so many kbit/s get through; 0 is no limit.
    kbps: u64,
}

const CLEAN: Way = Way { loss: 0.0, kbps: 0 };

const fn lossy(loss: f32) -> Way {
    Way { loss, kbps: 0 }
}

/// Who feeds the stream.
#[derive(Clone, Copy, Debug)]
enum Fed {
    /// The box, in one version of 1.5 Mbit/s.
    ByTheBox,
    /// A publisher, with layers of 2.6, 0.9 and 0.1 Mbit/s.
    ByALadder,
}

struct Scenario {
    fed: Fed,
    ways: &'static [(usize, Way)],
    /// Loss on the way up, of a hundred packets.
    up: f32,
    /// Until ways are as they are to be, and layers chosen.
    settles: u64,
    seconds: u64,
    /// The longest time that any viewer of the first way may see one picture.
    freeze: Duration,
    /// Of a hundred pictures, at least so many are shown.
    shown: usize,
}

/// A test of each.
macro_rules! scenarios {
    ($($name:ident: $scenario:expr,)*) => {
        $(
            #[test]
            fn $name() {
                const SCENARIO: Scenario = $scenario;
                SCENARIO.holds();
            }
        )*
    };
}

scenarios! {
    five_percent_are_lost_of_what_ten_viewers_are_sent: Scenario {
        fed: Fed::ByTheBox,
        ways: &[(10, lossy(5.0))],
        up: 0.0,
        settles: 2,
        seconds: 30,
        freeze: Duration::from_millis(500),
        shown: 97,
    },
    ten_percent_are_lost_of_what_ten_viewers_are_sent: Scenario {
        fed: Fed::ByTheBox,
        ways: &[(10, lossy(10.0))],
        up: 0.0,
        settles: 2,
        seconds: 30,
        freeze: Duration::from_millis(900),
        shown: 93,
    },
    five_percent_are_lost_on_the_way_up_and_down: Scenario {
        fed: Fed::ByALadder,
        ways: &[(10, lossy(5.0))],
        up: 5.0,
        settles: 2,
        seconds: 20,
        freeze: Duration::from_millis(700),
        shown: 90,
    },
    two_mbit_get_through_less_five_percent: Scenario {
        fed: Fed::ByALadder,
        ways: &[(10, Way { loss: 5.0, kbps: 2_000 })],
        up: 0.0,
        settles: 8,
        seconds: 30,
        freeze: Duration::from_millis(500),
        shown: 95,
    },
    three_mbit_get_through_less_five_percent: Scenario {
        fed: Fed::ByALadder,
        ways: &[(10, Way { loss: 5.0, kbps: 3_000 })],
        up: 0.0,
        settles: 8,
        seconds: 30,
        freeze: Duration::from_millis(500),
        shown: 95,
    },
    five_mbit_get_through_less_five_percent: Scenario {
        fed: Fed::ByALadder,
        ways: &[(10, Way { loss: 5.0, kbps: 5_000 })],
        up: 0.0,
        settles: 8,
        seconds: 30,
        freeze: Duration::from_millis(500),
        shown: 95,
    },
    everybody_has_another_way: Scenario {
        fed: Fed::ByALadder,
        ways: &[
            (6, CLEAN),
            (2, lossy(10.0)),
            (1, Way { loss: 0.0, kbps: 400 }),
            (1, Way { loss: 20.0, kbps: 1_000 }),
            (1, lossy(60.0)),
        ],
        up: 0.0,
        settles: 4,
        seconds: 30,
        // What the others go through is nothing to the first.
        freeze: Duration::from_millis(60),
        shown: 99,
    },
}

impl Way {
    fn config(self, seed: u64) -> NetemConfig {
        let mut config = NetemConfig::new().seed(seed);
        if self.loss > 0.0 {
            config = config.loss(RandomLoss::new(Probability::new(self.loss / 100.0)));
        }
        if self.kbps > 0 {
            let queue = DataSize::bytes(self.kbps as i64 * 1_000 / 8 / 4);
            config = config.link(Bitrate::kbps(self.kbps), queue);
        }
        config
    }
}

/// What the viewers of one way saw.
struct Seen {
    /// The spans between their pictures, all together, the longest last.
    spans: Vec<Duration>,
    /// The fewest pictures that one of them was shown, of a hundred.
    shown: usize,
}

impl Seen {
    fn at(&self, share: f64) -> u128 {
        self.spans[((self.spans.len() - 1) as f64 * share) as usize].as_millis()
    }

    fn longer_than(&self, ms: u64) -> usize {
        self.spans.iter().filter(|span| **span > Duration::from_millis(ms)).count()
    }
}

/// Lets time pass, with players that ask for keyframes when they have been stuck for a while.
fn play(world: &mut World, ms: u64) {
    for _ in 0..ms / 100 {
        world.run(100);
        let now = world.now;
        for client in world.clients.iter_mut().filter(|client| client.sending.is_none()) {
            if client.player.is_stuck(now, PATIENCE) {
                client.request_keyframe();
            }
        }
    }
}

impl Scenario {
    /// What was seen is printed, and the first way held to the table.
    fn holds(&self) {
        let (world, seen) = self.play();
        for ((count, way), seen) in self.ways.iter().zip(&seen) {
            println!(
                "{count} with {} % lost and {} kbit/s: {} % shown at least, spans p50 {} p95 {} p99 {} most {} ms, {} over 200 and {} over 500 ms",
                way.loss,
                way.kbps,
                seen.shown,
                seen.at(0.5),
                seen.at(0.95),
                seen.at(0.99),
                seen.at(1.0),
                seen.longer_than(200),
                seen.longer_than(500),
            );
        }
        let first = &seen[0];
        assert!(first.at(1.0) <= self.freeze.as_millis(), "{} ms without a new picture", first.at(1.0));
        assert!(first.shown >= self.shown, "{} % shown; {:?}", first.shown, world.sfu.stats(world.now));
    }

    fn play(&self) -> (World, Vec<Seen>) {
        let mut world = match self.fed {
            Fed::ByTheBox => World::on_air(20),
            Fed::ByALadder => {
                let mut world = World::declared();
                world.publish_live(&LADDER);
                world
            }
        };
        let mut viewers = Vec::new();
        for (count, way) in self.ways {
            for _ in 0..*count {
                let client = world.watch();
                world.link(client, way.config(3 + client as u64));
                viewers.push(client);
            }
        }
        if self.up > 0.0 {
            world.network_up(lossy(self.up).config(5));
        }
        play(&mut world, self.settles * 1_000);
        let (since, made) = (world.now, pictures_made(&world));
        play(&mut world, self.seconds * 1_000);
        let made = pictures_made(&world) - made;
        let mut viewers = viewers.into_iter();
        let mut seen = Vec::new();
        for (count, _) in self.ways {
            let of_it: Vec<usize> = viewers.by_ref().take(*count).collect();
            let mut spans: Vec<_> = of_it
                .iter()
                .flat_map(|client| world.clients[*client].player.spans(since, world.now))
                .collect();
            spans.sort();
            let shown = of_it.iter().map(|client| world.clients[*client].player.shown(since).len());
            seen.push(Seen { spans, shown: shown.min().unwrap() * 100 / made as usize });
        }
        (world, seen)
    }
}

fn pictures_made(world: &World) -> u32 {
    let published = world.clients.iter().find_map(|client| client.sending.as_ref());
    published.map_or(world.source.frame, |sending| sending.frame)
}

/// The same ten good viewers, with and without a bad one beside them, see the same.
#[test]
fn one_bad_viewer_changes_nothing_for_the_others() {
    let watch = |bad: Option<Way>| {
        let mut world = World::on_air(20);
        let viewers: Vec<usize> = (0..10).map(|_| world.watch()).collect();
        if let Some(way) = bad {
            let client = world.watch();
            world.link(client, way.config(9));
        }
        play(&mut world, 1_000);
        let since = world.now;
        play(&mut world, 15_000);
        let spans = |client: &usize| world.clients[*client].player.spans(since, world.now).into_iter().max();
        let broken = viewers.iter().map(|client| world.clients[*client].pictures().1.len()).max();
        (viewers.iter().filter_map(spans).max(), broken)
    };
    let alone = watch(None);
    for way in [lossy(30.0), lossy(80.0), Way { loss: 0.0, kbps: 300 }, Way { loss: 100.0, kbps: 0 }] {
        assert_eq!(watch(Some(way)), alone, "beside one with {way:?}");
    }
}

#[test]
fn viewers_that_change_layers_all_the_time_are_never_stuck() {
    let mut world = World::declared();
    world.publish_live(&LADDER);
    let viewers: Vec<usize> = (0..4).map(|_| world.watch()).collect();
    let calm = world.watch();
    world.run(1_000);
    let (since, names) = (world.now, [Some("l"), None, Some("m"), Some("h"), Some("l"), Some("m")]);
    for step in 0..120 {
        for client in &viewers {
            let session = world.session(*client);
            let layer = names[(step / (client + 1)) % names.len()];
            world.sfu.choose_layer(session, layer, world.now, &mut world.sent).unwrap();
        }
        world.run(70);
    }
    let asked = world.sfu.stats(world.now).streams[0].keyframe_requests_forwarded;
    for client in &viewers {
        world.clients[*client].assert_seamless();
        let longest = world.clients[*client].player.spans(since, world.now).into_iter().max().unwrap();
        assert!(longest < Duration::from_millis(200), "{longest:?} without a picture");
        assert!(layers(&world, *client, 0).len() > 8, "{:?}", layers(&world, *client, 0));
    }
    assert_eq!(layers(&world, calm, 0), [0]);
    // Three layers, two keyframes a second each.
    assert!(asked <= 3 * 2 * 10 + 10, "{asked} keyframes asked for in 10 s");
}

#[test]
fn publishers_that_replace_each_other_keep_their_viewers_also_where_packets_are_lost() {
    let mut world = World::declared();
    world.publish_live(&Manner::default());
    let viewers: Vec<usize> = (0..10).map(|_| world.watch()).collect();
    for client in &viewers {
        world.link(*client, lossy(5.0).config(20 + *client as u64));
    }
    world.network_up(lossy(5.0).config(5));
    for round in 0..4 {
        play(&mut world, 2_000);
        let next = world.publish_live(&Manner::default());
        let since = world.now;
        play(&mut world, 2_000);
        for client in &viewers {
            let client = &world.clients[*client];
            let shown = client.player.shown(since);
            assert!(shown.len() > 50, "round {round}: {} pictures in 2 s", shown.len());
            assert!(!client.closed);
        }
        assert!(!world.clients[next].closed);
    }
    assert_eq!(world.sfu.stats(world.now).viewers, 10);
}

#[test]
fn clocks_that_jump_take_nobody_off() {
    let mut world = World::on_air(20);
    let viewers: Vec<usize> = (0..10).map(|_| world.watch()).collect();
    let hour = 3_600.0;
    for jump in [hour, -2.0 * hour, 0.4, -0.4, 24.0 * hour] {
        let real = world.wall + (world.now - world.start);
        let by = Duration::from_secs_f64(f64::abs(jump));
        let wall = if jump > 0.0 { real + by } else { real - by };
        world.sfu.set_wall_clock(world.now, wall);
        let since = world.now;
        play(&mut world, 2_000);
        for client in &viewers {
            let longest = world.clients[*client].player.spans(since, world.now).into_iter().max().unwrap();
            assert!(longest <= Duration::from_millis(40), "{longest:?} after a jump by {jump} s");
        }
    }
    // The box is asleep, or hangs: its own time makes a step, for it and for everybody.
    for seconds in [1, 3, 10] {
        world.now += Duration::from_secs(seconds);
        let since: Instant = world.now + Duration::from_secs(1);
        play(&mut world, 4_000);
        assert_eq!(world.sfu.stats(world.now).viewers, 10, "after {seconds} s");
        for client in &viewers {
            let longest = world.clients[*client].player.spans(since, world.now).into_iter().max().unwrap();
            assert!(longest <= Duration::from_millis(40), "{longest:?} after {seconds} s");
        }
    }
    let late = world.join(&ALL).unwrap();
    world.run(1_000);
    assert!(!world.clients[late].video.is_empty());
}
