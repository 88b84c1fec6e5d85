//! For people at a terminal.

use std::fmt::Write;

use super::named;
use crate::plan::{Downstream, GraphPlan, KeyframeControl, Plan, QueueClass};

/// The whole plan, graph by graph, and why.
pub fn text(plan: &Plan) -> String {
    let mut out = format!("profile {}\n", plan.profile);
    for (name, graph) in named(plan) {
        let _ = write!(out, "\n{name}: {}\n", graph.title);
        body(&mut out, graph);
    }
    out.push_str("\nwhy\n");
    let width = |of: fn(&crate::plan::Choice) -> &str| {
        plan.choices.iter().map(|choice| of(choice).chars().count()).max().unwrap_or(0)
    };
    let (subject, candidate) = (width(|choice| &choice.subject), width(|choice| &choice.candidate));
    for choice in &plan.choices {
        let verdict = if choice.taken { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "  {:subject$}  {:candidate$}  {verdict:3}  {}",
            choice.subject, choice.candidate, choice.reason
        );
    }
    out
}

fn body(out: &mut String, graph: &GraphPlan) {
    let width = |of: fn(&crate::plan::Node) -> &str| {
        graph.nodes.iter().map(|node| of(node).chars().count()).max().unwrap_or(0)
    };
    let (id, factory) = (width(|node| &node.id), width(|node| &node.factory));
    let mut before: Option<&str> = None;
    for node in &graph.nodes {
        let fed_by = graph.links.iter().find(|link| link.to == node.id).map(|link| link.from.as_str());
        let branch =
            if fed_by == before { String::new() } else { format!("from {}: ", fed_by.unwrap_or("")) };
        let properties: Vec<String> =
            node.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line = format!("  {:id$}  {:factory$}  {branch}{}", node.id, node.factory, properties.join(" "));
        wrap(out, line.trim_end(), id + factory + 6);
        before = Some(&node.id);
    }
    let _ = writeln!(out, "  = {}", downstream(&graph.downstream));
    if let Some(control) = &graph.control.bitrate {
        let (least, most) = control.range;
        let _ = writeln!(out, "  live: bitrate by `{}`, {least} to {most}", control.property);
    }
    match graph.control.keyframe {
        Some(KeyframeControl::Event) => out.push_str("  live: a keyframe by an event\n"),
        Some(KeyframeControl::Restart) => out.push_str("  live: a keyframe by restarting the encoder\n"),
        None => {}
    }
    if let Some(limits) = &graph.handover {
        let _ = writeln!(out, "  handed over: at most {}", class(limits));
    }
    if graph.shift.as_micros() != 0 {
        let _ = writeln!(out, "  delayed by {}", graph.shift);
    }
}

/// Breaks between properties at 120 columns; further lines are indented to the first property.
fn wrap(out: &mut String, line: &str, indent: usize) {
    let mut column = 0;
    let lead = line.len() - line.trim_start().len();
    out.push_str(&line[..lead]);
    for (index, word) in line[lead..].split_inclusive(' ').enumerate() {
        let length = word.trim_end().chars().count();
        if index > 0 && column > indent && lead + column + length > 118 {
            out.truncate(out.trim_end_matches(' ').len());
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out.push('\n');
}

fn downstream(downstream: &Downstream) -> String {
    match downstream {
        Downstream::RawVideo { format, size, framerate } => {
            let or_source = |text: Option<String>| text.unwrap_or_else(|| "the source's".to_owned());
            format!(
                "raw picture: format {}, size {}, rate {}",
                or_source(format.clone()),
                or_source(size.map(|size| size.to_string())),
                or_source(framerate.map(|rate| rate.to_string()))
            )
        }
        Downstream::RawAudio => "raw sound: 48 kHz, stereo".to_owned(),
        Downstream::Video { codec, size, framerate, bitrate } => {
            let size = size.map_or_else(|| "the source's size".to_owned(), |size| size.to_string());
            format!("{} {size} at {framerate}, {bitrate}", codec.title())
        }
        Downstream::Audio { codec, bitrate } => format!("{} {bitrate}", codec.title()),
    }
}

fn class(class: &QueueClass) -> String {
    let mut limits = Vec::new();
    if class.buffers > 0 {
        limits.push(format!("{} buffers", class.buffers));
    }
    if !class.time.is_zero() {
        limits.push(format!("{} ms", class.time.as_millis()));
    }
    if class.bytes > 0 {
        limits.push(format!("{} bytes", class.bytes));
    }
    limits.join(" or ")
}
