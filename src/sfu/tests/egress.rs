//! What is sealed here and sent to viewers: nonces, the first picture, bursts, resends.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use str0m_netem::{NetemConfig, Probability, RandomLoss};

use super::network::Datagram;
use super::world::World;
use super::{ALL, also_by_str0m};
use crate::media::{Codec, RtpTime};

also_by_str0m! {
    who_comes_soon_after_a_keyframe_is_given_it_and_does_not_lag,
    a_hundred_who_come_at_once_cost_two_keyframes_at_most,
}

/// What AES-GCM's nonces are made of besides the salt, as it can be read from every datagram. One key and nonce must
/// never seal two packets.
#[derive(Default)]
pub(super) struct Nonces {
    rtp: HashMap<(SocketAddr, u32), (u64, BTreeSet<u64>)>,
    rtcp: HashMap<SocketAddr, BTreeSet<(u32, u32)>>,
}

impl Nonces {
    /// Looks at a datagram of the core's.
    pub(super) fn see(&mut self, datagram: &Datagram) {
        let bytes = &datagram.bytes;
        if bytes.len() < 12 || bytes[0] >> 6 != 2 {
            return;
        }
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        if (192..=223).contains(&bytes[1]) {
            let nonce = (word(4), word(bytes.len() - 4));
            assert!(
                self.rtcp.entry(datagram.to).or_default().insert(nonce),
                "SRTCP to {} used SSRC and index {nonce:x?} before",
                datagram.to
            );
            return;
        }
        let (ssrc, sequence) = (word(8), u16::from_be_bytes([bytes[2], bytes[3]]));
        let (newest, used) = self.rtp.entry((datagram.to, ssrc)).or_default();
        // Extended as the receiver does it (RFC 3711 §3.3.1).
        let step = sequence.wrapping_sub(*newest as u16) as i16;
        let index = newest.wrapping_add_signed(step.into());
        *newest = (*newest).max(index);
        assert!(used.insert(index), "SRTP to {} used SSRC {ssrc} and index {index} before", datagram.to);
        while used.len() > 4_000 {
            used.pop_first();
        }
    }

    /// How many SSRCs were seen to be sent to one viewer.
    pub(super) fn senders(&self, to: SocketAddr) -> usize {
        self.rtp.keys().filter(|(seen, _)| *seen == to).count()
    }
}

#[test]
fn nonces_are_new_through_losses_restarts_and_changes() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.network(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.1))));
    world.run(1_000);
    world.restart_ice(client);
    world.run(1_000);
    world.source.codec = Codec::Vp8;
    (world.source.sequence, world.source.keyframe_wanted) = (7, true);
    world.run(1_000);
    let stream = world.sfu.stats(world.now).streams[0].clone();
    assert!(stream.packets_resent > 10, "{stream:?}");
    // Every datagram was looked at on its way. The picture, its resends and the sound are all that was sent.
    assert_eq!(world.nonces.senders(world.clients[client].address), 3);
}

#[test]
#[should_panic(expected = "used SSRC")]
fn a_nonce_that_is_used_twice_would_be_seen() {
    let mut nonces = Nonces::default();
    let datagram = |sequence: u8| Datagram {
        transport: crate::sfu::Transport::Udp,
        from: "10.0.0.1:1".parse().unwrap(),
        to: "10.0.0.2:1".parse().unwrap(),
        bytes: vec![0x80, 96, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 9, 1],
    };
    for sequence in [1, 2, 4, 3, 5, 2] {
        nonces.see(&datagram(sequence));
    }
}

#[test]
fn who_comes_soon_after_a_keyframe_is_given_it_and_does_not_lag() {
    let mut world = World::on_air(10);
    world.source.keyframe_wanted = true;
    world.run(600);
    let made = world.keyframes_made;
    let client = world.join(&ALL).unwrap();
    let asked = world.now;
    while world.clients[client].video.is_empty() && world.now < asked + Duration::from_secs(1) {
        world.run(1);
    }
    let live = world.source.frame;
    world.run(500);
    assert_eq!(world.keyframes_made, made, "nobody had to make one");
    let client = &world.clients[client];
    client.assert_seamless();
    let (whole, broken) = client.pictures();
    assert!(broken.len() <= 1 && whole.len() > 30, "{whole:?}, broken {broken:?}");
    assert!(whole[0] < live - 15, "begins {} pictures before the live one", live - whole[0]);
    // The pictures from before take little of RTP time, so that the player is not behind by their age.
    let time_of = |frame: u32| RtpTime(client.video.iter().find(|got| got.frame == frame).unwrap().time);
    let span = time_of(live).since(time_of(whole[0]));
    assert!((1..=90_000 / 16 + 3_000).contains(&span), "{span} units for {} pictures", live - whole[0]);
    for pair in whole.windows(2) {
        let step = time_of(pair[1]).since(time_of(pair[0]));
        assert!(step >= 90, "{step} units from picture {} to {}", pair[0], pair[1]);
        if pair[0] > live {
            assert_eq!(step, 30 * 90, "live pictures keep their times");
        }
    }
}

#[test]
fn a_hundred_who_come_at_once_cost_two_keyframes_at_most() {
    let mut world = World::on_air(200);
    world.run(3_000);
    let made = world.keyframes_made;
    let mut came = Vec::new();
    for _ in 0..100 {
        came.push((world.join(&ALL).unwrap(), world.now));
        world.run(15);
    }
    world.run(500);
    let cost = world.keyframes_made - made;
    assert!((1..=2).contains(&cost), "{cost} keyframes");
    for (client, _) in came {
        let client = &world.clients[client];
        client.assert_seamless();
        let (whole, broken) = client.pictures();
        assert!(broken.len() <= 1 && whole.len() > 10, "{} whole, {broken:?} broken", whole.len());
    }
}

#[test]
fn a_large_keyframe_goes_out_a_little_at_a_time_and_nothing_is_missing() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.source.packets = 60;
    world.run(300);
    world.source.keyframe_wanted = true;
    world.sent.most_at_once = 0;
    world.run(400);
    assert!((20..=60).contains(&world.sent.most_at_once), "{} packets at once", world.sent.most_at_once);
    let client = &world.clients[client];
    client.assert_seamless();
    let (whole, broken) = client.pictures();
    assert!(broken.len() <= 1 && whole.len() >= 20, "{} whole, {broken:?} broken", whole.len());
}
