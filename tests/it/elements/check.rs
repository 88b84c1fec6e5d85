//! Holds a graph's plan against a table of elements: what `resolve` does not look at by itself.

use std::collections::BTreeMap;

use capcast::plan::{GraphKind, GraphPlan, Node, PropertyKind, Value};
use gstreamer as gst;

use super::table::Table;

/// Elements whose bitrate changes while they play, although their property has no `GST_PARAM_MUTABLE_PLAYING`; each was
/// seen to, in a run (libvpx, libaom) or in the element's source (the others).
const UNFLAGGED: [&str; 7] =
    ["av1enc", "qsvav1enc", "qsvh264enc", "v4l2h264enc", "vaapih264enc", "vp8enc", "vp9enc"];

/// What is wrong with a graph, in words.
pub(super) fn complaints(graph: &GraphPlan, table: &Table) -> Vec<String> {
    let mut found = links(graph, table);
    found.extend(bitrate(graph, table));
    found
}

/// The property that the bitrate is changed by can be set while playing, over the whole range that the plan says.
fn bitrate(graph: &GraphPlan, table: &Table) -> Vec<String> {
    let Some(control) = &graph.control.bitrate else { return Vec::new() };
    let Some(node) = graph.nodes.iter().find(|node| node.id == control.node) else {
        return vec![format!("the bitrate is changed on `{}`, and there is no such node", control.node)];
    };
    let name = format!("`{}` of `{}`", control.property, node.factory);
    let entry = &table.elements[&node.factory];
    let Some(property) = entry.element.properties.get(&control.property) else {
        return vec![format!("the bitrate is changed by {name}, and there is no such property")];
    };
    let mut found = Vec::new();
    if !entry.playing.contains(&control.property) && !UNFLAGGED.contains(&node.factory.as_str()) {
        found.push(format!("{name} cannot change while playing"));
    }
    for end in [control.range.0, control.range.1] {
        match (control.value(end), &property.kind) {
            (Value::Integer(value), PropertyKind::Integer { min, max }) => {
                if !(*min..=*max).contains(&i128::from(value)) {
                    found.push(format!(
                        "{name} takes {min} to {max}, and the control goes to {value} ({end})"
                    ));
                }
            }
            (Value::Text(text), PropertyKind::Other(kind)) if kind == "GstStructure" => {
                if text.parse::<gst::Structure>().is_err() {
                    found.push(format!("{name}: `{text}` is no structure"));
                }
            }
            (value, kind) => found.push(format!("{name} is {kind:?}, and the control sets `{value}`")),
        }
    }
    found
}

/// Neighbours fit: what comes out of one element can go into the next, by their pad templates and by the caps between.
fn links(graph: &GraphPlan, table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let mut out: BTreeMap<&str, gst::Caps> = BTreeMap::new();
    for node in &graph.nodes {
        let from = graph.links.iter().find(|link| link.to == node.id).map(|link| link.from.as_str());
        let came = match from {
            Some(from) => out.get(from).cloned().unwrap_or_else(gst::Caps::new_empty),
            None => gst::Caps::new_any(),
        };
        let sinks = &table.elements[&node.factory].sinks;
        let taken = if from.is_some() { came.intersect(&union(sinks)) } else { came.clone() };
        if from.is_some() && taken.is_empty() {
            found.push(format!(
                "`{}` takes {}, and `{}` gives {came}",
                node.factory,
                sinks.join("; "),
                from.unwrap_or_default()
            ));
        }
        match after(graph, node, taken, table) {
            Ok(caps) => {
                out.insert(&node.id, caps);
            }
            Err(problem) => found.push(problem),
        }
    }
    found
}

/// What comes out of an element into which these caps go.
fn after(graph: &GraphPlan, node: &Node, taken: gst::Caps, table: &Table) -> Result<gst::Caps, String> {
    let own = || match node.property("caps") {
        Some(Value::Text(text)) => {
            text.parse::<gst::Caps>().map_err(|_| format!("`{text}` of `{}` are no caps", node.factory))
        }
        _ => Ok(gst::Caps::new_any()),
    };
    match node.factory.as_str() {
        "capsfilter" => {
            let own = own()?;
            let caps = taken.intersect(&own);
            match caps.is_empty() && !taken.is_empty() {
                true => Err(format!("between elements stands `{own}`, and what comes there is {taken}")),
                false => Ok(caps),
            }
        }
        "capssetter" => {
            let own = own()?;
            let mut caps = taken;
            for fields in caps.make_mut().iter_mut() {
                for (name, value) in own.structure(0).iter().flat_map(|structure| structure.iter()) {
                    fields.set_value(name.as_str(), value.to_owned());
                }
            }
            Ok(caps)
        }
        "clocksync" | "identity" | "tee" => Ok(taken),
        "appsrc" => Ok(match graph.kind {
            GraphKind::VideoCapture | GraphKind::VideoEncode => gst::Caps::new_empty_simple("video/x-raw"),
            GraphKind::AudioCapture | GraphKind::AudioEncode => gst::Caps::new_empty_simple("audio/x-raw"),
        }),
        "appsink" => Ok(taken),
        factory => Ok(union(&table.elements[factory].sources)),
    }
}

fn union(templates: &[String]) -> gst::Caps {
    let mut all = gst::Caps::new_empty();
    for text in templates {
        let caps: gst::Caps = text.parse().unwrap_or_else(|_| panic!("the table's caps {text}"));
        all.merge(caps);
    }
    all
}
