//! What GStreamer has on this box, for `plan` to choose from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::plan::{Element, GstVersion, Property, PropertyKind};

use super::properties::nicks;
use super::svt;

/// Plugins that are linked into Capcast.
const BUILT_IN: [&str; 2] = ["rsrtp", "rav1e"];

/// Looks at the elements that fragments name: which exist here, and what their properties take. Loads their plugins but
/// opens no device. [`init`](super::init()) comes first.
pub fn inventory<'a>(
    factories: impl IntoIterator<Item = &'a str>,
) -> (GstVersion, BTreeMap<String, Element>) {
    let (major, minor, micro, _nano) = gst::version();
    let elements = factories.into_iter().filter_map(|name| Some((name.to_owned(), element(name)?))).collect();
    (GstVersion(major, minor, micro), elements)
}

fn element(name: &str) -> Option<Element> {
    let factory = gst::ElementFactory::find(name)?;
    let plugin = factory.plugin().map(|plugin| plugin.plugin_name().to_string()).unwrap_or_default();
    // A plugin of which the registry knows may still fail to load (a library went missing): then it is not there.
    let factory = factory.load().ok()?.downcast::<gst::ElementFactory>().ok()?;
    let class = glib::Class::<glib::Object>::from_type(factory.element_type())?;
    let properties =
        class.list_properties().iter().map(|spec| (spec.name().to_owned(), property(spec))).collect();
    let own = name == svt::NAME;
    Some(Element {
        built_in: own || BUILT_IN.contains(&plugin.as_str()),
        unusable: if own { svt::unusable("") } else { None },
        properties,
    })
}

/// Where an element comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Its file; none for one that is linked in.
    pub file: Option<PathBuf>,
}

/// Where an element comes from, by the registry: loads nothing. None when there is no such element.
pub fn origin(factory: &str) -> Option<Origin> {
    let factory = gst::ElementFactory::find(factory)?;
    // An element of Capcast's own has no plugin.
    let plugin = factory.plugin();
    let word = |word: Option<gst::glib::GString>| word.map_or_else(String::new, |word| word.to_string());
    Some(Origin {
        plugin: word(plugin.as_ref().map(|plugin| plugin.plugin_name())),
        version: word(plugin.as_ref().map(|plugin| plugin.version())),
        file: plugin.and_then(|plugin| plugin.filename()),
    })
}

fn property(spec: &glib::ParamSpec) -> Property {
    Property { kind: kind(spec), writable: spec.flags().contains(glib::ParamFlags::WRITABLE) }
}

fn kind(spec: &glib::ParamSpec) -> PropertyKind {
    macro_rules! integer {
        ($($spec_type:ty),*) => {
            $(if let Some(spec) = spec.downcast_ref::<$spec_type>() {
                return PropertyKind::Integer { min: spec.minimum().into(), max: spec.maximum().into() };
            })*
        };
    }
    integer!(
        glib::ParamSpecInt,
        glib::ParamSpecUInt,
        glib::ParamSpecInt64,
        glib::ParamSpecUInt64,
        glib::ParamSpecChar,
        glib::ParamSpecUChar
    );
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return PropertyKind::Float { min: spec.minimum().into(), max: spec.maximum().into() };
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        return PropertyKind::Float { min: spec.minimum(), max: spec.maximum() };
    }
    match (spec.value_type(), nicks(spec.value_type())) {
        (glib::Type::BOOL, _) => PropertyKind::Bool,
        (glib::Type::STRING, _) => PropertyKind::Text,
        (_, Some((nicks, false))) => PropertyKind::Enum(nicks),
        (_, Some((nicks, true))) => PropertyKind::Flags(nicks),
        (other, None) => PropertyKind::Other(other.name().to_owned()),
    }
}
