//! The core under virtual time over an emulated network, with str0m as the viewers.

mod client;
mod disorder;
mod egress;
mod ladder;
mod network;
mod operations;
mod over_tcp;
mod player;
mod publishers;
mod said;
mod scenarios;
mod slow_tcp;
mod soak;
mod source;
mod ways;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use str0m::format::Codec as RtcCodec;
use str0m_netem::{NetemConfig, Probability, RandomLoss};

use self::network::Sent;
use self::world::{SERVER, World, live};
use super::{Disconnect, Pair, Patch, PatchError, Patched, Precondition, SessionId, WhepError};
use crate::media::{Codec, RtpTime};

/// Runs scenarios again with str0m sealing what viewers are sent: what is seen must be the same.
macro_rules! also_by_str0m {
    ($($scenario:ident,)*) => {
        mod by_str0m {
            $(
                #[test]
                fn $scenario() {
                    crate::sfu::tests::world::SEALED_BY.set(crate::sfu::SealedBy::Str0m);
                    super::$scenario();
                }
            )*
        }
    };
}
use also_by_str0m;

also_by_str0m! {
    a_late_viewer_begins_with_a_keyframe_and_misses_nothing,
    sender_reports_and_rtp_time_tell_the_capture_time,
    a_capture_time_follows_the_wall_clock_and_tells_how_far_it_is_from_the_reports,
    a_viewer_that_is_sent_media_is_not_woken_for_it,
    five_percent_loss_is_repaired,
    duplicates_and_reordering_do_no_harm,
    viewers_stay_through_a_publisher_restart,
    the_codec_changes_within_the_session,
    a_viewer_without_the_codec_is_told_so_and_leaves_at_a_change_to_it,
    fifty_viewers_each_get_their_own_numbering,
    keyframe_requests_of_many_viewers_become_two_a_second,
    a_viewer_that_vanishes_is_given_up,
    patches_trickle_and_restart_ice,
    a_failed_restart_lets_the_session_go_on_until_it_must_end,
    a_panic_in_one_peer_ends_that_peer_only,
    shutting_down_tells_everybody,
}

const ALL: [Codec; 5] = [Codec::H264, Codec::Vp9, Codec::Av1, Codec::Vp8, Codec::Opus];

#[test]
fn a_late_viewer_begins_with_a_keyframe_and_misses_nothing() {
    let mut world = World::on_air(10);
    world.run(1_000);
    let made = world.keyframes_made;
    let first = world.watch();
    world.run(1_000);
    let second = world.watch();
    world.run(1_000);
    assert_eq!(world.keyframes_made, made + 2, "each viewer asked once");
    for client in [first, second] {
        let client = &world.clients[client];
        client.assert_seamless();
        assert!(client.video[0].sequence < 1 << 16);
        assert!(client.audio.len() > 45, "{} sounds", client.audio.len());
        let (whole, broken) = client.pictures();
        assert!(whole.len() >= 30 && broken.len() <= 1, "{} whole, {broken:?} broken", whole.len());
    }
    // RTP 12, SRTP tag 16, extension header 4 and four extensions.
    assert!(world.largest <= 1_180 + 12 + 16 + 32, "{} bytes", world.largest);
}

#[test]
fn sender_reports_and_rtp_time_tell_the_capture_time() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.run(6_000);
    let (time, wall) = world.clients[client].report.expect("a sender report within 6 s");
    // The source captures at `now` and stamps with `now`, in 90 kHz; it made its last picture at most 30 ms ago, and the
    // network took 10 ms.
    let last = world.clients[client].video.last().unwrap();
    let units = RtpTime(last.time).since(RtpTime(time));
    let captured =
        world.wall + (world.now - world.start) - Duration::from_secs_f64(f64::from(units) / 90_000.0);
    let off = captured.duration_since(wall).unwrap_or_else(|error| error.duration());
    assert!(off < Duration::from_millis(200), "{off:?} between the report and the capture");
}

#[test]
fn a_capture_time_follows_the_wall_clock_and_tells_how_far_it_is_from_the_reports() {
    let mut world = World::on_air(10);
    let client = world.watch();
    // NTP puts the clock forward by an hour.
    let hour = Duration::from_secs(3_600);
    let wall = world.wall + (world.now - world.start) + hour;
    world.sfu.set_wall_clock(world.now, wall);
    let (set, before) = (world.now, world.clients[client].video.len());
    world.run(2_500);
    let client = &world.clients[client];
    assert!(client.video.len() > before + 100);
    let (captured, _) = client.captured.as_ref().expect("a capture time within 2.5 s");
    let since = captured.capture_time.duration_since(wall).expect("after the clock was set");
    assert!(since <= world.now - set, "{since:?} after the clock was set");
    let ahead = captured.clock_offset_secs().expect("how far the clocks are apart");
    assert!((ahead - 3_600.0).abs() < 0.01, "{ahead} s ahead of the reports");
    // So reports and capture time agree about when a picture was captured.
    let (_, report) = client.report.expect("a sender report");
    let told = captured.capture_time - hour;
    let apart = told.duration_since(report).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_secs(2), "{apart:?} between the last report and the last capture time");
}

#[test]
fn a_viewer_that_is_sent_media_is_not_woken_for_it() {
    let mut world = World::on_air(10);
    world.watch();
    world.run(2_000);
    let mut woken = 0;
    for _ in 0..1_000 {
        woken += u32::from(world.sfu.next_timeout(world.now).is_some_and(|at| at <= world.now));
        world.run(1);
    }
    assert!(woken < 30, "woken {woken} times within a second");
}

#[test]
fn who_asks_and_never_connects_takes_places_from_nobody_else() {
    let mut world = World::on_air(500);
    let network = |n: u8| Some(std::net::IpAddr::from([192, 0, 2, n]));
    for _ in 0..200 {
        let client = world.join_from(network(1), &ALL).expect("an answer");
        world.clients[client].gone = true;
    }
    assert_eq!(world.sfu.stats(world.now).pending, 16, "the oldest went");
    // Many networks with a few each: the ones with the most lose theirs.
    for n in 2..=30 {
        for _ in 0..5 {
            if let Ok(client) = world.join_from(network(n), &ALL) {
                world.clients[client].gone = true;
            }
        }
    }
    assert!(world.sfu.stats(world.now).pending <= 128);
    let client = world.join_from(network(99), &ALL).expect("a place for somebody new");
    world.run(1_000);
    assert!(world.clients[client].connected && !world.clients[client].video.is_empty());
    world.run(15_000);
    assert_eq!((world.sfu.stats(world.now).pending, world.sfu.stats(world.now).viewers), (0, 1));
}

#[test]
fn a_handshake_that_begins_before_our_own_check_is_answered_counts() {
    let mut world = World::on_air(10);
    for lost in 1..4 {
        let client = world.join(&ALL).unwrap();
        world.network.answers_lost = lost;
        world.run(4_000);
        let client = &world.clients[client];
        assert_eq!((world.network.answers_lost, client.connected), (0, true), "{lost} answers lost");
        assert!(!client.video.is_empty());
    }
    assert_eq!(world.sfu.stats(world.now).garbage, 0);
}

#[test]
fn five_percent_loss_is_repaired() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.network(NetemConfig::new().loss(RandomLoss::new(Probability::new(0.05))));
    world.run(8_000);
    world.network(NetemConfig::new());
    world.run(1_000);
    let client = &world.clients[client];
    let (whole, broken) = client.pictures();
    let span = client.video.last().unwrap().frame - client.video[0].frame + 1;
    assert!(broken.len() <= 2, "of {span} pictures these are broken: {broken:?}");
    assert!(whole.len() as u32 + 3 >= span, "{} of {span}", whole.len());
    let repaired = client.video.windows(2).filter(|pair| pair[1].sequence < pair[0].sequence).count();
    assert!(repaired > 30, "only {repaired} packets came late: was anything lost?");
}

#[test]
fn duplicates_and_reordering_do_no_harm() {
    let mut world = World::on_air(10);
    let client = world.watch();
    let network =
        NetemConfig::new().duplicate(Probability::new(0.1)).jitter(Duration::from_millis(4)).reorder_gap(5);
    world.network(network);
    world.run(3_000);
    let client = &world.clients[client];
    let disorder = client.video.windows(2).filter(|pair| pair[1].sequence < pair[0].sequence).count();
    assert!(disorder > 0, "the network kept the order");
    let (whole, broken) = client.pictures();
    assert!(whole.len() >= 95 && broken.len() <= 1, "{} whole, {broken:?} broken", whole.len());
    assert_eq!(world.sfu.stats(world.now).viewers, 1);
}

#[test]
fn viewers_stay_through_a_publisher_restart() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.run(500);
    let feed = world.feed.take().unwrap();
    world.sfu.close_feed(feed);
    world.run(2_000);
    assert!(!world.sfu.stats(world.now).streams[0].live);
    assert!(matches!(world.join(&ALL), Err(WhepError::NotLive { .. })));
    let before = world.clients[client].video.len();
    // Another numbering, another clock, and not at a keyframe.
    (world.source.sequence, world.source.audio_sequence, world.source.time_offset) = (12, 40_000, 99);
    world.feed = Some(world.sfu.open_feed(&live()));
    world.run(1_000);
    let client = &world.clients[client];
    client.assert_seamless();
    assert!(client.video.len() > before + 50);
    let resumed = &client.video[before..];
    let switch = resumed.windows(2).find(|pair| pair[1].frame > pair[0].frame).unwrap();
    assert!(resumed[0].keyframe || switch[1].keyframe, "goes on with a keyframe");
    let gap = RtpTime(resumed[0].time).since(RtpTime(client.video[before - 1].time));
    assert!((2 * 90_000..3 * 90_000).contains(&gap), "RTP time tells the pause: {gap}");
}

#[test]
fn the_codec_changes_within_the_session() {
    let mut world = World::on_air(10);
    let client = world.watch();
    for codec in [Codec::Vp9, Codec::Av1, Codec::Vp8, Codec::H264] {
        world.run(400);
        world.source.codec = codec;
        world.source.sequence = 1_000 + u64::from(codec as u8);
        world.source.keyframe_wanted = true;
    }
    world.run(400);
    let client = &world.clients[client];
    client.assert_seamless();
    let mut codecs: Vec<RtcCodec> = client.video.iter().map(|got| got.codec).collect();
    codecs.dedup();
    use RtcCodec::{Av1, H264, Vp8, Vp9};
    assert_eq!(codecs, [H264, Vp9, Av1, Vp8, H264]);
    let changes = client.video.windows(2).filter(|pair| pair[0].codec != pair[1].codec);
    assert!(changes.into_iter().all(|pair| pair[1].keyframe && pair[1].index == 0));
    assert_eq!(world.sfu.stats(world.now).streams[0].video, Some(Codec::H264));
}

#[test]
fn a_viewer_without_the_codec_is_told_so_and_leaves_at_a_change_to_it() {
    let mut world = World::on_air(10);
    let refused = world.join(&[Codec::Vp8, Codec::Opus]);
    let offers = vec!["VP8".to_owned()];
    assert_eq!(refused.err(), Some(WhepError::NoCommonCodec { has: Codec::H264, offers }));
    let client = world.join(&[Codec::H264, Codec::Opus]).unwrap();
    world.run(1_000);
    assert!(!world.clients[client].video.is_empty());
    world.source.codec = Codec::Vp9;
    world.source.keyframe_wanted = true;
    world.run(200);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.viewers, stats.disconnects), (0, vec![(Disconnect::Codec, 1)]));
    assert!(world.clients[client].closed, "the viewer was told");
}

#[test]
fn fifty_viewers_each_get_their_own_numbering() {
    let mut world = World::on_air(50);
    for _ in 0..50 {
        world.join(&ALL).unwrap();
        world.run(17);
    }
    assert!(matches!(world.join(&ALL), Err(WhepError::Full { max_viewers: 50, .. })));
    world.run(1_500);
    for client in &world.clients {
        client.assert_seamless();
        let (whole, broken) = client.pictures();
        assert!(whole.len() > 30 && broken.len() <= 1, "{} whole, {broken:?} broken", whole.len());
    }
    assert_eq!(world.sfu.stats(world.now).viewers, 50);
    for client in (0..50).step_by(2) {
        let session = world.session(client);
        assert!(world.sfu.close(session, world.now, &mut world.sent));
        assert!(!world.sfu.close(session, world.now, &mut world.sent));
    }
    world.run(100);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.viewers, stats.disconnects), (25, vec![(Disconnect::Deleted, 25)]));
    assert_eq!(world.clients.iter().filter(|client| client.closed).count(), 25);
}

#[test]
fn keyframe_requests_of_many_viewers_become_two_a_second() {
    let mut world = World::on_air(20);
    for _ in 0..20 {
        world.join(&ALL).unwrap();
    }
    world.run(2_000);
    let made = world.keyframes_made;
    let before = world.sfu.stats(world.now).streams[0].clone();
    for _ in 0..40 {
        for client in &mut world.clients {
            client.request_keyframe();
        }
        world.run(50);
    }
    world.run(600);
    let after = world.sfu.stats(world.now).streams[0].clone();
    let received = after.keyframe_requests - before.keyframe_requests;
    let forwarded = after.keyframe_requests_forwarded - before.keyframe_requests_forwarded;
    assert!(received > 200, "{received} received");
    assert!((4..=6).contains(&forwarded), "{forwarded} forwarded in 2.6 s");
    assert_eq!(u64::from(world.keyframes_made - made), forwarded);
}

#[test]
fn a_viewer_that_vanishes_is_given_up() {
    let mut world = World::on_air(10);
    let client = world.watch();
    world.clients[client].gone = true;
    world.run(40_000);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.viewers, stats.disconnects), (0, vec![(Disconnect::TimedOut, 1)]));
    // And one that never came.
    let client = world.join(&ALL).unwrap();
    world.clients[client].gone = true;
    assert_eq!(world.sfu.stats(world.now).pending, 1);
    world.run(15_100);
    let stats = world.sfu.stats(world.now);
    assert_eq!(stats.disconnects.last(), Some(&(Disconnect::NeverConnected, 1)));
    assert_eq!(world.sfu.next_timeout(world.now), None, "nobody is left to wake for");
}

#[test]
fn streams_are_known_before_they_are_live() {
    let mut world = World::new(10);
    assert_eq!(world.join(&ALL).err(), Some(WhepError::UnknownStream(live())));
    let feed = world.sfu.open_feed(&live());
    assert!(matches!(world.join(&ALL), Err(WhepError::NotLive { .. })));
    world.feed = Some(feed);
    world.run(100);
    assert!(world.join(&ALL).is_ok());
    world.feed = None;
    world.run(5_100);
    assert!(matches!(world.join(&ALL), Err(WhepError::NotLive { .. })), "stalled");
}

#[test]
fn bad_offers_are_refused_in_words() {
    let mut world = World::on_air(10);
    let (_, offer, _) = world.offer(&ALL);
    let mut refusal = |offer: &str| {
        let session = SessionId::from_random(77);
        let offer = world.sfu.preparer().viewer(offer, world.now);
        match world.sfu.join(session, &live(), offer, None, world.now, &mut world.sent) {
            Err(WhepError::BadOffer(words)) => words,
            other => panic!("{other:?}"),
        }
    };
    assert!(refusal("hello").contains("v=0"));
    assert!(refusal(&offer.replace("a=recvonly", "a=sendonly")).contains("sendonly"));
    assert!(refusal(&offer.replace("a=fingerprint", "a=x-fingerprint")).contains("fingerprint"));
    for end in (0..offer.len()).step_by(97) {
        if offer.is_char_boundary(end) {
            let _ = world.sfu.join(
                SessionId::from_random(78),
                &live(),
                world.sfu.preparer().viewer(&offer[..end], world.now),
                None,
                world.now,
                &mut Sent::default(),
            );
            world.sfu.close(SessionId::from_random(78), world.now, &mut Sent::default());
        }
    }
    world.sfu.verify_invariants();
}

#[test]
fn patches_trickle_and_restart_ice() {
    let mut world = World::on_air(10);
    let client = world.watch();
    let session = world.session(client);
    let answer = world.clients[client].answer.clone().unwrap();
    let patch = |precondition, ufrag: &str, pwd: &str| Patch {
        precondition,
        ufrag: Some(ufrag.to_owned()).filter(|u| !u.is_empty()),
        pwd: Some(pwd.to_owned()).filter(|p| !p.is_empty()),
        candidates: vec![
            "candidate:1 1 udp 2130706431 10.0.7.7 5000 typ host".to_owned(),
            "nonsense".to_owned(),
        ],
    };
    let tag = |tag: &str| Precondition::Tag(tag.to_owned());
    let now = world.now;
    let mut send = |session, patch: &Patch| world.sfu.patch(session, patch, now, &mut world.sent);
    assert_eq!(send(session, &patch(tag(&answer.etag), "", "")), Ok(Patched::Trickled));
    let failed = Err(PatchError::PreconditionFailed { etag: answer.etag.clone() });
    assert_eq!(send(session, &patch(tag("other"), "", "")), failed);
    assert_eq!(send(session, &patch(tag(&answer.etag), "newu", "0123456789abcdefghijkl")), failed);
    assert!(matches!(
        send(session, &patch(Precondition::Any, "new", "short")),
        Err(PatchError::BadFragment(_))
    ));
    let unknown = SessionId::from_random(9_999);
    assert_eq!(send(unknown, &patch(Precondition::Any, "", "")), Err(PatchError::UnknownSession));

    let (etag, candidates) = world.restart_ice(client);
    assert_ne!(etag, answer.etag);
    assert!(
        candidates[0].starts_with("candidate:") && candidates[0].contains("10.0.0.1 8900"),
        "{candidates:?}"
    );
    world.run(20_000);
    assert_eq!(world.sfu.stats(world.now).viewers, 1, "still there after the grace");
    world.clients[client].assert_seamless();
    let stale = world.sfu.patch(session, &patch(tag(&answer.etag), "", ""), world.now, &mut world.sent);
    assert_eq!(stale, Err(PatchError::PreconditionFailed { etag }));
}

#[test]
fn a_failed_restart_lets_the_session_go_on_until_it_must_end() {
    let mut world = World::on_air(10);
    let client = world.watch();
    let session = world.session(client);
    let patch = Patch {
        precondition: Precondition::Any,
        ufrag: Some("abcdef".to_owned()),
        pwd: Some("0123456789abcdefghijkl".to_owned()),
        candidates: Vec::new(),
    };
    world.sfu.patch(session, &patch, world.now, &mut world.sent).unwrap();
    let before = world.clients[client].video.len();
    world.run(3_000);
    assert!(world.clients[client].video.len() > before + 300, "media goes on meanwhile");
    world.run(60_000);
    assert_eq!(world.sfu.stats(world.now).viewers, 0, "nobody answers the new checks");
}

#[test]
fn a_panic_in_one_peer_ends_that_peer_only() {
    let mut world = World::on_air(10);
    let (first, second) = (world.watch(), world.watch());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let nothing = world.sfu.with_peer::<()>(first, world.now, &mut world.sent, |_, _| panic!("on purpose"));
    std::panic::set_hook(hook);
    assert_eq!(nothing, None);
    world.run(500);
    let stats = world.sfu.stats(world.now);
    assert_eq!((stats.viewers, stats.disconnects), (1, vec![(Disconnect::Panic, 1)]));
    world.clients[second].assert_seamless();
}

#[test]
fn shutting_down_tells_everybody() {
    let mut world = World::on_air(10);
    let clients = [world.watch(), world.watch()];
    world.sfu.shut_down(world.now, &mut world.sent);
    world.feed = None;
    world.run(100);
    assert!(clients.iter().all(|client| world.clients[*client].closed));
    assert_eq!(world.sfu.stats(world.now).disconnects, [(Disconnect::Shutdown, 2)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics_nor_ends_a_viewer(
        datagrams in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..1_600), any::<bool>()), 1..40),
    ) {
        let mut world = World::on_air(2);
        let client = world.watch();
        let server = SERVER.parse().unwrap();
        let etag = world.clients[client].answer.as_ref().unwrap().etag.clone();
        for (kind, mut bytes, own) in datagrams {
            match kind {
                // STUN with our name and no integrity, DTLS, SRTP, or anything.
                0 => {
                    let name = format!("{etag}:xyzw");
                    let mut stun = vec![0, 1, 0, (4 + name.len().next_multiple_of(4)) as u8, 0x21, 0x12, 0xa4, 0x42];
                    stun.extend([9; 12]);
                    stun.extend([0, 6, 0, name.len() as u8]);
                    stun.extend(name.bytes());
                    stun.resize(stun.len().next_multiple_of(4), 0);
                    stun.extend(bytes);
                    bytes = stun;
                }
                1 => bytes.insert(0, 22),
                2 => bytes.insert(0, 0x80),
                _ => {}
            }
            let from = if own { world.clients[client].address } else { ([10, 9, 9, 9], 9).into() };
            world.sfu.receive(Pair::udp(server, from), &bytes, world.now, &mut world.sent);
            world.sfu.verify_invariants();
        }
        world.run(100);
        let stats = world.sfu.stats(world.now);
        prop_assert_eq!(stats.viewers, 1, "{:?}", stats);
    }
}
