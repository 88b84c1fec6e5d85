//! Which encoder a plan takes, why it passes others over, and what it refuses.

use capcast::config::SizeChoice;
use capcast::media::{Codec, FrameSize};
use capcast::plan::{
    Choice, Downstream, GstVersion, Inventory, KeyframeControl, PropertyKind, Role, Value, VideoMode,
    auto_profile, offers, render,
};

use super::boxes::{self, bare, card, config, mode, profile, written};
use super::{on_gpu, planned, refused};

#[test]
fn auto_takes_hardware_before_software() {
    let encoder = |inventory: &Inventory| {
        planned(&config(""), &auto_profile(inventory), inventory).video_encode[0].fragment.clone()
    };
    for (gstreamer, elements, fragment) in [
        ("1.26", &["nvh264enc", "vah264enc"][..], "nvenc-h264"),
        ("1.22", &["nvh264enc", "nvcudah264enc"], "nvenc-h264"),
        ("1.22", &["nvh264enc"], "nvenc-h264-old"),
        ("1.26", &["vah264lpenc", "qsvh264enc"], "va-h264"),
        ("1.26", &["qsvh264enc"], "qsv-h264"),
        ("1.24", &["v4l2h264enc", "vaapih264enc"], "v4l2-h264"),
        ("1.26", &["vaapih264enc"], "vaapi-h264"),
        ("1.26", &[], "x264"),
    ] {
        assert_eq!(encoder(&on_gpu(gstreamer, elements)), fragment, "{gstreamer} {elements:?}");
    }
}

#[test]
fn a_driver_without_constant_bitrate_is_no_candidate() {
    let mut inventory = on_gpu("1.26", &["vah264enc"]);
    let driver = inventory.elements.get_mut("vah264enc").unwrap();
    driver.properties.get_mut("rate-control").unwrap().kind = PropertyKind::Enum(vec!["cqp".to_owned()]);
    let error = refused("", &profile("h264-vaapi-1080p60"), &inventory).to_string();
    assert!(error.contains("`rate-control` of `vah264enc` does not take `\"cbr\"`"), "{error}");
    inventory.elements.get_mut("vah264enc").unwrap().properties.remove("rate-control");
    let error = refused("", &profile("h264-vaapi-1080p60"), &inventory).to_string();
    assert!(error.contains("`vah264enc` has no property `rate-control`"), "{error}");
}

#[test]
fn b_frames_and_their_like_are_refused_in_words() {
    let text = |encoder: &str, codec: &str, line: &str| {
        written(&format!(
            "summary = \"s\"\n[video]\ncodec = \"{codec}\"\nencoder = \"{encoder}\"\nsize = \"1280x720\"\nframerate = \"30\"\nbitrate = \"3 Mbit/s\"\n[video.properties]\n{line}\n"
        ))
    };
    let inventory = on_gpu(
        "1.24",
        &["nvcudah264enc", "nvh264enc", "vah264enc", "vaav1enc", "vaapih264enc", "qsvh264enc"],
    );
    for (encoder, codec, line) in [
        ("x264", "h264", "bframes = 2"),
        ("x264", "h264", "tune = \"fastdecode\""),
        ("nvenc-h264", "h264", "b-frames = 1"),
        ("nvenc-h264-old", "h264", "bframes = 1"),
        ("va-h264", "h264", "b-frames = 2"),
        ("vaapi-h264", "h264", "max-bframes = 1"),
        ("qsv-h264", "h264", "b-frames = 1"),
        ("va-av1", "av1", "gf-group-size = 8"),
        ("vp9", "vp9", "lag-in-frames = 10"),
        ("aom", "av1", "lag-in-frames = 10"),
        // What the profile says in words of its own.
        ("x264", "h264", "bitrate = 500"),
        ("vp9", "vp9", "target-bitrate = 500000"),
        ("rav1e", "av1", "bitrate = 500000"),
        ("va-h264", "h264", "key-int-max = 10"),
    ] {
        let error = refused("", &text(encoder, codec, line), &inventory);
        let property = line.split(' ').next().unwrap();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!(
                "`[video.properties]`: encoder `{encoder}` does not let `{property}` be changed: "
            )),
            "{message}"
        );
        assert_eq!(error.hint(), Some(format!("leave `{property}` out")));
        assert_eq!(error.key(), Some("video.properties"));
    }
    // What the encoder does anyway may be said.
    planned(&config(""), &text("va-h264", "h264", "b-frames = 0"), &inventory);
    planned(&config(""), &text("x264", "h264", "bframes = 0"), &inventory);
    planned(&config(""), &text("nvenc-h264", "h264", "b-frames = 0"), &inventory);
    planned(&config(""), &text("x264", "h264", "tune = \"zerolatency\""), &inventory);
}

#[test]
fn a_picture_that_an_encoder_does_not_take_is_refused_in_words() {
    let text = |codec: &str, encoder: &str, size: &str| {
        written(&format!(
            "summary = \"s\"\n[video]\ncodec = \"{codec}\"\nencoder = {encoder}\nsize = \"{size}\"\nframerate = \"30\"\nbitrate = \"300 kbit/s\"\n"
        ))
    };
    let inventory = bare("1.22", 2);
    let error = refused("", &text("av1", "\"svt\"", "96x48"), &inventory).to_string();
    assert!(
        error.contains("`svt`: it takes no picture smaller than 64x64, and this one would be 96x48"),
        "{error}"
    );
    // Another one that takes it comes next.
    let listed = text("av1", "[\"svt\", \"aom\"]", "96x48");
    assert_eq!(planned(&config(""), &listed, &inventory).video_encode[0].fragment, "aom");
    // A card or file may have sizes that nobody would write.
    let modes = vec![VideoMode { size: FrameSize::new(321, 181), ..mode("YUYV", "322x182", &["30"]) }];
    let odd = Inventory { video_devices: vec![card(0, "Odd Card", "", modes)], ..bare("1.22", 2) };
    let mut as_it_is = text("h264", "\"x264\"", "320x180");
    as_it_is.video.size = SizeChoice::Source;
    let error = refused("", &as_it_is, &odd).to_string();
    assert!(
        error.contains("no picture with odd sides, and this one would be 321x181: give the profile a `size`"),
        "{error}"
    );
    planned(&config(""), &text("h264", "\"x264\"", "320x180"), &odd);
}

#[test]
fn auto_is_720p_or_1080p_by_the_first_encoder_that_runs() {
    let encoder = |inventory: &Inventory| {
        let profile = auto_profile(inventory);
        let plan = planned(&config(""), &profile, inventory);
        let Downstream::Video { codec: Codec::H264, size: Some(size), framerate, .. } =
            plan.video_encode[0].downstream
        else {
            panic!("{:?}", plan.video_encode[0].downstream)
        };
        (plan.video_encode[0].fragment.clone(), format!("{size}@{framerate}"))
    };
    assert_eq!(encoder(&bare("1.22", 2)), ("x264".to_owned(), "1280x720@30".to_owned()));
    assert_eq!(encoder(&bare("1.22", 4)), ("x264".to_owned(), "1920x1080@30".to_owned()));
    let mut without = bare("1.22", 2);
    without.elements.remove("x264enc");
    assert_eq!(encoder(&without).0, "openh264");
    without.elements.remove("openh264enc");
    let error = refused("", &auto_profile(&without), &without);
    let message = error.to_string();
    assert!(
        message.starts_with(
            "no H.264 encoder can run here: `nvenc-h264`: there is no `nvcudah264enc`, which needs an NVIDIA GPU \
             with its driver (package `libnvidia-encode1`); "
        ),
        "{message}"
    );
    assert!(
        message.ends_with(
            "; `x264`: element `x264enc` is missing (Debian package `gstreamer1.0-plugins-ugly`); `openh264`: \
             element `openh264enc` is missing (Debian package `gstreamer1.0-plugins-bad`)"
        ),
        "{message}"
    );
    assert_eq!(error.hint().as_deref(), Some("install the Debian package `gstreamer1.0-plugins-ugly`"));
}

#[test]
fn every_refused_candidate_leaves_its_reason() {
    let mut inventory = bare("1.22", 2);
    inventory.elements.remove("x264enc");
    let plan = planned(&config(""), &auto_profile(&inventory), &inventory);
    let encoders: Vec<&Choice> = plan.choices.iter().filter(|choice| choice.subject == "encoder").collect();
    let shipped = boxes::shipped().fragments.encoders.values();
    let h264 = shipped.filter(|fragment| fragment.codec == Some(Codec::H264)).count();
    assert_eq!(encoders.len(), h264, "{encoders:?}");
    let [hardware @ .., x264, openh264] = &encoders[..] else { panic!("{encoders:?}") };
    assert!(hardware.iter().all(|choice| !choice.taken && choice.reason.contains("needs")), "{encoders:?}");
    assert!(!x264.taken && x264.reason.contains("gstreamer1.0-plugins-ugly"), "{encoders:?}");
    assert!(openh264.taken && openh264.candidate == "openh264", "{encoders:?}");
}

#[test]
fn a_list_of_encoders_is_tried_in_its_order() {
    let text = |list: &str| {
        format!(
            "summary = \"s\"\n[video]\ncodec = \"h264\"\nencoder = {list}\nsize = \"1280x720\"\nframerate = \"30\"\nbitrate = \"3 Mbit/s\"\n"
        )
    };
    let inventory = bare("1.22", 2);
    let fragment =
        |list: &str| planned(&config(""), &written(&text(list)), &inventory).video_encode[0].fragment.clone();
    assert_eq!(fragment("[\"openh264\", \"x264\"]"), "openh264");
    assert_eq!(fragment("\"x264\""), "x264");
    let error = refused("", &written(&text("[\"x265\", \"x264\"]")), &inventory);
    assert_eq!(error.hint().as_deref(), Some("did you mean `x264`?"), "{error}");
    let error = refused("", &written(&text("\"vp9\"")), &inventory);
    assert_eq!(error.to_string(), "encoder `vp9` makes VP9, but the profile asks for H.264");
}

#[test]
fn expert_properties_reach_the_encoder_or_are_explained() {
    let text = |line: &str| {
        written(&format!(
            "summary = \"s\"\n[video]\ncodec = \"vp9\"\nsize = \"1280x720\"\nframerate = \"30\"\nbitrate = \"3 Mbit/s\"\n[video.properties]\n{line}\n"
        ))
    };
    let inventory = bare("1.22", 2);
    let plan = planned(&config(""), &text("cpu-used = 5\nsharpness = 2"), &inventory);
    let encoder = plan.video_encode[0].nodes.iter().find(|node| node.role == Role::Encoder).unwrap();
    assert_eq!(encoder.property("cpu-used"), Some(&Value::Integer(5)));
    assert_eq!(encoder.property("sharpness"), Some(&Value::Integer(2)));
    assert_eq!(encoder.properties.iter().filter(|(name, _)| name == "cpu-used").count(), 1);

    for (line, message, hint) in [
        (
            "cpu-use = 5",
            "`[video.properties]`: element `vp9enc` has no property `cpu-use`",
            "did you mean `cpu-used`?",
        ),
        (
            "cpu-used = 90",
            "`[video.properties]`: property `cpu-used` of `vp9enc` does not take `90`",
            "expected a whole number from -16 to 16",
        ),
        (
            "row-mt = 1",
            "`[video.properties]`: property `row-mt` of `vp9enc` does not take `1`",
            "expected `true` or `false`",
        ),
        (
            "end-usage = \"abr\"",
            "`[video.properties]`: property `end-usage` of `vp9enc` does not take `\"abr\"`",
            "expected one of `\"vbr\"`, `\"cbr\"`, `\"cq\"`",
        ),
    ] {
        let error = refused("", &text(line), &inventory);
        assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)));
        assert_eq!(error.key(), Some("video.properties"));
    }
}

#[test]
fn libaom_gets_its_cures_on_old_gstreamer_only() {
    let aom = profile("av1-aom-720p30");
    let setters = |inventory: &Inventory| {
        let plan = planned(&config(""), &aom, inventory);
        let graph = &plan.video_encode[0];
        let setters = graph.nodes.iter().filter(|node| node.factory == "capssetter").count();
        (setters, graph.control.keyframe)
    };
    let mut inventory = bare("1.22", 2);
    assert_eq!(setters(&inventory), (2, Some(KeyframeControl::Restart)));
    inventory.gstreamer = GstVersion(1, 24, 4);
    assert_eq!(setters(&inventory), (0, Some(KeyframeControl::Restart)));
    inventory.gstreamer = GstVersion(1, 24, 5);
    assert_eq!(setters(&inventory), (0, Some(KeyframeControl::Event)));
    // On a box without capssetter the plan says what is missing, unless it is not needed.
    inventory.elements.remove("capssetter");
    assert_eq!(setters(&inventory).0, 0);
    inventory.gstreamer = GstVersion(1, 22, 0);
    assert!(refused("", &aom, &inventory).to_string().contains("capssetter"));
}

#[test]
fn the_list_of_profiles_says_what_is_missing() {
    let mut inventory = bare("1.22", 4);
    inventory.elements.remove("vp9enc");
    let shipped = boxes::shipped();
    let mut box_config = config("profile = \"vp8-720p30\"\n");
    // A card that is not plugged in is no reason against a profile.
    box_config.capture.video = capcast::config::VideoInput::Device("/dev/video7".into());
    let offers =
        offers(&box_config, shipped.profiles.values(), &shipped.fragments, &shipped.queues, &inventory);
    insta::with_settings!({ snapshot_path => "../../data/plans", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("profiles-without-vp9enc", render::offers_text(&offers));
    });
    let active: Vec<&str> =
        offers.iter().filter(|offer| offer.active).map(|offer| offer.name.as_str()).collect();
    assert_eq!(active, ["vp8-720p30"]);
}
