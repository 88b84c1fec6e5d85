//! Golden plans of every shipped profile, and what must hold for any plan.
//!
//! After a wanted change: `INSTA_UPDATE=always cargo test --test it plans::`, then read the difference.

pub(crate) mod boxes;
mod command;
mod encoders;
mod invariants;
mod sources;
mod trials;

use boxes::{bare, card, config, mode, profile, usb2, usb3, usb3_on, written};
use capcast::config::BoxConfig;
use capcast::plan::{Inventory, Plan, PlanError, Value, render, resolve};

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
fn the_json_keeps_its_shape() {
    let plan = planned(&config(""), &profile("h264-x264-720p30"), &usb3());
    insta::with_settings!({ snapshot_path => "../../data/plans", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("json-h264-x264-720p30", format!("{:#}", render::json(&plan)));
        insta::assert_snapshot!("dot-h264-x264-720p30", render::dot(&plan));
        insta::assert_snapshot!("launch-h264-x264-720p30", render::launch(&plan, &usb3()));
    });
}
