//! For Graphviz.

use std::fmt::Write;

use super::named;
use crate::plan::Plan;

/// A digraph with one cluster for each graph; dashed arrows cross from graph to graph.
pub fn dot(plan: &Plan) -> String {
    let mut out = String::from("digraph capcast {\n  rankdir=LR\n  node [shape=box, fontname=\"sans\"]\n");
    for (name, graph) in named(plan) {
        let _ = writeln!(out, "  subgraph \"cluster-{name}\" {{");
        let _ = writeln!(out, "    label={}", quoted(&format!("{name}\n{}", graph.title)));
        for node in &graph.nodes {
            let properties = node.properties.iter().map(|(name, value)| format!("{name} = {value}"));
            let label: Vec<String> = std::iter::once(node.factory.clone()).chain(properties).collect();
            let _ = writeln!(out, "    \"{name}/{}\" [label={}]", node.id, quoted(&label.join("\n")));
        }
        out.push_str("  }\n");
        for link in &graph.links {
            let _ = writeln!(out, "  \"{name}/{}\" -> \"{name}/{}\"", link.from, link.to);
        }
    }
    for (name, _) in named(plan) {
        let capture = match name.split_once("-encode") {
            Some((media, _)) => format!("{media}-capture"),
            None => continue,
        };
        let _ = writeln!(out, "  \"{capture}/to-hub\" -> \"{name}/from-hub\" [style=dashed]");
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
