//! Who cannot follow a switch: outputs whose session has the wrong codec, viewers who cannot decode the new one.

use super::{LIMIT, SOURCE, on_air, profile, succeeds};
use crate::appliance::{Appliance, turn};
use crate::watcher::Watcher;
use crate::whip_out::{PATIENCE, output};

/// A Broadcast Box takes no VP8; the other server takes it in a new session.
#[test]
fn outputs_whose_codec_no_longer_fits_follow_by_themselves_or_say_why_not() {
    let _turn = turn();
    let mut servers = [&["--broadcast-box"][..], &[]].map(Watcher::whip_server);
    let mut config = SOURCE.to_owned();
    for (name, server) in ["box", "plain"].iter().zip(&mut servers) {
        let port = server.expect("listening", None, PATIENCE);
        config += &format!(
            "[[output]]\nname = \"{name}\"\nkind = \"whip\"\nurl = \"http://127.0.0.1:{port}/api/whip\"\n"
        );
    }
    let profiles = [
        ("one", profile("h264", "\"x264\"")),
        ("other", profile("h264", "\"openh264\"")),
        ("two", profile("vp8", "\"vp8\"")),
    ];
    let appliance =
        Appliance::start(&config, &profiles.each_ref().map(|(name, text)| (*name, text.as_str())));
    let live = |state: &serde_json::Value, name: &str| output(state, name)["state"] == "live";
    appliance.until_state("both are live", PATIENCE, |state| live(state, "box") && live(state, "plain"));
    let [boxed, plain] = &mut servers;
    boxed.expect("session", None, PATIENCE);
    plain.expect("session", None, PATIENCE);

    // Another encoder of the same codec goes on in the same sessions.
    succeeds(&appliance, &["switch", "other"]);
    let state = on_air(&appliance);
    for name in ["box", "plain"] {
        assert!(live(&state, name) && output(&state, name)["reconnects"] == 0, "{state:#}");
    }

    assert!(succeeds(&appliance, &["switch", "two"]).starts_with("`two` is on air: VP8 by vp8"));
    let state = appliance.until_state("one follows, the other says why not", PATIENCE, |state| {
        live(state, "plain")
            && output(state, "plain")["reconnects"] == 1
            && output(state, "box")["state"] == "codec_refused"
    });
    let words = output(&state, "box")["reason"].as_str().unwrap();
    assert!(words.contains("Broadcast Box does not take VP8"), "{words}");
    boxed.expect("deleted", None, PATIENCE);
    plain.expect("session", None, PATIENCE);
    assert!(plain.last()["offer"].as_str().unwrap().contains("VP8/90000"), "{}", plain.last());
    plain.expect("frames", None, PATIENCE);

    succeeds(&appliance, &["switch", "one"]);
    appliance.until_state("both are live again", PATIENCE, |state| {
        live(state, "box") && live(state, "plain") && output(state, "plain")["reconnects"] == 2
    });
    boxed.expect("session", None, PATIENCE);
    assert_eq!(boxed.last()["session"], 2, "it was not asked while VP8 was on air");
}

/// aiortc decodes H.264 and VP8 only, and there is no AV1 in its offer.
#[test]
fn a_viewer_who_cannot_decode_the_new_codec_is_shown_out_and_told_why() {
    let _turn = turn();
    let profiles = [("one", profile("vp8", "\"vp8\"")), ("two", profile("av1", "\"aom\""))];
    let profiles = profiles.each_ref().map(|(name, text)| (*name, text.as_str()));
    // aiortc gathers no loopback candidates.
    let appliance = Appliance::start_with_media("[::]:0", SOURCE, &profiles);
    on_air(&appliance);
    let endpoint = format!("{}/api/whep/live", appliance.base);
    let _viewer = Watcher::aiortc(&endpoint, &["--frames", "100000", "--limit", "600"]);
    appliance.until_state("it watches", PATIENCE, |state| state["streams"][0]["viewers"] == 1);
    assert!(succeeds(&appliance, &["switch", "two"]).starts_with("`two` is on air: AV1 by aom"));
    appliance.until_state("it was shown out", LIMIT, |state| state["streams"][0]["viewers"] == 0);
    // Whoever asks again, as a player does, hears it in words.
    let offer = crate::http::offer().replace("AV1/90000", "AVX/90000");
    let (status, words) = crate::run::post(&endpoint, "application/sdp", offer);
    assert_eq!(status, 406, "{words}");
    assert!(
        words.contains("the stream is AV1, which this browser does not offer to play; it offers "),
        "{words}"
    );
    // And when its codec is back, it may watch again.
    succeeds(&appliance, &["switch", "one"]);
    let mut again = Watcher::aiortc(&endpoint, &["--frames", "30", "--limit", "90"]);
    assert!(again.expect("frames", None, PATIENCE).as_u64() >= Some(30));
}
