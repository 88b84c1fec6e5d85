//! Hours of comings, goings, losses and restarts, drawn from a seed, with what must hold at every calm. A few minutes of
//! them are run always; `make soak` runs hours.

use std::time::{Duration, Instant};

use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::ALL;
use super::client::{Client, Manner};
use super::world::{World, live};
use crate::media::Codec;

/// Places in the world; more ask for one now and then.
const PLACES: u32 = 8;

/// By then the SFU has noticed that a viewer went without a word.
const NOTICED: Duration = Duration::from_secs(60);

/// Random enough, and the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// Who feeds the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fed {
    ByTheBox,
    ByPublishers,
}

struct Life {
    fed: Fed,
    seed: u64,
    dice: Dice,
    world: World,
    /// Those who went without a word, and when.
    vanished: Vec<Instant>,
    joined: u32,
    refused: u32,
    calms: u32,
    pictures: usize,
}

fn viewers(world: &World) -> impl Iterator<Item = &Client> {
    world.clients.iter().filter(|client| client.sending.is_none())
}

impl Life {
    fn begin(fed: Fed, seed: u64) -> Life {
        let world = match fed {
            Fed::ByTheBox => World::on_air(PLACES),
            Fed::ByPublishers => {
                let mut world = World::new(PLACES);
                world.sfu.declare(&live());
                world
            }
        };
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Life { fed, seed, dice, world, vanished: Vec::new(), joined: 0, refused: 0, calms: 0, pictures: 0 }
    }

    fn live_for(mut self, virtual_minutes: u64) {
        let end = self.world.now + Duration::from_secs(virtual_minutes * 60);
        while self.world.now < end {
            for _ in 0..12 {
                self.something_happens();
                for client in &mut self.world.clients {
                    client.video.clear();
                    client.audio.clear();
                }
                let ms = 50 + self.dice.below(1_500);
                self.world.run(ms);
            }
            self.calm();
        }
        self.everybody_leaves();
        println!(
            "{:?}, seed {}: {virtual_minutes} min, {} joined, {} refused, {} calms, {} pictures checked",
            self.fed, self.seed, self.joined, self.refused, self.calms, self.pictures
        );
        assert!(self.joined > 0 && self.pictures > 0, "nothing was tried");
    }

    fn something_happens(&mut self) {
        match self.dice.below(20) {
            0..8 => match self.world.join(&ALL) {
                Ok(_) => self.joined += 1,
                // Not live, or full.
                Err(_) => self.refused += 1,
            },
            8..10 => self.one_leaves(true),
            10 => self.one_leaves(false),
            11 => {
                let loss = Probability::new(self.dice.below(12) as f32 / 100.0);
                self.world.network(NetemConfig::new().loss(RandomLoss::new(loss)));
            }
            12 => {
                let again = Probability::new(self.dice.below(10) as f32 / 100.0);
                let jitter = Duration::from_millis(self.dice.below(15));
                self.world.network(NetemConfig::new().duplicate(again).jitter(jitter).reorder_gap(5));
            }
            13 => self.world.network(NetemConfig::new()),
            14..17 => self.the_source_changes(),
            17 => {
                let chosen = self.pick(|client| !client.video.is_empty());
                if let Some(client) = chosen {
                    self.world.clients[client].request_keyframe();
                }
            }
            18 => {
                let loss = Probability::new(self.dice.below(8) as f32 / 100.0);
                self.world.network_up(NetemConfig::new().loss(RandomLoss::new(loss)));
            }
            _ => self.world.network_up(NetemConfig::new()),
        }
    }

    /// Any of those clients that fit.
    fn pick(&mut self, fits: impl Fn(&Client) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.world.clients.len()).filter(|index| fits(&self.world.clients[*index])).collect();
        let count = u64::try_from(fitting.len()).ok().filter(|count| *count > 0)?;
        Some(fitting[self.dice.below(count) as usize])
    }

    fn one_leaves(&mut self, says_so: bool) {
        let Some(client) = self.pick(|client| client.sending.is_none()) else { return };
        if says_so {
            let session = self.world.session(client);
            // It may have been shown out already, for want of a connection.
            self.world.sfu.close(session, self.world.now, &mut self.world.sent);
        } else {
            self.vanished.push(self.world.now);
        }
        self.world.clients.swap_remove(client);
        self.world.sfu.verify_invariants();
    }

    fn the_source_changes(&mut self) {
        if self.fed == Fed::ByPublishers {
            let layers: &'static [&'static str] = if self.dice.below(2) == 0 { &["h", "l"] } else { &[] };
            match self.dice.below(3) {
                // Takes over when it is connected.
                0 => drop(self.world.publish(&Manner { layers, ..Manner::default() })),
                1 => {
                    if let Some(publisher) = self.pick(|client| client.sending.is_some()) {
                        self.world.clients.swap_remove(publisher);
                    }
                }
                _ => {
                    if let Some(publisher) = self.pick(|client| client.sending.is_some()) {
                        let session = self.world.session(publisher);
                        self.world.sfu.close(session, self.world.now, &mut self.world.sent);
                        self.world.clients.swap_remove(publisher);
                    }
                }
            }
            return;
        }
        match (self.world.feed.take(), self.dice.below(3)) {
            (Some(feed), 0) => self.world.sfu.close_feed(feed),
            (Some(feed), _) => {
                // Another encoder, of another codec.
                self.world.feed = Some(feed);
                self.world.source.codec =
                    [Codec::H264, Codec::Vp9, Codec::Av1, Codec::Vp8][self.dice.below(4) as usize];
                self.world.source.keyframe_wanted = true;
            }
            (None, _) => self.feed_again(),
        }
    }

    /// Another numbering and another clock, and not at a keyframe.
    fn feed_again(&mut self) {
        let source = &mut self.world.source;
        source.sequence = self.dice.below(1 << 30);
        source.audio_sequence = self.dice.below(1 << 30);
        source.time_offset = self.dice.below(1 << 32) as u32;
        self.world.feed = Some(self.world.sfu.open_feed(&live()));
    }

    /// Once nothing is lost any more and something is fed, everybody who is there sees all of it, in order and in time.
    fn calm(&mut self) {
        self.calms += 1;
        self.world.network(NetemConfig::new());
        self.world.network_up(NetemConfig::new());
        match self.fed {
            Fed::ByTheBox if self.world.feed.is_none() => self.feed_again(),
            Fed::ByTheBox => {}
            Fed::ByPublishers => {
                self.world.publish_live(&Manner::default());
            }
        }
        // Whoever could not connect in the storm is shown out by now.
        self.world.run(16_000);
        self.world.clients.retain(|client| client.connected && !client.closed);
        for client in &mut self.world.clients {
            client.video.clear();
            client.audio.clear();
        }
        self.world.run(3_000);
        let place = format!("{:?}, seed {}, calm {}", self.fed, self.seed, self.calms);
        for client in viewers(&self.world) {
            let who = client.address;
            assert!(
                !client.video.is_empty(),
                "{place}: {who} sees nothing; {:?}",
                self.world.sfu.stats(self.world.now)
            );
            let (whole, broken) = client.pictures();
            assert!(
                whole.len() >= 96 && broken.len() <= 2,
                "{place}: {who} sees {whole:?}, broken {broken:?}"
            );
            assert!(client.audio.len() >= 145, "{place}: {who} hears {} sounds", client.audio.len());
            for pair in client.video.windows(2).chain(client.audio.windows(2)) {
                assert_eq!(pair[1].sequence, pair[0].sequence + 1, "{place}: {who}: {pair:?}");
                assert_eq!(pair[1].ssrc, pair[0].ssrc, "{place}: {who}: {pair:?}");
            }
            let steps = whole.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            assert_eq!(steps, 0, "{place}: {who} misses pictures: {whole:?}");
            if self.fed == Fed::ByTheBox {
                let newest = whole.last().copied().unwrap_or_default();
                assert!(self.world.source.frame - newest <= 2, "{place}: {who} is behind");
            }
            self.pictures += whole.len();
        }
        let now = self.world.now;
        self.vanished.retain(|when| now < *when + NOTICED);
        let present = viewers(&self.world).count();
        let counted = self.world.sfu.stats(now).viewers as usize;
        let most = present + self.vanished.len();
        assert!(
            (present..=most).contains(&counted),
            "{place}: {counted} counted, {present} to {most} are there"
        );
    }

    fn everybody_leaves(&mut self) {
        for client in 0..self.world.clients.len() {
            let session = self.world.session(client);
            self.world.sfu.close(session, self.world.now, &mut self.world.sent);
        }
        self.world.clients.clear();
        if let Some(feed) = self.world.feed.take() {
            self.world.sfu.close_feed(feed);
        }
        self.world.run(NOTICED.as_millis() as u64);
        let stats = self.world.sfu.stats(self.world.now);
        assert_eq!(stats.viewers, 0, "{stats:?}");
        assert!(stats.streams.iter().all(|stream| !stream.live), "{stats:?}");
    }
}

#[test]
fn minutes_of_anything_that_may_happen() {
    Life::begin(Fed::ByTheBox, 1).live_for(1);
    Life::begin(Fed::ByPublishers, 2).live_for(1);
}

/// Ten lives with each kind of source, of `CAPCAST_SOAK_MINUTES` (60) virtual minutes. A failure names the seed.
#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_hours_of_anything_that_may_happen() {
    let minutes = std::env::var("CAPCAST_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    for seed in 100..110 {
        Life::begin(Fed::ByTheBox, seed).live_for(minutes);
        Life::begin(Fed::ByPublishers, seed).live_for(minutes);
    }
}
