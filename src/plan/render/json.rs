//! For programs. These types are the shape of `capcast plan --format json`.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::named;
use crate::plan::{Choice, Downstream, GraphPlan, KeyframeControl, Plan, Upstream, Value};

/// The whole plan.
pub fn json(plan: &Plan) -> Json {
    let graphs = named(plan).into_iter().map(|(name, graph)| graph_json(name, graph)).collect();
    let choices = plan.choices.iter().map(choice_json).collect();
    serde_json::to_value(PlanJson { profile: &plan.profile, graphs, choices }).unwrap_or(Json::Null)
}

#[derive(Serialize)]
struct PlanJson<'a> {
    profile: &'a str,
    graphs: Vec<GraphJson<'a>>,
    choices: Vec<ChoiceJson<'a>>,
}

#[derive(Serialize)]
struct GraphJson<'a> {
    name: String,
    fragment: &'a str,
    title: &'a str,
    upstream: Json,
    downstream: Json,
    exclusive: bool,
    shift_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    handover: Option<Json>,
    nodes: Vec<NodeJson<'a>>,
    links: Vec<[&'a str; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate_control: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyframe_control: Option<&'static str>,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    id: &'a str,
    factory: &'a str,
    role: &'static str,
    properties: Map<String, Json>,
}

#[derive(Serialize)]
struct ChoiceJson<'a> {
    subject: &'a str,
    candidate: &'a str,
    taken: bool,
    reason: &'a str,
}

fn graph_json(name: String, graph: &GraphPlan) -> GraphJson<'_> {
    let nodes = graph.nodes.iter().map(|node| NodeJson {
        id: &node.id,
        factory: &node.factory,
        role: node.role.as_str(),
        properties: node.properties.iter().map(|(name, value)| (name.clone(), value_json(value))).collect(),
    });
    GraphJson {
        name,
        fragment: &graph.fragment,
        title: &graph.title,
        upstream: upstream(&graph.upstream),
        downstream: downstream(&graph.downstream),
        exclusive: graph.exclusive,
        shift_ms: graph.shift.as_micros() as f64 / 1000.0,
        handover: graph.handover.map(|class| {
            serde_json::json!({
                "max_buffers": class.buffers,
                "max_ms": class.time.as_millis() as u64,
                "max_bytes": class.bytes,
            })
        }),
        nodes: nodes.collect(),
        links: graph.links.iter().map(|link| [link.from.as_str(), link.to.as_str()]).collect(),
        bitrate_control: graph.control.bitrate.as_ref().map(|control| {
            serde_json::json!({
                "node": control.node,
                "property": control.property,
                "divisor": control.divisor,
                "text": control.text,
                "min": control.range.0.bits(),
                "max": control.range.1.bits(),
                "min_interval_ms": control.min_interval.as_millis() as u64,
            })
        }),
        keyframe_control: graph.control.keyframe.map(|control| match control {
            KeyframeControl::Event => "event",
            KeyframeControl::Restart => "restart",
        }),
    }
}

fn choice_json(choice: &Choice) -> ChoiceJson<'_> {
    let Choice { subject, candidate, taken, reason } = choice;
    ChoiceJson { subject, candidate, taken: *taken, reason }
}

fn upstream(upstream: &Upstream) -> Json {
    match upstream {
        Upstream::RawHub => serde_json::json!({ "kind": "hub" }),
        Upstream::Made => serde_json::json!({ "kind": "made" }),
        Upstream::VideoDevice { node, card, format } => {
            serde_json::json!({ "kind": "v4l2", "device": node, "card": card, "format": format })
        }
        Upstream::Absent { health } => {
            serde_json::json!({ "kind": "slate", "state": health.state.as_str(), "reason": health.reason })
        }
        Upstream::SoundCard { hw } => serde_json::json!({ "kind": "alsa", "device": hw }),
        Upstream::File { path } => serde_json::json!({ "kind": "file", "path": path }),
        Upstream::Network { url } => serde_json::json!({ "kind": "network", "url": url }),
    }
}

fn downstream(downstream: &Downstream) -> Json {
    match downstream {
        Downstream::RawVideo { format, size, framerate } => serde_json::json!({
            "kind": "raw-video",
            "format": format,
            "size": size.map(|size| size.to_string()),
            "framerate": framerate.map(|rate| rate.to_string()),
        }),
        Downstream::RawAudio => serde_json::json!({ "kind": "raw-audio" }),
        Downstream::Video { codec, size, framerate, bitrate } => serde_json::json!({
            "kind": "video",
            "codec": codec.as_str(),
            "size": size.map(|size| size.to_string()),
            "framerate": framerate.to_string(),
            "bitrate": bitrate.bits(),
        }),
        Downstream::Audio { codec, bitrate } => serde_json::json!({
            "kind": "audio",
            "codec": codec.as_str(),
            "bitrate": bitrate.bits(),
        }),
    }
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(value) => value.as_str().into(),
    }
}
