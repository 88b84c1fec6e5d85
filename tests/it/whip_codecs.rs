//! Outputs whose encoder is changed beneath them, at a Broadcast Box and at a server that takes every codec.

use std::sync::Arc;
use std::time::Duration;

use capcast::engine::Engine;
use capcast::engine::webrtc::Lane;
use capcast::media::{Bitrate, Codec};
use capcast::output::whip::{self, Settings, Wires};
use capcast::output::{Output, Report};
use capcast::plan::{Node, QueueClass, Role, Value};

use crate::watcher::Watcher;
use crate::whip_out::PATIENCE;

/// What an encode graph of this codec would make.
fn lanes(engine: &Engine, codec: Codec, reorders: Option<&str>) -> Arc<[Lane]> {
    let payloader = Node {
        id: "pay".to_owned(),
        factory: format!("rtp{codec}pay"),
        role: Role::Payloader,
        properties: vec![("mtu".to_owned(), Value::Integer(1200))],
    };
    let lane = Lane {
        outlet: engine.outlet(codec.kind()),
        codec,
        payloader,
        limits: QueueClass { buffers: 0, time: Duration::from_millis(500), bytes: 8_000_000 },
        picture: None,
        bitrate: Bitrate::from_bits(1_000_000),
        reorders: reorders.map(str::to_owned),
    };
    Arc::new([lane])
}

async fn until(whip: &Output, what: &str, expected: impl Fn(&Report) -> bool) -> Arc<Report> {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let report = whip.report();
        if expected(&report) {
            return report;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}: {report:#?}");
        looks.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_follows_the_encoders_codec_and_is_refused_in_words_where_it_is_not_taken() {
    let engine = Engine::new().unwrap();
    let wires = Wires::new().unwrap();
    let start = |name: &str, options: &[&str]| {
        let mut server = Watcher::whip_server(options);
        let port = server.expect("listening", None, PATIENCE);
        let settings = Settings {
            name: name.to_owned(),
            url: Box::new(move || Ok(format!("http://127.0.0.1:{port}/api/whip"))),
            key: Box::new(|| Ok(Some("key".to_owned()))),
            relays: Box::new(|| Ok(Vec::new())),
            lanes: lanes(&engine, Codec::H264, None),
            adaptive: false,
            seed: 7,
        };
        (server, whip::start(&engine, &wires, settings))
    };
    let (mut boxed, strict) = start("box", &["--broadcast-box"]);
    let (mut plain, free) = start("plain", &[]);
    for (server, whip) in [(&mut boxed, &strict), (&mut plain, &free)] {
        until(whip, "it is live", Report::is_live).await;
        server.expect("session", None, PATIENCE);
    }

    // Another encoder of the same codec is nothing to anybody.
    let sessions = |whip: &Output| whip.report().reconnects;
    [&strict, &free].into_iter().for_each(|whip| whip.carry(lanes(&engine, Codec::H264, None)));
    // VP8 is no codec of a Broadcast Box; the other server gets a new session.
    [&strict, &free].into_iter().for_each(|whip| whip.carry(lanes(&engine, Codec::Vp8, None)));
    let refused = until(&strict, "VP8 is refused", |report| report.state == "codec_refused").await;
    assert!(refused.words.contains("Broadcast Box does not take VP8"), "{}", refused.words);
    assert!(refused.retry_at.is_none() && !refused.is_well(), "{refused:?}");
    boxed.expect("deleted", None, PATIENCE);
    until(&free, "the other one is live with VP8", |report| report.is_live() && report.reconnects == 1).await;
    plain.expect("session", None, PATIENCE);
    assert!(plain.last()["offer"].as_str().unwrap().contains("VP8/90000"), "{}", plain.last());
    let before = sessions(&free);

    [&strict, &free].into_iter().for_each(|whip| whip.carry(lanes(&engine, Codec::H264, None)));
    until(&strict, "H.264 is taken", Report::is_live).await;
    boxed.expect("session", None, PATIENCE);
    assert_eq!(boxed.last()["session"], 2, "nothing was asked while VP8 was on air");
    until(&free, "it follows", |report| report.is_live() && report.reconnects > before).await;

    // B-frames are nobody's.
    strict.carry(lanes(&engine, Codec::H264, Some("bframes")));
    let refused = until(&strict, "B-frames are refused", |report| report.state == "codec_refused").await;
    assert!(refused.words.contains("`bframes` asks the encoder for B-frames"), "{}", refused.words);
    strict.publish();
    assert!(free.report().is_live());
    strict.carry(lanes(&engine, Codec::H264, None));
    until(&strict, "it is live without them", Report::is_live).await;
    for whip in [strict, free] {
        whip.finish(Duration::from_secs(5)).await;
    }
    boxed.expect("deleted", None, PATIENCE);
    plain.expect("deleted", None, PATIENCE);
}
