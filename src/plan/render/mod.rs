//! A plan for people and tools: text, a `gst-launch-1.0` line, JSON, Graphviz.

mod dot;
mod json;
mod launch;
mod offers;
mod text;

pub use dot::dot;
pub use json::json;
pub use launch::launch;
pub use offers::{offers_json, offers_text};
pub use text::text;

use super::{GraphKind, GraphPlan};

/// What a graph is called: `video-capture`, `video-encode`, `video-encode-2`, …; unique in a plan.
fn name(graph: &GraphPlan, index: usize) -> String {
    let name = match graph.kind {
        GraphKind::VideoCapture => "video-capture",
        GraphKind::AudioCapture => "audio-capture",
        GraphKind::VideoEncode => "video-encode",
        GraphKind::AudioEncode => "audio-encode",
    };
    if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

/// Every graph with its name.
fn named(plan: &super::Plan) -> Vec<(String, &GraphPlan)> {
    let encodes = plan.video_encode.iter().enumerate();
    std::iter::once((name(&plan.video_capture, 0), &plan.video_capture))
        .chain(plan.audio_capture.iter().map(|graph| (name(graph, 0), graph)))
        .chain(encodes.map(|(index, graph)| (name(graph, index), graph)))
        .chain(plan.audio_encode.iter().map(|graph| (name(graph, 0), graph)))
        .collect()
}
