//! Where a plan takes picture and sound from, and in which mode.

use capcast::media::SourceState;
use capcast::plan::{Choice, DeviceAccess, Downstream, Inventory, Plan, Role, Upstream, Value, render};

use super::boxes::{self, bare, card, config, mode, profile, sound, usb2, usb3};
use super::{planned, refused};

/// The capture mode that is taken, with its reason.
fn mode_of(inventory: &Inventory, profile: &str, text: &str) -> (String, String) {
    let plan = planned(&config(text), &boxes::profile(profile), inventory);
    let choice = plan.choices.iter().find(|choice| choice.subject == "capture mode").unwrap();
    (choice.candidate.clone(), choice.reason.clone())
}

#[test]
fn the_capture_mode_is_the_nearest_that_suffices() {
    let with = |modes| Inventory { video_devices: vec![card(0, "Card", "", modes)], ..bare("1.22", 2) };
    for (modes, taken, why) in [
        (
            vec![mode("MJPG", "1280x720", &["30"]), mode("YUYV", "1280x720", &["30"])],
            "YUYV 1280x720@30",
            "the profile's size",
        ),
        (
            vec![mode("YUYV", "1280x720", &["30"]), mode("NV12", "1280x720", &["30"])],
            "NV12 1280x720@30",
            "the profile's size",
        ),
        (
            vec![mode("YUYV", "1280x720", &["10"]), mode("MJPG", "1280x720", &["60", "30"])],
            "MJPG 1280x720@30",
            "the profile's size; raw at this size has only 10",
        ),
        (
            vec![mode("NV12", "1920x1080", &["60"]), mode("NV12", "640x480", &["30"])],
            "NV12 1920x1080@60",
            "the next larger than 1280x720, scaled down; thinned out to 30",
        ),
        (
            vec![mode("YUYV", "1280x720", &["10"]), mode("YUYV", "640x480", &["30"])],
            "YUYV 640x480@30",
            "nothing as large as 1280x720 is fast enough",
        ),
        (
            vec![mode("NV12", "1280x720", &["25"]), mode("NV12", "640x480", &["25"])],
            "NV12 1280x720@25",
            "the profile's size; nothing reaches 30 frames a second",
        ),
        (
            vec![mode("H264", "1280x720", &["30"]), mode("MJPG", "1280x720", &["30"])],
            "MJPG 1280x720@30",
            "the profile's size; not offered raw",
        ),
    ] {
        assert_eq!(mode_of(&with(modes), "h264-x264-720p30", ""), (taken.to_owned(), why.to_owned()));
    }
}

#[test]
fn a_fixed_mode_is_taken() {
    let fixed = |mode: &str| format!("[capture]\nmode = \"{mode}\"\n");
    let (taken, why) = mode_of(&usb3(), "h264-x264-720p30", &fixed("1920x1080@50"));
    assert_eq!((&*taken, &*why), ("NV12 1920x1080@50", "the configuration fixes it; thinned out to 30"));
}

#[test]
fn a_fixed_mode_that_is_not_offered_lists_the_offer() {
    let error = refused("[capture]\nmode = \"1920x1080@24\"\n", &profile("h264-x264-720p30"), &usb3());
    assert_eq!(error.to_string(), "capture device `/dev/video0` has no mode 1920x1080@24");
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "it offers NV12 1920x1080@60, NV12 1280x720@60, MJPG 1920x1080@60, MJPG 2560x1440@30; or write \
             `mode = \"auto\"`"
        )
    );
    assert_eq!(error.key(), Some("capture.mode"));
}

#[test]
fn sound_comes_from_the_same_box_as_the_picture() {
    let plan = planned(&config(""), &profile("vp9-720p60"), &usb3());
    let Some(audio) = &plan.audio_capture else { panic!("no sound") };
    assert_eq!(audio.upstream, Upstream::SoundCard { hw: "hw:CARD=Capture".to_owned() });
    assert!(plan.audio_encode.is_some());

    let silent = planned(&config("[capture]\naudio = \"none\"\n"), &profile("vp9-720p60"), &usb3());
    assert!(silent.audio_capture.is_none() && silent.audio_encode.is_none());
    let none = planned(&config(""), &profile("vp9-720p60"), &usb2());
    assert!(none.audio_capture.is_none() && none.audio_encode.is_some(), "silent until a card comes");

    let named = planned(&config("[capture]\naudio = \"hw:CARD=Later\"\n"), &profile("vp9-720p60"), &usb3());
    let Some(audio) = &named.audio_capture else { panic!("no sound") };
    assert_eq!(audio.upstream, Upstream::SoundCard { hw: "hw:CARD=Later".to_owned() }, "it may come");
    let chosen = named.choices.iter().find(|choice| choice.subject == "sound").unwrap();
    assert!(chosen.taken && chosen.reason.contains("not there yet"), "{chosen:?}");
}

#[test]
fn the_first_card_that_can_be_used_is_taken() {
    let hd = || vec![mode("NV12", "1280x720", &["30"])];
    let mut inventory = bare("1.22", 2);
    inventory.video_devices = vec![
        card(0, "Denied", "", hd()),
        card(1, "Depth", "", vec![mode("Z16 ", "640x480", &["30"])]),
        card(2, "Busy", "", hd()),
        card(3, "Free", "", hd()),
    ];
    inventory.video_devices[0].access = DeviceAccess::Denied;
    inventory.video_devices[2].access = DeviceAccess::Busy;
    let source = |inventory: &Inventory, text: &str| {
        let plan = planned(&config(text), &profile("h264-x264-720p30"), inventory);
        plan.choices
            .iter()
            .find(|choice| choice.subject == "source" && choice.taken)
            .unwrap()
            .candidate
            .clone()
    };
    assert_eq!(source(&inventory, ""), "/dev/video3 (Free)");
    assert_eq!(source(&inventory, "[capture]\nvideo = \"/dev/video2\"\n"), "/dev/video2 (Busy)");
    assert_eq!(source(&inventory, "[capture]\nvideo = \"usb-Free-video-index0\"\n"), "/dev/video3 (Free)");
    // With a slate to stand in, nothing is refused: it is taken when it can be.
    let slate = "[capture]\nvideo = \"/dev/video9\"\n";
    let plan = planned(&config(slate), &profile("h264-x264-720p30"), &inventory);
    let Upstream::Absent { health } = &plan.video_capture.upstream else { panic!("{plan:?}") };
    assert_eq!(health.state, SourceState::Gone);
    // The encoder is the one that the card would be encoded by.
    let with_card =
        planned(&config("[capture]\nvideo = \"/dev/video2\"\n"), &profile("h264-x264-720p30"), &inventory);
    assert_eq!(plan.video_encode[0].downstream, with_card.video_encode[0].downstream);
    let stop = |node: &str| format!("[capture]\nvideo = \"{node}\"\nno_signal = \"stop\"\n");
    let error = refused(&stop("/dev/video0"), &profile("h264-x264-720p30"), &inventory);
    assert!(error.hint().unwrap().contains("group `video`"), "{error}");
    let error = refused(&stop("/dev/video9"), &profile("h264-x264-720p30"), &inventory);
    assert!(error.to_string().starts_with("there is no capture device `/dev/video9`"), "{error}");
    inventory.video_devices.truncate(2);
    assert_eq!(source(&inventory, ""), "test");
}

#[test]
fn a_delay_of_the_sound_shifts_one_side() {
    let shifts = |delay: &str| {
        let text = format!("[capture]\naudio_delay = \"{delay}\"\n");
        let plan = planned(&config(&text), &profile("vp9-720p60"), &bare("1.22", 2));
        (plan.video_capture.shift.as_micros(), plan.audio_capture.unwrap().shift.as_micros())
    };
    assert_eq!(shifts("0 ms"), (0, 0));
    assert_eq!(shifts("40 ms"), (0, 40_000));
    assert_eq!(shifts("-40 ms"), (40_000, 0));
}

#[test]
fn a_file_keeps_its_size_and_rate_unknown() {
    let text = "[capture]\nvideo = \"file:/srv/clip.mp4\"\n";
    let plan = planned(&config(text), &profile("h264-x264-720p30"), &bare("1.22", 2));
    assert_eq!(plan.video_capture.fragment, "file");
    assert_eq!(plan.audio_capture.as_ref().map(|graph| graph.fragment.as_str()), Some("file-sound"));
    assert_eq!(
        plan.video_capture.downstream,
        Downstream::RawVideo { format: None, size: None, framerate: None }
    );
    let rate = plan.video_encode[0].nodes.iter().find(|node| node.factory == "videorate").unwrap();
    assert_eq!(rate.property("drop-only"), Some(&Value::Bool(true)));
}

#[test]
fn what_arrives_over_the_network_brings_its_sound_unless_a_card_is_named() {
    let text = "[capture]\nvideo = \"srt://192.0.2.1:9000?streamid=key&passphrase_file=/etc/key\"\n";
    let plan = planned(&config(text), &profile("h264-x264-720p30"), &bare("1.22", 2));
    let url = "srt://192.0.2.1:9000?mode=caller&latency=120".to_owned();
    assert_eq!(plan.video_capture.upstream, Upstream::Network { url: url.clone() });
    assert_eq!(plan.video_capture.title, "srt://192.0.2.1:9000");
    assert_eq!(plan.audio_capture.as_ref().unwrap().upstream, Upstream::Network { url });
    let source = &plan.video_capture.nodes[0];
    assert_eq!((source.factory.as_str(), source.role), ("appsrc", Role::Source));
    assert_eq!(
        source.property("max-time"),
        Some(&Value::Integer(500_000_000)),
        "what is live never waits long"
    );
    let line = render::launch(&plan, &bare("1.22", 2));
    insta::with_settings!({ snapshot_path => "../../data/plans", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("launch-srt", line);
    });
    for secret in ["streamid", "passphrase", "/etc/key"] {
        assert!(!line.contains(secret) && !format!("{plan:?}").contains(secret), "{secret}");
    }
    let named = format!("{text}audio = \"hw:CARD=Mixer\"\n");
    let plan = planned(&config(&named), &profile("h264-x264-720p30"), &bare("1.22", 2));
    let card = Upstream::SoundCard { hw: "hw:CARD=Mixer".to_owned() };
    assert_eq!(plan.audio_capture.unwrap().upstream, card);
}

#[test]
fn what_arrives_is_passed_on_where_it_fits_and_the_plan_says_why_not() {
    let text = "[capture]\nvideo = \"srt://192.0.2.1:9000\"\npassthrough = true\n";
    let url = "srt://192.0.2.1:9000?mode=caller&latency=120".to_owned();
    let h264 = profile("h264-x264-720p30");
    let mut inventory = bare("1.22", 2);
    let why = |plan: &Plan| {
        let of = |choice: &&Choice| choice.subject == "passthrough";
        plan.choices.iter().find(of).map(|choice| (choice.taken, choice.reason.clone())).unwrap()
    };
    let unknown = planned(&config(text), &h264, &inventory);
    assert_eq!(unknown.video_encode[0].fragment, "x264");
    assert!(!why(&unknown).0 && why(&unknown).1.contains("nothing is known"));
    inventory.streams.insert(url.clone(), Err("it has B-frames".to_owned()));
    let refused = planned(&config(text), &h264, &inventory);
    assert_eq!(
        (refused.video_encode[0].fragment.as_str(), why(&refused).1.as_str()),
        ("x264", "it has B-frames")
    );
    inventory.streams.insert(url.clone(), Ok(()));
    let passed = planned(&config(text), &h264, &inventory);
    let graph = &passed.video_encode[0];
    assert_eq!((graph.fragment.as_str(), &graph.upstream), ("passthrough", &Upstream::Network { url }));
    assert!(graph.nodes.iter().all(|node| !node.factory.ends_with("enc")), "{graph:?}");
    assert!(!render::launch(&passed, &inventory).contains("264enc"));
    let other = planned(&config(text), &profile("vp9-720p60"), &inventory);
    assert!(why(&other).1.contains("asks for VP9"), "{:?}", why(&other));
    let plain = planned(&config(&text.replace("true", "false")), &h264, &inventory);
    assert_eq!(plain.video_encode[0].fragment, "x264");
}

#[test]
fn a_stream_in_segments_is_planned_without_what_its_address_keeps_secret() {
    let text = "[capture]\nvideo = \"https://example.org/live.m3u8?token=secret\"\n";
    let plan = planned(&config(text), &profile("h264-x264-720p30"), &bare("1.22", 2));
    let upstream = Upstream::Network { url: "https://example.org/live.m3u8".to_owned() };
    assert_eq!(plan.video_capture.upstream, upstream);
    assert_eq!(plan.audio_capture.as_ref().map(|graph| &graph.upstream), Some(&upstream));
    assert!(!format!("{plan:?}").contains("secret"), "{plan:?}");
}

#[test]
fn a_sound_card_may_be_chosen_by_hand() {
    let mut inventory = usb2();
    inventory.sound_cards = vec![sound("PCH", "HDA Intel PCH", "")];
    let plan = planned(&config(""), &profile("vp9-720p60"), &inventory);
    assert_eq!(plan.audio_capture.unwrap().upstream, Upstream::SoundCard { hw: "hw:CARD=PCH".to_owned() });
    let text = "[capture]\naudio = \"plughw:CARD=PCH,DEV=0\"\n";
    let plan = planned(&config(text), &profile("vp9-720p60"), &inventory);
    assert_eq!(
        plan.audio_capture.unwrap().upstream,
        Upstream::SoundCard { hw: "plughw:CARD=PCH,DEV=0".to_owned() }
    );
}
