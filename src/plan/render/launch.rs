//! For `gst-launch-1.0`: capture and encode in one pipeline, ending in sinks that throw away.

use std::fmt::Write;

use crate::plan::{GraphPlan, INSTANCE, Inventory, Node, Plan, Role, Upstream, Value};

/// Arguments of `gst-launch-1.0`, in one line that a shell takes as it stands. Where an element is linked into Capcast
/// and nowhere else, a first line says so: `# needs rtpav1pay`.
pub fn launch(plan: &Plan, inventory: &Inventory) -> String {
    let mut line = Line::default();
    let video: Vec<&GraphPlan> = plan.video_encode.iter().collect();
    line.side("v", &plan.video_capture, &video);
    if let (Some(capture), Some(encode)) = (&plan.audio_capture, &plan.audio_encode) {
        line.side("a", capture, &[encode]);
    }
    let built_in = |factory: &&str| inventory.elements.get(*factory).is_some_and(|element| element.built_in);
    let mut needs: Vec<&str> = plan
        .graphs()
        .flat_map(|graph| &graph.nodes)
        .map(|node| node.factory.as_str())
        .filter(built_in)
        .collect();
    needs.sort_unstable();
    needs.dedup();
    match needs.as_slice() {
        [] => format!("{}\n", line.text),
        _ => format!("# needs {}, which only Capcast has\n{}\n", needs.join(" "), line.text),
    }
}

/// In place of what hands media over.
const SINK: &str = "fakesink sync=false async=false";

/// In place of a slate.
const STAND_IN: &str = "videotestsrc is-live=true pattern=black";

/// In place of what only the engine does.
const THINNER: &str = "videorate drop-only=true skip-to-first=true";

#[derive(Default)]
struct Line {
    /// Chains that are finished.
    text: String,
    /// Elements that follow each other.
    chain: Vec<String>,
}

impl Line {
    /// One capture and the encodes it feeds.
    fn side(&mut self, prefix: &str, capture: &GraphPlan, encodes: &[&GraphPlan]) {
        if let [GraphPlan { upstream: Upstream::Network { url }, .. }] = encodes {
            self.network(url);
            self.graph(encodes[0], prefix);
            return self.end_chain();
        }
        match &capture.upstream {
            Upstream::Absent { .. } => self.chain.push(STAND_IN.to_owned()),
            Upstream::Network { url } => self.network(url),
            _ => {}
        }
        self.graph(capture, prefix);
        if encodes.len() > 1 {
            self.chain.push(format!("tee name={prefix}raw"));
        }
        for (index, encode) in encodes.iter().enumerate() {
            if index > 0 {
                self.chain.push(format!("{prefix}raw."));
            }
            self.graph(encode, &format!("{prefix}{index}"));
            self.end_chain();
        }
    }

    /// What arrives, taken apart once for picture and sound.
    fn network(&mut self, url: &str) {
        if self.text.is_empty() {
            self.chain.push(match url.starts_with("srt:") {
                true => format!("srtsrc uri={}", quoted(url)),
                false => format!("souphttpsrc location={} ! hlsdemux", quoted(url)),
            });
            self.chain.push("tsdemux name=arriving".to_owned());
            self.end_chain();
        }
        self.chain.push("arriving.".to_owned());
        self.chain.push("queue".to_owned());
    }

    /// A graph's elements in order. All branches of a `tee` but the last are sinks; the last goes on.
    fn graph(&mut self, graph: &GraphPlan, prefix: &str) {
        let mut node = graph.nodes.first();
        while let Some(here) = node {
            let fed = graph.links.iter().filter(|link| link.from == here.id);
            let branches: Vec<&Node> =
                fed.filter_map(|link| graph.nodes.iter().find(|node| node.id == link.to)).collect();
            let name = format!("{prefix}{}", here.id);
            match here.role {
                Role::ToHub => {}
                // The demuxer stands in its place.
                Role::Source if here.factory == "appsrc" => {}
                Role::FromHub => self.chain.push(queue(here)),
                Role::Thinner => self.chain.push(THINNER.to_owned()),
                Role::AccessUnits | Role::Rtp => self.chain.push(SINK.to_owned()),
                _ if branches.len() > 1 => self.chain.push(format!("{} name={name}", element(here))),
                _ => self.chain.push(element(here)),
            }
            for _ in 1..branches.len() {
                self.chain.push(SINK.to_owned());
                self.end_chain();
                self.chain.push(format!("{name}."));
            }
            node = branches.last().copied();
        }
    }

    fn end_chain(&mut self) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(&self.chain.join(" ! "));
        self.chain.clear();
    }
}

/// Between capture and encoder there is one thread boundary, with the limits of the link.
fn queue(node: &Node) -> String {
    let limit = |name: &str| node.property(name).cloned().unwrap_or(Value::Integer(0));
    let (buffers, time, bytes) = (limit("max-buffers"), limit("max-time"), limit("max-bytes"));
    format!("queue max-size-buffers={buffers} max-size-time={time} max-size-bytes={bytes}")
}

fn element(node: &Node) -> String {
    let mut text = node.factory.clone();
    for (name, value) in &node.properties {
        let _ = write!(text, " {name}={}", quoted(&value.to_string().replace(INSTANCE, "0")));
    }
    text
}

/// As both a shell and GStreamer's own parser read it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:=,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
