//! Golden plans of every shipped profile, and what must hold for any plan.
//!
//! After a wanted change: `INSTA_UPDATE=always cargo test --test it plans::`, then read the difference.

pub(crate) mod boxes;
mod command;
mod invariants;
mod trials;

use boxes::{bare, card, config, mode, profile, sound, usb2, usb3, usb3_on, written};
use capcast::config::{BoxConfig, SizeChoice};
use capcast::media::{Codec, FrameSize, SourceState};
use capcast::plan::{
    Choice, DeviceAccess, Downstream, GstVersion, Inventory, KeyframeControl, Plan, PlanError, PropertyKind,
    Role, Upstream, Value, VideoMode, auto_profile, offers, render, resolve,
};

fn plan(
    config: &BoxConfig,
    profile: &capcast::config::Profile,
    inventory: &Inventory,
) -> Result<Plan, Vec<PlanError>> {
    resolve(config, profile, &boxes::shipped().fragments, &boxes::shipped().queues, inventory)
}

fn planned(config: &BoxConfig, profile: &capcast::config::Profile, inventory: &Inventory) -> Plan {
    plan(config, profile, inventory).unwrap_or_else(|errors| panic!("{}: {errors:#?}", profile.name))
}

fn refused(config: &str, profile: &capcast::config::Profile, inventory: &Inventory) -> PlanError {
    let mut errors = plan(&boxes::config(config), profile, inventory).expect_err("there is no such plan");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
}

/// Every shipped profile on one box, as text.
fn golden(name: &str, inventory: &Inventory) {
    golden_of(name, inventory, "");
}

/// The shipped profiles with this in their names on one box, as text.
fn golden_of(name: &str, inventory: &Inventory, part: &str) {
    let config = config("");
    let plans: Vec<String> = boxes::shipped()
        .profiles
        .values()
        .filter(|profile| profile.name.contains(part))
        .map(|profile| match plan(&config, profile, inventory) {
            Ok(plan) => render::text(&plan),
            Err(errors) => errors.iter().map(|error| format!("{}: {error}\n", profile.name)).collect(),
        })
        .collect();
    insta::with_settings!({ snapshot_path => "../../data/plans", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, plans.join("\n\n"));
    });
}

#[test]
fn golden_without_devices() {
    golden("debian-12-without-devices", &bare("1.22", 2));
}

#[test]
fn golden_with_a_usb3_card() {
    golden("debian-12-usb3-card-1080p60-with-sound", &usb3());
}

#[test]
fn golden_with_a_usb2_card() {
    golden("debian-12-usb2-card-yuyv-only", &usb2());
}

#[test]
fn golden_on_newer_gstreamer() {
    golden("gstreamer-1.26-one-core", &bare("1.26", 1));
}

#[test]
fn golden_on_many_cores() {
    golden("gstreamer-1.26-eight-cores", &bare("1.26", 8));
}

/// A USB 3 card on a box with a GPU.
fn on_gpu(gstreamer: &str, elements: &[&str]) -> Inventory {
    Inventory { elements: boxes::with_hardware(gstreamer, 4, elements).elements, ..usb3_on(gstreamer) }
}

#[test]
fn golden_on_an_nvidia_gpu() {
    let new = on_gpu("1.26", &["nvh264enc", "nvautogpuh264enc", "nvav1enc", "nvautogpuav1enc"]);
    golden_of("nvidia-gstreamer-1.26", &new, "-nvenc-");
    let old = on_gpu("1.22", &["nvh264enc", "nvcudah264enc", "nvautogpuh264enc"]);
    golden_of("nvidia-gstreamer-1.22", &old, "-nvenc-");
}

#[test]
fn golden_on_an_intel_or_amd_gpu() {
    // Newer Intel GPUs have the low-power circuit alone.
    let new = on_gpu("1.26", &["vah264lpenc", "vaav1lpenc", "vapostproc", "qsvh264enc", "qsvav1enc"]);
    golden_of("intel-gstreamer-1.26", &new, "-vaapi-");
    let old = on_gpu("1.22", &["vah264enc", "vaapih264enc"]);
    golden_of("amd-gstreamer-1.22", &old, "-vaapi-");
}

#[test]
fn golden_on_a_card_of_ten_bits_and_1440_lines() {
    let modes = vec![mode("P010", "2560x1440", &["60"])];
    let inventory = Inventory { video_devices: vec![card(0, "HDR Card", "", modes)], ..bare("1.26", 8) };
    golden_of("gstreamer-1.26-ten-bit-1440p60-card", &inventory, "720p");
    // An older GStreamer does not capture it.
    let old = Inventory { video_devices: inventory.video_devices, ..bare("1.22", 8) };
    let error = refused("[capture]\nvideo = \"/dev/video0\"\n", &profile("h264-x264-720p30"), &old);
    assert!(matches!(error, PlanError::NoFormat { .. }), "{error}");
}

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
fn renditions_are_smaller_encodes_of_the_same_hub() {
    let profile = written(
        "summary = \"s\"\n[video]\ncodec = \"vp9\"\nsize = \"1280x720\"\nframerate = \"30\"\nbitrate = \"3 Mbit/s\"\n[[video.rendition]]\nsize = \"640x360\"\nbitrate = \"800 kbit/s\"\n",
    );
    let plan = planned(&config(""), &profile, &bare("1.22", 2));
    assert_eq!(plan.video_encode.len(), 2);
    let rates: Vec<&Value> = plan
        .video_encode
        .iter()
        .map(|graph| graph.nodes.iter().find_map(|node| node.property("target-bitrate")).unwrap())
        .collect();
    assert_eq!(rates, [&Value::Integer(3_000_000), &Value::Integer(800_000)]);
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

#[test]
fn the_json_keeps_its_shape() {
    let plan = planned(&config(""), &profile("h264-x264-720p30"), &usb3());
    insta::with_settings!({ snapshot_path => "../../data/plans", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("json-h264-x264-720p30", format!("{:#}", render::json(&plan)));
        insta::assert_snapshot!("dot-h264-x264-720p30", render::dot(&plan));
        insta::assert_snapshot!("launch-h264-x264-720p30", render::launch(&plan, &usb3()));
    });
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
