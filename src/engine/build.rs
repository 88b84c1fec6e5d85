//! From a plan's graph to elements in a pipeline, not started yet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::Fault;
use crate::plan::{GraphKind, GraphPlan, INSTANCE, Node, Role, Value};

use super::bus;
use super::clock::Timebase;
use super::properties::{PropertyError, fit};

/// Why a graph cannot be built from its plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// GStreamer here has no such element, or its plugin does not load.
    #[error("GStreamer has no element `{factory}` here (node `{node}`)")]
    NoElement {
        /// The node's id.
        node: String,
        /// The factory.
        factory: String,
    },
    /// The element could not be made.
    #[error("`{factory}` could not be made (node `{node}`): {reason}")]
    Element {
        /// The node's id.
        node: String,
        /// The factory.
        factory: String,
        /// GStreamer's words.
        reason: String,
    },
    /// A property cannot be set.
    #[error(transparent)]
    Property(#[from] Box<PropertyError>),
    /// Two nodes have the same id.
    #[error("two nodes are called `{0}`")]
    SameId(String),
    /// A link names a node that does not exist.
    #[error("a link names `{0}`, and there is no such node")]
    NoNode(String),
    /// Two elements do not fit together.
    #[error("`{from}` does not link to `{to}`")]
    Link {
        /// Upstream node's id.
        from: String,
        /// Downstream node's id.
        to: String,
    },
    /// The plan lacks a node that this kind of graph needs, or it is of the wrong element.
    #[error("a {kind} graph needs {what}")]
    Role {
        /// Which kind of graph.
        kind: &'static str,
        /// What it needs, in words.
        what: &'static str,
    },
    /// The graph was to be joined to a hub or an outlet of the other medium.
    #[error("a {kind} graph does not go with a hub or an outlet of the other medium")]
    Medium {
        /// Which kind of graph.
        kind: &'static str,
    },
    /// What the graph is to read over the network is not to be had now.
    #[error("{0}")]
    NotArriving(String),
    /// The system gives no further thread.
    #[error("no thread for the graph: {0}")]
    Thread(String),
}

impl BuildError {
    /// The class for the supervisor: building again changes nothing, except when threads ran out.
    pub fn fault(&self) -> Fault {
        match self {
            BuildError::Thread(_) => Fault::Graph,
            BuildError::NotArriving(_) => Fault::Network,
            _ => Fault::Config,
        }
    }
}

/// What kinds of graph are called in names and messages.
pub(super) const fn kind_name(kind: GraphKind) -> &'static str {
    match kind {
        GraphKind::VideoCapture => "video-capture",
        GraphKind::AudioCapture => "audio-capture",
        GraphKind::VideoEncode => "video-encode",
        GraphKind::AudioEncode => "audio-encode",
    }
}

/// The pipeline and its elements by node id, in the plan's order.
pub(super) struct Parts {
    pub(super) pipeline: gst::Pipeline,
    pub(super) elements: Vec<(Node, gst::Element)>,
}

impl Parts {
    /// The first element with a role.
    pub(super) fn role(&self, role: Role) -> Option<&gst::Element> {
        self.elements.iter().find(|(node, _)| node.role == role).map(|(_, element)| element)
    }

    /// The element of a node.
    pub(super) fn node(&self, id: &str) -> Option<&gst::Element> {
        self.elements.iter().find(|(node, _)| node.id == id).map(|(_, element)| element)
    }
}

/// Makes every element with its checked properties, and links them.
pub(super) fn assemble(plan: &GraphPlan, timebase: &Timebase) -> Result<Parts, BuildError> {
    let pipeline = gst::Pipeline::with_name(&format!("{}-{}", kind_name(plan.kind), plan.fragment));
    timebase.apply(&pipeline);
    // The bus lives on while the graph goes down, so that its thread hears of the end.
    pipeline.set_auto_flush_bus(false);
    bus::screen(&pipeline);
    let mut elements: Vec<(Node, gst::Element)> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        if elements.iter().any(|(other, _)| other.id == node.id) {
            return Err(BuildError::SameId(node.id.clone()));
        }
        elements.push((node.clone(), make(node)?));
    }
    for (node, element) in &elements {
        pipeline.add(element).map_err(|error| failed(node, &error))?;
    }
    let parts = Parts { pipeline, elements };
    let mut late: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in &plan.links {
        let end = |id: &String| parts.node(id).ok_or_else(|| BuildError::NoNode(id.clone()));
        let (from, to) = (end(&link.from)?, end(&link.to)?);
        if pads_come_later(from) {
            late.entry(&link.from).or_default().push(&link.to);
        } else {
            from.link(to).map_err(|_| BuildError::Link { from: link.from.clone(), to: link.to.clone() })?;
        }
    }
    for (from, to) in late {
        if let (Some(from), [to]) = (parts.node(from), to.as_slice())
            && let Some(to) = parts.node(to)
        {
            link_later(from, to, plan.kind);
        } else {
            return Err(BuildError::Link { from: from.to_owned(), to: to.join("`, `") });
        }
    }
    Ok(parts)
}

pub(super) fn make(node: &Node) -> Result<gst::Element, BuildError> {
    let missing = || BuildError::NoElement { node: node.id.clone(), factory: node.factory.clone() };
    let factory = gst::ElementFactory::find(&node.factory).ok_or_else(missing)?;
    let factory = factory.load().ok().and_then(|loaded| loaded.downcast::<gst::ElementFactory>().ok());
    let factory = factory.ok_or_else(missing)?;
    let class = glib::Class::<glib::Object>::from_type(factory.element_type()).ok_or_else(missing)?;
    let mut builder = factory.create().name(&node.id);
    for (name, value) in &node.properties {
        let value = fit(&class, (&node.id, &node.factory), name, &numbered(value))?;
        builder = builder.property(name, value);
    }
    builder.build().map_err(|error| failed(node, &error))
}

/// A number that differs from one element made to the next, for [`INSTANCE`]. It comes round after 16: identifiers in
/// bitstreams are short.
static MADE: AtomicU32 = AtomicU32::new(0);

fn numbered(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Text(text) if text.contains(INSTANCE) => {
            let number = MADE.fetch_add(1, Ordering::Relaxed) % 16;
            Cow::Owned(Value::Text(text.replace(INSTANCE, &number.to_string())))
        }
        other => Cow::Borrowed(other),
    }
}

fn failed(node: &Node, error: &glib::BoolError) -> BuildError {
    BuildError::Element {
        node: node.id.clone(),
        factory: node.factory.clone(),
        reason: error.message.to_string(),
    }
}

/// `decodebin`, demuxers: their source pads appear when they know what is in the stream.
fn pads_come_later(element: &gst::Element) -> bool {
    element.src_pads().is_empty()
        && element.pad_template_list().iter().any(|template| {
            template.direction() == gst::PadDirection::Src
                && template.presence() == gst::PadPresence::Sometimes
        })
}

/// Links the first pad of the graph's medium when it appears; a stream without one is an error of `from`.
fn link_later(from: &gst::Element, to: &gst::Element, kind: GraphKind) {
    let (medium, what) = match kind {
        GraphKind::VideoCapture | GraphKind::VideoEncode => ("video/", "picture"),
        GraphKind::AudioCapture | GraphKind::AudioEncode => ("audio/", "sound"),
    };
    let target = to.downgrade();
    from.connect_pad_added(move |from, pad| {
        let Some(sink) = target.upgrade().and_then(|to| to.static_pad("sink")) else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let fits = caps.structure(0).is_some_and(|fields| fields.name().starts_with(medium));
        if !fits || sink.is_linked() {
            return;
        }
        if let Err(error) = pad.link(&sink) {
            gst::element_error!(from, gst::StreamError::Format, ["its {what} cannot be used: {error}"]);
        }
    });
    let target = to.downgrade();
    from.connect_no_more_pads(move |from| {
        let linked = target.upgrade().and_then(|to| to.static_pad("sink")).is_some_and(|pad| pad.is_linked());
        if !linked {
            gst::element_error!(from, gst::StreamError::WrongType, ["there is no {what} in it"]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_made_gets_a_number_of_its_own() {
        let value = Value::Text(format!("scenecut=0:sps-id={INSTANCE}"));
        let texts: Vec<String> = (0..2).map(|_| numbered(&value).to_string()).collect();
        for text in &texts {
            let number: u32 = text.strip_prefix("scenecut=0:sps-id=").unwrap().parse().unwrap();
            assert!(number < 16, "{text}");
        }
        assert_ne!(texts[0], texts[1]);
        assert_eq!(*numbered(&Value::Integer(3)), Value::Integer(3));
    }
}
