//! Fragments and profiles against tables of GStreamer's elements, of versions and hardware that are not here.

mod check;
mod dump;
pub(crate) mod table;

use std::collections::BTreeSet;

use capcast::config::{EncoderChoice, Profile, SizeChoice, Source, Speed};
use capcast::engine;
use capcast::media::{Bitrate, FrameSize, MediaKind};
use capcast::plan::{
    Comparison, Condition, Fragment, FragmentKind, Fragments, GstVersion, Inventory, Plan, PlanError, Role,
    parse_fragment, resolve,
};

use crate::plans::boxes;
use table::Table;

/// The versions that there are tables of.
const VERSIONS: [&str; 4] = ["1.22", "1.24", "1.26", "1.28"];

/// Everything that GStreamer of this version can have, on one box.
fn full(table: &Table, version: GstVersion, cores: u32) -> Inventory {
    let elements = table.elements.iter().map(|(name, entry)| (name.clone(), entry.element.clone())).collect();
    Inventory { gstreamer: version, elements, cores, ..Inventory::default() }
}

/// The same with devices that lack what devices may lack. VA's rate control is one of it; but none of it, no use.
fn meagre(table: &Table, mut inventory: Inventory) -> Inventory {
    for (name, entry) in &table.elements {
        let element = inventory.elements.get_mut(name).unwrap();
        element
            .properties
            .retain(|property, _| property == "rate-control" || !entry.conditional.contains(property));
    }
    inventory
}

/// Whether a fragment says that it can be used with a version.
fn claims(fragment: &Fragment, version: GstVersion) -> bool {
    fragment.requires.iter().all(|condition| holds(condition, version))
}

fn holds(condition: &Condition, here: GstVersion) -> bool {
    match condition {
        Condition::Gstreamer(Comparison::Below, version) => here < *version,
        Condition::Gstreamer(Comparison::AtMost, version) => here <= *version,
        Condition::Gstreamer(Comparison::AtLeast, version) => here >= *version,
        Condition::Gstreamer(Comparison::Above, version) => here > *version,
        Condition::Not(condition) => !holds(condition, here),
        _ => true,
    }
}

/// One version's first release and the one that the table is of: fragments tell them apart.
fn releases(table: &Table) -> [GstVersion; 2] {
    let GstVersion(major, minor, _) = table.version;
    [GstVersion(major, minor, 0), table.version]
}

/// Profiles that make a fragment's terms take all their branches.
fn wishes(fragment: &Fragment) -> Vec<Profile> {
    let mut profiles = Vec::new();
    for (size, rate, bitrate, speed) in [
        ((320, 240), "15", 300_000, Speed::Fastest),
        ((1280, 720), "30", 3_000_000, Speed::Realtime),
        ((1920, 1080), "60", 8_000_000, Speed::Realtime),
        ((2560, 1440), "60", 60_000_000, Speed::Quality),
    ] {
        let mut profile = boxes::profile("vp8-720p30");
        profile.name = format!("{}x{}@{rate}", size.0, size.1);
        profile.video.codec = fragment.codec.unwrap();
        profile.video.encoder = EncoderChoice::Listed(vec![fragment.name.clone()]);
        profile.video.size = SizeChoice::Fixed(FrameSize::new(size.0, size.1));
        profile.video.framerate = rate.parse().unwrap();
        profile.video.bitrate = Bitrate::from_bits(bitrate);
        profile.video.speed = speed;
        profiles.push(profile);
    }
    profiles
}

/// What is wrong with an encoder's fragment on one version, in words; nothing where it does not claim the version.
fn judge(fragment: &Fragment, fragments: &Fragments, table: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for version in releases(table) {
        for cores in [1, 2, 8] {
            let whole = full(table, version, cores);
            let mut inventories = vec![whole.clone(), meagre(table, whole.clone())];
            inventories.extend(alternatives(fragment, &whole));
            for (inventory, profile) in inventories
                .iter()
                .flat_map(|inventory| wishes(fragment).into_iter().map(move |p| (inventory, p)))
            {
                let plan = plan(&profile, fragments, inventory);
                let claimed = claims(fragment, version);
                match plan {
                    Ok(plan) if claimed => found.extend(complaints(&plan, table)),
                    Ok(_) => {
                        found.insert("it is used on a version that it does not claim".to_owned());
                    }
                    Err(errors) if claimed => found.extend(errors.iter().map(PlanError::to_string)),
                    Err(_) => {}
                }
            }
        }
    }
    let place = |words: String| format!("{} on GStreamer {}: {words}", fragment.name, table.version);
    found.into_iter().map(place).collect()
}

/// Boxes that lack the elements a fragment would rather have.
fn alternatives(fragment: &Fragment, whole: &Inventory) -> Vec<Inventory> {
    let mut boxes = Vec::new();
    for part in &fragment.elements {
        let names: Vec<&str> = part.factories().collect();
        for count in 1..names.len() {
            let mut inventory = whole.clone();
            names[..count].iter().for_each(|name| drop(inventory.elements.remove(*name)));
            boxes.push(inventory);
        }
    }
    boxes
}

fn plan(profile: &Profile, fragments: &Fragments, inventory: &Inventory) -> Result<Plan, Vec<PlanError>> {
    let config = boxes::config("[capture]\nvideo = \"test\"\nmode = \"2560x1440@60\"\n");
    resolve(&config, profile, fragments, &boxes::shipped().queues, inventory)
}

fn complaints(plan: &Plan, table: &Table) -> Vec<String> {
    // Caps are GStreamer's own.
    engine::init().unwrap();
    plan.graphs().flat_map(|graph| check::complaints(graph, table)).collect()
}

#[test]
fn every_shipped_encoder_fits_every_version_that_it_claims() {
    let fragments = &boxes::shipped().fragments;
    let mut found = BTreeSet::new();
    for fragment in fragments.encoders.values().filter(|fragment| fragment.media == MediaKind::Video) {
        let mut claimed = 0;
        for table in VERSIONS.map(Table::of) {
            claimed += u32::from(releases(&table).iter().any(|version| claims(fragment, *version)));
            found.extend(judge(fragment, fragments, &table));
        }
        assert!(claimed > 0, "{} claims no version", fragment.name);
    }
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_shipped_source_fits_every_version() {
    let shipped = boxes::shipped();
    let modes = &shipped.fragments.sources["v4l2"].modes;
    let mut found = BTreeSet::new();
    for table in VERSIONS.map(Table::of) {
        let mut inventory = full(&table, table.version, 2);
        inventory.sound_cards = vec![boxes::sound("Card", "Card", "")];
        let mut captures = vec![("[capture]\nvideo = \"file:/srv/clip.mp4\"\n", Vec::new())];
        for format in modes {
            if !format.when.iter().all(|condition| holds(condition, table.version)) {
                continue;
            }
            for interlaced in [false, true] {
                let mut mode = boxes::mode(&format.fourcc, "1920x1080", &["30"]);
                mode.interlaced = interlaced;
                captures.push(("", vec![boxes::card(0, "Card", "", vec![mode])]));
            }
        }
        captures.push(("[capture]\nvideo = \"test\"\n", Vec::new()));
        for (config, cards) in captures {
            inventory.video_devices = cards;
            let profile = boxes::profile("h264-x264-720p30");
            let plan =
                resolve(&boxes::config(config), &profile, &shipped.fragments, &shipped.queues, &inventory);
            match plan {
                Ok(plan) => found.extend(complaints(&plan, &table)),
                Err(errors) => found.extend(errors.iter().map(PlanError::to_string)),
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_shipped_profile_runs_on_some_box_and_says_so_on_the_others() {
    let shipped = boxes::shipped();
    for profile in shipped.profiles.values() {
        let runs = VERSIONS.map(|version| {
            let table = Table::of(version);
            let inventory = full(&table, table.version, 4);
            match plan(profile, &shipped.fragments, &inventory) {
                Ok(plan) => {
                    let found = complaints(&plan, &table);
                    assert!(found.is_empty(), "{} on {version}: {found:#?}", profile.name);
                    true
                }
                Err(errors) => {
                    assert!(
                        matches!(&errors[..], [PlanError::NoEncoder { tried, .. }] if tried.iter().all(|(_, why)| why.contains("needs GStreamer"))),
                        "{} on {version}: {errors:#?}",
                        profile.name
                    );
                    false
                }
            }
        });
        assert!(runs.contains(&true), "{}", profile.name);
    }
}

#[test]
fn what_profiles_may_not_change_is_there_to_be_changed() {
    let tables = VERSIONS.map(Table::of);
    for fragment in boxes::shipped().fragments.encoders.values() {
        let encoders: Vec<&str> = fragment
            .elements
            .iter()
            .filter(|part| part.role == Role::Encoder)
            .flat_map(|part| part.factories())
            .collect();
        for property in fragment.forbidden.keys() {
            let known = tables.iter().any(|table| {
                encoders
                    .iter()
                    .filter_map(|name| table.elements.get(*name))
                    .any(|entry| entry.element.properties.contains_key(property))
            });
            assert!(known, "{}: no element of it has ever had a `{property}`", fragment.name);
        }
    }
}

/// A shipped fragment with one thing changed, judged on one version.
fn spoilt(name: &str, version: &str, old: &str, new: &str) -> String {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/encoder/{name}.toml"));
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{name} has no `{old}`");
    let source = Source::new(name, &text.replacen(old, new, 1));
    let (fragment, problems) = parse_fragment(FragmentKind::Encoder, name, source);
    let fragment = fragment.unwrap_or_else(|| panic!("{problems:#?}"));
    let mut fragments = boxes::shipped().fragments.clone();
    fragments.encoders.insert(name.to_owned(), fragment.clone());
    judge(&fragment, &fragments, &Table::of(version)).into_iter().collect::<Vec<_>>().join("\n")
}

#[test]
fn whatever_is_wrong_in_a_fragment_is_found_and_named() {
    for (name, version, old, new, words) in [
        // A property that another version has, or none.
        ("nvenc-h264", "1.26", "rc-mode =", "rate-control =", "`nvh264enc` has no property `rate-control`"),
        (
            "nvenc-h264",
            "1.22",
            "{ when = \"gstreamer >= 1.24\", then = \"ultra-low-latency\" }",
            "\"ultra-low-latency\"",
            "`nvcudah264enc` has no property `tune`",
        ),
        ("va-h264", "1.28", "key-int-max", "key-int-maks", "`vah264enc` has no property `key-int-maks`"),
        // Nicks.
        (
            "qsv-h264",
            "1.24",
            "\"cbr\"",
            "\"cbr-hq\"",
            "property `rate-control` of `qsvh264enc` does not take `\"cbr-hq\"`",
        ),
        (
            "nvenc-h264",
            "1.22",
            "else = \"low-latency-hq\"",
            "else = \"p4\"",
            "property `preset` of `nvcudah264enc` does not take `\"p4\"`",
        ),
        // Ranges and types.
        (
            "va-h264",
            "1.26",
            "target-usage = { by = \"speed\", fastest = 7",
            "target-usage = { by = \"speed\", fastest = 8",
            "property `target-usage` of `vah264enc` does not take `8`",
        ),
        ("vaapi-h264", "1.22", "refs = 1", "refs = 0", "property `refs` of `vaapih264enc` does not take `0`"),
        (
            "nvenc-av1",
            "1.28",
            "zerolatency = true",
            "zerolatency = 1",
            "property `zerolatency` of `nvav1enc` does not take `1`",
        ),
        // Properties that only some devices have.
        (
            "nvenc-av1",
            "1.26",
            "{ when = \"has nvav1enc.vbv-buffer-size\", then = { from = \"bitrate\", unit = \"kibit/s\", times = 0.1 } }",
            "100",
            "`nvav1enc` has no property `vbv-buffer-size`",
        ),
        // An element that is not there yet, or no more.
        ("nvenc-av1", "1.22", "requires = \"gstreamer >= 1.26\"", "", "there is no `nvav1enc`"),
        ("vaapi-h264", "1.28", "requires = \"gstreamer < 1.28\"", "", "there is no `vaapih264enc`"),
        (
            "nvenc-h264",
            "1.24",
            "when    = \"gstreamer < 1.26\"",
            "when = \"gstreamer < 1.24\"",
            "0 elements with the role `encoder`",
        ),
        // Caps.
        (
            "nvenc-h264",
            "1.26",
            "[\"NV12\"]",
            "[\"I420\"]",
            "`nvh264enc` takes video/x-raw, format=(string){ NV12",
        ),
        (
            "x264",
            "1.22",
            "profile=constrained-baseline",
            "profile=constrained",
            "profile=(string)constrained",
        ),
        ("openh264", "1.22", "video/x-h264,profile", "video/x-h265,profile", "video/x-h265"),
        ("v4l2-h264", "1.26", "alignment=au", "alignment=nal", "alignment=(string)nal"),
        // What changes while playing.
        (
            "va-av1",
            "1.24",
            ", when = \"gstreamer >= 1.26\"",
            "",
            "`bitrate` of `vaav1enc` cannot change while playing",
        ),
        (
            "qsv-av1",
            "1.26",
            "\"65 Mbit/s\"",
            "\"66 Mbit/s\"",
            "takes 0 to 65535, and the control goes to 66000",
        ),
        (
            "va-h264",
            "1.26",
            "{ property = \"bitrate\"",
            "{ property = \"bit-rate\"",
            "by `bit-rate` of `vah264enc`, and there is no such property",
        ),
        (
            "va-h264",
            "1.22",
            "{ property = \"bitrate\"",
            "{ property = \"rate-control\"",
            "the control sets `10`",
        ),
        ("v4l2-h264", "1.26", "controls,video_bitrate={value}", "controls,=={value}", "is no structure"),
    ] {
        let found = spoilt(name, version, old, new);
        assert!(
            found.contains(words),
            "{name} on {version} with `{new}`: expected `{words}`, found:\n{found}"
        );
        assert!(found.contains(&format!("{name} on GStreamer {version}")), "{found}");
    }
}
