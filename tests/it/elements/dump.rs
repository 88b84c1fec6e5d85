//! Writes the table of the GStreamer that is installed here, in the form that `tests/data/elements` keeps.

use std::fmt::Write;

use capcast::engine;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::plans::boxes;

/// `CAPCAST_TABLE=FILE cargo test --test it elements::dump -- --ignored`: every element that fragments name and this
/// GStreamer has, by its own introspection.
#[test]
#[ignore = "writes a table for tests/data/elements; nothing is judged"]
fn the_elements_of_this_machine() {
    engine::init().unwrap();
    let (major, minor, micro, _) = gst::version();
    let mut table = format!("gstreamer {major}.{minor}.{micro}\n");
    for name in boxes::shipped().fragments.factories() {
        if let Some(factory) = gst::ElementFactory::find(name) {
            let _ = write!(table, "\n{name} live {major}.{minor}.{micro}\n");
            element(&mut table, &factory.load().unwrap().downcast().unwrap());
        }
    }
    match std::env::var_os("CAPCAST_TABLE") {
        Some(path) => std::fs::write(path, table).unwrap(),
        None => println!("{table}"),
    }
}

fn element(table: &mut String, factory: &gst::ElementFactory) {
    let pads: Vec<(gst::PadDirection, gst::Caps)> = factory
        .static_pad_templates()
        .iter()
        .map(|pad| (pad.direction(), in_system_memory(pad.caps())))
        .collect();
    match pads.as_slice() {
        [(_, one), (_, other)] if one.is_strictly_equal(other) => {
            let _ = writeln!(table, "  <> {one}");
        }
        _ => pads.iter().for_each(|(direction, caps)| {
            let arrow = if *direction == gst::PadDirection::Sink { '<' } else { '>' };
            let _ = writeln!(table, "  {arrow} {caps}");
        }),
    }
    let class = glib::Class::<glib::Object>::from_type(factory.element_type()).unwrap();
    let mut specs: Vec<glib::ParamSpec> = class.list_properties().iter().cloned().collect();
    specs.sort_by(|a, b| a.name().cmp(b.name()));
    for spec in specs.iter().filter(|spec| !["name", "parent"].contains(&spec.name())) {
        let _ = writeln!(table, "  {} {}{}", spec.name(), kind(spec), flags(spec));
    }
}

/// Without the variants for pictures in other memory, where there is one for system memory.
fn in_system_memory(caps: gst::Caps) -> gst::Caps {
    let plain =
        |features: &gst::CapsFeaturesRef| features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref());
    if caps.is_any() || !caps.iter_with_features().any(|(_, features)| plain(features)) {
        return caps;
    }
    let kept = caps.iter_with_features().filter(|(_, features)| plain(features));
    kept.map(|(fields, _)| fields.to_owned()).collect()
}

fn kind(spec: &glib::ParamSpec) -> String {
    macro_rules! number {
        ($($spec_type:ty => $name:literal),*) => {
            $(if let Some(spec) = spec.downcast_ref::<$spec_type>() {
                return format!("{} {}..{} = {}", $name, spec.minimum(), spec.maximum(), spec.default_value());
            })*
        };
    }
    number!(
        glib::ParamSpecInt => "int",
        glib::ParamSpecUInt => "uint",
        glib::ParamSpecInt64 => "int64",
        glib::ParamSpecUInt64 => "uint64"
    );
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return format!("float {:e}..{:e} = {}", spec.minimum(), spec.maximum(), spec.default_value());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        return format!("double {:e}..{:e} = {}", spec.minimum(), spec.maximum(), spec.default_value());
    }
    let default = spec.default_value();
    if let Some(class) = glib::EnumClass::with_type(spec.value_type()) {
        let nicks: Vec<&str> = class.values().iter().map(|value| value.nick()).collect();
        let nick = glib::EnumValue::from_value(default).map(|(_, value)| value.nick().to_owned());
        return format!("enum {} = {}", nicks.join("|"), nick.unwrap_or_default());
    }
    if let Some(class) = glib::FlagsClass::with_type(spec.value_type()) {
        let nicks: Vec<&str> = class.values().iter().map(|value| value.nick()).collect();
        let set: Vec<String> = glib::FlagsValue::from_value(default)
            .map(|(_, values)| values.iter().map(|value| value.nick().to_owned()).collect())
            .unwrap_or_default();
        return format!("flags {} = {}", nicks.join("|"), set.join("+"));
    }
    match spec.value_type() {
        glib::Type::BOOL => format!("bool = {}", default.get::<bool>().unwrap_or_default()),
        glib::Type::STRING => "text".to_owned(),
        other => other.name().to_owned(),
    }
}

fn flags(spec: &glib::ParamSpec) -> String {
    let flags = spec.flags();
    let mut words = Vec::new();
    if !flags.contains(glib::ParamFlags::WRITABLE) {
        words.push("read-only");
    }
    if flags.contains(glib::ParamFlags::CONSTRUCT_ONLY) {
        words.push("construct-only");
    }
    if flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING) {
        words.push("playing");
    } else if flags.contains(gst::PARAM_FLAG_MUTABLE_PAUSED) {
        words.push("paused");
    } else if flags.contains(gst::PARAM_FLAG_MUTABLE_READY) {
        words.push("ready");
    }
    if words.is_empty() { String::new() } else { format!(" [{}]", words.join(" ")) }
}
