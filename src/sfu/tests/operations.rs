//! Any calls in any order: what must hold between any two of them does.

use std::time::Duration;

use proptest::prelude::*;
use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::ALL;
use super::client::Manner;
use super::world::{World, live};
use crate::sfu::{Pair, Patch, Precondition, SessionId};

#[derive(Clone, Debug)]
enum Operation {
    /// The box's own picture begins, or begins anew.
    Feed,
    EndFeed,
    /// So many layers.
    Name(usize),
    Publish {
        layers: usize,
        replaces: bool,
    },
    Join,
    /// One of the clients, by its place; the SFU is told.
    Close(usize),
    /// It is not told.
    Vanish(usize),
    Choose(usize, Option<usize>),
    Restart(usize),
    /// A PATCH that may make no sense.
    Trickle(usize, bool, bool, Vec<String>),
    Garbage(usize, Vec<u8>),
    /// Seconds that the wall clock is set by.
    SetClock(i32),
    Declare(u8),
    Announce(u8),
    Lose(u8),
    Pass(u64),
    /// Nothing is called meanwhile.
    Sleep(u64),
}

const NAMES: [&str; 3] = ["h", "m", "l"];

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let which = 0usize..12;
    prop_oneof![
        1 => Just(Feed),
        1 => Just(EndFeed),
        1 => (0usize..=3).prop_map(Name),
        3 => (0usize..=3, any::<bool>()).prop_map(|(layers, replaces)| Publish { layers, replaces }),
        6 => Just(Join),
        3 => which.clone().prop_map(Close),
        2 => which.clone().prop_map(Vanish),
        3 => (which.clone(), prop::option::of(0usize..4)).prop_map(|(client, layer)| Choose(client, layer)),
        1 => which.clone().prop_map(Restart),
        1 => (which.clone(), any::<bool>(), any::<bool>(), prop::collection::vec("candidate:[ -~]{0,60}", 0..3))
            .prop_map(|(client, any, named, candidates)| Trickle(client, any, named, candidates)),
        2 => (which, prop::collection::vec(any::<u8>(), 0..1_300)).prop_map(|(client, bytes)| Garbage(client, bytes)),
        1 => any::<i32>().prop_map(|seconds| SetClock(seconds / 1_000)),
        1 => (0u8..4).prop_map(Declare),
        1 => any::<u8>().prop_map(Announce),
        1 => (0u8..40).prop_map(Lose),
        8 => (1u64..400).prop_map(Pass),
        1 => (1u64..20_000).prop_map(Sleep),
    ]
}

struct Story {
    world: World,
}

impl Story {
    fn session(&self, client: usize) -> Option<(usize, SessionId)> {
        let client = client.checked_rem(self.world.clients.len())?;
        Some((client, self.world.session(client)))
    }

    fn carry_out(&mut self, operation: &Operation) {
        let world = &mut self.world;
        match operation {
            Operation::Feed => world.feed = Some(world.sfu.open_feed(&live())),
            Operation::EndFeed => {
                if let Some(feed) = world.feed.take() {
                    world.sfu.close_feed(feed);
                }
            }
            Operation::Name(count) => {
                if let Some(feed) = world.feed {
                    let names = NAMES[..*count].iter().map(|name| (*name).to_owned()).collect();
                    world.sfu.name_layers(feed, names);
                }
            }
            Operation::Publish { layers, replaces } => {
                let manner =
                    Manner { layers: &NAMES[..*layers], keeps_earlier: !replaces, ..Manner::default() };
                let _ = world.publish(&manner);
            }
            Operation::Join => {
                let _ = world.join(&ALL);
            }
            Operation::Close(client) => {
                if let Some((client, session)) = self.session(*client) {
                    let world = &mut self.world;
                    world.sfu.close(session, world.now, &mut world.sent);
                    world.clients.swap_remove(client);
                }
            }
            Operation::Vanish(client) => {
                if let Some((client, _)) = self.session(*client) {
                    self.world.clients.swap_remove(client);
                }
            }
            Operation::Choose(client, layer) => {
                if let Some((_, session)) = self.session(*client) {
                    let name = layer.map(|layer| NAMES.get(layer).copied().unwrap_or("x"));
                    let world = &mut self.world;
                    let _ = world.sfu.choose_layer(session, name, world.now, &mut world.sent);
                }
            }
            Operation::Restart(client) => {
                if let Some((client, session)) = self.session(*client)
                    && self.world.sfu.role(session).is_some()
                    && !self.world.clients[client].closed
                {
                    self.world.restart_ice(client);
                }
            }
            Operation::Trickle(client, any, named, candidates) => {
                if let Some((_, session)) = self.session(*client) {
                    let words = |text: &str| named.then(|| text.to_owned());
                    let patch = Patch {
                        precondition: if *any {
                            Precondition::Any
                        } else {
                            Precondition::Tag("tag".to_owned())
                        },
                        ufrag: words("abcd"),
                        pwd: words("0123456789abcdefghijkl"),
                        candidates: candidates.clone(),
                    };
                    let world = &mut self.world;
                    let _ = world.sfu.patch(session, &patch, world.now, &mut world.sent);
                }
            }
            Operation::Garbage(client, bytes) => {
                let from = self.session(*client).map(|(client, _)| self.world.clients[client].address);
                let from = from.unwrap_or_else(|| ([10, 9, 9, 9], 9).into());
                let (to, now) = (super::SERVER.parse().unwrap(), self.world.now);
                self.world.sfu.receive(Pair::udp(to, from), bytes, now, &mut self.world.sent);
            }
            Operation::SetClock(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs().into());
                let wall = if *seconds < 0 { world.wall - by } else { world.wall + by };
                world.sfu.set_wall_clock(world.now, wall);
            }
            Operation::Declare(n) => world.sfu.declare(&format!("declared-{n}").parse().unwrap()),
            Operation::Announce(n) => world.sfu.announce(&format!("announced-{n}").parse().unwrap()),
            Operation::Lose(percent) => {
                let loss = RandomLoss::new(Probability::new(f32::from(*percent) / 100.0));
                world.network(NetemConfig::new().loss(loss));
                world.network_up(
                    NetemConfig::new().loss(loss).jitter(Duration::from_millis(8)).reorder_gap(2),
                );
            }
            Operation::Pass(ms) => world.run(*ms),
            Operation::Sleep(ms) => {
                world.now += Duration::from_millis(*ms);
                world.run(1);
            }
        }
        self.world.sfu.verify_invariants();
    }
}

#[test]
fn a_feed_is_not_asked_for_layers_of_the_publisher_before_it() {
    use Operation::*;
    let mut world = World::new(6);
    world.sfu.declare(&live());
    let mut story = Story { world };
    let publish = Publish { layers: 3, replaces: false };
    for operation in [publish, Pass(100), Vanish(0), Join, Choose(0, Some(1)), Feed, Sleep(452)] {
        story.carry_out(&operation);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_holds_after_any_calls(operations in prop::collection::vec(operation(), 1..40)) {
        let mut world = World::new(6);
        world.sfu.declare(&live());
        let mut story = Story { world };
        for operation in &operations {
            story.carry_out(operation);
        }
        // And then everything is as at first.
        let world = &mut story.world;
        world.sfu.shut_down(world.now, &mut world.sent);
        world.sfu.verify_invariants();
        world.clients.clear();
        prop_assert_eq!(world.sfu.stats(world.now).viewers, 0);
        prop_assert_eq!(world.sfu.held_until(), None);
    }
}
