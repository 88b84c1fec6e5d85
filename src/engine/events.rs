//! What a graph tells the one who started it.

use std::sync::Arc;
use std::time::Duration;

use crate::media::Fault;

/// Takes a graph's events, one after another. Called on the graph's own bus thread, never on a streaming thread; what it
/// does delays nothing but the events that follow.
pub type EventSink = Arc<dyn Fn(GraphEvent) + Send + Sync>;

/// Something that happened to one graph.
#[derive(Clone, Debug, PartialEq)]
pub enum GraphEvent {
    /// The graph reached PLAYING; buffers may still be missing.
    Playing,
    /// The first buffer came out at the end of the graph.
    Flowing,
    /// The graph is broken: stop it, and build it anew if that helps. May come more than once.
    Error(GraphError),
    /// An element complains but goes on. At most a few a second.
    Warning {
        /// The node's id.
        element: String,
        /// GStreamer's words.
        message: String,
    },
    /// The source ended. A file that can seek loops instead.
    Ended,
    /// The raw link into this graph blocked the hub for too long and was cut: build the graph anew.
    LinkCut,
    /// The outlet changed over to this graph.
    OnAir(Takeover),
    /// The graph is gone; always the last event. The device is free unless the graph was abandoned.
    Gone {
        /// It would not stop in time and was left behind.
        abandoned: bool,
    },
}

/// Why a graph broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError {
    /// `Device` when the source element failed, else `Graph`.
    pub fault: Fault,
    /// The node's id; the graph's name when no node is to blame.
    pub element: String,
    /// GStreamer's words.
    pub message: String,
    /// GStreamer's details, for the log.
    pub debug: Option<String>,
}

/// How the outlet changed over to a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// How much later than a frame later the first frame of the new graph went out than the last of the old one, where
    /// that one had to fall silent until the new one, whose frames come later, caught up; else zero.
    pub gap: Duration,
    /// How far RTP times of the new graph were moved so that they go on increasing; at most 50 ms.
    pub shifted: Duration,
}
